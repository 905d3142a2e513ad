"""One SMPP session, either end, as a value fed bytes and ``now`` (monotonic seconds): SMPP 3.4 §2, 5.0 §2.

``receive`` and ``tick`` return events for the application; ``data_to_send`` returns what is to be written.
Nothing here knows a socket or a clock. The role (MC or ESME) is independent of who dialled.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from aircharge.errors import NotSent, WireError
from aircharge.wire.framing import NEED_DATA, SmppSplitter
from aircharge.wire.machine import advance
from aircharge.wire.smpp.constants import RESPONSE_BIT, Command, Status, Tag, status_words
from aircharge.wire.smpp.pdu import Pdu, PduError, decode, encode, nack
from aircharge.wire.smpp.states import (
    BINDS,
    BOUND_BY,
    LEGAL,
    MESSAGES,
    TRANSITIONS,
    VERSION_5,
    Move,
    Side,
    State,
    legal_requests,
)
from aircharge.wire.smpp.timers import SessionSettings
from aircharge.wire.smpp.window import Outstanding, Window

__all__ = [
    "Alerted",
    "Answered",
    "BindAsked",
    "Bound",
    "Ended",
    "Event",
    "Lost",
    "Malformed",
    "OutbindAsked",
    "Received",
    "Session",
]

_HEADER: Final = struct.Struct(">IIII")
_NO_RESPONSE: Final = frozenset((Command.OUTBIND, Command.ALERT_NOTIFICATION))


@dataclass(slots=True)
class Received:
    """A legal request to be answered with ``Session.respond``."""

    pdu: Pdu


@dataclass(slots=True)
class Answered:
    """The peer answered a request of ours; ``pdu`` may be a generic_nack."""

    token: Any
    pdu: Pdu


@dataclass(slots=True)
class Lost:
    """A request of ours gets no answer: never written (NotSent), or written and in doubt (InDoubt)."""

    token: Any
    was_written: bool


@dataclass(slots=True)
class Malformed:
    """A PDU of the peer broke the standard. ``status`` is what we answered, or a response's own status."""

    name: str
    status: int
    why: str
    message: Pdu | None = None  # what could be read of a message that the peer may bring


@dataclass(slots=True)
class BindAsked:
    """A peer wants to bind: answer with ``accept_bind`` or ``refuse_bind``."""

    pdu: Pdu


@dataclass(slots=True)
class OutbindAsked:
    """A message centre dialled us and invites us to bind: answer with ``bind`` or ``end``."""

    pdu: Pdu


@dataclass(slots=True)
class Bound:
    """The session is bound; ``pdu`` is the bind_resp we received, or the bind that we accepted."""

    pdu: Pdu


@dataclass(slots=True)
class Alerted:
    """An alert_notification (no response exists)."""

    pdu: Pdu


@dataclass(slots=True)
class Ended:
    """Write what is left and close the connection."""

    why: str


Event = Received | Answered | Lost | Malformed | BindAsked | OutbindAsked | Bound | Alerted | Ended


class Session:
    """State, windows and timers of one connection. ``side`` None: the first PDU decides (bind or outbind)."""

    def __init__(self, side: Side | None, settings: SessionSettings, now: float) -> None:
        self.side = side
        self.settings = settings
        self.state = State.OPEN
        self.version = settings.interface_version
        self.takes_options = (
            settings.interface_version >= 0x34
        )  # the peer is known to take optional parameters
        self.is_throttling = False  # every new message is answered 0x58
        self.gate: Callable[[bytes], bool] | None = None  # False: this message is answered 0x58, undecoded
        self.late_answers = 0  # responses nobody waited for any more
        self.unanswered_in = 0  # requests of the peer that we owe an answer
        self._splitter = SmppSplitter(settings.frame_max)
        self._window = Window(settings.window_max, settings.queue_max)
        self._extra_in: frozenset[Command] = frozenset()
        self._extra_out: frozenset[Command] = frozenset()
        self._peer_may: frozenset[Command] = frozenset()
        self._we_may: frozenset[Command] = frozenset()
        self._out: list[bytes] = []
        self._opened = self._heard = self._spoken = self._active = self._frame_since = now
        self._enquiry: tuple[int, float] | None = None
        self._binding: tuple[int, int, float] | None = None  # sequence, command, deadline of our bind
        self._bind_in: int | None = None  # command of the peer's bind that we owe an answer
        self._unbind_by: float | None = None  # we want to unbind: the deadline of draining
        self._unbind_sent: tuple[int, float] | None = None
        self._unbind_in: tuple[Pdu, float] | None = None  # the peer's unbind, answered once we owe nothing
        self._has_ended = False
        self._see_state()

    # What the application asks

    @property
    def is_bound(self) -> bool:
        return self.state.is_bound

    @property
    def has_ended(self) -> bool:
        return self._has_ended

    @property
    def is_leaving(self) -> bool:
        """Whether one of the two ends has asked to unbind."""
        return self._unbind_by is not None or self._unbind_in is not None or self._has_ended

    @property
    def window_is_open(self) -> bool:
        """Whether a request made now would be written now."""
        return self._window.is_open

    @property
    def unanswered_out(self) -> int:
        return self._window.unanswered

    @property
    def queued_out(self) -> int:
        return self._window.queued

    def may_request(self, command: int) -> bool:
        """Whether we may issue this request in this state, and there is room for it."""
        return command in self._we_may and not self.is_leaving and not self._window.is_full

    def is_allowed(self, command: int) -> bool:
        """Whether we may issue this request in this state, room or not."""
        return command in self._we_may and not self.is_leaving

    def configure(
        self,
        settings: SessionSettings,
        side: Side,
        accepts: frozenset[Command] = frozenset(),
        issues: frozenset[Command] = frozenset(),
    ) -> None:
        """What is known once the peer is known: its limits, and messages a gateway may use against the role.

        ``accepts`` names messages the peer may send besides the standard's, ``issues`` those that we may.
        """
        self.settings = settings
        self.side = side
        self._extra_in, self._extra_out = accepts, issues
        self._window.resize(settings.window_max, settings.queue_max)
        self._see_state()

    def outbind(self, system_id: str, password: str) -> None:
        """MC that dialled: invite the ESME to bind (3.4 §2.2.1, §4.1.7)."""
        assert self.side is Side.MC
        assert self.state is State.OPEN
        fields = {"system_id": system_id, "password": password}
        self._send(Pdu(Command.OUTBIND, self._window.next_sequence(), 0, fields))
        self._move(Move.OUTBIND)

    def bind(self, command: Command, fields: dict[str, Any], now: float) -> None:
        """ESME: ask to be bound. A Bound or Ended event follows."""
        assert self.side is Side.ESME
        assert command in BINDS
        sequence = self._window.next_sequence()
        fields = {"interface_version": self.settings.interface_version, **fields}
        self._send(Pdu(command, sequence, 0, fields))
        self._binding = (sequence, command, now + self.settings.response_s)

    def accept_bind(self, pdu: Pdu, system_id: str, now: float, *, tells_version: bool = True) -> list[Event]:
        """MC: the peer is who it says it is. Versions meet at the lower one (5.0 §4.1.1.7).

        ``tells_version``: whether a peer of 3.4 or later is sent our sc_interface_version.
        """
        assert self._bind_in == pdu.command
        self._bind_in = None
        asked = int(pdu.fields.get("interface_version", 0))
        self.version = min(self.settings.interface_version, max(asked, 0x33))
        self.takes_options = self.version >= 0x34
        answer = pdu.response(Status.ESME_ROK, system_id=system_id)
        if self.takes_options and tells_version:
            answer.tlvs = ((Tag.SC_INTERFACE_VERSION, self.settings.interface_version),)
        self._send(answer)
        self._move(BOUND_BY[Command(pdu.command)])
        self._active = now
        return [Bound(pdu)]

    def refuse_bind(self, pdu: Pdu, status: int) -> list[Event]:
        """MC: no. The connection is closed after the answer."""
        self._bind_in = None
        self._send(pdu.response(status))
        return self._end("bind refused")

    def request(self, pdu: Pdu, token: Any, now: float) -> None:
        """Send a request, or queue it behind the window; an Answered or Lost event with ``token`` follows.

        Its sequence number is given here. Raises NotSent when it is not legal now or the queue is full,
        WireError when the PDU does not fit the standard.
        """
        if not self.may_request(pdu.command):
            raise NotSent("not bound for this request" if not self._window.is_full else "queue full")
        pdu.sequence = self._window.next_sequence()
        frame = encode(pdu, self.version)
        deadline = now + self.settings.response_s
        ready = self._window.put(Outstanding(pdu.sequence, pdu.command, token, deadline, frame))
        if ready is not None:
            self._out.append(ready)
        self._active = self._spoken = now

    def respond(self, request: Pdu, status: int, now: float, **fields: Any) -> list[Event]:
        """Answer a Received request. Does nothing once the session has ended."""
        self.unanswered_in -= 1
        assert self.unanswered_in >= 0, "answered twice"
        if self._has_ended:
            return []
        self._send(request.response(status, **fields))
        self._spoken = now
        return self._go_on_leaving(now) if self.is_leaving else []

    def unbind(self, now: float) -> list[Event]:
        """Leave in order: refuse what is new, let answers pass for ``drain_s``, then unbind (3.4 §4.2)."""
        if not self.is_bound:
            return self._end("not bound")
        if self._unbind_by is None:
            self._unbind_by = now + self.settings.drain_s
        return [*_lost(self._window.drop_queued()), *self._go_on_leaving(now)]

    def end(self, why: str) -> list[Event]:
        """Give up at once."""
        return self._end(why)

    def connection_lost(self) -> list[Event]:
        """The connection is gone: every request without an answer is lost, written or not."""
        self._has_ended = True
        self.state = State.CLOSED
        self._see_state()
        return _lost(self._window.drop_all())

    def data_to_send(self) -> bytes:
        """Bytes to be written now."""
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    # What the peer says

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Bytes from the peer, cut anywhere."""
        if self._has_ended:
            return []
        events: list[Event] = []
        self._heard = now
        splitter = self._splitter
        try:
            if not splitter.buffered_octets:
                self._frame_since = now
            splitter.feed(data)
            while not self._has_ended and (frame := splitter.next_frame()) is not NEED_DATA:
                self._frame_since = now
                self._frame_received(frame, now, events)
        except WireError as error:  # a length no PDU has: framing is lost (3.4 §3.2, reference to 0x02)
            self._send(nack(0, error.hint or Status.ESME_RINVCMDLEN))
            events += self._end(f"framing lost: {error.why}")
        return events

    def _frame_received(self, frame: bytes, now: float, events: list[Event]) -> None:
        later = _LATER.get(frame[4:8]) if self.gate is not None else None
        if later is not None and later.command in self._peer_may and not self.gate(frame):  # type: ignore[misc]
            self._out.append(later.before + frame[12:16] + later.behind)
            return
        try:
            pdu = decode(frame)
        except WireError as error:
            self._undecodable(frame, error, now, events)
            return
        command = pdu.command
        if command & RESPONSE_BIT:
            self._response_received(pdu, now, events)
        elif command in self._peer_may and not self._is_unknown(command):
            if command in _CONTROL:
                self._control_received(pdu, now, events)
            else:
                self._request_received(pdu, now, events)
        else:
            self._illegal(pdu)

    def _request_received(self, pdu: Pdu, now: float, events: list[Event]) -> None:
        if self.is_throttling or self.unanswered_in >= self.settings.window_in_max or self.is_leaving:
            self._send(pdu.response(Status.ESME_RTHROTTLED))
            return
        self.unanswered_in += 1
        self._active = now
        events.append(Received(pdu))

    def _control_received(self, pdu: Pdu, now: float, events: list[Event]) -> None:
        command = pdu.command
        if command == Command.ENQUIRE_LINK:
            self._send(pdu.response())
        elif command == Command.UNBIND:
            self._unbind_in = (pdu, now + self.settings.drain_s)
            events += _lost(self._window.drop_queued())
            events += self._go_on_leaving(now)
        elif command == Command.ALERT_NOTIFICATION:
            events.append(Alerted(pdu))
        elif command == Command.OUTBIND:
            self.side = Side.ESME
            self._move(Move.OUTBIND)
            events.append(OutbindAsked(pdu))
        elif self._bind_in is not None:
            self._send(pdu.response(Status.ESME_RALYBND))
        else:
            self.side = Side.MC
            self._see_state()
            self._bind_in = command
            events.append(BindAsked(pdu))

    def _response_received(self, pdu: Pdu, now: float, events: list[Event]) -> None:
        sequence = pdu.sequence
        if pdu.command == Command.GENERIC_NACK and not self._awaits(sequence):
            self.late_answers += 1
            return
        if self._enquiry is not None and sequence == self._enquiry[0]:
            self._enquiry = None
            return
        if self._binding is not None and sequence == self._binding[0]:
            self._bind_answered(pdu, now, events)
            return
        if self._unbind_sent is not None and sequence == self._unbind_sent[0]:
            self._move(Move.UNBIND)
            events += self._end("unbound")
            return
        entry = self._window.take(sequence)
        if entry is None:
            self.late_answers += 1
            return
        self._active = now
        if pdu.command in (entry.command | RESPONSE_BIT, Command.GENERIC_NACK):
            events.append(Answered(entry.token, pdu))
        else:  # an answer to something we never asked: what became of our request is unknown
            events.append(Lost(entry.token, was_written=True))
        self._room_again(now, events)

    def _bind_answered(self, pdu: Pdu, now: float, events: list[Event]) -> None:
        assert self._binding is not None
        command, self._binding = Command(self._binding[1]), None
        if pdu.status != 0 or pdu.command != command | RESPONSE_BIT:
            events += self._end(f"bind refused with {status_words(pdu.status)}")
            return
        offered = pdu.tlv(Tag.SC_INTERFACE_VERSION)
        theirs = offered if isinstance(offered, int) else 0x33 if self.version < 0x34 else 0x34
        self.version = min(self.settings.interface_version, max(theirs, 0x33))
        self.takes_options = self.version >= 0x34 and isinstance(offered, int)  # 3.4 §3.4
        self._move(BOUND_BY[command])
        self._active = now
        events.append(Bound(pdu))

    def _undecodable(self, frame: bytes, error: WireError, now: float, events: list[Event]) -> None:
        """A body that breaks the standard: its own response with the code, or generic_nack (3.4 §4.3).

        A response whose body cannot be read is an answer all the same: its status stands in the header.
        """
        _, command, answered, sequence = _HEADER.unpack_from(frame)
        status = error.hint or Status.ESME_RSYSERR
        pdu = error.pdu if isinstance(error, PduError) and error.pdu else Pdu(command, sequence, answered)
        told = answered if command & RESPONSE_BIT else status
        message = pdu if command in MESSAGES and command in self._peer_may else None
        events.append(Malformed(pdu.name, told, f"{error.field} {error.why}".strip(), message))
        if command & RESPONSE_BIT:  # never nack a response
            self._response_received(pdu, now, events)
        elif self._is_unknown(command):
            self._send(nack(sequence, Status.ESME_RINVCMDID))
        elif command in _NO_RESPONSE:
            self._send(nack(sequence, status))
        else:
            self._send(Pdu(command | RESPONSE_BIT, sequence, status))

    def _illegal(self, pdu: Pdu) -> None:
        """A request this peer may not issue in this state (3.4 §2.3, 0x04)."""
        command = pdu.command
        if self._is_unknown(command):
            self._send(nack(pdu.sequence, Status.ESME_RINVCMDID))
        elif command in _NO_RESPONSE:
            self._send(nack(pdu.sequence, Status.ESME_RINVBNDSTS))
        elif command in BINDS and self.is_bound:
            self._send(pdu.response(Status.ESME_RALYBND))
        else:
            self._send(pdu.response(Status.ESME_RINVBNDSTS))

    def _is_unknown(self, command: int) -> bool:
        return command not in LEGAL or (command in VERSION_5 and self.version < 0x50)

    # What time says

    def tick(self, now: float) -> list[Event]:
        """Let time pass; call it about once a second, and more often where a timer is shorter."""
        if self._has_ended:
            return []
        why = self._overdue(now)
        if why is not None:
            return self._end(why)
        if not self.is_bound:
            return []
        events = _lost(self._window.expired(now))
        if events:
            self._room_again(now, events)
        if self.is_leaving:
            return events + self._go_on_leaving(now)
        settings = self.settings
        if settings.inactivity_s and now - self._active >= settings.inactivity_s:
            return events + self.unbind(now)
        if settings.enquire_link_s and self._enquiry is None and now - self._heard >= settings.enquire_link_s:
            sequence = self._window.next_sequence()
            self._send(Pdu(Command.ENQUIRE_LINK, sequence, 0, {}))
            self._enquiry = (sequence, now + settings.response_s)
        return events

    def _overdue(self, now: float) -> str | None:
        """Why this connection has no future, if it has none."""
        settings = self.settings
        if not self.is_bound and self._binding is None and now - self._opened >= settings.session_init_s:
            return "no bind in time"
        if self._binding is not None and now >= self._binding[2]:
            return "bind unanswered"
        if self._enquiry is not None and now >= self._enquiry[1]:
            return "enquire_link unanswered"
        if self._unbind_sent is not None and now >= self._unbind_sent[1]:
            return "unbind unanswered"
        if self._splitter.buffered_octets and now - self._frame_since >= settings.pdu_s:
            return "PDU unfinished"
        return None

    def _go_on_leaving(self, now: float) -> list[Event]:
        if self._unbind_in is not None:
            pdu, deadline = self._unbind_in
            if self.unanswered_in > 0 and now < deadline:
                return []
            self._send(pdu.response())
            self._move(Move.UNBIND)
            return self._end("peer unbound")
        if self._unbind_by is not None and self._unbind_sent is None:
            owes = self.unanswered_in > 0 or self._window.unanswered > 0
            if not owes or now >= self._unbind_by:
                sequence = self._window.next_sequence()
                self._send(Pdu(Command.UNBIND, sequence, 0, {}))
                self._unbind_sent = (sequence, now + self.settings.unbind_s)
        return []

    def _room_again(self, now: float, events: list[Event]) -> None:
        self._out += self._window.refill()
        if self.is_leaving and not self._has_ended:
            events += self._go_on_leaving(now)

    def _awaits(self, sequence: int) -> bool:
        ours: Sequence[tuple[Any, ...] | None] = (self._enquiry, self._binding, self._unbind_sent)
        return self._window.awaits(sequence) or any(own is not None and own[0] == sequence for own in ours)

    def _send(self, pdu: Pdu) -> None:
        self._out.append(encode(pdu, self.version))

    def _move(self, move: Move) -> None:
        self.state = advance(TRANSITIONS, self.state, move)
        self._see_state()

    def _end(self, why: str) -> list[Event]:
        if self._has_ended:
            return []
        self._has_ended = True
        self._move(Move.CLOSE)
        return [*_lost(self._window.drop_all()), Ended(why)]

    def _see_state(self) -> None:
        """Precompute what either end may issue now."""
        if self.side is None:
            both = (legal_requests(side, self.state) for side in Side)
            self._peer_may = frozenset[Command]().union(*both)
            return
        self._peer_may = legal_requests(self.side.other, self.state, self._extra_in)
        self._we_may = legal_requests(self.side, self.state, self._extra_out)


_CONTROL: Final = BINDS | {
    Command.ENQUIRE_LINK,
    Command.UNBIND,
    Command.ALERT_NOTIFICATION,
    Command.OUTBIND,
}


class _Later(NamedTuple):
    """The response 0x58 to a message, before and behind its sequence number."""

    command: Command
    before: bytes
    behind: bytes


def _later(command: Command) -> _Later:
    frame = encode(Pdu(command | RESPONSE_BIT, 1, Status.ESME_RTHROTTLED, {}))
    return _Later(command, frame[:12], frame[16:])


_LATER: Final = {command.to_bytes(4): _later(command) for command in (Command.SUBMIT_SM, Command.DELIVER_SM)}


def _lost(entries: list[Outstanding]) -> list[Event]:
    return [Lost(entry.token, was_written=entry.frame is None) for entry in entries]
