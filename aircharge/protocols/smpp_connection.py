"""One SMPP connection: a shell around ``wire.smpp.session`` that lets in, binds and passes messages on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aircharge.errors import InDoubt, LinkError, NotSent
from aircharge.protocols.shell import Ticker, WireShell
from aircharge.protocols.smpp_causes import Troubles
from aircharge.protocols.smpp_line import SmppLine, authenticated
from aircharge.protocols.smpp_peer import PeerInfo
from aircharge.wire.smpp.constants import Command, Status, status_words
from aircharge.wire.smpp.pdu import Pdu
from aircharge.wire.smpp.session import (
    Answered,
    BindAsked,
    Bound,
    Ended,
    Event,
    Lost,
    Malformed,
    OutbindAsked,
    Received,
    Session,
)
from aircharge.wire.smpp.states import MESSAGES, Side
from aircharge.wire.smpp.timers import SessionSettings

__all__ = ["REFUSALS", "Exchange", "SmppConnection"]

REFUSALS: Final[dict[int, int]] = {
    Command.QUERY_SM: Status.ESME_RQUERYFAIL,
    Command.CANCEL_SM: Status.ESME_RCANCELFAIL,
    Command.REPLACE_SM: Status.ESME_RREPLACEFAIL,
    Command.SUBMIT_MULTI: Status.ESME_RSUBMITFAIL,
    Command.BROADCAST_SM: Status.ESME_RBCASTFAIL,
    Command.QUERY_BROADCAST_SM: Status.ESME_RBCASTQUERYFAIL,
    Command.CANCEL_BROADCAST_SM: Status.ESME_RBCASTCANCELFAIL,
}
"""What we answer to operations that a recharge platform does not offer (3.4 §5.1.3, 5.0 §4.7.6)."""


_SLICE: Final = 2048  # octets


class Exchange(Protocol):
    """Who hears of connections and of the messages they bring: the gateway."""

    is_throttling: bool
    gate: Callable[[bytes], bool] | None
    troubles: Troubles

    def opened(self, connection: SmppConnection) -> None: ...

    def closed(self, connection: SmppConnection) -> None: ...

    def message_received(self, connection: SmppConnection, line: SmppLine, pdu: Pdu) -> None:
        """A message to be answered by ``connection.respond`` sooner or later."""
        ...

    def unreadable(self, line: SmppLine, pdu: Pdu) -> None:
        """A message that broke the standard was refused; ``pdu`` is what could be read of it."""
        ...


class SmppConnection(WireShell):
    """One connection to a peer. ``line`` is None until the peer is known."""

    log = Logger()
    session: Session

    def __init__(
        self, exchange: Exchange, lines: Sequence[SmppLine], ticker: Ticker, *, is_dialled: bool, serial: int
    ) -> None:
        self._exchange = exchange
        self._lines = lines
        self._is_dialled = is_dialled
        side = lines[0].peer.side if is_dialled else _side_of(lines)
        settings = lines[0].settings if is_dialled else _strictest(lines)
        super().__init__(Session(side, settings, ticker.clock.seconds()), ticker)
        self.line: SmppLine | None = None
        self.info = PeerInfo("", serial)
        self.host = ""
        self.ended_why = ""
        self._bound: Deferred[SmppConnection] = Deferred()
        self._gone: list[Deferred[None]] = []
        self._is_gone = False
        self._took = False  # whether a message of ours could go this way
        self._held: Any = None  # IDelayedCall: a bind, or the answer to it, waits

    # What the gateway asks

    def when_bound(self) -> Deferred[SmppConnection]:
        """Fires once, when bound; fails with LinkError when the connection ends before."""
        return self._bound

    def request(self, pdu: Pdu) -> Deferred[Pdu]:
        """Send a request; the peer's response, whatever its status. Raises NotSent when it may not be sent.

        The Deferred fails with NotSent (never written) or InDoubt (written, unanswered).
        """
        answer: Deferred[Pdu] = Deferred()
        self.session.request(pdu, answer, self._clock.seconds())
        self.flush()
        return answer

    def respond(self, request: Pdu, status: int, **fields: Any) -> None:
        """Answer a message that ``Exchange.message_received`` was given."""
        events = self.session.respond(request, status, self._clock.seconds(), **fields)
        if events:
            self.pump(events)
        else:
            self.flush()

    @property
    def troubles(self) -> Troubles:
        return self._exchange.troubles

    def throttle(self, is_throttling: bool) -> None:
        self.session.is_throttling = is_throttling

    def unbind(self) -> Deferred[None]:
        """Leave in order; fires when the connection is gone."""
        gone: Deferred[None] = Deferred()
        if self._is_gone:
            gone.callback(None)
            return gone
        self._gone.append(gone)
        self.pump(self.session.unbind(self.now()))
        return gone

    # What the session says

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self.host = str(getattr(transport.getPeer(), "host", ""))
        if self._is_dialled:
            self._introduce()
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """A few messages at a time: what is done about one decides whether the gate lets the next ones through."""
        for start in range(0, len(data), _SLICE):
            super().dataReceived(data[start : start + _SLICE])

    def event_received(self, event: Event) -> None:
        if isinstance(event, Received):
            self._request_received(event.pdu)
        elif isinstance(event, Answered):
            event.token.callback(event.pdu)
        elif isinstance(event, Lost):
            event.token.errback(InDoubt("unanswered") if event.was_written else NotSent("never written"))
        elif isinstance(event, Malformed):
            words = f"{event.name}, {event.why}: {status_words(event.status)}"
            self._exchange.troubles.tell(self.info.name or self.host, "malformed", words)
            if event.message is not None and self.line is not None:
                self._exchange.unreadable(self.line, event.message)
        elif isinstance(event, BindAsked):
            self._bind_asked(event.pdu)
        elif isinstance(event, OutbindAsked):
            self._outbind_asked(event.pdu)
        elif isinstance(event, Bound):
            self._became_bound()
        elif isinstance(event, Ended):
            self.ended_why = event.why

    def gone(self, why: str) -> None:
        self._is_gone = True
        why = self.ended_why or why
        if self.line is not None and self in self.line.bound:
            self.line.bound.remove(self)
            self.line.away_s = self.now() if self._took else self.line.away_s
            self.log.info("SMPP session {serial} of {peer} ended: {why}", **self._names(), why=why)
        elif self._is_dialled:
            self._exchange.troubles.tell(self._lines[0].peer.name, "bind refused", f"{self.host}: {why}")
        self._exchange.closed(self)
        if self._held is not None and self._held.active():
            self._held.cancel()
        if not self._bound.called:
            self._bound.addErrback(lambda _: None)
            self._bound.errback(LinkError(why))
        waiting, self._gone = self._gone, []
        for deferred in waiting:
            deferred.callback(None)

    # Binding

    def _introduce(self) -> None:
        """We dialled: bind, or invite to bind."""
        line = self._lines[0]
        session = self.session
        if line.peer.side is Side.ESME:
            self._bind_to(line)
        else:
            session.outbind(line.peer.our_system_id, line.password)

    def _bind_to(self, line: SmppLine) -> None:
        peer = line.peer
        self._take(line)
        fields = {"system_id": peer.system_id, "password": line.password, "system_type": peer.system_type}
        self.session.bind(peer.bind_command, fields, self.now())

    def _outbind_asked(self, pdu: Pdu) -> None:
        self._when_its_turn_comes(pdu, self._judge_outbind)

    def _bind_asked(self, pdu: Pdu) -> None:
        self._when_its_turn_comes(pdu, self._judge_bind)

    def _when_its_turn_comes(self, pdu: Pdu, judge: Callable[[Pdu], None]) -> None:
        """A place of many wrong binds waits, but for a peer that is missed there."""
        name = pdu.fields["system_id"]
        pause_s = self.guest.pause_s() if self.guest is not None else 0.0
        is_missed = any(one.peer.system_id == name and one.is_missed(self.host) for one in self._lines)
        if not pause_s or is_missed or self.guest is None:
            judge(pdu)
        elif self.guest.hold():
            self._held = self._clock.callLater(pause_s, judge, pdu)
        else:
            self._abort()

    def _judge_outbind(self, pdu: Pdu) -> None:
        line = self._authenticate(Side.ESME, pdu)
        if line is None:
            self._refuse(pdu, lambda: self.pump(self.session.end("outbind of a stranger")))
        else:
            self._bind_to(line)

    def _judge_bind(self, pdu: Pdu) -> None:
        line = self._authenticate(Side.MC, pdu)
        if line is None:
            # One answer for a wrong name, a wrong password, a wrong place and too many sessions.
            self._refuse(pdu, lambda: self.pump(self.session.refuse_bind(pdu, Status.ESME_RBINDFAIL)))
            return
        self._take(line)
        self.pump(
            self.session.accept_bind(
                pdu, line.peer.our_system_id, self.now(), tells_version=line.peer.sc_interface_version
            )
        )

    def _refuse(self, pdu: Pdu, answer: Callable[[], None]) -> None:
        """Count it, and answer after as long as its place waits."""
        name = str(pdu.fields["system_id"])[:16]
        words = f"a {pdu.name} from {self.host} as {name!r}: {status_words(Status.ESME_RBINDFAIL)}"
        self._exchange.troubles.tell(self._known_as(name), "bind refused", words)
        guest, has_waited = self.guest, self._held is not None
        if guest is None:
            answer()
            return
        is_right = any(
            one.knows(pdu.fields["system_id"], pdu.fields["password"]) and one.admits(self.host)
            for one in self._lines
        )
        pause_s = guest.pause_s() if is_right else guest.wrong(f"as {name!r}")
        if pause_s and not has_waited:
            self._held = self._clock.callLater(pause_s, answer)
        else:
            answer()

    def _known_as(self, system_id: str) -> str:
        """The peer of this system_id, or nobody in particular: strangers' names are theirs to choose."""
        return next((one.peer.name for one in self._lines if one.peer.system_id == system_id), "a stranger")

    def _authenticate(self, side: Side, pdu: Pdu) -> SmppLine | None:
        lines, fields = [line for line in self._lines if line.peer.side is side], pdu.fields
        return authenticated(lines, fields["system_id"], fields["password"], self.host)

    def _take(self, line: SmppLine) -> None:
        self.line = line
        self.info = PeerInfo(line.peer.name, self.info.session_id)
        issues = frozenset((line.mt_command,))
        self.session.configure(line.settings, line.peer.side, line.mo_commands, issues)
        self.session.is_throttling = self._exchange.is_throttling
        self.session.gate = self._exchange.gate

    def _became_bound(self) -> None:
        line = self.line
        assert line is not None
        line.opened(self)
        if self.guest is not None:
            self.guest.proved()
        state = self.session.state.value
        self.log.info("SMPP session {serial} of {peer} is {state}", **self._names(), state=state)
        self._took = self.session.is_allowed(line.mt_command)
        line.took |= self._took
        self._exchange.opened(self)
        if not self._bound.called:
            self._bound.callback(self)

    def _names(self) -> dict[str, Any]:
        return {"serial": self.info.session_id, "peer": self.info.name}

    # Requests

    def _request_received(self, pdu: Pdu) -> None:
        command = pdu.command
        line = self.line
        if command in MESSAGES and line is not None and command in line.mo_commands:
            self._exchange.message_received(self, line, pdu)
        else:
            self.respond(pdu, REFUSALS.get(command, Status.ESME_RINVCMDID))


def _side_of(lines: Sequence[SmppLine]) -> Side | None:
    """Our side where a peer dialled us; None until its first PDU where both are possible."""
    sides = {line.peer.side for line in lines}
    return sides.pop() if len(sides) == 1 else None


def _strictest(lines: Sequence[SmppLine]) -> SessionSettings:
    """What a connection obeys until we know whose it is."""
    return min((line.settings for line in lines), key=lambda settings: settings.session_init_s)
