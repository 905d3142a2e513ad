"""An outlet's day on paper: opening, every movement with the balance after it, closing; the recap adds up."""

from __future__ import annotations

import csv
import io

import pytest

from aircharge.errors import LedgerError
from aircharge.ledger.checkpoints import closable, close_day
from aircharge.ledger.days import CutDay, OpenDays
from aircharge.ledger.statements import Recap, Statement, csv_text, statement
from aircharge.values import Verdict
from tests.ledger.desk import Books

D, E = 2026_11_23, 2026_11_24
HOUR = 3_600_000


def of(books: Books, date: int, account: str = "float", code: str = "A") -> Statement:
    with books.engine.connect() as txn:
        return statement(txn, code, date, account)


def two_days(books: Books) -> None:
    """The 23rd: funding of 1,000 (the desk's) and 50, recharges of 50 and 30, one of 20 held. The 24th: it settles."""
    books.add("price", id=1, operator_id=1, mode=2, rate_ppm=20_000, from_date=2026_01_01)  # 2 %, at once
    books.fund("A", 5_000)
    for number, fen in (("13800000001", 5_000), ("13800000002", 3_000)):
        books.do(books.close(books.do(books.plain(number, fen)), Verdict.YES))
    late = books.do(books.plain("13800000003", 2_000))
    gone = books.do(books.plain("13800000004", 1_000))
    books.do(CutDay(1, E, "clerk"))
    books.do(books.close(late, Verdict.YES))
    books.do(books.close(gone, Verdict.NO))


def lines(shown: Statement) -> list[tuple[str, int, int]]:
    return [(row.kind, row.fen, row.after_fen) for row in shown.movements]


def balance(recap: Recap) -> int:
    return recap.returned_fen - recap.paid_fen + recap.came_fen - recap.went_fen


@pytest.mark.parametrize("is_closed", [False, True])
def test_two_days_of_an_outlet(books: Books, is_closed: bool) -> None:
    two_days(books)
    if is_closed:  # the same from the checkpoint as from row 0
        books.wait(14 * HOUR)
        books.do(OpenDays())
        with books.engine.connect() as txn:
            days = closable(txn)
        for operator_id, date in days:
            assert close_day(books.engine, operator_id, date, books.clock.ms, "keeper") == []
    first, second = of(books, D), of(books, E)
    assert (first.opening_fen, first.closing_fen) == (0, 97_000)
    assert lines(first) == [
        ("funding", 100_000, 100_000),
        ("funding", 5_000, 105_000),
        ("recharge", -5_000, 100_000),
        ("recharge", -3_000, 97_000),
    ]
    assert first.movements[2].number == "138****0001"
    assert (second.opening_fen, second.closing_fen) == (97_000, 95_000)
    assert lines(second) == [("recharge", -2_000, 95_000)]
    assert books.money("A") == (95_000, 0)
    assert first.recap == Recap(2, 8_000, 8_000, commission_fen=160, came_fen=105_000)
    assert second.recap == Recap(1, 2_000, 2_000, commission_fen=40)
    for shown in (first, second):
        assert shown.closing_fen == shown.opening_fen + balance(shown.recap)
    earned = of(books, E, "commission")
    assert (earned.opening_fen, lines(earned)) == (160, [("recharge", 40, 200)])
    assert lines(of(books, E + 1)) == []
    assert of(books, E + 1).opening_fen == 95_000
    assert of(books, D - 1).closing_fen == 0


def test_a_discount_is_commission_too(books: Books) -> None:
    books.add("price", id=1, operator_id=1, mode=1, rate_ppm=20_000, from_date=2026_01_01)
    books.do(books.close(books.do(books.plain("13800000001", 5_000)), Verdict.YES))
    assert of(books, D).recap == Recap(1, 5_000, 4_900, commission_fen=100, came_fen=100_000)


@pytest.mark.parametrize(
    ("code", "account", "why"),
    [("Z", "float", "no outlet Z"), ("A", "purse", "no account is called 'purse'")],
)
def test_no_such_account(books: Books, code: str, account: str, why: str) -> None:
    with pytest.raises(LedgerError, match=why):
        of(books, D, account, code)


@pytest.mark.usefixtures("engine")
def test_a_statement_is_not_made_over_wrong_books() -> None:
    books = Books().setup()
    with books.store.writing() as txn:
        txn.exec_driver_sql("UPDATE balance SET posted = posted - 1 WHERE account_id = 1000")
    with pytest.raises(LedgerError, match="the books of outlet A are not sound"):
        of(books, D)
    assert of(books, D, code="B").closing_fen == 10_000
    books.engine.dispose()


def test_as_a_file(books: Books) -> None:
    two_days(books)
    text = csv_text(of(books, E))
    assert text.encode("gb18030").decode("gb18030") == text
    heads, opening, moved, closing = csv.reader(io.StringIO(text))
    assert heads == ["时间", "流水", "业务", "号码", "存入", "支出", "余额"]
    assert (opening[2], opening[6]) == ("期初余额", "970.00")
    assert moved[2:] == ["充值", "138****0003", "", "20.00", "950.00"]
    assert moved[0] == "2026-11-23 10:00:00"  # the clock's date; the statement's is the accounting day's
    assert (closing[2], closing[6]) == ("期末余额", "950.00")
    assert csv_text(of(books, E), "en").splitlines()[0] == "time,order,kind,number,in,out,balance"
