"""The customer's code: four digits of a keyed hash."""

from __future__ import annotations

import pytest

from aircharge.outlets.consent import ConsentCode

CODES = ConsentCode(b"k" * 16)


def test_a_code_belongs_to_one_order_under_one_key() -> None:
    code = CODES.of(4711)
    assert len(code) == 4
    assert code.isdecimal()
    assert CODES.is_given(f" {code} ", 4711)
    assert not CODES.is_given(code, 4712) or CODES.of(4712) == code
    assert len({CODES.of(number) for number in range(200)}) > 150
    assert [CODES.of(n) for n in range(9)] != [ConsentCode(b"x" * 16).of(n) for n in range(9)]


@pytest.mark.parametrize("given", ["", "1", "12345", "四七一一", "abcd"])
def test_what_is_no_code_is_not_given(given: str) -> None:
    assert not CODES.is_given(given, 4711)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="16 octets"):
        ConsentCode(b"short")
