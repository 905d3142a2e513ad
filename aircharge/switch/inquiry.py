"""Questions of an outlet, and messages that say nothing: answered from the ledger, the operator is not asked."""

from __future__ import annotations

from aircharge.errors import Reason
from aircharge.ledger.commands import Inquire, InquiryReceipt, Offence
from aircharge.switch.board import Board
from aircharge.values import Asker

__all__ = ["inquire", "object_to"]


async def inquire(board: Board, question: Inquire) -> InquiryReceipt:
    """Balance or last transaction; the reply is a notice in the same commit."""
    receipt = await board.ledger.do(question)
    assert isinstance(receipt, InquiryReceipt)
    return receipt


async def object_to(board: Board, asker: Asker, reason: Reason) -> int:
    """Count a message that could not be understood; returns how many came from that number today."""
    count = await board.ledger.do(Offence(asker, reason, board.clock.now_ms()))
    assert isinstance(count, int)
    return count
