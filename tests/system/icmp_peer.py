"""What a socket hears when its packets come to nothing, and which ICMP errors its host gets.

usage: icmp_peer.py refused VIP PORT tcp|udp       prints JSON: {"error": name, "seconds": until it came}
       icmp_peer.py hops VIP PORT tcp|udp TTL...   sends a packet of each TTL, each from a socket of its own
       icmp_peer.py goodbye VIP PORT               sends a datagram and has gone before the answer can come
       icmp_peer.py late ADDRESS PORT              answers one datagram until it hears of an error
hops prints a list as JSON: for each packet "answered", or [source, destination, type, code, whether it quotes us] of
the ICMP error that came. late prints "ready", and the error's name.
"""

import errno
import json
import select
import socket
import struct
import sys
import time

PATIENCE = 10.0
SECOND_THOUGHT = 0.2
QUOTE = struct.Struct("!12x4s4sHH")
"""Of a quoted packet without options: addresses and ports."""
PROTOCOLS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def name_of(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))


def speak(protocol: str, target: tuple[str, int], ttl: int = 64) -> socket.socket:
    """A SYN, or a datagram."""
    sock = socket.socket(socket.AF_INET, PROTOCOLS[protocol])
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
    sock.setblocking(False)
    sock.connect_ex(target)
    if protocol == "udp":
        sock.send(b"1 hello")
    return sock


def refused(target: tuple[str, int], protocol: str) -> None:
    begin = time.monotonic()
    sock = speak(protocol, target)
    select.select([sock], [sock] if protocol == "tcp" else [], [], PATIENCE)
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    print(json.dumps({"error": errno.errorcode.get(code, "none"), "seconds": time.monotonic() - begin}))


def quotes(error: bytes, sock: socket.socket, target: tuple[str, int]) -> bool:
    """Whether it is about what this socket sent; its address is the one that the route gave it."""
    source, destination, sport, dport = QUOTE.unpack_from(error, 28)
    us = (socket.inet_ntoa(source), sport), (socket.inet_ntoa(destination), dport)
    return us == (sock.getsockname(), target)


def hop(wire: socket.socket, target: tuple[str, int], protocol: str, ttl: int) -> object:
    sock = speak(protocol, target, ttl)
    with sock:
        end = time.monotonic() + PATIENCE
        while (rest := end - time.monotonic()) > 0:
            readable, writable, _ = select.select([wire, sock], [sock] if protocol == "tcp" else [], [], rest)
            if wire in readable:
                error = wire.recv(2048)
                source, destination = socket.inet_ntoa(error[12:16]), socket.inet_ntoa(error[16:20])
                return source, destination, error[20], error[21], quotes(error, sock, target)
            if sock in readable + writable:
                return "answered"
    return None


def hops(target: tuple[str, int], protocol: str, ttls: list[int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as wire:
        print(json.dumps([hop(wire, target, protocol, ttl) for ttl in ttls]))


def goodbye(target: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(target)
        sock.send(b"hello")


def late(address: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, port))
        print("ready", flush=True)
        sock.connect(sock.recvfrom(2048)[1])
        end = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < end:
                time.sleep(SECOND_THOUGHT)
                sock.send(b"too late")
            print("none")
        except OSError as error:
            print(name_of(error))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["refused", vip, port, "tcp" | "udp" as protocol]:
            refused((vip, int(port)), protocol)
        case ["hops", vip, port, "tcp" | "udp" as protocol, *ttls]:
            hops((vip, int(port)), protocol, [int(ttl) for ttl in ttls])
        case ["goodbye", vip, port]:
            goodbye((vip, int(port)))
        case ["late", address, port]:
            late(address, int(port))
        case _:
            sys.exit(__doc__)
