"""The tree of outlets: province, city, distributor, outlet. Who stands below whom, and how that came about.

A parent's level is always higher (a smaller number), so the tree is at most four deep and has no cycle. Every change
is made under one lock, and ``outlet_move`` keeps each parent an outlet has had.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, func, insert, literal, select, update

from aircharge.ledger.chart import (
    LEVEL_CITY,
    LEVEL_DISTRIBUTOR,
    LEVEL_OUTLET,
    LEVEL_PROVINCE,
    OUTLET_CLOSING,
)
from aircharge.ledger.tables import metadata
from aircharge.outlets.desk import Desk, RegistryError, lock_registry_txn, open_row, outlet_row

__all__ = ["LEVELS", "ancestors", "check_place", "downline", "move_txn", "moves"]

_t = metadata.tables
_outlet, _balance, _order, _move = _t["outlet"], _t["balance"], _t["txn"], _t["outlet_move"]
LEVELS: Final = {
    LEVEL_PROVINCE: ("province", "省"),
    LEVEL_CITY: ("city", "市"),
    LEVEL_DISTRIBUTOR: ("distributor", "代理商"),
    LEVEL_OUTLET: ("outlet", "网点"),
}
"""Each level's name, English and Chinese."""


def check_place(code: str, level: int, parent_code: str, parent_level: int, parent_status: int) -> None:
    """Raises RegistryError unless an outlet of that level may stand below that parent."""
    if parent_code == code:
        raise RegistryError(f"outlet {code} cannot stand below itself")
    if parent_status >= OUTLET_CLOSING:
        raise RegistryError(f"outlet {parent_code} is being closed or closed: nobody is put below it")
    if parent_level >= level:
        raise RegistryError(
            f"{code} is {_a(level)}: it cannot stand below {parent_code}, {_a(parent_level)}; {_cure(level)}"
        )


def _a(level: int) -> str:
    word = LEVELS[level][0]
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def _cure(level: int) -> str:
    """What to do where a parent is not high enough."""
    higher = [names[0] for at, names in LEVELS.items() if at < level]
    if not higher:
        return "a province stands below nobody"
    return f"name a parent that is a {' or a '.join(higher)}, or raise that one first (outlet move, --level)"


def move_txn(desk: Desk, code: str, parent_code: str, *, level: int | None = None) -> None:
    """Put an outlet, with all below it, under another parent ("" = none); ``level`` changes its own."""
    txn = desk.txn
    lock_registry_txn(txn)
    row = open_row(txn, code)
    level = row.level if level is None else level
    if level not in LEVELS:
        raise RegistryError(f"level {level}: 1 province, 2 city, 3 distributor, 4 outlet")
    parent_id = None
    if parent_code:
        parent = outlet_row(txn, parent_code)
        if parent.id != row.id and row.id in ancestors(txn, parent.id):
            raise RegistryError(f"a cycle: {parent_code} stands below {code}")
        check_place(code, level, parent.code, parent.level, parent.status)
        parent_id = parent.id
    lowest = txn.execute(select(func.min(_outlet.c.level)).where(_outlet.c.parent_id == row.id)).scalar()
    if lowest is not None and lowest <= level:
        raise RegistryError(
            f"below {code} stands a {LEVELS[lowest][0]}: it cannot become a {LEVELS[level][0]}"
        )
    if (parent_id, level) == (row.parent_id, row.level):
        raise RegistryError(f"outlet {code} stands there already")
    txn.execute(update(_outlet).where(_outlet.c.id == row.id).values(parent_id=parent_id, level=level))
    if parent_id != row.parent_id:
        note_move(desk, row.id, parent_id)
    before = _code_of(txn, row.parent_id)
    desk.note(
        "outlet.move", code, parent=[before, parent_code], level=[LEVELS[row.level][0], LEVELS[level][0]]
    )


def note_move(desk: Desk, outlet_id: int, parent_id: int | None) -> None:
    """A row of the history; two moves within one millisecond keep their order."""
    last = desk.txn.execute(select(func.max(_move.c.since_ms)).where(_move.c.outlet_id == outlet_id)).scalar()
    since_ms = max(desk.now_ms, int(last or 0) + 1)
    values = {"outlet_id": outlet_id, "since_ms": since_ms, "parent_id": parent_id}
    desk.txn.execute(insert(_move).values(**values, actor=desk.actor[:64]))


def ancestors(txn: Connection, outlet_id: int) -> list[int]:
    """Who stands above, nearest first. Raises RegistryError when the tree is broken."""
    found: list[int] = []
    above: Any = outlet_id
    for _ in LEVELS:
        above = txn.execute(select(_outlet.c.parent_id).where(_outlet.c.id == above)).scalar()
        if above is None:
            return found
        found.append(int(above))
    raise RegistryError(f"outlet number {outlet_id} has more above it than there are levels")


def downline(txn: Connection, code: str) -> list[dict[str, Any]]:
    """All below an outlet, each with its float in fen, its depth and when it last had an order (ms, or None)."""
    top = outlet_row(txn, code)
    below = (
        select(_outlet.c.id, _outlet.c.code, _outlet.c.parent_id)
        .add_columns(literal(1).label("depth"))
        .where(_outlet.c.parent_id == top.id)
        .cte("below", recursive=True)
    )
    next_one = select(_outlet.c.id, _outlet.c.code, _outlet.c.parent_id, below.c.depth + 1).join(
        below, _outlet.c.parent_id == below.c.id
    )
    below = below.union_all(next_one.where(below.c.depth < len(LEVELS)))
    last = (
        select(func.max(_order.c.created_ms))
        .where(_order.c.outlet_acct == _outlet.c.float_id)
        .scalar_subquery()
    )
    columns = (_outlet.c.code, _outlet.c.name, _outlet.c.level, _outlet.c.status, _balance.c.posted)
    parent = _outlet.alias("parent")
    found = (
        select(*columns, _balance.c.held, _balance.c.floor, below.c.depth, last.label("last_ms"))
        .add_columns(parent.c.code.label("parent"))
        .join(below, below.c.id == _outlet.c.id)
        .join(parent, parent.c.id == _outlet.c.parent_id)
        .join(_balance, _balance.c.account_id == _outlet.c.float_id)
        .order_by(below.c.depth, _outlet.c.code)
    )
    return [dict(row) for row in txn.execute(found).mappings()]


def moves(txn: Connection, code: str) -> list[dict[str, Any]]:
    """Where an outlet has stood, oldest first: since_ms, parent ("" = none), actor."""
    row = outlet_row(txn, code)
    found = (
        select(_move.c.since_ms, func.coalesce(_outlet.c.code, "").label("parent"), _move.c.actor)
        .outerjoin(_outlet, _outlet.c.id == _move.c.parent_id)
        .where(_move.c.outlet_id == row.id)
        .order_by(_move.c.since_ms)
    )
    return [dict(row) for row in txn.execute(found).mappings()]


def _code_of(txn: Connection, outlet_id: int | None) -> str:
    if outlet_id is None:
        return ""
    return str(txn.execute(select(_outlet.c.code).where(_outlet.c.id == outlet_id)).scalar_one())
