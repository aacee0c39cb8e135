"""The laboratory's shapes, as data."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

VIP = "10.0.1.1"
NO_IPV6 = "net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1"  # its chatter disturbs counters
NO_BRIDGE_FILTER = "net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-arptables=0"
LOCAL_ADDRESSES = "10.0.2.1/32, 10.0.2.2/32, 10.0.2.3/32, 10.0.2.4/32"


@dataclass(frozen=True)
class Cable:
    """A veth from a host's interface to a bridge. address: with prefix length; None where DPDK takes the interface.

    index: the interface's number, None for the kernel's choice.
    """

    host: str
    interface: str
    bridge: str
    address: str | None = None
    index: int | None = None


@dataclass(frozen=True)
class Device:
    """A [DEVICE<n>] section of jupiter.cfg: kernel interface, its address, the netdev under it, local addresses.

    defragments: net_af_packet, which asks the kernel to put fragments together before it sees them; else net_pcap.
    """

    name: str
    ipv4: str
    interface: str
    local_ipv4: str = ""
    gateway: str = ""
    mtu: int = 1500
    defragments: bool = True

    def vdev(self, number: int, queues: int) -> str:
        if self.defragments:
            return f"net_af_packet{number},iface={self.interface},qpairs={queues}"
        return f"net_pcap{number},iface={self.interface},phy_mac=1"


@dataclass(frozen=True)
class Route:
    """gateway: an address, or `dev INTERFACE` for what is on the link itself."""

    host: str
    destination: str
    gateway: str

    def command(self) -> str:
        way = self.gateway if self.gateway.startswith("dev ") else f"via {self.gateway}"
        return f"ip -n {self.host} route add {self.destination} {way}"


@dataclass(frozen=True)
class Topology:
    cables: tuple[Cable, ...]
    routes: tuple[Route, ...]
    devices: tuple[Device, ...]
    server_addresses: tuple[str, ...]
    routers: tuple[str, ...] = ()

    def hosts(self) -> list[str]:
        return sorted({cable.host for cable in self.cables})

    def commands(self) -> Iterator[str]:
        """The shell lines that build it, in a mount namespace whose /run is empty."""
        for host in ["switch", *self.hosts()]:
            yield f"ip netns add {host}"
            yield f"ip netns exec {host} sysctl -qw {NO_IPV6}"
            yield f"ip -n {host} link set lo up"
        # Else the bridge reassembles fragments and drops malformed packets. -e: not every kernel has br_netfilter.
        yield f"ip netns exec switch sysctl -eqw {NO_BRIDGE_FILTER}"
        for bridge in sorted({cable.bridge for cable in self.cables}):
            yield f"ip -n switch link add {bridge} up type bridge"
        for cable in self.cables:
            yield from _plug(cable)
        for route in self.routes:
            yield route.command()
        for router in self.routers:
            yield f"ip netns exec {router} sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0"


def _plug(cable: Cable) -> Iterator[str]:
    outlet = f"{cable.host}-{cable.interface}"
    number = "" if cable.index is None else f" index {cable.index}"
    yield f"ip link add {cable.interface}{number} netns {cable.host} type veth peer name {outlet} netns switch"
    yield f"ip -n switch link set {outlet} up master {cable.bridge}"
    # A veth hands its peer frames whose checksum nobody has computed yet: a kernel peer knows, DPDK does not.
    # Turns TSO off too.
    yield f"ip netns exec {cable.host} ethtool -K {cable.interface} tx off >/dev/null"
    if cable.address:
        yield f"ip -n {cable.host} address add {cable.address} dev {cable.interface}"
    yield f"ip -n {cable.host} link set {cable.interface} up"


ONE_ARM = Topology(
    cables=(
        Cable("client", "eth0", "lan", "1.1.1.1/24"),
        Cable("director", "eth1", "lan"),
        Cable("server1", "eth0", "lan", "1.1.1.3/24"),
        Cable("server2", "eth0", "lan", "1.1.1.4/24"),
    ),
    routes=(
        Route("client", "10.0.1.0/24", "1.1.1.2"),
        Route("client", "10.0.2.0/24", "1.1.1.2"),  # for ping to a local address; no traffic of a service takes it
        Route("server1", "10.0.2.0/24", "1.1.1.2"),
        Route("server2", "10.0.2.0/24", "1.1.1.2"),
    ),
    devices=(Device("jupiter0", "1.1.1.2", "eth1", LOCAL_ADDRESSES),),
    server_addresses=("1.1.1.3", "1.1.1.4"),
)

TWO_ARM = Topology(
    cables=(
        Cable("client", "eth0", "clients", "1.1.1.1/24"),
        Cable("director", "eth1", "clients"),
        Cable("director", "eth2", "servers"),
        Cable("server1", "eth0", "servers", "2.2.2.3/24"),
        Cable("server2", "eth0", "servers", "2.2.2.4/24"),
    ),
    routes=(
        Route("client", "10.0.1.0/24", "1.1.1.2"),
        Route("server1", "10.0.2.0/24", "2.2.2.2"),
        Route("server2", "10.0.2.0/24", "2.2.2.2"),
    ),
    devices=(
        Device("jupiter0", "1.1.1.2", "eth1"),
        Device("jupiter1", "2.2.2.2", "eth2", LOCAL_ADDRESSES),
    ),
    server_addresses=("2.2.2.3", "2.2.2.4"),
)

# server2 is behind a router, the director's default gateway. Whoever sends to VIPs and local addresses takes them to be
# on the link, where the data plane answers ARP for them: so nothing depends on the director's own address.
ROUTED = Topology(
    cables=(
        Cable("client", "eth0", "lan", "1.1.1.1/24"),
        Cable("director", "eth1", "lan"),
        Cable("router", "eth0", "lan", "1.1.1.254/24"),
        Cable("router", "eth1", "rack", "3.3.3.1/24"),
        Cable("server1", "eth0", "lan", "1.1.1.3/24"),
        Cable("server2", "eth0", "rack", "3.3.3.4/24"),
    ),
    routes=(
        Route("client", "10.0.1.0/24", "dev eth0"),
        Route("server1", "10.0.2.0/24", "dev eth0"),
        Route("router", "10.0.2.0/24", "dev eth0"),
        Route("server2", "default", "3.3.3.1"),
    ),
    devices=(Device("jupiter0", "1.1.1.2", "eth1", LOCAL_ADDRESSES, "1.1.1.254"),),
    server_addresses=("1.1.1.3", "3.3.3.4"),
    routers=("router",),
)

# As ROUTED, but nobody knows a way: the client none to VIPs, the router none to local addresses, the director none to
# server2. BGP shall tell them.
UNROUTED = replace(
    ROUTED,
    routes=(Route("server1", "10.0.2.0/24", "dev eth0"), Route("server2", "default", "3.3.3.1")),
    devices=(Device("jupiter0", "1.1.1.2", "eth1", LOCAL_ADDRESSES),),
)
