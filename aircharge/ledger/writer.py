"""The ledger as the rest of the house sees it: ``do`` a command, ``read`` a consistent picture.

Commands of all doors gather while a batch is at the disk; the next batch takes what waits, so that one fsync serves
many. The writer has a thread of its own and wakes the reactor once per batch.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from aircharge.errors import LedgerError, Reason, Refusal
from aircharge.ledger.chores import Chores
from aircharge.ledger.commands import Command, Inquire, NoticeRow, Offence, OpenRecharge, Result
from aircharge.ledger.returning import ReverseTransfer
from aircharge.ledger.store import BrokenLedger, Outcome, Store
from aircharge.ledger.tickets import AskTicket
from aircharge.ledger.transferring import MoveCommission, Transfer

__all__ = ["InlineLedger", "Ledger", "WriterSettings"]

log = Logger()

T = TypeVar("T")
Notices = Callable[[list[NoticeRow]], Any]
Broken = Callable[[Failure], Any]
_Waiting = tuple[Command, "Deferred[Result]"]


_SHEDDABLE: Final = (OpenRecharge, Inquire, Offence, Transfer, ReverseTransfer, MoveCommission, AskTicket)
"""New work: what may be refused when too much waits."""


@dataclass(frozen=True, slots=True)
class WriterSettings:
    """How commands are gathered."""

    batch_max: int = 256  # commands in one commit
    queue_max: int = 20_000  # commands that wait; more are refused as busy
    linger_ms: int = 2  # wait this long for company when a batch has room (0: take what is there) …
    linger_from: int = 8  # … but only after a batch of so many: a lone command never waits
    readers_max: int = 2  # threads for reads, each with its own connection
    commit_slow_ms: int = 5_000  # a commit that takes longer is reported; it is never cut short
    probe_ms: int = (
        1_000  # how often commits are looked at, and a database that does not answer is tried again
    )


class Ledger:
    """A store with its writer thread."""

    def __init__(self, store: Store, reactor: Any, settings: WriterSettings | None = None) -> None:
        self._store = store
        self._reactor = reactor
        self._settings = settings or WriterSettings()
        self._waiting: deque[_Waiting] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._last_size = 0
        self._broken: LedgerError | None = None
        self._trouble = ""
        self._watched = threading.Event()
        self.slow_commits = 0
        self._watcher = threading.Thread(target=self._watch, name="ledger-watch", daemon=True)
        self._thread = threading.Thread(target=self._write, name="ledger", daemon=True)
        self._readers = ThreadPool(0, self._settings.readers_max, name="ledger-read")
        self._chores = Chores(store.engine, reactor)
        self._stopped: Deferred[None] = Deferred()
        self._notice_listeners: list[Notices] = []
        self._broken_listeners: list[Broken] = []

    # -- in the reactor's thread --------------------------------------------------------------------------

    def start(self) -> None:
        self._readers.start()
        self._thread.start()
        self._watcher.start()

    @property
    def waiting(self) -> int:
        """Commands that wait for the writer."""
        return len(self._waiting)

    @property
    def trouble(self) -> str:
        """Why the database cannot be written to now; empty when it can."""
        seconds = self._store.committing_s()
        if seconds * 1000 > self._settings.commit_slow_ms:
            return f"a commit has taken {seconds:.0f} s so far"
        return self._trouble

    def on_notices(self, listener: Notices) -> None:
        """Who hears, in the reactor's thread, of notices once they are durable."""
        self._notice_listeners.append(listener)

    def on_broken(self, listener: Broken) -> None:
        """Who hears that nothing more will be written."""
        self._broken_listeners.append(listener)

    def do(self, command: Command) -> Deferred[Result]:
        """Resolves to the command's result when it is durable.

        Fails with LedgerError when it is not, or when the commit's fate is unknown. Raises Refusal(BUSY) at once
        when too many wait; what ends open work (answers, doubts, outcomes of notices) is never refused.
        """
        done: Deferred[Result] = Deferred()
        with self._wake:
            if self._broken is not None or self._stopping:
                return fail(self._broken or LedgerError("the ledger is closed"))
            if len(self._waiting) >= self._settings.queue_max and isinstance(command, _SHEDDABLE):
                raise Refusal(Reason.BUSY, "the ledger's queue is full")
            self._waiting.append((command, done))
            self._wake.notify()
        return done

    def read(self, reader: Callable[[Connection], T]) -> Deferred[T]:
        """Run ``reader`` over one consistent picture, in a reading thread. Fails with LedgerError."""

        def run() -> T:
            try:
                with self._store.engine.connect() as txn:
                    return reader(txn)
            except DBAPIError as error:
                raise LedgerError(f"reading failed: {error.orig}") from error

        result: Deferred[T] = deferToThreadPool(self._reactor, self._readers, run)
        return result

    def chore(self, work: Callable[[Engine], T]) -> Deferred[T]:
        """Run ``work(engine)``, which makes transactions of its own, after the chores before it."""
        return self._chores.do(work)

    def stop(self) -> Deferred[None]:
        """Write what waits, then end the threads."""
        self._chores.stop()
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if not self._thread.is_alive():
            self._end()
        return self._stopped

    def _end(self) -> None:
        if not self._stopped.called:
            self._watched.set()
            self._readers.stop()
            self._store.engine.dispose()
            self._stopped.callback(None)

    def _deliver(self, batch: list[_Waiting], outcome: Outcome) -> None:
        if outcome.notices:
            for listener in self._notice_listeners:
                try:
                    listener(outcome.notices)
                except Exception:  # whoever listens must not keep results from those who wait
                    log.failure("a listener to notices failed")
        for (_, done), result in zip(batch, outcome.results, strict=True):
            if isinstance(result, LedgerError):
                done.errback(result)
            else:
                done.callback(result)

    def _refuse(self, batch: list[_Waiting], failure: Failure) -> None:
        for _, done in batch:
            done.errback(failure)

    def _break(self, batch: list[_Waiting], failure: Failure) -> None:
        self._refuse(batch, failure)
        for listener in self._broken_listeners:
            listener(failure)

    def _report_slow(self, seconds: float) -> None:
        self.slow_commits += 1
        log.error(
            "a commit has taken {seconds:.1f} s so far: is a standby missing? It is waited for",
            seconds=seconds,
        )

    # -- in the watcher's thread --------------------------------------------------------------------------

    def _watch(self) -> None:
        """Report a commit that takes too long, once. To cut it short would make its fate unknown."""
        is_reported = False
        while not self._watched.wait(self._settings.probe_ms / 1000):
            seconds = self._store.committing_s()
            is_slow = seconds * 1000 > self._settings.commit_slow_ms
            if is_slow and not is_reported:
                self._reactor.callFromThread(self._report_slow, seconds)
            is_reported = is_slow

    # -- in the writer's thread ---------------------------------------------------------------------------

    def _write(self) -> None:
        while batch := self._next_batch():
            if not self._carry_out(batch):
                break
        self._reactor.callFromThread(self._end_after_thread)

    def _carry_out(self, batch: list[_Waiting]) -> bool:
        """One commit; what came of it goes to the reactor's thread. False: nothing more may be written."""
        try:
            outcome = self._store.run_batch([command for command, _ in batch])
        except BrokenLedger as error:
            if not isinstance(
                error.__cause__, DBAPIError
            ):  # no sick disk: what was under way breaks the books
                self._store.note_deaths()
            self._give_up(batch, error)
            return False
        except LedgerError as error:
            self._trouble = str(error)
            self._reactor.callFromThread(self._refuse, batch, Failure())
        except Exception as error:  # a bug in the book: nothing was written, and nothing more will be
            broken = BrokenLedger(f"{type(error).__name__}: {error}")
            broken.__cause__ = error
            self._give_up(batch, broken)
            return False
        else:
            self._trouble = ""
            self._reactor.callFromThread(self._deliver, batch, outcome)
        return True

    def _next_batch(self) -> list[_Waiting]:
        """What waits, at most ``batch_max``; empty when it is time to end."""
        size_max = self._settings.batch_max
        with self._wake:
            while not self._waiting and not self._stopping:
                if not self._wake.wait(self._settings.probe_ms / 1000 if self._trouble else None):
                    self._probe()
            is_busy = self._last_size >= self._settings.linger_from
            if is_busy and self._settings.linger_ms and len(self._waiting) < size_max and not self._stopping:
                self._wake.wait_for(
                    lambda: len(self._waiting) >= size_max or self._stopping, self._settings.linger_ms / 1000
                )
            self._last_size = min(size_max, len(self._waiting))
            return [self._waiting.popleft() for _ in range(self._last_size)]

    def _probe(self) -> None:
        """After trouble, and with nothing to do: find out by ourselves when the database is back."""
        self._wake.release()  # commands may come meanwhile
        try:
            self._store.ping()
            self._trouble = ""
        except LedgerError as error:
            self._trouble = str(error)
        finally:
            self._wake.acquire()

    def _give_up(self, batch: list[_Waiting], error: LedgerError) -> None:
        with self._wake:
            self._broken = error
            batch = batch + list(self._waiting)
            self._waiting.clear()
        self._reactor.callFromThread(self._break, batch, Failure(error))

    def _end_after_thread(self) -> None:
        self._thread.join()
        if self._stopping:
            self._end()


class InlineLedger:
    """The same face without threads: each command is its own batch, done when ``do`` returns."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._notice_listeners: list[Notices] = []
        self._broken_listeners: list[Broken] = []

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> Deferred[None]:
        return succeed(None)

    def on_notices(self, listener: Notices) -> None:
        self._notice_listeners.append(listener)

    def on_broken(self, listener: Broken) -> None:
        self._broken_listeners.append(listener)

    def do(self, command: Command) -> Deferred[Result]:
        try:
            outcome = self._store.run_batch([command])
        except BrokenLedger as error:
            for broken in self._broken_listeners:
                broken(Failure(error))
            return fail(error)
        except LedgerError as error:
            return fail(error)
        for listener in self._notice_listeners:
            if outcome.notices:
                listener(outcome.notices)
        [result] = outcome.results
        return fail(result) if isinstance(result, LedgerError) else succeed(result)

    def read(self, reader: Callable[[Connection], T]) -> Deferred[T]:
        try:
            with self._store.engine.connect() as txn:
                return succeed(reader(txn))
        except DBAPIError as error:
            return fail(LedgerError(f"reading failed: {error.orig}"))

    def chore(self, work: Callable[[Engine], T]) -> Deferred[T]:
        try:
            return succeed(work(self._store.engine))
        except DBAPIError as error:
            return fail(LedgerError(f"{error.orig}"))
