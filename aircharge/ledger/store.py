"""Runs batches of commands in one transaction each: load, decide, save, commit.

Every error of a commit is "unknown" until the key is read again; every error before it has left nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, Engine, RootTransaction, func, insert, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from twisted.logger import Logger

from aircharge.errors import CommandFailed, LedgerError
from aircharge.ledger.book import Book
from aircharge.ledger.chart import KIND_STOCK, NORMAL_SIDE
from aircharge.ledger.clocks import ClockGuard
from aircharge.ledger.commands import Command, NoticeRow, Result
from aircharge.ledger.dialect import dialect_of, open_engine
from aircharge.ledger.failing import failure_of
from aircharge.ledger.ids import IdSeries
from aircharge.ledger.loading import Loader
from aircharge.ledger.migrate import check_schema
from aircharge.ledger.page import BrokenLedger
from aircharge.ledger.saving import RowsChanged, Saver
from aircharge.ledger.suspects import DEATHS_MAX, forget_txn, identity_of, note_deaths_txn, suspects_of
from aircharge.ledger.tables import metadata
from aircharge.ledger.tenure import Tenure
from aircharge.ports import Clock

__all__ = ["BrokenLedger", "Outcome", "Store", "check_schema", "open_engine"]

log = Logger()

_ITS_OWN: Final = (IntegrityError, DataError)
"""Errors that one command of a batch may have brought upon all of it."""


@dataclass(slots=True)
class Outcome:
    """One result per command (or the error it met), and the notices that are durable now."""

    results: list[Result | LedgerError]
    notices: list[NoticeRow] = field(default_factory=list)


_LOOK_MS: Final = 3_600_000
"""How often suspects are read anew while there are any: they are tried again after two days."""
_HASTY_MS: Final = 50
"""How long a command waits for a row of which the batch has waited in vain already."""


class SetAside(Exception):
    """A command that has ended the process twice."""


class Store:
    """A book kept in a database. One thread writes; readers use connections of their own."""

    def __init__(
        self,
        engine: Engine,
        book: Book,
        clock: Clock,
        node: int,
        *,
        own_time: bool = False,
        lock_ms: int = 0,
        leap_ms: int = 0,
    ) -> None:
        """``own_time``: go by ``clock`` even where the database has one that all daemons share.

        ``lock_ms``: how long a transaction waits for a row that another process holds; 0 = for ever.
        ``leap_ms``: by how much the ledger's time may leap (``clocks.ClockGuard``); 0 = by any.
        """
        self.guard = ClockGuard(clock, leap_ms)
        self.engine = engine
        self._writing = engine.execution_options(immediate=True, lock_ms=lock_ms)
        self._hasty = engine.execution_options(immediate=True, lock_ms=min(lock_ms, _HASTY_MS))
        self._book = book
        self._clock = clock
        self._node = node
        self.tenure: Tenure | None = None  # the lease a daemon writes under; a desk has none
        self._ids: IdSeries | None = None
        self._batch_ms = 0
        self._dialect = dialect = dialect_of(engine)
        self._own_time = own_time
        self._loader = Loader(dialect, book.settings)
        self._saver = Saver(dialect, book.settings)
        self._suspects: dict[str, int] | None = None
        self._look_ms = 0
        self._aside: set[str] = set()
        self._under_way: Sequence[Command] = ()
        self._commit_began_s: float | None = None
        self._is_committing = (
            False  # or has been when the last batch ended: its fate is not known for certain
        )

    def run(self, commands: Sequence[Command]) -> list[Result]:
        """Results in order. Raises LedgerError if any command met one."""
        results: list[Result] = []
        for result in self.run_batch(commands).results:
            if isinstance(result, LedgerError):
                raise result
            results.append(result)
        return results

    def run_batch(self, commands: Sequence[Command]) -> Outcome:
        """As ``_together``; what was under way when a broken invariant ended the process is carried out alone, and
        refused (CommandFailed) once it has done so twice.
        """
        now_ms = self._clock.now_ms()
        if self._suspects is None or (self._suspects and now_ms >= self._look_ms):
            self._look_ms = now_ms + _LOOK_MS
            try:
                with self.engine.connect() as txn:
                    self._suspects = suspects_of(txn, now_ms)
            except DBAPIError as error:
                raise self._error(error, "nothing was written") from error
        return self._with_care(commands) if self._suspects else self._together(commands)

    def _with_care(self, commands: Sequence[Command]) -> Outcome:
        assert self._suspects is not None
        names = [identity_of(command) for command in commands]
        others = [index for index, name in enumerate(names) if name not in self._suspects]
        found: dict[int, Result | LedgerError] = {}
        notices: list[NoticeRow] = []
        if others:
            outcome = self._together([commands[index] for index in others])
            found |= dict(zip(others, outcome.results, strict=True))
            notices += outcome.notices
        for index, name in enumerate(names):
            if index in found:
                continue
            if self._suspects.get(name, 0) >= DEATHS_MAX:
                found[index] = self._set_aside(name, commands[index], notices)
                continue
            outcome = self._together([commands[index]])
            found[index] = outcome.results[0]
            notices += outcome.notices
            self._clear(name)
        return Outcome([found[index] for index in range(len(commands))], notices)

    def _clear(self, name: str) -> None:
        """It was carried out; if that cannot be written now, it is alone the next time as well."""
        try:
            with self.writing() as txn:
                forget_txn(txn, name)
        except (DBAPIError, LedgerError):
            return
        assert self._suspects is not None
        self._suspects.pop(name, None)

    def _set_aside(self, name: str, command: Command, notices: list[NoticeRow]) -> CommandFailed:
        """Said once in the life of a process: to the log, to people, to whoever asked."""
        if name not in self._aside:
            self._aside.add(name)
            words = "ALARM: {command} has ended the process twice: it is set aside"
            log.critical(words, command=type(command).__name__)
            return self._refused(command, SetAside(type(command).__name__), notices)
        return CommandFailed(f"{type(command).__name__}: set aside")

    def note_deaths(self) -> None:
        """A broken invariant ends the process: write down what was under way, where anything can be written."""
        try:
            with self.writing() as txn:
                note_deaths_txn(txn, self._under_way, self._clock.now_ms())
        except (DBAPIError, LedgerError) as error:
            log.error("what was under way is not written down: {why}", why=type(error).__name__)

    def _together(self, commands: Sequence[Command]) -> Outcome:
        """One transaction. A command that breaks a constraint, or meets an exception of ours, is found by running the
        batch one by one: it alone is refused (CommandFailed among the results).

        Raises LedgerError when the batch came to nothing or its commit's fate is unknown, BrokenLedger when
        nothing more may be written.
        """
        self._under_way = commands
        try:
            return self._persist(commands)
        except _ITS_OWN:
            return self._one_by_one(commands)
        except DBAPIError as error:
            if self._dialect.is_locked(error):
                return self._around_the_locked(commands)
            raise self._error(error, "nothing was written") from error
        except LedgerError:
            raise
        except Exception:  # a bug that some command has met: before the commit, so nothing was written
            if self._is_committing:
                raise
            return self._one_by_one(commands)

    def _around_the_locked(self, commands: Sequence[Command]) -> Outcome:
        """Somebody has held a row for long: only those that want it fail (LedgerError), and soon."""
        patient, self._writing = self._writing, self._hasty
        try:
            return self._one_by_one(commands)
        finally:
            self._writing = patient

    def _one_by_one(self, commands: Sequence[Command]) -> Outcome:
        """Where several daemons write, a key that clashes may be known by now: then its answer is a stored one."""
        total = Outcome([])
        for command in commands:
            self._under_way = [command]
            try:
                outcome = self._persist([command], _ITS_OWN)
            except _ITS_OWN as error:
                total.results.append(LedgerError(f"refused by the database: {error.orig}"))
            except DBAPIError as error:
                total.results.append(self._error(error, "nothing was written"))
            except LedgerError:
                raise
            except Exception as error:  # a bug that this command meets: it alone is refused
                if self._is_committing:
                    raise
                total.results.append(self._failed(command, error, total.notices))
            else:
                total.results += outcome.results
                total.notices += outcome.notices
        return total

    def _failed(self, command: Command, error: Exception, notices: list[NoticeRow]) -> CommandFailed:
        """One command's exception refuses that command. Its outlet and people are told, where that can be written."""
        log.failure("{command} is refused: an exception of ours", command=type(command).__name__)
        return self._refused(command, error, notices)

    def _refused(self, command: Command, error: Exception, notices: list[NoticeRow]) -> CommandFailed:
        """Written down, and told to whoever asked."""
        try:
            notices += self._persist([failure_of(command, error)]).notices
        except (DBAPIError, LedgerError) as second:
            log.error("the alarm of it is not written: {why}", why=type(second).__name__)
        return CommandFailed(f"{type(command).__name__}: {type(error).__name__}")

    def _persist(self, commands: Sequence[Command], again: tuple[type[Exception], ...] = ()) -> Outcome:
        """Transact, and once more while nothing but the work of others was in the way: ``attempts`` at most."""
        dialect = self._dialect
        for _ in range(dialect.attempts - 1):
            try:
                return self._transact(commands)
            except (DBAPIError, RowsChanged) as error:
                if not isinstance(error, (RowsChanged, *again)) and not dialect.is_passing(error):
                    raise
        return self._transact(commands)

    def _transact(self, commands: Sequence[Command]) -> Outcome:
        """Once; and where batches share the open days, again and alone when a day has ended meanwhile."""
        outcome = self._attempt(commands) or self._attempt(commands, alone=True)
        assert outcome is not None, "a batch that is alone is always carried out"
        return outcome

    def _attempt(self, commands: Sequence[Command], *, alone: bool = False) -> Outcome | None:
        """None: nothing was done, an accounting day is to be cut, which takes a batch that is alone."""
        dialect = self._dialect
        dialect.settle(self._writing)
        self._is_committing = False
        with self._writing.connect() as txn:
            begun = txn.begin()
            needs = self._book.needs(commands)
            needs.alone |= alone
            dialect.lock(txn, needs)
            dialect.enter(txn, self.tenure, alone=needs.alone)
            now_ms = self._clock.now_ms() if self._own_time else dialect.now_ms(txn, self._clock)
            self.guard.check(txn, now_ms)
            rows = self._loader.load(txn, needs, now_ms)
            if dialect.is_shared and not needs.alone and self._book.is_day_over(rows.days, now_ms):
                begun.rollback()
                return None
            rows.node, rows.epoch = self._node, self.tenure.epoch if self.tenure else 0
            decision = self._book.apply(commands, rows, now_ms, self._series(txn, now_ms, rows.sealed_jid))
            self._saver.save(txn, decision.changes, now_ms)
            self._commit(txn, begun)
        return Outcome(list(decision.results), decision.changes.notices)

    def _commit(self, txn: Connection, begun: RootTransaction) -> None:
        self._commit_began_s, self._is_committing = self._clock.monotonic_s(), True
        try:
            self._dialect.commit(txn, begun)
        except DBAPIError as error:
            if self._dialect.is_passing(error) and not error.connection_invalidated:
                raise  # the database says that it was rolled back
            raise self._error(error, "the commit's fate is unknown: ask again by key") from error
        finally:
            self._commit_began_s = None

    def committing_s(self) -> float:
        """How long the commit under way has taken so far; 0 when there is none. From any thread."""
        began_s = self._commit_began_s
        return 0.0 if began_s is None else self._clock.monotonic_s() - began_s

    def ping(self) -> None:
        """Raises LedgerError when nothing can be written now."""
        try:
            with self.writing():
                pass
        except DBAPIError as error:
            raise self._error(error, "nothing was written") from error

    def _error(self, error: DBAPIError, fate: str) -> LedgerError:
        family = BrokenLedger if self._dialect.is_broken(error) else LedgerError
        return family(f"{error.orig}: {fate}")

    def _series(self, txn: Connection, now_ms: int, sealed_jid: int) -> IdSeries:
        """Ids of the batch's time, by the clock all daemons share, above every one this writer found at its start.

        None lies below a row that is sealed, even if the clock has stepped back.
        """
        self._batch_ms = now_ms
        if self._ids is None:
            columns = [
                metadata.tables[table].c[name]
                for table, name in (("txn", "id"), ("journal", "jid"), ("outbox", "id"))
            ]
            highest = max(int(txn.execute(select(func.max(column))).scalar() or 0) for column in columns)
            self._ids = IdSeries(self._node, lambda: self._batch_ms, after=highest)
        if sealed_jid:
            self._ids.above(sealed_jid)
        return self._ids

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction of one's own (registry, requests): committed at the end, rolled back on an error."""
        self._dialect.settle(self._writing)
        with self._writing.connect() as txn:
            begun = txn.begin()
            yield txn
            self._commit(txn, begun)

    def ensure_operators(self, operators: Mapping[int, str]) -> None:
        """A stock account for each operator: {1..99: name}. Does nothing for those that have one."""
        account = metadata.tables["account"]
        with self.writing() as txn:
            known = set(txn.execute(select(account.c.id).where(account.c.kind == KIND_STOCK)).scalars())
            for number in sorted(operators.keys() - known):
                if not 1 <= number <= 99:
                    raise LedgerError(f"operator {number}: stock accounts are 1..99")
                values = {
                    "id": number,
                    "kind": KIND_STOCK,
                    "owner_id": number,
                    "normal_side": NORMAL_SIDE[KIND_STOCK],
                }
                txn.execute(insert(account).values(**values, created_ms=self._clock.now_ms()))
