"""The terminals that stand at an outlet: added, blocked, moved to another."""

from __future__ import annotations

import re
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from aircharge.ledger.tables import metadata
from aircharge.outlets.desk import Desk, RegistryError, lock_registry_txn, open_row

__all__ = [
    "TERMINAL_ACTIVE",
    "TERMINAL_BLOCKED",
    "add_terminal_txn",
    "block_terminal_txn",
    "check_terminal",
    "move_terminal_txn",
    "terminals_of",
]

_terminal, _outlet = metadata.tables["terminal"], metadata.tables["outlet"]
_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,15}")
_KIND: Final = re.compile(r"[a-z][a-z0-9-]{0,15}")
TERMINAL_ACTIVE, TERMINAL_BLOCKED = 1, 2


def check_terminal(code: str, kind: str) -> None:
    """Raises RegistryError unless both have the right form."""
    if not _CODE.fullmatch(code):
        raise RegistryError(f"terminal {code!r}: 1 to 16 letters, digits, - and _")
    if not _KIND.fullmatch(kind):
        raise RegistryError(f"kind of terminal {kind!r}: 1 to 16 small letters, digits and -")


def add_terminal_txn(desk: Desk, code: str, terminal: str, kind: str = "pos") -> int:
    """Put a new terminal at an outlet; returns its number."""
    check_terminal(terminal, kind)
    outlet = open_row(desk.txn, code)
    lock_registry_txn(desk.txn)
    if desk.txn.execute(select(_terminal.c.id).where(_terminal.c.code == terminal)).first() is not None:
        raise RegistryError(f"terminal {terminal} exists already")
    number = int(desk.txn.execute(select(func.max(_terminal.c.id))).scalar() or 0) + 1
    values = {"id": number, "code": terminal, "outlet_id": outlet.id, "kind": kind}
    desk.txn.execute(insert(_terminal).values(**values, status=TERMINAL_ACTIVE, created_ms=desk.now_ms))
    desk.note("terminal.add", terminal, outlet=code, kind=kind)
    return number


def block_terminal_txn(desk: Desk, terminal: str, *, lift: bool = False) -> None:
    """Refuse a terminal, or lift that."""
    row = _row(desk.txn, terminal)
    status = TERMINAL_ACTIVE if lift else TERMINAL_BLOCKED
    if row.status == status:
        raise RegistryError(f"terminal {terminal} is {'active' if lift else 'blocked'} already")
    desk.txn.execute(update(_terminal).where(_terminal.c.id == row.id).values(status=status))
    desk.note("terminal.unblock" if lift else "terminal.block", terminal)


def move_terminal_txn(desk: Desk, terminal: str, code: str) -> None:
    """A terminal now stands at another outlet."""
    row = _row(desk.txn, terminal)
    outlet = open_row(desk.txn, code)
    if outlet.id == row.outlet_id:
        raise RegistryError(f"terminal {terminal} stands at {code} already")
    before = desk.txn.execute(select(_outlet.c.code).where(_outlet.c.id == row.outlet_id)).scalar_one()
    desk.txn.execute(update(_terminal).where(_terminal.c.id == row.id).values(outlet_id=outlet.id))
    desk.note("terminal.move", terminal, outlet=[before, code])


def terminals_of(txn: Connection, outlet_id: int) -> list[dict[str, Any]]:
    found = select(_terminal).where(_terminal.c.outlet_id == outlet_id).order_by(_terminal.c.code)
    return [dict(row) for row in txn.execute(found).mappings()]


def _row(txn: Connection, terminal: str) -> Any:
    row = txn.execute(select(_terminal).where(_terminal.c.code == terminal)).first()
    if row is None:
        raise RegistryError(f"no terminal {terminal}")
    return row
