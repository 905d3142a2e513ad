"""Orders the desk asks for on an outlet's behalf: tried when they are asked for, worded for the book at the yes."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, select

from aircharge.errors import AirchargeError
from aircharge.ledger.chart import OUTLET_ACTIVE, PHONE_ACTIVE
from aircharge.ledger.on_behalf import OrderFor, key_for
from aircharge.ledger.pending import free_sums, tickets_waiting
from aircharge.ledger.tables import metadata
from aircharge.ledger.tickets import AskTicket
from aircharge.ledger.transferring import Transfer
from aircharge.values import AMOUNT_MAX_FEN, Asker, Channel

__all__ = ["OnBehalfError", "check_on_behalf_txn", "order_for"]

_outlet, _phone, _order = (metadata.tables[name] for name in ("outlet", "outlet_phone", "txn"))
_REFERENCE_MAX = 64
_SUMS = 8  # exact sums a ticket may take, should others be quicker


class OnBehalfError(AirchargeError):
    """It cannot be ordered on that outlet's behalf: the message says why."""


def check_on_behalf_txn(txn: Connection, what: str, payload: Mapping[str, Any]) -> None:
    """Raises OnBehalfError: no such outlet or receiver, no phone, no amount, the reference is used or missing."""
    reference = payload["reference"]
    if not 0 < len(reference.strip()) <= _REFERENCE_MAX or reference != reference.strip():
        raise OnBehalfError(f"a reference has 1 to {_REFERENCE_MAX} characters")
    if not reference.isprintable():
        raise OnBehalfError("the reference has characters nobody can see")
    if not 0 < payload["amount_fen"] <= AMOUNT_MAX_FEN:
        raise OnBehalfError("the amount is more than nothing and within what an order can have")
    _first_phone(txn, payload["outlet"])
    if "to" in payload:
        if payload["to"] == payload["outlet"]:
            raise OnBehalfError("a transfer has two sides")
        if txn.execute(select(_outlet.c.id).where(_outlet.c.code == payload["to"])).first() is None:
            raise OnBehalfError(f"no outlet {payload['to']}")
    key = key_for(what, reference)
    used = select(_order.c.id).where(_order.c.idem_scope == key.scope, _order.c.idem_key == key.mark)
    if txn.execute(used).first() is not None:
        raise OnBehalfError(f"reference {reference} has been used already")


def order_for(
    txn: Connection, number: int, what: str, payload: Mapping[str, Any], *, checker: str, now_ms: int
) -> OrderFor:
    """The command that a confirmed request comes to. Raises OnBehalfError."""
    key, amount_fen = key_for(what, payload["reference"]), payload["amount_fen"]
    asker = Asker(_first_phone(txn, payload["outlet"]), "", None, None)
    wish: Transfer | AskTicket
    if what == "transfer":
        wish = Transfer(Channel.CLI, key, asker, payload["to"], amount_fen, now_ms)
    else:
        start = zlib.crc32(f"{key.scope}|{key.mark}".encode())
        sums = free_sums(txn, asker.phone, amount_fen, start, _SUMS)
        waiting_n = tickets_waiting(txn, asker.phone)
        wish = AskTicket(Channel.CLI, key, asker, amount_fen, sums, now_ms, waiting_n=waiting_n)
    return OrderFor(number, checker, wish)


def _first_phone(txn: Connection, code: str) -> str:
    """Where the outlet is told; limits of a phone count there."""
    row = txn.execute(select(_outlet.c.id, _outlet.c.status).where(_outlet.c.code == code)).first()
    if row is None:
        raise OnBehalfError(f"no outlet {code}")
    if row.status != OUTLET_ACTIVE:
        raise OnBehalfError(f"outlet {code} is not active")
    phones = select(func.min(_phone.c.msisdn)).where(
        _phone.c.outlet_id == row.id, _phone.c.status == PHONE_ACTIVE
    )
    phone = txn.execute(phones).scalar()
    if phone is None:
        raise OnBehalfError(f"outlet {code} has no phone")
    return str(phone)
