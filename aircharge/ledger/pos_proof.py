"""The MAC under which a terminal's sale came: it tells a message sent again from another one of the same trace. Pure.

Batch and trace are the key of a sale, and a terminal whose traces start over (replaced, or its memory lost) uses one
twice. The message itself tells: whoever sends the same octets again sends the same MAC. Where another message has come
under a sale's trace, an automatic reversal of that trace is ambiguous, and nothing is taken back by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aircharge.ledger.page import Page
from aircharge.ledger.rows import RowChange, TxnRow

__all__ = ["TABLE", "has_clashed", "is_other", "keep", "mark_clash"]

TABLE: Final = "pos_proof"


def _of(page: Page, order_id: int) -> dict[str, Any] | None:
    found = page.rows.found.get((TABLE, "txn_id", order_id), [])
    return found[0] if found else None


def keep(page: Page, row: TxnRow, mac: bytes) -> None:
    """Remember the MAC of the message that made this order."""
    values: dict[str, Any] = {"txn_id": row.id, "mac": mac, "clashed_ms": None}
    page.changes.rare.append(RowChange(TABLE, dict(values)))
    page.rows.found[TABLE, "txn_id", row.id] = [values]


def is_other(page: Page, row: TxnRow, mac: bytes) -> bool:
    """Whether this MAC is of another message than the one that made the order; False where none was kept."""
    kept = _of(page, row.id)
    return bool(mac) and kept is not None and kept["mac"] != mac


def mark_clash(page: Page, row: TxnRow) -> None:
    """Another message than its own has come under the order's trace."""
    kept = _of(page, row.id)
    if kept is None or kept["clashed_ms"] is not None:
        return
    met: Mapping[str, Any] = {"txn_id": row.id, "clashed_ms": None}
    kept["clashed_ms"] = page.now_ms
    page.changes.rare.append(RowChange(TABLE, {"clashed_ms": page.now_ms}, dict(met)))


def has_clashed(page: Page, row: TxnRow) -> bool:
    """Whether a reversal of this trace may mean another message than the order's."""
    kept = _of(page, row.id)
    return kept is not None and kept["clashed_ms"] is not None
