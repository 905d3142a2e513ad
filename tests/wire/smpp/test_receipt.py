"""Delivery receipts as peers write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircharge.wire.smpp.constants import Command, MessageState, Tag
from aircharge.wire.smpp.pdu import Pdu, decode, encode
from aircharge.wire.smpp.receipt import (
    DeliveryReceipt,
    id_variants,
    parse_receipt,
    receipt_text,
    receipt_tlvs,
)
from aircharge.wire.smpp.tlv import Tlv


def receipt(text: bytes, tlvs: tuple[Tlv, ...] = (), esm_class: int = 4) -> DeliveryReceipt | None:
    return parse_receipt(Pdu(Command.DELIVER_SM, 1, 0, {"esm_class": esm_class, "short_message": text}, tlvs))


FULL = (
    b"id:0A1B2C sub:001 dlvrd:001 submit date:2611230400 done date:2611230401 stat:DELIVRD err:000 text:id:9"
)


@pytest.mark.parametrize(
    ("text", "state", "error"),
    [
        (FULL, MessageState.DELIVERED, "000"),
        (b"ID:0A1B2C STAT:undeliv ERR:34 Text:", MessageState.UNDELIVERABLE, "34"),
        (b"stat:EXPIRED id:0A1B2C", MessageState.EXPIRED, ""),
        (b"id: 0A1B2C, stat: REJECTED, err: 0x1", MessageState.REJECTED, "0x1"),
        (b"id:0A1B2C stat:DELIVERED", MessageState.DELIVERED, ""),
        (b"id:0A1B2C", MessageState.UNKNOWN, ""),
        (b"id:0A1B2C stat:nonsense", MessageState.UNKNOWN, ""),
        (FULL.decode().encode("utf-16-be"), MessageState.DELIVERED, "000"),
    ],
)
def test_texts(text: bytes, state: MessageState, error: str) -> None:
    found = receipt(text)
    assert found is not None
    assert (found.message_id, found.state, found.error) == ("0A1B2C", state, error)


def test_dates_and_finality() -> None:
    found = receipt(FULL)
    assert found is not None
    assert (found.submit_date, found.done_date, found.is_final) == ("2611230400", "2611230401", True)
    found = receipt(FULL, esm_class=0x20)
    assert found is not None
    assert (found.is_intermediate, found.is_final) == (True, False)


def test_tlvs_win() -> None:
    tlvs: tuple[Tlv, ...] = (
        (Tag.RECEIPTED_MESSAGE_ID, "77"),
        (Tag.MESSAGE_STATE, 5),
        (Tag.NETWORK_ERROR_CODE, b"\x03\x00\x11"),
    )
    found = receipt(FULL, tlvs)
    assert found is not None
    assert (found.message_id, found.state, found.error) == ("77", MessageState.UNDELIVERABLE, "017")
    assert receipt(b"", tlvs) is not None


def test_what_is_no_receipt() -> None:
    assert receipt(b"id:7 50", esm_class=0) is None
    assert receipt(b"id:7 stat:DELIVRD", esm_class=0) is None
    assert receipt(b"stat:DELIVRD") is None


@pytest.mark.parametrize(
    ("answered", "reported"),
    [("1F", "31"), ("1f", "0000000031"), ("31", "1F"), ("00031", "31"), ("abc", "ABC")],
)
def test_ids_meet_across_hex_and_decimal(answered: str, reported: str) -> None:
    assert set(id_variants(answered)) & {reported}


@pytest.mark.parametrize("state", list(MessageState))
def test_ours_are_read_back(state: MessageState) -> None:
    ours = DeliveryReceipt("0A1B2C", state, "000", "2611230400", "2611230401")
    fields = {"esm_class": 4, "short_message": receipt_text(ours, "您")}
    for tlvs in ((), receipt_tlvs(ours)):
        assert parse_receipt(decode(encode(Pdu(Command.DELIVER_SM, 1, 0, fields, tlvs)))) == ours


@given(st.binary(max_size=200), st.text(max_size=70))
def test_random_texts(text: bytes, message_id: str) -> None:
    receipt(text)
    assert message_id in id_variants(message_id)
