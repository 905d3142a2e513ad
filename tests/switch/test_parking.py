"""Released orders are carried like new ones: by whoever took them up, once, whatever crashes in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from aircharge.errors import InDoubt, LedgerError
from aircharge.ledger.parking import Release, Resume
from aircharge.switch.board import Board, DoubtPolicy
from aircharge.switch.doubt import DoubtResolver
from aircharge.switch.parking import ParkedOrders, release
from aircharge.values import State
from tests.ledger.desk import MINUTE, Books
from tests.switch.world import World, now

HOLD_ALL = '{"rules": [{"then": "hold"}]}'


class BooksLedger:
    """``LedgerPort`` over real books; ``lose`` makes the next answer to that kind of command get lost."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.lose: type | None = None
        self.blind = 0  # so many reads see nothing

    def do(self, command: Any) -> Deferred[Any]:
        result = self.books.do(command)
        if self.lose is not None and isinstance(command, self.lose):
            return fail(LedgerError("the commit's fate is unknown"))
        return succeed(result)

    def read(self, reader: Any) -> Deferred[Any]:
        self.blind -= 1
        if self.blind >= 0:
            return succeed(0)
        with self.books.engine.connect() as txn:
            return succeed(reader(txn))


class Shop:
    """Books with one parked order, and a daemon's board with a scripted line."""

    def __init__(self, mode: str = "query") -> None:
        self.books = Books().setup()
        self.books.add("rule_set", version=1, state=1, body=HOLD_ALL, made_ms=0)
        self.order_id = self.books.do(self.books.plain()).order_id
        self.ledger = BooksLedger(self.books)
        self.start(mode)

    def start(self, mode: str = "query") -> None:
        """A daemon's new life."""
        clock: Any = Clock()
        self.world = World(DoubtPolicy(mode=mode, finality_s=600, manual_after_s=86_400))
        self.board = Board(self.ledger, [self.world.plan], self.books.clock)
        self.running: list[Deferred[Any]] = []
        self.parking = ParkedOrders(
            self.board, clock, lambda work: self.running.append(Deferred.fromCoroutine(work))
        )
        self.doubts = DoubtResolver(self.board, clock)

    def is_now(self, state: State) -> bool:
        return bool(state == self.books.value("SELECT state FROM txn WHERE id = :id", id=self.order_id))

    @property
    def asked(self) -> list[str]:
        return [item[0] for item in self.world.trace if isinstance(item, tuple)]


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    assert made.books.problems() == []
    made.books.engine.dispose()


def test_what_nobody_let_go_is_not_sent(shop: Shop) -> None:
    assert now(shop.parking.round()) == 0
    shop.books.wait(300 * MINUTE)
    assert now(shop.doubts.recover()) == 0
    assert now(shop.doubts.round()) == 0
    assert shop.asked == []
    assert shop.is_now(State.PARKED)


def test_released_at_the_desk_it_is_sent_by_the_daemon_once(shop: Shop) -> None:
    shop.books.wait(300 * MINUTE)
    shop.books.do(Release(shop.order_id, "li"))
    assert now(shop.parking.round()) == 1
    assert now(shop.parking.round()) == 0
    assert shop.asked == ["recharge"]
    assert shop.is_now(State.SETTLED)
    assert shop.board.in_flight == set()


def test_released_in_the_daemon_it_goes_at_once(shop: Shop) -> None:
    assert now(release(shop.board, shop.order_id, "li")).state is State.SETTLED
    assert now(release(shop.board, shop.order_id, "li")).startswith("order")
    assert shop.asked == ["recharge"]


def test_while_it_is_under_way_nobody_else_touches_it(shop: Shop) -> None:
    answer: Deferred[Any] = Deferred()
    shop.world.line.answers = [answer]
    shop.books.do(Release(shop.order_id, "li"))
    now(shop.parking.round())
    shop.books.wait(3 * MINUTE)
    assert now(shop.parking.round()) == 0
    assert now(shop.doubts.round()) == 0
    assert shop.asked == ["recharge"]
    answer.errback(InDoubt("no answer"))
    assert shop.is_now(State.IN_DOUBT)


@pytest.mark.parametrize("why", ["line", "closing", "full", "stranger"])
def test_it_waits_while_it_cannot_be_carried(shop: Shop, why: str) -> None:
    shop.world.line.up = why != "line"
    shop.board.closing = why == "closing"
    shop.board.in_flight_max = 0 if why == "full" else 10
    if why == "stranger":
        shop.board._by_id.clear()
    shop.books.do(Release(shop.order_id, "li"))
    assert now(shop.parking.round()) == 0
    assert shop.is_now(State.PARKED)
    assert (shop.asked, shop.board.in_flight) == ([], set())


def test_a_crash_before_it_was_sent_ends_in_a_void_never_in_a_second_send(shop: Shop) -> None:
    """Query mode: "not found" is a no only when the operator's finality has passed since it was taken up."""
    shop.books.wait(300 * MINUTE)  # the order is old: its age says nothing of when it was sent
    shop.books.batch(Release(shop.order_id, "li"), Resume(shop.order_id))
    shop.start()
    assert now(shop.doubts.recover()) == 1
    shop.world.line.answers = ["1404", "1404"]
    now(shop.doubts.round())
    assert shop.is_now(State.IN_DOUBT)
    shop.books.wait(13 * MINUTE)
    now(shop.doubts.round())
    assert shop.asked == ["query", "query"]
    assert shop.is_now(State.VOIDED)
    assert now(shop.parking.round()) == 0


def test_an_unknown_commit_of_the_taking_up_is_a_doubt_not_a_send(shop: Shop) -> None:
    shop.books.do(Release(shop.order_id, "li"))
    shop.ledger.lose = Resume
    now(shop.parking._round_guarded())
    shop.ledger.lose = None
    assert shop.is_now(State.HELD)
    assert (shop.asked, shop.board.in_flight) == ([], set())
    assert now(shop.parking.round()) == 0
    shop.books.wait(3 * MINUTE)
    now(shop.doubts.round())
    assert shop.asked == ["query"]
    assert shop.is_now(State.SETTLED)
