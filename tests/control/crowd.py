"""Rude clients in a process of their own: python -m tests.control.crowd KIND PATH COUNT. Goes on until killed."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing

from jupiter.control.protocol import MAX_BATCH, MAX_MESSAGE, MAX_VALUES, encode_batch, encode_request

HUGE = b"[" + b"[]," * (MAX_MESSAGE // 3 - 2) + b"1]\n"
"""As expensive as a message can be."""
HEAVY = json.dumps([[]] * (MAX_VALUES // 2 - 2)).encode().ljust(MAX_MESSAGE - 1) + b"\n"
"""As expensive as one can be that is read."""


class Peer:
    """One connection of a rude client."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._raw, data)

    async def until_closed(self) -> None:
        while await self._loop.sock_recv(self._raw, 1 << 18):
            pass

    def half_close(self) -> None:
        self._raw.shutdown(socket.SHUT_WR)

    async def send_for_ever(self, data: bytes) -> None:
        """And take the answers."""
        taking = asyncio.create_task(self.until_closed())
        try:
            while True:
                await self.send(data)
                await asyncio.sleep(0)
        finally:
            taking.cancel()
            await asyncio.wait([taking])


async def silent(peer: Peer) -> None:
    await peer.until_closed()


async def once(peer: Peer) -> None:
    """Asks something, and stays."""
    await peer.send(encode_request(1, "version", {}))
    await peer.until_closed()


async def comes_and_goes(peer: Peer) -> None:
    await peer.send(b"{")


async def half_closed(peer: Peer) -> None:
    await peer.send(encode_request(1, "version", {})[:-5])
    peer.half_close()
    await peer.until_closed()


async def drips(peer: Peer) -> None:
    while True:
        await peer.send(b"{")
        await asyncio.sleep(0.2)


async def garbage(peer: Peer) -> None:
    await peer.send_for_ever(os.urandom(300) + b"\n")


async def huge(peer: Peer) -> None:
    await peer.send_for_ever(HUGE)


async def heavy(peer: Peer) -> None:
    await peer.send_for_ever(HEAVY)


async def endless(peer: Peer) -> None:
    await peer.send_for_ever(b"x" * 65536)


async def never_reads(peer: Peer) -> None:
    while True:
        await peer.send(encode_request(1, "large", {"size": 100_000}))


async def dumps(peer: Peer) -> None:
    await peer.send_for_ever(encode_request(1, "rows", {}))


async def batches(peer: Peer) -> None:
    await peer.send_for_ever(encode_batch(1, [("version", {})] * MAX_BATCH))


async def busy(peer: Peer) -> None:
    await peer.send_for_ever(encode_request(1, "version", {}))


async def drafts(peer: Peer) -> None:
    await peer.send_for_ever(encode_request(1, "draft", {"text": "x" * 900_000}))


KINDS = (
    silent,
    once,
    comes_and_goes,
    half_closed,
    drips,
    garbage,
    huge,
    heavy,
    endless,
    never_reads,
    dumps,
    batches,
    busy,
    drafts,
)


async def behave(path: str, kind: Callable[[Peer], Awaitable[None]]) -> None:
    """Connects again as soon as it is let go."""
    while True:
        with closing(socket.socket(socket.AF_UNIX)) as raw:
            raw.setblocking(False)
            try:
                raw.connect(path)
                await kind(Peer(raw))
            except (ConnectionError, BlockingIOError):
                pass
        await asyncio.sleep(0.01)


async def crowd(kind: str, path: str, count: int) -> None:
    [behaviour] = [k for k in KINDS if k.__name__ == kind]
    clients = [asyncio.create_task(behave(path, behaviour)) for _ in range(count)]
    await asyncio.sleep(0.2)
    print("ready", flush=True)
    await asyncio.gather(*clients)


if __name__ == "__main__":
    asyncio.run(crowd(sys.argv[1], sys.argv[2], int(sys.argv[3])))
