"""What an outlet's plain SMS says: text and service number in, an ask out. Pure; it never guesses.

A text either has exactly one meaning or it is ``Unclear``. Commands: docs/channels/sms.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from aircharge.errors import Reason, Refusal
from aircharge.values import AMOUNT_MAX_FEN, Msisdn, Pin

__all__ = [
    "Act",
    "Ask",
    "Balance",
    "Deposit",
    "Earned",
    "History",
    "Last",
    "Lost",
    "NewPin",
    "Question",
    "Recap",
    "Recharge",
    "Reverse",
    "Send",
    "ServiceKind",
    "Status",
    "TakeBack",
    "Unclear",
    "Yes",
    "parse",
]

TEXT_MAX: Final = 80
"""No command is longer, in characters; what is longer says nothing."""

_WRITTEN_MAX: Final = 5 * TEXT_MAX
"""So many characters, blanks and invisible ones among them, are looked at."""


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
class Reverse:
    """``14 <number> <amount> <PIN> [code]``: take back today's recharge; the code is from the customer's SMS."""

    target: Msisdn
    amount_fen: int
    pin: Pin
    consent: str = ""
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class TakeBack:
    """``14 <reference> <PIN> [code]``: the order with these last eight digits, a recharge or a transfer."""

    about: str
    pin: Pin
    consent: str = ""
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class Send:
    """``15 <outlet> <amount>[*n] <PIN>``: float to another outlet."""

    party: str
    amount_fen: int
    pin: Pin
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class Deposit:
    """``16 <amount> [PIN]``: a ticket for a deposit."""

    amount_fen: int
    pin: Pin | None = None
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class NewPin:
    """``17 <old> <new> <new>``."""

    old: Pin
    new: Pin
    again: Pin
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class Lost:
    """``18 <number> <PIN>``: another number of the outlet is lost, block it and its card."""

    number: Msisdn
    pin: Pin
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class Earned:
    """``19 [amount] <PIN>``: commission to float, all of it when no amount is named."""

    pin: Pin
    amount_fen: int = 0
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class Yes:
    """``Y[n] [PIN]``: what was asked back is meant; the question names the number where there is one."""

    pin: Pin | None = None
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class Status:
    """``12 <reference or number>``: what became of it? ``about``: 4 to 20 digits."""

    about: str
    pin: Pin | None = None


@dataclass(frozen=True, slots=True)
class Recap:
    """``13 [day]``: a day's sums. ``day``: "" = today, mmdd or yyyymmdd."""

    day: str = ""
    pin: Pin | None = None


@dataclass(frozen=True, slots=True)
class History:
    """``10``: the last few orders."""

    pin: Pin | None = None


@dataclass(frozen=True, slots=True)
class Unclear:
    """No command, or more than one reading. ``verb``: a command is plainly meant ("14", "00", "Y" …), but wrong."""

    verb: str = field(default="", compare=False)


Act = Recharge | Reverse | TakeBack | Send | Deposit | NewPin | Lost | Earned | Yes
Question = Balance | Last | Status | Recap | History
Ask = Act | Question | Unclear

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
    ord("‒"): "-",
    ord("―"): "-",
    **dict.fromkeys((*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), None),
    **dict.fromkeys((0x2060, 0xFEFF, 0, 0xAD, 0x61C, 0xFE0E, 0xFE0F), None),
}
_BLANKS: Final = re.compile(r"\s+")
_TAIL: Final = " .。!,;?@"  # "@" and "?" are what padding and signs of another alphabet turn into
_QUOTES: Final = "\"'“”„‘’「」『』"
_QUOTED: Final = re.compile(rf"(?<![^ ,#+])[{_QUOTES}]([^{_QUOTES}]+)[{_QUOTES}](?=$|[ ,#+*])")
_BALANCE_WORDS: Final = frozenset(
    ("余额", "查余额", "查询余额", "OO", "Oo", "oo", "0O", "0o", "O0", "o0", "0 0")
)

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
_SEP: Final = r" ?[,#+ ] ?"
_PIN: Final = r"(?P<pin>[0-9]{6})"
_SUM: Final = rf"¥?(?P<amount>[0-9]+(?:\.[0-9]*)?){_UNIT}"
_QUERY: Final = re.compile(rf"(?P<verb>00|11|10)(?:{_SEP}{_PIN})?")
_STATUS: Final = re.compile(rf"12{_SEP}(?P<about>[0-9]{{4,20}})(?:{_SEP}{_PIN})?")
_STATUS_OF_NUMBER: Final = re.compile(rf"12{_SEP}{_NUMBER}(?:{_SEP}{_PIN})?")
_RECAP: Final = re.compile(rf"13(?:{_SEP}(?P<day>[0-9]{{4}}|[0-9]{{8}}))?(?:{_SEP}{_PIN})?")
_REVERSE: Final = re.compile(rf"14{_SEP}{_NUMBER}{_SEP}{_SUM}{_SEP}{_PIN}(?:{_SEP}(?P<consent>[0-9]{{4}}))?")
_TAKE_BACK: Final = re.compile(
    rf"14{_SEP}(?P<about>[0-9]{{8}}){_SEP}{_PIN}(?:{_SEP}(?P<consent>[0-9]{{4}}))?"
)
_SEND: Final = re.compile(
    rf"15{_SEP}(?P<party>[A-Za-z0-9_-]{{1,16}}){_SEP}{_SUM}(?: ?\* ?(?P<repeat>[1-9][0-9]?))?{_SEP}{_PIN}"
)
_DEPOSIT: Final = re.compile(rf"16{_SEP}{_SUM}(?:{_SEP}{_PIN})?")
_NEW_PIN: Final = re.compile(
    rf"17{_SEP}(?P<old>[0-9]{{6}}){_SEP}(?P<new>[0-9]{{6}}){_SEP}(?P<again>[0-9]{{6}})"
)
_LOST: Final = re.compile(rf"18{_SEP}{_NUMBER}{_SEP}{_PIN}")
_EARNED: Final = re.compile(rf"19(?:{_SEP}{_SUM})?{_SEP}{_PIN}")
_YES: Final = re.compile(rf"(?:[Yy](?:[Ee][Ss])?|是)(?P<repeat>[1-9][0-9]?)?(?:{_SEP}{_PIN})?")
_AGAIN: Final = re.compile(r"(?P<said>.*[^* ]) ?\* ?(?P<repeat>[1-9][0-9]?)")
_SLIPS: Final = {
    ServiceKind.RECHARGE: re.compile(rf"(?P<verb>1[4-9]|[Yy])(?:{_SEP}.*)?"),
    ServiceKind.QUERY: re.compile(rf"(?P<verb>00|1[0-3])(?:{_SEP}.*)?"),
}
_ACTS: Final = re.compile(rf"1[4-9]{_SEP}.+|[Yy](?:{_SEP}.+)?")
_PLAIN_NUMBER: Final = r"(?:\+86|0086|86)?[ -]?1[3-9][0-9](?:[ -]?[0-9]{4}){2}"
_PLAIN_SUM: Final = rf"¥?[0-9]+(?:\.[0-9]*)?{_UNIT}"
_HINTS: Final = {
    "swapped": re.compile(rf"{_PLAIN_SUM}{_SEP}{_PLAIN_NUMBER}(?:{_SEP}[0-9]{{6}})?"),
    "only-number": re.compile(_PLAIN_NUMBER),
    "two": re.compile(rf"{_PLAIN_NUMBER}{_SEP}{_PLAIN_SUM}(?:[ ,;#+]+{_PLAIN_NUMBER}{_SEP}{_PLAIN_SUM})+"),
    "word": re.compile(
        rf"(?:请?(?:给|帮|充值?|充话费|冲值?)[ :,]?)+(?:{_PLAIN_NUMBER}[ ,#+]*(?:充值?|冲值?)?[ ,#+]*{_PLAIN_SUM}"
        rf"|{_PLAIN_SUM}[ ,#+]+{_PLAIN_NUMBER})"
    ),
}
"""A recharge is plainly meant and not written as one: nothing is carried out, and a hint says how it is written."""
_AMOUNT: Final = re.compile(r"(?P<yuan>0|[1-9][0-9]{0,9})(?:\.(?P<fen>[0-9]{1,2})?)?")
_MOBILE: Final = re.compile(r"(?:86)?1[3-9][0-9]{9}")


def parse(text: str, service_kind: ServiceKind) -> Ask:
    """Read one message.

    Raises Refusal(NUMBER) where a recharge is meant and its number is no mobile number, and Refusal(AMOUNT)
    where its amount is zero, too large, or finer than a fen. Nothing else is ever raised.
    """
    if len(text) > _WRITTEN_MAX:
        return Unclear()
    folded = _BLANKS.sub(" ", text.translate(_FOLD)).strip().rstrip(_TAIL)
    folded = _QUOTED.sub(r"\1", folded).rstrip(_TAIL)
    if len(folded) > TEXT_MAX:
        return Unclear()
    ask = _query(folded) if service_kind is ServiceKind.QUERY else _said_again(folded)
    if isinstance(ask, Unclear) and service_kind is ServiceKind.RECHARGE:
        ask = _query(folded)  # a question does no harm, whichever number it was sent to
    return Unclear(_slip(folded, service_kind)) if isinstance(ask, Unclear) else ask


def _slip(folded: str, service_kind: ServiceKind) -> str:
    """What was plainly meant and is not carried out: a command's own digits, or the name of a hint; "" = nothing."""
    if slip := _SLIPS[service_kind].fullmatch(folded):
        return slip["verb"].upper()
    if service_kind is ServiceKind.QUERY:
        return "query-number" if _RECHARGE.fullmatch(folded) or _ACTS.fullmatch(folded) else ""
    return next((name for name, like in _HINTS.items() if like.fullmatch(folded)), "")


def _said_again(folded: str) -> Ask:
    """A command; behind any of them ``*2`` says that the same is meant a second time."""
    ask = _act(folded) or _recharge(folded)
    match = _AGAIN.fullmatch(folded) if isinstance(ask, Unclear) else None
    if match is None:
        return ask
    first = _act(match["said"]) or _recharge(match["said"])
    if isinstance(first, Unclear) or first.repeat != 1:
        return ask
    if isinstance(first, Recharge) and len(match["repeat"]) > 1:
        return ask
    return replace(first, repeat=int(match["repeat"]))


def _query(folded: str) -> Ask:
    if match := _QUERY.fullmatch(folded):
        questions: dict[str, type[Balance | Last | History]] = {"00": Balance, "11": Last, "10": History}
        return questions[match["verb"]](_pin(match))
    if folded in _BALANCE_WORDS:
        return Balance()
    if match := _STATUS_OF_NUMBER.fullmatch(folded):
        return Status(str(Msisdn.parse(match["number"])), _pin(match))
    if match := _STATUS.fullmatch(folded):
        return Status(match["about"], _pin(match))
    if match := _RECAP.fullmatch(folded):
        return Recap(match["day"] or "", _pin(match))
    return Unclear()


def _act(folded: str) -> Act | None:
    """A command that begins with its own two digits, or the answer to what was asked back."""
    if match := _REVERSE.fullmatch(folded):
        target = Msisdn.parse(match["number"])
        return Reverse(target, _fen(match["amount"]), Pin(match["pin"]), match["consent"] or "")
    if match := _TAKE_BACK.fullmatch(folded):
        return TakeBack(match["about"], Pin(match["pin"]), match["consent"] or "")
    if match := _SEND.fullmatch(folded):
        amount_fen, repeat = _fen(match["amount"]), int(match["repeat"] or 1)
        return Send(match["party"], amount_fen, Pin(match["pin"]), repeat)
    if match := _DEPOSIT.fullmatch(folded):
        return Deposit(_fen(match["amount"]), _pin(match))
    if match := _NEW_PIN.fullmatch(folded):
        return NewPin(Pin(match["old"]), Pin(match["new"]), Pin(match["again"]))
    if match := _LOST.fullmatch(folded):
        return Lost(Msisdn.parse(match["number"]), Pin(match["pin"]))
    if match := _EARNED.fullmatch(folded):
        return Earned(Pin(match["pin"]), _fen(match["amount"]) if match["amount"] else 0)
    if match := _YES.fullmatch(folded):
        return Yes(_pin(match), int(match["repeat"] or 1))
    return None


def _recharge(folded: str) -> Recharge | Unclear:
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
