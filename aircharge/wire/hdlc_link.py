"""The HDLC link of a synchronous dial-up terminal: unbalanced, normal response mode, modulo 8.

ISO/IEC 13239 section 6.11 (UNC): the primary (access server: we) invites with SNRM, polls, and ends with DISC;
the secondary (terminal) speaks when polled. Both keep a window of I frames and check what the other has seen at
each poll and final. ``data_to_send`` gives the line's bits as octets, lowest bit first.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from aircharge.errors import NotSent, WireError
from aircharge.wire.hdlc import ADDRESS, HdlcFrame, HdlcReceiver, Kind, to_bits
from aircharge.wire.machine import advance
from aircharge.wire.pos_link import Delivered, Envelope, Event, Link, Lost, Message, Opened

__all__ = ["TRANSITIONS", "HdlcLink", "HdlcSettings", "Input", "Role", "State"]


class Role(Enum):
    """Who may speak unasked."""

    PRIMARY = auto()
    SECONDARY = auto()


class State(Enum):
    """Of the link, at either end."""

    DISCONNECTED = auto()
    INVITING = auto()
    CONNECTED = auto()
    LEAVING = auto()
    CLOSED = auto()


class Input(Enum):
    """What moves it: unnumbered frames, sent by the primary or received."""

    SNRM = auto()
    UA = auto()
    DISC = auto()
    DM = auto()
    CLOSE = auto()


TRANSITIONS: Final[dict[tuple[State, Input], State]] = {
    (State.DISCONNECTED, Input.SNRM): State.INVITING,
    (State.INVITING, Input.SNRM): State.INVITING,
    (State.INVITING, Input.UA): State.CONNECTED,
    (State.INVITING, Input.DM): State.INVITING,
    (State.CONNECTED, Input.SNRM): State.INVITING,
    (State.CONNECTED, Input.UA): State.CONNECTED,
    (State.CONNECTED, Input.DISC): State.LEAVING,
    (State.CONNECTED, Input.DM): State.CLOSED,
    (State.LEAVING, Input.DISC): State.LEAVING,
    (State.LEAVING, Input.UA): State.CLOSED,
    (State.LEAVING, Input.DM): State.CLOSED,
    **{(state, Input.CLOSE): State.CLOSED for state in State},
}
"""A secondary answers SNRM with UA at once: SNRM and UA are its two inputs one after the other, DISC likewise."""


@dataclass(frozen=True, slots=True)
class HdlcSettings:
    """Seconds, octets, frames. ``bit_s``: one bit on the line."""

    envelope: Envelope = field(default_factory=Envelope)
    longest: int = 1024
    window: int = 7
    queue_max: int = 16
    answer_s: float = 2.0
    """From the end of a poll to its answer."""
    poll_s: float = 0.5
    """Between two polls of a silent terminal."""
    idle_s: float = 30.0
    """A secondary that is not polled for this long hangs up."""
    tries_max: int = 5
    bit_s: float = 1 / 1200


class HdlcLink(Link):
    """One synchronous line. The primary begins with ``open``; a secondary waits."""

    def __init__(self, settings: HdlcSettings, role: Role, now: float) -> None:
        super().__init__(settings.envelope)
        self.settings = settings
        self.role = role
        self.state = State.DISCONNECTED
        self._receiver = HdlcReceiver(settings.longest)
        self._queue: deque[tuple[bytes, Message]] = deque()  # [:_in_flight] were sent and not acknowledged
        self._in_flight = 0
        self._sent = 0  # of the queue; more than in flight when some are to go out again
        self._va = 0  # the oldest N(S) that is not acknowledged
        self._vr = 0  # the N(S) expected next
        self._tries = 0
        self._polled = False  # primary: a final is owed to us; secondary: we owe one
        self._peer_is_busy = self._is_busy = self._must_reject = False
        self._due = now + (settings.idle_s if role is Role.SECONDARY else 0.0)

    # What we do

    def open(self, now: float) -> bytes:
        """Primary: invite the terminal; an Opened event follows."""
        assert self.role is Role.PRIMARY
        self._command(Kind.SNRM, Input.SNRM, now)
        return self.data_to_send()

    def close(self, now: float) -> bytes:
        """Primary: end the link in order; an Ended event follows."""
        assert self.role is Role.PRIMARY
        if self.state is State.CONNECTED:
            self._tries = 0
            self._command(Kind.DISC, Input.DISC, now)
        return self.data_to_send()

    def hold(self, is_busy: bool) -> None:
        """Tell the peer from now on that we take no more (RNR), or again do."""
        self._is_busy = is_busy

    def _transmit(self, frame: bytes, message: Message, now: float) -> None:
        if self.state is not State.CONNECTED:
            raise NotSent("the link does not stand")
        if len(self._queue) >= self.settings.queue_max:
            raise NotSent("queue full")
        if len(frame) > self.settings.longest:
            raise WireError("ISO/IEC 13239", "4.2", f"a content of {len(frame)} octets", field="content")
        self._queue.append((frame, message))
        if self.role is Role.PRIMARY and not self._polled:
            self._speak(now)

    # What the peer says

    def receive(self, data: bytes, now: float) -> list[Event]:
        events: list[Event] = []
        for octets in self._receiver.feed(data):
            if self.has_ended:
                return events
            try:
                frame = HdlcFrame.decode(octets)
            except WireError as error:
                events.append(self._drop(str(error)))
                continue
            if frame.address == ADDRESS:
                events += self._frame_received(frame, now)
            else:
                events.append(self._drop(f"address {frame.address:02x}"))
        if self._polled and self._receiver.is_inside:  # it is speaking
            self._due = max(self._due, now + self.settings.answer_s)
        return events

    def _frame_received(self, frame: HdlcFrame, now: float) -> list[Event]:
        if self.role is Role.SECONDARY:
            self._due = now + self.settings.idle_s
        if frame.kind is Kind.I or frame.kind.is_supervisory:
            if self.state is State.CONNECTED:
                return self._numbered(frame, now)
            if self.role is Role.SECONDARY and frame.is_poll:
                self._put(HdlcFrame(Kind.DM, True))
            return []
        if self.role is Role.PRIMARY:
            return self._answered(frame.kind, now)
        return self._commanded(frame.kind)

    def _numbered(self, frame: HdlcFrame, now: float) -> list[Event]:
        seen = (frame.nr - self._va) % 8
        if seen > self._sent:
            return self._end(f"N(R) {frame.nr} acknowledges what was not sent")
        events: list[Event] = [Delivered(self._queue.popleft()[1]) for _ in range(seen)]
        self._sent -= seen
        self._in_flight = max(0, self._in_flight - seen)
        self._va = frame.nr
        if frame.kind is Kind.I:
            events += self._information(frame)
        else:
            self._peer_is_busy = frame.kind is Kind.RNR
        if frame.is_poll or frame.kind is Kind.REJ:
            self._in_flight = 0  # whatever it has not seen by now goes out again
        if frame.is_poll:
            self._final(frame, now)
        return events

    def _information(self, frame: HdlcFrame) -> list[Event]:
        if self._is_busy:
            return []
        if frame.ns != self._vr:
            self._must_reject = True
            return [self._drop(f"N(S) {frame.ns}, expected {self._vr}")]
        self._vr = (self._vr + 1) % 8
        self._must_reject = False
        return [self._open_frame(frame.content)]

    def _final(self, frame: HdlcFrame, now: float) -> None:
        """Our turn: a secondary answers the poll; the primary polls at once while there is something to say."""
        self._tries = 0
        self._polled = False
        has_more = frame.kind is Kind.I or self._must_reject or (self._queue and not self._peer_is_busy)
        if self.role is Role.SECONDARY or has_more:
            self._speak(now)
        else:
            self._due = now + self.settings.poll_s

    def _answered(self, kind: Kind, now: float) -> list[Event]:
        if kind is Kind.FRMR:
            return self._end("frame reject")
        if kind is Kind.UA and self.state is State.INVITING:
            self.state = advance(TRANSITIONS, self.state, Input.UA)
            self._reset()
            self._due = now
            return [Opened()]
        if kind in (Kind.UA, Kind.DM) and self.state in (State.CONNECTED, State.LEAVING, State.INVITING):
            self.state = advance(TRANSITIONS, self.state, Input[kind.name])
            if self.state is State.CLOSED:
                return self._end("disconnected")
        return []

    def _commanded(self, kind: Kind) -> list[Event]:
        if kind is Kind.SNRM:
            was_connected = self.state is State.CONNECTED
            self.state = advance(TRANSITIONS, advance(TRANSITIONS, self.state, Input.SNRM), Input.UA)
            lost = self._give_up()
            self._reset()
            self._put(HdlcFrame(Kind.UA, True))
            return lost if was_connected else [*lost, Opened()]
        if kind is Kind.DISC:
            if self.state is not State.CONNECTED:
                self._put(HdlcFrame(Kind.DM, True))
                return []
            self.state = advance(TRANSITIONS, self.state, Input.DISC)
            self._put(HdlcFrame(Kind.UA, True))
            return self._end("disconnected")
        return []

    # What time says

    @property
    def deadline(self) -> float | None:
        waits = self.state in (State.DISCONNECTED, State.CLOSED) and self.role is Role.PRIMARY
        return None if self.has_ended or waits else self._due

    def tick(self, now: float) -> list[Event]:
        due = self.deadline
        if due is None or now < due:
            return []
        if self.role is Role.SECONDARY:
            return self._end("not polled")
        if self._tries >= self.settings.tries_max:
            return self._end("terminal silent")
        if self.state is State.INVITING:
            self._command(Kind.SNRM, Input.SNRM, now)
        elif self.state is State.LEAVING:
            self._command(Kind.DISC, Input.DISC, now)
        elif self._polled:  # the answer was lost: ask what it has seen, say nothing new
            self._poll(now)
        else:
            self._speak(now)
        return []

    # What goes out

    def _speak(self, now: float) -> None:
        """I frames up to the window, the last one polls; or a supervisory frame."""
        fresh: list[bytes] = []
        if not self._peer_is_busy and not self._must_reject:
            window = list(self._queue)[self._in_flight : self.settings.window]
            fresh = [frame for frame, _ in window]
        for place, content in enumerate(fresh):
            ns = (self._va + self._in_flight) % 8
            self._in_flight += 1
            is_last = place == len(fresh) - 1 and not self._is_busy
            self._put(HdlcFrame(Kind.I, is_last, ns, self._vr, content))
        self._sent = max(self._sent, self._in_flight)
        if fresh and not self._is_busy:
            self._await_answer(now)
        else:
            self._poll(now)

    def _poll(self, now: float) -> None:
        kind = Kind.RNR if self._is_busy else Kind.REJ if self._must_reject else Kind.RR
        self._must_reject = False
        self._put(HdlcFrame(kind, True, nr=self._vr))
        self._await_answer(now)

    def _await_answer(self, now: float) -> None:
        if self.role is Role.PRIMARY:
            self._polled = True
            self._tries += 1
            octets = sum(map(len, self._out)) + self.settings.longest
            self._due = now + octets * 8 * self.settings.bit_s + self.settings.answer_s

    def _command(self, kind: Kind, given: Input, now: float) -> None:
        self.state = advance(TRANSITIONS, self.state, given)
        self._put(HdlcFrame(kind, True))
        self._await_answer(now)

    def _put(self, frame: HdlcFrame) -> None:
        self._out.append(to_bits(frame.encode()))

    def _reset(self) -> None:
        self._va = self._vr = self._in_flight = self._sent = self._tries = 0
        self._polled = self._peer_is_busy = self._must_reject = False

    def _give_up(self) -> list[Event]:
        lost: list[Event] = [Lost(message) for _, message in self._queue]
        self._queue.clear()
        self._in_flight = self._sent = 0
        return lost

    def _end(self, why: str) -> list[Event]:
        self.state = State.CLOSED
        return super()._end(why)
