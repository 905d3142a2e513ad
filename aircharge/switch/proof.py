"""The books are proved while trade goes on: sealed every minute, verified again from row 0 every hour."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from aircharge.ledger.dialect import dialect_of
from aircharge.ledger.sealing import Seal, SealSettings, bad_head, seal_rows
from aircharge.ledger.singletons import only_one
from aircharge.ledger.verify import VerifyReport, verify
from aircharge.ports import Clock
from aircharge.switch.board import ChoresPort
from aircharge.switch.rounds import Rounds

__all__ = ["ProofSettings", "Prover"]

log = Logger()

_HEADS: Final = 1000
"""So many of the heads published last are held against the seals."""

_TORN: Final = re.compile(r"[0-9]+(:[0-9a-f]{0,63})?")
"""A line of the head file whose end was not written."""


@dataclass(frozen=True, slots=True)
class ProofSettings:
    """How often the books are proved."""

    verify_s: float = 3600.0  # everything again from row 0; 0 = only by `aircharge verify`


class Prover:
    """Seals and verifies; what is wrong is said and closes the doors."""

    def __init__(
        self,
        ledger: ChoresPort,
        settings: ProofSettings,
        sealing: SealSettings,
        head_file: Path | None,
        clock: Clock,
        reactor: IReactorTime,
        unsound: Callable[[Sequence[str]], None],
        *,
        utc_offset_min: int,
    ) -> None:
        """``head_file``: where each new head is added; what is there is held against the seals.

        ``utc_offset_min``: of the calendar that limits go by.
        """
        self._ledger = ledger
        self._settings = sealing
        self._head_file = head_file
        self._clock = clock
        self._unsound = unsound
        self._utc_offset_min = utc_offset_min
        self._verifying = Rounds("verify", self.verify, settings.verify_s, reactor)
        self._sealing = Rounds("seals", self.seal, sealing.every_s, reactor)
        self.problems = 0  # of the last verification
        self.rows = 0
        self.took_s = 0.0
        self.verified_ms = 0  # when the last one ended, 0 = none has
        self.sealed = 0  # rows sealed by this daemon
        self._unwritten: list[str] = []  # heads that are not in the file yet

    def start(self) -> None:
        self._verifying.start()
        self._sealing.start(now=False)

    def stop(self) -> None:
        self._verifying.stop()
        self._sealing.stop()

    def age_s(self) -> float:
        """Seconds since the last verification ended; -1 when there was none."""
        return (self._clock.now_ms() - self.verified_ms) / 1000 if self.verified_ms else -1.0

    async def verify(self) -> None:
        """Once. Raises Taken when another daemon is at it."""
        began_s = self._clock.monotonic_s()
        report = await self._ledger.chore(self._verify)
        self.took_s = self._clock.monotonic_s() - began_s
        self.problems, self.rows = len(report.problems), report.rows
        self.verified_ms = self._clock.now_ms()
        if report.sound:
            log.info(
                "the books are sound: {rows} journal rows, {orders} orders in {took:.1f} s",
                rows=report.rows,
                orders=report.orders,
                took=self.took_s,
            )
        else:
            self._unsound(report.problems)

    def _verify(self, engine: Engine) -> VerifyReport:
        with only_one(engine, "verify"), engine.connect() as txn:
            report = verify(txn, utc_offset_min=self._utc_offset_min)
            if self._head_file is not None and self._head_file.exists():
                lines = self._head_file.read_text("ascii", errors="replace").split()
                heads = [line for line in lines if not _TORN.fullmatch(line)]
                report.add(problem for head in heads[-_HEADS:] if (problem := bad_head(txn, head)))
            return report

    async def seal(self) -> None:
        """Once. Raises Taken when another daemon is at it."""
        made = await self._ledger.chore(self._seal)
        if made:
            self.sealed += sum(seal.n for seal in made)
            log.info(
                "sealed through journal row {row}: head {head}", row=made[-1].last_jid, head=made[-1].head
            )

    def _seal(self, engine: Engine) -> list[Seal]:
        dialect = dialect_of(engine)

        def now_ms(txn: Connection) -> int:
            return dialect.now_ms(txn, self._clock)

        made = seal_rows(engine, now_ms, self._settings)
        if self._head_file is not None:
            self._unwritten += [seal.head for seal in made[-1:]]
            self._publish(self._head_file)
        return made

    def _publish(self, path: Path) -> None:
        """Add the heads that are not in the file yet; one that cannot be written now is tried again each round.

        Raises OSError. A line that was torn by a crash or a full disk is ended first, and counts for nothing.
        """
        if not self._unwritten:
            return
        with path.open("ab+") as heads:
            if heads.seek(0, os.SEEK_END):
                heads.seek(-1, os.SEEK_END)
                if heads.read(1) != b"\n":
                    heads.write(b"\n")
            heads.write("".join(f"{head}\n" for head in self._unwritten).encode("ascii"))
        self._unwritten.clear()
