"""A steady UDP flow and a flood of UDP connections, for tools.bench.control; runs inside a host of its laboratory.

send VIP PORT RATE          packets of one flow until there is OVER; then prints how many
receive PORT                counts them until there is OVER, then prints how many came
flood VIP PORT MAC COUNT    one frame each of COUNT clients (20.0.0.0 on) out of eth0; prints how many
"""

import socket
import struct
import sys
import time
from pathlib import Path

OVER = Path("/run/flow.over")
RECEIVE_BUFFER_FORCE = 33
"""SO_RCVBUFFORCE (socket(7)), which Python has no name for."""
CLIENT = 0x14000000
BATCH = 0.005
"""Seconds between the bursts of a flow."""


def ended() -> bool:
    return OVER.exists()


def send(vip: str, port: int, rate: int) -> int:
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.connect((vip, port))
    begin, sent = time.monotonic(), 0
    while not ended():
        due = int((time.monotonic() - begin) * rate)
        for _ in range(min(due - sent, rate // 20)):
            out.send(b"x")
            sent += 1
        time.sleep(BATCH)
    return sent


def receive(port: int) -> int:
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.setsockopt(socket.SOL_SOCKET, RECEIVE_BUFFER_FORCE, 32 << 20)
    sink.bind(("", port))
    sink.settimeout(0.2)
    print("ready", flush=True)
    count = 0
    while True:
        try:
            sink.recv(64)
            count += 1
        except TimeoutError:
            if ended():
                return count


def flood(vip: str, port: int, mac: str, count: int) -> int:
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    out.bind(("eth0", 0))
    header = bytes.fromhex(mac.replace(":", "")) + b"\x02\0\0\0\0\x14" + b"\x08\0"
    udp = struct.pack("!HHHH", 1024, port, 9, 0) + b"x"  # checksum 0: none (RFC 768)
    for n in range(count):
        source, target = struct.pack("!I", CLIENT + n), socket.inet_aton(vip)
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 29, 0, 0, 64, 17, 0) + source + target
        total = sum(struct.unpack("!10H", ip))
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        frame = header + ip[:10] + struct.pack("!H", ~total & 0xFFFF) + ip[12:] + udp
        try:
            out.send(frame.ljust(60, b"\0"))
        except OSError:  # no buffer space: the link is full
            time.sleep(0.001)
    return count


def main() -> None:
    what, *arguments = sys.argv[1:]
    if what == "send":
        print(send(arguments[0], int(arguments[1]), int(arguments[2])))
    elif what == "receive":
        print(receive(int(arguments[0])))
    else:
        print(flood(arguments[0], int(arguments[1]), arguments[2], int(arguments[3])))


if __name__ == "__main__":
    main()
