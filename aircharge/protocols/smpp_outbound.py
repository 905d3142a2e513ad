"""A message of ours as the requests that carry it to a peer, by that peer's profile."""

from __future__ import annotations

from typing import Any, Final

from aircharge.protocols.smpp_line import SmppLine
from aircharge.wire.gsm import Element
from aircharge.wire.smpp.constants import VERSION_34, Command, Tag
from aircharge.wire.smpp.message import outgoing
from aircharge.wire.smpp.pdu import Pdu

__all__ = ["message_pdus"]

_RECEIPT_ON_FINAL: Final = 1  # registered_delivery bits 1-0, 3.4 §5.2.17


def message_pdus(
    line: SmppLine,
    source: str,
    destination: str,
    data: bytes,
    data_coding: int,
    *,
    elements: tuple[Element, ...] = (),
    protocol_id: int = 0,
    reference: int = 0,
    version: int = VERSION_34,
    takes_options: bool = True,
) -> list[Pdu]:
    """Requests without sequence numbers, one a part, in order; ``elements`` stand in the first part's UDH.

    ``version`` and ``takes_options`` are the session's (``Session.version``): a peer of SMPP 3.3 gets no optional
    parameter, one that did not say which version it has gets those only that its profile chose by
    ``long_messages``. Raises WireError for what no PDU can carry.
    """
    peer = line.peer
    others: dict[str, Any] = {"service_type": peer.service_type} if peer.service_type else {}
    asks_receipt = peer.receipts and line.mt_command == Command.SUBMIT_SM
    parts = outgoing(
        source,
        peer.country_code + destination,
        data,
        data_coding,
        line.next_reference() & 0xFF,
        long_as=peer.long_messages if version >= VERSION_34 else "udh",
        default=line.default_alphabet,
        elements=elements,
        source_ton=peer.source_ton,
        source_npi=peer.source_npi,
        dest_ton=peer.destination_ton,
        dest_npi=peer.destination_npi,
        registered_delivery=_RECEIPT_ON_FINAL if asks_receipt else 0,
        protocol_id=protocol_id,
        **others,
    )
    may_refer = takes_options and version >= VERSION_34 and peer.user_message_reference
    own = ((Tag.USER_MESSAGE_REFERENCE, reference & 0xFFFF),) if reference and may_refer else ()
    return [Pdu(line.mt_command, 0, 0, fields, (*own, *tlvs)) for fields, tlvs in parts]
