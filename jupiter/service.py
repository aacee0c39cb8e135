"""jupiter-service: puts the rooms together, in order, and takes them apart in reverse order."""

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jupiter import VERSION, config, daemon, eal
from jupiter.config import Settings
from jupiter.control import DEFAULT_SOCKET
from jupiter.control.server import ControlServer
from jupiter.errors import JupiterError
from jupiter.host import hugepages, ingress, pci, tap
from jupiter.host.interfaces import Interface
from jupiter.host.mirror import Mirror

if TYPE_CHECKING:
    from jupiter.datapath import Datapath

log = logging.getLogger(__name__)

EAL_MEGABYTES = 256
"""Huge pages for EAL: packet buffers, rings and queues. What connections need comes on top."""
TICK_SECONDS = 1.0

_path = click.Path(dir_okay=False, path_type=Path, resolve_path=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--conf", type=_path, default=config.DEFAULT_PATH, help="Configuration file.")
@click.option("--daemon", "background", is_flag=True, help="Go to the background when the service answers.")
@click.option("--check", is_flag=True, help="Say what is wrong with the configuration file, and exit.")
@click.option("--unixsock", type=_path, default=DEFAULT_SOCKET, help="Socket for jupiter-ctl.")
@click.option("--pidfile", type=_path, default="/var/run/jupiter.pid", help="Pid file, locked while the service runs.")
@click.option("--log", "log_file", type=_path, default="/var/log/jupiter.log", help="Log of a --daemon.")
@click.version_option(VERSION, prog_name="jupiter-service")
def command(conf: Path, background: bool, check: bool, unixsock: Path, pidfile: Path, log_file: Path) -> None:
    """FullNAT layer-4 load balancer on DPDK."""
    settings = config.load(conf)
    if check:
        click.echo(f"{conf} is valid.")
        return
    report = daemon.detach(log_file) if background else lambda problem: None
    daemon.log_to_stderr()
    daemon.interrupt_on_signals()
    try:
        run(settings, unixsock, pidfile, lambda: report(None))
    except JupiterError as error:
        report(error.text)
        raise
    except KeyboardInterrupt:
        report("jupiter-service was stopped while it started.")
        raise


def main() -> None:
    """Exit code 0 after a clean end, 2 for a wrong configuration, 1 for whatever else ended the service."""
    try:
        command()
    except JupiterError as error:
        click.echo(error.text, err=True)
        sys.exit(2 if isinstance(error, config.ConfigError) else 1)


def run(settings: Settings, unixsock: Path, pidfile: Path, ready: Callable[[], None]) -> None:
    """Serve until a signal or the `stop` command; ready() is called once the control socket answers."""
    with ExitStack() as undo:
        undo.enter_context(daemon.PidFile(pidfile))
        datapath = load_datapath(settings)
        start_engine(datapath, settings, undo)
        interfaces = open_devices(datapath, settings, undo)
        take_netdevs(settings, undo)
        datapath.start()
        undo.callback(datapath.stop)
        asyncio.run(serve(datapath, interfaces, unixsock, ready))
        log.info("stopping")


def load_datapath(settings: Settings) -> "Datapath":
    """Only now, for it loads DPDK: --help and --check do without."""
    try:
        from jupiter.datapath import Datapath
    except ImportError as error:
        raise JupiterError("not-built", f"The data plane cannot be loaded, is it built? {error}") from None
    return Datapath(settings.model())


def start_engine(datapath: "Datapath", settings: Settings, undo: ExitStack) -> None:
    """Huge pages, network cards, EAL."""
    huge = reserve_memory(datapath, settings, undo)
    for device in settings.devices:
        for address in device.source.pci:
            binding = pci.bind(address, pci.available_driver())
            undo.callback(binding.restore)
            log.info("network card %s is with %s (was: %s)", address, binding.driver, binding.before)
    argv = eal.arguments(settings.argv, [d.source for d in settings.devices], huge)
    log.info("EAL: %s", " ".join(argv))
    mtu = max(d.device.mtu for d in settings.devices)
    environment = datapath.open(argv, mtu, **asdict(settings.connections))
    undo.callback(datapath.close)
    workers = ", ".join(map(str, environment.worker_lcores))
    log.info("main lcore %d, worker lcores %s", environment.main_lcore, workers)
    megabytes = environment.region_bytes >> 20
    log.info("%d connections: %d MB of %s", settings.connections.capacity, megabytes, environment.region_pages)


def reserve_memory(datapath: "Datapath", settings: Settings, undo: ExitStack) -> bool:
    """Whether there are huge pages to run on."""
    if settings.hugepages == "none" or eal.given(settings.argv, ["--no-huge"]):
        return False
    needed = EAL_MEGABYTES + (datapath.region_bytes(settings.connections.capacity) >> 20)
    try:
        reservation = hugepages.reserve(needed if settings.hugepages == "auto" else settings.hugepages)
    except JupiterError as error:
        if settings.hugepages != "auto":
            raise
        log.warning("running on normal pages: %s", error.text)
        return False
    undo.callback(reservation.release)
    return True


def open_devices(datapath: "Datapath", settings: Settings, undo: ExitStack) -> dict[int, Interface]:
    """Ports and their kernel interfaces, by the index of the interface."""
    interfaces = {}
    for index, s in enumerate(settings.devices):
        try:
            port = datapath.add_port(s.device, s.local_addresses, s.source.port_name(index), s.rx_size, s.tx_size)
        except JupiterError as error:
            raise JupiterError(error.code, f"Device {s.device.name}, {s.source}: {error.text}") from error
        log.info("port %d: %s (%s), MAC %s", port.number, port.name, port.driver, port.mac.hex(":"))
        kernel = tap.open_tap(s.device.name, port.mac, s.device.mtu)
        undo.callback(kernel.close)
        assert s.device.address is not None
        tap.configure(kernel, s.device.address, s.device.gateway)
        datapath.attach(port.number, kernel.fd)
        interfaces[kernel.index] = Interface(port.number, s.device.gateway)
        log.info("exception path of port %d: TAP %s, %s", port.number, s.device.name, s.device.address)
    return interfaces


def take_netdevs(settings: Settings, undo: ExitStack) -> None:
    """From the kernel, where a port is one of its netdevs."""
    vdevs = [vdev for device in settings.devices for vdev in device.source.vdevs]
    if netdevs := list(filter(None, map(ingress.netdevs_of, vdevs))):
        drop = ingress.KernelIngressDrop(netdevs)
        drop.install()
        undo.callback(drop.remove)
        log.info("the kernel ignores what arrives on %s", ", ".join(netdevs))


async def serve(
    datapath: "Datapath", interfaces: dict[int, Interface], unixsock: Path, ready: Callable[[], None]
) -> None:
    """Follow the kernel and answer commands until told to stop."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    daemon.call_on_signals(lambda: loop.call_soon_threadsafe(stop.set))
    try:
        async with AsyncExitStack() as undo:
            mirror = Mirror(interfaces, datapath.set_next_hop, datapath.set_address)
            await mirror.start()
            undo.push_async_callback(mirror.stop)
            datapath.follow(mirror)
            server = ControlServer(unixsock, datapath, stop.set)
            await server.start()
            undo.push_async_callback(server.close)
            log.info("jupiter %s answers on %s", VERSION, unixsock)
            ready()
            await keep_house(datapath, stop)
    finally:
        daemon.ignore_signals()


async def keep_house(datapath: "Datapath", stop: asyncio.Event) -> None:
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), TICK_SECONDS)
        try:
            datapath.tick()
        except Exception:  # the packets flow all the same
            log.exception("housekeeping failed")
