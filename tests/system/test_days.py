"""The accounting day is cut while the real daemon trades, which closes it; wrong books close the doors."""

from __future__ import annotations

import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aircharge.cli import main
from aircharge.config import load
from aircharge.instance import DEMO_PIN, Instance, Shop, free_ports
from aircharge.ledger.cutoff import accounting_date, following
from aircharge.machine import SystemClock
from aircharge.office import Office
from tests.system.audit import audit

pytestmark = pytest.mark.timeout(300)
SHOP = Shop("A1", "13900000001", "89860000000000000001")
QUICK = "[days]\nlook_s = 0.2\n\n[proof]\nverify_s = 1.0\n"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    with Instance(tmp_path, free_ports(), response_timeout_s=30.0, extra=QUICK) as world:
        world.create([SHOP])
        yield world


def recharge(instance: Instance, target: str, yuan: int = 50) -> None:
    asked = {"operation": "recharge", "target": target, "amount_fen": yuan * 100, "pin": DEMO_PIN}
    instance.centre("stk", **{"from": SHOP.phone}, **asked)


def rows(instance: Instance, question: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(instance.ledger_file, timeout=30) as ledger:
        found = ledger.execute(question).fetchall()
    ledger.close()
    return found


def run(instance: Instance, *words: str) -> str:
    result = CliRunner().invoke(main, ["-c", str(instance.config_file), *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_day_is_cut_among_open_orders(instance: Instance) -> None:
    today = accounting_date(SystemClock().now_ms(), 480)
    instance.start()
    instance.operator("faults", latency_ms=4_000)
    for number in range(20):
        recharge(instance, f"138000000{number:02d}")
    held = "SELECT count(*) FROM txn WHERE kind = 1 AND state = 1"
    instance.wait_until("orders to be open", lambda: rows(instance, held)[0][0] >= 5)
    said = run(instance, "day", "cut", "1", "--actor", "wang")
    [(tomorrow,)] = rows(instance, "SELECT biz_date FROM day WHERE operator_id = 1 AND state = 0")
    assert f"{tomorrow // 10000}-" in said
    assert tomorrow > today
    for number in range(20, 30):
        recharge(instance, f"138000000{number:02d}")
    settled = "SELECT count(*) FROM txn WHERE kind = 1 AND state = 4"
    instance.wait_until("all to settle", lambda: rows(instance, settled)[0][0] == 30)
    by_dates = rows(
        instance,
        "SELECT t.biz_date, j.biz_date, count(*) FROM txn t JOIN journal j ON j.txn_id = t.id"
        " WHERE t.kind = 1 GROUP BY 1, 2",
    )
    assert sum(count for _, _, count in by_dates) == 30
    assert {(held, posted) for held, posted, _ in by_dates} >= {(tomorrow - 0, tomorrow)}
    before = [count for held, posted, count in by_dates if held != tomorrow and posted == tomorrow]
    assert before
    assert before[0] >= 5, by_dates  # held before the cut, settled after it
    closed = "SELECT count(*) FROM day WHERE operator_id = 1 AND state = 2"
    instance.wait_until("the daemon to close the day", lambda: rows(instance, closed)[0][0] == 1)
    [(debits, credits)] = rows(instance, "SELECT debits, credits FROM eod_balance WHERE operator_id = 1") or [
        (0, 0)
    ]
    early = sum(count for _, posted, count in by_dates if posted != tomorrow)
    assert (debits, credits) == (0, early * 5_000)
    log = instance.daemon_log
    instance.wait_until("a verification", lambda: "the books are sound" in log.read_text("utf-8"))
    instance.stop()
    found = audit(instance.ledger_file, instance.operator_file)
    assert (found.problems, found.open) == ([], 0)


def ready(instance: Instance) -> tuple[int, str]:
    place = f"http://127.0.0.1:{instance.ports.metrics}/ready"
    try:
        with urllib.request.urlopen(place, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_wrong_books_close_the_doors_and_say_so(instance: Instance) -> None:
    instance.start()
    instance.wait_until("the daemon to be ready", lambda: ready(instance)[0] == 200)
    with sqlite3.connect(instance.ledger_file, timeout=30) as ledger:
        ledger.execute("UPDATE balance SET posted = posted + 100 WHERE account_id = 1000")
    ledger.close()
    instance.wait_until("the daemon to see it", lambda: "the books are not sound" in ready(instance)[1])
    code, said = ready(instance)
    assert code == 503
    assert "account 1000: balance" in said
    assert "THE BOOKS ARE NOT SOUND" in instance.daemon_log.read_text("utf-8")
    recharge(instance, "13812345678")
    refused = "SELECT count(*) FROM txn WHERE kind = 1 AND state <> 0"
    assert rows(instance, refused) == [(0,)]
    office = Office(load(instance.config_file))
    lines, sound = office.verify()
    office.close()
    assert not sound
    assert any("account 1000: balance" in line for line in lines)


def test_a_cut_needs_a_known_operator_and_a_later_day(instance: Instance) -> None:
    def refused(*words: str) -> str:
        result = CliRunner().invoke(main, ["-c", str(instance.config_file), "day", *words, "--actor", "wang"])
        assert result.exit_code != 0
        return result.output

    today = accounting_date(SystemClock().now_ms(), 480)
    assert "no operator 7" in refused("cut", "7")
    assert "is no date" in refused("cut", "1", "--next", "2026-02-30")
    assert "the next one comes after it" in refused("cut", "1", "--next", str(today))
    assert "at most one day ahead" in refused("cut", "1", "--next", str(following(following(today))))
    assert "cannot be closed now" in refused("close", "1", str(today))
    assert rows(instance, "SELECT count(*) FROM day WHERE operator_id = 1") == [(0,)]
