"""Several daemons whose database was away for longer than a lease: nobody takes over those who could not renew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection
from twisted.internet.task import Clock

from aircharge.ledger.leases import LeaseSettings, line_key
from aircharge.switch.lease import LeaseKeeper
from tests.ledger.desk import Books
from tests.ledger.engines import kept_in
from tests.switch.chores import InlineWorker
from tests.switch.world import now

pytestmark = pytest.mark.peer
SETTINGS = LeaseSettings(ttl_s=10, renew_s=3, quiet_s=3)
LINES = {line_key(1, "agent", "line-1"): 1}


@pytest.fixture
def desk() -> Iterator[Books]:
    with kept_in("postgresql"):
        yield Books().setup()


class Shared:
    """PostgreSQL's way of things, with a time that the test moves."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.is_away = False
        self.ahead_ms = 0
        self.made: list[LeaseKeeper] = []
        self.lost: list[int] = []
        self.reactors: dict[int, Clock] = {}

    def daemon(self, node: int, *, lines: bool = True) -> LeaseKeeper:
        reactor = self.reactors[node] = Clock()
        keeper = LeaseKeeper(
            self.books.engine,
            node,
            lambda: f"host{node}/1/1",
            lambda _host: True,
            LINES if lines else {},
            SETTINGS,
            self.books.clock,
            reactor,
            InlineWorker(),
        )
        dialect = keeper._dialect
        keeper._dialect = _Timed(dialect, self)  # type: ignore[assignment]
        keeper.on_lost = lambda _failure: self.lost.append(node)
        now(keeper.take())
        keeper.start()
        return keeper

    def wait(self, seconds: float, *nodes: int) -> None:
        """Time passes for all; only these nodes' timers run."""
        for _ in range(int(seconds * 2)):
            self.books.wait(500)
            for node in nodes or tuple(self.reactors):
                self.reactors[node].advance(0.5)

    def nodes(self) -> list[tuple[int, int]]:
        return self.books.rows("SELECT node, epoch FROM node_lease ORDER BY node")  # type: ignore[return-value]


class _Timed:
    is_shared = True

    def __init__(self, dialect: object, shared: Shared) -> None:
        self._shared = shared
        self.is_broken = dialect.is_broken  # type: ignore[attr-defined]

    def now_ms(self, txn: Connection, _clock: object) -> int:
        if self._shared.is_away:
            txn.exec_driver_sql("SELECT * FROM the_database_is_away")
        return self._shared.books.clock.ms + self._shared.ahead_ms


def orders(desk: Books, node: int) -> None:
    """One open order of that node's."""
    desk.do(desk.plain())
    with desk.store.writing() as txn:
        txn.exec_driver_sql(f"UPDATE txn SET owner_node = {node}, owner_epoch = 1 WHERE kind = 1")


def three(desk: Books) -> Shared:
    shared = Shared(desk)
    for node in (1, 2, 3):
        shared.daemon(node)
        shared.wait(1)
    orders(desk, 2)
    shared.wait(12)
    assert shared.lost == []
    return shared


@pytest.mark.parametrize("away_s", [4, 7, 8, 10, 11, 17, 40])
def test_the_first_one_back_leaves_the_others_alone(desk: Books, away_s: int) -> None:
    shared = three(desk)
    shared.is_away = True
    shared.wait(away_s)
    shared.is_away = False
    shared.wait(6, 1)  # only the first has found out
    shared.wait(30)
    assert shared.lost == []
    assert shared.nodes() == [(1, 1), (2, 1), (3, 1)]


def test_who_does_not_come_back_is_adopted_one_ttl_later(desk: Books) -> None:
    shared = three(desk)
    shared.is_away = True
    shared.wait(17)
    shared.is_away = False
    shared.wait(9, 1, 3)
    assert (2, 1) in shared.nodes()
    shared.wait(9, 1, 3)
    assert (2, 2) in shared.nodes()
    shared.wait(9, 2)
    assert shared.lost == [2]


def test_a_newcomer_takes_nobody_over_at_once(desk: Books) -> None:
    shared = three(desk)
    shared.is_away = True
    shared.wait(17)
    shared.is_away = False
    shared.daemon(4)
    shared.wait(5, 4)
    shared.wait(20)
    assert shared.lost == []


def test_the_databases_time_leaps(desk: Books) -> None:
    shared = three(desk)
    shared.ahead_ms = 600_000
    shared.wait(5, 1)
    shared.wait(20)
    assert shared.lost == []
