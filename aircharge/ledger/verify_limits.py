"""Limit counters against the orders that remember being counted on them (``txn.counted``).

Only the period each counter counts in now, or counted in last, is looked at: what an older one says allows nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, text

from aircharge.ledger.chart import (
    PERIOD_DAY,
    PERIOD_MONTH,
    PERIOD_WEEK,
    SUBJECT_MANAGER,
    SUBJECT_OUTLET,
    SUBJECT_PHONE,
    SUBJECT_TARGET,
    SUBJECT_TERMINAL,
)
from aircharge.ledger.ids import EPOCH_MS
from aircharge.ledger.limits import counter_bit
from aircharge.values import State, mask_msisdn

__all__ = ["wrong_counters"]

_SHOWN: Final = 5
_DAY_MS: Final = 24 * 60 * 60 * 1000
_NUMBERS: Final = (SUBJECT_PHONE, SUBJECT_TARGET)
_COLUMN: Final = {
    SUBJECT_OUTLET: "CAST(a.owner_id AS VARCHAR(32))",
    SUBJECT_PHONE: "t.asker",
    SUBJECT_TARGET: "t.msisdn",
}
_FIELD: Final = {SUBJECT_TERMINAL: 1, SUBJECT_MANAGER: 2}
"""Where ``txn.counted`` itself has the value: mask|terminal|manager."""

_GIVEN_BACK: Final = ", ".join(str(int(s)) for s in (State.REFUSED, State.VOIDED, State.REVERSED))
_COUNTED: Final = """t.id >= :first AND t.kind = :operation AND t.counted <> ''
    AND t.created_ms >= :since AND t.created_ms < :until"""
_STANDS: Final = f"{_COUNTED} AND t.state NOT IN ({_GIVEN_BACK})"
_OF: Final = "c.subject = :subject AND c.operation = :operation AND c.period = :period AND c.began = :began"
_DUE: Final = f"""SELECT {{value}} AS value, count(*) AS n, sum(t.amount) AS total FROM txn t
    JOIN account a ON a.id = t.outlet_acct WHERE {_STANDS} AND ({{marked}}) GROUP BY 1"""
_TOO_FEW: Final = f"""SELECT d.value, coalesce(c.n, 0), coalesce(c.total_fen, 0), d.n, d.total FROM ({{due}}) d
    LEFT JOIN limit_counter c ON c.value = d.value AND {_OF}
    WHERE coalesce(c.n, -1) <> d.n OR coalesce(c.total_fen, -1) <> d.total ORDER BY 1 LIMIT {_SHOWN}"""
_OF_NO_ORDER: Final = f"""SELECT c.value, c.n, c.total_fen, 0, 0 FROM limit_counter c
    LEFT JOIN ({{due}}) d ON d.value = c.value
    WHERE {_OF} AND d.value IS NULL AND (c.n <> 0 OR c.total_fen <> 0) ORDER BY 1 LIMIT {_SHOWN}"""

Wrong = tuple[str, int, int, int, int]
"""The value, what its counter says (orders, fen), what its orders say."""


def wrong_counters(txn: Connection, utc_offset_min: int) -> Iterator[str]:
    """A sentence for each counter that is not the count and sum of its orders; the first few of each kind."""
    kinds = text(
        "SELECT subject, operation, period, max(began) FROM limit_counter GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    for subject, operation, period, began in txn.execute(kinds).all():
        since_ms, until_ms = _bounds(began, period, utc_offset_min)
        place = {
            "subject": subject,
            "operation": operation,
            "period": period,
            "began": began,
            "since": since_ms,
            "until": until_ms,
            "first": (since_ms - _DAY_MS - EPOCH_MS) << 22,  # ids are drawn in the order of time, nearly
        }
        compare = _by_field if subject in _FIELD else _by_column
        for value, n, fen, due_n, due_fen in compare(txn, place):
            who = mask_msisdn(value) if subject in _NUMBERS else value
            yield (
                f"limit counter {subject}/{who}/{operation}/{period}/{began}:"
                f" it says {n} orders and {fen} fen, its orders say {due_n} and {int(due_fen)}"
            )


def _by_column(txn: Connection, place: dict[str, int]) -> Iterator[Wrong]:
    """Subjects an order names in a column: the database compares, there may be millions of them."""
    question = f"SELECT DISTINCT t.counted FROM txn t WHERE {_COUNTED}"
    bit = counter_bit(place["subject"], place["period"])
    marks = {str(mark).partition("|")[0] for (mark,) in txn.execute(text(question), place)}
    marked = [f"t.counted LIKE '{mask}|%'" for mask in sorted(marks) if int(mask, 16) >> bit & 1]
    due = _DUE.format(value=_COLUMN[place["subject"]], marked=" OR ".join(marked) or "1 = 0")
    for differs in (_TOO_FEW, _OF_NO_ORDER):
        for row in txn.execute(text(differs.format(due=due)), place):
            yield (row[0], row[1], row[2], row[3], row[4])


def _by_field(txn: Connection, place: dict[str, int]) -> Iterable[Wrong]:
    """Terminals and managers: their number is bounded, so they are summed up here."""
    bit = counter_bit(place["subject"], place["period"])
    due: dict[str, tuple[int, int]] = {}
    sums = f"SELECT t.counted, count(*), sum(t.amount) FROM txn t WHERE {_STANDS} GROUP BY 1"
    for mark, n, fen in txn.execute(text(sums), place):
        fields = str(mark).split("|", 2)
        if int(fields[0], 16) >> bit & 1:
            value = fields[_FIELD[place["subject"]]]
            known_n, known_fen = due.get(value, (0, 0))
            due[value] = known_n + n, known_fen + int(fen)
    counters = text(f"SELECT c.value, c.n, c.total_fen FROM limit_counter c WHERE {_OF}")
    said = {str(value): (int(n), int(fen)) for value, n, fen in txn.execute(counters, place)}
    values = sorted(value for value in due.keys() | said if due.get(value, (0, 0)) != said.get(value, (0, 0)))
    return [(value, *said.get(value, (0, 0)), *due.get(value, (0, 0))) for value in values[:_SHOWN]]


def _bounds(began: int, period: int, utc_offset_min: int) -> tuple[int, int]:
    """When a period begins and ends, ms UTC."""
    first = datetime(began // 10_000, began // 100 % 100, began % 100, tzinfo=UTC)
    last = {
        PERIOD_DAY: first + timedelta(days=1),
        PERIOD_WEEK: first + timedelta(days=7),
        PERIOD_MONTH: (first.replace(day=1) + timedelta(days=32)).replace(day=1),
    }[period]
    offset = timedelta(minutes=utc_offset_min)
    return int((first - offset).timestamp()) * 1000, int((last - offset).timestamp()) * 1000
