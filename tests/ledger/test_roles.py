"""The daemon's role on PostgreSQL can do all of its work, and cannot change what has been booked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy.exc import ProgrammingError

from aircharge.errors import LedgerError
from aircharge.ledger.migrate import check_schema
from aircharge.ledger.roles import APPEND_ONLY, grant, may_edit_history
from aircharge.ledger.store import open_engine
from aircharge.values import State, Verdict
from tests.ledger import engines
from tests.ledger.desk import Books
from tests.postgres import cluster

pytestmark = pytest.mark.peer

ROLE = "aircharge_daemon"


def make(role: str, attributes: str = "") -> str:
    cluster().execute(
        f"DO $$ BEGIN CREATE ROLE {role} LOGIN {attributes}; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    return role


@pytest.fixture
def owned() -> Iterator[Books]:
    """Books made by the owner of the tables."""
    with engines.kept_in("postgresql"):
        books = Books().setup()
        yield books
        books.engine.dispose()


@pytest.fixture
def daemon(owned: Books) -> Iterator[Books]:
    """The same books, as the daemon's role sees them."""
    grant(owned.engine, make(ROLE))
    books = Books(cluster().url(owned.url.rpartition("/")[2], ROLE))
    yield books
    books.engine.dispose()


def test_the_daemons_role_can_do_its_work(daemon: Books) -> None:
    check_schema(daemon.engine)
    daemon.store.ensure_operators({1: "mobile", 7: "broadnet"})
    daemon.fund("B", 500)
    first, second = daemon.batch(daemon.stk("13800000001"), daemon.plain("13800000002"))
    daemon.batch(daemon.close(first, Verdict.YES), daemon.close(second, Verdict.NO))
    daemon.batch(daemon.ask(), daemon.plain(phone="13999999999"))
    assert daemon.do(daemon.plain("13800000003")).state is State.HELD
    assert daemon.money("A") == (95_000, 5_000)
    assert daemon.problems() == []


FORBIDDEN = [
    *(
        f"UPDATE {table} SET {column} = {column}"
        for table, column in (("journal", "amount"), ("audit", "actor"))
    ),
    *(
        f"DELETE FROM {table}"
        for table in sorted({*APPEND_ONLY, "txn", "balance", "account", "outlet", "day"})
    ),
    *(f"TRUNCATE {table} CASCADE" for table in ("journal", "audit", "txn", "replay")),
    "UPDATE seal SET n = n",
    "ALTER TABLE journal DISABLE TRIGGER ALL",
    "DROP TRIGGER journal_no_change ON journal",
    "DROP TABLE journal",
    "CREATE OR REPLACE FUNCTION journal_immutable() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
    "SET session_replication_role = replica",
    "UPDATE alembic_version SET version_num = '0001'",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_and_nothing_that_changes_history(daemon: Books, statement: str) -> None:
    with (
        pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
        daemon.store.writing() as txn,
    ):
        txn.exec_driver_sql(statement)
    assert daemon.problems() == []


def test_who_could_change_the_journal_is_told(daemon: Books, owned: Books) -> None:
    assert may_edit_history(owned.engine)
    assert not may_edit_history(daemon.engine)
    sqlite = open_engine("sqlite://")
    assert not may_edit_history(sqlite)
    sqlite.dispose()


@pytest.mark.parametrize(
    ("role", "why"),
    [
        ("nobody_there", "there is no role"),
        ("postgres", "superuser"),
        ("x; DROP TABLE txn", "lower-case letters"),
    ],
)
def test_roles_that_cannot_be(owned: Books, role: str, why: str) -> None:
    with pytest.raises(LedgerError, match=why):
        grant(owned.engine, role)


def test_sqlite_knows_no_roles() -> None:
    engine = open_engine("sqlite://")
    with pytest.raises(LedgerError, match="PostgreSQL's"):
        grant(engine, ROLE)
    engine.dispose()
