"""GSM text, UDH, parts and their reassembly."""

from __future__ import annotations

import pytest
import smpplib.gsm
from hypothesis import given
from hypothesis import strategies as st

from aircharge.errors import WireError
from aircharge.wire.gsm import (
    Concat,
    DefaultAlphabet,
    Element,
    Part,
    Reassembler,
    Udh,
    alphabet_of,
    decode_gsm7,
    decode_text,
    encode_gsm7,
    encode_text,
    fill_bits_after,
    pack,
    split_parts,
    unpack,
)

EVERY_LETTER = "".join(decode_gsm7(bytes([code])) for code in range(128) if code != 0x1B) + "\f^{}\\[~]|€"
gsm_texts = st.text(st.sampled_from(EVERY_LETTER), max_size=500)


def test_the_alphabet_is_another_projects_too() -> None:
    assert len(set(EVERY_LETTER)) == 137
    for letter in EVERY_LETTER:
        if letter not in "\f§":  # smpplib lacks the form feed and has a grave accent for the section sign
            assert encode_gsm7(letter) == smpplib.gsm.gsm_encode(letter), letter


@given(gsm_texts)
def test_gsm_text_round_trips(text: str) -> None:
    septets = encode_gsm7(text)
    assert septets is not None
    assert decode_gsm7(septets) == text
    assert decode_text(septets, 0) == text


def test_a_kannel_message_with_extension() -> None:
    octets = bytes.fromhex("68656c6c6f201b3c1b651b3e")
    assert encode_text("hello [€]") == (0, octets)
    assert decode_text(octets, 0) == "hello [€]"


def test_odd_septets_never_fail() -> None:
    assert decode_gsm7(b"a\x1b") == "a"
    assert decode_gsm7(b"\x1ba") == "a"
    assert decode_gsm7(b"\x1b\x1bx") == " x"
    assert decode_gsm7(b"a\x80\xff") == "a\ufffd\ufffd"


@given(
    st.binary(max_size=200), st.integers(0, 255), st.sampled_from(["gsm7", "latin1", "ascii", "gsm7-packed"])
)
def test_any_octets_decode(data: bytes, coding: int, default: DefaultAlphabet) -> None:
    text = decode_text(data, coding, default)
    assert (text is None) == (alphabet_of(coding, default) == "binary")


CODINGS = [
    (0x00, "gsm7"),
    (0x01, "ascii"),
    (0x02, "binary"),
    (0x03, "latin1"),
    (0x04, "binary"),
    (0x08, "ucs2"),
    (0x10, "gsm7"),
    (0x14, "binary"),
    (0x15, "binary"),
    (0x18, "ucs2"),
    (0x19, "ucs2"),
    (0x48, "ucs2"),
    (0xC8, "gsm7"),
    (0xD0, "gsm7"),
    (0xE8, "ucs2"),
    (0xF0, "gsm7"),
    (0xF4, "binary"),
    (0xF5, "binary"),
    (0xF6, "binary"),
]


@pytest.mark.parametrize(("coding", "alphabet"), CODINGS)
def test_data_codings(coding: int, alphabet: str) -> None:
    assert alphabet_of(coding) == alphabet


@pytest.mark.parametrize(
    ("text", "default", "coding", "octets"),
    [
        ("50元", "gsm7", 8, "500051"),
        ("Å", "gsm7", 0, "0e"),
        ("Å", "latin1", 0, "c5"),
        ("Å", "ascii", 8, "00c5"),
        ("€", "latin1", 8, "20ac"),
        ("😀", "gsm7", 8, "d83dde00"),
        ("\ud800", "gsm7", 8, "003f"),
    ],
)
def test_the_smallest_coding_is_chosen(text: str, default: DefaultAlphabet, coding: int, octets: str) -> None:
    if text == "50元":
        octets = text.encode("utf-16-be").hex()
    assert encode_text(text, default) == (coding, bytes.fromhex(octets))


@given(st.binary(max_size=200).map(lambda data: bytes(one & 0x7F for one in data)), st.integers(0, 6))
def test_packing_round_trips(septets: bytes, fill: int) -> None:
    again = unpack(pack(septets, fill), fill)
    assert again == septets or (again + b"\0" == septets and septets[-1:] == b"\0")
    assert len(pack(septets, fill)) == (7 * len(septets) + fill + 7) // 8


def test_packing_known_words() -> None:
    assert pack(b"hellohello") == bytes.fromhex("e8329bfd4697d9ec37")
    assert unpack(bytes.fromhex("e8329bfd4697d9ec37")) == b"hellohello"
    assert fill_bits_after(6) == 1
    assert fill_bits_after(7) == 0
    assert fill_bits_after(0) == 0


LIMITS = [(0, 160, 153, 152, 1), (8, 140, 134, 132, 2), (4, 140, 134, 133, 1), (3, 140, 134, 133, 1)]


@pytest.mark.parametrize(("coding", "alone", "narrow", "wide", "unit"), LIMITS)
def test_limits_of_parts(coding: int, alone: int, narrow: int, wide: int, unit: int) -> None:
    assert split_parts(b"aa" * (alone // 2), coding, 7) == [Part(b"", b"aa" * (alone // 2))]
    over = b"aa" * ((alone + unit + 1) // 2)
    parts = split_parts(over, coding, 7)
    assert [len(part.body) for part in parts] == [narrow, len(over) - narrow]
    assert [part.udh.hex() for part in parts] == ["050003070201", "050003070202"]
    parts = split_parts(over, coding, 0x1234, wide_ref=True)
    assert [len(part.body) for part in parts] == [wide, len(over) - wide]
    assert parts[1].udh.hex() == "06080412340202"


@given(gsm_texts.map(lambda text: text * 2), st.booleans(), st.sampled_from(["gsm7", "gsm7-packed"]))
def test_no_escape_pair_is_parted(text: str, wide: bool, default: DefaultAlphabet) -> None:
    _, septets = encode_text(text, default)
    parts = split_parts(septets, 0, 1, wide, default=default)
    bodies = [part.body for part in parts]
    if default == "gsm7-packed":
        assert all(len(part.user_data) <= 140 for part in parts)
        bodies = [unpack(part.body, fill_bits_after(len(part.udh))) for part in parts]
    assert "".join(map(decode_gsm7, bodies)).rstrip("@") == text.rstrip("@")
    assert not any(body.endswith(b"\x1b") for body in bodies)


@given(st.text(st.sampled_from("充😀a"), max_size=300), st.booleans())
def test_no_surrogate_pair_is_parted(text: str, wide: bool) -> None:
    data = text.encode("utf-16-be")
    parts = split_parts(data, 8, 1, wide)
    assert "".join(part.body.decode("utf-16-be") for part in parts) == text
    assert all(len(part.user_data) <= 140 for part in parts)


def test_a_secured_packet_of_two_parts() -> None:
    parts = split_parts(bytes(200), 0xF6, 9, elements=(Element(0x70, b""),))
    assert [part.udh.hex() for part in parts] == ["07000309020170" + "00", "050003090202"]
    assert [len(part.user_data) for part in parts] == [140, 74]


def test_too_many_parts() -> None:
    assert len(split_parts(bytes(255 * 134), 4, 1)) == 255
    with pytest.raises(WireError):
        split_parts(bytes(255 * 134 + 1), 4, 1)


def test_udh() -> None:
    udh, rest = Udh.parse(bytes.fromhex("0b0003070201050423f4000041"))
    assert udh.elements == (Element(0, b"\x07\x02\x01"), Element(5, bytes.fromhex("23f40000")))
    assert (udh.concat, udh.ports, rest) == (Concat(7, 2, 1), (0x23F4, 0), b"A")
    assert udh.build() + rest == bytes.fromhex("0b0003070201050423f4000041")
    assert Udh.parse(bytes.fromhex("027000") + b"data") == (Udh((Element(0x70, b""),)), b"data")
    assert Udh.parse(bytes.fromhex("0404020102" + "55"))[0].ports == (1, 2)


@pytest.mark.parametrize(
    "hexed", ["0500030700ff", "050003070003", "0500030201" + "03", "0608041234" + "0003"]
)
def test_concatenation_that_contradicts_itself_is_ignored(hexed: str) -> None:
    assert Udh.parse(bytes.fromhex(hexed))[0].concat is None


@pytest.mark.parametrize("hexed", ["", "05", "0500", "03000507", "040003070201"])
def test_a_broken_udh(hexed: str) -> None:
    with pytest.raises(WireError):
        Udh.parse(bytes.fromhex(hexed))


@given(st.binary(max_size=160))
def test_random_udh(data: bytes) -> None:
    try:
        udh, rest = Udh.parse(data)
    except WireError:
        return
    assert data.endswith(rest)
    assert udh.concat is None or 1 <= udh.concat.seq <= udh.concat.total
    assert udh.ports is None or len(udh.ports) == 2


def reassembler() -> Reassembler:
    return Reassembler(max_messages=3, max_age_ms=1000, max_bytes=2000)


def test_parts_in_any_order_with_duplicates() -> None:
    box = reassembler()
    assert box.add("a", 1, 3, 3, b"C", 0) is None
    assert box.add("a", 1, 3, 1, b"A", 0) is None
    assert box.add("a", 1, 3, 1, b"A", 0) is None
    assert box.add("b", 1, 3, 2, b"x", 0) is None
    assert box.add("a", 1, 3, 2, b"B", 0) == b"ABC"
    assert (box.counters.completed, box.counters.duplicates, len(box)) == (1, 1, 1)


def test_another_number_of_parts_is_another_message() -> None:
    box = reassembler()
    assert box.add("a", 1, 3, 1, b"one", 0) is None
    assert box.add("a", 1, 2, 2, b"B", 0) is None
    assert box.add("a", 1, 2, 1, b"A", 0) == b"AB"
    assert box.take_lost() == []


def test_two_messages_under_one_reference_are_not_joined_and_both_told() -> None:
    box = reassembler()
    assert box.add("a", 1, 2, 1, b"A1", 0) is None  # its second part is late
    assert box.add("a", 1, 2, 1, b"B1", 100) is None  # the same reference again
    assert box.take_lost() == ["a"]
    assert box.add("a", 1, 2, 2, b"A2", 200) is None  # whose is it? never "B1A2"
    assert box.add("a", 1, 2, 2, b"B2", 300) is None
    assert box.add("a", 1, 2, 1, b"B1", 400) is None
    box.expire(1_200)
    assert box.take_lost() == ["a"]
    assert box.add("a", 1, 2, 1, b"C1", 1_300) is None
    assert box.add("a", 1, 2, 2, b"C2", 1_300) == b"C1C2"
    assert (box.counters.contradicted, len(box), box.size_bytes) == (1, 0, 0)


@pytest.mark.parametrize("later_ms", [0, 500, 3_600_000, 47 * 3_600_000])
def test_a_part_of_a_finished_message_that_comes_again_is_joined_with_no_other(later_ms: int) -> None:
    box = reassembler()
    assert box.add("a", 7, 2, 1, b"A1", 0) is None
    assert box.add("a", 7, 2, 2, b"A2", 0) == b"A1A2"
    assert box.add("a", 7, 2, 2, b"A2", later_ms) is None  # its response was lost
    assert box.add("a", 7, 2, 1, b"B1", later_ms + 10) is None  # the reference is used again: never "B1A2"
    assert box.add("a", 7, 2, 2, b"B2", later_ms + 20) == b"B1B2"
    assert box.add("a", 7, 2, 1, b"C1", later_ms + 30) is None  # nothing of what came is shifted
    assert box.add("a", 7, 2, 2, b"C2", later_ms + 40) == b"C1C2"
    box.expire(later_ms + 5_000)
    assert box.take_lost() == []  # the finished message was not lost


def test_a_finished_message_that_comes_again_whole_is_given_again_whole() -> None:
    box = reassembler()
    for at_ms in (0, 60_000, 120_000):
        assert box.add("a", 7, 2, 2, b"A2", at_ms) is None
        assert box.add("a", 7, 2, 1, b"A1", at_ms) == b"A1A2"
    assert box.take_lost() == []


def test_who_waits_in_vain_is_named_once() -> None:
    box = reassembler()
    box.add("a", 1, 3, 1, b"x", 0)
    box.add("a", 1, 3, 2, b"y", 500)
    box.add("b", 1, 2, 2, b"y", 600)
    box.expire(1_000)
    assert box.take_lost() == []
    box.expire(1_001)
    assert (box.take_lost(), box.take_lost()) == (["a"], [])
    box.give_up_all()
    assert (box.take_lost(), len(box), box.size_bytes) == (["b"], 0, 0)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(0, 400)), max_size=40))
def test_no_message_is_ever_made_of_two(parts: list[tuple[int, int, int]]) -> None:
    """Three messages of three parts under one reference, any part again and again, none before its part 1."""
    box = Reassembler(max_messages=3, max_age_ms=1000, max_bytes=5000)
    now_ms, begun = 0, set()
    for message, seq, wait_ms in parts:
        now_ms += wait_ms
        begun |= {message} if seq == 1 else set()
        if message not in begun:
            continue
        whole = box.add("a", 1, 3, seq, bytes((65 + message, 48 + seq)), now_ms)
        if whole is not None:
            letters = {whole[at] for at in (0, 2, 4)}
            if now_ms <= 1000:  # later on parts may have been forgotten
                assert len(letters) == 1, whole


def test_bounds_in_number_bytes_and_time() -> None:
    box = reassembler()
    for ref in range(4):
        box.add("a", ref, 2, 1, b"x", ref)
    assert (len(box), box.counters.evicted) == (3, 1)
    box.add("a", 9, 2, 1, bytes(1500), 5)
    assert len(box) == 1
    assert box.size_bytes <= 2000
    box.add("a", 10, 2, 1, bytes(3000), 6)
    assert (len(box), box.size_bytes) == (0, 0)
    box.add("a", 11, 2, 1, b"x", 10)
    assert box.add("a", 11, 2, 2, b"y", 2000) is None
    assert box.counters.expired == 1


def test_a_message_of_one_part_and_nonsense() -> None:
    box = reassembler()
    assert box.add("a", 1, 1, 1, b"whole", 0) == b"whole"
    for total, seq in ((0, 0), (2, 3), (2, 0), (256, 1)):
        with pytest.raises(ValueError, match="part"):
            box.add("a", 1, total, seq, b"", 0)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(1, 3),
            st.integers(1, 3),
            st.binary(max_size=900),
            st.integers(0, 600),
        )
    )
)
def test_random_parts_stay_within_bounds(parts: list[tuple[int, int, int, bytes, int]]) -> None:
    box = reassembler()
    now_ms = 0
    for ref, total, seq, body, wait_ms in parts:
        now_ms += wait_ms
        box.add("a", ref, max(total, seq), seq, body, now_ms)
        assert len(box) <= 3
        assert 0 <= box.size_bytes <= 2000
