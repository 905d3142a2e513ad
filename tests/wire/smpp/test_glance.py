"""A glance at a message sees what decoding it sees, and never fails."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aircharge.wire.smpp.constants import Command
from aircharge.wire.smpp.glance import glance
from aircharge.wire.smpp.pdu import Pdu, encode

digits = st.text("0123456789", max_size=20)


@given(
    st.sampled_from([Command.SUBMIT_SM, Command.DELIVER_SM]),
    digits,
    digits,
    st.sampled_from([0, 0x40, 0x44, 0x04]),
    st.text("abc", max_size=5),
    st.sampled_from(["", "260101000000000+"]),
    st.binary(max_size=140),
)
def test_it_sees_what_decoding_sees(
    command: Command, source: str, to: str, esm_class: int, service_type: str, validity: str, said: bytes
) -> None:
    fields = {
        "service_type": service_type,
        "source_addr": source,
        "destination_addr": to,
        "esm_class": esm_class,
        "short_message": said,
    }
    if command is Command.SUBMIT_SM:
        fields["validity_period"] = validity
    seen = glance(encode(Pdu(command, 7, 0, fields)))
    assert seen == (source.encode(), to.encode(), bool(esm_class & 0x40), said)


@given(st.binary(max_size=80), st.integers(0, 80))
def test_it_takes_any_octets(octets: bytes, cut: int) -> None:
    glance(octets)
    whole = encode(Pdu(Command.SUBMIT_SM, 7, 0, {"source_addr": "1", "short_message": b"x"}))
    glance(whole[:cut])
    glance(whole[:16] + octets)
