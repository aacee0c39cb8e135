"""jupiter.cfg: what is read, and what is said of wrong values."""

import re
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupiter.config import ConfigError, PolicySettings, Settings, load, parse
from jupiter.eal import PortSource
from jupiter.values import MAX_LOCAL_ADDRESSES

HERE = Path("jupiter.cfg")
SAMPLE = """\
[DPDK]
argv = -c 0xf00 -n 4
[DEVICE0]
name = jupiter0
ipv4 = 1.1.1.2  # 本机Jupiter0 IP、gw信息
netmask = 255.255.255.0
gw = 1.1.1.254
rxqsize = 256
txqsize = 512
mtu = 1500
rxoffload = 0
txoffload = 0
local-ipv4 = 10.0.2.1/32, 10.0.2.2/32, 10.0.2.3/32, 10.0.2.4/32
pci = 0000:01:00.2
mode = rr
"""
ANCESTORS_SAMPLE = """\
[DPDK]
argv = -c 0xf00 -n 4
[DEVICE0]
name = jupiter0
ipv4 = 192.168.1.1
netmask = 255.255.0.0
gw = 192.168.1.254
rxqsize = 256
txqsize = 512
mtu = 1500
rxoffload = 0
txoffload = 0
local-ipv4 = 192.168.2.10/28
pci = 00:00.0
; more devices:
"""
SMALLEST = """\
[DEVICE0]
name = jupiter0
ipv4 = 1.1.1.2
netmask = 255.255.255.0
local-ipv4 = 10.0.2.1/32
vdev = net_af_packet0,iface=eth1
"""
SECOND = """\
[DEVICE1]
name = jupiter1
ipv4 = 2.2.2.2
netmask = 255.255.255.0
vdev = net_af_packet1,iface=eth2
"""


def problems(text: str) -> list[str]:
    """What is said of a wrong file, without its name and line."""
    return [problem for _, problem in placed_problems(text)]


def placed_problems(text: str) -> list[tuple[str, str]]:
    """(line, what is said)."""
    with pytest.raises(ConfigError) as error:
        parse(text, HERE)
    assert error.value.code == "invalid-config"
    found = [re.fullmatch(r"jupiter\.cfg:(\d*):? (.*)", line) for line in error.value.text.splitlines()]
    return [(match[1], match[2]) for match in found if match]


def test_the_sample_is_read_as_it_stands() -> None:
    settings = parse(SAMPLE, HERE)
    (device,) = settings.devices
    assert settings.argv == ("-c", "0xf00", "-n", "4")
    assert settings.hugepages == "auto"
    assert (device.device.name, device.device.mtu) == ("jupiter0", 1500)
    assert device.device.address == IPv4Interface("1.1.1.2/24")
    assert device.device.gateway == IPv4Address("1.1.1.254")
    assert [str(a) for a in device.local_addresses] == ["10.0.2.1", "10.0.2.2", "10.0.2.3", "10.0.2.4"]
    assert device.source == PortSource(pci=("0000:01:00.2",), bond_mode=0)
    assert (device.rx_size, device.tx_size) == (256, 512)


def test_the_ancestors_sample_is_read_as_it_stands() -> None:
    """A prefix stands for all its addresses; a PCI address may go without its domain."""
    (device,) = parse(ANCESTORS_SAMPLE, HERE).devices
    assert device.local_addresses == tuple(IPv4Network("192.168.2.0/28"))
    assert device.source.pci == ("0000:00:00.0",)


SHIPPED = Path(__file__).parents[2] / "etc/jupiter.cfg"
EXAMPLE = "# [10.0.1.1:8888 tcp]"


def test_the_file_that_is_shipped_is_right_and_states_the_defaults() -> None:
    """Taking the comment sign from its commented-out values changes nothing, but for `vdev`, which excludes `pci`, and
    `group`, which has no default."""
    lines = SHIPPED.read_text(encoding="utf-8").partition(EXAMPLE)[0].splitlines()
    explicit = [
        line.removeprefix("# ")
        if line.startswith("# ") and line.split()[2:3] == ["="] and line.split()[1] not in ("vdev", "group")
        else line
        for line in lines
    ]
    assert sum(a != b for a, b in zip(lines, explicit, strict=True)) == 19
    assert parse("\n".join(explicit), SHIPPED) == load(SHIPPED)


def test_the_example_of_a_service_in_the_file_that_is_shipped_is_right() -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    before, _, example = text.partition(EXAMPLE)
    lines = [line.removeprefix("# ") for line in (EXAMPLE + example).splitlines()]
    (service,) = parse("\n".join([before, *lines]), SHIPPED).services.values()
    assert (str(service.key), service.scheduler, len(service.servers)) == ("10.0.1.1:8888 tcp", "wrr", 3)
    assert (service.max_conns, service.cql, service.cql_clients) == (20000, 100, {IPv4Address("1.1.1.9"): 0})
    assert [(s.max_conns, s.backup) for s in service.servers.values()][1:] == [(1000, False), (2147483647, True)]


def test_defaults() -> None:
    settings = parse(SMALLEST, HERE)
    (device,) = settings.devices
    assert settings.argv == ()
    c = settings.connections
    assert (c.capacity, c.tcp_established, c.tcp_transitory, c.tcp_closed, c.udp) == (1048576, 7440, 240, 10, 300)
    assert device.device.gateway is None
    assert (device.device.mtu, device.rx_size, device.tx_size) == (1500, 256, 512)
    assert (settings.idle, device.steering) == ("adaptive", "auto")
    assert settings.policy == PolicySettings(refuse=True, reset_unknown=False, grace=300)
    assert device.source == PortSource(vdevs=("net_af_packet0,iface=eth1",))


def test_what_nobody_serves_may_go_in_silence_and_unknown_packets_get_a_reset() -> None:
    """B9, B19: not by default."""
    settings = parse(f"{SMALLEST}[POLICY]\nunserved = silent\nunknown = reset\ngrace = 0\n", HERE)
    assert settings.policy == PolicySettings(refuse=False, reset_unknown=True, grace=0)


def test_the_model_at_start_has_devices_and_local_addresses() -> None:
    model = parse(SMALLEST + SECOND, HERE).model()
    assert [d.name for d in model.devices] == ["jupiter0", "jupiter1"]
    assert model.local_addresses[IPv4Address("10.0.2.1")].device == "jupiter0"
    assert not model.services


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("DPDK", "argv", "-l 0", "at least two lcores"),
        ("DPDK", "argv", "-c 0x8", "at least two lcores"),
        ("DPDK", "argv", "-l x", "lcores such as"),
        ("DPDK", "argv", "-l 0-65", "at most 65 lcores, one main and 64 workers"),
        ("DPDK", "argv", "-l 0,1 --help", "without --help"),
        ("DPDK", "argv", "--lcores '0", "closed quotes"),
        ("DPDK", "hugepages", "1G", "auto, none or a number"),
        ("DPDK", "idle", "never", "adaptive or poll"),
        ("CONNECTIONS", "capacity", "0", "a number from 1024 to"),
        ("CONNECTIONS", "udp", "-1", "a number from 1 to"),
        ("POLICY", "unserved", "drop", "refuse or silent"),
        ("POLICY", "unknown", "refuse", "silent or reset"),
        ("POLICY", "grace", "604801", "a number from 0 to 604800"),
        ("DEVICE0", "name", "a-name-of-16-byte", "at most 15 bytes"),
        ("DEVICE0", "name", "a b", "without blanks"),
        ("DEVICE0", "ipv4", "1.1.1.256", "an IPv4 address"),
        ("DEVICE0", "ipv4", "127.0.0.1", "not a loopback address"),
        ("DEVICE0", "ipv4", "1.1.1.255", "a host's address in 1.1.1.0/24"),
        ("DEVICE0", "netmask", "255.0.255.0", "a netmask"),
        ("DEVICE0", "netmask", "0.0.0.255", "a netmask"),
        ("DEVICE0", "netmask", "24", "a netmask"),
        ("DEVICE0", "gw", "1.1.2.1", "another host's address in 1.1.1.0/24"),
        ("DEVICE0", "gw", "1.1.1.2", "another host's address in 1.1.1.0/24"),
        ("DEVICE0", "rxqsize", "63", "a number from 64 to 4096"),
        ("DEVICE0", "txqsize", "4097", "a number from 64 to 4096"),
        ("DEVICE0", "mtu", "67", "a number from 68 to 9600"),
        ("DEVICE0", "mtu", "1e3", "a number from 68 to 9600"),
        ("DEVICE0", "txoffload", "on", "a number"),
        ("DEVICE0", "local-ipv4", "10.0.2.1/33", "a.b.c.d/1 to a.b.c.d/32"),
        ("DEVICE0", "local-ipv4", "10.0.2.1/32,", "an empty one is none"),
        ("DEVICE0", "local-ipv4", "10.0.0.0/8", f"at most {MAX_LOCAL_ADDRESSES} addresses"),
        ("DEVICE0", "local-ipv4", "224.0.0.1/32", "multicast"),
        ("DEVICE0", "local-ipv4", "10.0.2.1/32, 10.0.2.0/30", "only once"),
        ("DEVICE0", "local-ipv4", "1.1.1.2/32", "another address than DEVICE0's own"),
        ("DEVICE0", "vdev", "net_af_packet0, iface=eth1", "EAL vdevs"),
        ("DEVICE0", "mode", "7", "0 to 6, rr or active-backup"),
        ("DEVICE0", "steering", "hash", "auto, ring, rss or flow"),
    ],
)
def test_a_wrong_value_is_named_with_section_key_value_and_what_was_expected(
    section: str, key: str, value: str, expected: str
) -> None:
    """One wrong value, one line: file, line, section, key, value, expected."""
    texts = {"DPDK": "", "CONNECTIONS": "", "POLICY": "", "DEVICE0": SMALLEST.partition("\n")[2]}
    kept = [line for line in texts[section].splitlines() if line.partition(" =")[0] != key]
    texts[section] = "\n".join([*kept, f"{key} = {value}"])
    text = "\n".join(f"[{name}]\n{text}" for name, text in texts.items())
    ((line, problem),) = placed_problems(text)
    assert text.splitlines()[int(line) - 1] == f"{key} = {value}"
    assert problem.startswith(f"[{section}] {key} = ")
    named, _, wanted = problem.partition(": expected ")
    assert expected in wanted
    assert named.partition(" = ")[2].split("/")[0] in value


def test_all_problems_are_reported_at_once() -> None:
    """One pass, all of them: wrong, missing, unknown and contradictory, in several sections."""
    found = problems(
        "[DPDK]\nhugepages = 1G\n[DEVICE0]\nname = a\nmut = 1500\nmtu = 1\nipv4 = 1.1.1.2\ngw = x\n" + SECOND
    )
    for part in ("hugepages = 1G", "mut: unknown key; did you mean mtu?", "mtu = 1:", "gw = x:", "netmask = (missing)"):
        assert sum(part in line for line in found) == 1
    assert "[DEVICE0] pci, vdev = (missing): expected one of the two, the ports of this device" in found


def test_values_of_several_devices_are_compared() -> None:
    second = SECOND.replace("jupiter1", "jupiter0").replace("2.2.2.2", "1.1.1.2").replace("packet1", "packet0")
    found = problems(SMALLEST + second)
    for key, value in (("name", "jupiter0"), ("ipv4", "1.1.1.2"), ("vdev", "net_af_packet0")):
        for section in ("DEVICE0", "DEVICE1"):
            assert f"[{section}] {key} = {value}: expected a value that occurs only once in the file" in found


def test_the_same_card_twice_is_found_in_either_spelling() -> None:
    first, second = (
        t.replace(t.splitlines()[-1], p) for t, p in ((SMALLEST, "pci = 01:00.0"), (SECOND, "pci = 0000:01:00.0"))
    )
    assert sum("pci = 0000:01:00.0: expected a value that occurs only once" in p for p in problems(first + second)) == 2


def test_a_device_has_cards_or_vdevs_not_both() -> None:
    assert problems(SMALLEST + "pci = 01:00.0\n") == [
        "[DEVICE0] pci, vdev = (both): expected one of the two, the ports of this device"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            SMALLEST + "[DEVCE1]\nx = 1\n",
            "[DEVCE1] unknown section, expected DPDK, CONNECTIONS, CONTROL, POLICY, DEVICE<n> or VIP",
        ),
        ("mtu = 1\n" + SMALLEST, "mtu: unknown key"),
        ("[DPDK]\nargs = -l 0,1\n" + SMALLEST, "[DPDK] args: unknown key; did you mean argv?"),
        ("[DPDK]\n", "[DEVICE0] missing section, expected at least one DEVICE<n>"),
        (SECOND, "[DEVICE<n>] local-ipv4 = (missing): expected addresses on the device towards the servers"),
        (SMALLEST + "name = b\n", "Duplicate keyword name at line 7."),
        ("[DPDK\n" + SMALLEST, "Invalid line ('[DPDK') (matched as neither section nor keyword) at line 1."),
    ],
)
def test_what_is_not_as_it_should_be_is_named(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert found.startswith(problem)


def test_local_addresses_are_counted_over_all_devices() -> None:
    text = SMALLEST.replace("10.0.2.1/32", "10.1.0.0/20") + SECOND + "local-ipv4 = 10.2.0.0/24\n"
    assert problems(text) == ["[DEVICE<n>] local-ipv4 = 4352 addresses: expected at most 4096 in all"]


def test_flow_steering_needs_a_local_address_for_each_worker() -> None:
    """As far as argv gives their number; with one worker, any."""
    flow = SMALLEST + "steering = flow\n"
    assert problems("[DPDK]\nargv = -l 0-2\n" + flow) == [
        "[DEVICE0] steering = flow: expected local-ipv4 with an address for each of 2 workers"
    ]
    for argv, text in (("-l 0,1", flow), ("", flow), ("-l 0-2", flow.replace("10.0.2.1/32", "10.0.2.1/31"))):
        assert parse(f"[DPDK]\nargv = {argv}\n{text}", HERE).devices[0].steering == "flow"


def test_no_queue_is_without_a_worker() -> None:
    """The kernel would fill those of net_af_packet too."""
    text = SMALLEST.replace("iface=eth1", "iface=eth1,qpairs=3")
    assert problems("[DPDK]\nargv = -l 0-2\n" + text) == [
        "[DEVICE0] vdev = net_af_packet0,iface=eth1,qpairs=3: expected qpairs of at most 2, the number of workers"
    ]
    assert parse("[DPDK]\nargv = -l 0-3\n" + text, HERE)


def test_each_member_of_a_bond_has_queues() -> None:
    text = SMALLEST.replace("vdev = ", "rxqsize = 64\ntxqsize = 128\nvdev = net_null0 ")
    assert [device.descriptors for device in parse(text, HERE).devices] == [2 * (64 + 128)]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.cfg: cannot read it: No such file"):
        load(tmp_path / "missing.cfg")
    (tmp_path / "latin1.cfg").write_bytes(b"[DPDK]\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin1\.cfg:2: expected UTF-8"):
        load(tmp_path / "latin1.cfg")


hosts = st.integers(2, 200)


@given(
    hugepages=st.one_of(st.sampled_from(["auto", "none"]), st.integers(2, 4096)),
    capacity=st.integers(1024, 1 << 28),
    mtu=st.integers(68, 9600),
    sizes=st.tuples(st.integers(64, 4096), st.integers(64, 4096)),
    local=st.sets(st.integers(0, 255), min_size=1, max_size=4),
    gateway=st.none() | hosts,
    comment=st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=10),
)
def test_what_is_written_is_read(
    hugepages: int | str,
    capacity: int,
    mtu: int,
    sizes: tuple[int, int],
    local: set[int],
    gateway: int | None,
    comment: str,
) -> None:
    """Any right value comes back as it was written, whatever the comments say."""
    settings = parse(
        f"; {comment}\n[DPDK]\nhugepages = {hugepages} # {comment}\n[CONNECTIONS]\ncapacity={capacity}\n"
        f"[DEVICE7]\nname = j\nipv4 = 1.1.1.1\nnetmask = 255.255.255.0\nvdev = net_null0\nmtu = {mtu}\n"
        f"rxqsize = {sizes[0]}\ntxqsize = {sizes[1]}\nlocal-ipv4 = {','.join(f'10.0.0.{n}/32' for n in local)}\n"
        + (f"gw = 1.1.1.{gateway}\n" if gateway else ""),
        HERE,
    )
    (device,) = settings.devices
    assert (settings.hugepages, settings.connections.capacity, device.device.mtu) == (hugepages, capacity, mtu)
    assert (device.rx_size, device.tx_size) == sizes
    assert {int(a) & 255 for a in device.local_addresses} == local
    assert device.device.gateway == (IPv4Address(f"1.1.1.{gateway}") if gateway else None)


words = st.sampled_from(
    [*SAMPLE.replace("=", " = ").split(), "[[x]]", "'", '"', "''' ", ",", "=", "\n", "#", ";", "%(x)s"]
)


@given(st.lists(words | st.just("\n") | st.text(max_size=5), max_size=60).map(" ".join))
def test_whatever_is_in_the_file_the_answer_is_settings_or_a_clear_error(text: str) -> None:
    """No traceback in front of an operator."""
    try:
        assert isinstance(parse(text, HERE), Settings)
    except ConfigError as error:
        assert all(re.match(r"jupiter\.cfg:(\d+:)? ", line) for line in error.text.split("\n"))
