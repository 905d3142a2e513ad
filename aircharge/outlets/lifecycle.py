"""The life of an outlet: pending, active, suspended, closing, closed. Which step may follow which is one table.

A pending outlet becomes active by its first deposit (``ledger.joining``) or by a clerk. A suspended or closing one
gets no new holds, its open orders still end, and it may ask. Closed is for ever: nothing may be left on its accounts.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import delete, func, select, update

from aircharge.ledger.chart import (
    CARD_BLOCKED,
    OUTLET_ACTIVE,
    OUTLET_CLOSED,
    OUTLET_CLOSING,
    OUTLET_PENDING,
    OUTLET_SUSPENDED,
    TICKET_WAITING,
    commission_account,
    deposit_account,
)
from aircharge.ledger.tables import metadata
from aircharge.outlets.desk import Desk, RegistryError, lock_registry_txn, outlet_row
from aircharge.outlets.terminals import TERMINAL_BLOCKED
from aircharge.values import State, yuan_text

__all__ = ["ACCOUNTS_ARE", "NEXT", "STATUSES", "freeze_txn", "step_txn"]

_t = metadata.tables
_outlet, _account, _balance, _order = _t["outlet"], _t["account"], _t["balance"], _t["txn"]

STATUSES: Final = {
    OUTLET_PENDING: ("pending", "待启用"),
    OUTLET_ACTIVE: ("active", "正常"),
    OUTLET_SUSPENDED: ("suspended", "暂停"),
    OUTLET_CLOSING: ("closing", "销户中"),
    OUTLET_CLOSED: ("closed", "已销户"),
}
NEXT: Final = {
    OUTLET_PENDING: {OUTLET_ACTIVE, OUTLET_CLOSING},
    OUTLET_ACTIVE: {OUTLET_SUSPENDED, OUTLET_CLOSING},
    OUTLET_SUSPENDED: {OUTLET_ACTIVE, OUTLET_CLOSING},
    OUTLET_CLOSING: {OUTLET_SUSPENDED, OUTLET_CLOSED},  # suspended: it stays after all
    OUTLET_CLOSED: set[int](),
}
ACCOUNTS_ARE: Final = {OUTLET_SUSPENDED: 1, OUTLET_CLOSING: 1, OUTLET_CLOSED: 2}
"""``account.status``: 1 frozen, 2 closed; else 0, open."""
_ACTIONS: Final = {
    OUTLET_ACTIVE: "outlet.activate",
    OUTLET_SUSPENDED: "outlet.freeze",
    OUTLET_CLOSING: "outlet.closing",
    OUTLET_CLOSED: "outlet.close",
}


def step_txn(desk: Desk, code: str, status: int, why: str = "", *, lifting: bool = False) -> None:
    """Take an outlet to its next status. Raises RegistryError when the table or something open forbids it.

    ``lifting``: a freeze may end by it; whoever says so has made sure that two people want it.
    """
    txn = desk.txn
    lock_registry_txn(txn)
    floats = _accounts(outlet_row(txn, code).float_id)
    held = txn.execute(
        select(_balance)
        .where(_balance.c.account_id.in_(floats))
        .order_by(_balance.c.account_id)
        .with_for_update()
    )
    balances = {row.account_id: row for row in held}  # from here on no batch moves them
    row = outlet_row(txn, code)
    if row.status == status:
        raise RegistryError(f"outlet {code} is {STATUSES[status][0]} already")
    if status not in NEXT[row.status]:
        raise RegistryError(
            f"outlet {code} is {STATUSES[row.status][0]}: it cannot become {STATUSES[status][0]}"
        )
    if row.status == OUTLET_SUSPENDED and status == OUTLET_ACTIVE and not lifting:
        raise RegistryError(f"outlet {code} is frozen: outlet freeze {code} --lift, which takes two people")
    if status >= OUTLET_CLOSING:
        _check_below(desk, row)
    if status == OUTLET_CLOSED:
        _check_empty(desk, row, balances)
        _part_txn(desk, row)
    txn.execute(update(_outlet).where(_outlet.c.id == row.id).values(status=status))
    accounts_are = ACCOUNTS_ARE.get(status, 0)
    txn.execute(update(_account).where(_account.c.id.in_(floats)).values(status=accounts_are))
    more = {"why": why[:200]} if why else {}
    desk.note(_ACTIONS[status], code, before=STATUSES[row.status][0], **more)


def freeze_txn(desk: Desk, code: str, *, lift: bool = False) -> None:
    """Suspend an outlet (new orders are refused, open ones still settle), or lift that."""
    step_txn(desk, code, OUTLET_ACTIVE if lift else OUTLET_SUSPENDED, lifting=lift)


def _accounts(float_id: int) -> list[int]:
    return [float_id, commission_account(float_id), deposit_account(float_id)]


def _check_below(desk: Desk, row: Any) -> None:
    """Nobody may stand below an outlet that goes."""
    below = select(_outlet.c.code).where(_outlet.c.parent_id == row.id, _outlet.c.status != OUTLET_CLOSED)
    code = desk.txn.execute(below.order_by(_outlet.c.code).limit(1)).scalar()
    if code is not None:
        raise RegistryError(f"outlet {code} and perhaps others stand below {row.code}: move them first")


def _check_empty(desk: Desk, row: Any, balances: dict[int, Any]) -> None:
    """Nothing on float, commission and deposit, nothing held, no credit, no order and no deposit under way."""
    names = ("float", "commission account", "deposit")
    for name, account_id in zip(names, _accounts(row.float_id), strict=True):
        balance = balances[account_id]
        if balance.posted or balance.held:
            said = f"{yuan_text(balance.posted)} yuan, {yuan_text(balance.held)} held"
            raise RegistryError(f"the {name} of outlet {row.code} is not empty: {said}")
        if balance.floor:
            raise RegistryError(f"outlet {row.code} has a credit line: take it away first")
    is_open = _order.c.state.in_([int(state) for state in State if state.is_open])
    orders = select(func.count()).where(is_open, _order.c.outlet_acct == row.float_id)
    if count := desk.txn.execute(orders).scalar_one():
        raise RegistryError(f"outlet {row.code} has {count} orders that are still open")
    ticket = _t["deposit_ticket"].c
    waits = (ticket.outlet_id == row.id) & (ticket.state == TICKET_WAITING) & (ticket.until_ms > desk.now_ms)
    if desk.txn.execute(select(ticket.id).where(waits)).first() is not None:
        raise RegistryError(f"outlet {row.code} has announced a deposit that may still come")


def _part_txn(desk: Desk, row: Any) -> None:
    """Its numbers may be bound by others, its cards and terminals are blocked."""
    phone, card, terminal, profile = _t["outlet_phone"], _t["card"], _t["terminal"], _t["outlet_profile"]
    txn = desk.txn
    txn.execute(delete(phone).where(phone.c.outlet_id == row.id))
    txn.execute(update(card).where(card.c.outlet_id == row.id).values(status=CARD_BLOCKED))
    txn.execute(update(terminal).where(terminal.c.outlet_id == row.id).values(status=TERMINAL_BLOCKED))
    txn.execute(update(profile).where(profile.c.outlet_id == row.id).values(closed_ms=desk.now_ms))
