"""The FSK link on an audio stream: what a voice gateway that only passes audio gives and takes, in real time.

``AudioLink`` is a link like the others (``wire.pos_link``), made of an ``FskLink`` and an ``AudioLine``. What it says
goes out in slices of ``SLICE_S`` as time passes (``deadline``), because a gateway plays what it gets; each burst ends
in a little silence, so that the far modem sees its last octet end. A gateway that leaves silence out need send none:
a pause of ``PAUSE_S`` ends what was said. Audio comes as fast as it sounds: a peer that sends more is hung up on,
before its audio costs others their turn (8 s of noise take the demodulator the better part of a second).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from aircharge.wire.fsk_link import FskLink
from aircharge.wire.modem.g711 import Encoding
from aircharge.wire.modem.line import AudioLine
from aircharge.wire.pos_link import Event, Message, earliest

__all__ = ["BURST_S", "ENCODINGS", "PAUSE_S", "SLICE_S", "AudioLink"]

SLICE_S: Final = 0.02
PAUSE_S: Final = 0.25
"""Less than ``FskSettings.gap_s``: the octets that are left still belong to their frame."""
BURST_S: Final = 2.0
"""What a network has held back may come at once, up to so much."""
_HUSH_S: Final = 0.06
ENCODINGS: Final = {encoding.name.lower(): encoding for encoding in Encoding}
"""By the name a configuration gives them."""


class AudioLink:
    """One call. The times given to it are when octets come and go on the stream."""

    def __init__(self, link: FskLink, line: AudioLine, now: float) -> None:
        self.link = link
        self._line = line
        self._now = now
        self._out = bytearray()
        self._next = now  # when the next slice is due
        self._heard = self._heard_until = now  # when audio came last, and when it has sounded
        self._is_hearing = False
        octets = line.encoding.octets
        self._slice = int(line.rate * SLICE_S) * octets
        hush = np.zeros(int(line.rate * _HUSH_S), np.int16)
        self._hush = line.encoding.encode(hush)

    @property
    def has_ended(self) -> bool:
        """Once the last of what was said has been played."""
        return self.link.has_ended and not self._out

    def open(self, random: bytes, now: float) -> bytes:
        """Centre: ask the terminal for a link; nothing is due before ``deadline``."""
        self._speak(self.link.open(random, now), now)
        return self.data_to_send()

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Audio from the gateway, cut anywhere."""
        if self.link.has_ended:
            return []
        seconds = len(data) / self._line.encoding.octets / self._line.rate
        self._heard_until = max(self._heard_until, now) + seconds
        if self._heard_until > now + BURST_S:
            return self.end("audio faster than it sounds")
        self._heard, self._is_hearing = now, True
        return self._demodulated(self._line.hear(data, now), now)

    def _demodulated(self, octets: bytes, now: float) -> list[Event]:
        events = self.link.receive(octets, now) if octets else []
        self._speak(self.link.data_to_send(), now)
        return events

    def tick(self, now: float) -> list[Event]:
        """Let time pass."""
        events: list[Event] = []
        if self._is_hearing and now >= self._heard + PAUSE_S:
            self._is_hearing = False
            events = self._demodulated(self._line.hang_up(), now)
        due = self.link.deadline
        if due is not None and now >= due:
            events += self.link.tick(now)
        self._speak(self.link.data_to_send(), now)
        return events

    def connection_lost(self) -> list[Event]:
        """The stream is gone."""
        self._out.clear()
        octets = self._line.hang_up()
        events = self.link.receive(octets, self._now) if octets else []
        return events + self.link.connection_lost()

    def end(self, why: str) -> list[Event]:
        """Hang up at once: what was still to be played is not."""
        self._out.clear()
        return self.link.end(why)

    def send(self, message: Message, now: float) -> bytes:
        """Send ``message``; what is due at once. Raises NotSent, WireError as the link."""
        self._speak(self.link.send(message, now), now)
        return self.data_to_send()

    def data_to_send(self) -> bytes:
        """The slices that are due."""
        due = bytearray()
        while self._out and self._next <= self._now:
            due += self._out[: self._slice]
            del self._out[: self._slice]
            self._next += SLICE_S
        return bytes(due)

    @property
    def deadline(self) -> float | None:
        """The next slice, the end of a pause, or what the link waits for."""
        pause = self._heard + PAUSE_S if self._is_hearing and not self.link.has_ended else None
        return earliest(self.link.deadline, pause, self._next if self._out else None)

    def _speak(self, octets: bytes, now: float) -> None:
        self._now = now
        if not octets:
            return
        if not self._out:
            self._next = now
        self._out += self._line.say(octets, now) + self._hush
