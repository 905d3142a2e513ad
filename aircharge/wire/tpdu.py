"""Terminals over TCP: 2-octet length (big-endian, without itself), TPDU, maybe a caller block, message.

Many terminals share one long connection of an access server; several requests may be open at once, each answer
goes back under the swapped addresses of its own request. Source: docs/protocols/pos-fsk.md section 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from aircharge.errors import WireError
from aircharge.wire.framing import NEED_DATA, LengthSplitter
from aircharge.wire.pos_link import Envelope, Event, Heartbeat, Link, Message, Received, earliest

__all__ = ["LENGTH_OCTETS", "TpduLink", "TpduSettings"]

LENGTH_OCTETS = 2


@dataclass(frozen=True, slots=True)
class TpduSettings:
    """``longest`` and ``heartbeat_below`` in octets behind the length; FSK gateways use 50 for the latter."""

    envelope: Envelope = field(default_factory=Envelope)
    longest: int = 2048
    heartbeat_below: int = 1
    frame_s: float = 10.0
    """A frame that began must be whole after this."""
    idle_s: float = 0.0
    """Nothing at all from the peer for this long ends the connection; 0: never."""


class TpduLink(Link):
    """One connection of an access server, a gateway or a single terminal on IP."""

    def __init__(self, settings: TpduSettings, now: float) -> None:
        super().__init__(settings.envelope)
        self.settings = settings
        self._splitter = LengthSplitter(
            LENGTH_OCTETS,
            shortest=LENGTH_OCTETS,
            longest=LENGTH_OCTETS + settings.longest,
            extra_octets=LENGTH_OCTETS,
            standard="TPDU",
            section="1",
        )
        self._heard = self._frame_since = now

    def receive(self, data: bytes, now: float) -> list[Event]:
        if self.has_ended:
            return []
        events: list[Event] = []
        splitter = self._splitter
        self._heard = now
        if not splitter.buffered_octets:
            self._frame_since = now
        splitter.feed(data)
        try:
            while (frame := splitter.next_frame()) is not NEED_DATA:
                self._frame_since = now
                events.append(self._frame_received(frame[LENGTH_OCTETS:]))
        except WireError as error:
            events += self._end(f"framing lost: {error.why}")
        return events

    def _frame_received(self, frame: bytes) -> Event:
        if len(frame) < self.settings.heartbeat_below:
            return Heartbeat(frame)
        event = self._open_frame(frame)
        if isinstance(event, Received) and not event.message.content:
            return self._drop("TPDU without a message")
        return event

    @property
    def deadline(self) -> float | None:
        if self.has_ended:
            return None
        settings = self.settings
        idle = self._heard + settings.idle_s if settings.idle_s else None
        frame = self._frame_since + settings.frame_s if self._splitter.buffered_octets else None
        return earliest(idle, frame)

    def tick(self, now: float) -> list[Event]:
        due = self.deadline
        if due is None or now < due:
            return []
        unfinished = self._splitter.buffered_octets and now >= self._frame_since + self.settings.frame_s
        return self._end("frame unfinished" if unfinished else "silence")

    def _transmit(self, frame: bytes, message: Message, now: float) -> None:
        if len(frame) > self.settings.longest:
            raise WireError("TPDU", "1", f"a message of {len(frame)} octets", field="length")
        self._out.append(len(frame).to_bytes(LENGTH_OCTETS, "big") + frame)

    def heartbeat(self, content: bytes = b"") -> bytes:
        """A frame that only says "I am here"; returns everything that is to be written now."""
        assert len(content) < self.settings.heartbeat_below
        self._out.append(len(content).to_bytes(LENGTH_OCTETS, "big") + content)
        return self.data_to_send()
