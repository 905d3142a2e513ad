"""A file of recharges through the real daemon, killed in the middle: each line once in the operator's record."""

from __future__ import annotations

import re
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aircharge.cli import main
from aircharge.instance import Instance, Shop, free_ports
from tests.system.audit import audit

pytestmark = pytest.mark.timeout(300)
LINES = 300
SLOW_MS = 800
"""With 50 lines at a time the file takes 5 s: time enough to look and to kill on a loaded machine."""
SHOP = Shop("A1", "13900000001", "89860000000000000001", float_fen=1_000_000)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    with Instance(tmp_path, free_ports(), response_timeout_s=15.0) as world:
        world.create([SHOP])
        yield world


def say(instance: Instance, *words: str) -> str:
    result = CliRunner().invoke(main, ["-c", str(instance.config_file), *words])
    assert result.exit_code == 0, result.output
    return result.output


def started(instance: Instance) -> str:
    """A file of LINES lines is asked for and started; its number."""
    file = instance.folder / "lines.csv"
    lines = [f"138{n:08d},10" for n in range(LINES)]
    file.write_text("\n".join(["number,amount", *lines, "12,10"]), encoding="utf-8")
    asked = say(instance, "batch", "ask", str(file), "--outlet", "A1", "--maker", "li")
    request = re.search(r"request ([0-9]+) waits", asked)
    assert request
    said = say(instance, "batch", "start", request[1], str(file), "--checker", "wang")
    number = re.search(r"batch ([0-9]+): 3000.00 yuan reserved", said)
    assert number, said
    return number[1]


def ask_ledger(instance: Instance, question: str) -> Any:
    with sqlite3.connect(instance.ledger_file) as ledger:
        [value] = ledger.execute(question).fetchone()
    ledger.close()
    return value


def settled(instance: Instance) -> int:
    return int(ask_ledger(instance, "SELECT count(*) FROM txn WHERE kind = 1 AND state = 4"))


def is_done(instance: Instance) -> bool:
    is_over = ask_ledger(instance, "SELECT count(*) FROM batch WHERE state = 1") == 1
    return is_over and settled(instance) == LINES


def each_once(instance: Instance) -> None:
    with sqlite3.connect(instance.operator_file) as operator:
        rows = operator.execute("SELECT msisdn FROM credit WHERE amount_fen > 0 ORDER BY msisdn").fetchall()
    operator.close()
    assert [msisdn for (msisdn,) in rows] == [f"138{n:08d}" for n in range(LINES)]
    found = audit(instance.ledger_file, instance.operator_file)
    assert (found.settled, found.credited, found.problems) == (LINES, LINES, [])
    assert "every balance is what its rows say" in say(instance, "verify")


def test_killed_in_mid_file_every_line_is_credited_once(instance: Instance) -> None:
    instance.start()
    instance.operator("faults", latency_ms=SLOW_MS)
    number = started(instance)
    instance.wait_until("some lines to settle", lambda: settled(instance) >= 40)
    assert instance.stop_one("daemon", signal.SIGKILL) == -signal.SIGKILL
    assert settled(instance) < LINES
    instance.start_daemon()
    instance.wait_until("the next lines", lambda: settled(instance) >= 150)
    assert instance.stop_one("daemon", signal.SIGKILL) == -signal.SIGKILL
    instance.operator("faults", latency_ms=1)
    instance.start_daemon()
    instance.wait_until("the file to be done", lambda: is_done(instance))
    each_once(instance)
    report = say(instance, "batch", "report", number)
    assert report.count(",settled,") == LINES
    assert report.count(",refused,NUMBER,") == 1
    assert "done" in say(instance, "batch", "show", number)


def test_stopped_in_order_in_mid_file(instance: Instance) -> None:
    instance.start()
    instance.operator("faults", latency_ms=SLOW_MS)
    started(instance)
    instance.wait_until("some lines to settle", lambda: settled(instance) >= 40)
    assert instance.stop_one("daemon") == -signal.SIGTERM
    opened = ask_ledger(instance, "SELECT count(*) FROM txn WHERE kind = 1 AND state IN (1, 2, 3)")
    assert opened == 0  # those under way were waited for, no other was begun
    instance.operator("faults", latency_ms=1)
    instance.start_daemon()
    instance.wait_until("the file to be done", lambda: is_done(instance))
    each_once(instance)


def test_cancelled_in_mid_file(instance: Instance) -> None:
    instance.start()
    instance.operator("faults", latency_ms=SLOW_MS)
    number = started(instance)
    instance.wait_until("some lines to settle", lambda: settled(instance) >= 20)
    assert "yuan are free again" in say(instance, "batch", "cancel", number, "--actor", "li")
    open_left = "SELECT count(*) FROM txn WHERE kind = 1 AND state IN (1, 2, 3)"
    instance.wait_until("lines under way to end", lambda: ask_ledger(instance, open_left) == 0)
    found = audit(instance.ledger_file, instance.operator_file)
    assert found.problems == []
    assert 20 <= found.settled < LINES
    assert ask_ledger(instance, "SELECT max(held) FROM balance") == 0
    assert "given up" in say(instance, "batch", "show", number)
