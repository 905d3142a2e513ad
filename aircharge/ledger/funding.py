"""Entries asked for by one person, to be confirmed by another: the request, before any money moves.

What may be entered is ``entries.ENTRIES``; the second person's word is ``entries.Enter``. Every request is a row of the
audit. Bad input is a ``FundingError`` that says what is wrong; nothing has changed then.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select

from aircharge.errors import AirchargeError
from aircharge.ledger.asked import LIFE_MS
from aircharge.ledger.audit import append_audit_txn
from aircharge.ledger.batch_file import Totals
from aircharge.ledger.chart import COMMISSION_MONTHLY, JOURNAL_SETTLE, KIND_STOCK, SUSPENSE
from aircharge.ledger.credit import CREDIT
from aircharge.ledger.cutoff import local_date
from aircharge.ledger.entries import BANK, BATCH, ENTRIES, FUNDING
from aircharge.ledger.tables import metadata
from aircharge.values import AMOUNT_MAX_FEN, Operation, State, yuan_text

__all__ = [
    "BANK",
    "BATCH",
    "CREDIT",
    "FUNDING",
    "EntryForm",
    "FundingError",
    "propose_bank_txn",
    "propose_batch_txn",
    "propose_credit_txn",
    "propose_entry_txn",
    "propose_payouts_txn",
    "propose_txn",
    "waiting",
]

_t = metadata.tables
_request, _outlet, _txn, _journal = _t["change_request"], _t["outlet"], _t["txn"], _t["journal"]
_batch = _t["batch"]
_CREDIT_DAYS_MAX: Final = 366
_HALF_DAY_MS: Final = 43_200_000


class FundingError(AirchargeError):
    """The request cannot be made: the message says why."""


@dataclass(frozen=True, slots=True)
class EntryForm:
    """An entry as a clerk writes it. ``reference``: the bank slip, letter or order it rests on; it counts once."""

    what: str  # a key of ``entries.ENTRIES``
    amount_fen: int
    reference: str
    code: str = ""  # the outlet, where an account of an outlet moves
    operator_id: int = 0  # the operator, where its stock moves
    reason: str = ""


def propose_txn(txn: Connection, code: str, amount_fen: int, slip: str, *, maker: str, now_ms: int) -> int:
    """Write down a request for float; returns its number. ``slip``: the bank's own number, which counts once."""
    return propose_entry_txn(txn, EntryForm(FUNDING, amount_fen, slip, code), maker=maker, now_ms=now_ms)


def propose_entry_txn(txn: Connection, form: EntryForm, *, maker: str, now_ms: int) -> int:
    """Write down a request for an entry; returns its number."""
    entry = ENTRIES.get(form.what)
    if entry is None:
        raise FundingError(f"no entry is called {form.what!r}; there are: {', '.join(ENTRIES)}")
    if not 0 < form.amount_fen <= min(entry.max_fen, AMOUNT_MAX_FEN):
        raise FundingError("the amount must be more than nothing and at most 100 million yuan")
    if not 0 < len(form.reference) <= 60:
        raise FundingError(f"the {entry.reference}'s number is missing or too long")
    if form.reference != form.reference.strip() or not form.reference.isprintable():
        raise FundingError(f"the {entry.reference}'s number has a blank at an end, or what nobody can see")
    payload: dict[str, Any] = {"amount_fen": form.amount_fen, "slip": form.reference}
    scope = entry.scope or form.what
    if entry.scope:
        payload["scope"] = entry.scope
    if entry.of_outlet:
        payload |= {"account": _float_of(txn, form.code), "outlet": form.code}
    elif form.code:
        raise FundingError(f"{form.what} moves no account of an outlet")
    if entry.of_operator:
        payload["operator"] = _stock_of(txn, form.operator_id)
    if scope == "suspense":
        _check_suspense(txn, form)
    if form.reason:
        payload["reason"] = form.reason[:200]
    if form.reference in _used(txn, scope, [form.reference], now_ms):
        raise FundingError(f"{entry.reference} {form.reference} has been entered already")
    return _write(txn, form.what, payload, maker=maker, now_ms=now_ms)


def propose_credit_txn(
    txn: Connection, code: str, limit_fen: int, until_ms: int, *, maker: str, now_ms: int
) -> int:
    """Write down a request for a credit line (0 = take it away) until a time; returns its number."""
    if not 0 <= limit_fen <= AMOUNT_MAX_FEN:
        raise FundingError("a credit line is at least nothing and at most 100 million yuan")
    if limit_fen and not now_ms < until_ms <= now_ms + _CREDIT_DAYS_MAX * 86_400_000:
        raise FundingError("a credit line ends within a year from now")
    payload = {"account": _float_of(txn, code), "outlet": code, "limit_fen": limit_fen, "until_ms": until_ms}
    return _write(txn, CREDIT, payload, maker=maker, now_ms=now_ms)


def propose_payouts_txn(
    txn: Connection, month: int, *, maker: str, now_ms: int, utc_offset_min: int = 480
) -> list[int]:
    """A request for every outlet that has earned month-end commission in ``month`` (yyyymm); returns their numbers.

    Reckoned from the recharges that were settled on an accounting date of that month and stand. Left out, so that it
    may be repeated, are outlets whose commission of that month was asked for before, and those with a reversal that
    is still open: it may yet take a recharge of the month away.
    """
    first, last = month * 100 + 1, month * 100 + 31
    if not (2020 <= month // 100 <= 2199 and 1 <= month % 100 <= 12):
        raise FundingError(f"{month} is no month: yyyymm")
    if local_date(now_ms - _HALF_DAY_MS, utc_offset_min) <= last:  # a day may be cut as late as noon
        raise FundingError(f"month {month} is not over")
    open_states = [int(state) for state in State if state.is_open]
    unsure = select(_txn.c.outlet_acct).where(
        _txn.c.kind == int(Operation.REVERSAL), _txn.c.state.in_(open_states)
    )
    earned = (
        select(_outlet.c.float_id, _outlet.c.code, func.sum(_txn.c.commission).label("fen"))
        .join(_txn, _txn.c.outlet_acct == _outlet.c.float_id)
        .join(_journal, (_journal.c.txn_id == _txn.c.id) & (_journal.c.op == JOURNAL_SETTLE))
        .where(
            _txn.c.kind == int(Operation.RECHARGE),
            _txn.c.state == int(State.SETTLED),
            _txn.c.commission_mode == COMMISSION_MONTHLY,
            _txn.c.commission > 0,
            _journal.c.biz_date.between(first, last),
            _outlet.c.float_id.not_in(unsure.correlate(None)),
        )
        .group_by(_outlet.c.float_id, _outlet.c.code)
        .order_by(_outlet.c.code)
    )
    rows = [(row.float_id, row.code, int(row.fen)) for row in txn.execute(earned)]
    used = _used(txn, "payout", [f"{code}:{month}" for _, code, _ in rows], now_ms)
    requests = []
    for account, code, fen in rows:
        slip = f"{code}:{month}"
        if slip not in used:
            payload = {"account": account, "outlet": code, "amount_fen": fen, "slip": slip, "month": month}
            requests.append(_write(txn, "payout", payload, maker=maker, now_ms=now_ms))
    return requests


def propose_batch_txn(
    txn: Connection, code: str, name: str, file_hash: bytes, sums: Totals, *, maker: str, now_ms: int
) -> int:
    """Write down a request to start a file of recharges; returns its number. The same file is asked for once."""
    if not sums.valid:
        raise FundingError("no line of the file is a recharge")
    account, digest = _float_of(txn, code), file_hash.hex()
    used = select(_batch.c.id).where(_batch.c.outlet_id == account, _batch.c.file_hash == file_hash)
    asked = waiting(txn, [BATCH], now_ms)
    same = (item for item in asked if (item["account"], item["file"]) == (account, digest))
    if txn.execute(used).first() is not None or next(same, None) is not None:
        raise FundingError(f"this file has been entered already for {code}")
    payload = {
        "account": account,
        "outlet": code,
        "file": digest,
        "name": name[:64],
        "lines": sums.valid,
        "amount_fen": sums.amount_fen,
    }
    return _write(txn, BATCH, payload, maker=maker, now_ms=now_ms)


def propose_bank_txn(
    txn: Connection, name: str, file_hash: bytes, lines: int, amount_fen: int, *, maker: str, now_ms: int
) -> int:
    """Write down a request to book a bank's file; returns its number. The same file is asked for once at a time."""
    digest = file_hash.hex()
    if any(item["file"] == digest for item in waiting(txn, [BANK], now_ms)):
        raise FundingError("this file has been entered already")
    payload = {"file": digest, "name": name[:64], "lines": lines, "amount_fen": amount_fen}
    return _write(txn, BANK, payload, maker=maker, now_ms=now_ms)


def waiting(txn: Connection, kinds: Iterable[str] = (FUNDING,), now_ms: int = 0) -> list[dict[str, Any]]:
    """Requests nobody has confirmed yet, of these kinds; with ``now_ms`` only those that still may be."""
    c = _request.c
    rows = txn.execute(
        select(c.id, c.what, c.payload, c.maker, c.made_ms)
        .where(c.what.in_(list(kinds)), c.state == 0, c.made_ms >= now_ms - LIFE_MS)
        .order_by(c.id)
    )
    return [
        {"request": row.id, "what": row.what, **json.loads(row.payload), "maker": row.maker} for row in rows
    ]


def _used(txn: Connection, scope: str, marks: list[str], now_ms: int) -> set[str]:
    """Which of these references are booked, or wait to be."""
    kinds = [what for what, entry in ENTRIES.items() if (entry.scope or what) == scope]
    found = {item["slip"] for item in waiting(txn, kinds, now_ms)}
    for start in range(0, len(marks), 500):
        chunk = marks[start : start + 500]
        booked = select(_txn.c.idem_key).where(_txn.c.idem_scope == scope, _txn.c.idem_key.in_(chunk))
        found |= set(txn.execute(booked).scalars())
    return found


def _float_of(txn: Connection, code: str) -> int:
    account = txn.execute(select(_outlet.c.float_id).where(_outlet.c.code == code)).scalar()
    if account is None:
        raise FundingError(f"no outlet {code}")
    return int(account)


def _stock_of(txn: Connection, operator_id: int) -> int:
    account = _t["account"]
    found = select(account.c.id).where(account.c.id == operator_id, account.c.kind == KIND_STOCK)
    if txn.execute(found).first() is None:
        raise FundingError(f"no operator {operator_id}")
    return operator_id


def _check_suspense(txn: Connection, form: EntryForm) -> None:
    """What leaves suspense is one sum that came in, whole: its order is the reference, in one way of writing only.

    A second way (full-width digits, a nought before) would be another reference, and the sum would leave twice.
    """
    number = int(form.reference) if form.reference.isdecimal() and len(form.reference) <= 19 else 0
    if number >= 1 << 63 or form.reference != str(number):
        number = 0
    came = select(_txn.c.amount).where(
        _txn.c.id == number, _txn.c.outlet_acct == SUSPENSE, _txn.c.kind == int(Operation.FUNDING)
    )
    amount_fen = txn.execute(came).scalar()
    if amount_fen is None:
        raise FundingError(f"order {form.reference} brought nothing into suspense")
    if amount_fen != form.amount_fen:
        raise FundingError(
            f"order {form.reference} brought {yuan_text(amount_fen)} yuan: all of it or nothing"
        )


def _write(txn: Connection, what: str, payload: dict[str, Any], *, maker: str, now_ms: int) -> int:
    number = int(txn.execute(select(func.max(_request.c.id))).scalar() or 0) + 1
    values = {"id": number, "what": what, "payload": json.dumps(payload, sort_keys=True), "maker": maker}
    txn.execute(insert(_request).values(**values, state=0, made_ms=now_ms))
    thing = str(payload.get("outlet") or payload.get("operator") or what)
    shown = {name: value for name, value in payload.items() if name not in ("account", "outlet")}
    append_audit_txn(txn, now_ms, maker, f"{what}.ask", thing, {"request": number, **shown})
    return number
