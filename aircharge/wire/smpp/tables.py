"""Which fields each PDU has, in order: SMPP 3.4 section 4, 5.0 section 4 for the broadcast operations.

Data only. ``LAYOUTS`` maps a command_id to its layout; ``pdu.py`` walks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aircharge.wire.smpp.constants import VERSION_34, VERSION_50, Command, Status, Tag
from aircharge.wire.smpp.fields import (
    CString,
    Destinations,
    Field,
    Octet,
    ShortMessage,
    Step,
    Time,
    UnsuccessList,
    plan,
)

__all__ = ["LAYOUTS", "NPI", "TLVS_OF_50", "TON", "Layout"]

TON: Final = range(7)  # 5.2.5
NPI: Final = frozenset((0, 1, 3, 4, 6, 8, 9, 10, 14, 18))  # 5.2.6

_SYSTEM_ID: Final = CString("system_id", 16, Status.ESME_RINVSYSID, "5.2.1", 65)
_PASSWORD: Final = CString("password", 9, Status.ESME_RINVPASWD, "5.2.2", 65)
_MESSAGE_ID: Final = CString("message_id", 65, Status.ESME_RINVMSGID, "5.2.23")
_SERVICE_TYPE: Final = CString("service_type", 6, Status.ESME_RINVSERTYP, "5.2.11")
_SCHEDULE: Final = Time("schedule_delivery_time", Status.ESME_RINVSCHED)
_VALIDITY: Final = Time("validity_period", Status.ESME_RINVEXPIRY)
_PROTOCOL_ID: Final = Octet("protocol_id", Status.ESME_RUNKNOWNERR)
_PRIORITY: Final = Octet("priority_flag", Status.ESME_RINVPRTFLG, range(5))
_ESM_CLASS: Final = Octet("esm_class", Status.ESME_RINVESMCLASS)
_REGISTERED: Final = Octet("registered_delivery", Status.ESME_RINVREGDLVFLG)
_REPLACE: Final = Octet("replace_if_present_flag", Status.ESME_RINVREPFLAG, range(2))
_DATA_CODING: Final = Octet("data_coding", Status.ESME_RINVDCS)
_DEFAULT_MESSAGE: Final = Octet("sm_default_msg_id", Status.ESME_RINVDFTMSGID)


def _source(octets: int) -> tuple[Field, ...]:
    return (
        Octet("source_addr_ton", Status.ESME_RINVSRCTON, TON),
        Octet("source_addr_npi", Status.ESME_RINVSRCNPI, NPI),
        CString("source_addr", octets, Status.ESME_RINVSRCADR, "5.2.8"),
    )


def _destination(octets: int) -> tuple[Field, ...]:
    return (_DEST_TON, _DEST_NPI, CString("destination_addr", octets, Status.ESME_RINVDSTADR, "5.2.9"))


_DEST_TON: Final = Octet("dest_addr_ton", Status.ESME_RINVDSTTON, TON)
_DEST_NPI: Final = Octet("dest_addr_npi", Status.ESME_RINVDSTNPI, NPI)
_DEST_ADDR: Final = CString("destination_addr", 21, Status.ESME_RINVDSTADR, "5.2.9")
_LIST_NAME: Final = CString("dl_name", 21, Status.ESME_RINVDLNAME, "5.2.27")

_BIND: Final[tuple[Field, ...]] = (  # 4.1.1
    _SYSTEM_ID,
    _PASSWORD,
    CString("system_type", 13, Status.ESME_RINVSYSTYP, "5.2.3", 65),
    Octet("interface_version", Status.ESME_RBINDFAIL),
    Octet("addr_ton", Status.ESME_RBINDFAIL, TON),
    Octet("addr_npi", Status.ESME_RBINDFAIL, NPI),
    CString("address_range", 41, Status.ESME_RBINDFAIL, "5.2.7", 65),
)
_AFTER_ADDRESSES: Final[tuple[Field, ...]] = (_ESM_CLASS, _PROTOCOL_ID, _PRIORITY)
_MESSAGE_END: Final[tuple[Field, ...]] = (
    _REGISTERED,
    _REPLACE,
    _DATA_CODING,
    _DEFAULT_MESSAGE,
    ShortMessage(),
)
_SUBMIT: Final[tuple[Field, ...]] = (  # 4.4.1
    _SERVICE_TYPE,
    *_source(21),
    *_destination(21),
    *_AFTER_ADDRESSES,
    _SCHEDULE,
    _VALIDITY,
    *_MESSAGE_END,
)
_DELIVER: Final[tuple[Field, ...]] = (  # 4.6.1: times and the two after them are unused and sent as NULL
    _SERVICE_TYPE,
    *_source(21),
    *_destination(21),
    *_AFTER_ADDRESSES,
    Time("schedule_delivery_time", Status.ESME_RINVSCHED, unused=True),
    Time("validity_period", Status.ESME_RINVEXPIRY, unused=True),
    _REGISTERED,
    Octet("replace_if_present_flag", Status.ESME_RINVREPFLAG, range(1)),
    _DATA_CODING,
    Octet("sm_default_msg_id", Status.ESME_RINVDFTMSGID, range(1)),
    ShortMessage(),
)
_SUBMIT_MULTI: Final[tuple[Field, ...]] = (  # 4.5.1
    _SERVICE_TYPE,
    *_source(21),
    Destinations(_DEST_TON, _DEST_NPI, _DEST_ADDR, _LIST_NAME),
    *_AFTER_ADDRESSES,
    _SCHEDULE,
    _VALIDITY,
    *_MESSAGE_END,
)
_DATA: Final[tuple[Field, ...]] = (  # 4.7.1
    _SERVICE_TYPE,
    *_source(65),
    *_destination(65),
    _ESM_CLASS,
    _REGISTERED,
    _DATA_CODING,
)
_QUERY: Final[tuple[Field, ...]] = (_MESSAGE_ID, *_source(21))  # 4.8.1
_QUERY_RESP: Final[tuple[Field, ...]] = (  # 4.8.2
    _MESSAGE_ID,
    Time("final_date", Status.ESME_RQUERYFAIL),
    Octet("message_state", Status.ESME_RQUERYFAIL, range(10)),
    Octet("error_code", Status.ESME_RQUERYFAIL),
)
_CANCEL: Final[tuple[Field, ...]] = (_SERVICE_TYPE, _MESSAGE_ID, *_source(21), *_destination(21))  # 4.9.1
_REPLACE_SM: Final[tuple[Field, ...]] = (  # 4.10.1
    _MESSAGE_ID,
    *_source(21),
    _SCHEDULE,
    _VALIDITY,
    _REGISTERED,
    _DEFAULT_MESSAGE,
    ShortMessage(),
)
_ALERT: Final[tuple[Field, ...]] = (  # 4.12.1
    *_source(65),
    Octet("esme_addr_ton", Status.ESME_RINVDSTTON, TON),
    Octet("esme_addr_npi", Status.ESME_RINVDSTNPI, NPI),
    CString("esme_addr", 65, Status.ESME_RINVDSTADR, "5.2.10"),
)
_BROADCAST: Final[tuple[Field, ...]] = (  # 5.0 4.4.1
    _SERVICE_TYPE,
    *_source(21),
    _MESSAGE_ID,
    _PRIORITY,
    _SCHEDULE,
    _VALIDITY,
    _REPLACE,
    _DATA_CODING,
    _DEFAULT_MESSAGE,
)
_CANCEL_BROADCAST: Final[tuple[Field, ...]] = (_SERVICE_TYPE, _MESSAGE_ID, *_source(21))  # 5.0 4.6.1

_CALLBACK: Final = {Tag.CALLBACK_NUM, Tag.CALLBACK_NUM_PRES_IND, Tag.CALLBACK_NUM_ATAG}
_SAR: Final = {Tag.SAR_MSG_REF_NUM, Tag.SAR_TOTAL_SEGMENTS, Tag.SAR_SEGMENT_SEQNUM}
_PORTS: Final = {Tag.SOURCE_PORT, Tag.DESTINATION_PORT}
_SUBADDRESSES: Final = {Tag.SOURCE_SUBADDRESS, Tag.DEST_SUBADDRESS}
_SUBUNITS: Final = {Tag.SOURCE_ADDR_SUBUNIT, Tag.DEST_ADDR_SUBUNIT}
_DIALOGUE: Final = {Tag.USSD_SERVICE_OP, Tag.ITS_REPLY_TYPE, Tag.ITS_SESSION_INFO}
_RECEIPT: Final = {Tag.RECEIPTED_MESSAGE_ID, Tag.MESSAGE_STATE, Tag.NETWORK_ERROR_CODE}
_NETWORKS: Final = {
    Tag.SOURCE_NETWORK_TYPE,
    Tag.SOURCE_BEARER_TYPE,
    Tag.SOURCE_TELEMATICS_ID,
    Tag.DEST_NETWORK_TYPE,
    Tag.DEST_BEARER_TYPE,
    Tag.DEST_TELEMATICS_ID,
}
_NETWORKS_50: Final = {
    Tag.BILLING_IDENTIFICATION,
    Tag.SOURCE_NETWORK_ID,
    Tag.DEST_NETWORK_ID,
    Tag.SOURCE_NODE_ID,
    Tag.DEST_NODE_ID,
    Tag.DEST_ADDR_NP_RESOLUTION,
    Tag.DEST_ADDR_NP_INFORMATION,
    Tag.DEST_ADDR_NP_COUNTRY,
}
_ANY_MESSAGE: Final = (
    {
        Tag.USER_MESSAGE_REFERENCE,
        Tag.USER_RESPONSE_CODE,
        Tag.PAYLOAD_TYPE,
        Tag.MESSAGE_PAYLOAD,
        Tag.PRIVACY_INDICATOR,
        Tag.LANGUAGE_INDICATOR,
    }
    | _SAR
    | _PORTS
    | _SUBADDRESSES
    | _CALLBACK
    | _NETWORKS_50
)
_TO_HANDSET: Final = {
    Tag.DISPLAY_TIME,
    Tag.SMS_SIGNAL,
    Tag.MS_VALIDITY,
    Tag.MS_MSG_WAIT_FACILITIES,
    Tag.ALERT_ON_MESSAGE_DELIVERY,
}
_SUBMIT_TLVS: Final = (
    _ANY_MESSAGE
    | _SUBUNITS
    | _TO_HANDSET
    | _DIALOGUE
    | _NETWORKS
    | {Tag.MORE_MESSAGES_TO_SEND, Tag.NUMBER_OF_MESSAGES, Tag.SET_DPF, Tag.QOS_TIME_TO_LIVE}
)
_DELIVER_TLVS: Final = (
    _ANY_MESSAGE
    | _SUBUNITS
    | _DIALOGUE
    | _RECEIPT
    | _NETWORKS
    | {Tag.DPF_RESULT, Tag.SET_DPF, Tag.QOS_TIME_TO_LIVE}
)
_DELIVERY_REPORT: Final = {
    Tag.DELIVERY_FAILURE_REASON,
    Tag.NETWORK_ERROR_CODE,
    Tag.ADDITIONAL_STATUS_INFO_TEXT,
    Tag.DPF_RESULT,
}
_BROADCAST_NEEDS: Final = (
    Tag.BROADCAST_AREA_IDENTIFIER,
    Tag.BROADCAST_CONTENT_TYPE,
    Tag.BROADCAST_REP_NUM,
    Tag.BROADCAST_FREQUENCY_INTERVAL,
)
_BROADCAST_TLVS: Final = (
    {
        *_BROADCAST_NEEDS,
        Tag.BROADCAST_CHANNEL_INDICATOR,
        Tag.BROADCAST_CONTENT_TYPE_INFO,
        Tag.BROADCAST_MESSAGE_CLASS,
        Tag.BROADCAST_SERVICE_GROUP,
        Tag.ALERT_ON_MESSAGE_DELIVERY,
        Tag.DISPLAY_TIME,
        Tag.MS_VALIDITY,
        Tag.SMS_SIGNAL,
    }
    | _ANY_MESSAGE
    | _SUBUNITS
    | _NETWORKS
)
_QUERY_BROADCAST_NEEDS: Final = (
    Tag.MESSAGE_STATE,
    Tag.BROADCAST_AREA_IDENTIFIER,
    Tag.BROADCAST_AREA_SUCCESS,
)

TLVS_OF_50: Final = frozenset(
    tag for tag in Tag if Tag.BROADCAST_CHANNEL_INDICATOR <= tag <= Tag.DEST_ADDR_NP_COUNTRY
) | {Tag.CONGESTION_STATE}
"""Optional parameters that 3.4 does not know."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One PDU: its fields, the TLVs it may and must carry, and how an error response looks."""

    command: Command
    table: tuple[Field, ...]
    steps: tuple[Step, ...]
    names: frozenset[str]
    tlvs: frozenset[int]
    needs: tuple[Tag, ...]
    since: int
    bare_on_error: bool  # the body is left out when command_status is not 0
    is_response: bool


def _layout(
    command: Command,
    table: tuple[Field, ...] = (),
    tlvs: set[Tag] | None = None,
    *,
    needs: tuple[Tag, ...] = (),
    since: int = VERSION_34,
    bare_on_error: bool = False,
) -> tuple[int, Layout]:
    is_response = command >= Command.GENERIC_NACK
    allowed: set[int] = set(tlvs or ())
    if is_response:
        allowed.add(Tag.CONGESTION_STATE)  # 5.0 4.8.4.18: any response
    names = frozenset(field.name for field in table)
    row = Layout(
        command, table, plan(table), names, frozenset(allowed), needs, since, bare_on_error, is_response
    )
    return int(command), row


_BIND_RESP: Final = {Tag.SC_INTERFACE_VERSION}

LAYOUTS: Final[dict[int, Layout]] = dict(
    (
        _layout(Command.BIND_RECEIVER, _BIND),
        _layout(Command.BIND_RECEIVER_RESP, (_SYSTEM_ID,), _BIND_RESP),
        _layout(Command.BIND_TRANSMITTER, _BIND),
        _layout(Command.BIND_TRANSMITTER_RESP, (_SYSTEM_ID,), _BIND_RESP),
        _layout(Command.BIND_TRANSCEIVER, _BIND),
        _layout(Command.BIND_TRANSCEIVER_RESP, (_SYSTEM_ID,), _BIND_RESP),
        _layout(Command.OUTBIND, (_SYSTEM_ID, _PASSWORD)),
        _layout(Command.UNBIND),
        _layout(Command.UNBIND_RESP),
        _layout(Command.GENERIC_NACK),
        _layout(Command.ENQUIRE_LINK),
        _layout(Command.ENQUIRE_LINK_RESP),
        _layout(Command.SUBMIT_SM, _SUBMIT, _SUBMIT_TLVS),
        _layout(Command.SUBMIT_SM_RESP, (_MESSAGE_ID,), _DELIVERY_REPORT, bare_on_error=True),
        _layout(Command.SUBMIT_MULTI, _SUBMIT_MULTI, _SUBMIT_TLVS),
        _layout(
            Command.SUBMIT_MULTI_RESP,
            (_MESSAGE_ID, UnsuccessList(_DEST_TON, _DEST_NPI, _DEST_ADDR)),
            _DELIVERY_REPORT,
        ),
        _layout(Command.DELIVER_SM, _DELIVER, _DELIVER_TLVS),
        _layout(Command.DELIVER_SM_RESP, (_MESSAGE_ID,), _DELIVERY_REPORT),
        _layout(Command.DATA_SM, _DATA, _SUBMIT_TLVS | _DELIVER_TLVS),
        _layout(Command.DATA_SM_RESP, (_MESSAGE_ID,), _DELIVERY_REPORT),
        _layout(Command.QUERY_SM, _QUERY),
        _layout(Command.QUERY_SM_RESP, _QUERY_RESP),
        _layout(Command.CANCEL_SM, _CANCEL),
        _layout(Command.CANCEL_SM_RESP),
        _layout(Command.REPLACE_SM, _REPLACE_SM, {Tag.MESSAGE_PAYLOAD}),
        _layout(Command.REPLACE_SM_RESP),
        _layout(Command.ALERT_NOTIFICATION, _ALERT, {Tag.MS_AVAILABILITY_STATUS}),
        _layout(Command.BROADCAST_SM, _BROADCAST, _BROADCAST_TLVS, needs=_BROADCAST_NEEDS, since=VERSION_50),
        _layout(
            Command.BROADCAST_SM_RESP,
            (_MESSAGE_ID,),
            {Tag.BROADCAST_ERROR_STATUS, Tag.BROADCAST_AREA_IDENTIFIER},
            since=VERSION_50,
        ),
        _layout(Command.QUERY_BROADCAST_SM, _QUERY, {Tag.USER_MESSAGE_REFERENCE}, since=VERSION_50),
        _layout(
            Command.QUERY_BROADCAST_SM_RESP,
            (_MESSAGE_ID,),
            {*_QUERY_BROADCAST_NEEDS, Tag.BROADCAST_END_TIME, Tag.USER_MESSAGE_REFERENCE},
            needs=_QUERY_BROADCAST_NEEDS,
            since=VERSION_50,
        ),
        _layout(
            Command.CANCEL_BROADCAST_SM,
            _CANCEL_BROADCAST,
            {Tag.BROADCAST_CONTENT_TYPE, Tag.USER_MESSAGE_REFERENCE},
            since=VERSION_50,
        ),
        _layout(Command.CANCEL_BROADCAST_SM_RESP, since=VERSION_50),
    )
)
