"""Whether the clock may be believed: it is held against the ledger's last order, and against what has run since.

A business date comes from a clock. One that has leapt would end the accounting day for good, so nothing is written
until it is right again, or until two people have said that it is.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, Engine, func, insert, select, text
from twisted.logger import Logger

from aircharge.errors import LedgerError
from aircharge.ledger.tables import metadata
from aircharge.ports import Clock

__all__ = ["ClockGuard", "ClockLeapt", "accept_clock_txn", "check_clock", "ledger_now_ms"]

log = Logger()

_txn, _word = metadata.tables["txn"], metadata.tables["clock_word"]
_NOW: Final = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")


class ClockLeapt(LedgerError):
    """The clock says another time than can be: nothing was written, and nothing will be until it is right."""


class ClockGuard:
    """Looks at each batch's time. ``leap_ms``: by how much a clock may differ from what is expected; 0 = by any."""

    def __init__(self, clock: Clock, leap_ms: int) -> None:
        self._clock = clock
        self._leap_ms = leap_ms
        self._seen: tuple[int, float] | None = None
        self._is_said = False

    def check(self, txn: Connection, now_ms: int) -> None:
        """Raises ClockLeapt when more time has passed, or less, than the monotonic clock knows of.

        The first time is held against the ledger's last order: a house that was off for longer is people's to open.
        """
        if not self._leap_ms:
            return
        monotonic_s = self._clock.monotonic_s()
        is_right = self._seen is not None and self._is_near(
            now_ms, self._seen[0] + int((monotonic_s - self._seen[1]) * 1000)
        )
        if not is_right:
            try:
                _check_txn(txn, now_ms, self._leap_ms)
            except ClockLeapt as error:
                if not self._is_said:
                    self._is_said = True
                    log.critical("ALARM: {why}", why=str(error))
                raise
        self._seen, self._is_said = (now_ms, monotonic_s), False

    def believe(self, now_ms: int) -> None:
        """It was right when the process started (``check_clock``): from then on the monotonic clock tells."""
        self._seen = (now_ms, self._clock.monotonic_s())

    def _is_near(self, now_ms: int, expected_ms: int) -> bool:
        return abs(now_ms - expected_ms) <= self._leap_ms


def _check_txn(txn: Connection, now_ms: int, leap_ms: int) -> None:
    last_ms = txn.execute(select(_txn.c.created_ms).order_by(_txn.c.id.desc()).limit(1)).scalar()
    said_ms = txn.execute(select(_word.c.said_ms).order_by(_word.c.id.desc()).limit(1)).scalar()
    known = [at_ms for at_ms in (last_ms, said_ms) if at_ms is not None]
    if not known or any(abs(now_ms - at_ms) <= leap_ms for at_ms in known):
        return
    raise ClockLeapt(
        f"the clock says {_day(now_ms)}, the ledger's last word is of {_day(max(known))}: nothing is written."
        " Set the clock right; if it is right, because the house was off, two people:"
        " aircharge clock accept --why WHY (docs/operations.md)"
    )


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def ledger_now_ms(txn: Connection, own_ms: int) -> int:
    """By the clock that dates the ledger's rows: PostgreSQL's own, or the process's (``own_ms``)."""
    return int(txn.execute(_NOW).scalar_one()) if txn.dialect.name == "postgresql" else own_ms


def check_clock(engine: Engine, clock: Clock, leap_ms: int) -> int:
    """The ledger's time. Raises ClockLeapt when its last order or the database's clock speak against it."""
    with engine.connect() as txn:
        own_ms = clock.now_ms()
        now_ms = ledger_now_ms(txn, own_ms)
        if leap_ms and abs(now_ms - own_ms) > leap_ms:
            raise ClockLeapt(f"the clock says {_day(own_ms)}, the database's {_day(now_ms)}: set them right")
        if leap_ms:
            _check_txn(txn, now_ms, leap_ms)
    return now_ms


def accept_clock_txn(txn: Connection, now_ms: int) -> None:
    """Two people say that it is this time."""
    number = int(txn.execute(select(func.count()).select_from(_word)).scalar_one()) + 1
    txn.execute(insert(_word).values(id=number, said_ms=now_ms))
