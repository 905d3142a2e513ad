"""What a MAC does not hold: elements behind it, and with "cup-ecb" two changes that cancel each other out."""

from __future__ import annotations

import pytest

from aircharge.wire.iso8583.crypto import MACS
from aircharge.wire.iso8583.message import MAC, Message, encode
from aircharge.wire.iso8583.profile import CUP, PROFILES, Profile
from aircharge.wire.iso8583.terminal import HEADER_OCTETS, Header, has_good_mac, open_message, seal_message
from tests.wire.iso8583.samples import MAK, SALE

BLOCK = 8


def signed(mac: str, profile: Profile, **more: str) -> bytes:
    fields = {**SALE.fields, **{int(name.removeprefix("de")): value for name, value in more.items()}}
    return seal_message(Header(), Message(SALE.mti, fields), profile, mac, MAK)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
@pytest.mark.parametrize("last", ["充值充值充值充值", "to the account of another", "0" * 28, ""])
def test_an_element_behind_the_mac_is_nobodys_and_no_error(last: str, profile: Profile) -> None:
    _, message = open_message(signed("x9.9", profile), profile)
    message.fields[103] = last
    octets = Header().encode() + encode(message, profile)
    assert open_message(octets, profile)[1].octets(MAC)
    assert not any(has_good_mac(octets, profile, mac, MAK) for mac in MACS)


@pytest.mark.parametrize("mac", MACS)
def test_who_can_change_a_line_can_change_an_amount_under_the_cup_mac_only(mac: str) -> None:
    """XOR of all blocks: the same bit turned twice, at the same place of two blocks, is not seen."""
    octets = bytearray(signed(mac, CUP, de63="ABCDEFGHIJKLMNOP"))
    amount = octets.index(b"\x50\x00", HEADER_OCTETS + 20)
    text = next(at for at in range(octets.index(b"ABC"), len(octets)) if (at - amount) % BLOCK == 0)
    octets[amount] ^= 0x40
    octets[text] ^= 0x40
    assert open_message(bytes(octets), CUP)[1].text(4) == "000000001000"
    assert has_good_mac(bytes(octets), CUP, mac, MAK) is mac.startswith("cup-ecb")
