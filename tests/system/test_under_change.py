"""Changes of configuration while traffic flows: what they do not touch loses nothing."""

import itertools
import json
import os
import sys
import time
from pathlib import Path

from jupiter.control.client import Client
from tests.system.services import VIP, Download, VirtualService, drops
from tools.lab import ONE_ARM, Laboratory

LOAD = str(Path(__file__).with_name("udp_load.py"))
RPORT = 7002
RATE = 10_000
CHANGES = 300
KEPT = (
    "[10.0.1.1:8888 tcp]\nscheduler = rr\n1.1.1.3:80 = 1\n1.1.1.4:80 = 1\n"
    f"[10.0.1.1:7002 udp]\nscheduler = rr\n1.1.1.3:{RPORT} = 1\n1.1.1.4:{RPORT} = 1\n"
)
SEVERAL = "".join(f"[10.0.1.2:{port} tcp]\nscheduler = wrr\n1.1.1.3:80 = 3\n1.1.1.4:80 = 5\n" for port in range(1, 21))


def change(client: Client, number: int) -> None:
    """One of the ways to change something, in turn; other services come, change and go."""
    name = "10.0.1.2:9000 tcp"
    match number % 6:
        case 0:
            client.call("vs/add", service=name, scheduler="wrr")
        case 1:
            client.call("rs/add", service=name, server="1.1.1.3:80", weight=1 + number)
        case 2:
            client.call("rs/weight", service=name, server="1.1.1.3:80", weight=2 + number)
        case 3:
            client.draft(KEPT + SEVERAL)
            client.call("apply", file="several")
        case 4:
            client.call("reload")
        case 5:
            client.call("vs/add", service=name, scheduler="ipport")
            client.call("vs/del", service=name, policy="reset")


def test_what_a_change_does_not_touch_loses_nothing() -> None:
    """B28: two downloads, byte for byte, and queries up to 10,000 a second, through 300 changes of other services."""
    with Laboratory() as lab:
        lab.director.configure(ONE_ARM, {"hugepages": "none"})
        lab.director.path("/etc/jupiter/services.d").mkdir()
        lab.director.path("/etc/jupiter/services.d/kept.cfg").write_text(KEPT)
        lab.director.run("jupiter-service", "--daemon")
        for server in lab.servers:
            echo = server.start(sys.executable, LOAD, "serve", str(server.address), str(RPORT))
            assert echo.stdout
            assert echo.stdout.readline() == "ready\n"
        web, names = VirtualService(lab, 8888), VirtualService(lab, 7002, "udp", rport=RPORT)
        content = os.urandom(32 << 20)
        asker = lab.client.start(sys.executable, LOAD, "ask", VIP, str(names.port), str(RATE), "/run/stop")
        assert asker.stdout
        assert asker.stdout.readline() == "ready\n"
        downloads = [Download(web, content, megabytes_a_second=2) for _ in range(2)]
        downloads[0].wait_under_way()
        before = drops(lab)
        began = time.monotonic()
        made = 0
        with Client(str(lab.director.path("/run/jupiter.sock"))) as client:
            for number in itertools.count():
                if made >= CHANGES and time.monotonic() - began > 5:
                    break
                change(client, number)
                made += 2 if number % 6 == 5 else 1
                time.sleep(0.01)  # a pace that lasts for seconds, in which traffic has its turns
        seconds = time.monotonic() - began
        assert all(download.running for download in downloads), (
            f"{made} changes took {seconds:.1f} s, longer than the downloads"
        )
        assert all(download.matches() for download in downloads)
        lab.client.path("/run/stop").touch()
        output, errors = asker.communicate(timeout=30)
        assert not errors, errors
        report = json.loads(output)
        told = {service.port: lab.director.ask("vs/stats", *service.name) for service in (web, names)}
        print(f"{made} changes in {seconds:.1f} s; queries: {report}; {told[names.port]}")
        print(lab.director.ask("netdev/stats"), drops(lab))
        for stats in told.values():
            assert stats["[c2v]drops"] == stats["[r2v]drops"] == 0
            assert stats["[c2v]packets"] == stats["[v2r]packets"]
            assert stats["[r2v]packets"] == stats["[v2c]packets"]
        assert drops(lab) == before
        # The director lost none that it got; what never came to it was lost by buffers in front of it.
        assert told[names.port]["[v2r]packets"] <= report["sent"]
        assert report["answered"] >= 0.99 * report["sent"], report
