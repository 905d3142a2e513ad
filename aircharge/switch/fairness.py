"""Waiting in turn by outlet, and refusing by class with hysteresis: the arithmetic of admission. Pure.

One order of each waiting outlet is served before the second of any: round robin with a quantum of one order (deficit
round robin, Shreedhar and Varghese 1995, where every packet costs the same). How much of the room one outlet may
fill follows the room that is left (dynamic thresholds, Choudhury and Hahne 1998): some is always free for others.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Generic, TypeVar

__all__ = ["FairQueue", "Levels"]

T = TypeVar("T")


class FairQueue(Generic[T]):
    """At most ``total_max`` items, at most ``each_max`` of one key, taken one key after the other."""

    def __init__(self, total_max: int, each_max: int) -> None:
        self._total_max = total_max
        self._each_max = each_max
        self._queues: OrderedDict[str, deque[T]] = OrderedDict()  # first: whose turn it is
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def keys(self) -> list[str]:
        """Who waits, in the order of their turns."""
        return list(self._queues)

    @property
    def fill(self) -> float:
        """The share of the room that is taken, 0..1."""
        return self._count / self._total_max if self._total_max else 1.0

    def put(self, key: str, item: T) -> bool:
        """False: no room for this key. It may fill as much as stays free afterwards, and never over ``each_max``."""
        queue = self._queues.get(key)
        mine, free = len(queue) if queue else 0, self._total_max - self._count
        if free <= 0 or mine >= self._each_max or (mine and mine >= free):
            return False
        if queue is None:
            queue = self._queues[key] = deque()
        queue.append(item)
        self._count += 1
        return True

    def take(self) -> T | None:
        """The next item: the oldest of the key whose turn it is; None when nothing waits."""
        if not self._queues:
            return None
        key, queue = self._queues.popitem(last=False)
        item = queue.popleft()
        self._count -= 1
        if queue:
            self._queues[key] = queue
        return item

    def drop(self, key: str, item: T) -> None:
        """Take an item out of its place. Raises KeyError or ValueError when it does not wait."""
        queue = self._queues[key]
        queue.remove(item)
        self._count -= 1
        if not queue:
            del self._queues[key]


class Levels:
    """How many classes, from the first to go, are refused: class n from ``rise[n]`` on, until ``calm`` below that."""

    def __init__(self, rise: Sequence[float], calm: float) -> None:
        if list(rise) != sorted(rise) or calm < 0:
            raise ValueError("thresholds must rise from the first class to go to the last")
        self._rise = tuple(rise)
        self._calm = calm
        self.level = 0

    def see(self, load: float) -> int:
        """The level at this load, 0.0 (nothing) to 1.0 (as much as there may be)."""
        while self.level < len(self._rise) and load >= self._rise[self.level]:
            self.level += 1
        while self.level and load < self._rise[self.level - 1] - self._calm:
            self.level -= 1
        return self.level
