"""Too much at once before the real daemon, in small: an operator that takes few at a time makes it too much.

What is asserted is order and fairness, in counts; ``python -m benchmarks.overload`` measures the rest.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aircharge.instance import HOST, Instance, Shop, free_ports
from tests.system.audit import audit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SMALL = 6
LIMITS = """
[admission]
hands_max = 16
waiting_max = 8
outlet_waiting_max = 3
spare = 0
"""


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """4 recharges with the operator at once, 50 ms each: at most 80 a second, on any machine."""
    shops = [
        Shop(f"V{n}", f"1390000{n:04d}", f"8986{n:016d}", float_fen=10_000_000) for n in range(SMALL + 1)
    ]
    with Instance(tmp_path_factory.mktemp("overload"), free_ports(), extra=LIMITS) as made:
        made.create(shops)
        made.start_operator("--window-max", "4", "--faults", '{"latency_ms": 50}')
        made.start_daemon()
        yield made


def flood(
    instance: Instance, number: int, counters: list[int], streams: list[dict[str, Any]]
) -> dict[str, Any]:
    plan = {
        "host": HOST,
        "port": instance.ports.smpp,
        "password": (instance.folder / "keys" / "smsc-password").read_text().strip(),
        "cards": str(instance.folder / "cards.json"),
        "counters": counters,
        "round": number,
        "seconds": 3.0,
        "settle_s": 1.5,
        "streams": streams,
    }
    file = instance.folder / "plan.json"
    file.write_text(json.dumps(plan))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.flood", str(file)],
        check=True,
        capture_output=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def taken(stream: dict[str, Any]) -> float:
    """The share of its messages that came in."""
    return float(stream["status"].get("0x0", 0) / stream["sent"])


def test_one_bulk_outlet_starves_nobody_and_the_less_important_goes_first(instance: Instance) -> None:
    everybody = list(range(SMALL + 1))
    small = {
        "name": "small",
        "kind": "card",
        "rate": 12.0,
        "outlets": everybody[1:],
        "tries_max": 9,
        "again_s": 0.2,
    }
    first = flood(
        instance,
        1,
        [0] * len(everybody),
        [small, {"name": "bulk", "kind": "card", "rate": 600.0, "outlets": [0]}],
    )
    streams = first["streams"]
    assert first["unanswered"] == 0
    assert streams["small"]["status"] == {"0x0": streams["small"]["sent"]}
    assert streams["small"]["done"] == streams["small"]["sent"]
    assert set(streams["bulk"]["status"]) == {"0x0", "0x58"}
    assert taken(streams["bulk"]) < 0.5
    assert streams["bulk"]["done"] == streams["bulk"]["status"]["0x0"]

    rates = {"card": 300.0, "text": 300.0, "balance": 100.0, "recap": 100.0, "reversal": 5.0}
    second = flood(
        instance,
        2,
        first["counters"],
        [{"name": kind, "kind": kind, "rate": rate, "outlets": everybody} for kind, rate in rates.items()],
    )
    streams = second["streams"]
    assert second["unanswered"] == 0
    assert streams["reversal"]["status"] == {"0x0": streams["reversal"]["sent"]}
    assert taken(streams["card"]) < 0.6
    assert streams["card"]["done"] > streams["text"]["done"]
    assert taken(streams["card"]) > max(taken(streams["balance"]), taken(streams["recap"]))
    for kind in ("card", "text"):
        assert streams[kind]["done"] == streams[kind]["status"]["0x0"]

    with urllib.request.urlopen(f"http://{HOST}:{instance.ports.metrics}/metrics") as answer:
        metrics = answer.read().decode()
    for labels in ('why="outlet",work="card"', 'why="room",work="card"', 'why="load",work="report"'):
        assert f"aircharge_shed_total{{{labels}}}" in metrics
    assert "aircharge_unread_total 0\n" not in metrics
    assert 'work="reversal"' not in metrics
    orders = sum(run["streams"][name]["done"] for run in (first, second) for name in run["streams"])
    found = audit(instance.ledger_file, instance.operator_file)
    assert found.clean, found.problems
    assert (found.settled, found.credited, found.open) == (orders, orders, 0)
