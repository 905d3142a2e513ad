"""MACs, PIN blocks and check values against pycryptodome, psec and printed examples."""

from __future__ import annotations

import pytest
from Crypto.Cipher import AES, DES, DES3
from Crypto.Hash import CMAC
from hypothesis import given, settings
from hypothesis import strategies as st
from psec import des, pinblock

from aircharge.errors import WireError
from aircharge.wire.iso8583.crypto import (
    MACS,
    PIN_BLOCK_WRONG,
    aes_cmac,
    check_value,
    cup_ecb,
    decrypt,
    encrypt,
    is_mac,
    odd_parity,
    open_pin_block,
    pin_block,
    seal_format_4,
    x9_9,
    x9_19,
)

KEY = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
NOW = b"Now is the time for all "
PAN = "4111111111111111"
keys8 = st.binary(min_size=8, max_size=8)
keys16 = st.binary(min_size=16, max_size=16)
pins = st.text("0123456789", min_size=4, max_size=12)
pans = st.text("0123456789", min_size=13, max_size=19)


def is_degenerate(key: bytes) -> bool:
    return odd_parity(key[:8]) == odd_parity(key[8:16])


# -- keys -----------------------------------------------------------------------------------------------------


@given(keys16.filter(lambda key: not is_degenerate(key)), st.binary(min_size=16, max_size=16))
def test_two_key_3des_is_pycryptodomes(key: bytes, data: bytes) -> None:
    other = DES3.new(key, DES3.MODE_ECB)
    assert encrypt(key, data) == other.encrypt(data)
    assert decrypt(key, data) == other.decrypt(data)
    assert check_value(key) == other.encrypt(bytes(8))[:4]


@given(keys8, st.binary(min_size=8, max_size=8))
def test_equal_halves_are_single_des(key: bytes, data: bytes) -> None:
    """pycryptodome refuses such a key for 3DES; terminals have them. Parity bits play no part."""
    with pytest.raises(ValueError, match="degenerates"):
        DES3.new(key + key, DES3.MODE_ECB)
    single = DES.new(key, DES.MODE_ECB).encrypt(data)
    for same in (key, key + key, odd_parity(key) + key, key * 3):
        assert encrypt(same, data) == single
        assert decrypt(same, single) == data


@given(st.binary(min_size=1, max_size=24))
def test_odd_parity(key: bytes) -> None:
    if len(key) % 8 == 0:
        assert odd_parity(key) == des.adjust_key_parity(key)
    assert all(octet.bit_count() % 2 for octet in odd_parity(key))


def test_three_keys_and_a_wrong_size() -> None:
    key = KEY + bytes.fromhex("89ABCDEF01234567")
    assert encrypt(key, NOW) == DES3.new(key, DES3.MODE_ECB).encrypt(NOW)
    for size in (0, 7, 12, 32):
        with pytest.raises(ValueError, match="8, 16 or 24"):
            encrypt(bytes(size), bytes(8))


# -- MACs -----------------------------------------------------------------------------------------------------


def test_printed_examples() -> None:
    """FIPS 113; the retail MAC of the same text; NIST SP 800-38B appendix D.1, examples 1 to 3."""
    assert x9_9(KEY, NOW).hex() == "70a30640cc76dd8b"
    assert x9_19(KEY, NOW).hex() == "a1c72e74ea3fa9b6"
    aes = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    text = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411")
    assert aes_cmac(aes, b"").hex() == "bb1d6929e9593728"
    assert aes_cmac(aes, text[:16]).hex() == "070a16b46b4d4144"
    assert aes_cmac(aes, text).hex() == "dfa66747de9ae630"


@given(keys16, st.binary(min_size=1, max_size=80))
def test_macs_are_those_of_others(key: bytes, data: bytes) -> None:
    padded = data + bytes(-len(data) % 8)
    last = DES.new(key[:8], DES.MODE_CBC, bytes(8)).encrypt(padded)[-8:]
    assert x9_9(key, data) == last
    back = DES.new(key[8:], DES.MODE_ECB).decrypt(last)
    assert x9_19(key, data) == DES.new(key[:8], DES.MODE_ECB).encrypt(back)
    assert aes_cmac(key, data) == CMAC.new(key, data, AES).digest()[:8]


@given(keys16.filter(lambda key: not is_degenerate(key)), st.binary(max_size=80))
def test_cup_ecb_from_the_words_of_the_standard(key: bytes, data: bytes) -> None:
    """Built anew of pycryptodome: XOR, hexadecimal digits, E, XOR, E, hexadecimal digits."""
    data += bytes(-len(data) % 8)
    xor = bytes(8)
    for at in range(0, len(data), 8):
        xor = bytes(a ^ b for a, b in zip(xor, data[at : at + 8], strict=True))
    left, right = xor.hex().upper()[:8].encode(), xor.hex().upper()[8:].encode()
    for name, size in (("cup-ecb", 16), ("cup-ecb-des", 16), ("cup-ecb", 8)):
        triple = DES3.new(key, DES3.MODE_ECB) if size == 16 else DES.new(key[:8], DES.MODE_ECB)
        second = DES.new(key[:8], DES.MODE_ECB) if name == "cup-ecb-des" else triple
        mixed = bytes(a ^ b for a, b in zip(triple.encrypt(left), right, strict=True))
        assert MACS[name](key[:size], data) == second.encrypt(mixed).hex().upper()[:8].encode()


def test_a_mac_is_compared_as_a_whole() -> None:
    for name in MACS:
        good = MACS[name](KEY, NOW)
        assert len(good) == 8
        assert is_mac(name, KEY, NOW, good)
        for wrong in (good[:7], good[:7] + b"\0", b"", good + b"\0"):
            assert not is_mac(name, KEY, NOW, wrong)
        assert not is_mac(name, KEY[::-1], NOW, good)


def test_a_mac_of_nothing_and_of_a_wrong_key() -> None:
    assert x9_9(KEY[:8], b"") == x9_9(KEY[:8], bytes(8))
    assert cup_ecb(KEY, b"") == cup_ecb(KEY, bytes(8))
    with pytest.raises(ValueError, match="16 octets"):
        x9_19(KEY[:8], NOW)


# -- PIN blocks -----------------------------------------------------------------------------------------------


def test_format_0_as_printed() -> None:
    assert pin_block("1234", PAN).hex() == "041225eeeeeeeeee"


@given(pins, pans, keys16)
def test_format_0_is_psecs(pin: str, pan: str, key: bytes) -> None:
    block = pin_block(pin, pan)
    assert block == pinblock.encode_pinblock_iso_0(pin, pan)
    assert open_pin_block(key, encrypt(key, block), pan) == pin


@given(pins, keys16, st.binary(min_size=8, max_size=8))
def test_formats_0_and_1_without_a_number(pin: str, key: bytes, fill: bytes) -> None:
    for fmt in (0, 1):
        block = pin_block(pin, fmt=fmt, fill=fill)
        assert block.hex().upper().startswith(f"{fmt}{len(pin):X}{pin}")
        assert open_pin_block(key, encrypt(key, block)) == pin
        assert open_pin_block(key, encrypt(key, block), PAN if fmt else "") == pin


@settings(max_examples=40)
@given(pins, st.text("0123456789", min_size=12, max_size=19), keys16, st.binary(min_size=8, max_size=8))
def test_format_4_is_psecs(pin: str, pan: str, key: bytes, fill: bytes) -> None:
    """psec makes its own random filling, so each opens the other's."""
    assert open_pin_block(key, pinblock.encipher_pinblock_iso_4(key, pin, pan), pan) == pin
    assert pinblock.decipher_pinblock_iso_4(key, seal_format_4(key, pin, pan, fill), pan) == pin


@pytest.mark.parametrize("pin", ["", "123", "1234567890123", "12a4", "१२३४"])
def test_what_is_no_pin(pin: str) -> None:
    for make in (pin_block, lambda pin: seal_format_4(KEY, pin, PAN, bytes(8))):
        with pytest.raises(WireError, match="4 to 12 digits"):
            make(pin)


@pytest.mark.parametrize(
    ("block", "why"),
    [
        ("", "0 octets"),
        ("00" * 7, "7 octets"),
        ("03123FFFFFFFFFFF", "not a PIN block"),  # a PIN of 3
        ("0D1234567890123F", "not a PIN block"),
        ("0412A4FFFFFFFFFF", "not a PIN block"),
        ("041234FFFFFFFFF0", "not a PIN block"),
        ("241234FFFFFFFFFF", "not a PIN block"),  # format 2
    ],
)
def test_what_is_no_pin_block(block: str, why: str) -> None:
    octets = bytes.fromhex(block)
    cipher = encrypt(KEY, octets) if len(octets) == 8 else octets
    with pytest.raises(WireError, match=why) as wrong:
        open_pin_block(KEY, cipher)
    assert wrong.value.hint == PIN_BLOCK_WRONG
    assert "1234" not in str(wrong.value)


def test_another_key_or_another_number_does_not_open_it() -> None:
    """Format 1 and an unlucky key may look like a PIN once in a few thousand; these do not."""
    block, sealed = encrypt(KEY, pin_block("1234", PAN)), seal_format_4(KEY, "1234", PAN, bytes(8))
    other = bytes(range(16))
    for key, cipher, pan in (
        (other, block, PAN),
        (KEY, block, "4999999999999999"),
        (KEY, block, ""),
        (other, sealed, PAN),
        (KEY, sealed, "4999999999999999"),
        (KEY[:8], sealed, PAN),
    ):
        with pytest.raises(WireError) as wrong:
            open_pin_block(key, cipher, pan)
        assert wrong.value.hint == PIN_BLOCK_WRONG
