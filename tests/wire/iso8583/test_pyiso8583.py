"""pyiso8583 writes the same octets as we do, and reads the same messages from them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aircharge.wire.iso8583.message import BadMessage, Message, decode, encode
from aircharge.wire.iso8583.profile import PROFILES, Profile
from tests.wire.iso8583.peer import OCTETS_LLL, PEERS
from tests.wire.iso8583.samples import MESSAGES, name_of, with_mac
from tests.wire.iso8583.test_message import messages

ALL = pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)


def known(message: Message, profile: Profile) -> Message:
    """What there is in the profile, and pyiso8583 can be told of."""
    sizes = {52: profile.fields[52].size}
    return Message(
        message.mti,
        {
            number: value
            for number, value in message.fields.items()
            if number in PEERS[profile.name].knows and len(value) == sizes.get(number, len(value))
        },
    )


def agree(message: Message, profile: Profile) -> None:
    octets, peer = encode(message, profile), PEERS[profile.name]
    assert peer.encode(message) == octets
    assert peer.decode(octets) == message
    assert decode(octets, profile) == message


def test_both_have_the_same_elements() -> None:
    assert PEERS.keys() == PROFILES.keys()
    for name, profile in PROFILES.items():
        assert profile.fields.keys() == PEERS[name].knows | OCTETS_LLL


@ALL
@pytest.mark.parametrize("message", MESSAGES, ids=name_of)
def test_every_message(message: Message, profile: Profile) -> None:
    agree(known(with_mac(message), profile), profile)


@settings(max_examples=300)
@given(st.sampled_from(list(PROFILES.values())).flatmap(lambda p: st.tuples(st.just(p), messages(p))))
def test_any_message(drawn: tuple[Profile, Message]) -> None:
    profile, message = drawn
    try:
        encode(message, profile)
    except BadMessage:
        return  # longer than the profile has it
    agree(known(message, profile), profile)
