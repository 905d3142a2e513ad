"""The application message of fixed-line payment terminals, by profile: fields as tables, operands by op codes.

Source: docs/protocols/pos-fsk.md section 6. A gateway puts nine octets of its own before the content
(``GatewayHeader``); on an audio line the content stands in the FSK frame as it is.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from aircharge.errors import WireError

__all__ = [
    "PROFILE_2001",
    "GatewayHeader",
    "Operation",
    "Profile",
    "Request",
    "decode_request",
    "encode_request",
    "mac_input",
]

MAC_OCTETS: Final = 8
_HEADER: Final = struct.Struct(">BHBBBBH")
_TEXT_MAX: Final = 40


def _wrong(why: str, name: str, offset: int = 0) -> WireError:
    return WireError("FSK", "6", why, field=name, offset=offset)


@dataclass(frozen=True, slots=True)
class GatewayHeader:
    """The call's place: ``sequence 1 | index 2 | call type 1 | gateway 1 | module 1 | channel 1 | length 2``."""

    sequence: int
    index: int
    call_type: int
    gateway: int
    module: int
    channel: int

    @classmethod
    def decode(cls, octets: bytes) -> tuple[GatewayHeader, bytes]:
        """Header and content. Raises WireError when the length is not that of the rest."""
        if len(octets) < _HEADER.size:
            raise _wrong(f"{len(octets)} octets are too few", "header")
        *place, length = _HEADER.unpack_from(octets)
        content = octets[_HEADER.size :]
        if length != len(content):
            raise _wrong(f"content of {len(content)} octets, {length} announced", "length", _HEADER.size - 2)
        return cls(*place), content

    def encode(self, content: bytes) -> bytes:
        """Header and content; an answer bears the header of its request."""
        place = (self.sequence, self.index, self.call_type, self.gateway, self.module, self.channel)
        return _HEADER.pack(*place, len(content)) + content


class Kind(Enum):
    """How a field stands in its octets."""

    NUMBER = auto()
    BCD = auto()
    TEXT = auto()
    RAW = auto()


@dataclass(frozen=True, slots=True)
class Profile:
    """``request``: name, octets and kind of the fields before the op codes."""

    name: str
    request: tuple[tuple[str, int, Kind], ...]
    operands: dict[int, int | None] = field(default_factory=dict)
    """Octets of the datum of an operation (low six bits); None: one length octet and text up to 40."""


PROFILE_2001: Final = Profile(
    "2001",
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
    {
        0x02: 16,  # security module
        0x05: 8,  # PIN block
        0x06: 3,  # quantity, or an old trace
        0x07: 6,  # amount in fen
        0x08: None,  # financial number
        0x09: None,  # business number: the customer's
        0x0A: 4,  # date
        0x0B: 3,  # month
        0x0C: None,  # custom
        0x0D: 8,  # MAC
        0x0F: 11,  # reversal: old trace and old MAC
        0x10: 2,  # version
        0x12: 10,  # serial
    },
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One op code with the octets behind it (prompt index and the like) and its datum, if it has one."""

    code: int
    extra: bytes = b""
    datum: bytes = b""

    @property
    def number(self) -> int:
        """What is done, without how it is written."""
        return self.code & 0x3F


@dataclass(frozen=True, slots=True)
class Request:
    """Fields by name (numbers as int, BCD as digits, text without the blanks behind it, raw octets) and operations."""

    fields: dict[str, int | str | bytes]
    operations: tuple[Operation, ...]

    def datum(self, number: int) -> bytes | None:
        """The datum of the first operation ``number``, None when it is not there."""
        return next((operation.datum for operation in self.operations if operation.number == number), None)


def mac_input(content: bytes) -> bytes:
    """What the MAC at the end of ``content`` is over."""
    return content[:-MAC_OCTETS]


def decode_request(content: bytes, profile: Profile = PROFILE_2001) -> Request:
    """Exactly one request. Raises WireError for a field, op code, length or datum that is not as the profile says."""
    reader = _Reader(content)
    fields = {name: _read(reader.take(size, name), kind, name) for name, size, kind in profile.request}
    codes = [_code(reader) for _ in range(reader.take(1, "op count")[0])]
    length = int.from_bytes(reader.take(2, "data length"), "big")
    if length != reader.left:
        raise _wrong(f"data of {reader.left} octets, {length} announced", "data length", reader.position)
    operations = []
    for code, extra in codes:
        size = profile.operands.get(code & 0x3F, 0)
        if size is None:
            size = reader.take(1, "text length")[0]
            if size > _TEXT_MAX:
                raise _wrong(f"a text of {size} octets", "text length", reader.position)
        operations.append(Operation(code, extra, reader.take(size, f"operation {code:02x}")))
    if reader.left:
        raise _wrong(f"{reader.left} octets behind the last datum", "data", reader.position)
    return Request(fields, tuple(operations))


def encode_request(request: Request, profile: Profile = PROFILE_2001) -> bytes:
    """The content. Raises WireError for a value that does not fit its field."""
    head = b"".join(_write(request.fields[name], size, kind, name) for name, size, kind in profile.request)
    codes = b"".join(bytes([operation.code]) + operation.extra for operation in request.operations)
    data = b"".join(_datum(operation, profile) for operation in request.operations)
    return head + bytes([len(request.operations)]) + codes + len(data).to_bytes(2, "big") + data


def _datum(operation: Operation, profile: Profile) -> bytes:
    size = profile.operands.get(operation.number, 0)
    datum = operation.datum
    if size is None and len(datum) <= _TEXT_MAX:
        return bytes([len(datum)]) + datum
    if size != len(datum):
        raise _wrong(f"a datum of {len(datum)} octets", f"operation {operation.code:02x}")
    return datum


def _code(reader: _Reader) -> tuple[int, bytes]:
    """0xxxxxxx: two octets; 10xxxxxx: one; 11xxxxxx: three."""
    code = reader.take(1, "op code")[0]
    extra = 1 if code < 0x80 else 0 if code < 0xC0 else 2
    return code, reader.take(extra, "op code")


def _read(octets: bytes, kind: Kind, name: str) -> int | str | bytes:
    if kind is Kind.NUMBER:
        return int.from_bytes(octets, "big")
    if kind is Kind.BCD:
        if not octets.hex().isdecimal():
            raise _wrong("not BCD", name)
        return octets.hex()
    if kind is Kind.TEXT:
        if not octets.isascii():
            raise _wrong("not ASCII", name)
        return octets.decode("ascii").rstrip(" ")
    return octets


def _write(value: int | str | bytes, size: int, kind: Kind, name: str) -> bytes:
    octets = b""
    if kind is Kind.NUMBER and isinstance(value, int) and 0 <= value < 1 << 8 * size:
        octets = value.to_bytes(size, "big")
    elif isinstance(value, str) and value.isascii():
        is_bcd = kind is Kind.BCD and value.isdecimal() and len(value) == 2 * size
        octets = bytes.fromhex(value) if is_bcd else b""
        if kind is Kind.TEXT:
            octets = value.ljust(size).encode("ascii")
    elif isinstance(value, bytes):
        octets = value
    if len(octets) != size:
        raise _wrong(f"{type(value).__name__} does not fit {size} octets", name)
    return octets


class _Reader:
    """Takes octets one field after the other."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self.position = 0

    @property
    def left(self) -> int:
        return len(self._octets) - self.position

    def take(self, size: int, name: str) -> bytes:
        if self.left < size:
            raise _wrong(f"{size} octets wanted, {self.left} left", name, self.position)
        self.position += size
        return self._octets[self.position - size : self.position]
