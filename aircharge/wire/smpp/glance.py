"""Who a message is from and to, read from its octets without decoding them: for who has no time to read it."""

from __future__ import annotations

from typing import NamedTuple

from aircharge.wire.smpp.constants import EsmClass

__all__ = ["Glance", "glance"]

_BODY = 16  # octets of the header
_BEFORE_PERIOD = 3  # esm_class, protocol_id, priority_flag
_BEFORE_TEXT = 5  # registered_delivery, replace_if_present_flag, data_coding, sm_default_msg_id, sm_length


class Glance(NamedTuple):
    """Addresses as they stand in the PDU, whether user data has a header, the octets after sm_length."""

    source: bytes
    destination: bytes
    has_header: bool
    said: bytes


def glance(frame: bytes) -> Glance | None:
    """Of a submit_sm or deliver_sm (3.4 section 4.4.1, 4.6.1); None of octets that have no such form.

    It promises nothing: only ``pdu.decode`` says whether a message keeps to the standard.
    """
    try:
        source = frame.index(0, _BODY) + 3  # behind service_type, its TON and NPI
        source_end = frame.index(0, source)
        destination = source_end + 3
        destination_end = frame.index(0, destination)
        schedule_end = frame.index(0, destination_end + 1 + _BEFORE_PERIOD)
        validity_end = frame.index(0, schedule_end + 1)
        esm_class = frame[destination_end + 1]
    except (ValueError, IndexError):
        return None
    return Glance(
        frame[source:source_end],
        frame[destination:destination_end],
        bool(esm_class & EsmClass.UDHI),
        frame[validity_end + 1 + _BEFORE_TEXT :],
    )
