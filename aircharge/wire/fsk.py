"""Frames of the FSK link of fixed-line payment terminals, and the hunt for them in what a modem hears.

``type 1 | length 2 | random 4 | sequence 1 | [content length 2 | content] | checksum 1``, behind a preamble of 55s.
The length counts what follows it, without the checksum; the octets of a frame, checksum included, sum up to 0
modulo 256. Source: docs/protocols/pos-fsk.md section 5 (layouts found in public code of access gateways).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from aircharge.errors import WireError
from aircharge.wire.hunt import BAD, Hunter, Verdict

__all__ = ["CONTENT_MAX", "PREAMBLE_OCTET", "FskFrame", "FskHunter", "FskType"]

PREAMBLE_OCTET: Final = 0x55
CONTENT_MAX: Final = 1024
_SHORT: Final = 5  # random and sequence
_DATA: Final = 7  # and the content length
_AROUND: Final = 4  # type, length and checksum


class FskType(IntEnum):
    """What a frame is."""

    LINK_REQUEST = 0x81
    """From the centre, with a fresh random and sequence 0."""
    LINK_ANSWER = 0x82
    """From the terminal, the same random and sequence 0."""
    RECEIVED = 0x83
    """Acknowledges the data frame of the same sequence."""
    FROM_CENTRE = 0x84
    FROM_TERMINAL = 0x87

    @property
    def has_content(self) -> bool:
        return self in (FskType.FROM_CENTRE, FskType.FROM_TERMINAL)


_TYPES: Final = {kind.value: kind for kind in FskType}


@dataclass(frozen=True, slots=True)
class FskFrame:
    """One frame; ``content`` only in data frames, and there perhaps empty."""

    kind: FskType
    random: bytes
    sequence: int
    content: bytes = b""

    def encode(self) -> bytes:
        """The frame without preamble. Raises WireError for a content that is too long or has no place."""
        if len(self.content) > CONTENT_MAX or (self.content and not self.kind.has_content):
            raise WireError("FSK", "5", f"{self.kind.name} with {len(self.content)} octets", field="content")
        body = self.random + bytes([self.sequence])
        if self.kind.has_content:
            body += len(self.content).to_bytes(2, "big") + self.content
        frame = bytes([self.kind]) + len(body).to_bytes(2, "big") + body
        return frame + bytes([-sum(frame) & 0xFF])

    @classmethod
    def decode(cls, octets: bytes) -> FskFrame:
        """Exactly one frame. Raises WireError when a length or the checksum is wrong."""
        hunter = FskHunter()
        if hunter.feed(octets) != [octets]:
            raise WireError("FSK", "5", "no frame: type, length or checksum", field="frame")
        kind = _TYPES[octets[0]]
        return cls(kind, octets[3:7], octets[7], octets[10:-1] if kind.has_content else b"")


class FskHunter(Hunter):
    """Whole, sound frames out of carrier, preamble, noise and each other's pieces."""

    def __init__(self, content_max: int = CONTENT_MAX) -> None:
        super().__init__()
        self._content_max = content_max

    def judge(self, octets: memoryview, is_doubted: bool) -> int | Verdict | None:
        kind = _TYPES.get(octets[0])
        if kind is None:
            return BAD
        if len(octets) < 3:
            return None
        length = int.from_bytes(octets[1:3], "big")
        if not kind.has_content:
            return BAD if length != _SHORT else _SHORT + _AROUND
        if not _DATA <= length <= _DATA + self._content_max:
            return BAD
        if len(octets) < 10:
            return None
        if int.from_bytes(octets[8:10], "big") != length - _DATA:
            return BAD
        return length + _AROUND

    def is_sound(self, frame: bytes) -> bool:
        return sum(frame) & 0xFF == 0
