"""Which engine the books of a test are kept in: SQLite in memory, or a database of our own PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.postgres import cluster

__all__ = [
    "ENGINES",
    "current",
    "empty_url",
    "kept_in",
    "new_url",
    "poison_txn",
    "prepared_url",
    "unguard_txn",
]

ENGINES = ("sqlite", "postgresql")

_engine = "sqlite"
_made: list[str] = []


@contextmanager
def kept_in(engine: str) -> Iterator[str]:
    """``Books()`` made herein are kept in that engine; its databases are dropped at the end."""
    global _engine  # noqa: PLW0603 (a test's setting, like the current folder)
    before, _engine = _engine, engine
    try:
        yield engine
    finally:
        _engine = before
        while _made:
            cluster().drop(_made.pop())


def current() -> str:
    """The engine's name."""
    return _engine


def new_url(folder: Path | None = None) -> str:
    """A new database: with PostgreSQL it has the ledger's schema, with SQLite nothing; a file if there is a folder."""
    if _engine == "sqlite":
        return f"sqlite:///{folder / 'ledger.db'}" if folder else "sqlite://"
    _made.append(cluster().fresh())
    return _made[-1]


def empty_url(folder: Path) -> str:
    """A new database with nothing in it."""
    if _engine == "sqlite":
        return new_url(folder)
    _made.append(cluster().empty())
    return _made[-1]


def prepared_url(name: str, prepare: Callable[[str], None], folder: Path | None = None) -> str:
    """A new database after ``prepare(url)``; PostgreSQL keeps what it made as a template of that name."""
    if _engine == "sqlite":
        url = new_url(folder)
        prepare(url)
        return url
    _made.append(cluster().copy(f"template_{name}", prepare))
    return _made[-1]


def poison_txn(txn: Any, number: str) -> None:
    """From now on the database refuses orders for that number."""
    if txn.dialect.name == "sqlite":
        txn.exec_driver_sql(
            f"CREATE TRIGGER poison BEFORE INSERT ON txn WHEN NEW.msisdn = '{number}'"
            " BEGIN SELECT RAISE(ABORT, 'poison'); END"
        )
        return
    txn.exec_driver_sql(
        "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'poison' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    txn.exec_driver_sql(
        f"CREATE TRIGGER poison BEFORE INSERT ON txn FOR EACH ROW WHEN (NEW.msisdn = '{number}')"
        " EXECUTE FUNCTION poison()"
    )


def unguard_txn(txn: Any, table: str) -> None:
    """Take away the triggers that keep a table's rows from being changed: what only a superuser can do."""
    if txn.dialect.name == "postgresql":
        txn.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        return
    question = f"SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = '{table}'"
    for (name,) in txn.exec_driver_sql(question).fetchall():
        txn.exec_driver_sql(f"DROP TRIGGER {name}")
