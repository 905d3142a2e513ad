"""The application message of FSK terminals: the vector with its MAC, round trips, what is wrong with others."""

from __future__ import annotations

import json
from functools import reduce
from pathlib import Path

import pytest
from Crypto.Cipher import DES3
from hypothesis import given
from hypothesis import strategies as st

from aircharge.errors import WireError
from aircharge.wire.fsk_message import (
    GatewayHeader,
    Operation,
    Request,
    decode_request,
    encode_request,
    mac_input,
)
from aircharge.wire.pos_link import Envelope

VECTOR = json.loads((Path(__file__).parent.parent / "vectors" / "pos_fsk.json").read_text("utf-8"))[
    "app_request"
]
CONTENT = bytes.fromhex(VECTOR["content"])


def test_the_vector() -> None:
    header, content = GatewayHeader.decode(Envelope().open(bytes.fromhex(VECTOR["hex"])).content)
    assert header == GatewayHeader(1, 0, 0, 1, 1, 5)
    assert content == CONTENT
    assert header.encode(content) == bytes.fromhex(VECTOR["hex"])[5:]
    request = decode_request(content)
    assert request.fields["called"] == "02088880001"
    assert request.fields["terminal_type"] == "EPOS-A0001"
    assert request.fields["message_version"] == "2001"
    assert request.fields["trace"] == "000123"
    assert request.fields["transaction"] == "00000101"
    assert request.datum(0x09) == b"13800138000"
    assert request.datum(0x07) == bytes.fromhex("000000005000")
    assert request.datum(0x0D) == VECTOR["mac_ascii"].encode()
    assert request.datum(0x02) is None
    assert encode_request(request) == content


def test_the_mac_is_over_all_but_itself() -> None:
    covered = mac_input(CONTENT)
    blocks = [covered[at : at + 8].ljust(8, b"\0") for at in range(0, len(covered), 8)]
    mixed = reduce(lambda left, right: bytes(a ^ b for a, b in zip(left, right, strict=True)), blocks)
    assert mixed.hex() == VECTOR["result_block"]
    text = mixed.hex().upper().encode()
    cipher = DES3.new(bytes.fromhex(VECTOR["mak"]), DES3.MODE_ECB)
    first = cipher.encrypt(text[:8])
    last = cipher.encrypt(bytes(a ^ b for a, b in zip(first, text[8:], strict=True)))
    assert last.hex().upper()[:8] == VECTOR["mac_ascii"]


OPERATIONS = st.one_of(
    st.builds(Operation, st.just(0x89), st.just(b""), st.binary(max_size=40)),
    st.builds(Operation, st.just(0x07), st.binary(min_size=1, max_size=1), st.binary(min_size=6, max_size=6)),
    st.builds(Operation, st.just(0xC0), st.binary(min_size=2, max_size=2)),
    st.builds(Operation, st.just(0x8D), st.just(b""), st.binary(min_size=8, max_size=8)),
)


@given(st.lists(OPERATIONS, max_size=8))
def test_op_codes_of_one_two_and_three_octets(operations: list[Operation]) -> None:
    request = Request(decode_request(CONTENT).fields, tuple(operations))
    assert decode_request(encode_request(request)) == request


@given(st.binary(max_size=120) | st.integers(0, len(CONTENT) - 1).map(lambda at: CONTENT[:at]))
def test_anything_is_a_request_or_an_error(content: bytes) -> None:
    try:
        request = decode_request(content)
    except WireError:
        return
    assert decode_request(encode_request(request)) == request


@pytest.mark.parametrize(
    ("at", "octet"), [(2, 0xAA), (20, 0xFF), (65, 0x05), (66, 0x29), (71, 0x05), (72, 0x29)], ids=str
)
def test_a_wrong_octet_is_an_error(at: int, octet: int) -> None:
    with pytest.raises(WireError):
        decode_request(CONTENT[:at] + bytes([octet]) + CONTENT[at + 1 :])
    with pytest.raises(WireError):
        decode_request(CONTENT + b"\0")


@pytest.mark.parametrize(
    ("name", "value"),
    [("type", 256), ("trace", "12"), ("called", "1" * 16), ("gateway_code", b"x"), ("type", "1")],
)
def test_a_value_that_does_not_fit(name: str, value: int | str | bytes) -> None:
    request = decode_request(CONTENT)
    with pytest.raises(WireError):
        encode_request(Request({**request.fields, name: value}, request.operations))


def test_wrong_headers_and_data() -> None:
    with pytest.raises(WireError):
        GatewayHeader.decode(bytes(8))
    with pytest.raises(WireError):
        GatewayHeader.decode(bytes(10))
    with pytest.raises(WireError):
        encode_request(Request(decode_request(CONTENT).fields, (Operation(0x87, b"", b"12345"),)))
