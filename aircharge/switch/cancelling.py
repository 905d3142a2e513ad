"""Automatic reversals (冲正): what a terminal took back is undone as soon as it is known what there is to undo.

``cancel`` is what the terminal waits for: when it returns, the wish is durable and is fulfilled even if this process
ends. ``Cancels`` fulfils: an open sale is left to its answer or to doubt resolution; one that settled is reversed at
the operator; one that cannot be reversed stands, and the outlet is told.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Coroutine
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from aircharge.errors import Reason, Refusal
from aircharge.ledger.cancelling import CancelSale, EndCancel
from aircharge.ledger.reversing import AUTOMATIC, OpenReversal
from aircharge.ledger.terminal_reading import WantedCancel, order_under, wanted_cancels
from aircharge.switch.board import Board
from aircharge.switch.recharge import carry, wait_for_lease
from aircharge.switch.rounds import Rounds
from aircharge.values import Channel, Key, Receipt, State

__all__ = ["Cancels", "cancel", "pause_ms"]

log = Logger()

_LOOKS: Final = 3
_PAUSES: Final = (1_000, 5_000, 15_000, 60_000, 300_000)


def pause_ms(tries: int) -> int:
    """How long after the last of so many reversals that came to nothing another one may be opened."""
    return _PAUSES[min(tries, len(_PAUSES)) - 1]


async def cancel(board: Board, command: CancelSale) -> Receipt:
    """Take a sale back, durably. Raises Refusal(BUSY) while our lease may have ended, LedgerError as ``accept``."""
    wait_for_lease(board)
    for _ in range(_LOOKS):
        known = await board.ledger.read(lambda txn: order_under(txn, command.key))
        receipt = await board.ledger.do(dataclasses.replace(command, orig_id=known))
        if receipt is not None:
            assert isinstance(receipt, Receipt)
            return receipt
    raise Refusal(Reason.BUSY, "the sale comes and goes")


class Cancels:
    """Looks for wishes that can be fulfilled now."""

    def __init__(
        self,
        board: Board,
        reactor: IReactorTime,
        spawn: Callable[[Coroutine[Any, Any, Any]], object],
        every_s: float = 1.0,
        at_once: int = 200,
    ) -> None:
        """``at_once``: wishes that one round looks at; the next one goes on behind them, so that none is starved."""
        self._board = board
        self._spawn = spawn  # runs a coroutine by itself; a stop waits for it
        self._under_way: set[int] = set()
        self._at_once = at_once
        self._after = (0, 0)  # time and order of the last wish that was looked at
        self._rounds = Rounds("automatic reversals", self.round, every_s, reactor)

    def start(self) -> None:
        self._rounds.start()

    def stop(self) -> None:
        self._rounds.stop()

    async def round(self) -> int:
        """One look; returns how many were taken up."""
        at_once, after = self._at_once, self._after
        wanted = await self._board.ledger.read(lambda txn: wanted_cancels(txn, at_once, after))
        is_full = len(wanted) == at_once
        self._after = (wanted[-1].made_ms, wanted[-1].order_id) if is_full else (0, 0)
        count = 0
        for wish in wanted:
            if wish.order_id in self._under_way or wish.is_open or self._must_wait(wish):
                continue
            self._under_way.add(wish.order_id)
            self._spawn(self._fulfil(wish))
            count += 1
        return count

    def _must_wait(self, wish: WantedCancel) -> bool:
        """A reversal is only opened where it can be sent, and each time later after one that came to nothing."""
        if wish.state is not State.SETTLED or wish.has_failed:
            return False
        board, plan = self._board, self._board.plan(wish.operator_id)
        if wish.tries and board.clock.now_ms() < wish.tried_ms + pause_ms(wish.tries):
            return True
        is_full = board.closing or len(board.in_flight) >= board.in_flight_max
        return plan is None or not plan.line.ready() or is_full or not board.is_ours()

    async def _fulfil(self, wish: WantedCancel) -> None:
        try:
            if wish.state is not State.SETTLED or wish.has_failed:
                await self._board.ledger.do(EndCancel(wish.order_id, stands=wish.state is State.SETTLED))
                return
            key = Key(f"{AUTOMATIC}{wish.order_id}", str(wish.tries))
            now_ms = self._board.clock.now_ms()
            command = OpenReversal(Channel.POS, key, None, wish.order_id, now_ms, auto=True)
            receipt = await self._board.ledger.do(command)
            assert isinstance(receipt, Receipt)
            if receipt.fresh and receipt.state is State.HELD:
                self._board.in_flight.add(receipt.order_id)
                await carry(self._board, receipt)
            log.info("order {order}: its terminal took it back", order=wish.order_id)
        finally:
            self._under_way.discard(wish.order_id)
