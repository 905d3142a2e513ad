"""Loads the rows a batch touches: a handful of set-based SELECTs, whatever the batch's size."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection

from aircharge.ledger.asking import FUNDING_SCOPE
from aircharge.ledger.dialect import Dialect
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
from aircharge.values import State

__all__ = ["Loader", "signed", "unsigned"]

_FINAL: Final = (State.REFUSED, State.SETTLED, State.VOIDED, State.REVERSED)
_WORD: Final = 1 << 64


def signed(number: int) -> int:
    """An unsigned 64 bit number as the database keeps it."""
    return number - _WORD if number >> 63 else number


def unsigned(number: int) -> int:
    return number + _WORD if number < 0 else number


class Loader:
    """Loads within the store's transaction."""

    def __init__(self, dialect: Dialect, settings: BookSettings) -> None:
        self._dialect = dialect
        self._ask = dialect.queries
        self._settings = settings

    def load(self, txn: Connection, needs: Needs, now_ms: int) -> Rows:
        """Everything the batch's rules may look at."""
        rows = Rows()
        days = self._dialect.rows(txn, self._ask.day, ())
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
            for number, payload, maker, state in self._dialect.rows(txn, self._ask.requests, needs.requests):
                request = RequestRow(number, json.loads(payload), maker, state)
                rows.requests[number] = request
                accounts.add(request.payload["account"])
                needs.keys.add((FUNDING_SCOPE, request.payload["slip"]))
        return accounts

    def _phones(self, txn: Connection, rows: Rows, phones: set[str]) -> None:
        if phones:
            for msisdn, rights, *outlet in self._dialect.rows(txn, self._ask.by_phone, phones):
                rows.phones[msisdn] = PhoneRow(outlet[0], rights)
                _add_outlet(rows, outlet)

    def _accounts(self, txn: Connection, rows: Rows, accounts: set[int]) -> None:
        missing = accounts - rows.accounts.keys()
        if missing:
            for outlet in self._dialect.rows(txn, self._ask.by_float, missing):
                _add_outlet(rows, outlet)

    def _cards(self, txn: Connection, rows: Rows, needs: Needs) -> None:
        if needs.cards:
            for row in self._dialect.rows(txn, self._ask.cards, needs.cards):
                card = CardState(*row)
                card.bitmap = unsigned(card.bitmap)
                rows.cards[card.id] = card
        if needs.serials:
            keys = [(card_id, signed(serial)) for card_id, serial in needs.serials]
            for card_id, serial, *rest in self._dialect.rows(txn, self._ask.replays, keys):
                replay = ReplayRow(card_id, unsigned(serial), *rest)
                rows.replays[card_id, replay.serial] = replay

    def _orders(self, txn: Connection, rows: Rows, needs: Needs) -> None:
        """By key, by id, and those that spent serials point to."""
        if needs.keys:
            self._add_txns(rows, self._dialect.rows(txn, self._ask.by_key, needs.keys))
        numbers = needs.orders | {replay.txn_id for replay in rows.replays.values() if replay.txn_id}
        if numbers := numbers - rows.txns.keys():
            self._add_txns(rows, self._dialect.rows(txn, self._ask.by_id, numbers))

    def _intents(self, txn: Connection, rows: Rows, needs: Needs, now_ms: int) -> None:
        pairs = {
            (target, rows.outlets[rows.phones[phone].outlet_id].float_id)
            for phone, target in needs.intents
            if phone in rows.phones
        }
        if pairs:
            since_ms = now_ms - self._settings.intent_window_ms
            for row in self._add_txns(rows, self._dialect.rows(txn, self._ask.intents, pairs, since_ms)):
                rows.intents.setdefault((row.outlet_acct, row.msisdn), []).append(row)

    def _answers(self, txn: Connection, rows: Rows, needs: Needs) -> None:
        """What was told about final orders whose key has come again."""
        known = (rows.by_key.get(key) for key in needs.keys)
        final = [row.id for row in known if row is not None and row.state in _FINAL]
        if final:
            for order_id, topic, body in self._dialect.rows(txn, self._ask.answers, final):
                rows.answers.setdefault(order_id, (topic, json.loads(body)))

    def _usage(self, txn: Connection, rows: Rows, needs: Needs, now_ms: int) -> None:
        phones = [rows.phones[phone] for phone in needs.usage if phone in rows.phones]
        floats = {rows.outlets[phone.outlet_id].float_id: phone.outlet_id for phone in phones}
        if not floats:
            return
        since_ms = midnight_ms(now_ms, self._settings.utc_offset_min)
        for account, count, total in self._dialect.rows(txn, self._ask.today, floats, since_ms):
            rows.usage[floats[account]] = Usage(count, int(total))
        for row in self._add_txns(rows, self._dialect.rows(txn, self._ask.last, floats)):
            rows.usage.setdefault(floats[row.outlet_acct], Usage()).last = row

    def _people(self, txn: Connection, rows: Rows, needs: Needs, now_ms: int) -> None:
        """Offences of today, customers' languages, phones to write to unasked."""
        offenders = needs.offenders | {phone for phone in needs.phones if phone not in rows.phones}
        if offenders:
            today = local_date(now_ms, self._settings.utc_offset_min)
            rows.offences.update(
                tuple(row) for row in self._dialect.rows(txn, self._ask.offences, offenders, today)
            )
        customers = {rows.txns[number].msisdn for number in needs.orders if number in rows.txns}
        if customers:
            rows.languages.update(
                tuple(row) for row in self._dialect.rows(txn, self._ask.languages, customers)
            )
        if rows.requests:
            outlets = [rows.accounts[request.payload["account"]].id for request in rows.requests.values()]
            rows.first_phones.update(
                tuple(row) for row in self._dialect.rows(txn, self._ask.first_phones, outlets)
            )

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
