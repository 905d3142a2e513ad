"""One-time passwords against the vectors of RFC 6238 appendix B and RFC 4226 appendix D."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircharge.outlets.totp import accepted_step, code_of, step_of, uri_of

SEED = b"12345678901234567890"
SEEDS = {"sha1": SEED, "sha256": (SEED * 2)[:32], "sha512": (SEED * 4)[:64]}
RFC_6238 = [  # seconds since 1970, SHA-1, SHA-256, SHA-512
    (59, "94287082", "46119246", "90693936"),
    (1111111109, "07081804", "68084774", "25091201"),
    (1111111111, "14050471", "67062674", "99943326"),
    (1234567890, "89005924", "91819424", "93441116"),
    (2000000000, "69279037", "90698825", "38618901"),
    (20000000000, "65353130", "77737706", "47863826"),
]
RFC_4226 = [
    "755224",
    "287082",
    "359152",
    "969429",
    "338314",
    "254676",
    "287922",
    "162583",
    "399871",
    "520489",
]
NOW_MS = 1_795_399_200_000


@pytest.mark.parametrize(("at_s", "sha1", "sha256", "sha512"), RFC_6238)
def test_the_vectors_of_rfc_6238(at_s: int, sha1: str, sha256: str, sha512: str) -> None:
    for algorithm, expected in (("sha1", sha1), ("sha256", sha256), ("sha512", sha512)):
        assert code_of(SEEDS[algorithm], step_of(at_s * 1000), 8, algorithm) == expected


def test_the_vectors_of_rfc_4226() -> None:
    assert [code_of(SEED, count) for count in range(10)] == RFC_4226


@pytest.mark.parametrize(
    ("steps_away", "is_taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)]
)
def test_the_window_is_one_step_either_way(steps_away: int, is_taken: bool) -> None:
    step = step_of(NOW_MS) + steps_away
    assert accepted_step(SEED, code_of(SEED, step), NOW_MS, 0) == (step if is_taken else 0)


def test_a_step_counts_once_and_no_earlier_one_after_it() -> None:
    step = step_of(NOW_MS)
    assert accepted_step(SEED, code_of(SEED, step), NOW_MS, step - 1) == step
    assert accepted_step(SEED, code_of(SEED, step), NOW_MS, step) == 0
    assert accepted_step(SEED, code_of(SEED, step - 1), NOW_MS, step) == 0
    assert accepted_step(SEED, code_of(SEED, step + 1), NOW_MS, step) == step + 1


@given(st.text(max_size=20))
def test_whatever_is_typed_is_no_code(text: str) -> None:
    right = {code_of(SEED, step_of(NOW_MS) + away) for away in (-1, 0, 1)}
    assert bool(accepted_step(SEED, text, NOW_MS, 0)) == (text.strip() in right)


def test_the_uri_carries_the_secret_in_base_32() -> None:
    assert uri_of(SEED, "li") == (
        "otpauth://totp/AirCharge:li?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=AirCharge"
    )
