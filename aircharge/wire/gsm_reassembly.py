"""Parts of a concatenated message back into one: TS 23.040 section 9.2.3.24.1, bounded in time and memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Reassembler", "ReassemblyCounters"]

_OVERHEAD_BYTES: Final = 256
"""What an unfinished message costs beside its octets, roughly; so that empty parts are bounded too."""


@dataclass(slots=True)
class ReassemblyCounters:
    """How messages ended, since the start."""

    completed: int = 0
    duplicates: int = 0  # a part that was there already
    restarted: int = 0  # a part that contradicts the ones before: a new message took the reference
    evicted: int = 0  # given up for room
    expired: int = 0  # given up for age


@dataclass(slots=True)
class _Unfinished:
    total: int
    began_ms: int
    parts: dict[int, bytes] = field(default_factory=dict)
    size_bytes: int = _OVERHEAD_BYTES


class Reassembler:
    """Unfinished messages of any number of senders.

    When room runs out the oldest is given up. One older than ``max_age_ms`` is given up at the next ``add``.
    """

    __slots__ = ("_max_age_ms", "_max_bytes", "_max_messages", "_unfinished", "counters", "size_bytes")

    def __init__(self, max_messages: int, max_age_ms: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_age_ms = max_age_ms
        self._max_bytes = max_bytes
        self._unfinished: OrderedDict[tuple[Hashable, int], _Unfinished] = OrderedDict()
        self.size_bytes = 0
        self.counters = ReassemblyCounters()

    def __len__(self) -> int:
        return len(self._unfinished)

    def add(self, key: Hashable, ref: int, total: int, seq: int, body: bytes, now_ms: int) -> bytes | None:
        """Take part ``seq`` of ``total`` (from 1) of message ``ref`` from ``key``; the whole once complete.

        A part that came before is normal. One that contradicts (another total, another content for the same
        place) belongs to a new message: what was kept under that reference is dropped, never mixed.
        Raises ValueError unless 1 <= seq <= total <= 255.
        """
        if not 1 <= seq <= total <= 255:
            raise ValueError(f"part {seq} of {total}")
        self._expire(now_ms)
        if total == 1:
            self.counters.completed += 1
            return body
        place = (key, ref)
        message = self._unfinished.get(place)
        if message is not None and (message.total != total or message.parts.get(seq, body) != body):
            self._drop(place)
            self.counters.restarted += 1
            message = None
        if message is None:
            message = self._unfinished[place] = _Unfinished(total, now_ms)
            self.size_bytes += message.size_bytes
        if seq in message.parts:
            self.counters.duplicates += 1
            return None
        message.parts[seq] = body
        message.size_bytes += len(body)
        self.size_bytes += len(body)
        if len(message.parts) == total:
            self._drop(place)
            self.counters.completed += 1
            return b"".join(message.parts[number] for number in range(1, total + 1))
        self._make_room()
        return None

    def _drop(self, place: tuple[Hashable, int]) -> None:
        self.size_bytes -= self._unfinished.pop(place).size_bytes

    def _expire(self, now_ms: int) -> None:
        while self._unfinished:
            place, message = next(iter(self._unfinished.items()))
            if now_ms - message.began_ms <= self._max_age_ms:
                return
            self._drop(place)
            self.counters.expired += 1

    def _make_room(self) -> None:
        while len(self._unfinished) > self._max_messages or self.size_bytes > self._max_bytes:
            self._drop(next(iter(self._unfinished)))
            self.counters.evicted += 1
