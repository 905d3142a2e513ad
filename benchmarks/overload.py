"""Open-loop load at once, twice and ten times what the daemon can do: goodput, latency, what is refused, and who.

The capacity is measured in the same run, before and after each load, by a closed loop. The daemon has one core; the
load and an operator with a durable record share the other. Four loads: STK recharges of 200 outlets; the same in a mix
of all classes; one outlet that sends ten times the capacity beside fifty small ones; the same without the big one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from aircharge.instance import HOST, Instance
from benchmarks.recharge import OUTLETS, Traffic, cpu_s, drive, prepare, start

SMALL = 50
SMALL_RATE = 2.0  # messages a second of one small outlet
Streams = list[dict[str, Any]]


class Bench:
    """One running instance and what was measured on it."""

    def __init__(self, instance: Instance, seconds: float, closed: int) -> None:
        self.instance = instance
        self.seconds = seconds
        self._closed = closed
        self._traffic = Traffic(instance)
        self._round = 0

    def capacity(self, window: int = 200) -> float:
        """Recharges a second in a closed loop."""
        return float(drive(self.instance, self._traffic, self._closed, window=window)["per_second"])

    def flood(self, streams: Streams) -> dict[str, Any]:
        """One load, between two measurements of the capacity; adds what the daemon counted."""
        before = self.capacity()
        self._round += 1
        plan = {
            "host": HOST,
            "port": self.instance.ports.smpp,
            "password": (self.instance.folder / "keys" / "smsc-password").read_text().strip(),
            "cards": str(self.instance.folder / "cards.json"),
            "counters": self._traffic.counters,
            "round": self._round,
            "seconds": self.seconds,
            "settle_s": 4.0,
            "streams": streams,
        }
        file = self.instance.folder / "plan.json"
        file.write_text(json.dumps(plan))
        shed, used = self._shed(), cpu_s(self.instance.pid("daemon"))
        load = os.getloadavg()[0]
        done = subprocess.run(
            ["taskset", "-c", "1", sys.executable, "-m", "benchmarks.flood", str(file)],
            check=True,
            capture_output=True,
            timeout=600,
        )
        outcome: dict[str, Any] = json.loads(done.stdout)
        self._traffic.counters = outcome.pop("counters")
        outcome["cpu_s"] = round(cpu_s(self.instance.pid("daemon")) - used, 2)
        outcome["shed"] = {
            key: count - shed.get(key, 0) for key, count in self._shed().items() if count > shed.get(key, 0)
        }
        outcome["capacity"] = [before, self.capacity()]
        outcome["load_average"] = load
        return outcome

    def _shed(self) -> dict[str, int]:
        """Refusals by class and cause, of the daemon's metrics."""
        with urllib.request.urlopen(f"http://{HOST}:{self.instance.ports.metrics}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        counts = (
            line.removeprefix("aircharge_shed_total").rsplit(" ", 1)
            for line in lines
            if "shed_total{" in line
        )
        return {labels: int(count) for labels, count in counts}


def cards(rate: float, outlets: list[int], name: str = "card", **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "card", "rate": rate, "outlets": outlets, **more}


def mixed(capacity: float, times: float) -> Streams:
    """All classes at once, and reversals that must never be refused."""
    everybody = list(range(OUTLETS))
    shares = {"card": 0.4, "text": 0.3, "balance": 0.15, "recap": 0.15}
    streams = [
        {"name": kind, "kind": kind, "rate": capacity * times * share, "outlets": everybody}
        for kind, share in shares.items()
    ]
    return [*streams, {"name": "reversal", "kind": "reversal", "rate": 10.0, "outlets": everybody}]


def beside_bulk(capacity: float, times: float) -> Streams:
    """One outlet with ``times`` the capacity, and small ones whose SMS centre delivers again."""
    small = cards(SMALL * SMALL_RATE, list(range(1, SMALL + 1)), "small", tries_max=5)
    return [small, cards(capacity * times, [0], "bulk")] if times else [small]


def loads(capacity: float) -> dict[str, Streams]:
    everybody = list(range(OUTLETS))
    return {
        "1x": [cards(capacity, everybody)],
        "2x": [cards(2 * capacity, everybody)],
        "10x": [cards(10 * capacity, everybody)],
        "mix 2x": mixed(capacity, 2),
        "mix 10x": mixed(capacity, 10),
        "small ones": beside_bulk(capacity, 0),
        "small ones, bulk 2x": beside_bulk(capacity, 2),
        "small ones, bulk 10x": beside_bulk(capacity, 10),
    }


def show(name: str, outcome: dict[str, Any]) -> None:
    capacity = sum(outcome["capacity"]) / 2
    goodput = sum(stream["goodput"] for stream in outcome["streams"].values())
    print(
        f"{name}: capacity {outcome['capacity'][0]:.0f} and {outcome['capacity'][1]:.0f}/s, "
        f"goodput {goodput:.0f}/s = {goodput / capacity:.0%}, daemon CPU {outcome['cpu_s']} s, "
        f"machine's load {outcome['load_average']:.1f}, sender late by {outcome['late_ms']} ms at most, "
        f"unanswered {outcome['unanswered']}"
    )
    for stream, seen in outcome["streams"].items():
        print(
            f"    {stream:>9}: sent {seen['sent']:6d}  done {seen['done']:6d}  {seen['status']}  "
            f"p50 {seen['p50_ms']:7.1f}  p99 {seen['p99_ms']:7.1f} ms  response p99 {seen['answer_p99_ms']:7.1f} ms"
        )
    if outcome["shed"]:
        print(f"    shed: {outcome['shed']}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a third of the time")
    parser.add_argument("--only", help="loads whose name begins so")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="aircharge-overload-"))
    results: dict[str, Any] = {}
    try:
        with prepare(folder, "sqlite:///ledger.db") as instance:
            start(instance)
            bench = Bench(instance, 4.0 if options.quick else 12.0, 2000 if options.quick else 6000)
            bench.capacity(50)  # warm: card keys on the shelf, code loaded
            for name, streams in loads(bench.capacity()).items():
                if name.startswith(options.only or ""):
                    results[name] = bench.flood(streams)
                    show(name, results[name])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
