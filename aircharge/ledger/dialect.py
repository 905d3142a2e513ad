"""What the store asks of an engine: the one face of ``sqlite.SqliteDialect`` and ``postgres.PostgresDialect``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, RootTransaction
from sqlalchemy.exc import DBAPIError

from aircharge.errors import LedgerError
from aircharge.ledger.queries import Queries
from aircharge.ledger.rows import Needs
from aircharge.ledger.sqlite import SqliteDialect, open_sqlite
from aircharge.ledger.tenure import Tenure
from aircharge.ports import Clock

__all__ = ["Dialect", "database_says", "dialect_of", "open_engine"]

_POSTGRES = ("postgresql://", "postgresql+psycopg://")


class Dialect(Protocol):
    """Set-based statements, locks, time and commits. One belongs to one store and its writing thread."""

    @property
    def queries(self) -> Queries:
        """The loader's questions in this engine's tongue."""
        ...

    @property
    def attempts(self) -> int:
        """How often a batch is tried when only others' work was in its way."""
        ...

    def settle(self, writing: Engine) -> None:
        """Before a batch: make sure that whatever an earlier commit of unknown fate left is durable by now."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether several daemons may write at a time."""
        ...

    def lock(self, txn: Connection, needs: Needs) -> None:
        """Keep others from the rows that a batch may change, before any of them is read."""
        ...

    def enter(self, txn: Connection, tenure: Tenure | None, *, alone: bool) -> None:
        """Keep the open days open until this batch has ended; ``alone``: when no other is under way.

        With a ``tenure``, prove that this daemon's lease holds, and keep it from being taken over until the end.
        Raises Fenced when it was, LedgerError when it has run out.
        """
        ...

    def now_ms(self, txn: Connection, clock: Clock) -> int:
        """The time of a batch: the database's where several daemons share it, else the clock's."""
        ...

    def rows(self, txn: Connection, statement: str, keys: Iterable[Any], *more: Any) -> Sequence[Any]:
        """Run one of ``queries``; a key is a value or a tuple of values."""
        ...

    def insert(
        self, txn: Connection, table: str, columns: str, rows: Sequence[tuple[Any, ...]], suffix: str = ""
    ) -> None:
        """Insert rows. ``columns``: their names, comma separated; ``suffix``: an ON CONFLICT clause."""
        ...

    def update(self, txn: Connection, head: str, rows: Sequence[tuple[Any, ...]], condition: str) -> int:
        """``UPDATE t SET x = v.column2 … `` from rows of values; returns how many rows were met."""
        ...

    def commit(self, txn: Connection, begun: RootTransaction) -> None:
        """Commit. Raises LedgerError when it seemed to succeed but may not last."""
        ...

    def is_passing(self, error: Exception) -> bool:
        """Whether nothing was written and the same batch may succeed when it is tried again."""
        ...

    def is_locked(self, error: DBAPIError) -> bool:
        """Whether nothing was written because somebody else holds a row for longer than a batch waits."""
        ...

    def is_broken(self, error: DBAPIError) -> bool:
        """Whether this is no failure of one batch but of the disk."""
        ...


def open_engine(url: str, stuck_s: float = 30.0) -> Engine:
    """An engine with durable settings for ``sqlite://…`` or ``postgresql://…``. Raises LedgerError for others.

    ``stuck_s``: as in ``postgres.open_postgres``.
    """
    if url.startswith("sqlite:"):
        return open_sqlite(url)
    if not url.startswith(_POSTGRES):
        raise LedgerError(
            f"ledger.url {url.partition(':')[0]!r}: sqlite:///FILE or postgresql://HOST/DATABASE"
        )
    try:
        from aircharge.ledger.postgres import open_postgres
    except ModuleNotFoundError as error:
        raise LedgerError(f"PostgreSQL needs {error.name}: install aircharge[postgresql]") from error
    return open_postgres(url, stuck_s)


def database_says(error: DBAPIError) -> str:
    """Why a database does not do what it was asked, in one line: it is not there, is starting, is a standby …"""
    lines = str(error.orig).split("\n")
    return f"ledger.url: the database says: {lines[0].strip()}"


def dialect_of(engine: Engine) -> Dialect:
    """The engine's own."""
    if engine.dialect.name == "sqlite":
        return SqliteDialect()
    from aircharge.ledger.postgres import PostgresDialect

    return PostgresDialect()
