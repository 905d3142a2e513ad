"""What the head of a secured packet says, and which packets a card profile lets in.

ETSI TS 102 225 section 5.1.1 (SPI), 5.1.4 (counters), 5.2 (status codes).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from aircharge.wire.ota_crypto import CHECKS, CIPHERS, CRCS

__all__ = ["CardProfile", "Check", "Counting", "PorWhen", "Spi", "Sts"]


class Check(IntEnum):
    """SPI1 bits 2 and 1."""

    NONE = 0
    RC = 1
    CC = 2
    DS = 3


class Counting(IntEnum):
    """SPI1 bits 5 and 4: what a receiver does with CNTR."""

    ABSENT = 0  # no counter: ignored
    UNCHECKED = 1  # there, not compared
    HIGHER = 2  # only if higher than the last one
    NEXT = 3  # only if higher by exactly one


class PorWhen(IntEnum):
    """SPI2 bits 2 and 1: when a proof of receipt is wanted."""

    NEVER = 0
    ALWAYS = 1
    ON_ERROR = 2


class Sts(IntEnum):
    """Response status codes (TS 102 225 section 5.2, table 5); also the ``hint`` of our WireErrors."""

    OK = 0x00
    CHECK_FAILED = 0x01
    COUNTER_LOW = 0x02
    COUNTER_HIGH = 0x03
    COUNTER_BLOCKED = 0x04
    CIPHERING = 0x05
    UNIDENTIFIED = 0x06
    MEMORY = 0x07
    MORE_TIME = 0x08
    TAR_UNKNOWN = 0x09
    INSUFFICIENT = 0x0A


class Spi(int):
    """Security parameter indication, both octets (TS 102 225 section 5.1.1)."""

    @classmethod
    def of(
        cls,
        check: Check = Check.CC,
        ciphered: bool = True,
        counting: Counting = Counting.UNCHECKED,
        por: PorWhen = PorWhen.NEVER,
        por_check: Check = Check.NONE,
        por_ciphered: bool = False,
        por_submit: bool = False,
    ) -> Spi:
        first = check | ciphered << 2 | counting << 3
        return cls(first << 8 | por | por_check << 2 | por_ciphered << 4 | por_submit << 5)

    @property
    def check(self) -> Check:
        return Check(self >> 8 & 3)

    @property
    def is_ciphered(self) -> bool:
        return bool(self & 0x0400)

    @property
    def counting(self) -> Counting:
        return Counting(self >> 11 & 3)

    @property
    def por(self) -> int:
        """A PorWhen; 3 is reserved."""
        return self & 3

    @property
    def por_check(self) -> Check:
        return Check(self >> 2 & 3)

    @property
    def por_is_ciphered(self) -> bool:
        return bool(self & 0x10)

    @property
    def por_by_submit(self) -> bool:
        """The proof comes as SMS-SUBMIT, not in the delivery report."""
        return bool(self & 0x20)

    def __repr__(self) -> str:
        return f"Spi({self:#06x})"


@dataclass(frozen=True, slots=True)
class CardProfile:
    """What packets of one make of card may look like.

    Single DES, clear and unauthenticated packets are refused unless a profile allows them; so is 3DES under a
    key whose parts are equal, for that is single DES.
    """

    ciphers: tuple[str, ...] = ("3des-2key", "3des-3key", "aes-cbc")
    checks: tuple[str, ...] = ("3des-2key-mac", "3des-3key-mac", "aes-cmac")  # also crc-16, crc-32, none
    unciphered: bool = False  # a packet in clear is taken
    single_des: bool = False  # taken, by name (list it in ciphers, checks) or because a key's parts are equal
    cc_length: int = 8  # of an AES-CMAC, octets: 4 or 8
    implicit_cipher: str = ""  # what KIc low bits 00 mean
    implicit_check: str = ""  # what KID low bits 00 mean
    tar: str = ""  # hex, the one TAR taken; empty: any
    counting: tuple[str, ...] = ("unchecked", "higher", "next")  # counter modes taken; also absent
    key_index: int = 1  # index of the key set in KIc and KID
    key_octets: int = 16  # length of keys derived for such cards
    key_family: str = "aes"  # of keys derived for such cards: aes or 3des

    def __post_init__(self) -> None:
        _known("ciphers", self.ciphers, {*CIPHERS.values(), "3des-ecb"})
        _known("checks", self.checks, {*CHECKS.values(), *CRCS.values(), "none"})
        _known("counting", self.counting, {mode.name.lower() for mode in Counting})
        _known("implicit_cipher", (self.implicit_cipher,), {"", *CIPHERS.values(), "3des-ecb"})
        _known("implicit_check", (self.implicit_check,), {"", *CHECKS.values()})
        _known("cc_length", (self.cc_length,), {4, 8})
        _known("key_index", (self.key_index,), set(range(16)))
        _known("key_family", (self.key_family,), {"aes", "3des"})
        _known("key_octets", (self.key_octets,), {16, 24, 32} if self.key_family == "aes" else {16, 24})
        if self.tar and len(bytes.fromhex(self.tar)) != 3:
            raise ValueError("tar: three octets in hex")

    def takes_counting(self, counting: Counting) -> bool:
        return _COUNTING_NAMES[counting] in self.counting


_COUNTING_NAMES: Final = {mode: mode.name.lower() for mode in Counting}


def _known(name: str, values: tuple[object, ...], known: set[str] | set[int]) -> None:
    for value in values:
        if value not in known:
            raise ValueError(f"{name}: {value!r} is none of {', '.join(map(str, sorted(known)))}")
