"""The application message of fixed-line payment terminals, either direction, by the tables of a profile.

Source: docs/protocols/pos-fsk.md section 6. A gateway puts nine octets of its own before the content
(``GatewayHeader``); on an audio line the content stands in the FSK frame as it is. Keys are no business of this
room: what a MAC or the gateway's code needs of them is passed in as a function.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aircharge.wire.fsk_octets import (
    TEN,
    OctetReader,
    Operation,
    datum_octets,
    extra_octets,
    field_octets,
    wrong,
)
from aircharge.wire.fsk_operands import MAC_OCTETS, FskOperation
from aircharge.wire.fsk_profiles import Codes, Layout, MacPlace

__all__ = [
    "FskMessage",
    "GatewayHeader",
    "Mac",
    "Operation",
    "gateway_code",
    "mac_input",
    "sealed",
    "split_control",
]

Mac = Callable[[bytes], bytes]
"""The eight octets of a MAC over what is covered."""

_HEADER: Final = struct.Struct(">BHBBBBH")
_MODULE_OCTETS: Final = 16
_BLOCK: Final = 8


@dataclass(frozen=True, slots=True)
class GatewayHeader:
    """The call's place: ``sequence 1 | index 2 | call type 1 | gateway 1 | module 1 | channel 1 | length 2``.

    A gateway of one line needs to tell no more than sequence and index.
    """

    sequence: int
    index: int
    call_type: int = 1
    gateway: int = 1
    module: int = 1
    channel: int = 1

    @classmethod
    def decode(cls, octets: bytes) -> tuple[GatewayHeader, bytes]:
        """Header and content. Raises WireError when the length is not that of the rest."""
        if len(octets) < _HEADER.size:
            raise wrong(f"{len(octets)} octets are too few", "header")
        *place, length = _HEADER.unpack_from(octets)
        content = octets[_HEADER.size :]
        if length != len(content):
            raise wrong(f"content of {len(content)} octets, {length} announced", "length", _HEADER.size - 2)
        return cls(*place), content

    def encode(self, content: bytes) -> bytes:
        """Header and content; an answer bears the header of its request."""
        place = (self.sequence, self.index, self.call_type, self.gateway, self.module, self.channel)
        return _HEADER.pack(*place, len(content)) + content


@dataclass(frozen=True, slots=True)
class FskMessage:
    """Fields by name (numbers as int, BCD as digits, text without its blanks, raw octets), operations, and the rest.

    ``tail``: the MAC of a layout that has it behind the data; in others it is the datum of operation 0D.
    """

    fields: dict[str, int | str | bytes]
    operations: tuple[Operation, ...]
    control: bytes = b""
    tail: bytes = b""

    def data(self, number: int) -> list[bytes]:
        """The data of all operations ``number``, in order."""
        return [operation.datum for operation in self.operations if operation.number == number]

    @property
    def mac(self) -> bytes:
        """Eight octets, or none."""
        return self.tail or b"".join(self.data(FskOperation.MAC))

    @classmethod
    def decode(cls, content: bytes, layout: Layout) -> FskMessage:
        """Exactly one message. Raises WireError where field, op code, length or datum is not as the layout says."""
        if len(content) > layout.content_max:
            raise wrong(f"{len(content)} octets are too many", "content", layout.content_max)
        reader = OctetReader(content)
        fields = {name: reader.field(size, kind, name) for name, size, kind in layout.fields}
        codes = reader.codes(layout)
        control = reader.part("control") if layout.has_control else b""
        behind = MAC_OCTETS if layout.mac is MacPlace.BEHIND else 0
        length = int.from_bytes(reader.take(2, "data length"), "big")
        if length != reader.left - behind:
            raise wrong(
                f"data of {reader.left - behind} octets, {length} announced",
                "data length",
                reader.position - 2,
            )
        operations = tuple(reader.operation(*code, layout) for code in codes)
        tail = b"" if layout.mac is MacPlace.OPERATION else reader.take(MAC_OCTETS, "MAC")
        if reader.left:
            raise wrong(f"{reader.left} octets behind the last datum", "data", reader.position)
        message = cls(fields, operations, control, tail)
        message._check(layout)
        return message

    def encode(self, layout: Layout) -> bytes:
        """The content. Raises WireError for a value that does not fit its field, and for what is missing."""
        self._check(layout)
        parts = [field_octets(self.fields.get(name), size, kind, name) for name, size, kind in layout.fields]
        parts.append(self._codes(layout))
        if layout.has_control:
            parts.append(len(self.control).to_bytes(2, "big") + self.control)
        elif self.control:
            raise wrong("no place for control parameters", "control")
        data = b"".join(datum_octets(operation, layout) for operation in self.operations)
        counted = len(data) + (MAC_OCTETS if layout.mac is MacPlace.DATA else 0)
        content = b"".join((*parts, counted.to_bytes(2, "big"), data, self.tail))
        if len(content) > layout.content_max:
            raise wrong(f"{len(content)} octets are too many", "content", layout.content_max)
        return content

    def _codes(self, layout: Layout) -> bytes:
        codes = b"".join(bytes([operation.code]) + operation.extra for operation in self.operations)
        if any(len(operation.extra) != extra_octets(operation.code) for operation in self.operations):
            raise wrong("octets behind it do not fit", "op code")
        if len(self.operations) > layout.operations_max:
            raise wrong(f"{len(self.operations)} are too many", "op count")
        if layout.codes is Codes.COUNTED:
            return bytes([len(self.operations)]) + codes
        if len(codes) > TEN or len(codes) != len(self.operations):
            raise wrong(f"{len(codes)} octets of op codes do not fit a flow code", "flow code")
        return codes.ljust(TEN, b"\0")

    def _check(self, layout: Layout) -> None:
        """The type is one of this direction; the MAC that is looked at is the one at the end."""
        if self.fields.get("type") not in layout.types:
            raise wrong(f"{self.fields.get('type')!r} has no place here", "type")
        if layout.mac is not MacPlace.OPERATION:
            if len(self.tail) != MAC_OCTETS or any(self.data(FskOperation.MAC)):
                raise wrong("the MAC stands behind the data, once", "MAC")
            return
        with_data = [operation for operation in self.operations if operation.datum]
        macs = [operation for operation in with_data if operation.number == FskOperation.MAC]
        if self.tail or len(macs) > 1 or (macs and macs != with_data[-1:]):
            raise wrong("the MAC is the last datum, once", "MAC")


def mac_input(content: bytes) -> bytes:
    """What the MAC at the end of ``content`` is over."""
    return content[:-MAC_OCTETS]


def sealed(content: bytes, mac: Mac) -> bytes:
    """``content`` with the MAC in its last eight octets. Raises WireError for a MAC of another length."""
    covered = mac_input(content)
    found = mac(covered)
    if len(found) != MAC_OCTETS:
        raise wrong(f"a MAC of {len(found)} octets", "MAC", len(covered))
    return covered + found


def gateway_code(security_module: str, encipher: Callable[[bytes], bytes]) -> bytes:
    """The first four octets of the enciphered XOR of the security module's number, by halves.

    ``encipher``: one block of eight octets under the gateway's key (3DES, ECB). Raises WireError for a number that
    is not 16 ASCII characters.
    """
    number = security_module.encode("ascii", "replace")
    if len(number) != _MODULE_OCTETS or not security_module.isascii():
        raise wrong(f"{len(number)} characters, 16 wanted", "security_module")
    halves = zip(number[:_BLOCK], number[_BLOCK:], strict=True)
    return encipher(bytes(left ^ right for left, right in halves))[:4]


def split_control(control: bytes) -> tuple[bytes, ...]:
    """The parameters of the operations that have some, each behind its length. Raises WireError for a wrong length."""
    reader = OctetReader(control)
    entries = []
    while reader.left:
        entries.append(reader.part("control", 1))
    return tuple(entries)
