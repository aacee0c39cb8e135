"""Looks at the service through the control channel; survives its absence."""

import time
from collections.abc import Callable
from itertools import count
from typing import Final

from jupiter.control.client import Client
from jupiter.errors import JupiterError
from jupiter.top.rates import Key, Row, Sampler, Turns

PAGES: Final = 2
"""Of services that a look takes at most: 10,000 of them must not weigh on the service. The first look takes all."""
_AWAY = {"not-running", "no-answer", "invalid-answer"}
_TRAFFIC = ("total", "in_packets", "in_bytes", "out_packets", "out_bytes")


class Watch:
    """What is known of the service after each look().

    away: why it does not answer, None when it does; away_since: seconds since the epoch. shown: key of the service
    whose servers are looked at. pages: of services that a look takes, 0: all. clock: monotonic seconds.
    """

    def __init__(
        self, connect: Callable[[], Client], pages: int = PAGES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connect = connect
        self._pages = pages
        self._clock = clock
        self._client: Client | None = None
        self.away: str | None = None
        self.away_since = 0.0
        self.shown: Key | None = None
        self._reset()

    def _reset(self) -> None:
        """Counters of another process say nothing about the former's."""
        self.services = Turns(Sampler(("ip", "port", "type"), (*_TRAFFIC, "drops")))
        self.servers = Sampler(("ip", "port"), _TRAFFIC)
        self.devices = Sampler(("dev",), ("RX-packets", "RX-bytes", "TX-packets", "TX-bytes"))
        self.all_servers = True
        self.workers: list[Row] = []
        self.drops: list[Row] = []
        self.version = ""

    def look(self, busiest: Callable[[], Key | None]) -> None:
        """busiest: of the services as they are then known, where nothing was chosen; its servers are shown."""
        try:
            client = self._client or self._open()
            self._look_at_services(client)
            self.workers = client.call("worker/stats")["rows"]
            self.drops = client.call("drops")["rows"]
            self.devices.replace(client.call("netdev/stats"), self._clock())
            self.show(busiest())
        except JupiterError as error:
            self._is_away(error)

    def show(self, service: Key | None) -> None:
        """Look at the servers of this service from now on, and now."""
        if service != self.shown:
            self.servers.samples.clear()
            self.shown = service
        if service is None or self._client is None:
            return
        try:
            page = self._client.call("rs/traffic", service="{}:{} {}".format(*service))
            self.servers.replace(page["rows"], self._clock())
            self.all_servers = page["cursor"] is None
        except JupiterError as error:
            if error.code == "service-not-found":  # removed since we saw it
                self.servers.samples.clear()
            else:
                self._is_away(error)

    def close(self) -> None:
        if self._client:
            self._client.close()
        self._client = None

    def _open(self) -> Client:
        client = self._client = self._connect()
        self._reset()
        self.version = client.call("version")["version"]
        self.away = None
        return client

    def _look_at_services(self, client: Client) -> None:
        self.services.seen = 0
        everything = not self.services.sampler.samples or not self._pages
        for _ in count() if everything else range(self._pages):
            page = client.call("vs/traffic", cursor=self.services.cursor)
            if not self.services.add(page, self._clock()):
                break

    def _is_away(self, error: JupiterError) -> None:
        if error.code not in _AWAY:
            raise error
        self.close()
        if self.away is None:
            self.away_since = time.time()
        self.away = error.text
