"""A simulated network: TCP connections between hosts, and the weather they live in.

Octets keep their order and arrive late, in pieces, or, on a half-open connection, never. Whoever has died is heard of
by a reset some time later, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    CannotListenError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
)
from twisted.internet.interfaces import IConnector, IListeningPort, IPushProducer, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from aircharge.world.timeline import Host, Timeline

__all__ = ["Connection", "End", "Network", "Weather"]

_WINDOW: Final = 65_536
"""Octets under way or unread before a sender is told to pause."""


@dataclass(slots=True)
class Weather:
    """How octets travel. ``split``: chance that a write arrives in pieces; ``octets``: … in single octets."""

    latency_min_s: float = 0.001
    latency_max_s: float = 0.010
    split: float = 0.1
    octets: float = 0.01


@implementer(ITCPTransport)
class End:
    """One end of a connection: the transport of one protocol."""

    disconnecting = False

    def __init__(self, connection: Connection, host: Host, port: int) -> None:
        self.connection = connection
        self.host = host
        self.protocol: Any = None
        self.other: End = self
        self.is_over = False
        self.closed: Callable[[Failure], Any] = lambda _reason: None
        self._address = IPv4Address("TCP", "127.0.0.1", port)
        self._producer: Any = None
        self._is_pausing = False
        self._reads = True
        self._unread: list[bytes] = []
        self.arrived_s = 0.0  # when the last thing sent to us arrives
        self.under_way = 0

    # -- what protocols call -----------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self.is_over or self.disconnecting or self.host.is_dead or not data:
            return
        self.connection.carry(self, bytes(data))

    def writeSequence(self, iovec: Any) -> None:
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        if self.is_over or self.disconnecting or self.host.is_dead:
            return
        self.disconnecting = True
        self.connection.close(self, ConnectionDone(), ConnectionDone())

    def abortConnection(self) -> None:
        if not (self.is_over or self.host.is_dead):
            self.disconnecting = True
            self.connection.close(self, ConnectionAborted(), ConnectionLost())

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def pauseProducing(self) -> None:
        self._reads = False

    def resumeProducing(self) -> None:
        self._reads = True
        if self._unread:
            self.connection.timeline.at(self.host, 0.0, self._catch_up)

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> IPv4Address:
        return self.other._address

    def getHost(self) -> IPv4Address:
        return self._address

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is ever delayed on purpose here."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Half-open connections are found by the sessions' own heartbeats; the system's come hours later."""

    def getTcpNoDelay(self) -> bool:
        return True

    def getTcpKeepAlive(self) -> bool:
        return False

    def loseWriteConnection(self) -> None:
        self.loseConnection()

    # -- what the network calls --------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        if self.is_over:
            return
        self._unread.append(data)
        self._catch_up()

    def _catch_up(self) -> None:
        while self._unread and self._reads and not self.is_over and self.protocol is not None:
            data = self._unread.pop(0)
            self.other.acknowledged(len(data))
            self.protocol.dataReceived(data)

    def sent(self, size: int) -> None:
        self.under_way += size
        if self.under_way > _WINDOW and self._producer is not None and not self._is_pausing:
            self._is_pausing = True
            self._producer.pauseProducing()

    def acknowledged(self, size: int) -> None:
        self.under_way -= size
        if self._is_pausing and self.under_way <= _WINDOW // 2:
            self._is_pausing = False
            if self._producer is not None and not self.is_over:
                self._producer.resumeProducing()

    def lost(self, reason: Exception) -> None:
        if self.is_over:
            return
        self.is_over = True
        failure = Failure(reason)
        self.connection.network.forget(self)
        if self.protocol is not None:
            self.protocol.connectionLost(failure)
        self.closed(failure)


class Connection:
    """Two ends and what lies between. ``is_deaf``: nothing arrives any more, and nobody is told."""

    def __init__(self, network: Network, number: int, dialling: Host, listening: Host, port: int) -> None:
        self.network = network
        self.timeline = network.timeline
        self.number = number
        self.port = port
        self.is_deaf = False
        self.ends = (End(self, dialling, 40_000 + number), End(self, listening, port))
        self.ends[0].other, self.ends[1].other = self.ends[1], self.ends[0]

    def carry(self, end: End, data: bytes) -> None:
        """From that end to the other."""
        self.timeline.note("octets", self.number, self.ends.index(end), data)
        end.sent(len(data))
        if self.is_deaf:
            return
        for piece in self.network.pieces(data):
            self._later(end.other, end.other.received, piece)

    def close(self, end: End, ours: Exception, theirs: Exception) -> None:
        """That end has closed; octets under way from it still arrive before the other hears of it."""
        self.timeline.note("close", self.number, self.ends.index(end))
        self.timeline.at(end.host, 0.0, lambda: end.lost(ours))
        if not self.is_deaf:
            self._later(end.other, end.other.lost, theirs)

    def cut(self) -> None:
        """Both ends are told that it is lost, each in its time; what was under way is gone."""
        self.timeline.note("cut", self.number)
        self.is_deaf = True
        for end in self.ends:
            self.timeline.at(
                end.host, self.timeline.now_s + self.network.latency_s(), partial(end.lost, ConnectionLost())
            )

    def _later(self, end: End, call: Callable[[Any], None], argument: Any) -> None:
        end.arrived_s = max(end.arrived_s, self.timeline.now_s + self.network.latency_s())

        def arrive() -> None:
            if not self.is_deaf:
                call(argument)

        self.timeline.at(end.host, end.arrived_s, arrive)


@implementer(IConnector)
class _Connector:
    """Of one connectTCP."""

    def __init__(self, factory: Any, port: int) -> None:
        self.factory = factory
        self.state = "connecting"
        self.transport: Any = None
        self._port = port

    def stopConnecting(self) -> None:
        if self.state == "connecting":
            self.failed(ConnectionAborted())

    def disconnect(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()
        else:
            self.stopConnecting()

    def connect(self) -> None:
        raise NotImplementedError("whoever dials again makes a new connector")

    def getDestination(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", self._port)

    def failed(self, reason: Exception) -> None:
        if self.state == "connecting":
            self.state = "disconnected"
            self.factory.clientConnectionFailed(self, Failure(reason))

    def lost(self, reason: Failure) -> None:
        self.state = "disconnected"
        self.factory.clientConnectionLost(self, reason)


@implementer(IListeningPort)
class _Port:
    def __init__(self, network: Network, host: Host, number: int, factory: Any) -> None:
        self.host = host
        self.number = number
        self.factory = factory
        self._network = network

    def startListening(self) -> None:
        self.factory.doStart()

    def stopListening(self) -> Deferred[None]:
        self._network.unlisten(self)
        self.factory.doStop()
        return succeed(None)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", self.number)


class Network:
    """Who listens where, and every connection there is."""

    def __init__(self, timeline: Timeline, chance: Random) -> None:
        self.timeline = timeline
        self.weather = Weather()
        self.met: Callable[[str], None] = lambda _fault: None
        self._chance = chance
        self._ports: dict[int, list[_Port]] = {}
        self._connections: dict[int, Connection] = {}
        self._numbered = 0

    # -- hosts -----------------------------------------------------------------------------------------------

    def listen(self, host: Host, number: int, factory: Any) -> _Port:
        """A later listener of the same address takes it over, as a standby does. Raises CannotListenError."""
        ports = self._ports.setdefault(number, [])
        if any(port.host is host for port in ports):
            raise CannotListenError("127.0.0.1", number, OSError("address in use"))
        port = _Port(self, host, number, factory)
        ports.append(port)
        port.startListening()
        return port

    def unlisten(self, port: _Port) -> None:
        if port in self._ports[port.number]:
            self._ports[port.number].remove(port)

    def connect(self, host: Host, number: int, factory: Any, timeout_s: float) -> _Connector:
        connector = _Connector(factory, number)
        factory.doStart()
        factory.startedConnecting(connector)
        self.timeline.at(host, self.timeline.now_s + self.latency_s(), lambda: self._meet(connector, host))
        return connector

    def _meet(self, connector: _Connector, host: Host) -> None:
        number = connector.getDestination().port
        ports = self._ports.get(number)
        if connector.state != "connecting":
            return
        if not ports:
            self.timeline.note("refused", host.name, number)
            connector.failed(ConnectionRefusedError())
            return
        port = ports[-1]
        self._numbered += 1
        connection = Connection(self, self._numbered, host, port.host, number)
        self._connections[connection.number] = connection
        self.timeline.note("connection", connection.number, host.name, port.host.name, number)
        near, far = connection.ends
        connector.state, connector.transport = "connected", near
        near.closed = connector.lost
        self.timeline.at(far.host, 0.0, lambda: self._accept(far, port))
        near.protocol = connector.factory.buildProtocol(far.getHost())
        if near.protocol is None:
            near.abortConnection()
        else:
            near.protocol.makeConnection(near)

    def _accept(self, end: End, port: _Port) -> None:
        if end.is_over:
            return
        end.protocol = port.factory.buildProtocol(end.other.getHost())
        if end.protocol is None:
            end.loseConnection()
        else:
            end.protocol.makeConnection(end)

    def host_died(self, host: Host, *, silent: bool) -> None:
        for ports in self._ports.values():
            ports[:] = [port for port in ports if port.host is not host]
        for connection in list(self._connections.values()):
            for end in connection.ends:
                if end.host is host and not end.is_over:
                    end.is_over = True
                    if silent or connection.is_deaf:
                        connection.is_deaf = True
                    else:
                        connection.close(end, ConnectionLost(), ConnectionLost())

    def forget(self, end: End) -> None:
        if end.other.is_over or end.other.host.is_dead:
            self._connections.pop(end.connection.number, None)

    # -- the weather ---------------------------------------------------------------------------------------

    def latency_s(self) -> float:
        weather = self.weather
        latency_s = self._chance.uniform(weather.latency_min_s, weather.latency_max_s)
        if latency_s > 1.0:
            self.met("late octets")
        return latency_s

    def pieces(self, data: bytes) -> list[bytes]:
        """How one write arrives."""
        mark = self._chance.random()
        weather = self.weather
        if mark < weather.octets and len(data) <= 400:
            self.met("octet by octet")
            return [data[place : place + 1] for place in range(len(data))]
        if mark < weather.octets + weather.split and len(data) > 1:
            self.met("in pieces")
            cuts = sorted({self._chance.randrange(1, len(data)) for _ in range(self._chance.randint(1, 3))})
            return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        return [data]

    def between(self, port: int) -> list[Connection]:
        """The living connections to a port, oldest first."""
        return [one for one in self._connections.values() if one.port == port and not one.is_deaf]
