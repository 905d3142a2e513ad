"""What an outlet may ask of its own orders, as the facts of the reply. Reads only; who may ask is the book's to say."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, case, func, select

from aircharge.errors import Reason
from aircharge.ledger.tables import metadata
from aircharge.values import Operation, State

__all__ = ["history_of", "order_of", "outlet_of", "recap_of", "status_of", "today_of"]

_t = metadata.tables
_txn, _phone, _outlet = _t["txn"], _t["outlet_phone"], _t["outlet"]
_NUMBER_DIGITS: Final = 11
_TAIL_MAX: Final = 8
_ID_MAX: Final = 2**63 - 1
_HISTORY_MAX: Final = 3
_ASKED: Final = (Operation.RECHARGE, Operation.REVERSAL, Operation.TRANSFER)


def status_of(txn: Connection, phone: str, about: str, since_ms: int) -> dict[str, Any]:
    """The newest order of the phone's outlet since then: by whole id, its last digits, or the target's number.

    ``order_id`` 0: there is none.
    """
    c = _txn.c
    if len(about) == _NUMBER_DIGITS:
        is_meant = c.msisdn == about
    elif len(about) <= _TAIL_MAX:
        is_meant = c.id % 10 ** len(about) == int(about)
    else:
        is_meant = c.id == min(int(about[-19:]), _ID_MAX)
    kinds = [int(kind) for kind in _ASKED]
    found = (
        select(_txn)
        .where(c.outlet_acct == _float_of(phone), c.created_ms >= since_ms, c.kind.in_(kinds), is_meant)
        .order_by(c.created_ms.desc(), c.id.desc())
    )
    row = txn.execute(found.limit(1)).mappings().first()
    return _order(row) if row is not None else {"order_id": 0}


def order_of(txn: Connection, phone: str, about: str, since_ms: int) -> tuple[int, Operation] | None:
    """Id and kind of the phone's outlet's newest recharge or transfer since then whose id ends so."""
    c = _txn.c
    kinds = [int(Operation.RECHARGE), int(Operation.TRANSFER)]
    is_meant = c.id % 10 ** len(about) == int(about)
    found = (
        select(c.id, c.kind)
        .where(c.outlet_acct == _float_of(phone), c.created_ms >= since_ms, c.kind.in_(kinds), is_meant)
        .order_by(c.created_ms.desc(), c.id.desc())
    )
    row = txn.execute(found.limit(1)).first()
    return (int(row[0]), Operation(row[1])) if row is not None else None


def history_of(txn: Connection, phone: str) -> dict[str, Any]:
    """The last few orders, newest first, as ``lines``."""
    c = _txn.c
    found = (
        select(_txn)
        .where(c.outlet_acct == _float_of(phone), c.kind == int(Operation.RECHARGE))
        .order_by(c.created_ms.desc(), c.id.desc())
    )
    return {"lines": [_order(row) for row in txn.execute(found.limit(_HISTORY_MAX)).mappings()]}


def recap_of(txn: Connection, phone: str, from_ms: int, until_ms: int) -> dict[str, Any]:
    """Counts and sums of a local day: settled recharges, reversals, commission kept, and what is still open."""
    c = _txn.c
    is_recharge, is_reversal = c.kind == int(Operation.RECHARGE), c.kind == int(Operation.REVERSAL)
    settled = is_recharge & c.state.in_([int(State.SETTLED), int(State.REVERSED)])
    reversed_ = is_recharge & (c.state == int(State.REVERSED))
    kept = is_recharge & (c.state == int(State.SETTLED))
    still_open = is_recharge & c.state.in_([int(state) for state in State if state.is_open])

    def total(condition: Any, value: Any) -> Any:
        return func.coalesce(func.sum(case((condition, value), else_=0)), 0)

    sums = select(
        total(settled, 1),
        total(settled, c.amount),
        total(reversed_, 1),
        total(reversed_, c.amount),
        total(kept, c.commission),
        total(still_open, 1),
    ).where(
        c.outlet_acct == _float_of(phone),
        c.created_ms >= from_ms,
        c.created_ms < until_ms,
        is_recharge | is_reversal,
    )
    names = ("day_n", "day_fen", "reversed_n", "reversed_fen", "earned_fen", "open_n")
    [row] = txn.execute(sums)
    return {"day_ms": from_ms, **dict(zip(names, map(int, row), strict=True))}


def today_of(txn: Connection, phone: str, since_ms: int) -> dict[str, Any]:
    """How many live recharges (settled and open) the phone's outlet has made since then, and their sum in fen."""
    c = _txn.c
    states = [int(state) for state in State if state.is_open or state is State.SETTLED]
    sums = select(func.count(), func.coalesce(func.sum(c.amount), 0)).where(
        c.outlet_acct == _float_of(phone),
        c.created_ms >= since_ms,
        c.kind == int(Operation.RECHARGE),
        c.state.in_(states),
    )
    [(count, total)] = txn.execute(sums)
    return {"today_n": int(count), "today_fen": int(total)}


def outlet_of(txn: Connection, phone: str) -> int:
    """The outlet a number is bound to, 0 = none."""
    found = select(_phone.c.outlet_id).where(_phone.c.msisdn == phone)
    return int(txn.execute(found).scalar() or 0)


def _float_of(phone: str) -> Any:
    join = _phone.join(_outlet, _outlet.c.id == _phone.c.outlet_id)
    return select(_outlet.c.float_id).select_from(join).where(_phone.c.msisdn == phone).scalar_subquery()


def _order(row: Any) -> dict[str, Any]:
    return {
        "order_id": row["id"],
        "target": row["msisdn"],
        "amount_fen": row["amount"],
        "at_ms": row["created_ms"],
        "state": State(row["state"]).name,
        "reason": Reason.by_number(row["reason"]).name,
    }
