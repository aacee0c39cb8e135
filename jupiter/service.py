"""jupiter-service: puts the rooms together, in order, and takes them apart in reverse order."""

import asyncio
import faulthandler
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jupiter import VERSION, config, daemon, eal, exits, notify
from jupiter import log as logs
from jupiter.config import Settings
from jupiter.control.server import ControlServer
from jupiter.errors import JupiterError
from jupiter.host import hugepages, ingress, pci, tap
from jupiter.host.mirror import Mirror
from jupiter.instance import PAGES_LOCK, Instance, instance
from jupiter.log import fields
from jupiter.watchdog import LIMIT, Watchdog

if TYPE_CHECKING:
    from jupiter.datapath import Datapath

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
END_PATIENCE = 20.0
"""Seconds that the end waits for its turn to give back huge pages."""

_path = click.Path(dir_okay=False, path_type=Path, resolve_path=True)


def _of_instance(option: str, field: str, help: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option for a path that otherwise comes from --instance."""
    defaults = getattr(instance(), field), getattr(instance("NAME"), field)
    return click.option(
        option, field, type=_path, help=f"{help} [default: {defaults[0]}; of an instance {defaults[1]}]"
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100})
@click.option("--instance", "name", metavar="NAME", default="", help="Which of several services of this machine.")
@_of_instance("--conf", "config", "Configuration file.")
@click.option("--check", is_flag=True, help="Say what is wrong with the configuration file, and exit.")
@click.option("--daemon", "background", is_flag=True, help="Go to the background when the service answers.")
@_of_instance("--unixsock", "socket", "Socket for jupiter-ctl.")
@_of_instance("--pidfile", "pidfile", "Pid file, locked while the service runs.")
@_of_instance("--log", "log", "Log of a --daemon; otherwise it goes to stderr.")
@click.option("--log-level", type=click.Choice(logs.LEVELS), default="info", help="What is logged: this and worse.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", help="For people or for programs.")
@click.option(
    "--watchdog",
    type=click.IntRange(0, 3600),
    default=int(LIMIT),
    metavar="SECONDS",
    help="End the process when a worker takes no turn for so long, or the main loop for six times as long; 0: never.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks of unexpected errors.")
@click.version_option(VERSION, prog_name="jupiter-service")
def command(
    name: str,
    check: bool,
    background: bool,
    log_level: str,
    log_format: logs.Format,
    watchdog: int,
    debug: bool,
    **paths: Path | None,
) -> None:
    """FullNAT layer-4 load balancer on DPDK.

    \b
    Examples:
      jupiter-service --check --conf=FILE   say all that is wrong with a configuration
      jupiter-service --daemon              serve by /etc/jupiter/jupiter.cfg, in the background
      jupiter-service --instance=blue       a second service beside it, by /etc/jupiter/blue.cfg
      jupiter-ctl stop                      end it

    \b
    Exit codes:
      0         it has ended in order (SIGTERM, SIGINT, `jupiter-ctl stop`); with --daemon: it answers
      1         it cannot start, or go on; the reason is on stderr, and in the log
      2         wrong configuration or command line; every error is on stderr
      3         its watchdog has ended it: a worker or the main loop hangs; the log says which
      130, 143  SIGINT or SIGTERM has ended it while it started
    """
    given: dict[str, Any] = {field: path for field, path in paths.items() if path is not None}
    place = replace(instance(name), **given)
    settings = config.load(place.config)
    if check:
        click.echo(f"{place.config} is valid.")
        return
    report: daemon.Report = daemon.detach(place.log) if background else lambda problem, code: None
    logs.setup(log_level, log_format, debug)
    faulthandler.enable()
    daemon.end_with_any_thread()
    try:
        run(settings, place, watchdog, lambda: report(None, exits.DONE))
    except BaseException as error:
        report(*exits.verdict(error))
        raise


def main() -> None:
    daemon.terminate_on_signals()
    exits.run(command)


def run(settings: Settings, place: Instance, watchdog: float, ready: Callable[[], None]) -> None:
    """Serve until a signal or the `stop` command; ready() is called once the control socket answers."""
    begin = time.monotonic()
    with ExitStack() as undo:
        undo.enter_context(daemon.PidFile(place.pidfile))
        log.info("jupiter-service starts", extra=fields(version=VERSION, instance=place.name, config=place.config))
        datapath = load_datapath(settings)
        start_engine(datapath, settings, place, undo)
        interfaces = open_devices(datapath, settings, undo)
        take_netdevs(settings, undo)
        datapath.start()
        undo.callback(datapath.stop)
        workers = [f"worker lcore {lcore}" for lcore in datapath.worker_lcores()]
        with Watchdog(watchdog, workers, datapath.progress) as guard:

            def answers() -> None:
                log.info("serving", extra=fields(socket=place.socket, seconds=round(time.monotonic() - begin, 2)))
                notify.ready("serving")
                ready()

            asyncio.run(serve(datapath, interfaces, place, guard, answers))
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
    region = datapath.region_bytes(settings.connections.capacity) >> 20
    reservation = reserve_memory(region, settings, place, undo)
    for device in settings.devices:
        for address in device.source.pci:
            binding = pci.bind(address, pci.available_driver())
            undo.callback(binding.restore)
            log.info("network card taken", extra=fields(card=address, driver=binding.driver, was=binding.before))
    megabytes = eal_megabytes(region, settings, reservation)
    sources = [d.source for d in settings.devices]
    argv = eal.arguments(settings.argv, sources, reservation is not None, megabytes, place.file_prefix)
    log.info("EAL starts", extra=fields(argv=" ".join(argv)))
    mtu = max(d.device.mtu for d in settings.devices)
    environment = datapath.open(argv, mtu, **asdict(settings.connections))
    undo.callback(datapath.close)
    if reservation:
        reservation.settle()
    workers = ",".join(map(str, environment.worker_lcores))
    log.info("lcores", extra=fields(main=environment.main_lcore, workers=workers))
    log.info("steering: one worker, nothing to steer")
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


def eal_megabytes(region: int, settings: Settings, reservation: hugepages.Reservation | None) -> int | None:
    """What EAL is to take at once, so that no other instance does: all that the region leaves of what was asked for.

    None: as it needs it, where what is on the workers' node may not be enough.
    """
    if reservation is None:
        return eal.MEGABYTES
    if not hugepages.on_one_node():
        return None
    if isinstance(settings.hugepages, int):
        return settings.hugepages - region if settings.hugepages > region else None
    return eal.MEGABYTES


def reserve_memory(region: int, settings: Settings, place: Instance, undo: ExitStack) -> hugepages.Reservation | None:
    """None where there are no huge pages to run on. region: megabytes for the connections."""
    account = hugepages.Account(place.pages, PAGES_LOCK)
    undo.callback(give_back_pages, account)
    if settings.hugepages == "none" or eal.given(settings.argv, ["--no-huge"]):
        give_back_pages(account)  # what an earlier life of ours had, if it was killed
        return None
    wanted = region + eal.MEGABYTES if settings.hugepages == "auto" else settings.hugepages
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


def open_devices(datapath: "Datapath", settings: Settings, undo: ExitStack) -> dict[str, int]:
    """Ports and their kernel interfaces: name of the interface -> number of the port."""
    interfaces = {}
    for index, s in enumerate(settings.devices):
        try:
            port = datapath.add_port(s.device, s.local_addresses, s.source.port_name(index), s.rx_size, s.tx_size)
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
        kernel = tap.open_tap(s.device.name, port.mac, s.device.mtu)
        undo.callback(kernel.close)
        assert s.device.address is not None
        tap.configure(kernel, s.device.address, s.device.gateway)
        datapath.attach(port.number, kernel.fd)
        interfaces[s.device.name] = port.number
        log.info("exception path", extra=fields(port=port.number, tap=s.device.name, address=s.device.address))
    return interfaces


def take_netdevs(settings: Settings, undo: ExitStack) -> None:
    """From the kernel, where a port is one of its netdevs."""
    vdevs = [vdev for device in settings.devices for vdev in device.source.vdevs]
    if netdevs := list(filter(None, map(ingress.netdevs_of, vdevs))):
        drop = ingress.KernelIngressDrop(netdevs)
        drop.install()
        undo.callback(drop.remove)
        log.info("kernel kept off", extra=fields(netdevs=",".join(netdevs)))


async def serve(
    datapath: "Datapath",
    interfaces: dict[str, int],
    place: Instance,
    guard: Watchdog,
    ready: Callable[[], None],
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
            server = ControlServer(place.socket, datapath, stop.set)
            await server.start()
            undo.push_async_callback(server.close)
            ready()
            await keep_house(datapath, guard, stop)
            notify.stopping()
    finally:
        daemon.ignore_signals()


async def keep_house(datapath: "Datapath", guard: Watchdog, stop: asyncio.Event) -> None:
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), TICK_SECONDS)
        guard.beat()
        logs.settle()
        try:
            datapath.tick()
        except Exception:  # the packets flow all the same
            log.exception("housekeeping failed")
