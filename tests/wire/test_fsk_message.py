"""The application message of FSK terminals: the vector with its MAC, both directions, what is wrong with others."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import reduce
from pathlib import Path

import pytest
from Crypto.Cipher import DES3
from hypothesis import given
from hypothesis import strategies as st

from aircharge.errors import WireError
from aircharge.wire.fsk_message import (
    FskMessage,
    GatewayHeader,
    Operation,
    gateway_code,
    mac_input,
    sealed,
    split_control,
)
from aircharge.wire.fsk_operands import FskOperation
from aircharge.wire.fsk_profiles import PROFILE_2001, PROFILE_FLOW, Layout
from aircharge.wire.pos_link import Envelope

VECTOR = json.loads((Path(__file__).parent.parent / "vectors" / "pos_fsk.json").read_text("utf-8"))[
    "app_request"
]
CONTENT = bytes.fromhex(VECTOR["content"])
REQUEST, ANSWER = PROFILE_2001.request, PROFILE_2001.answer
FLOW = PROFILE_FLOW.request

# An answer written by hand: fields, A8 A2 2F-05 C0-07-04 A6, control 3, data, MAC.
TOLD = bytes.fromhex(
    "0200"
    + b"    13712345678".hex()
    + b"1000000000000001".hex()
    + "20261123" "093015" "000123" "00000101"
    + "05" "a8" "a2" "2f05" "c00704" "a6"
    + "0003" "020a0b"
    + "001d"
    + "07" "00" "3030" + "充值".encode("gbk").hex()
    + "02" + b"ok".hex()
    + "0008" + "00" * 7 + "ff"
    + "1122334455667788"
)  # fmt: skip


def test_the_vector() -> None:
    header, content = GatewayHeader.decode(Envelope().open(bytes.fromhex(VECTOR["hex"])).content)
    assert header == GatewayHeader(1, 0, 0, 1, 1, 5)
    assert content == CONTENT
    assert header.encode(content) == bytes.fromhex(VECTOR["hex"])[5:]
    request = FskMessage.decode(content, REQUEST)
    assert request.fields["called"] == "02088880001"
    assert request.fields["terminal_type"] == "EPOS-A0001"
    assert request.fields["message_version"] == "2001"
    assert request.fields["trace"] == "000123"
    assert request.fields["transaction"] == "00000101"
    assert request.data(FskOperation.BUSINESS_NUMBER) == [b"13800138000"]
    assert request.data(FskOperation.AMOUNT) == [bytes.fromhex("000000005000")]
    assert request.mac == VECTOR["mac_ascii"].encode()
    assert request.data(FskOperation.SECURITY_MODULE) == []
    assert request.encode(REQUEST) == content


def vector_mac(covered: bytes) -> bytes:
    """CUP ECB under the vector's key, by a library's 3DES."""
    blocks = [covered[at : at + 8].ljust(8, b"\0") for at in range(0, len(covered), 8)]
    mixed = reduce(lambda left, right: bytes(a ^ b for a, b in zip(left, right, strict=True)), blocks)
    text = mixed.hex().upper().encode()
    cipher = DES3.new(bytes.fromhex(VECTOR["mak"]), DES3.MODE_ECB)
    first = cipher.encrypt(text[:8])
    last = cipher.encrypt(bytes(a ^ b for a, b in zip(first, text[8:], strict=True)))
    return last.hex().upper()[:8].encode()


def test_the_mac_is_over_all_but_itself() -> None:
    assert vector_mac(mac_input(CONTENT)) == VECTOR["mac_ascii"].encode()
    assert sealed(CONTENT[:-8] + bytes(8), vector_mac) == CONTENT
    with pytest.raises(WireError):
        sealed(CONTENT, lambda covered: covered[:7])


def test_the_code_of_the_gateway() -> None:
    key = bytes.fromhex("0123456789abcdeffedcba9876543210")
    cipher = DES3.new(key, DES3.MODE_ECB)
    halves = bytes(a ^ b for a, b in zip(b"12345678", b"90000001", strict=True))
    assert gateway_code("1234567890000001", cipher.encrypt) == cipher.encrypt(halves)[:4]
    for number in ("123456789000000", "１234567890000001", "1234567890000001 "):
        with pytest.raises(WireError):
            gateway_code(number, cipher.encrypt)


def test_an_answer_written_by_hand() -> None:
    answer = FskMessage.decode(TOLD, ANSWER)
    assert answer.fields == {
        "type": 2,
        "end": 0,
        "phone": "13712345678",
        "security_module": "1000000000000001",
        "date": "20261123",
        "time": "093015",
        "trace": "000123",
        "transaction": "00000101",
    }
    assert [operation.number for operation in answer.operations] == [0x28, 0x22, 0x2F, 0xC004, 0x26]
    assert answer.data(FskOperation.SHOW) == [b"\x0000" + "充值".encode("gbk")]
    assert answer.data(0xC004) == [bytes(7) + b"\xff"]
    assert split_control(answer.control) == (b"\x0a\x0b",)
    assert answer.mac == bytes.fromhex("1122334455667788")
    assert answer.encode(ANSWER) == TOLD


def test_the_older_variant_by_hand() -> None:
    content = bytes.fromhex(
        "0100"
        "2001"
        "20070101"
        "31"
        "1000000000000001"
        "20261123"
        "093015"
        "000123"
        "000101"
        "89878500000000000000"
        "001a" + "0b" + b"13800138000".hex() + "000000005000" + "0011223344556677" + "0102030405060708"
    )
    request = FskMessage.decode(content, FLOW)
    assert [operation.number for operation in request.operations] == [9, 7, 5]
    assert request.fields["security_module"] == "1000000000000001"
    assert request.mac == bytes(range(1, 9))
    assert request.encode(FLOW) == content
    eleven = replace(request, operations=request.operations * 4)
    with pytest.raises(WireError, match="flow code"):
        eleven.encode(FLOW)
    with pytest.raises(WireError, match="flow code"):
        FskMessage.decode(content.replace(b"\x89\x87\x85\0", b"\x89\x87\x85\x01"), FLOW)
    with pytest.raises(WireError, match="control"):
        replace(request, control=b"x").encode(FLOW)


def operations_for(layout: Layout) -> st.SearchStrategy[list[Operation]]:
    """Any operations that the layout knows, with data of any length they may have."""

    @st.composite
    def one(draw: st.DrawFn) -> Operation:
        number = draw(st.sampled_from([number for number in layout.operands if number != 0x0D]))
        operand = layout.operands[number]
        units = draw(st.integers(0, min(operand.longest, 20)))
        datum = draw(st.binary(min_size=(size := operand.fixed + units * operand.unit), max_size=size))
        if number >= FskOperation.VENDOR:
            return Operation(0xC0, bytes([draw(st.integers(0, 255)), number & 0xFF]), datum)
        high = draw(st.sampled_from((0x00, 0x40, 0x80, 0xC0)))
        extra = draw(st.binary(min_size=(size := {0x80: 0, 0xC0: 2}.get(high, 1)), max_size=size))
        return Operation(high | number, extra, datum)

    return st.lists(one(), max_size=8)


@given(st.data())
def test_operations_of_every_kind_there_and_back(data: st.DataObject) -> None:
    layout, base, control = data.draw(
        st.sampled_from([(REQUEST, CONTENT, b""), (ANSWER, TOLD, b"\x01x")]), label="direction"
    )
    message = replace(
        FskMessage.decode(base, layout), operations=tuple(data.draw(operations_for(layout))), control=control
    )
    assert FskMessage.decode(message.encode(layout), layout) == message


@given(st.data())
def test_anything_is_a_message_or_an_error(data: st.DataObject) -> None:
    layout, base = data.draw(st.sampled_from([(REQUEST, CONTENT), (ANSWER, TOLD), (FLOW, CONTENT)]))
    at = data.draw(st.integers(0, len(base) - 1))
    octets = data.draw(st.binary(max_size=4))
    content = data.draw(
        st.sampled_from([base[:at], base[:at] + octets + base[at + len(octets) :], octets + base])
    )
    places = []
    try:
        message = FskMessage.decode(content, layout)
    except WireError as error:
        places.append((error.field, error.offset))
    else:
        assert FskMessage.decode(message.encode(layout), layout) == message
    assert all(name and 0 <= offset <= len(content) for name, offset in places)


@pytest.mark.parametrize(
    ("at", "octets", "field", "offset"),
    [
        (0, "02", "type", 0),  # an answer's
        (2, "aa", "message_version", 2),
        (12, "ff", "terminal_type", 12),
        (65, "05", "operation 3d", None),  # one more op code, taken from the length
        (65, "ff", "op count", 65),
        (66, "80", "op code", 66),  # operation 0
        (66, "83", "op code", 66),  # a track in clear: we read no cards
        (66, "c000", "op code", None),
        (70, "0021", "data length", 70),
        (70, "ffff", "data length", 70),
        (72, "29", "operation 09", 72),
    ],
    ids=str,
)
def test_what_is_wrong_is_named_with_its_place(at: int, octets: str, field: str, offset: int | None) -> None:
    piece = bytes.fromhex(octets)
    content = CONTENT[:at] + piece + CONTENT[at + len(piece) :]
    with pytest.raises(WireError) as caught:
        FskMessage.decode(content, REQUEST)
    if offset is not None:
        assert (caught.value.field, caught.value.offset) == (field, offset)


def test_every_piece_of_a_message_is_an_error() -> None:
    for content, layout in ((CONTENT, REQUEST), (TOLD, ANSWER)):
        for end in range(len(content)):
            with pytest.raises(WireError):
                FskMessage.decode(content[:end], layout)
        for more in (b"\0", bytes(1025)):
            with pytest.raises(WireError):
                FskMessage.decode(content + more, layout)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("type", 256),
        ("type", 2),
        ("end", 256),
        ("trace", "12"),
        ("trace", "１２３４５６"),
        ("called", "1" * 16),
        ("called", "é"),
        ("gateway_code", b"x"),
        ("type", "1"),
        ("end", None),
    ],
)
def test_a_value_that_does_not_fit(name: str, value: int | str | bytes) -> None:
    request = FskMessage.decode(CONTENT, REQUEST)
    with pytest.raises(WireError):
        replace(request, fields={**request.fields, name: value}).encode(REQUEST)


MAC_LATE = Operation(0x8D, b"", bytes(8))
PIN = Operation(0x85, b"", bytes(8))


@pytest.mark.parametrize(
    "operations",
    [
        (MAC_LATE, PIN),  # the last octets are not the MAC
        (MAC_LATE, MAC_LATE),
        (Operation(0x87, b"", b"12345"),),
        (Operation(0x89, b"", bytes(41)),),
        (Operation(0xAE, b"", bytes(16)),),  # not a whole card number
        (Operation(0x07, b"", bytes(6)),),  # two octets, one given
        (Operation(0x80),),
        (Operation(0xA6),) * 101,
        (Operation(0x93, b"", bytes(255)),) * 4,  # more than a frame takes
    ],
    ids=range(9),
)
def test_operations_that_are_not_written(operations: tuple[Operation, ...]) -> None:
    request = FskMessage.decode(CONTENT, REQUEST)
    with pytest.raises(WireError):
        replace(request, operations=operations).encode(REQUEST)


def test_a_mac_that_is_not_at_the_end_is_not_read() -> None:
    swapped = CONTENT[:68] + b"\x8d\x85" + CONTENT[70:]
    with pytest.raises(WireError, match="MAC"):
        FskMessage.decode(swapped, REQUEST)
    with pytest.raises(WireError, match="MAC"):
        replace(FskMessage.decode(TOLD, ANSWER), tail=b"").encode(ANSWER)
    # operations without a datum may follow: send, receive
    request = FskMessage.decode(CONTENT, REQUEST)
    longer = replace(request, operations=(*request.operations, Operation(0xA4), Operation(0xA5)))
    assert FskMessage.decode(longer.encode(REQUEST), REQUEST).mac == request.mac


def test_wrong_headers_and_controls() -> None:
    for octets in (bytes(8), bytes(10)):
        with pytest.raises(WireError):
            GatewayHeader.decode(octets)
    with pytest.raises(WireError):
        split_control(b"\x02a")
    assert split_control(b"\x00\x01a") == (b"", b"a")
