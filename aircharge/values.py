"""Plain values every room may speak of: money, numbers, keys, orders, receipts.

Money is an ``int`` of fen (1 yuan = 100 fen) everywhere; no float, no Decimal.
Times are ``int`` milliseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from aircharge.errors import Reason, Refusal

__all__ = [
    "AMOUNT_MAX_FEN",
    "YES_WORDS",
    "Asker",
    "CardUse",
    "Channel",
    "Key",
    "Msisdn",
    "Operation",
    "Order",
    "Pin",
    "Receipt",
    "Said",
    "State",
    "Verdict",
    "as_terminal",
    "content_hash",
    "mask_msisdn",
    "terminal_of",
    "yuan_text",
]

AMOUNT_MAX_FEN: Final = 100_000_000_00
"""Nothing the platform moves in one step is larger than 100 million yuan."""

_MOBILE: Final = re.compile(r"1[3-9][0-9]{9}")
_ADDRESS: Final = re.compile(r"[0-9]{3,20}")


class Channel(IntEnum):
    """The door an order came through."""

    SMS = 1
    STK = 2
    USSD = 3
    IVR = 4
    WEB = 5
    POS = 6
    API = 7
    CLI = 8


class Operation(IntEnum):
    """What an order or a message of an outlet asks for."""

    RECHARGE = 1
    REVERSAL = 2
    FUNDING = 3
    TRANSFER = 4
    ADJUSTMENT = 5
    RECONFIRM = 6
    BALANCE = 7
    LAST = 8
    BATCH = 9  # the reserve of a file of recharges
    WITHDRAWAL = 10  # float leaves the house
    COMMISSION = 11  # commission account → float
    DEPOSIT = 12  # float → frozen deposit (保证金), or back
    STOCK = 13  # we buy stock from an operator
    PAYOUT = 14  # commission of a month
    STATUS = 15  # what became of this order?
    RECAP = 16  # a day's count and sums
    HISTORY = 17  # the last few orders
    TICKET = 18  # announce a deposit
    PIN_CHANGE = 19


class State(IntEnum):
    """State of an order (docs/architecture.md, "States of a recharge")."""

    REFUSED = 0
    HELD = 1
    SENT = 2
    IN_DOUBT = 3
    SETTLED = 4
    VOIDED = 5
    MANUAL = 6
    REVERSED = 7
    PARKED = 8  # held, and kept from the operator until a clerk lets it go on

    @property
    def is_open(self) -> bool:
        """Whether the hold of an order in this state still stands."""
        return self in _OPEN


_OPEN: Final = frozenset((State.HELD, State.SENT, State.IN_DOUBT, State.MANUAL, State.PARKED))


class Verdict(IntEnum):
    """What an operator's answer means for money."""

    YES = 1  # executed: settle
    NO = 2  # definitely not executed and never will be: void
    UNKNOWN = 3  # neither: the hold stands
    NOT_SENT = 4  # no byte left the house: void


class Msisdn(str):
    """A customer's mobile number, national form, 11 digits ("13812345678").

    E.164 with country code 86 (ITU-T E.164); ``repr`` masks it so that it never reaches a log whole.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Msisdn:
        """A number as people write it (+86, 0086, 86, blanks, hyphens). Raises Refusal(NUMBER)."""
        digits = address_digits(text)
        if not _MOBILE.fullmatch(digits):
            raise Refusal(Reason.NUMBER)
        return cls(digits)

    @property
    def is_mobile(self) -> bool:
        """Whether the digits have the form of a mobile number (a card may send anything)."""
        return _MOBILE.fullmatch(self) is not None

    @property
    def e164(self) -> str:
        """Country code and number without a plus sign, "8613812345678"."""
        return "86" + self

    @property
    def masked(self) -> str:
        return mask_msisdn(self)

    def __repr__(self) -> str:
        return f"Msisdn({self.masked})"


def address_digits(text: str) -> str:
    """Any sender or destination address in national digits: blanks, hyphens and country code 86 dropped.

    Raises Refusal(NUMBER) when what is left is not 3 to 20 digits.
    """
    digits = text.strip().replace(" ", "").replace("-", "")
    international = digits.startswith(("+", "00"))
    digits = digits.removeprefix("+").removeprefix("00")
    if digits.startswith("86") and (international or len(digits) == 13):
        digits = digits[2:]
    if not _ADDRESS.fullmatch(digits):
        raise Refusal(Reason.NUMBER)
    return digits


def mask_msisdn(number: str) -> str:
    """``138****5678``: what a log may show of a number."""
    return number if len(number) < 7 else f"{number[:3]}****{number[-4:]}"


_TERMINAL: Final = "pos:"


def as_terminal(code: str) -> str:
    """How a payment terminal stands where else a phone does: who asks, and the scope of its keys."""
    return _TERMINAL + code


def terminal_of(asker: str) -> str:
    """The terminal's code; "" when it was a phone that asked."""
    return asker.removeprefix(_TERMINAL) if asker.startswith(_TERMINAL) else ""


def yuan_text(amount_fen: int) -> str:
    """``12345`` fen as "123.45"."""
    sign = "-" if amount_fen < 0 else ""
    return f"{sign}{abs(amount_fen) // 100}.{abs(amount_fen) % 100:02d}"


class Pin(str):
    """A service PIN. Neither ``repr`` nor ``format`` ever shows it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Pin(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    @property
    def secret(self) -> str:
        """The digits themselves, for the keyed hash only."""
        return str.__str__(self)


@dataclass(frozen=True, slots=True)
class Key:
    """Idempotency key: the scope that numbers its requests, and the request's own mark within it."""

    scope: str
    mark: str


@dataclass(frozen=True, slots=True)
class CardUse:
    """Proof that a SIM card sealed the message: its MAC was verified under this key version."""

    card_id: int
    key_version: int
    serial: int  # the message's own random number, 64 bit unsigned
    counter: int  # TS 102 225 CNTR, 40 bit


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, as far as the door could prove it."""

    phone: str  # national digits of the sending number, or a terminal (``as_terminal``)
    service: str  # the number it wrote to; replies come from there
    card: CardUse | None = None
    pin: Pin | None = None
    centre: str = ""  # the SMS centre that brought it, by its peer's name: answers leave by it


@dataclass(frozen=True, slots=True)
class Said:
    """The words of a plain message: all that tells it from another where its SMS centre names no time.

    ``words`` marks verb and content; the number after ``*`` and the PIN stand beside it, for with another one the
    message is another. What was said is not carried out again within ``window_ms`` (``ledger.hearing``).
    """

    operation: Operation
    words: str  # 32 hex digits, or YES_WORDS
    repeat: int = 1
    pin: str = ""  # tells PINs apart, and tells nothing of them
    window_ms: int = 0


YES_WORDS: Final = "yes"
"""What every "Y" says, whatever it answers."""


@dataclass(frozen=True, slots=True)
class Order:
    """A recharge as a door hands it to the switch."""

    channel: Channel
    key: Key
    asker: Asker
    target: Msisdn
    amount_fen: int
    received_ms: int
    sent_ms: int | None = None  # when the asker sent it, where the channel tells
    repeat: int = 1  # 2 = "yes, the same again" (50*2)
    earlier: Key | None = None  # re-confirm: the key of the request that is asked about
    said: Said | None = None  # a plain message: known by its words where nothing proves which message it is
    answers: Said | None = None  # the order is a "Y": the words that were asked back
    mac: bytes = b""  # the message's own, where it bears one: another message under the same key has another


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an order so far. ``fresh`` is true for the one command that brought this state about."""

    order_id: int  # 0 when nothing could be recorded under an account (unknown sender)
    state: State
    reason: Reason
    fresh: bool
    outlet_id: int = 0
    operator_id: int = 0
    op_ref: str = ""
    target: str = ""
    amount_fen: int = 0
    cost_fen: int = 0
    created_ms: int = 0
    attempts: int = 0
    original_ref: str = ""  # a reversal: our reference of the recharge it takes back


def content_hash(operation: Operation, target: str, amount_fen: int, repeat: int = 1) -> bytes:
    """SHA-256 of an order's canonical content: what must be equal for two requests to be the same one.

    The PIN is left out on purpose: a stored hash over six digits would give it away.
    """
    return hashlib.sha256(f"{int(operation)}|{target}|{amount_fen}|{repeat}".encode()).digest()
