"""The HDLC link of both ends: set up, data, busy, lost and spoilt frames, the end of it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aircharge.errors import NotSent, WireError
from aircharge.wire.hdlc import HdlcFrame, HdlcReceiver, Kind, to_bits
from aircharge.wire.hdlc_link import HdlcLink, HdlcSettings, Role, State
from aircharge.wire.pos_link import (
    CallerBlock,
    Delivered,
    Ended,
    Envelope,
    Event,
    Lost,
    Malformed,
    Message,
    Opened,
    Received,
)
from tests.wire.pos_line import Line

BARE = Envelope(False, CallerBlock.NEVER)
OCTET_S = 8 / 1200


def line_of(settings: HdlcSettings, spoil: object = bytes) -> Line:
    primary, secondary = HdlcLink(settings, Role.PRIMARY, 0), HdlcLink(settings, Role.SECONDARY, 0)
    line = Line(primary, secondary, spoil, OCTET_S)  # type: ignore[arg-type]
    line.put(0, primary.open(0))
    return line


def opened(**changes: object) -> Line:
    line = line_of(HdlcSettings(envelope=BARE, **changes))  # type: ignore[arg-type]
    line.carry(10, lambda: Opened() in line.heard[0])
    return line


def frames_in(data: bytes) -> list[HdlcFrame]:
    return [HdlcFrame.decode(octets) for octets in HdlcReceiver().feed(data)]


def heard(line: Line, end: int) -> list[bytes]:
    return [event.message.content for event in line.heard[end] if isinstance(event, Received)]


def test_invite_talk_and_leave() -> None:
    line = opened()
    assert line.heard == ([Opened()], [Opened()])
    line.put(1, line.ends[1].send(Message(b"request"), line.now))  # waits for the poll
    line.carry(line.now + 5)
    line.put(0, line.ends[0].send(Message(b"answer"), line.now))
    line.carry(line.now + 5)
    assert Delivered(Message(b"request")) in line.heard[1]
    assert Delivered(Message(b"answer")) in line.heard[0]
    assert [heard(line, 0), heard(line, 1)] == [[b"request"], [b"answer"]]
    primary = line.ends[0]
    assert isinstance(primary, HdlcLink)
    line.put(0, primary.close(line.now))
    line.carry(line.now + 5)
    assert [events[-1] for events in line.heard] == [Ended("disconnected")] * 2
    assert primary.deadline is None


def test_a_window_full_and_its_poll() -> None:
    line = opened(window=3)
    secondary = line.ends[1]
    for number in range(5):
        assert secondary.send(Message(b"%d" % number), line.now) == b""
    secondary.receive(to_bits(HdlcFrame(Kind.RR, True).encode()), line.now)
    sent = frames_in(secondary.data_to_send())
    assert [(frame.ns, frame.is_poll) for frame in sent] == [(0, False), (1, False), (2, True)]
    secondary.receive(to_bits(HdlcFrame(Kind.REJ, True, nr=1).encode()), line.now)
    assert [frame.ns for frame in frames_in(secondary.data_to_send())] == [1, 2, 3]


def test_a_busy_end_is_spared() -> None:
    line = opened()
    secondary = line.ends[1]
    assert isinstance(secondary, HdlcLink)
    secondary.hold(True)
    line.put(0, line.ends[0].send(Message(b"x"), line.now))
    line.carry(line.now + 5)
    assert heard(line, 1) == []
    secondary.hold(False)
    line.carry(line.now + 5)
    assert heard(line, 1) == [b"x"]


def test_a_silent_terminal_and_a_silent_centre() -> None:
    line = line_of(HdlcSettings(envelope=BARE, tries_max=3, idle_s=60), lambda data: b"")
    line.carry(600)
    assert line.heard == ([Ended("terminal silent")], [Ended("not polled")])
    assert len(line.written) == 3
    line = opened(tries_max=3)
    line.put(0, line.ends[0].send(Message(b"x"), line.now))
    primary = line.ends[0]
    events: list[Event] = []
    while not events:
        assert primary.deadline is not None
        events = primary.tick(primary.deadline)
    assert events == [Lost(Message(b"x")), Ended("terminal silent")]


def test_a_secondary_that_is_not_invited_says_so() -> None:
    secondary = HdlcLink(HdlcSettings(envelope=BARE), Role.SECONDARY, 0)
    for kind in (Kind.RR, Kind.DISC):
        assert secondary.receive(to_bits(HdlcFrame(kind, True).encode()), 0) == []
        assert frames_in(secondary.data_to_send()) == [HdlcFrame(Kind.DM, True)]
    with pytest.raises(NotSent):
        secondary.send(Message(b"x"), 0)


def test_an_invitation_repeated_begins_anew() -> None:
    line = opened()
    secondary = line.ends[1]
    secondary.send(Message(b"x"), line.now)
    assert secondary.receive(to_bits(HdlcFrame(Kind.SNRM, True).encode()), line.now) == [Lost(Message(b"x"))]
    assert frames_in(secondary.data_to_send()) == [HdlcFrame(Kind.UA, True)]


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (HdlcFrame(Kind.RR, True, nr=5), "N(R) 5 acknowledges what was not sent"),
        (HdlcFrame(Kind.FRMR, True, content=b"abc"), "frame reject"),
        (HdlcFrame(Kind.DM, True), "disconnected"),
    ],
)
def test_what_ends_the_link(frame: HdlcFrame, why: str) -> None:
    primary = opened().ends[0]
    assert isinstance(primary, HdlcLink)
    assert primary.receive(to_bits(frame.encode()), 1) == [Ended(why)]
    assert primary.state is State.CLOSED


def test_frames_that_are_dropped() -> None:
    primary = opened().ends[0]
    spoilt = bytearray(HdlcFrame(Kind.RR, True).encode())
    spoilt[1] ^= 0x20
    for octets in (bytes(spoilt), HdlcFrame(Kind.RR, True, address=0x31).encode()):
        assert [type(event) for event in primary.receive(to_bits(octets), 1)] == [Malformed]
    (event,) = primary.receive(to_bits(HdlcFrame(Kind.I, ns=3, content=b"x").encode()), 1)
    assert isinstance(event, Malformed)


def test_what_cannot_be_sent() -> None:
    primary = opened(queue_max=1, longest=10).ends[0]
    with pytest.raises(WireError):
        primary.send(Message(bytes(11)), 1)
    primary.send(Message(b"x"), 1)
    with pytest.raises(NotSent):
        primary.send(Message(b"x"), 1)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(1, 7))
def test_over_a_bad_line_everything_arrives_once_and_in_order(seed: int, percent: int, window: int) -> None:
    chance = random.Random(seed)

    def spoil(data: bytes) -> bytes:
        if chance.randrange(100) >= percent:
            return data
        spoilt = bytearray(data)
        spoilt[chance.randrange(len(spoilt))] ^= chance.randrange(1, 256)
        return bytes(spoilt[: chance.randrange(1, len(spoilt) + 1)])

    line = line_of(
        HdlcSettings(envelope=BARE, tries_max=1000, idle_s=1e9, window=window, queue_max=24), spoil
    )
    line.carry(3000, lambda: all(Opened() in events for events in line.heard))
    wanted: tuple[list[bytes], list[bytes]] = ([], [])
    for number in range(24):
        end = chance.randrange(2)
        wanted[1 - end].append(b"%d" % number)
        line.put(end, line.ends[end].send(Message(b"%d" % number), line.now))
        if chance.randrange(2):
            line.carry(line.now + chance.randrange(20))
    line.carry(
        line.now + 10000,
        lambda: all(len(heard(line, end)) + heard_back(line, end) == 24 for end in (0, 1)),
    )
    assert (heard(line, 0), heard(line, 1)) == wanted


def heard_back(line: Line, end: int) -> int:
    return sum(isinstance(event, Delivered) for event in line.heard[end])
