"""Terminals on a connection, over every framing: each message is answered once, under its own addresses."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import INegotiated
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import classImplements

from aircharge.protocols.pos_line import PosLine, PosServer
from aircharge.protocols.pos_place import PosPlace
from aircharge.protocols.shell import Ticker
from aircharge.wire.fsk_link import FskLink, FskSettings
from aircharge.wire.fsk_link import Role as FskRole
from aircharge.wire.fsk_message import GatewayHeader
from aircharge.wire.hdlc_link import HdlcLink, HdlcSettings
from aircharge.wire.hdlc_link import Role as HdlcRole
from aircharge.wire.lri import Caller
from aircharge.wire.pos_link import CallerBlock, Envelope, Link, Message, Received, Tpdu
from aircharge.wire.stx import StxLink, StxSettings
from aircharge.wire.tpdu import TpduLink, TpduSettings

ADDRESS = Tpdu(b"\x00\x03", b"\x00\x07")


class Chance:
    def token(self, length: int) -> bytes:
        return bytes(range(1, length + 1))


class House:
    """A server whose answers are what the test says."""

    def __init__(self, framing: str = "tpdu", clock: Any = None, **settings: Any) -> None:
        self.clock: Any = clock or Clock()
        self.heard: list[Message] = []
        self.answers: list[Any] = []
        self.tasks: list[Deferred[Any]] = []
        place = PosPlace("p", "" if "connect" in settings else "tcp:0", framing, **settings)
        self.server = PosServer(place, Ticker(self.clock), self.answer, self.spawn, Chance())

    async def answer(self, message: Message) -> bytes | None:
        self.heard.append(message)
        said = self.answers.pop(0) if self.answers else b"yes to " + message.content
        if isinstance(said, Exception):
            raise said
        return await said if isinstance(said, Deferred) else said

    def spawn(self, work: Any) -> None:
        self.tasks.append(Deferred.fromCoroutine(work))

    def connect(self, host: str = "10.0.0.1") -> tuple[PosLine, StringTransport] | None:
        line = self.server.buildProtocol(IPv4Address("TCP", host, 5))
        if line is None:
            return None
        transport = StringTransport()
        line.makeConnection(transport)
        return line, transport


def far_end(framing: str) -> Link:
    envelope = Envelope(True, CallerBlock.IF_PRESENT)
    if framing == "hdlc":
        return HdlcLink(HdlcSettings(envelope), HdlcRole.SECONDARY, 0)
    if framing == "stx":
        return StxLink(StxSettings(envelope))
    if framing == "fsk":
        return FskLink(FskSettings(), FskRole.TERMINAL, 0)
    return TpduLink(TpduSettings(envelope), 0)


def talk(
    house: House, line: PosLine, transport: StringTransport, terminal: Link, seconds: float = 20
) -> list[Message]:
    """Carry octets to and fro, one at a time, while time passes; what the terminal has received."""
    received = []
    for _ in range(int(seconds / 0.05)):
        now = house.clock.seconds()
        out = terminal.data_to_send()
        for at in range(len(out)):
            line.dataReceived(out[at : at + 1])
        came = transport.value()
        transport.clear()
        events = terminal.tick(now)
        for at in range(len(came)):
            events += terminal.receive(came[at : at + 1], now)
        received += [event.message for event in events if isinstance(event, Received)]
        house.clock.advance(0.05)
    return received


@pytest.mark.parametrize("framing", ["tpdu", "hdlc", "stx", "fsk"])
def test_a_message_and_its_answer(framing: str) -> None:
    house = House(framing)
    connected = house.connect()
    assert connected is not None
    terminal = far_end(framing)
    received = talk(house, *connected, terminal, 5)
    address = None if framing == "fsk" else ADDRESS
    out = terminal.send(Message(b"sale", address), house.clock.seconds())
    for at in range(len(out)):
        connected[0].dataReceived(out[at : at + 1])
    received += talk(house, *connected, terminal)
    assert [message.content for message in house.heard] == [b"sale"]
    assert [message.content for message in received] == [b"yes to sale"]
    assert [message.tpdu for message in received] == [address and address.swapped()]


def frame(content: bytes, source: int = 7, caller: Caller | None = None) -> bytes:
    message = Message(content, Tpdu(b"\x00\x03", source.to_bytes(2, "big")), caller)
    return TpduLink(TpduSettings(), 0).send(message, 0)


def contents(transport: StringTransport) -> list[tuple[bytes, int]]:
    """Content and the terminal it is for."""
    events = TpduLink(TpduSettings(), 0).receive(transport.value(), 0)
    messages = [event.message for event in events if isinstance(event, Received)]
    return [(m.content, int.from_bytes(m.tpdu.destination, "big")) for m in messages if m.tpdu]


def connected(house: House) -> tuple[PosLine, StringTransport]:
    made = house.connect()
    assert made is not None
    return made


def test_many_terminals_on_one_connection_in_any_order() -> None:
    house = House()
    line, transport = connected(house)
    house.answers = first, second = [Deferred(), Deferred()]
    line.dataReceived(frame(b"a", 7) + frame(b"b", 9))
    assert line.waiting == 2
    second.callback(b"B")
    first.callback(b"A")
    assert contents(transport) == [(b"B", 9), (b"A", 7)]
    assert line.waiting == 0


def test_who_calls_is_told_to_the_application() -> None:
    house = House()
    line, _ = connected(house)
    line.dataReceived(frame(b"a", caller=Caller("2088880001", "95516")))
    assert house.heard[0].caller == Caller("2088880001", "95516")


def test_silence_faults_and_who_has_gone() -> None:
    house = House()
    line, transport = connected(house)
    late: Deferred[bytes] = Deferred()
    house.answers = [None, ValueError("a bug"), b"x" * 2000, late, b"well"]
    for _ in range(5):
        line.dataReceived(frame(b"a"))
    assert contents(transport) == [(b"well", 7)]
    line.connectionLost(Failure(ConnectionDone()))
    late.callback(b"too late")
    assert dict(house.server.counted) == {
        "silence": 1,
        "failed": 1,
        "not sent": 1,
        "nobody there": 1,
        "ended: connection lost": 1,
    }
    assert (house.server.connections, house.clock.getDelayedCalls()) == (0, [])


def test_bounds() -> None:
    house = House(open_max=1, connections_max=2, allow=("10.0.0.0/8",))
    line, _ = connected(house)
    house.answers = [Deferred()]
    line.dataReceived(frame(b"a") + frame(b"b"))
    assert (len(house.heard), house.server.counted["too many open"]) == (1, 1)
    assert house.connect("192.168.0.1") is None
    connected(house)[0].dataReceived(frame(b"c"))
    assert house.connect() is None
    assert (house.server.connections, house.server.refused) == (2, 2)


def test_a_bound_over_all_connections() -> None:
    house = House(waiting_max=2)
    house.answers = [first := Deferred(), Deferred()]  # type: ignore[var-annotated]
    lines = [connected(house)[0] for _ in range(3)]
    for line in lines:
        line.dataReceived(frame(b"a"))
    assert (len(house.heard), house.server.waiting, house.server.counted["too many open"]) == (2, 2, 1)
    first.callback(b"A")
    lines[2].dataReceived(frame(b"b"))
    assert (len(house.heard), house.server.waiting) == (3, 1)


def test_closing_takes_nothing_new_and_ends_what_is_open() -> None:
    house = House()
    line, transport = connected(house)
    house.answers = [waiting := Deferred()]  # type: ignore[var-annotated]
    line.dataReceived(frame(b"a"))
    house.server.close()
    line.dataReceived(frame(b"b"))
    assert house.connect() is None
    waiting.callback(b"A")
    assert contents(transport) == [(b"A", 7)]
    assert house.server.counted == {"closing": 1}
    house.server.hang_up()
    assert transport.disconnecting
    assert house.server.counted == {"closing": 1, "ended: stopping": 1}
    assert transport.producer is None  # over TLS nothing closes while one is registered


def test_a_gateways_header_comes_back_and_short_frames_are_heartbeats() -> None:
    house = House("fsk-gateway")
    line, transport = connected(house)
    header = GatewayHeader(1, 2, 3, 4, 5, 6)
    line.dataReceived(frame(header.encode(b"c" * 60)) + frame(b"beat"[:1]) + frame(b"?" * 60))
    assert [message.content for message in house.heard] == [b"c" * 60]
    [(content, _)] = contents(transport)
    assert GatewayHeader.decode(content) == (header, b"yes to " + b"c" * 60)
    assert house.server.counted == {"heartbeat": 1, "malformed": 1}


def test_slow_and_broken_connections_are_dropped() -> None:
    house = House(idle_s=60, frame_s=10)
    (slow, torn), (idle, still) = connected(house), connected(house)
    slow.dataReceived(b"\x00")
    house.clock.pump([1] * 12)
    assert (torn.disconnecting, still.disconnecting) == (True, False)
    idle.dataReceived(frame(b"a"))
    house.clock.pump([1] * 60)
    assert still.disconnecting
    assert not house.server.gate.counted["silent"]
    wrong, transport = connected(house)
    wrong.dataReceived(b"\xff\xff")
    assert transport.disconnecting
    assert house.server.counted == {
        "ended: frame unfinished": 1,
        "ended: silence": 1,
        "ended: framing lost": 1,
    }
    assert idle.link.has_ended


@pytest.mark.parametrize(
    ("framing", "reason"),
    [("stx", "not set up"), ("hdlc", "terminal silent"), ("fsk", "no receipt"), ("fsk-audio", "no receipt")],
)
@pytest.mark.parametrize("noise", [b"", b"\x02\x00", b"\x7e"])
def test_a_call_that_never_says_a_sound_frame(framing: str, reason: str, noise: bytes) -> None:
    """Silence ends by the link's own tries; octets that only look like a beginning end as well."""
    if framing == "fsk-audio":
        pytest.importorskip("numpy", reason="the audio extra is not installed")
    house = House(framing, setup_s=60)
    line, transport = connected(house)
    served, well = connected(house) if framing == "stx" else (None, None)
    for _ in range(120):
        if noise and not transport.disconnecting:
            line.dataReceived(noise)
        house.clock.pump([0.25] * 2)
        if served and well:
            served.dataReceived(StxLink(StxSettings()).send(Message(b"sale", ADDRESS), 0) + b"\x06")
    assert transport.disconnecting
    reasons = {why for why in house.server.counted if why.startswith("ended")}
    assert reasons <= {f"ended: {reason}", "ended: not set up"}
    assert len(reasons) == 1
    assert not (well and well.disconnecting)


@pytest.mark.parametrize("framing", ["hdlc", "stx", "fsk"])
def test_a_call_that_has_gone_silent(framing: str) -> None:
    """Also where the terminal still answers every poll; not while we owe an answer."""
    house = House(framing, idle_s=30)
    line, transport = connected(house)
    terminal = far_end(framing)
    talk(house, line, transport, terminal, 5)
    house.answers = [owed := Deferred()]  # type: ignore[var-annotated]
    line.dataReceived(terminal.send(Message(b"sale", ADDRESS), house.clock.seconds()))
    talk(house, line, transport, terminal, 40)
    assert (len(house.heard), transport.disconnecting) == (1, False)
    owed.callback(b"yes")
    [answer] = talk(house, line, transport, terminal, 10)
    assert (answer.content, transport.disconnecting) == (b"yes", False)
    talk(house, line, transport, terminal, 35)
    assert transport.disconnecting
    assert house.server.counted["ended: silence"] == 1


@pytest.mark.parametrize(
    ("framing", "settings", "ends"),
    [
        ("tpdu", {}, False),
        ("fsk-gateway", {}, False),
        ("stx", {}, True),
        ("stx", {"idle_s": 0, "setup_s": 0}, False),
        ("stx", {"connect": ("tcp:127.0.0.1:1",)}, False),
        ("stx", {"connect": ("tcp:127.0.0.1:1",), "idle_s": 300}, True),
    ],
)
def test_who_may_be_silent_for_long(framing: str, settings: dict[str, Any], ends: bool) -> None:
    house = House(framing, **settings)
    line = house.server.line()
    line.makeConnection(transport := StringTransport())
    house.clock.pump([1] * 400)
    assert transport.disconnecting is ends


class Secret(StringTransport):
    """Of a TLS connection."""


classImplements(Secret, INegotiated)


def test_tls_that_is_never_set_up() -> None:
    house = House(setup_s=20)
    lines = []
    for _ in range(2):
        line = house.server.line()
        line.makeConnection(transport := Secret())
        lines.append((line, transport))
    (_, torn), (shaken, well) = lines
    shaken.handshakeCompleted()
    house.clock.pump([1] * 25)
    assert (torn.disconnecting, well.disconnecting) == (True, False)
    assert house.server.counted == {"ended: not set up": 1}


def test_a_frame_without_a_tpdu_is_dropped_alone() -> None:
    house = House()
    line, _ = connected(house)
    line.dataReceived(b"\x00\x03abc" + frame(b"a"))
    assert (house.server.counted["malformed"], len(house.heard)) == (1, 1)


def test_an_answer_the_terminal_never_acknowledged_is_counted() -> None:
    house = House("stx")
    line, _ = connected(house)
    out = StxLink(StxSettings()).send(Message(b"sale", ADDRESS), 0)
    line.dataReceived(out)
    house.clock.pump([0.5] * 60)
    assert house.server.counted["lost"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"framing": "x"},
        {"application": "x"},
        {"caller_block": "x"},
        {"open_max": 0},
        {"waiting_max": 0},
        {"baud": -1},
        {"setup_s": -1},
        {"redial_max_s": 0},
        {"connect": ("tcp:127.0.0.1:1",)},
        {"endpoint": ""},
    ],
)
def test_places_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"x|more than 0|or more|one of the two"):
        PosPlace(**{"name": "p", "endpoint": "tcp:0", **wrong})


def test_audio_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aircharge.wire.modem.audio_link", None)
    with pytest.raises(ValueError, match=r"needs numpy: pip install"):
        PosPlace("p", "tcp:0", "fsk-audio")
