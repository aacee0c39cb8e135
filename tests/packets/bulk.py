"""Thousands of new connections: SYNs patched from one template, too many for scapy."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import inbound, tcp

CHUNK = 2048
"""Frames at a time: a ring port holds 4,095."""
HANDED = 512
"""A ring between workers holds so many."""
FEW = 128


class Way(NamedTuple):
    """What an outgoing frame says of its connection: server, local address and local port, as they stand in it."""

    server: bytes
    address: bytes
    lport: int


def packets(clients: Iterable[int], flags: str = "S") -> Iterator[bytes]:
    """One TCP packet for each client number: addresses from 20.0.0.0 on, 16 source ports each. Checksums are stale."""
    template = inbound(tcp(flags))
    for n in clients:
        raw = bytearray(template)
        raw[26:30] = (0x14000000 + (n >> 4)).to_bytes(4, "big")
        raw[34:36] = (1024 + (n & 15)).to_bytes(2, "big")
        yield bytes(raw)


def number(connection: engine.Connection) -> int:
    """Of the client, as packets() counts them."""
    address, port = connection.client
    return (int.from_bytes(address, "big") - 0x14000000) << 4 | port - 1024


def through(director: Director, frames: Iterable[bytes]) -> list[Way]:
    """What left, in order; nothing may be dropped."""
    ways = []
    frames = iter(frames)
    chunk_size = CHUNK if len(director.workers) == 1 else HANDED
    while chunk := list(islice(frames, chunk_size)):
        for _, raw in director.turn(chunk):
            ways.append(Way(raw[30:34], raw[26:30], int.from_bytes(raw[34:36], "big")))
    return ways


def establish(director: Director, clients: Sequence[int]) -> None:
    """A whole handshake for each client, few at a time: half-open ones are bounded."""
    for at in range(0, len(clients), FEW):
        some = clients[at : at + FEW]
        director.turn([answer(raw) for _, raw in director.turn(list(packets(some)))])
        director.turn(list(packets(some, "A")))


def answer(raw: bytes) -> bytes:
    """The SYN-ACK to a SYN that left."""
    turned = bytearray(raw)
    turned[0:6], turned[6:12] = raw[6:12], raw[0:6]
    turned[26:30], turned[30:34] = raw[30:34], raw[26:30]
    turned[34:36], turned[36:38] = raw[36:38], raw[34:36]
    turned[47] = 0x12
    return bytes(turned)
