"""Two daemons on one PostgreSQL: one dies or sleeps with orders open, the other finishes them."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from aircharge.instance import DEMO_PIN, HOST, Instance, Shop, free_ports
from tests.postgres import Cluster
from tests.system.audit import audit
from tests.system.fleet import beside

pytestmark = [pytest.mark.peer, pytest.mark.timeout(400)]

SHOP = Shop("A1", "13900000001", "89860000000000000001")
QUICK = """[lease]
ttl_s = 5.0
renew_s = 0.5
quiet_s = 1.5

[notices]
poll_s = 0.5
"""
COUNT = 6


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    made = Cluster(durable=True)
    yield made
    made.stop()


@pytest.fixture
def first(server: Cluster, tmp_path: Path) -> Iterator[Instance]:
    """Node 1 with operator and SMS centre, all running."""
    folder = tmp_path / "first"
    folder.mkdir()
    made = Instance(folder, free_ports(), response_timeout_s=60.0, extra=QUICK, ledger_url=server.empty())
    with made as world:
        world.create([SHOP])
        world.start()
        yield world


def second_of(first: Instance, login: str) -> Instance:
    """Node 2, running."""
    second = beside(first, 2, login)
    second.start_daemon()
    return second


def recharge(instance: Instance, target: str) -> None:
    asked = {"operation": "recharge", "target": target, "amount_fen": 5000, "pin": DEMO_PIN}
    instance.centre("stk", **{"from": SHOP.phone}, **asked)


def states(instance: Instance) -> Counter[str]:
    names = {1: "HELD", 2: "SENT", 3: "IN_DOUBT", 4: "SETTLED", 5: "VOIDED"}
    place = instance.ledger_url.replace("+psycopg", "")
    with psycopg.connect(place, autocommit=True) as connection:
        rows = connection.execute("SELECT state, count(*) FROM txn WHERE kind = 1 GROUP BY state").fetchall()
    return Counter({names.get(state, str(state)): count for state, count in rows})


def executed_and_unanswered(instance: Instance) -> None:
    """The operator has done what it was asked; no answer has come, and none will."""
    instance.operator("next", fault="swallow", count=COUNT)
    for number in range(COUNT):
        recharge(instance, f"138000000{number:02d}")
    instance.wait_until(
        "the operator to execute",
        lambda: all(
            instance.operator("record", msisdn=f"138000000{number:02d}")["rows"] for number in range(COUNT)
        ),
    )
    assert states(instance) == {"HELD": COUNT}


def log_of(instance: Instance) -> str:
    return instance.daemon_log.read_text("utf-8", errors="replace")


def readiness(instance: Instance) -> str:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{instance.ports.metrics}/ready", timeout=10) as page:
            return str(page.read().decode())
    except urllib.error.HTTPError as refused:
        with refused:
            return str(refused.read().decode())


def settled(instance: Instance, count: int) -> None:
    instance.wait_until("the orders to settle", lambda: states(instance) == {"SETTLED": count})


def sound(first: Instance, second: Instance, count: int) -> None:
    second.stop()
    first.stop()
    found = audit(first.ledger_url, first.operator_file)
    assert found.problems == []
    assert (found.open, found.credited) == (0, count)


def test_the_dead_ones_orders_are_finished(first: Instance) -> None:
    with second_of(first, "second") as second:
        executed_and_unanswered(first)
        assert first.stop_one("daemon", signal.SIGKILL) == -signal.SIGKILL
        settled(first, COUNT)
        assert f"{COUNT} open orders of dead nodes [1] are ours now" in log_of(second)
        first.start_daemon()  # the same node again, at once: its process is gone
        assert "node 1 writes under epoch" in log_of(first)
        recharge(first, "13912345678")
        settled(first, COUNT + 1)
        sound(first, second, COUNT + 1)


def test_a_line_moves_to_whoever_lives(first: Instance) -> None:
    """One login only: the second daemon refuses recharges while the first holds it, and takes it when that is dead."""
    with second_of(first, "link") as second:
        assert "no operator can be asked" in readiness(second)
        executed_and_unanswered(first)
        first.stop_one("daemon", signal.SIGKILL)
        settled(first, COUNT)
        assert "the line 1.aircharge.link is ours" in log_of(second)
        sound(first, second, COUNT)


def test_a_sleeper_that_wakes_after_its_lease_moves_nothing(first: Instance) -> None:
    with second_of(first, "second") as second:
        executed_and_unanswered(first)
        os.kill(first.pid("daemon"), signal.SIGSTOP)
        try:
            recharge(first, "13912345678")  # lies in its socket
            settled(first, COUNT)
            assert f"{COUNT} open orders of dead nodes [1] are ours now" in log_of(second)
        finally:
            os.kill(first.pid("daemon"), signal.SIGCONT)
        first.wait_until("the sleeper to end", lambda: not first.is_running("daemon"))
        assert first.stop_one("daemon") == 1
        assert "the lease of node 1 (epoch 1) was taken over: the doors close" in log_of(first)
        assert states(first) == {"SETTLED": COUNT}
        assert first.operator("record", msisdn="13912345678")["rows"] == []
        first.start_daemon()
        settled(first, COUNT + 1)  # what the SMS centre kept
        sound(first, second, COUNT + 1)
