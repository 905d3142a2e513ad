"""Messages whose last element is no MAC although they have one: nobody's, and no error."""

from __future__ import annotations

import pytest

from aircharge.wire.iso8583.crypto import MACS
from aircharge.wire.iso8583.message import MAC, Message, encode
from aircharge.wire.iso8583.profile import PROFILES, Profile
from aircharge.wire.iso8583.terminal import Header, has_good_mac, open_message, seal_message
from tests.wire.iso8583.samples import MAK, SALE


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
@pytest.mark.parametrize("last", ["充值充值充值充值", "to the account of another", "0" * 28, ""])
def test_an_element_behind_the_mac(last: str, profile: Profile) -> None:
    signed = open_message(
        seal_message(Header(), Message(SALE.mti, dict(SALE.fields)), profile, "x9.9", MAK), profile
    )
    octets = Header().encode() + encode(Message(SALE.mti, {**signed[1].fields, 103: last}), profile)
    assert open_message(octets, profile)[1].octets(MAC)
    assert not any(has_good_mac(octets, profile, mac, MAK) for mac in MACS)
