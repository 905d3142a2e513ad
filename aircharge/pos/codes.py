"""What a terminal is answered: DE 39 of ISO 8583 by reason, and the answers that only this door gives.

Codes are those of Q/CUP 007 where it has one; the ledger's own reasons keep the trade's code otherwise.
"""

from __future__ import annotations

from typing import Final

from aircharge.errors import Reason

__all__ = [
    "APPROVED",
    "BATCH_WRONG",
    "BLOCKED",
    "CALLER_WRONG",
    "CODES",
    "FORMAT",
    "KEY_WRONG",
    "MAC_WRONG",
    "MERCHANT_WRONG",
    "NOT_FOUND",
    "NO_COPY",
    "PIN_BLOCK_WRONG",
    "SIGN_IN",
    "TERMINAL_UNKNOWN",
    "UNKNOWN_FUNCTION",
]

APPROVED: Final = "00"
MERCHANT_WRONG: Final = "03"
UNKNOWN_FUNCTION: Final = "12"
NOT_FOUND: Final = "25"
FORMAT: Final = "30"
NO_COPY: Final = "40"
BLOCKED: Final = "58"
CALLER_WRONG: Final = "62"
SIGN_IN: Final = "77"
BATCH_WRONG: Final = "95"  # not the open batch, or it was settled with other totals
TERMINAL_UNKNOWN: Final = "97"
PIN_BLOCK_WRONG: Final = "99"
MAC_WRONG: Final = "A0"
KEY_WRONG: Final = "A7"  # no master key of that version

CODES: Final[dict[Reason, str]] = {
    Reason.OK: APPROVED,
    Reason.CLASH: "94",  # this trace number with other content
    Reason.REPLAY: "94",
    Reason.UNKNOWN_SENDER: TERMINAL_UNKNOWN,
    Reason.CARD: BLOCKED,
    Reason.OUTLET: MERCHANT_WRONG,
    Reason.RIGHTS: BLOCKED,
    Reason.STALE: "68",
    Reason.PIN_LOCKED: "75",
    Reason.PIN_WRONG: "55",
    Reason.PIN_NEEDED: "55",
    Reason.PIN_CHANGE: "55",
    Reason.PIN_WEAK: "55",
    Reason.NUMBER: "14",
    Reason.AMOUNT: "13",
    Reason.FORMAT: FORMAT,
    Reason.DUPLICATE: "26",  # the same again a moment ago: meant? then with its repeat count
    Reason.NOT_FOUND: NOT_FOUND,
    Reason.NOT_REVERSIBLE: "40",
    Reason.CONSENT: "40",
    Reason.LISTED: "57",
    Reason.NO_RULE: "57",
    Reason.RULE: "57",
    Reason.CONFIRM: "26",
    Reason.LIMIT_VALUE: "61",
    Reason.LIMIT_COUNT: "65",
    Reason.CANCELLED: "12",
    Reason.OPERATOR_DOWN: "91",
    Reason.BUSY: "91",
    Reason.FLOAT: "51",
    Reason.OPERATOR_NO: "05",
    Reason.NUMBER_NO: "14",
    Reason.REVIEW: "57",  # nobody at a counter waits for a clerk: it is taken back and refused
    Reason.DOUBT: "09",  # never said: an open order is answered by silence
    Reason.INTERNAL: "96",
}
"""DE 39 by reason. A test holds every reason against it."""
