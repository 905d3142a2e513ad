"""Parked orders that a clerk has let go, at this daemon's desk or another's, are carried to the operator.

A released order is sent like a new one, once: by whoever the ledger tells that it took the order out of the park.
What happens after that (a crash, a lost answer) is a doubt like any other (``aircharge.switch.doubt``).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from aircharge.ledger.parking import Release, Resume
from aircharge.ledger.reading import parked_orders
from aircharge.switch.board import Board
from aircharge.switch.recharge import carry
from aircharge.values import Receipt, State

__all__ = ["ParkedOrders", "release", "take_up"]

log = Logger()


async def release(board: Board, order_id: int, actor: str) -> Receipt | str:
    """Let a parked order go and carry it; what became of it, or why it cannot be let go."""
    outcome = await board.ledger.do(Release(order_id, actor))
    if isinstance(outcome, str):
        return outcome
    assert isinstance(outcome, Receipt)
    held = await take_up(board, order_id, outcome.operator_id)
    return outcome if held is None else await carry(board, held)


async def take_up(board: Board, order_id: int, operator_id: int) -> Receipt | None:
    """Take a released order out of the park, to be given to ``carry``; None: not now, or another was quicker."""
    plan = board.plan(operator_id)
    is_full = board.closing or len(board.in_flight) >= board.in_flight_max
    if plan is None or not plan.line.ready() or is_full or order_id in board.in_flight:
        return None
    board.in_flight.add(order_id)
    held = None
    try:
        held = await board.ledger.do(Resume(order_id))
        assert isinstance(held, Receipt)
        return held if held.fresh and held.state is State.HELD else None
    finally:
        if held is None or not held.fresh:
            board.in_flight.discard(order_id)


class ParkedOrders:
    """Looks for released orders and sets each on its way."""

    def __init__(
        self,
        board: Board,
        reactor: IReactorTime,
        spawn: Callable[[Coroutine[Any, Any, Any]], object],
        interval_s: float = 1.0,
    ) -> None:
        self._board = board
        self._spawn = spawn  # runs a coroutine by itself; a stop waits for it
        self._interval_s = interval_s
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._round_guarded()))
        self._loop.clock = reactor

    def start(self) -> None:
        self._loop.start(self._interval_s, now=True).addErrback(
            lambda failure: log.failure("released orders are no longer looked for", failure=failure)
        )

    def stop(self) -> None:
        if self._loop.running:
            self._loop.stop()

    async def _round_guarded(self) -> None:
        try:
            await self.round()
        except Exception:  # whatever one round meets, the next one comes
            log.failure("released orders could not be read or taken up; the next round tries again")

    async def round(self) -> int:
        """One look; returns how many were set on their way."""
        released = await self._board.ledger.read(lambda txn: parked_orders(txn, released=True))
        count = 0
        for order in released:
            held = await take_up(self._board, order.order_id, order.operator_id)
            if held is not None:
                self._spawn(carry(self._board, held))
                log.info("order {order} was let go", order=order.order_id)
                count += 1
        return count
