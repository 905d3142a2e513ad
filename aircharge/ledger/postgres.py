"""PostgreSQL's way of saying what the store needs: arrays in, locks in order, commits that are sure.

Statements go to psycopg's own cursor within SQLAlchemy's transaction, each with one array literal a column, so that
its text and its parameters' types are always the same and the server keeps its plan. Errors come out as SQLAlchemy's.
"""

from __future__ import annotations

import re
import select as readiness
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, Final

import psycopg
from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    RootTransaction,
    SmallInteger,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.types import TypeEngine

from aircharge.errors import LedgerError
from aircharge.ledger.chart import commission_account
from aircharge.ledger.postgres_queries import (
    DAYS_LOCK,
    ENTER,
    ENTER_ALONE,
    HOLD,
    HOLD_ALONE,
    LOCK_BALANCES,
    LOCK_CARDS,
    LOCK_PINS,
    LOCK_REQUESTS,
    POSTGRES_QUERIES,
)
from aircharge.ledger.rows import Needs
from aircharge.ledger.tables import metadata
from aircharge.ledger.tenure import Fenced, LeaseOver, Tenure
from aircharge.ports import Clock
from aircharge.values import terminal_of

__all__ = ["PostgresDialect", "array_literal", "open_postgres"]

_SETTINGS: Final = {
    "statement_timeout": "0",  # a time-out over a commit would make its fate unknown
    "synchronous_commit": "on",
    "jit": "off",
    "application_name": "aircharge",
}
_KEEPALIVE: Final = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
}
_DOUBTFUL: Final = "aircharge.warning"
_PROVEN: Final = "aircharge.proven"
_WRITE: Final = (
    "BEGIN; SET LOCAL enable_seqscan = off"  # plans are kept: none may be made for a table still empty
)
_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_OTHERS_IN_THE_WAY: Final = ("40001", "40P01")
_LOCKED: Final = "55P03"
_STANDBY: Final = "25006"
_DAMAGED: Final = ("XX001", "XX002", "58030")
_VALUE: Final = re.compile(r"(\w+) [<=>]+ v\.column(\d+)")
_NOW: Final = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_FENCE: Final = "SELECT pg_logical_emit_message(true, 'aircharge', 'fence')"


def open_postgres(url: str, stuck_s: float = 30.0) -> Engine:
    """An engine for ``postgresql://…``. Writers say BEGIN; readers get one consistent picture that is read only.

    ``stuck_s``: a process that sleeps so long with locks in its hands loses them, by the server
    (``idle_in_transaction_session_timeout``).
    """
    place = make_url(url).set(drivername="postgresql+psycopg")
    place = place.update_query_dict({**_KEEPALIVE, **place.query})
    sleeping = {"idle_in_transaction_session_timeout": f"{max(int(stuck_s * 1000), 1000)}ms"}
    options = " ".join(f"-c {name}={value}" for name, value in (_SETTINGS | sleeping).items())
    engine = create_engine(
        place, connect_args={"options": options}, pool_reset_on_return=None, use_native_hstore=False
    )

    @event.listens_for(engine, "connect")
    def connected(connection: psycopg.Connection[Any], record: Any) -> None:
        connection.autocommit = True  # transactions are begun below, not guessed by the driver

        def noticed(notice: psycopg.errors.Diagnostic) -> None:
            if notice.severity_nonlocalized == "WARNING" and notice.sqlstate == "01000":
                record.info[_DOUBTFUL] = notice.message_primary

        connection.add_notice_handler(noticed)

    @event.listens_for(engine, "checkout")
    def checked_out(connection: psycopg.Connection[Any], record: Any, _proxy: Any) -> None:
        """A server that has gone has closed the line: what waits to be read there is its last word."""
        if record.info.setdefault(_PROVEN, False) and _has_ended(connection):
            raise DisconnectionError("the database has ended this connection")
        record.info[_PROVEN] = True  # a new one is not looked at: the pool would give up after the second

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("immediate", False):
            _execute(connection, _READ)
        elif lock_ms := options.get("lock_ms", 0):
            _execute(connection, f"{_WRITE}; SET LOCAL lock_timeout = {int(lock_ms)}")
        else:
            _execute(connection, _WRITE)

    return engine


def _has_ended(connection: psycopg.Connection[Any]) -> bool:
    """Whether an idle connection has something to read, or is closed; without asking the server."""
    if connection.closed:
        return True
    line = readiness.poll()
    line.register(connection.fileno(), readiness.POLLIN)
    return bool(line.poll(0))


class PostgresDialect:
    """See ``dialect.Dialect``. Statements are built once and kept."""

    queries = POSTGRES_QUERIES
    attempts = 6
    is_shared = True

    def __init__(self) -> None:
        self._statements: dict[tuple[str, str], str] = {}
        self._is_unsure = False

    # -- time, locks, commits -----------------------------------------------------------------------------

    def settle(self, writing: Engine) -> None:
        """Nothing is read before a commit of ours has reached the standby, and with it everything before it."""
        if self._is_unsure:
            with writing.connect() as txn:
                begun = txn.begin()
                _execute(txn, _FENCE)
                self.commit(txn, begun)
            self._is_unsure = False

    @staticmethod
    def now_ms(txn: Connection, _clock: Clock) -> int:
        """The database's clock: all daemons agree on it."""
        row = _execute(txn, _NOW).fetchone()
        assert row is not None
        return int(row[0])

    def lock(self, txn: Connection, needs: Needs) -> None:
        """Requests, balances, PINs and cards that this batch may change, each in the order of ids."""
        accounts = set(needs.accounts)
        terminals = [code for code in map(terminal_of, needs.phones) if code]
        if needs.requests:
            asked = self.rows(txn, LOCK_REQUESTS, needs.requests)
            accounts.update(account for (account,) in asked if account is not None)
        if needs.phones or needs.codes or needs.orders or accounts:
            keys: tuple[Iterable[Any], ...] = (needs.phones, terminals, needs.codes, needs.orders, accounts)
            _execute(txn, LOCK_BALANCES, (*[array_literal(each) for each in keys], commission_account(0)))
        if needs.phones:
            self.rows(txn, LOCK_PINS, needs.phones, array_literal(terminals))
        if needs.cards:
            self.rows(txn, LOCK_CARDS, needs.cards)

    @staticmethod
    def enter(txn: Connection, tenure: Tenure | None, *, alone: bool) -> None:
        """Batches share one advisory lock; who cuts a day has it alone. The lease cannot be taken over meanwhile."""
        if tenure is None:
            _execute(txn, ENTER_ALONE if alone else ENTER, (DAYS_LOCK,))
            return
        statement = HOLD_ALONE if alone else HOLD
        found = _execute(txn, statement, (tenure.node, tenure.epoch, DAYS_LOCK)).fetchone()
        left_ms = None if found is None else found[0]
        if left_ms is None:
            raise Fenced(tenure)
        if left_ms <= 0:
            raise LeaseOver(tenure, -left_ms)

    def commit(self, txn: Connection, begun: RootTransaction) -> None:
        """A wait for the standby that somebody cancelled looks like success, with a warning: that is no success."""
        info = txn.connection.info
        info.pop(_DOUBTFUL, None)
        is_sure = False
        try:
            begun.commit()
            is_sure = _DOUBTFUL not in info
        except DBAPIError as error:
            is_sure = self.is_passing(error) and not error.connection_invalidated
            raise
        finally:
            self._is_unsure |= not is_sure
        if not is_sure:
            txn.invalidate()
            raise LedgerError(f"{info[_DOUBTFUL]}: the commit's fate is unknown: ask again by key")

    @staticmethod
    def is_passing(error: Exception) -> bool:
        """Deadlocks, serialization failures, and connections that were lost before the commit."""
        if not isinstance(error, DBAPIError):
            return False
        state = getattr(error.orig, "sqlstate", None)
        return state in _OTHERS_IN_THE_WAY or error.connection_invalidated

    @staticmethod
    def is_locked(error: DBAPIError) -> bool:
        """Somebody has held a row of this batch for longer than a batch waits (``lock_timeout``)."""
        return getattr(error.orig, "sqlstate", None) == _LOCKED

    @staticmethod
    def is_broken(error: DBAPIError) -> bool:
        return getattr(error.orig, "sqlstate", None) in _DAMAGED

    # -- reading ------------------------------------------------------------------------------------------

    @staticmethod
    def rows(txn: Connection, statement: str, keys: Iterable[Any], *more: Any) -> Sequence[Any]:
        """Run a SELECT whose first parameters are arrays: one of the keys, or one for each column of the keys."""
        found = list(keys)
        columns = list(zip(*found, strict=True)) if found and isinstance(found[0], tuple) else [found]
        arrays = tuple([array_literal(column) for column in columns])
        return _execute(txn, statement, (*arrays, *more)).fetchall()

    # -- writing ------------------------------------------------------------------------------------------

    def insert(
        self, txn: Connection, table: str, columns: str, rows: Sequence[tuple[Any, ...]], suffix: str = ""
    ) -> None:
        """``INSERT … SELECT FROM unnest(…)``: one array a column."""
        statement = self._statements.get((table, columns))
        if statement is None:
            types = [_type_of(table, name.strip()) for name in columns.split(",")]
            head = f"INSERT INTO {table} ({columns}) SELECT * FROM unnest({_arrays(types)})"
            statement = self._statements[table, columns] = f"{head} {suffix}"
        _execute(txn, statement, _columns(rows))

    def update(self, txn: Connection, head: str, rows: Sequence[tuple[Any, ...]], condition: str) -> int:
        """``UPDATE … FROM unnest(…)``; the type of a value is that of the column it is set or compared with."""
        statement = self._statements.get((head, condition))
        if statement is None:
            table = head.split(None, 2)[1]
            types = {
                int(place): _type_of(table, name) for name, place in _VALUE.findall(f"{head} {condition}")
            }
            count = len(rows[0])
            names = ", ".join(f"column{place}" for place in range(1, count + 1))
            arrays = _arrays([types[place] for place in range(1, count + 1)])
            statement = f"{head} FROM unnest({arrays}) AS v({names}) WHERE {condition}"
            self._statements[head, condition] = statement
        return _execute(txn, statement, _columns(sorted(rows, key=itemgetter(0)))).rowcount


def _execute(
    txn: Connection, statement: str, parameters: tuple[Any, ...] | None = None
) -> psycopg.Cursor[Any]:
    """Run a statement on the driver's own cursor. A connection that is of no more use is thrown away."""
    driver: Any = txn.connection.dbapi_connection
    try:
        cursor: psycopg.Cursor[Any] = driver.execute(statement, parameters)
    except psycopg.Error as error:
        wrapped = DBAPIError.instance(
            statement, None, error, psycopg.Error, hide_parameters=True, dialect=txn.dialect
        )
        if driver.closed or error.sqlstate == _STANDBY:
            txn.invalidate(error)
            wrapped.connection_invalidated = True
        raise wrapped from error
    return cursor


# -- arrays -----------------------------------------------------------------------------------------------


def _type_of(table: str, column: str) -> str:
    """An array element's type. Texts are cast to text, never to varchar(n): that cast would cut them silently."""
    kind: TypeEngine[Any] = metadata.tables[table].c[column].type
    for family, name in ((SmallInteger, "smallint"), (BigInteger, "bigint"), (Integer, "integer")):
        if isinstance(kind, family):
            return name
    return "bytea" if isinstance(kind, LargeBinary) else "text"


def _arrays(types: Iterable[str]) -> str:
    return ", ".join(f"%s::{name}[]" for name in types)


def _columns(rows: Sequence[tuple[Any, ...]]) -> tuple[str, ...]:
    return tuple([array_literal(column) for column in zip(*rows, strict=True)])


def array_literal(values: Iterable[Any]) -> str:
    """Integers, texts, octets and None as PostgreSQL writes an array: ``{1,NULL,"a \\"word\\"","\\\\x00ff"}``.

    One piece of text a column costs a tenth of what the driver takes for its elements one by one.
    """
    return "{" + ",".join([_ELEMENT[type(value)](value) for value in values]) + "}"


def _text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


class _Elements(dict[type, Callable[[Any], str]]):
    """How a type is written; a subclass (an enumeration's member) as its base."""

    def __missing__(self, kind: type) -> Callable[[Any], str]:
        base = next(base for base in (int, str, bytes) if issubclass(kind, base))
        self[kind] = self[base]
        return self[base]


_ELEMENT: Final = _Elements(
    {
        int: int.__repr__,
        str: _text,
        bytes: lambda value: f'"\\\\x{value.hex()}"',
        type(None): lambda value: "NULL",
    }
)
