"""What our SIM menu says inside a secured packet (docs/protocols/stk.md), version 1. Big-endian:

version 1 | operation 1 | serial 8 | fields of the operation (``FIELDS``) | PIN 8 | time 4
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NoReturn

from aircharge.errors import WireError
from aircharge.values import Pin, mask_msisdn

__all__ = ["FIELDS", "VERSION", "Fault", "StkMessage", "StkOperation", "decode", "encode"]

VERSION: Final = 1

_HEAD: Final = struct.Struct(">BBQ")
_TAIL: Final = struct.Struct(">8sI")
_DIGITS: Final = re.compile(r"[0-9]+", re.ASCII)
_TARGET: Final = re.compile(r"([0-9]{1,12})f*", re.ASCII)
_PIN: Final = re.compile(r"([0-9]{4,12})f*", re.ASCII)
_CONSENT: Final = re.compile(r"([0-9]{0,4})f*", re.ASCII)
_PARTY: Final = re.compile(rb"([A-Za-z0-9_-]{1,16})\0*")


class StkOperation(IntEnum):
    """What the menu item was."""

    RECHARGE = 1
    RECONFIRM = 2  # 重复充值: what became of the earlier serial? Execute only if no record of it exists
    BALANCE = 3
    LAST = 4
    REVERSAL = 5  # 返销: take back today's recharge of this amount to this number
    TRANSFER = 6  # 转账: float to another outlet
    TICKET = 7  # 预存: announce a deposit
    PIN_CHANGE = 8
    COMMISSION = 9  # 佣金转余额: commission account to float
    STATUS = 10  # what became of the order with this number?
    RECAP = 11  # a day's count and sums
    HISTORY = 12  # the last few
    TAKE_BACK = 13  # 冲正: take back the recharge or transfer with this number


class Fault(IntEnum):
    """``hint`` of our WireErrors: what is wrong with a message that was sealed properly."""

    LENGTH = 0x30
    VERSION = 0x31
    OPERATION = 0x32
    SERIAL = 0x33
    TARGET = 0x34
    AMOUNT = 0x35
    REPEAT = 0x36
    PIN = 0x37
    TIME = 0x38
    CONSENT = 0x39
    PARTY = 0x3A
    REFERENCE = 0x3B
    DATE = 0x3C


FIELDS: Final[dict[StkOperation, tuple[str, ...]]] = {
    StkOperation.RECHARGE: ("target", "amount_fen", "repeat"),
    StkOperation.RECONFIRM: ("earlier", "target", "amount_fen", "repeat"),
    StkOperation.BALANCE: (),
    StkOperation.LAST: (),
    StkOperation.REVERSAL: ("target", "amount_fen", "consent"),
    StkOperation.TRANSFER: ("party", "amount_fen", "repeat"),
    StkOperation.TICKET: ("amount_fen",),
    StkOperation.PIN_CHANGE: ("new_pin",),
    StkOperation.COMMISSION: ("amount_fen",),
    StkOperation.STATUS: ("reference",),
    StkOperation.RECAP: ("date",),
    StkOperation.HISTORY: (),
    StkOperation.TAKE_BACK: ("reference", "consent"),
}
"""What stands between serial and PIN, in this order."""


@dataclass(frozen=True, slots=True)
class StkMessage:
    """One message of a card. ``target`` is 1 to 12 digits as keyed in, a number or not."""

    operation: StkOperation
    serial: int  # 64 bit random, unique per card for the life of its key
    pin: Pin  # 4 to 12 digits
    sent_s: int  # when the menu was left, seconds since 1970 UTC by the phone's clock, 32 bit
    target: str = ""
    amount_fen: int = 0
    repeat: int = 1  # 2 = "yes, the same again"
    earlier: int | None = None  # the serial that a re-confirmation asks about
    consent: str = ""  # a reversal: the code from the customer's SMS, up to 4 digits
    party: str = ""  # a transfer: the other outlet's code
    new_pin: Pin | None = None  # a change of PIN; the card has compared both entries
    reference: int = 0  # the last digits of an order's number, as our SMS shows them
    date: int = 0  # yyyymmdd; 0 = today

    def __repr__(self) -> str:
        target = mask_msisdn(self.target)
        return f"<StkMessage {self.operation.name} {self.serial:016x} {target} {self.amount_fen} fen>"


def decode(data: bytes) -> StkMessage:
    """Read a message. Raises WireError whose hint is a ``Fault``; a PIN is never in its text."""
    operation = _operation(data)
    _, _, serial = _HEAD.unpack_from(data)
    offset = _HEAD.size
    values: dict[str, Any] = {}
    for name in FIELDS[operation]:
        field = _CODECS[name]
        values[name] = field.read(data[offset : offset + field.size], offset)
        offset += field.size
    if values.get("earlier") == serial:
        _broken("a re-confirmation of itself", Fault.SERIAL, "earlier", _HEAD.size)
    block, sent_s = _TAIL.unpack_from(data, offset)
    return StkMessage(operation, serial, _read_pin(block, offset), sent_s, **values)


def encode(message: StkMessage) -> bytes:
    """Write a message. Raises WireError for what no card can mean."""
    operation = message.operation
    if not 0 <= message.serial < 1 << 64:
        _broken("64 bits", Fault.SERIAL, "serial", 2)
    if not 0 <= message.sent_s < 1 << 32:
        _broken("32 bits", Fault.TIME, "time", 0)
    if (message.earlier is not None) != (operation is StkOperation.RECONFIRM):
        _broken("a re-confirmation, and nothing else, names an earlier serial", Fault.SERIAL, "earlier", 10)
    if message.earlier == message.serial:
        _broken("another serial", Fault.SERIAL, "earlier", 10)
    data = _HEAD.pack(VERSION, operation, message.serial)
    for name in FIELDS[operation]:
        data += _CODECS[name].write(getattr(message, name))
    return data + _TAIL.pack(_write_pin(message.pin), message.sent_s)


def _operation(data: bytes) -> StkOperation:
    if len(data) < 2:
        _broken("no version and operation", Fault.LENGTH, "version", 0)
    if data[0] != VERSION:
        _broken(f"version {data[0]} is not known", Fault.VERSION, "version", 0)
    try:
        operation = StkOperation(data[1])
    except ValueError:
        _broken(f"operation {data[1]} is not known", Fault.OPERATION, "operation", 1)
    if len(data) != _LENGTHS[operation]:
        _broken(f"{len(data)} octets, not {_LENGTHS[operation]}", Fault.LENGTH, "operation", 1)
    return operation


# -- fields ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Field:
    """``read(octets, offset)`` and ``write(value)`` of a field of ``size`` octets."""

    size: int
    read: Callable[[bytes, int], Any]
    write: Callable[[Any], bytes]


def _number(name: str, size: int, fault: Fault, least: int = 0, most: int | None = None) -> _Field:
    """An unsigned number."""
    top = (1 << 8 * size) - 1 if most is None else most

    def read(octets: bytes, offset: int) -> int:
        value = int.from_bytes(octets, "big")
        if not least <= value <= top:
            _broken(f"{least} to {top}", fault, name, offset)
        return value

    def write(value: int) -> bytes:
        if not least <= value <= top:
            _broken(f"{least} to {top}", fault, name, 0)
        return value.to_bytes(size, "big")

    return _Field(size, read, write)


def _packed(name: str, size: int, fault: Fault, form: re.Pattern[str]) -> _Field:
    """Digits of packed BCD, high nibble first, filled with F."""

    def read(octets: bytes, offset: int) -> str:
        return _digits(form, octets.hex(), fault, name, offset)

    def write(value: str) -> bytes:
        text = value.ljust(2 * size, "f")
        if len(text) != 2 * size or not form.fullmatch(text) or not value.isascii():
            _broken(f"at most {2 * size} digits", fault, name, 0)
        return bytes.fromhex(text)

    return _Field(size, read, write)


def _read_party(octets: bytes, offset: int) -> str:
    match = _PARTY.fullmatch(octets)
    if match is None:
        _broken("an outlet's code, filled with 00", Fault.PARTY, "party", offset)
    return match[1].decode("ascii")


def _write_party(value: str) -> bytes:
    octets = value.encode("ascii", "replace").ljust(16, b"\0")
    if not _PARTY.fullmatch(octets):
        _broken("an outlet's code: 1 to 16 letters, digits, - and _", Fault.PARTY, "party", 0)
    return octets


def _read_pin(block: bytes, offset: int) -> Pin:
    """ISO 9564-1 format 2: nibble 2, nibble length, digits, filled with F."""
    text = block.hex()
    if text[0] != "2":
        _broken("not a PIN block of format 2", Fault.PIN, "PIN", offset)
    digits = _digits(_PIN, text[2:], Fault.PIN, "PIN", offset)
    if len(digits) != int(text[1], 16):
        _broken("not the length it names", Fault.PIN, "PIN", offset)
    return Pin(digits)


def _write_pin(pin: Pin | None) -> bytes:
    digits = pin.secret if pin is not None else ""
    if not 4 <= len(digits) <= 12 or not _DIGITS.fullmatch(digits):
        _broken("4 to 12 digits", Fault.PIN, "PIN", 0)
    return bytes.fromhex(f"2{len(digits):x}{digits.ljust(14, 'f')}")


_CODECS: Final[dict[str, _Field]] = {
    "earlier": _number("earlier", 8, Fault.SERIAL),
    "target": _packed("target", 6, Fault.TARGET, _TARGET),
    "amount_fen": _number("amount", 4, Fault.AMOUNT),
    "repeat": _number("repeat", 1, Fault.REPEAT, least=1),
    "consent": _packed("consent", 2, Fault.CONSENT, _CONSENT),
    "party": _Field(16, _read_party, _write_party),
    "new_pin": _Field(8, _read_pin, _write_pin),
    "reference": _number("reference", 4, Fault.REFERENCE, most=99_999_999),
    "date": _number("date", 4, Fault.DATE, most=99_991_231),
}
_LENGTHS: Final = {
    operation: _HEAD.size + sum(_CODECS[name].size for name in names) + _TAIL.size
    for operation, names in FIELDS.items()
}


def _digits(form: re.Pattern[str], text: str, fault: Fault, field: str, offset: int) -> str:
    match = form.fullmatch(text)
    if match is None:
        _broken("not packed digits filled with F", fault, field, offset)
    return match[1]


def _broken(why: str, fault: Fault, field: str, offset: int) -> NoReturn:
    raise WireError("AirCharge STK", "version 1", why, offset=offset, field=field, hint=fault)
