"""Several daemons' writers on one PostgreSQL: a request is executed once, no float overdrawn, none waits for ever."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aircharge.ledger.chart import PERIOD_DAY, SUBJECT_MANAGER
from aircharge.ledger.policy_loading import bump_policy_txn
from aircharge.ledger.store import Store
from aircharge.ledger.tables import metadata
from aircharge.ledger.verify import verify
from aircharge.values import Operation
from tests.postgres import cluster, database
from tests.system.ledger_writers import AMOUNT_FEN, OUTLETS, open_store, prepare

COUNT = 4000
ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.peer, pytest.mark.slow]


@pytest.fixture
def url() -> Iterator[str]:
    with database() as made:
        yield made


def all_at_once(url: str, writers: int, kind: str = "recharges") -> Counter[str]:
    """What the writers saw, together."""
    command = [sys.executable, "-m", "tests.system.ledger_writers", url]
    started = [
        subprocess.Popen(
            [*command, str(node), str(COUNT), kind],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for node in range(1, writers + 1)
    ]
    for writer in started:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in started:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    seen: Counter[str] = Counter()
    for writer in started:
        said, _ = writer.communicate(timeout=100)
        assert writer.returncode == 0
        seen.update(json.loads(said))
    return seen


def check(store: Store, url: str, settled: int) -> None:
    """Sound books, that many recharges settled, one posting each, nobody waited in a ring."""
    sound(store, url)
    with store.engine.connect() as txn:
        states = dict(txn.exec_driver_sql("SELECT state, count(*) FROM txn WHERE kind = 1 GROUP BY 1").all())
        postings = txn.exec_driver_sql("SELECT count(*) FROM journal WHERE op = 1").scalar()
    assert states == ({4: COUNT} if settled == COUNT else {4: settled, 0: COUNT - settled})
    assert postings == settled


def sound(store: Store, url: str) -> None:
    """And no deadlock in this database's whole life."""
    with store.engine.connect() as txn:
        assert verify(txn).problems == []
    name = url.rpartition("/")[2]
    question = f"SELECT deadlocks FROM pg_stat_database WHERE datname = '{name}'"
    assert cluster().execute(question) == [(0,)]


@pytest.mark.parametrize("writers", [2, 4])
def test_the_same_requests_in_different_orders_settle_once(url: str, writers: int) -> None:
    store = open_store(url, 0)
    prepare(store, COUNT // OUTLETS * AMOUNT_FEN * 2)
    seen = all_at_once(url, writers)
    assert seen == {"fresh": COUNT, "known": COUNT * (writers - 1), "settled": COUNT}
    check(store, url, COUNT)
    store.engine.dispose()


@pytest.mark.parametrize("writers", [3])
def test_with_low_funds_every_outlet_ends_at_exactly_nothing(url: str, writers: int) -> None:
    store = open_store(url, 0)
    each = COUNT // OUTLETS // 2
    prepare(store, each * AMOUNT_FEN)
    seen = all_at_once(url, writers)
    assert seen == {"fresh": COUNT, "known": COUNT * (writers - 1), "settled": each * OUTLETS}
    check(store, url, each * OUTLETS)
    with store.engine.connect() as txn:
        floats = txn.exec_driver_sql(
            "SELECT posted, held, floor FROM balance WHERE account_id < 1000000"
        ).all()
    assert [tuple(row) for row in floats] == [(0, 0, 0)] * OUTLETS
    store.engine.dispose()


def change(store: Store, table: str, **values: Any) -> None:
    with store.writing() as txn:
        txn.execute(metadata.tables[table].insert().values(**values))
        bump_policy_txn(txn)


@pytest.mark.parametrize("writers", [3])
def test_a_limit_that_all_outlets_share_is_met_exactly(url: str, writers: int) -> None:
    """One account manager has them all: 1,500 recharges a day, counted on one row by everybody."""
    store = open_store(url, 0)
    prepare(store, COUNT // OUTLETS * AMOUNT_FEN * 2)
    with store.writing() as txn:
        txn.execute(metadata.tables["outlet"].update().values(manager="wang"))
    limit = {"subject": SUBJECT_MANAGER, "operation": int(Operation.RECHARGE), "period": PERIOD_DAY}
    change(store, "limit_rule", id=1, **limit, count_max=1500)
    seen = all_at_once(url, writers)
    assert seen == {"fresh": COUNT, "known": COUNT * (writers - 1), "settled": 1500}
    check(store, url, 1500)
    store.engine.dispose()


@pytest.mark.parametrize("writers", [3])
def test_transfers_both_ways_move_each_sum_once(url: str, writers: int) -> None:
    store = open_store(url, 0)
    prepare(store, 10_000_000)
    sides = {"from_group": "standard", "to_group": "standard"}
    change(store, "transfer_rule", id=1, **sides, min_fen=1, max_fen=10_000)
    seen = all_at_once(url, writers, "transfers")
    assert seen == {"fresh": COUNT, "known": COUNT * (writers - 1)}
    sound(store, url)
    with store.engine.connect() as txn:
        moved = txn.exec_driver_sql("SELECT count(*), sum(amount)::bigint FROM journal WHERE op = 5").one()
        floats = txn.exec_driver_sql("SELECT sum(posted)::bigint FROM balance").scalar()
    assert tuple(moved) == (COUNT, COUNT * (COUNT + 1) // 2)
    assert floats == OUTLETS * 10_000_000
    store.engine.dispose()
