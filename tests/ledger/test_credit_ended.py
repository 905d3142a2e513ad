"""A credit line that has ended lends nothing, one millisecond after its end and whichever way money moves (row L11)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aircharge.errors import Reason
from aircharge.ledger.credit import ExpireCredit
from aircharge.ledger.pending import ended_credit_lines
from aircharge.values import Receipt, State, Verdict
from tests.ledger.desk import Books
from tests.ledger.test_entries import DAY, FLOAT_A, credit_line
from tests.ledger.test_reversing import back
from tests.ledger.test_tickets import ask, pay
from tests.ledger.test_transferring import back as take_back
from tests.ledger.test_transferring import child_of_a, transfer

FEN_IN = 10_000

Way = Callable[[Books, Receipt], None]


def _void(books: Books, held: Receipt) -> None:
    books.do(books.close(held, Verdict.NO))


def _fund(books: Books, held: Receipt) -> None:
    books.fund("A", FEN_IN)


def _transfer_in(books: Books, held: Receipt) -> None:
    assert books.do(transfer(books, "A", FEN_IN, outlet="B")).state is State.SETTLED


def _ticket(books: Books, held: Receipt) -> None:
    asked = books.do(ask(books, FEN_IN))
    books.do(pay(books, asked.cost_fen))


WAYS: dict[str, Way] = {"void": _void, "fund": _fund, "transfer": _transfer_in, "ticket": _ticket}


@pytest.fixture
def indebted(books: Books) -> tuple[Books, Receipt]:
    """A owes 300 yuan of a line of 500 whose end is one millisecond ago; 100 of them are held."""
    child_of_a(books)
    credit_line(books, 50_000, days=1)
    books.do(books.close(books.do(books.plain(amount_fen=120_000)), Verdict.YES))
    held = books.do(books.plain("13800000002", FEN_IN))
    assert held.state is State.HELD
    books.clock.ms += DAY  # what was asked a moment ago
    return books, held


def floor(books: Books) -> int:
    return int(books.value("SELECT floor FROM balance WHERE account_id = 1000"))


def set_floor(books: Books, fen: int) -> None:
    with books.store.writing() as txn:
        txn.exec_driver_sql(f"UPDATE balance SET floor = {fen} WHERE account_id = 1000")


def test_nothing_more_is_lent(indebted: tuple[Books, Receipt]) -> None:
    books, _ = indebted
    receipt = books.do(books.plain("13800000003", 1_000))
    assert (receipt.state, receipt.reason) == (State.REFUSED, Reason.FLOAT)
    assert books.do(transfer(books, "B", 1_000)).reason is Reason.FLOAT
    assert books.money("A") == (-20_000, FEN_IN)


@pytest.mark.parametrize("way", WAYS)
def test_what_comes_in_repays_and_is_not_lent_again(indebted: tuple[Books, Receipt], way: str) -> None:
    books, held = indebted
    WAYS[way](books, held)
    posted, still_held = books.money("A")
    owed_fen = posted - still_held
    assert -30_000 < owed_fen < 0
    assert floor(books) == owed_fen
    assert books.do(books.plain("13800000003", 100)).reason is Reason.FLOAT
    assert books.problems() == []


@pytest.mark.parametrize("is_void", [True, False], ids=["void", "transfer"])
def test_not_within_one_batch_either(indebted: tuple[Books, Receipt], is_void: bool) -> None:
    """The first command of the batch brings money in, the second would spend it again."""
    books, held = indebted
    first = books.close(held, Verdict.NO) if is_void else transfer(books, "A", FEN_IN, outlet="B")
    _, order = books.batch(first, books.plain("13800000003", 1_000))
    assert (order.state, order.reason) == (State.REFUSED, Reason.FLOAT)


def test_a_reversal_repays(books: Books) -> None:
    credit_line(books, 50_000, days=1)
    sold = [books.do(books.plain(f"1380000000{n}", 60_000)) for n in range(2)]
    for order in sold:
        books.do(books.close(order, Verdict.YES, code="0000"))
    assert books.money("A") == (-20_000, 0)
    undone = books.do(back(books, sold[0]))
    with books.store.writing() as txn:
        txn.exec_driver_sql(f"UPDATE credit_line SET until_ms = {books.clock.ms}")
    books.do(books.close(undone, Verdict.YES, code="0000"))
    assert books.money("A") == (40_000, 0)
    assert floor(books) == 0
    assert books.do(books.plain("13800000009", 41_000)).reason is Reason.FLOAT


def test_a_transfer_taken_back_repays(indebted: tuple[Books, Receipt]) -> None:
    books, _ = indebted
    books.fund("A", 40_000)
    sent = books.do(transfer(books, "B", 5_000))
    assert sent.state is State.SETTLED
    books.do(books.plain("13800000004", 5_000))
    assert floor(books) == 0
    assert books.do(take_back(books, sent)).state is State.SETTLED
    assert books.do(books.plain("13800000005", 5_001)).reason is Reason.FLOAT


def test_a_line_lowered_below_what_is_used_follows_what_comes_in(books: Books) -> None:
    credit_line(books, 50_000)
    books.do(books.close(books.do(books.plain(amount_fen=140_000)), Verdict.YES))
    credit_line(books, 10_000)
    assert floor(books) == -40_000
    books.fund("A", 20_000)
    assert floor(books) == -20_000
    assert books.do(books.plain("13800000003", 100)).reason is Reason.FLOAT
    books.fund("A", 15_000)
    assert floor(books) == -10_000
    assert books.do(books.plain("13800000003", 5_000)).state is State.HELD


def test_the_end_is_told_once_though_the_floor_has_moved_already(indebted: tuple[Books, Receipt]) -> None:
    books, _ = indebted
    books.fund("A", FEN_IN)
    with books.engine.connect() as txn:
        due = ended_credit_lines(txn, books.clock.ms)
    assert due == [ExpireCredit(FLOAT_A, "A")]
    for _ in range(2):
        books.do(due[0])
    assert books.told().count("outlet.credit-ended") == 1
    with books.engine.connect() as txn:
        assert ended_credit_lines(txn, books.clock.ms) == []


def test_a_line_given_anew_lends_again_and_its_end_is_told_again(indebted: tuple[Books, Receipt]) -> None:
    books, _ = indebted
    books.do(ExpireCredit(FLOAT_A, "A"))
    credit_line(books, 50_000, days=1)
    assert books.do(books.plain("13800000003", 1_000)).state is State.HELD
    books.wait(2 * DAY)
    books.do(ExpireCredit(FLOAT_A, "A"))
    assert books.told().count("outlet.credit-ended") == 2


def test_a_floor_that_no_line_stands_behind_lends_nothing_and_is_named(books: Books) -> None:
    set_floor(books, -100_000_000)
    assert books.problems() == ["account 1000: floor -100000000 without a credit line"]
    assert books.do(books.plain(amount_fen=200_000)).reason is Reason.FLOAT
    set_floor(books, 0)


def test_a_floor_below_its_line_is_named(books: Books) -> None:
    credit_line(books, 50_000)
    set_floor(books, -50_001)
    assert books.problems() == ["account 1000: floor -50001 below its credit line of 50000"]
    set_floor(books, -50_000)
