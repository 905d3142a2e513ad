"""Waiting in turn by outlet, and refusing by class with hysteresis: the arithmetic of admission. Pure.

One order of each waiting outlet is served before the second of any: round robin with a quantum of one order (deficit
round robin, Shreedhar and Varghese 1995, where every packet costs the same). How much of the room one outlet may
fill follows the room that is left (dynamic thresholds, Choudhury and Hahne 1998): some is always free for others.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Generic, TypeVar

__all__ = ["FairQueue", "Levels", "Room"]

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items taken one key after the other."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[T]] = OrderedDict()  # first: whose turn it is
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def count(self, key: str) -> int:
        """How many of this key wait."""
        queue = self._queues.get(key)
        return len(queue) if queue else 0

    def put(self, key: str, item: T) -> None:
        self._queues.setdefault(key, deque()).append(item)
        self._count += 1

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


class Room(Generic[T]):
    """Where work of several classes waits: at most ``total_max`` items, at most ``each_max`` of one key in a class.

    The highest class is taken first. ``shares[n]``: class n may come in while less than this share is taken.
    """

    def __init__(self, total_max: int, each_max: int, shares: Sequence[float]) -> None:
        self._total_max = total_max
        self._each_max = each_max
        self._shares = tuple(shares)
        self._queues: list[FairQueue[T]] = [FairQueue() for _ in shares]
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def fill(self) -> float:
        """The share of the room that is taken, 0..1."""
        return self._count / self._total_max if self._total_max else 1.0

    @property
    def top(self) -> int:
        """The highest class that waits; -1 when nothing does."""
        return next((n for n in reversed(range(len(self._queues))) if self._queues[n]), -1)

    def put(self, level: int, key: str, item: T) -> bool:
        """False: no room for this class or key. A key may fill half of what is free, and never over ``each_max``."""
        queue, free = self._queues[level], self._total_max - self._count
        mine = queue.count(key)
        if free <= 0 or self.fill >= self._shares[level] or mine >= self._each_max or (mine and mine >= free):
            return False
        queue.put(key, item)
        self._count += 1
        return True

    def take(self) -> T | None:
        """The next item of the highest class that waits; None when nothing does."""
        item = self._queues[self.top].take() if self._count else None
        self._count -= item is not None
        return item

    def drop(self, level: int, key: str, item: T) -> None:
        """Take an item out of its place. Raises KeyError or ValueError when it does not wait."""
        self._queues[level].drop(key, item)
        self._count -= 1


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
