"""End-to-end durable recharges per second, beside what the machine can do at all, measured in the same run.

STK SMS in → hold committed with fsync → operator → settle committed with fsync → both SMS out. The daemon runs under
twistd alone on one core; load, and an operator with a durable record of its own, share the other. Baselines: a bare
Twisted ping-pong over loopback on one core, and a bare ``sqlite3`` group commit of as many rows on the same disk.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from aircharge.instance import DEMO_PIN, HOST, Instance, Shop, free_ports
from aircharge.values import Pin
from aircharge.wire.ota import Check, Command, Counting, KeySet, Spi, seal_command
from aircharge.wire.stk import StkMessage, StkOperation, encode
from benchmarks.load import deliver_body
from tests.postgres import Cluster, programs

OUTLETS = 200
WINDOWS = (1, 10, 100, 500)
OPEN_LOOP_PER_S = 1000


class Traffic:
    """Sealed packets ahead of time: unique serials and targets, counters per card."""

    def __init__(self, instance: Instance) -> None:
        cards = json.loads((instance.folder / "cards.json").read_text())
        self.cards = [
            (card["msisdn"], KeySet(bytes.fromhex(card["kic"]), bytes.fromhex(card["kid"]), 1))
            for card in cards
        ]
        self.counters = [0] * len(self.cards)
        self._made = 0

    def take(self, count: int) -> tuple[list[bytes], list[str]]:
        bodies, targets = [], []
        for _ in range(count):
            index = self._made % len(self.cards)
            phone, keys = self.cards[index]
            self.counters[index] += 1
            target = str(13_000_000_000 + self._made)
            message = StkMessage(
                StkOperation.RECHARGE, secrets.randbits(64), Pin(DEMO_PIN), int(time.time()), target, 1000
            )
            command = Command(
                Spi.of(Check.CC, True, Counting.UNCHECKED),
                0x12,
                0x12,
                b"\xb0\xfa\x01",
                self.counters[index],
                encode(message),
            )
            bodies.append(deliver_body(phone, "0353911", seal_command(command, keys)))
            targets.append(target)
            self._made += 1
        return bodies, targets


def drive(
    instance: Instance, traffic: Traffic, count: int, *, window: int = 0, rate: float = 0.0
) -> dict[str, Any]:
    """One run against a running daemon; adds the daemon's CPU per recharge."""
    bodies, targets = traffic.take(count)
    plan = {
        "host": HOST,
        "port": instance.ports.smpp,
        "system_id": "smsc",
        "password": (instance.folder / "keys" / "smsc-password").read_text().strip(),
        "bodies": [body.hex() for body in bodies],
        "targets": targets,
        "window": window,
        "rate": rate,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(plan, file)
        file.flush()
        before = cpu_s(instance.pid("daemon"))
        done = subprocess.run(
            ["taskset", "-c", "1", sys.executable, "-m", "benchmarks.load", file.name],
            check=True,
            capture_output=True,
            timeout=300,
        )
        used = cpu_s(instance.pid("daemon")) - before
    outcome: dict[str, Any] = json.loads(done.stdout)
    outcome["cpu_us"] = round(used / max(outcome["done"], 1) * 1e6)
    return outcome


def cpu_s(pid: int) -> float:
    """User and system seconds of a process so far (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bare_group_commit(folder: Path, batch: int, seconds: float = 2.0) -> float:
    """Rows a second through ``sqlite3`` with a commit (WAL, synchronous FULL) every ``batch`` rows."""
    db = sqlite3.connect(folder / "bare.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, a INTEGER, b TEXT)")
    began, rows = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO row (a, b) VALUES (?, ?)", [(rows + i, "x" * 60) for i in range(batch)])
        db.execute("COMMIT")
        rows += batch
    return rows / (time.perf_counter() - began)


def bare_ping_pong(window: int = 100, seconds: float = 2.0) -> float:
    """Messages of 100 octets a second through a bare Twisted echo on one core, ``window`` under way."""
    server = subprocess.Popen(
        ["taskset", "-c", "0", sys.executable, "-m", "benchmarks.echo"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        done = subprocess.run(
            [
                "taskset",
                "-c",
                "1",
                sys.executable,
                "-m",
                "benchmarks.echo",
                str(port),
                str(window),
                str(seconds),
            ],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return float(done.stdout)
    finally:
        server.kill()
        server.wait()


def prepare(folder: Path, url: str) -> Instance:
    """An instance with everything switched on, the operator answering at once."""
    instance = Instance(folder, free_ports(), log_level="info", ledger_url=url)
    shops = [
        Shop(f"B{n:05d}", f"139{n:08d}", f"8986{n:016d}", float_fen=10_000_000_00) for n in range(OUTLETS)
    ]
    instance.create(shops)
    return instance


def start(instance: Instance) -> None:
    instance.start_operator()
    subprocess.run(["taskset", "-cp", "1", str(instance.pid("operator"))], check=True, capture_output=True)
    instance.start_daemon()
    subprocess.run(["taskset", "-acp", "0", str(instance.pid("daemon"))], check=True, capture_output=True)


def run(counts: dict[int, int], open_loop: int, folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = {}
    results["ping_pong_per_s"] = round(bare_ping_pong())
    results["sqlite_rows_per_s"] = {batch: round(bare_group_commit(folder, batch)) for batch in (64,)}
    results["sqlite"] = run_on("sqlite:///ledger.db", folder / "sqlite", counts, open_loop)
    if programs() is None:
        print("PEER MISSING: postgresql; only SQLite was measured")
        return results
    cluster = Cluster(durable=True, cores={1})  # database, load and operator share the other core
    try:
        results["postgresql"] = run_on(cluster.empty(), folder / "postgresql", counts, open_loop)
    finally:
        cluster.stop()
    return results


def run_on(url: str, folder: Path, counts: dict[int, int], open_loop: int) -> dict[str, Any]:
    """The windows and the open loop against one daemon on one ledger."""
    results: dict[str, Any] = {"closed": {}, "open": {}}
    print(f"ledger on {url.partition(':')[0]}")
    with prepare(folder, url) as instance:
        start(instance)
        traffic = Traffic(instance)
        drive(instance, traffic, 500, window=50)  # warm: card keys on the shelf, code loaded
        for window, count in counts.items():
            results["closed"][window] = drive(instance, traffic, count, window=window)
            show(f"window {window}", results["closed"][window])
        results["open"][OPEN_LOOP_PER_S] = drive(instance, traffic, open_loop, rate=OPEN_LOOP_PER_S)
        show(f"open loop {OPEN_LOOP_PER_S}/s", results["open"][OPEN_LOOP_PER_S])
    return results


def show(what: str, outcome: dict[str, Any]) -> None:
    print(
        f"{what:>18}: {outcome['per_second']:8.1f} recharges/s  p50 {outcome['p50_ms']:7.2f} ms  "
        f"p99 {outcome['p99_ms']:7.2f} ms  p99.9 {outcome['p999_ms']:7.2f} ms  "
        f"daemon CPU {outcome['cpu_us']:5d} µs each  "
        f"done {outcome['done']}/{outcome['asked']}  outlet SMS {outcome['outlet_sms']}  refused {outcome['refused']}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the load")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    share = 10 if options.quick else 1
    folder = Path(tempfile.mkdtemp(prefix="aircharge-bench-"))
    try:
        counts = {1: 1000 // share, 10: 5000 // share, 100: 20_000 // share, 500: 20_000 // share}
        results = run(counts, 10_000 // share, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if "postgresql" in results:
        ours, theirs = (results[name]["closed"][100]["per_second"] for name in ("postgresql", "sqlite"))
        print(f"window 100: PostgreSQL reaches {ours / theirs:.0%} of SQLite")
    print(f"bare Twisted ping-pong, window 100: {results['ping_pong_per_s']} messages/s")
    print(f"bare sqlite3 group commit of 64: {results['sqlite_rows_per_s'][64]} rows/s")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
