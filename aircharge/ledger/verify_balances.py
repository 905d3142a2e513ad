"""Every balance again from row 0, and every end-of-day checkpoint on the way.

The journal is read in pieces, in the order of its numbers; sums are kept by account and, until a date is past, by
date. A row's date is that of the day open when it was booked, so a date is past two days after.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection, text

from aircharge.ledger.chart import DAY_CLOSED, FIRST_ACCOUNT, HOUSE
from aircharge.ledger.cutoff import date_text, following, local_date
from aircharge.ledger.ids import id_time_ms
from aircharge.ledger.verify_postings import HOLDING, OPEN

__all__ = ["Sums", "below_floor", "unbacked_floors", "wrong_holds"]

_SHOWN: Final = 10
_UTC_MIN: Final = 0

Moved = list[int]
"""[debits, credits, last row] of an account, in fen."""


class Sums:
    """What the journal says so far."""

    def __init__(self, txn: Connection) -> None:
        self._txn = txn
        self._accounts: dict[int, Moved] = {}
        self._dates: dict[int, dict[int, Moved]] = {}  # dates that are not past
        self.rows = 0
        self.debits_fen = 0
        closed = text(f"SELECT biz_date, operator_id FROM day WHERE state = {DAY_CLOSED} ORDER BY 1, 2")
        self._closed = [(date, operator_id) for date, operator_id in txn.execute(closed)]

    def add(self, after: int, upto: int) -> Iterator[str]:
        """The rows after < jid <= upto; yields what is wrong with checkpoints."""
        for side, column in enumerate(("dr", "cr")):
            question = f"""SELECT {column}, biz_date, sum(amount), count(*), max(jid) FROM journal
                WHERE jid > :after AND jid <= :upto GROUP BY {column}, biz_date"""
            for account, date, total, count, jid in self._txn.execute(
                text(question), {"after": after, "upto": upto}
            ):
                if side == 0:
                    self.rows += count
                    self.debits_fen += int(total)
                day = self._dates.setdefault(date, {})
                _add(day.setdefault(account, [0, 0, 0]), side, int(total), jid)
        past = local_date(id_time_ms(upto), _UTC_MIN)
        for date in sorted(self._dates):
            if following(following(date)) < past:
                yield from self._pass(date)

    def finish(self) -> Iterator[str]:
        """After the last piece: the checkpoints that are left, then the balances."""
        for date in sorted(self._dates):
            yield from self._pass(date)
        yield from self._checkpoints(99_99_99_99)
        yield from self._balances()

    def posted(self, account: int) -> int:
        """Credits minus debits."""
        debits, credits, _ = self._accounts.get(account, (0, 0, 0))
        return credits - debits

    # -- dates and their checkpoints ----------------------------------------------------------------------

    def _pass(self, date: int) -> Iterator[str]:
        """A date is past: what was closed before it is compared, then its rows are added."""
        yield from self._checkpoints(date)
        for account, (debits, credits, jid) in self._dates.pop(date).items():
            kept = self._accounts.setdefault(account, [0, 0, 0])
            _add(kept, 0, debits, jid)
            _add(kept, 1, credits, jid)

    def _checkpoints(self, before: int) -> Iterator[str]:
        while self._closed and self._closed[0][0] < before:
            date, operator_id = self._closed.pop(0)
            yield from self._checkpoint(date, operator_id)

    def _checkpoint(self, date: int, operator_id: int) -> Iterator[str]:
        """Each account with its sums through that date, neither more nor fewer."""
        question = """SELECT account_id, debits, credits, thru_jid FROM eod_balance
            WHERE operator_id = :operator AND biz_date = :date ORDER BY account_id"""
        where = f"checkpoint of {date_text(date)}, operator {operator_id}"
        shown = found = 0
        for account, debits, credits, jid in self._txn.execute(
            text(question), {"operator": operator_id, "date": date}
        ):
            found += 1
            if self._accounts.get(account) != [debits, credits, jid] and shown < _SHOWN:
                shown += 1
                yield f"{where}: account {account} differs from the journal"
        expected = len(self._accounts) if operator_id == HOUSE else int(operator_id in self._accounts)
        if found != expected and not shown:
            yield f"{where}: {found} accounts, {expected} had moved"

    # -- balances -----------------------------------------------------------------------------------------

    def _balances(self) -> Iterator[str]:
        kept, shown = set(), 0
        for account, posted in self._txn.execute(
            text("SELECT account_id, posted FROM balance ORDER BY account_id")
        ):
            kept.add(account)
            if posted != self.posted(account) and shown < _SHOWN:
                shown += 1
                yield (
                    f"account {account}: balance {posted}, journal {self.posted(account)}"
                    f" (rows from {_first_row_of(self._txn, account)})"
                )
        for account in sorted(account for account in self._accounts if account >= FIRST_ACCOUNT):
            if account not in kept:
                yield f"account {account}: it has journal rows and no balance"
        self.accounts = len(kept)

    accounts = 0


def _add(moved: Moved, side: int, total: int, jid: int) -> None:
    moved[side] += total
    moved[2] = max(moved[2], jid)


def _first_row_of(txn: Connection, account: int) -> int | None:
    question = text("SELECT min(jid) FROM journal WHERE dr = :id AND dr >= 1000 OR cr = :id AND cr >= 1000")
    return txn.execute(question, {"id": account}).scalar()


def wrong_holds(txn: Connection) -> Iterator[str]:
    """What is held on an account is the cost of its open orders."""
    question = f"""SELECT b.account_id, b.held, coalesce(o.cost, 0) FROM balance b LEFT JOIN (
        SELECT outlet_acct, sum(cost) AS cost FROM txn WHERE state IN ({OPEN}) AND kind IN ({HOLDING})
        GROUP BY outlet_acct) o ON o.outlet_acct = b.account_id
        WHERE b.held <> coalesce(o.cost, 0) ORDER BY b.account_id LIMIT {_SHOWN}"""
    for account, held, cost in txn.execute(text(question)):
        yield f"account {account}: held {held}, open orders {int(cost)}"


def below_floor(txn: Connection) -> Iterator[str]:
    question = f"SELECT account_id FROM balance WHERE posted - held < floor ORDER BY 1 LIMIT {_SHOWN}"
    for (account,) in txn.execute(text(question)):
        yield f"account {account}: below its floor"


def unbacked_floors(txn: Connection) -> Iterator[str]:
    """Only a credit line lets a balance go below nothing, and only an outlet's float has one."""
    question = f"""SELECT b.account_id, b.floor FROM balance b WHERE b.floor < 0 AND NOT EXISTS (
        SELECT 1 FROM credit_line l JOIN outlet o ON o.id = l.outlet_id WHERE o.float_id = b.account_id)
        ORDER BY b.account_id LIMIT {_SHOWN}"""
    for account, floor in txn.execute(text(question)):
        yield f"account {account}: floor {floor} without a credit line"
    question = f"""SELECT b.account_id, b.floor, l.limit_fen FROM credit_line l
        JOIN outlet o ON o.id = l.outlet_id JOIN balance b ON b.account_id = o.float_id
        WHERE b.floor < -l.limit_fen AND b.floor < b.posted - b.held ORDER BY b.account_id LIMIT {_SHOWN}"""
    for account, floor, limit in txn.execute(text(question)):
        yield f"account {account}: floor {floor} below its credit line of {limit}"
