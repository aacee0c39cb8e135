"""What the director says of traffic that is known, and to whom."""

import json
from collections.abc import Iterator

import pytest

from tests.system.services import VIP, VirtualService, ab, drops
from tools.lab import ONE_ARM, Laboratory, wait_until

SOCKET, READ_ONLY = "/run/jupiter.sock", "/run/jupiter.ro.sock"
NOBODY = ("--reuid=65534", "--regid=65534")
ASK = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(5)
s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode() + b"\\n")
print(s.makefile().readline())
"""


@pytest.fixture(scope="module")
def watched() -> Iterator[Laboratory]:
    """With a socket for monitoring, and a group that may use the control socket."""
    with Laboratory() as lab:
        lab.director.configure(ONE_ARM, {"hugepages": "none"}, control={"monitor": "yes", "group": "daemon"})
        lab.director.run("jupiter-service", "--daemon")
        yield lab


def ask_as_nobody(lab: Laboratory, groups: str, path: str, method: str, **params: str) -> dict[str, object] | None:
    """The response to an unprivileged user with such groups (of setpriv); None: the socket may not be opened."""
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    python = ("/usr/bin/python3", "-c", ASK, path, request)
    done = lab.director.run("setpriv", *NOBODY, groups, *python, check=False)
    if "PermissionError" in done.stderr:
        return None
    assert done.returncode == 0, done.stderr
    response: dict[str, object] = json.loads(done.stdout)
    return response


def test_everybody_reads_and_nobody_changes(watched: Laboratory) -> None:
    """monitor = yes: without rights one reads by the second socket, changes nothing, and cannot open the first."""
    response = ask_as_nobody(watched, "--clear-groups", READ_ONLY, "vs/list")
    assert response
    assert "result" in response
    for method, params in (("vs/add", {"service": "10.0.1.1:9 tcp"}), ("stop", {}), ("reload", {})):
        response = ask_as_nobody(watched, "--clear-groups", READ_ONLY, method, **params)
        assert response
        assert "read-only" in json.dumps(response["error"])
    assert watched.director.ask("vs/list") == []
    assert ask_as_nobody(watched, "--clear-groups", SOCKET, "vs/list") is None


def test_a_member_of_the_group_changes(watched: Laboratory) -> None:
    """group = daemon: its members use the control socket, and the log says who it was."""
    response = ask_as_nobody(watched, "--groups=1", SOCKET, "vs/add", service="10.0.1.1:9 tcp")
    assert response
    assert "error" not in response
    assert [row["port"] for row in watched.director.ask("vs/list")] == [9]
    line = 'change command="vs/add 10.0.1.1:9 tcp" by="uid 65534 (nobody)'
    assert line in watched.director.path("/var/log/jupiter.log").read_text()
    watched.director.ctl("vs/del", "10.0.1.1:9", "tcp")


def test_reports_agree_with_known_traffic(watched: Laboratory, ports: Iterator[int]) -> None:
    """200 requests of one client: conn/find, vs/conn-report, worker/stats and netdev/stats agree with vs/stats."""
    director = watched.director
    service = VirtualService(watched, next(ports)).add("rr")
    before = director.ask("netdev/stats")[0]
    assert ab(service, "-n200", "-c4") == (200, 0)
    stats = director.ask("vs/stats", *service.name)
    found = director.ask("conn/find", "tcp", "client=1.1.1.1", f"vip={VIP}:{service.port}")
    assert len(found) == stats["history-conns"] >= 200
    assert director.ask("conn/find", "tcp", "client=1.1.1.9") == []
    by_server = [len(director.ask("conn/find", f"rs={service.server(n)}", f":{service.port}")) for n in (0, 1)]
    assert by_server == service.connections()
    assert director.ask("vs/conn-report", *service.name, "60") == [{"ip": "1.1.1.1", "count": len(found)}]
    [worker] = director.ask("worker/stats")
    assert worker["conns"] >= len(found)
    after = director.ask("netdev/stats")[0]
    forwarded = stats["[v2r]packets"] + stats["[v2c]packets"]
    assert after["TX-packets"] - before["TX-packets"] >= forwarded
    assert after["RX-packets"] - before["RX-packets"] >= forwarded
    [device] = director.ask("netdev/ipaddr")
    assert (device["dev"], device["kni-ip"]) == ("jupiter0", "1.1.1.2")
    assert ["10.0.2.1", "10.0.2.2", "10.0.2.3", "10.0.2.4"] in device.values()


def test_each_drop_has_its_reason(watched: Laboratory, ports: Iterator[int]) -> None:
    """A service without servers drops each SYN of the client; what is counted is that, and has a description."""
    service = VirtualService(watched, next(ports)).add("rr", weights=())
    before = drops(watched)
    watched.client.run("curl", "-s", "--max-time", "0.5", service.url, check=False)
    wait_until(lambda: drops(watched) != before, "a drop")
    after = drops(watched)
    [reason] = [name for name in after if after[name] != before.get(name, 0)]
    assert after[reason] - before.get(reason, 0) == watched.director.ask("vs/stats", *service.name)["[c2v]drops"]
    assert all(row["description"] for row in watched.director.ask("drops"))
