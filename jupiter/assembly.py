"""Puts the rooms together, in order, and takes them apart in reverse order: a service from start to end."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict, replace
from functools import partial
from mmap import PAGESIZE
from pathlib import Path
from typing import TYPE_CHECKING

from jupiter import VERSION, config, daemon, eal, notify
from jupiter import log as logs
from jupiter.config import PolicySettings, Settings
from jupiter.control.server import ControlServer
from jupiter.errors import JupiterError
from jupiter.host import fanout, hugepages, ingress, pci, tap
from jupiter.host.interfaces import Interface
from jupiter.host.mirror import Mirror
from jupiter.instance import PAGES_LOCK, Instance
from jupiter.log import fields
from jupiter.model import Services
from jupiter.running import Running
from jupiter.session import DraftBudget
from jupiter.state import StateFile
from jupiter.watchdog import Watchdog

if TYPE_CHECKING:
    from jupiter.datapath import Datapath

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
SWITCH_SECONDS = 0.0005
"""After so long a thread that plans a large change lets the main loop have its turn (Python's own value: 0.005)."""
END_PATIENCE = 20.0
"""Seconds that the end waits for its turn to give back huge pages."""


def run(settings: Settings, place: Instance, watchdog: float, ready: Callable[[], None]) -> None:
    """Serve until a signal or the `stop` command; ready() is called once the control socket answers."""
    begin = time.monotonic()
    sys.setswitchinterval(SWITCH_SECONDS)
    with ExitStack() as undo:
        undo.enter_context(daemon.PidFile(place.pidfile))
        log.info("jupiter-service starts", extra=fields(version=VERSION, instance=place.name, config=place.config))
        datapath = load_datapath(settings)
        for netdev in netdevs(settings, "af_packet"):
            fanout.refuse_taken(netdev)
        start_engine(datapath, settings, place, undo)
        interfaces = open_devices(datapath, settings, undo)
        take_netdevs(settings, undo)
        datapath.set_policy(settings.policy.refuse, reset_unknown=False)
        datapath.start()
        undo.callback(datapath.stop)
        workers = [f"worker lcore {lcore}" for lcore in datapath.worker_lcores()]
        with Watchdog(watchdog, workers, datapath.progress) as guard:

            def answers() -> None:
                log.info("serving", extra=fields(socket=place.socket, seconds=round(time.monotonic() - begin, 2)))
                notify.ready("serving")
                ready()

            asyncio.run(serve(datapath, interfaces, settings, place, guard, answers))
        log.info("stopping")


def load_datapath(settings: Settings) -> "Datapath":
    """Only now, for it loads DPDK: --help and --check do without."""
    try:
        from jupiter.datapath import Datapath
    except ImportError as error:
        raise JupiterError("not-built", f"The data plane cannot be loaded, is it built? {error}") from None
    return Datapath(settings.model())


def start_engine(datapath: "Datapath", settings: Settings, place: Instance, undo: ExitStack) -> None:
    """Huge pages, network cards, EAL."""
    workers = worker_count(settings)
    region = datapath.region_bytes(settings.connections.capacity, workers) >> 20
    mtu = max(d.device.mtu for d in settings.devices)
    descriptors = sum(d.descriptors for d in settings.devices)
    buffers = partial(datapath.buffer_bytes, workers, descriptors, mtu)
    needed = eal.megabytes(buffers(hugepages.PAGE_MEGABYTES << 20))
    reservation = reserve_memory(region, needed, settings, place, undo)
    for device in settings.devices:
        for address in device.source.pci:
            binding = pci.bind(address, pci.available_driver())
            undo.callback(binding.restore)
            log.info("network card taken", extra=fields(card=address, driver=binding.driver, was=binding.before))
    megabytes = eal_megabytes(region, needed, settings) if reservation else eal.megabytes(buffers(PAGESIZE))
    sources = [d.source for d in settings.devices]
    argv = eal.arguments(settings.argv, sources, reservation is not None, megabytes, place.file_prefix)
    log.info("EAL starts", extra=fields(argv=" ".join(argv)))
    environment = datapath.open(argv, mtu, descriptors, settings.idle, **asdict(settings.connections))
    undo.callback(datapath.close)
    if reservation:
        reservation.settle()
    lcores = ",".join(map(str, environment.worker_lcores))
    log.info("lcores", extra=fields(main=environment.main_lcore, workers=lcores))
    log.info(
        "memory",
        extra=fields(
            eal="huge pages" if reservation else "normal pages",
            reserved_pages=reservation.added if reservation else 0,
            connections=settings.connections.capacity,
            megabytes=environment.region_bytes >> 20,
            of=environment.region_pages,
        ),
    )


def worker_count(settings: Settings) -> int:
    """EAL's choice is every processor that we may use, where argv leaves it to it; these can be too many."""
    named, most = eal.lcores(settings.argv), eal.MAX_WORKERS
    count = len(os.sched_getaffinity(0)) if named is None else len(named)
    if count > 1 + most:
        raise JupiterError(
            "too-many-workers",
            f"[DPDK] argv names no lcores, and all but one of {count} CPUs would be workers, "
            f"at most {most} can be. Name some, such as -l 0-{most}.",
        )
    return max(1, count - 1)


def eal_megabytes(region: int, needed: int, settings: Settings) -> int | None:
    """What EAL is to take at once, so that no other instance does: all that the region leaves of what was asked for.

    On huge pages. None: as it needs it, where what is on the workers' node may not be enough.
    """
    if not hugepages.on_one_node():
        return None
    if isinstance(settings.hugepages, int):
        return settings.hugepages - region if settings.hugepages > region else None
    return needed


def reserve_memory(
    region: int, needed: int, settings: Settings, place: Instance, undo: ExitStack
) -> hugepages.Reservation | None:
    """None where there are no huge pages to run on. region: megabytes for the connections; needed: for EAL."""
    account = hugepages.Account(place.pages, PAGES_LOCK)
    undo.callback(give_back_pages, account)
    if settings.hugepages == "none" or eal.given(settings.argv, ["--no-huge"]):
        give_back_pages(account)  # what an earlier life of ours had, if it was killed
        return None
    wanted = region + needed if settings.hugepages == "auto" else settings.hugepages
    try:
        reservation = hugepages.reserve(wanted, account)
    except JupiterError as error:
        if settings.hugepages != "auto":
            raise
        log.warning("running on normal pages: %s", error.text)
        return None
    undo.callback(reservation.settle)
    return reservation


def give_back_pages(account: hugepages.Account) -> None:
    try:
        hugepages.give_back(account, END_PATIENCE)
    except JupiterError as error:
        log.warning("huge pages stay reserved until the next end of this instance: %s", error.text)


def open_devices(datapath: "Datapath", settings: Settings, undo: ExitStack) -> dict[int, Interface]:
    """Ports and their kernel interfaces, by the index of the interface."""
    interfaces = {}
    for index, s in enumerate(settings.devices):
        try:
            port = datapath.add_port(
                s.device, s.local_addresses, s.source.port_name(index), s.rx_size, s.tx_size, s.steering
            )
        except JupiterError as error:
            raise JupiterError(error.code, f"Device {s.device.name}, {s.source}: {error.text}") from error
        log.info(
            "port",
            extra=fields(
                number=port.number,
                device=port.name,
                driver=port.driver,
                mac=port.mac.hex(":"),
                rx_queues=port.rx_queues,
                tx_queues=port.tx_queues,
            ),
        )
        hardware = datapath.device_hardware()[-1]
        log.info("steering", extra=fields(device=s.device.name, by=hardware.steering, why=hardware.why))
        kernel = tap.open_tap(s.device.name, port.mac, s.device.mtu)
        undo.callback(kernel.close)
        assert s.device.address is not None
        tap.configure(kernel, s.device.address, s.device.gateway)
        datapath.attach(port.number, kernel.fd)
        interfaces[kernel.index] = Interface(port.number, s.device.gateway)
        log.info("exception path", extra=fields(port=port.number, tap=s.device.name, address=s.device.address))
    return interfaces


def take_netdevs(settings: Settings, undo: ExitStack) -> None:
    """From the kernel, where a port is one of its netdevs."""
    if names := netdevs(settings):
        drop = ingress.KernelIngressDrop(names)
        drop.install()
        undo.callback(drop.remove)
        log.info("kernel kept off", extra=fields(netdevs=",".join(names)))


def takes_anothers_place(settings: Settings) -> bool:
    """Whether this process has a pid that net_af_packet would mistake for another instance's."""
    return any(map(fanout.is_taken, netdevs(settings, "af_packet")))


def netdevs(settings: Settings, driver: str = "") -> list[str]:
    """Those that are ports, of a driver with this in its name."""
    vdevs = [vdev for device in settings.devices for vdev in device.source.vdevs if driver in vdev]
    return list(filter(None, map(ingress.netdevs_of, vdevs)))


async def serve(
    datapath: "Datapath",
    interfaces: dict[int, Interface],
    settings: Settings,
    place: Instance,
    guard: Watchdog,
    ready: Callable[[], None],
) -> None:
    """Follow the kernel and answer commands until told to stop."""
    loop, stop, reload = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    daemon.call_on_signals(
        lambda: loop.call_soon_threadsafe(stop.set),
        lambda: loop.call_soon_threadsafe(reload.set),
    )
    state = StateFile(place.state) if settings.control.keep_state else None
    running = Running(datapath, lambda: configured(place.config, settings), state, stop.set)
    try:
        async with AsyncExitStack() as undo:
            undo.callback(asyncio.create_task(keep_house(datapath, guard)).cancel)  # to the very end
            undo.callback(asyncio.create_task(datapath.weigh()).cancel)
            undo.callback(asyncio.create_task(end_grace(datapath, settings.policy)).cancel)
            mirror = Mirror(interfaces, datapath.set_next_hop, datapath.set_address)
            await mirror.start()
            undo.push_async_callback(mirror.stop)
            datapath.follow(mirror)
            await running.begin(settings.services)
            undo.push_async_callback(running.end)
            await open_sockets(running, settings, place, undo)
            undo.callback(asyncio.create_task(reload_when_told(running, reload)).cancel)
            ready()
            await stop.wait()
            notify.stopping()
    finally:
        daemon.ignore_signals()


async def open_sockets(running: Running, settings: Settings, place: Instance, undo: AsyncExitStack) -> None:
    """The control socket and, if configured, the one that only reads."""
    drafts = DraftBudget()
    servers = [ControlServer(place.socket, running, group=settings.control.group, drafts=drafts)]
    if settings.control.monitor:
        servers.append(ControlServer(place.readonly_socket, running, mode=0o666, read_only=True, drafts=drafts))
    for server in servers:
        await server.start()

    async def close() -> None:
        await asyncio.gather(*(server.close() for server in servers))

    undo.push_async_callback(close)


def configured(path: Path, started: Settings) -> Services:
    """The services of the configuration as it is now. What else has changed waits for a restart: the log says so."""
    now = config.load(path)
    if replace(now, services=started.services) != started:
        log.warning("only services are reloaded: other changes of %s wait for a restart", path)
    return now.services


async def reload_when_told(running: Running, told: asyncio.Event) -> None:
    while True:
        await told.wait()
        told.clear()
        notify.reloading()
        status = "serving; the last reload was refused"
        try:
            await running.reload("SIGHUP")
            status = "serving"
        except JupiterError as error:
            for line in error.text.splitlines():
                log.error("reload refused, nothing has changed: %s", line, extra=logs.each())
        except Exception:
            log.exception("reload failed")
        notify.ready(status)


async def end_grace(datapath: "Datapath", policy: PolicySettings) -> None:
    """Connections that another director had have had their time: now the policy says what unknown packets get (B19)."""
    if policy.reset_unknown:
        await asyncio.sleep(policy.grace)
        datapath.set_policy(policy.refuse, policy.reset_unknown)
        log.info("grace is over", extra=fields(seconds=policy.grace, unknown="reset"))


async def keep_house(datapath: "Datapath", guard: Watchdog) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        guard.beat()
        logs.settle()
        try:
            datapath.tick()
            for device, reason in datapath.found_out():
                log.warning("steering by ring from now on: %s", reason, extra=fields(device=device))
            await datapath.announce()
        except Exception:  # the packets flow all the same
            log.exception("housekeeping failed")
