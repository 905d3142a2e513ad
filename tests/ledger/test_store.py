"""Transactions: whole or not at all, guilty commands alone, unknown commits, locks, a kill at the wrong moment."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from aircharge.errors import LedgerError, Reason
from aircharge.ledger.book import Book
from aircharge.ledger.closing import ENDINGS
from aircharge.ledger.page import Page
from aircharge.ledger.reading import open_orders
from aircharge.ledger.rows import OutletRow, TxnRow
from aircharge.ledger.store import BrokenLedger, Store
from aircharge.values import Operation, State, Verdict
from tests.ledger import engines
from tests.ledger.desk import Books
from tests.ledger.engines import poison_txn


def test_a_number_no_column_holds_fails_alone(books: Books) -> None:
    huge = books.plain("13866666666")
    huge = replace(huge, order=replace(huge.order, repeat=10**30))
    good, bad, better = books.batch(books.plain("13800000001"), huge, books.plain("13800000002"))
    assert (good.state, better.state) == (State.HELD, State.HELD)
    assert isinstance(bad, LedgerError)


def test_a_poisoned_command_fails_alone(books: Books) -> None:
    with books.store.writing() as txn:
        poison_txn(txn, "13866666666")
    good, bad, better = books.batch(
        books.plain("13800000001"), books.plain("13866666666"), books.plain("13800000002")
    )
    assert (good.state, better.state) == (State.HELD, State.HELD)
    assert isinstance(bad, LedgerError)
    assert books.money("A") == (100_000, 10_000)
    with pytest.raises(LedgerError, match="poison"):
        books.store.run([books.plain("13866666666")])


def fail_once(books: Books, where: str, error: Exception) -> None:
    """The next commit fails, before or after it reached the disk."""

    def commit(connection: Any) -> None:
        event.remove(books.engine, "commit", commit)
        if where == "after":
            connection.connection.dbapi_connection.execute("COMMIT")
        else:
            connection.connection.dbapi_connection.execute("ROLLBACK")
        raise OperationalError("COMMIT", None, error)

    event.listen(books.engine, "commit", commit)


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_commit_error_is_unknown_until_the_key_is_asked_again(file_books: Books, where: str) -> None:
    books = file_books
    asked = books.plain()
    fail_once(books, where, sqlite3.OperationalError("interrupted"))
    with pytest.raises(LedgerError, match="unknown"):
        books.do(asked)
    receipt = books.do(asked)
    assert (receipt.state, receipt.fresh) == (State.HELD, where == "before")
    assert books.money("A") == (100_000, 5_000)


BROKEN_DISKS = {
    "sqlite": sqlite3.OperationalError("disk I/O error"),
    "postgresql": psycopg.errors.DataCorrupted("invalid page in block 7"),
}


def test_a_failing_disk_breaks_the_ledger(file_books: Books, engine: str) -> None:
    fail_once(file_books, "before", BROKEN_DISKS[engine])
    with pytest.raises(BrokenLedger):
        file_books.do(file_books.plain())


def fill(books: Books) -> None:
    for number in range(200):
        books.batch(*(books.plain(f"138{number:04d}{n:04d}", 100) for n in range(50)))


def test_a_full_disk_leaves_nothing_behind_and_is_survived(sqlite_books: Books) -> None:
    books = sqlite_books
    pages = books.value("PRAGMA page_count")

    def full(connection: Any, *_: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages if limited else 2**30}")

    limited = True
    event.listen(books.engine, "checkout", full)
    with pytest.raises(LedgerError, match="full"):
        fill(books)
    limited = False
    assert books.problems() == []
    assert books.do(books.plain("13900000009", 100)).state is State.HELD


def test_a_second_writer_is_waited_for_then_refused(sqlite_books: Books, tmp_path: Path) -> None:
    books = sqlite_books
    event.listen(
        books.engine, "checkout", lambda connection, *_: connection.execute("PRAGMA busy_timeout = 50")
    )
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    asked = books.plain()
    with pytest.raises(LedgerError, match="locked"):
        books.do(asked)
    with books.engine.connect() as txn:
        assert open_orders(txn, 2**60) == []  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    assert books.do(asked).fresh


def test_a_bug_in_the_book_writes_nothing(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    def settle(page: Page, row: TxnRow, outlet: OutletRow) -> None:
        page.touch_balance(_overdrawn(page.rows.balances[row.outlet_acct]))

    monkeypatch.setitem(ENDINGS, Operation.RECHARGE, replace(ENDINGS[Operation.RECHARGE], settle=settle))
    order = books.do(books.plain())
    with pytest.raises(BrokenLedger, match="invariant"):
        books.do(books.close(order, Verdict.YES))
    assert books.money("A") == (100_000, 5_000)


def _overdrawn(row: Any) -> Any:
    row.posted -= 10**9
    return row


def test_a_row_changed_behind_our_back_stops_the_ledger(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = books.do(books.plain())
    apply = Book.apply

    def meddle(self: Book, commands: Any, rows: Any, *more: Any) -> Any:
        for row in rows.txns.values():
            row.loaded_state = int(State.SENT)
        return apply(self, commands, rows, *more)

    monkeypatch.setattr(Book, "apply", meddle)
    with pytest.raises(BrokenLedger, match="0 of 1 orders"):
        books.do(books.close(order, Verdict.YES))
    monkeypatch.undo()
    assert books.money("A") == (100_000, 5_000)


def test_two_stores_of_one_node_do_not_stumble_over_ids(file_books: Books) -> None:
    """The clerk's desk and the daemon share node and millisecond: a clash of ids is drawn again."""
    books = file_books
    desk = Store(
        books.engine, Book(books.store._book.settings, lambda *_: b""), books.clock, 1, own_time=True
    )
    books.do(books.plain("13800000001"))
    for number in range(2, 8):
        store = desk if number % 2 else books.store
        [receipt] = store.run([books.plain(f"1380000000{number}")])
        assert receipt.state is State.HELD  # type: ignore[union-attr]


_VICTIM = """
import os, sys
from tests.ledger.desk import Books
from sqlalchemy import event
books = Books(sys.argv[1])
books.clock.ms += 1000
point, commands = sys.argv[2], [books.plain("13800000001", mark="victim"), books.plain("13800000002", mark="v2")]
if point == "before":
    event.listen(books.engine, "commit", lambda connection: os._exit(9))
books.store.run(commands)
os._exit(9)
"""


@pytest.mark.parametrize(("point", "held"), [("before", 0), ("after", 10_000)])
@pytest.mark.usefixtures("engine")
def test_a_process_that_dies_at_its_commit(tmp_path: Path, point: str, held: int) -> None:
    url = engines.new_url(tmp_path)
    Books(url).setup().engine.dispose()
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", _VICTIM, url, point], cwd=root, timeout=60, check=False)
    assert ended.returncode == 9
    books = Books(url)
    books.clock.ms += 2000
    assert books.money("A") == (100_000, held)
    receipt = books.do(books.plain("13800000001", mark="victim"))
    assert (receipt.state, receipt.fresh) == (State.HELD, point == "before")
    assert books.problems() == []
    books.engine.dispose()


def test_recovery_finds_what_is_open(books: Books) -> None:
    doubt, held, done = (books.do(books.plain(f"1380000000{n}")) for n in range(3))
    books.do(books.close(doubt, Verdict.UNKNOWN, next_ms=5))
    books.do(books.close(done, Verdict.YES))
    with books.engine.connect() as txn:
        assert [order.order_id for order in open_orders(txn, 2**60)] == [doubt.order_id, held.order_id]
        [due] = open_orders(txn, books.clock.ms)
    assert (due.op_ref, due.state, due.attempts) == (doubt.op_ref, State.IN_DOUBT, 0)


def test_operators_get_their_stock_account_once(books: Books) -> None:
    books.store.ensure_operators({1: "mobile", 3: "telecom"})
    assert books.value("SELECT count(*) FROM account WHERE kind = 1") == 3
    with pytest.raises(LedgerError):
        books.store.ensure_operators({100: "clearing"})


def test_a_clock_that_stepped_back_over_a_restart(file_books: Books) -> None:
    books = file_books
    before = books.do(books.plain("13800000001"))
    books.clock.ms -= 3_600_000
    again = Store(books.engine, books.store._book, books.clock, 1, own_time=True)
    [after] = again.run([books.plain("13800000002")])
    assert after.order_id > before.order_id  # type: ignore[union-attr]
    assert after.reason is Reason.OK  # type: ignore[union-attr]


def test_a_dead_operators_doubts_stand_in_no_others_way(books: Books) -> None:
    """L8 of 2026-11-30: each operator has its own page of doubts."""
    for number in range(6):
        books.do(
            books.close(books.do(books.plain(f"1380000000{number}", 100)), Verdict.UNKNOWN, next_ms=number)
        )
    for number in range(2):
        other = replace(books.plain(f"1390000000{number}", 100), operator_id=2)
        books.do(books.close(books.do(other), Verdict.UNKNOWN, next_ms=100 + number))
    with books.engine.connect() as txn:
        due = open_orders(txn, 2**60, 3)
    assert [order.operator_id for order in due] == [1, 1, 1, 2, 2]
    assert len({order.order_id for order in due}) == 5
