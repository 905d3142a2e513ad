"""SMPP: PDU, TLVs, receipt, message with its parts."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

from aircharge.errors import WireError
from aircharge.wire.gsm import Reassembler
from aircharge.wire.smpp.constants import Command
from aircharge.wire.smpp.message import MobileMessage, assemble, from_pdu
from aircharge.wire.smpp.pdu import Pdu, PduError, decode, encode
from aircharge.wire.smpp.receipt import DeliveryReceipt, id_variants, parse_receipt, receipt_text
from aircharge.wire.smpp.tlv import SPECS, Tlv, read_tlvs, write_tlv
from tests.fuzz.target import Target, must
from tests.wire.smpp.samples import SAMPLES_34, SAMPLES_50

__all__ = ["BOMBS", "TAME", "TARGETS", "sample_frames"]

_TEXT_MAX: Final = 64  # characters of the longest C-octet string of any PDU, a lenient password
BOMBS: Final = tuple(
    struct.pack(">IIII", length, command, 0, 1) + b"\xff" * 8
    for length in (0x7FFFFFFF, 0xFFFFFFFF, 0x80000000)
    for command in (0x05, 0x80000004)
)
TAME: Final = struct.pack(">IIII", 65537, 0x05, 0, 1) + b"\xff" * 8

# -- one PDU -----------------------------------------------------------------------------------------------


def _framed(rest: bytes) -> bytes:
    """A frame whose command_length is right: what the splitter lets through."""
    return (4 + len(rest)).to_bytes(4, "big") + rest


def _encoded(pdu: Pdu) -> bytes | None:
    """What ``encode`` makes of a lenient reading, or None where the standard does not allow it."""
    for version in (0x34, 0x50, 0x33):
        try:
            return encode(pdu, version)
        except WireError:
            continue
    return None


def _pdu(data: bytes) -> Pdu:
    try:
        return decode(_framed(data))
    except PduError as error:
        must(error.hint != 0, "an error without a command_status to answer with")
        raise


def _pdu_again(pdu: Pdu, data: bytes) -> None:
    repr(pdu)
    assert all(len(text) <= _TEXT_MAX for text in pdu.fields.values() if isinstance(text, str))
    octets = _encoded(pdu)
    if octets is None:
        return
    again = decode(octets)
    header = (pdu.command, pdu.sequence, pdu.status, pdu.tlvs)
    assert (again.command, again.sequence, again.status, again.tlvs) == header
    if pdu.status and pdu.is_response:  # of an error's broken body what could be read is kept
        assert pdu.fields.items() <= again.fields.items()
    else:
        assert not pdu.fields or again.fields == pdu.fields
    assert encode(again, 0x50) == octets


# -- TLVs --------------------------------------------------------------------------------------------------


def _tlvs(data: bytes) -> list[Tlv]:
    found: list[Tlv] = []
    end = read_tlvs(data, 0, found)
    assert len(data) - 4 < end <= len(data)
    return found


def _tlvs_again(found: list[Tlv], data: bytes) -> None:
    for tag, value in found:
        try:
            octets = write_tlv(tag, value)
        except WireError:
            continue
        again: list[Tlv] = []
        assert read_tlvs(octets, 0, again) == len(octets)
        assert again == [(tag, value)]


# -- receipts ----------------------------------------------------------------------------------------------


def _receipt(data: bytes) -> DeliveryReceipt | None:
    """First octet: esm_class; the next says how many octets of TLVs follow; the rest is the text."""
    size = data[1] if len(data) > 1 else 0
    found: list[Tlv] = []
    read_tlvs(data[2 : 2 + size], 0, found)
    fields = {"esm_class": data[0] if data else 0, "short_message": data[2 + size :]}
    return parse_receipt(Pdu(Command.DELIVER_SM, 1, 0, fields, tuple(found)))


def _receipt_again(receipt: DeliveryReceipt | None, data: bytes) -> None:
    if receipt is None:
        return
    assert id_variants(receipt.message_id)[0] == receipt.message_id
    text = receipt_text(receipt, "hello")
    once = parse_receipt(Pdu(Command.DELIVER_SM, 1, 0, {"esm_class": 4, "short_message": text}))
    if once is not None:  # an id that is only blanks names nothing
        assert once.state is receipt.state
        twice = receipt_text(once, "hello")
        assert parse_receipt(Pdu(Command.DELIVER_SM, 1, 0, {"esm_class": 4, "short_message": twice})) == once


# -- messages ----------------------------------------------------------------------------------------------

_DEFAULTS: Final = ("gsm7", "latin1", "ascii", "gsm7-packed")


def _messages(data: bytes) -> list[MobileMessage | None]:
    """First octet: the peer's default alphabet. Then parts: esm_class, data_coding, TLV octets, octets."""
    default: Any = _DEFAULTS[data[0] & 3] if data else "gsm7"
    parts = Reassembler(4, 1000, 2000)
    taken = []
    at = 1
    while at + 4 <= len(data):
        esm_class, coding, tlv_octets, octets = data[at : at + 4]
        at += 4
        found: list[Tlv] = []
        read_tlvs(data[at : at + tlv_octets], 0, found)
        body = data[at + tlv_octets : at + tlv_octets + octets]
        at += tlv_octets + octets
        fields = {"esm_class": esm_class, "data_coding": coding, "short_message": body}
        message = from_pdu(Pdu(Command.DELIVER_SM, 1, 0, fields, tuple(found)), default, 0x1400)
        repr(message)
        taken.append(assemble(parts, "peer", message, at, default))
        assert len(parts) <= 4
        assert 0 <= parts.size_bytes <= 2000
    return taken


def _whole_messages(taken: list[MobileMessage | None], data: bytes) -> None:
    for message in taken:
        if message is not None:
            assert message.part is None or message.part.total >= 1
            assert message.text is None or not message.is_secured


# -- where the corpora begin -------------------------------------------------------------------------------


def sample_frames() -> list[bytes]:
    return [encode(pdu, 0x34) for pdu in SAMPLES_34] + [encode(pdu, 0x50) for pdu in SAMPLES_50]


def _pdu_seeds() -> Iterator[bytes]:
    return (frame[4:] for frame in sample_frames())


def _tlv_seeds() -> Iterator[bytes]:
    for pdu in (*SAMPLES_34, *SAMPLES_50):
        if pdu.tlvs:
            yield b"".join(write_tlv(tag, value) for tag, value in pdu.tlvs)
    yield b"".join(struct.pack(">HH", tag, 1) + b"1" for tag in sorted(SPECS))


def _receipt_seeds() -> Iterator[bytes]:
    text = (
        b"id:0A1B sub:001 dlvrd:001 submit date:2611230400 done date:2611230401 stat:DELIVRD err:000 text:hi"
    )
    tlvs = bytes.fromhex("0427000102 001e0003343100 042300030300 11".replace(" ", ""))
    yield b"\x04\x00" + text
    yield b"\x20" + bytes((len(tlvs),)) + tlvs + text.lower()
    yield b"\x04\x00" + text.decode().encode("utf-16-be")


def _message_seeds() -> Iterator[bytes]:
    def part(esm: int, coding: int, tlvs: bytes, body: bytes) -> bytes:
        return bytes((esm, coding, len(tlvs), len(body))) + tlvs + body

    sar = bytes.fromhex("020c00021234020e000102020f000101")
    for default in range(4):
        one = part(0x40, 8, b"", bytes.fromhex("0500034202 01") + "充".encode("utf-16-be"))
        two = part(0x40, 8, b"", bytes.fromhex("0500034202 02") + "值".encode("utf-16-be"))
        yield bytes((default,)) + part(0, 0, b"", b"13812345678 50") + one + two
        yield bytes((default,)) + part(0x40, 0xF6, b"", bytes.fromhex("027000") + b"packet")
        yield bytes((default,)) + part(0, 0, sar, b"13812345678 ") + part(0, 0, sar[:-1] + b"\x02", b"50")
    yield b"\0" + part(0, 8, bytes.fromhex("0424000400310032") + bytes.fromhex("140000046aaaaaaa"), b"")


TARGETS: Final = {
    "smpp-pdu": Target(
        _pdu, _pdu_again, (PduError,), tame=TAME, bombs=BOMBS, opened=lambda: decode, seeds=_pdu_seeds
    ),
    "smpp-tlv": Target(
        _tlvs,
        _tlvs_again,
        tame=b"\x04\x24\x00\x01",
        bombs=(b"\x04\x24\xff\xff", b"\x00\x00\xff\xff" * 4),
        seeds=_tlv_seeds,
    ),
    "smpp-receipt": Target(
        _receipt,
        _receipt_again,
        seeds=_receipt_seeds,
        tame=b"\x04\x04\x04\x24\x00\x01",
        bombs=(b"\x04\xff\x04\x24\xff\xff",),
    ),
    "smpp-message": Target(
        _messages,
        _whole_messages,
        seeds=_message_seeds,
        tame=b"\x00\x40\x00\x00\x02\x02\x00",
        bombs=(b"\x00\x40\x00\x00\xff\xff\x00\x03",),
    ),
}
