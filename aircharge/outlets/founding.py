"""New outlets, one or forty thousand: rows of every table they need, in one statement a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select

from aircharge.ledger.chart import (
    FIRST_ACCOUNT,
    KIND_COMMISSION,
    KIND_DEPOSIT,
    KIND_FLOAT,
    NORMAL_SIDE,
    commission_account,
    deposit_account,
)
from aircharge.ledger.dialect import dialect_of
from aircharge.ledger.tables import metadata
from aircharge.outlets.desk import Desk, lock_registry_txn
from aircharge.outlets.fields import FIELDS, Field
from aircharge.outlets.lifecycle import ACCOUNTS_ARE
from aircharge.outlets.terminals import TERMINAL_ACTIVE

__all__ = ["Plan", "found_txn"]

_t = metadata.tables
_OF_OUTLET: Final = tuple(field for field in FIELDS if not field.profile)
_OF_PROFILE: Final = tuple(field for field in FIELDS if field.profile)
_ACCOUNTS: Final = (
    (KIND_FLOAT, int),
    (KIND_COMMISSION, commission_account),
    (KIND_DEPOSIT, deposit_account),
)


@dataclass(slots=True)
class Plan:
    """An outlet to be, all of it checked. ``parent``: a code, of one that is there or is founded before it."""

    code: str
    values: Mapping[str, Any]  # by field name
    parent: str = ""
    phones: Sequence[tuple[str, int]] = ()  # national digits and rights
    terminals: Sequence[tuple[str, str]] = ()  # code and kind
    outlet_id: int = 0  # known once it is founded; its float has the same number


def found_txn(desk: Desk, plans: Sequence[Plan], parents: Mapping[str, int]) -> None:
    """Write outlets with accounts (nothing on them), profiles, phones and terminals; parents before children.

    ``parents``: numbers of the outlets that are there already, by code. No PIN and no audit row: the caller's.
    """
    _open_accounts(desk, plans)
    known = dict(parents) | {plan.code: plan.outlet_id for plan in plans}
    rows = [
        (p.outlet_id, p.code, p.outlet_id, desk.now_ms, known.get(p.parent), *_values(p, _OF_OUTLET))
        for p in plans
    ]
    columns = ", ".join(field.column for field in _OF_OUTLET)
    _insert(desk, "outlet", f"id, code, float_id, created_ms, parent_id, {columns}", rows)
    rows = [(p.outlet_id, desk.now_ms, *_values(p, _OF_PROFILE)) for p in plans]
    columns = ", ".join(field.column for field in _OF_PROFILE)
    _insert(desk, "outlet_profile", f"outlet_id, opened_ms, {columns}", rows)
    actor = desk.actor[:64]
    rows = [(p.outlet_id, desk.now_ms, known[p.parent], actor) for p in plans if p.parent]
    _insert(desk, "outlet_move", "outlet_id, since_ms, parent_id, actor", rows)
    rows = [(digits, p.outlet_id, rights, desk.now_ms) for p in plans for digits, rights in p.phones]
    _insert(desk, "outlet_phone", "msisdn, outlet_id, rights, created_ms", rows)
    last = int(desk.txn.execute(select(func.max(_t["terminal"].c.id))).scalar() or 0)
    placed = [(code, p.outlet_id, kind) for p in plans for code, kind in p.terminals]
    rows = [(last + n, *row, TERMINAL_ACTIVE, desk.now_ms) for n, row in enumerate(placed, 1)]
    _insert(desk, "terminal", "id, code, outlet_id, kind, status, created_ms", rows)


def _values(plan: Plan, fields: Sequence[Field]) -> list[Any]:
    return [plan.values[field.name] for field in fields]


def _open_accounts(desk: Desk, plans: Sequence[Plan]) -> None:
    """Float, commission and frozen deposit of each, with a balance of nothing; numbers the plans."""
    lock_registry_txn(desk.txn)
    account = _t["account"].c
    highest = desk.txn.execute(select(func.max(account.id)).where(account.kind == KIND_FLOAT)).scalar()
    first = max(int(highest or 0) + 1, FIRST_ACCOUNT)
    for float_id, plan in enumerate(plans, first):
        plan.outlet_id = float_id
    numbers = [
        (
            number(plan.outlet_id),
            kind,
            plan.outlet_id,
            NORMAL_SIDE[kind],
            ACCOUNTS_ARE.get(plan.values["status"], 0),
            desk.now_ms,
        )
        for kind, number in _ACCOUNTS
        for plan in plans
    ]
    _insert(desk, "account", "id, kind, owner_id, normal_side, status, created_ms", numbers)
    _insert(desk, "balance", "account_id", [row[:1] for row in numbers])


def _insert(desk: Desk, table: str, columns: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        dialect_of(desk.txn.engine).insert(desk.txn, table, columns, rows)
