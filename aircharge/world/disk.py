"""The simulated machine's disk and threads: what may go wrong at a commit, and work done when the world lets it.

The store, the book and SQLite are the real ones. A crash before a commit is a transaction that never was; a crash after
it is one whose answer nobody hears.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, RootTransaction, event
from sqlalchemy.exc import DBAPIError, OperationalError
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from aircharge.errors import LedgerError
from aircharge.ledger.store import Store
from aircharge.ledger.writer import Ledger, WriterSettings
from aircharge.world.timeline import Host

__all__ = ["Died", "Disk", "WorldLedger", "WorldStore", "WorldWorker"]

T = TypeVar("T")


class Died(Exception):
    """The process ended in the middle of this."""


class Disk:
    """One machine's. ``plan`` holds the fate of commits by their number; ``full`` and ``broken`` last until cleared."""

    def __init__(self, chance: Random) -> None:
        self.commits = 0
        self.plan: dict[int, str] = {}
        self.is_full = False
        self.is_broken = False
        self._chance = chance
        self.met: Callable[[str], None] = lambda _fate: None

    def wait_s(self) -> float:
        """How long until a thread gets to it."""
        return self._chance.uniform(0.0002, 0.004)

    def later(self, commits: int, fate: str) -> None:
        """The fate of the commit that is so many after the last one."""
        self.plan[self.commits + max(commits, 1)] = fate

    def next_fate(self) -> str:
        self.commits += 1
        fate = self.plan.pop(self.commits, "")
        if fate:
            self.met(fate)
        return fate

    def check(self) -> None:
        """Raises what SQLite says of a disk that takes nothing."""
        if self.is_broken:
            raise _error("disk I/O error")
        if self.is_full:
            raise _error("database or disk is full")


def _error(words: str) -> OperationalError:
    return OperationalError("COMMIT", None, sqlite3.OperationalError(words))


class WorldStore(Store):
    """The real store on that disk."""

    host: Host
    disk: Disk

    def stand_on(self, host: Host, disk: Disk) -> None:
        self.host, self.disk = host, disk

        @event.listens_for(self.engine, "commit")
        def committing(_connection: Connection) -> None:
            if host.is_dead:
                raise Died(host.name)
            disk.check()

    def _commit(self, txn: Connection, begun: RootTransaction) -> None:
        self._is_committing = True
        fate = self.disk.next_fate()
        if fate == "crash_before":
            self.host.die()
        if self._writes_book and self.tenure is not None and not self._holds(txn):
            self.intruded()
        if fate == "fail":
            raise LedgerError("the disk said no before the commit: nothing was written")
        super()._commit(txn, begun)
        if fate == "crash_after":
            self.host.die()
            raise Died(self.host.name)
        if fate == "unknown":
            raise LedgerError("the commit's fate is unknown: ask again by key")

    intruded: Callable[[], None] = staticmethod(lambda: None)

    _writes_book = False

    def _persist(self, commands: Any, again: tuple[type[Exception], ...] = ()) -> Any:
        self._writes_book = True
        try:
            return super()._persist(commands, again)
        finally:
            self._writes_book = False

    def _holds(self, txn: Connection) -> bool:
        """Whether the lease this daemon writes under is its own still."""
        assert self.tenure is not None
        question = "SELECT 1 FROM node_lease WHERE node = ? AND epoch = ?"
        return txn.exec_driver_sql(question, (self.tenure.node, self.tenure.epoch)).first() is not None


class WorldLedger(Ledger):
    """The real ledger; what its threads would do is done when the world lets it."""

    def __init__(self, store: Any, reactor: Host, settings: WriterSettings) -> None:
        super().__init__(store, reactor, settings)
        self._store: WorldStore = store
        self._host = reactor
        self._has_turn = False

    def start(self) -> None:
        """No thread to start."""

    def do(self, command: Any) -> Deferred[Any]:
        done = super().do(command)
        self._take_turn()
        return done

    def _take_turn(self) -> None:
        if not self._has_turn:
            self._has_turn = True
            self._host.callLater(self._store.disk.wait_s(), self._turn)

    def _turn(self) -> None:
        self._has_turn = False
        if self._broken is not None:
            self._end_if_stopping()
            return
        size = min(len(self._waiting), self._settings.batch_max)
        batch = [self._waiting.popleft() for _ in range(size)]
        if batch and not self._carry_out(batch):
            self._end_if_stopping()
            return
        if self._waiting:
            self._take_turn()
        elif self._stopping:
            self._host.callLater(0.0, self._end)
        elif self._trouble:
            self._host.callLater(self._settings.probe_ms / 1000, self._look)

    def _end_if_stopping(self) -> None:
        """A broken ledger has nothing left to write."""
        if self._stopping:
            self._host.callLater(0.0, self._end)

    def _look(self) -> None:
        """Whether the database is back."""
        if self._trouble and not self._waiting:
            with self._wake:
                self._probe()
            if self._trouble:
                self._host.callLater(self._settings.probe_ms / 1000, self._look)

    def read(self, reader: Callable[[Connection], T]) -> Deferred[T]:
        def work() -> T:
            try:
                with self._store.engine.connect() as txn:
                    return reader(txn)
            except DBAPIError as error:
                raise LedgerError(f"reading failed: {error.orig}") from error

        return soon(self._host, self._store.disk.wait_s(), work)

    def chore(self, work: Callable[[Engine], T]) -> Deferred[T]:
        def run() -> T:
            try:
                return work(self._store.engine)
            except DBAPIError as error:
                raise LedgerError(f"{error.orig}") from error

        return soon(self._host, self._store.disk.wait_s(), run)

    def stop(self) -> Deferred[None]:
        self._stopping = True
        if self._broken is None:
            self._take_turn()
        else:
            self._host.callLater(0.0, self._end)
        return self._stopped

    def _end(self) -> None:
        if not self._stopped.called:
            self._store.engine.dispose()
            self._stopped.callback(None)


class WorldWorker:
    """``ports.Worker`` without a thread."""

    def __init__(self, host: Host, disk: Disk) -> None:
        self._host = host
        self._disk = disk

    def start(self) -> None:
        """No thread to start."""

    def stop(self) -> None:
        """… nor to stop."""

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        return soon(self._host, self._disk.wait_s(), work)


def soon(host: Host, wait_s: float, work: Callable[[], T]) -> Deferred[T]:
    """What ``work()`` comes to, a moment later, with another moment before it is heard of."""
    done: Deferred[T] = Deferred()

    def run() -> None:
        outcome: Deferred[T]
        try:
            outcome = succeed(work())
        except Exception:  # whoever asked hears of it
            outcome = fail(Failure())
        host.callLater(wait_s / 2, outcome.addBoth, done.callback)

    host.callLater(wait_s, run)
    return done
