"""Messages to octets and back in every profile; whatever is wrong has its element, its offset and its own words."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircharge.wire.iso8583.message import FORMAT_ERROR, BadMessage, Message, decode, encode
from aircharge.wire.iso8583.profile import ASCII, BCD, CUP, CUP_AES, PROFILES, Field, Kind, Profile
from tests.wire.iso8583.samples import MESSAGES, SALE, name_of, with_mac
from tests.wire.memory import peak_octets

ALL = pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
SALE_CUP = (
    "0200 70 20 04 80 00 C0 80 10"  # elements 2 3 4 11 22 25 41 42 49 60
    "11 138123456780 500000 000000005000 000012 0120 00"
    "5430303030303031 4D3030303030303030303030303031 313536 0011 220000070000"
)


def octets_of(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


# -- by hand, from the standard's words -----------------------------------------------------------------------


def test_a_sale_octet_by_octet() -> None:
    assert encode(SALE, CUP) == octets_of(SALE_CUP)
    assert decode(octets_of(SALE_CUP), CUP) == SALE


def test_the_filling_of_odd_digits_is_the_profiles() -> None:
    message = Message("0200", {22: "012", 60: "22000007000"})
    head = "0200 00 00 04 00 00 00 00 10"
    assert encode(message, CUP) == octets_of(head + "0120 0011 220000070000")
    assert encode(message, BCD) == octets_of(head + "0012 0011 022000007000")
    assert decode(octets_of(head + "012F 0011 22000007000F"), CUP) == message
    assert decode(octets_of(head + "F012 0011 F22000007000"), BCD) == message


def test_characters_in_the_ascii_profile() -> None:
    message = Message("0800", {22: "012", 52: bytes(range(248, 256)), 60: "22000007000", 62: b"\xab\x01"})
    assert encode(message, ASCII) == (
        b"0800" + b"0000040000001014" + b"012" + b"F8F9FAFBFCFDFEFF" + b"01122000007000" + b"002AB01"
    )


def test_a_second_bitmap() -> None:
    message = Message("0200", {3: "210000", 102: "6222", 128: bytes(8)})
    octets = encode(message, CUP)
    assert octets[2:18] == octets_of("A000000000000000 0000000004000001")
    assert decode(octets, CUP) == message


def test_tracks() -> None:
    message = Message("0200", {35: "6222=491212"})
    assert encode(message, CUP)[10:] == octets_of("11 6222D4912120")
    assert decode(encode(message, CUP), CUP) == message
    assert decode(encode(message, ASCII).replace(b"=", b"D"), ASCII) == message


def test_texts_are_gbk() -> None:
    message = Message("0810", {63: "充值成功"})
    assert encode(message, CUP)[10:] == octets_of("0008 B3E4D6B5B3C9B9A6")
    assert decode(encode(message, CUP), CUP).text(63) == "充值成功"


def test_the_type_of_an_answer_and_elements_that_are_not_there() -> None:
    assert [Message(mti).answer_mti for mti in ("0200", "0400", "0820")] == ["0210", "0410", "0830"]
    assert (Message("0200").text(2), Message("0200").text(2, "x"), Message("0200").octets(64)) == (
        "",
        "x",
        b"",
    )


# -- there and back -------------------------------------------------------------------------------------------


@ALL
@pytest.mark.parametrize("message", MESSAGES, ids=name_of)
def test_every_message_there_and_back_and_no_octet_too_many_or_too_few(
    message: Message, profile: Profile
) -> None:
    message = with_mac(message)
    if profile is CUP_AES:
        message.fields.pop(52, None)
    octets = encode(message, profile)
    assert decode(octets, profile) == message
    for size in range(len(octets)):
        with pytest.raises(BadMessage) as wrong:
            decode(octets[:size], profile)
        assert wrong.value.offset <= size
        assert wrong.value.hint == FORMAT_ERROR
    for extra in (b"\0", b"0", b"\xff" * 7):
        with pytest.raises(BadMessage, match="behind the last element") as wrong:
            decode(octets + extra, profile)
        assert wrong.value.offset == len(octets)
        assert wrong.value.so_far == message


def values(spec: Field) -> st.SearchStrategy[Any]:
    least = 0 if spec.prefix else spec.size
    if spec.kind is Kind.B:
        return st.binary(min_size=least, max_size=spec.size)
    alphabet = {Kind.N: "0123456789", Kind.Z: "0123456789=", Kind.AN: "09AZaz "}.get(spec.kind, " 0Zz~\n充值")
    texts = st.text(alphabet, max_size=spec.size)
    return texts.map(lambda text: cut(text, spec.size).ljust(least, "0"[: least or 1])).filter(
        lambda text: least <= len(text.encode("gbk")) <= spec.size
    )


def cut(text: str, size: int) -> str:
    return text.encode("gbk")[:size].decode("gbk", "ignore")


@st.composite
def messages(draw: st.DrawFn, profile: Profile) -> Message:
    numbers = draw(st.sets(st.sampled_from(sorted(profile.fields)), max_size=6))
    mti = draw(st.text("0123456789", min_size=4, max_size=4))
    return Message(mti, {number: draw(values(profile.fields[number])) for number in sorted(numbers)})


@given(st.sampled_from(list(PROFILES.values())).flatmap(lambda p: st.tuples(st.just(p), messages(p))))
def test_any_message_there_and_back(drawn: tuple[Profile, Message]) -> None:
    profile, message = drawn
    with suppress(BadMessage):  # longer than the profile has it
        octets = encode(message, profile)
        assert decode(octets, profile) == message


@given(st.sampled_from(list(PROFILES.values())), st.data())
def test_any_octets_are_a_message_or_a_bad_one(profile: Profile, data: st.DataObject) -> None:
    octets = bytearray(encode(with_mac(SALE), profile))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BadMessage):
        message = decode(bytes(octets), profile)
        assert decode(encode(message, profile), profile) == message


# -- bad input ------------------------------------------------------------------------------------------------

HEAD = "0200 00 00 00 00 00 00 00"  # the bitmap's last octet follows
BAD_CUP: tuple[tuple[str, str, int, str], ...] = (
    ("02", "2 octets wanted, 1 left", 0, "mti"),
    ("02A0" + "00" * 8, "not digits", 0, "mti"),
    ("0200 0000", "8 octets wanted, 2 left", 2, "bitmap"),
    ("0200 80" + "00" * 7 + "0000", "8 octets wanted, 2 left", 10, "bitmap"),
    ("0200 80" + "00" * 7 + "80" + "00" * 7, "no such element in this profile", 18, "DE 65"),
    ("0200 000000 10 000000 00" + "00", "no such element in this profile", 10, "DE 28"),
    ("0200 20" + "00" * 7 + "50A000", "not digits", 10, "DE 3"),
    ("0200 20" + "00" * 7 + "5000", "3 octets wanted, 2 left", 10, "DE 3"),
    ("0200 40" + "00" * 7 + "20" + "11" * 10, "a length of 20, 19 is the most", 10, "DE 2"),
    ("0200 40" + "00" * 7 + "1A" + "11" * 10, "not digits", 10, "DE 2"),
    ("0200 40" + "00" * 7 + "03 1385", "an odd number of digits is not filled up with 0", 10, "DE 2"),
    (HEAD + "04 9999" + "11" * 40, "a length of 9999, 512 is the most", 10, "DE 62"),
    (HEAD + "04 0512" + "11" * 40, "512 octets wanted, 40 left", 10, "DE 62"),
    (HEAD + "02 0002 81FF", "not gbk", 10, "DE 63"),
    (HEAD + "01 112233", "8 octets wanted, 3 left", 10, "DE 64"),
    ("0200 00000000 02 000000 2A30", "not letters and digits", 10, "DE 39"),
    ("0200 00000000 20 000000 04 62A1", "not a track", 10, "DE 35"),
    (SALE_CUP + "00" * 7, "7 octets behind the last element", 66, "DE 60"),
)


@pytest.mark.parametrize(("text", "why", "offset", "field"), BAD_CUP, ids=lambda value: str(value)[:40])
def test_bad_octets_are_told_by_element_and_offset(text: str, why: str, offset: int, field: str) -> None:
    with pytest.raises(BadMessage) as wrong:
        decode(octets_of(text), CUP)
    error = wrong.value
    assert (error.why, error.offset, error.field, error.hint) == (why, offset, field, FORMAT_ERROR)


@pytest.mark.parametrize(
    ("octets", "why", "field"),
    [
        (b"02x0" + b"0" * 16, "not digits", "mti"),
        ("०२००".encode() + b"0" * 16, "not digits", "mti"),
        (b"0200" + b" 000000000000000", "not hexadecimal", "bitmap"),
        (b"0200" + b"000000000000000G", "not hexadecimal", "bitmap"),
        (b"0200" + b"0000000000000001" + b"00 11 22 33 44 55", "not hexadecimal", "DE 64"),
        (b"0200" + b"0000000000000004" + b"5130", "a length of 513, 512 is the most", "DE 62"),
        (b"0200" + b"4000000000000000" + b"-1", "not digits", "DE 2"),
    ],
)
def test_bad_characters(octets: bytes, why: str, field: str) -> None:
    with pytest.raises(BadMessage) as wrong:
        decode(octets, ASCII)
    assert (wrong.value.why, wrong.value.field) == (why, field)


@pytest.mark.parametrize(
    ("mti", "fields", "why", "field"),
    [
        ("200", {}, "not 4 digits", "mti"),
        ("02x0", {}, "not 4 digits", "mti"),
        ("0200", {1: "0"}, "no such element", "bitmap"),
        ("0200", {129: "0"}, "no such element", "bitmap"),
        ("0200", {28: "0"}, "no such element in this profile", "DE 28"),
        ("0200", {3: "50000"}, "a length of 5, not 6", "DE 3"),
        ("0200", {3: "50000x"}, "not digits", "DE 3"),
        ("0200", {3: "٥٠٠٠٠٠"}, "not digits", "DE 3"),
        ("0200", {2: "1" * 20}, "a length of 20, 19 is the most", "DE 2"),
        ("0200", {35: "6222:12"}, "not a track", "DE 35"),
        ("0200", {39: "0*"}, "not letters and digits", "DE 39"),
        ("0200", {63: "\U0001f600"}, "not gbk", "DE 63"),
        ("0200", {41: "终端终端终"}, "a length of 10, not 8", "DE 41"),
        ("0200", {52: "12345678"}, "str is not what stands there", "DE 52"),
        ("0200", {41: b"12345678"}, "bytes is not what stands there", "DE 41"),
        ("0200", {47: bytes(512), 62: bytes(512)}, "1038 octets are too many", "bitmap"),
    ],
)
@pytest.mark.parametrize("profile", [CUP, BCD])
def test_what_does_not_fit_is_not_sent(
    mti: str, fields: dict[int, Any], why: str, field: str, profile: Profile
) -> None:
    with pytest.raises(BadMessage) as wrong:
        encode(Message(mti, fields), profile)
    assert (wrong.value.why, wrong.value.field) == (why, field)


@ALL
def test_announced_lengths_allocate_nothing(profile: Profile) -> None:
    """What a refusal costs (a message, an error, its frames) is the same for 2 octets announced and for 9999."""
    bitmap = bytes.fromhex("0000000000000004") if profile.packed else b"0000000000000004"
    head = (b"\x02\x00" if profile.packed else b"0200") + bitmap
    small, *bombs = (
        head + (b"\x00\x02" if profile.packed else b"002"),
        head + (b"\x05\x12" if profile.packed else b"512"),
        head + (b"\x99\x99" if profile.packed else b"999"),
        bytes(100_000),
    )
    least = cost(small, profile)
    assert least < 4096
    for bomb in bombs:
        assert cost(bomb, profile) < least + 256


def cost(octets: bytes, profile: Profile) -> int:
    """Octets allocated to refuse this; once before, which fills the interpreter's own stores."""
    assert refused(octets, profile)
    return peak_octets(lambda: refused(octets, profile))[1]


def refused(octets: bytes, profile: Profile) -> bool:
    try:
        decode(octets, profile)
    except BadMessage:
        return True
    return False


@ALL
def test_the_longest_parameter_download_fits(profile: Profile) -> None:
    message = with_mac(
        Message("0810", {39: "00", 41: "T" * 8, 42: "M" * 15, 60: "22000001360", 62: bytes(512)})
    )
    assert decode(encode(message, profile), profile) == message
