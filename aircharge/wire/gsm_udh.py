"""User data header: 3GPP TS 23.040 section 9.2.3.24.

UDHL, then information elements: identifier, length, data. In SMPP it leads the user data when esm_class has
the UDHI bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from aircharge.errors import WireError

__all__ = [
    "COMMAND_PACKET",
    "CONCAT_8",
    "CONCAT_16",
    "PORTS_8",
    "PORTS_16",
    "RESPONSE_PACKET",
    "Concat",
    "Element",
    "Udh",
]

CONCAT_8: Final = 0x00
PORTS_8: Final = 0x04
PORTS_16: Final = 0x05
CONCAT_16: Final = 0x08
COMMAND_PACKET: Final = 0x70  # TS 31.115 section 4
RESPONSE_PACKET: Final = 0x71


class Element(NamedTuple):
    """One information element."""

    identifier: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Concat:
    """Which part of which message: reference 8 or 16 bit (``wide``), total 1..255, sequence 1..total."""

    ref: int
    total: int
    seq: int
    wide: bool = False

    def element(self) -> Element:
        """As an information element (sections 9.2.3.24.1 and 9.2.3.24.8)."""
        if self.wide:
            return Element(CONCAT_16, bytes((self.ref >> 8 & 0xFF, self.ref & 0xFF, self.total, self.seq)))
        return Element(CONCAT_8, bytes((self.ref & 0xFF, self.total, self.seq)))


@dataclass(frozen=True, slots=True)
class Udh:
    """A user data header as its elements, in order."""

    elements: tuple[Element, ...] = ()

    @classmethod
    def parse(cls, user_data: bytes) -> tuple[Udh, bytes]:
        """The header at the start of user data, and what follows it.

        Raises WireError when the header or an element is longer than what is there. One spare octet at the
        header's end is tolerated.
        """
        if not user_data or user_data[0] >= len(user_data):
            raise _broken("UDHL beyond the user data", 0)
        end = 1 + user_data[0]
        elements = []
        position = 1
        while position + 2 <= end:
            start = position + 2
            after = start + user_data[position + 1]
            if after > end:
                raise _broken("an element beyond the header", position)
            elements.append(Element(user_data[position], user_data[start:after]))
            position = after
        return cls(tuple(elements)), user_data[end:]

    def build(self) -> bytes:
        """UDHL and elements as octets. Raises WireError over 140 octets."""
        body = b"".join(bytes((one.identifier, len(one.data))) + one.data for one in self.elements)
        if len(body) >= 140:
            raise _broken("longer than a short message", 0)
        return bytes((len(body),)) + body

    def find(self, identifier: int) -> bytes | None:
        """Data of the last element of that kind (of a repeated one the last counts, section 9.2.3.24)."""
        for one in reversed(self.elements):
            if one.identifier == identifier:
                return one.data
        return None

    @property
    def concat(self) -> Concat | None:
        """Concatenation, 8 or 16 bit; None when there is none or it contradicts itself (to be ignored)."""
        data = self.find(CONCAT_16)
        if data is not None and len(data) == 4 and 1 <= data[3] <= data[2]:
            return Concat(data[0] << 8 | data[1], data[2], data[3], wide=True)
        data = self.find(CONCAT_8)
        if data is not None and len(data) == 3 and 1 <= data[2] <= data[1]:
            return Concat(data[0], data[1], data[2])
        return None

    @property
    def ports(self) -> tuple[int, int] | None:
        """(destination, originator) application ports (sections 9.2.3.24.3 and 9.2.3.24.4)."""
        data = self.find(PORTS_16)
        if data is not None and len(data) == 4:
            return data[0] << 8 | data[1], data[2] << 8 | data[3]
        data = self.find(PORTS_8)
        return (data[0], data[1]) if data is not None and len(data) == 2 else None


def _broken(why: str, offset: int) -> WireError:
    return WireError("TS 23.040", "9.2.3.24", why, offset=offset, field="udh", hint=0x65)
