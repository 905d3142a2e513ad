"""A real file system with no room left, for the ledger and for the daemon's log: nothing is taken that is not kept."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from aircharge.instance import DEMO_PIN, Instance, Shop, free_ports
from tests.system.audit import audit, rows
from tests.system.fleet import readiness, verified

pytestmark = pytest.mark.timeout(300)

SHOP = Shop("A1", "13900000001", "89860000000000000001")
SETTLED = "SELECT count(*) FROM txn WHERE kind = 1 AND state = 4"
DEFINITE = "SELECT count(*) FROM txn WHERE kind = 1 AND state IN (0, 4)"
ANOTHER = f"{SETTLED} AND msisdn = '13800000009'"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Eight MiB. Only root may mount it."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def instance(disk: Path, tmp_path: Path) -> Iterator[Instance]:
    """Ledger and log on that disk, the operator's record elsewhere."""
    folder = tmp_path / "instance"
    folder.mkdir()
    (folder / "daemon.out").symlink_to(disk / "daemon.out")
    with Instance(folder, free_ports(), ledger_url=f"sqlite:///{disk / 'ledger.db'}") as made:
        made.create([SHOP])
        made.start()
        yield made
    log = made.daemon_log.read_bytes()
    made.daemon_log.unlink()
    made.daemon_log.write_bytes(log)  # the disk is about to go


def fill(disk: Path) -> Path:
    """To the last octet."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            pass
    return ballast


def recharge(instance: Instance, number: int) -> None:
    target = f"138000000{number:02d}"
    asked = {"operation": "recharge", "target": target, "amount_fen": 5000, "pin": DEMO_PIN, "wait_s": 0}
    instance.centre("stk", **{"from": SHOP.phone}, **asked)


def test_no_room_no_recharge(instance: Instance, disk: Path) -> None:
    """It says so, moves nothing, and goes on by itself when there is room again: each message once.

    A message that comes before the lease is renewed is refused, as whenever no operator can be asked.
    """
    ledger = disk / "ledger.db"
    for number in range(3):
        recharge(instance, number)
    instance.wait_until("the first to settle", lambda: rows(ledger, SETTLED) == [(3,)])
    ballast = fill(disk)
    for number in range(3, 9):
        recharge(instance, number)
    instance.wait_until("the daemon to say so", lambda: "full" in readiness(instance))
    credited = "SELECT count(*) FROM credit"
    assert rows(instance.operator_file, credited) == rows(
        ledger, "SELECT count(*) FROM txn WHERE kind = 1 AND state IN (1, 2, 3, 4)"
    )
    ballast.unlink()
    instance.wait_until("the daemon to be ready", lambda: readiness(instance) == "ready\n")
    instance.wait_until("all to be definite", lambda: rows(ledger, DEFINITE) == [(9,)])
    recharge(instance, 9)
    instance.wait_until("another to settle", lambda: rows(ledger, ANOTHER) == [(1,)])
    instance.stop()
    found = audit(ledger, instance.operator_file)
    assert (found.problems, found.open, found.orders) == ([], 0, 10)
    assert found.settled == found.credited >= 4
    assert verified(instance.config_file) == []
