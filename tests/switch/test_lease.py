"""The keeper of the lease: quiet before anybody can take over, heir of what the dead leave, silent when fenced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from aircharge.errors import LedgerError, NotSent
from aircharge.ledger.leases import Adopted, LeaseSettings, Occupied, leases, line_key
from aircharge.ledger.tenure import Fenced, Tenure
from aircharge.ports import OperatorRequest
from aircharge.switch.lease import LeasedLine, LeaseKeeper
from aircharge.values import Verdict
from tests.ledger.desk import Books
from tests.switch.chores import InlineWorker
from tests.switch.world import NOW_MS, OP_REF, ScriptedLine, now

LINE = line_key(1, "agent", "line-1")
SETTINGS = LeaseSettings(ttl_s=10, renew_s=3, quiet_s=3)


class Daemon:
    """Node 1 as far as its lease goes; its clock and the reactor's go together."""

    def __init__(self, books: Books, host: str = "host/1/1", *, other_runs: bool = True) -> None:
        self.books = books
        self.reactor = Clock()
        self.worker = InlineWorker()
        self.lost: list[Any] = []
        self.lines: list[str] = []
        self.adopted: list[Adopted] = []
        self.keeper = LeaseKeeper(
            books.engine,
            1,
            lambda: host,
            lambda _host: other_runs,
            {LINE: 1},
            SETTINGS,
            books.clock,
            self.reactor,
            self.worker,
        )
        self.keeper.on_lost = lambda failure: self.lost.append(failure.value)
        self.keeper.on_line = self.lines.append
        self.keeper.on_adopted = self.adopted.append

    def take(self) -> Tenure:
        return now(self.keeper.take())  # type: ignore[no-any-return]

    def wait(self, seconds: float) -> None:
        self.books.wait(int(seconds * 1000))
        self.reactor.advance(seconds)

    def epochs(self) -> list[tuple[int, int]]:
        with self.books.engine.connect() as txn:
            return [(lease.epoch, lease.expires_ms) for lease in leases(txn)]


@pytest.fixture
def desk() -> Books:
    return Books().setup()


def test_it_goes_quiet_before_its_lease_ends(desk: Books) -> None:
    daemon = Daemon(desk)
    assert not daemon.keeper.is_fresh()
    assert daemon.take() == Tenure(1, 1)
    assert daemon.keeper.held == {LINE}
    assert daemon.keeper.left_s() == 7.0
    desk.wait(6_999)
    assert daemon.keeper.is_fresh()
    desk.wait(1)
    assert not daemon.keeper.is_fresh()
    assert daemon.keeper.left_s() == 0.0


def test_it_renews_while_it_lives_and_gives_back_when_it_stops(desk: Books) -> None:
    daemon = Daemon(desk)
    daemon.take()
    daemon.keeper.start()
    for _ in range(5):
        daemon.wait(3)
    assert daemon.keeper.left_s() == 7.0
    [(_, ends_ms)] = daemon.epochs()
    assert ends_ms == desk.clock.ms + 10_000
    now(daemon.keeper.stop())
    assert not daemon.worker.runs
    assert not daemon.keeper.is_fresh()
    assert Daemon(desk, "host/2/2").take() == Tenure(1, 2)  # at once: nobody waits for a lease given back


def test_who_has_been_taken_over_says_so_once_and_gives_nothing_back(desk: Books) -> None:
    old = Daemon(desk)
    old.take()
    old.keeper.start()
    new = Daemon(desk, "host/2/2", other_runs=False)
    assert new.take() == Tenure(1, 2)
    old.wait(3)
    [why] = old.lost
    assert isinstance(why, Fenced)
    assert not old.keeper.is_fresh()
    old.wait(30)
    assert len(old.lost) == 1
    now(old.keeper.stop())
    assert [epoch for epoch, _ in new.epochs()] == [2]


def test_a_new_daemon_waits_for_the_end_of_a_lease_whose_holder_may_be_dead(desk: Books) -> None:
    Daemon(desk).take()
    waiting = Daemon(desk, "host/2/2")
    taken = Deferred.fromCoroutine(waiting.keeper.take())
    for _ in range(19):
        waiting.wait(0.5)
        assert not taken.called
    waiting.wait(1)
    assert now(taken) == Tenure(1, 2)


def test_a_holder_that_goes_on_renewing_is_alive_and_the_new_one_gives_up(desk: Books) -> None:
    living, waiting = Daemon(desk), Daemon(desk, "host/2/2")
    living.take()
    living.keeper.start()
    taken = Deferred.fromCoroutine(waiting.keeper.take())
    for _ in range(30):
        desk.wait(500)
        living.reactor.advance(0.5)
        waiting.reactor.advance(0.5)
    with pytest.raises(Occupied, match="node 1 runs already: host/1/1"):
        now(taken)
    assert living.lost == []


def test_orders_and_notices_of_a_dead_node_become_ours(desk: Books) -> None:
    daemon = Daemon(desk)
    daemon.take()
    daemon.keeper.start()
    held = desk.do(desk.plain())
    with desk.store.writing() as txn:
        txn.exec_driver_sql("UPDATE txn SET owner_node = 9, owner_epoch = 1 WHERE kind = 1")
        txn.exec_driver_sql(
            "INSERT INTO node_lease (node, epoch, host, beat_ms, expires_ms) VALUES (9, 1, 'dead/1/1', 1, 1)"
        )
    daemon.wait(3)
    [adopted] = daemon.adopted
    assert (list(adopted.orders), list(adopted.nodes)) == ([held.order_id], [9])
    assert daemon.keeper.adopted == 1
    assert desk.rows("SELECT owner_node, owner_epoch FROM txn WHERE kind = 1") == [(1, 1)]
    daemon.wait(3)
    assert len(daemon.adopted) == 1


def test_a_line_that_another_held_is_told_when_it_becomes_ours(desk: Books) -> None:
    daemon = Daemon(desk)
    daemon.take()
    with desk.store.writing() as txn:
        txn.exec_driver_sql("DELETE FROM link_lease")
    daemon.keeper.held = set()
    daemon.keeper.start()
    daemon.wait(3)
    daemon.wait(3)
    assert daemon.lines == [LINE]


def test_a_notice_that_no_living_daemon_carries_is_claimed_for_a_while(desk: Books) -> None:
    daemon = Daemon(desk)
    daemon.take()
    desk.do(desk.close(desk.do(desk.plain()), Verdict.YES))
    assert now(daemon.keeper.orphans(10)) == []  # their maker lives: it sends them
    with desk.store.writing() as txn:  # node 9 made them, not node 1
        txn.exec_driver_sql("UPDATE outbox SET id = id + (8 << 12)")
    claimed = now(daemon.keeper.orphans(10))
    assert claimed
    assert now(daemon.keeper.orphans(10)) == []
    desk.wait(60_001)
    assert now(daemon.keeper.orphans(10)) == claimed  # whoever claimed them has died


def test_a_database_that_fails_is_a_ledger_error_and_the_stop_goes_on(desk: Books) -> None:
    daemon = Daemon(desk)
    daemon.take()
    with desk.store.writing() as txn:
        txn.exec_driver_sql("ALTER TABLE node_lease RENAME TO node_lease_gone")
    with pytest.raises(LedgerError, match="no such table"):
        now(daemon.keeper.orphans(10))
    now(daemon.keeper.stop())
    assert not daemon.worker.runs
    assert not daemon.keeper.is_fresh()


def test_a_renewal_that_fails_is_a_trouble_until_one_succeeds(desk: Books) -> None:
    daemon = Daemon(desk)
    daemon.take()
    daemon.keeper.start()
    daemon.wait(SETTINGS.renew_s)
    assert daemon.keeper.trouble == ""
    with desk.store.writing() as txn:
        txn.exec_driver_sql("ALTER TABLE node_lease RENAME TO node_lease_gone")
    daemon.wait(SETTINGS.renew_s)
    assert "no such table" in daemon.keeper.trouble
    with desk.store.writing() as txn:
        txn.exec_driver_sql("ALTER TABLE node_lease_gone RENAME TO node_lease")
    daemon.wait(SETTINGS.renew_s)
    assert daemon.keeper.trouble == ""


# -- the line ---------------------------------------------------------------------------------------------

REQUEST = OperatorRequest(OP_REF, "13812345678", 5000, NOW_MS)


@pytest.mark.parametrize("verb", ["recharge", "query", "reverse"])
def test_without_a_sure_lease_no_request_leaves_the_house(verb: str) -> None:
    trace: list[Any] = []
    line, ours = ScriptedLine(trace), [True]
    leased = LeasedLine(line, lambda: ours[0])  # type: ignore[arg-type]
    ask: Callable[[OperatorRequest], Any] = getattr(leased, verb)
    assert leased.ready()
    assert now(ask(REQUEST)).code == "0000"
    ours[0] = False
    assert not leased.ready()
    with pytest.raises(NotSent, match="lease"):
        now(ask(REQUEST))
    with pytest.raises(NotSent):
        now(leased.stock())
    assert trace == [(verb, OP_REF)]


def test_stock_is_asked_and_late_answers_are_heard_through_it() -> None:
    line = ScriptedLine([])
    leased = LeasedLine(line, lambda: True)  # type: ignore[arg-type]
    heard: list[Any] = []
    leased.on_late_answer(heard.append)
    assert line.late is not None
    assert now(leased.stock()) == 0
    line.up = False
    assert not leased.ready()
