"""Closing an accounting day: the sums of every account through that date are written down and held against the books.

A day that was cut gets no more rows (``days``), so its sums are final. They are reckoned from the checkpoint before it
and the rows between, in a reading transaction; writing them down takes small ones. Nothing waits for it.

The house's checkpoint (operator 0) has every account that ever moved, and is made when every operator's day of that
date has been cut. An operator's has his stock alone, and is made as soon as his own day has been cut.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, insert, text

from aircharge.errors import LedgerError
from aircharge.ledger.audit import append_audit_txn
from aircharge.ledger.chart import DAY_CLOSED, DAY_CUTTING, DAY_OPEN, FIRST_ACCOUNT, HOUSE
from aircharge.ledger.cutoff import date_text
from aircharge.ledger.singletons import changing, only_one
from aircharge.ledger.tables import metadata
from aircharge.ledger.verify_postings import HOLDING, OPEN

__all__ = ["Checkpoint", "balance_of", "closable", "close_day", "reckon", "sums_through"]

_CHUNK: Final = 500
_eod = metadata.tables["eod_balance"]


@dataclass(slots=True)
class Checkpoint:
    """An account's sums since its first row, in fen, up to and with row ``thru_jid``."""

    debits: int = 0
    credits: int = 0
    thru_jid: int = 0
    held: int = 0  # on the float when the day was closed: a picture, it is nobody's sum

    def add(self, side: str, total: int, jid: int) -> None:
        if side == "dr":
            self.debits += total
        else:
            self.credits += total
        self.thru_jid = max(self.thru_jid, jid)


def closable(txn: Connection) -> list[tuple[int, int]]:
    """Days that were cut and not closed, (operator, date), in the order they can be closed in."""
    question = f"""SELECT d.operator_id, d.biz_date FROM day d WHERE d.state = {DAY_CUTTING}
        AND (d.operator_id <> {HOUSE} OR NOT EXISTS (
            SELECT 1 FROM day o WHERE o.state = {DAY_OPEN} AND o.biz_date <= d.biz_date))
        ORDER BY d.biz_date, d.operator_id DESC"""
    return [(operator_id, date) for operator_id, date in txn.execute(text(question))]


def close_day(engine: Engine, operator_id: int, date: int, now_ms: int, actor: str) -> list[str]:
    """Write the checkpoint, then mark the day closed. Returns what speaks against it; nothing = it is closed.

    May be repeated after it was interrupted. Raises LedgerError when it cannot be closed now, Taken when another is
    at it.
    """
    with only_one(engine, "close"):
        with engine.connect() as txn:
            if (operator_id, date) not in closable(txn):
                raise LedgerError(f"{date_text(date)} of operator {operator_id} cannot be closed now")
            checkpoints = reckon(txn, operator_id, date)
            problems = _against_balances(txn, checkpoints, date) if operator_id == HOUSE else []
        if problems:
            return problems
        for chunk in _chunks(sorted(checkpoints.items())):
            with changing(engine) as txn:
                _keep(txn, operator_id, date, chunk)
        with changing(engine) as txn:
            _mark_closed(txn, operator_id, date, now_ms, actor, len(checkpoints))
        return []


def reckon(txn: Connection, operator_id: int, date: int) -> dict[int, Checkpoint]:
    """Every account's sums through that date: the checkpoint before it, and the rows since."""
    since = _last_date(txn, operator_id, date - 1)
    checkpoints = _kept(txn, operator_id, since)
    _add_rows(txn, checkpoints, since, date, None if operator_id == HOUSE else operator_id)
    question = f"""SELECT outlet_acct, sum(cost) FROM txn
        WHERE state IN ({OPEN}) AND kind IN ({HOLDING}) AND biz_date <= :date GROUP BY outlet_acct"""
    if operator_id == HOUSE:
        for account, held in txn.execute(text(question), {"date": date}):
            checkpoints.setdefault(account, Checkpoint()).held = int(held)
    return {account: kept for account, kept in checkpoints.items() if kept.thru_jid}


def sums_through(txn: Connection, account_id: int, date: int) -> Checkpoint:
    """One account's sums through a date: the house's last checkpoint until then, and the rows since."""
    since = _last_date(txn, HOUSE, date)
    kept = _kept(txn, HOUSE, since, account_id)
    _add_rows(txn, kept, since, date, account_id)
    return kept.get(account_id, Checkpoint())


def balance_of(txn: Connection, account_id: int) -> int:
    """Credits minus debits of any account until now, in fen: the only balance that a system's account has."""
    sums = sums_through(txn, account_id, 9999_12_31)
    return sums.credits - sums.debits


def _last_date(txn: Connection, operator_id: int, upto: int) -> int:
    """The last day closed until that date, 0 = none."""
    question = f"""SELECT max(biz_date) FROM day
        WHERE operator_id = :operator AND state = {DAY_CLOSED} AND biz_date <= :upto"""
    return int(txn.execute(text(question), {"operator": operator_id, "upto": upto}).scalar() or 0)


def _kept(
    txn: Connection, operator_id: int, date: int, account_id: int | None = None
) -> dict[int, Checkpoint]:
    mine = "AND account_id = :account" if account_id is not None else ""
    question = f"""SELECT account_id, debits, credits, thru_jid FROM eod_balance
        WHERE operator_id = :operator AND biz_date = :date {mine}"""
    values = {"operator": operator_id, "date": date, "account": account_id}
    return {
        account: Checkpoint(debits, credits, jid)
        for account, debits, credits, jid in txn.execute(text(question), values)
    }


def _add_rows(
    txn: Connection, sums: dict[int, Checkpoint], since: int, upto: int, account_id: int | None
) -> None:
    """The rows dated since < date <= upto, of one account or of all."""
    for side in ("dr", "cr"):
        mine = f"AND {side} = :account" if account_id is not None else ""
        if account_id is not None and account_id >= FIRST_ACCOUNT:  # the index of outlets' accounts
            mine += f" AND {side} >= {FIRST_ACCOUNT}"
        question = f"""SELECT {side}, sum(amount), max(jid) FROM journal
            WHERE biz_date > :since AND biz_date <= :upto {mine} GROUP BY {side}"""
        values = {"since": since, "upto": upto, "account": account_id}
        for account, total, jid in txn.execute(text(question), values):
            sums.setdefault(account, Checkpoint()).add(side, int(total), jid)


def _against_balances(txn: Connection, checkpoints: dict[int, Checkpoint], date: int) -> list[str]:
    """What the checkpoints and the rows dated later come to is what the balances say."""
    now = {account: Checkpoint(kept.debits, kept.credits) for account, kept in checkpoints.items()}
    _add_rows(txn, now, date, 9999_12_31, None)
    problems = []
    for account, posted in txn.execute(text("SELECT account_id, posted FROM balance ORDER BY account_id")):
        sums = now.get(account, Checkpoint())
        if posted != sums.credits - sums.debits:
            problems.append(f"account {account}: balance {posted}, journal {sums.credits - sums.debits}")
    return problems


def _keep(txn: Connection, operator_id: int, date: int, chunk: list[tuple[int, Checkpoint]]) -> None:
    """What an interrupted closing has written already stays: the sums are the same."""
    known = text("""SELECT account_id FROM eod_balance WHERE operator_id = :operator AND biz_date = :date
        AND account_id BETWEEN :first AND :last""")
    place = {"operator": operator_id, "date": date, "first": chunk[0][0], "last": chunk[-1][0]}
    there = set(txn.execute(known, place).scalars())
    rows = [
        {
            "operator_id": operator_id,
            "biz_date": date,
            "account_id": account,
            "debits": kept.debits,
            "credits": kept.credits,
            "held": kept.held,
            "thru_jid": kept.thru_jid,
        }
        for account, kept in chunk
        if account not in there
    ]
    if rows:
        txn.execute(insert(_eod), rows)


def _mark_closed(txn: Connection, operator_id: int, date: int, now_ms: int, actor: str, count: int) -> None:
    values: dict[str, Any] = {"operator": operator_id, "date": date, "now": now_ms}
    question = "SELECT count(*) FROM eod_balance WHERE operator_id = :operator AND biz_date = :date"
    found = txn.execute(text(question), values).scalar_one()
    if found != count:
        raise LedgerError(f"checkpoint of {date_text(date)}: {found} of {count} accounts are written")
    statement = f"""UPDATE day SET state = {DAY_CLOSED}, closed_ms = :now
        WHERE operator_id = :operator AND biz_date = :date AND state = {DAY_CUTTING}"""
    if txn.execute(text(statement), values).rowcount != 1:
        raise LedgerError(f"{date_text(date)} of operator {operator_id} was closed by somebody else")
    detail = {"date": date, "accounts": count}
    append_audit_txn(txn, now_ms, actor, "day.close", f"operator {operator_id}", detail)


def _chunks(rows: list[tuple[int, Checkpoint]]) -> Iterable[list[tuple[int, Checkpoint]]]:
    for first in range(0, len(rows), _CHUNK):
        yield rows[first : first + _CHUNK]
