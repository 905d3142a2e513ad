"""A ledger port upon real books: what the daemon's clockwork is given, every answer at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine
from twisted.internet.defer import Deferred, maybeDeferred

from tests.ledger.desk import Books


class BooksPort:
    """``switch.board.ChoresPort``; ``failure`` is what the next command, look or chore meets."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.failure: Exception | None = None
        self.commands: list[Any] = []

    def do(self, command: Any) -> Deferred[Any]:
        self.commands.append(command)
        return self._now(lambda: self.books.do(command))

    def read(self, reader: Callable[[Connection], Any]) -> Deferred[Any]:
        def look() -> Any:
            with self.books.engine.connect() as txn:
                return reader(txn)

        return self._now(look)

    def chore(self, work: Callable[[Engine], Any]) -> Deferred[Any]:
        return self._now(lambda: work(self.books.engine))

    def _now(self, work: Callable[[], Any]) -> Deferred[Any]:
        failure, self.failure = self.failure, None
        if failure is not None:
            return maybeDeferred(_raise, failure)
        return maybeDeferred(work)


def _raise(failure: Exception) -> None:
    raise failure


class InlineWorker:
    """``ports.Worker`` without a thread."""

    def __init__(self) -> None:
        self.runs = False

    def start(self) -> None:
        self.runs = True

    def stop(self) -> None:
        self.runs = False

    def run(self, work: Callable[[], Any]) -> Deferred[Any]:
        assert self.runs, "not started"
        return maybeDeferred(work)
