"""The conventions between our terminals and the door: header, what each message bears and means.

Framework: Q/CUP 007 (header, DE 60 and 61, key download in DE 62, settlement in DE 48); what it leaves to the
acquirer is ours: the customer's number stands in DE 2, a repeat count in DE 57. docs/protocols/pos-8583.md.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from aircharge.errors import WireError
from aircharge.wire.iso8583.crypto import MACS, check_value, decrypt, encrypt, is_mac
from aircharge.wire.iso8583.message import FORMAT_ERROR, MAC, MAC_128, BadMessage, Message
from aircharge.wire.iso8583.message import decode as decode_message
from aircharge.wire.iso8583.message import encode as encode_message
from aircharge.wire.iso8583.profile import Profile

__all__ = [
    "ACTS",
    "CURRENCY",
    "HEADER_OCTETS",
    "MANDATORY",
    "Act",
    "Demand",
    "Header",
    "Line",
    "Sums",
    "WorkingKeys",
    "act_of",
    "fixed",
    "has_good_mac",
    "missing",
    "network",
    "open_message",
    "original",
    "read_lines",
    "repeat_of",
    "seal_message",
    "write_lines",
]

CURRENCY: Final = "156"
"""Chinese yuan (ISO 4217)."""
HEADER_OCTETS: Final = 6
_MAC_OCTETS: Final = 8
_KCV_OCTETS: Final = 4
_KEY_LAYOUTS: Final = {24: (8, 2), 36: (8, 3), 40: (16, 2), 60: (16, 3)}  # DE 62: octets of a key, keys
_LINE_DIGITS: Final = 20
_LINES_MAX: Final = 15


class Act(Enum):
    """What a message asks for."""

    SALE = "recharge"
    VOID = "same-day void"
    BALANCE = "balance"
    LAST = "last transaction"
    CHECK = "number check"
    COPY = "reprint"
    CANCEL = "automatic reversal"
    SIGN_IN = "sign-in"
    PARAMETERS = "parameter download"
    SIGN_OUT = "sign-out"
    ECHO = "echo"
    SETTLE = "batch settlement"
    UPLOAD = "batch upload"
    UPLOAD_END = "end of batch upload"


SALE_CODE: Final = "500000"
ACTS: Final[dict[tuple[str, str], Act]] = {
    ("0200", SALE_CODE): Act.SALE,
    ("0200", "200000"): Act.VOID,
    ("0200", "310000"): Act.BALANCE,
    ("0200", "320000"): Act.LAST,
    ("0200", "330000"): Act.CHECK,
    ("0200", "380000"): Act.COPY,
    ("0400", SALE_CODE): Act.CANCEL,
    ("0400", "200000"): Act.CANCEL,
    ("0800", "001"): Act.SIGN_IN,
    ("0800", "003"): Act.SIGN_IN,
    ("0800", "360"): Act.PARAMETERS,
    ("0820", "002"): Act.SIGN_OUT,
    ("0820", "301"): Act.ECHO,
    ("0500", "201"): Act.SETTLE,
    ("0320", "201"): Act.UPLOAD,
    ("0320", "202"): Act.UPLOAD_END,
}
"""By message type and processing code (DE 3), or network management code (DE 60.3)."""

_ALL: Final = (11, 41, 42, 60)
MANDATORY: Final[dict[Act, tuple[int, ...]]] = {
    Act.SALE: (2, 3, 4, 22, 25, *_ALL, 49, 64),
    Act.VOID: (3, 4, 22, 25, *_ALL, 49, 61, 64),
    Act.BALANCE: (3, *_ALL, 49, 64),
    Act.LAST: (3, *_ALL, 64),
    Act.CHECK: (2, 3, *_ALL, 64),
    Act.COPY: (3, *_ALL, 61, 64),
    Act.CANCEL: (3, 4, 39, *_ALL, 49, 64),
    Act.SIGN_IN: _ALL,
    Act.PARAMETERS: (*_ALL, 64),
    Act.SIGN_OUT: (*_ALL, 64),
    Act.ECHO: _ALL,
    Act.SETTLE: (*_ALL, 48, 64),
    Act.UPLOAD: (*_ALL, 48, 64),
    Act.UPLOAD_END: (*_ALL, 48, 64),
}
"""What each request must bear. Sign-in and echo bear no MAC; a sale's reversal also tells the number (``missing``)."""


class Demand(Enum):
    """The processing request digit of an answer's header: what the terminal is to do next."""

    NONE = "0"
    PARAMETERS = "1"
    SIGN_IN = "3"
    KEYS = "4"


@dataclass(frozen=True, slots=True)
class Header:
    """Six BCD octets: application 2 digits, version 2, terminal state 1, processing request 1, sub-version 6."""

    application: str = "60"
    version: str = "22"
    state: str = "0"
    demand: str = "0"
    sub_version: str = "000000"

    @classmethod
    def decode(cls, octets: bytes) -> Header:
        digits = octets[:HEADER_OCTETS].hex()
        if len(digits) != 2 * HEADER_OCTETS or not digits.isdecimal():
            raise WireError("Q/CUP 007", "5", "no header", field="header", hint=FORMAT_ERROR)
        return cls(digits[:2], digits[2:4], digits[4], digits[5], digits[6:])

    def encode(self) -> bytes:
        return bytes.fromhex(self.application + self.version + self.state + self.demand + self.sub_version)

    def demanding(self, demand: Demand) -> Header:
        """The header of an answer to who sent this."""
        return replace(self, demand=demand.value)


def open_message(octets: bytes, profile: Profile) -> tuple[Header, Message]:
    """Header and message. Raises WireError (BadMessage with what was read, once there is a message)."""
    header = Header.decode(octets)
    return header, decode_message(octets[HEADER_OCTETS:], profile)


def seal_message(
    header: Header, message: Message, profile: Profile, mac: str = "", key: bytes = b""
) -> bytes:
    """The octets; with a MAC over everything before it, from the type on, when ``mac`` names one.

    It stands in DE 64, in DE 128 where there are elements above 64. Raises BadMessage.
    """
    if not mac:
        return header.encode() + encode_message(message, profile)
    number = MAC_128 if max(message.fields, default=0) > MAC else MAC
    message.fields[number] = bytes(_MAC_OCTETS)
    body = _without_mac(encode_message(message, profile), profile)
    message.fields[number] = MACS[mac](key, body)
    return header.encode() + encode_message(message, profile)


def has_good_mac(octets: bytes, profile: Profile, mac: str, key: bytes) -> bool:
    """Whether a message ends in the key's MAC; never when another element stands at its end."""
    body = octets[HEADER_OCTETS:]
    covered = _without_mac(body, profile)
    given = body[len(covered) :]
    if not profile.packed:
        try:
            given = bytes.fromhex(given.decode("ascii"))
        except ValueError:  # the end of some text
            return False
    return is_mac(mac, key, covered, given)


def _without_mac(body: bytes, profile: Profile) -> bytes:
    return body[: -_MAC_OCTETS if profile.packed else -2 * _MAC_OCTETS]


def fixed(value: int, count: int) -> str:
    """A number in so many digits: one too long would move what stands behind it. Raises WireError."""
    text = f"{value:0{count}d}"
    if len(text) != count or value < 0:
        raise WireError("Q/CUP 007", "fields", f"{value} does not go into {count} digits")
    return text


def network(message: Message) -> tuple[str, int, str]:
    """DE 60: type, batch number, network management code. Raises BadMessage."""
    digits = message.text(60)
    if len(digits) < 11:
        raise BadMessage("type, batch and network code are 11 digits", 60, 0, message)
    return digits[:2], int(digits[2:8]), digits[8:11]


def original(message: Message) -> tuple[int, int]:
    """DE 61: batch and trace number of the transaction that is meant. Raises BadMessage."""
    digits = message.text(61)
    if len(digits) < 12:
        raise BadMessage("batch and trace are 12 digits", 61, 0, message)
    return int(digits[:6]), int(digits[6:12])


def repeat_of(message: Message) -> int:
    """DE 57 ``REPEAT=2``: yes, the same again; 1 when nothing is said. Raises BadMessage."""
    for part in message.text(57).split(";"):
        name, _, value = part.strip().partition("=")
        if name == "REPEAT":
            if not (value.isascii() and value.isdecimal() and 1 <= int(value) <= 99):
                raise BadMessage("REPEAT is 1 to 99", 57, 0, message)
            return int(value)
    return 1


def act_of(message: Message) -> Act | None:
    """What it asks for; None: nothing we know."""
    if message.mti in ("0200", "0400"):
        return ACTS.get((message.mti, message.text(3)))
    return ACTS.get((message.mti, network(message)[2]))


def missing(message: Message, act: Act) -> list[int]:
    """Elements that are wanted and not there."""
    wanted = MANDATORY[act]
    if act is Act.CANCEL and message.text(3) == SALE_CODE:
        wanted = (2, *wanted)  # whose sale: a trace number may have been used before
    return [number for number in wanted if number not in message.fields]


# -- what elements hold -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkingKeys:
    """DE 62 of a sign-in's answer: each key under the master key, with the first four octets of its check value.

    ``PIK | check 4 | MAK | check 4``, and for terminals with a track key ``| TDK | check 4``. Keys have 8 or 16
    octets; a MAK of 8 beside a PIK of 16 is filled up with zeros.
    """

    pik: bytes
    pik_check: bytes
    mak: bytes
    mak_check: bytes
    tdk: bytes = b""
    tdk_check: bytes = b""

    @classmethod
    def wrapped(cls, master: bytes, *keys: bytes) -> WorkingKeys:
        """Clear keys (PIK, MAK and perhaps TDK) as they are sent to the terminal that has this master key."""
        return cls(*(part for key in keys for part in (encrypt(master, key), check_value(key, _KCV_OCTETS))))

    def unwrapped(self, master: bytes) -> tuple[bytes, ...]:
        """The clear keys, PIK, MAK and TDK if there is one. Raises WireError where a check value is wrong."""
        keys = []
        for name, key, check in self._parts():
            clear = decrypt(master, key)
            if not hmac.compare_digest(check_value(clear, _KCV_OCTETS), check):
                raise WireError("Q/CUP 007", "sign-in", f"the check value of {name} is wrong", field="DE 62")
            keys.append(clear)
        return tuple(keys)

    def _parts(self) -> list[tuple[str, bytes, bytes]]:
        parts = [("PIK", self.pik, self.pik_check), ("MAK", self.mak, self.mak_check)]
        return [*parts, ("TDK", self.tdk, self.tdk_check)] if self.tdk else parts

    def encode(self) -> bytes:
        """24, 40 or 60 octets (or 36: three keys of 8)."""
        size = max(len(self.pik), len(self.mak), len(self.tdk))
        return b"".join(key.ljust(size, b"\0") + check for _, key, check in self._parts())

    @classmethod
    def decode(cls, octets: bytes) -> WorkingKeys:
        """Raises WireError."""
        size, count = _KEY_LAYOUTS.get(len(octets), (0, 0))
        if not size:
            raise WireError("Q/CUP 007", "sign-in", f"{len(octets)} octets of keys", field="DE 62")
        parts = []
        for at in range(0, count * (size + _KCV_OCTETS), size + _KCV_OCTETS):
            key, check = octets[at : at + size], octets[at + size : at + size + _KCV_OCTETS]
            parts += [key if any(key[8:]) else key[:8], check]
        return cls(*parts)


@dataclass(frozen=True, slots=True)
class Sums:
    """DE 48 of a settlement: sales 12 + 3 digits (fen, count), voids 12 + 3, and in the answer what came of it."""

    sale_fen: int = 0
    sale_n: int = 0
    void_fen: int = 0
    void_n: int = 0
    said: str = ""  # answer: 1 equal, 2 not

    def encode(self) -> str:
        """Raises WireError: more than 999 of a kind do not fit into one batch."""
        sales = fixed(self.sale_fen, 12) + fixed(self.sale_n, 3)
        return sales + fixed(self.void_fen, 12) + fixed(self.void_n, 3) + self.said

    @classmethod
    def decode(cls, message: Message) -> Sums:
        """Raises BadMessage."""
        digits = message.text(48)
        if len(digits) not in (30, 31):
            raise BadMessage("settlement totals are 30 digits", 48, 0, message)
        numbers = (int(digits[:12]), int(digits[12:15]), int(digits[15:27]), int(digits[27:30]))
        return cls(*numbers, said=digits[30:])


@dataclass(frozen=True, slots=True)
class Line:
    """One uploaded transaction: kind 00 sale or 20 void, trace number, fen."""

    trace: int
    amount_fen: int
    is_void: bool = False


def write_lines(lines: list[Line]) -> str:
    """DE 48 of an upload: count 2 digits, then 2 + 6 + 12 a line; 15 lines at most. Raises WireError."""
    assert len(lines) <= _LINES_MAX
    return f"{len(lines):02d}" + "".join(
        ("20" if line.is_void else "00") + fixed(line.trace, 6) + fixed(line.amount_fen, 12) for line in lines
    )


def read_lines(message: Message) -> list[Line]:
    """Raises BadMessage."""
    digits = message.text(48)
    rows = [digits[at : at + _LINE_DIGITS] for at in range(2, len(digits), _LINE_DIGITS)]
    if len(digits) < 2 or len(rows) != int(digits[:2]) or any(len(row) != _LINE_DIGITS for row in rows):
        raise BadMessage("not as many lines as are said", 48, 0, message)
    if any(row[:2] not in ("00", "20") for row in rows):
        raise BadMessage("a line of another kind than 00 and 20", 48, 0, message)
    return [Line(int(row[2:8]), int(row[8:]), row[:2] == "20") for row in rows]
