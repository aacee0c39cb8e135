"""Frames on the client's wire: who answers ARP, and garbage.

usage: frames.py arp INTERFACE ADDRESS          ask once, listen for a second; a line for each answer, its MAC
       frames.py garbage INTERFACE MAC SEED     thousands of broken frames towards MAC and everybody
"""

import random
import socket
import sys
import time
from pathlib import Path

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

BROADCAST = "ff:ff:ff:ff:ff:ff"


def open_wire(interface: str) -> socket.socket:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
    wire.bind((interface, 0x0806))
    return wire


def own_mac(interface: str) -> str:
    return Path(f"/sys/class/net/{interface}/address").read_text().strip()


def arp(interface: str, address: str) -> None:
    mac = own_mac(interface)
    with open_wire(interface) as wire:
        wire.send(bytes(Ether(src=mac, dst=BROADCAST) / ARP(op="who-has", hwsrc=mac, psrc="1.1.1.1", pdst=address)))
        end = time.monotonic() + 1
        while (rest := end - time.monotonic()) > 0:
            wire.settimeout(rest)
            try:
                frame = Ether(wire.recv(2048))
            except TimeoutError:
                break
            if frame[ARP].op == 2 and frame[ARP].psrc == address:
                print(frame[ARP].hwsrc)


def broken(chance: random.Random, source: str, target: str) -> bytes:
    """One frame: noise, a lying header, or a good packet that is cut short or has some bytes changed."""
    head = Ether(src=source, dst=chance.choice([target, BROADCAST]))
    layer = chance.choice(
        [
            TCP(sport=1, dport=8888, flags=chance.randrange(256)),
            UDP(sport=1, dport=8888),
            ICMP(type=chance.randrange(256)),
        ]
    )
    packets = [
        head / Raw(chance.randbytes(chance.randrange(1400))),
        Ether(src=source, dst=target, type=0x0800) / Raw(chance.randbytes(chance.randrange(100))),
        head / IP(src="1.1.1.1", dst="10.0.1.1", ihl=chance.randrange(16), len=chance.randrange(65536)) / layer,
        head / IP(src="1.1.1.1", dst="10.0.1.1", frag=chance.randrange(8192), flags=chance.randrange(8)) / layer,
        head / ARP(hwlen=chance.randrange(256), plen=chance.randrange(256)) / Raw(chance.randbytes(4)),
    ]
    frame = bytearray(bytes(chance.choice(packets)))
    for _ in range(chance.randrange(4)):
        frame[chance.randrange(12, len(frame))] = chance.randrange(256)
    return bytes(frame[: chance.randrange(14, len(frame) + 1)])


def garbage(interface: str, target: str, seed: int) -> None:
    chance = random.Random(seed)
    source = own_mac(interface)
    with open_wire(interface) as wire:
        for _ in range(3000):
            wire.send(broken(chance, source, target))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["arp", interface, address]:
            arp(interface, address)
        case ["garbage", interface, mac, seed]:
            garbage(interface, mac, int(seed))
        case _:
            sys.exit(__doc__)
