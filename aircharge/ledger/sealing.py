"""Seals: the journal in pieces, each piece hashed over the seal before it, so that history cannot be edited unnoticed.

Format (docs/days.md): a row is the line ``jid,txn_id,op,dr,cr,amount,biz_date,at_ms`` and a newline, all decimal; a
seal's hash is SHA-256 of the line ``seq,first_jid,last_jid,n,total,previous`` (the previous hash in hex, 64 zeros at
first) and a newline, then of its rows' lines in the order of jid. All of it is ASCII.

Only rows that nobody can get in front of any more are sealed. A row's number begins with its batch's time, by the clock
all daemons share, read while the batch holds the lock it keeps until its commit. So: take the time, wait until every
batch under way has ended; then no row with an earlier time can come. Rows younger than a lag are left for the next
round, and a batch numbers its rows above the last seal it sees, in case that clock steps back.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, insert, select, text

from aircharge.errors import LedgerError
from aircharge.ledger.ids import EPOCH_MS
from aircharge.ledger.postgres_queries import DAYS_LOCK
from aircharge.ledger.singletons import changing, only_one
from aircharge.ledger.tables import metadata

__all__ = ["GENESIS", "Seal", "SealSettings", "bad_head", "bad_seals", "last_seal", "seal_rows"]

GENESIS: Final = bytes(32)
_MARK: Final = 4
_PATIENCE_S: Final = 60.0
_LOOK_S: Final = 0.02
_SHOWN: Final = 10
_seal, _journal = metadata.tables["seal"], metadata.tables["journal"]
_COLUMNS: Final = ("jid", "txn_id", "op", "dr", "cr", "amount", "biz_date", "at_ms")

NowMs = Callable[[Connection], int]
"""The clock all daemons share, read within a transaction."""


@dataclass(frozen=True, slots=True)
class SealSettings:
    """How the journal is sealed."""

    every_s: float = 60.0  # 0 = never
    lag_s: float = 30.0  # rows younger than this wait
    rows_max: int = 2000  # of one seal
    head_file: str = ""  # each new head is added to this file, to be kept elsewhere; "" = none

    def __post_init__(self) -> None:
        if self.lag_s < 1 or not 1 <= self.rows_max <= 100_000:
            raise ValueError("lag_s is at least a second, rows_max 1 to 100,000")


@dataclass(frozen=True, slots=True)
class Seal:
    """A piece of the journal: rows with last_jid of the seal before < jid <= last_jid."""

    seq: int
    first_jid: int
    last_jid: int
    n: int
    total: int  # fen
    prev_hash: bytes
    hash: bytes
    marks: bytes
    sealed_ms: int

    @property
    def head(self) -> str:
        """What is published: number and hash."""
        return f"{self.seq}:{self.hash.hex()}"


def _line(row: Sequence[Any]) -> bytes:
    return (",".join([str(value) for value in row]) + "\n").encode("ascii")


def _hash(
    seq: int, first_jid: int, last_jid: int, n: int, total: int, previous: bytes, lines: bytes
) -> bytes:
    header = f"{seq},{first_jid},{last_jid},{n},{total},{previous.hex()}\n"
    return hashlib.sha256(header.encode("ascii") + lines).digest()


def _mark(line: bytes) -> bytes:
    return hashlib.sha256(line).digest()[:_MARK]


# -- sealing ----------------------------------------------------------------------------------------------


def seal_rows(engine: Engine, now_ms: NowMs, settings: SealSettings) -> list[Seal]:
    """Seal what can be sealed now; returns the new seals. Raises Taken when another daemon is at it."""
    with only_one(engine, "seal"):
        bound = _bound(engine, now_ms, settings)
        made: list[Seal] = []
        while True:
            with changing(engine) as txn:
                seal = _next(txn, bound, settings.rows_max, now_ms(txn))
            if seal is None:
                return made
            made.append(seal)


def _bound(engine: Engine, now_ms: NowMs, settings: SealSettings) -> int:
    """No row with a number below this can come any more. Raises LedgerError when that cannot be said."""
    with changing(engine) as txn:
        at_ms = now_ms(txn)
        under_way = _batches(txn)
    waited_s, pause = 0.0, threading.Event()
    while under_way:
        if waited_s >= _PATIENCE_S:
            raise LedgerError(f"a batch has been under way for {waited_s:.0f} s: nothing is sealed")
        pause.wait(_LOOK_S)
        waited_s += _LOOK_S
        with changing(engine) as txn:
            under_way &= _batches(txn)
    return max(at_ms - int(settings.lag_s * 1000) - EPOCH_MS, 0) << 22


def _batches(txn: Connection) -> set[str]:
    """Batches that hold the days open. On SQLite none can be: this transaction has the file for itself."""
    if txn.dialect.name != "postgresql":
        return set()
    question = text(
        """SELECT virtualtransaction FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = :lock
        AND classid = 0 AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
    )
    return set(txn.execute(question, {"lock": DAYS_LOCK}).scalars())


def _next(txn: Connection, bound: int, rows_max: int, now_ms: int) -> Seal | None:
    """One more seal, in the caller's transaction."""
    last = last_seal(txn)
    after = last.last_jid if last else 0
    columns = [_journal.c[name] for name in _COLUMNS]
    found = select(*columns).where(_journal.c.jid > after, _journal.c.jid < bound)
    rows = txn.execute(found.order_by(_journal.c.jid).limit(rows_max)).all()
    if not rows:
        return None
    lines = [_line(row) for row in rows]
    seq, previous = (last.seq + 1, last.hash) if last else (1, GENESIS)
    facts = (seq, rows[0].jid, rows[-1].jid, len(rows), sum(row.amount for row in rows))
    digest = _hash(*facts, previous, b"".join(lines))
    seal = Seal(*facts, previous, digest, b"".join(map(_mark, lines)), now_ms)
    values = {name: getattr(seal, name) for name in Seal.__slots__}
    txn.execute(insert(_seal).values(**values))
    return seal


def last_seal(txn: Connection) -> Seal | None:
    """The head of the chain."""
    row = txn.execute(_select().order_by(_seal.c.seq.desc()).limit(1)).first()
    return Seal(*row) if row else None


def _select() -> Any:
    return select(*[_seal.c[name] for name in Seal.__slots__])


# -- checking ---------------------------------------------------------------------------------------------


def bad_seals(txn: Connection) -> Iterator[str]:
    """The chain from its beginning, against the journal as it is now: seals and rows that are not as they were."""
    previous, last_jid, expected, shown = GENESIS, 0, 1, 0
    while shown < _SHOWN:
        rows = txn.execute(_select().where(_seal.c.seq >= expected).order_by(_seal.c.seq).limit(100)).all()
        if not rows:
            return
        for row in rows:
            seal = Seal(*row)
            for problem in _bad_seal(txn, seal, expected, previous, last_jid):
                shown += 1
                yield problem
            previous, last_jid, expected = seal.hash, seal.last_jid, seal.seq + 1


def _bad_seal(txn: Connection, seal: Seal, expected: int, previous: bytes, last_jid: int) -> Iterator[str]:
    if seal.seq != expected:
        yield f"seal {expected} is missing"
        return
    if seal.prev_hash != previous:
        yield f"seal {seal.seq} does not follow from the one before it"
        return
    lines = _lines(txn, last_jid, seal.last_jid)
    if _hash(seal.seq, seal.first_jid, seal.last_jid, seal.n, seal.total, previous, lines) != seal.hash:
        yield from _differences(seal, lines)


def _lines(txn: Connection, after: int, upto: int) -> bytes:
    """The rows' lines, put together by the database: millions are read so."""
    line = "||','||".join(_COLUMNS)
    rows = f"FROM journal WHERE jid > {int(after)} AND jid <= {int(upto)}"
    if txn.dialect.name == "postgresql":
        question = (
            f"SELECT string_agg({line.replace('jid', 'jid::text', 1)}||chr(10), '' ORDER BY jid) {rows}"
        )
    else:
        question = f"SELECT group_concat(line, '') FROM (SELECT {line}||char(10) AS line {rows} ORDER BY jid)"
    return str(txn.execute(text(question)).scalar() or "").encode("ascii")


def _differences(seal: Seal, lines: bytes) -> Iterator[str]:
    """The first row that is not as it was sealed."""
    rows = lines.splitlines(keepends=True)
    marks = [seal.marks[at : at + _MARK] for at in range(0, len(seal.marks), _MARK)]
    found = [_mark(row) for row in rows]
    at = next(
        (i for i, (a, b) in enumerate(zip(marks, found, strict=False)) if a != b), min(len(marks), len(found))
    )
    where = f"seal {seal.seq} (rows {seal.first_jid} to {seal.last_jid})"
    if at == len(marks) == len(found):
        yield f"{where}: the seal itself was changed"
    elif marks[at:] == found[at + 1 :]:
        yield f"{where}: journal row {_number(rows[at])} was put in after the seal"
    elif marks[at + 1 :] == found[at:]:
        before = _number(rows[at - 1]) if at else seal.first_jid
        yield f"{where}: a journal row was taken out after row {before}"
    else:
        row = _number(rows[at]) if at < len(rows) else seal.last_jid
        yield f"{where}: journal row {row} was changed after the seal"


def _number(line: bytes) -> int:
    return int(line.partition(b",")[0])


def bad_head(txn: Connection, head: str) -> str:
    """What is wrong with a head that was published, ``seq:hash``; "" = the chain still goes through it."""
    number, _, digest = head.strip().partition(":")
    if not number.isdecimal() or len(digest) != 64:
        return f"{head!r} is no head: NUMBER:HASH"
    row = txn.execute(select(_seal.c.hash).where(_seal.c.seq == int(number))).first()
    if row is None:
        return f"seal {number} was published and is missing"
    return "" if row.hash.hex() == digest.lower() else f"seal {number} is not the one that was published"
