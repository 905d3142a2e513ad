"""The customer's consent to a reversal: four digits in his SMS; the outlet must name them to take it back."""

from __future__ import annotations

import hashlib
import hmac

__all__ = ["ConsentCode"]

_DIGITS = 4


class ConsentCode:
    """A keyed hash of the order: nobody but us can make it, and three guesses are all there are (``reversing``)."""

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError("a consent-code key has at least 16 octets")
        self._mac = hmac.new(key, b"reversal consent|", hashlib.sha256)

    def of(self, order_id: int) -> str:
        """The code of a recharge, "0000" to "9999"."""
        mac = self._mac.copy()
        mac.update(str(order_id).encode())
        return f"{int.from_bytes(mac.digest()[:8], 'big') % 10**_DIGITS:0{_DIGITS}d}"

    def is_given(self, code: str, order_id: int) -> bool:
        """Whether ``code`` is that recharge's; in constant time."""
        return hmac.compare_digest(self.of(order_id).encode(), code.strip().encode())
