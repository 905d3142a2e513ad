"""The audit trail: every staff action and security alarm, each row hashed over the one before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select

from aircharge.ledger.tables import metadata

__all__ = ["append_audit_txn", "append_audits_txn", "first_bad_audit"]

_audit = metadata.tables["audit"]
_GENESIS = bytes(32)
_PIECE = 10_000
_AUDIT_LOCK = 0x41434155  # "ACAU"


def append_audit_txn(
    txn: Connection, at_ms: int, actor: str, action: str, thing: str, detail: dict[str, Any]
) -> None:
    """Append one row within the caller's transaction (which must be a writing one: rows are numbered)."""
    append_audits_txn(txn, at_ms, actor, [(action, thing, detail)])


def append_audits_txn(
    txn: Connection, at_ms: int, actor: str, entries: Sequence[tuple[str, str, dict[str, Any]]]
) -> None:
    """Append a row for each (action, thing, detail) of one person and one time, in one statement."""
    if txn.dialect.name == "postgresql":  # several daemons write: one after the other, until their commits
        txn.execute(select(func.pg_advisory_xact_lock(_AUDIT_LOCK)))
    last = txn.execute(select(_audit.c.seq, _audit.c.hash).order_by(_audit.c.seq.desc()).limit(1)).first()
    before, previous = (last.seq, last.hash) if last else (0, _GENESIS)
    rows = []
    for seq, (action, thing, detail) in enumerate(entries, before + 1):
        row = {
            "seq": seq,
            "at_ms": at_ms,
            "actor": actor[:64],
            "action": action[:64],
            "object": thing[:128],
            "detail": json.dumps(detail, ensure_ascii=False, sort_keys=True, separators=(",", ":")),
            "prev_hash": previous,
        }
        previous = _hash(row)
        rows.append({**row, "hash": previous})
    if rows:
        txn.execute(insert(_audit), rows)


def _hash(row: dict[str, Any]) -> bytes:
    fields = [row["seq"], row["at_ms"], row["actor"], row["action"], row["object"], row["detail"]]
    return hashlib.sha256(row["prev_hash"] + json.dumps(fields, ensure_ascii=False).encode()).digest()


def first_bad_audit(txn: Connection) -> int | None:
    """The number of the first row that was changed, moved or taken out; None when the chain holds."""
    previous, expected = _GENESIS, 1
    piece = select(_audit).where(_audit.c.seq > bindparam("after")).order_by(_audit.c.seq).limit(_PIECE)
    while rows := txn.execute(piece, {"after": expected - 1}).mappings().all():
        for row in rows:
            if row["seq"] != expected or row["prev_hash"] != previous or row["hash"] != _hash(dict(row)):
                return expected
            previous, expected = row["hash"], expected + 1
    count = txn.execute(select(func.count()).select_from(_audit)).scalar_one()
    return None if count == expected - 1 else expected
