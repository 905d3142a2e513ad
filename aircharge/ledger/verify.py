"""Verify: everything again from row 0 within one picture of the ledger; what is wrong is named, first things first.

Balances, holds, checkpoints (``verify_balances``), each order against its journal rows (``verify_postings``), the
chains of the audit trail and of the seals (``audit``, ``sealing``). Journal and orders are read in pieces and summed
by the database, so that memory stays small: ten million rows in minutes (docs/days.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, text

from aircharge.ledger.audit import first_bad_audit
from aircharge.ledger.reckoning import commission_problems
from aircharge.ledger.sealing import bad_seals
from aircharge.ledger.verify_balances import Sums, below_floor, unbacked_floors, wrong_holds
from aircharge.ledger.verify_limits import wrong_counters
from aircharge.ledger.verify_postings import (
    Called,
    called_for,
    mirrored_rows,
    missing_rows,
    optional_rows,
    strange_rows,
    unmatched_reversals,
)

__all__ = ["VerifyReport", "verify"]

_PIECE: Final = 250_000
PROBLEMS_MAX: Final = 100


@dataclass
class VerifyReport:
    """How much was looked at, and what is wrong (nothing = sound)."""

    rows: int = 0
    accounts: int = 0
    orders: int = 0
    debits_fen: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not self.problems

    def add(self, problems: Iterable[str]) -> None:
        """As many as a person may want to read."""
        for problem in problems:
            if len(self.problems) < PROBLEMS_MAX:
                self.problems.append(problem)


def verify(txn: Connection, piece: int = _PIECE, utc_offset_min: int = 480) -> VerifyReport:
    """Check the whole book within one snapshot; amounts in fen.

    ``piece``: rows that are read at a time; ``utc_offset_min``: of the calendar that limits go by.
    """
    report = VerifyReport()
    _journal(txn, report, piece)
    report.add(wrong_holds(txn))
    report.add(below_floor(txn))
    report.add(unbacked_floors(txn))
    report.add(commission_problems(txn))
    report.add(wrong_counters(txn, utc_offset_min))
    report.add(bad_seals(txn))
    bad = first_bad_audit(txn)
    if bad is not None:
        report.add([f"audit row {bad} was changed, moved or taken out"])
    if txn.dialect.name == "sqlite":
        state = txn.execute(text("PRAGMA quick_check(1)")).scalar()
        if state != "ok":
            report.add([f"database file: {state}"])
    return report


def _journal(txn: Connection, report: VerifyReport, piece: int) -> None:
    """Balances and postings, both from the journal."""
    sums = Sums(txn)
    optional = 0
    for after, upto in _pieces(txn, "journal", "jid", piece):
        report.add(sums.add(after, upto))
        report.add(strange_rows(txn, after, upto))
        optional += optional_rows(txn, after, upto)
    report.add(sums.finish())
    report.rows, report.accounts, report.debits_fen = sums.rows, sums.accounts, sums.debits_fen
    called = Called()
    for after, upto in _pieces(txn, "txn", "id", piece):
        called_for(txn, after, upto, called)
    report.orders = called.orders
    if sums.rows != called.rows + mirrored_rows(txn) + optional:
        report.add(missing_rows(txn))
    report.add(unmatched_reversals(txn, called.reversed))


def _pieces(txn: Connection, table: str, key: str, size: int) -> Iterator[tuple[int, int]]:
    """(after, upto) of consecutive pieces of a table, in the order of its numbers."""
    step = text(f"SELECT {key} FROM {table} WHERE {key} > :after ORDER BY {key} LIMIT 1 OFFSET :skip")
    last = int(txn.execute(text(f"SELECT max({key}) FROM {table}")).scalar() or 0)
    after = 0
    while after < last:
        upto = txn.execute(step, {"after": after, "skip": size - 1}).scalar() or last
        yield after, upto
        after = upto
