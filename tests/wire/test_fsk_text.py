"""Text for screen and paper of FSK terminals: GBK, columns, rows, records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircharge.errors import WireError
from aircharge.wire.fsk_text import Lines, Record, Shown, Slip

SCREEN = Lines(20, 10)
PAPER = Lines(32, 20)
GBK = st.text(st.characters(codec="gbk", exclude_categories=["Cc"]), max_size=12)


def test_what_is_shown() -> None:
    shown = Shown("00", ("充值成功", "13800138000 50.00元"))
    datum = b"\x0000" + "充值成功\n13800138000 50.00元".encode("gbk")
    assert shown.encode(SCREEN) == datum
    assert Shown.decode(datum, SCREEN) == shown
    assert Shown.decode(b"\x07A0", SCREEN) == Shown("A0", (), 7)


def test_what_is_printed() -> None:
    slip = Slip((Record("存根", "%B1", 3), Record("金额: 50.00"), Record("", "%E2", 0xFF)), 2)
    datum = b"2%B1\x03" + "存根".encode("gbk") + b"\0%FF\0" + "金额: 50.00".encode("gbk") + b"\0%E2\xff\0"
    assert slip.encode(PAPER) == datum
    assert Slip.decode(datum, PAPER) == slip


@given(st.lists(GBK, max_size=4), st.integers(2, 24), st.integers(1, 6))
def test_folded_text_fits_and_comes_back(paragraphs: list[str], columns: int, rows: int) -> None:
    lines = Lines(columns, rows)
    folded = lines.fold(*paragraphs)
    assert len(folded) <= rows
    shown = Shown("00", folded)
    again = Shown.decode(shown.encode(lines), lines)
    assert again.encode(lines) == shown.encode(lines)
    slip = Slip(tuple(map(Record, folded)))
    assert Slip.decode(slip.encode(lines), lines) == slip
    assert "".join(paragraphs).startswith("".join(folded))


@given(st.text(max_size=30))
def test_whatever_text_comes_it_can_be_shown(text: str) -> None:
    assert Shown("96", SCREEN.fold(text, text)).encode(SCREEN)


def test_no_character_is_cut_in_two() -> None:
    assert Lines(5, 3).fold("充值成功", "ab\x00c😀") == ("充值", "成功", "ab c?")


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("0", ()),
        ("0a", ()),
        ("００", ()),
        ("00", ("充" * 11,)),
        ("00", ("😀",)),
        ("00", ("a\nb",)),
        ("00", ("a",) * 11),
    ],
    ids=range(7),
)
def test_what_is_not_shown(code: str, lines: tuple[str, ...]) -> None:
    with pytest.raises(WireError):
        Shown(code, lines).encode(SCREEN)


@pytest.mark.parametrize(
    ("datum", "offset"),
    [
        (b"", 1),
        (b"\0", 1),
        (b"\x000", 1),
        (b"\x0000ab\n\xff\xff", 6),
        (b"\x0000\x07", 3),
        (b"\x0000" + b"a" * 21, 3),
        (b"\x0000" + b"\n" * 10, 0),
    ],
    ids=range(7),
)
def test_what_is_no_result(datum: bytes, offset: int) -> None:
    with pytest.raises(WireError) as caught:
        Shown.decode(datum, SCREEN)
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    "slip",
    [
        Slip((), 0),
        Slip((), 10),
        Slip((Record("a\0%FF"),)),
        Slip((Record("a", "%XX"),)),
        Slip((Record("a", "%B0"),)),
        Slip((Record("a", "%FF", 256),)),
        Slip((Record("a" * 33),)),
        Slip((Record("a"),) * 21),
    ],
    ids=range(8),
)
def test_what_is_not_printed(slip: Slip) -> None:
    with pytest.raises(WireError):
        slip.encode(PAPER)


@pytest.mark.parametrize(
    ("datum", "offset"),
    [
        (b"", 0),
        (b"0", 0),
        (b"1%FF\0abc", 1),  # no end
        (b"1%FF", 1),
        (b"1%GF\0\0", 1),
        (b"1%FF\0a\0%FF\0\xff\0", 11),
        (b"1" + b"%FF\0\0" * 21, 0),
    ],
    ids=range(7),
)
def test_what_is_no_slip(datum: bytes, offset: int) -> None:
    with pytest.raises(WireError) as caught:
        Slip.decode(datum, PAPER)
    assert caught.value.offset == offset
