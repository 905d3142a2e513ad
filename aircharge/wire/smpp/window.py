"""Our requests that wait for the peer: so many unanswered, a bounded queue behind (SMPP 3.4 §2.9).

A value fed ``now`` (monotonic seconds); it knows no clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["SEQUENCE_MAX", "Outstanding", "Window"]

SEQUENCE_MAX: Final = 0x7FFFFFFF


@dataclass(slots=True)
class Outstanding:
    """One request of ours: what was asked, who waits, until when, and its bytes while still in the queue."""

    sequence: int
    command: int
    token: Any
    deadline: float
    frame: bytes | None  # None once written


class Window:
    """Up to ``window_max`` requests on the wire and ``queue_max`` behind them, in order of asking."""

    __slots__ = ("_queue", "_queue_max", "_sequence", "_unanswered", "_window_max")

    def __init__(self, window_max: int, queue_max: int) -> None:
        self._window_max = window_max
        self._queue_max = queue_max
        self._sequence = 0
        self._unanswered: dict[int, Outstanding] = {}
        self._queue: deque[Outstanding] = deque()

    def resize(self, window_max: int, queue_max: int) -> None:
        """New limits once the peer is known; what is already out stays out."""
        self._window_max = window_max
        self._queue_max = queue_max

    @property
    def unanswered(self) -> int:
        return len(self._unanswered)

    @property
    def queued(self) -> int:
        return len(self._queue)

    @property
    def is_open(self) -> bool:
        """Whether a request asked now would be written now."""
        return len(self._unanswered) < self._window_max and not self._queue

    @property
    def is_full(self) -> bool:
        """Whether a request asked now would be refused."""
        return not self.is_open and len(self._queue) >= self._queue_max

    def next_sequence(self) -> int:
        """Next number of 1..0x7FFFFFFF that no request of ours still bears."""
        while True:
            self._sequence = self._sequence + 1 if self._sequence < SEQUENCE_MAX else 1
            if self._sequence not in self._unanswered:
                return self._sequence

    def put(self, entry: Outstanding) -> bytes | None:
        """Take a request (see ``is_full`` first); its bytes when they are due now, None when it waits."""
        if not self.is_open:
            self._queue.append(entry)
            return None
        return self._write(entry)

    def take(self, sequence: int) -> Outstanding | None:
        """The written request a response belongs to, now answered; None when nobody waits for it."""
        return self._unanswered.pop(sequence, None)

    def awaits(self, sequence: int) -> bool:
        return sequence in self._unanswered

    def refill(self) -> list[bytes]:
        """Bytes of queued requests for which there is room now."""
        frames = []
        while self._queue and len(self._unanswered) < self._window_max:
            frames.append(self._write(self._queue.popleft()))
        return frames

    def expired(self, now: float) -> list[Outstanding]:
        """Requests past their deadline, removed: ``frame`` tells those never written."""
        late: list[Outstanding] = []
        while self._queue and self._queue[0].deadline <= now:
            late.append(self._queue.popleft())
        for sequence in [number for number, entry in self._unanswered.items() if entry.deadline <= now]:
            late.append(self._unanswered.pop(sequence))
        return late

    def drop_queued(self) -> list[Outstanding]:
        """Everything never written, removed."""
        dropped = list(self._queue)
        self._queue.clear()
        return dropped

    def drop_all(self) -> list[Outstanding]:
        """Everything, removed."""
        dropped = [*self._unanswered.values(), *self._queue]
        self._unanswered.clear()
        self._queue.clear()
        return dropped

    def _write(self, entry: Outstanding) -> bytes:
        frame, entry.frame = entry.frame, None
        assert frame is not None
        self._unanswered[entry.sequence] = entry
        return frame
