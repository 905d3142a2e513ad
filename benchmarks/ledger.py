"""Open + close pairs a second and core on both engines, beside raw group commits of the same run.

    python -m benchmarks.ledger [--seconds 2] [--folder .]

A pair is two durable commits' share: OpenRecharge from an STK card with PIN, serial and counter, then CloseRecharge
with its journal row and both notices. ``raw`` writes 100 octets a row: ``sqlite3`` on the same disk, ``pgbench`` on the
same server. One core for all of it, the database server included.
"""

from __future__ import annotations

import argparse
import os
import re
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from aircharge.ledger.book import Book, BookSettings
from aircharge.ledger.commands import CloseRecharge, Fund, OpenRecharge
from aircharge.ledger.funding import propose_txn
from aircharge.ledger.migrate import upgrade
from aircharge.ledger.store import Store, open_engine
from aircharge.outlets import registry
from aircharge.outlets.pins import PinHash
from aircharge.outlets.registry import CardForm, Desk, OutletForm
from aircharge.values import Asker, CardUse, Channel, Key, Msisdn, Order, Pin, Receipt, State, Verdict
from tests.postgres import Cluster, programs

PROGRAMS = programs() or Path()
BATCHES = (1, 16, 64, 256)
OUTLETS = 50
PIN = Pin("735194")


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()


def prepare(url: str) -> tuple[Store, SystemClock]:
    """A ledger of OUTLETS outlets, each with a card and a million yuan."""
    clock, pins = SystemClock(), PinHash({1: b"p" * 32})
    store = Store(open_engine(url), Book(BookSettings(), pins.mac), clock, 1)
    upgrade(store.engine)
    store.ensure_operators({1: "operator"})
    for number in range(OUTLETS):
        code, phone = f"N{number}", f"139{number:08d}"
        with store.writing() as txn:
            desk = Desk(txn, clock.now_ms(), "bench")
            registry.add_outlet_txn(
                desk, OutletForm(code, code, (phone,), "zh", "never"), PIN, pins, b"s" * 16
            )
            registry.add_card_txn(desk, code, CardForm(f"8986{number:015d}", phone))
            slip = f"slip-{number}"
            request = propose_txn(txn, code, 100_000_000, slip, maker="maker", now_ms=clock.now_ms())
        store.run([Fund(request, "checker")])
    return store, clock


def orders(clock: SystemClock) -> Iterator[OpenRecharge]:
    for number in count(1):
        outlet = number % OUTLETS
        use = CardUse(outlet + 1, 1, number * 0x9E3779B97F4A7C15 % 2**64, number)
        asker = Asker(f"139{outlet:08d}", "0353911", use, PIN)
        now_ms = clock.now_ms()
        key = Key(f"stk:{use.card_id}", f"{use.serial:016x}")
        target = Msisdn(f"138{number % 10**8:08d}")
        order = Order(Channel.STK, key, asker, target, 100, now_ms, now_ms)
        yield OpenRecharge(order, 1, pin_needed=True)


def pairs(store: Store, source: Iterator[OpenRecharge], size: int) -> Callable[[], None]:
    def step() -> None:
        receipts = store.run([next(source) for _ in range(size)])
        closes = []
        for receipt in receipts:
            assert isinstance(receipt, Receipt)
            assert receipt.state is State.HELD, receipt
            closes.append(CloseRecharge(receipt.order_id, Verdict.YES, code="0000", serial="S1"))
        store.run(closes)

    return step


def raw_sqlite(connection: sqlite3.Connection, size: int) -> Callable[[], None]:
    rows = [(b"x" * 100,)] * size

    def step() -> None:
        for _ in range(2):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO raw (octets) VALUES (?)", rows)
            connection.execute("COMMIT")

    return step


def raw_postgres(cluster: Cluster, name: str, size: int, seconds: float) -> float:
    """Pairs a second through ``pgbench``: two inserting commits of ``size`` rows of 100 octets are ``size`` pairs."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"INSERT INTO raw (octets) SELECT repeat('x', 100) FROM generate_series(1, {size});")
        script.flush()
        os.chmod(script.name, 0o644)
        command = [
            str(PROGRAMS / "pgbench"),
            "-n",
            "-M",
            "prepared",
            "-c",
            "1",
            "-T",
            str(max(1, round(seconds))),
        ]
        place = [
            "-h",
            str(cluster.folder),
            "-p",
            str(cluster.port),
            "-U",
            "postgres",
            "-f",
            script.name,
            name,
        ]
        done = subprocess.run([*command, *place], check=True, capture_output=True, text=True)
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    assert found, done.stdout
    return float(found[1]) * size / 2


def rate(step: Callable[[], None], size: int, seconds: float) -> tuple[float, float]:
    """Pairs a second, and CPU microseconds of a pair."""
    step()
    done, began, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        step()
        done += size
    return done / (time.perf_counter() - began), (time.process_time() - cpu) / done * 1e6


def measure(name: str, store: Store, clock: SystemClock, seconds: float, raw: Callable[[int], float]) -> None:
    source = orders(clock)
    print(f"{name:<12} {'batch':>6} {'pairs/s':>9} {'our CPU us':>10} {'raw pairs/s':>12}")
    for size in BATCHES:
        per_s, cpu_us = rate(pairs(store, source, size), size, seconds)
        print(f"{name:<12} {size:>6} {per_s:>9,.0f} {cpu_us:>10.0f} {raw(size):>12,.0f}", flush=True)


def on_sqlite(folder: Path, seconds: float) -> None:
    store, clock = prepare(f"sqlite:///{folder / 'ledger.db'}")
    plain = sqlite3.connect(folder / "raw.db", isolation_level=None)
    plain.execute("PRAGMA journal_mode = WAL")
    plain.execute("PRAGMA synchronous = FULL")
    plain.execute("CREATE TABLE raw (id INTEGER PRIMARY KEY, octets BLOB)")
    measure("sqlite", store, clock, seconds, lambda size: rate(raw_sqlite(plain, size), size, seconds)[0])
    plain.close()
    store.engine.dispose()


def on_postgres(seconds: float) -> None:
    """A server of our own with fsync on, on the same core as we."""
    cluster = Cluster(durable=True)
    try:
        url = cluster.empty()
        store, clock = prepare(url)
        name = url.rpartition("/")[2]
        cluster.execute("CREATE TABLE raw (id bigserial PRIMARY KEY, octets text)", name)
        measure("postgresql", store, clock, seconds, lambda size: raw_postgres(cluster, name, size, seconds))
        store.engine.dispose()
    finally:
        cluster.stop()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=2.0)
    options.add_argument("--folder", default=".", help="where the database is made: a disk, not memory")
    chosen = options.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core for everything, the server included
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        on_sqlite(Path(name), chosen.seconds)
    if programs() is None:
        print("PEER MISSING: postgresql; only SQLite was measured")
        return
    on_postgres(chosen.seconds)


if __name__ == "__main__":
    main()
