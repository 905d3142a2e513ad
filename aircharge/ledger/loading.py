"""Loads the rows a batch touches: a handful of set-based SELECTs, whatever the batch's size."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Final

from sqlalchemy import Connection

from aircharge.ledger.asking import FUNDING_SCOPE
from aircharge.ledger.page import BookSettings, local_date, midnight_ms
from aircharge.ledger.rows import (
    BalanceRow,
    CardState,
    CredentialRow,
    Needs,
    OutletRow,
    PhoneRow,
    ReplayRow,
    RequestRow,
    Rows,
    TxnRow,
    Usage,
)
from aircharge.ledger.sqlite import SqliteDialect
from aircharge.values import State

__all__ = ["TXN_COLUMNS", "Loader", "signed", "unsigned"]

TXN_COLUMNS: Final = tuple(item.name for item in fields(TxnRow) if item.name != "loaded_state")
_TXN: Final = ", ".join(f"t.{name}" for name in TXN_COLUMNS)
_FINAL: Final = (State.REFUSED, State.SETTLED, State.VOIDED, State.REVERSED)
_OUTLET: Final = """o.id, o.code, o.status, o.language, o.pin_policy, o.pin_above_fen, o.float_id,
    b.account_id, b.posted, b.held, b.floor, b.version,
    c.outlet_id, c.pin_mac, c.salt, c.pepper_ver, c.fails, c.locks, c.locked_until_ms"""
_OUTLET_JOINS: Final = """JOIN balance b ON b.account_id = o.float_id
    LEFT JOIN credential c ON c.outlet_id = o.id"""

# The texts below are ours alone; every value is bound. CROSS JOIN keeps SQLite to the order written.
_DAY: Final = """SELECT biz_date FROM day WHERE state = 0 AND ? IS NOT NULL ORDER BY biz_date DESC LIMIT 1"""
_BY_PHONE: Final = f"""SELECT p.msisdn, p.rights, {_OUTLET}
    FROM json_each(?) k CROSS JOIN outlet_phone p ON p.msisdn = k.value
    JOIN outlet o ON o.id = p.outlet_id {_OUTLET_JOINS}"""
_BY_FLOAT: Final = f"""SELECT {_OUTLET}
    FROM json_each(?) k CROSS JOIN outlet o ON o.float_id = k.value {_OUTLET_JOINS}"""
_CARDS: Final = """SELECT id, outlet_id, msisdn, key_version, status, hi, bitmap FROM card
    WHERE id IN (SELECT value FROM json_each(?))"""
_REPLAYS: Final = """SELECT r.card_id, r.serial, r.req_hash, r.txn_id, r.seen_ms
    FROM json_each(?) k CROSS JOIN replay r ON r.card_id = k.value ->> 0 AND r.serial = k.value ->> 1"""
_BY_KEY: Final = f"""SELECT {_TXN}
    FROM json_each(?) k CROSS JOIN txn t ON t.idem_scope = k.value ->> 0 AND t.idem_key = k.value ->> 1"""
_BY_ID: Final = f"SELECT {_TXN} FROM json_each(?) k CROSS JOIN txn t ON t.id = k.value"
_INTENTS: Final = f"""SELECT {_TXN}
    FROM json_each(?) k CROSS JOIN txn t ON t.msisdn = k.value ->> 0 AND t.outlet_acct = k.value ->> 1
    AND t.created_ms >= ? WHERE t.kind = 1 AND t.state NOT IN (0, 5)"""
_ANSWERS: Final = """SELECT n.txn_id, n.topic, n.body FROM json_each(?) k CROSS JOIN outbox n ON n.txn_id = k.value
    WHERE n.topic IN ('outlet.settled', 'outlet.refused') ORDER BY n.id"""
_TODAY: Final = """SELECT t.outlet_acct, count(*), sum(t.amount)
    FROM json_each(?) k CROSS JOIN txn t ON t.outlet_acct = k.value AND t.created_ms >= ?
    WHERE t.kind = 1 AND t.state IN (1, 2, 3, 4, 6) GROUP BY t.outlet_acct"""
_LAST: Final = f"""SELECT {_TXN} FROM json_each(?) k CROSS JOIN txn t ON t.id = (
    SELECT l.id FROM txn l WHERE l.outlet_acct = k.value AND l.kind = 1 AND l.state <> 0
    ORDER BY l.created_ms DESC, l.id DESC LIMIT 1)"""
_OFFENCES: Final = """SELECT o.phone, o.n FROM json_each(?) k
    CROSS JOIN offence o ON o.phone = k.value AND o.local_date = ?"""
_LANGUAGES: Final = """SELECT l.msisdn, l.language FROM json_each(?) k
    CROSS JOIN number_language l ON l.msisdn = k.value"""
_REQUESTS: Final = """SELECT id, payload, maker, state FROM change_request
    WHERE what = 'funding' AND id IN (SELECT value FROM json_each(?))"""
_FIRST_PHONES: Final = """SELECT p.outlet_id, min(p.msisdn) FROM json_each(?) k
    CROSS JOIN outlet_phone p ON p.outlet_id = k.value GROUP BY p.outlet_id"""

_WORD: Final = 1 << 64


def signed(number: int) -> int:
    """An unsigned 64 bit number as the database keeps it."""
    return number - _WORD if number >> 63 else number


def unsigned(number: int) -> int:
    return number + _WORD if number < 0 else number


class Loader:
    """Loads within the store's transaction."""

    def __init__(self, dialect: SqliteDialect, settings: BookSettings) -> None:
        self._dialect = dialect
        self._settings = settings

    def load(self, txn: Connection, needs: Needs, now_ms: int) -> Rows:
        """Everything the batch's rules may look at."""
        rows = Rows()
        days = self._dialect.rows(txn, _DAY, ())
        rows.day = int(days[0][0]) if days else 0
        accounts = self._requests(txn, rows, needs)
        self._phones(txn, rows, needs.phones)
        self._cards(txn, rows, needs)
        self._orders(txn, rows, needs)
        accounts |= {row.outlet_acct for row in rows.txns.values()}
        self._accounts(txn, rows, accounts)
        self._intents(txn, rows, needs, now_ms)
        self._answers(txn, rows, needs)
        self._usage(txn, rows, needs, now_ms)
        self._people(txn, rows, needs, now_ms)
        return rows

    def _requests(self, txn: Connection, rows: Rows, needs: Needs) -> set[int]:
        """Requests for funding, and what they need in turn: bank slip and float."""
        accounts = set()
        if needs.requests:
            for number, payload, maker, state in self._dialect.rows(txn, _REQUESTS, needs.requests):
                request = RequestRow(number, json.loads(payload), maker, state)
                rows.requests[number] = request
                accounts.add(request.payload["account"])
                needs.keys.add((FUNDING_SCOPE, request.payload["slip"]))
        return accounts

    def _phones(self, txn: Connection, rows: Rows, phones: set[str]) -> None:
        if phones:
            for msisdn, rights, *outlet in self._dialect.rows(txn, _BY_PHONE, phones):
                rows.phones[msisdn] = PhoneRow(outlet[0], rights)
                _add_outlet(rows, outlet)

    def _accounts(self, txn: Connection, rows: Rows, accounts: set[int]) -> None:
        missing = accounts - rows.accounts.keys()
        if missing:
            for outlet in self._dialect.rows(txn, _BY_FLOAT, missing):
                _add_outlet(rows, outlet)

    def _cards(self, txn: Connection, rows: Rows, needs: Needs) -> None:
        if needs.cards:
            for row in self._dialect.rows(txn, _CARDS, needs.cards):
                card = CardState(*row)
                card.bitmap = unsigned(card.bitmap)
                rows.cards[card.id] = card
        if needs.serials:
            keys = [(card_id, signed(serial)) for card_id, serial in needs.serials]
            for card_id, serial, *rest in self._dialect.rows(txn, _REPLAYS, keys):
                replay = ReplayRow(card_id, unsigned(serial), *rest)
                rows.replays[card_id, replay.serial] = replay

    def _orders(self, txn: Connection, rows: Rows, needs: Needs) -> None:
        """By key, by id, and those that spent serials point to."""
        if needs.keys:
            self._add_txns(rows, self._dialect.rows(txn, _BY_KEY, needs.keys))
        numbers = needs.orders | {replay.txn_id for replay in rows.replays.values() if replay.txn_id}
        if numbers := numbers - rows.txns.keys():
            self._add_txns(rows, self._dialect.rows(txn, _BY_ID, numbers))

    def _intents(self, txn: Connection, rows: Rows, needs: Needs, now_ms: int) -> None:
        pairs = {
            (target, rows.outlets[rows.phones[phone].outlet_id].float_id)
            for phone, target in needs.intents
            if phone in rows.phones
        }
        if pairs:
            since_ms = now_ms - self._settings.intent_window_ms
            for row in self._add_txns(rows, self._dialect.rows(txn, _INTENTS, pairs, since_ms)):
                rows.intents.setdefault((row.outlet_acct, row.msisdn), []).append(row)

    def _answers(self, txn: Connection, rows: Rows, needs: Needs) -> None:
        """What was told about final orders whose key has come again."""
        known = (rows.by_key.get(key) for key in needs.keys)
        final = [row.id for row in known if row is not None and row.state in _FINAL]
        if final:
            for order_id, topic, body in self._dialect.rows(txn, _ANSWERS, final):
                rows.answers.setdefault(order_id, (topic, json.loads(body)))

    def _usage(self, txn: Connection, rows: Rows, needs: Needs, now_ms: int) -> None:
        phones = [rows.phones[phone] for phone in needs.usage if phone in rows.phones]
        floats = {rows.outlets[phone.outlet_id].float_id: phone.outlet_id for phone in phones}
        if not floats:
            return
        since_ms = midnight_ms(now_ms, self._settings.utc_offset_min)
        for account, count, total in self._dialect.rows(txn, _TODAY, floats, since_ms):
            rows.usage[floats[account]] = Usage(count, int(total))
        for row in self._add_txns(rows, self._dialect.rows(txn, _LAST, floats)):
            rows.usage.setdefault(floats[row.outlet_acct], Usage()).last = row

    def _people(self, txn: Connection, rows: Rows, needs: Needs, now_ms: int) -> None:
        """Offences of today, customers' languages, phones to write to unasked."""
        offenders = needs.offenders | {phone for phone in needs.phones if phone not in rows.phones}
        if offenders:
            today = local_date(now_ms, self._settings.utc_offset_min)
            rows.offences.update(tuple(row) for row in self._dialect.rows(txn, _OFFENCES, offenders, today))
        customers = {rows.txns[number].msisdn for number in needs.orders if number in rows.txns}
        if customers:
            rows.languages.update(tuple(row) for row in self._dialect.rows(txn, _LANGUAGES, customers))
        if rows.requests:
            outlets = [rows.accounts[request.payload["account"]].id for request in rows.requests.values()]
            rows.first_phones.update(tuple(row) for row in self._dialect.rows(txn, _FIRST_PHONES, outlets))

    @staticmethod
    def _add_txns(rows: Rows, found: Iterable[Any]) -> list[TxnRow]:
        added = []
        for values in found:
            row = TxnRow(*values)
            row.loaded_state = row.state
            added.append(rows.add_txn(row))
        return added


def _add_outlet(rows: Rows, values: Any) -> None:
    outlet = OutletRow(*values[0:7])
    if outlet.id in rows.outlets:
        return
    rows.outlets[outlet.id] = rows.accounts[outlet.float_id] = outlet
    rows.balances[outlet.float_id] = BalanceRow(*values[7:12])
    if values[12] is not None:
        rows.credentials[outlet.id] = CredentialRow(*values[12:19])
