"""Open + close pairs a second (holds, journal, notices and all), beside a raw SQLite group commit of the same run.

    python -m benchmarks.ledger [--seconds 2] [--folder .]

A pair is two durable commits' share: OpenRecharge from an STK card with PIN, serial and counter, then CloseRecharge
with its journal row and both notices. ``raw`` writes 100 octets a row with the plain driver.
"""

from __future__ import annotations

import argparse
import sqlite3
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

BATCHES = (1, 16, 64, 256)
OUTLETS = 50
PIN = Pin("735194")


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()


def prepare(folder: Path) -> tuple[Store, SystemClock]:
    """A ledger of OUTLETS outlets, each with a card and a million yuan."""
    clock, pins = SystemClock(), PinHash({1: b"p" * 32})
    store = Store(open_engine(f"sqlite:///{folder / 'ledger.db'}"), Book(BookSettings(), pins.mac), clock, 1)
    upgrade(store.engine)
    store.ensure_operators({1: "operator"})
    for number in range(OUTLETS):
        code, phone = f"N{number}", f"139{number:08d}"
        with store.writing() as txn:
            desk = Desk(txn, clock.now_ms(), "bench")
            registry.add_outlet_txn(desk, OutletForm(code, code, (phone,)), PIN, pins, b"s" * 16)
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


def raw(connection: sqlite3.Connection, size: int) -> Callable[[], None]:
    rows = [(b"x" * 100,)] * size

    def step() -> None:
        for _ in range(2):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO raw (octets) VALUES (?)", rows)
            connection.execute("COMMIT")

    return step


def rate(step: Callable[[], None], size: int, seconds: float) -> tuple[float, float]:
    """Pairs a second, and CPU microseconds of a pair."""
    step()
    done, began, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        step()
        done += size
    return done / (time.perf_counter() - began), (time.process_time() - cpu) / done * 1e6


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=2.0)
    options.add_argument("--folder", default=".", help="where the database is made: a disk, not memory")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        store, clock = prepare(folder)
        source = orders(clock)
        plain = sqlite3.connect(folder / "raw.db", isolation_level=None)
        plain.execute("PRAGMA journal_mode = WAL")
        plain.execute("PRAGMA synchronous = FULL")
        plain.execute("CREATE TABLE raw (id INTEGER PRIMARY KEY, octets BLOB)")
        print(f"{'batch':>6} {'pairs/s':>9} {'CPU us':>8} {'raw pairs/s':>12} {'CPU us':>8}")
        for size in BATCHES:
            ours = rate(pairs(store, source, size), size, chosen.seconds)
            theirs = rate(raw(plain, size), size, chosen.seconds)
            print(f"{size:>6} {ours[0]:>9,.0f} {ours[1]:>8.0f} {theirs[0]:>12,.0f} {theirs[1]:>8.0f}")
        plain.close()
        store.engine.dispose()


if __name__ == "__main__":
    main()
