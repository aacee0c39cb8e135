"""A director on a wire with the hosts of a network, and what the mirror of its kernel tells."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Interface

from jupiter.host.interfaces import Interface
from jupiter.host.mirror import Mirror
from jupiter.host.netlink import Netlink

from .namespace import Namespace
from .waiting import SECONDS, until_async

SERVER, SECOND, GATEWAY = (IPv4Address(f"1.1.1.{host}") for host in (3, 4, 254))
LAN1 = IPv4Address("1.1.2.254")
FAR = IPv4Address("172.16.5.5")
NOBODY = IPv4Address("1.1.1.77")
LAN_MAC, NEW_MAC, LAN2_MAC = (bytes.fromhex(f"0200000000{number}") for number in ("01", "02", "03"))

QUICK = {
    "base_reachable_time_ms": 200,
    "delay_first_probe_time": 0,
    "retrans_time_ms": 30,
    "ucast_solicit": 2,
    "mcast_solicit": 2,
    "interval_probe_time_ms": 100,
}


class Recorder:
    """What a data path would know from the callbacks, and the order in which it came."""

    def __init__(self) -> None:
        self.hops: dict[IPv4Address, tuple[int, bytes | None]] = {}
        self.addresses: dict[int, IPv4Interface | None] = {}
        self.calls: list[tuple[IPv4Address, int, bytes | None]] = []

    def on_next_hop(self, address: IPv4Address, port: int, mac: bytes | None) -> None:
        self.hops[address] = port, mac
        self.calls.append((address, port, mac))

    def on_address(self, port: int, address: IPv4Interface | None) -> None:
        self.addresses[port] = address

    async def hears(self, address: IPv4Address, port: int, mac: bytes | None) -> None:
        assert await until_async(lambda: self.hops.get(address) == (port, mac)), self.calls


class Turns:
    """What the turns of a loop cost, in seconds of CPU time: others use these processors too."""

    def __init__(self) -> None:
        self.costs: list[float] = []

    def __enter__(self) -> "Turns":
        gc.disable()  # the tests' libraries, which it would go through, are no burden of the mirror's
        return self

    def __exit__(self, *exception: object) -> None:
        gc.enable()

    async def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline
            for _ in range(10):
                began = time.thread_time()
                await asyncio.sleep(0)
                self.costs.append(time.thread_time() - began)


class Bench:
    """director: jupiter0 (port 0, 1.1.1.2), jupiter1 (port 1, 1.1.2.2); network: lan0, lan1 opposite, with hosts."""

    def __init__(self, director: Namespace, network: Namespace) -> None:
        self.director, self.network = director, network
        director.connect("jupiter0", network, "lan0")
        director.connect("jupiter1", network, "lan1")
        network.run(
            f"ip link set dev lan0 address {LAN_MAC.hex(':')}",
            f"ip link set dev lan1 address {LAN2_MAC.hex(':')}",
            *(f"ip addr add {host}/24 dev lan0" for host in (SERVER, SECOND, GATEWAY)),
            f"ip addr add {LAN1}/24 dev lan1",
        )
        network.set("ipv4/conf/lan0/arp_notify", 1)
        director.run("ip addr add 1.1.1.2/24 dev jupiter0", "ip addr add 1.1.2.2/24 dev jupiter1")
        with director, Netlink() as kernel:
            self.interfaces = {
                kernel.link("jupiter0").index: Interface(0, GATEWAY),
                kernel.link("jupiter1").index: Interface(1),
            }

    def hasten(self) -> None:
        """The kernel's neighbour state machine, some thirty times faster than it comes."""
        for key, value in QUICK.items():
            for interface in ("jupiter0", "jupiter1"):
                self.director.set(f"ipv4/neigh/{interface}/{key}", value)

    def neighbour(self, address: IPv4Address) -> str:
        return self.director.run(f"ip neigh show {address}")

    def mirror(
        self, scenario: Callable[[Mirror, Recorder], Awaitable[None]], receive_buffer: int = 4 << 20
    ) -> Recorder:
        """Run the scenario with a started mirror and stop it, whatever happens; nothing may fail unseen in the loop."""
        recorder = Recorder()
        failures: list[object] = []

        async def run() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
            mirror = Mirror(self.interfaces, recorder.on_next_hop, recorder.on_address, receive_buffer)
            await mirror.start()
            try:
                await scenario(mirror, recorder)
            finally:
                await mirror.stop()

        asyncio.run(run())
        assert failures == []
        return recorder
