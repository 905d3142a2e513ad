"""Parked orders: held by a rule, let go or declined by a clerk, never sent twice."""

from __future__ import annotations

import json

import pytest

from aircharge.errors import Reason
from aircharge.ledger.parking import Decline, Release, Resume
from aircharge.ledger.reading import open_orders, parked_orders
from aircharge.values import Receipt, State, Verdict
from tests.ledger.desk import MINUTE, Books

HOLD_ALL = json.dumps({"rules": [{"name": "look", "then": "hold"}]})


def parked(books: Books, amount_fen: int = 5000) -> Receipt:
    if not books.value("SELECT count(*) FROM rule_set"):
        books.add("rule_set", version=1, state=1, body=HOLD_ALL, made_ms=0)
    receipt: Receipt = books.do(books.plain(amount_fen=amount_fen))
    return receipt


def waiting(books: Books, *, released: bool | None = None) -> list[int]:
    with books.engine.connect() as txn:
        return [order.order_id for order in parked_orders(txn, released=released)]


def test_a_parked_order_holds_the_float_and_nobody_is_asked(books: Books) -> None:
    receipt = parked(books)
    assert (receipt.state, receipt.reason, receipt.fresh) == (State.PARKED, Reason.REVIEW, True)
    assert receipt.op_ref
    assert books.money("A") == (100_000, 5000)
    assert books.told() == ["outlet.refused REVIEW"]
    assert books.value("SELECT next_ms FROM txn WHERE id = :id", id=receipt.order_id) is None
    books.wait(10 * MINUTE)
    with books.engine.connect() as txn:
        assert open_orders(txn, books.clock.ms + 2**40) == []
    assert waiting(books) == waiting(books, released=False) == [receipt.order_id]


def test_the_same_message_again_finds_it_parked_and_tells_nothing_new(books: Books) -> None:
    books.add("rule_set", version=1, state=1, body=HOLD_ALL, made_ms=0)
    asked = books.plain()
    first = books.do(asked)
    books.told()
    again = books.do(asked)
    assert (again.order_id, again.state, again.fresh) == (first.order_id, State.PARKED, False)
    assert books.told() == []
    assert books.do(books.plain()).reason is Reason.DUPLICATE


def test_let_go_it_is_taken_up_by_one_and_ends_like_any_other(books: Books) -> None:
    order_id = parked(books).order_id
    assert books.do(Resume(order_id)).fresh is False, "nobody has let it go"
    released = books.do(Release(order_id, "li"))
    assert (released.state, released.fresh) == (State.PARKED, False)
    assert waiting(books, released=True) == [order_id]
    books.wait(MINUTE)
    first, second = books.batch(Resume(order_id), Resume(order_id))
    assert (first.state, first.fresh) == (State.HELD, True)
    assert (second.state, second.fresh) == (State.HELD, False)
    assert books.do(Resume(order_id)).fresh is False
    assert waiting(books) == []
    settled = books.do(books.close(order_id, Verdict.YES))
    assert (settled.state, settled.reason) == (State.SETTLED, Reason.OK)
    assert books.money("A") == (95_000, 0)
    assert books.rows("SELECT actor, action FROM audit WHERE action LIKE 'order.%'") == [
        ("li", "order.release")
    ]


def test_after_a_crash_its_times_count_from_when_it_was_taken_up(books: Books) -> None:
    order_id = parked(books).order_id
    books.wait(600 * MINUTE)
    books.batch(Release(order_id, "li"), Resume(order_id))
    with books.engine.connect() as txn:
        [order] = open_orders(txn, books.clock.ms + 2**40)
    assert order.since_ms == books.clock.ms
    assert order.created_ms == books.clock.ms - 600 * MINUTE


def test_declined_it_is_void_and_its_limits_are_given_back(books: Books) -> None:
    books.add("limit_rule", id=1, subject=1, operation=1, period=1, count_max=1)
    order_id = parked(books).order_id
    assert books.do(books.plain(target="13800000001")).reason is Reason.LIMIT_COUNT
    books.told()
    declined = books.do(Decline(order_id, "li"))
    assert (declined.state, declined.reason, declined.fresh) == (State.VOIDED, Reason.RULE, True)
    assert books.told() == ["outlet.refused RULE"]
    assert books.money("A") == (100_000, 0)
    assert books.rows("SELECT n, total_fen FROM limit_counter") == [(0, 0)]
    assert books.do(books.plain(target="13800000001")).state is State.PARKED


def test_released_but_not_yet_taken_up_it_can_still_be_declined(books: Books) -> None:
    order_id = parked(books).order_id
    books.do(Release(order_id, "li"))
    assert books.do(Decline(order_id, "wang")).state is State.VOIDED
    assert books.do(Resume(order_id)).fresh is False
    assert waiting(books) == []


@pytest.mark.parametrize("kind", [Release, Decline])
def test_what_cannot_be_let_go_or_declined(books: Books, kind: type[Release] | type[Decline]) -> None:
    held = books.do(books.plain(target="13800000001"))
    order_id = parked(books).order_id
    before = books.rows("SELECT id, state, released_ms FROM txn ORDER BY id"), books.money("A")
    assert books.do(kind(order_id, " ")) == "whose name does this bear?"
    assert books.do(kind(1, "li")) == "no order 1"
    assert books.do(kind(held.order_id, "li")) == (
        f"order {held.order_id} is HELD: only a parked order can be let go or declined"
    )
    assert (books.rows("SELECT id, state, released_ms FROM txn ORDER BY id"), books.money("A")) == before
    assert books.do(Resume(1)).reason is Reason.NOT_FOUND


@pytest.mark.parametrize("verdict", list(Verdict))
def test_an_operators_answer_to_what_it_was_never_asked_moves_nothing(books: Books, verdict: Verdict) -> None:
    order_id = parked(books).order_id
    assert books.do(books.close(order_id, verdict)).state is State.PARKED
    assert books.money("A") == (100_000, 5000)
    assert books.value("SELECT count(*) FROM recon_item") == (1 if verdict is Verdict.YES else 0)
