"""Two workers that really run, each on its processor, fed through ring ports while something else happens."""

import itertools
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from socket import inet_aton

import pytest

from fastpath import engine
from tests.packets.bulk import packets
from tests.packets.director import Director
from tests.packets.frames import OTHER_SERVER, SERVER, inbound, server_mac, udp

WORKERS = 2
BURST = 32
CLIENTS = 64
PUBLISHES = 3000


@contextmanager
def running() -> Iterator[None]:
    engine.start()
    try:
        yield
    finally:
        engine.stop()
