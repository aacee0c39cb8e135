"""Many connections at once that last, by TCP and by UDP, and their server.

usage: crowd.py serve ADDRESS PORT
       crowd.py ask VIP PORT EACH STOP      EACH connections of each protocol, until the file STOP exists
A question is a number; its answer is a text made of it, checked to the last byte. ask prints "ready" when each
connection has had an answer, and at the end JSON: {"tcp": {...}, "udp": {...}}, of each the connections, the answers,
and what each connection that was lost died of.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

SIZES = {"tcp": 1000, "udp": 1000}
PAUSE = 1.0
PATIENCE = {"tcp": 60.0, "udp": 3.0}
"""Seconds for an answer."""
REPEATS = {"tcp": 1, "udp": 10}
"""TCP repeats by itself."""

Exchange = Callable[[bytes], Awaitable[bytes]]


def answer(question: bytes, size: int) -> bytes:
    return (question * (size // len(question) + 1))[:size]


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(answer(data, SIZES["udp"]), addr)


class Answers(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.put_nowait(data)


async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            writer.write(answer(await reader.readexactly(12), SIZES["tcp"]))
    except (OSError, asyncio.IncompleteReadError):
        writer.close()


async def serve(address: str, port: int) -> None:
    await asyncio.get_running_loop().create_datagram_endpoint(Echo, (address, port))
    async with await asyncio.start_server(serve_one, address, port, backlog=4096) as server:
        print("ready", flush=True)
        await server.serve_forever()


async def open_tcp(vip: str, port: int) -> Exchange:
    reader, writer = await asyncio.open_connection(vip, port)

    async def exchange(question: bytes) -> bytes:
        writer.write(question)
        return await reader.readexactly(SIZES["tcp"])

    return exchange


async def open_udp(vip: str, port: int) -> Exchange:
    transport, answers = await asyncio.get_running_loop().create_datagram_endpoint(Answers, remote_addr=(vip, port))

    async def exchange(question: bytes) -> bytes:
        transport.sendto(question)
        while not (heard := await answers.heard.get()).startswith(question):
            pass  # the late answer to a question that was asked again
        return heard

    return exchange


OPEN = {"tcp": open_tcp, "udp": open_udp}


class Crowd:
    """The connections of one protocol."""

    def __init__(self, protocol: str, each: int, stop: Path) -> None:
        self.protocol = protocol
        self.each = each
        self.stop = stop
        self.started = self.answers = self.repeated = 0
        self.lost: list[str] = []

    async def run(self, vip: str, port: int) -> None:
        await asyncio.gather(*(self.last(vip, port, number) for number in range(self.each)))

    async def last(self, vip: str, port: int, number: int) -> None:
        """One connection, from its beginning to the end of all."""
        rounds = 0
        try:
            await asyncio.sleep(PAUSE * 2 * number / self.each)
            exchange = await asyncio.wait_for(OPEN[self.protocol](vip, port), PATIENCE["tcp"])
            while not self.stop.exists():
                await self.ask(exchange, b"%04d%08d" % (number, rounds))
                rounds += 1
                self.started += rounds == 1
                await asyncio.sleep(PAUSE)
        except (OSError, EOFError, TimeoutError, AssertionError) as error:
            self.lost.append(f"connection {number}, round {rounds}: {error!r}")

    async def ask(self, exchange: Exchange, question: bytes) -> None:
        for attempt in range(REPEATS[self.protocol]):
            try:
                heard = await asyncio.wait_for(exchange(question), PATIENCE[self.protocol])
                assert heard == answer(question, SIZES[self.protocol]), "a wrong answer"
                self.answers += 1
                self.repeated += attempt
                return
            except TimeoutError:
                pass
        raise TimeoutError("no answer")

    def report(self) -> dict[str, object]:
        return {"connections": self.started, "answers": self.answers, "repeated": self.repeated, "lost": self.lost}


async def ask_all(vip: str, port: int, each: int, stop: Path) -> None:
    crowds = [Crowd(protocol, each, stop) for protocol in OPEN]
    tasks = [asyncio.create_task(crowd.run(vip, port)) for crowd in crowds]
    while any(crowd.started + len(crowd.lost) < each for crowd in crowds) and not stop.exists():
        await asyncio.sleep(0.1)
    print("ready", flush=True)
    await asyncio.gather(*tasks)
    print(json.dumps({crowd.protocol: crowd.report() for crowd in crowds}), flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", address, port]:
            asyncio.run(serve(address, int(port)))
        case ["ask", vip, port, each, stop]:
            asyncio.run(ask_all(vip, int(port), int(each), Path(stop)))
        case _:
            sys.exit(__doc__)
