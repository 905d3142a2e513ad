"""Time-ordered 64 bit numbers: 41 bit milliseconds since 2020-01-01 UTC, 10 bit node, 12 bit sequence.

They last until 2089, are unique over all daemons of one ledger, and never run backwards: when the clock steps back
or more than 4,096 are drawn in a millisecond, the series runs ahead of the clock instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["EPOCH_MS", "IdSeries", "id_time_ms"]

EPOCH_MS: Final = 1_577_836_800_000
_NODE_BITS, _SEQUENCE_BITS = 10, 12


class IdSeries:
    """One daemon's ids. Not for several threads at once: only the ledger's writer draws from it."""

    def __init__(self, node: int, now_ms: Callable[[], int], *, after: int = 0) -> None:
        """``after``: the highest id already in the ledger (a clock may have stepped back over a restart)."""
        if not 0 <= node < 1 << _NODE_BITS:
            raise ValueError("node must be 0..1023")
        self._node = node << _SEQUENCE_BITS
        self._now_ms = now_ms
        self._slot = ((after >> (_NODE_BITS + _SEQUENCE_BITS)) + 1) << _SEQUENCE_BITS if after else 0

    def above(self, number: int) -> None:
        """From now on only ids of a later millisecond than this one's."""
        self._slot = max(self._slot, ((number >> (_NODE_BITS + _SEQUENCE_BITS)) + 1) << _SEQUENCE_BITS)

    def __call__(self) -> int:
        slot = (self._now_ms() - EPOCH_MS) << _SEQUENCE_BITS
        self._slot = slot = max(slot, self._slot + 1)
        moment, sequence = slot >> _SEQUENCE_BITS, slot & 0xFFF
        if not 0 <= moment < 1 << 41:
            raise ValueError("the clock is outside 2020..2089")
        return moment << 22 | self._node | sequence


def id_time_ms(number: int) -> int:
    """When an id was drawn, ms UTC."""
    return (number >> 22) + EPOCH_MS
