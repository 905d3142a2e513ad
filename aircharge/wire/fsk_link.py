"""The dialogue on an FSK line, either end: link request and answer, numbered data, receipts, repeats.

The centre asks with a fresh random; every later frame of the call bears it. Data frames are numbered one after the
other over both directions. One frame is under way at a time (the line is half duplex): without a receipt it goes
out again, ``tries_max`` times in all, then the call is over. A data frame in place of a receipt is one. A data
frame that was received already is acknowledged again and not handed out again. What is to be said waits while octets
come in that are not yet a frame; not for longer than the longest frame takes, so that endless noise stops nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from aircharge.errors import NotSent
from aircharge.wire.fsk import CONTENT_MAX, PREAMBLE_OCTET, FskFrame, FskHunter, FskType
from aircharge.wire.machine import advance
from aircharge.wire.pos_link import (
    Attempt,
    CallerBlock,
    Delivered,
    Envelope,
    Event,
    Link,
    Lost,
    Message,
    Opened,
    earliest,
)

__all__ = ["MASK_OLD", "TRANSITIONS", "FskLink", "FskSettings", "Move", "Role", "State"]


_PREAMBLE: Final = bytes([PREAMBLE_OCTET])
_AROUND: Final = 11
"""Octets of a data frame beside its content."""
MASK_OLD: Final = bytes.fromhex("37585701")
"""``FskSettings.random_mask`` of an older variant."""


class Role(Enum):
    """Which end of the call; the value: the data frames it sends and those it gets."""

    CENTRE = (FskType.FROM_CENTRE, FskType.FROM_TERMINAL)
    TERMINAL = (FskType.FROM_TERMINAL, FskType.FROM_CENTRE)

    def __init__(self, sends: FskType, gets: FskType) -> None:
        self.sends = sends
        self.gets = gets


class State(Enum):
    """Of the call."""

    ANSWERED = auto()
    ASKING = auto()
    LINKED = auto()
    OVER = auto()


class Move(Enum):
    """What moves it."""

    LINK_REQUEST = auto()
    LINK_ANSWER = auto()
    HANG_UP = auto()


TRANSITIONS: Final[dict[tuple[State, Move], State]] = {
    (State.ANSWERED, Move.LINK_REQUEST): State.ASKING,
    (State.ASKING, Move.LINK_REQUEST): State.ASKING,
    (State.ASKING, Move.LINK_ANSWER): State.LINKED,
    (State.LINKED, Move.LINK_REQUEST): State.ASKING,
    **{(state, Move.HANG_UP): State.OVER for state in State},
}
"""A terminal answers a link request at once: request and answer are its two moves one after the other."""


@dataclass(frozen=True, slots=True)
class FskSettings:
    """Seconds, octets. ``octet_s``: one octet on the line (10 bit at 1200 baud)."""

    envelope: Envelope = field(default_factory=lambda: Envelope(False, CallerBlock.NEVER))
    content_max: int = CONTENT_MAX
    preamble_octets: int = 30
    tries_max: int = 10
    answer_s: float = 1.5
    """From the end of our frame to the receipt."""
    gap_s: float = 0.3
    """A silence inside a frame that ends it; behind octets that are no frame one that says that nobody speaks."""
    idle_s: float = 120.0
    """A call in which nothing is said for this long is over."""
    octet_s: float = 10 / 1200
    random_mask: bytes = bytes(4)
    """All frames but the link request bear its random XOR this."""

    @property
    def longest_s(self) -> float:
        """What the longest frame takes, from its preamble to the silence behind it."""
        return (self.preamble_octets + self.content_max + _AROUND) * self.octet_s + self.gap_s


class FskLink(Link):
    """One call. The centre begins with ``open(random)``; a terminal waits."""

    def __init__(self, settings: FskSettings, role: Role, now: float) -> None:
        super().__init__(settings.envelope)
        self.settings = settings
        self.role = role
        self.state = State.ANSWERED
        self.random = b""
        self.sequence = 0  # of the last data frame in either direction
        self.repeats_received = 0
        self.repeats_sent = 0
        self._hunter = FskHunter(settings.content_max)
        self._attempt: Attempt | None = None
        self._held: list[bytes] = []  # receipts that wait for the line
        self._waiting: tuple[bytes, Message] | None = None  # and the message; it has no number yet
        self._last_was_theirs = False
        self._heard = self._active = now
        self._coming_since = self._free_at = now  # octets come in that are no frame yet

    def open(self, random: bytes, now: float) -> bytes:
        """Centre: ask the terminal for a link under ``random`` (4 octets, fresh for each call)."""
        assert self.role is Role.CENTRE
        assert len(random) == 4
        self._move(Move.LINK_REQUEST)
        self.random = self._masked(random)
        self._begin(FskFrame(FskType.LINK_REQUEST, random, 0), None, now)
        return self.data_to_send()

    def receive(self, data: bytes, now: float) -> list[Event]:
        if self.has_ended:
            return []
        events = []
        if now - self._heard >= self.settings.gap_s:
            self._coming_since = now
            events += self._take(self._hunter.give_up(), now)
        self._heard = now
        frames = self._hunter.feed(data)
        self._listen(data, bool(frames), now)
        events += self._take(frames, now)
        self._speak(now)
        return events

    def _listen(self, data: bytes, has_frame: bool, now: float) -> None:
        """Whether the other end is speaking: its last octets belong to no frame that is whole."""
        if has_frame:
            self._coming_since = self._free_at = now
            if not self._hunter.buffered_octets and data[-1:] != _PREAMBLE:
                return
        self._free_at = min(now + self.settings.gap_s, self._coming_since + self.settings.longest_s)

    def _speak(self, now: float) -> None:
        """Say what waits, when the line is free."""
        if now < self._free_at or self.has_ended:
            return
        self._out += self._held
        self._held.clear()
        if self._waiting is not None and self._attempt is None:
            (content, message), self._waiting = self._waiting, None
            sequence = (self.sequence + 1) % 256
            self._begin(FskFrame(self.role.sends, self.random, sequence, content), message, now)
            self.sequence, self._last_was_theirs = sequence, False

    def _take(self, frames: list[bytes], now: float) -> list[Event]:
        events: list[Event] = []
        for octets in frames:
            if not self.has_ended:
                self._active = now
                events += self._frame_received(FskFrame.decode(octets), now)
        return events

    def _frame_received(self, frame: FskFrame, now: float) -> list[Event]:
        kind = frame.kind
        if kind is FskType.LINK_REQUEST and self.role is Role.TERMINAL:
            return self._link_asked(frame)
        if frame.random != self.random or self.state is State.OVER:
            return [self._drop("random of another call")]
        if kind is FskType.LINK_ANSWER and self.role is Role.CENTRE:
            return self._link_answered()
        if kind is FskType.RECEIVED and self.state is State.LINKED:
            is_ours = frame.sequence == self.sequence and not self._last_was_theirs
            return self._acknowledged() if is_ours else []
        if kind is self.role.gets:  # while we still ask for the link it stands for the lost answer
            return [*self._link_answered(), *self._data_received(frame)]
        return [self._drop(f"{kind.name} has no place here")]

    def _link_asked(self, frame: FskFrame) -> list[Event]:
        events: list[Event] = []
        random = self._masked(frame.random)
        is_new = random != self.random
        if is_new:
            self._move(Move.LINK_REQUEST)
            self._move(Move.LINK_ANSWER)
            events = [*self._give_up(), Opened()]
            self.random, self.sequence, self._last_was_theirs = random, 0, False
            self._held.clear()
        self._hold(FskFrame(FskType.LINK_ANSWER, random, 0))
        return events

    def _masked(self, random: bytes) -> bytes:
        return bytes(left ^ right for left, right in zip(random, self.settings.random_mask, strict=True))

    def _link_answered(self) -> list[Event]:
        if self.state is not State.ASKING:  # a repeat
            return []
        self._move(Move.LINK_ANSWER)
        self._attempt = None
        return [Opened()]

    def _data_received(self, frame: FskFrame) -> list[Event]:
        expected = (self.sequence + 1) % 256
        if frame.sequence == expected:
            events = self._acknowledged()
            self.sequence, self._last_was_theirs = expected, True
            self._receipt(frame)
            return [*events, self._open_frame(frame.content)]
        is_last = frame.sequence == self.sequence and self._last_was_theirs
        is_before_ours = frame.sequence == (self.sequence - 1) % 256 and not self._last_was_theirs
        if is_last or is_before_ours:
            self.repeats_received += 1
            if is_last or self._attempt is None:
                self._receipt(frame)
            return []  # else our own data frame is under way: it is the receipt, and will be repeated
        return [self._drop(f"sequence {frame.sequence}, expected {expected}")]

    def _acknowledged(self) -> list[Event]:
        attempt, self._attempt = self._attempt, None
        return [Delivered(attempt.message)] if attempt is not None and attempt.message is not None else []

    @property
    def deadline(self) -> float | None:
        if self.has_ended:
            return None
        gap = self._heard + self.settings.gap_s if self._hunter.buffered_octets else None
        idle = self._active + self.settings.idle_s
        free = self._free_at if self._held or self._waiting else None
        return earliest(gap, idle, free, self._attempt.due if self._attempt else None)

    def tick(self, now: float) -> list[Event]:
        if self.has_ended:
            return []
        events: list[Event] = []
        if self._hunter.buffered_octets and now >= self._heard + self.settings.gap_s:
            events += self._take(self._hunter.give_up(), now)
        attempt = self._attempt
        if attempt is not None and now >= attempt.due:
            if now < self._free_at:  # half duplex: hear it out
                attempt.due = self._free_at
            elif attempt.tries >= self.settings.tries_max:
                events += self._end("no receipt")
            else:
                attempt.tries += 1
                attempt.due = self._due(attempt.frame, now)
                self.repeats_sent += 1
                self._out.append(attempt.frame)
        if now >= self._active + self.settings.idle_s:
            events += self._end("silence")
        self._speak(now)
        return events

    def _transmit(self, frame: bytes, message: Message, now: float) -> None:
        if self.state is not State.LINKED:
            raise NotSent("no link yet")
        if self._attempt is not None or self._waiting is not None:
            raise NotSent("a message is under way")
        FskFrame(self.role.sends, self.random, 0, frame).encode()  # raises WireError while it still can
        self._waiting = frame, message
        self._speak(now)

    def _begin(self, frame: FskFrame, message: Message | None, now: float) -> None:
        data = self._octets(frame)
        self._out.append(data)
        self._active = now
        self._attempt = Attempt(data, self._due(data, now), message)

    def _receipt(self, frame: FskFrame) -> None:
        self._hold(FskFrame(FskType.RECEIVED, self.random, frame.sequence))

    def _hold(self, frame: FskFrame) -> None:
        """For ``_speak``; once, whatever is repeated meanwhile."""
        octets = self._octets(frame)
        if octets not in self._held:
            self._held.append(octets)

    def _octets(self, frame: FskFrame) -> bytes:
        return _PREAMBLE * self.settings.preamble_octets + frame.encode()

    def _due(self, data: bytes, now: float) -> float:
        waiting = sum(map(len, self._out)) or len(data)
        return now + waiting * self.settings.octet_s + self.settings.answer_s

    def _give_up(self) -> list[Event]:
        attempt, self._attempt = self._attempt, None
        waiting, self._waiting = self._waiting, None
        messages = [attempt.message if attempt else None, waiting[1] if waiting else None]
        return [Lost(message) for message in messages if message is not None]

    def _move(self, move: Move) -> None:
        self.state = advance(TRANSITIONS, self.state, move)

    def _end(self, why: str) -> list[Event]:
        if self.state is not State.OVER:
            self._move(Move.HANG_UP)
        return super()._end(why)
