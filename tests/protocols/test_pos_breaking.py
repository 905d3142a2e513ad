"""What ought to break a line of terminals: answers after their call, octets by ones, a thousand who say nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from aircharge.protocols.pos_line import PosLine
from aircharge.wire.fsk_message import GatewayHeader
from aircharge.wire.pos_link import Message, Received, Tpdu
from aircharge.wire.stx import encode_stx
from tests.protocols.test_pos_line import ADDRESS, House, connected, far_end, frame, talk

FRAMINGS = ("tpdu", "fsk-gateway", "hdlc", "stx", "fsk")
HEADER = GatewayHeader(1, 2, 3, 4, 5, 6)


def lost(line: PosLine) -> None:
    line.connectionLost(Failure(ConnectionDone()))


def ask(house: House, line: PosLine, wire: StringTransport, framing: str, content: bytes) -> Any:
    """A new call, and what is asked in it; the terminal's end of the line."""
    terminal = far_end(framing)
    talk(house, line, wire, terminal, 3)
    content = content.ljust(60, b".")
    octets = HEADER.encode(content) if framing == "fsk-gateway" else content
    out = terminal.send(Message(octets, None if framing == "fsk" else ADDRESS), house.clock.seconds())
    for at in range(len(out)):
        line.dataReceived(out[at : at + 1])
    talk(house, line, wire, terminal, 3)
    return terminal


@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_answer_never_reaches_the_next_call(framing: str) -> None:
    """The same terminal has hung up and calls again: the answer of the call before is nobody's."""
    house = House(framing)
    house.answers = [first := Deferred(), second := Deferred()]  # type: ignore[var-annotated]
    old, wire = connected(house)
    ask(house, old, wire, framing, b"sale")
    lost(old)
    line, wire = connected(house)
    terminal = ask(house, line, wire, framing, b"balance")
    assert [message.content.rstrip(b".") for message in house.heard] == [b"sale", b"balance"]
    first.callback(b"OLD" * 20)
    said = talk(house, line, wire, terminal, 3)
    second.callback(b"NEW" * 20)
    said += talk(house, line, wire, terminal, 5)
    assert [message.content[-60:] for message in said] == [b"NEW" * 20]
    assert house.server.counted["nobody there"] == 1
    assert house.server.waiting == line.waiting == 0


def test_the_next_caller_on_a_serial_line_is_not_kept_waiting() -> None:
    """Nobody told us that the first had hung up: its answer is still being repeated when the next one asks."""
    house = House("stx", connect=("tcp:127.0.0.1:1",))
    line = house.server.line()
    line.makeConnection(wire := StringTransport())
    line.dataReceived(encode_stx(ADDRESS.encode() + b"a"))
    house.clock.pump([0.5] * 8)
    wire.clear()
    line.dataReceived(encode_stx(ADDRESS.encode() + b"b"))
    answer = encode_stx(ADDRESS.swapped().encode() + b"yes to b")
    assert wire.value() == b"\x06" + answer
    line.dataReceived(b"\x06")
    house.clock.pump([0.5] * 20)
    assert wire.value() == b"\x06" + answer
    assert house.server.counted == {"lost": 1}


def test_two_thousand_calls_that_say_nothing() -> None:
    """They end; whoever speaks meanwhile is served at once; nothing of them is left."""
    house = House("stx", setup_s=30)
    silent = [connected(house) for _ in range(2000)]
    speaking, wire = connected(house)
    for number in range(40):
        speaking.dataReceived(encode_stx(ADDRESS.encode() + b"%02d" % number))
        assert b"yes to %02d" % number in wire.value()
        speaking.dataReceived(b"\x06")
        house.clock.advance(1)
    assert all(transport.disconnecting for _, transport in silent)
    assert not wire.disconnecting
    assert house.server.counted == {"ended: not set up": 2000}
    for line, _ in silent:
        lost(line)
    assert house.server.connections == 1
    lost(speaking)
    assert house.clock.getDelayedCalls() == []


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("is_hung_up", [False, True])
def test_closing_while_an_answer_is_owed(framing: str, is_hung_up: bool) -> None:
    house = House(framing)
    house.answers = [owed := Deferred()]  # type: ignore[var-annotated]
    line, wire = connected(house)
    terminal = ask(house, line, wire, framing, b"sale")
    house.server.close()
    if is_hung_up:
        house.server.hang_up()
    owed.callback(b"ANSWER" * 10)
    said = talk(house, line, wire, terminal, 5)
    assert len(said) == (not is_hung_up)
    assert house.server.counted["not sent"] == is_hung_up
    house.server.hang_up()
    assert wire.disconnecting
    lost(line)
    assert (house.server.connections, house.server.waiting, house.clock.getDelayedCalls()) == (0, 0, [])


def _asked(framing: str, content: bytes) -> bytes:
    """Octets that may well be a message."""
    if framing == "stx":
        return encode_stx(ADDRESS.encode() + content)
    return frame(HEADER.encode(content) if framing == "fsk-gateway" else content)


STEPS = st.one_of(
    st.tuples(st.just("octets"), st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("asked"), st.binary(min_size=1, max_size=60)),
    st.tuples(st.just("time"), st.sampled_from([0.1, 1.0, 10.0, 100.0])),
    st.tuples(st.sampled_from(["answer", "dial", "lost", "close"]), st.integers(0, 3)),
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(FRAMINGS), st.lists(STEPS, max_size=40))
def test_whatever_happens_nothing_is_left(framing: str, steps: list[tuple[str, Any]]) -> None:
    """Octets of any kind, time, answers early and late, calls that come and go, the stop: the sums hold throughout."""
    house = House(framing, connections_max=3)
    standing: dict[PosLine, StringTransport] = {}
    owed: list[Deferred[bytes]] = []
    for what, value in steps:
        house.answers = [Deferred() for _ in range(200)]
        offered, line = list(house.answers), next(iter(standing), None)
        if what in ("octets", "asked") and line:
            line.dataReceived(value if what == "octets" else _asked(framing, value))
        elif what == "time":
            house.clock.advance(value)
        elif what == "answer" and owed:
            owed.pop(value % len(owed)).callback(b"answer")
        elif what == "dial" and (made := house.connect()):
            standing[made[0]] = made[1]
        elif what == "lost" and line:
            del standing[line]
            lost(line)
        elif what == "close" and value == 0:
            house.server.close()
        owed += offered[: len(offered) - len(house.answers)]
        assert len(owed) == house.server.waiting
        assert len(standing) == house.server.connections
    house.server.hang_up()
    assert all(wire.disconnecting for wire in standing.values())
    for line in standing:
        lost(line)
    for answer in owed:
        answer.callback(b"late")
    assert (house.server.connections, house.server.waiting, house.clock.getDelayedCalls()) == (0, 0, [])


def test_terminals_of_one_connection_are_never_mixed_up() -> None:
    """A hundred at once, answered in another order: each hears its own."""
    house = House(open_max=100)
    line, wire = connected(house)
    house.answers = [Deferred() for _ in range(100)]
    owed = list(house.answers)
    for number in range(100):
        line.dataReceived(frame(b"%03d" % number, number))
    for number in sorted(range(100), key=lambda n: n * 37 % 101):
        owed[number].callback(b"%03d" % number)
    events = far_end("tpdu").receive(wire.value(), 0)
    heard = {
        event.message.tpdu: event.message.content
        for event in events
        if isinstance(event, Received) and event.message.tpdu
    }
    assert heard == {Tpdu(number.to_bytes(2, "big"), b"\x00\x03"): b"%03d" % number for number in range(100)}
