"""With which operations an FSK terminal asks for something: one row a transaction, one part a value.

Source: docs/protocols/pos-fsk.md section 6.4. ``operations_of`` writes a wish, ``wish_of`` reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from aircharge.wire.fsk_octets import Operation, wrong
from aircharge.wire.fsk_operands import MAC_OCTETS, FskOperation
from aircharge.wire.fsk_profiles import Transaction
from aircharge.wire.fsk_wishes import (
    Balance,
    Echo,
    Last,
    NumberCheck,
    Original,
    Parameters,
    Recharge,
    Reprint,
    Reversal,
    Settlement,
    SignIn,
    SignOut,
    Upload,
    Void,
    Wish,
)

__all__ = ["operations_of", "transaction_of", "wish_of"]


class Coding(NamedTuple):
    """How a value stands in the datum of an operation. ``read`` raises ValueError, ``write`` also OverflowError."""

    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes]


def _number(octets: int) -> Coding:
    """BCD, leading zeros."""

    def write(value: int) -> bytes:
        if not 0 <= value < 10 ** (2 * octets):
            raise OverflowError
        return bytes.fromhex(f"{value:0{2 * octets}d}")

    return Coding(lambda datum: int(_sized(datum, octets).hex()), write)


def _octets(octets: int) -> Coding:
    return Coding(lambda datum: _sized(datum, octets), lambda value: _sized(value, octets))


def _sized(datum: bytes, octets: int) -> bytes:
    if len(datum) != octets:
        raise OverflowError
    return datum


_COUNT: Final = _number(3)
_FEN: Final = _number(6)
_PIN_BLOCK: Final = _octets(8)
_SERIAL: Final = _octets(10)


def _read_digits(datum: bytes) -> str:
    if not datum.isdigit():
        raise ValueError
    return datum.decode("ascii")


def _write_digits(value: str) -> bytes:
    return _read_digits(value.encode("ascii")).encode("ascii")


def _write_original(original: Original) -> bytes:
    return _COUNT.write(original.trace) + _sized(original.mac, MAC_OCTETS)


_DETAIL: Final = 10


def _read_detail(row: bytes) -> tuple[int, int]:
    """``trace 3 | + or - | fen 6``."""
    sign = {b"+": 1, b"-": -1}.get(row[3:4], 0)
    if not sign:
        raise ValueError
    return _COUNT.read(row[:3]), sign * _FEN.read(row[4:])


def _read_details(datum: bytes) -> tuple[tuple[int, int], ...]:
    return tuple(_read_detail(datum[at : at + _DETAIL]) for at in range(0, len(datum), _DETAIL))


def _write_details(details: tuple[tuple[int, int], ...]) -> bytes:
    return b"".join(
        _COUNT.write(trace) + (b"-" if fen < 0 else b"+") + _FEN.write(abs(fen)) for trace, fen in details
    )


_DIGITS: Final = Coding(_read_digits, _write_digits)
_SIX_DIGITS: Final = Coding(
    lambda datum: int(_read_digits(_sized(datum, 6))), lambda value: _sized(_write_digits(f"{value:06d}"), 6)
)
_ORIGINAL: Final = Coding(
    lambda datum: Original(_COUNT.read(datum[:3]), _sized(datum[3:], MAC_OCTETS)), _write_original
)
_DETAILS: Final = Coding(_read_details, _write_details)


class Part(NamedTuple):
    """One value of a wish: its name, its operation, its coding.

    A value equal to ``default`` (that of the wish) is left out; ... : it must be there. ``chunk``: the value takes as
    many operations as there are, each of up to so many octets.
    """

    name: str
    operation: int
    coding: Coding
    default: Any = ...
    chunk: int = 0

    def write(self, value: Any) -> list[bytes]:
        """The data of its operations. Raises WireError for a value that does not fit."""
        if value == self.default:
            return []
        try:
            datum = self.coding.write(value)
        except (ValueError, OverflowError):
            raise wrong(f"does not fit operation {self.operation:02x}", self.name) from None
        step = self.chunk or len(datum)
        return [datum[at : at + step] for at in range(0, len(datum), step)]

    def read(self, said: Iterator[bytes]) -> dict[str, Any]:
        """The value by its name, none when it is left out. Raises WireError for what is missing or unreadable."""
        datum = b"".join(said) or None if self.chunk else next(said, None)
        if datum is None:
            if self.default is ...:
                raise wrong(f"operation {self.operation:02x} is missing", self.name)
            return {}
        try:
            return {self.name: self.coding.read(datum)}
        except (ValueError, OverflowError):
            raise wrong(f"operation {self.operation:02x} is not readable", self.name) from None


_PIN: Final = Part("pin_block", FskOperation.PIN_BLOCK, _PIN_BLOCK, b"")
_OLD_TRACE: Final = Part("trace", FskOperation.QUANTITY, _COUNT)
_NUMBER: Final = Part("number", FskOperation.BUSINESS_NUMBER, _DIGITS)
_AMOUNT: Final = Part("amount_fen", FskOperation.AMOUNT, _FEN)
_AMOUNT_TOO: Final = _AMOUNT._replace(default=0)
_BATCH: Final = Part("batch", FskOperation.CUSTOM, _SIX_DIGITS)
_BATCH_TOO: Final = _BATCH._replace(default=0)

_PARTS: Final[dict[Transaction, tuple[type[Wish], tuple[Part, ...]]]] = {
    Transaction.ECHO: (Echo, ()),
    Transaction.PARAMETERS: (Parameters, ()),
    Transaction.SIGN_IN: (SignIn, (Part("serial", FskOperation.SERIAL, _SERIAL, b""),)),
    Transaction.SIGN_OUT: (SignOut, ()),
    Transaction.NUMBER_CHECK: (NumberCheck, (_NUMBER,)),
    Transaction.RECHARGE: (
        Recharge,
        (_NUMBER, _AMOUNT, _PIN, Part("repeat", FskOperation.QUANTITY, _COUNT, 1), _BATCH_TOO),
    ),
    Transaction.BALANCE: (Balance, (_PIN,)),
    Transaction.LAST: (Last, (_PIN,)),
    Transaction.VOID: (
        Void,
        (
            _OLD_TRACE,
            _AMOUNT_TOO,
            _PIN,
            Part("consent", FskOperation.FINANCIAL_NUMBER, _DIGITS, ""),
            _BATCH_TOO,
        ),
    ),
    Transaction.REPRINT: (Reprint, (_OLD_TRACE, _BATCH_TOO)),
    Transaction.REVERSAL: (
        Reversal,
        (Part("original", FskOperation.REVERSAL, _ORIGINAL), _AMOUNT_TOO, _BATCH_TOO),
    ),
    Transaction.SETTLEMENT: (
        Settlement,
        (
            _BATCH,
            Part("sales", FskOperation.QUANTITY, _COUNT),
            Part("sales_fen", FskOperation.AMOUNT, _FEN),
            Part("voids", FskOperation.QUANTITY, _COUNT),
            Part("voids_fen", FskOperation.AMOUNT, _FEN),
        ),
    ),
    Transaction.UPLOAD: (
        Upload,
        (_BATCH, Part("details", FskOperation.CUSTOM, _DETAILS, (), chunk=4 * _DETAIL)),
    ),
}
_TRANSACTIONS: Final = {made: transaction for transaction, (made, _) in _PARTS.items()}


def transaction_of(wish: Wish) -> Transaction:
    """What ``wish`` is."""
    return _TRANSACTIONS[type(wish)]


def operations_of(wish: Wish) -> tuple[Operation, ...]:
    """The operations of a request, without its MAC. Raises WireError for a value that does not fit."""
    return tuple(
        Operation.bare(part.operation, datum)
        for part in _PARTS[transaction_of(wish)][1]
        for datum in part.write(getattr(wish, part.name))
    )


def wish_of(transaction: Transaction, operations: tuple[Operation, ...]) -> Wish:
    """The wish. Raises WireError for what is missing, unreadable, or said once too often."""
    made, parts = _PARTS[transaction]
    wanted = {part.operation for part in parts}
    said: dict[int, Iterator[bytes]] = {
        number: iter([operation.datum for operation in operations if operation.number == number])
        for number in wanted
    }
    values: dict[str, Any] = {}
    for part in parts:
        values |= part.read(said[part.operation])
    for number, rest in said.items():
        if next(rest, None) is not None:
            raise wrong("said once too often", f"operation {number:02x}")
    return made(**values)
