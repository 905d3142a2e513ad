"""The simulated operator's durable record: SQLite, one writer thread, many requests a commit.

``outcome`` has one row per reference, ``credit`` one per movement of money, ``attempt`` one per request
received. An answer may leave only after the commit that holds its outcome. ``barred`` has the references that a
reversal asked for before they came: having said "no such original", the operator never executes them.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final

__all__ = ["Job", "Later", "OperatorRecord", "Outcome"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS outcome (
    op_ref TEXT PRIMARY KEY, kind TEXT NOT NULL, msisdn TEXT NOT NULL, amount_fen INTEGER NOT NULL,
    original_ref TEXT NOT NULL, code TEXT NOT NULL, serial TEXT NOT NULL, at_ms INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS credit (
    id INTEGER PRIMARY KEY, op_ref TEXT NOT NULL, msisdn TEXT NOT NULL, amount_fen INTEGER NOT NULL,
    at_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS attempt (
    id INTEGER PRIMARY KEY, op_ref TEXT NOT NULL, kind TEXT NOT NULL, msisdn TEXT NOT NULL,
    amount_fen INTEGER NOT NULL, fate TEXT NOT NULL, code TEXT NOT NULL, at_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS barred (op_ref TEXT PRIMARY KEY, by_ref TEXT NOT NULL, at_ms INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stock (id INTEGER PRIMARY KEY CHECK (id = 1), fen INTEGER NOT NULL);
"""
_FIND: Final = (
    "SELECT kind, msisdn, amount_fen, original_ref, code, serial, at_ms FROM outcome WHERE op_ref = ?"
)

Later = Callable[[Callable[[], None]], object]
"""Calls something soon, and once."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reference came to."""

    op_ref: str
    kind: str  # recharge | reverse
    msisdn: str
    amount_fen: int
    original_ref: str
    code: str
    serial: str
    at_ms: int


@dataclass(slots=True)
class Job:
    """One request for the writer. ``kind``: recharge, reverse or query; ``code`` not empty refuses it."""

    kind: str
    op_ref: str
    msisdn: str
    amount_fen: int
    original_ref: str
    at_ms: int
    fate: str
    code: str
    execute: bool  # False: the attempt is only noted
    done: Callable[[Job], None]
    outcome: Outcome | None = None
    answer_code: str = ""


class OperatorRecord:
    """Jobs in, outcomes back by ``deliver`` (called in the writer's thread with one committed batch)."""

    def __init__(
        self,
        path: str,
        stock_fen: int,
        *,
        dedup: bool,
        deliver: Callable[[list[Job]], None],
        later: Later | None = None,
    ) -> None:
        """``later``: what is put is written when that calls back; none = by a thread of the record's own."""
        self._path = path
        self._dedup = dedup
        self._deliver = deliver
        self._queue: SimpleQueue[Job | Callable[[sqlite3.Connection], None] | None] = SimpleQueue()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        self._db.execute("INSERT OR IGNORE INTO stock VALUES (1, ?)", (stock_fen,))
        self._stock_fen: int = self._db.execute("SELECT fen FROM stock").fetchone()[0]
        self._serial: int = self._db.execute("SELECT coalesce(max(id), 0) FROM credit").fetchone()[0]
        self._later = later
        self._thread = threading.Thread(target=self._run, name="operator-record", daemon=True)
        if later is None:
            self._thread.start()

    @property
    def stock_fen(self) -> int:
        return self._stock_fen

    def put(self, job: Job) -> None:
        self._enqueue(job)

    def read(self, reader: Callable[[sqlite3.Connection], None]) -> None:
        """Run a reader in the writer's thread, after everything put before it."""
        self._enqueue(reader)

    def _enqueue(self, item: Job | Callable[[sqlite3.Connection], None]) -> None:
        self._queue.put(item)
        if self._later is not None:
            self._later(self._turn)

    def close(self) -> None:
        """Commit what was put, then close."""
        self._queue.put(None)
        if self._later is None:
            self._thread.join(10)
        else:
            self._turn()

    def _run(self) -> None:
        while self._write(self._queue.get()):
            pass

    def _turn(self) -> None:
        """What waits, in the caller's thread."""
        if not self._queue.empty():
            self._write(self._queue.get())

    def _write(self, first: Job | Callable[[sqlite3.Connection], None] | None) -> bool:
        """That and what waits behind it, in one commit. False: the record was closed."""
        batch = [first]
        while len(batch) < 2000 and not self._queue.empty():
            batch.append(self._queue.get())
        jobs = [item for item in batch if isinstance(item, Job)]
        if jobs:
            self._commit(jobs)
            self._deliver(jobs)
        for item in batch:
            if callable(item):
                item(self._db)
        if None in batch:
            self._db.close()
            return False
        return True

    def _commit(self, jobs: list[Job]) -> None:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        attempts = []
        for job in jobs:
            self._decide(job)
            if job.kind != "query":
                attempts.append(
                    (job.op_ref, job.kind, job.msisdn, job.amount_fen, job.fate, job.answer_code, job.at_ms)
                )
        db.executemany(
            "INSERT INTO attempt (op_ref, kind, msisdn, amount_fen, fate, code, at_ms)"
            " VALUES (?,?,?,?,?,?,?)",
            attempts,
        )
        db.execute("UPDATE stock SET fen = ?", (self._stock_fen,))
        db.execute("COMMIT")

    def find(self, op_ref: str) -> Outcome | None:
        """For the writer's thread."""
        row = self._db.execute(_FIND, (op_ref,)).fetchone()
        return None if row is None else Outcome(op_ref, *row)

    def _decide(self, job: Job) -> None:
        if job.code == "4001":  # busy, at the door: the reference is not looked up and nothing is remembered
            job.answer_code = job.code
            return
        earlier = self.find(job.op_ref)
        if job.kind == "query" or not job.execute:
            job.outcome = earlier
            return
        if earlier is not None and (
            earlier.msisdn,
            earlier.amount_fen,
            earlier.kind,
            earlier.original_ref,
        ) != (
            job.msisdn,
            job.amount_fen,
            job.kind,
            job.original_ref,
        ):
            job.answer_code = "5001"  # the same reference for something else
            return
        is_known = earlier is not None and (self._dedup or earlier.code != "0000" or job.kind == "reverse")
        if earlier is not None and is_known:
            job.outcome, job.answer_code = earlier, earlier.code
            return
        if job.kind == "reverse":  # "it stands" is said of what was executed only
            objection = self._objection(job)
            job.answer_code = job.code if objection == "0000" and job.code else objection
        else:
            job.answer_code = job.code or self._objection(job)
        serial = "" if job.answer_code != "0000" else self._credit(job)
        job.outcome = Outcome(
            job.op_ref,
            job.kind,
            job.msisdn,
            job.amount_fen,
            job.original_ref,
            job.answer_code,
            serial,
            job.at_ms,
        )
        if earlier is None:
            outcome = job.outcome
            self._db.execute(
                "INSERT INTO outcome VALUES (?,?,?,?,?,?,?,?)",
                (
                    outcome.op_ref,
                    outcome.kind,
                    outcome.msisdn,
                    outcome.amount_fen,
                    outcome.original_ref,
                    outcome.code,
                    outcome.serial,
                    outcome.at_ms,
                ),
            )

    def _objection(self, job: Job) -> str:
        """The result code of a request that nothing was done about yet."""
        if job.kind == "recharge":
            if self._db.execute("SELECT 1 FROM barred WHERE op_ref = ?", (job.op_ref,)).fetchone():
                return "6005"
            return "0000" if job.amount_fen <= self._stock_fen else "3001"
        original = self.find(job.original_ref)
        if original is None:
            bar = "INSERT OR IGNORE INTO barred VALUES (?, ?, ?)"
            self._db.execute(bar, (job.original_ref, job.op_ref, job.at_ms))
            return "6001"
        if original.code != "0000" or original.kind != "recharge":
            return "6001"
        if (original.msisdn, original.amount_fen) != (job.msisdn, job.amount_fen):
            return "6002"
        again = "SELECT 1 FROM outcome WHERE original_ref = ? AND code = '0000'"
        return "6003" if self._db.execute(again, (job.original_ref,)).fetchone() else "0000"

    def _credit(self, job: Job) -> str:
        self._serial += 1
        amount_fen = job.amount_fen if job.kind == "recharge" else -job.amount_fen
        self._stock_fen -= amount_fen
        self._db.execute(
            "INSERT INTO credit VALUES (?,?,?,?,?)",
            (self._serial, job.op_ref, job.msisdn, amount_fen, job.at_ms),
        )
        return f"S{self._serial:012d}"


def totals(db: sqlite3.Connection) -> dict[str, Any]:
    """Counts and sums for the control line."""
    credits, fen = db.execute("SELECT count(*), coalesce(sum(amount_fen), 0) FROM credit").fetchone()
    twice = db.execute(
        "SELECT count(*) FROM (SELECT op_ref FROM credit GROUP BY op_ref HAVING count(*) > 1)"
    ).fetchone()[0]
    return {
        "credits": credits,
        "credited_fen": fen,
        "references_credited_twice": twice,
        "by_code": dict(db.execute("SELECT code, count(*) FROM outcome GROUP BY code").fetchall()),
        "attempts": dict(db.execute("SELECT fate, count(*) FROM attempt GROUP BY fate").fetchall()),
    }


def rows(db: sqlite3.Connection, op_ref: str, msisdn: str, limit: int) -> list[dict[str, Any]]:
    """Outcomes, newest last, each with how often it was credited and asked for."""
    found = db.execute(
        "SELECT op_ref, kind, msisdn, amount_fen, original_ref, code, serial, at_ms,"
        " (SELECT count(*) FROM credit c WHERE c.op_ref = o.op_ref),"
        " (SELECT count(*) FROM attempt a WHERE a.op_ref = o.op_ref)"
        " FROM outcome o WHERE (?1 = '' OR op_ref = ?1) AND (?2 = '' OR msisdn = ?2)"
        " ORDER BY at_ms DESC, op_ref DESC LIMIT ?3",
        (op_ref, msisdn, limit),
    ).fetchall()
    names = (
        "op_ref",
        "kind",
        "msisdn",
        "amount_fen",
        "original_ref",
        "code",
        "serial",
        "at_ms",
        "credits",
        "attempts",
    )
    return [dict(zip(names, row, strict=True)) for row in reversed(found)]
