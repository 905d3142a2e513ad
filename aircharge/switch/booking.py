"""Verbs that end in the ledger alone: no operator is asked, the first commit decides."""

from __future__ import annotations

from aircharge.ledger.commands import Command
from aircharge.switch.board import Board
from aircharge.values import Receipt, State

__all__ = ["book"]


async def book(board: Board, command: Command) -> Receipt:
    """Do it, or refuse it, durably (transfer, commission to float, deposit ticket …). Raises LedgerError."""
    receipt = await board.ledger.do(command)
    assert isinstance(receipt, Receipt)
    if receipt.fresh or receipt.state is State.REFUSED:
        board.meters.order(receipt.state, receipt.reason)
    else:
        board.meters.repeated.add()
    return receipt
