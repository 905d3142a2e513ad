"""Doubts: orders that were asked and not answered. Their holds stand until a definite answer comes.

An answer may come late on the line, to a resend of the same reference, or to a query; past its limit an order
goes to people (MANUAL). A hold never ends by the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from aircharge.errors import InDoubt, LedgerError, NotSent, Reason
from aircharge.ledger.commands import CloseRecharge, Postpone
from aircharge.ledger.reading import OpenOrder, open_orders
from aircharge.ports import OperatorAnswer, OperatorRequest
from aircharge.switch.board import Board, OperatorPlan
from aircharge.values import State, Verdict

__all__ = ["DoubtResolver", "order_id_of"]

log = Logger()


def order_id_of(op_ref: str) -> int:
    """The order a reference of ours names (its last 20 digits), or 0."""
    digits = op_ref[-20:]
    return int(digits) if len(digits) == 20 and digits.isdecimal() and digits.isascii() else 0


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
    ) -> None:
        self._board = board
        self._batch_max = batch_max
        self._patience_ms = patience_ms  # a hold nobody carries is looked at after this
        self._interval_s = interval_s
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._round_guarded()))
        self._loop.clock = reactor
        for plan in board.operators:
            plan.line.on_late_answer(self._late(plan))

    async def recover(self) -> int:
        """After a start every hold counts as sent: all become doubts that are due now. Returns how many."""
        now_ms = self._board.clock.now_ms()
        orders = await self._board.ledger.read(lambda txn: open_orders(txn, now_ms + 2**40, 0))
        held = [order for order in orders if order.state in (State.HELD, State.SENT)]
        await _all(
            self._close(CloseRecharge(order.order_id, Verdict.UNKNOWN, next_ms=now_ms, reason=Reason.DOUBT))
            for order in held
        )
        return len(orders)

    def start(self) -> None:
        self._loop.start(self._interval_s, now=True).addErrback(
            lambda failure: log.failure("doubt resolution stopped", failure=failure)
        )

    def stop(self) -> None:
        if self._loop.running:
            self._loop.stop()

    async def _round_guarded(self) -> None:
        try:
            await self.round()
        except LedgerError:
            log.failure("doubts could not be read or written; the next round tries again")

    async def round(self) -> int:
        """One look at everything that is due; returns how many orders were asked about."""
        board = self._board
        now_ms = board.clock.now_ms()
        held_before_ms = now_ms - self._patience_ms
        orders = await board.ledger.read(
            lambda txn: open_orders(txn, now_ms, self._batch_max, held_before_ms=held_before_ms)
        )
        due = [order for order in orders if order.order_id not in board.in_flight]
        await _all(self._resolve(order) for order in due)
        return len(due)

    async def _resolve(self, order: OpenOrder) -> None:
        plan = self._board.plan(order.operator_id)
        if plan is None:
            log.error(
                "order {order}: operator {operator} is not configured",
                order=order.order_id,
                operator=order.operator_id,
            )
            return
        now_ms = self._board.clock.now_ms()
        if now_ms >= order.since_ms + int(plan.doubt.manual_after_s * 1000):
            await self._close(
                CloseRecharge(order.order_id, Verdict.UNKNOWN, manual=True, reason=Reason.DOUBT)
            )
            log.warn("order {order} goes to people: in doubt past its limit", order=order.order_id)
        elif plan.doubt.mode == "never":
            await self._postpone(plan, order)  # out of the rounds' way until its limit
        elif plan.line.ready():
            await self._ask(plan, order)

    async def _ask(self, plan: OperatorPlan, order: OpenOrder) -> None:
        board = self._board
        verb = plan.line.recharge if plan.doubt.mode == "resend" else plan.line.query
        board.in_flight.add(order.order_id)
        board.meters.doubts_asked.add()
        try:
            answer = await verb(
                OperatorRequest(order.op_ref, order.target, order.amount_fen, order.created_ms)
            )
            await self._heard(plan, order, answer)
        except NotSent:
            pass  # the line went away meanwhile: nothing was spent, the next round comes
        except InDoubt:
            await self._postpone(plan, order)
        finally:
            board.in_flight.discard(order.order_id)

    async def _heard(self, plan: OperatorPlan, order: OpenOrder, answer: OperatorAnswer) -> None:
        if plan.doubt.mode == "query" and answer.code in plan.codes.not_found:
            # The request left at the latest ``patience`` after it was made or let go; finality counts from there.
            final_ms = order.since_ms + self._patience_ms + int(plan.doubt.finality_s * 1000)
            if self._board.clock.now_ms() < final_ms:
                await self._postpone(plan, order)
                return
            await self._close(CloseRecharge(order.order_id, Verdict.NO, code=answer.code[:8]))
            return
        command = plan.close(order.order_id, answer, 0, again=True)
        if command.verdict is Verdict.UNKNOWN:
            await self._postpone(plan, order)
        else:
            await self._close(command)

    async def _postpone(self, plan: OperatorPlan, order: OpenOrder) -> None:
        next_ms = self._board.clock.now_ms() + plan.doubt.wait_ms(order.attempts + 1)
        await self._board.ledger.do(Postpone(order.order_id, next_ms))

    async def _close(self, command: CloseRecharge) -> None:
        await self._board.ledger.do(command)

    def _late(self, plan: OperatorPlan) -> Callable[[OperatorAnswer], None]:
        def heard(answer: OperatorAnswer) -> None:
            Deferred.fromCoroutine(self._settle_late(plan, answer)).addErrback(
                lambda failure: log.failure("a late answer did not reach the ledger", failure=failure)
            )

        return heard

    async def _settle_late(self, plan: OperatorPlan, answer: OperatorAnswer) -> None:
        self._board.meters.late_answers.add()
        order_id = order_id_of(answer.op_ref)
        command = plan.close(order_id, answer, 0, again=True)
        if not order_id or command.verdict is Verdict.UNKNOWN:
            log.warn(
                "late answer {code} from {operator} says nothing definite",
                code=answer.code,
                operator=plan.name,
            )
            return
        await self._close(command)
        log.info("order {order}: late answer {code}", order=order_id, code=answer.code)


async def _all(steps: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run coroutines side by side; the first failure is raised when all have ended."""
    running = [Deferred.fromCoroutine(step) for step in steps]
    if running:
        outcomes = await DeferredList(running, consumeErrors=True)
        for succeeded, value in outcomes:
            if not succeeded:
                failure: Any = value
                failure.raiseException()
