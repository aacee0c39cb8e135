"""One worker at full load, in one mode: MODE -> ticks per packet. A process, for EAL is one a process.

DPDK's net_null always has a burst of frames, which end at their first look (not_for_us): what the loop around the
stages costs is as large a part of the whole as it can be.
"""

import sys
import time

from fastpath import engine


def main() -> None:
    argv = ["-l", "0,1", "--no-huge", "-m", "128", "--no-pci", "--vdev", "net_null0", "--file-prefix", "jupiter-load"]
    engine.init([*argv, "--no-telemetry", "--log-level", "3"], idle=sys.argv[1])
    engine.add_port("net_null0")
    engine.start()
    time.sleep(0.2)
    (before,) = engine.worker_counters()
    time.sleep(1)
    (after,) = engine.worker_counters()
    engine.close()
    print((after.ticks - before.ticks) / (after.packets - before.packets))


main()
