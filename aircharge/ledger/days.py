"""Accounting days: open → cutting → closed. The cut is one command; service goes on through it. Pure.

What is held after the cut bears the new date (``txn.biz_date``); what settles after it is posted under the new date
(``journal.biz_date``), whatever the date of its hold: both are kept. Closing is ``ledger.checkpoints``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aircharge.ledger.cutoff import date_text, following
from aircharge.ledger.page import Page
from aircharge.ledger.rows import Needs
from aircharge.ledger.rule import Rule

__all__ = ["RULES", "CutDay", "DayCut", "OpenDays", "cut_day", "open_days"]

_OPERATORS: Final = range(100)  # 0: the house itself


@dataclass(frozen=True, slots=True)
class CutDay:
    """End an operator's open day now, before its hour. Result: DayCut, or a text that says why not."""

    operator_id: int  # HOUSE = 0
    next_date: int  # yyyymmdd
    actor: str


@dataclass(frozen=True, slots=True)
class OpenDays:
    """Open what the clock says, for these operators and all that have a day. Result: all cuts of this batch."""

    operators: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DayCut:
    """``ended`` is 0 when the operator had no day before."""

    operator_id: int
    ended: int
    opened: int


def cut_day(page: Page, command: CutDay) -> DayCut | str:
    """Open the next day; the open one is cut by it."""
    if command.operator_id not in _OPERATORS:
        return f"no operator {command.operator_id}"
    if not command.actor.strip():
        return "whose name does this bear?"
    by_clock = page.settings.date_at(command.operator_id, page.now_ms)
    open_date = page.rows.days.get(command.operator_id, by_clock)
    if command.next_date <= open_date:
        return f"the day of {date_text(open_date)} is open: the next one comes after it"
    if command.next_date > following(by_clock):
        return f"at most one day ahead of {date_text(by_clock)}"
    page.date(command.operator_id)  # who never traded has a day that can be cut all the same
    page.open_day(command.operator_id, command.next_date, command.actor)
    return DayCut(command.operator_id, open_date, command.next_date)


def open_days(page: Page, command: OpenDays) -> tuple[DayCut, ...]:
    """Whoever's hour has come gets his next day, whether or not he trades."""
    for operator_id in sorted({*command.operators, *page.rows.days}):
        page.date(operator_id)
    return tuple(DayCut(*cut) for cut in sorted(page.cuts))


def _alone(needs: Needs, _command: CutDay | OpenDays) -> None:
    needs.alone = True


RULES: Final = {CutDay: Rule(_alone, cut_day), OpenDays: Rule(_alone, open_days)}
