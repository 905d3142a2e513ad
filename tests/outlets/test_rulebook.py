"""Rule sets: drafted, tried on a day that has been, put in force by another person; all versions are kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aircharge.errors import Reason
from aircharge.outlets import rulebook
from aircharge.outlets.dryrun import DryRun, dry_run
from aircharge.outlets.lists import ListForm, list_txn
from aircharge.values import Verdict
from tests.ledger.desk import MINUTE, PIN, Books
from tests.outlets.desk import actions, at_desk, policy_version, read, refused

DAY = 24 * 60 * MINUTE
YESTERDAY = 20261123
DENY = '{"rules": [{"name": "all", "then": "deny"}]}'


def draft(books: Books, body: Any) -> int:
    words = body if isinstance(body, str) else json.dumps(body)
    version: int = at_desk(books, lambda desk: rulebook.draft_rules_txn(desk, words))
    return version


def activate(books: Books, version: int, actor: str = "wang") -> None:
    at_desk(books, lambda desk: rulebook.activate_rules_txn(desk, version), actor)


def test_a_draft_does_nothing_until_another_puts_it_in_force(books: Books) -> None:
    before = policy_version(books)
    assert draft(books, DENY) == 1
    assert policy_version(books) == before
    assert books.do(books.plain("13800000001")).reason is Reason.OK
    refused(books, lambda desk: rulebook.activate_rules_txn(desk, 1), "another person")
    activate(books, 1)
    assert books.do(books.plain("13800000002")).reason is Reason.RULE
    assert actions(books) == ["rules.draft", "rules.activate"]
    refused(books, lambda desk: rulebook.activate_rules_txn(desk, 1), "in force already", "wang")


def test_versions_are_kept_and_an_earlier_one_can_come_back(books: Books) -> None:
    for body in (DENY, '{"rules": []}'):
        activate(books, draft(books, body))
    states = [(row["version"], row["state"], row["rules"]) for row in read(books, rulebook.rule_sets)]
    assert states == [(2, "active", 0), (1, "retired", 1)]
    assert read(books, rulebook.rule_set_text, 1) == DENY
    activate(books, 1)
    assert books.do(books.plain()).reason is Reason.RULE
    assert at_desk(books, rulebook.retire_rules_txn) == 1
    assert books.do(books.plain()).reason is Reason.OK
    refused(books, rulebook.retire_rules_txn, "no rules are in force")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "line 1, column 1"),
        ('{"rules": [}', "line 1, column 12"),
        ('{"rules": [], "rules": []}', "'rules' is written twice"),
        ('{"rules": [{"name": "r", "then": "deny", "when": {"colour": 1}}]}', "rule r: unknown field 'colour'"),
        ('{"guard": "maybe"}', "guard"),
        ("[" * 100_000, "recursion|rule set"),
        (" " * 200_001, "at most"),
    ],
)  # fmt: skip
def test_drafts_that_cannot_be(books: Books, body: str, says: str) -> None:
    refused(books, lambda desk: rulebook.draft_rules_txn(desk, body), says)


@pytest.mark.parametrize("version", [0, 7, 10**19])
def test_versions_that_are_not_there(books: Books, version: int) -> None:
    refused(books, lambda desk: rulebook.activate_rules_txn(desk, version), "no rules", "wang")


# -- the dry run ----------------------------------------------------------------------------------------------


def trade_a_day(books: Books) -> None:
    """Yesterday: A serves ...01 three times and ...02 once, B serves ...01 once; one at night, some refused."""
    for number, fen, outlet in [("01", 1000, "A"), ("01", 2000, "A"), ("01", 3000, "A"), ("02", 9000, "A")]:
        books.do(books.close(books.do(books.plain(f"138000000{number}", fen, outlet=outlet)), Verdict.YES))
        books.wait(MINUTE)
    books.do(books.close(books.do(books.plain("13800000001", 1000, outlet="B", pin=PIN)), Verdict.NO))
    books.do(books.plain("13800000009", 10**9))  # refused: the float
    books.wait(13 * 60 * MINUTE)
    books.do(books.plain("13800000011", 4000))
    books.clock.ms += DAY - 13 * 60 * MINUTE
    books.do(books.plain("13800000003", 5000))  # today


def tried(books: Books, body: Any, date: int = YESTERDAY) -> DryRun:
    version = draft(books, body)
    with books.engine.connect() as txn:
        return dry_run(txn, rulebook.rules_of(txn, version), date, books.clock.ms)


def counts(outcome: DryRun) -> dict[str, tuple[str, int, int]]:
    return {one.name: (one.then, one.orders, one.fen) for one in outcome.tried}


def test_a_rule_set_tried_on_yesterday(books: Books) -> None:
    trade_a_day(books)
    outcome = tried(
        books,
        {
            "rules": [
                {"name": "seen", "then": "alert", "when": {"outlet": ["B"]}},
                {"name": "night", "then": "hold", "when": {"hours": [22, 6]}},
                {"name": "big", "then": "deny", "when": {"amount_from_fen": 9000}},
                {"name": "pin", "then": "ask_pin", "when": {"amount_from_fen": 3000}},
                {"name": "never", "then": "deny", "when": {"segment": ["170"]}},
            ]
        },
    )
    assert (outcome.orders, outcome.passed) == (6, 3)
    assert counts(outcome) == {
        "seen": ("alert", 1, 1000),
        "night": ("hold", 1, 4000),
        "big": ("deny", 1, 9000),
        "pin": ("ask_pin", 1, 3000),
        "never": ("deny", 0, 0),
    }
    [example] = next(one for one in outcome.tried if one.name == "night").examples
    assert example.endswith("23:04 138****0011 40.00")


def test_limits_and_counts_begin_at_nothing_that_morning(books: Books) -> None:
    trade_a_day(books)
    books.add("limit_rule", id=1, subject=4, operation=1, period=1, count_max=2)
    books.add("limit_rule", id=2, subject=1, operation=1, period=0, value_max_fen=5000)
    often = {"counted": {"subject": "target", "period": "day", "orders": 1}}
    outcome = tried(books, {"rules": [{"name": "often", "then": "alert", "when": often}]})
    assert counts(outcome) == {
        "often": ("alert", 3, 6000),
        "limit 1": ("refuse", 2, 4000),
        "limit 2": ("refuse", 1, 9000),
    }
    assert outcome.passed == 3


def test_what_only_a_rule_kept_out_is_tried_again(books: Books) -> None:
    activate(books, draft(books, DENY))
    books.do(books.plain())
    books.wait(DAY)
    outcome = tried(books, {"rules": []})
    assert (outcome.orders, outcome.passed) == (1, 1)


def test_first_times_and_the_guard(books: Books) -> None:
    for n in range(3):
        books.do(books.close(books.do(books.plain("13800000001", 1000, repeat=n + 1)), Verdict.YES))
    books.wait(DAY)
    for target in ("13800000001", "13800000002", "13855555555"):
        books.do(books.plain(target, 1000))
    outcome = tried(
        books,
        {"guard": "all", "rules": [{"name": "new", "then": "alert", "when": {"first_time": True}}]},
        YESTERDAY + 1,
    )
    assert counts(outcome) == {"new": ("alert", 2, 2000), "guard": ("ask back", 1, 1000)}
    assert outcome.passed == 2


def test_who_is_on_a_white_list_now_is_passed_over(books: Books) -> None:
    books.do(books.plain("13800000001"))
    at_desk(books, lambda desk: list_txn(desk, ListForm("target", "13800000001", "white", "a good customer")))
    assert counts(tried(books, DENY)) == {"all": ("deny", 0, 0)}


def test_a_dry_run_writes_nothing(books: Books) -> None:
    trade_a_day(books)
    version = draft(books, DENY)
    before = [
        books.rows(f"SELECT * FROM {table}")
        for table in ("txn", "limit_counter", "rule_set", "audit", "outbox")
    ]
    with books.engine.connect() as txn:
        dry_run(txn, rulebook.rules_of(txn, version), YESTERDAY, books.clock.ms)
    assert before == [
        books.rows(f"SELECT * FROM {table}")
        for table in ("txn", "limit_counter", "rule_set", "audit", "outbox")
    ]
