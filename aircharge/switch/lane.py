"""One operator's lane, or the house's: who waits there, and how much of its window is taken. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from aircharge.switch.fairness import Room
from aircharge.switch.workload import AdmissionSettings

__all__ = ["Lane"]

T = TypeVar("T")

_SMOOTH: Final = 1 / 32  # weight of the last answer's time in an operator's mean
_PATIENCE_S: Final = 1.0  # what waits behind a full window should be sent within this time
_KEPT_S: Final = 0.5  # less important work stays out so long after more important work was refused
_ROOMY: Final = 0.5  # of its share of the room


class Lane(Generic[T]):
    """One operator, or the house."""

    __slots__ = ("answer_s", "busy", "heard_s", "refused", "refused_s", "room", "shares", "spare", "window")

    def __init__(self, settings: AdmissionSettings, window: Callable[[], int] | None, now_s: float) -> None:
        self.spare = settings.spare
        self.shares = tuple(settings.shares)
        self.window = window
        self.room: Room[T] = Room(settings.waiting_max, settings.outlet_waiting_max, self.shares)
        self.refused = -1  # the highest class there was no room for …
        self.refused_s = float("-inf")  # … lately: when
        self.busy = 0  # admitted, and the operator's answer is not there yet
        self.answer_s = 0.0  # mean time of its answers
        self.heard_s = now_s  # when it answered last, or the first was asked

    def has_window(self, now_s: float) -> bool:
        if self.window is None:
            return True
        window = self.window()
        if self.busy < window:
            return True
        silence_s = max(self.answer_s, now_s - self.heard_s)
        soon = int(window * _PATIENCE_S / silence_s) if silence_s > 0 else self.spare
        return self.busy < window + min(self.spare, soon)

    def is_roomy(self, work: int) -> bool:
        """Whether this class finds much room to wait in."""
        return self.room.fill < self.shares[work] * _ROOMY

    def is_kept_for(self, work: int, now_s: float) -> bool:
        """Whether all there is to do with should be left to more important work than this, which was refused."""
        return work < self.refused and now_s - self.refused_s < _KEPT_S

    def keep_for(self, work: int, now_s: float) -> None:
        if not self.is_kept_for(work, now_s):
            self.refused, self.refused_s = work, now_s

    def answered(self, now_s: float, since_s: float) -> None:
        self.busy -= 1
        self.heard_s = now_s
        self.answer_s += (now_s - since_s - self.answer_s) * _SMOOTH
