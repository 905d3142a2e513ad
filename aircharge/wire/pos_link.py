"""What the four framings of a payment terminal share: messages with their addresses, events, one try at a time.

A framing is a value fed octets and ``now`` (monotonic seconds). ``receive`` and ``tick`` return events for the
application, ``data_to_send`` what is to be written, ``send`` both queues a message and returns what is to be
written. ``deadline`` says when ``tick`` is wanted next. Nothing here knows a socket or a clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import Final

from aircharge.errors import NotSent, WireError
from aircharge.wire.lri import LRI_OCTETS, Caller, starts_caller_block

__all__ = [
    "TPDU_OCTETS",
    "Attempt",
    "CallerBlock",
    "Delivered",
    "Ended",
    "Envelope",
    "Event",
    "Heartbeat",
    "Link",
    "Lost",
    "Malformed",
    "Message",
    "Opened",
    "Received",
    "Tpdu",
    "earliest",
]

TPDU_OCTETS: Final = 5
_TPDU_ID: Final = 0x60


@dataclass(frozen=True, slots=True)
class Tpdu:
    """Transport PDU: ``60 | destination NII 2 | source 2``. Access servers route answers by the addresses."""

    destination: bytes
    source: bytes

    @classmethod
    def decode(cls, octets: bytes) -> Tpdu:
        """The first five of ``octets``. Raises WireError when they are no TPDU."""
        if len(octets) < TPDU_OCTETS:
            raise WireError("TPDU", "1", f"{len(octets)} octets are too few", field="tpdu")
        if octets[0] != _TPDU_ID:
            raise WireError("TPDU", "1", f"id {octets[0]:02x}, not 60", field="id")
        return cls(octets[1:3], octets[3:5])

    def encode(self) -> bytes:
        """Five octets."""
        assert len(self.destination) == len(self.source) == 2
        return bytes([_TPDU_ID]) + self.destination + self.source

    def swapped(self) -> Tpdu:
        """The way back: both addresses change places, no octet of them changes."""
        return Tpdu(self.source, self.destination)


@dataclass(frozen=True, slots=True)
class Message:
    """What a terminal said, or is to hear: the application's octets and where they belong.

    One connection carries many terminals: ``tpdu.source`` tells them apart.
    """

    content: bytes
    tpdu: Tpdu | None = None
    caller: Caller | None = None

    def answer(self, content: bytes) -> Message:
        """``content`` on its way back to the terminal that sent this."""
        return Message(content, self.tpdu.swapped() if self.tpdu else None)


class CallerBlock(Enum):
    """Whether a caller block stands behind the TPDU."""

    NEVER = "never"
    IF_PRESENT = "if present"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What surrounds the application message inside a frame; a row of the terminal profile."""

    has_tpdu: bool = True
    caller_block: CallerBlock = CallerBlock.IF_PRESENT

    def open(self, frame: bytes) -> Message:
        """The message in ``frame``. Raises WireError when TPDU or caller block are not what the profile says."""
        tpdu = Tpdu.decode(frame) if self.has_tpdu else None
        content = frame[TPDU_OCTETS:] if self.has_tpdu else frame
        caller = None
        wanted = self.caller_block
        if wanted is CallerBlock.ALWAYS or (
            wanted is CallerBlock.IF_PRESENT and starts_caller_block(content)
        ):
            caller = Caller.decode(content[:LRI_OCTETS])
            content = content[LRI_OCTETS:]
        return Message(content, tpdu, caller)

    def close(self, message: Message) -> bytes:
        """The frame for ``message``. Raises WireError when it lacks a TPDU that the profile wants."""
        if self.has_tpdu and message.tpdu is None:
            raise WireError("TPDU", "1", "a message without its address", field="tpdu")
        head = message.tpdu.encode() if self.has_tpdu and message.tpdu else b""
        caller = message.caller.encode() if message.caller else b""
        return head + caller + message.content


@dataclass(frozen=True, slots=True)
class Opened:
    """The link stands; messages may pass."""


@dataclass(frozen=True, slots=True)
class Received:
    """A whole message of the peer, once; its checks hold."""

    message: Message


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A frame that only says "I am here"."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Malformed:
    """A frame was dropped; the link lives on."""

    why: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """The peer has acknowledged our message at the link layer; its application has not said anything yet."""

    message: Message


@dataclass(frozen=True, slots=True)
class Lost:
    """Our message was never acknowledged. It may have arrived all the same."""

    message: Message


@dataclass(frozen=True, slots=True)
class Ended:
    """The link is over: hang up. ``why`` goes to the log."""

    why: str


Event = Opened | Received | Heartbeat | Malformed | Delivered | Lost | Ended


@dataclass(slots=True)
class Attempt:
    """One frame that waits for its acknowledgement: how often it went out and when it goes out again."""

    frame: bytes
    due: float
    message: Message | None = None
    tries: int = 1


class Link(ABC):
    """One line to one peer."""

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.frames_dropped = 0
        self.has_ended = False
        self._out: list[bytes] = []

    @abstractmethod
    def receive(self, data: bytes, now: float) -> list[Event]:
        """Octets from the peer, cut anywhere."""

    @abstractmethod
    def tick(self, now: float) -> list[Event]:
        """Let time pass; call it at ``deadline`` or more often."""

    @property
    @abstractmethod
    def deadline(self) -> float | None:
        """When ``tick`` has something to do, as far as is known now."""

    @abstractmethod
    def _transmit(self, frame: bytes, message: Message, now: float) -> None:
        """Put ``frame`` on the line, or behind what is there. Raises NotSent when there is no room."""

    def send(self, message: Message, now: float) -> bytes:
        """Send ``message``; returns everything that is to be written now.

        Raises NotSent when the link is over or takes nothing now, WireError when the message does not fit.
        """
        if self.has_ended:
            raise NotSent("the link has ended")
        self._transmit(self.envelope.close(message), message, now)
        return self.data_to_send()

    def data_to_send(self) -> bytes:
        """Octets to be written now."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def connection_lost(self) -> list[Event]:
        """The line is gone."""
        return self._end("connection lost")

    def end(self, why: str) -> list[Event]:
        """Hang up, for a reason that the link does not know; Lost events of what is under way, then Ended."""
        return self._end(why)

    def _open_frame(self, frame: bytes) -> Event:
        try:
            return Received(self.envelope.open(frame))
        except WireError as error:
            return self._drop(str(error))

    def _drop(self, why: str) -> Malformed:
        self.frames_dropped += 1
        return Malformed(why)

    def _end(self, why: str) -> list[Event]:
        if self.has_ended:
            return []
        self.has_ended = True
        return [*self._give_up(), Ended(why)]

    def _give_up(self) -> list[Event]:
        """Lost events for what will not be acknowledged any more."""
        return []


def earliest(*times: float | None) -> float | None:
    """The first of ``times`` that is one."""
    return min((time for time in times if time is not None), default=None)
