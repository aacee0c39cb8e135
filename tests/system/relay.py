"""A relay between two wires that loses, reorders and duplicates what passes: the kernel here has no netem.

usage: relay.py LEFT RIGHT SEED LOSS REORDER DUPLICATE STOP     rates: parts of 1; until the file STOP exists
Prints "ready", and at the end JSON, by direction: what came, and how many of that were lost, sent twice, overtaken by a
later frame. ARP passes unharmed: what waits for a MAC address is another test's matter.
"""

import json
import random
import select
import socket
import sys
import time
from pathlib import Path

ETH_P_ALL = 0x0003
PACKET_IGNORE_OUTGOING = 23
SOL_PACKET = 263
SO_RCVBUFFORCE = 33
BUFFER = 16 << 20
ARP = b"\x08\x06"
OVERTAKERS = 8
"""A held frame lets so many pass at most."""
PATIENCE = 0.02
"""Seconds after which it goes on in any case."""


def open_wire(interface: str) -> socket.socket:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)  # no protocol: nothing comes before bind
    wire.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    wire.bind((interface, ETH_P_ALL))
    wire.setblocking(False)
    return wire


class Direction:
    """What comes from one wire and goes to the other."""

    def __init__(self, source: socket.socket, target: socket.socket, chance: random.Random, rates: list[float]) -> None:
        self.source, self.target, self.chance = source, target, chance
        loss, reorder, duplicate = rates
        self.lost_below, self.held_below, self.doubled_below = loss, loss + reorder, loss + reorder + duplicate
        self.held: list[list[float | bytes]] = []
        """Frames that wait: how many may still pass, until when, how many have passed, the frame."""
        self.counts = dict.fromkeys(("came", "lost", "doubled", "overtaken"), 0)

    def drain(self) -> None:
        for _ in range(64):
            try:
                self.pass_on(self.source.recv(65536))
            except BlockingIOError:
                return

    def pass_on(self, frame: bytes) -> None:
        self.counts["came"] += 1
        fate = 1.0 if frame[12:14] == ARP else self.chance.random()
        if fate < self.lost_below:
            self.counts["lost"] += 1
            return
        if fate < self.held_below:
            self.held.append([self.chance.randint(1, OVERTAKERS), time.monotonic() + PATIENCE, 0, frame])
            return
        self.send(frame)
        if fate < self.doubled_below:
            self.counts["doubled"] += 1
            self.send(frame)

    def send(self, frame: bytes) -> None:
        self.target.send(frame)
        if self.held:
            for waiting in self.held:
                waiting[2] += 1
            self.release()

    def release(self) -> None:
        now = time.monotonic()
        due = [w for w in self.held if w[2] >= w[0] or w[1] <= now]
        self.held = [w for w in self.held if w not in due]
        for _, _, passed, frame in due:
            self.counts["overtaken"] += passed > 0
            self.target.send(frame)


def main(left: str, right: str, seed: int, rates: list[float], stop: Path) -> None:
    wires = open_wire(left), open_wire(right)
    chance = random.Random(seed)
    directions = [Direction(wires[0], wires[1], chance, rates), Direction(wires[1], wires[0], chance, rates)]
    print("ready", flush=True)
    while not stop.exists():
        busy = select.select(wires, [], [], PATIENCE / 2)[0]
        for direction in directions:
            if direction.source in busy:
                direction.drain()
            if direction.held:
                direction.release()
    print(json.dumps([direction.counts for direction in directions]))


if __name__ == "__main__":
    if len(sys.argv) != 8:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), [float(rate) for rate in sys.argv[4:7]], Path(sys.argv[7]))
