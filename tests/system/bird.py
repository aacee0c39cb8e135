"""BIRD on a host of the laboratory."""

from tools.lab import Host, wait_until

NEIGHBOUR = """
router id {address};
protocol device {{ }}
protocol static own {{ ipv4; {routes} }}
protocol kernel {{ ipv4 {{ import none; export where source = RTS_BGP; }}; }}
protocol bgp director {{
    local as {number};
    neighbor 1.1.1.2 as 65001;
    direct;
    hold time 9;
    keepalive time 3;
    connect delay time 1;
    error wait time 1, 10;
    ipv4 {{ import all; export where proto = "own"; }};
}}
"""


class Bird:
    """Runs from the beginning until stop(), or the end of the laboratory."""

    def __init__(self, host: Host, configuration: str) -> None:
        self._host = host
        self._home = f"/run/bird-{host.name}"
        host.path(self._home).mkdir(exist_ok=True)
        host.path(f"{self._home}/bird.conf").write_text(configuration)
        self.start()

    def start(self) -> None:
        self._host.run(
            "bird", "-c", f"{self._home}/bird.conf", "-s", f"{self._home}/bird.ctl", "-P", f"{self._home}/bird.pid"
        )

    def say(self, *words: str) -> str:
        """A birdc command and its answer."""
        return self._host.run("birdc", "-s", f"{self._home}/bird.ctl", *words).stdout

    def stop(self) -> None:
        """In order: its neighbours are told, its routes go."""
        self.say("down")
        wait_until(lambda: not self._host.path(f"{self._home}/bird.pid").exists(), "BIRD to end")

    def kill(self) -> None:
        self._host.run("kill", "-KILL", self._host.path(f"{self._home}/bird.pid").read_text().strip())


def neighbour(address: str, number: int, *announced: str) -> str:
    """Configuration of a director's neighbour. number: of its AS; announced: networks."""
    routes = " ".join(f"route {network} unreachable;" for network in announced)
    return NEIGHBOUR.format(address=address, number=number, routes=routes)
