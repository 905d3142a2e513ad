"""What the application messages of FSK terminals look like: fields, codes of transactions, MAC rule, as tables.

Source: docs/protocols/pos-fsk.md section 6 (layouts found in public code of gateways and platforms).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, NamedTuple

from aircharge.wire.fsk_operands import ANSWER_OPERANDS, REQUEST_OPERANDS, Operand

__all__ = [
    "MAC_RULES",
    "PROFILES",
    "PROFILE_2001",
    "PROFILE_FLOW",
    "STRICT_RULES",
    "TRANSACTION_CODES",
    "Codes",
    "Kind",
    "Layout",
    "MacPlace",
    "MacRule",
    "MessageType",
    "Profile",
    "Transaction",
]


class MessageType:
    """First octet of the content. A repeated request is answered with a repeated answer."""

    REQUEST: Final = 0x01
    ANSWER: Final = 0x02
    AGAIN: Final = 0x03


class Kind(Enum):
    """How a field stands in its octets."""

    NUMBER = auto()
    BCD = auto()
    TEXT = auto()
    """ASCII, blanks behind it."""
    TEXT_RIGHT = auto()
    """ASCII, blanks before it."""
    RAW = auto()


class Codes(Enum):
    """How the op codes stand: behind their count, one to three octets each; or ten octets, filled up with zeros."""

    COUNTED = auto()
    TEN = auto()


class MacPlace(Enum):
    """The MAC is the last eight octets of the content in any case."""

    OPERATION = auto()
    """The datum of operation 0D, the last one; a message may be without."""
    DATA = auto()
    """Counted by the data length, behind the data; zeros when there is none."""
    BEHIND = auto()
    """Behind the data and not counted; zeros when there is none."""


Fields = tuple[tuple[str, int, Kind], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """One direction: name, octets and kind of the fields before the op codes, and what comes then."""

    fields: Fields
    operands: dict[int, Operand]
    mac: MacPlace
    codes: Codes = Codes.COUNTED
    has_control: bool = False
    types: tuple[int, ...] = (MessageType.REQUEST, MessageType.AGAIN)
    content_max: int = 1024
    operations_max: int = 100


class Transaction(Enum):
    """What an airtime outlet asks for."""

    ECHO = auto()
    REVERSAL = auto()
    """Automatic: sent by itself when no answer came."""
    SIGN_IN = auto()
    REPRINT = auto()
    SETTLEMENT = auto()
    UPLOAD = auto()
    """The details of a batch whose totals do not agree."""
    SIGN_OUT = auto()
    PARAMETERS = auto()
    NUMBER_CHECK = auto()
    RECHARGE = auto()
    VOID = auto()
    BALANCE = auto()
    LAST = auto()


TRANSACTION_CODES: Final[dict[int, Transaction]] = {
    1: Transaction.ECHO,
    4: Transaction.REVERSAL,
    5: Transaction.SIGN_IN,
    18: Transaction.REPRINT,
    21: Transaction.SETTLEMENT,
    22: Transaction.UPLOAD,
    24: Transaction.SIGN_OUT,
    30: Transaction.PARAMETERS,
    101: Transaction.RECHARGE,
    102: Transaction.VOID,
    115: Transaction.BALANCE,
    313: Transaction.LAST,
    # an operator each: we know it by the number
    **dict.fromkeys((170, 172, 174, 176, 178), Transaction.RECHARGE),
    **dict.fromkeys((171, 173, 175, 177, 179), Transaction.NUMBER_CHECK),
}
"""Codes of requests; of several for one transaction we write the first."""


class MacRule(NamedTuple):
    """Whether request and answer must bear a MAC."""

    request: bool
    answer: bool


MAC_RULES: Final[dict[Transaction, MacRule]] = {
    **dict.fromkeys(Transaction, MacRule(True, True)),
    Transaction.ECHO: MacRule(False, False),
    Transaction.PARAMETERS: MacRule(False, True),
    Transaction.SIGN_IN: MacRule(False, True),  # under the key that the answer brings
    Transaction.REVERSAL: MacRule(False, True),  # names trace and MAC of the request it takes back
}

STRICT_RULES: Final[dict[Transaction, MacRule]] = {
    **MAC_RULES,
    Transaction.SIGN_IN: MacRule(False, False),  # anybody may ask for one: its MAC would be one to forge with
    Transaction.REVERSAL: MacRule(True, True),
    Transaction.PARAMETERS: MacRule(True, True),
}
"""For a centre that keeps no MACs to compare: an automatic reversal, too, must bear its own, and so a download.

The answer to a sign-in bears none: its keys have check values, and under an XOR MAC one is enough to forge a sale.
"""


@dataclass(frozen=True, slots=True)
class Profile:
    """Both directions, and the codes of transactions."""

    name: str
    request: Layout
    answer: Layout
    codes: dict[int, Transaction] = field(default_factory=lambda: TRANSACTION_CODES)
    rules: dict[Transaction, MacRule] = field(default_factory=lambda: MAC_RULES)
    screen: tuple[int, int] = (20, 10)
    """Columns (a Chinese character takes two) and rows."""
    paper: tuple[int, int] = (32, 20)


_ANSWERS: Final = (MessageType.ANSWER, MessageType.AGAIN)

PROFILE_2001: Final = Profile(
    "2001",
    Layout(
        (
            ("type", 1, Kind.NUMBER),
            ("end", 1, Kind.NUMBER),
            ("message_version", 2, Kind.BCD),
            ("script_version", 4, Kind.BCD),
            ("program_version", 4, Kind.BCD),
            ("terminal_type", 10, Kind.TEXT),
            ("gateway_code", 4, Kind.RAW),
            ("called", 15, Kind.TEXT),
            ("caller_flag", 1, Kind.TEXT),
            ("security_module", 16, Kind.TEXT),
            ("trace", 3, Kind.BCD),
            ("transaction", 4, Kind.BCD),
        ),
        REQUEST_OPERANDS,
        MacPlace.OPERATION,
    ),
    Layout(
        (
            ("type", 1, Kind.NUMBER),
            ("end", 1, Kind.NUMBER),
            ("phone", 15, Kind.TEXT_RIGHT),
            ("security_module", 16, Kind.TEXT),
            ("date", 4, Kind.BCD),
            ("time", 3, Kind.BCD),
            ("trace", 3, Kind.BCD),
            ("transaction", 4, Kind.BCD),
        ),
        ANSWER_OPERANDS,
        MacPlace.DATA,
        has_control=True,
        types=_ANSWERS,
    ),
)

_FLOW_FIELDS: Final[Fields] = (
    ("type", 1, Kind.NUMBER),
    ("end", 1, Kind.NUMBER),
    ("message_version", 2, Kind.BCD),
    ("script_version", 4, Kind.BCD),
    ("caller_flag", 1, Kind.TEXT),
    ("security_module", 8, Kind.BCD),
    ("date", 4, Kind.BCD),
    ("time", 3, Kind.BCD),
    ("trace", 3, Kind.BCD),
    ("transaction", 3, Kind.BCD),
)

PROFILE_FLOW: Final = Profile(
    "flow",
    Layout(_FLOW_FIELDS, {**REQUEST_OPERANDS, 0x0D: Operand()}, MacPlace.BEHIND, Codes.TEN),
    Layout(_FLOW_FIELDS, ANSWER_OPERANDS, MacPlace.BEHIND, Codes.TEN, types=_ANSWERS),
)
"""The older variant: TSAM of 8 octets, flow code of 10. That a flow code is ten op codes is our reading."""

PROFILES: Final = {profile.name: profile for profile in (PROFILE_2001, PROFILE_FLOW)}
