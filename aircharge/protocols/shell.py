"""The Twisted shell of any wire session: bytes in, bytes out, ticks, bounds. It decides nothing.

A wire session offers ``receive(data, now)``, ``tick(now)``, ``connection_lost()`` (each returns events),
``data_to_send()`` and ``has_ended``. Twisted's transport gathers the writes of one reactor turn by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from twisted.internet import protocol
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from aircharge.protocols.gate import Guest

__all__ = ["Ticker", "TimeSource", "WireSession", "WireShell"]


class TimeSource(Protocol):
    """A reactor or a ``task.Clock``: Twisted's IReactorTime, spelt for the type checker."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> Any: ...


class WireSession(Protocol):
    """What a shell needs of a session; times are monotonic seconds."""

    @property
    def has_ended(self) -> bool: ...

    def receive(self, data: bytes, now: float) -> list[Any]: ...

    def tick(self, now: float) -> list[Any]: ...

    def connection_lost(self) -> list[Any]: ...

    def data_to_send(self) -> bytes: ...


class Ticker:
    """One timer for all shells of a factory: thousands of idle connections cost one delayed call a second."""

    def __init__(self, clock: TimeSource, interval_s: float = 1.0) -> None:
        self.clock = clock
        self._interval_s = interval_s
        self._shells: dict[WireShell, None] = {}
        self._call: Any = None

    def join(self, shell: WireShell) -> None:
        self._shells[shell] = None
        if self._call is None:
            self._call = self.clock.callLater(self._interval_s, self._tick)

    def leave(self, shell: WireShell) -> None:
        self._shells.pop(shell, None)
        if not self._shells and self._call is not None:
            self._call.cancel()
            self._call = None

    def _tick(self) -> None:
        self._call = None
        now = self.clock.seconds()
        for shell in list(self._shells):
            shell.tick(now)
        if self._shells and self._call is None:
            self._call = self.clock.callLater(self._interval_s, self._tick)


@implementer(IPushProducer)
class WireShell(protocol.Protocol):
    """Pumps one connection. A protocol gives it a session and overrides ``event_received`` and ``gone``."""

    stall_s = 30.0  # a peer that reads nothing for so long is cut off
    linger_s = 5.0  # what is left to write after the end gets so long
    guest: Guest | None = None  # what the gate that let it in knows of it

    def __init__(self, session: WireSession, ticker: Ticker) -> None:
        self.session = session
        self._ticker = ticker
        self._clock = ticker.clock
        self._stalled_since: float | None = None
        self.has_heard = False
        self._closing_since: float | None = None
        self._is_watching = False

    # For the protocol

    def let_in(self, guest: Guest) -> None:
        """The gate let this connection in; it may have to give way."""
        self.guest = guest
        guest.end = lambda _: self._abort()

    def event_received(self, event: Any) -> None:
        """One event of the session, in order."""
        raise NotImplementedError

    def gone(self, why: str) -> None:
        """The connection is over; said once, after the last event."""

    def now(self) -> float:
        return self._clock.seconds()

    def pump(self, events: Iterable[Any] = ()) -> None:
        """Pass events on, then write what the session has to say and close when it has ended."""
        for event in events:
            self.event_received(event)
        self.flush()

    def flush(self) -> None:
        session = self.session
        transport: Any = self.transport
        data = session.data_to_send()
        if data and transport is not None:
            transport.write(data)
        if session.has_ended and self._closing_since is None:
            self._closing_since = self.now()
            if transport is not None:
                self._stop_watching(transport)
                transport.loseConnection()

    def tick(self, now: float) -> None:
        """Once an interval, from the Ticker."""
        stalled = self._stalled_since is not None and now - self._stalled_since >= self.stall_s
        lingering = self._closing_since is not None and now - self._closing_since >= self.linger_s
        guest = self.guest
        silent = guest is not None and not self.has_heard and guest.is_overdue(now)
        if guest is not None and silent:
            guest.said_nothing()
        if stalled or lingering or silent:
            self._abort()
        elif self._closing_since is None:
            self.pump(self.session.tick(now))

    # For Twisted

    def connectionMade(self) -> None:
        transport: Any = self.transport
        for name in ("setTcpNoDelay", "setTcpKeepAlive"):
            option = getattr(transport, name, None)  # a TLS or test transport may have none
            if option is not None:
                option(True)
        self._is_watching = True
        transport.registerProducer(self, True)
        self._ticker.join(self)
        self.flush()

    def dataReceived(self, data: bytes) -> None:
        self.has_heard = True
        self.pump(self.session.receive(data, self._clock.seconds()))

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self._ticker.leave(self)
        self._stop_watching(self.transport)
        self.transport = None
        for event in self.session.connection_lost():
            self.event_received(event)
        if self.guest is not None:
            self.guest.left()
        self.gone(reason.getErrorMessage())

    def pauseProducing(self) -> None:
        """The peer reads too slowly: read nothing from it either, so that what we owe it stays bounded.

        Before its first octet we owe it nothing, and TLS also says this while it waits to read its handshake.
        """
        if self._stalled_since is None:
            self._stalled_since = self.now()
            transport: Any = self.transport
            if self.has_heard:
                transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._stalled_since = None
        transport: Any = self.transport
        if transport is not None and self._closing_since is None:
            transport.resumeProducing()

    def stopProducing(self) -> None:
        """Twisted says this when the connection is being lost; ``connectionLost`` follows."""

    def _stop_watching(self, transport: Any) -> None:
        """TLS closes only once no producer is registered."""
        if self._is_watching:
            self._is_watching = False
            transport.unregisterProducer()

    def _abort(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            abort = getattr(transport, "abortConnection", transport.loseConnection)
            abort()
