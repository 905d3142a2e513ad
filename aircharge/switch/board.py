"""What is plugged into the switch: ledger, operators, clock; and the operators as the business sees them."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from aircharge.errors import Reason
from aircharge.ledger.chart import UNDO_DONE, UNDO_NONE, UNDO_NOTHING, UNDO_REFUSED
from aircharge.ledger.commands import CloseRecharge, Command, Result
from aircharge.observe.meters import Meters
from aircharge.outlets.consent import ConsentCode
from aircharge.ports import Clock, Operator, OperatorAnswer
from aircharge.switch.admission import Admission
from aircharge.values import Verdict

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["Board", "ChoresPort", "CodeTable", "DoubtPolicy", "LedgerPort", "OperatorPlan", "Products"]

T = TypeVar("T")


class LedgerPort(Protocol):
    """The ledger as the switch needs it: a durable command, a consistent read."""

    def do(self, command: Command) -> Awaitable[Result]: ...

    def read(self, reader: Callable[[Connection], T]) -> Awaitable[T]: ...


class ChoresPort(LedgerPort, Protocol):
    """The same, and long work beside the book, one piece at a time."""

    def chore(self, work: Callable[[Engine], T]) -> Awaitable[T]: ...


@dataclass(frozen=True, slots=True)
class Products:
    """What amounts an operator sells: fixed face values, or a range with a step; in fen."""

    fixed_fen: tuple[int, ...] = ()
    min_fen: int = 1000
    max_fen: int = 50_000
    step_fen: int = 1000

    def sells(self, amount_fen: int) -> bool:
        if self.fixed_fen:
            return amount_fen in self.fixed_fen
        return self.min_fen <= amount_fen <= self.max_fen and amount_fen % self.step_fen == 0


@dataclass(frozen=True, slots=True)
class CodeTable:
    """What the operator's result codes mean for money. A code in no list is UNKNOWN, never "declined"."""

    yes: frozenset[str]
    no: dict[str, Reason]
    not_found: frozenset[str] = frozenset()  # a query's "no such reference": a *no* only past finality
    busy: frozenset[str] = (
        frozenset()
    )  # a *no* of ``no`` that is said at the door, before the reference is looked up

    reverse_no: dict[str, Reason] = field(
        default_factory=dict
    )  # what reversals are refused with beside ``no``
    no_original: frozenset[str] = (
        frozenset()
    )  # of ``reverse_no``: nothing to take back, and there never will be
    reversed_before: frozenset[str] = frozenset()  # of ``reverse_no``: taken back under another reference
    stands: frozenset[str] = frozenset()  # of ``reverse_no``: executed, and can no longer be taken back
    pending: frozenset[str] = frozenset()  # taken, and not decided yet: nothing odd about it

    def verdict(self, code: str, *, again: bool = False, is_reversal: bool = False) -> Verdict:
        """``again``: in answer to anything but the first send. "Busy" says nothing of that one then, nor does
        "reversed already", which it may have brought about."""
        if code in self.yes:
            return Verdict.YES
        if again and (code in self.busy or code in self.reversed_before):
            return Verdict.UNKNOWN
        is_no = code in self.no or (is_reversal and code in self.reverse_no)
        return Verdict.NO if is_no else Verdict.UNKNOWN

    def odd(self, answer: OperatorAnswer, amount_fen: int) -> str:
        """Why people should see an answer at once, whatever it is taken for; "" = nothing is odd about it."""
        if answer.amount_fen not in (0, amount_fen):
            return f"the amount is {answer.amount_fen} fen"
        meant = (self.yes, self.no, self.not_found, self.busy, self.reverse_no, self.pending)
        return "" if any(answer.code in codes for codes in meant) else "unknown code"

    def undone(self, code: str) -> int:
        """What an answer to a protective reversal says of the recharge: UNDO_DONE …; UNDO_NONE: nothing definite."""
        if code in self.yes or code in self.reversed_before:
            return UNDO_DONE
        if code in self.no_original:
            return UNDO_NOTHING
        return UNDO_REFUSED if code in self.stands else UNDO_NONE

    def reason(self, code: str) -> Reason:
        return self.no.get(code) or self.reverse_no.get(code, Reason.OPERATOR_NO)


@dataclass(frozen=True, slots=True)
class DoubtPolicy:
    """How an operator's doubts are resolved (docs/protocols/operator-link.md, "Doubts").

    ``resend``: it deduplicates by our reference, so the same reference is sent again.
    ``query``: it is asked; "not found" counts as *no* only ``finality_s`` after the last send.
    ``reverse``: a recharge is taken back (protective reversal, 冲正); "no such original" counts only ``finality_s``
    after the last send, at once where that is 0. Reversals are sent again under their own reference.
    ``never``: only a late answer, its file or two people can tell.
    """

    mode: str = "never"
    first_s: float = 5.0
    factor: float = 2.0
    max_s: float = 600.0
    manual_after_s: float = 86_400.0
    finality_s: float = 600.0

    def wait_ms(self, attempts: int) -> int:
        """Milliseconds until the next look after ``attempts`` tries; ``never`` looks again at its limit."""
        if self.mode == "never":
            return int(self.manual_after_s * 1000)
        return int(min(self.first_s * self.factor ** min(attempts, 40), self.max_s) * 1000)


@dataclass(frozen=True, slots=True)
class OperatorPlan:
    """One operator: its line, the numbers it serves, what it sells, what its codes mean."""

    operator_id: int
    name: str
    line: Operator
    segments: tuple[str, ...]
    products: Products
    codes: CodeTable
    doubt: DoubtPolicy

    def close(
        self,
        order_id: int,
        answer: OperatorAnswer,
        doubt_at_ms: int,
        amount_fen: int,
        *,
        again: bool = False,
        is_reversal: bool = False,
    ) -> CloseRecharge:
        """The command that an answer comes to; ``again``: it is not surely the first send's.

        ``amount_fen``: what was asked for; an answer that names another amount says nothing definite.
        """
        verdict = self.codes.verdict(answer.code, again=again, is_reversal=is_reversal)
        odd = self.codes.odd(answer, amount_fen)
        if odd:
            verdict = Verdict.UNKNOWN
        return CloseRecharge(
            order_id,
            verdict,
            code=answer.code[:8],
            serial=answer.op_serial[:64],
            next_ms=doubt_at_ms if verdict is Verdict.UNKNOWN else 0,
            reason=self.codes.reason(answer.code),
            odd=odd,
        )


@dataclass(slots=True)
class Board:
    """Everything the verbs reach for."""

    ledger: LedgerPort
    operators: Sequence[OperatorPlan]
    clock: Clock
    in_flight_max: int = 5000
    utc_offset_min: int = 480  # Asia/Shanghai
    in_flight: set[int] = field(default_factory=set)  # orders this process is carrying right now
    meters: Meters = field(default_factory=Meters)
    unwritten: deque[tuple[CloseRecharge, int]] = field(default_factory=deque)
    """What operators said and no commit holds yet, each with how often it was tried since."""
    closing: bool = False  # on the way out: nothing new is admitted
    is_ours: Callable[[], bool] = lambda: True  # no other daemon can have taken our orders over
    consent: ConsentCode | None = None  # compares customers' codes; None: every code is taken for right

    admission: Admission = field(
        init=False, repr=False
    )  # one that knows no operator's limits, until it is given

    def __post_init__(self) -> None:
        self.admission = Admission(self.clock, registry=self.meters.registry)
        self._by_id = {plan.operator_id: plan for plan in self.operators}
        self._by_segment = dict(_segments(self.operators))
        self._lengths = sorted({len(segment) for segment in self._by_segment}, reverse=True)

    _by_id: dict[int, OperatorPlan] = field(init=False, repr=False)
    _by_segment: dict[str, OperatorPlan] = field(init=False, repr=False)
    _lengths: list[int] = field(init=False, repr=False)

    def plan(self, operator_id: int) -> OperatorPlan | None:
        return self._by_id.get(operator_id)

    def serving(self, msisdn: str) -> OperatorPlan | None:
        """The operator of the longest number segment that fits."""
        for length in self._lengths:
            plan = self._by_segment.get(msisdn[:length])
            if plan is not None:
                return plan
        return None


def _segments(plans: Iterable[OperatorPlan]) -> Iterable[tuple[str, OperatorPlan]]:
    for plan in plans:
        for segment in plan.segments:
            yield segment, plan
