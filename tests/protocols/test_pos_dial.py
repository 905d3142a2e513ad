"""Lines of terminals that we dial: kept, dialled again ever later, told once, and left alone after the stop."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from aircharge.errors import ConfigError
from aircharge.protocols.pos_dial import PosDialler
from aircharge.wire.pos_link import Message
from aircharge.wire.stx import StxLink, StxSettings
from tests.protocols.test_pos_line import ADDRESS, Chance, House

LINES = ("tcp:10.0.0.9:2001", "tcp:10.0.0.9:2002")


class Bank:
    """A serial server whose lines the test answers."""

    def __init__(self, framing: str = "stx", lines: tuple[str, ...] = LINES, **settings: Any) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.house = House(framing, connect=lines, clock=self.reactor, **settings)
        self.dialler = PosDialler(self.house.server, self.reactor, Chance())

    @property
    def dials(self) -> list[int]:
        """Ports, in order."""
        return [port for _, port, *_ in self.reactor.tcpClients]

    def refuse(self, attempt: int) -> None:
        self.reactor.tcpClients[attempt][2].clientConnectionFailed(None, Failure(ConnectionRefusedError()))

    def accept(self, attempt: int) -> tuple[Any, StringTransport]:
        line = self.reactor.tcpClients[attempt][2].buildProtocol(None)
        line.makeConnection(transport := StringTransport())
        return line, transport


def sale() -> bytes:
    return StxLink(StxSettings()).send(Message(b"sale", ADDRESS), 0)


def lost(line: Any) -> None:
    line.connectionLost(Failure(ConnectionDone()))


def test_each_line_is_dialled_and_serves_call_after_call() -> None:
    bank = Bank()
    bank.dialler.start()
    assert (bank.dials, bank.dialler.down) == ([2001, 2002], 2)
    line, transport = bank.accept(0)
    assert bank.dialler.down == 1
    bank.reactor.pump([1] * 500)  # between two calls a line may be silent for long
    line.dataReceived(sale())
    assert b"yes to sale" in transport.value()
    lost(line)
    assert bank.dialler.down == 2
    bank.reactor.pump([0.5] * 5)
    assert bank.dials[2:] == [2001]
    line, transport = bank.accept(2)
    line.dataReceived(sale())
    assert b"yes to sale" in transport.value()
    assert bank.dialler.failures == 0


def test_a_line_that_cannot_be_reached_is_tried_ever_later_and_told_once() -> None:
    bank = Bank(lines=LINES[:1], redial_max_s=8.0)
    with capturedLogs() as events:
        bank.dialler.start()
        waits = []
        for attempt in range(8):
            bank.refuse(attempt)
            began = bank.reactor.seconds()
            while len(bank.dials) == attempt + 1:
                bank.reactor.advance(0.25)
            waits.append(bank.reactor.seconds() - began)
    assert waits == sorted(waits)
    assert waits[0] <= 2.25
    assert 8 <= waits[-1] <= 9.25
    assert (bank.dialler.failures, bank.dialler.down) == (8, 1)
    told = [event["log_format"] for event in events]
    assert len(told) == 1
    assert "does not stand" in told[0]


def test_a_line_that_is_taken_by_somebody_else_is_a_failure() -> None:
    """ser2net accepts, says "Port already in use" and closes."""
    bank = Bank(lines=LINES[:1])
    bank.dialler.start()
    for attempt in range(3):
        line, _ = bank.accept(attempt)
        line.dataReceived(b"Port already in use\r\n")
        lost(line)
        bank.reactor.pump([0.5] * 20)
    assert (bank.dialler.failures, len(bank.dials)) == (3, 4)


@pytest.mark.parametrize("framing", ["hdlc", "fsk"])
def test_a_line_without_a_call_is_hung_up_and_dialled_again_at_once(framing: str) -> None:
    bank = Bank(framing, LINES[:1])
    bank.dialler.start()
    for attempt in range(3):
        line, transport = bank.accept(attempt)
        assert transport.value()  # the invitation
        while not transport.disconnecting:
            bank.reactor.advance(0.5)
        lost(line)
        bank.reactor.pump([0.5] * 5)
    assert (len(bank.dials), bank.dialler.failures) == (4, 0)


def test_the_stop_hangs_up_and_dials_no_more() -> None:
    bank = Bank()
    bank.dialler.start()
    line, transport = bank.accept(0)
    bank.dialler.stop()
    bank.house.server.hang_up()
    assert transport.disconnecting
    lost(line)
    assert bank.reactor.connectors[1].stoppedConnecting
    bank.refuse(1)
    bank.reactor.pump([5] * 20)
    assert (len(bank.dials), bank.dialler.failures, bank.house.server.connections) == (2, 0, 0)
    assert bank.reactor.getDelayedCalls() == []


class Tcp(StringTransport):
    """With a socket below."""

    def __init__(self) -> None:
        super().__init__()
        self.socket = socket.socket()

    def getHandle(self) -> socket.socket:
        return self.socket


def test_a_server_that_lost_its_power_is_noticed() -> None:
    bank = Bank(lines=LINES[:1])
    bank.dialler.start()
    line = bank.reactor.tcpClients[0][2].buildProtocol(None)
    line.makeConnection(transport := Tcp())
    with transport.socket as below:
        assert below.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


@pytest.mark.parametrize("text", ["nowhere:1", "tcp:10.0.0.9", "tls:a:1:trustRoots=/none", ""])
def test_a_text_that_is_no_line_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"p.connect: {text}: ."):
        Bank(lines=(*LINES, text))
