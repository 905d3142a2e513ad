"""A message that ends the process is set aside after the second time, and everybody else is served (row L1)."""

from __future__ import annotations

from typing import Any

import pytest

from aircharge.errors import CommandFailed, LedgerError
from aircharge.ledger import store as stores
from aircharge.ledger import suspects
from aircharge.ledger.book import Book, BookSettings
from aircharge.ledger.commands import CloseRecharge, NoticesDone
from aircharge.ledger.page import BrokenLedger
from aircharge.ledger.store import Store
from aircharge.ledger.suspects import identity_of, note_deaths_txn
from aircharge.values import Msisdn, State, Verdict
from tests.ledger.desk import PINS, Books

POISON = "13800000666"


class Poisoned(Book):
    """A book with a bug: an order for one number breaks an invariant."""

    def apply(self, commands: Any, *more: Any) -> Any:
        orders = (getattr(command, "order", None) for command in commands)
        if any(order is not None and order.target == Msisdn(POISON) for order in orders):
            raise BrokenLedger("invariant broken: account 1000 would be below its floor")
        return super().apply(commands, *more)


def started(books: Books) -> Store:
    """The next process on the same ledger."""
    return Store(books.engine, Poisoned(BookSettings(), PINS.mac), books.clock, 1, own_time=True)


def ends(books: Books, *commands: Any) -> None:
    """A process that meets them, and ends as the writer ends it."""
    store = started(books)
    with pytest.raises(BrokenLedger):
        store.run_batch(commands)
    store.note_deaths()


def deaths(books: Books) -> list[int]:
    return [row[0] for row in books.rows("SELECT deaths FROM suspect ORDER BY deaths")]


def test_after_the_second_time_it_alone_is_refused(books: Books) -> None:
    innocent, poison = books.plain("13800000001"), books.plain(POISON)
    ends(books, innocent, poison)
    assert deaths(books) == [1, 1]
    ends(books, innocent, poison)  # delivered again: each alone now, and the innocent one is cleared
    assert deaths(books) == [2]
    store = started(books)
    again, set_aside, other = store.run_batch([innocent, poison, books.plain("13800000002")]).results
    assert (again.state, other.state) == (State.HELD, State.HELD)
    assert not again.fresh
    assert isinstance(set_aside, CommandFailed)
    alarms = "SELECT count(*) FROM audit WHERE action = 'alarm.command-failed' AND detail LIKE '%SetAside%'"
    assert books.value(alarms) == 1
    told = books.value("SELECT count(*) FROM outbox WHERE topic = 'outlet.refused'")
    assert told == 1
    for _ in range(3):  # and again, and again: said once
        [result] = store.run_batch([poison]).results
        assert isinstance(result, CommandFailed)
    assert (books.value(alarms), books.value("SELECT count(*) FROM txn WHERE kind = 1")) == (1, 2)


def test_it_is_tried_again_after_two_days(books: Books) -> None:
    ends(books, books.plain(POISON))
    books.wait(49 * 3_600_000)
    ends(books, books.plain(POISON, mark="later"))
    assert deaths(books) == [1, 1]


def test_what_was_under_way_is_what_was_tried_last(books: Books) -> None:
    """A batch that is run one by one (a number the database refuses, say) names the one that ended it."""
    store = started(books)
    bad, poison = books.plain("13800000003", mark="m" * 65), books.plain(POISON)
    with pytest.raises(BrokenLedger):
        store.run_batch([bad, poison])
    store.note_deaths()
    assert 1 <= len(deaths(books)) <= 2


def test_a_disk_that_takes_nothing_ends_it_all_the_same(books: Books) -> None:
    store = started(books)
    with books.store.writing() as txn:
        txn.exec_driver_sql("ALTER TABLE suspect RENAME TO gone")
    store.note_deaths()
    store._under_way = [books.plain()]
    store.note_deaths()
    with books.store.writing() as txn:
        txn.exec_driver_sql("ALTER TABLE gone RENAME TO suspect")
    assert deaths(books) == []


def test_the_same_message_has_the_same_name(books: Books) -> None:
    first = books.plain("13800000001", mark="a")
    books.wait(5_000)
    assert identity_of(books.plain("13800000001", mark="a")) == identity_of(first)
    assert identity_of(books.plain("13800000001", mark="b")) != identity_of(first)
    closing = CloseRecharge(7, Verdict.YES, code="0000")
    assert identity_of(closing) == identity_of(CloseRecharge(7, Verdict.YES, serial="S1"))
    assert identity_of(closing) != identity_of(CloseRecharge(7, Verdict.NO))
    assert identity_of(closing) != identity_of(CloseRecharge(8, Verdict.YES))
    assert identity_of(NoticesDone((1,), (), ())) != identity_of(NoticesDone((2,), (), ()))
    assert identity_of(books.ask()) == identity_of(books.ask())


def test_a_database_that_is_away_is_no_reason_to_end(sqlite_books: Books) -> None:
    store = started(sqlite_books)
    with sqlite_books.store.writing() as txn:
        txn.exec_driver_sql("ALTER TABLE suspect RENAME TO gone")
    with pytest.raises(LedgerError, match="nothing was written"):
        store.run_batch([sqlite_books.plain()])
    with sqlite_books.store.writing() as txn:
        txn.exec_driver_sql("ALTER TABLE gone RENAME TO suspect")
    assert store.run_batch([sqlite_books.plain()]).results[0].state is State.HELD


def test_one_that_cannot_be_cleared_is_alone_again(books: Books) -> None:
    innocent = books.plain("13800000001")
    ends(books, innocent, books.plain(POISON))
    store = started(books)
    forget = suspects.forget_txn

    def fails(*_args: Any) -> None:
        raise LedgerError("the disk said no")

    stores.forget_txn = fails  # type: ignore[attr-defined]
    try:
        assert store.run_batch([innocent]).results[0].state is State.HELD
    finally:
        stores.forget_txn = forget  # type: ignore[attr-defined]
    assert deaths(books) == [1, 1]
    assert not store.run_batch([innocent]).results[0].fresh
    assert deaths(books) == [1]


def test_who_was_never_alone_is_never_set_aside(books: Books) -> None:
    """Two daemons that were both up end by the same poison, with an order that was carried out before beside it."""
    order, poison = books.plain("13800000001"), books.plain(POISON)
    stores = [started(books), started(books)]
    for number, store in enumerate(stores):
        store.run_batch([books.plain(f"1380000000{7 + number}")])
    assert stores[0].run_batch([order]).results[0].state is State.HELD
    for store in stores:
        with pytest.raises(BrokenLedger):
            store.run_batch([order, poison])
        store.note_deaths()
    assert deaths(books) == [1, 1]
    [again] = started(books).run_batch([order]).results
    assert (again.state, again.fresh) == (State.HELD, False)
    assert books.value("SELECT count(*) FROM outbox WHERE topic = 'outlet.refused'") == 0


def test_a_process_that_stays_up_tries_it_again_after_two_days(books: Books) -> None:
    poison = books.plain(POISON)
    ends(books, poison)
    ends(books, poison)
    store = started(books)
    assert isinstance(store.run_batch([poison]).results[0], CommandFailed)
    books.wait(49 * 3_600_000)
    with pytest.raises(BrokenLedger):
        store.run_batch([poison])


def test_another_answer_about_the_same_order_is_carried_out(books: Books) -> None:
    order = books.do(books.plain("13800000001"))
    yes = CloseRecharge(order.order_id, Verdict.YES, code="0000")
    with books.store.writing() as txn:
        for _ in range(2):
            note_deaths_txn(txn, [yes], books.clock.ms)
    store = started(books)
    assert isinstance(store.run_batch([yes]).results[0], CommandFailed)
    [closed] = store.run_batch([CloseRecharge(order.order_id, Verdict.NO, code="1001")]).results
    assert closed.state is State.VOIDED
