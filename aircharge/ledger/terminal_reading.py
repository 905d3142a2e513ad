"""What is read of payment terminals' orders: by trace, by batch, and the automatic reversals still to be fulfilled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select

from aircharge.errors import Reason
from aircharge.ledger.chart import CANCEL_WANTED
from aircharge.ledger.reversing import AUTOMATIC, PASSING
from aircharge.ledger.tables import metadata
from aircharge.ledger.terminals import Totals
from aircharge.values import Key, Operation, State, as_terminal

__all__ = ["BatchLine", "WantedCancel", "batch_lines", "order_under", "sale_key", "totals", "wanted_cancels"]

_t = metadata.tables
_txn, _wish = _t["txn"], _t["pos_reversal"]
_TRACES: Final = 10**6


def sale_key(terminal: str, batch: int, trace: int) -> Key:
    """What makes a terminal's request the same one: batch (DE 60.2) and trace number (DE 11), six digits each."""
    return Key(as_terminal(terminal), f"{batch:06d}{trace:06d}")


def order_under(txn: Connection, key: Key) -> int:
    """The order that was recorded under a key, 0 = none."""
    c = _txn.c
    found = select(c.id).where(c.idem_scope == key.scope, c.idem_key == key.mark)
    return int(txn.execute(found).scalar() or 0)


@dataclass(frozen=True, slots=True)
class BatchLine:
    """A sale or a void of a terminal's batch that counts in its settlement."""

    trace: int
    order_id: int
    amount_fen: int
    is_void: bool


def batch_lines(txn: Connection, terminal: str, batch: int) -> list[BatchLine]:
    """Settled sales (also those the terminal voided later) and settled voids; what it took back does not count."""
    c, scope = _txn.c, as_terminal(terminal)
    first, last = sale_key(terminal, batch, 0).mark, sale_key(terminal, batch, _TRACES - 1).mark
    void = _txn.alias("void")
    taken_back = select(_wish.c.txn_id).where(_wish.c.txn_id == c.id, _wish.c.state == CANCEL_WANTED).exists()
    voided = (
        select(void.c.id)
        .where(void.c.orig_txn == c.id, void.c.idem_scope == scope, void.c.state == int(State.SETTLED))
        .exists()
    )
    settled, is_sale = c.state == int(State.SETTLED), c.kind == int(Operation.RECHARGE)
    counts = (is_sale & settled & ~taken_back) | (is_sale & (c.state == int(State.REVERSED)) & voided)
    counts |= (c.kind == int(Operation.REVERSAL)) & settled
    found = (
        select(c.idem_key, c.id, c.amount, c.kind)
        .where(c.idem_scope == scope, c.idem_key >= first, c.idem_key <= last, counts)
        .order_by(c.idem_key)
    )
    return [
        BatchLine(int(mark) % _TRACES, order_id, amount_fen, kind == Operation.REVERSAL)
        for mark, order_id, amount_fen, kind in txn.execute(found)
    ]


def totals(lines: list[BatchLine]) -> Totals:
    """What a settlement compares."""
    sales = [line.amount_fen for line in lines if not line.is_void]
    voids = [line.amount_fen for line in lines if line.is_void]
    return Totals(len(sales), sum(sales), len(voids), sum(voids))


@dataclass(frozen=True, slots=True)
class WantedCancel:
    """A recharge its terminal took back, as it stands. ``tries``: reversals opened for that before."""

    order_id: int
    operator_id: int
    state: State
    tries: int = 0
    is_open: bool = False  # one of them is under way
    has_failed: bool = False  # one of them was refused, and not just for want of a line


def wanted_cancels(txn: Connection, limit: int = 200) -> list[WantedCancel]:
    """Those whose recharge is at an end, oldest first."""
    c = _txn.c
    open_states = [int(state) for state in State if state.is_open]
    found = (
        select(c.id, c.operator_id, c.state)
        .join(_wish, _wish.c.txn_id == c.id)
        .where(_wish.c.state == CANCEL_WANTED, c.state.not_in(open_states))
        .order_by(_wish.c.made_ms, c.id)
        .limit(limit)
    )
    wanted = [
        WantedCancel(number, operator_id, State(state)) for number, operator_id, state in txn.execute(found)
    ]
    return [_with_tries(txn, wish) if wish.state is State.SETTLED else wish for wish in wanted]


def _with_tries(txn: Connection, wish: WantedCancel) -> WantedCancel:
    c = _txn.c
    scope = f"{AUTOMATIC}{wish.order_id}"
    tried = txn.execute(select(c.state, c.reason).where(c.idem_scope == scope)).all()
    others = txn.execute(
        select(func.count()).where(
            c.orig_txn == wish.order_id, c.state.in_([int(state) for state in State if state.is_open])
        )
    ).scalar_one()
    failed = [
        row
        for row in tried
        if row.state in (State.REFUSED, State.VOIDED) and Reason.by_number(row.reason) not in PASSING
    ]
    return WantedCancel(wish.order_id, wish.operator_id, wish.state, len(tried), bool(others), bool(failed))
