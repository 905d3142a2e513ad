"""A short message out of a PDU, and PDU fields for one: SMPP 3.4 sections 4.4, 4.6 and 4.7.

Above this file nobody asks whether a message came as deliver_sm, submit_sm or data_sm, in short_message or
message_payload, with a UDH or with sar_* parameters.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, Final

from aircharge.errors import Refusal, WireError
from aircharge.values import address_digits, mask_msisdn
from aircharge.wire.gsm import (
    Concat,
    DefaultAlphabet,
    Element,
    Part,
    Reassembler,
    Udh,
    alphabet_of,
    decode_gsm7,
    decode_text,
    fill_bits_after,
    split_parts,
    unpack,
)
from aircharge.wire.gsm_udh import COMMAND_PACKET, CONCAT_8, CONCAT_16, RESPONSE_PACKET
from aircharge.wire.smpp.constants import EsmClass, Status, Tag
from aircharge.wire.smpp.pdu import Pdu
from aircharge.wire.smpp.tlv import Tlv, TlvValue

__all__ = ["MobileMessage", "assemble", "fields_for", "from_pdu", "outgoing"]

_PACKET_HEADS: Final = {  # TS 23.048 section 6.1: a SIM cannot tell its phone to set UDHI
    b"\x02\x70\x00": Element(COMMAND_PACKET, b""),
    b"\x02\x71\x00": Element(RESPONSE_PACKET, b""),
}

_ACKNOWLEDGEMENTS: Final = frozenset((EsmClass.DELIVERY_ACK, EsmClass.USER_ACK, EsmClass.CONVERSATION_ABORT))


@dataclass(frozen=True, slots=True)
class MobileMessage:
    """One short message, or one part of a longer one, as it was received.

    ``data`` is the user data without its UDH (septets unpacked, where the peer packs them); ``text`` is None
    when it is binary. ``part`` tells that it is one of several.
    """

    source: str
    destination: str
    text: str | None
    data: bytes
    elements: tuple[Element, ...] = ()
    data_coding: int = 0
    protocol_id: int = 0
    esm_class: int = 0
    part: Concat | None = None
    sent_ms: int | None = None  # the SMS centre's own time, where the peer's profile names a TLV for it
    reference: int | None = None  # user_message_reference: the sender's own number for the message
    tlvs: tuple[Tlv, ...] = ()

    @property
    def is_secured(self) -> bool:
        """A command packet of TS 31.115: ``data`` begins with its CPL."""
        return any(one.identifier == COMMAND_PACKET for one in self.elements)

    @property
    def is_response_packet(self) -> bool:
        """A response packet of TS 31.115: what a card answers to a command packet."""
        return any(one.identifier == RESPONSE_PACKET for one in self.elements)

    @property
    def is_receipt(self) -> bool:
        """A delivery receipt or an intermediate notification rather than a message (section 5.2.12)."""
        kind = self.esm_class & EsmClass.TYPE_MASK
        return bool(kind & (EsmClass.DELIVERY_RECEIPT | EsmClass.INTERMEDIATE_NOTIFICATION))

    @property
    def is_acknowledgement(self) -> bool:
        """What a phone or its owner acknowledges (5.2.12, 0x08, 0x10, 0x18): whatever it says, no order."""
        return (self.esm_class & EsmClass.TYPE_MASK) in _ACKNOWLEDGEMENTS

    def tlv(self, tag: int) -> TlvValue | None:
        """The first value of a tag, or None."""
        for found, value in self.tlvs:
            if found == tag:
                return value
        return None

    def __repr__(self) -> str:
        ends = f"{mask_msisdn(self.source)} to {mask_msisdn(self.destination)}"
        return f"<message from {ends}, {len(self.data)} octets, coding {self.data_coding}>"


def from_pdu(pdu: Pdu, default: DefaultAlphabet = "gsm7", sent_time_tag: int = 0) -> MobileMessage:
    """The message in a deliver_sm, submit_sm or data_sm.

    ``sent_time_tag`` names the vendor TLV with the SMS centre's time (4 octets, seconds since 1970 UTC);
    0: none. Raises WireError: hint 0xC1 when short_message and message_payload both carry something (section
    5.3.2.32; an empty one counts for nothing), 0x65 when the UDH is broken.
    """
    fields = pdu.fields
    data = _user_data(pdu)
    esm_class: int = fields.get("esm_class", 0)
    coding: int = fields.get("data_coding", 0)
    elements: tuple[Element, ...] = ()
    part: Concat | None = None
    udh_octets = 0
    if esm_class & EsmClass.UDHI:
        udh, body = Udh.parse(data)
        udh_octets = len(data) - len(body)
        elements, part, data = udh.elements, udh.concat, body
    elif data[:3] in _PACKET_HEADS and alphabet_of(coding, default) == "binary":
        elements, data = (_PACKET_HEADS[data[:3]],), data[3:]
    sent_ms = reference = None
    if pdu.tlvs:
        part = part or _sar(pdu)
        reference = _number(pdu.tlv(Tag.USER_MESSAGE_REFERENCE))
        sent_s = _number(pdu.tlv(sent_time_tag)) if sent_time_tag else None
        sent_ms = None if sent_s is None else sent_s * 1000
    if alphabet_of(coding, default) == "gsm7-packed":
        data = unpack(data, fill_bits_after(udh_octets))
    return MobileMessage(
        source=fields.get("source_addr", ""),
        destination=fields.get("destination_addr", ""),
        text=_text(data, coding, default, elements),
        data=data,
        elements=elements,
        data_coding=coding,
        protocol_id=fields.get("protocol_id", 0),
        esm_class=esm_class,
        part=part,
        sent_ms=sent_ms,
        reference=reference,
        tlvs=pdu.tlvs,
    )


def _user_data(pdu: Pdu) -> bytes:
    data: bytes = pdu.fields.get("short_message", b"")
    payload = pdu.tlv(Tag.MESSAGE_PAYLOAD) if pdu.tlvs else None
    if not payload:
        return data
    if data:
        why = "message_payload beside short_message"
        raise WireError("SMPP 3.4", "5.3.2.32", why, field="message_payload", hint=Status.ESME_RTLVNOTALLWD)
    return payload if isinstance(payload, bytes) else b""


def _text(data: bytes, coding: int, default: DefaultAlphabet, elements: tuple[Element, ...]) -> str | None:
    """Text of user data whose septets are unpacked already; a secured packet is never text."""
    if any(one.identifier in (COMMAND_PACKET, RESPONSE_PACKET) for one in elements):
        return None
    if alphabet_of(coding, default) == "gsm7-packed":
        return decode_gsm7(data)
    return decode_text(data, coding, default)


def _number(value: TlvValue | None) -> int | None:
    if isinstance(value, bytes):
        return int.from_bytes(value, "big") if len(value) in (4, 8) else None
    return value if isinstance(value, int) else None


def _sar(pdu: Pdu) -> Concat | None:
    """sar_msg_ref_num, sar_total_segments, sar_segment_seqnum (5.3.2.22 to 24): all three or nothing."""
    ref = _number(pdu.tlv(Tag.SAR_MSG_REF_NUM))
    total = _number(pdu.tlv(Tag.SAR_TOTAL_SEGMENTS))
    seq = _number(pdu.tlv(Tag.SAR_SEGMENT_SEQNUM))
    if ref is None or total is None or seq is None or not 1 <= seq <= total <= 255:
        return None
    return Concat(ref, total, seq, wide=True)


def assemble(
    reassembler: Reassembler,
    scope: Hashable,
    message: MobileMessage,
    now_ms: int,
    default: DefaultAlphabet = "gsm7",
) -> MobileMessage | None:
    """The whole message once its last part is there, None before; a message of one part as it is.

    The whole carries the other elements of part 1 (a secured packet's 0x70 stands only there) and the rest of
    what came with the part that completed it. ``scope``: whose binds may bring parts of one message; the sending
    phone numbers its messages, and a centre may use all its binds for one of them.
    """
    part = message.part
    if part is None:
        return message
    others = tuple(one for one in message.elements if one.identifier not in (CONCAT_8, CONCAT_16))
    body = Udh(others).build() + message.data if part.seq == 1 else message.data
    whole = reassembler.add(parts_key(scope, message), part.ref, part.total, part.seq, body, now_ms)
    if whole is None:
        return None
    udh, data = Udh.parse(whole)
    text = _text(data, message.data_coding, default, udh.elements)
    return replace(message, text=text, data=data, elements=udh.elements, part=None)


def parts_key(scope: Hashable, message: MobileMessage) -> tuple[Hashable, str, str, bool]:
    """Whose parts belong together, under one reference and number of parts."""
    wide = message.part is not None and message.part.wide
    return (scope, _digits(message.source), _digits(message.destination), wide)


def _digits(address: str) -> str:
    """An address in one form, whichever bind it came over."""
    try:
        return address_digits(address)
    except Refusal:
        return address


def fields_for(
    source: str,
    destination: str,
    part: Part,
    data_coding: int,
    *,
    source_ton: int = 0,
    source_npi: int = 0,
    dest_ton: int = 1,
    dest_npi: int = 1,
    registered_delivery: int = 0,
    protocol_id: int = 0,
    esm_class: int = 0,
    **others: Any,
) -> dict[str, Any]:
    """Fields of a submit_sm or deliver_sm that carries one part with its UDH in short_message.

    ``others`` are fields by the standard's name (validity_period, service_type …).
    """
    return {
        "source_addr_ton": source_ton,
        "source_addr_npi": source_npi,
        "source_addr": source,
        "dest_addr_ton": dest_ton,
        "dest_addr_npi": dest_npi,
        "destination_addr": destination,
        "esm_class": esm_class | EsmClass.UDHI if part.udh else esm_class,
        "protocol_id": protocol_id,
        "registered_delivery": registered_delivery,
        "data_coding": data_coding,
        "short_message": part.udh + part.body,
        **others,
    }


def outgoing(
    source: str,
    destination: str,
    data: bytes,
    data_coding: int,
    ref: int,
    *,
    long_as: str = "udh",
    default: DefaultAlphabet = "gsm7",
    elements: tuple[Element, ...] = (),
    **options: Any,
) -> list[tuple[dict[str, Any], tuple[Tlv, ...]]]:
    """(fields, TLVs) of every PDU that is needed to send ``data`` (``gsm.encode_text`` makes it of a text).

    ``long_as`` says how more than one part travels: "udh" (16 bit reference when ``ref`` needs it), "sar" or
    "payload" (one PDU, message_payload). Packed septets always go as "udh": their fill bits belong to a UDH, and
    sar_* and message_payload leave none. ``options`` go to ``fields_for``. Raises WireError if too long.
    """
    parts = split_parts(data, data_coding, ref, ref > 0xFF, default=default, elements=elements)
    if len(parts) == 1 or long_as == "udh" or alphabet_of(data_coding, default) == "gsm7-packed":
        return [(fields_for(source, destination, part, data_coding, **options), ()) for part in parts]
    if long_as == "payload":
        head = Udh(elements).build() if elements else b""
        fields = fields_for(source, destination, Part(head, b""), data_coding, **options)
        payload = head + b"".join(part.body for part in parts)
        return [({**fields, "short_message": b""}, ((Tag.MESSAGE_PAYLOAD, payload),))]
    return [_as_sar(source, destination, part, data_coding, ref, options) for part in parts]


def _as_sar(
    source: str, destination: str, part: Part, data_coding: int, ref: int, options: dict[str, Any]
) -> tuple[dict[str, Any], tuple[Tlv, ...]]:
    """One part whose concatenation stands in sar_* parameters; other elements stay in its UDH."""
    assert part.concat is not None
    udh, _ = Udh.parse(part.udh)
    others = tuple(one for one in udh.elements if one.identifier not in (CONCAT_8, CONCAT_16))
    bare = Part(Udh(others).build() if others else b"", part.body)
    tlvs: tuple[Tlv, ...] = (
        (Tag.SAR_MSG_REF_NUM, ref & 0xFFFF),
        (Tag.SAR_TOTAL_SEGMENTS, part.concat.total),
        (Tag.SAR_SEGMENT_SEQNUM, part.concat.seq),
    )
    return fields_for(source, destination, bare, data_coding, **options), tlvs
