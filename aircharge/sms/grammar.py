"""What an outlet's plain SMS says: text and service number in, an ask out. Pure; it never guesses.

A text either has exactly one meaning or it is ``Unclear``. Commands: docs/channels/sms.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from aircharge.errors import Reason, Refusal
from aircharge.values import AMOUNT_MAX_FEN, Msisdn, Pin

__all__ = ["Ask", "Balance", "Last", "Recharge", "ServiceKind", "Unclear", "parse"]

TEXT_MAX: Final = 80
"""No command is longer, in characters; what is longer says nothing."""


class ServiceKind(Enum):
    """Which of our numbers the message was sent to."""

    RECHARGE = "recharge"  # 0353911: acts
    QUERY = "query"  # 0353910: only answers


@dataclass(frozen=True, slots=True)
class Recharge:
    """``<number> <amount>[*n] [PIN]``: ``amount_fen`` to ``target``, on purpose the ``repeat``-th time."""

    target: Msisdn
    amount_fen: int
    repeat: int = 1
    pin: Pin | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """``00``: what is on my float?"""

    pin: Pin | None = None


@dataclass(frozen=True, slots=True)
class Last:
    """``11``: what became of my last recharge?"""

    pin: Pin | None = None


@dataclass(frozen=True, slots=True)
class Unclear:
    """No command, or more than one reading."""


Ask = Recharge | Balance | Last | Unclear

# Full-width ASCII (U+FF01..U+FF5E) and what keypads put in its place. No NFKC: it would read "50²" as 502.
_FOLD: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    ord("、"): ",",
    ord("×"): "*",
    ord("￥"): "¥",
    ord("—"): "-",
    ord("–"): "-",
    ord("‐"): "-",
    ord("‑"): "-",
    ord("−"): "-",
    **dict.fromkeys((*range(0x200B, 0x2010), *range(0x202A, 0x202F), 0x2060, 0xFEFF, 0), None),
}
_BLANKS: Final = re.compile(r"\s+")
_TAIL: Final = " .。!,;"

_NUMBER: Final = r"(?P<number>(?:\+86|0086|86)?[ -]?1[3-9][0-9](?:[ -]?[0-9]{4}){2})"
_SOME_NUMBER: Final = r"(?P<number>\+?[0-9](?:-?[0-9]){6,19})"
_UNIT: Final = r"(?: ?(?:元|圆|块钱?))?"
_REST: Final = (
    r"(?P<before> ?[,#+] ?| )"
    rf"¥?(?P<amount>[0-9]+(?:\.[0-9]*)?){_UNIT}(?: ?\* ?(?P<repeat>[1-9]){_UNIT})?"
    r"(?:(?P<behind> ?[,#+] ?| )(?P<pin>[0-9]{6}))?"
)
_RECHARGE: Final = re.compile(_NUMBER + _REST)
_RECHARGE_OF_SOME_NUMBER: Final = re.compile(_SOME_NUMBER + _REST)
_QUERY: Final = re.compile(r"(?P<verb>00|11)(?: ?[,#+ ] ?(?P<pin>[0-9]{6}))?")
_AMOUNT: Final = re.compile(r"(?P<yuan>0|[1-9][0-9]{0,9})(?:\.(?P<fen>[0-9]{1,2})?)?")
_MOBILE: Final = re.compile(r"(?:86)?1[3-9][0-9]{9}")


def parse(text: str, service_kind: ServiceKind) -> Ask:
    """Read one message.

    Raises Refusal(NUMBER) where a recharge is meant and its number is no mobile number, and Refusal(AMOUNT)
    where its amount is zero, too large, or finer than a fen. Nothing else is ever raised.
    """
    folded = _BLANKS.sub(" ", text.translate(_FOLD)).strip().rstrip(_TAIL)
    if len(folded) > TEXT_MAX:
        return Unclear()
    if service_kind is ServiceKind.QUERY:
        return _query(folded)
    return _recharge(folded)


def _query(folded: str) -> Ask:
    match = _QUERY.fullmatch(folded)
    if match is None:
        return Unclear()
    return (Balance if match["verb"] == "00" else Last)(_pin(match))


def _recharge(folded: str) -> Ask:
    match = _RECHARGE.fullmatch(folded) or _RECHARGE_OF_SOME_NUMBER.fullmatch(folded)
    if match is None or _is_ambiguous(match):
        return Unclear()
    target = Msisdn.parse(match["number"])
    return Recharge(target, _fen(match["amount"]), int(match["repeat"] or 1), _pin(match))


def _is_ambiguous(match: re.Match[str]) -> bool:
    """Two numbers, or "50 1,234567": separators of two kinds may be a thousands comma."""
    if _MOBILE.fullmatch(match["amount"]):
        return True
    return match["behind"] is not None and match["before"].strip() != match["behind"].strip()


def _fen(amount: str) -> int:
    match = _AMOUNT.fullmatch(amount)
    if match is None:
        raise Refusal(Reason.AMOUNT)
    fen = int(match["yuan"]) * 100 + int((match["fen"] or "").ljust(2, "0"))
    if not 0 < fen <= AMOUNT_MAX_FEN:
        raise Refusal(Reason.AMOUNT)
    return fen


def _pin(match: re.Match[str]) -> Pin | None:
    return Pin(match["pin"]) if match["pin"] else None
