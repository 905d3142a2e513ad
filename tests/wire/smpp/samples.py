"""Every PDU that we can build, once plain and once with all it may carry. Invented content."""

from __future__ import annotations

from typing import Any

from aircharge.wire.smpp.constants import RESPONSE_BIT, Command, Status, Tag
from aircharge.wire.smpp.fields import Destination, DistributionList, Unsuccess
from aircharge.wire.smpp.pdu import Pdu
from aircharge.wire.smpp.tlv import Tlv

C = Command
SOURCE = {"source_addr_ton": 1, "source_addr_npi": 1, "source_addr": "8613800138000"}
DEST = {"dest_addr_ton": 0, "dest_addr_npi": 1, "destination_addr": "0353911"}
BIND = {
    "system_id": "airsmsc",
    "password": "secret12",
    "system_type": "CHARGE",
    "interface_version": 0x34,
    "addr_ton": 1,
    "addr_npi": 1,
    "address_range": "^0353",
}
MESSAGE: dict[str, Any] = {
    "service_type": "CMT",
    **SOURCE,
    **DEST,
    "esm_class": 0,
    "protocol_id": 0,
    "priority_flag": 1,
    "registered_delivery": 1,
    "data_coding": 8,
    "short_message": "充值50元".encode("utf-16-be"),
}
TIMES = {"schedule_delivery_time": "261123040000028+", "validity_period": "000000010000000R"}
SAR: tuple[Tlv, ...] = (
    (Tag.SAR_MSG_REF_NUM, 0x1234),
    (Tag.SAR_TOTAL_SEGMENTS, 2),
    (Tag.SAR_SEGMENT_SEQNUM, 1),
)
DELIVER_TLVS: tuple[Tlv, ...] = (
    (Tag.USER_MESSAGE_REFERENCE, 4711),
    (Tag.SOURCE_PORT, 9200),
    (Tag.DESTINATION_PORT, 9201),
    *SAR,
    (Tag.USER_RESPONSE_CODE, 3),
    (Tag.PRIVACY_INDICATOR, 1),
    (Tag.PAYLOAD_TYPE, 0),
    (Tag.CALLBACK_NUM, bytes.fromhex("010101") + b"13800138000"),
    (Tag.SOURCE_SUBADDRESS, b"\xa00742"),
    (Tag.DEST_SUBADDRESS, b"\xa04131"),
    (Tag.LANGUAGE_INDICATOR, 1),
    (Tag.ITS_SESSION_INFO, 0x0203),
    (Tag.NETWORK_ERROR_CODE, b"\x03\x00\x11"),
    (Tag.MESSAGE_STATE, 2),
    (Tag.RECEIPTED_MESSAGE_ID, "0A1B2C3D"),
)
SUBMIT_TLVS: tuple[Tlv, ...] = (
    *DELIVER_TLVS[:2],
    (Tag.SOURCE_ADDR_SUBUNIT, 3),
    (Tag.DEST_ADDR_SUBUNIT, 1),
    *SAR,
    (Tag.MORE_MESSAGES_TO_SEND, 1),
    (Tag.PRIVACY_INDICATOR, 0),
    (Tag.CALLBACK_NUM, bytes.fromhex("010101") + b"13800138000"),
    (Tag.CALLBACK_NUM, bytes.fromhex("010101") + b"13800138001"),
    (Tag.CALLBACK_NUM_PRES_IND, 1),
    (Tag.CALLBACK_NUM_ATAG, b"\x00Alice"),
    (Tag.DISPLAY_TIME, 1),
    (Tag.SMS_SIGNAL, 0x0101),
    (Tag.MS_VALIDITY, 1),
    (Tag.MS_MSG_WAIT_FACILITIES, 0x81),
    (Tag.NUMBER_OF_MESSAGES, 9),
    (Tag.ALERT_ON_MESSAGE_DELIVERY, b""),
    (Tag.ITS_REPLY_TYPE, 2),
    (Tag.ITS_SESSION_INFO, 0x0203),
    (Tag.USSD_SERVICE_OP, 2),
    (0x1401, b"vendor"),
)
PAYLOAD: tuple[Tlv, ...] = ((Tag.MESSAGE_PAYLOAD, b"x" * 300),)
DATA = {
    "service_type": "CMT",
    **SOURCE,
    **DEST,
    "esm_class": 3,
    "registered_delivery": 1,
    "data_coding": 4,
}
SM_ID = {"message_id": "0A1B2C3D"}
REPORT: tuple[Tlv, ...] = (
    (Tag.DELIVERY_FAILURE_REASON, 1),
    (Tag.NETWORK_ERROR_CODE, b"\x03\x00\x11"),
    (Tag.ADDITIONAL_STATUS_INFO_TEXT, "absent subscriber"),
    (Tag.DPF_RESULT, 1),
)

SAMPLES_34: list[Pdu] = [
    *(
        Pdu(command, 1, 0, dict(BIND))
        for command in (C.BIND_RECEIVER, C.BIND_TRANSMITTER, C.BIND_TRANSCEIVER)
    ),
    *(
        Pdu(command | RESPONSE_BIT, 1, 0, {"system_id": "aircharge"}, ((Tag.SC_INTERFACE_VERSION, 0x34),))
        for command in (C.BIND_RECEIVER, C.BIND_TRANSMITTER, C.BIND_TRANSCEIVER)
    ),
    *(
        Pdu(command | RESPONSE_BIT, 1, Status.ESME_RBINDFAIL)
        for command in (C.BIND_RECEIVER, C.BIND_TRANSMITTER, C.BIND_TRANSCEIVER)
    ),
    Pdu(C.OUTBIND, 1, 0, {"system_id": "airsmsc", "password": "secret12"}),
    Pdu(C.UNBIND, 2),
    Pdu(C.UNBIND_RESP, 2),
    Pdu(C.GENERIC_NACK, 2, Status.ESME_RINVCMDID),
    Pdu(C.ENQUIRE_LINK, 0x7FFFFFFF),
    Pdu(C.ENQUIRE_LINK_RESP, 0x7FFFFFFF),
    Pdu(C.SUBMIT_SM, 3, 0, {**SOURCE, **DEST}),
    Pdu(C.SUBMIT_SM, 3, 0, {**MESSAGE, **TIMES}, SUBMIT_TLVS),
    Pdu(C.SUBMIT_SM, 3, 0, {**MESSAGE, "short_message": bytes(254), "data_coding": 4}),
    Pdu(C.SUBMIT_SM, 3, 0, {**MESSAGE, "short_message": b""}, PAYLOAD),
    Pdu(C.SUBMIT_SM, 3, 0, {**MESSAGE, "esm_class": 0x40, "short_message": bytes.fromhex("0270000018")}),
    Pdu(C.SUBMIT_SM_RESP, 3, 0, dict(SM_ID)),
    Pdu(C.SUBMIT_SM_RESP, 3, Status.ESME_RTHROTTLED),
    Pdu(C.SUBMIT_SM_RESP, 3, Status.ESME_RX_T_APPN),
    Pdu(
        C.SUBMIT_MULTI,
        4,
        0,
        {
            **{name: value for name, value in MESSAGE.items() if name not in DEST},
            **TIMES,
            "dest_addresses": (
                Destination(1, 1, "8613800138000"),
                DistributionList("outlets"),
                Destination(0, 1, "10010"),
            ),
        },
        SUBMIT_TLVS[:5],
    ),
    Pdu(
        C.SUBMIT_MULTI_RESP,
        4,
        0,
        {**SM_ID, "unsuccess_smes": (Unsuccess(1, 1, "8613800138000", 11), Unsuccess(0, 1, "10010", 20))},
    ),
    Pdu(C.SUBMIT_MULTI_RESP, 4, Status.ESME_RINVNUMDESTS),
    Pdu(C.DELIVER_SM, 5, 0, {**SOURCE, **DEST}),
    Pdu(C.DELIVER_SM, 5, 0, dict(MESSAGE), DELIVER_TLVS),
    Pdu(C.DELIVER_SM, 5, 0, {**MESSAGE, "short_message": b""}, PAYLOAD),
    Pdu(C.DELIVER_SM_RESP, 5),
    Pdu(C.DELIVER_SM_RESP, 5, Status.ESME_RX_T_APPN),
    Pdu(C.DATA_SM, 6, 0, dict(DATA), PAYLOAD),
    Pdu(
        C.DATA_SM,
        6,
        0,
        dict(DATA),
        (
            *PAYLOAD,
            (Tag.SOURCE_NETWORK_TYPE, 1),
            (Tag.SOURCE_BEARER_TYPE, 1),
            (Tag.SOURCE_TELEMATICS_ID, 1),
            (Tag.DEST_NETWORK_TYPE, 1),
            (Tag.DEST_BEARER_TYPE, 1),
            (Tag.DEST_TELEMATICS_ID, 1),
            (Tag.QOS_TIME_TO_LIVE, 86400),
            (Tag.SET_DPF, 1),
        ),
    ),
    Pdu(C.DATA_SM_RESP, 6, 0, dict(SM_ID)),
    Pdu(C.DATA_SM_RESP, 6, Status.ESME_RDELIVERYFAILURE, {"message_id": ""}, REPORT),
    Pdu(C.QUERY_SM, 7, 0, {**SM_ID, **SOURCE}),
    Pdu(
        C.QUERY_SM_RESP,
        7,
        0,
        {**SM_ID, "final_date": "261123040000028+", "message_state": 2, "error_code": 0},
    ),
    Pdu(C.QUERY_SM_RESP, 7, Status.ESME_RQUERYFAIL, {"message_state": 7}),
    Pdu(C.CANCEL_SM, 8, 0, {"service_type": "CMT", **SM_ID, **SOURCE, **DEST}),
    Pdu(C.CANCEL_SM_RESP, 8),
    Pdu(C.CANCEL_SM_RESP, 8, Status.ESME_RCANCELFAIL),
    Pdu(C.REPLACE_SM, 9, 0, {**SM_ID, **SOURCE, **TIMES, "registered_delivery": 1, "short_message": b"50"}),
    Pdu(C.REPLACE_SM_RESP, 9),
    Pdu(C.REPLACE_SM_RESP, 9, Status.ESME_RREPLACEFAIL),
    Pdu(
        C.ALERT_NOTIFICATION,
        10,
        0,
        {**SOURCE, "esme_addr_ton": 0, "esme_addr_npi": 1, "esme_addr": "0353911"},
        ((Tag.MS_AVAILABILITY_STATUS, 0),),
    ),
]
"""Legal for a peer of 3.4."""

AREA = b"\x00Yangquan"
SAMPLES_50: list[Pdu] = [
    Pdu(C.SUBMIT_SM_RESP, 3, 0, dict(SM_ID), ((Tag.CONGESTION_STATE, 42),)),
    Pdu(C.SUBMIT_SM, 3, 0, {**MESSAGE, "short_message": bytes(255), "data_coding": 4}),
    Pdu(
        C.SUBMIT_SM,
        3,
        0,
        dict(MESSAGE),
        (
            (Tag.BILLING_IDENTIFICATION, b"\x00bill"),
            (Tag.SOURCE_NETWORK_ID, "4600001"),
            (Tag.DEST_NETWORK_ID, "4600002"),
            (Tag.SOURCE_NODE_ID, b"123456"),
            (Tag.DEST_NODE_ID, b"654321"),
            (Tag.DEST_ADDR_NP_RESOLUTION, 1),
            (Tag.DEST_ADDR_NP_INFORMATION, b"1234567890"),
            (Tag.DEST_ADDR_NP_COUNTRY, b"00086"),
        ),
    ),
    Pdu(
        C.BROADCAST_SM,
        11,
        0,
        {"service_type": "CBS", **SOURCE, "message_id": "", "priority_flag": 1, "data_coding": 0, **TIMES},
        (
            (Tag.BROADCAST_AREA_IDENTIFIER, AREA),
            (Tag.BROADCAST_AREA_IDENTIFIER, b"\x00Pingding"),
            (Tag.BROADCAST_CONTENT_TYPE, b"\x01\x00\x00"),
            (Tag.BROADCAST_REP_NUM, 3),
            (Tag.BROADCAST_FREQUENCY_INTERVAL, b"\x09\x00\x05"),
            (Tag.BROADCAST_CHANNEL_INDICATOR, 0),
            (Tag.BROADCAST_MESSAGE_CLASS, 1),
            (Tag.BROADCAST_SERVICE_GROUP, b"outlets"),
            (Tag.BROADCAST_CONTENT_TYPE_INFO, b"info"),
            (Tag.MESSAGE_PAYLOAD, b"maintenance at 02:00"),
        ),
    ),
    Pdu(C.BROADCAST_SM_RESP, 11, 0, dict(SM_ID), ((Tag.BROADCAST_ERROR_STATUS, 0x10D),)),
    Pdu(C.QUERY_BROADCAST_SM, 12, 0, {**SM_ID, **SOURCE}, ((Tag.USER_MESSAGE_REFERENCE, 4711),)),
    Pdu(
        C.QUERY_BROADCAST_SM_RESP,
        12,
        0,
        dict(SM_ID),
        (
            (Tag.MESSAGE_STATE, 2),
            (Tag.BROADCAST_AREA_IDENTIFIER, AREA),
            (Tag.BROADCAST_AREA_SUCCESS, 100),
            (Tag.BROADCAST_END_TIME, "261123040000028+"),
        ),
    ),
    Pdu(
        C.CANCEL_BROADCAST_SM,
        13,
        0,
        {"service_type": "CBS", **SM_ID, **SOURCE},
        ((Tag.BROADCAST_CONTENT_TYPE, b"\x01\x00\x00"),),
    ),
    Pdu(C.CANCEL_BROADCAST_SM_RESP, 13),
]
"""Need a peer of 5.0."""
