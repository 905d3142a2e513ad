"""PostgreSQL's own disk fails or has no room: the server falls, the daemon takes nothing, and what was said holds."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from aircharge.instance import DEMO_PIN, Instance, Shop, free_ports
from tests.postgres import Cluster
from tests.system.audit import audit, rows
from tests.system.fleet import readiness, verified
from tests.system.sick_disk import SickDisk

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(300)]

SHOP = Shop("A1", "13900000001", "89860000000000000001")
SETTLED = "SELECT count(*) FROM txn WHERE kind = 1 AND state = 4"
OPEN = "SELECT count(*) FROM txn WHERE state IN (1, 2, 3)"


@pytest.fixture
def disk() -> Iterator[SickDisk]:
    """In a folder that the server's user may look into."""
    folder = Path(tempfile.mkdtemp(prefix="aircharge-sick-"))
    folder.chmod(0o755)
    made = SickDisk(folder, "/pg_wal/")
    (folder / "sick_disk.orders").chmod(0o666)
    yield made
    shutil.rmtree(folder)


@pytest.fixture
def server(disk: SickDisk) -> Iterator[Cluster]:
    made = Cluster(durable=True, environment=disk.environment)
    yield made
    made.stop()


@pytest.fixture
def instance(server: Cluster, tmp_path: Path) -> Iterator[Instance]:
    with Instance(tmp_path, free_ports(), ledger_url=server.empty()) as made:
        made.create([SHOP])
        made.start()
        yield made


def recharge(instance: Instance, number: int) -> None:
    target = f"138000000{number:02d}"
    asked = {"operation": "recharge", "target": target, "amount_fen": 5000, "pin": DEMO_PIN, "wait_s": 0}
    instance.centre("stk", **{"from": SHOP.phone}, **asked)


def settled(instance: Instance) -> int:
    """-1 while the server cannot be asked."""
    try:
        [(count,)] = rows(instance.ledger_url, SETTLED)
    except psycopg.OperationalError:
        return -1
    return int(count)


@pytest.mark.parametrize("is_full", [False, True], ids=["error", "full"])
def test_the_servers_disk(instance: Instance, server: Cluster, disk: SickDisk, is_full: bool) -> None:
    for number in range(3):
        recharge(instance, number)
    instance.wait_until("the first to settle", lambda: settled(instance) == 3)
    if is_full:
        disk.fill()
    else:
        disk.break_down()
    for number in range(3, 9):
        recharge(instance, number)
    instance.wait_until("the server to fall", lambda: disk.failed > 0 and settled(instance) < 0)
    server.halt()
    disk.heal()
    server.start()
    if not is_full:  # it may have left by itself: an error of input and output ends it
        instance.stop_one("daemon")
        instance.start_daemon()
    instance.wait_until("the daemon to be ready", lambda: readiness(instance) == "ready\n")
    recharge(instance, 9)
    instance.wait_until(
        "another to settle",
        lambda: rows(instance.ledger_url, f"{SETTLED} AND msisdn = '13800000009'") == [(1,)],
    )
    instance.stop_one("daemon")  # an order whose commit was unknown is looked at minutes later, or at a start
    instance.start_daemon()
    instance.wait_until("all to be definite", lambda: rows(instance.ledger_url, OPEN) == [(0,)])
    instance.stop()
    found = audit(instance.ledger_url, instance.operator_file)
    assert (found.problems, found.open) == ([], 0)
    assert found.settled == found.credited >= 4
    assert verified(instance.config_file) == []
