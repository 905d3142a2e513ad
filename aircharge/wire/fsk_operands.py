"""The operations of FSK terminals, and what octets each has in a request and in an answer, as tables.

Source: docs/protocols/pos-fsk.md section 6.2. In an answer an operation is something the terminal shall do, with
what it needs; in a request it is something that was done, with what came of it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["ANSWER_OPERANDS", "MAC_OCTETS", "REQUEST_OPERANDS", "FskOperation", "Operand"]

MAC_OCTETS: Final = 8


class FskOperation:
    """Operation numbers: the low six bits of an op code, or ``VENDOR`` with the third octet of C0 xx yy."""

    SECURITY_MODULE: Final = 0x02
    PIN_BLOCK: Final = 0x05
    QUANTITY: Final = 0x06
    AMOUNT: Final = 0x07
    FINANCIAL_NUMBER: Final = 0x08
    BUSINESS_NUMBER: Final = 0x09
    CUSTOM: Final = 0x0C
    MAC: Final = 0x0D
    REVERSAL: Final = 0x0F
    SERIAL: Final = 0x12
    PARAMETERS: Final = 0x16
    PRINT: Final = 0x21
    SHOW: Final = 0x22
    SEND: Final = 0x24
    RECEIVE: Final = 0x25
    HANG_UP: Final = 0x26
    VERIFY_MAC: Final = 0x28
    UPDATE_KEYS: Final = 0x39
    REVERSAL_CONTROL: Final = 0x3C
    VENDOR: Final = 0xC000


class Operand(NamedTuple):
    """The datum of an operation: ``fixed`` octets, then a length of ``length_octets`` and so many units."""

    fixed: int = 0
    length_octets: int = 0
    longest: int = 0
    unit: int = 1


_NOTHING: Final = Operand()
_RESULT: Final = Operand(2)
_TEXT_40: Final = Operand(0, 1, 40)
_OCTETS: Final = Operand(0, 1, 255)
_LONG: Final = Operand(0, 2, 1024)

REQUEST_OPERANDS: Final[dict[int, Operand]] = {
    0x02: Operand(16),  # security module
    0x04: Operand(0, 1, 88),  # track, enciphered
    0x05: Operand(8),  # PIN block, enciphered
    0x06: Operand(3),  # quantity, or an old trace: BCD
    0x07: Operand(6),  # amount in fen: BCD
    0x08: _TEXT_40,  # financial number
    0x09: _TEXT_40,  # business number: the customer's
    0x0A: Operand(4),  # date YYYYMMDD: BCD
    0x0B: Operand(3),  # month YYYYMM: BCD
    0x0C: _TEXT_40,  # custom
    0x0D: Operand(MAC_OCTETS),  # MAC
    0x0F: Operand(3 + MAC_OCTETS),  # reversal: old trace and old MAC
    0x10: Operand(2),  # version of the message
    0x11: Operand(4),  # version of the script
    0x12: Operand(10),  # serial of the terminal
    0x13: _OCTETS,  # enciphered block
    0x14: Operand(0, 1, 240),  # deciphered block
    0x15: _TEXT_40,  # bill to be paid
    **dict.fromkeys(range(0x16, 0x1E), _RESULT),  # parameters, menus, prompts, templates: were they stored?
    0x1E: Operand(0, 1, 42),  # bill stored: result and its number
    **dict.fromkeys((0x1F, 0x20, 0x21), _RESULT),  # log, message, slip
    **dict.fromkeys(range(0x22, 0x2B), _NOTHING),  # show, connect, send, receive, hang up, MAC, dial, confirm
    0x2B: Operand(1),  # line of a menu
    0x2C: _RESULT,
    0x2D: Operand(1, 1, 30),  # static menu: its number and choice
    0x2E: Operand(0, 1, 14, 17),  # numbers of cards
    0x2F: _NOTHING,  # prompt for once
    0x30: Operand(1),  # control of the flow
    0x33: Operand(10),  # number of a card
    0x36: Operand(3),  # rate: BCD
    **dict.fromkeys((0x37, 0x38), _OCTETS),  # serial port
    0x39: _RESULT,  # work keys: were they stored?
    **dict.fromkeys((0x3A, 0x3B, 0x3C), _NOTHING),  # dial beforehand, clear menus, reversal control
    0x3D: Operand(1),  # information: go on?
    0x3E: _RESULT,
    0xC001: Operand(12),  # version of card parameters
    0xC002: Operand(14),  # … and were they stored?
    0xC003: Operand(8),  # version of card keys
    0xC004: Operand(10),  # … and were they stored?
}
"""Not here, because nobody told their length: 01, 0E, 31, 32, 34, 35, 3F; because no card is read: 03, C0 05, C0 06."""

ANSWER_OPERANDS: Final[dict[int, Operand]] = {
    **dict.fromkeys(range(0x02, 0x3E), _NOTHING),
    **dict.fromkeys(range(0x16, 0x1E), _OCTETS),
    **dict.fromkeys((0x1E, 0x20), Operand(7, 1, 255)),  # date, time; a bill, a message
    0x1F: Operand(18),  # log: date, time, trace, MAC
    0x21: _LONG,  # copies and slip
    0x22: _OCTETS,  # mode, code and text
    0x2B: _OCTETS,  # menu
    0x2C: _LONG,  # static menus
    0x2F: _OCTETS,  # prompt for once
    0x39: _OCTETS,  # work keys
    **dict.fromkeys((0x3D, 0x3E), _LONG),  # information, parameters
    **dict.fromkeys((0xC001, 0xC003, 0xC005), _NOTHING),
    **dict.fromkeys((0xC002, 0xC004), _LONG),  # card parameters, card keys
    0xC006: _OCTETS,  # card data
}
del ANSWER_OPERANDS[0x38]  # to the serial port: without a length
