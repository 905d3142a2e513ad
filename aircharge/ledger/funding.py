"""Funding asked for by one person, confirmed by another: the request, before any money moves."""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select

from aircharge.errors import AirchargeError
from aircharge.ledger.audit import append_audit_txn
from aircharge.ledger.tables import metadata
from aircharge.values import AMOUNT_MAX_FEN

__all__ = ["FUNDING", "FundingError", "propose_txn", "waiting"]

FUNDING: Final = "funding"
_request = metadata.tables["change_request"]
_outlet = metadata.tables["outlet"]
_txn = metadata.tables["txn"]


class FundingError(AirchargeError):
    """The request cannot be made: the message says why."""


def propose_txn(txn: Connection, code: str, amount_fen: int, slip: str, *, maker: str, now_ms: int) -> int:
    """Write down a request for float; returns its number. ``slip``: the bank's own number, which counts once."""
    if not 0 < amount_fen <= AMOUNT_MAX_FEN:
        raise FundingError("the amount must be more than nothing and at most 100 million yuan")
    if not 0 < len(slip) <= 60:
        raise FundingError("the bank slip's number is missing or too long")
    account = txn.execute(select(_outlet.c.float_id).where(_outlet.c.code == code)).scalar()
    if account is None:
        raise FundingError(f"no outlet {code}")
    used = select(_txn.c.id).where(_txn.c.idem_scope == FUNDING, _txn.c.idem_key == slip)
    if txn.execute(used).first() is not None or any(item["slip"] == slip for item in waiting(txn)):
        raise FundingError(f"bank slip {slip} has been entered already")
    number = int(txn.execute(select(func.max(_request.c.id))).scalar() or 0) + 1
    payload = {"account": account, "outlet": code, "amount_fen": amount_fen, "slip": slip}
    txn.execute(
        insert(_request).values(
            id=number,
            what=FUNDING,
            payload=json.dumps(payload, sort_keys=True),
            maker=maker,
            state=0,
            made_ms=now_ms,
        )
    )
    append_audit_txn(
        txn, now_ms, maker, "funding.ask", code, {"request": number, "amount_fen": amount_fen, "slip": slip}
    )
    return number


def waiting(txn: Connection) -> list[dict[str, Any]]:
    """Requests nobody has confirmed yet."""
    c = _request.c
    rows = txn.execute(
        select(c.id, c.payload, c.maker, c.made_ms).where(c.what == FUNDING, c.state == 0).order_by(c.id)
    )
    return [{"request": row.id, **json.loads(row.payload), "maker": row.maker} for row in rows]
