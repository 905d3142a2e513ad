"""A message on its way from a peer to the answerer: parts joined, receipts taken aside, a status back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aircharge.errors import AirchargeError, WireError
from aircharge.protocols.shell import TimeSource
from aircharge.protocols.smpp_peer import PeerInfo
from aircharge.values import mask_msisdn
from aircharge.wire.gsm import Reassembler
from aircharge.wire.gsm_reassembly import Joined
from aircharge.wire.smpp.constants import VERSION_34, Command, Status, status_words
from aircharge.wire.smpp.fields import time_ms
from aircharge.wire.smpp.message import MobileMessage, assemble, from_pdu, parts_key
from aircharge.wire.smpp.pdu import Pdu
from aircharge.wire.smpp.receipt import DeliveryReceipt, parse_receipt

if TYPE_CHECKING:
    from aircharge.protocols.smpp_connection import SmppConnection
    from aircharge.protocols.smpp_line import SmppLine

__all__ = ["Answer", "Inbox", "PartsOf", "ReceiptReceived", "Unjoined"]

Answer = Callable[[MobileMessage, PeerInfo], Awaitable[int]]
"""Gives the command_status of a message's response, once what it stands for is durable."""


@dataclass(frozen=True, slots=True)
class PartsOf:
    """A message of which parts have come: addresses in national digits, its reference, how many parts, the peer."""

    source: str
    destination: str
    ref: int
    wide: bool  # a reference of 16 bits
    total: int
    centre: str = field(default="", compare=False)


class Unjoined(Protocol):
    """Who knows beyond this process which messages wait for parts, and tells senders what came of them."""

    async def began(self, message: PartsOf) -> None:
        """Durable when it returns: only then the first part is answered."""
        ...

    def ended(self, message: PartsOf) -> None:
        """It is whole."""
        ...

    def lost(self, message: PartsOf) -> None:
        """Its other parts did not come: its sender is to be told."""
        ...

    def unreadable(self, source: str, destination: str, centre: str) -> None:
        """A message broke the standard and was refused for good: its sender is to be told."""
        ...


ReceiptReceived = Callable[[DeliveryReceipt, PeerInfo], None]


_PARTS_MESSAGES_MAX: Final = 10_000
_PARTS_AGE_MS: Final = 600_000  # as long as an order is fresh
_PARTS_BYTES_MAX: Final = 4 * 1024 * 1024
_PARTS_LOOK_S: Final = 5.0
_TOLD_AGAIN_S: Final = 600.0
_TYPE: Final = 0x3C  # esm_class bits 5-2: a receipt or an acknowledgement has no sender who waits
_SOON_MS: Final = 60_000  # clocks of two houses


class Inbox:
    """Takes every message of every session. message_ids of our responses do not repeat, restarts included."""

    log = Logger()

    def __init__(
        self,
        clock: TimeSource,
        now_ms: Callable[[], int],
        answer: Answer,
        receipt_received: ReceiptReceived | None,
        unjoined: Unjoined | None = None,
    ) -> None:
        self._clock = clock
        self._unjoined = unjoined
        self._waiting: dict[PartsOf, None] = {}  # known to ``unjoined``
        self._told_s: OrderedDict[tuple[str, str], float] = OrderedDict()  # of what cannot be read
        self._parts = Reassembler(_PARTS_MESSAGES_MAX, _PARTS_AGE_MS, _PARTS_BYTES_MAX)
        self._look: Any = None
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
            if message.is_receipt or parse_receipt(pdu, message.data) is not None:
                self._take_receipt(connection, line, pdu, message)
                return
            if message.is_acknowledgement:  # 3.4 §5.2.12: nobody asks anything
                self._respond(connection, line, pdu, Status.ESME_ROK)
                return
            _refuse_later_ones(pdu, self._now_ms())
            whole, joined = message, None
            if message.part is not None:
                found = assemble(self._parts, "", message, self._age_ms(), line.default_alphabet)
                if found is None:  # one part of several: taken, nothing to decide yet
                    Deferred.fromCoroutine(self._part_taken(connection, line, pdu, message))
                    return
                whole, joined = found, self._parts.take_joined()
                self._look_at_parts()
        except WireError as error:
            status = error.hint or Status.ESME_RSYSERR
            words = f"{pdu.name}, {error.field} {error.why}: {status_words(status)}"
            connection.troubles.tell(line.peer.name, "malformed", words)
            self._respond(connection, line, pdu, status)
            self.unreadable(line, pdu)
            return
        whole = _as_profile_says(whole, line)
        Deferred.fromCoroutine(self._answered(connection, line, pdu, whole, joined))

    def unreadable(self, line: SmppLine, pdu: Pdu) -> None:
        """A message was refused for its form; who sent it hears so, where that can be read, once in ten minutes."""
        source, destination = pdu.fields.get("source_addr", ""), pdu.fields.get("destination_addr", "")
        if not (self._unjoined and source and destination) or pdu.fields.get("esm_class", 0) & _TYPE:
            return
        now_s = self._clock.seconds()
        if now_s - self._told_s.get((source, destination), -_TOLD_AGAIN_S) < _TOLD_AGAIN_S:
            return
        self._told_s.pop((source, destination), None)
        self._told_s[source, destination] = now_s
        if len(self._told_s) > _PARTS_MESSAGES_MAX:
            self._told_s.popitem(last=False)
        self._unjoined.unreadable(source, destination, line.peer.name)

    async def _part_taken(
        self, connection: SmppConnection, line: SmppLine, pdu: Pdu, message: MobileMessage
    ) -> None:
        """Answer a part once it is durable that its message waits for others."""
        status = Status.ESME_ROK
        of = _parts_of(message, line)
        if self._unjoined is not None and of not in self._waiting and self._owes(of):
            self._waiting[of] = None
            try:
                await self._unjoined.began(of)
            except AirchargeError as error:
                self.log.warn("a part of {peer} not taken: {error}", peer=line.peer.name, error=error)
                self._waiting.pop(of, None)
                status = Status.ESME_RX_T_APPN
        self._respond(connection, line, pdu, status)
        self._look_at_parts()

    def _owes(self, of: PartsOf) -> bool:
        return self._parts.owes(("", of.source, of.destination, of.wide), of.ref, of.total)

    def stop(self) -> None:
        """Nothing will be joined any more; senders of what is incomplete are told."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        self._parts.give_up_all()
        self._tell_lost()

    def _age_ms(self) -> int:
        """Parts age by the clock that is never set."""
        return int(self._clock.seconds() * 1000)

    def _look_at_parts(self) -> None:
        """Now, and every few seconds while messages are unfinished."""
        self._parts.expire(self._age_ms())
        self._tell_lost()
        if len(self._parts) and self._look is None:
            self._look = self._clock.callLater(_PARTS_LOOK_S, self._looked)

    def _looked(self) -> None:
        self._look = None
        self._look_at_parts()

    def _tell_lost(self) -> None:
        lost, unjoined = [key[:3] for key in self._parts.take_lost()], self._unjoined
        if unjoined is None:
            return
        for of in [of for of in self._waiting if not self._owes(of)]:
            del self._waiting[of]
            place = ("", of.source, of.destination)
            if place in lost:
                lost.remove(place)
                self.log.warn("a message of {source} came incomplete", source=mask_msisdn(of.source))
                unjoined.lost(of)
            else:
                unjoined.ended(of)

    async def _answered(
        self,
        connection: SmppConnection,
        line: SmppLine,
        pdu: Pdu,
        message: MobileMessage,
        joined: Joined | None,
    ) -> None:
        try:
            status = await self._answer(message, connection.info)
        except AirchargeError as error:
            self.log.warn("message of {peer} not answered: {error}", peer=line.peer.name, error=error)
            status = Status.ESME_RX_T_APPN  # temporary: the SMS centre delivers again
        except Exception:  # the shell's boundary: a bug above must not leave the peer without its response
            self.log.failure("answering a message of {peer} failed", peer=line.peer.name)
            status = Status.ESME_RSYSERR
        if status and joined is not None:  # only its last part will come again
            self._parts.put_back(joined, self._age_ms())
            await self._waits_again(line, joined)
        self._respond(connection, line, pdu, status)

    async def _waits_again(self, line: SmppLine, joined: Joined) -> None:
        (_, source, destination, wide), ref, total, _ = cast(Any, joined[0])
        of = PartsOf(source, destination, ref, wide, total, line.peer.name)
        if self._unjoined is None or not self._owes(of):
            return
        self._waiting[of] = None
        try:
            await self._unjoined.began(of)
        except (
            AirchargeError
        ):  # what refuses the whole refuses this as well; its last part is not acknowledged
            self.log.debug("an unfinished message is known to this process only")

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
            fields["message_id"] = self._message_id(connection, line)
        connection.respond(pdu, status, **fields)

    def _message_id(self, connection: SmppConnection, line: SmppLine) -> str:
        """A number nobody had before; in SMPP 3.3 eight hexadecimal digits is all there is room for."""
        if connection.session.version < VERSION_34:
            return f"{self._last_id & 0xFFFF_FFFF:08X}"
        return str(self._last_id) if line.peer.message_id_style == "decimal" else f"{self._last_id:X}"


def _parts_of(message: MobileMessage, line: SmppLine) -> PartsOf:
    assert message.part is not None
    _, source, destination, wide = parts_key("", message)
    return PartsOf(source, destination, message.part.ref, wide, message.part.total, line.peer.name)


def _refuse_later_ones(pdu: Pdu, now_ms: int) -> None:
    """Raises WireError 0x61: nothing is kept here to be carried out at a later time (3.4 §5.2.15, §7.1.1)."""
    when = pdu.fields.get("schedule_delivery_time", "")
    if pdu.command != Command.SUBMIT_SM or not when:
        return
    if (due_ms := time_ms(when, now_ms)) is None or due_ms > now_ms + _SOON_MS:
        raise WireError(
            "SMPP 3.4", "5.2.15", "not now", field="schedule_delivery_time", hint=Status.ESME_RINVSCHED
        )


def _as_profile_says(message: MobileMessage, line: SmppLine) -> MobileMessage:
    """Text in a data_coding that only this peer's profile knows; octets that are no such text stay binary."""
    codec = line.codecs.get(message.data_coding)
    if codec is None or message.text is not None or message.is_secured:
        return message
    try:
        return replace(message, text=message.data.decode(codec))
    except UnicodeDecodeError:
        return message
