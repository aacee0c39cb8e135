"""How full the rings between workers and kernel are; and, last, the engine's end."""

import socket
from threading import Thread

import pytest

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import SERVER, inbound, server_mac, tcp
from tests.packets.test_workers import wait_until


def depths() -> tuple[int, int]:
    counters = engine.worker_counters()[0]
    return counters.to_kernel_depth, counters.from_kernel_depth


def test_depths(director: Director) -> None:
    """Frames from the kernel stand in its ring until the worker takes them; frames for it until the kernel loop
    does."""
    ours, taps = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    taps.setblocking(False)
    engine.attach_kernel_interface(0, taps.fileno())
    kernel = Thread(target=engine.kernel_loop)
    kernel.start()
    frames = [bytes([n]) * 60 for n in range(5)]
    for frame in frames:
        ours.send(frame)
    wait_until(lambda: depths() == (0, 5))
    engine.stop()
    kernel.join()
    assert engine.run_once([], now=director.seconds()) == [(0, frame) for frame in frames]
    assert depths() == (0, 0)

    director.service(hops={SERVER: None})
    syns = [inbound(tcp("S", sport=n)) for n in (1, 2, 3)]
    director.send(*syns)
    director.remove(0)
    director.resolve(0, 0, server_mac(SERVER))
    engine.start()
    wait_until(lambda: depths() == (3, 0))
    engine.stop()
    assert engine.run_once([], now=director.seconds()) == [(None, syn) for syn in syns]
    assert depths() == (0, 0)


@pytest.mark.usefixtures("_director")
def test_after_close() -> None:
    """close() twice is once; after it a worker is asked nothing more."""
    engine.close()
    engine.close()
    with pytest.raises(engine.EngineError, match="closed"):
        engine.sweep(0)
