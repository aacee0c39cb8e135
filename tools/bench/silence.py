"""Round trips of echo requests, each after a silence: ADDRESS COUNT -> a JSON list of microseconds. In a namespace.

Sent and received here, with busy waiting on a raw socket, so that what varies is the other end.
"""

import json
import random
import socket
import struct
import sys
import time

ECHO, ECHO_REPLY = 8, 0


def checksum(message: bytes) -> int:
    total = sum(struct.unpack(f"!{len(message) // 2}H", message))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def echo(number: int) -> bytes:
    message = struct.pack("!BBHHH", ECHO, 0, 0, 0x6A75, number & 0xFFFF) + bytes(32)
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


def round_trip(icmp: socket.socket, address: str, number: int) -> float:
    began = time.perf_counter_ns()
    icmp.sendto(echo(number), (address, 0))
    while True:
        try:
            packet = icmp.recv(2048)
        except BlockingIOError:
            if time.perf_counter_ns() - began > 2_000_000_000:
                sys.exit(f"no answer from {address} within 2 s")
            continue
        if packet[20] == ECHO_REPLY and packet[24:28] == echo(number)[4:8]:
            return (time.perf_counter_ns() - began) / 1000


def main() -> None:
    address, count = sys.argv[1], int(sys.argv[2])
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as icmp:
        icmp.setblocking(False)
        for number in range(10):
            round_trip(icmp, address, number)  # ARP, caches
        trips = []
        for number in range(count):
            time.sleep(random.uniform(0.010, 0.030))
            trips.append(round_trip(icmp, address, number))
    json.dump(trips, sys.stdout)


main()
