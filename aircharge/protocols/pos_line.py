"""Payment terminals on a connection: one terminal, or the many of an access server or gateway.

Each message is handed to ``answer`` once; its answer goes back under the addresses it came with, whenever it is ready,
if the connection still stands. An answer that finds nobody is counted: the terminal takes its sale back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHandshakeListener, INegotiated
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from zope.interface import implementer

from aircharge.errors import NotSent, WireError
from aircharge.ports import Randomness
from aircharge.protocols.gate import Gate, GateSettings
from aircharge.protocols.pos_place import PosPlace, make_link
from aircharge.protocols.shell import Ticker, WireShell
from aircharge.wire.fsk_message import GatewayHeader
from aircharge.wire.pos_link import Delivered, Ended, Heartbeat, Lost, Malformed, Message, Opened, Received

__all__ = ["Answer", "PosLine", "PosServer"]

log = Logger()

Answer = Callable[[Message], Coroutine[Any, Any, bytes | None]]
"""A terminal's message in, the application's octets out; None: nothing is said."""

Spawn = Callable[[Coroutine[Any, Any, Any]], object]

_SHORTEST_S: Final = 0.02  # no timer runs sooner


@dataclass(frozen=True, slots=True)
class Heard:
    """A message, and the gateway's own header where it came through one."""

    message: Message
    header: GatewayHeader | None = None

    def answer(self, content: bytes) -> Message:
        """The way back."""
        return self.message.answer(self.header.encode(content) if self.header else content)


class PosServer(Factory):
    """Where terminals connect. ``counted``: what was dropped, by reason."""

    noisy = False

    def __init__(
        self, place: PosPlace, ticker: Ticker, answer: Answer, spawn: Spawn, chance: Randomness
    ) -> None:
        self.place = place
        self.counted: Counter[str] = Counter()
        self.lines: dict[PosLine, None] = {}
        self.waiting = 0  # requests that are being answered
        self.is_closing = False
        self._ticker = ticker
        self._answer = answer
        self._spawn = spawn
        self._chance = chance
        self.silence_s = 0.0 if place.is_shared else place.silence_s  # a shared line's link looks itself
        settings = GateSettings(
            place.allow,
            place.connections_max,
            place.connections_per_address_max,
            place.strangers_max,
            place.strangers_per_address_max,
            place.first_octet_s,
        )
        self.gate = Gate(settings, ticker.clock.seconds, f"terminals at {place.name}")

    @property
    def connections(self) -> int:
        return len(self.lines)

    @property
    def refused(self) -> int:
        """Connections that were one too many, or from a strange place."""
        return self.gate.refused

    def buildProtocol(self, addr: IAddress | None) -> PosLine | None:
        host = str(getattr(addr, "host", ""))
        guest = None if self.is_closing else self.gate.admit(host)
        if guest is None:
            return None  # Twisted closes the connection
        line = self.line()
        line.factory = self
        line.let_in(guest)
        return line

    def line(self) -> PosLine:
        """Of a new connection, whoever made it."""
        link, first = make_link(self.place, self._ticker.clock.seconds(), self._chance)
        line = PosLine(self, link, first, self._ticker)
        self.lines[line] = None
        return line

    def close(self) -> None:
        """No new connection, no new request; what is being answered still is."""
        self.is_closing = True

    def hang_up(self) -> None:
        """End every connection."""
        for line in list(self.lines):
            line.hang_up("stopping")

    def take(self, line: PosLine, heard: Heard) -> None:
        """Have a message answered, by itself."""
        line.waiting += 1
        self.waiting += 1
        self._spawn(self._answered(line, heard))

    async def _answered(self, line: PosLine, heard: Heard) -> None:
        try:
            content = await Deferred.fromCoroutine(self._answer(heard.message))
        except Exception:  # a bug in an application must not end the others' line
            log.failure("a terminal's message could not be answered")
            self.counted["failed"] += 1
            return
        finally:
            line.waiting -= 1
            self.waiting -= 1
        if content is None:
            self.counted["silence"] += 1
        elif line.transport is None:
            self.counted["nobody there"] += 1
        else:
            line.say(heard.answer(content))


@implementer(IHandshakeListener)
class PosLine(WireShell):
    """One connection. ``has_spoken``: a sound frame has come."""

    def __init__(self, server: PosServer, link: Any, first: bytes, ticker: Ticker) -> None:
        super().__init__(link, ticker)
        self.link = link
        self.waiting = 0
        self.left: Callable[[], None] = lambda: None
        self.has_spoken = False
        self.since = self.spoken_at = ticker.clock.seconds()
        self._server = server
        self._first = first
        self._alarm: Any = None  # a link on a slow line has deadlines of its own
        self._has_own_time = not server.place.is_shared
        self._shakes_hands = False  # TLS is not up yet
        self._must_speak = server.place.comes_in

    def connectionMade(self) -> None:
        super().connectionMade()
        transport: Any = self.transport
        self._shakes_hands = INegotiated.providedBy(transport)
        if self._first:
            transport.write(self._first)
        self._set_alarm()

    def handshakeCompleted(self) -> None:
        """TLS is up (IHandshakeListener)."""
        self._shakes_hands = False

    def say(self, message: Message) -> None:
        """Write an answer; one the line does not take is counted."""
        try:
            data = self.link.send(message, self.now())
        except (NotSent, WireError) as error:
            self._server.counted["not sent"] += 1
            log.debug("an answer to a terminal was not sent: {why}", why=str(error))
            return
        transport: Any = self.transport
        transport.write(data)
        self.spoken_at = self.now()
        self._set_alarm()

    def event_received(self, event: Any) -> None:
        counted = self._server.counted
        if isinstance(event, Received | Opened | Delivered | Heartbeat):
            self.has_spoken = True
            self.spoken_at = self.now()
            if self.guest is not None:
                self.guest.proved()
        if isinstance(event, Received):
            self._received(event.message)
        elif isinstance(event, Malformed):
            counted["malformed"] += 1
            log.debug("a terminal's frame was dropped: {why}", why=event.why)
        elif isinstance(event, Lost):
            counted["lost"] += 1  # it may have arrived
        elif isinstance(event, Ended):
            counted[f"ended: {event.why.partition(':')[0]}"] += 1
        elif isinstance(event, Heartbeat):
            counted["heartbeat"] += 1

    def _received(self, message: Message) -> None:
        server = self._server
        place = server.place
        is_full = self.waiting >= place.open_max or server.waiting >= place.waiting_max
        if server.is_closing or is_full:
            server.counted["closing" if server.is_closing else "too many open"] += 1
            return
        header = None
        if place.framing == "fsk-gateway":
            try:
                header, content = GatewayHeader.decode(message.content)
            except WireError:
                server.counted["malformed"] += 1
                return
            message = replace(message, content=content)
        server.take(self, Heard(message, header))

    def gone(self, why: str) -> None:
        self._server.lines.pop(self, None)
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        self.left()

    # -- time -------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        why = self._overdue(now)
        if why:
            self.hang_up(why)
        super().tick(now)

    @property
    def _owes_start(self) -> bool:
        return self._shakes_hands or (self._must_speak and not self.has_spoken)

    def _overdue(self, now: float) -> str:
        """Why a connection has stood for too long; "": it has not."""
        place = self._server.place
        if self._owes_start and place.setup_s and now >= self.since + place.setup_s:
            return "not set up"
        silence_s = self._server.silence_s
        is_silent = silence_s and now >= self.spoken_at + silence_s
        return "silence" if is_silent and not self.waiting else ""

    def hang_up(self, why: str) -> None:
        """End the connection from our side; what is written still goes out."""
        if not self.link.has_ended:
            self.pump(self.link.end(why))

    def flush(self) -> None:
        super().flush()
        self._set_alarm()

    def _set_alarm(self) -> None:
        """Wake when the link has something to do; lines over TCP are content with the factory's ticker."""
        if not self._has_own_time or self.transport is None:
            return
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        due = self.link.deadline
        if due is not None:
            self._alarm = self._clock.callLater(max(due - self.now(), _SHORTEST_S), self._wake)

    def _wake(self) -> None:
        self.pump(self.link.tick(self.now()))
