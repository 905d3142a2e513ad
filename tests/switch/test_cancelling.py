"""Automatic reversals before real books: fulfilled once the sale is definite, whatever fails on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from aircharge.errors import InDoubt, NotSent, Reason, Refusal
from aircharge.ledger.cancelling import CancelSale, EndCancel
from aircharge.ledger.chart import CANCEL_DONE, CANCEL_STANDS, CANCEL_WANTED
from aircharge.ledger.terminal_reading import wanted_cancels
from aircharge.switch.board import Board, DoubtPolicy
from aircharge.switch.cancelling import Cancels, cancel, pause_ms
from aircharge.switch.doubt import DoubtResolver
from aircharge.values import State, Verdict
from tests.ledger.desk import Books
from tests.ledger.pos import Counter
from tests.switch.test_parking import BooksLedger
from tests.switch.world import World, now


class Shop:
    """Books with a terminal, a daemon's board, a scripted line."""

    def __init__(self) -> None:
        self.books = Books().setup()
        self.counter = Counter(self.books)
        self.ledger = BooksLedger(self.books)
        self.clock: Any = Clock()
        self.world = World(DoubtPolicy(mode="query", finality_s=600))
        self.board = Board(self.ledger, [self.world.plan], self.books.clock)
        self.running: list[Deferred[Any]] = []
        self.cancels = Cancels(self.board, self.clock, self.spawn)

    def spawn(self, work: Any) -> None:
        self.running.append(Deferred.fromCoroutine(work))

    def sold(self, trace: int = 1) -> int:
        held = self.books.do(self.counter.sale(trace=trace))
        return int(self.books.do(self.books.close(held, Verdict.YES)).order_id)

    def take_back(self, trace: int = 1) -> Any:
        command = CancelSale(1, self.counter.asker, self.counter.key(trace), 5000, "98")
        return now(cancel(self.board, command))

    def round(self) -> int:
        return int(now(self.cancels.round()))

    @property
    def wish(self) -> int:
        return int(self.books.value("SELECT state FROM pos_reversal"))

    @property
    def asked(self) -> list[str]:
        return [item[0] for item in self.world.trace if isinstance(item, tuple)]


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    assert made.books.problems() == []
    assert made.board.in_flight == set()
    made.books.engine.dispose()


def test_a_settled_sale_is_reversed_once(shop: Shop) -> None:
    shop.sold()
    assert shop.take_back().state is State.SETTLED
    assert [shop.round(), shop.wish, shop.round(), shop.wish] == [1, CANCEL_WANTED, 1, CANCEL_DONE]
    assert shop.round() == 0
    assert (shop.asked, shop.books.money("A")) == (["reverse"], (100_000, 0))


def test_a_sale_that_never_came_is_remembered(shop: Shop) -> None:
    assert shop.take_back(7).reason is Reason.CANCELLED
    assert (shop.round(), shop.asked) == (0, [])


def test_a_sale_that_comes_meanwhile_is_looked_at_again(shop: Shop) -> None:
    shop.sold()
    shop.ledger.blind = 1
    assert shop.take_back().state is State.SETTLED
    shop.ledger.blind = 9
    with pytest.raises(Refusal):
        shop.take_back()


def test_an_open_sale_waits(shop: Shop) -> None:
    held = shop.books.do(shop.counter.sale(trace=1))
    shop.take_back()
    assert shop.round() == 0
    shop.books.do(shop.books.close(held, Verdict.NO))
    assert [shop.round(), shop.wish, shop.asked] == [1, CANCEL_DONE, []]


@pytest.mark.parametrize("why", ["line", "closing", "full", "lease", "stranger"])
def test_it_waits_while_nobody_can_be_asked(shop: Shop, why: str) -> None:
    shop.sold()
    shop.take_back()
    shop.world.line.up = why != "line"
    shop.board.closing = why == "closing"
    shop.board.in_flight_max = 0 if why == "full" else 10
    shop.board.is_ours = lambda: why != "lease"
    if why == "stranger":
        shop.board._by_id.clear()
    assert (shop.round(), shop.asked, shop.wish) == (0, [], CANCEL_WANTED)


def test_those_that_must_wait_starve_nobody(shop: Shop) -> None:
    """Two of an operator that is not plugged in are older."""
    for trace in (1, 2):
        elsewhere = replace(shop.counter.sale(f"1381234567{trace}", trace=trace), operator_id=2)
        shop.books.do(shop.books.close(shop.books.do(elsewhere), Verdict.YES))
        shop.take_back(trace)
    shop.books.wait(1)
    shop.sold(3)
    shop.take_back(3)
    shop.cancels = Cancels(shop.board, shop.clock, shop.spawn, at_once=1)
    assert [shop.round() for _ in range(9)] == [0, 0, 1, 0, 0, 0, 1, 0, 0]
    assert (shop.asked, shop.books.money("A")) == (["reverse"], (90_000, 0))


def test_what_was_not_sent_is_tried_again_under_a_key_of_its_own(shop: Shop) -> None:
    shop.sold()
    shop.take_back()
    shop.world.line.answers = [NotSent("cut")]
    assert [shop.round(), shop.round()] == [1, 0]
    shop.books.wait(1_000)
    assert [shop.round(), shop.round()] == [1, 1]
    assert (shop.asked, shop.wish) == (["reverse", "reverse"], CANCEL_DONE)


def test_an_operator_who_is_always_busy_is_asked_less_and_less(shop: Shop) -> None:
    shop.sold()
    shop.take_back()
    shop.world.line.answers = ["4001"] * 99
    for _ in range(600):
        shop.round()
        shop.books.wait(1_000)
    assert shop.asked == ["reverse"] * 6  # after 1, 5, 15, 60, 300 seconds
    assert [pause_ms(tries) for tries in (1, 5, 99)] == [1_000, 300_000, 300_000]


def test_an_unanswered_reversal_is_a_doubt_not_a_second_one(shop: Shop) -> None:
    shop.sold()
    shop.take_back()
    shop.world.line.answers = [InDoubt("no answer")]
    assert [shop.round(), shop.round(), shop.wish] == [1, 0, CANCEL_WANTED]
    number = shop.books.value("SELECT id FROM txn WHERE kind = 2")
    shop.books.do(shop.books.close(number, Verdict.YES))
    assert [shop.round(), shop.wish, shop.asked] == [1, CANCEL_DONE, ["reverse"]]


def test_a_reversal_that_never_reached_the_operator_is_asked_for_anew(shop: Shop) -> None:
    """Lost on the way, or a daemon that ended before it was sent: its reference is not found, and never will be."""
    shop.sold()
    shop.take_back()
    shop.world.line.answers = [InDoubt("no answer"), "1404"]
    assert [shop.round(), shop.round()] == [1, 0]
    shop.books.wait(800_000)
    now(DoubtResolver(shop.board, shop.clock).round())
    shop.books.wait(1_000)
    assert [shop.round(), shop.round(), shop.wish] == [1, 1, CANCEL_DONE]
    assert (shop.asked, shop.books.money("A")) == (["reverse", "query", "reverse"], (100_000, 0))
    assert len({request.op_ref for request in shop.world.line.asked}) == 2


def test_what_the_operator_keeps_stands(shop: Shop) -> None:
    shop.sold()
    shop.take_back()
    shop.world.line.answers = ["6004"]
    assert [shop.round(), shop.round(), shop.wish, shop.round()] == [1, 1, CANCEL_STANDS, 0]
    assert (shop.asked, shop.books.money("A")) == (["reverse"], (95_000, 0))


def test_under_way_it_is_not_taken_up_twice(shop: Shop) -> None:
    shop.sold()
    shop.take_back()
    answer: Deferred[Any] = Deferred()
    shop.world.line.answers = [answer]
    assert [shop.round(), shop.round()] == [1, 0]
    answer.errback(InDoubt("no answer"))


def test_another_daemons_reversal_is_not_carried_again(shop: Shop) -> None:
    """Both have looked before either has opened it: the second one finds the first one's order."""
    shop.sold()
    shop.take_back()
    [wish] = now(shop.ledger.read(wanted_cancels))
    other = Cancels(shop.board, shop.clock, shop.running.append)
    shop.world.line.answers = [InDoubt("no answer")]
    now(shop.cancels._fulfil(wish))
    now(other._fulfil(wish))
    assert shop.asked == ["reverse"]


def test_our_lease_may_have_ended(shop: Shop) -> None:
    shop.sold()
    shop.board.is_ours = lambda: False
    with pytest.raises(Refusal):
        shop.take_back()


def test_rounds_start_and_stop(shop: Shop) -> None:
    shop.cancels.start()
    shop.sold()
    shop.take_back()
    shop.clock.advance(1)
    shop.clock.advance(1)
    assert shop.wish == CANCEL_DONE
    shop.cancels.stop()
    assert shop.clock.getDelayedCalls() == []
    assert now(succeed(shop.books.do(EndCancel(1)))) is False
