"""Statements: what moved on an outlet's account on one accounting day, from the opening to the closing balance.

Reckoned from the last checkpoint and the journal, never from the balance row, which it is held against.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, text

from aircharge.errors import LedgerError
from aircharge.ledger.chart import (
    JOURNAL_COMMISSION,
    JOURNAL_DISCOUNT,
    JOURNAL_SETTLE,
    commission_account,
    deposit_account,
)
from aircharge.ledger.checkpoints import balance_of, sums_through
from aircharge.ledger.cutoff import date_text
from aircharge.ledger.ids import EPOCH_MS
from aircharge.values import Operation, mask_msisdn, yuan_text

__all__ = ["ACCOUNTS", "Movement", "Recap", "Statement", "csv_text", "statement"]

ACCOUNTS: Final = ("float", "commission", "deposit")
_HEADS: Final = {
    "zh": ("时间", "流水", "业务", "号码", "存入", "支出", "余额"),
    "en": ("time", "order", "kind", "number", "in", "out", "balance"),
}
_KINDS: Final = {
    "recharge": "充值",
    "reversal": "返销",
    "funding": "资金到账",
    "withdrawal": "退款",
    "adjustment": "调账",
    "transfer": "转账",
    "deposit": "保证金",
    "payout": "佣金入账",
    "commission": "佣金转入余额",
    "batch": "批量充值",
}
"""What moved, in Chinese; English says it as ``values.Operation`` does."""
_ENDS: Final = {"zh": ("期初余额", "期末余额"), "en": ("opening", "closing")}
_SIDE: Final = """SELECT jid, at_ms, txn_id, op, {sign}amount AS fen FROM journal
    WHERE {side} = :account AND {side} >= 1000 AND jid >= :since AND biz_date = :date"""
_SIDES: Final = f"{_SIDE.format(side='dr', sign='-')} UNION ALL {_SIDE.format(side='cr', sign='')}"
"""An account's rows of a date: ``_place``."""


@dataclass(frozen=True, slots=True)
class Movement:
    """One journal row as the account's owner sees it: more than nothing came in, less went out."""

    jid: int
    at_ms: int
    order_id: int
    op: int  # JOURNAL_SETTLE …
    kind: str  # values.Operation, in small letters
    number: str  # masked; "" = none
    fen: int
    after_fen: int


@dataclass(slots=True)
class Recap:
    """The day in a few numbers, in fen. Of a float: closing = opening - paid + returned + came - went."""

    recharges: int = 0
    recharged_fen: int = 0  # at face value
    paid_fen: int = 0  # what the float paid for them
    reversals: int = 0
    reversed_fen: int = 0  # at face value
    returned_fen: int = 0  # what the float got back
    commission_fen: int = 0  # earned, by discount or at once, less what was taken back
    came_fen: int = 0  # everything else that came in …
    went_fen: int = 0  # … and went out


@dataclass(frozen=True, slots=True)
class Statement:
    """Of one account and one accounting day."""

    code: str
    account: str  # ACCOUNTS
    date: int
    opening_fen: int
    closing_fen: int
    movements: tuple[Movement, ...] = ()
    recap: Recap = field(default_factory=Recap)


def statement(txn: Connection, code: str, date: int, account: str = "float") -> Statement:
    """Raises LedgerError: no such outlet, or the journal and the balance do not agree."""
    float_id, account_id = _account(txn, code, account)
    before = sums_through(txn, account_id, date - 1)
    opening = after = before.credits - before.debits
    movements = []
    for jid, at_ms, order_id, op, kind, number, fen in _rows(txn, account_id, date):
        after += fen
        name = Operation(kind).name.lower()
        target = mask_msisdn(number) if number else ""
        movements.append(Movement(jid, at_ms, order_id, op, name, target, fen, after))
    through = sums_through(txn, account_id, date)
    _check(txn, code, account_id, after == through.credits - through.debits)
    recap = _recap(txn, float_id, date)
    for movement in movements:
        if movement.op != JOURNAL_SETTLE:
            recap.came_fen += max(movement.fen, 0)
            recap.went_fen += max(-movement.fen, 0)
    return Statement(code, account, date, opening, after, tuple(movements), recap)


def _account(txn: Connection, code: str, account: str) -> tuple[int, int]:
    """The outlet's float, and the account that is meant."""
    if account not in ACCOUNTS:
        raise LedgerError(f"no account is called {account!r}: {', '.join(ACCOUNTS)}")
    float_id = txn.execute(text("SELECT float_id FROM outlet WHERE code = :code"), {"code": code}).scalar()
    if float_id is None:
        raise LedgerError(f"no outlet {code}")
    own = {"commission": commission_account(float_id), "deposit": deposit_account(float_id)}
    return float_id, own.get(account, float_id)


def _rows(txn: Connection, account_id: int, date: int) -> list[tuple[int, int, int, int, int, str, int]]:
    """(jid, time, order, op, kind, number, signed fen) of the rows of that date, in order."""
    question = f"""SELECT j.jid, j.at_ms, j.txn_id, j.op, t.kind, t.msisdn, j.fen FROM ({_SIDES}) j
        JOIN txn t ON t.id = j.txn_id ORDER BY j.jid"""
    found = txn.execute(text(question), _place(account_id, date))
    return [(row[0], row[1], row[2], row[3], row[4], row[5], int(row[6])) for row in found]


def _place(account_id: int, date: int) -> dict[str, int]:
    """A day is cut at most one day before its date: rows of that date have no earlier numbers."""
    began = datetime(date // 10_000, date // 100 % 100, date % 100, tzinfo=UTC) - timedelta(days=2)
    since = max(int(began.timestamp() * 1000) - EPOCH_MS, 0) << 22
    return {"account": account_id, "date": date, "since": since}


def _check(txn: Connection, code: str, account_id: int, is_right: bool) -> None:
    posted = text("SELECT posted FROM balance WHERE account_id = :account")
    if not is_right or txn.execute(posted, {"account": account_id}).scalar() != balance_of(txn, account_id):
        raise LedgerError(f"the books of outlet {code} are not sound: aircharge verify")


def _recap(txn: Connection, float_id: int, date: int) -> Recap:
    """Recharges and reversals booked on that day; what they came to beside the float is looked up by order."""
    question = f"""SELECT t.kind, o.op, count(*), sum(t.amount), sum(o.amount) FROM ({_SIDES}) j
        JOIN txn t ON t.id = j.txn_id JOIN journal o ON o.txn_id = j.txn_id
        WHERE j.op = {JOURNAL_SETTLE} GROUP BY t.kind, o.op"""
    recap = Recap()
    for kind, op, count, face_fen, moved_fen in txn.execute(text(question), _place(float_id, date)):
        is_recharge = kind == Operation.RECHARGE
        if op == JOURNAL_SETTLE and is_recharge:
            recap.recharges, recap.recharged_fen, recap.paid_fen = count, int(face_fen), int(moved_fen)
        elif op == JOURNAL_SETTLE:
            recap.reversals, recap.reversed_fen, recap.returned_fen = count, int(face_fen), int(moved_fen)
        elif op in (JOURNAL_COMMISSION, JOURNAL_DISCOUNT):
            recap.commission_fen += int(moved_fen) if is_recharge else -int(moved_fen)
    return recap


def csv_text(shown: Statement, language: str = "zh", utc_offset_min: int = 480) -> str:
    """The statement as CSV, RFC 4180, amounts in yuan; to be written as UTF-8 or GB18030."""
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow(_HEADS[language])
    opening, closing = _ENDS[language]
    writer.writerow((date_text(shown.date), "", opening, "", "", "", yuan_text(shown.opening_fen)))
    for row in shown.movements:
        came = yuan_text(row.fen) if row.fen > 0 else ""
        went = yuan_text(-row.fen) if row.fen < 0 else ""
        at = datetime.fromtimestamp(row.at_ms // 1000, UTC) + timedelta(minutes=utc_offset_min)
        time = f"{at:%Y-%m-%d %H:%M:%S}"
        kind = _KINDS.get(row.kind, row.kind) if language == "zh" else row.kind
        writer.writerow((time, row.order_id, kind, row.number, came, went, yuan_text(row.after_fen)))
    writer.writerow((date_text(shown.date), "", closing, "", "", "", yuan_text(shown.closing_fen)))
    return sheet.getvalue()
