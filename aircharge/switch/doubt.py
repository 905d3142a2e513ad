"""Doubts: orders that were asked and not answered. Their holds stand until a definite answer comes.

An answer may come late on the line, to a resend of the same reference, to a query, or to the protective reversal of
a recharge; past its limit an order goes to people (MANUAL). A hold never ends by the clock. Reversals are orders like
recharges, asked about by verbs of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from aircharge.errors import InDoubt, LedgerError, NotSent, Reason
from aircharge.ledger.chart import UNDO_NONE, UNDO_NOTHING, UNDO_REFUSED
from aircharge.ledger.commands import CloseRecharge, Postpone
from aircharge.ledger.reading import Asked, OpenOrder, asked_of, open_orders
from aircharge.ledger.reversing import Undo
from aircharge.ports import OperatorAnswer, OperatorRequest
from aircharge.switch.board import Board, DoubtPolicy, OperatorPlan
from aircharge.values import Operation, State, Verdict

__all__ = ["DoubtResolver", "order_id_of", "undo_ref", "undone_id_of"]

log = Logger()

T = TypeVar("T")

_ID_MAX: Final = 2**63 - 1

_ORPHANS: Final = DoubtPolicy()
"""How long the doubts of an operator that is configured no more wait for it to come back."""

_WRITE_TRIES: Final = 120
"""Rounds in which an answer that could not be written is tried again."""


def order_id_of(op_ref: str) -> int:
    """The order a reference of ours names (its last 20 digits), or 0."""
    digits = op_ref[-20:]
    order_id = int(digits) if len(digits) == 20 and digits.isdecimal() and digits.isascii() else 0
    return order_id if order_id <= _ID_MAX else 0


def undo_ref(op_ref: str) -> str:
    """The reference of a recharge's protective reversal: one for life, as long as the recharge's own."""
    return f"{op_ref[:-20]}R{op_ref[-19:]}"


def undone_id_of(op_ref: str) -> int:
    """The recharge whose protective reversal a reference of ours names, or 0."""
    return order_id_of("0" + op_ref[-19:]) if op_ref[-20:-19] == "R" else 0


class DoubtResolver:
    """Looks at open orders when their time has come and takes them one step further."""

    def __init__(
        self,
        board: Board,
        reactor: IReactorTime,
        *,
        interval_s: float = 1.0,
        batch_max: int = 500,
        patience_ms: int = 120_000,
        owner: int | None = None,
    ) -> None:
        """``owner``: only orders of this node are looked at; None = of all."""
        self._board = board
        self._batch_max = batch_max
        self._patience_ms = patience_ms  # a hold nobody carries is looked at after this
        self._interval_s = interval_s
        self._owner = owner
        self._carried: set[Deferred[None]] = set()
        self._busy: set[int] = set()  # operators whose doubts are being asked about
        self._missing: set[int] = (
            set()
        )  # operators with open orders that are not configured, as said in the log
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._round_guarded()))
        self._loop.clock = reactor
        for plan in board.operators:
            plan.line.on_late_answer(self._late(plan))

    async def recover(self) -> int:
        """After a start every hold counts as sent: all become doubts that are due now. Returns how many."""
        now_ms = self._board.clock.now_ms()
        orders = await self._board.ledger.read(
            lambda txn: open_orders(txn, now_ms + 2**40, 0, owner=self._owner)
        )
        await self.adopt(order.order_id for order in orders if order.state in (State.HELD, State.SENT))
        return len(orders)

    async def adopt(self, orders: Iterable[int]) -> None:
        """Orders that somebody else was carrying: they count as sent."""
        now_ms = self._board.clock.now_ms()
        await _all(
            self._close(CloseRecharge(order_id, Verdict.UNKNOWN, next_ms=now_ms, reason=Reason.DOUBT))
            for order_id in orders
        )

    def start(self) -> None:
        self._loop.start(self._interval_s, now=True).addErrback(
            lambda failure: log.failure("doubt resolution stopped", failure=failure)
        )

    def stop(self) -> None:
        if self._loop.running:
            self._loop.stop()

    async def _round_guarded(self) -> None:
        """The daemon's rounds wait for nobody: one slow operator does not keep the others' doubts."""
        try:
            for asking in await self._begin():
                self._carry(asking, "doubts could not be read or written; the next round tries again")
        except Exception:  # whatever one round meets, the next one comes
            log.failure("doubts could not be read or written; the next round tries again")

    def _carry(self, work: Coroutine[Any, Any, Any], trouble: str) -> None:
        """Run it beside the rounds; ``end`` waits for it."""
        done: Deferred[None] = Deferred()
        self._carried.add(done)

        def ended(result: object) -> None:
            if isinstance(result, Failure):
                log.failure(trouble, failure=result)
            self._carried.discard(done)
            done.callback(None)

        Deferred.fromCoroutine(work).addBoth(ended)

    async def end(self) -> None:
        """When the lines are down and say nothing more: until all that they said is written, or cannot be."""
        while self._carried:
            await DeferredList(list(self._carried))

    async def round(self) -> int:
        """One look at everything that is due, to its end; returns how many orders were asked about."""
        return sum(await _all(await self._begin()))

    async def _begin(self) -> list[Coroutine[Any, Any, int]]:
        """What is due now, by operator; an operator that is still being asked is left for a later round."""
        board = self._board
        await self._write_again()
        now_ms = board.clock.now_ms()
        held_before_ms = now_ms - self._patience_ms
        orders = await board.ledger.read(
            lambda txn: open_orders(
                txn, now_ms, self._batch_max, held_before_ms=held_before_ms, owner=self._owner
            )
        )
        # What was not sent, and is not yet written as that, would be executed now and voided after it.
        said = {command.order_id for command, _ in board.unwritten}
        due: dict[int, list[OpenOrder]] = {}
        for order in orders:
            if order.order_id not in board.in_flight | said and order.operator_id not in self._busy:
                due.setdefault(order.operator_id, []).append(order)
        self._busy.update(due)
        return [self._ask_one(operator_id, asked) for operator_id, asked in due.items()]

    async def _ask_one(self, operator_id: int, due: list[OpenOrder]) -> int:
        try:
            await _all(self._resolve(order) for order in due)
        finally:
            self._busy.discard(operator_id)
        return len(due)

    async def _write_again(self) -> None:
        """What operators have said while the ledger could not be written to; a command it will not take is left.

        Its order is still open: the operator will be asked, or two people.
        """
        waiting = self._board.unwritten
        for _ in range(len(waiting)):
            command, tries = waiting.popleft()
            try:
                await self._close(command)
            except LedgerError as error:
                if tries >= _WRITE_TRIES:
                    log.error(
                        "order {order}: {why}; its answer is given up", order=command.order_id, why=str(error)
                    )
                else:
                    waiting.append((command, tries + 1))

    async def _resolve(self, order: OpenOrder) -> None:
        plan = self._board.plan(order.operator_id)
        now_ms = order.read_ms or self._board.clock.now_ms()
        if plan is None:
            await self._leave(order, now_ms)
            return
        if now_ms >= order.since_ms + int(plan.doubt.manual_after_s * 1000):
            await self._close(
                CloseRecharge(order.order_id, Verdict.UNKNOWN, manual=True, reason=Reason.DOUBT)
            )
            log.warn("order {order} goes to people: in doubt past its limit", order=order.order_id)
        elif _mode(plan, order) == "never":
            await self._postpone(plan, order)  # out of the rounds' way until its limit
        elif plan.line.ready():
            await self._ask(plan, order)

    async def _leave(self, order: OpenOrder, now_ms: int) -> None:
        """Nobody can be asked: its operator is configured no more. It goes to people at the usual limit."""
        if order.operator_id not in self._missing:
            self._missing.add(order.operator_id)
            log.error(
                "operator {operator} has open orders and is not configured: they go to people",
                operator=order.operator_id,
            )
        limit_ms = order.since_ms + int(_ORPHANS.manual_after_s * 1000)
        is_over = now_ms >= limit_ms
        if order.state is State.IN_DOUBT and not is_over:
            await self._board.ledger.do(Postpone(order.order_id, limit_ms))
        else:
            next_ms = 0 if is_over else limit_ms
            await self._close(
                CloseRecharge(
                    order.order_id, Verdict.UNKNOWN, next_ms=next_ms, manual=is_over, reason=Reason.DOUBT
                )
            )

    async def _ask(self, plan: OperatorPlan, order: OpenOrder) -> None:
        board = self._board
        board.in_flight.add(order.order_id)
        board.meters.doubts_asked.add()
        try:
            if _mode(plan, order) == "reverse" and order.kind is Operation.RECHARGE:
                await self._take_back(plan, order)
            else:
                await self._heard(plan, order, await _ask_again(plan, order))
        except NotSent:
            pass  # the line went away meanwhile: nothing was spent, the next round comes
        except InDoubt as doubt:
            await self._postpone(plan, order, doubt.code, doubt.odd)
        finally:
            board.in_flight.discard(order.order_id)

    async def _take_back(self, plan: OperatorPlan, order: OpenOrder) -> None:
        """Protective reversal: marked durably, then asked for under its one reference until there is an answer."""
        if not await self._board.ledger.do(Undo(order.order_id)):
            return  # it has ended meanwhile
        reference = undo_ref(order.op_ref)
        request = OperatorRequest(reference, order.target, order.amount_fen, order.created_ms, order.op_ref)
        answer = await plan.line.reverse(request)
        if odd := plan.codes.odd(answer, order.amount_fen):
            await self._postpone(plan, order, answer.code, odd)
            return
        undone = plan.codes.undone(answer.code)
        is_early = undone == UNDO_NOTHING and plan.doubt.finality_s > 0 and not self._is_final(plan, order)
        if undone == UNDO_NONE or is_early:
            await self._postpone(plan, order)
        else:
            await self._close(_undone(order.order_id, answer, undone))

    async def _heard(self, plan: OperatorPlan, order: OpenOrder, answer: OperatorAnswer) -> None:
        is_reversal = order.kind is Operation.REVERSAL
        if plan.doubt.mode == "query" and answer.code in plan.codes.not_found:
            if not self._is_final(plan, order):
                await self._postpone(plan, order)
                return
            reason = Reason.OPERATOR_DOWN if is_reversal else Reason.OPERATOR_NO  # it may be tried anew
            await self._close(CloseRecharge(order.order_id, Verdict.NO, code=answer.code[:8], reason=reason))
            return
        command = plan.close(order.order_id, answer, 0, order.amount_fen, again=True, is_reversal=is_reversal)
        if command.verdict is Verdict.UNKNOWN:
            await self._postpone(plan, order, command.code, command.odd)
        else:
            await self._close(command)

    def _is_final(self, plan: OperatorPlan, order: OpenOrder) -> bool:
        """Whether what the operator has not seen by now it will never see.

        The request left at the latest ``patience`` after it was made or let go; finality counts from there,
        by the one clock that has dated the order (a database's is not ours): at the time it was read, never later.
        """
        final_ms = order.since_ms + self._patience_ms + int(plan.doubt.finality_s * 1000)
        return (order.read_ms or self._board.clock.now_ms()) >= final_ms

    async def _postpone(self, plan: OperatorPlan, order: OpenOrder, code: str = "", odd: str = "") -> None:
        """A hold that nobody carries any more becomes a doubt, so that outlet and clerks see it as one."""
        next_ms = self._board.clock.now_ms() + plan.doubt.wait_ms(order.attempts + 1)
        if order.state in (State.HELD, State.SENT):
            doubt = CloseRecharge(
                order.order_id, Verdict.UNKNOWN, code=code, next_ms=next_ms, reason=Reason.DOUBT, odd=odd
            )
            await self._close(doubt)
        else:
            await self._board.ledger.do(Postpone(order.order_id, next_ms, code, odd))

    async def _close(self, command: CloseRecharge) -> None:
        await self._board.ledger.do(command)

    def _late(self, plan: OperatorPlan) -> Callable[[OperatorAnswer], None]:
        def heard(answer: OperatorAnswer) -> None:
            self._carry(self._settle_late(plan, answer), "a late answer did not reach the ledger")

        return heard

    async def _settle_late(self, plan: OperatorPlan, answer: OperatorAnswer) -> None:
        self._board.meters.late_answers.add()
        command = await self._late_command(plan, answer)
        if command is None:
            log.warn(
                "late answer {code} from {operator} says nothing definite",
                code=answer.code,
                operator=plan.name,
            )
            return
        try:
            await self._close(command)
        except LedgerError:
            self._board.unwritten.append((command, 0))  # nobody may say it again: the next round writes it
            raise
        log.info("order {order}: late answer {code}", order=command.order_id, code=answer.code)

    async def _late_command(self, plan: OperatorPlan, answer: OperatorAnswer) -> CloseRecharge | None:
        """What a late answer comes to; None: nothing definite. "No such original" is left to the next round."""
        undone_id = undone_id_of(answer.op_ref)
        if not (order_id := undone_id or order_id_of(answer.op_ref)):
            return None
        asked = await self._board.ledger.read(lambda txn: asked_of(txn, order_id))
        if asked and not _is_about(plan, asked, answer.op_ref):
            log.error(
                "late answer {code} from {operator} is not to what it was asked: order {order}",
                code=answer.code,
                operator=plan.name,
                order=order_id,
            )
            return None
        if undone_id and asked and plan.codes.odd(answer, asked.amount_fen):
            return None  # the next round asks again, and says so
        if undone_id:
            undone = plan.codes.undone(answer.code)
            return None if undone in (UNDO_NONE, UNDO_NOTHING) else _undone(order_id, answer, undone)
        is_reversal = bool(asked and asked.kind is Operation.REVERSAL)
        amount_fen = asked.amount_fen if asked else answer.amount_fen
        command = plan.close(order_id, answer, 0, amount_fen, again=True, is_reversal=is_reversal)
        if command.verdict is Verdict.UNKNOWN and command.odd and asked:
            return replace(command, next_ms=self._board.clock.now_ms() + plan.doubt.wait_ms(0))
        return None if command.verdict is Verdict.UNKNOWN else command


def _is_about(plan: OperatorPlan, asked: Asked, op_ref: str) -> bool:
    """Whether it is this operator that was asked, under this reference: nobody has a say in another's orders."""
    return asked.operator_id == plan.operator_id and op_ref in (asked.op_ref, undo_ref(asked.op_ref))


def _mode(plan: OperatorPlan, order: OpenOrder) -> str:
    """A recharge whose protective reversal has begun is neither sent again nor asked about, whatever is set now."""
    return "reverse" if order.undo else plan.doubt.mode


async def _ask_again(plan: OperatorPlan, order: OpenOrder) -> OperatorAnswer:
    """Query, or the same request under the same reference."""
    if plan.doubt.mode == "query":
        verb = plan.line.query
    else:
        verb = plan.line.reverse if order.kind is Operation.REVERSAL else plan.line.recharge
    request = OperatorRequest(
        order.op_ref, order.target, order.amount_fen, order.created_ms, order.original_ref
    )
    return await verb(request)


def _undone(order_id: int, answer: OperatorAnswer, undone: int) -> CloseRecharge:
    """What a protective reversal has shown of its recharge."""
    verdict = Verdict.YES if undone == UNDO_REFUSED else Verdict.NO
    return CloseRecharge(order_id, verdict, code=answer.code[:8], serial=answer.op_serial[:64], undo=undone)


async def _all(steps: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines side by side; the first failure is raised when all have ended."""
    outcomes = await DeferredList([Deferred.fromCoroutine(step) for step in steps], consumeErrors=True)
    for succeeded, value in outcomes:
        if not succeeded:
            failure: Any = value
            failure.raiseException()
    return [value for _, value in outcomes]
