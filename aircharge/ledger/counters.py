"""The card's counter (ETSI TS 102 225 CNTR, 40 bit): a window 64 wide as IPsec's (RFC 4303, 3.4.3).

Bit n of the bitmap says that ``hi - n`` was used. A counter is good when it is new: above ``hi``, or inside the
window with its bit clear. Messages may overtake each other; one lost SMS blocks nothing.
"""

from __future__ import annotations

from typing import Final

__all__ = ["FAR_AHEAD", "WIDTH", "use_counter"]

WIDTH: Final = 64
FAR_AHEAD: Final = 1 << 20
"""A jump by more is accepted once, with an alarm: cards do not send a million messages unheard."""

_MASK: Final = (1 << WIDTH) - 1


def use_counter(hi: int, bitmap: int, counter: int) -> tuple[int, int] | None:
    """The window after ``counter``, as (hi, bitmap); None when it was used before or is too old."""
    if counter > hi:
        return counter, (bitmap << (counter - hi) | 1) & _MASK if counter - hi < WIDTH else 1
    behind = hi - counter
    if behind >= WIDTH or bitmap >> behind & 1:
        return None
    return hi, bitmap | 1 << behind
