"""Notices of what the desk has done to an outlet, queued in the commit that does it: the owner hears, and may object.

Whatever brings somebody nearer to an outlet's float (a number, a card, a terminal, a PIN, master data) is told to every
number the outlet has in use, and to those it loses by it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import func, insert, select

from aircharge.ledger.chart import PHONE_ACTIVE
from aircharge.ledger.ids import EPOCH_MS
from aircharge.ledger.tables import metadata
from aircharge.outlets.desk import Desk, lock_registry_txn

__all__ = ["ACTS", "tell_number_txn", "tell_outlet_txn"]

_outlet, _phone, _outbox = (metadata.tables[name] for name in ("outlet", "outlet_phone", "outbox"))
_LIFE_MS: Final = 86_400_000
_UPPER_HALF: Final = 2048  # of a millisecond's 4,096 ids; the ledger's own series begins at the lower end
ACTS: Final = (
    "phone-new",
    "phone-gone",
    "phone-lost",
    "phone-rights",
    "phone-release",
    "card-new",
    "card-unblock",
    "pin-reset",
    "pin-unlock",
    "duress",
    "duress-near",
    "profile",
    "unfreeze",
    "terminal-new",
    "terminal-bind",
    "terminal-gone",
    "terminal-unblock",
)
"""What may have been done; each has its words in the templates (``word.act.…``)."""


def tell_outlet_txn(
    desk: Desk,
    outlet_id: int,
    act: str,
    thing: str = "",
    *,
    until_ms: int = 0,
    also: Collection[str] = (),
    but: Collection[str] = (),
    language: str = "",
) -> int:
    """Queue one notice for each number of the outlet that may order now; how many.

    ``thing``: the masked number, the terminal, the fields, as they may be read. ``until_ms``: from when it counts.
    ``also``: numbers that hear of it besides, ``but``: that do not. ``language``: "" = the outlet's own.
    """
    in_use = (_phone.c.outlet_id == outlet_id) & (_phone.c.status == PHONE_ACTIVE)
    found = select(_phone.c.msisdn).where(in_use, _phone.c.active_from_ms <= desk.now_ms)
    numbers = sorted({*desk.txn.execute(found).scalars(), *also} - {*but})
    row = desk.txn.execute(select(_outlet.c.code, _outlet.c.language).where(_outlet.c.id == outlet_id)).one()
    facts: dict[str, Any] = {"outlet": row.code, "act": act, "at_ms": desk.now_ms}
    if thing:
        facts["thing"] = thing
    if until_ms > desk.now_ms:
        facts["until_ms"] = until_ms
    for number in numbers:
        tell_number_txn(desk, number, "outlet.desk", facts, language or row.language)
    return len(numbers)


def tell_number_txn(desk: Desk, number: str, topic: str, facts: dict[str, Any], language: str) -> None:
    """Queue one notice for a number; it leaves as the outbox's others do, within a day or never."""
    values = {"txn_id": 0, "topic": topic, "recipient": number, "sender": desk.service, "language": language}
    times = {"created_ms": desk.now_ms, "next_ms": desk.now_ms, "expires_ms": desk.now_ms + _LIFE_MS}
    body = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    desk.txn.execute(insert(_outbox).values(id=_next_id(desk), body=body, **values, **times))


def _next_id(desk: Desk) -> int:
    """An id of the desk's node that no other writer draws: one desk at a time is within the registry's lock."""
    lock_registry_txn(desk.txn)
    moment = desk.now_ms - EPOCH_MS
    while True:
        first = moment << 22 | desk.node << 12 | _UPPER_HALF
        last = first | _UPPER_HALF - 1
        used = select(func.max(_outbox.c.id)).where(_outbox.c.id.between(first, last))
        highest = desk.txn.execute(used).scalar()
        if highest is None:
            return first
        if highest < last:
            return int(highest) + 1
        moment += 1
