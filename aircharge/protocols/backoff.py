"""When to dial again: each time later, with jitter, until the line is truly up."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["BackOff"]


class BackOff:
    """Delays for a ``ClientService``'s ``retryPolicy``.

    To ClientService a TCP connection is success; to us only a bind is. ``chance`` gives a float of [0, 1).
    ``prepareConnection`` is no way to say so: a connection lost while it waits is an illegal transition there.
    """

    def __init__(self, chance: Callable[[], float], first_s: float, max_s: float) -> None:
        self._chance = chance
        self._first_s = first_s
        self._max_s = max_s
        self._failures = 0

    def succeeded(self) -> None:
        self._failures = 0

    def delay_s(self, _attempt: int) -> float:
        grown: float = self._first_s * 1.6 ** min(self._failures, 50)
        self._failures += 1
        return min(grown, self._max_s) + self._chance() * self._first_s
