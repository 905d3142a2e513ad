"""Two ends of a line with a clock between them: carries octets at a speed, and spoils what it is told to spoil."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

from aircharge.wire.pos_link import Event, Link

Spoil = Callable[[bytes], bytes]


class Line:
    """``carry`` until all is said or ``until`` (seconds); ``heard`` are the events of either end, in order."""

    def __init__(self, left: Link, right: Link, spoil: Spoil = bytes, octet_s: float = 10 / 1200) -> None:
        self.ends = (left, right)
        self.heard: tuple[list[Event], list[Event]] = ([], [])
        self.now = 0.0
        self.written: list[tuple[int, bytes]] = []
        self._spoil, self._octet_s = spoil, octet_s
        self._free = [0.0, 0.0]
        self._under_way: list[tuple[float, int, int, bytes]] = []
        self._order = count()

    def put(self, end: int, data: bytes) -> None:
        """``data`` from one end; arrives at the other when its last octet has gone over the line."""
        if not data:
            return
        self.written.append((end, data))
        begins = max(self.now, self._free[end])
        self._free[end] = begins + len(data) * self._octet_s
        heapq.heappush(self._under_way, (self._free[end], next(self._order), 1 - end, self._spoil(data)))

    def carry(self, until: float, is_done: Callable[[], bool] = lambda: False) -> None:
        while not is_done():
            times = [end.deadline for end in self.ends]
            times.append(self._under_way[0][0] if self._under_way else None)
            known = [time for time in times if time is not None]
            if not known or min(known) > until:
                return
            self.now = max(self.now, min(known))
            while self._under_way and self._under_way[0][0] <= self.now:
                _, _, end, data = heapq.heappop(self._under_way)
                self._hear(end, self.ends[end].receive(data, self.now))
            for end, link in enumerate(self.ends):
                self._hear(end, link.tick(self.now))

    def _hear(self, end: int, events: list[Event]) -> None:
        self.heard[end].extend(events)
        self.put(end, self.ends[end].data_to_send())


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """``data`` cut into pieces of the given lengths, and the rest."""
    pieces = []
    for cut in cuts:
        pieces.append(data[:cut])
        data = data[cut:]
    return [*pieces, data]
