"""Edges an accountant asks about: ids out of time, more faults than a person reads, money for a closed outlet."""

from __future__ import annotations

import pytest

from aircharge.ledger.book import BookSettings
from aircharge.ledger.chart import OUTLET_CLOSED, SUSPENSE
from aircharge.ledger.ids import EPOCH_MS, IdSeries
from aircharge.ledger.verify import PROBLEMS_MAX, VerifyReport
from tests.ledger.desk import Books
from tests.ledger.test_entries import status
from tests.ledger.test_tickets import ask, pay


def test_no_id_is_given_by_a_clock_that_is_past_its_years() -> None:
    assert IdSeries(1, lambda: EPOCH_MS + 2**41 - 1)() < 2**63
    with pytest.raises(ValueError, match=r"outside 2020\.\.2089"):
        IdSeries(1, lambda: EPOCH_MS + 2**41)()


@pytest.mark.parametrize("prefix", ["", "A-1", "充", "A" * 13])
def test_a_prefix_that_no_operator_takes_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="op_ref_prefix"):
        BookSettings(op_ref_prefix=prefix)


def test_no_more_faults_are_listed_than_a_person_reads_and_the_books_stay_unsound() -> None:
    report = VerifyReport()
    report.add(f"fault {number}" for number in range(PROBLEMS_MAX + 50))
    report.add(["one more"])
    assert report.problems == [f"fault {number}" for number in range(PROBLEMS_MAX)]
    assert not report.sound


def test_money_that_comes_for_a_closed_outlet_lies_in_suspense(books: Books) -> None:
    books.do(ask(books))
    status(books, "A", OUTLET_CLOSED)
    paid = books.do(pay(books, 100_001))
    assert paid.outlet_id == 0
    assert books.money("A") == (100_000, 0)
    assert books.rows("SELECT dr, cr, amount FROM journal ORDER BY jid DESC LIMIT 1") == [
        (100, SUSPENSE, 100_001)
    ]
    assert books.rows("SELECT theirs FROM recon_item") == [(100_001,)]


def test_a_bank_line_held_against_another_outlets_ticket_moves_nothing(books: Books) -> None:
    books.do(ask(books))
    before = books.value("SELECT max(jid) FROM journal")
    said = books.do(pay(books, 100_001, code="B"))
    assert said == "look again: a ticket of another outlet has that sum"
    assert books.value("SELECT max(jid) FROM journal") == before
    assert not isinstance(books.do(pay(books, 100_001)), str)
