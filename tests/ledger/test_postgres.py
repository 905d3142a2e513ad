"""What only PostgreSQL does: arrays, others in the way, commits that are not sure, a server that goes away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError, ProgrammingError

from aircharge.errors import LedgerError
from aircharge.ledger.loading import Loader
from aircharge.ledger.postgres import array_literal
from aircharge.ledger.postgres_queries import POSTGRES_QUERIES
from aircharge.ledger.saving import Saver
from aircharge.ledger.store import Store, open_engine
from aircharge.values import State, Verdict
from tests.ledger.desk import Books
from tests.ledger.pos import Counter
from tests.postgres import Cluster, cluster

pytestmark = pytest.mark.peer

# -- statements -------------------------------------------------------------------------------------------

NUMBERS = st.lists(st.none() | st.integers(-(2**63), 2**63 - 1))
TEXTS = st.lists(st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
OCTETS = st.lists(st.none() | st.binary())


@settings(max_examples=150)
@given(NUMBERS, TEXTS, OCTETS)
def test_arrays_come_back_as_they_went(numbers: Any, texts: Any, octets: Any) -> None:
    own = cluster()
    with psycopg.connect(f"host={own.folder} port={own.port} user=postgres dbname=postgres") as connection:
        arrays = [array_literal(values) for values in (numbers, texts, octets)]
        found = connection.execute("SELECT %s::bigint[], %s::text[], %s::bytea[]", arrays).fetchone()
    assert found == (numbers, texts, octets)


def test_enumerations_are_their_numbers() -> None:
    assert array_literal([State.SETTLED, None, True]) == "{4,NULL,1}"


def test_each_question_of_the_hot_path_uses_an_index(postgres_books: Books) -> None:
    # Those left out are small (days), or write (counters).
    names = ("by_phone", "by_code", "by_float", "cards", "replays", "by_key", "by_id", "intents", "answers")
    for name in (
        *names,
        "lines",
        "last",
        "offences",
        "languages",
        "requests",
        "balances",
        "journal",
        "lists",
    ):
        statement = getattr(POSTGRES_QUERIES, name)
        values = tuple("{}" if after.startswith("::") else "0" for after in statement.split("%s")[1:])
        with postgres_books.store.writing() as txn:
            plan = "\n".join(row[0] for row in txn.exec_driver_sql("EXPLAIN " + statement, values))
        assert "Seq Scan" not in plan, (name, plan)
        assert name != "intents" or "txn_intent" in plan, plan


def test_a_text_the_column_cannot_hold_fails_alone(postgres_books: Books) -> None:
    books = postgres_books
    good, nul, long = books.batch(
        books.plain("13800000001"),
        books.plain("13800000002", mark="a\0b"),
        books.plain("13800000003", mark="m" * 65),
    )
    assert good.state is State.HELD
    assert all(isinstance(bad, LedgerError) for bad in (nul, long))
    assert books.money("A") == (100_000, 5_000)


def test_readers_see_one_picture_and_cannot_write(postgres_books: Books) -> None:
    books = postgres_books
    with books.engine.connect() as reading:
        before = reading.exec_driver_sql("SELECT held FROM balance WHERE account_id = 1000").scalar()
        books.do(books.plain())
        assert reading.exec_driver_sql("SELECT held FROM balance WHERE account_id = 1000").scalar() == before
        with pytest.raises(DBAPIError, match="read-only"):
            reading.exec_driver_sql("UPDATE balance SET posted = 0")


def test_the_time_is_the_databases(postgres_books: Books) -> None:
    books = postgres_books
    shared = Store(books.engine, books.store._book, books.clock, 2)
    asked = books.plain()
    [receipt] = shared.run([asked])
    now_ms = books.value("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    assert abs(now_ms - receipt.created_ms) < 60_000  # type: ignore[union-attr]


def test_no_setting_of_the_server_cuts_a_commit_short(postgres_books: Books) -> None:
    name = postgres_books.url.rpartition("/")[2]
    cluster().execute(f"ALTER DATABASE {name} SET statement_timeout = '1s'")
    cluster().execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    engine = open_engine(postgres_books.url)
    with engine.connect() as txn:
        assert txn.exec_driver_sql("SHOW statement_timeout").scalar() == "0"
        assert txn.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "why"),
    [("mysql://here/ledger", "mysql"), ("nonsense", "nonsense"), ("", "sqlite:///FILE or postgresql://")],
)
def test_a_url_of_no_engine_of_ours(url: str, why: str) -> None:
    with pytest.raises(LedgerError, match=why):
        open_engine(url)


# -- others in the way ------------------------------------------------------------------------------------


def times(
    monkeypatch: pytest.MonkeyPatch, count: int, family: type, method: str, trouble: Callable[..., None]
) -> None:
    """The first ``count`` calls of a method run into ``trouble(its transaction)`` first."""
    original, left = getattr(family, method), [count]

    def call(self: Any, txn: Any, *more: Any) -> Any:
        if left[0]:
            left[0] -= 1
            trouble(txn)
        return original(self, txn, *more)

    monkeypatch.setattr(family, method, call)


def fails(txn: Any) -> None:
    error = psycopg.errors.SerializationFailure("could not serialize access")
    raise DBAPIError.instance("SELECT", None, error, psycopg.Error)  # type: ignore[misc, arg-type]


def test_a_batch_is_tried_again_when_only_others_were_in_its_way(
    postgres_books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = postgres_books
    times(monkeypatch, 5, Saver, "save", fails)
    assert books.do(books.plain()).fresh
    assert books.money("A") == (100_000, 5_000)


def test_but_not_for_ever(postgres_books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    books = postgres_books
    times(monkeypatch, 10**6, Saver, "save", fails)
    with pytest.raises(LedgerError, match="nothing was written"):
        books.do(books.plain())
    assert books.money("A") == (100_000, 0)


def test_a_key_that_another_daemon_was_quicker_with(
    postgres_books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = postgres_books
    asked, other = books.plain(), books.plain("13800000009")

    def insert(_txn: Any) -> None:
        with open_place(books).cursor() as cursor:
            cursor.execute(
                "INSERT INTO txn (id, kind, channel, idem_scope, idem_key, req_hash, outlet_acct, amount, cost,"
                " state, biz_date, created_ms) VALUES (77, 1, 1, %s, %s, '00', 1000, 5, 5, 0, 20261123, 1)",
                (asked.order.key.scope, asked.order.key.mark),
            )

    times(monkeypatch, 1, Saver, "save", insert)
    known, fresh = books.batch(asked, other)
    assert (known.order_id, known.fresh) == (77, False)
    assert (fresh.state, fresh.fresh) == (State.HELD, True)


def test_a_float_that_another_daemon_was_quicker_with(
    postgres_books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should a rule ever touch a float that was not locked, the version that was read tells."""
    books = postgres_books
    original = Loader.load

    def load(self: Loader, txn: Any, *more: Any) -> Any:
        rows = original(self, txn, *more)
        for row in rows.balances.values():
            row.version -= 1
        monkeypatch.setattr(Loader, "load", original)
        return rows

    monkeypatch.setattr(Loader, "load", load)
    assert books.do(books.plain()).fresh
    assert books.money("A") == (100_000, 5_000)


def test_a_terminals_outlet_is_locked_as_a_phones_is(
    postgres_books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another daemon at the same float would send every batch back, and the sixth time end the writing."""
    books = postgres_books
    counter = Counter(books)
    other = open_place(books)
    other.execute("SET lock_timeout = '50ms'")
    busy = []

    def touch(_txn: Any) -> None:
        for table, column in (("balance", "version"), ("credential", "locks")):
            try:
                other.execute(f"UPDATE {table} SET {column} = 7")
            except psycopg.errors.LockNotAvailable:
                busy.append(table)

    times(monkeypatch, 6, Saver, "save", touch)
    assert books.do(counter.sale()).state is State.HELD
    assert busy == ["balance", "credential"]
    other.close()


def open_place(books: Books) -> psycopg.Connection[Any]:
    """A connection of somebody else's."""
    return psycopg.connect(books.url.replace("+psycopg", ""), autocommit=True)


def test_a_ring_of_waiting_is_broken_and_the_batch_tried_again(postgres_books: Books) -> None:
    books = postgres_books
    other = open_place(books)
    cluster().execute(f"ALTER DATABASE {books.url.rpartition('/')[2]} SET deadlock_timeout = '3s'")
    books.engine.dispose()  # from now on it is we who look for rings first, and have the time to get into one
    lock = "SELECT 1 FROM balance WHERE account_id = %s FOR UPDATE"
    with ThreadPoolExecutor(1) as pool:
        with suppress(psycopg.errors.DeadlockDetected), other.transaction():
            other.execute("SET LOCAL deadlock_timeout = '30s'")
            other.execute(lock, (1001,))
            result: Future[list[Any]] = pool.submit(
                books.batch, books.plain("13800000001"), books.plain("13800000002", outlet="B")
            )
            wait_for(books, "wait_event_type = 'Lock'")
            other.execute(lock, (1000,))  # now each waits for the other: the server ends one of the two
        assert [receipt.state for receipt in result.result(30)] == [State.HELD] * 2
    other.close()


def wait_for(books: Books, condition: str) -> int:
    """The process id of the backend of this test's database that meets a condition of pg_stat_activity."""
    name = books.url.rpartition("/")[2]
    place = books.url.replace("+psycopg", "").replace(f"/{name}", "/postgres")
    question = f"SELECT pid FROM pg_stat_activity WHERE datname = '{name}' AND {condition}"
    pause = threading.Event()
    with psycopg.connect(place, autocommit=True) as connection:
        for _ in range(600):
            if found := connection.execute(question).fetchone():  # type: ignore[call-overload]
                return int(found[0])
            pause.wait(0.05)
    raise AssertionError(f"no backend where {condition}")


# -- a server that is not there ---------------------------------------------------------------------------


@pytest.fixture
def own() -> Iterator[Cluster]:
    """A server that this test may stop or make wait."""
    made = Cluster()
    yield made
    made.stop()


@pytest.fixture
def far_books(own: Cluster) -> Iterator[Books]:
    made = Books(own.fresh()).setup()
    yield made
    assert made.problems() == []
    made.engine.dispose()


def test_a_connection_that_was_ended_while_idle_is_replaced(postgres_books: Books) -> None:
    books = postgres_books
    books.do(books.plain("13800000001"))
    name = books.url.rpartition("/")[2]
    cluster().execute(
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"
    )
    assert books.do(books.plain("13800000002")).fresh


def test_a_connection_that_was_ended_within_a_batch_costs_nothing(
    postgres_books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = postgres_books

    def end(txn: Any) -> None:
        number = txn.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        cluster().execute(f"SELECT pg_terminate_backend({number}, 5000)")

    times(monkeypatch, 1, Saver, "save", end)
    assert books.do(books.plain()).fresh
    assert books.money("A") == (100_000, 5_000)


def test_the_ledger_goes_on_when_the_server_is_back(far_books: Books, own: Cluster) -> None:
    asked = far_books.plain("13800000001")
    assert far_books.do(asked).fresh
    own.halt()
    for _ in range(2):
        with pytest.raises(LedgerError, match="nothing was written"):
            far_books.do(asked)
    own.start()
    assert not far_books.do(asked).fresh
    assert far_books.do(far_books.plain("13800000002")).fresh


def test_a_wait_for_the_standby_that_was_cancelled_is_no_success(far_books: Books, own: Cluster) -> None:
    """COMMIT says yes then, with a warning only. Nothing is read until a commit has reached a standby again."""
    books = far_books
    asked = books.plain()
    own.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    own.execute("SELECT pg_reload_conf()")
    with ThreadPoolExecutor(1) as pool:
        for _ in range(2):  # the hold itself, then the fence before it is read
            result: Future[Any] = pool.submit(books.do, asked)
            number = wait_for(books, "wait_event = 'SyncRep'")
            own.execute(f"SELECT pg_cancel_backend({number})")
            with pytest.raises(LedgerError, match="unknown"):
                result.result(30)
        last = pool.submit(books.do, asked)
        wait_for(books, "wait_event = 'SyncRep'")
        own.execute("ALTER SYSTEM RESET synchronous_standby_names")
        own.execute("SELECT pg_reload_conf()")
        receipt = last.result(30)
    assert (receipt.state, receipt.fresh) == (State.HELD, False)
    assert books.do(books.close(receipt, Verdict.YES)).state is State.SETTLED


def test_an_error_of_the_statement_is_an_error(postgres_books: Books) -> None:
    with pytest.raises(ProgrammingError), postgres_books.store.writing() as txn:
        txn.exec_driver_sql("SELECT nothing FROM nowhere")
