"""What is not even read while there is too much to do: messages of a number that was told "later" a moment ago.

To open a message, see what it asks and refuse it costs twenty times what a refusal by its addresses does. How many a
second are opened and then refused is what stays bounded: the more numbers are told so, the longer each is not read.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from aircharge.observe.metrics import Counter
from aircharge.ports import Clock
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

    def __init__(self, clock: Clock, opened_per_s: float, unread: Counter | None = None) -> None:
        """``opened_per_s``: how many messages a second may be opened only to be refused."""
        self._clock = clock
        self._opened_per_s = opened_per_s
        self._unread = unread or Counter()
        self._until_s: OrderedDict[_Stream, float] = OrderedDict()  # nearly in order of their ends

    def refused(self, message: MobileMessage) -> None:
        """Work of this kind from this number was told "later"."""
        now_s, until_s = self._clock.monotonic_s(), self._until_s
        while until_s and (next(iter(until_s.values())) <= now_s or len(until_s) >= _NUMBERS_MAX):
            until_s.popitem(last=False)
        stream = (
            message.source.encode("latin-1", "replace"),
            message.destination.encode("latin-1", "replace"),
            bool(message.elements),
        )
        so_far_s = max(now_s, until_s.pop(stream, 0.0))
        until_s[stream] = so_far_s + (len(until_s) + 1) / self._opened_per_s

    def admits(self, frame: bytes) -> bool:
        """Whether a submit_sm or deliver_sm is to be read; else it is answered "later" at once."""
        if not self._until_s:
            return True
        seen = glance(frame)
        if seen is None:
            return True
        until_s = self._until_s.get(seen[:3])
        if until_s is None or until_s <= self._clock.monotonic_s() or seen.said.startswith(_ALWAYS):
            return True
        self._unread.add()
        return False
