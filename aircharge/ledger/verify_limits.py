"""Limit counters against the orders that remember being counted on them (``txn.counted``).

Only the day, week and month that run when the newest order was made are looked at: what an older counter says allows
nothing any more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
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
from aircharge.ledger.limits import counter_bit, period_began
from aircharge.values import State, mask_msisdn

__all__ = ["wrong_counters"]

_SHOWN: Final = 5
_DAY_MS: Final = 24 * 60 * 60 * 1000
_MARK: Final = re.compile(r"([0-9a-f]{1,4})\|([^|]*)\|(.*)")
_NUMBERS: Final = (SUBJECT_PHONE, SUBJECT_TARGET)
_COLUMN: Final = {
    SUBJECT_OUTLET: "CAST(a.owner_id AS VARCHAR(32))",
    SUBJECT_PHONE: "t.asker",
    SUBJECT_TARGET: "t.msisdn",
}
"""Where an order names a subject of which there may be millions: the database compares."""
_GROUP: Final = {SUBJECT_TERMINAL: 2, SUBJECT_MANAGER: 3}
"""Where ``txn.counted`` itself names one of a few thousand."""

_GIVEN_BACK: Final = ", ".join(str(int(s)) for s in (State.REFUSED, State.VOIDED, State.REVERSED))
_COUNTED: Final = (
    """t.id >= :first AND t.created_ms >= :since AND t.created_ms < :until AND t.counted <> ''"""
)
_STANDS: Final = f"t.state NOT IN ({_GIVEN_BACK})"
_OF: Final = "c.subject = :subject AND c.operation = :operation AND c.period = :period AND c.began = :began"
_MARKS: Final = f"""SELECT t.kind, t.counted, sum(CASE WHEN {_STANDS} THEN 1 ELSE 0 END),
    sum(CASE WHEN {_STANDS} THEN t.amount ELSE 0 END) FROM txn t WHERE {_COUNTED} GROUP BY 1, 2"""
_DUE: Final = f"""SELECT {{value}} AS value, count(*) AS n, sum(t.amount) AS total FROM txn t
    JOIN account a ON a.id = t.outlet_acct
    WHERE {_COUNTED} AND t.kind = :operation AND {_STANDS} AND ({{marked}}) GROUP BY 1"""
_NOT_AS_SAID: Final = f"""SELECT d.value, coalesce(c.n, 0), coalesce(c.total_fen, 0), d.n, d.total
    FROM ({{due}}) d LEFT JOIN limit_counter c ON c.value = d.value AND {_OF}
    WHERE coalesce(c.n, 0) <> d.n OR coalesce(c.total_fen, 0) <> d.total ORDER BY 1 LIMIT {_SHOWN}"""
_OF_NO_ORDER: Final = f"""SELECT c.value, c.n, c.total_fen, 0, 0 FROM limit_counter c
    LEFT JOIN ({{due}}) d ON d.value = c.value
    WHERE {_OF} AND d.value IS NULL AND (c.n <> 0 OR c.total_fen <> 0) ORDER BY 1 LIMIT {_SHOWN}"""
_SAID: Final = f"SELECT c.value, c.n, c.total_fen FROM limit_counter c WHERE {_OF}"
_KINDS: Final = (
    "SELECT DISTINCT subject, operation FROM limit_counter WHERE period = :period AND began = :began"
)

Wrong = tuple[str, int, int, int, int]
"""The value, what its counter says (orders, fen), what its orders say."""


@dataclass(frozen=True, slots=True)
class _Marks:
    """Orders of one period, counted on something: by kind of order and their mark, how many stand, for how much."""

    period: int
    of: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)

    def on(self, subject: int, operation: int) -> Iterator[tuple[re.Match[str], int, int]]:
        """Those that are counted on this subject. What is no mark is counted on nothing."""
        for (kind, mark), (n, fen) in self.of.items():
            found = _MARK.fullmatch(mark)
            if kind == operation and found and int(found[1], 16) >> counter_bit(subject, self.period) & 1:
                yield found, n, fen

    def kinds(self) -> Iterator[tuple[int, int]]:
        """Subject and kind of order, of everything that is counted."""
        for operation in {kind for kind, _ in self.of}:
            yield from (
                (subject, operation) for subject in (*_COLUMN, *_GROUP) if any(self.on(subject, operation))
            )


def wrong_counters(txn: Connection, utc_offset_min: int) -> Iterator[str]:
    """A sentence for each counter that is not the count and sum of its orders; the first few of each kind."""
    newest_ms = txn.execute(text("SELECT created_ms FROM txn ORDER BY id DESC LIMIT 1")).scalar()
    if newest_ms is None:
        return
    for period in (PERIOD_DAY, PERIOD_WEEK, PERIOD_MONTH):
        began = period_began(newest_ms, period, utc_offset_min)
        since_ms, until_ms = _bounds(began, period, utc_offset_min)
        first = max(since_ms - _DAY_MS - EPOCH_MS, 0) << 22  # ids are drawn in the order of time, nearly
        span = {"first": first, "since": since_ms, "until": until_ms}
        marks = _Marks(period)
        for kind, mark, n, fen in txn.execute(text(_MARKS), span):
            marks.of[kind, str(mark)] = int(n), int(fen)
        place = {"period": period, "began": began}
        kinds = {(subject, operation) for subject, operation in txn.execute(text(_KINDS), place)}
        for subject, operation in sorted(kinds | set(marks.kinds())):
            here = {**place, "subject": subject, "operation": operation}
            wrong = _by_column(txn, marks, here, span) if subject in _COLUMN else _by_mark(txn, marks, here)
            yield from (_sentence(here, *found) for found in wrong)


def _by_column(
    txn: Connection, marks: _Marks, place: dict[str, int], span: dict[str, int]
) -> Iterator[Wrong]:
    masks = {mark[1] for mark, _, _ in marks.on(place["subject"], place["operation"])}
    marked = " OR ".join(f"t.counted LIKE '{mask}|%'" for mask in sorted(masks)) or "1 = 0"
    due = _DUE.format(value=_COLUMN[place["subject"]], marked=marked)
    for differ in (_NOT_AS_SAID, _OF_NO_ORDER):
        for value, n, fen, due_n, due_fen in txn.execute(text(differ.format(due=due)), place | span):
            yield value, n, fen, due_n, int(due_fen)


def _by_mark(txn: Connection, marks: _Marks, place: dict[str, int]) -> Iterator[Wrong]:
    due: dict[str, tuple[int, int]] = {}
    for mark, n, fen in marks.on(place["subject"], place["operation"]):
        value = mark[_GROUP[place["subject"]]]
        known_n, known_fen = due.get(value, (0, 0))
        due[value] = known_n + n, known_fen + fen
    said = {str(value): (int(n), int(fen)) for value, n, fen in txn.execute(text(_SAID), place)}
    wrong = (
        value for value in sorted(due.keys() | said) if due.get(value, (0, 0)) != said.get(value, (0, 0))
    )
    for value, _ in zip(wrong, range(_SHOWN), strict=False):
        yield (value, *said.get(value, (0, 0)), *due.get(value, (0, 0)))


def _sentence(place: dict[str, int], value: str, n: int, fen: int, due_n: int, due_fen: int) -> str:
    who = mask_msisdn(value) if place["subject"] in _NUMBERS else value
    return (
        f"limit counter {place['subject']}/{who}/{place['operation']}/{place['period']}/{place['began']}:"
        f" it says {n} orders and {fen} fen, its orders say {due_n} and {due_fen}"
    )


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
