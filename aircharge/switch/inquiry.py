"""Questions of an outlet, and messages that say nothing: answered from the ledger, the operator is not asked."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aircharge.errors import Reason, Refusal
from aircharge.ledger.commands import Inquire, InquiryReceipt, Offence
from aircharge.ledger.lookups import history_of, recap_of, status_of, today_of
from aircharge.switch.admission import HOUSE
from aircharge.switch.board import Board
from aircharge.switch.workload import Work, asks
from aircharge.values import Asker, Operation, Said

__all__ = ["inquire", "object_to"]

_DAY_MS: Final = 86_400_000
STATUS_DAYS: Final = 3
"""How far back an order may be asked about by SMS."""


async def inquire(board: Board, question: Inquire) -> InquiryReceipt:
    """Answer a question; the reply is a notice in the same commit.

    STATUS: ``about`` is digits of the order or the target's number. RECAP: "", mmdd or yyyymmdd.
    Raises Refusal(FORMAT) for a day that does not exist, Refusal(BUSY) under load.
    """
    async with board.admission.turn(HOUSE, question.asker.phone, asks(question.operation)):
        return await _inquire(board, question)


async def _inquire(board: Board, question: Inquire) -> InquiryReceipt:
    phone, about, now_ms = question.asker.phone, question.about, board.clock.now_ms()
    found: dict[str, Any] = {}
    if question.operation is Operation.STATUS:
        found = await board.ledger.read(
            lambda txn: status_of(txn, phone, about, now_ms - STATUS_DAYS * _DAY_MS)
        )
    elif question.operation is Operation.BALANCE:  # the day is summed beside the writer, not in its turn
        today_ms = _day_began_ms("", now_ms, board.utc_offset_min)
        found = await board.ledger.read(lambda txn: today_of(txn, phone, today_ms))
    elif question.operation is Operation.RECAP:
        from_ms = _day_began_ms(about, now_ms, board.utc_offset_min)
        found = await board.ledger.read(lambda txn: recap_of(txn, phone, from_ms, from_ms + _DAY_MS))
    elif question.operation is Operation.HISTORY:
        found = await board.ledger.read(lambda txn: history_of(txn, phone))
    receipt = await board.ledger.do(dataclasses.replace(question, found=found))
    assert isinstance(receipt, InquiryReceipt)
    return receipt


def _day_began_ms(day: str, now_ms: int, utc_offset_min: int) -> int:
    """Local midnight of "" (today), mmdd (the last one there was) or yyyymmdd. Raises Refusal(FORMAT)."""
    offset = timedelta(minutes=utc_offset_min)
    now = datetime.fromtimestamp(now_ms // 1000, UTC) + offset
    try:
        if not day:
            date = now.replace(tzinfo=None)
        elif len(day) == len("mmdd"):
            date = datetime.strptime(f"{now.year}{day}", "%Y%m%d")
            if date > now.replace(tzinfo=None):
                date = date.replace(year=now.year - 1)
        else:
            date = datetime.strptime(day, "%Y%m%d")
        midnight = date.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC) - offset
    except (ValueError, OverflowError) as error:  # the first day of all began before there was any time
        raise Refusal(Reason.FORMAT, "no such day") from error
    return int(midnight.timestamp()) * 1000


async def object_to(
    board: Board,
    asker: Asker,
    reason: Reason,
    verb: str = "",
    *,
    said: Said | None = None,
    sent_ms: int | None = None,
) -> int:
    """Count a message that could not be understood; returns how many came from that number today. Refusal(BUSY).

    ``verb``: the command that was plainly meant. ``said``: it was an answer, and nothing had been asked.
    """
    async with board.admission.turn(HOUSE, asker.phone, Work.REPORT):
        count = await board.ledger.do(Offence(asker, reason, board.clock.now_ms(), verb, said, sent_ms))
    assert isinstance(count, int)
    return count
