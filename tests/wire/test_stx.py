"""STX framing: any cutting, noise, a spoilt frame costs only itself, ACK, NAK and repeats."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aircharge.errors import WireError
from aircharge.wire.pos_link import (
    CallerBlock,
    Delivered,
    Ended,
    Envelope,
    Lost,
    Malformed,
    Message,
    Received,
)
from aircharge.wire.stx import ACK, NAK, StxLink, StxSettings, encode_stx
from tests.wire.pos_line import Line, in_pieces

BARE = Envelope(False, CallerBlock.NEVER)
CONTENTS = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5)
NOISE = st.binary(max_size=12).map(lambda noise: noise.replace(b"\x02", b"").replace(b"\x06", b""))


def settings(**changes: object) -> StxSettings:
    return StxSettings(envelope=BARE, **changes)  # type: ignore[arg-type]


def received(events: list[object]) -> list[bytes]:
    return [event.message.content for event in events if isinstance(event, Received)]


def test_the_frame_by_hand() -> None:
    assert encode_stx(b"AB") == bytes.fromhex("02 0002 4142 03 02")
    assert encode_stx(b"x" * 12)[1:3] == b"\x00\x12"
    assert encode_stx(b"x" * 12, is_length_bcd=False)[1:3] == b"\x00\x0c"
    with pytest.raises(WireError):
        encode_stx(b"")


@given(
    CONTENTS,
    st.lists(st.integers(1, 30), max_size=30),
    st.lists(NOISE, min_size=6, max_size=6),
    st.booleans(),
)
def test_any_cutting_between_any_noise(
    contents: list[bytes], cuts: list[int], noise: list[bytes], bcd: bool
) -> None:
    stream = (
        b"".join(before + encode_stx(c, bcd) for before, c in zip(noise, contents, strict=False)) + noise[5]
    )
    link = StxLink(settings(is_length_bcd=bcd))
    events = [event for piece in in_pieces(stream, cuts) for event in link.receive(piece, 0)]
    assert received(events) == contents
    assert link.data_to_send().count(ACK) >= len(contents)


@given(CONTENTS, st.data())
def test_a_spoilt_frame_costs_only_itself(contents: list[bytes], data: st.DataObject) -> None:
    frames = [encode_stx(content) for content in contents]
    which = data.draw(st.integers(0, len(frames) - 1))
    place = data.draw(st.integers(0, len(frames[which]) - 1))
    flips = data.draw(st.integers(1, 255))
    spoilt = bytearray(frames[which])
    spoilt[place] ^= flips
    frames[which] = bytes(spoilt)
    link = StxLink(settings())
    events = link.receive(b"".join(frames), 0)
    events += link.tick(10)
    expected = contents[:which] + contents[which + 1 :]
    assume(received(events) != contents)  # a spoilt octet of noise
    assert received(events) == expected


def test_a_wrong_check_is_refused_and_the_repeat_taken() -> None:
    link = StxLink(settings())
    frame = encode_stx(b"hello")
    assert isinstance(link.receive(frame[:-1] + b"\x00", 0)[0], Malformed)
    assert link.data_to_send() == NAK
    assert received(link.receive(frame, 1)) == [b"hello"]
    assert link.data_to_send() == ACK


def test_a_frame_that_breaks_off_is_refused_after_the_gap() -> None:
    link = StxLink(settings(gap_s=0.5))
    assert link.receive(encode_stx(b"hello")[:-2], 1) == []
    assert link.deadline == 1.5
    assert isinstance(link.tick(1.5)[0], Malformed)
    assert link.data_to_send() == NAK
    assert link.deadline is None


def test_no_acknowledgement_is_found_inside_a_broken_frame() -> None:
    link = StxLink(settings())
    link.send(Message(b"answer"), 0)
    spoilt = bytearray(encode_stx(b"\x06\x15\x06"))
    spoilt[-1] ^= 1
    assert [type(event) for event in link.receive(bytes(spoilt), 0.1)] == [Malformed]
    assert link.receive(b"\xff" + ACK, 1) == []
    assert link.receive(ACK, 2) == [Delivered(Message(b"answer"))]


def test_nak_and_silence_send_again_until_it_is_enough() -> None:
    link = StxLink(settings(tries_max=3, answer_s=3, octet_s=0))
    frame = link.send(Message(b"x"), 0)
    assert link.receive(NAK, 1) == []
    assert link.data_to_send() == frame
    assert link.deadline == 4
    assert link.tick(4) == []
    assert link.data_to_send() == frame
    assert link.tick(7) == [Lost(Message(b"x"))]
    assert link.send(Message(b"y"), 8)
    assert link.connection_lost() == [Lost(Message(b"y")), Ended("connection lost")]
    assert link.receive(b"x", 9) == link.tick(9) == []


def test_the_next_message_takes_the_place_of_one_that_nobody_acknowledged() -> None:
    """Its terminal has hung up, or it would not have asked again; nobody who calls later hears it."""
    link = StxLink(settings(tries_max=3, answer_s=3, octet_s=0))
    link.send(Message(b"old"), 0)
    asked = link.receive(encode_stx(b"next call"), 1)
    assert asked == [Lost(Message(b"old")), Received(Message(b"next call"))]
    assert link.deadline is None
    with pytest.raises(WireError):
        link.send(Message(b"x" * 9999), 1)
    assert link.send(Message(b"new"), 1) == ACK + encode_stx(b"new")
    assert link.tick(4) == []
    assert link.data_to_send() == encode_stx(b"new")
    assert link.receive(ACK, 5) == [Delivered(Message(b"new"))]
    assert link.deadline is None
    for content in (b"third", b"fourth", b"fifth"):
        link.send(Message(content), 6)
    assert link.tick(6) == [Lost(Message(b"third")), Lost(Message(b"fourth"))]
    link.send(Message(b"sixth"), 6)
    lost = [Lost(Message(b"fifth")), Lost(Message(b"sixth"))]
    assert link.connection_lost() == [*lost, Ended("connection lost")]


def test_two_ends_over_a_line_that_spoils_every_third() -> None:
    seen = iter(range(1000))
    line = Line(
        StxLink(settings()),
        StxLink(settings()),
        lambda data: data if next(seen) % 3 else bytes([data[0] ^ 0xFF]) + data[1:],
    )
    for number in range(8):
        end = number % 2
        line.put(end, line.ends[end].send(Message(b"%d" % number), line.now))
        line.carry(line.now + 60, lambda end=end, n=number // 2: delivered(line, end) > n)
    assert delivered(line, 0) == delivered(line, 1) == 4
    for end in (0, 1):  # repeats may arrive twice (no numbers), but nothing is lost or overtaken
        contents = received(list(line.heard[end]))
        assert sorted(set(contents)) == [b"%d" % number for number in range(1 - end, 8, 2)]


def delivered(line: Line, end: int) -> int:
    return sum(isinstance(event, Delivered) for event in line.heard[end])


def test_a_length_bomb_is_noise() -> None:
    link = StxLink(settings())
    assert link.receive(b"\x02\x99\x99" + bytes(5000), 0) == []
    assert received(link.receive(encode_stx(b"x"), 0)) == [b"x"]
    with pytest.raises(WireError):
        link.send(Message(bytes(1025)), 0)
