"""Card keys: derivation against a second hand-made KDF, wrapping bound to its card, nothing shown."""

from __future__ import annotations

import pytest
from Crypto.Cipher import AES, DES3
from Crypto.Hash import CMAC

from aircharge.outlets.cards import CardKeyBytes, KeyRing, KeyRingError, check_value, fits

MASTER, OTHER = bytes(range(32)), bytes(range(1, 33))
ICCID = "89860000000000001023"
KEYS = CardKeyBytes(bytes(range(16)), bytes(range(16, 32)))


class Chance:
    """Counts instead of being random: the nonce is new each time."""

    def __init__(self) -> None:
        self.calls = 0

    def token(self, length: int) -> bytes:
        self.calls += 1
        return self.calls.to_bytes(length, "big")


def ring(**changes: object) -> KeyRing:
    return KeyRing(**{"masters": {1: MASTER}, "keks": {1: OTHER}, "chance": Chance(), **changes})  # type: ignore[arg-type]


def by_hand(purpose: bytes, version: int, family: str, octets: int) -> bytes:
    """SP 800-108r1 4.1 written out with pycryptodome: PRF(master, [i] || label || 00 || context || [L])."""
    context = b"|".join(
        (ICCID.encode(), purpose, str(version).encode(), family.encode(), str(octets).encode())
    )
    out = b""
    for block in range(1, 3):
        fixed = b"AirCharge card key 1\0" + context + (octets * 8).to_bytes(4, "big")
        out += CMAC.new(MASTER, block.to_bytes(4, "big") + fixed, ciphermod=AES).digest()
    return out[:octets]


@pytest.mark.parametrize("octets", [16, 24, 32])
@pytest.mark.parametrize("version", [1, 2])
def test_derivation_is_the_standards(octets: int, version: int) -> None:
    keys = ring().derive(ICCID, version, 1, "aes", octets)
    assert keys.kic == by_hand(b"KIc", version, "aes", octets)
    assert keys.kid == by_hand(b"KID", version, "aes", octets)


@pytest.mark.parametrize("octets", [16, 24])
def test_triple_des_keys_have_odd_parity(octets: int) -> None:
    keys = ring().derive(ICCID, 1, 1, "3des", octets)
    assert keys.kic == DES3.adjust_key_parity(by_hand(b"KIc", 1, "3des", octets))
    assert keys.kid == DES3.adjust_key_parity(by_hand(b"KID", 1, "3des", octets))


def test_every_input_changes_the_keys() -> None:
    one = KeyRing({1: MASTER, 2: OTHER}, {})
    made = {
        key
        for keys in (
            one.derive(ICCID, 1, 1),
            one.derive(ICCID, 2, 1),
            one.derive(ICCID, 1, 2),
            one.derive(ICCID[:-1] + "4", 1, 1),
            one.derive(ICCID, 1, 1, "3des"),
        )
        for key in (keys.kic, keys.kid)
    }
    assert len(made) == 10
    assert one.master_version == 2


@pytest.mark.parametrize(("family", "octets"), [("aes", 8), ("3des", 32), ("3des", 8), ("des", 8)])
def test_no_keys_of_other_kinds(family: str, octets: int) -> None:
    with pytest.raises(KeyRingError):
        ring().derive(ICCID, 1, 1, family, octets)


def test_missing_keys_are_named() -> None:
    with pytest.raises(KeyRingError, match="version 9"):
        ring().derive(ICCID, 1, 9)
    with pytest.raises(KeyRingError, match="no master"):
        _ = ring(masters={}).master_version
    with pytest.raises(KeyRingError, match="no KEK 1"):
        ring(keks={2: OTHER}).unwrap(7, 1, *ring().wrap(7, 1, KEYS))
    for without in (ring(keks={}), ring(chance=None)):
        with pytest.raises(KeyRingError):
            without.wrap(7, 1, KEYS)


@pytest.mark.parametrize(
    "wrong", [{"masters": {1: b"short"}}, {"keks": {1: b""}}, {"keks": {0: OTHER}}, {"masters": {256: OTHER}}]
)
def test_a_ring_of_unusable_keys_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(KeyRingError):
        ring(**wrong)


def test_wrapping_is_bound_to_card_version_and_purpose() -> None:
    one = ring()
    kic, kid = one.wrap(7, 1, KEYS)
    assert one.unwrap(7, 1, kic, kid) == KEYS
    assert KEYS.kic not in kic
    for card, version, first, second in (
        (8, 1, kic, kid),
        (7, 2, kic, kid),
        (7, 1, kid, kic),
        (7, 1, kic, kic),
    ):
        with pytest.raises(KeyRingError):
            one.unwrap(card, version, first, second)


def test_a_wrapped_key_that_was_touched_is_refused() -> None:
    one = ring()
    kic, kid = one.wrap(7, 1, KEYS)
    for at in range(len(kic)):
        with pytest.raises(KeyRingError):
            one.unwrap(7, 1, kic[:at] + bytes((kic[at] ^ 1,)) + kic[at + 1 :], kid)
        with pytest.raises(KeyRingError):
            one.unwrap(7, 1, kic[:at], kid)


def test_a_new_kek_takes_over_without_touching_the_card() -> None:
    old = ring().wrap(7, 1, KEYS)
    both = ring(keks={1: OTHER, 2: MASTER})
    new = both.rewrap(7, 1, *old)
    assert new[0][1] == 2
    assert ring(keks={2: MASTER}).unwrap(7, 1, *new) == KEYS


def test_check_values_and_fitness() -> None:
    assert check_value(bytes(16), "aes") == AES.new(bytes(16), AES.MODE_ECB).encrypt(b"\1" * 16)[:3]
    key = bytes(range(1, 25))
    assert check_value(key, "3des") == DES3.new(key, DES3.MODE_ECB).encrypt(bytes(8))[:3]
    assert check_value(key[:16], "3des") == DES3.new(key[:16], DES3.MODE_ECB).encrypt(bytes(8))[:3]
    with pytest.raises(KeyRingError):
        check_value(bytes(8), "3des")
    assert fits(KEYS, "aes")
    assert fits(KEYS, "3des")
    assert not fits(CardKeyBytes(bytes(16), bytes(range(16))), "3des")
    assert not fits(CardKeyBytes(KEYS.kic, KEYS.kic), "aes")
    assert not fits(CardKeyBytes(bytes(8), bytes(8)), "des")


def test_nothing_is_shown() -> None:
    shown = repr(ring()) + repr(KEYS)
    for secret in (MASTER, OTHER, KEYS.kic, KEYS.kid):
        assert secret.hex()[:8] not in shown
        assert repr(secret)[2:10] not in shown
