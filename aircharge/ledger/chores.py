"""Long work beside the book in a thread of its own: verify, closing a day, sealing. One piece of work at a time.

The thread is nobody's to wait for: it ends with the process, whose transactions then come to nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from aircharge.errors import LedgerError

__all__ = ["Chores"]

T = TypeVar("T")
_Work = tuple[Callable[[Engine], Any], "Deferred[Any]"]


class Chores:
    """Work that takes the engine and makes transactions of its own."""

    def __init__(self, engine: Engine, reactor: Any) -> None:
        self._engine = engine
        self._reactor = reactor
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_over = False

    def do(self, work: Callable[[Engine], T]) -> Deferred[T]:
        """Resolves to what ``work(engine)`` returns. Fails with LedgerError for whatever the database says."""
        if self._is_over:
            return fail(LedgerError("the ledger is closed"))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ledger-chores", daemon=True)
            self._thread.start()
        done: Deferred[T] = Deferred()
        self._queue.put((work, done))
        return done

    def stop(self) -> None:
        """Begin nothing more; what is under way is not waited for."""
        self._is_over = True
        self._queue.put(None)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._is_over:
                continue
            work, done = item
            try:
                result = work(self._engine)
            except DBAPIError as error:
                wrapped = LedgerError(f"{error.orig}")
                wrapped.__cause__ = error
                self._reactor.callFromThread(done.errback, Failure(wrapped))
            except Exception:  # whoever asked for it must hear of it
                self._reactor.callFromThread(done.errback, Failure())
            else:
                self._reactor.callFromThread(done.callback, result)
