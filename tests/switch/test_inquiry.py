"""Questions of an outlet: which day is meant, how far back, and that a day which does not exist is refused."""

from __future__ import annotations

from typing import Any

import pytest

from aircharge.errors import Reason, Refusal
from aircharge.ledger.commands import Inquire
from aircharge.switch.board import Board
from aircharge.switch.inquiry import inquire, object_to
from aircharge.values import Asker, Operation, Verdict
from tests.ledger.desk import PHONES, PIN, SERVICE, Books
from tests.switch.chores import BooksPort
from tests.switch.world import now

DAY_MS = 86_400_000


class Counter:
    """Books in which A has sold 50 yuan once, asked through the board. 2026-11-23 10:00 in Shanghai."""

    def __init__(self) -> None:
        self.books = Books().setup()
        self.sold = self.books.do(self.books.plain(amount_fen=5000))
        self.books.do(self.books.close(self.sold, Verdict.YES))
        self.port = BooksPort(self.books)
        self.board = Board(self.port, [], self.books.clock)

    def ask(self, operation: Operation, about: str = "") -> dict[str, Any]:
        """What was found."""
        now(inquire(self.board, self.books.ask(operation, about=about, pin=PIN)))
        asked = self.port.commands[-1]
        assert isinstance(asked, Inquire)
        return dict(asked.found)


@pytest.mark.parametrize("day", ["", "1123", "20261123"])
def test_a_recap_of_today(day: str) -> None:
    counter = Counter()
    found, none = counter.ask(Operation.RECAP, day), counter.ask(Operation.RECAP, "1122")
    assert found != none
    assert 5000 in found.values()
    assert 5000 not in none.values()


def test_the_balance_comes_with_the_day_which_ends_at_midnight_in_shanghai() -> None:
    counter = Counter()
    assert counter.ask(Operation.BALANCE) == {"today_n": 1, "today_fen": 5000}
    counter.books.wait(13 * 3_600_000 + 59 * 60_000)  # 23:59
    assert counter.ask(Operation.BALANCE)["today_n"] == 1
    counter.books.wait(60_000)
    assert counter.ask(Operation.BALANCE) == {"today_n": 0, "today_fen": 0}


def test_a_day_of_the_year_that_is_yet_to_come_was_last_year() -> None:
    counter = Counter()
    counter.books.wait(40 * DAY_MS)  # the second of January 2027
    assert 5000 in counter.ask(Operation.RECAP, "1123").values()


@pytest.mark.parametrize("day", ["1301", "0230", "20260230", "00010101"])
def test_a_day_that_does_not_exist_is_refused_and_nothing_is_written(day: str) -> None:
    counter = Counter()
    with pytest.raises(Refusal) as refused:
        counter.ask(Operation.RECAP, day)
    assert refused.value.reason is Reason.FORMAT
    assert counter.port.commands == []


def test_an_order_is_found_by_its_number_for_three_days() -> None:
    counter = Counter()
    assert counter.ask(Operation.STATUS, "13812345678")
    counter.books.wait(3 * DAY_MS + 1000)
    old = counter.ask(Operation.STATUS, "13812345678")
    assert str(5000) not in str(old)


def test_history() -> None:
    counter = Counter()
    assert "5000" in str(counter.ask(Operation.HISTORY))


def test_messages_that_say_nothing_are_counted_by_number() -> None:
    counter = Counter()
    asker = Asker(PHONES["A"], SERVICE)
    assert [now(object_to(counter.board, asker, Reason.FORMAT)) for _ in range(3)] == [1, 2, 3]
    assert now(object_to(counter.board, Asker(PHONES["B"], SERVICE), Reason.FORMAT)) == 1
