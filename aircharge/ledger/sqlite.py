"""SQLite's way of saying what the store needs: set-based reads and writes, and the connection's pragmas.

The methods are explained in ``dialect.Dialect``; ``postgres`` is the other engine. Each statement carries a whole
batch: the interpreter's lock is given up once per statement, not once per row, so the reactor's thread does not
interleave with every row.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, RootTransaction, create_engine, event
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.pool import StaticPool

from aircharge.ledger.rows import Needs
from aircharge.ledger.sqlite_queries import SQLITE_QUERIES
from aircharge.ledger.tenure import Fenced, Tenure
from aircharge.ports import Clock

__all__ = ["SqliteDialect", "open_sqlite"]

_CHUNKS: Final = (64, 16, 4, 1)
_PRAGMAS: Final = (
    "PRAGMA busy_timeout = 10000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA recursive_triggers = ON",  # else REPLACE deletes rows past the triggers of journal and audit
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -65536",
)
_BROKEN: Final = ("disk i/o error", "malformed", "not a database", "readonly")


def open_sqlite(url: str) -> Engine:
    """An engine with durable settings: WAL, fsync at every commit, foreign keys on."""
    options: dict[str, Any] = {}
    if url in ("sqlite://", "sqlite:///:memory:"):
        options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    _for_its_owner_alone(url)
    # A transaction of ours ends in COMMIT or ROLLBACK, the pool need not roll back once more; but see ``returned``.
    engine = create_engine(_place(url), pool_reset_on_return=None, **options)

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not guessed by the driver
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    @event.listens_for(engine, "checkin")
    def returned(connection: Any, _record: Any) -> None:
        """A COMMIT that failed (disk full, say) may leave its transaction open, and the file locked for everybody."""
        if connection is not None and connection.in_transaction:
            connection.rollback()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _place(url: str) -> URL:
    """Behind ``sqlite:///`` stands a path, whatever it is made of: ``?``, ``#`` and ``%`` mean nothing in it."""
    path = url.removeprefix("sqlite://").removeprefix("/")
    return URL.create("sqlite", database=path or None)


def _for_its_owner_alone(url: str) -> None:
    """PIN MACs, numbers and staff hashes stand in the ledger: mode 0600, which ``-wal`` and ``-shm`` take after.

    By path alone: to open and close the file here would drop the POSIX locks that this process may have on it.
    """
    path = _place(url).database
    if not path or path == ":memory:" or path.startswith("file:"):
        return
    if not os.path.exists(path) and os.path.isdir(os.path.dirname(path) or "."):
        with contextlib.suppress(OSError):  # SQLite says what is wrong with the place
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    for name in (path, f"{path}-wal", f"{path}-shm"):
        with contextlib.suppress(OSError):  # not there, or somebody else's
            if stat.S_IMODE(os.stat(name).st_mode) & 0o077:
                os.chmod(name, 0o600)


class SqliteDialect:
    """Statements are built once and kept by the number of rows they carry."""

    queries = SQLITE_QUERIES
    attempts = 1  # one writer at a time: nothing can be in its way
    is_shared = False

    def __init__(self) -> None:
        self._statements: dict[tuple[str, int], str] = {}

    # -- time, locks, commits: one process writes, and its transaction locks the whole file ---------------

    def settle(self, writing: Engine) -> None:
        """A commit has reached the disk or has not: there is no standby to wait for."""

    def lock(self, txn: Connection, needs: Needs) -> None:
        """BEGIN IMMEDIATE has done it."""

    @staticmethod
    def enter(txn: Connection, tenure: Tenure | None, *, alone: bool) -> None:
        """No other batch is under way; a lease is lost only when another daemon has taken it."""
        del alone
        if tenure is not None:
            question = "SELECT 1 FROM node_lease WHERE node = ? AND epoch = ?"
            if _execute(txn, question, (tenure.node, tenure.epoch)).fetchone() is None:
                raise Fenced(tenure)

    @staticmethod
    def now_ms(_txn: Connection, clock: Clock) -> int:
        return clock.now_ms()

    @staticmethod
    def commit(_txn: Connection, begun: RootTransaction) -> None:
        begun.commit()

    @staticmethod
    def is_passing(_error: Exception) -> bool:
        return False

    @staticmethod
    def is_locked(_error: DBAPIError) -> bool:
        return False

    @staticmethod
    def is_broken(error: DBAPIError) -> bool:
        return any(sign in str(error.orig).lower() for sign in _BROKEN)

    # -- reading: lists go in as JSON ---------------------------------------------------------------------

    @staticmethod
    def rows(txn: Connection, statement: str, keys: Iterable[Any], *more: Any) -> Sequence[Any]:
        """Run a SELECT whose first parameter is the list of keys (``json_each(?)``)."""
        return _execute(txn, statement, (json.dumps(list(keys)), *more)).fetchall()

    # -- writing ------------------------------------------------------------------------------------------

    def insert(
        self, txn: Connection, table: str, columns: str, rows: Sequence[tuple[Any, ...]], suffix: str = ""
    ) -> None:
        """Insert rows. ``columns``: their names, comma separated; ``suffix``: an ON CONFLICT clause."""
        head = f"INSERT INTO {table} ({columns}) VALUES "
        for chunk in _chunks(rows):
            self._run(txn, head, chunk, f" {suffix}")

    def update(self, txn: Connection, head: str, rows: Sequence[tuple[Any, ...]], condition: str) -> int:
        """``UPDATE … SET x = v.column2 …`` from rows of values; returns how many rows were met."""
        return sum(
            self._run(txn, f"{head} FROM (VALUES ", chunk, f") AS v WHERE {condition}")
            for chunk in _chunks(rows)
        )

    def _run(self, txn: Connection, head: str, chunk: Sequence[tuple[Any, ...]], tail: str) -> int:
        key = (head, len(chunk))
        statement = self._statements.get(key)
        if statement is None:
            places = "(" + ",".join("?" * len(chunk[0])) + ")"
            statement = self._statements[key] = head + ",".join([places] * len(chunk)) + tail
        flat = tuple([value for row in chunk for value in row])
        return _execute(txn, statement, flat).rowcount


def _execute(txn: Connection, statement: str, parameters: tuple[Any, ...]) -> sqlite3.Cursor:
    """Run a statement on the driver's own cursor, within SQLAlchemy's transaction; errors are SQLAlchemy's.

    ``exec_driver_sql`` describes every result anew, 35 µs a statement where SQLite itself takes 8 (docs/decisions).
    """
    driver: Any = txn.connection.dbapi_connection
    try:
        cursor: sqlite3.Cursor = driver.execute(statement, parameters)
    except OverflowError as error:  # a number that no column holds: its command's own fault
        raise DataError(statement, None, error, hide_parameters=True) from error
    except sqlite3.Error as error:
        wrapped = DBAPIError.instance(statement, None, error, sqlite3.Error, hide_parameters=True)
        raise wrapped from error
    return cursor


def _chunks(rows: Sequence[tuple[Any, ...]]) -> Iterable[Sequence[tuple[Any, ...]]]:
    """Cut into pieces of few different sizes, so that few different statements are kept."""
    start = 0
    for size in _CHUNKS:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size
