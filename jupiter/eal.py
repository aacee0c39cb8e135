"""Arguments of DPDK's environment abstraction layer: what the operator's say, and what ours add. Pure.

Source: DPDK 22.11, Linux Getting Started Guide, "EAL parameters".
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FILE_PREFIX = "jupiter"
MEGABYTES = 256
"""What EAL needs at least for packet buffers, rings and queues; the connections have a region of their own."""
OTHERS = 64
"""Of these, what rings and queues take."""
MAX_WORKERS = 64
"""As the data plane's: fastpath/layout.h."""

_FORBIDDEN = ("-h", "--help", "-v", "--version")
_CORES = ("-c", "-l", "--lcores")
_MEMORY_MODE = ("--no-huge", "--in-memory", "--huge-dir", "--huge-unlink", "--legacy-mem", "--single-file-segments")
_MEMORY_SIZE = ("-m", "--socket-mem")
_PCI_CHOICE = ("-a", "--allow", "-b", "--block", "--no-pci")


@dataclass(frozen=True, slots=True)
class PortSource:
    """What a port is made of: PCI addresses or vdev strings (never both); more than one makes a bond of that mode."""

    pci: tuple[str, ...] = ()
    vdevs: tuple[str, ...] = ()
    bond_mode: int = 0

    def __str__(self) -> str:
        return f"pci = {', '.join(self.pci)}" if self.pci else f"vdev = {' '.join(self.vdevs)}"

    @property
    def members(self) -> tuple[str, ...]:
        """EAL device names."""
        return self.pci + vdev_names(self.vdevs)

    def port_name(self, index: int) -> str:
        """EAL device name of the port that the index-th source makes."""
        return self.members[0] if len(self.members) == 1 else f"net_bonding{index}"


def megabytes(buffers: int) -> int:
    """Of EAL's memory, for so many bytes of packet buffers."""
    return max(MEGABYTES, (buffers >> 20) + OTHERS)


def vdev_names(vdevs: Sequence[str]) -> tuple[str, ...]:
    return tuple(vdev.partition(",")[0] for vdev in vdevs)


def given(argv: Sequence[str], options: Sequence[str]) -> bool:
    """Whether argv holds one of these options, in any of its spellings."""
    return any(option in options for option, _ in _pairs(argv))


def forbidden(argv: Sequence[str]) -> str | None:
    """An option at which EAL would print something and exit, taking us along."""
    return next((option for option in argv if option in _FORBIDDEN), None)


def lcores(argv: Sequence[str]) -> set[int] | None:
    """The lcores that argv names, or None where it leaves the choice to EAL. Raises ValueError on nonsense."""
    for option, value in _pairs(argv):
        if option == "-c":
            mask = int(value, 16)
            return {n for n in range(mask.bit_length()) if mask >> n & 1}
        if option in _CORES:
            without_cpus = re.sub(r"@(\([^)]*\)|[\d-]+)", "", value)
            return set(_expand(re.sub(r"[()]", "", without_cpus)))
    return None


def arguments(
    argv: Sequence[str],
    sources: Sequence[PortSource],
    huge_pages: bool,
    memory: int | None = MEGABYTES,
    file_prefix: str = FILE_PREFIX,
) -> list[str]:
    """The operator's argv, never overridden, and what it leaves open: memory, devices, names of files.

    memory: megabytes that EAL takes at once and keeps; None: as it needs it, on huge pages. file_prefix: of its files.
    """
    result = list(argv)
    if not given(argv, _MEMORY_MODE):
        result += ["--in-memory"] if huge_pages else ["--no-huge", "--no-shconf"]
    if memory is not None and not given(argv, _MEMORY_SIZE):
        result += ["-m", str(memory)]
    if not given(argv, ["--file-prefix"]):
        result += ["--file-prefix", file_prefix]
    return result + _devices(argv, sources)


def _devices(argv: Sequence[str], sources: Sequence[PortSource]) -> list[str]:
    result: list[str] = []
    named = {value.partition(",")[0] for option, value in _pairs(argv) if option in ("-a", "--allow", "--vdev")}
    for index, source in enumerate(sources):
        for address in source.pci:
            result += [] if address in named else ["-a", address]
        for vdev, name in zip(source.vdevs, vdev_names(source.vdevs), strict=True):
            result += [] if name in named else ["--vdev", vdev]
        if len(source.members) > 1:
            # `slave` is the name of this argument until DPDK 23.11, which renamed it to `member`
            members = "".join(f",slave={member}" for member in source.members)
            result += ["--vdev", f"{source.port_name(index)},mode={source.bond_mode}{members}"]
    if not any(source.pci for source in sources) and not given(argv, _PCI_CHOICE):
        result.append("--no-pci")
    return result


def _pairs(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(option, value) of `-l 0,1`, `-l0,1`, `--lcores 0,1` and `--lcores=0,1`; value "" where none follows."""
    for i, word in enumerate(argv):
        following = argv[i + 1] if i + 1 < len(argv) else ""
        if word.startswith("--"):
            option, equals, value = word.partition("=")
            yield option, value if equals else following
        elif word.startswith("-"):
            yield word[:2], word[2:] or following


def _expand(text: str) -> Iterator[int]:
    """0,2-4 -> 0 2 3 4."""
    for part in text.split(","):
        first, dash, last = part.partition("-")
        yield from range(int(first), int(last if dash else first) + 1)
