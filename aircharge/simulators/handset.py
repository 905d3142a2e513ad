"""Handsets: who received which short message, and who waits for one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

from twisted.internet.defer import Deferred

from aircharge.protocols.shell import TimeSource

__all__ = ["Handsets", "Received"]


@dataclass(frozen=True, slots=True)
class Received:
    """One message as the handset shows it: whole, its parts joined."""

    sender: str
    text: str
    at_ms: int
    data: str = ""  # hex, when it was binary


class Handsets:
    """Every number has an inbox; a number nobody has heard of has an empty one."""

    def __init__(self, clock: TimeSource) -> None:
        self._clock = clock
        self._inboxes: defaultdict[str, list[Received]] = defaultdict(list)
        self._waiting: list[tuple[str, int, Deferred[None]]] = []

    def received(self, number: str, message: Received) -> None:
        inbox = self._inboxes[number]
        inbox.append(message)
        for waiter in [one for one in self._waiting if one[0] == number and len(inbox) >= one[1]]:
            self._waiting.remove(waiter)
            waiter[2].callback(None)

    def inbox(self, number: str) -> list[Received]:
        return self._inboxes.get(number, [])

    @property
    def total(self) -> int:
        """Messages in all inboxes."""
        return sum(map(len, self._inboxes.values()))

    async def wait(self, number: str, count: int, wait_s: float) -> None:
        """Until the inbox holds ``count`` messages, at most ``wait_s``."""
        if len(self.inbox(number)) >= count or wait_s <= 0:
            return
        waiter = (number, count, Deferred[None]())
        self._waiting.append(waiter)
        timer = self._clock.callLater(wait_s, self._give_up, waiter)
        await waiter[2]
        if timer.active():
            timer.cancel()

    def _give_up(self, waiter: tuple[str, int, Deferred[None]]) -> None:
        self._waiting.remove(waiter)
        waiter[2].callback(None)

    def shown(self, number: str, since: int, limit: int) -> dict[str, Any]:
        """The inbox for the control line: messages from the ``since``-th on, the newest ``limit`` of them."""
        inbox = self.inbox(number)
        return {"total": len(inbox), "messages": [asdict(one) for one in inbox[since:][-limit:]]}
