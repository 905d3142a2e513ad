"""A gate before protocols that know nobody by name: pages for machines, control lines of simulators."""

from __future__ import annotations

from functools import partial
from typing import Any, Final, cast

from twisted.internet import protocol
from twisted.internet.interfaces import IAddress
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from aircharge.observe.metrics import Registry
from aircharge.protocols.gate import Gate, GateSettings, Guest
from aircharge.protocols.shell import TimeSource

__all__ = ["Guarded", "watch_gate"]

_AT_ONCE: Final = GateSettings(strangers_max=64, strangers_per_address_max=32)
_LIFE_S: Final = 15.0


class _Watched(ProtocolWrapper):
    """One connection, cut off when its first octet, or its end, is overdue."""

    def __init__(self, factory: Guarded, wrapped: protocol.Protocol, guest: Guest) -> None:
        super().__init__(cast(Any, factory), cast(Any, wrapped))
        self._guest = guest
        self._calls: list[Any] = []
        self._has_heard = False
        guest.end = lambda _: self._cut()

    def connectionMade(self) -> None:
        cast(Any, super()).connectionMade()
        factory = cast(Guarded, self.factory)
        self._calls.append(factory.clock.callLater(self._guest.first_octet_s, self._first_octet_due))
        if factory.life_s:
            self._calls.append(factory.clock.callLater(factory.life_s, self._cut))

    def dataReceived(self, data: bytes) -> None:
        self._has_heard = True
        cast(Any, super()).dataReceived(data)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        for call in self._calls:
            if call.active():
                call.cancel()
        self._guest.left()
        cast(Any, super()).connectionLost(reason)

    def _first_octet_due(self) -> None:
        if not self._has_heard:
            self._guest.said_nothing()
            self._cut()

    def _cut(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            getattr(transport, "abortConnection", transport.loseConnection)()


class Guarded(WrappingFactory):
    """A factory behind a gate: nobody proves anything there, so every connection has a short life.

    ``life_s``: seconds after which a connection ends, whatever it does; 0: it may stay once it has said something.
    """

    noisy = False

    def __init__(self, wrapped: Any, name: str, clock: TimeSource, life_s: float = _LIFE_S) -> None:
        cast(Any, super()).__init__(wrapped)
        self.clock = clock
        self.life_s = life_s
        self.gate = Gate(_AT_ONCE, clock.seconds, name)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        guest = self.gate.admit(str(getattr(addr, "host", "")))
        if guest is None:
            return None
        wrapped = self.wrappedFactory.buildProtocol(cast(Any, addr))
        return None if wrapped is None else _Watched(self, wrapped, guest)


def watch_gate(registry: Registry, gate: Gate) -> None:
    """Show who stands at a gate, and who was turned away and why."""
    registry.gauge(
        "strangers", "connections that have not proved who they are", lambda: gate.strangers, door=gate.name
    )
    for reason in ("strange place", "too many", "gave way", "silent", "wrong"):
        registry.gauge(
            "turned_away",
            "connections refused or cut off, and wrong binds",
            partial(gate.counted.__getitem__, reason),
            door=gate.name,
            reason=reason,
        )
