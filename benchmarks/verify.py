"""Verify and seal a ledger of millions on both engines, with the memory it takes.

    python -m benchmarks.verify [--rows 10000000] [--engine sqlite] [--engine postgresql] [--folder .]

The ledger is made by set-based statements, as the book would have left it: each recharge settled with its commission
paid at once (two journal rows), over 2,000 outlets and four accounting days, the first three closed, all of it sealed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from aircharge.ledger.chart import commission_account
from aircharge.ledger.checkpoints import close_day
from aircharge.ledger.cutoff import accounting_date, following
from aircharge.ledger.ids import EPOCH_MS
from aircharge.ledger.migrate import upgrade
from aircharge.ledger.sealing import SealSettings, seal_rows
from aircharge.ledger.singletons import changing
from aircharge.ledger.store import open_engine
from aircharge.ledger.verify import verify
from tests.postgres import Cluster, programs

OUTLETS, DAYS, FEN, COMMISSION, FUNDING = 2_000, 4, 5_000, 100, 10**12
START_MS = 1_795_363_200_000  # a local midnight
DAY_MS = 86_400_000


def make(url: str, rows: int) -> None:
    """A ledger with about so many journal rows."""
    engine = open_engine(url)
    upgrade(engine)
    dialect = engine.dialect.name
    with engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        for setting in _HASTY[dialect]:
            driver.execute(setting)
        later = _without_indexes(driver, dialect)
        driver.execute("BEGIN")
        _accounts(driver)
        _fundings(driver, _BLOB[dialect])
        _recharges(driver, rows // 2, _BLOB[dialect])
        _balances(driver)
        driver.execute("COMMIT")
        for statement in later:
            driver.execute(statement)
        driver.execute("ANALYZE")
    engine.dispose()


_HASTY = {
    "sqlite": ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "PRAGMA cache_size = -500000"),
    "postgresql": (
        "SET session_replication_role = replica",  # no look at foreign keys, row by row
        "SET synchronous_commit = off",
        "SET maintenance_work_mem = '512MB'",
    ),
}
_INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master"
    " WHERE type = 'index' AND tbl_name IN ('txn', 'journal') AND sql IS NOT NULL",
    "postgresql": "SELECT indexname, indexdef FROM pg_indexes"
    " WHERE schemaname = 'public' AND tablename IN ('txn', 'journal')"
    " AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conname = indexname)",
}
_BLOB = {"sqlite": "BLOB", "postgresql": "bytea"}


def _without_indexes(driver: Any, dialect: str) -> list[str]:
    """Drop those that are no constraint's; what makes them again, at once instead of row by row."""
    found = driver.execute(_INDEXES[dialect]).fetchall()
    for name, _ in found:
        driver.execute(f'DROP INDEX "{name}"')
    return [definition for _, definition in found]


def _dates() -> list[int]:
    dates = [accounting_date(START_MS, 480)]
    while len(dates) < DAYS:
        dates.append(following(dates[-1]))
    return dates


def _date(at: str) -> str:
    """The accounting date of a moment, in either engine's SQL."""
    cases = " ".join(f"WHEN {number} THEN {date}" for number, date in enumerate(_dates()))
    return f"CASE ({at} - {START_MS}) / {DAY_MS} {cases} ELSE {_dates()[-1]} END"


def _numbers(count: int) -> str:
    first = "SELECT CAST(0 AS BIGINT)"
    return f"WITH RECURSIVE k(n) AS ({first} UNION ALL SELECT n + 1 FROM k WHERE n + 1 < {count})"


def _recharges(driver: Any, count: int, blob: str) -> None:
    at = f"({START_MS} + {OUTLETS} + n * {DAYS * DAY_MS // (count + OUTLETS)})"
    number, date, outlet = f"(({at} - {EPOCH_MS}) << 22)", _date(at), f"(1000 + n % {OUTLETS})"
    driver.execute(
        f"""INSERT INTO txn (id, kind, channel, idem_scope, idem_key, req_hash, outlet_acct, operator_id,
        msisdn, amount, cost, asker, service, state, op_ref, op_code, commission, commission_mode, price_id,
        biz_date, created_ms, done_ms)
        {_numbers(count)} SELECT {number}, 1, 1, 'sms:1390000' || (n % {OUTLETS}), n, CAST('0' AS {blob}), {outlet},
        1, 13800000000 + n, {FEN}, {FEN}, '13900000001', '0353911', 4, 'AC' || {number}, '0000', {COMMISSION}, 2,
        1, {date}, {at}, {at} FROM k"""
    )
    for place, op, debit, credit, fen in (
        (1, 1, outlet, "1", FEN),
        (2, 4, "201", f"({outlet} + {commission_account(0)})", COMMISSION),
    ):
        driver.execute(
            f"""INSERT INTO journal (jid, txn_id, op, dr, cr, amount, biz_date, at_ms) {_numbers(count)}
            SELECT {number} + {place}, {number}, {op}, {debit}, {credit}, {fen}, {date}, {at} FROM k"""
        )


def _accounts(driver: Any) -> None:
    run = driver.execute
    run("INSERT INTO account (id, kind, owner_id, normal_side, created_ms) VALUES (1, 1, 1, 1, 0)")
    rate_ppm = COMMISSION * 1_000_000 // FEN
    run(f"INSERT INTO price (id, mode, rate_ppm, from_date) VALUES (1, 2, {rate_ppm}, 20260101)")
    for kind, offset in ((2, 1000), (3, 1000 + commission_account(0))):
        run(
            f"INSERT INTO account (id, kind, owner_id, normal_side, created_ms) {_numbers(OUTLETS)}"
            f" SELECT n + {offset}, {kind}, n + 1, -1, 0 FROM k"
        )
        run(f"INSERT INTO balance (account_id) {_numbers(OUTLETS)} SELECT n + {offset} FROM k")


def _fundings(driver: Any, blob: str) -> None:
    at = f"({START_MS} + n)"
    number = f"(({at} - {EPOCH_MS}) << 22)"
    driver.execute(
        f"""INSERT INTO txn (id, kind, channel, idem_scope, idem_key, req_hash, outlet_acct, amount, cost, state,
        biz_date, created_ms, done_ms) {_numbers(OUTLETS)} SELECT {number}, 3, 8, 'funding', n, CAST('0' AS {blob}),
        1000 + n, {FUNDING}, {FUNDING}, 4, {_date(at)}, {at}, {at} FROM k"""
    )
    driver.execute(
        f"""INSERT INTO journal (jid, txn_id, op, dr, cr, amount, biz_date, at_ms) {_numbers(OUTLETS)}
        SELECT {number} + 1, {number}, 2, 100, 1000 + n, {FUNDING}, {_date(at)}, {at} FROM k"""
    )


def _balances(driver: Any) -> None:
    driver.execute(
        """UPDATE balance SET posted = s.fen FROM (SELECT id, sum(fen) AS fen FROM (
        SELECT dr AS id, -amount AS fen FROM journal UNION ALL SELECT cr, amount FROM journal) b
        GROUP BY id) s WHERE s.id = balance.account_id"""
    )


def close_days(engine: Engine) -> None:
    """All but the last, for the house and the operator."""
    dates = _dates()
    with changing(engine) as txn:
        for operator_id in (0, 1):
            for date in dates:
                state = 0 if date == dates[-1] else 1
                row = "INSERT INTO day (operator_id, biz_date, state) VALUES (:operator, :date, :state)"
                txn.execute(text(row), {"operator": operator_id, "date": date, "state": state})
    for date in dates[:-1]:
        for operator_id in (1, 0):
            assert close_day(engine, operator_id, date, 0, "bench") == []


def peak_mib() -> int:
    """The most resident memory since the last look, of this process alone (proc(5): VmHWM, clear_refs)."""
    status = Path("/proc/self/status").read_text("ascii")
    Path("/proc/self/clear_refs").write_text("5", "ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def timed(what: str, began: float, rows: int) -> None:
    took = time.monotonic() - began
    print(f"{what:<28}{took:8.1f} s {rows / took:12,.0f} rows/s   peak memory {peak_mib()} MiB", flush=True)


def run(rows: int, url: str, cluster: Cluster | None = None) -> None:
    engine = open_engine(url)
    print(f"-- {engine.dialect.name}", flush=True)
    began = time.monotonic()
    maker = multiprocessing.get_context("spawn").Process(target=make, args=(url, rows))
    maker.start()  # in a process of its own: its memory is not verify's
    maker.join()
    assert maker.exitcode == 0, "the ledger could not be made"
    timed("made", began, rows)
    began = time.monotonic()
    close_days(engine)
    timed(f"{DAYS - 1} days closed, twice", began, rows)
    began = time.monotonic()
    now_ms = START_MS + (DAYS + 1) * DAY_MS
    seals = seal_rows(engine, lambda _: now_ms, SealSettings())
    timed(f"{len(seals)} seals made", began, rows)
    began = time.monotonic()
    with engine.connect() as txn:
        report = verify(txn)
        taken_mib = server_mib(cluster) if cluster else 0
    timed("verified", began, report.rows)
    assert report.sound, report.problems
    print(
        f"{report.rows:,} journal rows, {report.orders:,} orders, {report.accounts:,} balances: sound",
        flush=True,
    )
    if cluster:
        print(
            f"the server's largest process {taken_mib} MiB, of its 256 MiB of shared buffers what it used included"
        )
    engine.dispose()


def on_postgres(rows: int) -> None:
    if programs() is None:
        print("PEER MISSING: postgresql; only SQLite was measured")
        return
    cluster = Cluster("shared_buffers=256MB", "max_wal_size=4GB", "checkpoint_timeout=30min")
    try:
        run(rows, cluster.empty(), cluster)
    finally:
        cluster.stop()


def server_mib(cluster: Cluster) -> int:
    """The most resident memory of any of its processes that still live (proc(5), VmHWM)."""
    most = 0
    for (pid,) in cluster.execute("SELECT pid FROM pg_stat_activity"):
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
        most = max(most, int(status.partition("VmHWM:")[2].split()[0]) // 1024)
    return most


def main() -> None:
    """One process an engine: what one has taken is not the other's peak."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=10_000_000)
    options.add_argument("--engine", action="append", choices=("sqlite", "postgresql"))
    options.add_argument("--folder", default=".", help="where SQLite's file is made: a disk, not memory")
    chosen = options.parse_args()
    for name in chosen.engine or ("sqlite", "postgresql"):
        if name == "postgresql":
            work, arguments = on_postgres, (chosen.rows,)
        else:
            work, arguments = on_sqlite, (chosen.rows, chosen.folder)
        one = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
        one.start()
        one.join()
        if one.exitcode:
            raise SystemExit(1)


def on_sqlite(rows: int, place: str) -> None:
    with tempfile.TemporaryDirectory(prefix="aircharge-verify-", dir=place) as folder:
        run(rows, f"sqlite:///{Path(folder).resolve() / 'ledger.db'}")


if __name__ == "__main__":
    main()
