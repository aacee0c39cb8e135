"""Make inputs to begin with: python -m tests.fuzz.seeds DIRECTORY (root: it opens two network namespaces).

Conversations of two real Linux machines, captured from the wire between them, and what scapy builds where they would
not send it. Addresses and ports are the fuzzer's to choose (tuples.h): who asks becomes a client, who answers a server.
"""

import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert, IPOption_Timestamp
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.packets.frames import CLIENT, CLIENT_MAC, DIRECTOR_MAC, VIP, arp, inbound, tcp, udp

TO_SERVICE, ANSWER, TO_ADDRESS, ERROR_OF_ROUTER, ERROR_OF_HOST, FRAGMENT_IN, FRAGMENT_OUT = range(1, 8)
FIX_LENGTHS, FIX_CHECKSUMS, FIX_MAC, NO_HEADROOM, TWO_SEGMENTS = 8, 16, 32, 64, 128
TIME, HOP, EVENT, KERNEL, BY_WORKER, BY_PORT, TURN_NOW = 4, 5, 6, 7, 8, 16, 32
SETTINGS = (0, 1, 2 + 4, 1 + 8, 16 + 64, 1 + 32, 128 + 2, 256 + 7, 512, 1024, 1 + 2048, 4096, 8192, 8193)
"""As turn.c has them: none, and mixtures."""
SERVICES = {6: (0, 1, 4), 17: (2, 5, 6)}
MAX_DATA = 200
"""Bytes of a captured frame that a seed keeps: what follows is payload, which nobody reads."""
A, B = "192.0.2.1", "192.0.2.2"


def frame(raw: bytes, how: int = 0, place: int = 0, op: int = TURN_NOW, padding: int = 0) -> bytes:
    return bytes((op, how, place, padding // 8)) + len(raw).to_bytes(2, "little") + raw


def of_conversation(raws: list[bytes], asker: str, place: int) -> bytes:
    """Frames between two ends as steps: what the asker sends goes to a service, what comes back answers its last."""
    steps, since = [], 0
    for raw in raws:
        packet = Ether(raw)
        if IP not in packet:
            steps.append(frame(raw))
            continue
        kept, fragment = raw[:MAX_DATA], packet[IP].frag or packet[IP].flags.MF
        padding = (len(raw) - len(kept)) // 8 * 8
        how = FIX_LENGTHS | FIX_CHECKSUMS | FIX_MAC
        if packet[IP].src == asker:
            kind, since = (FRAGMENT_IN if fragment else TO_ADDRESS if ICMP in packet else TO_SERVICE), 0
            steps.append(frame(kept, how | kind, place, padding=padding))
        else:
            kind = FRAGMENT_OUT if fragment else ERROR_OF_HOST if ICMP in packet else ANSWER
            steps.append(frame(kept, how | kind, since & 7, padding=padding))
        since += 1
    return b"".join(steps)


# ---- real ones ------------------------------------------------------------------------------------------------


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextmanager
def two_machines() -> Iterator[tuple[str, str]]:
    """Network namespaces, A in the first, B in the second, and a cable between them."""
    names = ("fuzz-seeds-a", "fuzz-seeds-b")
    with ExitStack() as stack:
        for name in names:
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
        ip("-n", names[0], "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", names[1])
        for name, address in zip(names, (A, B), strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "wire")
            ip("-n", name, "link", "set", "wire", "up")
            ip("-n", name, "link", "set", "lo", "up")
            whole = ["ethtool", "-K", "wire", "tx", "off", "tso", "off", "gso", "off", "gro", "off"]
            subprocess.run(["ip", "netns", "exec", name, *whole], check=True, stdout=subprocess.DEVNULL)
        yield names


def enter(name: str) -> None:
    """This thread, for good."""
    import ctypes

    with Path("/var/run/netns", name).open() as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter network namespace {name}")


def serve(name: str, ready: threading.Event) -> None:
    """B: an echo server on TCP and UDP port 9; port 10 refuses."""
    enter(name)
    listener, datagrams = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
    listener.bind((B, 9))
    listener.listen()
    datagrams.bind((B, 9))

    def answer_datagrams() -> None:
        while True:
            data, peer = datagrams.recvfrom(65535)
            datagrams.sendto(data, peer)

    threading.Thread(target=answer_datagrams, daemon=True).start()
    ready.set()
    while True:
        peer, _ = listener.accept()
        with peer, suppress(ConnectionError):
            while data := peer.recv(65535):
                peer.sendall(data)


def talk_tcp() -> None:
    with socket.create_connection((B, 9)) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        s.recv(100)
        s.shutdown(socket.SHUT_WR)
        s.recv(100)


def talk_much() -> None:
    with socket.create_connection((B, 9)) as s:
        s.sendall(bytes(8000))
        received = 0
        while received < 8000:
            received += len(s.recv(8000))


def talk_reset() -> None:
    with socket.create_connection((B, 9)) as s:
        s.sendall(b"hello")
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def talk_refused() -> None:
    with suppress(ConnectionRefusedError):
        socket.create_connection((B, 10)).close()


def talk_udp(n: int, port: int = 9) -> Callable[[], None]:
    def talk() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as s:
            s.connect((B, port))
            s.settimeout(0.5)
            s.send(bytes(n))
            with suppress(OSError):  # refused, or too late
                s.recv(65535)

    return talk


def ping(*options: str) -> Callable[[], None]:
    def run() -> None:
        subprocess.run(["ping", "-c", "1", "-W", "1", *options, B], check=False, stdout=subprocess.DEVNULL)

    return run


CONVERSATIONS = {
    "tcp": talk_tcp,
    "tcp-much": talk_much,
    "tcp-reset": talk_reset,
    "tcp-refused": talk_refused,
    "udp": talk_udp(40),
    "udp-fragments": talk_udp(4000),
    "udp-unreachable": talk_udp(40, 10),
    "ping": ping(),
    "ping-fragments": ping("-s", "3000"),
    "ping-route": ping("-R"),
}


def captured() -> Iterator[tuple[str, list[bytes]]]:
    with two_machines() as (a, b):
        ready = threading.Event()
        threading.Thread(target=serve, args=(b, ready), daemon=True).start()
        ready.wait()
        enter(a)
        for name, talk in CONVERSATIONS.items():
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire:
                wire.bind(("wire", 0))
                wire.settimeout(0.3)
                talk()
                time.sleep(0.2)
                raws = []
                with suppress(TimeoutError):
                    while True:
                        raws.append(wire.recv(65535))
            yield name, [raw for raw in raws if Ether(raw).type in (0x800, 0x806)]


# ---- built ones -----------------------------------------------------------------------------------------------

ALL = FIX_LENGTHS | FIX_CHECKSUMS | FIX_MAC
SYN, DATA = (
    inbound(tcp("S", options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("WScale", 7)])),
    inbound(tcp("PA", data=b"data", options=[("NOP", None), ("NOP", None), ("Timestamp", (2, 1))])),
)
SACK = inbound(tcp("A", options=[("NOP", None), ("NOP", None), ("SAck", (100, 200))]))


def handshake(service: int) -> bytes:
    place = service | 1 << 5
    return (
        frame(SYN, ALL | TO_SERVICE, place)
        + frame(inbound(tcp("SA", options=[("MSS", 1460), ("Timestamp", (5, 1))])), ALL | ANSWER, 0)
        + frame(inbound(tcp("A")), ALL | TO_SERVICE, place)
        + frame(DATA, ALL | TO_SERVICE, place)
        + frame(SACK, ALL | ANSWER, 0)
    )


def passing(seconds: int) -> bytes:
    """At least so many."""
    return bytes((TIME, 15 << 4 | 15)) * (seconds // 500) + bytes((TIME, 15 << 4 | min(seconds % 500 // 32, 15)))


def icmp(type: int, code: int, **fields: object) -> bytes:
    return inbound(ICMP(type=type, code=code, **fields) / Raw(bytes(64)))


def fragments(packet: Packet, order: list[int], how: int) -> bytes:
    whole = bytes(packet)
    parts = [whole[at : at + 24] for at in range(0, len(whole), 24)]
    proto = {TCP: 6, UDP: 17, ICMP: 1}[type(packet)]
    raws = [
        bytes(Ether(src=CLIENT_MAC, dst=DIRECTOR_MAC)
              / IP(src=CLIENT, dst=VIP, id=7, frag=3 * n, flags="MF" * (n + 1 < len(parts)), proto=proto) / Raw(part))
        for n, part in enumerate(parts)
    ]  # fmt: skip
    return b"".join(frame(raws[n], ALL | how, 2) for n in order if n < len(raws))


def built() -> Iterator[tuple[str, bytes]]:
    yield from ((f"handshake-{n}", handshake(n)) for n in SERVICES[6])
    yield (
        "close",
        handshake(0)
        + frame(inbound(tcp("FA")), ALL | TO_SERVICE, 32)
        + frame(inbound(tcp("FA")), ALL | ANSWER, 0)
        + frame(SYN, ALL | TO_SERVICE, 32)
        + passing(120),
    )
    yield "reset", handshake(0) + frame(inbound(tcp("R")), ALL | ANSWER, 1) + passing(20)
    yield "swept", handshake(0) + bytes((EVENT, 1, 0, EVENT, 1, 1, EVENT, 3, 0)) + frame(DATA, ALL | TO_SERVICE, 32)
    yield "removed", handshake(0) + bytes((EVENT, 0, 0, EVENT, 2, 1)) + frame(DATA, ALL | TO_SERVICE, 32) + passing(700)
    yield "found", handshake(0) + bytes((EVENT, 4, 0, EVENT, 12, 0))
    yield "sent", bytes((EVENT, 5, 0, len(SYN), 0)) + SYN + bytes((EVENT, 6, 0, EVENT, 5, 0, len(SYN), 0)) + SYN
    yield (
        "parked",
        b"".join(bytes((HOP, 128 | n)) for n in range(13))
        + frame(SYN, ALL | TO_SERVICE, 0) * 3
        + b"".join(bytes((HOP, n)) for n in range(13))
        + frame(SYN, ALL | TO_SERVICE, 0),
    )
    yield "given-up", bytes((HOP, 128, HOP, 129)) + frame(SYN, ALL | TO_SERVICE, 0) * 12 + passing(2)
    yield (
        "kernel",
        bytes((KERNEL, 60, 0))
        + bytes(60)
        + frame(inbound(tcp("S"), dst="1.1.1.2"), ALL)
        + frame(bytes.fromhex("ffffffffffff02000000010186dd") + bytes(30)),
    )
    yield "arp", frame(arp(VIP)) + frame(arp("10.0.2.1")) + frame(arp("1.1.1.2")) + frame(arp(VIP)[:30])
    yield "echo", frame(icmp(8, 0), ALL | TO_ADDRESS) + frame(icmp(13, 0), ALL | TO_ADDRESS) + frame(icmp(0, 0), ALL)
    yield "ttl", frame(inbound(tcp("S"), ttl=1), ALL | TO_SERVICE) + handshake(0) + frame(
        inbound(udp(data=b"x" * 30), ttl=1), ALL | TO_SERVICE, 2) + frame(
        inbound(tcp("S"), ttl=1), ALL | TO_SERVICE | NO_HEADROOM)  # fmt: skip
    for kind in (ERROR_OF_ROUTER, ERROR_OF_HOST):
        errors = (icmp(3, 4, nexthopmtu=1400), icmp(3, 1), icmp(3, 3), icmp(11, 0), icmp(12, 0), icmp(5, 1), icmp(4, 0))
        for part, first in (("tcp", handshake(0)), ("udp", frame(inbound(udp(data=b"x" * 40)), ALL | TO_SERVICE, 2))):
            yield f"icmp-{part}-{kind}", first + b"".join(frame(e, ALL | kind, k & 3) for k, e in enumerate(errors))
    orders = {"forward": [0, 1, 2, 3], "backward": [3, 2, 1, 0], "twice": [1, 0, 1, 0, 2, 3], "lost": [1, 2]}
    for name, order in orders.items():
        for packet in (udp(data=b"d" * 60), tcp("S", data=b"d" * 50), ICMP() / Raw(b"d" * 60)):
            kinds = fragments(packet, order, FRAGMENT_IN)
            yield f"fragments-{name}-{type(packet).__name__.lower()}", kinds + passing(40)
    yield (
        "fragments-back",
        frame(inbound(udp(data=b"x" * 40)), ALL | TO_SERVICE, 2)
        + fragments(udp(data=b"d" * 60), [0, 1, 2, 3], FRAGMENT_OUT),
    )
    later = [inbound(Raw(b"fragment"), proto=17, frag=n, flags="MF") for n in range(1, 67)]
    yield "fragments-many", b"".join(frame(raw, ALL | FRAGMENT_IN, 2, op=0) for raw in later) + passing(40)
    yield (
        "long",
        handshake(0)
        + frame(DATA, ALL | TO_SERVICE, 32, padding=1500)
        + frame(inbound(tcp("A"), flags="DF"), ALL | TO_SERVICE, 32, padding=1500)
        + frame(DATA, ALL | ANSWER, 0, padding=1504),
    )
    for n, options in enumerate(([IPOption_Router_Alert()], [IPOption_Timestamp()], [IPOption_Router_Alert()] * 10)):
        yield f"options-{n}", frame(inbound(tcp("S"), options=options), ALL | TO_SERVICE)
    flood = b"".join(frame(SYN, ALL | TO_SERVICE, p, op=0) for p in range(0, 256, 8)) * 3
    yield "flood", flood + frame(SYN, ALL | TO_SERVICE) + passing(100)
    yield "segments", frame(SYN, ALL | TO_SERVICE | TWO_SEGMENTS) + frame(SYN, TO_SERVICE)
    yield "flags", b"".join(frame(SYN, ALL | TO_SERVICE, op=TURN_NOW | n << 6) for n in range(4))
    yield "two-arms", handshake(0) + frame(SYN, ALL | TO_SERVICE, 1, op=TURN_NOW | BY_PORT) + frame(
        inbound(tcp("SA")), ALL | ANSWER, 0, op=TURN_NOW | BY_PORT | BY_WORKER)  # fmt: skip
    yield from ((f"cut-{n}", frame(DATA[:n], FIX_MAC) + frame(inbound(udp(data=b"data"))[:n])) for n in range(0, 60, 7))
    generator = random.Random(1)
    yield "junk", b"".join(frame(generator.randbytes(n)) for n in (1, 13, 14, 15, 33, 34, 60, 100))


def main() -> int:
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    inputs = dict(built())
    for name, raws in captured():
        protocol = 6 if name.startswith("tcp") else 17
        for service in SERVICES[protocol]:
            inputs[f"{name}-{service}"] = of_conversation(raws, A, service | 2 << 5)
    for n, (name, steps) in enumerate(sorted(inputs.items())):
        for settings in (SETTINGS[0], SETTINGS[1 + n % (len(SETTINGS) - 1)]):
            (target / f"{name}.{settings:x}").write_bytes(settings.to_bytes(2, "little") + steps)
    print(f"{len(inputs)} conversations, {2 * len(inputs)} inputs in {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
