"""Entries by hand: who owes whom after each, what speaks against one, and that it takes two people."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from aircharge.ledger.chart import OUTLET_CLOSED, OUTLET_CLOSING, commission_account, deposit_account
from aircharge.ledger.commands import Fund
from aircharge.ledger.credit import CreditLine, ExpireCredit
from aircharge.ledger.entries import ENTRIES, Declined, Enter
from aircharge.ledger.funding import (
    EntryForm,
    FundingError,
    propose_credit_txn,
    propose_entry_txn,
    propose_payouts_txn,
    waiting,
)
from aircharge.sms.phrases import built_in_templates
from aircharge.values import Operation, Receipt, State, Verdict
from tests.ledger.desk import MINUTE, Books
from tests.ledger.test_reversing import back

FLOAT_A = 1000
DAY = 24 * 60 * MINUTE


def ask(
    books: Books, what: str, amount_fen: int, reference: str = "r-1", code: str = "A", **more: Any
) -> int:
    form = EntryForm(what, amount_fen, reference, code, **more)
    with books.store.writing() as txn:
        return propose_entry_txn(txn, form, maker="li", now_ms=books.clock.ms)


def credit_line(books: Books, limit_fen: int, days: int = 30) -> CreditLine:
    with books.store.writing() as txn:
        until_ms = books.clock.ms + days * DAY
        request = propose_credit_txn(txn, "A", limit_fen, until_ms, maker="li", now_ms=books.clock.ms)
    line = books.do(Enter(request, "wang"))
    assert isinstance(line, CreditLine)
    return line


def status(books: Books, code: str, number: int) -> None:
    with books.store.writing() as txn:
        txn.execute(text("UPDATE outlet SET status = :n WHERE code = :c"), {"n": number, "c": code})


def purse(books: Books, account: int) -> int:
    return int(books.value("SELECT posted FROM balance WHERE account_id = :a", a=account))


# Before each: float 1,000.00, deposit 200.00, commission 50.00 yuan.
TABLE: list[tuple[str, dict[str, Any], int, int, Operation, tuple[int, int, int], str]] = [
    # what, more, debit, credit, as what kind of order; then float, deposit and commission account; what is told
    ("funding", {}, 100, 1000, Operation.FUNDING, (103_000, 20_000, 5_000), "outlet.funded"),
    ("adjust-up", {}, 400, 1000, Operation.ADJUSTMENT, (103_000, 20_000, 5_000), "outlet.adjusted"),
    ("adjust-down", {}, 1000, 400, Operation.ADJUSTMENT, (97_000, 20_000, 5_000), "outlet.adjusted"),
    ("deposit-in", {}, 1000, 2 * 10**12 + 1000, Operation.DEPOSIT, (97_000, 23_000, 5_000), "outlet.deposit"),
    ("deposit-out", {}, 2 * 10**12 + 1000, 1000, Operation.DEPOSIT, (103_000, 17_000, 5_000), "outlet.deposit"),
    ("payout", {}, 201, 10**12 + 1000, Operation.PAYOUT, (100_000, 20_000, 8_000), "outlet.payout"),
    ("stock", {"code": "", "operator_id": 1}, 1, 100, Operation.STOCK, (100_000, 20_000, 5_000), ""),
    ("suspense-in", {"code": ""}, 100, 300, Operation.FUNDING, (100_000, 20_000, 5_000), ""),
    ("suspense-stock", {"code": "", "operator_id": 2}, 300, 2, Operation.ADJUSTMENT, (100_000, 20_000, 5_000), ""),
]  # fmt: skip


@pytest.fixture
def purses(books: Books) -> Books:
    books.fund("A", 20_000)
    for what, amount_fen in (("deposit-in", 20_000), ("payout", 5_000)):
        books.do(Enter(ask(books, what, amount_fen, "before"), "wang"))
    books.notices.clear()
    return books


@pytest.mark.parametrize(
    ("what", "more", "debit", "credit", "kind", "after", "topic"), TABLE, ids=[r[0] for r in TABLE]
)
def test_where_the_money_goes(
    purses: Books,
    what: str,
    more: dict[str, Any],
    debit: int,
    credit: int,
    kind: Operation,
    after: tuple[int, int, int],
    topic: str,
) -> None:
    request = ask(purses, what, 3_000, **more)
    receipt = purses.do(Enter(request, "wang"))
    assert isinstance(receipt, Receipt), receipt
    assert (receipt.state, receipt.fresh, receipt.amount_fen) == (State.SETTLED, True, 3_000)
    assert purses.rows("SELECT dr, cr, amount FROM journal ORDER BY jid DESC LIMIT 1") == [
        (debit, credit, 3_000)
    ]
    assert purses.value("SELECT kind FROM txn WHERE id = :i", i=receipt.order_id) == int(kind)
    accounts = (FLOAT_A, deposit_account(FLOAT_A), commission_account(FLOAT_A))
    assert tuple(purse(purses, account) for account in accounts) == after
    assert purses.told() == ([topic] if topic else [])
    audits = purses.rows("SELECT action, actor FROM audit ORDER BY seq DESC LIMIT 2")
    assert audits == [(f"{what}.confirm", "wang"), (f"{what}.ask", "li")]


def test_a_closing_outlet_is_emptied(purses: Books) -> None:
    status(purses, "A", OUTLET_CLOSING)
    for what, amount_fen in (("deposit-out", 20_000), ("commission-out", 5_000), ("withdrawal", 125_000)):
        receipt = purses.do(Enter(ask(purses, what, amount_fen), "wang"))
        assert isinstance(receipt, Receipt), receipt
    assert (
        purses.rows("SELECT posted, held FROM balance WHERE account_id % 1000000000 = 1000") == [(0, 0)] * 3
    )
    assert purses.told() == ["outlet.deposit", "outlet.commission", "outlet.withdrawn"]
    assert purses.rows("SELECT dr, cr, amount FROM journal ORDER BY jid DESC LIMIT 1") == [
        (1000, 100, 125_000)
    ]


AGAINST: list[tuple[str, int, int, str]] = [
    # what          status           yuan cent  what is said
    ("adjust-down", 1, 100_001, "the float of A has only 1000.00 yuan free"),
    ("deposit-in", 1, 100_001, "the float of A has only 1000.00 yuan free"),
    ("deposit-out", 1, 20_001, "the deposit of A has only 200.00 yuan free"),
    ("withdrawal", 1, 1, "outlet A is not being closed"),
    ("commission-out", 1, 1, "outlet A is not being closed"),
    ("withdrawal", OUTLET_CLOSING, 100_001, "the float of A has only 1000.00 yuan free"),
    ("funding", OUTLET_CLOSED, 1, "outlet A is closed"),
]


@pytest.mark.parametrize(("what", "standing", "amount_fen", "said"), AGAINST)
def test_what_speaks_against_it(purses: Books, what: str, standing: int, amount_fen: int, said: str) -> None:
    status(purses, "A", standing)
    request = ask(purses, what, amount_fen)
    before = purses.value("SELECT max(jid) FROM journal")
    assert purses.do(Enter(request, "wang")) == said
    assert purses.value("SELECT max(jid) FROM journal") == before
    assert (
        purses.value("SELECT state FROM change_request WHERE id = :i", i=request) == 0
    )  # it may be tried again


def test_nothing_is_withdrawn_while_an_order_is_open(books: Books) -> None:
    order = books.do(books.plain())
    status(books, "A", OUTLET_CLOSING)
    request = ask(books, "withdrawal", 95_000)
    assert books.do(Enter(request, "wang")) == "outlet A has orders that are still open"
    books.do(books.close(order, Verdict.YES))
    assert isinstance(books.do(Enter(request, "wang")), Receipt)
    assert books.money("A") == (0, 0)


def test_maker_and_checker(books: Books) -> None:
    request = ask(books, "adjust-up", 100)
    assert books.do(Enter(request, "li")) == "maker and checker are two people"
    assert books.do(Enter(request, " ")) == "maker and checker are two people"
    assert (
        books.do(Fund(request, "wang")) == f"no request {request} waits to be confirmed"
    )  # it is no funding
    assert books.do(Enter(request, "wang", decline="no letter")) == Declined(request, "adjust-up")
    assert books.do(Enter(request, "wang")) == f"no request {request} waits to be confirmed"
    assert books.do(Enter(99, "wang")) == "no request 99 waits to be confirmed"
    row = books.rows("SELECT state, checker, note, txn_id FROM change_request WHERE id = :i", i=request)
    assert row == [(2, "wang", "no letter", None)]
    assert books.money("A") == (100_000, 0)
    with books.engine.connect() as txn:
        assert waiting(txn, ENTRIES) == []


def test_a_request_decided_twice_in_one_batch(books: Books) -> None:
    request = ask(books, "adjust-up", 100)
    declined, late = books.batch(Enter(request, "wang", decline="no"), Enter(request, "zhao"))
    assert isinstance(declined, Declined)
    assert isinstance(late, str)


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("no such entry", {"what": "gift"}, "no entry is called 'gift'"),
    ("nothing", {"amount_fen": 0}, "more than nothing"),
    ("less than nothing", {"amount_fen": -1}, "more than nothing"),
    ("too much", {"amount_fen": 10**19}, "at most 100 million yuan"),
    ("no reference", {"reference": ""}, "missing or too long"),
    ("a long reference", {"reference": "x" * 61}, "missing or too long"),
    ("no outlet", {"code": "Z"}, "no outlet Z"),
    ("an outlet where none moves", {"what": "suspense-in"}, "moves no account of an outlet"),
    ("no operator", {"what": "stock", "code": "", "operator_id": 9}, "no operator 9"),
    ("nothing in suspense", {"what": "suspense-out", "reference": "77"}, "brought nothing into suspense"),
]


@pytest.mark.parametrize(("more", "said"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_cannot_be_asked(books: Books, more: dict[str, Any], said: str) -> None:
    form = {"what": "adjust-up", "amount_fen": 100, "reference": "r", "code": "A"} | more
    with pytest.raises(FundingError, match=said), books.store.writing() as txn:
        propose_entry_txn(txn, EntryForm(**form), maker="li", now_ms=books.clock.ms)
    assert books.value("SELECT count(*) FROM change_request WHERE state = 0") == 0


def test_a_reference_counts_once(books: Books) -> None:
    request = ask(books, "funding", 100, "slip-9")
    with pytest.raises(FundingError, match="has been entered already"):
        ask(books, "funding", 100, "slip-9")
    with pytest.raises(FundingError, match="has been entered already"):  # the same slip, for nobody known
        ask(books, "suspense-in", 100, "slip-9", "")
    books.do(Enter(request, "wang"))
    with pytest.raises(FundingError, match="has been entered already"):
        ask(books, "suspense-in", 100, "slip-9", "")
    assert ask(books, "adjust-up", 100, "slip-9") > request  # another kind of paper


def test_suspense_goes_out_once_and_whole(books: Books) -> None:
    came = books.do(Enter(ask(books, "suspense-in", 700, "slip-1", ""), "wang"))
    reference = str(came.order_id)
    with pytest.raises(FundingError, match="all of it or nothing"):
        ask(books, "suspense-out", 600, reference)
    request = ask(books, "suspense-out", 700, reference)
    with pytest.raises(FundingError, match="has been entered already"):
        ask(books, "suspense-refund", 700, reference, "")
    assert isinstance(books.do(Enter(request, "wang")), Receipt)
    assert books.money("A") == (100_700, 0)
    assert books.rows("SELECT dr, cr FROM journal ORDER BY jid DESC LIMIT 2") == [(300, 1000), (100, 300)]


def test_suspense_goes_out_under_one_way_of_writing_its_order(books: Books) -> None:
    """Full-width digits and noughts before are the same number, but would be another reference: the sum went twice."""
    books.clock.ms += 3 * 365 * DAY  # orders have 19 digits from 2027 on
    came = books.do(Enter(ask(books, "suspense-in", 700, "slip-1", ""), "wang"))
    reference = str(came.order_id)
    assert len(reference) == 19
    assert isinstance(books.do(Enter(ask(books, "suspense-out", 700, reference), "wang")), Receipt)
    wide = reference.translate({ord("0") + digit: ord("０") + digit for digit in range(10)})
    for other in (wide, f"0{reference}", str(10**19 - 1)):
        with pytest.raises(FundingError, match="brought nothing into suspense"):
            ask(books, "suspense-refund", 700, other, "")


@pytest.mark.parametrize("mark", ["slip-9 ", "\tslip-9", "slip\u200b-9", "slip\0-9", "slip-9\ud800"])
def test_a_reference_is_written_as_it_is_seen(books: Books, mark: str) -> None:
    books.do(Enter(ask(books, "funding", 700, "slip-9"), "wang"))
    with pytest.raises(FundingError, match="nobody can see"):
        ask(books, "funding", 700, mark)


def test_what_has_ended_undecided_may_be_asked_for_again(books: Books) -> None:
    ended = ask(books, "funding", 700, "slip-9")
    books.clock.ms += 8 * DAY
    assert "has ended: ask again" in books.do(Enter(ended, "wang"))
    again = ask(books, "funding", 700, "slip-9")
    assert isinstance(books.do(Enter(again, "wang")), Receipt)
    with pytest.raises(FundingError, match="has been entered already"):
        ask(books, "funding", 700, "slip-9")
    assert "has ended" in books.do(Enter(ended, "wang"))


# -- credit lines -----------------------------------------------------------------------------------------


def test_a_credit_line_is_used_and_repaid(books: Books) -> None:
    line = credit_line(books, 50_000)
    assert (line.floor_fen, line.owed_fen) == (-50_000, 0)
    assert books.told() == ["outlet.credit"]
    order = books.do(books.plain(amount_fen=120_000))  # 1,000 yuan of its own
    books.do(books.close(order, Verdict.YES))
    assert books.money("A") == (-20_000, 0)
    books.wait(31 * DAY)
    ended = books.do(ExpireCredit(FLOAT_A, "A"))
    assert (ended.floor_fen, ended.owed_fen) == (-20_000, 20_000)
    assert books.do(ExpireCredit(FLOAT_A, "A")) == ended
    assert books.told().count("outlet.credit-ended") == 1
    assert books.do(books.plain("13800000009", 1_000)).state is State.REFUSED
    books.fund("A", 15_000)  # repays first
    assert books.money("A") == (-5_000, 0)
    assert books.value("SELECT floor FROM balance WHERE account_id = 1000") == -5_000
    books.fund("A", 15_000)
    assert books.value("SELECT floor FROM balance WHERE account_id = 1000") == 0


def test_a_line_is_set_and_used_in_one_batch(books: Books) -> None:
    with books.store.writing() as txn:
        until_ms = books.clock.ms + DAY
        request = propose_credit_txn(txn, "A", 50_000, until_ms, maker="li", now_ms=books.clock.ms)
    line, order = books.batch(Enter(request, "wang"), books.plain(amount_fen=150_000))
    assert line.floor_fen == -50_000
    assert order.state is State.HELD


def test_a_line_taken_away_leaves_what_is_owed(books: Books) -> None:
    credit_line(books, 50_000)
    books.do(books.close(books.do(books.plain(amount_fen=110_000)), Verdict.YES))
    assert credit_line(books, 0) == CreditLine(1000, 0, books.clock.ms + 30 * DAY, -10_000, 10_000)


def test_credit_does_not_leave_the_house(books: Books) -> None:
    credit_line(books, 50_000)
    said = books.do(Enter(ask(books, "deposit-in", 100_001), "wang"))
    assert said == "the float of A has only 1000.00 yuan free"


@pytest.mark.parametrize(("limit_fen", "days"), [(-1, 1), (10**19, 1), (100, 0), (100, -1), (100, 400)])
def test_what_is_no_credit_line(books: Books, limit_fen: int, days: int) -> None:
    until_ms = books.clock.ms + days * DAY
    with pytest.raises(FundingError), books.store.writing() as txn:
        propose_credit_txn(txn, "A", limit_fen, until_ms, maker="li", now_ms=books.clock.ms)
    assert books.do(ExpireCredit(FLOAT_A, "A")) == "outlet A has no credit line"
    assert books.do(ExpireCredit(FLOAT_A, "Z")) == "no outlet Z"


# -- commission at month end ------------------------------------------------------------------------------


def test_commission_of_a_month(books: Books) -> None:
    books.add("price", id=1, operator_id=0, group_code="", mode=3, rate_ppm=20_000, from_date=20260101)
    for target, verdict in (
        ("13800000001", Verdict.YES),
        ("13800000002", Verdict.YES),
        ("13800000003", Verdict.NO),
    ):
        books.do(books.close(books.do(books.plain(target, 5_000)), verdict))
    late = books.do(books.plain("13800000004", 5_000))
    with pytest.raises(FundingError, match="not over"):
        payouts(books, 202611)
    books.wait(9 * DAY)  # December
    books.do(books.close(late, Verdict.YES))  # settled in December: December's
    [request] = payouts(books, 202611)
    assert payouts(books, 202611) == []
    receipt = books.do(Enter(request, "wang"))
    assert receipt.amount_fen == 200  # 2 % of twice 50 yuan
    assert payouts(books, 202611) == []
    assert purse(books, commission_account(FLOAT_A)) == 200
    with pytest.raises(FundingError, match="no month"):
        payouts(books, 202613)


def test_an_open_reversal_holds_the_months_commission_back(books: Books) -> None:
    books.add("price", id=1, operator_id=0, group_code="", mode=3, rate_ppm=20_000, from_date=20260101)
    kept, doubtful = (books.do(books.plain(target, 5_000)) for target in ("13800000001", "13800000002"))
    for order in (kept, doubtful):
        books.do(books.close(order, Verdict.YES))
    taken = books.do(back(books, doubtful))
    assert taken.state is State.HELD
    books.wait(9 * DAY)
    assert payouts(books, 202611) == []  # it may yet take one of the two away
    books.do(books.close(taken, Verdict.YES))
    [request] = payouts(books, 202611)
    assert books.do(Enter(request, "wang")).amount_fen == 100


def payouts(books: Books, month: int) -> list[int]:
    with books.store.writing() as txn:
        return propose_payouts_txn(txn, month, maker="li", now_ms=books.clock.ms)


def test_every_entry_has_its_words() -> None:
    topics = {entry.topic for entry in ENTRIES.values() if entry.topic} | {
        "outlet.credit",
        "outlet.credit-ended",
    }
    for language, table in built_in_templates().items():
        assert topics <= table.keys(), language
