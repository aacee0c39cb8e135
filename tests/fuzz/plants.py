"""Does the fuzzer find what is wrong? python -m tests.fuzz.plants [NAME...]

Each of these faults is planted into a copy of the tree, which is built and fuzzed until it is found. Prints after
how many executions. About a minute for each.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.campaign import FINDING, MAX_LEN, executions

ROOT = Path(__file__).resolve().parent.parent.parent
RUNS = 5_000_000


class Plant(NamedTuple):
    file: str
    right: str
    wrong: str


PLANTS = {
    "tcp data offset beyond the packet passes": Plant(
        "fastpath/stage/classify.pxd", "if offset < TCP_LEN or offset > length:", "if offset < TCP_LEN:"
    ),
    "tcp header may be cut short": Plant("fastpath/stage/classify.pxd", "if length < TCP_LEN:", "if length < 4:"),
    "icmp header may be cut short": Plant("fastpath/stage/classify.pxd", "if length < ICMP_LEN:", "if length < 0:"),
    "arp may be cut short": Plant(
        "fastpath/stage/classify.pxd", "if length < ETH_LEN + ARP_LEN or not", "if length < ETH_LEN + 20 or not"
    ),
    "total length beyond the frame passes": Plant(
        "fastpath/stage/classify.pxd", "total > length - ETH_LEN", "total > 65535"
    ),
    "quoted header may be cut short": Plant(
        "fastpath/net/icmp.pxd", "or length < ICMP_LEN + header + UDP_LEN:", "or length < ICMP_LEN + IPV4_LEN:"
    ),
    "a connection is retired, and stays in its timer's list": Plant(
        "fastpath/table/timer.pxd",
        "    connection_unindex(t, index)\n    timer_unset(t, index)",
        "    connection_unindex(t, index)",
    ),
    "a dropped packet leaves as well": Plant(
        "fastpath/stage/dispatch.pxd",
        "elif b.verdict[i] != PARK:",
        "elif b.verdict[i] == DROP and b.reason[i] == 3:\n            count_drop(w, b.pkt[i].port, 3)\n"
        "            tx_add(w, 0, b.pkt[i])\n        elif b.verdict[i] != PARK:",
    ),
    "the checksum forgets the ttl": Plant("fastpath/stage/rewrite.pxd", "addrs_delta + ONE_TTL_LESS", "addrs_delta"),
    "a parked packet is forgotten": Plant(
        "fastpath/table/parking.pxd", "p.service, INBOUND)\n    rte_pktmbuf_free(p.pkt)", "p.service, INBOUND)"
    ),
}  # fmt: skip


def copy_tree(target: Path) -> None:
    for name in ("fastpath", "tests/fuzz", "tests/__init__.py", "setup.py", "pyproject.toml", "jupiter", "tools"):
        source, place = ROOT / name, target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, ignore=shutil.ignore_patterns("*.so", "engine.c", "__pycache__"))
        else:
            shutil.copy(source, place)


def found_after(plant: Plant) -> str:
    with tempfile.TemporaryDirectory(prefix="jupiter-plant-") as place:
        scratch = Path(place)
        copy_tree(scratch)
        file = scratch / plant.file
        text = file.read_text()
        if text.count(plant.right) != 1:
            return f"NOT PLANTED: {plant.file} has the code {text.count(plant.right)} times"
        file.write_text(text.replace(plant.right, plant.wrong))
        build = ["env", f"PYTHON={sys.executable}", "tests/fuzz/build"]
        subprocess.run(build, cwd=scratch, check=True, stdout=subprocess.DEVNULL)
        (scratch / "found").mkdir()
        run = [sys.executable, "-m", "tests.fuzz", "found", "tests/fuzz/corpus", f"-runs={RUNS}", f"-max_len={MAX_LEN}"]
        run += ["-seed=1", "-artifact_prefix=found/", "-print_final_stats=1"]
        said = subprocess.run(run, cwd=scratch, capture_output=True, text=True, errors="replace").stderr
    finding = FINDING.search(said)
    if finding is None:
        return f"NOT FOUND\n{said[-2000:]}"
    where = "" if "INITED" in said else ", by an input of the corpus"
    return f"found after {executions(said)} executions{where}: {finding[0]}"


def main() -> int:
    outcomes = []
    for name in sys.argv[1:] or PLANTS:
        outcomes.append(found_after(PLANTS[name]))
        print(f"{name}: {outcomes[-1]}", flush=True)
    return int(any("NOT" in outcome for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
