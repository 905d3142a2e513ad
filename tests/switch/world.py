"""A scripted ledger, line and clock for the verbs: every await ends at once or when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from aircharge.errors import InDoubt, NotSent, Reason
from aircharge.ledger.commands import CloseRecharge, Command, OpenRecharge, Postpone
from aircharge.ledger.reversing import OpenReversal, Undo
from aircharge.ports import OperatorAnswer, OperatorRequest
from aircharge.switch.board import Board, CodeTable, DoubtPolicy, OperatorPlan, Products
from aircharge.values import Asker, Channel, Key, Msisdn, Order, Receipt, State, Verdict

NOW_MS = 1_800_000_000_000
ORDER_ID = 4_000_000_001
OP_REF = f"AC{ORDER_ID:020d}"
ORIGINAL_REF = f"AC{ORDER_ID - 7:020d}"


class ScriptedClock:
    def __init__(self) -> None:
        self.ms = NOW_MS

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000


class ScriptedLedger:
    """Says HELD to an opening that nothing speaks against, and keeps every command."""

    def __init__(self, trace: list[Any]) -> None:
        self.trace = trace
        self.open_orders: list[Any] = []
        self.reads: list[Any] = []  # what the next reads find; then ``open_orders``
        self.may_undo = True
        self.opened = ""  # why a reversal is not even refused
        self.failure: Exception | None = None

    def do(self, command: Command) -> Deferred[Any]:
        self.trace.append(command)
        if self.failure is not None and isinstance(command, CloseRecharge):
            return fail(self.failure)
        if isinstance(command, OpenReversal):
            if self.opened:
                return succeed(self.opened)
            state = State.HELD if command.orig_id and command.refuse is Reason.OK else State.REFUSED
            return succeed(replace(receipt(state, command.refuse), original_ref=ORIGINAL_REF))
        if isinstance(command, Undo):
            return succeed(self.may_undo)
        if isinstance(command, OpenRecharge):
            state = State.HELD if command.refuse is Reason.OK else State.REFUSED
            return succeed(receipt(state, command.refuse))
        if isinstance(command, CloseRecharge):
            after = {Verdict.YES: State.SETTLED, Verdict.UNKNOWN: State.IN_DOUBT}.get(
                command.verdict, State.VOIDED
            )
            return succeed(receipt(after, command.reason))
        return succeed(None)

    def read(self, reader: Callable[[Any], Any]) -> Deferred[Any]:
        return succeed(self.reads.pop(0) if self.reads else list(self.open_orders))


class ScriptedLine:
    """Answers with what the test put into ``answers``: a code, an exception, or a Deferred."""

    def __init__(self, trace: list[Any]) -> None:
        self.trace = trace
        self.up = True
        self.answers: list[Any] = []
        self.asked: list[OperatorRequest] = []
        self.late: Callable[[OperatorAnswer], None] | None = None

    def ready(self) -> bool:
        return self.up

    def _verb(self, verb: str, request: OperatorRequest) -> Deferred[OperatorAnswer]:
        self.trace.append((verb, request.op_ref))
        self.asked.append(request)
        answer = self.answers.pop(0) if self.answers else "0000"
        if isinstance(answer, Deferred):
            return answer
        if isinstance(answer, NotSent | InDoubt):
            return fail(answer)
        return succeed(OperatorAnswer(request.op_ref, answer, "OP1", NOW_MS))

    def recharge(self, request: OperatorRequest) -> Deferred[OperatorAnswer]:
        return self._verb("recharge", request)

    def query(self, request: OperatorRequest) -> Deferred[OperatorAnswer]:
        return self._verb("query", request)

    def reverse(self, request: OperatorRequest) -> Deferred[OperatorAnswer]:
        return self._verb("reverse", request)

    def stock(self) -> Deferred[int]:
        return succeed(0)

    def on_late_answer(self, listener: Callable[[OperatorAnswer], None]) -> None:
        self.late = listener


class World:
    """Board, ledger and line on one trace."""

    def __init__(self, doubt: DoubtPolicy | None = None) -> None:
        self.trace: list[Any] = []
        self.ledger = ScriptedLedger(self.trace)
        self.line = ScriptedLine(self.trace)
        self.clock = ScriptedClock()
        codes = CodeTable(
            frozenset({"0000"}),
            {"1001": Reason.NUMBER_NO, "4001": Reason.BUSY},
            frozenset({"1404"}),
            frozenset({"4001"}),
            dict.fromkeys(("6001", "6002", "6003", "6004"), Reason.NOT_REVERSIBLE),
            frozenset({"6001"}),
            frozenset({"6003"}),
            frozenset({"6004"}),
        )
        policy = doubt or DoubtPolicy(mode="resend", first_s=5, finality_s=600)
        self.plan = OperatorPlan(1, "op", self.line, ("13", "15"), Products(), codes, policy)
        self.board = Board(self.ledger, [self.plan], self.clock)

    def commands(self, kind: type) -> list[Any]:
        return [item for item in self.trace if isinstance(item, kind)]

    def last_close(self) -> CloseRecharge:
        return self.commands(CloseRecharge)[-1]  # type: ignore[no-any-return]

    def postponed(self) -> list[Postpone]:
        return self.commands(Postpone)


def receipt(state: State = State.HELD, reason: Reason = Reason.OK, *, fresh: bool = True) -> Receipt:
    return Receipt(ORDER_ID, state, reason, fresh, 7, 1, OP_REF, "13812345678", 5000, 5000, NOW_MS)


def order(target: str = "13812345678", amount_fen: int = 5000) -> Order:
    asker = Asker("13900000001", "0353911")
    return Order(Channel.SMS, Key("sms:13900000001", "m1"), asker, Msisdn(target), amount_fen, NOW_MS)


def now(awaitable: Any) -> Any:
    """The value of something that must already have ended."""
    deferred = awaitable if isinstance(awaitable, Deferred) else Deferred.fromCoroutine(awaitable)
    box: list[Any] = []
    deferred.addBoth(box.append)
    assert box, "still waiting"
    if hasattr(box[0], "raiseException"):
        box[0].raiseException()
    return box[0]
