"""The checks that jupiter.cfg's configspec names: the text of a value -> the value.

Each raises ValidateError with what was expected, fit to follow "expected ".
"""

import re
import shlex
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv4Network
from itertools import chain

from configobj.validate import ValidateError

from jupiter import eal
from jupiter.model import why_unusable

MAX_LOCAL_ADDRESSES = 4096
"""In all: each gives about 64,000 connections to each real server."""

_PCI_ADDRESS = re.compile(r"(?:([0-9a-f]{4}):)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])")
_VDEV = re.compile(r"[A-Za-z]+_\w+(,[^\s=,]+=[^\s,]*)*")
_BOND_MODES = {"rr": 0, "active-backup": 1, **{str(n): n for n in range(7)}}


def _argv(text: str) -> tuple[str, ...]:
    try:
        argv = tuple(shlex.split(text))
    except ValueError:
        raise ValidateError("EAL arguments with closed quotes") from None
    if option := eal.forbidden(argv):
        raise ValidateError(f"EAL arguments to run with, without {option}")
    try:
        lcores = eal.lcores(argv)
    except ValueError:
        raise ValidateError("lcores such as -l 0,1 or -c 0x3 or --lcores '0@0,1@1'") from None
    if lcores is not None and len(lcores) < 2:
        raise ValidateError("at least two lcores, one main and one or more workers, such as -l 0,1")
    if lcores is not None and len(lcores) > 1 + eal.MAX_WORKERS:
        raise ValidateError(f"at most {1 + eal.MAX_WORKERS} lcores, one main and {eal.MAX_WORKERS} workers")
    return argv


def _hugepages(text: str) -> int | str:
    if text in ("auto", "none"):
        return text
    if not _is_number(text) or not 2 <= int(text) <= 1 << 20:
        raise ValidateError("auto, none or a number of megabytes from 2 to 1048576")
    return int(text)


def _number(text: str, low: str, high: str) -> int:
    if not _is_number(text) or not int(low) <= int(text) <= int(high):
        raise ValidateError(f"a number from {low} to {high}")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10


def _offload(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ValidateError("a number") from None


def _interface_name(text: str) -> str:
    if not 1 <= len(text.encode()) <= 15 or re.search(r"[\s/:]", text) or text in (".", ".."):
        raise ValidateError("a name of at most 15 bytes without blanks, slashes and colons")
    return text


def _address(text: str) -> IPv4Address:
    try:
        address = IPv4Address(text)
    except AddressValueError:
        raise ValidateError("an IPv4 address such as 1.1.1.2") from None
    if why := why_unusable(address):
        raise ValidateError(f"a host's IPv4 address, not {why}")
    return address


def _netmask(text: str) -> IPv4Address:
    try:
        mask = IPv4Address(text)
    except AddressValueError:
        mask = IPv4Address(0)
    if not int(mask) or (~int(mask) & 0xFFFFFFFF) & ((~int(mask) & 0xFFFFFFFF) + 1):
        raise ValidateError("a netmask such as 255.255.255.0")
    return mask


def _local_addresses(text: str) -> tuple[IPv4Address, ...]:
    return tuple(chain.from_iterable(_prefix(part.strip()) for part in text.split(",") if text))


def _prefix(text: str) -> IPv4Network:
    try:
        network = IPv4Interface(text).network
    except ValueError:
        raise ValidateError(f"a.b.c.d/1 to a.b.c.d/32, separated by commas; {text or 'an empty one'} is none") from None
    if network.num_addresses > MAX_LOCAL_ADDRESSES:
        raise ValidateError(f"at most {MAX_LOCAL_ADDRESSES} addresses; {text} has {network.num_addresses}")
    if why := why_unusable(network[0]) or why_unusable(network[-1]):
        raise ValidateError(f"addresses of hosts; {text} holds {why}")
    return network


def _pci_addresses(text: str) -> tuple[str, ...]:
    found = [_PCI_ADDRESS.fullmatch(part.strip().lower()) for part in text.split(",")] if text else []
    if not all(found):
        raise ValidateError("PCI addresses such as 0000:01:00.2, separated by commas")
    return tuple(f"{match[1] or '0000'}:{match[2]}" for match in found if match)


def _vdevs(text: str) -> tuple[str, ...]:
    vdevs = text.split()
    if not all(map(_VDEV.fullmatch, vdevs)):
        raise ValidateError("EAL vdevs such as net_af_packet0,iface=eth1, separated by blanks")
    return tuple(vdevs)


def _choice(text: str, *known: str) -> str:
    if text not in known:
        raise ValidateError(" or ".join([", ".join(known[:-1]), known[-1]]))
    return text


def _group(text: str) -> str:
    if not re.fullmatch(r"[^\s:]+", text):
        raise ValidateError("the name of a group")
    return text


def _bond_mode(text: str) -> int:
    try:
        return _BOND_MODES[text.lower()]
    except KeyError:
        raise ValidateError("0 to 6, rr or active-backup") from None


CHECKS = {
    "argv": _argv,
    "hugepages": _hugepages,
    "number": _number,
    "offload": _offload,
    "interface_name": _interface_name,
    "address": _address,
    "netmask": _netmask,
    "local_addresses": _local_addresses,
    "pci_addresses": _pci_addresses,
    "vdevs": _vdevs,
    "bond_mode": _bond_mode,
    "choice": _choice,
    "group": _group,
}
