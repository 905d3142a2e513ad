"""Which messages of several parts were left waiting: read at start and as time passes."""

from __future__ import annotations

from sqlalchemy import Connection, or_, select

from aircharge.ledger.parts import WaitingParts
from aircharge.ledger.tables import metadata

__all__ = ["waiting_parts"]


def waiting_parts(txn: Connection, node: int, before_ms: int) -> list[WaitingParts]:
    """What this node left behind, and what any has left since before a time: nobody joins it any more."""
    table = metadata.tables["unjoined"]
    c = table.c
    rows = txn.execute(select(table).where(or_(c.node == node, c.came_ms < before_ms)).order_by(c.came_ms))
    return [
        WaitingParts(row.source, row.destination, row.ref, bool(row.wide), row.total, row.centre)
        for row in rows
    ]
