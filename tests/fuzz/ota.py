"""Secured packets (opened with keys, and sealed again) and what our SIM menu says inside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from aircharge.errors import WireError
from aircharge.values import Pin
from aircharge.wire import stk
from aircharge.wire.ota import (
    COUNTER_MAX,
    CardProfile,
    Check,
    Command,
    Counting,
    Header,
    KeySet,
    Response,
    Spi,
    Sts,
    open_command,
    open_response,
    seal_command,
    seal_response,
)
from aircharge.wire.ota_crypto import CHECKS, CIPHERS
from tests.fuzz.target import Target, must
from tests.wire.test_stk import LAYOUTS

__all__ = ["TARGETS"]

_ANYTHING: Final = CardProfile(
    ciphers=(*CIPHERS.values(), "3des-ecb"),
    checks=(*CHECKS.values(), "crc-16", "crc-32", "none"),
    unciphered=True,
    single_des=True,
    counting=("absent", "unchecked", "higher", "next"),
    implicit_cipher="3des-ecb",
    implicit_check="des-mac",
)
_KEYS: Final = tuple(KeySet(bytes(range(size)), bytes(range(64, 64 + size))) for size in (16, 8, 24, 32))
_STRICT: Final = CardProfile(tar="a1c001")
_BOMBS: Final = (b"\xff\xff" + bytes(20), b"\x00\x14\xff" + bytes(19), b"\x7f\xff\x15\x1e\x39")

# -- commands ----------------------------------------------------------------------------------------------


def _packet(data: bytes) -> tuple[bytes, KeySet, CardProfile]:
    """First octet: which keys and profile, and whether the packet's length is put right."""
    choice = data[0] if data else 0
    rest = data[1:]
    packet = rest if choice & 0x80 else len(rest).to_bytes(2, "big") + rest
    return packet, _KEYS[choice & 3], _STRICT if choice & 0x40 else _ANYTHING


def _known(error: WireError) -> None:
    must(error.hint in Sts.__members__.values(), str(error))


def _command(data: bytes) -> Command:
    packet, keys, profile = _packet(data)
    try:
        return open_command(packet, keys, profile, data[-1] if data else None)
    except WireError as error:
        _known(error)
        raise


def _command_again(command: Command, data: bytes) -> None:
    packet, keys, profile = _packet(data)
    assert 0 <= command.counter <= COUNTER_MAX
    assert len(command.data) <= len(packet)
    sealed = seal_command(command, keys, profile)
    assert open_command(sealed, keys, profile) == command
    assert len(sealed) <= len(packet)
    if command.spi.check is Check.CC:
        changed = sealed[:-1] + bytes((sealed[-1] ^ 1,))
        try:
            open_command(changed, keys, profile)
        except WireError as error:
            _known(error)
        else:
            raise AssertionError("a packet that was changed opens")


def _sealed(data: bytes) -> tuple[Command, bytes, Response, bytes]:
    """Fields of a command as a card might choose them, sealed; and a response to it."""
    octets = data.ljust(12, b"\0")
    spi = Spi(octets[1] << 8 | octets[2])
    counter = int.from_bytes(octets[8:12], "big")
    command = Command(spi, octets[3], octets[4], octets[5:8], counter, octets[12:])
    response = Response(command.tar, command.counter, octets[3], command.data)
    keys = _KEYS[octets[0] & 3]
    packet = seal_command(command, keys, _ANYTHING)
    return command, packet, response, seal_response(response, command, keys, _ANYTHING)


def _sealed_opens(sealed: tuple[Command, bytes, Response, bytes], data: bytes) -> None:
    command, packet, response, back = sealed
    keys = _KEYS[data[0] & 3 if data else 0]
    assert open_command(packet, keys, _ANYTHING) == command
    assert open_response(back, command, keys, _ANYTHING) == response


# -- responses ---------------------------------------------------------------------------------------------


def _asked(data: bytes) -> tuple[bytes, Header, KeySet, CardProfile]:
    packet, keys, profile = _packet(data[:1] + data[4:])
    spi = Spi(data[1]) if len(data) > 1 else Spi(0)
    kic, kid = (data[2], data[3]) if len(data) > 3 else (0x12, 0x12)
    return packet, Header(spi, kic, kid, b"abc"), keys, profile


def _response(data: bytes) -> Response:
    packet, asked, keys, profile = _asked(data)
    try:
        return open_response(packet, asked, keys, profile)
    except WireError as error:
        _known(error)
        raise


def _response_again(response: Response, data: bytes) -> None:
    _, asked, keys, profile = _asked(data)
    assert open_response(seal_response(response, asked, keys, profile), asked, keys, profile) == response


# -- the menu's message ------------------------------------------------------------------------------------


def _menu(data: bytes) -> stk.StkMessage:
    try:
        return stk.decode(data)
    except WireError as error:
        must(error.hint in stk.Fault.__members__.values(), str(error))
        raise


def _menu_again(message: stk.StkMessage, data: bytes) -> None:
    assert stk.encode(message) == data
    assert repr(replace(message, pin=Pin("****"))) == repr(message), "the PIN is shown"
    assert 4 <= len(message.pin.secret) <= 12


# -- where the corpora begin -------------------------------------------------------------------------------


def _commands() -> Iterator[tuple[int, Command]]:
    said = bytes.fromhex(LAYOUTS[0][1])
    command = Command(Spi.of(), 0x12, 0x12, bytes.fromhex("a1c001"), 7, said)
    for which, kic, kid in (
        (0, 0x12, 0x12),
        (0, 0x15, 0x15),
        (1, 0x11, 0x11),
        (2, 0x19, 0x19),
        (3, 0x12, 0x12),
    ):
        yield which, replace(command, kic=kic, kid=kid)
    for check in (Check.NONE, Check.RC):
        for ciphered in (False, True):
            spi = Spi.of(check, ciphered, Counting.HIGHER)
            yield 0, replace(command, spi=spi, kid=0x11 if check is Check.RC else 0)


def _command_seeds() -> Iterator[bytes]:
    for which, command in _commands():
        yield bytes((which,)) + seal_command(command, _KEYS[which], _ANYTHING)[2:]


def _seal_seeds() -> Iterator[bytes]:
    for which, one in _commands():
        counter = one.counter.to_bytes(4, "big")
        yield (
            bytes((which,))
            + one.spi.to_bytes(2, "big")
            + bytes((one.kic, one.kid))
            + one.tar
            + counter
            + one.data
        )


def _response_seeds() -> Iterator[bytes]:
    response = Response(b"abc", 7, 0, b"done")
    for por in (0, 0x04, 0x08, 0x10, 0x14, 0x18):
        kid = 0x11 if por & 4 else 0x12
        packet = seal_response(response, Header(Spi(por), 0x12, kid, b"abc"), _KEYS[0], _ANYTHING)
        yield bytes((0, por, 0x12, kid)) + packet[2:]


TARGETS: Final = {
    "ota-command": Target(
        _command,
        _command_again,
        tame=b"\x00\x15" + bytes(20),
        bombs=_BOMBS,
        opened=lambda: lambda data: open_command(data, _KEYS[0]),
        seeds=_command_seeds,
    ),
    "ota-seal": Target(_sealed, _sealed_opens, seeds=_seal_seeds),
    "ota-response": Target(
        _response,
        _response_again,
        tame=b"\x00\x15" + bytes(20),
        bombs=_BOMBS,
        opened=lambda: lambda data: open_response(data, Header(Spi(0), 0x12, 0x12, b"abc"), _KEYS[0]),
        seeds=_response_seeds,
    ),
    "stk": Target(
        _menu,
        _menu_again,
        tame=b"\x01\x01" + b"\xff" * 24,
        bombs=(b"\x01\x01" + b"\xff" * 40, b"\xff" * 64),
        seeds=lambda: (bytes.fromhex(layout) for _, layout in LAYOUTS),
    ),
}
