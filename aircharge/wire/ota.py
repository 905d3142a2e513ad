"""Secured packets in short messages: 3GPP TS 31.115 (GSM 03.48), ETSI TS 102 225.

A packet here is what follows the UDH, its parts joined (``wire.gsm``): for a command

    CPL 2 | CHL 1 | SPI 2 | KIc 1 | KID 1 | TAR 3 | CNTR 5 | PCNTR 1 | RC/CC | data | padding

and for a response

    RPL 2 | RHL 1 | TAR 3 | CNTR 5 | PCNTR 1 | STS 1 | RC/CC | data | padding

The ciphered part begins at CNTR. The checksum covers everything but itself; in responses also UDH 02 71 00.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aircharge.errors import WireError
from aircharge.wire.ota_crypto import CHECKS, CIPHERS, CRC_FUNCTIONS, CRCS, BlockCipher, KeySet, KeyUnfit
from aircharge.wire.ota_profile import CardProfile, Check, Counting, PorWhen, Spi, Sts

__all__ = [
    "COUNTER_MAX",
    "CardProfile",
    "Check",
    "Command",
    "Counting",
    "Header",
    "KeySet",
    "PorWhen",
    "Response",
    "Spi",
    "Sts",
    "open_command",
    "open_response",
    "peek",
    "seal_command",
    "seal_response",
]

COUNTER_MAX: Final = (1 << 40) - 1
"""At this value the counter is blocked for good (TS 102 225 section 5.1.4)."""

_HEAD: Final = 10  # octets CPL to TAR
_RESPONSE_UDH: Final = b"\x02\x71\x00"


_DEFAULT_PROFILE: Final = CardProfile()


@dataclass(frozen=True, slots=True)
class Header:
    """What stands in clear at the head of a command packet."""

    spi: Spi
    kic: int
    kid: int
    tar: bytes  # 3 octets


@dataclass(frozen=True, slots=True)
class Command(Header):
    """A command packet, opened. ``data`` has no padding; its bytes may bear a PIN and are never shown."""

    counter: int = 0  # CNTR, 40 bit
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """A response packet, opened (TS 102 225 section 5.2)."""

    tar: bytes
    counter: int
    status: int  # Sts, or a code the standard reserves
    data: bytes = field(default=b"", repr=False)


def peek(packet: bytes) -> Header:
    """The clear head of a command packet, before any key is known. Raises WireError hint 06."""
    if len(packet) < _HEAD + 6:
        raise _error("5.1", "too short for a command header", hint=Sts.UNIDENTIFIED, field="CPL")
    if packet[0] << 8 | packet[1] != len(packet) - 2:
        raise _error("5.1", "CPL is not the packet's length", hint=Sts.UNIDENTIFIED, field="CPL")
    return Header(Spi(packet[3] << 8 | packet[4]), packet[5], packet[6], packet[7:10])


def open_command(
    packet: bytes, keys: KeySet, profile: CardProfile = _DEFAULT_PROFILE, last_counter: int | None = None
) -> Command:
    """Check and decipher a command packet.

    ``last_counter`` is the highest CNTR taken so far from that key set; None leaves the order to the caller.
    Raises WireError whose hint is an ``Sts``; wrong checksum, wrong key and unknown key set look alike.
    """
    head = peek(packet)
    spi = head.spi
    if not profile.takes_counting(spi.counting):
        raise _insufficient("counter mode", "SPI")
    sealing = _Sealing.of(spi.check, spi.is_ciphered, head.kic, head.kid, keys, profile)
    if packet[2] != 13 + sealing.check_length:
        raise _error("5.1", "CHL does not fit the SPI", hint=Sts.UNIDENTIFIED, field="CHL", offset=2)
    if profile.tar and head.tar.hex() != profile.tar.lower():
        raise _error("5.1.5", "no such application", hint=Sts.TAR_UNKNOWN, field="TAR", offset=7)
    prefix, sealed = packet[:10], packet[10:]
    body, data = sealing.open(prefix, prefix, sealed, 6)
    counter = int.from_bytes(body[:5], "big")
    if last_counter is not None:
        _check_counter(spi.counting, counter, last_counter)
    return Command(spi, head.kic, head.kid, head.tar, counter, data)


def seal_command(command: Command, keys: KeySet, profile: CardProfile = _DEFAULT_PROFILE) -> bytes:
    """The packet for a command. Raises WireError when the profile does not allow it or it grows too long."""
    sealing = _Sealing.of(command.spi.check, command.spi.is_ciphered, command.kic, command.kid, keys, profile)
    if not profile.takes_counting(command.spi.counting):
        raise _insufficient("counter mode", "SPI")
    if len(command.tar) != 3 or not 0 <= command.counter <= COUNTER_MAX:
        raise _error("5.1", "TAR has 3 octets, CNTR 40 bits", hint=Sts.UNIDENTIFIED, field="TAR")
    padding = sealing.padding(6, command.data)
    length = 14 + sealing.check_length + len(command.data) + padding
    if length > 0xFFFF:
        raise _error("5.1", "too long", hint=Sts.UNIDENTIFIED, field="CPL")
    prefix = (
        length.to_bytes(2, "big")
        + bytes((13 + sealing.check_length,))
        + command.spi.to_bytes(2, "big")
        + bytes((command.kic, command.kid))
        + command.tar
    )
    body = command.counter.to_bytes(5, "big") + bytes((padding,))
    return prefix + sealing.seal(prefix, body, command.data + bytes(padding))


def open_response(
    packet: bytes, asked: Header, keys: KeySet, profile: CardProfile = _DEFAULT_PROFILE
) -> Response:
    """Check and decipher the response to a command with the head ``asked``; its UDH 02 71 00 is off already.

    A card that could not verify the command may answer in clear (section 5.2): give ``asked`` an SPI without
    PoR security to read that, and trust nothing in it. Raises WireError as ``open_command`` does.
    """
    spi = asked.spi
    if len(packet) < 13 or packet[0] << 8 | packet[1] != len(packet) - 2:
        raise _error("5.2", "RPL is not the packet's length", hint=Sts.UNIDENTIFIED, field="RPL")
    sealing = _Sealing.of(
        spi.por_check, spi.por_is_ciphered, asked.kic, asked.kid, keys, profile, is_por=True
    )
    if packet[2] != 10 + sealing.check_length:
        raise _error("5.2", "RHL does not fit the SPI", hint=Sts.UNIDENTIFIED, field="RHL", offset=2)
    prefix, sealed = packet[:6], packet[6:]
    body, data = sealing.open(_RESPONSE_UDH + prefix, prefix, sealed, 7)
    return Response(packet[3:6], int.from_bytes(body[:5], "big"), body[6], data)


def seal_response(
    response: Response, asked: Header, keys: KeySet, profile: CardProfile = _DEFAULT_PROFILE
) -> bytes:
    """The response packet (without UDH 02 71 00) with the security that the SPI of the command asks for."""
    spi = asked.spi
    sealing = _Sealing.of(
        spi.por_check, spi.por_is_ciphered, asked.kic, asked.kid, keys, profile, is_por=True
    )
    if len(response.tar) != 3 or not 0 <= response.counter <= COUNTER_MAX or not 0 <= response.status <= 0xFF:
        raise _error("5.2", "TAR has 3 octets, CNTR 40 bits, STS 8", hint=Sts.UNIDENTIFIED, field="TAR")
    padding = sealing.padding(7, response.data)
    length = 11 + sealing.check_length + len(response.data) + padding
    if length > 0xFFFF:
        raise _error("5.2", "too long", hint=Sts.UNIDENTIFIED, field="RPL")
    prefix = length.to_bytes(2, "big") + bytes((10 + sealing.check_length,)) + response.tar
    body = response.counter.to_bytes(5, "big") + bytes((padding, response.status))
    return prefix + sealing.seal(_RESPONSE_UDH + prefix, body, response.data + bytes(padding))


class _Sealing:
    """The cipher and the check that one packet calls for, under the card's keys."""

    __slots__ = ("check", "check_length", "cipher")

    def __init__(
        self, cipher: BlockCipher | None, check: Callable[[bytes], bytes] | None, length: int
    ) -> None:
        self.cipher = cipher
        self.check = check
        self.check_length = length

    @classmethod
    def of(
        cls,
        check: Check,
        is_ciphered: bool,
        kic: int,
        kid: int,
        keys: KeySet,
        profile: CardProfile,
        *,
        is_por: bool = False,
    ) -> _Sealing:
        """Raises WireError 0A for what the profile does not allow, 01 where the keys do not fit."""
        try:
            checking, length = _check_of(check, kid, keys, profile, is_por)
            return cls(_cipher_of(is_ciphered, kic, keys, profile, is_por), checking, length)
        except KeyUnfit:
            raise _not_authentic() from None

    def padding(self, octets_before: int, data: bytes) -> int:
        """Octets of zeros behind the data so that the ciphered part is whole blocks."""
        if self.cipher is None:
            return 0
        return -(octets_before + self.check_length + len(data)) % self.cipher.block

    def seal(self, covered: bytes, body: bytes, data: bytes) -> bytes:
        """Everything from CNTR on; ``covered`` is what the checksum covers before it."""
        check = b"" if self.check is None else self.check(covered + body + data)
        clear = body + check + data
        return clear if self.cipher is None else self.cipher.encrypt(clear)

    def open(self, covered: bytes, prefix: bytes, sealed: bytes, body_octets: int) -> tuple[bytes, bytes]:
        """(CNTR, PCNTR and in responses STS; data without padding)."""
        clear = sealed
        if self.cipher is not None:
            if len(sealed) % self.cipher.block:
                raise _error("5.1.2", "not whole blocks", hint=Sts.CIPHERING, offset=len(prefix))
            clear = self.cipher.decrypt(sealed)
        end = body_octets + self.check_length
        if len(clear) < end:
            raise _error("5.1", "shorter than its header", hint=Sts.UNIDENTIFIED, offset=len(prefix))
        body, data = clear[:body_octets], clear[end:]
        if self.check is not None:
            expected = self.check(covered + body + data)
            if not hmac.compare_digest(clear[body_octets:end], expected):
                raise _not_authentic()
        padding = body[5]
        if padding > len(data):
            raise _error("5.1", "PCNTR is more than there is", hint=Sts.CIPHERING, field="PCNTR")
        return body, data[: len(data) - padding] if padding else data


def _cipher_of(
    is_ciphered: bool, kic: int, keys: KeySet, profile: CardProfile, is_por: bool
) -> BlockCipher | None:
    if not is_ciphered:
        if not profile.unciphered and not is_por:
            raise _insufficient("not ciphered", "SPI")
        return None
    name = CIPHERS.get(kic & 0x0F, profile.implicit_cipher if not kic & 3 else "")
    if name not in profile.ciphers:
        raise _insufficient("cipher", "KIc")
    _check_index(kic, keys)
    cipher = keys.cipher(name)
    if cipher.is_single_des and not profile.single_des:
        raise _insufficient("single DES", "KIc")
    return cipher


def _check_of(
    check: Check, kid: int, keys: KeySet, profile: CardProfile, is_por: bool
) -> tuple[Callable[[bytes], bytes] | None, int]:
    """The function that makes the checksum, and its length. A response may lack one: nothing rests on it."""
    if check is Check.NONE:
        if "none" not in profile.checks and not is_por:
            raise _insufficient("not authenticated", "SPI")
        return None, 0
    if check is Check.RC:
        name = CRCS.get(kid & 0x0F, "")
        if not name or (name not in profile.checks and not is_por):
            raise _insufficient("redundancy check", "KID")
        length, function = CRC_FUNCTIONS[name]
        return function, length
    name = CHECKS.get(kid & 0x0F, profile.implicit_check if not kid & 3 else "")
    if check is Check.DS or name not in profile.checks:
        raise _insufficient("checksum", "KID")
    _check_index(kid, keys)
    checker = keys.checker(name)
    if checker.is_single_des and not profile.single_des:
        raise _insufficient("single DES", "KID")
    if name != "aes-cmac":
        return checker.check, 8
    length = profile.cc_length
    return lambda data: checker.check(data)[:length], length


def _check_index(key_octet: int, keys: KeySet) -> None:
    if keys.index is not None and key_octet >> 4 != keys.index:
        raise _not_authentic()


def _check_counter(counting: Counting, counter: int, last: int) -> None:
    """TS 102 225 section 5.1.4, after the checksum is found right."""
    if counting in (Counting.ABSENT, Counting.UNCHECKED):
        return
    if last >= COUNTER_MAX:
        raise _error("5.1.4", "the counter is blocked", hint=Sts.COUNTER_BLOCKED, field="CNTR")
    if counter <= last:
        raise _error("5.1.4", "counter too low", hint=Sts.COUNTER_LOW, field="CNTR")
    if counting is Counting.NEXT and counter != last + 1:
        raise _error("5.1.4", "counter too high", hint=Sts.COUNTER_HIGH, field="CNTR")


def _not_authentic() -> WireError:
    return _error("5.1.3", "not sealed under this card's keys", hint=Sts.CHECK_FAILED, field="CC")


def _insufficient(what: str, where: str) -> WireError:
    return _error("5.1.1", f"the card's profile does not allow: {what}", hint=Sts.INSUFFICIENT, field=where)


def _error(section: str, why: str, *, hint: Sts, field: str = "", offset: int = 0) -> WireError:
    return WireError("ETSI TS 102 225", section, why, offset=offset, field=field, hint=hint)
