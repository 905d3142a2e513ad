"""The daemon as it is, its ledger in PostgreSQL: recharges end to end, kill -9, a database that goes and comes."""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aircharge.config import load
from aircharge.instance import DEMO_PIN, HOST, Instance, Shop, free_ports
from aircharge.office import Office
from tests.postgres import Cluster
from tests.system.audit import audit

pytestmark = pytest.mark.peer

SHOP = Shop("A1", "13900000001", "89860000000000000001")


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A server of this file's own, with fsync as it is in service."""
    made = Cluster(durable=True)
    yield made
    made.stop()


@pytest.fixture
def instance(server: Cluster, tmp_path: Path) -> Iterator[Instance]:
    """All of it runs."""
    url = server.empty()
    with Instance(tmp_path, free_ports(), ledger_url=url) as world:
        world.create([SHOP])
        world.start()
        yield world


def recharge(instance: Instance, target: str, yuan: int = 50) -> None:
    asked = {"operation": "recharge", "target": target, "amount_fen": yuan * 100, "pin": DEMO_PIN}
    instance.centre("stk", **{"from": SHOP.phone}, **asked)


def states(instance: Instance) -> list[str]:
    office = Office(load(instance.config_file))
    try:
        return [order["state"] for order in office.orders_of(SHOP.code) if order["msisdn"]]
    finally:
        office.close()


def settle(instance: Instance, count: int) -> None:
    instance.wait_until("the orders to settle", lambda: states(instance) == ["SETTLED"] * count)


def sound(instance: Instance, credited: int) -> None:
    """Everything stopped: books and the operator's record match one to one."""
    instance.stop()
    found = audit(instance.ledger_url, instance.operator_file)
    assert found.problems == []
    assert (found.open, found.credited) == (0, credited)


def readiness(instance: Instance) -> str:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{instance.ports.metrics}/ready", timeout=10) as page:
            return str(page.read().decode())
    except urllib.error.HTTPError as refused:
        with refused:
            return str(refused.read().decode())


def test_recharges_end_to_end(instance: Instance) -> None:
    recharge(instance, "13812345678")
    recharge(instance, "13812345679", 100)
    settle(instance, 2)
    [message] = instance.centre("inbox", number="13812345678", wait_s=30, count=1)["messages"]
    assert "50" in message["text"]
    sound(instance, 2)


def test_kill_9_leaves_the_open_order_to_recovery(instance: Instance) -> None:
    instance.operator("next", fault="swallow", count=1)
    recharge(instance, "13812345678")
    instance.wait_until(
        "the operator to execute", lambda: bool(instance.operator("record", msisdn="13812345678")["rows"])
    )
    assert instance.stop_one("daemon", signal.SIGKILL) == -signal.SIGKILL
    assert states(instance) != ["SETTLED"]
    instance.start_daemon()
    settle(instance, 1)
    sound(instance, 1)


def test_the_database_goes_and_comes_back(instance: Instance, server: Cluster) -> None:
    """Not ready meanwhile, and ready again by itself; what the operator executed before is settled once.

    (Its answer could not be written. It is looked at again minutes later, or at the next start, as here.)
    """
    recharge(instance, "13812345678")
    settle(instance, 1)
    instance.operator("next", fault="swallow", count=1)
    recharge(instance, "13812345679")
    instance.wait_until(
        "the operator to execute", lambda: bool(instance.operator("record", msisdn="13812345679")["rows"])
    )
    server.halt()
    recharge(instance, "13812345680")  # the SMS centre keeps it until it is answered OK
    instance.wait_until("the daemon to say so", lambda: "the ledger's database" in readiness(instance))
    server.start()
    instance.wait_until("the daemon to be ready", lambda: readiness(instance) == "ready\n")
    instance.wait_until("the new order to settle", lambda: states(instance).count("SETTLED") >= 2)
    instance.stop_one("daemon")
    instance.start_daemon()
    settle(instance, 3)
    sound(instance, 3)


def test_the_status_names_no_password(instance: Instance) -> None:
    with urllib.request.urlopen(f"http://{HOST}:{instance.ports.metrics}/status", timeout=10) as page:
        status: dict[str, Any] = json.load(page)
    assert "postgres" not in json.dumps(status)
