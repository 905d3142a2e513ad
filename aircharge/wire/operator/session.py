"""One connection of the operator line as a value: octets and clock readings in, octets and events out.

Times are monotonic seconds. Nothing is dropped in silence: every invoke that ``request`` took ends in exactly
one Answered or Doubtful, and an answer after that is Late, Contradicted or counted.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from aircharge.errors import WireError
from aircharge.wire.machine import IllegalInput, advance
from aircharge.wire.operator import messages as m
from aircharge.wire.operator.ber import APDU_MAX
from aircharge.wire.operator.codec import RESULTS, ApduError, decode, encode, splitter
from aircharge.wire.operator.messages import Invoke, Opcode, Problem, Reject, ReturnError, ReturnResult
from aircharge.wire.operator.states import TABLES, Input, Role, State, proof

__all__ = [
    "Answered",
    "Bound",
    "Contradicted",
    "Counters",
    "Doubtful",
    "Ended",
    "Event",
    "Invoked",
    "Late",
    "Outcome",
    "Session",
    "SessionSettings",
]

_UNBOUND_APDU_MAX: Final = 512
"""Nobody unproven may make us gather more than this."""

_MEMORY_MAX: Final = 4096
"""Invokes remembered after their end, to tell duplicates and late answers apart."""

Outcome = m.RechargeResult | m.QueryResult | m.ReverseResult | m.Refused
_BUSINESS: Final = (m.RechargeArgument, m.QueryArgument, m.ReverseArgument, m.StockArgument)
_OPCODES: Final = {
    m.RechargeArgument: Opcode.RECHARGE,
    m.QueryArgument: Opcode.QUERY,
    m.ReverseArgument: Opcode.REVERSE,
    m.StockArgument: Opcode.STOCK_BALANCE,
}


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Bounds and times of one connection."""

    window_max: int = 100  # invokes of ours unanswered at once; the operator may set less
    window_in_max: int = 1000  # invokes of the peer in work at once
    response_timeout_s: float = 15.0
    heartbeat_s: float = 10.0  # silence after which we ask whether anybody is there
    heartbeats_missed_max: int = 3
    bind_timeout_s: float = 10.0
    unbind_timeout_s: float = 20.0


class Bound(NamedTuple):
    """Both sides have proved themselves."""

    agent_id: str
    link_id: str
    window_max: int


class Answered(NamedTuple):
    """The answer to an invoke of ours; a Reject says that the operator did not take it as an invoke."""

    token: Any
    answer: m.Result | m.Refused | Reject


class Doubtful(NamedTuple):
    """An invoke of ours went out and its answer will not be waited for any longer."""

    token: Any
    why: str


class Late(NamedTuple):
    """An answer to an invoke that was given up, or that an earlier connection sent."""

    outcome: Outcome


class Contradicted(NamedTuple):
    """A second answer that says something else than the first."""

    outcome: Outcome
    first_code: str


class Invoked(NamedTuple):
    """A business invoke of the agent; answer it with ``respond``, ``refuse`` or ``reject``."""

    invoke_id: int
    argument: m.Argument


class Ended(NamedTuple):
    """The session is over; close the connection when everything is written."""

    why: str


Event = Bound | Answered | Doubtful | Late | Contradicted | Invoked | Ended


@dataclass(slots=True)
class Counters:
    """What a look at the line should show."""

    duplicates: int = 0  # the same answer again
    contradictions: int = 0
    late: int = 0
    mismatched: int = 0  # an answer under our invokeId with another reference
    strays: int = 0  # answers nobody asked for
    malformed: int = 0
    expired: int = 0


class _Waiting(NamedTuple):
    token: Any
    opcode: int
    op_ref: str
    expires: float


class Session:
    """Either side of a connection. ``secrets`` maps agent ids to the secret shared with them."""

    def __init__(
        self,
        role: Role,
        settings: SessionSettings,
        secrets: Mapping[str, bytes],
        nonce: bytes,
        now: float,
        wall_ms: Callable[[], int],
        *,
        agent_id: str = "",
        link_id: str = "",
    ) -> None:
        self.role = role
        self.state = State.OPEN
        self.agent_id = agent_id
        self.link_id = link_id
        self.window_max = settings.window_max
        self.counters = Counters()
        self._settings = settings
        self._secrets = secrets
        self._nonce = nonce
        self._peer_nonce = b""
        self._wall_ms = wall_ms
        self._splitter = splitter()
        self._splitter.size_max = _UNBOUND_APDU_MAX
        self._out: list[bytes] = []
        self._events: list[Event] = []
        self._next_id = 0
        self._control: dict[int, Opcode] = {}  # bind, authenticate, heartbeat, unbind of ours
        self._waiting: dict[int, _Waiting] = {}  # in the order of sending, hence of expiry
        self._answered: dict[int, tuple[_Waiting, str]] = {}
        self._given_up: dict[int, _Waiting] = {}
        self._inbound: set[int] = set()
        self._unbind_asked = 0  # invokeId of the peer's unbind
        self._since = self._heard_at = now
        self._missed = 0
        if role is Role.AGENT:
            self._step(Input.BIND)
            self._invoke(m.BindArgument(m.PROTOCOL_VERSION, agent_id, link_id, nonce), Opcode.BIND)

    # -- what a shell needs ----------------------------------------------------------------------------

    @property
    def has_ended(self) -> bool:
        return self.state is State.CLOSED

    @property
    def outstanding(self) -> int:
        """Business invokes of ours that wait for their answer."""
        return len(self._waiting)

    @property
    def is_open(self) -> bool:
        """Whether ``request`` would take an invoke now: bound and window open."""
        return self.state is State.BOUND and len(self._waiting) < self.window_max

    @property
    def is_alive(self) -> bool:
        """Bound, and no heartbeat was missed."""
        return self.state is State.BOUND and self._missed <= 1

    def data_to_send(self) -> bytes:
        data = b"".join(self._out)
        self._out.clear()
        return data

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Octets of the peer. Never raises: a broken peer ends in a Reject and Ended."""
        if self.has_ended:
            return self._take_events()
        self._splitter.feed(data)
        try:
            while not self.has_ended and (frame := self._splitter.next_frame()) is not None:
                self._heard_at = now
                self._missed = 0
                self._frame_received(frame, now)
        except WireError as error:
            self._fault(0, error)
        return self._take_events()

    def tick(self, now: float) -> list[Event]:
        """Time has passed: expiry of invokes, heartbeat, limits of bind and unbind."""
        settings = self._settings
        if self.has_ended:
            return self._take_events()
        self._expire(now)
        if self.state in (State.OPEN, State.CHALLENGED, State.PROVING):
            if now - self._since >= settings.bind_timeout_s:
                self._end("no bind in time")
        elif (
            self.state in (State.UNBINDING, State.DRAINING) and now - self._since >= settings.unbind_timeout_s
        ):
            self._end("unbind took too long")
        elif now - self._heard_at >= settings.heartbeat_s * (self._missed + 1):
            if self._missed >= settings.heartbeats_missed_max:
                self._end(f"{self._missed} heartbeats unanswered")
            else:
                self._missed += 1
                self._invoke(m.Heartbeat(self._wall_ms()), Opcode.HEARTBEAT)
        self._answer_unbind()
        return self._take_events()

    def connection_lost(self) -> list[Event]:
        self._end("connection lost")
        return self._take_events()

    # -- what the two sides ask --------------------------------------------------------------------------

    def request(self, argument: m.Argument, token: Any, now: float) -> None:
        """Send a business invoke (agent). Raises IllegalInput unless bound, ApduError when it cannot be
        encoded; then nothing was sent. The caller looks at ``is_open`` first: the window is its promise.
        """
        self._step(Input.ASK)
        opcode = _OPCODES[type(argument)]
        invoke_id = self._next_id % 0x7FFFFFFF + 1
        self._out.append(encode(Invoke(invoke_id, argument)))
        self._next_id = invoke_id
        op_ref = getattr(argument, "op_ref", "")
        self._waiting[invoke_id] = _Waiting(token, opcode, op_ref, now + self._settings.response_timeout_s)

    def respond(self, invoke_id: int, result: m.Result) -> None:
        """Answer an Invoked (operator). Said again, it sends a duplicate. Nothing is sent after the end."""
        self._answer(invoke_id, ReturnResult(invoke_id, result))

    def refuse(self, invoke_id: int, error: m.Refused) -> None:
        self._answer(invoke_id, ReturnError(invoke_id, error))

    def reject(self, invoke_id: int, problem: int) -> None:
        self._answer(invoke_id, Reject(invoke_id, problem))

    def forget(self, invoke_id: int) -> None:
        """An Invoked that will never be answered."""
        self._inbound.discard(invoke_id)
        self._answer_unbind()

    def unbind(self, now: float) -> None:
        """Part in peace: nothing new goes out, the rest is waited for. Before the bind: end at once."""
        if self.state is State.BOUND:
            self._step(Input.UNBIND_SENT)
            self._since = now
            self._invoke(m.Unbind(self._wall_ms()), Opcode.UNBIND)
        elif self.state not in (State.UNBINDING, State.DRAINING):
            self._end("closed before the bind")

    # -- received ----------------------------------------------------------------------------------------

    def _frame_received(self, frame: bytes, now: float) -> None:
        try:
            apdu = decode(frame)
        except ApduError as error:
            self._undecodable(error)
            return
        if type(apdu) is Invoke:
            try:
                self._invoke_received(apdu, now)
            except IllegalInput as error:
                error.hint = _state_problem(self.state)
                self._fault(apdu.invoke_id, error)
        elif type(apdu) is ReturnResult:
            self._answer_received(apdu.invoke_id, apdu.result, now)
        elif type(apdu) is ReturnError:
            self._answer_received(apdu.invoke_id, apdu.error, now)
        elif type(apdu) is Reject:
            self._answer_received(apdu.invoke_id, apdu, now)

    def _undecodable(self, error: ApduError) -> None:
        """An unreadable answer leaves its invoke in doubt; an unreadable invoke is rejected."""
        self.counters.malformed += 1
        waiting = self._waiting.pop(error.invoke_id, None) if error.is_answer else None
        if waiting is not None:
            self._events.append(Doubtful(waiting.token, f"unreadable answer: {error.why}"))
            _remember(self._given_up, error.invoke_id, waiting)
            self._answer_unbind()
        elif error.is_answer or not error.invoke_id or self.state is not State.BOUND:
            self._fault(error.invoke_id, error)
        else:
            self._send(Reject(error.invoke_id, error.hint))

    def _invoke_received(self, invoke: Invoke, now: float) -> None:
        argument = invoke.argument
        if isinstance(argument, _BUSINESS):
            self._work_received(invoke)
        elif isinstance(argument, m.Heartbeat):
            self._step(Input.HEARTBEAT)
            self._send(ReturnResult(invoke.invoke_id, m.Heartbeat(self._wall_ms())))
        elif isinstance(argument, m.Unbind):
            self._step(Input.UNBIND_RECEIVED)
            if self.state is State.DRAINING:
                self._since = now
            self._unbind_asked = invoke.invoke_id
            self._answer_unbind()
        elif self.role is Role.AGENT:
            raise IllegalInput(self.state, type(argument).__name__)
        elif isinstance(argument, m.BindArgument):
            self._bind_received(invoke.invoke_id, argument)
        elif isinstance(argument, m.AuthenticateArgument):
            self._proof_received(invoke.invoke_id, argument, now)

    def _work_received(self, invoke: Invoke) -> None:
        if self.role is Role.AGENT and self.state is State.BOUND:
            self._send(Reject(invoke.invoke_id, Problem.UNRECOGNIZED_OPERATION))
            return
        if self.state is State.DRAINING:
            self._send(Reject(invoke.invoke_id, Problem.INITIATOR_RELEASING))
            return
        self._step(Input.WORK)
        if invoke.invoke_id in self._inbound:
            self._send(Reject(invoke.invoke_id, Problem.DUPLICATE_INVOCATION))
        elif len(self._inbound) >= self._settings.window_in_max:
            self._send(Reject(invoke.invoke_id, Problem.RESOURCE_LIMITATION))
        elif getattr(invoke.argument, "agent_id", "") != self.agent_id:
            self._send(Reject(invoke.invoke_id, Problem.MISTYPED_ARGUMENT))
        else:
            self._inbound.add(invoke.invoke_id)
            self._events.append(Invoked(invoke.invoke_id, invoke.argument))

    # -- bind --------------------------------------------------------------------------------------------

    def _proof(self, role: Role) -> bytes:
        nonces = (
            (self._nonce, self._peer_nonce) if self.role is Role.AGENT else (self._peer_nonce, self._nonce)
        )
        # An unknown agent is answered like a known one with a wrong secret.
        secret = self._secrets.get(self.agent_id, b"") or self._nonce
        names = (self.agent_id.encode(), self.link_id.encode())
        return proof(secret, role, m.PROTOCOL_VERSION, *names, *nonces)

    def _bind_received(self, invoke_id: int, argument: m.BindArgument) -> None:
        self._step(Input.BIND)
        self.agent_id, self.link_id = argument.agent_id, argument.link_id
        self._peer_nonce = argument.agent_nonce
        # Version 1 is the first: every agent that speaks a later one speaks it too.
        self._send(ReturnResult(invoke_id, m.BindResult(m.PROTOCOL_VERSION, self._nonce)))

    def _proof_received(self, invoke_id: int, argument: m.AuthenticateArgument, now: float) -> None:
        if self.state is not State.CHALLENGED:
            raise IllegalInput(self.state, Input.PROOF)
        known = self.agent_id in self._secrets
        if not hmac.compare_digest(argument.agent_proof, self._proof(Role.AGENT)) or not known:
            self._send(ReturnError(invoke_id, m.BindRefused(m.BindRefusal.AUTHENTICATION)))
            self._end("the agent could not prove itself")
            return
        self._step(Input.PROOF)
        window = self._settings.window_max
        self._send(ReturnResult(invoke_id, m.AuthenticateResult(self._proof(Role.OPERATOR), window)))
        self._bound(now, window)

    def _control_answered(self, opcode: Opcode, answer: object, now: float) -> None:
        """The answer to a bind, authenticate, heartbeat or unbind of ours."""
        if opcode is Opcode.HEARTBEAT:
            return  # whatever it says, somebody is there
        if opcode is Opcode.UNBIND:
            self._end("unbound")
        elif isinstance(answer, m.BindResult) and opcode is Opcode.BIND:
            if answer.version != m.PROTOCOL_VERSION or answer.operator_nonce == self._nonce:
                self._end("the operator's challenge is not one")
                return
            self._step(Input.CHALLENGE)
            self._peer_nonce = answer.operator_nonce
            self._invoke(m.AuthenticateArgument(self._proof(Role.AGENT)), Opcode.AUTHENTICATE)
        elif isinstance(answer, m.AuthenticateResult) and opcode is Opcode.AUTHENTICATE:
            if not hmac.compare_digest(answer.operator_proof, self._proof(Role.OPERATOR)):
                self._end("the operator could not prove itself")
                return
            self._step(Input.ACCEPTED)
            self._bound(now, min(self._settings.window_max, answer.window_max))
        else:
            self._end(f"bind refused: {answer!r}")

    def _bound(self, now: float, window: int) -> None:
        self.window_max = window
        self._since = now
        self._splitter.size_max = APDU_MAX
        self._events.append(Bound(self.agent_id, self.link_id, window))

    # -- answers -----------------------------------------------------------------------------------------

    def _answer_received(self, invoke_id: int, answer: Any, now: float) -> None:
        waiting = self._waiting.pop(invoke_id, None)
        if waiting is None:
            control = self._control.pop(invoke_id, None)
            if control is not None:
                self._control_answered(control, answer, now)
            else:
                self._stray_received(invoke_id, answer)
            return
        if not _answers(waiting, answer):
            self.counters.mismatched += 1
            self._events.append(Doubtful(waiting.token, "the answer is not to this invoke"))
            _remember(self._given_up, invoke_id, waiting)
        else:
            _remember(self._answered, invoke_id, (waiting, _code(answer)))
            self._events.append(Answered(waiting.token, answer))
        if self._unbind_asked:
            self._answer_unbind()

    def _stray_received(self, invoke_id: int, answer: Any) -> None:
        """An answer nobody waits for: a duplicate, a contradiction, a late one, or nonsense."""
        first = self._answered.get(invoke_id)
        given_up = self._given_up.pop(invoke_id, None)
        if first is not None:
            if _code(answer) == first[1]:
                self.counters.duplicates += 1
            elif _answers(first[0], answer) and _tells(answer, first[0]):
                self.counters.contradictions += 1
                self._events.append(Contradicted(answer, first[1]))
            else:
                self.counters.strays += 1
        elif given_up is not None and not _answers(given_up, answer):
            self.counters.mismatched += 1
        elif _tells(answer, given_up):
            self.counters.late += 1
            self._events.append(Late(answer))
        else:
            self.counters.strays += 1

    # -- ends --------------------------------------------------------------------------------------------

    def _expire(self, now: float) -> None:
        while self._waiting:
            invoke_id, waiting = next(iter(self._waiting.items()))
            if waiting.expires > now:
                return
            del self._waiting[invoke_id]
            self.counters.expired += 1
            _remember(self._given_up, invoke_id, waiting)
            self._events.append(Doubtful(waiting.token, "no answer in time"))

    def _answer_unbind(self) -> None:
        """The peer wants to part: its answer goes out when nothing is left to be answered on either side."""
        if not self._unbind_asked or self._waiting or self._inbound or self.state is State.CLOSED:
            return
        self._send(ReturnResult(self._unbind_asked, m.Unbind(self._wall_ms())))
        self._unbind_asked = 0
        if self.state is State.DRAINING:
            self._end("the peer unbound")

    def _fault(self, invoke_id: int, error: WireError) -> None:
        """The peer broke the protocol beyond repair: tell it, then part."""
        problem = error.hint if 0 <= error.hint <= 255 else int(Problem.BADLY_STRUCTURED_APDU)
        self._send(Reject(invoke_id, problem))
        self._end(f"protocol fault: {error.why}")

    def _end(self, why: str) -> None:
        if self.state is State.CLOSED:
            return
        self._step(Input.CLOSE)
        self._events.extend(Doubtful(waiting.token, why) for waiting in self._waiting.values())
        self._waiting.clear()
        self._control.clear()
        self._inbound.clear()
        self._events.append(Ended(why))

    # -- small -------------------------------------------------------------------------------------------

    def _step(self, given: Input) -> None:
        self.state = advance(
            TABLES[self.role], self.state, given, standard="operator_link.asn1", section="Session"
        )

    def _invoke(self, argument: m.Argument, opcode: Opcode) -> None:
        self._next_id = self._next_id % 0x7FFFFFFF + 1
        if opcode is Opcode.HEARTBEAT:  # only the newest counts
            self._control = {key: code for key, code in self._control.items() if code is not Opcode.HEARTBEAT}
        self._control[self._next_id] = opcode
        self._send(Invoke(self._next_id, argument))

    def _answer(self, invoke_id: int, apdu: m.Apdu) -> None:
        self._inbound.discard(invoke_id)
        if self.state is not State.CLOSED:
            self._send(apdu)
            self._answer_unbind()

    def _send(self, apdu: m.Apdu) -> None:
        self._out.append(encode(apdu))

    def _take_events(self) -> list[Event]:
        events = self._events
        if events:
            self._events = []
        return events


def _answers(waiting: _Waiting, answer: Any) -> bool:
    """Whether this answers that invoke: the operation's own result with its reference, an error, a reject."""
    if isinstance(answer, Reject):
        return True
    if isinstance(answer, m.Refused):
        return not waiting.op_ref or answer.op_ref == waiting.op_ref
    if type(answer) is not RESULTS[Opcode(waiting.opcode)].kind:
        return False
    return getattr(answer, "op_ref", "") == waiting.op_ref


def _tells(answer: Any, given_up: _Waiting | None) -> bool:
    """Whether an answer out of time tells what became of its reference.

    An error carries no opcode: "refused" to a query is no word on the recharge, so it counts only where
    we still know what was asked.
    """
    if isinstance(answer, m.Refused):
        return given_up is not None and given_up.opcode in (Opcode.RECHARGE, Opcode.REVERSE)
    if isinstance(answer, m.QueryResult):
        return answer.status == m.QueryStatus.FOUND
    return isinstance(answer, m.RechargeResult | m.ReverseResult)


def _code(answer: Any) -> str:
    return f"REJ{answer.problem}" if isinstance(answer, Reject) else getattr(answer, "code", "")


def _state_problem(state: State) -> int:
    bound = state in (State.BOUND, State.UNBINDING, State.DRAINING)
    return Problem.UNRECOGNIZED_OPERATION if bound else Problem.NOT_BOUND


def _remember(memory: dict[int, Any], invoke_id: int, what: Any) -> None:
    memory[invoke_id] = what
    if len(memory) > _MEMORY_MAX:
        del memory[next(iter(memory))]
