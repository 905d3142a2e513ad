"""Asynchronous framing of terminals behind a modem bank or serial server: STX, length, ETX, LRC; ACK and NAK.

``02 | length 2 | content | 03 | LRC``. The length (four BCD digits or 16 bit, a profile row) counts the content.
LRC: XOR of all octets from the length to ETX. One message is under way at a time; NAK or silence sends it again, until
it is acknowledged, or the peer says something else, or the next one is sent: whoever asks anew has given up what it
asked before, or another has called since, who must not hear it.
No number tells a repeat from a new message: the trace number inside does (docs/protocols/pos-fsk.md section 4).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from operator import xor
from typing import Final

from aircharge.errors import WireError
from aircharge.wire.hunt import BAD, Hunter, Verdict
from aircharge.wire.pos_link import (
    Attempt,
    Delivered,
    Envelope,
    Event,
    Link,
    Lost,
    Message,
    earliest,
)

__all__ = ["ACK", "NAK", "StxHunter", "StxLink", "StxSettings", "encode_stx"]

STX: Final = 0x02
ETX: Final = 0x03
ACK: Final = b"\x06"
NAK: Final = b"\x15"
_ANSWERS: Final = ACK + NAK
_OVERHEAD: Final = 5  # STX, length 2, ETX, LRC


@dataclass(frozen=True, slots=True)
class StxSettings:
    """Octets, seconds. ``octet_s``: how long one octet takes on the line (8-N-1: 10 bit)."""

    envelope: Envelope = field(default_factory=Envelope)
    longest: int = 1024
    is_length_bcd: bool = True
    answer_s: float = 3.0
    gap_s: float = 0.5
    tries_max: int = 3
    octet_s: float = 10 / 1200


def encode_stx(content: bytes, is_length_bcd: bool = True) -> bytes:
    """The frame around ``content``. Raises WireError when its length cannot be written."""
    if not 0 < len(content) <= (9999 if is_length_bcd else 0xFFFF):
        raise WireError("STX", "4", f"a content of {len(content)} octets", field="length")
    length = bytes.fromhex(f"{len(content):04d}") if is_length_bcd else len(content).to_bytes(2, "big")
    body = length + content + bytes([ETX])
    return bytes([STX]) + body + bytes([reduce(xor, body)])


class StxHunter(Hunter):
    """Frames, and between them the single octets ACK and NAK (inside or behind noise they are noise too)."""

    def __init__(self, longest: int, is_length_bcd: bool) -> None:
        super().__init__()
        self._longest = longest
        self._is_length_bcd = is_length_bcd
        self.failures = 0

    def judge(self, octets: memoryview, is_doubted: bool) -> int | Verdict | None:
        if octets[0] in _ANSWERS and not is_doubted:
            return 1
        if octets[0] != STX:
            return BAD
        if len(octets) < 3:
            return None
        length = self.content_length(bytes(octets[1:3]))
        if not 0 < length <= self._longest:
            return BAD
        return length + _OVERHEAD

    def content_length(self, octets: bytes) -> int:
        """What the length octets say; 0 when they are not digits."""
        if not self._is_length_bcd:
            return int.from_bytes(octets, "big")
        digits = octets.hex()
        return int(digits) if digits.isdecimal() else 0

    def is_sound(self, frame: bytes) -> bool:
        return len(frame) == 1 or (frame[-2] == ETX and reduce(xor, frame[1:]) == 0)

    def unsound(self) -> None:
        self.failures += 1


class StxLink(Link):
    """One asynchronous line, either end: both ends do the same."""

    def __init__(self, settings: StxSettings) -> None:
        super().__init__(settings.envelope)
        self.settings = settings
        self._hunter = StxHunter(settings.longest, settings.is_length_bcd)
        self._heard = float("-inf")
        self._attempt: Attempt | None = None
        self._replaced: list[Event] = []

    def receive(self, data: bytes, now: float) -> list[Event]:
        if self.has_ended:
            return []
        if now - self._heard >= self.settings.gap_s:
            self._hunter.silence()
        self._heard = now
        return [*self._taken_back(), *self._take(self._hunter.feed(data), now)]

    def _take(self, frames: list[bytes], now: float) -> list[Event]:
        events: list[Event] = []
        for frame in frames:
            if frame == ACK:
                if self._attempt is not None and self._attempt.message is not None:
                    events.append(Delivered(self._attempt.message))
                    self._attempt = None
            elif frame == NAK:
                if self._attempt is not None:
                    events += self._again(self._attempt, now)
            else:
                self._out.append(ACK)
                events += [*self._unacknowledged(), self._open_frame(frame[3:-2])]
        if self._hunter.failures:
            self._hunter.failures = 0
            self._out.append(NAK)
            events.append(self._drop("ETX or LRC wrong"))
        return events

    @property
    def deadline(self) -> float | None:
        if self.has_ended:
            return None
        gap = self._heard + self.settings.gap_s if self._hunter.buffered_octets else None
        said = self._heard if self._replaced else None
        return earliest(gap, said, self._attempt.due if self._attempt else None)

    def tick(self, now: float) -> list[Event]:
        if self.has_ended:
            return []
        events = self._taken_back()
        if self._hunter.buffered_octets and now >= self._heard + self.settings.gap_s:
            self._hunter.failures += 1  # it began as a frame and broke off
            events += self._take(self._hunter.give_up(), now)
        attempt = self._attempt
        if attempt is not None and now >= attempt.due:
            if self._hunter.buffered_octets:  # the peer is speaking: hear it out
                attempt.due = self._heard + self.settings.gap_s
            else:
                events += self._again(attempt, now)
        return events

    def _transmit(self, frame: bytes, message: Message, now: float) -> None:
        if len(frame) > self.settings.longest:
            raise WireError("STX", "4", f"a content of {len(frame)} octets", field="length")
        data = encode_stx(frame, self.settings.is_length_bcd)
        self._replaced += self._unacknowledged()
        self._out.append(data)
        self._attempt = Attempt(data, self._due(data, now), message)

    def _again(self, attempt: Attempt, now: float) -> list[Event]:
        if attempt.tries >= self.settings.tries_max:
            return self._unacknowledged()
        attempt.tries += 1
        attempt.due = self._due(attempt.frame, now)
        self._out.append(attempt.frame)
        return []

    def _due(self, frame: bytes, now: float) -> float:
        return now + len(frame) * self.settings.octet_s + self.settings.answer_s

    def _give_up(self) -> list[Event]:
        return [*self._taken_back(), *self._unacknowledged()]

    def _taken_back(self) -> list[Event]:
        replaced, self._replaced = self._replaced, []
        return replaced

    def _unacknowledged(self) -> list[Event]:
        attempt, self._attempt = self._attempt, None
        return [Lost(attempt.message)] if attempt is not None and attempt.message is not None else []
