"""Writes a decision down: one statement per kind of change, states and versions repeated in the WHERE."""

from __future__ import annotations

from dataclasses import fields
from itertools import groupby
from json import JSONEncoder
from operator import attrgetter
from typing import Final

from sqlalchemy import Connection, insert, text, update

from aircharge.ledger.audit import append_audit_txn
from aircharge.ledger.chart import DAY_CUTTING, DAY_OPEN
from aircharge.ledger.cutoff import local_date
from aircharge.ledger.dialect import Dialect
from aircharge.ledger.loading import signed
from aircharge.ledger.page import BookSettings, BrokenLedger
from aircharge.ledger.queries import TXN_COLUMNS
from aircharge.ledger.rows import Changes, HeardRow, JournalRow, RowChange
from aircharge.ledger.tables import metadata

__all__ = ["RowsChanged", "Saver"]

_encode = JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_txn_values = attrgetter(*TXN_COLUMNS)
_JOURNAL: Final = tuple(item.name for item in fields(JournalRow))
_journal_values = attrgetter(*_JOURNAL)
_HEARD: Final = tuple(item.name for item in fields(HeardRow))
_heard_values = attrgetter(*_HEARD)
_HEARD_AGAIN: Final = "ON CONFLICT (phone, words, repeat_n, pin) DO UPDATE SET " + ", ".join(
    f"{name} = excluded.{name}" for name in _HEARD[4:]
)
_HEARD_FOR_MS: Final = 32 * 86_400_000
"""Longer than any window: what was heard before goes, a few rows with each batch, so that there is never much to do."""
_FORGET: Final = text(
    "DELETE FROM heard WHERE (phone, words, repeat_n, pin) IN"
    " (SELECT phone, words, repeat_n, pin FROM heard WHERE seen_ms < :before_ms ORDER BY seen_ms LIMIT :n)"
)
_PARTS: Final = ("source", "destination", "ref", "wide", "total")
_END_PARTS: Final = text("DELETE FROM unjoined WHERE " + " AND ".join(f"{name} = :{name}" for name in _PARTS))
_OUTBOX: Final = (
    "id, txn_id, topic, recipient, sender, language, body, created_ms, next_ms, expires_ms, centre"
)


class RowsChanged(BrokenLedger):
    """Rows are no longer as they were read: a breach where one process writes, elsewhere another was quicker."""


class Saver:
    """Writes within the store's transaction."""

    def __init__(self, dialect: Dialect, settings: BookSettings) -> None:
        self._dialect = dialect
        self._settings = settings

    def save(self, txn: Connection, changes: Changes, now_ms: int) -> None:
        """All of a batch. Raises RowsChanged when a row is not in the state it was read in."""
        self._days(txn, changes, now_ms)
        self._money(txn, changes)
        self._guards(txn, changes, now_ms)
        self._notices(txn, changes, now_ms)
        self._parts(txn, changes, now_ms)
        self._people(txn, changes, now_ms)
        self._rare(txn, changes)

    def _days(self, txn: Connection, changes: Changes, now_ms: int) -> None:
        """The open day is cut as the next one opens. Another daemon may have done the same already."""
        if changes.days:
            last = dict(changes.days)
            rows = [(operator_id, date, now_ms) for operator_id, date in sorted(last.items())]
            head = "UPDATE day SET state = 1, cut_ms = v.column3"
            condition = "day.operator_id = v.column1 AND day.state = 0 AND day.biz_date < v.column2"
            self._dialect.update(txn, head, rows, condition)
            opened = [
                (operator_id, date, DAY_OPEN, None)
                if date == last[operator_id]
                else (operator_id, date, DAY_CUTTING, now_ms)  # opened and cut within one batch
                for operator_id, date in sorted(set(changes.days))
            ]
            columns = "operator_id, biz_date, state, cut_ms"
            self._dialect.insert(txn, "day", columns, opened, "ON CONFLICT DO NOTHING")

    @staticmethod
    def _rare(txn: Connection, changes: Changes) -> None:
        """Rows without a class of their own: new ones, and changes that must meet exactly one."""
        for (name, *_), group in groupby(changes.rare, _alike):
            table = metadata.tables[name]
            alike = list(group)
            if not alike[0].where:
                txn.execute(insert(table), [change.values for change in alike])
                continue
            for change in alike:
                conditions = [table.c[column] == value for column, value in change.where.items()]
                met = txn.execute(update(table).where(*conditions).values(**change.values)).rowcount
                _must_be(f"rows of {name}", met, 1)

    def _money(self, txn: Connection, changes: Changes) -> None:
        dialect = self._dialect
        if changes.new_txns:
            dialect.insert(txn, "txn", ", ".join(TXN_COLUMNS), [_txn_values(row) for row in changes.new_txns])
        if changes.txns:
            rows = [
                (
                    t.id,
                    t.loaded_state,
                    t.state,
                    t.reason,
                    t.op_code,
                    t.op_serial,
                    t.attempts,
                    t.next_ms,
                    t.done_ms,
                    t.cost,
                    t.undo,
                    t.released_ms,
                )
                for t in changes.txns.values()
            ]
            met = dialect.update(
                txn,
                "UPDATE txn SET state = v.column3, reason = v.column4, op_code = v.column5, op_serial = v.column6,"
                " attempts = v.column7, next_ms = v.column8, done_ms = v.column9, cost = v.column10, undo = v.column11,"
                " released_ms = v.column12",
                rows,
                "txn.id = v.column1 AND txn.state = v.column2",
            )
            _must_be("orders", met, len(rows))
        if changes.balances:
            balances = [
                (b.account_id, b.version, b.posted, b.held, b.floor)
                for _, b in sorted(changes.balances.items())
            ]
            met = dialect.update(
                txn,
                "UPDATE balance SET posted = v.column3, held = v.column4, floor = v.column5, version = v.column2 + 1",
                balances,
                "balance.account_id = v.column1 AND balance.version = v.column2",
            )
            _must_be("floats", met, len(balances))
        if changes.journal:
            dialect.insert(
                txn, "journal", ", ".join(_JOURNAL), [_journal_values(row) for row in changes.journal]
            )

    def _guards(self, txn: Connection, changes: Changes, now_ms: int) -> None:
        dialect = self._dialect
        if changes.replays:
            replays = [
                (r.card_id, signed(r.serial), r.req_hash, r.txn_id, r.seen_ms) for r in changes.replays
            ]
            dialect.insert(txn, "replay", "card_id, serial, req_hash, txn_id, seen_ms", replays)
        if changes.heard:
            rows = [_heard_values(row) for row in changes.heard.values()]
            dialect.insert(txn, "heard", ", ".join(_HEARD), rows, _HEARD_AGAIN)
            txn.execute(_FORGET, {"before_ms": now_ms - _HEARD_FOR_MS, "n": 2 * len(rows)})
        if changes.cards:
            cards = [(card.id, card.hi, signed(card.bitmap)) for card in changes.cards.values()]
            head = "UPDATE card SET hi = v.column2, bitmap = v.column3"
            _must_be("cards", dialect.update(txn, head, cards, "card.id = v.column1"), len(cards))
        if changes.credentials:
            pins = [(c.outlet_id, c.fails, c.locks, c.locked_until_ms) for c in changes.credentials.values()]
            head = "UPDATE credential SET fails = v.column2, locks = v.column3, locked_until_ms = v.column4"
            _must_be("PINs", dialect.update(txn, head, pins, "credential.outlet_id = v.column1"), len(pins))
        if changes.counters:
            counters = [(*key, row.n, row.total_fen) for key, row in sorted(changes.counters.items())]
            columns = "subject, value, operation, period, began, n, total_fen"
            upsert = (
                "ON CONFLICT (subject, value, operation, period, began)"
                " DO UPDATE SET n = excluded.n, total_fen = excluded.total_fen"
            )
            dialect.insert(txn, "limit_counter", columns, counters, upsert)
        if changes.offences:
            today = local_date(now_ms, self._settings.utc_offset_min)
            offences = [(phone, today, count) for phone, count in changes.offences.items()]
            upsert = "ON CONFLICT (phone, local_date) DO UPDATE SET n = offence.n + excluded.n"
            dialect.insert(txn, "offence", "phone, local_date, n", offences, upsert)

    def _notices(self, txn: Connection, changes: Changes, now_ms: int) -> None:
        dialect = self._dialect
        if changes.notices:
            rows = [
                (
                    n.notice_id,
                    n.order_id,
                    n.topic,
                    n.recipient,
                    n.sender,
                    n.language,
                    _encode(n.facts),
                    n.created_ms,
                    n.created_ms,
                    n.expires_ms,
                    n.centre,
                )
                for n in changes.notices
            ]
            dialect.insert(txn, "outbox", _OUTBOX, rows)
        unsent = "outbox.id = v.column1 AND outbox.state = 0"
        if changes.notices_sent:
            sent = [(number, now_ms) for number in changes.notices_sent]
            dialect.update(txn, "UPDATE outbox SET state = 1, sent_ms = v.column2", sent, unsent)
        if changes.notices_retry:
            head = "UPDATE outbox SET attempts = attempts + 1, next_ms = v.column2"
            dialect.update(txn, head, changes.notices_retry, unsent)
        if changes.notices_left:
            left = [(number, now_ms, until_ms) for number, until_ms in changes.notices_left]
            head = "UPDATE outbox SET attempts = attempts + 1, left_ms = v.column2, next_ms = v.column3"
            dialect.update(txn, head, left, unsent)
        if changes.notices_expired:
            expired = [(number,) for number in changes.notices_expired]
            dialect.update(txn, "UPDATE outbox SET state = 2", expired, unsent)

    def _parts(self, txn: Connection, changes: Changes, now_ms: int) -> None:
        if changes.parts_began:
            rows = [(*place, *more, now_ms) for place, more in changes.parts_began.items()]
            columns = ", ".join((*_PARTS, "centre, node, came_ms"))
            self._dialect.insert(txn, "unjoined", columns, rows, "ON CONFLICT DO NOTHING")
        if changes.parts_ended:
            txn.execute(
                _END_PARTS, [dict(zip(_PARTS, ended, strict=True)) for ended in sorted(changes.parts_ended)]
            )

    def _people(self, txn: Connection, changes: Changes, now_ms: int) -> None:
        if changes.recon:
            day = local_date(now_ms, self._settings.utc_offset_min)
            items = [(day, i.op_ref, i.kind, i.ours, i.theirs, i.txn_id) for i in changes.recon]
            columns = "biz_date, op_ref, kind, ours, theirs, txn_id"
            self._dialect.insert(txn, "recon_item", columns, items, "ON CONFLICT DO NOTHING")
        if changes.requests:
            requests = [(number, checker, now_ms, order) for number, checker, order in changes.requests]
            head = (
                "UPDATE change_request SET state = 1, checker = v.column2,"
                " checked_ms = v.column3, txn_id = v.column4"
            )
            condition = "change_request.id = v.column1 AND change_request.state = 0"
            _must_be("requests", self._dialect.update(txn, head, requests, condition), len(requests))
        for entry in changes.audit:
            append_audit_txn(txn, now_ms, entry.actor, entry.action, entry.thing, entry.detail)


def _alike(change: RowChange) -> tuple[str, ...]:
    """New rows of one table with the same columns go in by one statement."""
    return (change.table, "" if change.where else "new", *sorted(change.values))


def _must_be(what: str, met: int, expected: int) -> None:
    if met != expected:
        raise RowsChanged(f"invariant broken: {met} of {expected} {what} were as they had been read")
