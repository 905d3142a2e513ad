"""The book: a batch of commands and the rows they touch go in; one result each and the changed rows come out.

Pure and deterministic: no clock, no chance, no database. Later commands of a batch see the effects of earlier ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aircharge.ledger import (
    asking,
    batching,
    cancelling,
    closing,
    credit,
    days,
    entries,
    failing,
    losing,
    on_behalf,
    opening,
    parking,
    parts,
    pinning,
    returning,
    reversing,
    ruling,
    terminals,
    tickets,
    transferring,
)
from aircharge.ledger.commands import Command, Result
from aircharge.ledger.page import BookSettings, BrokenLedger, Page, PinMac
from aircharge.ledger.rows import Changes, Needs, Rows
from aircharge.ledger.rule import Rule

__all__ = ["RULES", "Book", "BookSettings", "Decision"]

RULES: Final[dict[type[Any], Rule]] = {
    **opening.RULES,
    **closing.RULES,
    **asking.RULES,
    **parking.RULES,
    **pinning.RULES,
    **losing.RULES,
    **ruling.RULES,
    **reversing.RULES,
    **entries.RULES,
    **credit.RULES,
    **transferring.RULES,
    **tickets.RULES,
    **days.RULES,
    **batching.RULES,
    **returning.RULES,
    **on_behalf.RULES,
    **cancelling.RULES,
    **terminals.RULES,
    **failing.RULES,
    **parts.RULES,
}
"""Every command the book understands. A room of rules has a ``RULES`` of its own and is named here."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One result per command, in order, and everything to be written."""

    results: list[Result]
    changes: Changes


class Book:
    """The rules of money."""

    def __init__(self, settings: BookSettings, pin_mac: PinMac) -> None:
        self.settings = settings
        self._pin_mac = pin_mac
        self._minute = 0
        self._due: dict[int, int] = {}  # the accounting day by the clock in that minute, by operator

    def is_day_over(self, days: Mapping[int, int], now_ms: int) -> bool:
        """Whether an open accounting day, {operator: date}, has ended by the clock. Days end at whole minutes."""
        minute = now_ms // 60_000
        if minute != self._minute:
            self._minute, self._due = minute, {}
        for operator_id, date in days.items():
            due = self._due.get(operator_id)
            if due is None:
                due = self._due[operator_id] = self.settings.date_at(operator_id, now_ms)
            if date < due:
                return True
        return False

    def needs(self, commands: Sequence[Command]) -> Needs:
        """Which rows a batch touches."""
        needs = Needs()
        for command in commands:
            RULES[type(command)].needs(needs, command)
        return needs

    def apply(self, commands: Sequence[Command], rows: Rows, now_ms: int, ids: Callable[[], int]) -> Decision:
        """Decide a batch. ``rows`` is changed and must not be used again."""
        page = Page(self.settings, self._pin_mac, rows, now_ms, ids)
        if self.is_day_over(rows.days, now_ms):
            for operator_id in sorted(rows.days):
                page.date(operator_id)
        results = []
        for command in commands:
            page.asker = getattr(getattr(command, "order", command), "asker", None)
            results.append(RULES[type(command)].decide(page, command))
        _check(page)
        return Decision(results, page.changes)


def _check(page: Page) -> None:
    """The invariants of every float this batch touches. A breach is a bug of ours: nothing is written."""
    for row in page.changes.balances.values():
        if row.held < 0 or row.available < 0:
            raise BrokenLedger(f"invariant broken: account {row.account_id} would be below its floor")
        row.floor = row.bound
