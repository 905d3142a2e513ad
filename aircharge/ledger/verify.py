"""Verify: every balance again from row 0, every order against its posting; the first bad row is named."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, case, func, literal_column, select, text, union_all

from aircharge.ledger.audit import first_bad_audit
from aircharge.ledger.chart import JOURNAL_FUNDING, JOURNAL_SETTLE
from aircharge.ledger.tables import metadata
from aircharge.values import Operation, State

__all__ = ["VerifyReport", "verify"]

_t = metadata.tables
_txn, _journal, _balance, _account = _t["txn"], _t["journal"], _t["balance"], _t["account"]
_POSTING = {Operation.RECHARGE: JOURNAL_SETTLE, Operation.FUNDING: JOURNAL_FUNDING}


@dataclass
class VerifyReport:
    """How much was looked at, and what is wrong (nothing = sound)."""

    rows: int = 0
    accounts: int = 0
    orders: int = 0
    debits_fen: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not self.problems


def verify(txn: Connection) -> VerifyReport:
    """Check the whole book within one snapshot; amounts in fen."""
    report = VerifyReport()
    report.rows = txn.execute(select(func.count()).select_from(_journal)).scalar_one()
    report.orders = txn.execute(select(func.count()).select_from(_txn)).scalar_one()
    report.debits_fen = int(txn.execute(select(func.sum(_journal.c.amount))).scalar() or 0)
    _check_balances(txn, report)
    _check_postings(txn, report)
    bad = first_bad_audit(txn)
    if bad is not None:
        report.problems.append(f"audit row {bad} was changed, moved or taken out")
    return report


def _check_balances(txn: Connection, report: VerifyReport) -> None:
    debits = select(_journal.c.dr.label("id"), (-_journal.c.amount).label("fen"))
    credits = select(_journal.c.cr.label("id"), _journal.c.amount.label("fen"))
    moves = union_all(debits, credits).subquery()
    totals = select(moves.c.id, func.sum(moves.c.fen)).group_by(moves.c.id)
    posted = {account: int(fen) for account, fen in txn.execute(totals)}
    open_states = [int(state) for state in State if state.is_open]
    holds = (
        select(_txn.c.outlet_acct, func.sum(_txn.c.cost))
        .where(_txn.c.state.in_(open_states))
        .group_by(_txn.c.outlet_acct)
    )
    held = {account: int(fen) for account, fen in txn.execute(holds)}
    if sum(posted.values()):
        report.problems.append("total debits and credits differ")
    for row in txn.execute(select(_balance).order_by(_balance.c.account_id)):
        report.accounts += 1
        if row.posted != posted.get(row.account_id, 0):
            first = _first_row_of(txn, row.account_id)
            report.problems.append(
                f"account {row.account_id}: balance {row.posted}, "
                f"journal {posted.get(row.account_id, 0)} (rows from {first})"
            )
        if row.held != held.get(row.account_id, 0):
            report.problems.append(
                f"account {row.account_id}: held {row.held}, open orders {held.get(row.account_id, 0)}"
            )
        if row.posted - row.held < row.floor:
            report.problems.append(f"account {row.account_id}: below its floor")


def _first_row_of(txn: Connection, account_id: int) -> int | None:
    mine = (_journal.c.dr == account_id) | (_journal.c.cr == account_id)
    return txn.execute(select(func.min(_journal.c.jid)).where(mine)).scalar()


def _check_postings(txn: Connection, report: VerifyReport) -> None:
    """Each settled order has its one posting of the right amount between the right accounts, and the reverse."""
    op = case(*((_txn.c.kind == int(kind), code) for kind, code in _POSTING.items()), else_=0)
    is_settle = _txn.c.kind == int(Operation.RECHARGE)
    dr = case((is_settle, _txn.c.outlet_acct), else_=_journal.c.dr)
    cr = case((is_settle, _txn.c.operator_id), else_=_txn.c.outlet_acct)
    fits = (
        (_journal.c.txn_id == _txn.c.id)
        & (_journal.c.op == op)
        & (_journal.c.amount == _txn.c.cost)
        & (_journal.c.dr == dr)
        & (_journal.c.cr == cr)
    )
    joined = _txn.outerjoin(_journal, fits)
    settled = _txn.c.state == int(State.SETTLED)
    wrong = (
        select(_txn.c.id)
        .select_from(joined)
        .where(settled != _journal.c.jid.isnot(None), _txn.c.kind.in_(list(_POSTING)))
    )
    for (order_id,) in txn.execute(wrong.order_by(_txn.c.id).limit(10)):
        report.problems.append(f"order {order_id}: its state and its posting disagree")
    unowned = (
        select(_journal.c.jid)
        .select_from(_journal.outerjoin(_txn, _txn.c.id == _journal.c.txn_id))
        .where(literal_column("txn.id").is_(None) | _txn.c.state.not_in((State.SETTLED, State.REVERSED)))
    )
    for (jid,) in txn.execute(unowned.order_by(_journal.c.jid).limit(10)):
        report.problems.append(f"journal row {jid}: its order is not settled")
    if txn.dialect.name == "sqlite":
        state = txn.execute(text("PRAGMA integrity_check(1)")).scalar()
        if state != "ok":
            report.problems.append(f"database file: {state}")
