"""One operator's platform as the switch sees it: verbs in, answers out, over one or more leased lines.

``NotSent`` is raised exactly when no octet of the request was handed to a transport; from then on only an
answer or ``InDoubt`` can follow. Either side may dial (endpoint strings; TLS is a matter of configuration).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from aircharge.errors import InDoubt, LinkError, NotSent, WireError
from aircharge.ports import Clock, OperatorAnswer, OperatorRequest, Randomness
from aircharge.protocols.backoff import BackOff
from aircharge.protocols.gate import Gate, GateSettings, Guest, Haunts
from aircharge.protocols.shell import Ticker, WireShell
from aircharge.wire.operator import messages as m
from aircharge.wire.operator.session import (
    Answered,
    Bound,
    Contradicted,
    Doubtful,
    Ended,
    Event,
    Late,
    Session,
    SessionSettings,
)
from aircharge.wire.operator.states import Role

__all__ = ["CODE_NOT_FOUND", "CODE_PENDING", "OperatorLink", "OperatorLinkSettings"]

log = Logger()

CODE_NOT_FOUND: Final = "1404"
"""The code of a query's answer "no such reference"."""

CODE_PENDING: Final = "9001"
"""The code of a query's answer "not decided yet"."""


_HELD_OCTETS_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class OperatorLinkSettings:
    """One operator's lines."""

    name: str = "operator"
    connect: tuple[str, ...] = ()  # endpoints we dial; each entry is one line
    listen: tuple[str, ...] = ()  # endpoints where the operator dials us
    allow: tuple[str, ...] = ()  # networks that may dial us (CIDR); none = everybody
    links_max: int = 16  # lines the operator may dial at once
    strangers_max: int = 64  # connections that have not proved to be the operator's
    strangers_per_address_max: int = 16
    first_octet_s: float = 5.0  # one that has said nothing by then is cut off; 0 = never
    agent_id: str = "aircharge"  # who we are to the operator
    link_id: str = "link"  # our lines are called link_id.1, link_id.2 …
    window_max: int = 100  # unanswered requests on a line; the operator may set less
    queue_max: int = 1000  # requests that wait for a window
    queue_timeout_s: float = 2.0  # a request that waited so long is not sent
    response_timeout_s: float = 15.0  # after this a request is in doubt
    heartbeat_s: float = 10.0
    heartbeats_missed_max: int = 3
    bind_timeout_s: float = 10.0
    unbind_timeout_s: float = 15.0
    reconnect_min_s: float = 1.0
    reconnect_max_s: float = 30.0

    def session(self) -> SessionSettings:
        """What the wire needs of it."""
        return SessionSettings(
            window_max=self.window_max,
            response_timeout_s=self.response_timeout_s,
            heartbeat_s=self.heartbeat_s,
            heartbeats_missed_max=self.heartbeats_missed_max,
            bind_timeout_s=self.bind_timeout_s,
            unbind_timeout_s=self.unbind_timeout_s,
        )


class _Asked:
    """A request on its way: waiting in the queue, then on a line, then done."""

    __slots__ = ("argument", "deferred", "expires", "is_sent")

    def __init__(self, argument: Any, expires: float) -> None:
        self.argument = argument
        self.expires = expires
        self.is_sent = False
        self.deferred: Deferred[Any] = Deferred(self._cancelled)

    def _cancelled(self, deferred: Deferred[Any]) -> None:
        deferred.errback(
            InDoubt("given up by the asker") if self.is_sent else NotSent("given up by the asker")
        )

    def answered(self, value: object) -> None:
        if not self.deferred.called:
            self.deferred.callback(value)

    def failed(self, error: LinkError) -> None:
        if not self.deferred.called:
            self.deferred.errback(error)


class _Line(WireShell):
    """One connection to the operator."""

    session: Session

    def __init__(self, session: Session, ticker: Ticker, link: OperatorLink) -> None:
        super().__init__(session, ticker)
        self._link = link
        self.host = ""  # of a line that was dialled to us
        self._held: Any = None  # IDelayedCall: what came waits
        self._held_octets = b""
        self.bound: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self._link.line_made(self)
        super().connectionMade()

    def waits(self, pause_s: float) -> None:
        """Its place has sent wrong binds: what comes is looked at after so long."""
        self._held = self._clock.callLater(pause_s, self._waited)

    def dataReceived(self, data: bytes) -> None:
        if self._held is None:
            super().dataReceived(data)
            return
        self._held_octets += data
        may_wait = self.guest is None or self.guest.hold()
        if not may_wait or len(self._held_octets) > _HELD_OCTETS_MAX:
            self._abort()

    def _waited(self) -> None:
        data, self._held, self._held_octets = self._held_octets, None, b""
        if data:
            self.dataReceived(data)

    def event_received(self, event: Event) -> None:
        if type(event) is Answered:
            self._link.answer_received(event.token, event.answer)
        elif type(event) is Doubtful:
            event.token.failed(InDoubt(event.why))
        elif type(event) is Bound:
            self._link.line_bound(self, event)
            _fire(self.bound, None)
        elif type(event) is Late or type(event) is Contradicted:
            self._link.late_received(event)
        elif type(event) is Ended:
            self._link.line_ended(self, event.why)
            _fire(self.bound, LinkError(event.why))

    def flush(self) -> None:
        super().flush()
        if self.session.has_ended:
            self._link.line_ended(self, "")

    def gone(self, why: str) -> None:
        if self._held is not None:
            self._held.cancel()
        self._link.line_gone(self)


class _LineFactory(Factory):
    noisy = False

    def __init__(
        self, link: OperatorLink, link_id: str, gate: Gate | None = None, back_off: BackOff | None = None
    ) -> None:
        self._link = link
        self._link_id = link_id
        self._gate = gate
        self._back_off = back_off
        self._count = 0

    def buildProtocol(self, addr: IAddress | None) -> _Line | None:
        host = str(getattr(addr, "host", ""))
        if self._gate is None:
            return self._watched(self._link.make_line(self._link_id))
        guest = self._gate.admit(host)
        if guest is None:
            return None
        self._count += 1
        line = self._link.make_line(f"{self._link_id}.{self._count % 1_000_000}", host, guest)
        return self._watched(line)

    def _watched(self, line: _Line) -> _Line:
        if self._back_off is not None:
            succeeded = self._back_off.succeeded
            line.bound.addCallback(lambda _: succeeded())
        line.bound.addErrback(lambda _: None)  # nobody waits for it; the end is logged
        return line


class OperatorLink:
    """``ports.Operator`` over the leased lines of one operator."""

    def __init__(
        self,
        settings: OperatorLinkSettings,
        secret: bytes,
        reactor: Any,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        if len(secret) < 16:
            raise ValueError("the operator line's secret has less than 16 octets")
        self.name = settings.name
        self._settings = settings
        self._session_settings = settings.session()
        self._secrets = {settings.agent_id: secret}
        self._reactor = reactor
        self._clock = clock
        self._randomness = randomness
        self._ticker = Ticker(reactor, 0.25)
        of_gate = GateSettings(
            settings.allow,
            settings.links_max,
            settings.links_max,
            settings.strangers_max,
            settings.strangers_per_address_max,
            settings.first_octet_s,
        )
        self._haunts = Haunts(settings.allow)
        self.gate = Gate(of_gate, reactor.seconds, f"operator {settings.name}")
        self._lines: set[_Line] = set()  # connected
        self._bound: list[_Line] = []
        self._turn = 0
        self._queue: deque[_Asked] = deque()
        self._queue_call: Any = None  # IDelayedCall
        self._services: list[ClientService] = []
        self._ports: list[Any] = []  # IListeningPort
        self._late: list[Callable[[OperatorAnswer], None]] = []
        self._all_gone: Deferred[None] | None = None
        self._is_stopping = False

    # -- start and stop ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen and dial. Returns when the listening places are open; lines come up by themselves."""
        settings = self._settings
        for place in settings.listen:
            doors = _LineFactory(self, settings.link_id, self.gate)
            self._ports.append(await serverFromString(self._reactor, place).listen(doors))
        for number, place in enumerate(settings.connect, 1):
            back_off = BackOff(self._chance, settings.reconnect_min_s, settings.reconnect_max_s)
            factory: Any = _LineFactory(self, f"{settings.link_id}.{number}", back_off=back_off)
            service = ClientService(
                clientFromString(self._reactor, place),
                factory,
                retryPolicy=back_off.delay_s,
                clock=self._reactor,
            )
            service.startService()
            self._services.append(service)

    def _chance(self) -> float:
        return int.from_bytes(self._randomness.token(2), "big") / 65536

    async def stop(self) -> None:
        """Unbind: outstanding requests are waited for (``unbind_timeout_s``), queued ones were not sent."""
        self._is_stopping = True
        self._fail_queue("stopping")
        for port in self._ports:
            await _settled(port.stopListening())
        if self._lines:
            self._all_gone = Deferred()
            now = self._reactor.seconds()
            for line in list(self._lines):
                line.session.unbind(now)
                line.pump()
            await self._all_gone
        for service in self._services:
            await _settled(service.stopService())

    @property
    def listening(self) -> list[Any]:
        """Addresses of the open listening places."""
        return [port.getHost() for port in self._ports]

    @property
    def lines_bound(self) -> int:
        return len(self._bound)

    @property
    def window(self) -> int:
        """How many requests may be unanswered at once, over all bound lines."""
        return sum(line.session.window_max for line in self._bound)

    # -- ports.Operator ----------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether a request made now would be written now, or soon: a line is alive, the queue is short."""
        if not any(line.session.is_alive for line in self._bound):
            return False
        return len(self._queue) < self._settings.queue_max

    def recharge(self, request: OperatorRequest) -> Deferred[OperatorAnswer]:
        """Execute a recharge. Sent again under the same reference it is the same recharge."""
        argument = m.RechargeArgument(
            request.op_ref,
            self._settings.agent_id,
            request.msisdn,
            request.amount_fen,
            m.CURRENCY_CNY,
            request.at_ms,
        )
        return self._ask(argument)

    def query(self, request: OperatorRequest) -> Deferred[OperatorAnswer]:
        """Ask what became of ``op_ref``: its own code, CODE_NOT_FOUND or CODE_PENDING."""
        return self._ask(m.QueryArgument(request.op_ref, self._settings.agent_id, self._clock.now_ms()))

    def reverse(self, request: OperatorRequest) -> Deferred[OperatorAnswer]:
        """Take ``original_ref`` back, under the reversal's own reference."""
        argument = m.ReverseArgument(
            request.op_ref,
            self._settings.agent_id,
            request.msisdn,
            request.amount_fen,
            m.CURRENCY_CNY,
            request.at_ms,
            request.original_ref,
        )
        return self._ask(argument)

    def stock(self) -> Deferred[int]:
        """Our prepaid stock at the operator, in fen."""
        return self._ask(m.StockArgument(self._settings.agent_id, self._clock.now_ms()))

    def on_late_answer(self, listener: Callable[[OperatorAnswer], None]) -> None:
        """Who hears answers to requests that were given up, and second answers that contradict."""
        self._late.append(listener)

    # -- window and queue --------------------------------------------------------------------------------

    def _ask(self, argument: Any) -> Deferred[Any]:
        now = self._reactor.seconds()
        asked = _Asked(argument, now + self._settings.queue_timeout_s)
        if not self._bound or self._is_stopping:
            asked.failed(NotSent("no line is bound"))
        elif not self._queue and (line := self._open_line()) is not None:
            self._send(line, asked, now)
        elif len(self._queue) >= self._settings.queue_max:
            asked.failed(NotSent("the queue is full"))
        else:
            self._queue.append(asked)
            if self._queue_call is None:
                self._queue_call = self._reactor.callLater(self._settings.queue_timeout_s, self._queue_due)
        return asked.deferred

    def _open_line(self) -> _Line | None:
        """The next line whose window is open, in turn; one that is alive before one that is silent."""
        count = len(self._bound)
        second = None
        for step in range(count):
            line = self._bound[(self._turn + step) % count]
            if line.session.is_open and line.transport is not None:
                if line.session.is_alive:
                    self._turn = (self._turn + step + 1) % count
                    return line
                second = second or line
        return second

    def _send(self, line: _Line, asked: _Asked, now: float) -> None:
        try:
            line.session.request(asked.argument, asked, now)
        except WireError as error:  # it cannot be said in this protocol: nothing was written
            asked.failed(NotSent(str(error)))
            return
        asked.is_sent = True
        line.flush()

    def _pump_queue(self) -> None:
        now = self._reactor.seconds()
        while self._queue:
            asked = self._queue[0]
            if asked.deferred.called:
                self._queue.popleft()
            elif asked.expires <= now:
                self._queue.popleft()
                asked.failed(NotSent("waited too long for a window"))
            elif (line := self._open_line()) is not None:
                self._queue.popleft()
                self._send(line, asked, now)
            else:
                return

    def _queue_due(self) -> None:
        self._queue_call = None
        self._pump_queue()
        if self._queue and self._queue_call is None:
            delay = max(self._queue[0].expires - self._reactor.seconds(), 0.0)
            self._queue_call = self._reactor.callLater(delay, self._queue_due)

    def _fail_queue(self, why: str) -> None:
        if self._queue_call is not None:
            self._queue_call.cancel()
            self._queue_call = None
        waiting, self._queue = self._queue, deque()
        for asked in waiting:
            asked.failed(NotSent(why))

    # -- what the lines say ------------------------------------------------------------------------------

    def make_line(self, link_id: str, host: str = "", guest: Guest | None = None) -> _Line:
        """A new line; ``host`` and ``guest`` of one that was dialled to us."""
        session = Session(
            Role.AGENT,
            self._session_settings,
            self._secrets,
            self._randomness.token(32),
            self._reactor.seconds(),
            self._clock.now_ms,
            agent_id=self._settings.agent_id,
            link_id=link_id,
        )
        line = _Line(session, self._ticker, self)
        if guest is not None:
            line.host = host
            line.let_in(guest)
            pause_s = guest.pause_s()
            if pause_s and not self._haunts.is_missed(host, len(self._bound)):
                line.waits(pause_s)
        return line

    def line_made(self, line: _Line) -> None:
        self._lines.add(line)
        if self._is_stopping:
            line.session.unbind(self._reactor.seconds())

    def line_bound(self, line: _Line, bound: Bound) -> None:
        self._bound.append(line)
        if line.guest is not None:
            is_one_too_many = self.gate.is_full
            line.guest.proved()
            if is_one_too_many:
                line.session.unbind(self._reactor.seconds())
            self._haunts.seen(line.host, len(self._bound))
        log.info(
            "{operator}: line {link_id} bound, window {window}",
            operator=self.name,
            link_id=bound.link_id,
            window=bound.window_max,
        )

    def line_ended(self, line: _Line, why: str) -> None:
        """The line takes nothing more. What it still carried has been told already."""
        if why and self._is_worth_a_line(line, why):
            log.warn(
                "{operator}: line {link} ended: {why}", operator=self.name, link=line.session.link_id, why=why
            )
        if line in self._bound:
            self._bound.remove(line)
        if not self._bound:
            self._fail_queue("no line is bound")

    def _is_worth_a_line(self, line: _Line, why: str) -> bool:
        """Strangers write no lines: those that said something wrong are counted, and an alarm tells of them."""
        guest = line.guest
        if guest is None or guest.is_known or self._is_stopping:
            return True
        return line.has_heard and guest.wrong(why) == 0.0

    def line_gone(self, line: _Line) -> None:
        self.line_ended(line, "")
        self._lines.discard(line)
        if not self._lines and self._all_gone is not None:
            gone, self._all_gone = self._all_gone, None
            gone.callback(None)

    def answer_received(self, asked: _Asked, answer: Any) -> None:
        try:
            value = _meaning(asked.argument, answer)
        except LinkError as error:
            log.warn("{operator}: {why}", operator=self.name, why=str(error))
            asked.failed(error)
        else:
            if asked.deferred.called and isinstance(value, OperatorAnswer):
                self._tell_late(value)  # the asker gave it up meanwhile
            else:
                asked.answered(value)
        if self._queue:
            self._pump_queue()

    def late_received(self, event: Late | Contradicted) -> None:
        outcome = event.outcome
        if type(event) is Contradicted:
            log.error(
                "{operator}: {ref} was answered {first}, then {second}",
                operator=self.name,
                ref=outcome.op_ref,
                first=event.first_code,
                second=outcome.code,
            )
        if outcome.code:
            self._tell_late(_told(outcome))

    def _tell_late(self, answer: OperatorAnswer) -> None:
        for listener in self._late:
            listener(answer)


def _meaning(argument: Any, answer: Any) -> OperatorAnswer | int:
    """An answer in the switch's terms. Raises InDoubt when it says nothing certain about what was asked."""
    if isinstance(answer, m.StockResult):
        return answer.stock_fen
    asks_money = isinstance(argument, m.RechargeArgument | m.ReverseArgument)
    if isinstance(answer, m.Reject) and asks_money:
        return OperatorAnswer(argument.op_ref, f"REJ{answer.problem:02d}")
    if isinstance(answer, m.Refused) and asks_money:
        return _told(answer)
    if isinstance(answer, m.QueryResult):
        if answer.status != m.QueryStatus.FOUND:
            code = CODE_NOT_FOUND if answer.status == m.QueryStatus.NOT_FOUND else CODE_PENDING
            return OperatorAnswer(answer.op_ref, code)
        if not answer.code:
            raise InDoubt("a reference was found and its code not told")
    elif not isinstance(answer, m.RechargeResult | m.ReverseResult):
        raise InDoubt(f"{type(argument).__name__} was not performed: {answer!r}")
    if asks_money and answer.amount_fen not in (0, argument.amount_fen):
        why = f"{answer.op_ref}: the operator executed another amount"
        raise InDoubt(why, odd=f"the amount is {answer.amount_fen} fen", code=answer.code)
    return _told(answer)


def _told(outcome: Any) -> OperatorAnswer:
    amount_fen = getattr(outcome, "amount_fen", 0)
    return OperatorAnswer(outcome.op_ref, outcome.code, outcome.op_serial, outcome.at_ms, amount_fen)


def _fire(deferred: Deferred[None], value: LinkError | None) -> None:
    if not deferred.called:
        if value is None:
            deferred.callback(None)
        else:
            deferred.errback(value)


async def _settled(maybe: Any) -> Any:
    return await maybe if isinstance(maybe, Deferred) else maybe
