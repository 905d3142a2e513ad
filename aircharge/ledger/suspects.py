"""Commands under way when a broken invariant ended the process: after a second time they are set aside.

A process that ends so is started again, its SMS centre delivers the same message again, and it ends again: one message
would keep everybody out. What was under way is written down; it is carried out alone the next time, so that others are
cleared by having been carried out, and what ends the process alone is refused from then on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select

from aircharge.ledger.tables import metadata

__all__ = ["DEATHS_MAX", "forget_txn", "identity_of", "note_deaths_txn", "suspects_of"]

DEATHS_MAX: Final = 2
"""So many ends of the process, and a command is set aside."""
_LIFE_MS: Final = 172_800_000  # for as long as SMS centres deliver again

_suspect = metadata.tables["suspect"]


def identity_of(command: Any) -> str:
    """32 hex digits: the same for a message that is delivered again, and for the same answer about the same order."""
    order = getattr(getattr(command, "opening", command), "order", command)
    said, key, asker = (getattr(order, name, None) for name in ("said", "key", "asker"))
    about: Any = repr(command)
    if said is not None and asker is not None:
        about = (asker.phone, said.words, said.repeat)
    elif key is not None:
        about = (key.scope, key.mark) if hasattr(key, "scope") else key
    elif hasattr(command, "order_id"):
        about = [getattr(command, name, None) for name in ("order_id", "verdict", "undo", "manual", "actor")]
    return hashlib.sha256(f"{type(command).__name__} {about}".encode()).hexdigest()[:32]


def suspects_of(txn: Connection, now_ms: int) -> dict[str, int]:
    """How often each ended a process of late, by identity."""
    c = _suspect.c
    found = select(c.id, c.deaths).where(c.at_ms > now_ms - _LIFE_MS)
    return {row.id: int(row.deaths) for row in txn.execute(found)}


def note_deaths_txn(txn: Connection, commands: Sequence[Any], now_ms: int) -> None:
    """These were under way. Only who was alone is proved guilty: one of several is a suspect, however often."""
    known, is_alone = suspects_of(txn, now_ms), len(commands) == 1
    for command in commands:
        identity = identity_of(command)
        txn.execute(delete(_suspect).where(_suspect.c.id == identity))
        txn.execute(
            insert(_suspect).values(
                id=identity,
                deaths=known.get(identity, 0) + 1 if is_alone else max(known.get(identity, 0), 1),
                about=type(command).__name__[:64],
                at_ms=now_ms,
            )
        )


def forget_txn(txn: Connection, identity: str) -> None:
    """It was carried out: it was not the one."""
    txn.execute(delete(_suspect).where(_suspect.c.id == identity))
