"""Optional parameters one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircharge.errors import WireError
from aircharge.wire.smpp.constants import Status, Tag
from aircharge.wire.smpp.tlv import SPECS, Tlv, TlvValue, read_tlvs, write_tlv


def sample(tag: int) -> TlvValue:
    spec = SPECS[tag]
    if spec.kind is int:
        return (1 << 8 * spec.octets_min) - 1
    return "x" * (spec.octets_max - 1) if spec.kind is str else b"x" * min(spec.octets_max, 1000)


def test_every_tag_of_the_standard_has_its_row() -> None:
    assert set(SPECS) == set(Tag)


@pytest.mark.parametrize("tag", list(Tag), ids=lambda tag: tag.name.lower())
def test_every_tag_round_trips_at_its_largest(tag: int) -> None:
    found: list[Tlv] = []
    octets = write_tlv(tag, sample(tag))
    assert read_tlvs(b"head" + octets, 4, found) == 4 + len(octets)
    assert found == [(tag, sample(tag))]


@pytest.mark.parametrize(
    ("tag", "value", "hint"),
    [
        (Tag.SOURCE_PORT, -1, Status.ESME_RINVTLVVAL),
        (Tag.SOURCE_PORT, "1", Status.ESME_RINVTLVVAL),
        (Tag.MESSAGE_PAYLOAD, 1, Status.ESME_RINVTLVVAL),
        (Tag.MESSAGE_PAYLOAD, bytes(65536), Status.ESME_RINVTLVLEN),
        (Tag.RECEIPTED_MESSAGE_ID, "x" * 65, Status.ESME_RINVTLVLEN),
        (Tag.RECEIPTED_MESSAGE_ID, "a\0b", Status.ESME_RINVTLVVAL),
        (Tag.NETWORK_ERROR_CODE, b"12", Status.ESME_RINVTLVLEN),
        (0x1401, 5, Status.ESME_RINVTLVVAL),
        (0x10000, b"", Status.ESME_RINVTLVSTREAM),
    ],
)
def test_what_does_not_fit_is_refused(tag: int, value: TlvValue, hint: int) -> None:
    with pytest.raises(WireError) as caught:
        write_tlv(tag, value)
    assert caught.value.hint == hint


def test_octets_of_a_legal_length_stand_for_any_kind() -> None:
    assert write_tlv(Tag.MS_VALIDITY, b"\0\1\2\3").hex() == "1204000400010203"
    assert write_tlv(Tag.MS_VALIDITY, 3).hex() == "1204000103"


@given(st.binary(max_size=80))
def test_random_octets(data: bytes) -> None:
    found: list[Tlv] = []
    hint = 0
    position = len(data)
    try:
        position = read_tlvs(data, 0, found)
    except WireError as error:
        hint = error.hint
    assert hint in (0, Status.ESME_RINVTLVSTREAM, Status.ESME_RINVTLVLEN)
    assert len(data) - 4 < position <= len(data)
