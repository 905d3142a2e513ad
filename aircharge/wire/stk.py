"""What our SIM menu says inside a secured packet (docs/protocols/stk.md), version 1. Big-endian:

    version 1 | operation 1 | serial 8 | [earlier 8] | [target 6 | amount 4 | repeat 1] | PIN 8 | time 4

``earlier`` stands in a re-confirmation only; target, amount and repeat in recharge and re-confirmation.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NoReturn

from aircharge.errors import WireError
from aircharge.values import Pin, mask_msisdn

__all__ = ["VERSION", "Fault", "StkMessage", "StkOperation", "decode", "encode"]

VERSION: Final = 1

_HEAD: Final = struct.Struct(">BBQ")
_EARLIER: Final = struct.Struct(">Q")
_ORDER: Final = struct.Struct(">6sIB")
_TAIL: Final = struct.Struct(">8sI")
_DIGITS: Final = re.compile(r"[0-9]+", re.ASCII)
_TARGET: Final = re.compile(r"([0-9]{1,12})f*", re.ASCII)
_PIN: Final = re.compile(r"([0-9]{4,12})f*", re.ASCII)


class StkOperation(IntEnum):
    """What the menu item was."""

    RECHARGE = 1
    RECONFIRM = 2  # 重复充值: what became of the earlier serial? Execute only if no record of it exists
    BALANCE = 3
    LAST = 4


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


_HAS_ORDER: Final = frozenset((StkOperation.RECHARGE, StkOperation.RECONFIRM))
_LENGTHS: Final = {
    StkOperation.RECHARGE: _HEAD.size + _ORDER.size + _TAIL.size,
    StkOperation.RECONFIRM: _HEAD.size + _EARLIER.size + _ORDER.size + _TAIL.size,
    StkOperation.BALANCE: _HEAD.size + _TAIL.size,
    StkOperation.LAST: _HEAD.size + _TAIL.size,
}


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

    def __repr__(self) -> str:
        target = mask_msisdn(self.target)
        return f"<StkMessage {self.operation.name} {self.serial:016x} {target} {self.amount_fen} fen>"


def decode(data: bytes) -> StkMessage:
    """Read a message. Raises WireError whose hint is a ``Fault``; the PIN is never in its text."""
    operation = _operation(data)
    _, _, serial = _HEAD.unpack_from(data)
    offset = _HEAD.size
    earlier: int | None = None
    target, amount_fen, repeat = "", 0, 1
    if operation is StkOperation.RECONFIRM:
        (earlier,) = _EARLIER.unpack_from(data, offset)
        offset += _EARLIER.size
        if earlier == serial:
            _broken("a re-confirmation of itself", Fault.SERIAL, "earlier", 10)
    if operation in _HAS_ORDER:
        packed, amount_fen, repeat = _ORDER.unpack_from(data, offset)
        target = _digits(_TARGET, packed.hex(), Fault.TARGET, "target", offset)
        if repeat == 0:
            _broken("repeat counts from 1", Fault.REPEAT, "repeat", offset + 10)
        offset += _ORDER.size
    block, sent_s = _TAIL.unpack_from(data, offset)
    return StkMessage(operation, serial, _pin(block, offset), sent_s, target, amount_fen, repeat, earlier)


def encode(message: StkMessage) -> bytes:
    """Write a message. Raises WireError for what no card can mean."""
    operation = message.operation
    if not 0 <= message.serial < 1 << 64:
        _broken("64 bits", Fault.SERIAL, "serial", 2)
    if not 0 <= message.sent_s < 1 << 32:
        _broken("32 bits", Fault.TIME, "time", 0)
    data = _HEAD.pack(VERSION, operation, message.serial)
    if (message.earlier is not None) != (operation is StkOperation.RECONFIRM):
        _broken("a re-confirmation, and nothing else, names an earlier serial", Fault.SERIAL, "earlier", 10)
    if message.earlier is not None:
        if not 0 <= message.earlier < 1 << 64 or message.earlier == message.serial:
            _broken("64 bits, another serial", Fault.SERIAL, "earlier", 10)
        data += _EARLIER.pack(message.earlier)
    if operation in _HAS_ORDER:
        data += _order(message)
    return data + _TAIL.pack(_pin_block(message.pin), message.sent_s)


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


def _order(message: StkMessage) -> bytes:
    if not 0 <= message.amount_fen < 1 << 32:
        _broken("32 bits of fen", Fault.AMOUNT, "amount", 0)
    if not 1 <= message.repeat <= 255:
        _broken("1 to 255", Fault.REPEAT, "repeat", 0)
    if not 1 <= len(message.target) <= 12 or not _DIGITS.fullmatch(message.target):
        _broken("1 to 12 digits", Fault.TARGET, "target", 0)
    return _ORDER.pack(bytes.fromhex(message.target.ljust(12, "f")), message.amount_fen, message.repeat)


def _pin(block: bytes, offset: int) -> Pin:
    """ISO 9564-1 format 2: nibble 2, nibble length, digits, filled with F."""
    text = block.hex()
    if text[0] != "2":
        _broken("not a PIN block of format 2", Fault.PIN, "PIN", offset)
    digits = _digits(_PIN, text[2:], Fault.PIN, "PIN", offset)
    if len(digits) != int(text[1], 16):
        _broken("not the length it names", Fault.PIN, "PIN", offset)
    return Pin(digits)


def _pin_block(pin: Pin) -> bytes:
    digits = pin.secret
    if not 4 <= len(digits) <= 12 or not _DIGITS.fullmatch(digits):
        _broken("4 to 12 digits", Fault.PIN, "PIN", 0)
    return bytes.fromhex(f"2{len(digits):x}{digits.ljust(14, 'f')}")


def _digits(form: re.Pattern[str], text: str, fault: Fault, field: str, offset: int) -> str:
    """Digits of packed BCD, high nibble first, filled with F."""
    match = form.fullmatch(text)
    if match is None:
        _broken("not packed digits filled with F", fault, field, offset)
    return match[1]


def _broken(why: str, fault: Fault, field: str, offset: int) -> NoReturn:
    raise WireError("AirCharge STK", "version 1", why, offset=offset, field=field, hint=fault)
