"""Six digits: which are tried first, which are a slip away from each other, what is kept of a duress PIN. Pure.

The list of weak PINs is documented (docs/people.md); it is short, so that people can still find one they remember.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator
from typing import Final

__all__ = ["PIN_LENGTH", "PinMac", "duress_record", "is_duress", "is_near", "same_or_slip", "why_weak"]

PinMac = Callable[[int, int, bytes, str], bytes]
"""(pepper version, outlet id, salt, PIN digits) → MAC."""

PIN_LENGTH: Final = 6
_MAC_OCTETS: Final = 32
_RUNS: Final = "01234567890", "09876543210"
_KNOWN: Final = frozenset(
    """
    147258 258147 258369 369258 147369 147852 159357 357159 159753 753159
    112233 223344 334455 445566 556677 667788 778899 332211 998877
    123321 321123 123654 456654 789987 135246 135790 246800
    131420 131452 168888 201314 518518 520131 521131
    """.split()  # noqa: SIM905  a table to be read: the keypad's lines, pairs, mirrors, numbers said for their sound
)


def why_weak(pin: str, phones: Iterable[str] = ()) -> str:
    """What speaks against a PIN, as a sentence; "" = nothing. ``phones``: the outlet's own numbers."""
    if len(pin) != PIN_LENGTH or not (pin.isascii() and pin.isdigit()):
        return f"a PIN has {PIN_LENGTH} digits"
    repeats = pin[:3] == pin[3:] or pin[:2] * 3 == pin or len(set(pin)) <= 2
    is_month = pin[:2] in ("19", "20") and 1 <= int(pin[4:]) <= 12  # a birth's year and month
    if repeats or is_month or pin in _KNOWN or any(pin in run for run in _RUNS):
        return "this PIN is too easy to guess"
    if any(phone.endswith(pin) for phone in phones):
        return "a PIN must not be the end of the outlet's own number"
    return ""


def same_or_slip(pin: str) -> Iterator[str]:
    """The PIN itself and the 54 that differ from it in one digit."""
    yield pin
    for at, digit in enumerate(pin):
        for other in "0123456789":
            if other != digit:
                yield pin[:at] + other + pin[at + 1 :]


def is_near(pin: str, is_it: Callable[[str], bool]) -> bool:
    """Whether the PIN that ``is_it`` knows is this one, or one slip of a finger away."""
    return any(is_it(candidate) for candidate in same_or_slip(pin))


def duress_record(mac: PinMac, version: int, outlet_id: int, salt: bytes, pin: str) -> bytes:
    """What is kept of a duress PIN: pepper version, salt, MAC. It outlives changes of the PIN."""
    return bytes((version,)) + salt + mac(version, outlet_id, salt, pin)


def is_duress(mac: PinMac, record: bytes | None, outlet_id: int, pin: str) -> bool:
    if record is None:
        return False
    version, salt, kept = record[0], record[1:-_MAC_OCTETS], record[-_MAC_OCTETS:]
    return hmac.compare_digest(mac(version, outlet_id, bytes(salt), pin), bytes(kept))
