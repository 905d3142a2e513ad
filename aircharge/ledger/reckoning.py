"""Commission reckoned again: each order from the price it names and its face value.

Prices are never edited, so what was paid years ago can be reckoned again. Orders are looked at in groups of the same
price, amount and commission: a few thousand groups stand for millions of orders.
"""

from __future__ import annotations

from sqlalchemy import Connection, and_, func, select

from aircharge.ledger.policy_loading import price_of
from aircharge.ledger.pricing import cost_of, reckon
from aircharge.ledger.tables import metadata
from aircharge.values import Operation, State

__all__ = ["commission_problems"]

_t = metadata.tables
_txn = _t["txn"].c
_NAMED_MAX = 10


def commission_problems(txn: Connection) -> list[str]:
    """Recharges held or settled whose commission is not what their price says, a sentence each; nothing = sound.

    Whether it was booked as the order says is for ``verify_postings``.
    """
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
