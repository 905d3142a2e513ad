"""The conventions: header, acts, MACs over whole messages, keys on their way, batches, and a terminal's requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircharge.errors import WireError
from aircharge.wire.iso8583.crypto import MACS, encrypt, odd_parity
from aircharge.wire.iso8583.message import BadMessage, Message
from aircharge.wire.iso8583.profile import ASCII, BCD, CUP, Profile
from aircharge.wire.iso8583.requests import Desk, available_fen
from aircharge.wire.iso8583.terminal import (
    ACTS,
    HEADER_OCTETS,
    MANDATORY,
    Act,
    Demand,
    Header,
    Line,
    Sums,
    WorkingKeys,
    act_of,
    fixed,
    has_good_mac,
    missing,
    network,
    open_message,
    original,
    read_lines,
    repeat_of,
    seal_message,
    write_lines,
)
from tests.wire.iso8583.samples import DESK, MAK, MASTER, PIK, REQUESTS, SALE, name_of, with_mac

KEY = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
keys = st.binary(min_size=16, max_size=16).map(odd_parity)


def copy_of(message: Message) -> Message:
    return Message(message.mti, dict(message.fields))


# -- header ---------------------------------------------------------------------------------------------------


def test_the_header_there_and_back() -> None:
    octets = bytes.fromhex("602213310500")
    header = Header.decode(octets)
    assert header == Header("60", "22", "1", "3", "310500")
    assert header.encode() == octets
    assert header.demanding(Demand.PARAMETERS).encode() == bytes.fromhex("602211310500")
    assert len(Header().encode()) == HEADER_OCTETS


@pytest.mark.parametrize("octets", [b"", bytes(5), bytes.fromhex("60220000000A")])
def test_what_is_no_header(octets: bytes) -> None:
    with pytest.raises(WireError, match="no header"):
        open_message(octets, CUP)


# -- acts -----------------------------------------------------------------------------------------------------


def test_every_request_says_what_it_asks_and_bears_all_it_must() -> None:
    seen = set()
    for message in REQUESTS:
        act = act_of(message)
        assert act is not None, name_of(message)
        seen.add(act)
        wanted = missing(message, act)
        assert wanted == ([64] if 64 in MANDATORY[act] else [])
        assert missing(with_mac(message), act) == []
    assert seen == set(Act) == set(MANDATORY) == set(ACTS.values())


@pytest.mark.parametrize("message", REQUESTS, ids=name_of)
def test_each_mandatory_element_is_missed(message: Message) -> None:
    act = act_of(message)
    assert act is not None
    for number in MANDATORY[act]:
        poor = with_mac(message)
        del poor.fields[number]
        assert missing(poor, act) == [number]


def test_what_nobody_knows() -> None:
    assert act_of(Message("0200", {3: "990000"})) is None
    assert act_of(Message("0200")) is None
    assert act_of(Message("0800", {60: "00000001999"})) is None
    with pytest.raises(BadMessage, match="11 digits"):
        act_of(Message("0800"))


def test_elements_60_61_and_57() -> None:
    assert network(Message("0800", {60: "00000007003600"})) == ("00", 7, "003")
    assert original(Message("0200", {61: "0000070000121123"})) == (7, 12)
    with pytest.raises(BadMessage, match="12 digits"):
        original(Message("0200", {61: "00000700001"}))
    assert repeat_of(Message("0200")) == repeat_of(Message("0200", {57: "KEY=2"})) == 1
    assert repeat_of(Message("0200", {57: "KEY=2; REPEAT=3"})) == 3
    for value in ("0", "100", "x", "", "-1", "٣"):
        with pytest.raises(BadMessage, match="1 to 99"):
            repeat_of(Message("0200", {57: f"REPEAT={value}"}))


# -- MACs over messages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [CUP, BCD, ASCII], ids=lambda profile: profile.name)
@pytest.mark.parametrize("mac", MACS)
def test_one_changed_octet_spoils_the_mac(mac: str, profile: Profile) -> None:
    octets = seal_message(Header(), copy_of(SALE), profile, mac, KEY)
    assert open_message(octets, profile)[1].octets(64)
    assert has_good_mac(octets, profile, mac, KEY)
    assert not has_good_mac(octets, profile, mac, KEY[::-1])
    for at in range(HEADER_OCTETS, len(octets)):
        spoilt = bytearray(octets)
        spoilt[at] ^= (
            1  # in the ASCII profile a digit becomes another, a letter of a MAC maybe no digit at all
        )
        try:
            assert not has_good_mac(bytes(spoilt), profile, mac, KEY)
        except ValueError:
            assert profile is ASCII


def test_the_header_is_not_under_the_mac() -> None:
    """The centre changes its digits."""
    octets = seal_message(Header(), copy_of(SALE), CUP, "x9.19", KEY)
    assert has_good_mac(Header("61").encode() + octets[HEADER_OCTETS:], CUP, "x9.19", KEY)


def test_a_mac_in_the_second_bitmap() -> None:
    message = Message("0200", {3: "210000", 11: "000001", 102: "6222020000"})
    octets = seal_message(Header(), message, ASCII, "aes-cmac", KEY)
    assert sorted(open_message(octets, ASCII)[1].fields) == [3, 11, 102, 128]
    assert has_good_mac(octets, ASCII, "aes-cmac", KEY)


def test_a_message_without_one() -> None:
    octets = seal_message(Header(), copy_of(SALE), CUP)
    assert open_message(octets, CUP) == (Header(), SALE)
    assert not has_good_mac(octets, CUP, "x9.19", KEY)


# -- keys -----------------------------------------------------------------------------------------------------


@given(keys, keys, keys, keys)
def test_keys_are_wrapped_checked_and_read_again(master: bytes, pik: bytes, mak: bytes, tdk: bytes) -> None:
    for clear, size in (
        ((pik[:8], mak[:8]), 24),
        ((pik[:8], mak[:8], tdk[:8]), 36),
        ((pik, mak), 40),
        ((pik, mak[:8]), 40),
        ((pik, mak[:8], tdk), 60),
    ):
        sent = WorkingKeys.wrapped(master, *clear)
        assert len(sent.encode()) == size
        assert WorkingKeys.decode(sent.encode()) == sent
        assert sent.unwrapped(master) == clear


def test_key_layouts_octet_by_octet() -> None:
    sent = WorkingKeys.wrapped(MASTER, PIK, MAK[:8]).encode()
    assert sent[:16] == encrypt(MASTER, PIK)
    assert sent[16:20] == encrypt(PIK, bytes(8))[:4]
    assert sent[20:36] == encrypt(MASTER, MAK[:8]) + bytes(8)
    assert sent[36:] == encrypt(MAK[:8], bytes(8))[:4]


@pytest.mark.parametrize("at", [0, 16, 20, 36])
def test_a_check_value_tells_a_key_that_was_changed(at: int) -> None:
    octets = bytearray(WorkingKeys.wrapped(MASTER, PIK, MAK).encode())
    octets[at] ^= 1
    with pytest.raises(WireError, match="PIK" if at < 20 else "MAK"):
        WorkingKeys.decode(bytes(octets)).unwrapped(MASTER)
    with pytest.raises(WireError, match="PIK"):
        WorkingKeys.wrapped(MASTER, PIK, MAK).unwrapped(MASTER[::-1])


@pytest.mark.parametrize("size", [0, 23, 25, 41, 61, 512])
def test_what_are_no_keys(size: int) -> None:
    with pytest.raises(WireError, match=f"{size} octets"):
        WorkingKeys.decode(bytes(size))


# -- batches --------------------------------------------------------------------------------------------------

fen = st.integers(0, 10**12 - 1)


@given(fen, st.integers(0, 999), fen, st.integers(0, 999), st.sampled_from(["", "1", "2"]))
def test_sums(sale_fen: int, sale_n: int, void_fen: int, void_n: int, said: str) -> None:
    sums = Sums(sale_fen, sale_n, void_fen, void_n, said)
    assert Sums.decode(Message("0500", {48: sums.encode()})) == sums


@given(st.lists(st.builds(Line, st.integers(0, 999999), fen, st.booleans()), max_size=15))
def test_lines(lines: list[Line]) -> None:
    assert read_lines(Message("0320", {48: write_lines(lines)})) == lines


@pytest.mark.parametrize("digits", ["", "0", "1" * 29, "1" * 32])
def test_what_are_no_sums(digits: str) -> None:
    with pytest.raises(BadMessage, match="30 digits"):
        Sums.decode(Message("0500", {48: digits}))


@pytest.mark.parametrize(
    ("digits", "why"),
    [
        ("", "as many"),
        ("1", "as many"),
        ("01", "as many"),
        ("02" + "0" * 20, "as many"),
        ("01" + "0" * 19, "as many"),
        ("00" + "0" * 20, "as many"),
        ("0110" + "0" * 18, "another kind"),
    ],
)
def test_what_are_no_lines(digits: str, why: str) -> None:
    with pytest.raises(BadMessage, match=why):
        read_lines(Message("0320", {48: digits}))


@pytest.mark.parametrize(
    ("value", "digits"), [(1000, 3), (-1, 3), (10**12, 12), (-(10**11), 12), (10**6, 6)], ids=str
)
def test_a_number_that_would_move_its_neighbours_is_not_written(value: int, digits: int) -> None:
    with pytest.raises(WireError, match=f"{value} does not go into {digits} digits"):
        fixed(value, digits)


def test_sums_lines_and_requests_that_do_not_fit() -> None:
    for make in (
        lambda: Sums(sale_n=1000).encode(),
        lambda: write_lines([Line(1, 10**12)]),
        lambda: DESK.sale(10**6, "13812345678", 5000),
        lambda: Desk("T0000001", "M00000000000001", 10**6).request(Act.ECHO, 1),
        lambda: DESK.upload_end(1, 10**4),
    ):
        with pytest.raises(WireError, match="digits"):
            make()


# -- a terminal's requests ------------------------------------------------------------------------------------


def test_a_sale_and_its_reversal() -> None:
    sale = Desk("T0000001", "M00000000000001", 7).sale(12, "13812345678", 5000, repeat=2)
    assert sale.fields == {**SALE.fields, 57: "REPEAT=2"}
    taken_back = Desk.reversal(with_mac(sale), "A0")
    assert taken_back.mti == "0400"
    assert taken_back.fields == {**SALE.fields, 39: "A0"}


def test_the_original_of_another_batch() -> None:
    assert DESK.original(12, "1123") == "0000070000121123"
    assert original(DESK.void(13, 5000, DESK.original(12, "1123", batch=6))) == (6, 12)


def test_a_sign_in_says_which_keys_it_wants() -> None:
    assert network(DESK.request(Act.SIGN_IN, 1))[2] == "003"
    assert network(DESK.request(Act.SIGN_IN, 1, network="001"))[2] == "001"


def test_the_balance_of_an_answer() -> None:
    assert available_fen(Message("0210", {54: "0202156C000000012345"})) == 12345
    assert available_fen(Message("0210", {54: "0202156D000000012345"})) == -12345
    for text in (
        "",
        "0202156C00000001234",
        "0202156X000000012345",
        "0201156C000000012345",
        "0202156C00000001234x",
    ):
        with pytest.raises(BadMessage, match="no balance"):
            available_fen(Message("0210", {54: text}))
