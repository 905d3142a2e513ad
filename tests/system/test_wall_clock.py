"""A daemon whose wall clock steps while it serves (libfaketime): service goes on, by the monotonic clock."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aircharge.instance import DEMO_PIN, Instance, Shop, free_ports

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]
SHOP = Shop("A1", "13900000001", "89860000000000000001")
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    if not LIBRARIES:
        pytest.skip("PEER MISSING: faketime")
    with Instance(tmp_path, free_ports()) as world:
        world.create([SHOP])
        yield world


def step(instance: Instance, seconds: int) -> None:
    """Set the daemon's wall clock; its monotonic one goes on."""
    file = instance.config_file.with_name("wall")
    file.with_suffix(".new").write_text(f"{seconds:+d}\n")
    file.with_suffix(".new").rename(file)


def recharge(instance: Instance, target: str) -> None:
    asked = {"operation": "recharge", "target": target, "amount_fen": 5000, "pin": DEMO_PIN}
    instance.centre("stk", **{"from": SHOP.phone}, **asked)


def settled(instance: Instance, count: int) -> None:
    def is_so() -> bool:
        with sqlite3.connect(f"file:{instance.ledger_file}?mode=ro", uri=True) as ledger:
            found = ledger.execute("SELECT count(*) FROM txn WHERE kind = 1 AND state = 4").fetchone()
        return bool(found[0] == count)

    instance.wait_until(f"{count} settled recharges", is_so)


@pytest.mark.parametrize("seconds", [-600, -60, 500])
def test_service_goes_on_when_the_wall_clock_steps(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    step(instance, 0)
    instance.start_operator()
    with monkeypatch.context() as patched:
        patched.setenv("LD_PRELOAD", str(LIBRARIES[0]))
        patched.setenv("FAKETIME_TIMESTAMP_FILE", str(instance.config_file.with_name("wall")))
        patched.setenv("FAKETIME_NO_CACHE", "1")
        patched.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        patched.setenv("DONT_FAKE_MONOTONIC", "1")
        instance.start_daemon()
    instance.start_centre()
    recharge(instance, "13812345671")
    settled(instance, 1)
    step(instance, seconds)
    time.sleep(12)  # longer than the lease: it must have been renewed since
    recharge(instance, "13812345672")
    settled(instance, 2)
    assert instance.is_running("daemon")
    step(instance, 0)
    recharge(instance, "13812345673")
    settled(instance, 3)
