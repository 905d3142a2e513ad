"""From the durable outbox to the SMS centre: every notice at least once, until it expires.

Fresh notices come straight from the commit that made them; a slow poll finds the rest (after a restart, or when
their time to be retried has come). What became of them goes back to the ledger in batches. Trouble with SMS never
touches money: nothing here writes anything but the outbox.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from aircharge.errors import Elsewhere, LedgerError, LinkError, Refusal, Unsendable
from aircharge.ledger.commands import NoticeRow, NoticesDone
from aircharge.ledger.reading import left_notices, unsent_notices
from aircharge.ports import Clock, Notice, Sink
from aircharge.switch.board import LedgerPort

__all__ = ["NoticeRelay", "RelaySettings"]

log = Logger()

_DELAY_MAX_MS: Final = 30_000
"""Under load, what belongs to no order (answers to questions, help texts) waits so long at most."""


_OWN_TRIES: Final = 6
"""So often its own SMS centre is asked to take a notice; after that any may (by default after two minutes)."""


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """How notices are sent."""

    concurrency_max: int = 200  # notices handed to the SMS centre and not yet answered
    queue_max: int = 20_000  # fresh notices kept in memory; what does not fit is found by the poll
    poll_s: float = 2.0
    flush_s: float = 0.02  # outcomes are written together after this time
    retry_first_s: float = 2.0
    retry_factor: float = 2.0
    retry_max_s: float = 600.0

    def wait_ms(self, attempts: int) -> int:
        return int(min(self.retry_first_s * self.retry_factor ** min(attempts, 40), self.retry_max_s) * 1000)


class NoticeRelay:
    """Takes notices out of the outbox and hands them to the sink."""

    def __init__(
        self,
        ledger: LedgerPort,
        sink: Sink,
        word: Callable[[NoticeRow], str],
        clock: Clock,
        reactor: IReactorTime,
        settings: RelaySettings,
        *,
        node: int | None = None,
        orphans: Callable[[int, Collection[str]], Awaitable[list[NoticeRow]]] | None = None,
    ) -> None:
        """Where several daemons share an outbox: ``node``'s own notices are looked for, and ``orphans(limit,
        centres)``, those of nobody alive and those left to whoever has their SMS centre."""
        self._node = node
        self._orphans = orphans
        self._ledger = ledger
        self._sink = sink
        self._word = word
        self._clock = clock
        self._reactor = reactor
        self._settings = settings
        self.is_busy: Callable[[], bool] = lambda: False  # what can wait is to wait
        self._queue: deque[NoticeRow] = deque()
        self._patient: deque[NoticeRow] = deque()  # what can wait, and does
        self._known: set[int] = set()  # queued, under way, or their outcome not yet seen by a poll
        self._written: set[int] = set()  # outcome written: the next poll to begin cannot find them any more
        self._under_way = 0
        self._sent: list[int] = []
        self._retry: list[tuple[int, int]] = []
        self._left: list[tuple[int, int]] = []
        self._expired: list[int] = []
        self._flush_due = False
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._poll()))
        self._loop.clock = reactor
        self.delivered = 0
        self.given_up = 0  # notices that no SMS centre will ever take

    def start(self) -> None:
        self._loop.start(self._settings.poll_s, now=True).addErrback(
            lambda failure: log.failure("the outbox poll stopped", failure=failure)
        )

    async def stop(self) -> None:
        """Start nothing more and write down what is known; the rest is found after the next start."""
        if self._loop.running:
            self._loop.stop()
        self._queue.clear()
        self._patient.clear()
        await self._flush()

    @property
    def waiting(self) -> int:
        """Notices queued or under way in this process."""
        return self._queued + self._under_way

    @property
    def _queued(self) -> int:
        return len(self._queue) + len(self._patient)

    def take(self, notices: Iterable[NoticeRow]) -> None:
        """Notices fresh from a commit, or found by the poll. Known ones are passed over."""
        for notice in notices:
            if notice.notice_id in self._known or self._queued >= self._settings.queue_max:
                continue
            self._known.add(notice.notice_id)
            self._queue.append(notice)
        self._pump()

    def _pump(self) -> None:
        while self._under_way < self._settings.concurrency_max and self._sink.ready():
            row = self._next()
            if row is None:
                return
            self._under_way += 1
            Deferred.fromCoroutine(self._send(row))

    def _next(self) -> NoticeRow | None:
        """What is to be sent next: under load not what can wait, unless it has waited long enough."""
        while self._queue:
            row = self._queue.popleft()
            if row.order_id or self._is_due(row):
                return row
            self._patient.append(row)
        return self._patient.popleft() if self._patient and self._is_due(self._patient[0]) else None

    def _is_due(self, row: NoticeRow) -> bool:
        return not self.is_busy() or self._clock.now_ms() - row.created_ms >= _DELAY_MAX_MS

    async def _send(self, row: NoticeRow) -> None:
        try:
            if row.expires_ms <= self._clock.now_ms():
                self._expired.append(row.notice_id)
                return
            waits = not row.is_left and row.attempts < _OWN_TRIES
            text = self._word(row)
            await self._sink.send(Notice(row.notice_id, row.recipient, row.sender, text, row.centre, waits))
            self._sent.append(row.notice_id)
            self.delivered += 1
        except Unsendable:  # logged by who knows why
            self._expired.append(row.notice_id)
            self.given_up += 1
        except Elsewhere as away:
            self._left.append((row.notice_id, self._clock.now_ms() + int(away.wait_s * 1000)))
        except LinkError:
            self._again(row)
        except Exception:  # one bad notice must not stop the others, and it stays in the outbox
            log.failure("notice {notice} ({topic}) could not be sent", notice=row.notice_id, topic=row.topic)
            self._again(row)
        finally:
            self._under_way -= 1
            self._flush_soon()
            self._pump()

    def _again(self, row: NoticeRow) -> None:
        self._retry.append((row.notice_id, self._clock.now_ms() + self._settings.wait_ms(row.attempts)))

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            call_later: Any = self._reactor.callLater
            call_later(self._settings.flush_s, lambda: Deferred.fromCoroutine(self._flush()))

    async def _flush(self) -> None:
        self._flush_due = False
        done = NoticesDone(tuple(self._sent), tuple(self._retry), tuple(self._expired), tuple(self._left))
        if not (done.sent or done.retry or done.expired or done.left):
            return
        self._sent, self._retry, self._expired, self._left = [], [], [], []
        try:
            await self._ledger.do(done)
        except (LedgerError, Refusal) as error:
            log.error(
                "outcomes of {count} notices are not written ({sent} of them sent: these go out again): {why}",
                count=len(done.sent) + len(done.retry) + len(done.expired) + len(done.left),
                sent=len(done.sent),
                why=str(error),
            )
        finally:
            self._written.update(done.sent, (notice for notice, _ in (*done.retry, *done.left)), done.expired)

    async def _poll(self) -> None:
        room = self._settings.queue_max - self._queued
        if room <= 0 or not self._sink.ready():
            return
        now_ms = self._clock.now_ms()
        written, self._written = self._written, set()
        try:
            limit = min(room, 1000)
            self.take(await self._ledger.read(lambda txn: unsent_notices(txn, now_ms, limit, of=self._node)))
            centres = self._sink.centres()
            if self._orphans is not None:
                self.take(await self._orphans(limit, centres))
            else:
                self.take(await self._ledger.read(lambda txn: left_notices(txn, centres, limit)))
        except Exception:  # whatever one poll meets, the next one comes
            log.failure("the outbox could not be read; the next poll tries again")
        # Forgotten only now: a poll that had begun before they were written may still have found them unsent.
        self._known -= written
