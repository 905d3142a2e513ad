"""The line of simulated terminals: one of them over HDLC, STX or FSK, or many behind one access server on IP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from aircharge.errors import NotSent, WireError
from aircharge.protocols.shell import Ticker, WireShell
from aircharge.wire.fsk_link import FskLink, FskSettings
from aircharge.wire.fsk_link import Role as FskRole
from aircharge.wire.fsk_message import GatewayHeader
from aircharge.wire.hdlc_link import HdlcLink, HdlcSettings
from aircharge.wire.hdlc_link import Role as HdlcRole
from aircharge.wire.lri import Caller
from aircharge.wire.pos_link import CallerBlock, Envelope, Message, Opened, Received, Tpdu
from aircharge.wire.stx import StxLink, StxSettings
from aircharge.wire.tpdu import TpduLink, TpduSettings

__all__ = ["CallFactory", "PosCall", "far_link"]

NII: Final = b"\x00\x03"
_SHORTEST_S: Final = 0.02


def far_link(framing: str, now: float, baud: int = 1200, audio: str = "ulaw", tones: str = "bell202") -> Any:
    """The terminal's end of a line. ``fsk-audio`` needs numpy (the extra ``audio``)."""
    envelope = Envelope(True, CallerBlock.IF_PRESENT)
    if framing == "hdlc":
        return HdlcLink(HdlcSettings(envelope, bit_s=1 / baud), HdlcRole.SECONDARY, now)
    if framing == "stx":
        return StxLink(StxSettings(envelope, octet_s=10 / baud))
    if framing == "fsk":
        return FskLink(FskSettings(octet_s=10 / baud), FskRole.TERMINAL, now)
    if framing == "fsk-audio":
        from aircharge.wire.modem.audio_link import ENCODINGS, AudioLink
        from aircharge.wire.modem.line import AudioLine
        from aircharge.wire.modem.tones import MODEMS

        call = FskLink(FskSettings(), FskRole.TERMINAL, now)
        return AudioLink(call, AudioLine(MODEMS[tones], ENCODINGS[audio]), now)
    if framing in ("tpdu", "fsk-gateway"):
        return TpduLink(TpduSettings(envelope), now)
    raise ValueError(f"framing {framing!r}")


class PosCall(WireShell):
    """One connection; ``exchange`` sends for a terminal, by its TPDU source, and waits for what comes back to it."""

    def __init__(self, link: Any, ticker: Ticker, framing: str, *, split: bool = False) -> None:
        super().__init__(link, ticker)
        self.link = link
        self.is_split = split  # every octet by itself
        self._is_bare = framing in ("fsk", "fsk-audio")
        self._is_gateway = framing == "fsk-gateway"
        self._calls = 0
        self._call_of: dict[bytes, int] = {}  # a gateway's index of the call, by source
        self._has_own_time = framing not in ("tpdu", "fsk-gateway")
        self._alarm: Any = None
        self._opened: Deferred[None] | None = Deferred() if framing in ("fsk", "fsk-audio", "hdlc") else None
        self._waiting: dict[bytes, Deferred[bytes | None]] = {}
        self.ended: Callable[[str], None] = lambda why: None

    def connectionMade(self) -> None:
        super().connectionMade()
        self._set_alarm()

    async def exchange(
        self, octets: bytes, source: bytes = b"\x00\x01", wait_s: float = 30.0, caller: Caller | None = None
    ) -> bytes | None:
        """The answer to a message; None when none comes in time, the line ends, or its terminal asks something else."""
        if self._opened is not None:
            await self._opened_within(wait_s)
        if self.transport is None:
            return None
        answer: Deferred[bytes | None] = Deferred()
        self._answered(source, None)
        self._waiting[source] = answer
        late = self._clock.callLater(wait_s, self._answered, source, None)
        if self._is_gateway:
            self._calls = self._call_of[source] = self._calls % 0xFFFF + 1
            octets = GatewayHeader(0, self._calls).encode(octets)
        message = Message(octets, None if self._is_bare else Tpdu(NII, source), caller)
        try:
            self._write(self.link.send(message, self.now()))
        except (NotSent, WireError):
            self._answered(source, None)
        answer.addBoth(_stopped, late)
        said = await answer
        return said

    async def _opened_within(self, wait_s: float) -> None:
        waiting = self._opened
        assert waiting is not None
        late = self._clock.callLater(wait_s, self._has_opened)
        mine: Deferred[None] = Deferred()
        waiting.addCallback(lambda _: mine.callback(None))
        await mine
        if late.active():
            late.cancel()

    def _has_opened(self) -> None:
        if self._opened is not None and not self._opened.called:
            self._opened.callback(None)

    def _answered(self, source: bytes, said: bytes | None) -> None:
        waiting = self._waiting.pop(source, None)
        if waiting is not None:
            waiting.callback(said)

    def _write(self, data: bytes) -> None:
        transport: Any = self.transport
        if transport is None:
            return
        if self.is_split:
            for at in range(len(data)):
                transport.write(data[at : at + 1])
        elif data:
            transport.write(data)
        self._set_alarm()

    def event_received(self, event: Any) -> None:
        if isinstance(event, Opened):
            self._has_opened()
        elif isinstance(event, Received):
            address, content = event.message.tpdu, event.message.content
            source = address.destination if address else next(iter(self._waiting), b"")
            if self._is_gateway:
                header, content = GatewayHeader.decode(content)
                if header.index != self._call_of.get(source):
                    return  # of a call before
            self._came(source, content)

    def _came(self, source: bytes, content: bytes) -> None:
        """On a call the receipt is on its way before anybody acts on what was said, or puts the receiver down."""
        waiting = self._waiting.pop(source, None)
        if waiting is not None and self._has_own_time:
            self._clock.callLater(_SHORTEST_S, waiting.callback, content)
        elif waiting is not None:
            waiting.callback(content)

    def gone(self, why: str) -> None:
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        self._has_opened()
        for source in list(self._waiting):
            self._answered(source, None)
        self.ended(why)

    def flush(self) -> None:
        super().flush()
        self._set_alarm()

    def _set_alarm(self) -> None:
        if not self._has_own_time or self.transport is None:
            return
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        due = self.link.deadline
        if due is not None:
            self._alarm = self._clock.callLater(max(due - self.now(), _SHORTEST_S), self._wake)

    def _wake(self) -> None:
        self.pump(self.link.tick(self.now()))


def _stopped(result: Any, late: Any) -> Any:
    """The timer of what has ended must not end what came after it."""
    if late.active():
        late.cancel()
    return result


class CallFactory(Factory):
    """Makes calls; for endpoints' ``connect``."""

    noisy = False

    def __init__(
        self,
        clock: Any,
        framing: str = "tpdu",
        baud: int = 1200,
        *,
        split: bool = False,
        audio: str = "ulaw",
        tones: str = "bell202",
    ) -> None:
        self._ticker = Ticker(clock)
        self._framing = framing
        self._baud = baud
        self._split = split
        self._modem = (audio, tones)

    def buildProtocol(self, addr: IAddress | None) -> PosCall:
        link = far_link(self._framing, self._ticker.clock.seconds(), self._baud, *self._modem)
        return PosCall(link, self._ticker, self._framing, split=self._split)
