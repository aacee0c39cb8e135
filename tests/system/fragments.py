"""Large datagrams, in fragments that the kernel makes or that are made by hand, there and back.

usage: fragments.py serve ADDRESS PORT
           echoes each datagram in the way that its first word says; prints "ready", and for each how many bytes it had
       fragments.py ask VIP PORT CLIENT THERE BACK BYTES
           sends one datagram of BYTES from the address CLIENT in the way THERE; its answer shall come in the way BACK;
           prints JSON: {"answer": "whole", "wrong" or "none"}
       fragments.py together VIP PORT CLIENT CLIENTS BYTES
           the same from CLIENTS addresses at once, all with the same IP id, a fragment of each in turn; prints JSON:
           how many had their own answer
Ways: kernel, which fragments by itself; ordered, reversed, overlapping (the second begins in the first one), or
missing (the second never comes).
"""

import ipaddress
import json
import random
import select
import socket
import struct
import sys
import time

IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0
PIECE = 1480
"""Bytes of a fragment: a multiple of eight, as many as a packet of 1500 carries."""
MORE = 0x2000
PATIENCE = 3.0
HOPELESS = 1.0
"""Seconds of waiting for what should not come."""
ID = 4711
Address = tuple[str, int]


def open_socket(at: Address) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.bind(at)
    return sock


def checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    return 0xFFFF - sum(struct.unpack(f"!{len(data) // 2}H", data)) % 0xFFFF or 0xFFFF


def datagram(source: Address, target: Address, payload: bytes) -> bytes:
    length = 8 + len(payload)
    pseudo = socket.inet_aton(source[0]) + socket.inet_aton(target[0]) + struct.pack("!HH", socket.IPPROTO_UDP, length)
    ports = struct.pack("!HHH", source[1], target[1], length)
    return ports + struct.pack("!H", checksum(pseudo + ports + b"\0\0" + payload)) + payload


def pieces(source: Address, target: Address, payload: bytes, way: str, number: int) -> list[bytes]:
    """The packets of a datagram; the kernel fills in their checksums."""
    whole = datagram(source, target, payload)
    spans = [(begin, min(begin + PIECE, len(whole))) for begin in range(0, len(whole), PIECE)]
    if way == "reversed":
        spans.reverse()
    elif way == "overlapping":
        spans[1] = spans[1][0] - 8, spans[1][1] - 8
    elif way == "missing":
        del spans[1]
    return [
        struct.pack("!BBHHHBBH", 0x45, 0, 0, number, (MORE if end < len(whole) else 0) | begin >> 3, 64, 17, 0)
        + socket.inet_aton(source[0])
        + socket.inet_aton(target[0])
        + whole[begin:end]
        for begin, end in spans
    ]


def send(sock: socket.socket, source: Address, target: Address, payload: bytes, way: str, number: int) -> None:
    """sock: what receives at `source`."""
    if way == "kernel":
        sock.sendto(payload, target)
        return
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for packet in pieces(source, target, payload, way, number):
            raw.sendto(packet, (target[0], 0))


def serve(address: str, port: int) -> None:
    sock = open_socket((address, port))
    print("ready", flush=True)
    number = 0
    while True:
        request, client = sock.recvfrom(65536)
        print(len(request), flush=True)
        number += 1
        send(sock, (address, port), client, request, request.split()[0].decode(), number)


def payload_of(back: str, size: int, seed: int) -> bytes:
    head = back.encode() + b" "
    return head + random.Random(seed).randbytes(size - len(head))


def ask(target: Address, client: str, there: str, back: str, size: int) -> None:
    sock = open_socket((client, 0))
    source = sock.getsockname()
    payload = payload_of(back, size, source[1])
    send(sock, source, target, payload, there, source[1])
    hopeless = {"overlapping", "missing"} & {there, back}
    sock.settimeout(HOPELESS if hopeless else PATIENCE)
    try:
        answer = "whole" if sock.recv(65536) == payload else "wrong"
    except TimeoutError:
        answer = "none"
    print(json.dumps({"answer": answer}))


def together(target: Address, first: str, clients: int, size: int) -> None:
    socks = [open_socket((str(ipaddress.IPv4Address(first) + n), 30000 + n)) for n in range(clients)]
    asked = {sock: payload_of("kernel", size, number) for number, sock in enumerate(socks)}
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for turn in zip(*(pieces(s.getsockname(), target, asked[s], "ordered", ID) for s in socks), strict=True):
            for packet in turn:
                raw.sendto(packet, (target[0], 0))
    own = 0
    end = time.monotonic() + PATIENCE
    while asked and (rest := end - time.monotonic()) > 0:
        for sock in select.select(list(asked), [], [], rest)[0]:
            own += sock.recv(65536) == asked.pop(sock)
    print(json.dumps(own))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", address, port]:
            serve(address, int(port))
        case ["ask", vip, port, client, there, back, size]:
            ask((vip, int(port)), client, there, back, int(size))
        case ["together", vip, port, first, clients, size]:
            together((vip, int(port)), first, int(clients), int(size))
        case _:
            sys.exit(__doc__)
