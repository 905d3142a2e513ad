"""An outlet's own money: transfers, taking one back, commission into the float. No operator is asked."""

from __future__ import annotations

from aircharge.errors import Reason, Refusal
from aircharge.ledger.returning import ReverseTransfer
from aircharge.ledger.transferring import MoveCommission, Transfer
from aircharge.switch.admission import HOUSE
from aircharge.switch.board import Board
from aircharge.switch.workload import CHANNELS
from aircharge.values import Receipt

__all__ = ["move_money"]


async def move_money(board: Board, command: Transfer | ReverseTransfer | MoveCommission) -> Receipt:
    """Durable when it returns; both sides are told by notices of the same commit.

    Raises Refusal(BUSY) on the way out and under load, LedgerError when the commit's fate is unknown: ask again by the
    same key.
    """
    if board.closing:
        raise Refusal(Reason.BUSY, "closing")
    async with board.admission.turn(HOUSE, command.asker.phone, CHANNELS[command.channel]):
        receipt = await board.ledger.do(command)
    assert isinstance(receipt, Receipt)
    return receipt
