"""A message on its way from a peer to the answerer: parts joined, receipts taken aside, a status back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aircharge.errors import AirchargeError, WireError
from aircharge.protocols.smpp_peer import PeerInfo
from aircharge.wire.smpp.constants import Command, Status
from aircharge.wire.smpp.message import MobileMessage, assemble, from_pdu
from aircharge.wire.smpp.pdu import Pdu
from aircharge.wire.smpp.receipt import DeliveryReceipt, parse_receipt

if TYPE_CHECKING:
    from aircharge.protocols.smpp_connection import SmppConnection
    from aircharge.protocols.smpp_line import SmppLine

__all__ = ["Answer", "Inbox", "ReceiptReceived"]

Answer = Callable[[MobileMessage, PeerInfo], Awaitable[int]]
"""Gives the command_status of a message's response, once what it stands for is durable."""

ReceiptReceived = Callable[[DeliveryReceipt, PeerInfo], None]


class Inbox:
    """Takes every message of every session. message_ids of our responses do not repeat, restarts included."""

    log = Logger()

    def __init__(
        self, now_ms: Callable[[], int], answer: Answer, receipt_received: ReceiptReceived | None
    ) -> None:
        self._now_ms = now_ms
        self._answer = answer
        self._receipt_received = receipt_received
        self._last_id = (
            now_ms() * 1000
        )  # a million messages a second would be needed to catch up with the clock

    def message_received(self, connection: SmppConnection, line: SmppLine, pdu: Pdu) -> None:
        """Answer one message, now or when the answerer has made up its mind."""
        try:
            message = from_pdu(pdu, line.default_alphabet, line.peer.sent_time_tlv)
            if message.is_receipt:
                self._take_receipt(connection, line, pdu, message)
                return
            whole = message
            if message.part is not None:
                found = assemble(line.parts, line.peer.name, message, self._now_ms(), line.default_alphabet)
                if found is None:  # one part of several: taken, nothing to decide yet
                    self._respond(connection, line, pdu, Status.ESME_ROK)
                    return
                whole = found
        except WireError as error:
            self._respond(connection, line, pdu, error.hint or Status.ESME_RSYSERR)
            return
        Deferred.fromCoroutine(self._answered(connection, line, pdu, whole))

    async def _answered(
        self, connection: SmppConnection, line: SmppLine, pdu: Pdu, message: MobileMessage
    ) -> None:
        try:
            status = await self._answer(message, connection.info)
        except AirchargeError as error:
            self.log.warn("message of {peer} not answered: {error}", peer=line.peer.name, error=error)
            status = Status.ESME_RX_T_APPN  # temporary: the SMS centre delivers again
        except Exception:  # the shell's boundary: a bug above must not leave the peer without its response
            self.log.failure("answering a message of {peer} failed", peer=line.peer.name)
            status = Status.ESME_RSYSERR
        self._respond(connection, line, pdu, status)

    def _take_receipt(
        self, connection: SmppConnection, line: SmppLine, pdu: Pdu, message: MobileMessage
    ) -> None:
        receipt = parse_receipt(pdu, message.data)
        if receipt is None:
            self.log.warn("a delivery receipt of {peer} names no message", peer=line.peer.name)
        elif self._receipt_received is not None:
            try:
                self._receipt_received(receipt, connection.info)
            except Exception:  # the shell's boundary: a receipt is news, its sender is not to blame
                self.log.failure("taking a delivery receipt of {peer} failed", peer=line.peer.name)
        self._respond(connection, line, pdu, Status.ESME_ROK)

    def _respond(self, connection: SmppConnection, line: SmppLine, pdu: Pdu, status: int) -> None:
        fields: dict[str, Any] = {}
        if status == 0 and pdu.command != Command.DELIVER_SM:
            self._last_id += 1
            is_decimal = line.peer.message_id_style == "decimal"
            fields["message_id"] = str(self._last_id) if is_decimal else f"{self._last_id:X}"
        connection.respond(pdu, status, **fields)
