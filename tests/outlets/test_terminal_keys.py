"""Keys of terminals against DES and AES of other makers, and what a file of them may say."""

from __future__ import annotations

import secrets

import pytest
from Crypto.Cipher import AES, DES, DES3
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from aircharge.outlets.desk import RegistryError
from aircharge.outlets.terminal_keys import (
    TRANSPORTS,
    bound_master,
    check_key,
    combined,
    kcv_of,
    key_lines,
    with_parity,
)

TWO = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
HEADER = b"terminal,version,family,key,kcv\n"


def test_check_values_are_those_of_another_maker() -> None:
    assert kcv_of(TWO, "3des") == "08D7B4"  # published with this key in many a manual
    for size in (16, 24):
        key = DES3.adjust_key_parity(secrets.token_bytes(size))
        assert kcv_of(key, "3des") == DES3.new(key, DES3.MODE_ECB).encrypt(bytes(8))[:3].hex().upper()
    single = secrets.token_bytes(8)
    expected = DES.new(single, DES.MODE_ECB).encrypt(bytes(8))[:3].hex().upper()
    assert kcv_of(single, "3des") == kcv_of(single * 2, "3des") == kcv_of(single * 3, "3des") == expected
    for size in (16, 24, 32):
        key = secrets.token_bytes(size)
        assert kcv_of(key, "aes") == AES.new(key, AES.MODE_ECB).encrypt(b"\1" * 16)[:3].hex().upper()


def test_parity_changes_no_check_value() -> None:
    key = secrets.token_bytes(24)
    assert with_parity(key, "3des") == DES3.adjust_key_parity(key)
    assert kcv_of(with_parity(key, "3des"), "3des") == kcv_of(key, "3des")
    assert with_parity(key, "aes") == key


WEAK = ["0101010101010101", "FEFEFEFEFEFEFEFE", "1F1F1F1F0E0E0E0E", "E0E0E0E0F1F1F1F1"]
SEMI_WEAK = [
    ("01FE01FE01FE01FE", "FE01FE01FE01FE01"),
    ("1FE01FE00EF10EF1", "E01FE01FF10EF10E"),
    ("01E001E001F101F1", "E001E001F101F101"),
    ("1FFE1FFE0EFE0EFE", "FE1FFE1FFE0EFE0E"),
    ("011F011F010E010E", "1F011F010E010E01"),
    ("E0FEE0FEF1FEF1FE", "FEE0FEE0FEF1FEF1"),
]


@pytest.mark.parametrize("part", [*WEAK, *(key for pair in SEMI_WEAK for key in pair)])
def test_weak_des_keys_are_refused_wherever_they_stand(part: str) -> None:
    weak = bytes.fromhex(part)
    for key in (weak, TWO[:8] + weak, weak + TWO[:8], TWO[:8] + weak + TWO[8:]):
        with pytest.raises(RegistryError):
            check_key(key, "3des", degenerate=True)


def test_the_list_of_weak_keys_is_right() -> None:
    """Enciphering twice under a weak key, or once under each of a pair, gives the text back."""
    text = secrets.token_bytes(8)
    for one, two in [*((key, key) for key in WEAK), *SEMI_WEAK]:
        once = DES.new(bytes.fromhex(one), DES.MODE_ECB).encrypt(text)
        assert DES.new(bytes.fromhex(two), DES.MODE_ECB).encrypt(once) == text


@pytest.mark.parametrize(
    ("key", "family", "says"),
    [
        (bytes(16), "3des", "over and over"),
        (bytes(16), "aes", "over and over"),
        (TWO[:8], "3des", "single DES"),
        (TWO[:8] * 2, "3des", "equal parts"),
        (TWO + TWO[:8], "3des", "equal parts"),
        (bytes(octet ^ 1 for octet in TWO[:8]) + TWO[:8], "3des", "equal parts"),
        (TWO[:7], "3des", "7 octets: 3des keys have 8, 16, 24"),
        (TWO[:8], "aes", "8 octets"),
        (TWO, "des", "3des or aes"),
    ],
)
def test_a_key_that_is_none(key: bytes, family: str, says: str) -> None:
    with pytest.raises(RegistryError, match=says):
        check_key(key, family)


def test_old_terminals_keys_are_taken_when_that_is_said() -> None:
    for key in (TWO[:8], TWO[:8] * 2, TWO + TWO[:8]):
        check_key(key, "3des", degenerate=True)


def test_components_make_a_key() -> None:
    one, two, three = (secrets.token_bytes(16) for _ in range(3))
    key = combined([one, two, three])
    assert combined([key, three, two]) == one
    assert combined([bytes(15) + b"\1", bytes(16)]) == bytes(15) + b"\1"  # leading zeros stay
    for parts, says in (([one, two[:8]], "one length"), ([one, two, one], "the same")):
        with pytest.raises(RegistryError, match=says):
            combined(parts)


def test_keys_in_transport_open_under_their_transport_key_alone() -> None:
    transport = secrets.token_bytes(16)
    assert TRANSPORTS["aes-kw"](transport, aes_key_wrap(transport, TWO)) == TWO
    with pytest.raises(RegistryError, match="not wrapped under"):
        TRANSPORTS["aes-kw"](TWO, aes_key_wrap(transport, TWO))
    with pytest.raises(RegistryError, match="not wrapped under"):
        TRANSPORTS["aes-kw"](transport, TWO[:15])
    for size in (16, 24):
        old = DES3.adjust_key_parity(secrets.token_bytes(size))
        assert TRANSPORTS["3des-ecb"](old, DES3.new(old, DES3.MODE_ECB).encrypt(TWO)) == TWO
    for key, wrapped in ((transport, TWO[:9]), (TWO[:8], TWO), (transport, b"")):
        with pytest.raises(RegistryError, match="3DES"):
            TRANSPORTS["3des-ecb"](key, wrapped)


def test_a_file_is_read() -> None:
    lines, faults = key_lines(HEADER + b"T0000001,1,3des,%s,08d7b4\r\n" % TWO.hex().encode())
    assert not faults
    assert (lines[0].terminal, lines[0].version, lines[0].kcv, lines[0].key) == ("T0000001", 1, "08D7B4", TWO)
    assert TWO.hex() not in repr(lines[0]).lower()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("T1,0,3des,11,08D7B4", "line 2: versions"),
        ("T1,256,3des,11,08D7B4", "line 2: versions"),
        ("T1,1,des,11,08D7B4", "line 2: family"),
        ("T1,1,3des,1x,08D7B4", "line 2: a key is written"),
        ("T1,1,3des,11,08D7", "line 2: a check value"),
        ("T1,1,3des,11", "line 2: 5 cells"),
        (f"T1,1,3des,{'11' * 100},08D7B4", "line 2: 5 cells"),
        ("T1,1,3des,11,08D7B4\nT1,1,3des,12,08D7B4", "line 3: that terminal's version"),
        ("T1,1,3des,1\u0131,08D7B4", "line 1: no CSV"),
        ('T1,"1', "line 1: no CSV"),
        ("", "line 2: 1 to 2000"),
    ],
)
def test_a_bad_line_is_named_without_its_key(line: str, says: str) -> None:
    _, faults = key_lines(HEADER + line.encode())
    assert str(faults[0]).startswith(says)


def test_a_file_without_its_header_is_none() -> None:
    for octets in (b"", b"terminal,version,key\n", b"\n"):
        assert "header" in str(key_lines(octets)[1][0])


def test_what_a_master_key_is_bound_to_stays() -> None:
    assert bound_master(7, 2) == b"terminal|7|2"  # stands in books
