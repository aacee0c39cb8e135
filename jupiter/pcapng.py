"""Packets as a pcapng file (draft-ietf-opsawg-pcapng), block by block: whole after each of them. Pure.

One interface block for each device; directions, times in nanoseconds and comments stand with each packet.
"""

import struct
from collections.abc import Sequence
from typing import Final

SECTION: Final = 0x0A0D0D0A
INTERFACE: Final = 1
PACKET: Final = 6
_BYTE_ORDER: Final = 0x1A2B3C4D
_UNKNOWN_LENGTH: Final = -1
_ETHERNET: Final = 1
"""LINKTYPE_ETHERNET."""
_END, _COMMENT, _NAME, _RESOLUTION, _APPLICATION = 0, 1, 2, 9, 4
"""Options: opt_endofopt, opt_comment, if_name, if_tsresol, shb_userappl."""
_FLAGS: Final = 2
"""epb_flags: its two lowest bits are the direction."""
_IN, _OUT = 1, 2
_NANOSECONDS: Final = bytes([9])


class Capture:
    """Turns packets into blocks, an interface's before its first packet. snaplen: bytes kept of each at most."""

    def __init__(self, application: str, snaplen: int) -> None:
        self._application = application
        self._snaplen = snaplen
        self._interfaces: dict[str, int] = {}

    def begin(self) -> bytes:
        """What the file begins with."""
        head = struct.pack("<IHHq", _BYTE_ORDER, 1, 0, _UNKNOWN_LENGTH)
        return _block(SECTION, head, [(_APPLICATION, self._application.encode())])

    def packet(
        self, device: str, ns: int, frame: bytes, length: int, *, arrives: bool, comments: Sequence[str] = ()
    ) -> bytes:
        """ns: since 1970. length: of the whole frame, of which `frame` is the begin."""
        before = b""
        if device not in self._interfaces:
            self._interfaces[device] = len(self._interfaces)
            head = struct.pack("<HHI", _ETHERNET, 0, self._snaplen)
            before = _block(INTERFACE, head, [(_NAME, device.encode()), (_RESOLUTION, _NANOSECONDS)])
        head = struct.pack("<IIIII", self._interfaces[device], ns >> 32, ns & 0xFFFFFFFF, len(frame), length)
        flags = struct.pack("<I", _IN if arrives else _OUT)
        options = [*((_COMMENT, comment.encode()) for comment in comments), (_FLAGS, flags)]
        return before + _block(PACKET, head + _padded(frame), options)


def _block(kind: int, body: bytes, options: Sequence[tuple[int, bytes]]) -> bytes:
    body += b"".join(struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options)
    body += struct.pack("<HH", _END, 0)
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length


def _padded(data: bytes) -> bytes:
    """To 32 bits."""
    return data + bytes(-len(data) % 4)
