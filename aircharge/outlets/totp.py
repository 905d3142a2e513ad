"""Time-based one-time passwords: RFC 6238 over RFC 4226. Pure.

20 secret octets (RFC 4226 section 4, R6), HMAC-SHA-1, steps of 30 seconds, six digits: what every phone's
authenticator understands. A step counts once (RFC 6238 section 5.2); the caller keeps the last one.
"""

from __future__ import annotations

import base64
import hmac
from typing import Final
from urllib.parse import quote

__all__ = ["SECRET_OCTETS", "STEP_S", "WINDOW", "accepted_step", "code_of", "step_of", "uri_of"]

SECRET_OCTETS: Final = 20
STEP_S: Final = 30
WINDOW: Final = 1
"""Steps before and after ours that are still taken: clocks differ, fingers are slow (RFC 6238 section 5.2)."""


def step_of(at_ms: int) -> int:
    """T of RFC 6238 section 4.2, T0 = 0."""
    return at_ms // 1000 // STEP_S


def code_of(secret: bytes, step: int, digits: int = 6, algorithm: str = "sha1") -> str:
    """The code of a step (RFC 4226 section 5.3)."""
    mac = hmac.digest(secret, step.to_bytes(8, "big"), algorithm)
    offset = mac[-1] & 15
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**digits:0{digits}d}"


def accepted_step(secret: bytes, code: str, at_ms: int, last_step: int) -> int:
    """The step whose code this is, later than ``last_step`` and within the window; 0 when there is none."""
    now, found = step_of(at_ms), 0
    for step in range(now - WINDOW, now + WINDOW + 1):
        is_it = hmac.compare_digest(code_of(secret, step).encode(), code.strip().encode("ascii", "replace"))
        if is_it and step > last_step and not found:
            found = step
    return found


def uri_of(secret: bytes, login: str, issuer: str = "AirCharge") -> str:
    """What an authenticator reads as a QR code or by hand."""
    letters = base64.b32encode(secret).decode().rstrip("=")
    return f"otpauth://totp/{quote(issuer)}:{quote(login)}?secret={letters}&issuer={quote(issuer)}"
