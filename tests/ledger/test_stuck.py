"""A process that sleeps with a row in its hands keeps those who want the row, and not for long (row T3)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from aircharge.errors import LedgerError
from aircharge.ledger.book import Book, BookSettings
from aircharge.ledger.postgres import PostgresDialect
from aircharge.ledger.sqlite import SqliteDialect
from aircharge.ledger.store import Store, open_engine
from aircharge.values import Receipt, State
from tests.ledger.desk import PINS, Books

LOCK_MS = 300


@contextmanager
def holding(books: Books, account: int = 1000, stuck_s: float = 30.0) -> Iterator[Any]:
    """Another process's transaction that holds an outlet's balance and does nothing."""
    engine = open_engine(books.url, stuck_s=stuck_s).execution_options(immediate=True)
    txn = engine.connect()
    begun = txn.begin()
    txn.exec_driver_sql(f"SELECT 1 FROM balance WHERE account_id = {account} FOR UPDATE")
    try:
        yield txn
    finally:
        if not txn.invalidated:
            begun.rollback()
        txn.close()
        engine.dispose()


def second(books: Books) -> Store:
    """A daemon's store that waits ``LOCK_MS`` for a row."""
    book = Book(BookSettings(), PINS.mac)
    return Store(open_engine(books.url), book, books.clock, 2, own_time=True, lock_ms=LOCK_MS)


@pytest.mark.peer
def test_only_those_that_want_the_row_fail(postgres_books: Books) -> None:
    books, store = postgres_books, second(postgres_books)
    with holding(books):
        wanting = [books.plain(f"1380000000{n}") for n in range(3)]
        free = books.plain("13800000009", outlet="B")
        results = store.run_batch([*wanting, free]).results
        assert all(isinstance(result, LedgerError) for result in results[:3])
        assert results[3].state is State.HELD
        assert isinstance(store.run_batch([wanting[0]]).results[0], LedgerError)
    again = store.run_batch(wanting).results
    assert [result.state for result in again] == [State.HELD] * 3


@pytest.mark.peer
def test_a_lock_that_is_given_back_in_time_costs_nothing(postgres_books: Books) -> None:
    store = second(postgres_books)
    assert store.run_batch([postgres_books.plain()]).results[0].state is State.HELD


@pytest.mark.peer
def test_the_server_takes_the_locks_of_who_sleeps(postgres_books: Books) -> None:
    books, store = postgres_books, second(postgres_books)
    order, result = books.plain(), None
    with holding(books, stuck_s=1) as sleeper:
        until_s = time.monotonic() + 30
        while not isinstance(result, Receipt) and time.monotonic() < until_s:
            [result] = store.run_batch([order]).results
        with pytest.raises(DBAPIError, match="idle-in-transaction"):
            sleeper.exec_driver_sql("SELECT 1")  # it wakes up, and has nothing any more
    assert isinstance(result, Receipt)
    assert result.state is State.HELD


def test_what_is_a_lock_in_the_way() -> None:
    class Locked(Exception):
        sqlstate = "55P03"

    class Error(Exception):
        orig = Locked()

    assert PostgresDialect.is_locked(Error())  # type: ignore[arg-type]
    assert not PostgresDialect.is_passing(Error())
    assert not SqliteDialect.is_locked(Error())  # type: ignore[arg-type]
