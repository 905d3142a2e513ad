"""Optional parameters (TLVs): SMPP 3.4 section 3.2.4 and 5.3, 5.0 section 4.8.

A value is an ``int`` (big-endian integer), a ``str`` (C-octet string, latin-1, its NUL dropped) or ``bytes``.
Order and repetitions are kept: TLVs are a tuple of ``(tag, value)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from aircharge.errors import WireError
from aircharge.wire.smpp.constants import Status, Tag

__all__ = ["SPECS", "Tlv", "TlvSpec", "TlvValue", "read_tlvs", "write_tlv"]

TlvValue = int | str | bytes
Tlv = tuple[int, TlvValue]

_HEAD: Final = Struct(">HH")
_INTEGER_OCTETS_MAX: Final = 4


@dataclass(frozen=True, slots=True)
class TlvSpec:
    """What the standard says of one tag: kind of value, octets allowed, whether it may be repeated."""

    kind: type[int] | type[str] | type[bytes]
    octets_min: int
    octets_max: int
    repeats: bool = False


def _integer(octets: int, *, repeats: bool = False, octets_max: int = 0) -> TlvSpec:
    return TlvSpec(int, octets, octets_max or octets, repeats)


def _text(octets_min: int, octets_max: int) -> TlvSpec:
    return TlvSpec(str, octets_min, octets_max)


def _octets(octets_min: int, octets_max: int, *, repeats: bool = False) -> TlvSpec:
    return TlvSpec(bytes, octets_min, octets_max, repeats)


SPECS: Final[dict[int, TlvSpec]] = {
    Tag.DEST_ADDR_SUBUNIT: _integer(1),
    Tag.DEST_NETWORK_TYPE: _integer(1),
    Tag.DEST_BEARER_TYPE: _integer(1),
    Tag.DEST_TELEMATICS_ID: _integer(2),
    Tag.SOURCE_ADDR_SUBUNIT: _integer(1),
    Tag.SOURCE_NETWORK_TYPE: _integer(1),
    Tag.SOURCE_BEARER_TYPE: _integer(1),
    Tag.SOURCE_TELEMATICS_ID: _integer(1),
    Tag.QOS_TIME_TO_LIVE: _integer(4),
    Tag.PAYLOAD_TYPE: _integer(1),
    Tag.ADDITIONAL_STATUS_INFO_TEXT: _text(1, 256),
    Tag.RECEIPTED_MESSAGE_ID: _text(1, 65),
    Tag.MS_MSG_WAIT_FACILITIES: _integer(1),
    Tag.PRIVACY_INDICATOR: _integer(1),
    Tag.SOURCE_SUBADDRESS: _octets(2, 23),
    Tag.DEST_SUBADDRESS: _octets(2, 23),
    Tag.USER_MESSAGE_REFERENCE: _integer(2),
    Tag.USER_RESPONSE_CODE: _integer(1),
    Tag.SOURCE_PORT: _integer(2),
    Tag.DESTINATION_PORT: _integer(2),
    Tag.SAR_MSG_REF_NUM: _integer(2),
    Tag.LANGUAGE_INDICATOR: _integer(1),
    Tag.SAR_TOTAL_SEGMENTS: _integer(1),
    Tag.SAR_SEGMENT_SEQNUM: _integer(1),
    Tag.SC_INTERFACE_VERSION: _integer(1),
    Tag.CALLBACK_NUM_PRES_IND: _integer(1, repeats=True),
    Tag.CALLBACK_NUM_ATAG: _octets(1, 65, repeats=True),
    Tag.NUMBER_OF_MESSAGES: _integer(1),
    Tag.CALLBACK_NUM: _octets(4, 19, repeats=True),
    Tag.DPF_RESULT: _integer(1),
    Tag.SET_DPF: _integer(1),
    Tag.MS_AVAILABILITY_STATUS: _integer(1),
    Tag.NETWORK_ERROR_CODE: _octets(3, 3),
    Tag.MESSAGE_PAYLOAD: _octets(0, 65535),
    Tag.DELIVERY_FAILURE_REASON: _integer(1),
    Tag.MORE_MESSAGES_TO_SEND: _integer(1),
    Tag.MESSAGE_STATE: _integer(1),
    Tag.CONGESTION_STATE: _integer(1),
    Tag.USSD_SERVICE_OP: _integer(1),
    Tag.BROADCAST_CHANNEL_INDICATOR: _integer(1),
    Tag.BROADCAST_CONTENT_TYPE: _octets(3, 3),
    Tag.BROADCAST_CONTENT_TYPE_INFO: _octets(1, 255),
    Tag.BROADCAST_MESSAGE_CLASS: _integer(1),
    Tag.BROADCAST_REP_NUM: _integer(2),
    Tag.BROADCAST_FREQUENCY_INTERVAL: _octets(3, 3),
    Tag.BROADCAST_AREA_IDENTIFIER: _octets(1, 100, repeats=True),
    Tag.BROADCAST_ERROR_STATUS: _integer(4, repeats=True),
    Tag.BROADCAST_AREA_SUCCESS: _integer(1, repeats=True),
    Tag.BROADCAST_END_TIME: _text(1, 17),
    Tag.BROADCAST_SERVICE_GROUP: _octets(1, 255),
    Tag.BILLING_IDENTIFICATION: _octets(1, 1024),
    Tag.SOURCE_NETWORK_ID: _text(7, 65),
    Tag.DEST_NETWORK_ID: _text(7, 65),
    Tag.SOURCE_NODE_ID: _octets(6, 6),
    Tag.DEST_NODE_ID: _octets(6, 6),
    Tag.DEST_ADDR_NP_RESOLUTION: _integer(1),
    Tag.DEST_ADDR_NP_INFORMATION: _octets(10, 10),
    Tag.DEST_ADDR_NP_COUNTRY: _octets(1, 5),
    Tag.DISPLAY_TIME: _integer(1),
    Tag.SMS_SIGNAL: _integer(2),
    Tag.MS_VALIDITY: _integer(1, octets_max=4),  # four octets in 5.0
    Tag.ALERT_ON_MESSAGE_DELIVERY: _octets(0, 1),  # one octet in 5.0
    Tag.ITS_REPLY_TYPE: _integer(1),
    Tag.ITS_SESSION_INFO: _integer(2),
}


def _refuse(why: str, tag: int, hint: int, offset: int = 0) -> WireError:
    name = Tag(tag).name.lower() if tag in SPECS else f"tag {tag:04X}"
    return WireError("SMPP 3.4", "5.3", why, offset=offset, field=name, hint=hint)


_NEEDED: Final = frozenset((Tag.SAR_MSG_REF_NUM, Tag.SAR_TOTAL_SEGMENTS, Tag.SAR_SEGMENT_SEQNUM))


def read_tlvs(frame: bytes, position: int, found: list[Tlv]) -> int:
    """Append the TLVs from ``position`` on; the position where none begins any more.

    Fewer than four octets at the end are left unread (some peers pad). Integers may come in 1 to 4 octets and
    texts without their NUL; lengths are otherwise the peer's own business. Unknown tags are kept as bytes, and so
    is an integer of a length that no integer has, where nothing hangs on it. Raises WireError with hint 0xC0
    when a TLV is longer than its PDU, 0xC2 for such an integer among sar_*: without it parts become orders.
    """
    size = len(frame)
    while position + 4 <= size:
        tag, length = _HEAD.unpack_from(frame, position)
        start = position + 4
        end = start + length
        if end > size:
            raise _refuse("longer than its PDU", tag, Status.ESME_RINVTLVSTREAM, position)
        spec = SPECS.get(tag)
        if spec is None or spec.kind is bytes:
            found.append((tag, frame[start:end]))
        elif spec.kind is int:
            if 1 <= length <= _INTEGER_OCTETS_MAX:
                found.append((tag, int.from_bytes(frame[start:end], "big")))
            elif tag in _NEEDED:
                raise _refuse("not an integer's length", tag, Status.ESME_RINVTLVLEN, position)
            else:
                found.append((tag, frame[start:end]))
        else:
            found.append((tag, str(frame[start:end].split(b"\0", 1)[0], "latin-1")))
        position = end
    return position


def write_tlv(tag: int, value: TlvValue) -> bytes:
    """One TLV as octets, strictly to the standard. ``bytes`` of a legal length may stand for any known kind.

    Raises WireError (0xC2 for a wrong length, 0xC4 for a wrong value).
    """
    spec = SPECS.get(tag)
    octets = _value_octets(tag, value, spec)
    if len(octets) > 0xFFFF or (spec is not None and not spec.octets_min <= len(octets) <= spec.octets_max):
        raise _refuse("length not allowed", tag, Status.ESME_RINVTLVLEN)
    return _HEAD.pack(tag, len(octets)) + octets


def _value_octets(tag: int, value: TlvValue, spec: TlvSpec | None) -> bytes:
    if not 0 < tag <= 0xFFFF:
        raise WireError("SMPP 3.4", "5.3", "not a tag", hint=Status.ESME_RINVTLVSTREAM)
    if isinstance(value, bytes):
        return value
    try:
        if spec is not None and spec.kind is int and isinstance(value, int):
            return value.to_bytes(spec.octets_min, "big")
        if spec is not None and spec.kind is str and isinstance(value, str) and "\0" not in value:
            return value.encode("latin-1") + b"\0"
    except (OverflowError, UnicodeEncodeError):
        pass
    raise _refuse("value does not fit its kind", tag, Status.ESME_RINVTLVVAL)
