"""The books are proved while trade goes on: verified again from row 0 every hour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from aircharge.ledger.singletons import only_one
from aircharge.ledger.verify import VerifyReport, verify
from aircharge.ports import Clock
from aircharge.switch.board import ChoresPort
from aircharge.switch.rounds import Rounds

__all__ = ["ProofSettings", "Prover"]

log = Logger()


@dataclass(frozen=True, slots=True)
class ProofSettings:
    """How often the books are proved."""

    verify_s: float = 3600.0  # everything again from row 0; 0 = only by `aircharge verify`


class Prover:
    """Verifies; what is wrong is said and closes the doors."""

    def __init__(
        self,
        ledger: ChoresPort,
        settings: ProofSettings,
        clock: Clock,
        reactor: IReactorTime,
        unsound: Callable[[Sequence[str]], None],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._unsound = unsound
        self._verifying = Rounds("verify", self.verify, settings.verify_s, reactor)
        self.problems = 0  # of the last verification
        self.rows = 0
        self.took_s = 0.0
        self.verified_ms = 0  # when the last one ended, 0 = none has

    def start(self) -> None:
        self._verifying.start()

    def stop(self) -> None:
        self._verifying.stop()

    def age_s(self) -> float:
        """Seconds since the last verification ended; -1 when there was none."""
        return (self._clock.now_ms() - self.verified_ms) / 1000 if self.verified_ms else -1.0

    async def verify(self) -> None:
        """Once. Raises Taken when another daemon is at it."""
        began_s = self._clock.monotonic_s()
        report = await self._ledger.chore(_verify)
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


def _verify(engine: Engine) -> VerifyReport:
    with only_one(engine, "verify"), engine.connect() as txn:
        return verify(txn)
