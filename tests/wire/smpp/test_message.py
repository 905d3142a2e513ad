"""One shape of message whatever PDU brought it, and PDUs for one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircharge.errors import WireError
from aircharge.wire.gsm import Concat, DefaultAlphabet, Element, Part, Reassembler, encode_text
from aircharge.wire.smpp.constants import Command, Status, Tag
from aircharge.wire.smpp.message import MobileMessage, assemble, fields_for, from_pdu, outgoing
from aircharge.wire.smpp.pdu import Pdu, decode, encode
from aircharge.wire.smpp.tlv import Tlv

PACKET = bytes(range(60))


def deliver(data: bytes, coding: int = 0, esm_class: int = 0, tlvs: tuple[Tlv, ...] = ()) -> Pdu:
    fields = fields_for("8613800138000", "0353911", Part(b"", data), coding, esm_class=esm_class)
    return decode(encode(Pdu(Command.DELIVER_SM, 1, 0, fields, tlvs)))


def test_text() -> None:
    message = from_pdu(deliver(b"13812345678 50"))
    assert (message.source, message.destination) == ("8613800138000", "0353911")
    assert (message.text, message.is_secured, message.part) == ("13812345678 50", False, None)
    assert from_pdu(deliver("充50".encode("utf-16-be"), 8)).text == "充50"
    assert from_pdu(deliver(b"\xc5", 0), "latin1").text == "Å"
    assert "13800138000" not in repr(message)
    assert "13812345678" not in repr(message)


@pytest.mark.parametrize("coding", [0x02, 0x04, 0xF5, 0xF6])
@pytest.mark.parametrize("esm_class", [0, 0x40])
def test_secured_packets(coding: int, esm_class: int) -> None:
    message = from_pdu(deliver(b"\x02\x70\x00" + PACKET, coding, esm_class))
    assert (message.is_secured, message.text, message.data) == (True, None, PACKET)
    answer = from_pdu(deliver(b"\x02\x71\x00" + PACKET, coding, esm_class))
    assert (answer.is_response_packet, answer.is_secured, answer.data) == (True, False, PACKET)


def test_a_text_is_no_packet() -> None:
    assert from_pdu(deliver(b"\x02\x70\x00", 0)).text == "$p@"


def test_message_payload() -> None:
    message = from_pdu(deliver(b"", tlvs=((Tag.MESSAGE_PAYLOAD, b"13812345678 50"),)))
    assert message.text == "13812345678 50"
    data_sm = Pdu(
        Command.DATA_SM, 1, 0, {"data_coding": 4}, ((Tag.MESSAGE_PAYLOAD, b"\x02\x70\x00" + PACKET),)
    )
    assert from_pdu(decode(encode(data_sm))).data == PACKET
    both = deliver(b"x")
    both.tlvs = ((Tag.MESSAGE_PAYLOAD, b"y"),)
    with pytest.raises(WireError) as caught:
        from_pdu(both)
    assert caught.value.hint == Status.ESME_RTLVNOTALLWD


def test_broken_udh() -> None:
    with pytest.raises(WireError) as caught:
        from_pdu(deliver(b"\x30abc", 0, 0x40))
    assert caught.value.hint == Status.ESME_RX_P_APPN


def test_time_and_reference() -> None:
    tlvs: tuple[Tlv, ...] = ((Tag.USER_MESSAGE_REFERENCE, 7), (0x1500, (1_795_000_000).to_bytes(4, "big")))
    message = from_pdu(deliver(b"x", tlvs=tlvs), sent_time_tag=0x1500)
    assert (message.reference, message.sent_ms) == (7, 1_795_000_000_000)
    assert from_pdu(deliver(b"x", tlvs=tlvs)).sent_ms is None


def test_sar() -> None:
    tlvs: tuple[Tlv, ...] = (
        (Tag.SAR_MSG_REF_NUM, 500),
        (Tag.SAR_TOTAL_SEGMENTS, 3),
        (Tag.SAR_SEGMENT_SEQNUM, 2),
    )
    assert from_pdu(deliver(b"x", tlvs=tlvs)).part == Concat(500, 3, 2, wide=True)
    assert from_pdu(deliver(b"x", tlvs=tlvs[:2])).part is None
    assert from_pdu(deliver(b"x", tlvs=(*tlvs[:2], (Tag.SAR_SEGMENT_SEQNUM, 4)))).part is None


def arrive(pdus: list[Pdu], default: DefaultAlphabet = "gsm7") -> list[MobileMessage]:
    box = Reassembler(10, 1000, 100_000)
    whole = [assemble(box, "peer", from_pdu(pdu, default), 0, default) for pdu in pdus]
    assert len(box) == 0
    return [one for one in whole if one is not None]


def pdus_of(rows: list[tuple[dict[str, Any], tuple[Tlv, ...]]]) -> list[Pdu]:
    return [decode(encode(Pdu(Command.DELIVER_SM, 1, 0, fields, tlvs))) for fields, tlvs in rows]


@pytest.mark.parametrize("long_as", ["udh", "sar", "payload"])
@pytest.mark.parametrize("ref", [7, 0x1234])
@pytest.mark.parametrize("text", ["hello [€] " * 40, "充值成功😀" * 60, "short"])
def test_long_texts_arrive_whole(long_as: str, ref: int, text: str) -> None:
    coding, data = encode_text(text)
    rows = outgoing("0353911", "8613800138000", data, coding, ref, long_as=long_as)
    assert (len(rows) == 1) == (text == "short" or long_as == "payload")
    assert [message.text for message in arrive(pdus_of(rows[::-1]))] == [text]


def test_long_packed_texts_arrive_whole() -> None:
    text = "hello [€] " * 40
    _, data = encode_text(text, "gsm7-packed")
    rows = outgoing("0353911", "8613800138000", data, 0, 7, default="gsm7-packed")
    assert [message.text for message in arrive(pdus_of(rows), "gsm7-packed")] == [text]


@pytest.mark.parametrize("long_as", ["udh", "sar", "payload"])
def test_a_long_secured_packet_arrives_whole(long_as: str) -> None:
    packet = bytes(range(250))
    rows = outgoing(
        "0353911", "8613800138000", packet, 0xF6, 7, long_as=long_as, elements=(Element(0x70, b""),)
    )
    for order in (rows, rows[::-1]):
        (message,) = arrive(pdus_of(order))
        assert (message.is_secured, message.data, message.part) == (True, packet, None)


@given(
    st.binary(max_size=120),
    st.integers(0, 255),
    st.sampled_from([0, 0x40, 0x44]),
    st.sampled_from(["gsm7", "latin1", "ascii", "gsm7-packed"]),
)
def test_random_messages(data: bytes, coding: int, esm_class: int, default: DefaultAlphabet) -> None:
    try:
        message = from_pdu(deliver(data, coding, esm_class), default)
    except WireError:
        return
    assemble(Reassembler(1, 1, 1000), None, message, 0, default)


@pytest.mark.parametrize("long_as", ["udh", "sar", "payload"])
def test_packed_septets_in_parts_are_readable(long_as: str) -> None:
    text = "".join(chr(48 + n % 75) for n in range(300)).replace("`", "a")
    coding, data = encode_text(text, "gsm7-packed")
    pdus = outgoing("1", "2", data, coding, 7, long_as=long_as, default="gsm7-packed")
    parts = [from_pdu(Pdu(Command.SUBMIT_SM, 1, 0, fields, tlvs), "gsm7-packed") for fields, tlvs in pdus]
    assert "".join(part.text or "" for part in parts) == text
