"""The operator line's codec against pyasn1, the schema's authority, and against nonsense."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyasn1.codec.ber import decoder as ber_decoder
from pyasn1.codec.der import encoder as der_encoder
from pyasn1.error import PyAsn1Error

from aircharge.errors import WireError
from aircharge.wire.operator import messages as m
from aircharge.wire.operator.ber import tlv
from aircharge.wire.operator.codec import ApduError, decode, encode
from tests.wire.operator import schema
from tests.wire.operator.samples import APDUS, REF, SAMPLES, T


@pytest.mark.parametrize("apdu", SAMPLES, ids=lambda apdu: type(apdu).__name__)
def test_every_kind_is_what_pyasn1_says_both_ways(apdu):
    octets = encode(apdu)
    assert octets == der_encoder.encode(schema.to_pyasn1(apdu))
    value, rest = ber_decoder.decode(octets, asn1Spec=schema.APDU)
    assert rest == b""
    assert schema.from_pyasn1(value) == schema.plain(apdu)
    assert decode(octets) == apdu


@settings(max_examples=250, deadline=None)
@given(APDUS)
def test_any_apdu_is_what_pyasn1_says(apdu):
    octets = encode(apdu)
    assert octets == der_encoder.encode(schema.to_pyasn1(apdu))
    assert decode(octets) == apdu


@settings(max_examples=2000, deadline=None)
@given(st.binary(max_size=120))
def test_random_octets_give_a_message_or_an_apdu_error(octets):
    with contextlib.suppress(ApduError):
        decode(octets)


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(SAMPLES), st.data())
def test_what_we_accept_of_damaged_apdus_pyasn1_reads_alike(apdu, data):
    octets = bytearray(encode(apdu))
    for _ in range(data.draw(st.integers(1, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = decode(bytes(octets))
    except ApduError:
        return
    try:
        value, rest = ber_decoder.decode(bytes(octets), asn1Spec=schema.APDU)
    except PyAsn1Error:
        # Only extension additions, which pyasn1 cannot mark, may make it refuse what we take.
        assert len(encode(read)) < len(octets)
        return
    assert rest == b""
    # DER again: the damage may have left a longer form of the same value.
    assert encode(read) == der_encoder.encode(value)


def test_long_form_lengths_are_read_and_short_ones_sent():
    plain = encode(SAMPLES[4])
    long = b"\xa1\x84" + (len(plain) - 2).to_bytes(4, "big") + plain[2:]
    assert decode(long) == SAMPLES[4]
    assert encode(decode(long)) == plain


def test_additions_of_a_later_version_are_skipped():
    body = tlv(0x80, REF.encode()) + tlv(0x81, b"0000") + tlv(0x89, b"new") + tlv(0xAA, tlv(0x80, b"deep"))
    frame = tlv(0xA2, b"\x02\x01\x05\x02\x01\x05" + tlv(0xA5, body) + tlv(0x8F, b"more"))
    assert decode(frame) == m.ReturnResult(5, m.RechargeResult(REF, "0000"))


def _invoke(opcode: bytes, argument: bytes) -> bytes:
    return tlv(0xA1, b"\x02\x01\x07" + tlv(0x02, opcode) + argument)


RECHARGE = (
    (0x80, REF.encode()),
    (0x81, b"A"),
    (0x82, b"13800138000"),
    (0x83, b"\x13\x88"),
    (0x84, b"\x00\x9c"),
    (0x85, b"\x01"),
)
PROBLEM = m.Problem


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        pytest.param(
            _invoke(b"\x1e", tlv(0xBE, b"")), PROBLEM.UNRECOGNIZED_OPERATION, id="unknown operation"
        ),
        pytest.param(_invoke(b"\x05", tlv(0xA6, b"")), PROBLEM.MISTYPED_ARGUMENT, id="tag of another"),
        pytest.param(_invoke(b"\x05", b""), PROBLEM.MISTYPED_ARGUMENT, id="no argument"),
        pytest.param(
            _invoke(b"\x05", b"\xa5\x80\x00\x00"), PROBLEM.MISTYPED_ARGUMENT, id="indefinite inside"
        ),
        pytest.param(_invoke(b"\x05", b"\xbf\x05\x00"), PROBLEM.MISTYPED_ARGUMENT, id="high tag number"),
        *(
            pytest.param(
                _invoke(b"\x05", tlv(0xA5, b"".join(tlv(t, bad if t == tag else c) for t, c in RECHARGE))),
                PROBLEM.MISTYPED_ARGUMENT,
                id=f"{tag:02x}={bad[:4].hex()}",
            )
            for tag, bad in [
                (0x80, b""),
                (0x80, b"r" * 33),
                (0x80, b"tab\t"),
                (0x80, b"\xc3\xa9"),
                (0x82, b"1380013800a"),
                (0x82, b"12"),
                (0x82, b"1 3"),
                (0x83, b"\x00"),
                (0x83, b"\x00\x05"),
                (0x83, b"\xff"),
                (0x83, b""),
                (0x83, b"\x02\x54\x0b\xe4\x01"),
                (0x84, b"\x05"),
            ]
        ),
        pytest.param(
            _invoke(b"\x05", tlv(0xA5, b"".join(tlv(*item) for item in (*RECHARGE, RECHARGE[0])))),
            PROBLEM.MISTYPED_ARGUMENT,
            id="component twice",
        ),
        pytest.param(
            _invoke(b"\x05", tlv(0xA5, b"".join(tlv(*item) for item in RECHARGE[::-1]))),
            PROBLEM.MISTYPED_ARGUMENT,
            id="components out of order",
        ),
    ],
)
def test_a_bad_invoke_is_named_with_its_id(argument, problem):
    with pytest.raises(ApduError) as caught:
        decode(argument)
    assert (caught.value.invoke_id, caught.value.hint, caught.value.is_answer) == (7, problem, False)


@pytest.mark.parametrize(
    "apdu",
    [
        m.Invoke(0, m.Heartbeat(T)),
        m.Invoke(2**31, m.Heartbeat(T)),
        m.Invoke(1, m.Heartbeat(0)),
        m.Invoke(1, m.RechargeArgument("é", "A", "13800138000", 1, 156, T)),
        m.Invoke(1, m.RechargeArgument("", "A", "13800138000", 1, 156, T)),
        m.Invoke(1, m.RechargeArgument("r", "A", "１３８", 1, 156, T)),
        m.Invoke(1, m.RechargeArgument("r", "A", "13800138000", 0, 156, T)),
        m.Invoke(1, m.RechargeArgument("r", "A", "13800138000", 1, 840, T)),
        m.Reject(1, 256),
    ],
    ids=repr,
)
def test_we_never_send_what_the_module_forbids(apdu):
    with pytest.raises(WireError):
        encode(apdu)


def test_no_number_is_shown_whole():
    shown = repr(SAMPLES)
    assert "13800138000" not in shown
    assert "138****8000" in shown
