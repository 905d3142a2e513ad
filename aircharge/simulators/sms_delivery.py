"""A mobile-originated message's way: deliver, hear the answer, deliver again when none came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aircharge.errors import InDoubt, LinkError, WireError
from aircharge.protocols.smpp import SmppGateway
from aircharge.wire.gsm import Element
from aircharge.wire.smpp.constants import Command, Status, Tag
from aircharge.wire.smpp.message import outgoing
from aircharge.wire.smpp.pdu import Pdu
from aircharge.wire.smpp.tlv import Tlv

__all__ = ["Delivery", "Faults", "Postman", "Redelivery"]

TEMPORARY: Final = frozenset(
    (Status.ESME_RTHROTTLED, Status.ESME_RMSGQFUL, Status.ESME_RX_T_APPN, Status.ESME_RSYSERR)
)
"""What makes an SMS centre try again later; any other status ends the message."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong by itself; probabilities of 0 to 1 for each message."""

    redeliver: float = 0.0  # delivered once more although it was answered
    duplicate: float = 0.0  # delivered twice at once
    drop_response: float = 0.0  # the answer is lost on its way to us
    delay_s: float = 0.0  # at most so long on the radio, even chance

    def changed(self, changes: dict[str, Any]) -> Faults:
        """Raises TypeError for a fault that does not exist."""
        return replace(self, **{name: float(value) for name, value in changes.items()})


@dataclass(frozen=True, slots=True)
class Redelivery:
    """When a message that was not answered is delivered again."""

    delay_s: float = 2.0
    tries_max: int = 30


@dataclass(slots=True, eq=False)
class Delivery:
    """One message on its way. ``status`` is the last command_status heard, None before."""

    number: int
    sender: str
    pdus: list[tuple[dict[str, Any], tuple[Tlv, ...]]]
    status: int | None = None
    tries: int = 0
    ignored: int = 0
    done: bool = False
    ends: list[Deferred[None]] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        return {"message": self.number, "status": self.status, "tries": self.tries, "done": self.done}


class Postman:
    """Delivers messages over whoever is bound. ``chance`` gives floats of [0, 1)."""

    log = Logger()

    def __init__(
        self,
        clock: Any,
        gateway: SmppGateway,
        command: int,
        chance: Callable[[], float],
        redelivery: Redelivery | None = None,
    ) -> None:
        self._clock = clock
        self._gateway = gateway
        self._command = command
        self._chance = chance
        self._redelivery = redelivery or Redelivery()
        self._turn = 0
        self.faults = Faults()
        self.responses_to_drop = 0
        self.sent: dict[str, list[Delivery]] = {}
        self.delivered = self.redelivered = self.refused = self._numbered = 0

    # What the centre asks

    def write(
        self,
        sender: str,
        destination: str,
        data: bytes,
        data_coding: int,
        *,
        elements: tuple[Element, ...] = (),
        tlvs: tuple[Tlv, ...] = (),
    ) -> Delivery:
        """A new message in as many PDUs as it needs; not on its way yet."""
        self._numbered += 1
        parts = outgoing(
            sender,
            destination,
            data,
            data_coding,
            self._numbered & 0xFF or 1,
            elements=elements,
            source_ton=1,
        )
        delivery = Delivery(self._numbered, sender, [(fields, (*tlvs, *more)) for fields, more in parts])
        self.sent.setdefault(sender, []).append(delivery)
        return delivery

    async def send(self, delivery: Delivery, wait_s: float = 5.0) -> dict[str, Any]:
        """Start it; what is known when it has ended, or after ``wait_s``."""
        delay_s = self._chance() * self.faults.delay_s if self.faults.delay_s else 0.0
        copies = 2 if self._chance() < self.faults.duplicate else 1
        for _ in range(copies):
            self._clock.callLater(delay_s, self._start, delivery)
        await self._ended(delivery, wait_s)
        return delivery.shown()

    async def again(self, delivery: Delivery, wait_s: float = 5.0) -> dict[str, Any]:
        """Deliver it once more as an SMS centre does: the same message in new PDUs."""
        self.redelivered += 1
        delivery.done = False
        self._start(delivery)
        await self._ended(delivery, wait_s)
        return delivery.shown()

    def last(self, sender: str) -> Delivery:
        """The last message of that number; raises ValueError."""
        if not self.sent.get(sender):
            raise ValueError("that handset has sent nothing yet")
        return self.sent[sender][-1]

    @property
    def open(self) -> int:
        """Messages not yet ended."""
        return sum(not one.done for many in self.sent.values() for one in many)

    # One try

    def _start(self, delivery: Delivery) -> None:
        Deferred.fromCoroutine(self._attempt(delivery)).addErrback(
            lambda failure: self.log.failure("a delivery broke", failure=failure)
        )

    async def _attempt(self, delivery: Delivery) -> None:
        delivery.tries += 1
        status = await self._deliver(delivery)
        if status is not None:
            delivery.status = status
        if status is None or status in TEMPORARY:
            if delivery.tries < self._redelivery.tries_max:
                self.redelivered += 1
                self._clock.callLater(self._redelivery.delay_s, self._start, delivery)
                return
        elif status == 0:
            self.delivered += 1
        else:
            self.refused += 1
        self._end(delivery)
        if status == 0 and self._chance() < self.faults.redeliver:
            self.redelivered += 1
            self._clock.callLater(self._redelivery.delay_s, self._start, delivery)

    async def _deliver(self, delivery: Delivery) -> int | None:
        """All parts; the worst status, or None when an answer is missing, lost, or nobody is bound."""
        bound = [connection for line in self._gateway.lines for connection in line.bound]
        if not bound:
            return None
        self._turn += 1
        connection = bound[self._turn % len(bound)]
        statuses: list[int | None] = []
        for fields, tlvs in delivery.pdus:
            try:
                answer = await connection.request(Pdu(self._command, 0, 0, dict(fields), tlvs))
            except InDoubt:
                statuses.append(None)
                continue
            except (LinkError, WireError) as error:
                self.log.debug("message {number} not written: {why}", number=delivery.number, why=str(error))
                return None
            statuses.append(None if self._loses(delivery) else answer.status)
        if None in statuses:
            return None
        return max(status for status in statuses if status is not None)

    def _loses(self, delivery: Delivery) -> bool:
        """Whether the answer never reaches us."""
        if delivery.ignored:
            delivery.ignored -= 1
            return True
        if self.responses_to_drop:
            self.responses_to_drop -= 1
            return True
        return self.faults.drop_response > 0 and self._chance() < self.faults.drop_response

    # Its end

    def _end(self, delivery: Delivery) -> None:
        delivery.done = True
        ends, delivery.ends = delivery.ends, []
        for end in ends:
            end.callback(None)

    async def _ended(self, delivery: Delivery, wait_s: float) -> None:
        if delivery.done or wait_s <= 0:
            return
        end: Deferred[None] = Deferred()
        delivery.ends.append(end)
        timer = self._clock.callLater(wait_s, self._give_up, delivery, end)
        await end
        if timer.active():
            timer.cancel()

    def _give_up(self, delivery: Delivery, end: Deferred[None]) -> None:
        delivery.ends.remove(end)
        end.callback(None)


def command_of(name: str) -> int:
    """What carries our messages: deliver_sm or submit_sm."""
    return {"deliver_sm": Command.DELIVER_SM, "submit_sm": Command.SUBMIT_SM}[name]


def reference_tlv(reference: int) -> Tlv:
    """user_message_reference (SMPP 3.4 section 5.3.2.17)."""
    return (Tag.USER_MESSAGE_REFERENCE, reference & 0xFFFF)
