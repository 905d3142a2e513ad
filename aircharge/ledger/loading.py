"""Loads the rows a batch touches: a handful of set-based SELECTs, whatever the batch's size."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, select

from aircharge.ledger import pos_proof
from aircharge.ledger.chart import (
    COMMISSION_INSTANT,
    PERIOD_TRANSACTION,
    SUBJECT_OUTLET,
    SUBJECT_PHONE,
    SUBJECT_TARGET,
    SUBJECT_TERMINAL,
    commission_account,
    deposit_account,
)
from aircharge.ledger.cutoff import local_date
from aircharge.ledger.dialect import Dialect
from aircharge.ledger.limits import counters_of, marked_counters
from aircharge.ledger.page import BookSettings
from aircharge.ledger.policy import EMPTY_POLICY, CounterKey
from aircharge.ledger.policy_loading import load_policy
from aircharge.ledger.rows import (
    BalanceRow,
    CardState,
    Charge,
    CounterRow,
    CredentialRow,
    HeardRow,
    JournalRow,
    ListRow,
    Needs,
    OutletRow,
    PhoneRow,
    ReplayRow,
    RequestRow,
    Rows,
    TxnRow,
)
from aircharge.ledger.screening import SERVED_SINCE_MS, is_guarded, neighbours
from aircharge.ledger.tables import metadata
from aircharge.values import Channel, Operation, State, terminal_of

__all__ = ["Loader", "signed", "unsigned"]

_FINAL: Final = (State.REFUSED, State.SETTLED, State.VOIDED, State.REVERSED)
_WORD: Final = 1 << 64
_REVERSALS_SINCE_MS: Final = 34 * 86_400_000  # a month, and what an open day may have of the one before
_SEALED: Final = -2  # in the answer to ``days``: not an operator's day but the last sealed row


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
        self._policy = EMPTY_POLICY

    def load(self, txn: Connection, needs: Needs, now_ms: int) -> Rows:
        """Everything the batch's rules may look at."""
        rows = Rows()
        self._days(txn, rows)
        accounts = self._requests(txn, rows, needs)
        self._phones(txn, rows, needs)
        self._cards(txn, rows, needs)
        self._orders(txn, rows, needs)
        accounts |= {row.outlet_acct for row in rows.txns.values()}
        accounts |= {row.counter_acct for row in rows.txns.values() if row.counter_acct is not None}
        self._accounts(txn, rows, accounts)
        self._reversals(txn, rows, needs, now_ms)
        self._balances(txn, rows, needs, now_ms)
        self._intents(txn, rows, needs, now_ms)
        self._answers(txn, rows, needs)
        self._last(txn, rows, needs)
        self._people(txn, rows, needs, now_ms)
        self._charges(txn, rows, needs, now_ms)
        self._served(txn, rows, needs, now_ms)
        self._proofs(txn, rows, needs)
        self._wanted(txn, rows, needs)
        return rows

    def _days(self, txn: Connection, rows: Rows) -> None:
        """Open days, and the agent's rules, read anew when their version has changed."""
        version = 0
        for operator_id, number in self._dialect.rows(txn, self._ask.days, (0,)):
            if operator_id == _SEALED:
                rows.sealed_jid = number
            elif operator_id < 0:
                version = number
            else:
                rows.days[operator_id] = number
        if version != self._policy.version:
            self._policy = load_policy(txn, version)
        rows.policy = self._policy

    def _requests(self, txn: Connection, rows: Rows, needs: Needs) -> set[int]:
        """Requests for entries by hand, and what they need in turn: reference, the outlet's accounts, credit line."""
        accounts = set()
        if needs.requests:
            for number, what, payload, *rest in self._dialect.rows(txn, self._ask.requests, needs.requests):
                request = RequestRow(number, what, json.loads(payload), *rest)
                rows.requests[number] = request
                if float_id := request.payload.get("account"):
                    accounts.add(float_id)
                    needs.accounts |= {commission_account(float_id), deposit_account(float_id)}
                    needs.wanted.add(("credit_line", "outlet_id", float_id))
                if "slip" in request.payload:
                    needs.keys.add((request.payload.get("scope", what), request.payload["slip"]))
        return accounts

    def _phones(self, txn: Connection, rows: Rows, needs: Needs) -> None:
        """Outlets, by the phones and terminals that ask and by their codes."""
        terminals = {asker for asker in needs.phones if terminal_of(asker)}
        for question, askers in (
            (self._ask.by_phone, needs.phones - terminals),
            (self._ask.by_terminal, terminals),
        ):
            if not askers:
                continue
            for asker, rights, status, from_ms, made_ms, *outlet in self._dialect.rows(txn, question, askers):
                rows.phones[asker] = PhoneRow(outlet[0], rights, status, from_ms, made_ms)
                _add_outlet(rows, outlet)
        if needs.codes:
            for outlet in self._dialect.rows(txn, self._ask.by_code, needs.codes):
                found = _add_outlet(rows, outlet)
                rows.codes[found.code] = found

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
        if needs.heard:
            for values in self._dialect.rows(txn, self._ask.heard, needs.heard):
                row = HeardRow(*values)
                rows.heard.setdefault((row.phone, row.words), []).append(row)
        numbers = needs.orders | {replay.txn_id for replay in rows.replays.values() if replay.txn_id}
        numbers |= {row.txn_id for said in rows.heard.values() for row in said if row.txn_id}
        if numbers := numbers - rows.txns.keys():
            self._add_txns(rows, self._dialect.rows(txn, self._ask.by_id, numbers))
        if originals := {row.orig_txn for row in rows.txns.values() if row.orig_txn} - rows.txns.keys():
            self._add_txns(rows, self._dialect.rows(txn, self._ask.by_id, originals))

    def _reversals(self, txn: Connection, rows: Rows, needs: Needs, now_ms: int) -> None:
        """What the outlets of orders that are to be taken back have taken back of late."""
        floats = {rows.txns[number].outlet_acct for number in needs.reversals if number in rows.txns}
        if floats:
            since_ms = now_ms - _REVERSALS_SINCE_MS
            for row in self._add_txns(
                rows, self._dialect.rows(txn, self._ask.reversals, sorted(floats), since_ms)
            ):
                rows.reversals.setdefault(row.outlet_acct, []).append(row)

    def _balances(self, txn: Connection, rows: Rows, needs: Needs, now_ms: int) -> None:
        """Accounts beside the floats, what lines lend now, the journal rows of orders that are taken back."""
        wanted = set(needs.accounts)
        earners = (rows.phones[phone].outlet_id for phone in needs.earners if phone in rows.phones)
        wanted |= {commission_account(rows.outlets[number].float_id) for number in earners}
        for row in rows.txns.values():
            if row.commission_mode == COMMISSION_INSTANT and row.is_live:
                wanted.add(commission_account(row.outlet_acct))
        if wanted := wanted - rows.balances.keys():
            for values in self._dialect.rows(txn, self._ask.balances, sorted(wanted)):
                rows.balances[values[0]] = BalanceRow(*values)
        if indebted := [row.account_id for row in rows.balances.values() if row.floor < 0]:
            for account, limit_fen in self._dialect.rows(txn, self._ask.lines, indebted, now_ms):
                rows.balances[account].line_fen = limit_fen
        taken_back = {row.orig_txn for row in rows.txns.values() if row.orig_txn and row.is_open}
        if journals := needs.journals | taken_back:
            for values in self._dialect.rows(txn, self._ask.journal, journals):
                rows.journal.setdefault(values[1], []).append(JournalRow(*values))

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

    @staticmethod
    def _proofs(txn: Connection, rows: Rows, needs: Needs) -> None:
        """Of terminals' sales whose key has come again: the MAC each came under."""
        for key in sorted(needs.keys):
            row = rows.by_key.get(key)
            if row is not None and row.channel == Channel.POS:
                needs.wanted.add((pos_proof.TABLE, "txn_id", row.id))

    def _answers(self, txn: Connection, rows: Rows, needs: Needs) -> None:
        """What was told about final orders whose key has come again."""
        known = (rows.by_key.get(key) for key in needs.keys)
        final = [row.id for row in known if row is not None and row.state in _FINAL]
        if final:
            for order_id, topic, body in self._dialect.rows(txn, self._ask.answers, final):
                rows.answers.setdefault(order_id, (topic, json.loads(body)))
                rows.told_n[order_id] = rows.told_n.get(order_id, 0) + 1

    def _last(self, txn: Connection, rows: Rows, needs: Needs) -> None:
        phones = [rows.phones[phone] for phone in needs.last if phone in rows.phones]
        floats = {rows.outlets[phone.outlet_id].float_id: phone.outlet_id for phone in phones}
        if floats:
            for row in self._add_txns(rows, self._dialect.rows(txn, self._ask.last, floats)):
                rows.last[floats[row.outlet_acct]] = row

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
        requested = (request.payload.get("account") for request in rows.requests.values())
        outlets = {rows.accounts[account].id for account in requested if account in rows.accounts}
        outlets |= {outlet.id for outlet in rows.codes.values()}
        others = (row.counter_acct for row in rows.txns.values())
        outlets |= {rows.accounts[account].id for account in others if account in rows.accounts}
        at_terminals = (row.outlet_acct for row in rows.txns.values() if terminal_of(row.asker))
        outlets |= {rows.accounts[account].id for account in at_terminals if account in rows.accounts}
        if outlets:
            rows.first_phones.update(
                tuple(row) for row in self._dialect.rows(txn, self._ask.first_phones, outlets)
            )

    def _charges(self, txn: Connection, rows: Rows, needs: Needs, now_ms: int) -> None:
        """Counters and list entries of whatever is to be counted or given back."""
        needs.charges |= {
            Charge(asker, operation, rows.txns[order_id].msisdn, terminal_of(asker))
            for asker, operation, order_id in needs.order_charges
            if order_id in rows.txns
        }
        keys: set[CounterKey] = set()
        offset_min = self._settings.utc_offset_min
        if rows.policy.limits or rows.policy.tallies:
            for charge in needs.charges:
                if phone := rows.phones.get(charge.phone):
                    outlet = rows.outlets[phone.outlet_id]
                    keys.update(counters_of(rows.policy, outlet, charge, now_ms, offset_min))
        for row in rows.txns.values():
            if row.counted and row.is_live:
                keys.update(marked_counters(row, rows.accounts[row.outlet_acct], offset_min))
        keys = {key for key in keys if key[3] != PERIOD_TRANSACTION}
        if keys:
            for *key, n, total_fen in self._dialect.rows(txn, self._ask.counters, keys):
                rows.counters[tuple(key)] = CounterRow(n, total_fen)
        if rows.policy.listed and needs.charges:
            values = {pair for charge in needs.charges for pair in self._listed(rows, charge)}
            for subject, value, *entry in self._dialect.rows(txn, self._ask.lists, values):
                rows.lists[subject, value] = ListRow(*entry)

    def _served(self, txn: Connection, rows: Rows, needs: Needs, now_ms: int) -> None:
        """How often outlets have served these numbers of late; for new ones also the numbers next to them."""
        if not rows.policy.guard and not rows.policy.asks_first_time:
            return
        pairs = {}
        for charge in needs.charges:
            phone = rows.phones.get(charge.phone)
            if phone and charge.operation == Operation.RECHARGE:
                pairs[charge.target, rows.outlets[phone.outlet_id].float_id] = rows.outlets[phone.outlet_id]
        since_ms = now_ms - SERVED_SINCE_MS
        self._count_served(txn, rows, pairs, since_ms)
        new = [pair for pair in pairs if not rows.served.get((pair[1], pair[0]))]
        guarded = [pair for pair in new if is_guarded(rows.policy, pairs[pair])]
        self._count_served(
            txn,
            rows,
            [(near, account) for target, account in guarded for near in neighbours(target)],
            since_ms,
        )

    def _count_served(
        self, txn: Connection, rows: Rows, pairs: Iterable[tuple[str, int]], since_ms: int
    ) -> None:
        if pairs:
            for target, account, n in self._dialect.rows(txn, self._ask.served, pairs, since_ms):
                rows.served[account, target] = n

    @staticmethod
    def _listed(rows: Rows, charge: Charge) -> set[tuple[int, str]]:
        """What may be on a list: the asking phone, its outlet, the terminal, the target."""
        phone = rows.phones.get(charge.phone)
        return {
            (subject, value)
            for subject, value in (
                (SUBJECT_PHONE, charge.phone),
                (SUBJECT_TARGET, charge.target),
                (SUBJECT_TERMINAL, charge.terminal),
                (SUBJECT_OUTLET, rows.outlets[phone.outlet_id].code if phone else ""),
            )
            if value
        }

    @staticmethod
    def _wanted(txn: Connection, rows: Rows, needs: Needs) -> None:
        """Rare rows as mappings, locked where the engine locks rows."""
        for name, column, value in sorted(needs.wanted, key=str):
            table = metadata.tables[name]
            found = select(table).where(table.c[column] == value).order_by(*table.primary_key)
            rows.found[name, column, value] = [
                dict(row) for row in txn.execute(found.with_for_update()).mappings()
            ]

    @staticmethod
    def _add_txns(rows: Rows, found: Iterable[Any]) -> list[TxnRow]:
        added = []
        for values in found:
            row = TxnRow(*values)
            row.loaded_state = row.state
            added.append(rows.add_txn(row))
        return added


def _add_outlet(rows: Rows, values: Any) -> OutletRow:
    """Outlet, float and PIN, in the order of ``queries.OUTLET_COLUMNS``; one object each."""
    known = rows.outlets.get(values[0])
    if known is not None:
        return known
    outlet = OutletRow(*values[0:13])
    rows.outlets[outlet.id] = rows.accounts[outlet.float_id] = outlet
    rows.balances[outlet.float_id] = BalanceRow(*values[13:18])
    if values[18] is not None:
        rows.credentials[outlet.id] = CredentialRow(*values[18:27])
    return outlet
