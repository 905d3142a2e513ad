"""Whole daemons on one PostgreSQL: what all of them hear is done once; a file that all of them carry, too.

The long form, 2 and 4 daemons with 4,000 requests, is part of ``make proof``.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from aircharge.cli import main
from aircharge.instance import Instance, Shop, free_ports
from tests.postgres import Cluster
from tests.system.audit import audit
from tests.system.fleet import STEADY, FleetPlan, beside, run_fleet, verified

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(400)]

LINES = 300
SHOP = Shop("A1", "13900000001", "89860000000000000001", float_fen=1_000_000)


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A server of this file's own, with fsync as it is in service."""
    made = Cluster("log_min_messages=error", durable=True)
    yield made
    made.stop()


def test_what_two_daemons_hear_is_done_once(server: Cluster, tmp_path: Path) -> None:
    """The outlets can pay for half: each ends at exactly nothing, and none below."""
    report = run_fleet(tmp_path, server, FleetPlan(2, 600, share=0.5))
    assert report.problems == []
    assert min(report.opened_by.get(node, 0) for node in (1, 2)) > 0  # both had a share of the work


@pytest.fixture
def first(server: Cluster, tmp_path: Path) -> Iterator[Instance]:
    """Node 1 with the operator, both running."""
    folder = tmp_path / "node1"
    folder.mkdir()
    url = server.empty()
    with Instance(folder, free_ports(), response_timeout_s=15.0, extra=QUICK, ledger_url=url) as made:
        made.create([SHOP])
        made.start_operator("--faults", '{"latency_ms": 1500}')
        made.start_daemon()
        yield made


QUICK = (
    STEADY.replace("30.0", "5.0")
    .replace("renew_s = 3.0", "renew_s = 0.5")
    .replace("quiet_s = 3.0", "quiet_s = 1.5")
)


def say(instance: Instance, *words: str) -> str:
    result = CliRunner().invoke(main, ["-c", str(instance.config_file), *words])
    assert result.exit_code == 0, result.output
    return result.output


def start_file(instance: Instance) -> None:
    file = instance.folder / "lines.csv"
    file.write_text("\n".join(["number,amount", *(f"138{n:08d},10" for n in range(LINES))]), "utf-8")
    asked = say(instance, "batch", "ask", str(file), "--outlet", "A1", "--maker", "li")
    request = asked.partition("request ")[2].split()[0]
    say(instance, "batch", "start", request, str(file), "--checker", "wang")


def ask_ledger(instance: Instance, question: str) -> list[tuple[int, ...]]:
    with psycopg.connect(instance.ledger_url.replace("+psycopg", ""), autocommit=True) as connection:
        return connection.execute(question).fetchall()  # type: ignore[call-overload,no-any-return]


SETTLED = "SELECT count(*) FROM txn WHERE kind = 1 AND state = 4"
CARRIERS = "SELECT DISTINCT owner_node FROM txn WHERE kind = 1"
IS_DONE = f"SELECT (SELECT count(*) FROM batch WHERE state = 1), ({SETTLED})"


@pytest.mark.parametrize("dies", [False, True], ids=["both live", "one is killed"])
def test_two_daemons_on_one_file_carry_each_line_once(first: Instance, dies: bool) -> None:
    with beside(first, 2, "second") as second:
        second.start_daemon()
        start_file(first)
        first.wait_until("both to carry lines", lambda: len(ask_ledger(first, CARRIERS)) == 2)
        if dies:
            assert second.stop_one("daemon", signal.SIGKILL) == -signal.SIGKILL
            assert ask_ledger(first, SETTLED)[0][0] < LINES
        first.operator("faults", latency_ms=1)
        first.wait_until("the file to be done", lambda: ask_ledger(first, IS_DONE) == [(1, LINES)])
        second.stop()
        first.stop()
    found = audit(first.ledger_url, first.operator_file)
    assert (found.problems, found.settled, found.credited) == ([], LINES, LINES)
    assert ask_ledger(first, "SELECT sum(held) FROM balance") == [(0,)]
    assert verified(first.config_file) == []
