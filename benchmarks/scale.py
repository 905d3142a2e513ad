"""A province's size: 40,000 outlets and a million orders on file; start-up with 10,000 open orders; memory.

    python -m benchmarks.scale [--outlets 40000] [--orders 1000000] [--open 10000] [--folder .]

The rows are made by the database itself. The daemon is started on them with 10,000 holds that a dead process left
behind: how long until its doors open, until the last of them has ended by resending its reference, and how much
memory daemon and database file take. Baseline of the same run: the same start on the same ledger with nothing open.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from pathlib import Path

from aircharge.config import load
from aircharge.instance import Instance, Shop, free_ports
from aircharge.ledger.ids import EPOCH_MS
from aircharge.office import Office

_DAY_MS = 86_400_000
_FLOAT_FEN, _FACE_FEN = 10_000_000, 1_000
_FIRST = 100_000
"""The first of the made accounts; id = _FIRST + n."""

_NUMBERS = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count}) "


def outlets(db: sqlite3.Connection, count: int, now_ms: int) -> None:
    """Outlets with accounts, balances, a phone and a funding each."""
    numbers = _NUMBERS.format(count=count)
    for kind, offset in ((2, 0), (3, 10**12), (4, 2 * 10**12)):
        db.execute(
            f"INSERT INTO account (id, kind, owner_id, normal_side, created_ms) {numbers}"
            f"SELECT {_FIRST + offset} + n, {kind}, {_FIRST} + n, -1, {now_ms} FROM n"
        )
        posted = _FLOAT_FEN if kind == 2 else 0
        db.execute(
            f"INSERT INTO balance (account_id, posted) {numbers}SELECT {_FIRST + offset} + n, {posted} FROM n"
        )
    db.execute(
        f"INSERT INTO outlet (id, code, name, float_id, created_ms) {numbers}"
        f"SELECT {_FIRST} + n, 'S' || ({_FIRST} + n), 'outlet ' || n, {_FIRST} + n, {now_ms} FROM n"
    )
    db.execute(
        f"INSERT INTO outlet_phone (msisdn, outlet_id, rights, created_ms) {numbers}"
        f"SELECT '' || (13700000000 + n), {_FIRST} + n, 3, {now_ms} FROM n"
    )
    orders(db, count, count, (now_ms - 2 * _DAY_MS, _DAY_MS), kind=3, state=4, fen=_FLOAT_FEN)


def orders(
    db: sqlite3.Connection,
    count: int,
    shops: int,
    when: tuple[int, int],
    *,
    kind: int = 1,
    state: int = 4,
    fen: int = _FACE_FEN,
) -> None:
    """``count`` orders spread over the outlets and over ``when`` (from, ms); settled ones with their journal row."""
    from_ms, span_ms = when
    step = (span_ms << 22) // count
    first = (from_ms - EPOCH_MS) << 22
    numbers = _NUMBERS.format(count=count)
    is_open = state != 4
    next_ms, done_ms = (str(from_ms), "NULL") if is_open else ("NULL", str(from_ms + span_ms))
    reference = "printf('AC%020d', id)" if kind == 1 else "NULL"
    db.execute(
        "INSERT INTO txn (id, kind, channel, idem_scope, idem_key, req_hash, outlet_acct, operator_id, msisdn, amount,"
        " cost, asker, service, state, op_ref, biz_date, created_ms, next_ms, done_ms, owner_node) "
        f"{numbers}, o AS (SELECT n, {first} + n * {step} AS id FROM n) "
        f"SELECT id, {kind}, 1, 'made:{kind}:{state}', '' || id, x'00', {_FIRST} + 1 + n % {shops}, {int(kind == 1)},"
        f" '' || (13800000000 + n), {fen}, {fen}, '' || (13700000001 + n % {shops}), '0353911', {state}, {reference},"
        f" 20261101, {from_ms} + n * {span_ms} / {count}, {next_ms}, {done_ms}, 1 FROM o"
    )
    chosen = f"FROM txn WHERE idem_scope = 'made:{kind}:{state}'"
    if not is_open:
        sides = "outlet_acct, operator_id" if kind == 1 else "100, outlet_acct"
        op = 1 if kind == 1 else 2
        db.execute(
            "INSERT INTO journal (jid, txn_id, op, dr, cr, amount, biz_date, at_ms) "
            f"SELECT id + 1, id, {op}, {sides}, cost, biz_date, done_ms {chosen}"
        )
    if kind == 1:
        column = "held = held +" if is_open else "posted = posted -"
        db.execute(
            f"UPDATE balance SET {column} s.fen FROM (SELECT outlet_acct, sum(cost) AS fen {chosen}"
            " GROUP BY outlet_acct) s WHERE account_id = s.outlet_acct"
        )


def rss_mib(pid: int, what: str = "VmRSS") -> float:
    """Resident memory of a process (proc(5)); ``VmHWM``: its most so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    raise LookupError(what)


def started_s(instance: Instance) -> float:
    """Seconds from the daemon's exec to open doors."""
    began = time.monotonic()
    instance.start_daemon()
    return time.monotonic() - began


def run(folder: Path, outlet_count: int, order_count: int, open_count: int) -> None:
    with Instance(folder, free_ports(), response_timeout_s=15.0) as instance:
        instance.create([Shop("A1", "13900000001", "89860000000000000001")])
        db = sqlite3.connect(instance.ledger_file)
        db.execute("PRAGMA synchronous = OFF")
        began, now_ms = time.monotonic(), time.time_ns() // 1_000_000
        with db:
            outlets(db, outlet_count, now_ms)
            orders(db, order_count, outlet_count, (now_ms - _DAY_MS, _DAY_MS // 2))
        print(f"{outlet_count:,} outlets, {order_count:,} orders made in {time.monotonic() - began:.0f} s")
        instance.start_operator()
        print(f"start with nothing open: {started_s(instance):.2f} s to open doors")
        print(f"  daemon's memory {rss_mib(instance.pid('daemon')):.0f} MiB")
        instance.stop_one("daemon")
        with db:
            orders(db, open_count, outlet_count, (now_ms - 3_600_000, 60_000), state=1)
        began = time.monotonic()
        print(f"start with {open_count:,} open orders: {started_s(instance):.2f} s to open doors")
        question = "SELECT count(*) FROM txn WHERE idem_scope = 'made:1:1' AND state <> 4"
        instance.wait_until("the last of them", lambda: db.execute(question).fetchone() == (0,), 300)
        print(f"  all of them ended after {time.monotonic() - began:.2f} s")
        print(f"  daemon's memory at most {rss_mib(instance.pid('daemon'), 'VmHWM'):.0f} MiB")
        instance.stop()
        size = instance.ledger_file.stat().st_size
        print(
            f"database file {size / 2**20:.0f} MiB, {size / (order_count + open_count):.0f} octets an order"
        )
        db.close()
        office = Office(load(instance.config_file))
        began = time.monotonic()
        lines, is_sound = office.verify()
        print(f"verify: {time.monotonic() - began:.1f} s; {lines[0]}; sound: {is_sound}")
        office.close()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--outlets", type=int, default=40_000)
    options.add_argument("--orders", type=int, default=1_000_000)
    options.add_argument("--open", type=int, default=10_000)
    options.add_argument("--folder", default=".", help="where the instance is made: a disk, not memory")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        run(Path(name), chosen.outlets, chosen.orders, chosen.open)


if __name__ == "__main__":
    main()
