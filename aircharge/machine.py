"""What a daemon stands on: clocks, chance, threads, its place in the process table.

The default is this process on this machine. ``aircharge.world`` has a simulated one; nothing else of the daemon knows.
"""

from __future__ import annotations

import gc
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Engine
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from aircharge.config import Config
from aircharge.descriptors import raise_limit
from aircharge.ledger.book import Book
from aircharge.ledger.lock_proof import prove_lock
from aircharge.ledger.store import Store, open_engine
from aircharge.ledger.writer import Ledger, WriterSettings
from aircharge.observe.aside import finish_logs
from aircharge.ports import Clock, Randomness, Worker
from aircharge.process import is_running, this_process
from aircharge.signals import listen_to_signals

__all__ = ["Machine", "SystemClock", "SystemRandomness", "ThreadWorker", "open_store"]

T = TypeVar("T")


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()


class SystemRandomness:
    """The machine's source of unpredictable octets."""

    def token(self, length: int) -> bytes:
        return secrets.token_bytes(length)


class ThreadWorker:
    """``ports.Worker``: one thread of its own."""

    def __init__(self, name: str, reactor: Any) -> None:
        self._reactor = reactor
        self._threads = ThreadPool(0, 1, name=name)

    def start(self) -> None:
        self._threads.start()

    def stop(self) -> None:
        if self._threads.started:
            self._threads.stop()

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        result: Deferred[T] = deferToThreadPool(self._reactor, self._threads, work)
        return result


def open_store(config: Config, clock: Clock, node: int) -> Store:
    """The book of a configuration, for the daemon and for the clerks' desk.

    How long one stuck process keeps the others is bounded by the lease: after ``ttl_s`` the server takes its locks,
    and a batch waits a sixth of that for a row before it goes on without the command that wants it.
    """
    pins, ttl_s = config.pin_hash(), config.lease.ttl_s
    engine = open_engine(config.database_url(), stuck_s=ttl_s)
    book = Book(config.ledger.book, pins.mac)
    lock_ms = int(ttl_s * 1000 / 6)
    return Store(engine, book, clock, node, lock_ms=lock_ms, leap_ms=config.ledger.leap_ms)


def _leave(code: int) -> None:
    """End at once, once the log is written as far as it can be in a moment."""
    finish_logs()
    os._exit(code)


def _settle() -> None:
    """What was built stays: the collector need not look through it again, nor look so often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@dataclass(frozen=True, slots=True)
class Machine:
    """``open_store(config, clock, node)``, ``open_ledger(store, reactor, settings)``, ``worker(name, reactor)``;
    ``name`` and ``is_running`` as in ``process``; ``settle`` is called once the doors are open, ``leave(code)`` ends
    the process at once; ``prove_lock(engine)`` as in ``ledger.lock_proof``, ``listen_to_signals(reactor, leave)`` as in
    ``signals``, ``raise_limit(wanted)`` as in ``descriptors``."""

    clock: Clock = field(default_factory=SystemClock)
    chance: Randomness = field(default_factory=SystemRandomness)
    open_store: Callable[[Config, Clock, int], Store] = open_store
    open_ledger: Callable[[Store, Any, WriterSettings], Ledger] = Ledger
    worker: Callable[[str, Any], Worker] = ThreadWorker
    name: Callable[[], str] = this_process
    is_running: Callable[[str], bool] = is_running
    settle: Callable[[], None] = _settle
    prove_lock: Callable[[Engine], None] = prove_lock
    listen_to_signals: Callable[[Any, Callable[[int], Any]], None] = listen_to_signals
    raise_limit: Callable[[int], int] = raise_limit
    leave: Callable[[int], Any] = _leave
