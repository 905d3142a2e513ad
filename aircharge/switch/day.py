"""The day keeper: opens each operator's next accounting day at its hour and closes those that were cut.

The book opens a day by itself as soon as somebody trades after the hour; the keeper does it for those who do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from aircharge.ledger.book import BookSettings
from aircharge.ledger.chart import HOUSE
from aircharge.ledger.checkpoints import closable, close_day
from aircharge.ledger.cutoff import date_text
from aircharge.ledger.days import OpenDays
from aircharge.ledger.page import MACHINE
from aircharge.ledger.reading import open_days
from aircharge.ports import Clock
from aircharge.switch.board import ChoresPort
from aircharge.switch.rounds import Rounds

__all__ = ["DayKeeper", "DaySettings"]

log = Logger()


@dataclass(frozen=True, slots=True)
class DaySettings:
    """How days are kept."""

    look_s: float = 10.0  # how often it is looked whether a day is to be opened or closed


class DayKeeper:
    """One daemon's; where there are several, each may open what is due and one at a time closes."""

    def __init__(
        self,
        ledger: ChoresPort,
        operators: Iterable[int],
        book: BookSettings,
        settings: DaySettings,
        clock: Clock,
        reactor: IReactorTime,
        unsound: Callable[[Sequence[str]], None],
    ) -> None:
        """``unsound(problems)``: the checkpoint and the balances do not agree."""
        self._ledger = ledger
        self._operators = (HOUSE, *operators)
        self._book = book
        self._clock = clock
        self._unsound = unsound
        self._rounds = Rounds("accounting days", self.round, settings.look_s, reactor)
        self.waiting = 0  # days that were cut and are not closed

    def start(self) -> None:
        self._rounds.start()

    def stop(self) -> None:
        self._rounds.stop()

    async def round(self) -> None:
        """Open what the clock says, close what was cut."""
        now_ms = self._clock.now_ms()
        if self._is_due(await self._ledger.read(open_days), now_ms):
            for cut in await self._ledger.do(OpenDays(self._operators)):
                log.info(
                    "operator {operator}: the day of {date} is open",
                    operator=cut.operator_id,
                    date=date_text(cut.opened),
                )
        cut_days = await self._ledger.read(_waiting)
        self.waiting = len(cut_days)
        for operator_id, date in cut_days:
            await self._close(operator_id, date, now_ms)

    def _is_due(self, days: dict[int, int], now_ms: int) -> bool:
        return any(
            days.get(operator_id, 0) < self._book.date_at(operator_id, now_ms)
            for operator_id in {*self._operators, *days}
        )

    async def _close(self, operator_id: int, date: int, now_ms: int) -> None:
        problems = await self._ledger.chore(
            lambda engine: close_day(engine, operator_id, date, now_ms, MACHINE)
        )
        if problems:
            self._unsound([f"the day of {date_text(date)} cannot be closed: {why}" for why in problems])
            return
        self.waiting -= 1
        log.info(
            "operator {operator}: the day of {date} is closed", operator=operator_id, date=date_text(date)
        )


def _waiting(txn: Connection) -> list[tuple[int, int]]:
    return closable(txn)
