"""Commission reckoned again: each order from the price it names and its face value, each journal row from its order.

Prices are never edited, so what was paid years ago can be reckoned again. Orders are looked at in groups of the same
price, amount and commission: a few thousand groups stand for millions of orders.
"""

from __future__ import annotations

from sqlalchemy import Connection, and_, func, or_, select

from aircharge.ledger.chart import (
    COMMISSION_DISCOUNT,
    COMMISSION_INSTANT,
    JOURNAL_COMMISSION,
    JOURNAL_DISCOUNT,
)
from aircharge.ledger.policy_loading import price_of
from aircharge.ledger.pricing import cost_of, reckon
from aircharge.ledger.tables import metadata
from aircharge.values import Operation, State

__all__ = ["commission_problems"]

_t = metadata.tables
_txn, _price, _journal = _t["txn"].c, _t["price"].c, _t["journal"].c
_NAMED_MAX = 10
_ROW_OF = {COMMISSION_DISCOUNT: JOURNAL_DISCOUNT, COMMISSION_INSTANT: JOURNAL_COMMISSION}


def commission_problems(txn: Connection) -> list[str]:
    """What is wrong with the commission of recharges that were held or settled, a sentence each; nothing = sound."""
    return _wrong_orders(txn) + _wrong_rows(txn)


def _wrong_orders(txn: Connection) -> list[str]:
    """Orders whose commission is not what their price says."""
    prices = {row["id"]: price_of(row) for row in txn.execute(select(_t["price"])).mappings()}
    columns = (_txn.price_id, _txn.amount, _txn.commission_mode, _txn.commission, _txn.cost)
    recharges = and_(_txn.kind == int(Operation.RECHARGE), _txn.state != int(State.REFUSED))
    groups = select(*columns, func.min(_txn.id)).where(recharges).group_by(*columns)
    problems = []
    for price_id, amount_fen, mode, commission_fen, cost_fen, first in txn.execute(groups):
        price = prices.get(price_id)
        if price is None:
            is_right = (price_id, mode, commission_fen, cost_fen) == (0, 0, 0, amount_fen)
        else:
            due_fen = reckon(price, amount_fen)
            due = (price.mode, due_fen, cost_of(price.mode, amount_fen, due_fen))
            is_right = (mode, commission_fen, cost_fen) == due
        if not is_right:
            problems.append(
                f"order {first}: commission {commission_fen} fen is not what price {price_id} says"
            )
    return sorted(problems)[:_NAMED_MAX]


def _wrong_rows(txn: Connection) -> list[str]:
    """Settled orders whose commission is not in the journal, or otherwise than they say."""
    booked = and_(
        _journal.txn_id == _txn.id,
        or_(*(and_(_txn.commission_mode == mode, _journal.op == op) for mode, op in _ROW_OF.items())),
    )
    settled = _txn.state.in_([int(State.SETTLED), int(State.REVERSED)])
    due = and_(_txn.kind == int(Operation.RECHARGE), settled, _txn.commission_mode.in_(list(_ROW_OF)))
    found = (
        select(_txn.id)
        .select_from(_t["txn"].outerjoin(_t["journal"], booked))
        .where(due, func.coalesce(_journal.amount, 0) != _txn.commission)
    )
    return [
        f"order {order_id}: its commission is not in the journal as it says"
        for (order_id,) in txn.execute(found.order_by(_txn.id).limit(_NAMED_MAX))
    ]
