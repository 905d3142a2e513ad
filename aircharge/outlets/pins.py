"""Service PINs: a keyed hash, and which PINs are too easy.

Six digits are guessed at once from any unkeyed hash, however slow; the secrecy of the pepper protects them
(NIST SP 800-63B 5.1.1.2: a keyed hash with the key held apart). The durable lock-out is the ledger's.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from aircharge.errors import AirchargeError
from aircharge.ledger.pin_rules import PIN_LENGTH, why_weak
from aircharge.values import Pin

__all__ = ["PIN_LENGTH", "PinHash", "WeakPin", "check_pin", "random_pin"]


class WeakPin(AirchargeError):
    """The PIN has the wrong form or is one of those that are tried first."""


class PinHash:
    """HMAC-SHA-256 over outlet, salt and PIN under a versioned pepper. ``repr`` shows no key."""

    def __init__(self, peppers: Mapping[int, bytes]) -> None:
        self._peppers = dict(peppers)

    def mac(self, version: int, outlet_id: int, salt: bytes, pin: str) -> bytes:
        """32 octets. Raises KeyError for a pepper version that is not loaded."""
        return hmac.digest(
            self._peppers[version], outlet_id.to_bytes(8, "big") + salt + pin.encode(), "sha256"
        )

    def mark(self, pin: Pin | None) -> str:
        """16 bits that tell a message with a corrected PIN from the same one again; "" for none.

        Too few to find a PIN by, even for who has the pepper; and under another salt than any stored hash.
        """
        return "" if pin is None else self.mac(self.newest, 0, b"mark", pin.secret)[:2].hex()

    @property
    def newest(self) -> int:
        return max(self._peppers)


def check_pin(pin: str, phones: tuple[str, ...] = ()) -> None:
    """Raises WeakPin for one that has not six digits or is weak (``pin_rules.why_weak``)."""
    why = why_weak(pin, phones)
    if why:
        raise WeakPin(why)


def random_pin(token: bytes, phones: tuple[str, ...] = ()) -> str:
    """A PIN from unpredictable octets (64 of them are ample): digits drawn without bias, easy ones passed over."""
    digits = [str(octet % 10) for octet in token if octet < 250]
    for start in range(0, len(digits) - PIN_LENGTH + 1, PIN_LENGTH):
        pin = "".join(digits[start : start + PIN_LENGTH])
        try:
            check_pin(pin, phones)
        except WeakPin:
            continue
        return pin
    raise WeakPin("not enough randomness was given")
