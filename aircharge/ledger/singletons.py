"""Work that one daemon at a time does beside the book: closing days, sealing.

Where several daemons share a database, whoever holds the work's advisory lock does it; the lock belongs to a
transaction that does nothing else, so it ends with its connection. On SQLite there is one daemon.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Engine, text

from aircharge.errors import LedgerError

__all__ = ["Taken", "changing", "only_one"]

_LOCKS: Final = {"close": 0x41434543, "seal": 0x41435345, "verify": 0x41435645}
"""Advisory locks of PostgreSQL; others are in ``postgres_queries`` and ``audit``."""


class Taken(LedgerError):
    """Another daemon is at it: there is nothing to do."""


@contextmanager
def changing(engine: Engine) -> Iterator[Connection]:
    """A writing transaction: committed at the end, rolled back on an error."""
    with engine.execution_options(immediate=True).connect() as txn, txn.begin():
        yield txn


@contextmanager
def only_one(engine: Engine, work: str) -> Iterator[None]:
    """This work is ours until the end of the block. Raises Taken."""
    if engine.dialect.name != "postgresql":
        yield
        return
    with changing(engine) as txn:
        txn.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        lock = {"lock": _LOCKS[work]}
        if not txn.execute(text("SELECT pg_try_advisory_xact_lock(:lock)"), lock).scalar():
            raise Taken(f"another daemon is at it: {work}")
        yield
