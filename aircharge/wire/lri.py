"""The caller block ("LRI") that dial-up access servers put behind the TPDU: who dialled, and which number.

Layout (33 octets): ``4C 52 49 | length 2 = 001C | ANI 8 BCD | DNIS 8 BCD | 12 octets of the access server's own``.
Source: conventions of Chinese access servers, docs/protocols/pos-fsk.md section 2. Numbers are BCD, padded with
zeros on the left, so that a trunk prefix 0 cannot be told from padding: numbers are compared without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aircharge.errors import WireError

__all__ = ["LRI_OCTETS", "Caller", "starts_caller_block"]

_MARK: Final = b"LRI\x00\x1c"
_NUMBER_OCTETS: Final = 8
_TAIL_OCTETS: Final = 12
LRI_OCTETS: Final = len(_MARK) + 2 * _NUMBER_OCTETS + _TAIL_OCTETS


def starts_caller_block(content: bytes) -> bool:
    """Whether ``content`` begins as a caller block does (mark and length)."""
    return content.startswith(_MARK)


@dataclass(frozen=True, slots=True)
class Caller:
    """One call: ``ani`` dialled ``dnis``; digits without leading zeros, empty when withheld."""

    ani: str
    dnis: str
    tail: bytes = bytes(_TAIL_OCTETS)

    @classmethod
    def decode(cls, block: bytes) -> Caller:
        """The block, exactly 33 octets. Raises WireError when it is none or a number is not BCD."""
        if len(block) != LRI_OCTETS or not starts_caller_block(block):
            raise WireError("LRI", "2", "no caller block here", field="mark")
        ani_end = len(_MARK) + _NUMBER_OCTETS
        dnis_end = ani_end + _NUMBER_OCTETS
        return cls(
            _digits(block[len(_MARK) : ani_end], "ani", len(_MARK)),
            _digits(block[ani_end:dnis_end], "dnis", ani_end),
            block[dnis_end:],
        )

    def encode(self) -> bytes:
        """The 33 octets. Raises WireError for a number that is not up to 16 digits or a tail of other length."""
        if len(self.tail) != _TAIL_OCTETS:
            raise WireError("LRI", "2", f"a tail of {len(self.tail)} octets", field="tail")
        return _MARK + _bcd(self.ani, "ani") + _bcd(self.dnis, "dnis") + self.tail

    def called_from(self, number: str) -> bool:
        """Whether the call came from ``number`` (digits, trunk prefix or not). A withheld number is nobody's."""
        return bool(self.ani) and self.ani == number.lstrip("0")


def _digits(octets: bytes, field: str, offset: int) -> str:
    digits = octets.hex()
    if not digits.isdecimal():
        raise WireError("LRI", "2", "a number that is not BCD", field=field, offset=offset)
    return digits.lstrip("0")


def _bcd(digits: str, field: str) -> bytes:
    if digits and not (digits.isascii() and digits.isdecimal() and len(digits) <= 2 * _NUMBER_OCTETS):
        raise WireError("LRI", "2", "not up to 16 digits", field=field)
    return bytes.fromhex(digits.rjust(2 * _NUMBER_OCTETS, "0"))
