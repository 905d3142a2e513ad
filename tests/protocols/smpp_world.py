"""A server, clients and hand-made peers on ``StringTransport`` and ``task.Clock``: no reactor runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from aircharge.protocols.smpp import PeerInfo, SmppGateway, SmppPeer, SmppServer
from aircharge.protocols.smpp_connection import SmppConnection
from aircharge.wire.smpp.constants import Command
from aircharge.wire.smpp.message import MobileMessage
from aircharge.wire.smpp.pdu import Pdu, decode, encode

PEER = SmppPeer(name="smsc", system_id="smsc", enquire_link_s=0.0)
PASSWORD = "secret"
NOW_MS = 1_790_000_000_000


def frames(data: bytes) -> list[Pdu]:
    found = []
    while data:
        length = int.from_bytes(data[:4], "big")
        found.append(decode(data[:length]))
        data = data[length:]
    return found


class Wire(StringTransport):
    """StringTransport that knows aborting and remembers TCP options."""

    def __init__(self, host: str = "10.0.0.1") -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, 40000))
        self.options: dict[str, bool] = {}
        self.was_aborted = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.options["nodelay"] = enabled

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.options["keepalive"] = enabled

    def abortConnection(self) -> None:
        self.was_aborted = self.disconnecting = True


class Line:
    """One connection and what a peer at its other end sees and says."""

    def __init__(self, connection: SmppConnection, host: str = "10.0.0.1") -> None:
        self.connection = connection
        self.wire = Wire(host)
        connection.makeConnection(self.wire)
        self._sequence = 0

    def said(self) -> list[Pdu]:
        data = self.wire.value()
        self.wire.clear()
        return frames(data)

    def say(self, command: int, status: int = 0, sequence: int = 0, tlvs: Any = (), **fields: Any) -> int:
        if not sequence:
            self._sequence += 1
            sequence = self._sequence
        self.connection.dataReceived(encode(Pdu(command, sequence, status, fields, tlvs), 0x50))
        return sequence

    def say_raw(self, command: int, fields: dict[str, Any], tail: bytes) -> None:
        """A request with octets of one's own behind its mandatory fields."""
        frame = encode(Pdu(command, 9, 0, fields), 0x34) + tail
        self.connection.dataReceived(len(frame).to_bytes(4, "big") + frame[4:])

    def bind(self, command: Command = Command.BIND_TRANSCEIVER, **credentials: str) -> Pdu:
        fields = {"system_id": "smsc", "password": PASSWORD, "interface_version": 0x34, **credentials}
        self.say(command, **fields)
        (answer,) = self.said()
        return answer

    def lose(self) -> None:
        self.connection.connectionLost(Failure(ConnectionDone()))

    @property
    def is_closing(self) -> bool:
        return self.wire.disconnecting


class World:
    """A gateway with a server; messages are kept and answered as ``verdict`` says (int, Deferred, error)."""

    def __init__(self, *peers: SmppPeer, **gate: Any) -> None:
        self.clock = Clock()
        self.messages: list[tuple[MobileMessage, PeerInfo]] = []
        self.receipts: list[Any] = []
        self.verdict: Callable[[], int | Deferred[int]] = lambda: 0
        self.gateway = SmppGateway(
            self.clock, lambda: NOW_MS + int(self.clock.seconds() * 1000), self._answer, self._receipt
        )
        self.peers = peers or (PEER,)
        self.server = SmppServer(
            self.gateway, self.peers, {peer.name: PASSWORD for peer in self.peers}, **gate
        )

    def connect(self, host: str = "10.0.0.1") -> Line:
        connection = self.server.buildProtocol(IPv4Address("TCP", host, 40000))
        assert connection is not None
        return Line(connection, host)

    def bound(self, command: Command = Command.BIND_TRANSCEIVER, **credentials: str) -> Line:
        line = self.connect()
        assert line.bind(command, **credentials).status == 0
        return line

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.5] * int(seconds * 2))

    async def _answer(self, message: MobileMessage, peer: PeerInfo) -> int:
        self.messages.append((message, peer))
        verdict = self.verdict()
        return await verdict if isinstance(verdict, Awaitable) else verdict

    def _receipt(self, receipt: Any, peer: PeerInfo) -> None:
        self.receipts.append(receipt)


def peer(**changes: Any) -> SmppPeer:
    return replace(PEER, **changes)


TEXT = {"source_addr": "8613900000001", "destination_addr": "0353911", "short_message": b"13812345678 50"}
