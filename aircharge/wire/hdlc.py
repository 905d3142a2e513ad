"""HDLC frames of synchronous dial-up terminals: bits with flags and stuffing <-> address, control, content.

ISO/IEC 13239 sections 4.2 and 4.3 (modulo 8, two-octet FCS): ``7E | address | control | content | FCS 2 | 7E``,
every octet lowest bit first, a 0 after five 1s. A modem bank gives the line's bits as octets, lowest bit first,
not aligned to anything. FCS: CRC-16/X.25, lowest octet first.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from aircharge.errors import WireError

__all__ = ["ADDRESS", "HdlcFrame", "HdlcReceiver", "Kind", "crc_x25", "to_bits"]

ADDRESS: Final = 0x30
_FLAG: Final = 0x7E
_GENERATOR: Final = 0x8408  # x^16 + x^12 + x^5 + 1, reflected
_POLL: Final = 0x10


def _crc_row(octet: int) -> int:
    for _ in range(8):
        octet = octet >> 1 ^ (_GENERATOR if octet & 1 else 0)
    return octet


_CRC_TABLE: Final = tuple(map(_crc_row, range(256)))


def crc_x25(data: bytes) -> int:
    """CRC-16/X.25 (ITU-T X.25 section 2.2.7): initial value and final XOR FFFF, reflected."""
    crc = 0xFFFF
    for octet in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFF


class Kind(Enum):
    """What a control octet says, without its poll/final bit and numbers (ISO/IEC 13239 section 5.5)."""

    I = 0x00  # noqa: E741 (the standard's name)
    RR = 0x01
    RNR = 0x05
    REJ = 0x09
    SNRM = 0x83
    UA = 0x63
    DISC = 0x43
    DM = 0x0F
    FRMR = 0x87

    @property
    def has_content(self) -> bool:
        return self in (Kind.I, Kind.FRMR)

    @property
    def is_supervisory(self) -> bool:
        """Carries N(R) and no content."""
        return self.value & 3 == 1


_BY_CONTROL: Final = {kind.value: kind for kind in Kind if kind is not Kind.I}


@dataclass(frozen=True, slots=True)
class HdlcFrame:
    """One frame. ``ns`` counts in I frames only, ``nr`` in I frames and supervisory ones (both modulo 8)."""

    kind: Kind
    is_poll: bool = False
    ns: int = 0
    nr: int = 0
    content: bytes = b""
    address: int = ADDRESS

    def encode(self) -> bytes:
        """Address, control, content and FCS: what stands between the flags, unstuffed."""
        assert self.kind.has_content or not self.content
        control = self.kind.value | (_POLL if self.is_poll else 0)
        if self.kind is Kind.I:
            control |= self.nr << 5 | self.ns << 1
        elif self.kind.is_supervisory:
            control |= self.nr << 5
        body = bytes([self.address, control]) + self.content
        return body + crc_x25(body).to_bytes(2, "little")

    @classmethod
    def decode(cls, octets: bytes) -> HdlcFrame:
        """What stood between two flags. Raises WireError for a wrong FCS, an unknown control or extra octets."""
        if len(octets) < 4:
            raise WireError("ISO/IEC 13239", "4.9", f"{len(octets)} octets are no frame", field="frame")
        body, fcs = octets[:-2], int.from_bytes(octets[-2:], "little")
        if crc_x25(body) != fcs:
            raise WireError("ISO/IEC 13239", "4.2.5", "wrong check sequence", field="fcs")
        address, control, content = body[0], body[1], body[2:]
        is_poll = bool(control & _POLL)
        if not control & 1:
            return cls(Kind.I, is_poll, control >> 1 & 7, control >> 5, content, address)
        key = control & (0x0F if control & 3 == 1 else 0xEF)
        kind = _BY_CONTROL.get(key)
        if kind is None:
            raise WireError("ISO/IEC 13239", "5.5", f"control {control:02x}", field="control")
        if content and not kind.has_content:
            raise WireError("ISO/IEC 13239", "5.5", f"{kind.name} with a content", field="content")
        return cls(kind, is_poll, 0, control >> 5 if kind.is_supervisory else 0, content, address)


def to_bits(frame: bytes) -> bytes:
    """``frame`` between two flags of its own, stuffed; filled up with 1s (an idle line) to whole octets."""
    value, count, ones = _FLAG, 8, 0
    for octet in frame:
        for place in range(8):
            bit = octet >> place & 1
            value |= bit << count
            count += 1
            ones = ones + 1 if bit else 0
            if ones == 5:
                count += 1
                ones = 0
    value |= _FLAG << count
    count += 8
    while count % 8:
        value |= 1 << count
        count += 1
    return value.to_bytes(count // 8, "little")


class HdlcReceiver:
    """Bits in, whole stuffed-out frames (FCS included, not checked) out. Bounded by ``longest`` octets."""

    def __init__(self, longest: int = 1024) -> None:
        self._longest_bits = 8 * (longest + 4)
        self._ones = 0
        self._frame: bytearray | None = None  # None: no flag seen, or the frame was given up
        self._octet = 0
        self._bits = 0
        self.aborted = 0
        self.overlong = 0

    @property
    def is_inside(self) -> bool:
        """Whether a frame has begun."""
        return self._frame is not None and self._bits > 7

    def feed(self, data: bytes) -> list[bytes]:
        """The frames whose closing flag is in ``data``; those of other than whole octets are dropped."""
        frames: list[bytes] = []
        for octet in data:
            for place in range(8):
                if octet >> place & 1:
                    self._one()
                else:
                    self._zero(frames)
        return frames

    def _one(self) -> None:
        self._ones += 1
        if self._ones < 7:
            self._push(1)
        elif self._ones == 7 and self._frame is not None:
            self.aborted += self._bits > 15  # more than a flag without its end and a bit of idle line
            self._frame = None

    def _zero(self, frames: list[bytes]) -> None:
        ones, self._ones = self._ones, 0
        if ones == 5:  # stuffed
            return
        if ones == 6:
            self._flag(frames)
        elif ones < 5:
            self._push(0)

    def _push(self, bit: int) -> None:
        frame = self._frame
        if frame is None:
            return
        self._octet |= bit << self._bits % 8
        self._bits += 1
        if self._bits % 8 == 0:
            frame.append(self._octet)
            self._octet = 0
            if self._bits > self._longest_bits:
                self.overlong += 1
                self._frame = None

    def _flag(self, frames: list[bytes]) -> None:
        """A flag ends one frame and begins another; its first seven bits were taken for content."""
        frame, bits = self._frame, self._bits - 7
        if frame is not None and bits >= 32:
            if bits % 8 == 0:
                frames.append(bytes(frame[: bits // 8]))
            else:
                self.aborted += 1
        self._frame = bytearray()
        self._octet = self._bits = 0
