from __future__ import annotations

import hashlib
import hmac

import pytest

from aircharge.outlets.pins import PinHash, WeakPin, check_pin, random_pin

PHONES = ("13900273846",)


@pytest.mark.parametrize(
    "pin",
    [
        "",
        "12345",
        "1234567",
        "12a456",
        "１２３４５６",
        "000000",
        "111112",
        "123456",
        "654321",
        "121212",
        "123123",
        "567890",
        "273846",
    ],
)
def test_pins_that_are_tried_first(pin: str) -> None:
    with pytest.raises(WeakPin):
        check_pin(pin, PHONES)


@pytest.mark.parametrize("pin", ["735194", "100293", "273847"])
def test_pins_that_will_do(pin: str) -> None:
    check_pin(pin, PHONES)


def test_a_random_pin_passes_over_easy_ones() -> None:
    token = bytes([251, 0, 0, 0, 0, 0, 0, 255, 7, 13, 5, 1, 9, 4])
    assert random_pin(token) == "735194"
    with pytest.raises(WeakPin, match="randomness"):
        random_pin(bytes(8))


def test_the_mac_binds_outlet_salt_and_version() -> None:
    pins = PinHash({1: b"a" * 32, 2: b"b" * 32})
    expected = hmac.new(b"a" * 32, (1000).to_bytes(8, "big") + b"salt" + b"735194", hashlib.sha256).digest()
    assert pins.mac(1, 1000, b"salt", "735194") == expected
    assert pins.newest == 2
    others = {
        pins.mac(2, 1000, b"salt", "735194"),
        pins.mac(1, 1001, b"salt", "735194"),
        pins.mac(1, 1000, b"tlas", "735194"),
    }
    assert len(others | {expected}) == 4
    with pytest.raises(KeyError):
        pins.mac(3, 1000, b"salt", "735194")
    assert "aaaa" not in repr(pins)
