"""Profiles: which data elements there are, and how numbers, lengths and texts stand in octets. Data only.

ISO 8583:1987 section 4 names the elements; the BCD profile follows Q/CUP 007 (Chinese terminals and access servers),
the ASCII one the standard's character form.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

__all__ = ["ASCII", "BCD", "CUP", "CUP_AES", "PROFILES", "Field", "Kind", "Profile"]


class Kind(Enum):
    """What an element may hold (ISO 8583:1987 section 4.3)."""

    N = "n"  # digits
    AN = "an"  # letters and digits
    ANS = "ans"  # any text
    Z = "z"  # track 2: digits and "="
    B = "b"  # octets


@dataclass(frozen=True, slots=True)
class Field:
    """``size``: digits, characters or octets; the most of them where ``prefix`` (2 = LL, 3 = LLL) gives the length."""

    kind: Kind
    size: int
    prefix: int = 0


def _n(size: int, prefix: int = 0) -> Field:
    return Field(Kind.N, size, prefix)


def _an(size: int, prefix: int = 0) -> Field:
    return Field(Kind.AN, size, prefix)


def _ans(size: int, prefix: int = 0) -> Field:
    return Field(Kind.ANS, size, prefix)


def _b(size: int, prefix: int = 0) -> Field:
    return Field(Kind.B, size, prefix)


@dataclass(frozen=True, slots=True)
class Profile:
    """A dialect. ``packed``: digits as BCD, two in an octet; else all is text, octets as hexadecimal digits.

    An odd number of packed digits is filled up with a 0 on the right, or on the left with ``fills_left``.
    ``charset`` is that of texts; no message is longer than ``octets_max``.
    """

    name: str
    packed: bool
    fields: dict[int, Field] = field(default_factory=dict)
    fills_left: bool = False
    charset: str = "gbk"
    octets_max: int = 1024


_FIELDS: Final[dict[int, Field]] = {  # those that we do not read are there for terminals that send them
    2: _n(19, 2),  # primary account number: here the customer's number
    3: _n(6),  # processing code
    4: _n(12),  # amount in fen
    5: _n(12),  # amount, settlement
    6: _n(12),  # amount, cardholder billing
    7: _n(10),  # transmission date and time
    8: _n(8),  # amount, cardholder billing fee
    9: _n(8),  # conversion rate, settlement
    10: _n(8),  # conversion rate, cardholder billing
    11: _n(6),  # system trace audit number
    12: _n(6),  # local time hhmmss
    13: _n(4),  # local date MMDD
    14: _n(4),  # expiration date
    15: _n(4),  # settlement date
    16: _n(4),  # conversion date
    17: _n(4),  # capture date
    18: _n(4),  # merchant's type
    19: _n(3),  # acquirer's country
    20: _n(3),  # account's country
    21: _n(3),  # forwarder's country
    22: _n(3),  # point of service entry mode
    23: _n(3),  # card sequence number
    24: _n(3),  # network international identifier
    25: _n(2),  # point of service condition code
    26: _n(2),  # PIN capture code
    27: _n(1),  # length of DE 38
    32: _n(11, 2),  # acquiring institution
    33: _n(11, 2),  # forwarding institution
    35: Field(Kind.Z, 37, 2),  # track 2
    36: Field(Kind.Z, 104, 3),  # track 3
    37: _an(12),  # retrieval reference number
    38: _an(6),  # authorisation identification response
    39: _an(2),  # response code
    40: _an(3),  # service restriction code
    41: _ans(8),  # terminal
    42: _ans(15),  # merchant
    43: _ans(40),  # acceptor's name and place
    44: _ans(25, 2),  # additional response data
    45: _ans(76, 2),  # track 1
    46: _b(600, 3),  # the acquirer's own
    47: _b(512, 3),  # the acquirer's own; terminals put octets there
    48: _n(322, 3),  # settlement totals, uploaded lines
    49: _an(3),  # currency
    50: _an(3),  # currency, settlement
    51: _an(3),  # currency, cardholder billing
    52: _b(8),  # PIN block
    53: _n(16),  # security control information
    54: _ans(40, 3),  # additional amounts
    55: _b(255, 3),  # chip data
    56: _b(600, 3),  # the acquirer's own
    57: _ans(100, 3),  # our own: name=value;…
    58: _ans(100, 3),
    59: _b(600, 3),  # the acquirer's own
    60: _n(17, 3),  # type 2, batch 6, network code 3, …
    61: _n(29, 3),  # original: batch 6, trace 6, date 4
    62: _b(512, 3),  # keys, parameters
    63: _ans(163, 3),  # operator, text for display or slip
    64: _b(8),  # MAC, where no element above 64 is there
    70: _n(3),  # network management information code (ISO 8583:1987; banks)
    90: _n(42),  # original data elements: type 4, trace 6, date and time 10, acquirer 11, forwarder 11
    95: _an(42),  # replacement amounts
    100: _n(11, 2),  # receiving institution
    102: _ans(28, 2),  # account from
    103: _ans(28, 2),  # account to
    128: _b(8),  # MAC, where an element above 64 is there
}

CUP: Final = Profile("cup", packed=True, fields=_FIELDS)
CUP_AES: Final = Profile("cup-aes", packed=True, fields={**_FIELDS, 52: _b(16)})
"""ISO 9564 format 4 needs 16 octets for a PIN block, which no element of Q/CUP 007 has."""
BCD: Final = Profile("bcd", packed=True, fields=_FIELDS, fills_left=True)
ASCII: Final = Profile("ascii", packed=False, fields=_FIELDS, octets_max=2000)
PROFILES: Final = {profile.name: profile for profile in (CUP, CUP_AES, BCD, ASCII)}
