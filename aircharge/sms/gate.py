"""What is not even read while there is too much to do: messages of a number that was told "later" a moment ago.

To open a message, see what it asks and refuse it costs twenty times what a refusal by its addresses does. How many a
second are opened and then refused is what stays bounded: the more numbers are told so, the longer each is not read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from aircharge.observe.metrics import Counter
from aircharge.ports import Clock
from aircharge.switch.admission import Crowded
from aircharge.switch.workload import Work
from aircharge.wire.smpp.glance import glance
from aircharge.wire.smpp.message import MobileMessage

__all__ = ["SmsGate"]

_NUMBERS_MAX: Final = 100_000
_ALWAYS: Final = tuple(
    verb.encode(alphabet)
    for verb in ("14", "18")  # a reversal, a report of loss: read whatever there is to do
    for alphabet in ("ascii", "utf-16-be")
)

_Stream = tuple[bytes, bytes, bool]
"""Sender, service number, and whether there is a user data header: an outlet's packets, texts, questions."""


class SmsGate:
    """``refused`` is told of each refusal of new work, ``admits`` looks at each message before it is decoded."""

    def __init__(
        self,
        clock: Clock,
        opened_per_s: float,
        is_roomy: Callable[[int, Work], bool] = lambda number, work: False,
        unread: Counter | None = None,
    ) -> None:
        """``opened_per_s``: how many messages a second may be opened only to be refused. ``is_roomy``: Admission's."""
        self._clock = clock
        self._opened_per_s = opened_per_s
        self._is_roomy = is_roomy
        self._unread = unread or Counter()
        self._hot: OrderedDict[_Stream, tuple[float, Crowded]] = (
            OrderedDict()
        )  # nearly in order of their ends

    def refused(self, message: MobileMessage, crowded: Crowded) -> None:
        """Work of this kind from this number was told "later"."""
        now_s, hot = self._clock.monotonic_s(), self._hot
        while hot and (next(iter(hot.values()))[0] <= now_s or len(hot) >= _NUMBERS_MAX):
            hot.popitem(last=False)
        stream = (
            message.source.encode("latin-1", "replace"),
            message.destination.encode("latin-1", "replace"),
            bool(message.elements),
        )
        before = hot.pop(stream, None)
        until_s = max(now_s, before[0] if before else 0.0) + (len(hot) + 1) / self._opened_per_s
        hot[stream] = (until_s, crowded)

    def admits(self, frame: bytes) -> bool:
        """Whether a submit_sm or deliver_sm is to be read; else it is answered "later" at once.

        An outlet that sends too much waits for its time to be over; where a class was refused because of all that
        came, the next is read as soon as there is room.
        """
        if not self._hot:
            return True
        seen = glance(frame)
        told = self._hot.get(seen[:3]) if seen is not None else None
        if seen is None or told is None:
            return True
        until_s, crowded = told
        if until_s <= self._clock.monotonic_s() or seen.said.startswith(_ALWAYS):
            return True
        if crowded.for_all and self._is_roomy(crowded.number, crowded.work):
            return True
        self._unread.add()
        return False
