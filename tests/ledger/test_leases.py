"""Leases: one epoch at a time may write; what a dead daemon left open changes hands, and the dead one knows it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection

from aircharge.ledger.leases import (
    Adopted,
    LeaseSettings,
    Occupied,
    adopt_txn,
    leases,
    line_key,
    release_txn,
    renew_txn,
    take_lines_txn,
    take_txn,
)
from aircharge.ledger.reading import claim_notices_txn, unsent_notices
from aircharge.ledger.singletons import changing
from aircharge.ledger.tenure import Fenced, LeaseOver, Tenure
from aircharge.process import is_running, this_process
from aircharge.values import Receipt, State, Verdict
from tests.ledger.desk import Books

TTL = 10_000
T = TypeVar("T")


def change(books: Books, work: Callable[[Connection], T]) -> T:
    with changing(books.engine) as txn:
        return work(txn)


def now_ms(books: Books) -> int:
    """The clock that leases go by: the database's."""
    if books.engine.dialect.name == "sqlite":
        return books.clock.ms
    return int(books.value("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"))


def take(
    books: Books, node: int = 1, host: str = "", *, at: int = 0, runs: bool = True, ttl: int = TTL
) -> Tenure:
    moment = now_ms(books) + at
    host = host or f"host{node}/1/1"
    return change(books, lambda txn: take_txn(txn, moment, node, host, ttl, lambda _: runs))


def age(books: Books, node: int) -> None:
    """Its lease has run out."""
    with changing(books.engine) as txn:
        txn.exec_driver_sql(f"UPDATE node_lease SET expires_ms = 1 WHERE node = {node}")
        txn.exec_driver_sql(f"UPDATE link_lease SET expires_ms = 1 WHERE node = {node}")


def adopt(books: Books, tenure: Tenure, *operators: int) -> Adopted:
    moment = now_ms(books)
    return change(books, lambda txn: adopt_txn(txn, moment, tenure, operators or (1, 2)))


def owners(books: Books) -> list[tuple[int, int]]:
    return books.rows("SELECT owner_node, owner_epoch FROM txn WHERE kind = 1 ORDER BY id")  # type: ignore[return-value]


# -- taking, renewing, giving back ------------------------------------------------------------------------


def test_epochs_count_up(books: Books) -> None:
    assert take(books) == Tenure(1, 1)
    assert take(books, runs=False) == Tenure(1, 2)
    change(books, lambda txn: release_txn(txn, Tenure(1, 2)))
    assert take(books) == Tenure(1, 3)
    with books.engine.connect() as txn:
        [lease] = leases(txn)
    assert (lease.node, lease.epoch, lease.host) == (1, 3, "host1/1/1")


def test_a_living_daemons_node_is_occupied(books: Books) -> None:
    take(books)
    with pytest.raises(Occupied, match="node 1 runs already: host1/1/1"):
        take(books)
    assert take(books, at=TTL + 1_000) == Tenure(1, 2)


def test_whoever_was_taken_over_cannot_renew(books: Books) -> None:
    first = take(books)
    change(books, lambda txn: renew_txn(txn, now_ms(books), first, TTL))
    take(books, runs=False)
    with pytest.raises(Fenced, match="node 1"):
        change(books, lambda txn: renew_txn(txn, now_ms(books), first, TTL))


def test_a_lease_nobody_has_taken_may_be_renewed_late(books: Books) -> None:
    tenure = take(books)
    age(books, 1)
    change(books, lambda txn: renew_txn(txn, now_ms(books), tenure, TTL))
    books.store.tenure = tenure
    assert books.do(books.plain()).state is State.HELD


def test_on_sqlite_one_daemon_at_a_time(sqlite_books: Books) -> None:
    books = sqlite_books
    first = take(books, 1)
    with pytest.raises(Occupied, match="node 1 runs already"):
        take(books, 2)
    second = take(books, 2, runs=False)  # the process of node 1 is gone
    assert second == Tenure(2, 1)
    books.store.tenure = first
    with pytest.raises(Fenced):
        books.do(books.plain())
    books.store.tenure = second
    assert books.do(books.plain()).state is State.HELD


# -- the fence --------------------------------------------------------------------------------------------


def test_a_zombies_batch_writes_nothing(books: Books) -> None:
    books.store.tenure = take(books)
    order = books.do(books.plain())
    before = [books.rows(f"SELECT * FROM {table}") for table in ("txn", "journal", "balance", "outbox")]
    take(books, runs=False)
    for command in (books.close(order, Verdict.YES), books.plain("13800000002")):
        with pytest.raises(Fenced):
            books.do(command)
    after = [books.rows(f"SELECT * FROM {table}") for table in ("txn", "journal", "balance", "outbox")]
    assert before == after


def test_a_lease_that_ran_out_writes_nothing_until_renewed(postgres_books: Books) -> None:
    books = postgres_books
    books.store.tenure = tenure = take(books)
    age(books, 1)
    with pytest.raises(LeaseOver, match="nothing was written"):
        books.do(books.plain())
    assert books.value("SELECT count(*) FROM txn WHERE kind = 1") == 0
    change(books, lambda txn: renew_txn(txn, now_ms(books), tenure, TTL))
    assert books.do(books.plain()).state is State.HELD


def test_orders_bear_their_owner(books: Books) -> None:
    books.do(books.plain("13800000001"))
    books.store.tenure = take(books)
    books.do(books.plain("13800000002"))
    assert owners(books) == [(1, 0), (1, 1)]


def test_a_take_over_waits_for_the_batch_under_way_and_a_heartbeat_does_not(postgres_books: Books) -> None:
    books = postgres_books
    books.store.tenure = tenure = take(books)
    entered, go_on = threading.Event(), threading.Event()
    apply = books.store._book.apply

    def slow(*arguments: Any) -> Any:
        entered.set()
        assert go_on.wait(60)
        return apply(*arguments)

    books.store._book.apply = slow  # type: ignore[method-assign]
    done: list[Any] = []
    writer = threading.Thread(target=lambda: done.append(books.do(books.plain())))
    writer.start()
    assert entered.wait(60)
    change(books, lambda txn: renew_txn(txn, now_ms(books), tenure, TTL))  # does not wait
    age(books, 1)
    other = take(books, 2)
    books.store._book.apply = apply  # type: ignore[method-assign]
    assert adopt(books, other) == Adopted()  # its batch is under way: the next round
    taker: list[Tenure] = []
    starter = threading.Thread(target=lambda: taker.append(take(books, runs=False)))
    starter.start()
    starter.join(0.3)
    assert taker == []
    go_on.set()
    writer.join(60)
    starter.join(60)
    assert done[0].state is State.HELD
    assert taker == [Tenure(1, 2)]
    with pytest.raises(Fenced):
        books.do(books.plain("13800000002"))


# -- adoption ---------------------------------------------------------------------------------------------


def test_open_orders_of_the_dead_are_adopted_and_the_dead_is_fenced(postgres_books: Books) -> None:
    books = postgres_books
    dead = books.store
    dead.tenure = take(books, 1)
    open_order: Receipt = books.do(books.plain("13800000001"))
    doubt = books.do(books.plain("13800000002"))
    books.do(books.close(doubt, Verdict.UNKNOWN, next_ms=5))
    ended = books.do(books.plain("13800000003"))
    books.do(books.close(ended, Verdict.YES))
    other = Books(books.url, node=2)
    other._serial = 1_000
    other.store.tenure = tenure = take(books, 2)
    assert adopt(books, tenure) == Adopted()  # it lives
    age(books, 1)
    assert adopt(books, tenure) == Adopted((open_order.order_id, doubt.order_id), (1,))
    assert owners(books) == [(2, 1), (2, 1), (1, 1)]
    with pytest.raises(Fenced):
        books.do(books.close(open_order, Verdict.YES))
    for order in (open_order, doubt):
        assert other.do(other.close(order, Verdict.YES)).fresh
    assert books.value("SELECT count(*) FROM journal WHERE op = 1") == 3
    assert adopt(books, tenure) == Adopted()
    dead.tenure = None
    other.engine.dispose()


def test_only_orders_of_lines_one_holds_are_adopted(postgres_books: Books) -> None:
    books = postgres_books
    books.store.tenure = take(books, 1)
    first = books.do(books.plain("13800000001"))
    books.do(books.plain("13800000002", operator_id=2))
    tenure = take(books, 2)
    age(books, 1)
    assert adopt(books, tenure, 1).orders == (first.order_id,)
    assert owners(books) == [(2, 1), (1, 1)]
    books.store.tenure = None


def test_a_desks_orders_only_change_hands(books: Books) -> None:
    books.do(books.plain())  # by node 1, which has no lease
    tenure = take(books, 2)
    assert adopt(books, tenure) == Adopted()
    assert owners(books) == [(2, 1)]


def test_who_is_fenced_adopts_nothing(books: Books) -> None:
    books.do(books.plain())
    tenure = take(books, 2)
    take(books, 2, runs=False)
    with pytest.raises(Fenced):
        adopt(books, tenure)
    age(books, 2)
    with pytest.raises(LeaseOver):
        adopt(books, Tenure(2, 2))
    assert owners(books) == [(1, 0)]


# -- notices ----------------------------------------------------------------------------------------------


def test_notices_of_the_living_are_their_own(books: Books) -> None:
    """Those of a desk and of the dead are claimed by one daemon at a time."""
    other = Books(books.url, node=2) if books.engine.dialect.name == "postgresql" else books
    other._serial = 1_000
    books.do(books.plain("13800000001", 10**9))
    other.do(other.plain("13800000002", 10**9))
    moment = books.clock.ms + 1_000
    with books.engine.connect() as txn:
        mine = unsent_notices(txn, moment, 10, of=1)
        all_of_them = unsent_notices(txn, moment, 10)
    refused = [notice for notice in all_of_them if notice.topic == "outlet.refused"]
    assert len(refused) == 2
    assert {id_node(notice.notice_id) for notice in mine} == {1}

    def claim(at: int, *living: int) -> list[int]:
        notices = change(books, lambda txn: claim_notices_txn(txn, at, at + 60_000, 10, living))
        return [id_node(notice.notice_id) for notice in notices]

    makers = {id_node(notice.notice_id) for notice in all_of_them}
    assert claim(moment, *makers) == []
    claimed = claim(moment, 2)
    assert set(claimed) == {1}
    assert claim(moment, 2) == []  # claimed already
    assert claim(moment + 60_000, 2) == claimed  # whoever claimed them has died
    if other is not books:
        other.engine.dispose()


def id_node(number: int) -> int:
    return number >> 12 & 1023


# -- lines ------------------------------------------------------------------------------------------------


def hold(books: Books, tenure: Tenure, *lines: str) -> set[str]:
    moment = now_ms(books)
    return change(books, lambda txn: take_lines_txn(txn, moment, tenure, lines, TTL))


def test_one_daemon_holds_a_line(postgres_books: Books) -> None:
    books = postgres_books
    one, two = take(books, 1), take(books, 2)
    assert hold(books, one, "1.a.x", "2.a.x") == {"1.a.x", "2.a.x"}
    assert hold(books, two, "1.a.x", "1.b.x") == {"1.b.x"}  # a login of its own
    age(books, 1)
    assert hold(books, two, "1.a.x") == {"1.a.x"}
    with pytest.raises(Fenced):  # with the line it has lost its own lease
        change(books, lambda txn: renew_txn(txn, now_ms(books), one, TTL))
    change(books, lambda txn: release_txn(txn, two))
    three = take(books, 3)
    assert hold(books, three, "1.a.x") == {"1.a.x"}
    assert take(books, 2) == Tenure(2, 2)  # given back: nobody had to be fenced


def test_a_line_that_a_living_daemon_no_longer_uses_is_free(postgres_books: Books) -> None:
    books = postgres_books
    one, two = take(books, 1), take(books, 2)
    hold(books, one, "1.a.x")
    age(books, 1)
    change(books, lambda txn: renew_txn(txn, now_ms(books), one, TTL))
    assert hold(books, two, "1.a.x") == {"1.a.x"}
    change(books, lambda txn: renew_txn(txn, now_ms(books), one, TTL))


def test_the_name_of_a_line_fits_its_column() -> None:
    assert line_key(1, "aircharge", "link") == "1.aircharge.link"
    assert len(line_key(99, "a" * 20, "b" * 20)) == 32
    assert line_key(99, "a" * 20, "b" * 20) != line_key(98, "a" * 20, "b" * 20)


def test_a_process_knows_itself() -> None:
    name = this_process()
    assert is_running(name)
    host, pid, started = name.split("/")
    assert not is_running(f"{host}/{pid}/{int(started) + 1}")  # a later process with its number
    assert is_running("elsewhere/1/1")  # nobody can tell


@pytest.mark.parametrize("numbers", [(10.0, 8.0, 3.0), (10.0, 0.0, 3.0), (2.0, 3.0, 0.0)])
def test_a_lease_must_outlast_its_renewal(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="renew_s must be shorter"):
        LeaseSettings(*numbers)
