"""FSK terminals: application messages of every layout, requests of outlets, answers to them, text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from aircharge.wire.fsk_message import FskMessage, GatewayHeader, Operation
from aircharge.wire.fsk_outlet import Answered, Asked, Head, Reply, WorkKey, WorkKeys
from aircharge.wire.fsk_profiles import PROFILES, Layout, Profile
from aircharge.wire.fsk_text import Lines, Record, Shown, Slip
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
)
from tests.fuzz.target import Target

__all__ = ["TARGETS"]

_PROFILES: Final = tuple(PROFILES.values())
_HEAD: Final = Head("1000000000000001", 123, called="02088880001", moment=datetime(2026, 11, 23, 9, 30))
_PIN: Final = bytes(range(8))
_WISHES: Final = (
    Echo(),
    Parameters(),
    SignOut(),
    SignIn(b"0123456789"),
    NumberCheck("13812345678"),
    Recharge("13812345678", 5000, _PIN, 2, 7),
    Balance(_PIN),
    Last(),
    Void(122, 5000, _PIN, "1234"),
    Reprint(122),
    Reversal(Original(122, b"A1B2C3D4"), 5000, 7),
    Settlement(7, 3, 15000, 1, 5000),
    Upload(7, ((120, 5000), (121, -5000))),
)
_REPLY: Final = Reply(
    Shown("00", ("充值成功", "50.00")),
    Slip((Record("流水 000123", "%B1", 1), Record("金额 50.00")), 2),
    WorkKeys((WorkKey(41, bytes(20)), WorkKey(42, bytes(16)))),
    more=(Operation.bare(0x16, b"\1\2ab"),),
)


def _mac(covered: bytes) -> bytes:
    return bytes([sum(covered) & 0xFF]) * 8


def _profile(data: bytes) -> Profile:
    return _PROFILES[data[0] % len(_PROFILES) if data else 0]


def _layout(data: bytes) -> Layout:
    profile = _profile(data)
    return profile.answer if data[:1] > b"\x7f" else profile.request


def _message_again(message: FskMessage, data: bytes) -> None:
    content = message.encode(_layout(data))
    assert FskMessage.decode(content, _layout(data)) == message
    assert len(content) == len(data) - 1


def _header_again(parts: tuple[GatewayHeader, bytes], data: bytes) -> None:
    assert parts[0].encode(parts[1]) == data


def _asked_again(asked: Asked, data: bytes) -> None:
    profile = _profile(data)
    again = Asked.decode(asked.encode(_mac, profile), profile)
    assert (again.head, again.wish) == (asked.head, asked.wish)
    needs = profile.rules[asked.transaction].request
    assert again.is_genuine(_mac, profile)
    assert asked.is_genuine(None, profile) is not needs


def _answered_again(answered: Answered, data: bytes) -> None:
    profile = _profile(data)
    again = Answered.decode(answered.encode(_mac, profile), profile)
    assert replace(again, mac=b"", content=b"") == replace(answered, mac=b"", content=b"")


def _shown_again(shown: Shown, data: bytes) -> None:
    assert shown.encode(Lines(20, 10)) == data


def _slip_again(slip: Slip, data: bytes) -> None:
    assert slip.encode(Lines(32, 20)) == data


def _keys_again(keys: WorkKeys, data: bytes) -> None:
    assert keys.encode() == data


def _contents() -> Iterator[tuple[bytes, bytes, bytes]]:
    """Number of the profile, request and answer."""
    for number, profile in enumerate(_PROFILES):
        for wish in _WISHES:
            asked = Asked(_HEAD, wish)
            mac = _mac if profile.rules[asked.transaction].request else None
            told = Answered.to(asked, _REPLY, datetime(2026, 11, 23, 9, 30, 15))
            yield bytes([number]), asked.encode(mac, profile), told.encode(_mac, profile)


_REQUEST: Final = Asked(_HEAD, Recharge("13812345678", 5000)).encode(_mac)
_UP_TO_COUNT: Final = _REQUEST[:65]
_BOMB: Final = b"\0" + _UP_TO_COUNT + b"\x01\x89\xff\xff" + b"\xff" * 8
_TAME: Final = b"\0" + _UP_TO_COUNT + b"\x01\x89\x00\x09" + b"\xff" * 8

TARGETS: Final = {
    "fsk-gateway": Target(
        GatewayHeader.decode,
        _header_again,
        tame=bytes(7) + b"\x00\x02x",
        bombs=(bytes(7) + b"\xff\xffx",),
        seeds=lambda: (GatewayHeader(1, 2, 3, 4, 5, 6).encode(b"some content"),),
    ),
    "fsk-message": Target(
        lambda data: FskMessage.decode(data[1:], _layout(data)),
        _message_again,
        tame=_TAME,
        bombs=(
            _BOMB,
            b"\0" + _UP_TO_COUNT + b"\xff" * 960,
            b"\x80" + _UP_TO_COUNT[:48] + b"\x00\xff\xff" + bytes(8),
        ),
        seeds=lambda: (
            piece
            for number, request, answer in _contents()
            for piece in (number + request, bytes([0x80 + number[0]]) + answer)
        ),
    ),
    "fsk-request": Target(
        lambda data: Asked.decode(data[1:], _profile(data)),
        _asked_again,
        tame=_TAME,
        bombs=(_BOMB,),
        seeds=lambda: (number + request for number, request, _ in _contents()),
    ),
    "fsk-answer": Target(
        lambda data: Answered.decode(data[1:], _profile(data)),
        _answered_again,
        seeds=lambda: (number + answer for number, _, answer in _contents()),
    ),
    "fsk-shown": Target(
        lambda data: Shown.decode(data, Lines(20, 10)),
        _shown_again,
        seeds=lambda: (_REPLY.shown.encode(Lines(20, 10)), b"\1A0"),
    ),
    "fsk-slip": Target(
        lambda data: Slip.decode(data, Lines(32, 20)),
        _slip_again,
        seeds=lambda: (Slip((Record("流水", "%E2", 9), Record("")), 3).encode(Lines(32, 20)),),
    ),
    "fsk-keys": Target(
        WorkKeys.decode,
        _keys_again,
        seeds=lambda: (WorkKeys((WorkKey(41, bytes(28)), WorkKey(42, bytes(8))), 3).encode(),),
    ),
}
