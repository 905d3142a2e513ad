"""PDU codec: round trips, strict sending, lenient receiving, random bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircharge.errors import WireError
from aircharge.wire.smpp.constants import RESPONSE_BIT, VERSION_34, VERSION_50, Command, Status, Tag
from aircharge.wire.smpp.fields import Destination
from aircharge.wire.smpp.pdu import Pdu, PduError, decode, encode, nack, read_header
from aircharge.wire.smpp.tables import LAYOUTS
from tests.wire.smpp.samples import BIND, DEST, MESSAGE, SAMPLES_34, SAMPLES_50, SOURCE


def frame(command: int, body: bytes = b"", status: int = 0, sequence: int = 1) -> bytes:
    return struct.pack(">IIII", 16 + len(body), command, status, sequence) + body


@pytest.mark.parametrize("pdu", SAMPLES_34 + SAMPLES_50, ids=lambda pdu: pdu.name)
def test_samples_round_trip(pdu: Pdu) -> None:
    octets = encode(pdu, VERSION_50)
    again = decode(octets)
    assert (again.command, again.status, again.sequence) == (pdu.command, pdu.status, pdu.sequence)
    assert {name: again.fields[name] for name in pdu.fields} == pdu.fields
    assert (again.tlvs, again.tail) == (pdu.tlvs, b"")
    assert encode(again, VERSION_50) == octets


def test_samples_hold_every_command() -> None:
    assert {pdu.command for pdu in SAMPLES_34 + SAMPLES_50} == set(LAYOUTS) == set(Command)


@pytest.mark.parametrize("pdu", SAMPLES_50, ids=lambda pdu: pdu.name)
def test_what_is_of_50_is_not_sent_to_a_34_peer(pdu: Pdu) -> None:
    with pytest.raises(WireError):
        encode(pdu, VERSION_34)


ILLEGAL = [
    (Pdu(Command.SUBMIT_SM, 1, 0, {"source_addr": "1" * 21}), Status.ESME_RINVSRCADR),
    (Pdu(Command.SUBMIT_SM, 1, 0, {"destination_addr": "1" * 21}), Status.ESME_RINVDSTADR),
    (Pdu(Command.SUBMIT_SM, 1, 0, {"source_addr": "1\x002"}), Status.ESME_RINVSRCADR),
    (Pdu(Command.SUBMIT_SM, 1, 0, {"source_addr": "充值"}), Status.ESME_RINVSRCADR),
    (Pdu(Command.SUBMIT_SM, 1, 0, {"service_type": "toolong"}), Status.ESME_RINVSERTYP),
    (Pdu(Command.SUBMIT_SM, 1, 0, {"source_addr_ton": 7}), Status.ESME_RINVSRCTON),
    (Pdu(Command.SUBMIT_SM, 1, 0, {"dest_addr_npi": 2}), Status.ESME_RINVDSTNPI),
    (Pdu(Command.SUBMIT_SM, 1, 0, {"data_coding": 256}), Status.ESME_RINVDCS),
    (Pdu(Command.SUBMIT_SM, 1, 0, {"replace_if_present_flag": 2}), Status.ESME_RINVREPFLAG),
    (Pdu(Command.SUBMIT_SM, 1, 0, {"validity_period": "tomorrow"}), Status.ESME_RINVEXPIRY),
    (Pdu(Command.DELIVER_SM, 1, 0, {"validity_period": "000000010000000R"}), Status.ESME_RINVEXPIRY),
    (Pdu(Command.SUBMIT_SM, 1, 0, {"short_message": bytes(255)}), Status.ESME_RINVMSGLEN),
    (Pdu(Command.SUBMIT_SM, 1, 0, {"short_message": "text"}), Status.ESME_RINVMSGLEN),
    (Pdu(Command.SUBMIT_SM, 1, 0, {"no_such_field": 1}), Status.ESME_RUNKNOWNERR),
    (Pdu(Command.SUBMIT_MULTI, 1), Status.ESME_RINVNUMDESTS),
    (
        Pdu(Command.SUBMIT_MULTI, 1, 0, {"dest_addresses": (Destination(9, 1, "1"),)}),
        Status.ESME_RINVDSTTON,
    ),
    (Pdu(Command.BIND_TRANSCEIVER, 1, 0, {"password": "ninechars"}), Status.ESME_RINVPASWD),
    (Pdu(Command.ENQUIRE_LINK, 1, 0, {}, ((0x1401, b"x"),)), Status.ESME_RTLVNOTALLWD),
    (Pdu(Command.SUBMIT_SM, 1, 0, {}, ((Tag.SC_INTERFACE_VERSION, 0x34),)), Status.ESME_RTLVNOTALLWD),
    (
        Pdu(Command.SUBMIT_SM, 1, 0, {}, ((Tag.SOURCE_PORT, 1), (Tag.SOURCE_PORT, 2))),
        Status.ESME_RTLVNOTALLWD,
    ),
    (Pdu(Command.SUBMIT_SM, 1, 0, {}, ((Tag.SOURCE_PORT, 65536),)), Status.ESME_RINVTLVVAL),
    (Pdu(Command.SUBMIT_SM, 1, 0, {}, ((Tag.SOURCE_PORT, b"1"),)), Status.ESME_RINVTLVLEN),
    (
        Pdu(Command.SUBMIT_SM, 1, 0, {"short_message": b"x"}, ((Tag.MESSAGE_PAYLOAD, b"x"),)),
        Status.ESME_RTLVNOTALLWD,
    ),
    (Pdu(Command.SUBMIT_SM_RESP, 1, 8, {}, ((Tag.CONGESTION_STATE, 1),)), Status.ESME_RTLVNOTALLWD),
    (Pdu(0x77, 1), Status.ESME_RINVCMDID),
    (Pdu(Command.UNBIND, 1 << 32), Status.ESME_RSYSERR),
]


@pytest.mark.parametrize(("pdu", "hint"), ILLEGAL)
def test_an_illegal_pdu_is_never_sent(pdu: Pdu, hint: int) -> None:
    with pytest.raises(WireError) as caught:
        encode(pdu)
    assert caught.value.hint == hint


def test_a_33_peer_gets_no_tlvs() -> None:
    pdu = Pdu(Command.SUBMIT_SM, 1, 0, {}, ((Tag.SOURCE_PORT, 1),))
    with pytest.raises(WireError):
        encode(pdu, 0x33)
    assert encode(Pdu(Command.SUBMIT_SM, 1), 0x33)


BODY = encode(Pdu(Command.SUBMIT_SM, 1, 0, {**SOURCE, **DEST}))[16:]
BROKEN = [
    (b"\x00\x00\x00\x11" + frame(Command.UNBIND)[4:], Status.ESME_RINVCMDLEN),
    (frame(Command.UNBIND)[:12], Status.ESME_RINVCMDLEN),
    (frame(0x0000000A), Status.ESME_RINVCMDID),
    (frame(0x8000000B), Status.ESME_RINVCMDID),
    (frame(Command.SUBMIT_SM), Status.ESME_RINVSERTYP),
    (frame(Command.SUBMIT_SM, b"\0\1\1" + b"1" * 21 + b"\0"), Status.ESME_RINVSRCADR),
    (frame(Command.SUBMIT_SM, b"\0\1\1\0\1\1" + b"1" * 21 + b"\0"), Status.ESME_RINVDSTADR),
    (frame(Command.SUBMIT_SM, BODY[:-1] + b"\x09"), Status.ESME_RINVMSGLEN),
    (frame(Command.SUBMIT_SM, BODY[:-3]), Status.ESME_RINVCMDLEN),
    (frame(Command.SUBMIT_SM, BODY + b"\x04\x24\x00\x09x"), Status.ESME_RINVTLVSTREAM),
    (frame(Command.SUBMIT_SM, BODY + b"\x02\x0c\x00\x00"), Status.ESME_RINVTLVLEN),
    (frame(Command.SUBMIT_MULTI, b"\0\0\0\0\1\3"), Status.ESME_RINVDESTFLAG),
    (frame(Command.QUERY_SM, b"1" * 70), Status.ESME_RINVMSGID),
    (frame(Command.BIND_TRANSCEIVER, b"s" * 70), Status.ESME_RINVSYSID),
]


@pytest.mark.parametrize(("octets", "hint"), BROKEN)
def test_a_broken_pdu_names_the_status_to_answer(octets: bytes, hint: int) -> None:
    with pytest.raises(PduError) as caught:
        decode(octets)
    assert caught.value.hint == hint
    if len(octets) >= 16:
        assert caught.value.pdu is not None
        assert caught.value.pdu.sequence == read_header(octets).sequence == 1


def test_responses_are_read_leniently() -> None:
    assert decode(frame(Command.DELIVER_SM_RESP)).fields == {}
    assert decode(frame(Command.BIND_TRANSCEIVER_RESP, status=13)).status == 13
    assert decode(frame(Command.QUERY_SM_RESP, b"id\0", status=0x67)).fields == {"message_id": "id"}
    assert decode(frame(Command.SUBMIT_SM_RESP, b"id\0\0", status=8)).tail == b"\0"
    assert decode(frame(Command.UNBIND_RESP, b"\x04\x28\x00\x01\x05")).tlv(Tag.CONGESTION_STATE) == 5


def test_known_tlvs_are_read_leniently() -> None:
    tlvs = (
        b"\x00\x1e\x00\x03abc" + b"\x02\x0e\x00\x02\x00\x02" + b"\x15\x15\x00\x01\x00" + b"\x15\x15\x00\x00"
    )
    pdu = decode(frame(Command.DELIVER_SM, BODY + tlvs))
    assert pdu.tlvs == ((0x1E, "abc"), (0x20E, 2), (0x1515, b"\0"), (0x1515, b""))
    assert pdu.tlv_all(0x1515) == [b"\0", b""]
    assert pdu.tlv(0x1516) is None


def test_response_belongs_to_its_request() -> None:
    request = Pdu(Command.SUBMIT_SM, 99, 0, dict(MESSAGE))
    assert request.response(message_id="7") == Pdu(Command.SUBMIT_SM_RESP, 99, 0, {"message_id": "7"})
    assert Pdu(0x0A, 98).response() == nack(98, Status.ESME_RINVCMDID)
    for command in (Command.OUTBIND, Command.ALERT_NOTIFICATION, Command.GENERIC_NACK, Command.UNBIND_RESP):
        with pytest.raises(ValueError, match="never answered"):
            Pdu(command, 1).response()
    answered = [row for row in LAYOUTS if not row & RESPONSE_BIT and row not in (0x0B, 0x102)]
    for command in answered:
        assert decode(encode(Pdu(command, 5).response(Status.ESME_RSYSERR), VERSION_50)).sequence == 5


def test_repr_hides_secrets_and_numbers() -> None:
    shown = repr(Pdu(Command.BIND_TRANSCEIVER, 1, 0, dict(BIND)))
    shown += repr(Pdu(Command.SUBMIT_SM, 1, 0, dict(MESSAGE), ((Tag.MESSAGE_PAYLOAD, b"50 secret12"),)))
    multi = {"dest_addresses": (Destination(1, 1, "8613800138000"),)}
    shown += repr(Pdu(Command.SUBMIT_MULTI, 1, 0, multi, ((Tag.CALLBACK_NUM, b"xxx13800138000"),)))
    assert "secret12" not in shown
    assert "13800138000" not in shown
    assert "861****8000" in shown


def check_error(error: PduError) -> None:
    assert error.hint in set(Status)
    assert (error.pdu is None) == (error.why == "shorter than a header")


@given(st.sampled_from([*LAYOUTS, 0, 0x0A]), st.binary(max_size=120), st.integers(0, 2))
def test_random_bodies_give_a_pdu_or_an_error(command: int, body: bytes, status: int) -> None:
    try:
        pdu = decode(frame(command, body, status))
    except PduError as error:
        repr(error.pdu)
        check_error(error)
        return
    repr(pdu)
    try:
        octets = encode(pdu, VERSION_50)
    except WireError:
        return
    assert decode(octets).fields == pdu.fields or not pdu.fields


@given(st.binary(max_size=64))
def test_random_octets_give_a_pdu_or_an_error(octets: bytes) -> None:
    with pytest.raises(PduError):
        decode(octets + b"\0" * 70000)
    try:
        decode(octets)
    except PduError as error:
        check_error(error)


addresses = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=20)


@given(
    source=addresses,
    dest=addresses,
    message=st.binary(max_size=254),
    octets=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_any_legal_message_round_trips(
    source: str, dest: str, message: bytes, octets: tuple[int, int, int]
) -> None:
    fields = {
        **MESSAGE,
        "source_addr": source,
        "destination_addr": dest,
        "short_message": message,
        "esm_class": octets[0],
        "protocol_id": octets[1],
        "data_coding": octets[2],
    }
    again = decode(encode(Pdu(Command.DELIVER_SM, 1, 0, fields)))
    assert {name: again.fields[name] for name in fields} == fields
