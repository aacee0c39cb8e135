"""Sizes and offsets of what lies in shared memory: another process, or the next version, maps the region by them."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIZES = {
    "struct flow": (12, "saddr 0, daddr 4, sport 8, dport 10"),
    "struct connection": (
        64,
        "flow 0, protocol 24, state 25, flags 26, client_port 27, server 28, last_seen 32, seq_delta 36, ts_delta 44, "
        "next_seq 48, client_mac 56, last_stamp 62",
    ),
    "struct bucket": (64, "tag 0, entry 16, spilled 48"),
    "struct node": (8, "next 0, prev 4"),
    "struct region": (
        96,
        "magic 0, version 8, connection_size 12, bucket_size 16, list_heads 20, capacity 24, n_buckets 28, "
        "hash_key 32, buckets_at 48, connections_at 56, nodes_at 64, bytes 72, high_water 80, in_use 84, "
        "half_open 88, wheel_time 92",
    ),
    "struct server": (
        32,
        "hop 0, raddr 8, rport 12, protocol 14, removed 15, service 16, eligible 20, backup 21, weight 22, "
        "max_connections 24",
    ),
    "struct server_count": (64, "total 0, packets 8, bytes 24, active 40, established 44, load 48, port_cursor 60"),
    "struct service_count": (64, "drops 0, drop_bytes 16, cursor 32, living 36, tokens 40, filled 48"),
    "struct client": (16, "address 0, scope 4, seen 8, value 12"),
    "struct client_set": (64, "ways 0"),
    "struct map_slot": (16, "key 0, service 8"),
}


def measure(tmp_path: Path) -> dict[str, str]:
    """What the C compiler says: structure -> its size, then each member named in SIZES and its offset."""
    lines = []
    for name, (_, members) in SIZES.items():
        form = ", ".join(f"{member} %zu" for member in names(members))
        values = ", ".join([f"sizeof({name})", *(f"__builtin_offsetof({name}, {member})" for member in names(members))])
        lines.append(f'printf("{name}|%zu|{form}\\n", {values});')
    source = '#include <stdio.h>\n#include "layout.h"\nint main(void){' + "".join(lines) + "}"
    (tmp_path / "sizes.c").write_text(source)
    flags = subprocess.run(["pkg-config", "--cflags", "libdpdk"], check=True, capture_output=True, text=True).stdout
    command = ["cc", *flags.split(), "-march=x86-64-v3", f"-I{ROOT}/fastpath", "sizes.c", "-o", "sizes"]
    subprocess.run(command, check=True, cwd=tmp_path)
    said = subprocess.run([tmp_path / "sizes"], check=True, capture_output=True, text=True).stdout
    return {line.split("|")[0]: line for line in said.splitlines()}


def names(members: str) -> list[str]:
    return [member.split()[0] for member in members.split(", ")]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return measure(tmp_path_factory.mktemp("layout"))


@pytest.mark.parametrize("name", SIZES)
def test_frozen(measured: dict[str, str], name: str) -> None:
    """A change here is a change of the region's version, or of what a cache line holds."""
    size, members = SIZES[name]
    assert measured[name] == f"{name}|{size}|{members}"
