"""All bound SMPP sessions as one: messages in to ``answer``, our messages out over whoever is bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.logger import Logger

from aircharge.errors import InDoubt, LinkError, NotSent, Unsendable, WireError
from aircharge.protocols.shell import Ticker, TimeSource
from aircharge.protocols.smpp_causes import Troubles
from aircharge.protocols.smpp_connection import SmppConnection
from aircharge.protocols.smpp_inbound import Answer, Inbox, ReceiptReceived, Unjoined
from aircharge.protocols.smpp_line import SmppLine
from aircharge.protocols.smpp_outbound import message_pdus
from aircharge.protocols.smpp_peer import SmppPeer
from aircharge.protocols.smpp_routes import Routes
from aircharge.wire.gsm import Element, encode_text
from aircharge.wire.smpp.constants import Status, status_words
from aircharge.wire.smpp.pdu import Pdu
from aircharge.wire.smpp.session import Session

__all__ = ["Answer", "SmppGateway", "SmppRefused", "SmppRejected", "Throttled"]

_BUSY: Final = frozenset((Status.ESME_RTHROTTLED, Status.ESME_RMSGQFUL))

_FINAL: Final = frozenset(
    (
        Status.ESME_RINVMSGLEN,
        Status.ESME_RINVCMDLEN,
        Status.ESME_RINVCMDID,
        Status.ESME_RINVPRTFLG,
        Status.ESME_RINVREGDLVFLG,
        Status.ESME_RINVSRCADR,
        Status.ESME_RINVDSTADR,
        Status.ESME_RINVSERTYP,
        Status.ESME_RINVESMCLASS,
        Status.ESME_RINVSRCTON,
        Status.ESME_RINVSRCNPI,
        Status.ESME_RINVDSTTON,
        Status.ESME_RINVDSTNPI,
        Status.ESME_RINVREPFLAG,
        Status.ESME_RINVSCHED,
        Status.ESME_RINVEXPIRY,
        Status.ESME_RINVDFTMSGID,
        Status.ESME_RX_P_APPN,
        Status.ESME_RX_R_APPN,
        *range(Status.ESME_RINVTLVSTREAM, Status.ESME_RINVTLVVAL + 1),
        *range(Status.ESME_RSERTYPUNAUTH, Status.ESME_RPROHIBITED + 1),
        *range(Status.ESME_RSERTYPDENIED, Status.ESME_RINVDSTADDRSUBUNIT + 1),
    )
)
"""What is wrong with the message itself (3.4 §5.1.3, 5.0 §4.7.6); any other status may pass by itself."""


class SmppRefused(LinkError):
    """The peer said no; ``status`` is its command_status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"command_status {status:#x}")
        self.status = status


class Throttled(SmppRefused):
    """The peer is busy (0x58, 0x14): the same again, later."""


class SmppUnsendable(NotSent, Unsendable):
    """No PDU that this peer may be sent can carry the message."""


class SmppRejected(SmppRefused, Unsendable):
    """The peer refuses this message for good: the same again would be refused again."""


MakePdus = Callable[[SmppLine, Session], list[Pdu]]
"""Makes the requests of one message for a peer and for what its session allows."""


def _refusal(status: int) -> SmppRefused:
    if status in _BUSY:
        return Throttled(status)
    return SmppRejected(status) if status in _FINAL else SmppRefused(status)


class SmppGateway:
    """The meeting place of servers, clients and the application.

    ``answer(message, peer)`` gives the command_status of a message's response; the response leaves when it
    resolves. ``receipt_received(receipt, peer)`` hears of delivery receipts, ``unjoined`` of messages whose
    parts did not all come. ``clock`` is the reactor or a ``task.Clock``; ``now_ms`` the wall clock in milliseconds
    since 1970 UTC.
    """

    log = Logger()

    def __init__(
        self,
        clock: TimeSource,
        now_ms: Callable[[], int],
        answer: Answer,
        receipt_received: ReceiptReceived | None = None,
        unjoined: Unjoined | None = None,
        tick_s: float = 1.0,
    ) -> None:
        self.clock = clock
        self.ticker = Ticker(clock, tick_s)
        self.is_throttling = False
        self.gate: Callable[[bytes], bool] | None = None  # of sessions bound from now on (``Session.gate``)
        self.troubles = Troubles(clock.seconds)
        self.routes = Routes(clock.seconds)
        self.lines: list[SmppLine] = []
        self._inbox = Inbox(clock, now_ms, answer, receipt_received, unjoined)
        self._connections: dict[SmppConnection, None] = {}
        self._next = 0
        self._serial = 0

    # For servers and clients

    def line(self, peer: SmppPeer, password: str) -> SmppLine:
        """The line of a peer, made once; its profile is checked (ConfigError)."""
        for line in self.lines:
            if line.peer == peer:
                return line
        peer.check()
        line = SmppLine(peer, password, self.clock.seconds())
        self.lines.append(line)
        return line

    def connection(self, lines: Sequence[SmppLine], *, is_dialled: bool) -> SmppConnection:
        """A fresh connection that may turn out to be any of these lines."""
        self._serial += 1
        connection = SmppConnection(self, lines, self.ticker, is_dialled=is_dialled, serial=self._serial)
        self._connections[connection] = None
        return connection

    def opened(self, connection: SmppConnection) -> None:
        """A connection is bound: from the next message on it takes its turn."""
        connection.throttle(self.is_throttling)

    def closed(self, connection: SmppConnection) -> None:
        self._connections.pop(connection, None)

    def message_received(self, connection: SmppConnection, line: SmppLine, pdu: Pdu) -> None:
        self._inbox.message_received(connection, line, pdu)

    def unreadable(self, line: SmppLine, pdu: Pdu) -> None:
        self._inbox.unreadable(line, pdu)

    # For the application

    def ready(self) -> bool:
        """Whether a message sent now would find a session to take it."""
        return any(c.session.may_request(line.mt_command) for line in self.lines for c in line.bound)

    def takers(self) -> tuple[str, ...]:
        """Names of the peers that would take a message now."""
        return tuple(
            line.peer.name
            for line in self.lines
            if any(c.session.may_request(line.mt_command) for c in line.bound)
        )

    def bound_peers(self) -> tuple[str, ...]:
        """Names of the peers that have at least one bound session."""
        return tuple(line.peer.name for line in self.lines if line.bound)

    @property
    def connections(self) -> int:
        return len(self._connections)

    def throttle(self, is_throttling: bool) -> None:
        """Answer every new message 0x58 (or stop doing so); what was taken before is still answered."""
        self.is_throttling = is_throttling
        for connection in self._connections:
            connection.throttle(is_throttling)

    def unbind_all(self) -> Deferred[None]:
        """Leave all sessions in order; fires when the last connection is gone."""
        self._inbox.stop()
        leaving = DeferredList([connection.unbind() for connection in list(self._connections)])
        return leaving.addCallback(lambda _: None)

    def send_text(
        self, source: str, destination: str, text: str, reference: int = 0, *, peer: str = ""
    ) -> Deferred[tuple[str, ...]]:
        """``text`` as a Deferred."""
        return Deferred.fromCoroutine(self.text(source, destination, text, reference, peer=peer))

    async def text(
        self,
        source: str,
        destination: str,
        text: str,
        reference: int = 0,
        *,
        peer: str = "",
        centre: str = "",
        waits: bool = True,
    ) -> tuple[str, ...]:
        """Send a text, in parts where it is long; the peer's message ids, one a part.

        ``peer`` names one peer, else any (``Routes.ways``; ``centre``: the one it belongs to). ``reference`` is the
        user_message_reference (16 bits, 0 = none).
        Fails with NotSent (nothing written), InDoubt (unanswered, or taken in part), Throttled, SmppRefused.
        """

        def make(line: SmppLine, session: Session) -> list[Pdu]:
            data_coding, data = encode_text(text, line.default_alphabet)
            return message_pdus(
                line,
                source,
                destination,
                data,
                data_coding,
                reference=reference,
                version=session.version,
                takes_options=session.takes_options,
            )

        return await self._send(make, peer, destination, centre, waits)

    def send_binary(
        self,
        source: str,
        destination: str,
        data: bytes,
        *,
        elements: tuple[Element, ...] = (),
        data_coding: int = 0x04,
        protocol_id: int = 0,
        reference: int = 0,
        peer: str = "",
        centre: str = "",
    ) -> Deferred[tuple[str, ...]]:
        """Send octets, the elements in a UDH, in parts where need be; results as ``send_text``."""

        def make(line: SmppLine, session: Session) -> list[Pdu]:
            return message_pdus(
                line,
                source,
                destination,
                data,
                data_coding,
                elements=elements,
                protocol_id=protocol_id,
                reference=reference,
                version=session.version,
                takes_options=session.takes_options,
            )

        return Deferred.fromCoroutine(self._send(make, peer, destination, centre, waits=not peer))

    async def _send(
        self, make: MakePdus, peer: str, destination: str, centre: str, waits: bool
    ) -> tuple[str, ...]:
        """Over the best line that takes it: what one refuses, or cannot be sent, the next one is asked at once.

        Its own SMS centre's "later" is waited for; only what every line refuses for good is refused for good.
        """
        named = [line for line in self.lines if line.peer.name == peer] if peer else self.lines
        errors: dict[str, SmppRefused | NotSent] = {}
        for lines in self.routes.ways(destination, named, centre, waits=waits):
            while True:
                connection = self._pick([line for line in lines if line.peer.name not in errors])
                if connection is None or connection.line is None:
                    break
                name = connection.line.peer.name
                try:
                    return await self._send_over(connection, connection.line, make)
                except (SmppRefused, NotSent) as error:
                    errors[name] = error
                if waits and name == centre and not isinstance(errors[name], Unsendable):
                    raise errors[name]
        raise self._worst(errors, named, destination)

    def _worst(
        self, errors: Mapping[str, SmppRefused | NotSent], lines: Sequence[SmppLine], destination: str
    ) -> LinkError:
        """What came of it when no line has taken it."""
        passing = [error for error in errors.values() if not isinstance(error, Unsendable)]
        if passing or not errors:
            return passing[0] if passing else NotSent("no session is bound that could take it")
        if any(self.routes.is_expected(line) for line in lines if line.peer.name not in errors):
            return NotSent("refused, but an SMS centre is away")
        for name, error in errors.items():
            if isinstance(error, SmppRejected):
                self.troubles.given_up(name, status_words(error.status), destination)
            else:
                self.troubles.given_up(name, str(error))
        return next(iter(errors.values()))

    async def _send_over(self, connection: SmppConnection, line: SmppLine, make: MakePdus) -> tuple[str, ...]:
        try:
            pdus = make(line, connection.session)
        except WireError as error:
            raise self._unsendable(line, error) from error
        waiting: list[Deferred[Pdu]] = []
        try:
            for pdu in pdus:
                if line.peer.throughput_per_s > 0:
                    await self._wait_for_turn(line)
                waiting.append(connection.request(pdu))
        except (NotSent, WireError) as error:
            if not waiting and isinstance(error, WireError):
                raise self._unsendable(line, error) from error
            if not waiting:
                raise NotSent(str(error)) from error
            for deferred in waiting:
                deferred.addErrback(lambda _: None)
            raise InDoubt("sent in part") from error
        try:
            ids = await _outcome(waiting)
        except SmppRefused as refused:
            self.troubles.tell(line.peer.name, "refused", status_words(refused.status))
            raise
        self.troubles.taken(line.peer.name)
        return ids

    def _unsendable(self, line: SmppLine, error: WireError) -> SmppUnsendable:
        """Our own profile of the peer, or the message, allows no PDU: nothing would change that."""
        words = f"{error.field} {error.why}".strip()
        self.troubles.tell(line.peer.name, "unsendable", words)
        return SmppUnsendable(f"not a message that can be sent: {words}")

    def _pick(self, lines: Sequence[SmppLine]) -> SmppConnection | None:
        """The next session in turn that has room in its window; else one that has room in its queue."""
        able = [
            connection
            for line in lines
            for connection in line.bound
            if connection.session.may_request(line.mt_command)
        ]
        if not able:
            return None
        self._next += 1
        for offset in range(len(able)):
            connection = able[(self._next + offset) % len(able)]
            if connection.session.window_is_open:
                return connection
        return able[self._next % len(able)]

    async def _wait_for_turn(self, line: SmppLine) -> None:
        """Hold back to the peer's throughput; NotSent when the turn would come too late."""
        wait_s = line.bucket.take(self.clock.seconds())
        if wait_s > line.peer.response_s:
            line.bucket.give_back()
            raise NotSent("the peer's throughput is used up")
        if wait_s > 0:
            await deferLater(cast(Any, self.clock), wait_s, lambda: None)


async def _outcome(waiting: list[Deferred[Pdu]]) -> tuple[str, ...]:
    """All parts' answers as one: the ids, or the worst that happened."""
    ids: list[str] = []
    failures: list[LinkError] = []
    for deferred in waiting:
        try:
            pdu = await deferred
        except LinkError as error:
            failures.append(error)
            continue
        if pdu.status == 0:
            ids.append(str(pdu.fields.get("message_id", "")))
        else:
            failures.append(_refusal(pdu.status))
    if not failures:
        return tuple(ids)
    doubts = [error for error in failures if isinstance(error, InDoubt)]
    if doubts or (ids and len(waiting) > 1):
        raise InDoubt("unanswered, or taken in part") from failures[0]
    refused = [error for error in failures if isinstance(error, SmppRefused)]
    raise (refused or failures)[0]
