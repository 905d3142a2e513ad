"""Black and white lists: what may be on them, how long, and what the books do with it."""

from __future__ import annotations

import pytest

from aircharge.errors import Reason
from aircharge.outlets import lists
from aircharge.outlets.lists import ListForm
from tests.ledger.desk import MINUTE, PHONES, START_MS, Books
from tests.outlets.desk import actions, at_desk, policy_version, read, refused

TARGET = "13812345678"


def put(books: Books, subject: str, value: str, colour: str = "black", until_ms: int | None = None) -> None:
    at_desk(books, lambda desk: lists.list_txn(desk, ListForm(subject, value, colour, "a reason", until_ms)))


@pytest.mark.parametrize(
    ("subject", "value", "number"),
    [
        ("target", "+86 138 1234 5678", 4),
        ("phone", PHONES["A"], 2),
        ("outlet", "A", 1),
        ("terminal", "T-1", 3),
    ],
)
def test_whatever_is_black_is_refused(books: Books, subject: str, value: str, number: int) -> None:
    put(books, subject, value)
    asked = books.plain(TARGET, terminal="T-1")
    receipt = books.do(asked)
    assert receipt.reason is Reason.LISTED
    assert books.notices[-1].facts["subject"] == number
    assert books.money("A") == (100_000, 0)
    # The refusal is kept under its key, also when the entry has gone.
    at_desk(books, lambda desk: lists.unlist_txn(desk, subject, value))
    assert books.do(asked).order_id == receipt.order_id
    assert books.do(books.plain(TARGET, terminal="T-1")).reason is Reason.OK
    assert actions(books) == ["list.black", "list.remove"]


def test_an_entry_has_no_effect_from_its_end_on(books: Books) -> None:
    put(books, "target", TARGET, until_ms=START_MS + MINUTE)
    assert books.do(books.plain(TARGET)).reason is Reason.LISTED
    assert books.notices[-1].facts["barred_until_ms"] == START_MS + MINUTE
    books.wait(MINUTE)
    assert books.do(books.plain(TARGET)).reason is Reason.OK
    [entry] = read(books, lists.entries, books.clock.ms)
    assert (entry["value"], entry["in force"], entry["colour"]) == ("138****5678", False, "black")


def test_one_person_alone_shortens_no_ban(books: Books) -> None:
    put(books, "target", TARGET)
    refused(
        books,
        lambda desk: lists.list_txn(desk, _ban(START_MS + MINUTE)),
        r"138\*{4}5678 is banned for longer",
    )
    put(books, "target", "13812345679", until_ms=START_MS + MINUTE)
    put(books, "target", "13812345679", until_ms=START_MS + 2 * MINUTE)
    assert [entry["until_ms"] for entry in read(books, lists.entries, 0)] == [None, START_MS + 2 * MINUTE]


def _ban(until_ms: int) -> ListForm:
    return ListForm("target", TARGET, "black", "a reason", until_ms)


def test_the_newest_word_counts_and_black_is_stronger(books: Books) -> None:
    put(books, "target", TARGET)
    put(books, "target", TARGET, "white")
    assert books.do(books.plain(TARGET)).reason is Reason.OK
    put(books, "outlet", "A")
    assert books.do(books.plain(TARGET, repeat=2)).reason is Reason.LISTED
    assert books.value("SELECT count(*) FROM list_entry") == 2


def test_white_is_not_above_limits_or_the_float(books: Books) -> None:
    put(books, "target", TARGET, "white")
    books.add("limit_rule", id=1, subject=4, operation=1, period=1, count_max=1)
    assert books.do(books.plain(TARGET, amount_fen=10**7)).reason is Reason.FLOAT
    assert books.do(books.plain(TARGET)).reason is Reason.OK
    assert books.do(books.plain(TARGET, repeat=2)).reason is Reason.LIMIT_COUNT


def test_a_list_costs_a_new_policy_and_no_number_is_shown_whole(books: Books) -> None:
    before = policy_version(books)
    put(books, "target", TARGET)
    assert policy_version(books) == before + 1
    assert TARGET not in repr(books.rows("SELECT object, detail FROM audit"))


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (ListForm("shop", "A", "black", "why"), "one of phone, target"),
        (ListForm("outlet", "Z", "black", "why"), "no outlet Z"),
        (ListForm("target", "12345", "black", "why"), "no phone number"),
        (ListForm("target", "", "black", "why"), "no phone number"),
        (ListForm("terminal", "x" * 17, "black", "why"), "terminal"),
        (ListForm("outlet", "A", "grey", "why"), "black or white"),
        (ListForm("outlet", "A", "black", " "), "a reason"),
        (ListForm("outlet", "A", "black", "x" * 101), "a reason"),
        (ListForm("outlet", "A", "black", "why", START_MS), "past already"),
    ],
)
def test_entries_that_cannot_be(books: Books, form: ListForm, says: str) -> None:
    refused(books, lambda desk: lists.list_txn(desk, form), says)


def test_what_is_on_no_list_cannot_be_taken_off(books: Books) -> None:
    refused(books, lambda desk: lists.unlist_txn(desk, "target", TARGET), r"138\*\*\*\*5678 is on no list")
