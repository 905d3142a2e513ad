"""Parts of a concatenated message back into one: TS 23.040 section 9.2.3.24.1, bounded in time and memory.

A reference has 8 or 16 bits and is used again, within minutes by some phones. So what is joined must be of one message
beyond doubt: parts wait a short time, finished messages are remembered by digests of their parts, and once two parts
claim the same place nothing under that reference is joined for a while.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["Joined", "Reassembler", "ReassemblyCounters"]

_OVERHEAD_BYTES: Final = 256
"""What an unfinished message costs beside its octets, roughly; so that empty parts are bounded too."""
_DIGEST_OCTETS: Final = 8

_FINISHED_KEPT: Final = 4
"""So many finished messages of one sender are remembered under one reference."""

_Digests = tuple[bytes, ...]
_Place = tuple[Hashable, int, int, _Digests | None]
"""Sender, reference, number of parts; of parts that come again, which finished message they are of."""


Joined = tuple[_Place, dict[int, bytes], int]
"""A message that was joined: its place, its parts by number, and which came last."""


@dataclass(slots=True)
class ReassemblyCounters:
    """How messages ended, since the start."""

    completed: int = 0
    duplicates: int = 0  # a part that was there already, or is of a finished message
    contradicted: int = 0  # given up: two messages under one reference
    evicted: int = 0  # given up for room
    expired: int = 0  # given up for age


@dataclass(slots=True)
class _Unfinished:
    total: int
    began_ms: int
    parts: dict[int, bytes] = field(default_factory=dict)
    size_bytes: int = _OVERHEAD_BYTES
    is_spoilt: bool = False  # two parts claimed one place: nothing is joined until its time is over
    is_owed: bool = True  # its sender has not been told yet that it will not be joined


class Reassembler:
    """Unfinished messages of any number of senders, and what the finished ones were made of.

    When room runs out the oldest is given up. One older than ``max_age_ms`` is given up at the next ``add`` or
    ``expire``. Senders of what was given up are kept for ``take_lost``. ``finished_max``: so many finished messages
    are remembered, for as long as there is room.
    """

    __slots__ = (
        "_finished",
        "_finished_max",
        "_joined",
        "_lost",
        "_max_age_ms",
        "_max_bytes",
        "_max_messages",
        "_unfinished",
        "counters",
        "size_bytes",
    )

    def __init__(
        self, max_messages: int, max_age_ms: int, max_bytes: int, finished_max: int = 20_000
    ) -> None:
        self._max_messages = max_messages
        self._max_age_ms = max_age_ms
        self._max_bytes = max_bytes
        self._finished_max = finished_max
        self._unfinished: OrderedDict[_Place, _Unfinished] = OrderedDict()
        self._finished: OrderedDict[tuple[Hashable, int, int], tuple[_Digests, ...]] = OrderedDict()
        self._lost: list[Any] = []
        self._joined: Joined | None = None
        self.size_bytes = 0
        self.counters = ReassemblyCounters()

    def __len__(self) -> int:
        return len(self._unfinished)

    def add(self, key: Hashable, ref: int, total: int, seq: int, body: bytes, now_ms: int) -> bytes | None:
        """Take part ``seq`` of ``total`` (from 1) of message ``ref`` from ``key``; the whole once complete.

        A part that came before is normal. A part of a finished message is never joined with others than that
        message's own; once all of them have come again the whole is returned again. Raises ValueError unless
        1 <= seq <= total <= 255.
        """
        if not 1 <= seq <= total <= 255:
            raise ValueError(f"part {seq} of {total}")
        self.expire(now_ms)
        if total == 1:
            self.counters.completed += 1
            return body
        digest, finished = _digest(body), self._finished.get((key, ref, total), ())
        again = next((digests for digests in finished if digests[seq - 1] == digest), None)
        self.counters.duplicates += again is not None
        place = (key, ref, total, again)
        message = self._unfinished.get(place)
        if message is None:
            message = self._unfinished[place] = _Unfinished(total, now_ms, is_owed=again is None)
            self.size_bytes += message.size_bytes
        if message.is_spoilt:
            message.is_owed = True
            return None
        if message.parts.get(seq, body) != body:
            self._spoil(place, message, now_ms)
            return None
        if seq in message.parts:
            self.counters.duplicates += 1
            return None
        return self._take(place, message, seq, body)

    def take_joined(self) -> Joined | None:
        """What the last ``add`` has made one of; None when it was no message of several parts."""
        joined, self._joined = self._joined, None
        return joined

    def put_back(self, joined: Joined, now_ms: int) -> None:
        """The whole could not be taken: its last part will come again, and makes it whole again."""
        place, parts, last = joined
        finished = self._finished.get(place[:3], ())
        digests = tuple(_digest(parts[number]) for number in sorted(parts))
        self._finished[place[:3]] = tuple(one for one in finished if one != digests)
        if place in self._unfinished:
            return
        kept = {number: part for number, part in parts.items() if number != last}
        size_bytes = _OVERHEAD_BYTES + sum(map(len, kept.values()))
        self._unfinished[place] = _Unfinished(len(parts), now_ms, kept, size_bytes, is_owed=place[3] is None)
        self.size_bytes += size_bytes
        self._make_room()

    def expire(self, now_ms: int) -> None:
        """Give up what has waited too long."""
        while self._unfinished:
            place, message = next(iter(self._unfinished.items()))
            if now_ms - message.began_ms <= self._max_age_ms:
                return
            self._give_up(place)
            self.counters.expired += 1

    def give_up_all(self) -> None:
        """The process ends: nothing will be joined any more."""
        while self._unfinished:
            self._give_up(next(iter(self._unfinished)))

    def owes(self, key: Hashable, ref: int, total: int) -> bool:
        """Whether parts of this message wait for the others, and its sender does not know of it."""
        message = self._unfinished.get((key, ref, total, None))
        return message is not None and message.is_owed

    def take_lost(self) -> list[Any]:
        """Keys of the messages that were given up since the last call, one a message."""
        lost, self._lost = self._lost, []
        return lost

    def _take(self, place: _Place, message: _Unfinished, seq: int, body: bytes) -> bytes | None:
        message.parts[seq] = body
        message.size_bytes += len(body)
        self.size_bytes += len(body)
        if len(message.parts) < message.total:
            self._make_room()
            return None
        self._drop(place)
        self.counters.completed += 1
        self._joined = (place, message.parts, seq)
        parts = [message.parts[number] for number in range(1, message.total + 1)]
        if place[3] is None:
            self._remember(place, tuple(_digest(part) for part in parts))
        return b"".join(parts)

    def _remember(self, place: _Place, digests: _Digests) -> None:
        before = self._finished.pop(place[:3], ())
        self._finished[place[:3]] = (digests, *before)[:_FINISHED_KEPT]
        if len(self._finished) > self._finished_max:
            self._finished.popitem(last=False)

    def _spoil(self, place: _Place, message: _Unfinished, now_ms: int) -> None:
        """Two messages under one reference: which of the parts to come are whose, nobody can say."""
        self.counters.contradicted += 1
        self._drop(place)
        self._lost.append(place[0])
        spoilt = self._unfinished[place] = _Unfinished(message.total, now_ms, is_spoilt=True, is_owed=False)
        self.size_bytes += spoilt.size_bytes
        self._make_room()

    def _give_up(self, place: _Place) -> None:
        if self._unfinished[place].is_owed:
            self._lost.append(place[0])
        self._drop(place)

    def _drop(self, place: _Place) -> None:
        self.size_bytes -= self._unfinished.pop(place).size_bytes

    def _make_room(self) -> None:
        while len(self._unfinished) > self._max_messages or self.size_bytes > self._max_bytes:
            self._give_up(next(iter(self._unfinished)))
            self.counters.evicted += 1


def _digest(part: bytes) -> bytes:
    return hashlib.blake2b(part, digest_size=_DIGEST_OCTETS).digest()
