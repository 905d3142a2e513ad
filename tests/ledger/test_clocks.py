"""A clock that has leapt ends no accounting day: nothing is written until it is right, or people say so (row P7)."""

from __future__ import annotations

import pytest

from aircharge.errors import LedgerError
from aircharge.ledger.book import Book, BookSettings
from aircharge.ledger.clocks import ClockLeapt, accept_clock_txn, check_clock, ledger_now_ms
from aircharge.ledger.store import Store
from aircharge.values import State
from tests.ledger.desk import PINS, Books

HOUR = 3_600_000
DAY = 24 * HOUR


class Hand:
    """A wall clock and a monotonic one, each moved by hand."""

    def __init__(self, ms: int) -> None:
        self.ms, self.steady_ms = ms, 0

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.steady_ms / 1000

    def passes(self, ms: int) -> None:
        self.ms += ms
        self.steady_ms += ms


def started(books: Books, clock: Hand) -> Store:
    """A daemon that has just been started on the same ledger."""
    book = Book(BookSettings(), PINS.mac)
    return Store(books.engine, book, clock, 2, own_time=True, leap_ms=DAY)


def sell(books: Books, store: Store, number: int = 0) -> State:
    books.clock.ms = store._clock.now_ms()  # the message has just come
    [receipt] = store.run([books.plain(f"1380000000{number}", 1_000)])
    state: State = receipt.state
    return state


def open_days(books: Books) -> list[tuple[int, ...]]:
    return books.rows("SELECT DISTINCT biz_date FROM txn WHERE biz_date > 0 ORDER BY 1")


@pytest.mark.parametrize("leap_ms", [400 * DAY, 25 * HOUR, -25 * HOUR, -400 * DAY])
def test_a_leap_while_it_runs_writes_nothing_and_passes(books: Books, leap_ms: int) -> None:
    clock = Hand(books.clock.ms)
    store = started(books, clock)
    assert sell(books, store, 1) is State.HELD
    days = open_days(books)
    clock.ms += leap_ms
    for number in (2, 3):
        with pytest.raises(ClockLeapt, match="aircharge clock accept"):
            sell(books, store, number)
    assert open_days(books) == days
    clock.ms -= leap_ms  # set right: no word is needed
    assert sell(books, store, 2) is State.HELD


@pytest.mark.parametrize("leap_ms", [400 * DAY, -400 * DAY])
def test_a_leap_before_the_start_is_held_against_the_last_order(books: Books, leap_ms: int) -> None:
    books.do(books.plain())
    with pytest.raises(ClockLeapt):
        sell(books, started(books, Hand(books.clock.ms + leap_ms)))


def test_time_that_passes_is_no_leap(books: Books) -> None:
    clock = Hand(books.clock.ms)
    store = started(books, clock)
    store.guard.believe(clock.ms)  # as the daemon does at its start
    for number in range(4):
        clock.passes(3 * DAY)  # nobody asks for three days, and the daemon was up
        assert sell(books, store, number) is State.HELD


def test_a_small_step_is_no_leap(books: Books) -> None:
    clock = Hand(books.clock.ms)
    store = started(books, clock)
    assert sell(books, store, 1) is State.HELD
    clock.ms += 23 * HOUR
    assert sell(books, store, 2) is State.HELD


def test_a_new_ledger_believes_its_clock(books: Books) -> None:
    with books.store.writing() as txn:
        assert ledger_now_ms(txn, 7) >= 7
    assert check_clock(books.engine, Hand(books.clock.ms), 0) >= books.clock.ms


def test_two_people_open_a_house_that_was_off(books: Books) -> None:
    books.do(books.plain())
    clock = Hand(books.clock.ms + 10 * DAY)
    store = started(books, clock)
    with pytest.raises(LedgerError):
        sell(books, store, 1)
    with books.store.writing() as txn:
        accept_clock_txn(txn, clock.ms)
    assert sell(books, store, 1) is State.HELD
    assert sell(books, started(books, clock), 2) is State.HELD
    clock.ms += 30 * DAY  # that word was of another day
    with pytest.raises(LedgerError):
        sell(books, store, 3)


def test_the_start_is_refused(sqlite_books: Books) -> None:
    books = sqlite_books
    books.do(books.plain())
    check_clock(books.engine, Hand(books.clock.ms + HOUR), DAY)
    with pytest.raises(ClockLeapt, match=r"the ledger's last word is of 2026-11-23 02:00 UTC"):
        check_clock(books.engine, Hand(books.clock.ms + 3 * DAY), DAY)


@pytest.mark.peer
def test_the_daemons_clock_is_held_against_the_databases(postgres_books: Books) -> None:
    with pytest.raises(ClockLeapt, match="the database's"):
        check_clock(postgres_books.engine, Hand(1_000_000_000_000), DAY)
