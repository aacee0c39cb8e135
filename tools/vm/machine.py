"""A virtual machine with real PCI network cards, inside a laboratory.

QEMU emulates the processor too: no KVM is needed. The guest: Debian's kernel on the host's own root, see tools/vm/init.
"""

import json
import shlex
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tools.lab.host import ROOT, Host, LabError
from tools.lab.laboratory import wait_until

BOOT_SECONDS = 240  # 7 to 12 when the processors are idle
MEGABYTES = 1536
CONSOLE = "/run/vm-console"
AGENT = "/run/vm-agent"
PID = "/run/vm-pid"


@dataclass(frozen=True)
class Card:
    """A network card that QEMU emulates, and Linux's module and driver for it."""

    model: str
    module: str
    driver: str
    behind_root_port: bool = False  # as QEMU's igb must be


CARDS = (
    Card("e1000", "e1000", "e1000"),
    Card("e1000e", "e1000e", "e1000e"),
    Card("igb", "igb", "igb", behind_root_port=True),
    Card("virtio-net-pci", "virtio_net", "virtio-pci"),
    Card("vmxnet3", "vmxnet3", "vmxnet3"),
)


def fetch_parts() -> Path:
    """The folder of tools/vm/fetch. LabError: it failed."""
    done = subprocess.run([ROOT / "tools/as-owner", ROOT / "tools/vm/fetch"], capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"tools/vm/fetch: exit code {done.returncode}: {done.stderr.strip()[-2000:]}")
    return Path(done.stdout.strip())


class Machine:
    """Boots in the constructor, runs commands one after another, goes with close() or with its laboratory.

    switch: the host with the laboratory's bridges; lan: the one that all cards are plugged into.
    iommu: Intel's VT-d, which vfio-pci needs. nodes: the processors of each NUMA node, from 0 on.
    """

    def __init__(
        self,
        switch: Host,
        lan: str = "lan",
        cards: Sequence[Card] = CARDS,
        *,
        iommu: bool,
        nodes: Sequence[range] = (range(2),),
    ) -> None:
        self._switch = switch
        parts = fetch_parts()
        self._qemu = switch.start("nice", "env", *_environment(parts), *_command(parts, cards, nodes, iommu))
        try:
            self._connect()
            for number in range(len(cards)):  # QEMU made these taps, and takes them along
                switch.run("ip", "link", "set", f"tap{number}", "up", "master", lan)
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        path = self._switch.path(AGENT)
        wait_until(lambda: path.is_socket() or self._qemu.poll() is not None, "QEMU")
        try:
            self._agent = socket.socket(socket.AF_UNIX)
            self._agent.connect(str(path))
            self._lines = self._agent.makefile("r", encoding="utf-8")
            self._receive(BOOT_SECONDS)
        except OSError as error:
            raise LabError(f"the virtual machine does not start: {error}: {self._last_words()}") from None

    def run(self, *argv: str, check: bool = True, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Run a command in the guest to its end. A non-zero exit code raises LabError unless check is False."""
        self._agent.sendall(json.dumps({"argv": argv, "timeout": timeout}).encode() + b"\n")
        done = subprocess.CompletedProcess(argv, **self._receive(timeout + 30))
        if check and done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip())[-2000:]
            raise LabError(f"guest# {shlex.join(argv)}: exit code {done.returncode}: {said}")
        return done

    def _receive(self, timeout: float) -> dict[str, Any]:
        self._agent.settimeout(timeout)
        line = self._lines.readline()
        if not line:
            raise LabError(f"the virtual machine ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        """QEMU's, if it ends; else the guest's."""
        try:
            said = self._qemu.communicate(timeout=2)[1]
        except subprocess.TimeoutExpired:
            said = self._switch.path(CONSOLE).read_text(errors="replace")
        return said.strip()[-2000:]

    def close(self) -> None:
        """As if it lost power."""
        self._switch.run("sh", "-c", f"kill $(cat {PID})", check=False)
        self._agent.close()
        self._qemu.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _environment(parts: Path) -> list[str]:
    libraries = [parts / "usr/lib/x86_64-linux-gnu", parts / "lib/x86_64-linux-gnu"]
    return [f"LD_LIBRARY_PATH={':'.join(map(str, libraries))}", f"QEMU_MODULE_DIR={libraries[0] / 'qemu'}"]


def _command(parts: Path, cards: Sequence[Card], nodes: Sequence[range], iommu: bool) -> list[str]:
    """QEMU's arguments.

    tsc=reliable: else a guest with two processors falls back to a slow clock. nohz=off highres=off: a periodic timer
    outlives an interrupt that gets lost in emulation, at which a one-shot timer would stop for good.
    """
    kernel = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check nohz=off highres=off"
    # Emulating the IOMMU from two threads ended QEMU 10 once (iotlb_to_section: Assertion failed).
    threads = "single" if iommu else "multi"
    own = f"PARTS={parts} CHECKOUT={ROOT}"  # what the kernel does not know goes into the environment of init
    lines = [
        f"{parts}/usr/bin/qemu-system-x86_64 -L {parts}/usr/share/qemu -L {parts}/usr/share/seabios",
        f"-M q35,kernel-irqchip=split -accel tcg,thread={threads} -cpu max",
        f"-smp {sum(map(len, nodes))} -m {MEGABYTES}",
        *(_node(number, cpus, MEGABYTES // len(nodes)) for number, cpus in enumerate(nodes)),
        f"-nodefaults -display none -no-reboot -serial file:{CONSOLE} -pidfile {PID}",
        f"-kernel {parts}/vmlinuz -initrd {parts}/initrd",
        "-device intel-iommu,intremap=on" if iommu else "",  # before all that it is to translate for
        "-virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
        f"-chardev socket,id=agent,path={AGENT},server=on,wait=off",
        "-device virtio-serial-pci -device virtserialport,chardev=agent",
        *(_plug(card, number, iommu) for number, card in enumerate(cards)),
    ]
    return [*shlex.split(" ".join(lines)), "-append", f"{kernel} {'intel_iommu=on' if iommu else ''} {own}"]


def _node(number: int, cpus: range, megabytes: int) -> str:
    memory = f"-object memory-backend-ram,id=memory{number},size={megabytes}M"
    return f"{memory} -numa node,nodeid={number},memdev=memory{number},cpus={cpus[0]}-{cpus[-1]}"


def _plug(card: Card, number: int, iommu: bool) -> str:
    port, bus = "", "pcie.0"
    if card.behind_root_port:
        bus = f"port{number}"
        port = f"-device pcie-root-port,id={bus},chassis={number + 1} "
    options = f"bus={bus},netdev=net{number},mac=52:54:00:00:00:{number + 1:02x},romfile="
    if card.driver == "virtio-pci" and iommu:
        options += ",disable-legacy=on,iommu_platform=on"  # a virtio card passes the IOMMU by unless told
    cable = f"-netdev tap,id=net{number},ifname=tap{number},script=no,downscript=no"
    return f"{port}{cable} -device {card.model},{options}"
