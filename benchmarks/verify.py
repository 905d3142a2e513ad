"""Verify and seal a ledger of millions: ``python -m benchmarks.verify [ROWS]`` (10,000,000 when run by hand).

The ledger is made by set-based statements, as the book would have left it: each recharge settled with its commission
paid at once (two journal rows), over 2,000 outlets and ten accounting days, the first nine closed, all of it sealed.
"""

from __future__ import annotations

import multiprocessing
import resource
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

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

OUTLETS, DAYS, FEN, COMMISSION, FUNDING = 2_000, 10, 5_000, 100, 10**12
START_MS = 1_795_363_200_000  # a local midnight
DAY_MS = 86_400_000


def make(file: Path, rows: int) -> None:
    """A ledger with about so many journal rows."""
    engine = open_engine(f"sqlite:///{file}")
    upgrade(engine)
    engine.dispose()
    each = rows // 2
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -500000"):
            connection.execute(f"PRAGMA {pragma}")
        step_ms = DAYS * DAY_MS // (each + OUTLETS)
        numbers = f"WITH RECURSIVE k(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM k WHERE n + 1 < {each})"
        _accounts(connection)
        _fundings(connection)
        at = f"({START_MS} + {OUTLETS} + n * {step_ms})"
        number = f"(({at} - {EPOCH_MS}) << 22)"
        date = _date(at)
        outlet = f"(1000 + n % {OUTLETS})"
        connection.execute(
            f"""INSERT INTO txn (id, kind, channel, idem_scope, idem_key, req_hash, outlet_acct, operator_id,
            msisdn, amount, cost, asker, service, state, op_ref, op_code, commission, commission_mode, price_id,
            biz_date, created_ms, done_ms)
            {numbers} SELECT {number}, 1, 1, 'sms:1390000' || (n % {OUTLETS}), n, x'00', {outlet}, 1,
            13800000000 + n, {FEN}, {FEN}, '13900000001', '0353911', 4, 'AC' || {number}, '0000', {COMMISSION}, 2,
            1, {date}, {at}, {at} FROM k"""
        )
        for place, op, debit, credit, fen in (
            (1, 1, outlet, "1", FEN),
            (2, 4, "201", f"({outlet} + {commission_account(0)})", COMMISSION),
        ):
            connection.execute(
                f"""INSERT INTO journal {numbers}
                SELECT {number} + {place}, {number}, {op}, {debit}, {credit}, {fen}, {date}, {at} FROM k"""
            )
        _balances(connection)


def _date(at: str) -> str:
    local = f"datetime(({at}) / 1000, 'unixepoch', '+8 hours')"
    return f"CAST(strftime('%Y%m%d', {local}) AS INTEGER)"


def _accounts(connection: sqlite3.Connection) -> None:
    run = connection.execute
    run("INSERT INTO account (id, kind, owner_id, normal_side, created_ms) VALUES (1, 1, 1, 1, 0)")
    rate_ppm = COMMISSION * 1_000_000 // FEN
    run(f"INSERT INTO price (id, mode, rate_ppm, from_date) VALUES (1, 2, {rate_ppm}, 20260101)")
    numbers = f"WITH RECURSIVE k(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM k WHERE n + 1 < {OUTLETS})"
    for kind, offset in ((2, 1000), (3, 1000 + commission_account(0))):
        run(
            f"INSERT INTO account (id, kind, owner_id, normal_side, created_ms) {numbers}"
            f" SELECT n + {offset}, {kind}, n + 1, -1, 0 FROM k"
        )
        run(f"INSERT INTO balance (account_id) {numbers} SELECT n + {offset} FROM k")


def _fundings(connection: sqlite3.Connection) -> None:
    run = connection.execute
    numbers = f"WITH RECURSIVE k(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM k WHERE n + 1 < {OUTLETS})"
    at = f"({START_MS} + n)"
    number = f"(({at} - {EPOCH_MS}) << 22)"
    run(
        f"""INSERT INTO txn (id, kind, channel, idem_scope, idem_key, req_hash, outlet_acct, amount, cost, state,
        biz_date, created_ms, done_ms) {numbers} SELECT {number}, 3, 8, 'funding', n, x'00', 1000 + n, {FUNDING},
        {FUNDING}, 4, {_date(at)}, {at}, {at} FROM k"""
    )
    run(
        f"""INSERT INTO journal {numbers}
        SELECT {number} + 1, {number}, 2, 100, 1000 + n, {FUNDING}, {_date(at)}, {at} FROM k"""
    )


def _balances(connection: sqlite3.Connection) -> None:
    run = connection.execute
    run(
        """UPDATE balance SET posted = s.fen FROM (SELECT id, sum(fen) AS fen FROM (
        SELECT dr AS id, -amount AS fen FROM journal UNION ALL SELECT cr, amount FROM journal)
        GROUP BY id) s WHERE s.id = balance.account_id"""
    )


def close_days(engine: Engine) -> None:
    """All but the last, for the house and the operator."""
    dates = [accounting_date(START_MS, 480)]
    while len(dates) < DAYS:
        dates.append(following(dates[-1]))
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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def timed(what: str, began: float, rows: int) -> None:
    took = time.monotonic() - began
    print(f"{what:<28}{took:8.1f} s {rows / took:12,.0f} rows/s   peak memory {peak_mib()} MiB", flush=True)


def run(rows: int, folder: Path) -> None:
    engine = open_engine(f"sqlite:///{folder / 'ledger.db'}")
    began = time.monotonic()
    maker = multiprocessing.get_context("spawn").Process(target=make, args=(folder / "ledger.db", rows))
    maker.start()  # in a process of its own: its memory is not verify's
    maker.join()
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
    timed("verified", began, report.rows)
    assert report.sound, report.problems
    print(f"{report.rows:,} journal rows, {report.orders:,} orders, {report.accounts:,} balances: sound")
    engine.dispose()


def main() -> None:
    rows = int(sys.argv[1].replace(",", "")) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory(prefix="aircharge-verify-") as folder:
        run(rows, Path(folder))


if __name__ == "__main__":
    main()
