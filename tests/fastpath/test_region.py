"""Where the connections' memory comes from."""

import pytest

from tests.fastpath import probe

MEGABYTES = 4 << 20


@pytest.mark.parametrize("node", [-1, 0, 63, 64])
def test_memory_whatever_the_node(node: int) -> None:
    """No node (-1), the first one, one that this machine lacks, one that no machine has: there is memory, all zero."""
    assert probe.map_region(MEGABYTES, node) == ((0, 0), (1, 1))
