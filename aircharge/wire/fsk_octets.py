"""Octets of the application message of FSK terminals: fields, op codes and data, one after the other.

Source: docs/protocols/pos-fsk.md section 6. Every error names its field and the offset in the content.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aircharge.errors import WireError
from aircharge.wire.fsk_operands import FskOperation, Operand
from aircharge.wire.fsk_profiles import Codes, Kind, Layout

__all__ = ["TEN", "OctetReader", "Operation", "datum_octets", "extra_octets", "field_octets", "wrong"]

TEN: Final = 10
"""Octets of a flow code."""


def wrong(why: str, name: str, offset: int = 0) -> WireError:
    """The error of this room."""
    return WireError("FSK", "6", why, field=name, offset=offset)


@dataclass(frozen=True, slots=True)
class Operation:
    """One op code with the octets behind it (prompt index and the like) and its datum, if it has one."""

    code: int
    extra: bytes = b""
    datum: bytes = b""

    @classmethod
    def bare(cls, number: int, datum: bytes = b"") -> Operation:
        """Written in one octet, without a prompt."""
        return cls(0x80 | number, b"", datum)

    @property
    def number(self) -> int:
        """What is done, without how it is written (``FskOperation``); of C0 xx yy the yy, as a vendor's."""
        return FskOperation.VENDOR | self.extra[-1] if self.code == 0xC0 and self.extra else self.code & 0x3F


def extra_octets(code: int) -> int:
    """Octets behind the code: 0xxxxxxx one (prompt), 10xxxxxx none, 11xxxxxx two (prompt; cipher or vendor)."""
    return 1 if code < 0x80 else 0 if code < 0xC0 else 2


def _operand(operation: Operation, layout: Layout, offset: int = 0) -> Operand:
    operand = layout.operands.get(operation.number)
    if operand is None:
        raise wrong(f"operation {operation.number:02x} is not known", "op code", offset)
    return operand


def datum_octets(operation: Operation, layout: Layout) -> bytes:
    """The datum with its length. Raises WireError when it does not fit the operation."""
    operand = _operand(operation, layout)
    datum = operation.datum
    name = f"operation {operation.number:02x}"
    units, odd = divmod(len(datum) - operand.fixed, operand.unit)
    if odd or not 0 <= units <= operand.longest:
        raise wrong(f"a datum of {len(datum)} octets", name)
    length = units.to_bytes(operand.length_octets, "big")
    return datum[: operand.fixed] + length + datum[operand.fixed :]


def field_octets(value: int | str | bytes | None, size: int, kind: Kind, name: str) -> bytes:
    """A field of ``size`` octets. Raises WireError for a value of another type or size."""
    octets = b""
    if kind is Kind.NUMBER and isinstance(value, int) and 0 <= value < 1 << 8 * size:
        octets = value.to_bytes(size, "big")
    elif kind is Kind.BCD and isinstance(value, str) and len(value) == 2 * size and _is_digits(value):
        octets = bytes.fromhex(value)
    elif kind in (Kind.TEXT, Kind.TEXT_RIGHT) and isinstance(value, str) and value.isascii():
        octets = (value.ljust(size) if kind is Kind.TEXT else value.rjust(size)).encode("ascii")
    elif kind is Kind.RAW and isinstance(value, bytes):
        octets = value
    if len(octets) != size:
        raise wrong(f"{type(value).__name__} does not fit {size} octets", name)
    return octets


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdecimal()


class OctetReader:
    """Takes octets one field after the other."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self.position = 0

    @property
    def left(self) -> int:
        return len(self._octets) - self.position

    def take(self, size: int, name: str) -> bytes:
        if self.left < size:
            raise wrong(f"{size} octets wanted, {self.left} left", name, self.position)
        self.position += size
        return self._octets[self.position - size : self.position]

    def part(self, name: str, length_octets: int = 2) -> bytes:
        """A length and so many octets."""
        return self.take(int.from_bytes(self.take(length_octets, name), "big"), name)

    def field(self, size: int, kind: Kind, name: str) -> int | str | bytes:
        at = self.position
        octets = self.take(size, name)
        if kind is Kind.NUMBER:
            return int.from_bytes(octets, "big")
        if kind is Kind.BCD:
            if not octets.hex().isdecimal():
                raise wrong("not BCD", name, at)
            return octets.hex()
        if kind is Kind.RAW:
            return octets
        if not octets.isascii():
            raise wrong("not ASCII", name, at)
        text = octets.decode("ascii")
        return text.rstrip(" ") if kind is Kind.TEXT else text.lstrip(" ")

    def codes(self, layout: Layout) -> list[tuple[int, bytes, int]]:
        """Code, octets behind it and place of every operation."""
        if layout.codes is Codes.TEN:
            at = self.position
            flow = self.take(TEN, "flow code").rstrip(b"\0")
            for place, code in enumerate(flow):
                if extra_octets(code):
                    raise wrong(f"{code:02x} is not of one octet", "flow code", at + place)
            return [(code, b"", at + place) for place, code in enumerate(flow)]
        count = self.take(1, "op count")[0]
        if count > layout.operations_max:
            raise wrong(f"{count} are too many", "op count", self.position - 1)
        codes = []
        for _ in range(count):
            at = self.position
            code = self.take(1, "op code")[0]
            codes.append((code, self.take(extra_octets(code), "op code"), at))
        return codes

    def operation(self, code: int, extra: bytes, at: int, layout: Layout) -> Operation:
        """One operation with its datum, which is taken from here."""
        operation = Operation(code, extra)
        operand = _operand(operation, layout, at)
        name = f"operation {operation.number:02x}"
        datum = self.take(operand.fixed, name)
        place = self.position
        units = int.from_bytes(self.take(operand.length_octets, name), "big")
        if units > operand.longest:
            raise wrong(f"{units} are too many", name, place)
        return Operation(code, extra, datum + self.take(units * operand.unit, name))
