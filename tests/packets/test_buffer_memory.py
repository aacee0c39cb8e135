"""Packet buffers of many workers, on normal pages: where EAL gets no more memory than it was told."""

from fastpath import engine
from jupiter import eal

WORKERS, DESCRIPTORS = 16, 1536


def test_what_is_asked_for_is_enough() -> None:
    """A mempool wastes the end of each page: that is counted, and half of what is added for other things is left."""
    megabytes = eal.megabytes(engine.buffer_bytes(WORKERS, DESCRIPTORS, page=4096))
    assert megabytes > engine.buffer_bytes(WORKERS, DESCRIPTORS) >> 20
    lcores = ",".join(f"{n}@0" for n in range(WORKERS + 1))
    argv = ["--lcores", lcores, "--no-huge", "--no-shconf", "-m", str(megabytes), "--no-pci", "--file-prefix", "room"]
    engine.init([*argv, "--vdev", "net_null0"], WORKERS * 1024, descriptors=DESCRIPTORS)
    try:
        engine.add_port("net_null0", 512, 1024)
        (heap,) = engine.memory()
        assert heap.free_size >= eal.OTHERS << 19
        assert engine.port_counters(0).mbufs_free == engine.buffers_for(WORKERS, DESCRIPTORS)
    finally:
        engine.close()
