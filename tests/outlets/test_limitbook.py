"""Limits and transfer rules: what may be written, and that it is in force from the next order on."""

from __future__ import annotations

from functools import partial

import pytest

from aircharge.errors import Reason
from aircharge.outlets import limitbook
from aircharge.outlets.limitbook import LimitForm, TransferForm
from tests.ledger.desk import Books
from tests.outlets.desk import actions, at_desk, policy_version, read, refused


def test_a_limit_is_in_force_from_the_next_order_on_and_until_it_is_switched_off(books: Books) -> None:
    form = LimitForm("outlet", "recharge", "day", count_max=1, value="A")
    assert at_desk(books, lambda desk: limitbook.add_limit_txn(desk, form)) == 1
    assert books.do(books.plain("13800000001")).reason is Reason.OK
    assert books.do(books.plain("13800000002")).reason is Reason.LIMIT_COUNT
    assert books.do(books.plain("13800000002", outlet="B")).reason is Reason.OK
    at_desk(books, lambda desk: limitbook.switch_limit_txn(desk, 1, on=False))
    assert books.do(books.plain("13800000003")).reason is Reason.OK
    refused(books, lambda desk: limitbook.switch_limit_txn(desk, 1, on=False), "off already")
    at_desk(books, lambda desk: limitbook.switch_limit_txn(desk, 1, on=True))
    assert books.do(books.plain("13800000004")).reason is Reason.LIMIT_COUNT
    assert actions(books) == ["limit.add", "limit.off", "limit.on"]
    assert policy_version(books) == 4
    [row] = read(books, limitbook.limit_rules)
    assert (row["limit"], row["subject"], row["only"], row["period"], row["on"]) == (
        1,
        "outlet",
        "A",
        "day",
        True,
    )


def test_how_often_a_number_may_be_recharged(books: Books) -> None:
    """The profile: 10 a day, 15 a week, 40 a month, over all outlets."""
    assert at_desk(books, lambda desk: limitbook.add_profile_txn(desk, "target-velocity")) == [1, 2, 3]
    reasons = [books.do(books.plain(amount_fen=100, repeat=n)).reason.name for n in range(1, 12)]
    assert reasons == ["OK"] * 10 + ["LIMIT_COUNT"]
    assert books.do(books.plain(amount_fen=100, outlet="B")).reason is Reason.LIMIT_COUNT
    assert books.notices[-1].facts | {"rule": 1, "count_max": 10, "used_n": 10} == books.notices[-1].facts
    refused(books, lambda desk: limitbook.add_profile_txn(desk, "velocity"), "target-velocity")


def test_a_number_alone_is_written_as_the_ledger_writes_it_and_masked_where_people_read(books: Books) -> None:
    form = LimitForm("target", "recharge", "day", count_max=0, value="+86 138-1234-5678")
    at_desk(books, lambda desk: limitbook.add_limit_txn(desk, form))
    assert books.do(books.plain("13812345678")).reason is Reason.LIMIT_COUNT
    assert books.do(books.plain("13812345679")).reason is Reason.OK
    assert "13812345678" not in repr(books.rows("SELECT detail FROM audit"))
    assert read(books, limitbook.limit_rules)[0]["only"] == "138****5678"


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (LimitForm("shop", "recharge", "day", 1), "subject 'shop'"),
        (LimitForm("outlet", "theft", "day", 1), "operation 'theft'"),
        (LimitForm("outlet", "balance", "day", 1), "operation 'balance'"),
        (LimitForm("outlet", "recharge", "year", 1), "period 'year'"),
        (LimitForm("outlet", "recharge", "day"), "limits something"),
        (LimitForm("outlet", "recharge", "day", -1), "0 to"),
        (LimitForm("outlet", "recharge", "day", 10**19), "0 to"),
        (LimitForm("outlet", "recharge", "transaction", 1), "no number of orders"),
        (LimitForm("outlet", "recharge", "day", value_min_fen=1), "each single order"),
        (LimitForm("outlet", "recharge", "day", value_max_fen=0), "more than nothing"),
        (LimitForm("outlet", "recharge", "day", value_max_fen=-1), "more than nothing"),
        (LimitForm("outlet", "recharge", "day", value_max_fen=10**19), "100 million"),
        (LimitForm("outlet", "recharge", "transaction", value_min_fen=2, value_max_fen=1), "least"),
        (LimitForm("outlet", "recharge", "day", 1, value="Z"), "no outlet Z"),
        (LimitForm("target", "recharge", "day", 1, value="12345"), "no phone number"),
        (LimitForm("terminal", "recharge", "day", 1, value="no good"), "terminal"),
        (LimitForm("outlet", "recharge", "day", 1, group="a b"), "group"),
    ],
)
def test_limits_that_cannot_be(books: Books, form: LimitForm, says: str) -> None:
    refused(books, lambda desk: limitbook.add_limit_txn(desk, form), says)


def test_switching_what_is_not_there(books: Books) -> None:
    for number in (0, 7, 10**19):
        refused(books, partial(limitbook.switch_limit_txn, number=number, on=True), "no limit")
        refused(
            books, partial(limitbook.switch_transfer_rule_txn, number=number, on=True), "no transfer rule"
        )


def test_transfer_rules(books: Books) -> None:
    form = TransferForm(from_code="A", to_group="gold", min_fen=100, max_fen=5000)
    assert at_desk(books, lambda desk: limitbook.add_transfer_rule_txn(desk, form)) == 1
    at_desk(books, lambda desk: limitbook.switch_transfer_rule_txn(desk, 1, on=False))
    assert read(books, limitbook.transfer_rules) == [
        {"rule": 1, "from": "A", "to": "group gold", "min_fen": 100, "max_fen": 5000, "on": False}
    ]
    assert actions(books) == ["transfer-rule.add", "transfer-rule.off"]


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (TransferForm(to_code="B"), "from: "),
        (TransferForm(from_code="A", from_group="gold", to_code="B"), "from: "),
        (TransferForm(from_code="A"), "to: "),
        (TransferForm(from_code="Z", to_code="B"), "no outlet Z"),
        (TransferForm(from_code="A", to_code="A"), "same outlet"),
        (TransferForm(from_code="A", to_group="a b"), "group"),
        (TransferForm(from_code="A", to_code="B", min_fen=0), "amounts"),
        (TransferForm(from_code="A", to_code="B", min_fen=2, max_fen=1), "amounts"),
        (TransferForm(from_code="A", to_code="B", max_fen=10**19), "amounts"),
    ],
)
def test_transfer_rules_that_cannot_be(books: Books, form: TransferForm, says: str) -> None:
    refused(books, lambda desk: limitbook.add_transfer_rule_txn(desk, form), says)
