"""ISO 8583 of payment terminals: messages in every profile, all that the door reads in one, keys, PIN blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from aircharge.errors import WireError
from aircharge.wire.iso8583.crypto import MACS, encrypt, open_pin_block, pin_block, seal_format_4
from aircharge.wire.iso8583.message import MAC, MAC_128, Message, decode, encode
from aircharge.wire.iso8583.profile import PROFILES, Profile
from aircharge.wire.iso8583.requests import available_fen
from aircharge.wire.iso8583.terminal import (
    Header,
    Sums,
    WorkingKeys,
    act_of,
    has_good_mac,
    missing,
    network,
    open_message,
    original,
    read_lines,
    repeat_of,
    seal_message,
)
from tests.fuzz.target import Target
from tests.wire.iso8583.samples import MAK, MASTER, MESSAGES, NUMBER, PIK

__all__ = ["TARGETS"]

_PROFILES: Final = tuple(PROFILES.values())
_MACS: Final = tuple(MACS)
_VIEWS: Final[tuple[Callable[[Message], Any], ...]] = (
    network,
    original,
    repeat_of,
    Sums.decode,
    read_lines,
    available_fen,
)


def _profile(data: bytes) -> Profile:
    return _PROFILES[data[0] % len(_PROFILES) if data else 0]


def _again(message: Message, data: bytes) -> None:
    """Not octet for octet: the filling of an odd number of digits may have been an F, a track's separator a d."""
    octets = encode(message, _profile(data))
    assert decode(octets, _profile(data)) == message
    assert len(octets) == len(data) - 1


def _request(data: bytes) -> Message:
    message = open_message(data[1:], _profile(data))[1]
    act = act_of(message)
    if act is not None:
        missing(message, act)
    return message


def _read(message: Message, data: bytes) -> None:
    """Whatever is in it, the door's views tell it or refuse it, and no MAC is good by chance."""
    for view in _VIEWS:
        with suppress(WireError):
            view(message)
    if {MAC, MAC_128} & message.fields.keys():
        for mac in _MACS:
            has_good_mac(data[1:], _profile(data), mac, MASTER)


def _keys_again(keys: WorkingKeys, data: bytes) -> None:
    assert WorkingKeys.decode(keys.encode()) == keys
    with suppress(WireError):
        keys.unwrapped(MASTER)


def _is_pin(pin: str, data: bytes) -> None:
    assert 4 <= len(pin) <= 12
    assert pin.isascii()
    assert pin.isdecimal()


def _messages() -> Iterator[tuple[int, Message, Profile]]:
    for number, profile in enumerate(_PROFILES):
        for message in MESSAGES:
            if len(message.octets(52)) in (0, profile.fields[52].size):
                yield number, message, profile


_MAC_NOT_LAST: Final = Message(
    "0820", {11: "000001", 60: "22000001301", 64: bytes(8), 103: "充值充值充值充值"}
)
_BITMAP_62: Final = bytes(7) + b"\x04"
_BOMB: Final = b"\x02\x00" + _BITMAP_62 + b"\x99\x99"
_TAME: Final = b"\x02\x00" + _BITMAP_62 + b"\x05\x13"
_HEAD: Final = Header().encode()

TARGETS: Final = {
    "iso8583": Target(
        lambda data: decode(data[1:], _profile(data)),
        _again,
        tame=b"\0" + _TAME,
        bombs=(
            b"\0" + _BOMB,
            b"\0" + _BOMB + bytes(900),
            b"\3" + b"0200" + _BITMAP_62.hex().encode() + b"999",
        ),
        seeds=lambda: (bytes([n]) + encode(message, profile) for n, message, profile in _messages()),
    ),
    "iso8583-request": Target(
        _request,
        _read,
        tame=b"\0" + _HEAD + _TAME,
        bombs=(b"\0" + _HEAD + _BOMB,),
        seeds=lambda: (
            *(
                bytes([n]) + seal_message(Header(), Message(m.mti, dict(m.fields)), profile, "cup-ecb", MAK)
                for n, m, profile in _messages()
            ),
            *(bytes([n]) + _HEAD + encode(_MAC_NOT_LAST, profile) for n, profile in enumerate(_PROFILES)),
        ),
    ),
    "iso8583-keys": Target(
        WorkingKeys.decode,
        _keys_again,
        seeds=lambda: (
            WorkingKeys.wrapped(MASTER, PIK, MAK).encode(),
            WorkingKeys.wrapped(MASTER, PIK[:8], MAK[:8]).encode(),
            WorkingKeys.wrapped(MASTER, PIK, MAK[:8], PIK).encode(),
        ),
    ),
    "iso9564": Target(
        lambda data: open_pin_block(MASTER, data, NUMBER),
        _is_pin,
        seeds=lambda: (
            encrypt(MASTER, pin_block("135246", NUMBER)),
            encrypt(MASTER, pin_block("1352", fmt=1, fill=bytes(8))),
            seal_format_4(MASTER, "135246", NUMBER, bytes(8)),
        ),
    ),
}
