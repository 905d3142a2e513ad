"""The writer's thread, driven by a reactor that is a list: whole batches, bounded queue, honest failures."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aircharge.errors import LedgerError, Reason, Refusal
from aircharge.ledger.commands import NoticeRow
from aircharge.ledger.reading import open_orders
from aircharge.ledger.store import BrokenLedger
from aircharge.ledger.writer import InlineLedger, Ledger, WriterSettings
from aircharge.values import State, Verdict
from tests.ledger.desk import Books
from tests.ledger.engines import poison_txn


class Calls:
    """The part of a reactor that threads use."""

    def __init__(self) -> None:
        self._calls: queue.Queue[tuple[Callable[..., Any], tuple[Any, ...]]] = queue.Queue()
        self.woken = 0

    def callFromThread(self, call: Callable[..., Any], *arguments: Any) -> None:
        self._calls.put((call, arguments))

    def run_until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            call, arguments = self._calls.get(timeout=10)
            self.woken += 1
            call(*arguments)


class Desk:
    def __init__(self, books: Books, settings: WriterSettings) -> None:
        self.books = books
        self.calls = Calls()
        self.ledger = Ledger(books.store, self.calls, settings)
        self.notices: list[NoticeRow] = []
        self.broken: list[Any] = []
        self.ledger.on_notices(self.notices.extend)
        self.ledger.on_broken(self.broken.append)
        self.results: list[Any] = []

    def do(self, *commands: Any) -> None:
        for command in commands:
            self.ledger.do(command).addBoth(self.results.append)

    def wait(self, count: int) -> list[Any]:
        self.calls.run_until(lambda: len(self.results) >= count)
        return self.results

    def stop(self) -> None:
        ended: list[Any] = []
        self.ledger.stop().addBoth(ended.append)
        self.calls.run_until(lambda: bool(ended))


@pytest.fixture
def desk(file_books: Books) -> Iterator[Desk]:
    made = Desk(file_books, WriterSettings(batch_max=8, queue_max=20))
    yield made
    made.stop()


def test_what_waits_goes_together(desk: Desk) -> None:
    desk.do(*(desk.books.plain(f"138000000{n:02d}", 100) for n in range(20)))
    desk.ledger.start()
    results = desk.wait(20)
    assert [receipt.state for receipt in results] == [State.HELD] * 20
    assert desk.calls.woken == 3  # 8 + 8 + 4
    desk.do(*(desk.books.close(receipt, Verdict.YES) for receipt in list(results)))
    desk.wait(40)
    assert len(desk.notices) == 40
    assert desk.books.money("A") == (98_000, 0)


def test_the_queue_is_bounded(desk: Desk) -> None:
    desk.do(*(desk.books.plain(f"138000000{n:02d}", 100) for n in range(20)))
    with pytest.raises(Refusal) as refused:
        desk.ledger.do(desk.books.plain())
    assert refused.value.reason is Reason.BUSY
    desk.ledger.start()
    desk.wait(20)
    desk.do(desk.books.plain())
    desk.wait(21)


def test_stopping_writes_what_waits(desk: Desk) -> None:
    desk.do(*(desk.books.plain(f"138000000{n:02d}", 100) for n in range(20)))
    desk.ledger.start()
    desk.stop()
    assert len(desk.results) == 20
    desk.do(desk.books.plain())
    assert isinstance(desk.results[-1].value, LedgerError)


def test_reading_has_its_own_thread(desk: Desk) -> None:
    desk.ledger.start()
    desk.do(desk.books.plain())
    desk.wait(1)
    found: list[Any] = []
    desk.ledger.read(lambda txn: (open_orders(txn, 2**60), threading.current_thread())).addBoth(found.append)
    desk.calls.run_until(lambda: bool(found))
    orders, thread = found[0]
    assert len(orders) == 1
    assert thread is not threading.current_thread()


def test_an_error_of_one_batch_does_not_end_the_ledger(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.ledger.start()
    run = desk.books.store.run_batch

    def fail(commands: Any) -> Any:
        monkeypatch.setattr(desk.books.store, "run_batch", run)
        raise LedgerError("database or disk is full")

    monkeypatch.setattr(desk.books.store, "run_batch", fail)
    asked = desk.books.plain()
    desk.do(asked)
    assert isinstance(desk.wait(1)[0].value, LedgerError)
    desk.do(asked)
    assert desk.wait(2)[1].state is State.HELD
    assert desk.broken == []


@pytest.mark.parametrize("error", [BrokenLedger("invariant broken"), ZeroDivisionError("a bug")])
def test_a_broken_ledger_says_so_and_takes_nothing_more(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(commands: Any) -> Any:
        raise error

    monkeypatch.setattr(desk.books.store, "run_batch", fail)
    desk.do(*(desk.books.plain(f"138000000{n:02d}", 100) for n in range(20)))
    desk.ledger.start()
    results = desk.wait(20)
    assert all(isinstance(failure.value, BrokenLedger) for failure in results)
    desk.calls.run_until(lambda: bool(desk.broken))
    desk.do(desk.books.plain())
    assert isinstance(desk.results[-1].value, BrokenLedger)


def test_a_listener_that_fails_keeps_no_result_back(desk: Desk) -> None:
    desk.ledger.on_notices(lambda notices: 1 / 0)
    desk.ledger.start()
    desk.do(desk.books.ask())
    assert desk.wait(1)[0].reason is Reason.OK


def test_a_poisoned_command_fails_alone(desk: Desk) -> None:
    with desk.books.store.writing() as txn:
        poison_txn(txn, "13866666666")
    desk.do(desk.books.plain("13800000001"), desk.books.plain("13866666666"), desk.books.plain("13800000002"))
    desk.ledger.start()
    good, bad, better = desk.wait(3)
    assert (good.state, better.state) == (State.HELD, State.HELD)
    assert isinstance(bad.value, LedgerError)


def test_lingering_gathers_company(file_books: Books) -> None:
    desk = Desk(file_books, WriterSettings(batch_max=4, linger_ms=2000, linger_from=0))
    desk.ledger.start()
    desk.do(*(desk.books.plain(f"138000000{n:02d}", 100) for n in range(4)))
    desk.wait(4)
    assert desk.calls.woken == 1
    desk.stop()


def test_the_inline_ledger_has_the_same_face(books: Books) -> None:
    ledger = InlineLedger(books.store)
    notices: list[NoticeRow] = []
    results: list[Any] = []
    ledger.on_notices(notices.extend)
    ledger.on_broken(results.append)
    ledger.start()
    ledger.do(books.plain()).addBoth(results.append)
    ledger.do(books.ask()).addBoth(results.append)
    ledger.read(lambda txn: open_orders(txn, 2**60)).addBoth(results.append)
    assert (results[0].state, results[1].reason, len(results[2])) == (State.HELD, Reason.OK, 1)
    assert [notice.topic for notice in notices] == ["outlet.balance"]
    assert ledger.stop().called


def test_a_commit_that_takes_long_is_reported_once_and_never_cut_short(
    file_books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as a standby is missing, say; the clock is ours."""
    desk = Desk(file_books, WriterSettings(commit_slow_ms=5000, probe_ms=1))
    store, may_end, has_begun = file_books.store, threading.Event(), threading.Event()
    commit = store._dialect.commit

    def wait(*more: Any) -> None:
        has_begun.set()
        assert may_end.wait(60)
        commit(*more)

    monkeypatch.setattr(store._dialect, "commit", wait)
    desk.ledger.start()
    desk.do(desk.books.plain())
    assert has_begun.wait(60)
    assert desk.ledger.trouble == ""
    file_books.clock.ms += 5001
    desk.calls.run_until(lambda: desk.ledger.slow_commits == 1)
    assert "5 s so far" in desk.ledger.trouble
    may_end.set()
    assert desk.wait(1)[0].state is State.HELD
    assert (desk.ledger.trouble, desk.ledger.slow_commits) == ("", 1)
    desk.stop()


def test_a_database_that_is_away_is_trouble_until_it_is_back(
    file_books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found out by asking, not by losing somebody's command."""
    desk = Desk(file_books, WriterSettings(probe_ms=1))
    store, is_back, probes = file_books.store, threading.Event(), queue.Queue[bool]()
    run, ping = store.run_batch, store.ping

    def fail(commands: Any) -> Any:
        raise LedgerError("no server there")

    def look() -> None:
        probes.put(is_back.is_set())
        if not is_back.is_set():
            raise LedgerError("still no server there")
        ping()

    monkeypatch.setattr(store, "run_batch", fail)
    monkeypatch.setattr(store, "ping", look)
    desk.ledger.start()
    desk.do(desk.books.plain())
    assert isinstance(desk.wait(1)[0].value, LedgerError)
    assert "no server there" in desk.ledger.trouble
    probes.get(timeout=60)
    probes.get(timeout=60)
    assert desk.ledger.trouble == "still no server there"
    monkeypatch.setattr(store, "run_batch", run)
    is_back.set()
    while not probes.get(timeout=60):
        pass
    desk.do(desk.books.plain())
    assert desk.wait(2)[1].state is State.HELD
    assert desk.ledger.trouble == ""
    desk.stop()
