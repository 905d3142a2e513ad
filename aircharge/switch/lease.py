"""The lease keeper: this daemon's right to write and to speak to operators, renewed while it lives.

By its own clock it goes quiet before anybody could take the lease over; the database refuses its batches from the
moment that somebody has. What a dead daemon left open is adopted and resolved like any doubt.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from aircharge.errors import LedgerError, NotSent
from aircharge.ledger.commands import NoticeRow
from aircharge.ledger.dialect import dialect_of
from aircharge.ledger.leases import (
    Adopted,
    IsRunning,
    LeaseSettings,
    Occupied,
    adopt_txn,
    leases,
    own_txn,
    release_txn,
    renew_txn,
    take_lines_txn,
    take_txn,
)
from aircharge.ledger.page import BrokenLedger
from aircharge.ledger.reading import claim_notices_txn
from aircharge.ledger.singletons import changing
from aircharge.ledger.tenure import Fenced, Tenure
from aircharge.ports import Clock, Operator, OperatorAnswer, OperatorRequest, Worker
from aircharge.switch.rounds import Rounds

__all__ = ["LeaseKeeper", "LeasedLine", "Stopping"]

log = Logger()

T = TypeVar("T")
_RETRY_S = 0.5
_CLAIM_MS = 60_000  # whoever claims a notice and dies keeps it from the others for so long


class Stopping(Exception):
    """The daemon was asked to stop while it waited for a lease."""


class LeaseKeeper:
    """One daemon's lease and the lines it holds."""

    def __init__(
        self,
        engine: Engine,
        node: int,
        host: Callable[[], str],
        is_running: IsRunning,
        lines: Mapping[str, int],
        settings: LeaseSettings,
        clock: Clock,
        reactor: Any,
        worker: Worker,
    ) -> None:
        """``lines``: the operator of each line (``leases.line_key``) we could use; ``worker`` writes."""
        self._engine = engine
        self._node = node
        self._host = host
        self._is_running = is_running
        self._lines = dict(lines)
        self._settings = settings
        self._clock = clock
        self._reactor = reactor
        self._dialect = dialect_of(engine)
        self._worker = worker
        self._rounds = Rounds("lease", self._round, settings.renew_s, reactor)
        self._until_s = float("-inf")
        self._read_s = 0.0  # the renewal under way: when it read the database's time
        self._now_ms = 0  # what it read
        self._renewed: tuple[float, float, int] | None = None  # the last one done: begun, and those two
        self._calm_until_s = float("-inf")  # nobody's lease is taken over before
        self._is_lost = False
        self.tenure: Tenure | None = None
        self.held: set[str] = set()
        self.adopted = 0  # orders of dead daemons taken over so far
        self.on_lost: Callable[[Failure], object] = lambda _failure: None
        self.on_line: Callable[[str], object] = lambda _line: None  # a line has become ours
        self.on_adopted: Callable[[Adopted], object] = lambda _adopted: None  # returns at once

    # -- the lease ----------------------------------------------------------------------------------------

    async def take(self, is_stopping: Callable[[], bool] = lambda: False) -> Tenure:
        """Begin an epoch. Waits for the end of a lease whose holder may be dead; raises Occupied when he is not.

        Raises Stopping when it is asked to stop while it waits.
        """
        self._worker.start()
        until_s = self._clock.monotonic_s() + self._settings.ttl_s + 2 * _RETRY_S
        while True:
            began_s = self._clock.monotonic_s()
            try:
                self.tenure = await self._change(self._take)
                break
            except Occupied as error:
                if began_s > until_s:
                    raise
                if is_stopping():
                    raise Stopping from error
                log.warn("{why}; waiting for its lease to end", why=str(error))
                await deferLater(self._reactor, _RETRY_S, lambda: None)
        self._extend(began_s)
        self._renewed = began_s, self._read_s, self._now_ms
        self.held = set(self._hold)
        log.info("node {node} writes under epoch {epoch}", node=self._node, epoch=self.tenure.epoch)
        return self.tenure

    def start(self) -> None:
        """Renew it from now on, and adopt what dead daemons leave."""
        self._rounds.start(now=False)

    async def stop(self) -> None:
        """Give the lease back."""
        self._rounds.stop()
        if self.tenure is not None and not self._is_lost:
            tenure = self.tenure
            self._until_s = float("-inf")
            try:
                await self._change(lambda txn, _now_ms: release_txn(txn, tenure))
            except LedgerError as error:
                log.warn("the lease was not given back: {why}", why=str(error))
        self._worker.stop()

    async def orphans(self, limit: int, centres: Collection[str] = ()) -> list[NoticeRow]:
        """Notices that no living daemon has made, a desk's for one, or left to whoever has one of these SMS centres.

        They are ours for a while.
        """
        return await self._change(lambda txn, now_ms: _claim(txn, now_ms, limit, centres))

    def is_fresh(self) -> bool:
        """Whether nobody can have taken the lease over yet, by our own clock."""
        return self._clock.monotonic_s() < self._until_s

    def left_s(self) -> float:
        return max(self._until_s - self._clock.monotonic_s(), 0.0)

    def _extend(self, began_s: float) -> None:
        """Counted from before we asked for it."""
        self._until_s = began_s + self._settings.ttl_s - self._settings.quiet_s

    def _note_gap(self, now_ms: int) -> None:
        """Calm for one ``ttl_s`` when we come, and whenever renewals of our own were late or the database's time leapt.

        What kept us from renewing may have kept the others as well: their leases ran out with nobody dead.
        """
        settings = self._settings
        self._read_s, self._now_ms = self._clock.monotonic_s(), now_ms
        gap_s = leap_s = 0.0
        if self._renewed is not None:
            before_s, read_s, before_ms = self._renewed
            gap_s = self._read_s - before_s
            leap_s = abs((now_ms - before_ms) / 1000 - (self._read_s - read_s))
        is_late = gap_s > 1.5 * settings.renew_s or leap_s > settings.quiet_s
        if is_late or self._renewed is None:
            self._calm_until_s = self._read_s + settings.ttl_s
        if is_late and self._dialect.is_shared:
            log.warn(
                "the lease was renewed after {gap:.1f} s (the database's time leapt by {leap:.1f} s): nobody's"
                " is taken over for {ttl:g} s",
                gap=gap_s,
                leap=leap_s,
                ttl=settings.ttl_s,
            )

    def _is_calm(self) -> bool:
        """Where daemons share a ledger; on SQLite there is nobody else."""
        return self._dialect.is_shared and self._clock.monotonic_s() < self._calm_until_s

    def _take(self, txn: Connection, now_ms: int) -> Tenure:
        self._note_gap(now_ms)
        tenure = take_txn(txn, now_ms, self._node, self._host(), self._settings.ttl_ms, self._is_running)
        own_txn(txn, tenure)
        self._take_lines(txn, now_ms, tenure)
        adopt_txn(txn, now_ms, tenure, self._operators(), calm=self._is_calm())
        return tenure

    def _take_lines(self, txn: Connection, now_ms: int, tenure: Tenure) -> set[str]:
        self._hold = take_lines_txn(
            txn, now_ms, tenure, self._lines, self._settings.ttl_ms, calm=self._is_calm()
        )
        return self._hold

    _hold: frozenset[str] | set[str] = frozenset()

    trouble = ""
    """Why the last renewal, which is a write, did not succeed: the database is away, full, or a standby now."""

    def _operators(self) -> list[int]:
        return sorted({self._lines[line] for line in self._hold})

    # -- rounds -------------------------------------------------------------------------------------------

    async def _round(self) -> None:
        try:
            await self._renew()
            adopted = await self._change(self._adopt)
        except (Fenced, BrokenLedger) as error:  # a disk that fails may be seen here first, or only here
            self._lose(error)
            return
        except LedgerError as error:
            self.trouble = str(error)
            raise
        self.trouble = ""
        if adopted.orders:
            self.adopted += len(adopted.orders)
            log.warn(
                "{count} open orders of dead nodes {nodes} are ours now",
                count=len(adopted.orders),
                nodes=list(adopted.nodes),
            )
            self.on_adopted(adopted)

    async def _renew(self) -> None:
        began_s = self._clock.monotonic_s()
        held = await self._change(self._renew_txn)
        self._extend(began_s)
        self._renewed = began_s, self._read_s, self._now_ms
        gained, self.held = held - self.held, held
        for line in sorted(gained):
            self.on_line(line)

    def _renew_txn(self, txn: Connection, now_ms: int) -> set[str]:
        tenure = self._mine()
        renew_txn(txn, now_ms, tenure, self._settings.ttl_ms)
        self._note_gap(now_ms)
        return set(self._take_lines(txn, now_ms, tenure))

    def _adopt(self, txn: Connection, now_ms: int) -> Adopted:
        return adopt_txn(txn, now_ms, self._mine(), self._operators(), calm=self._is_calm())

    def _mine(self) -> Tenure:
        assert self.tenure is not None, "no lease was taken"
        return self.tenure

    def _lose(self, error: LedgerError) -> None:
        self._is_lost = True
        self._until_s = float("-inf")
        self._rounds.stop()
        self.on_lost(Failure(error))

    def _change(self, work: Callable[[Connection, int], T]) -> Awaitable[T]:
        """``work(txn, now_ms)`` in one writing transaction, in the lease's own worker."""

        def run() -> T:
            try:
                with changing(self._engine) as txn:
                    return work(txn, self._dialect.now_ms(txn, self._clock))
            except DBAPIError as error:
                family = BrokenLedger if self._dialect.is_broken(error) else LedgerError
                raise family(f"{error.orig}") from error

        return self._worker.run(run)


def _claim(txn: Connection, now_ms: int, limit: int, centres: Collection[str]) -> list[NoticeRow]:
    living = [lease.node for lease in leases(txn) if lease.expires_ms > now_ms]
    return claim_notices_txn(txn, now_ms, now_ms + _CLAIM_MS, limit, living, centres)


class LeasedLine:
    """``ports.Operator``: an operator's line that is used only while our lease surely holds."""

    def __init__(self, line: Operator, is_ours: Callable[[], bool]) -> None:
        self._line = line
        self._is_ours = is_ours

    def ready(self) -> bool:
        return self._is_ours() and self._line.ready()

    async def recharge(self, request: OperatorRequest) -> OperatorAnswer:
        return await self._sure().recharge(request)

    async def query(self, request: OperatorRequest) -> OperatorAnswer:
        return await self._sure().query(request)

    async def reverse(self, request: OperatorRequest) -> OperatorAnswer:
        return await self._sure().reverse(request)

    async def stock(self) -> int:
        return await self._sure().stock()

    def on_late_answer(self, listener: Callable[[OperatorAnswer], None]) -> None:
        self._line.on_late_answer(listener)

    def _sure(self) -> Operator:
        if not self._is_ours():
            raise NotSent("our lease may have been taken over")
        return self._line
