"""Secured packets: every algorithm both ways, refusals, tampering, random bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aircharge.errors import WireError
from aircharge.wire.ota import (
    COUNTER_MAX,
    CardProfile,
    Check,
    Command,
    Counting,
    Header,
    KeySet,
    PorWhen,
    Response,
    Spi,
    Sts,
    open_command,
    open_response,
    peek,
    seal_command,
    seal_response,
)
from aircharge.wire.ota_crypto import CHECKS, CIPHERS, crc16, crc32

TAR = bytes.fromhex("a1c001")
KEYS = KeySet(bytes(range(16)), bytes(range(16, 32)), index=1)
COMMAND = Command(Spi.of(), 0x12, 0x12, TAR, 0x0102030405, b"what the card says")
PACKET = seal_command(COMMAND, KEYS)
ANYTHING = CardProfile(
    ciphers=(*CIPHERS.values(), "3des-ecb"),
    checks=(*CHECKS.values(), "crc-16", "crc-32", "none"),
    unciphered=True,
    single_des=True,
    counting=("absent", "unchecked", "higher", "next"),
)


def keys_for(kic: int, kid: int, octets: int = 16) -> KeySet:
    lengths = {0x1: 8, 0xD: 8, 0x5: 16, 0x9: 24, 0x2: octets}
    return KeySet(bytes(range(lengths[kic & 15])), bytes(range(64, 64 + lengths[kid & 15])), index=kic >> 4)


def refused(
    packet: bytes, keys: KeySet = KEYS, profile: CardProfile | None = None, last: int | None = None
) -> WireError:
    with pytest.raises(WireError) as caught:
        open_command(packet, keys, profile or CardProfile(), last)
    return caught.value


@pytest.mark.parametrize("kic", [0x11, 0x15, 0x19, 0x1D, 0x12])
@pytest.mark.parametrize("kid", [0x11, 0x15, 0x19, 0x12])
@pytest.mark.parametrize("ciphered", [True, False])
@pytest.mark.parametrize("check", [Check.NONE, Check.RC, Check.CC])
def test_every_algorithm_both_ways(kic: int, kid: int, ciphered: bool, check: Check) -> None:
    if check is Check.RC:
        kid = {0x11: 0x11, 0x15: 0x15}.get(kid, 0x11)
    keys = keys_for(kic, kid)
    for octets in (0, 1, 7, 8, 15, 16, 17, 200):
        command = Command(
            Spi.of(check, ciphered, Counting.HIGHER), kic, kid, TAR, COUNTER_MAX, bytes(range(octets))
        )
        packet = seal_command(command, keys, ANYTHING)
        assert open_command(packet, keys, ANYTHING) == command


@pytest.mark.parametrize("octets", [16, 24, 32])
@pytest.mark.parametrize("cc_length", [4, 8])
def test_aes_of_every_length(octets: int, cc_length: int) -> None:
    keys, profile = keys_for(0x12, 0x12, octets), CardProfile(cc_length=cc_length)
    packet = seal_command(COMMAND, keys, profile)
    assert packet[2] == 13 + cc_length
    assert open_command(packet, keys, profile) == COMMAND


def test_redundancy_checks_are_the_standards_own() -> None:
    assert crc16(bytes((1, 2, 3, 4, 5))).hex() == "22ec"
    assert crc32(bytes((1, 2, 3, 4, 5))).hex() == "470b99f4"


def test_head_is_read_before_any_key() -> None:
    assert peek(PACKET) == Header(COMMAND.spi, 0x12, 0x12, TAR)


@pytest.mark.parametrize("index", range(len(PACKET) * 8))
def test_one_flipped_bit_is_refused(index: int) -> None:
    broken = bytearray(PACKET)
    broken[index // 8] ^= 1 << index % 8
    refused(bytes(broken))


def test_cut_and_lengthened_packets_are_refused() -> None:
    for end in range(len(PACKET)):
        assert refused(PACKET[:end]).hint == Sts.UNIDENTIFIED
    for tail in (b"\0", bytes(8), PACKET):
        assert refused(PACKET + tail).hint == Sts.UNIDENTIFIED


def test_wrong_checksum_wrong_key_and_unknown_key_set_look_alike() -> None:
    broken = PACKET[:-1] + bytes((PACKET[-1] ^ 1,))
    other_set = seal_command(
        replace(COMMAND, kic=0x22, kid=0x22), KeySet(bytes(range(16)), bytes(range(16, 32)))
    )
    errors = [
        refused(broken),
        refused(PACKET, KeySet(bytes(16), bytes(range(16, 32)), 1)),
        refused(PACKET, KeySet(bytes(range(16)), bytes(16), 1)),
        refused(PACKET, KeySet(bytes(8), bytes(8), 1)),
        refused(other_set),
    ]
    assert {(str(error), error.hint) for error in errors} == {(str(errors[0]), Sts.CHECK_FAILED)}


@pytest.mark.parametrize(
    ("spi", "kic", "kid"),
    [
        (Spi.of(ciphered=False), 0x12, 0x12),
        (Spi.of(Check.NONE), 0x12, 0x12),
        (Spi.of(Check.RC), 0x12, 0x11),
        (Spi.of(Check.RC), 0x12, 0x15),
        (Spi.of(), 0x11, 0x15),
        (Spi.of(), 0x1D, 0x15),
        (Spi.of(), 0x15, 0x11),
        (Spi.of(counting=Counting.ABSENT), 0x12, 0x12),
    ],
)
def test_weak_packets_are_refused_unless_the_profile_allows_them(spi: Spi, kic: int, kid: int) -> None:
    keys = keys_for(kic, kid)
    command = Command(spi, kic, kid, TAR, 7, b"weak")
    packet = seal_command(command, keys, ANYTHING)
    assert open_command(packet, keys, ANYTHING) == command
    assert refused(packet, keys).hint == Sts.INSUFFICIENT
    with pytest.raises(WireError):
        seal_command(command, keys)


@pytest.mark.parametrize(
    ("kic", "kid"), [(0x13, 0x12), (0x10, 0x12), (0x1E, 0x12), (0x12, 0x13), (0x12, 0x10), (0x12, 0x1D)]
)
def test_proprietary_implicit_and_reserved_algorithms_are_refused(kic: int, kid: int) -> None:
    packet = PACKET[:5] + bytes((kic, kid)) + PACKET[7:]
    assert refused(packet, KEYS, ANYTHING).hint == Sts.INSUFFICIENT


def test_digital_signature_is_refused() -> None:
    assert refused(PACKET[:3] + b"\x0f" + PACKET[4:], KEYS, ANYTHING).hint == Sts.INSUFFICIENT


def test_what_both_sides_know_may_be_named_by_the_profile() -> None:
    profile = CardProfile(implicit_cipher="aes-cbc", implicit_check="aes-cmac")
    command = replace(COMMAND, kic=0x10, kid=0x14)
    assert open_command(seal_command(command, KEYS, profile), KEYS, profile) == command


@pytest.mark.parametrize("part", ["11" * 8, "11" * 8 + "22" * 8 + "22" * 8])
def test_triple_des_that_is_single_des_counts_as_single_des(part: str) -> None:
    whole = bytes.fromhex(part)
    key = whole if len(whole) == 24 else whole * 2
    code = 0x19 if len(key) == 24 else 0x15
    keys = KeySet(key, key, 1)
    command = Command(Spi.of(), code, code, TAR, 7, b"weak")
    packet = seal_command(command, keys, CardProfile(single_des=True))
    assert open_command(packet, keys, CardProfile(single_des=True)) == command
    assert refused(packet, keys).hint == Sts.INSUFFICIENT


def test_equal_halves_are_plain_des_with_the_first() -> None:
    half, full = bytes(range(8)), bytes(range(8)) * 2
    single = seal_command(Command(Spi.of(), 0x11, 0x11, TAR, 7, b"x"), KeySet(half, half), ANYTHING)
    double = seal_command(Command(Spi.of(), 0x15, 0x15, TAR, 7, b"x"), KeySet(full, full), ANYTHING)
    assert len(single) == len(double)
    opened = open_command(double, KeySet(full, full), ANYTHING)
    assert opened.data == open_command(single, KeySet(half, half), ANYTHING).data


@pytest.mark.parametrize(
    ("counting", "last", "hint"),
    [
        (Counting.UNCHECKED, 99, None),
        (Counting.UNCHECKED, COUNTER_MAX, None),
        (Counting.HIGHER, 49, None),
        (Counting.HIGHER, 7, None),
        (Counting.HIGHER, 50, Sts.COUNTER_LOW),
        (Counting.HIGHER, 51, Sts.COUNTER_LOW),
        (Counting.HIGHER, COUNTER_MAX, Sts.COUNTER_BLOCKED),
        (Counting.NEXT, 49, None),
        (Counting.NEXT, 48, Sts.COUNTER_HIGH),
        (Counting.NEXT, 50, Sts.COUNTER_LOW),
        (Counting.NEXT, COUNTER_MAX, Sts.COUNTER_BLOCKED),
    ],
)
def test_counter_modes(counting: Counting, last: int, hint: Sts | None) -> None:
    packet = seal_command(replace(COMMAND, spi=Spi.of(counting=counting), counter=50), KEYS)
    if hint is None:
        assert open_command(packet, KEYS, last_counter=last).counter == 50
    else:
        assert refused(packet, last=last).hint == hint


def test_a_bad_counter_of_an_unproven_packet_is_not_told() -> None:
    packet = seal_command(replace(COMMAND, spi=Spi.of(counting=Counting.HIGHER), counter=50), KEYS)
    assert refused(packet[:-1] + bytes((packet[-1] ^ 1,)), last=60).hint == Sts.CHECK_FAILED


def test_another_application_is_refused() -> None:
    assert open_command(PACKET, KEYS, CardProfile(tar="A1C001")) == COMMAND
    assert refused(PACKET, profile=CardProfile(tar="b00001")).hint == Sts.TAR_UNKNOWN


@pytest.mark.parametrize("ciphered", [True, False])
@pytest.mark.parametrize("check", [Check.NONE, Check.RC, Check.CC])
def test_responses_both_ways(ciphered: bool, check: Check) -> None:
    kid = 0x15 if check is Check.RC else 0x12
    spi = Spi.of(por=PorWhen.ALWAYS, por_check=check, por_ciphered=ciphered)
    asked = Header(spi, 0x12, kid, TAR)
    for octets in (0, 1, 5, 6, 100):
        response = Response(TAR, 9, Sts.COUNTER_LOW, bytes(octets))
        packet = seal_response(response, asked, KEYS)
        assert open_response(packet, asked, KEYS) == response
        for end in range(len(packet)):
            with pytest.raises(WireError):
                open_response(packet[:end], asked, KEYS)
        with pytest.raises(WireError):
            open_response(packet + b"\0", asked, KEYS)
        if check is Check.CC:
            for at in range(len(packet)):
                with pytest.raises(WireError):
                    open_response(packet[:at] + bytes((packet[at] ^ 0x10,)) + packet[at + 1 :], asked, KEYS)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120))
def test_random_bytes_give_an_error_or_a_packet(data: bytes) -> None:
    framed = len(data).to_bytes(2, "big") + data
    for packet in (data, framed):
        for profile in (CardProfile(), ANYTHING):
            for keys in (KEYS, KeySet(bytes(8), bytes(8))):
                try:
                    assert isinstance(open_command(packet, keys, profile), Command)
                except WireError as error:
                    assert error.hint in Sts.__members__.values()  # noqa: PT017  either outcome is right
                try:
                    assert isinstance(open_response(packet, COMMAND, keys, profile), Response)
                except WireError as error:
                    assert error.hint in Sts.__members__.values()  # noqa: PT017  either outcome is right


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.integers(0, COUNTER_MAX), st.binary(min_size=3, max_size=3))
def test_any_command_survives_the_round_trip(data: bytes, counter: int, tar: bytes) -> None:
    command = replace(COMMAND, data=data, counter=counter, tar=tar)
    assert open_command(seal_command(command, KEYS), KEYS) == command


@pytest.mark.parametrize(
    "wrong",
    [
        {"ciphers": ("rot13",)},
        {"checks": ("md5",)},
        {"cc_length": 16},
        {"tar": "00"},
        {"tar": "zz"},
        {"counting": ("sometimes",)},
        {"key_index": 16},
        {"key_family": "des"},
        {"key_octets": 8},
        {"implicit_cipher": "none"},
    ],
)
def test_profiles_name_only_what_exists(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"tar|hex|none of"):
        CardProfile(**wrong)  # type: ignore[arg-type]


def test_neither_keys_nor_data_are_shown() -> None:
    shown = repr(KEYS) + repr(COMMAND) + repr(Response(TAR, 1, 0, b"secret"))
    assert "what the card says" not in shown
    assert "secret" not in shown
    assert bytes(range(16)).hex() not in shown


def test_what_does_not_fit_is_not_sealed() -> None:
    for command in (
        replace(COMMAND, tar=b"12"),
        replace(COMMAND, counter=1 << 40),
        replace(COMMAND, data=bytes(65536)),
    ):
        with pytest.raises(WireError):
            seal_command(command, KEYS)
    for response in (
        Response(b"12", 1, 0),
        Response(TAR, 1 << 40, 0),
        Response(TAR, 1, 256),
        Response(TAR, 1, 0, bytes(65536)),
    ):
        with pytest.raises(WireError):
            seal_response(response, COMMAND, KEYS)
