"""Length, TPDU and caller block over TCP: the vectors, any cutting, many terminals, what is wrong."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircharge.errors import NotSent, WireError
from aircharge.wire.lri import Caller
from aircharge.wire.pos_link import (
    CallerBlock,
    Ended,
    Envelope,
    Heartbeat,
    Malformed,
    Message,
    Received,
    Tpdu,
)
from aircharge.wire.tpdu import TpduLink, TpduSettings
from tests.wire.pos_line import in_pieces

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "pos_fsk.json").read_text("utf-8"))
TPDUS = st.builds(Tpdu, st.binary(min_size=2, max_size=2), st.binary(min_size=2, max_size=2))
CALLERS = st.builds(
    Caller,
    st.from_regex(r"([1-9][0-9]{0,15})?", fullmatch=True),
    st.from_regex(r"([1-9][0-9]{0,15})?", fullmatch=True),
    st.binary(min_size=12, max_size=12),
)
CONTENTS = st.binary(min_size=1, max_size=60).filter(lambda content: not content.startswith(b"LRI\x00\x1c"))
MESSAGES = st.builds(Message, CONTENTS, TPDUS, st.none() | CALLERS)


def framed(octets: bytes) -> bytes:
    return len(octets).to_bytes(2, "big") + octets


def test_the_vector_with_a_caller_block() -> None:
    plain, dialled = (
        bytes.fromhex(VECTORS[name]["hex"]) for name in ("app_request", "app_request_with_caller_id")
    )
    (event,) = TpduLink(TpduSettings(), 0).receive(framed(dialled), 0)
    assert isinstance(event, Received)
    message = event.message
    assert message.content == plain[5:]
    assert message.tpdu == Tpdu(bytes.fromhex("0005"), bytes.fromhex("0010"))
    assert message.caller == Caller("20888800010", "968770", bytes.fromhex("580009490006000000220030"))
    assert message.caller.called_from("020888800010")
    assert message.caller.called_from("20888800010")
    assert not message.caller.called_from("020888800011")
    assert not Caller("", "968770").called_from("")
    assert Envelope().close(message) == dialled


@given(st.lists(MESSAGES, max_size=6), st.lists(st.integers(1, 40), max_size=30))
def test_any_cutting_gives_the_same_messages(messages: list[Message], cuts: list[int]) -> None:
    link, peer = TpduLink(TpduSettings(), 0), TpduLink(TpduSettings(), 0)
    stream = b"".join(peer.send(message, 0) for message in messages)
    events = [event for piece in in_pieces(stream, cuts) for event in link.receive(piece, 0)]
    assert events == [Received(message) for message in messages]


@given(st.lists(MESSAGES, min_size=1, max_size=20), st.randoms())
def test_answers_in_any_order_find_their_terminals(messages: list[Message], chance: object) -> None:
    link, server = TpduLink(TpduSettings(), 0), TpduLink(TpduSettings(), 0)
    for number, message in enumerate(messages):
        server.receive(link.send(Message(b"%d" % number, message.tpdu, message.caller), 0), 0)
    order = sorted(range(len(messages)), key=lambda number: -number)
    for number in order:
        (event,) = link.receive(server.send(messages[number].answer(b"%d" % number), 0), 0)
        assert isinstance(event, Received)
        asked = messages[number].tpdu
        assert asked is not None
        assert event.message == Message(b"%d" % number, Tpdu(asked.source, asked.destination))


def test_a_frame_with_a_wrong_head_costs_only_itself() -> None:
    link = TpduLink(TpduSettings(), 0)
    good = framed(bytes.fromhex("6000050010") + b"x")
    bad = [b"\x61\x00\x05\x00\x10x", b"\x60\x00", b"\x60\x00\x05\x00\x10"]
    bad.append(bytes.fromhex("60000500104c5249001c") + b"\xff" * 28)
    bad.append(bytes.fromhex("60000500104c5249001c0000"))
    for octets in bad:
        first, second = link.receive(framed(octets) + good, 0)
        assert isinstance(first, Malformed)
        assert isinstance(second, Received)
    assert link.frames_dropped == len(bad)


def test_heartbeats_by_profile() -> None:
    assert TpduLink(TpduSettings(), 0).receive(b"\0\0", 0) == [Heartbeat(b"")]
    gateway = TpduLink(TpduSettings(heartbeat_below=50), 0)
    assert gateway.receive(framed(b"alive"), 0) == [Heartbeat(b"alive")]
    assert gateway.receive(gateway.heartbeat(b"alive"), 0) == [Heartbeat(b"alive")]


def test_an_envelope_without_addresses_and_one_that_wants_a_caller() -> None:
    assert Envelope(False, CallerBlock.NEVER).open(b"x") == Message(b"x")
    assert Envelope(False, CallerBlock.NEVER).close(Message(b"x")) == b"x"
    with pytest.raises(WireError):
        Envelope(True, CallerBlock.ALWAYS).open(bytes.fromhex("6000050010") + b"x" * 40)
    with pytest.raises(WireError):
        TpduLink(TpduSettings(), 0).send(Message(b"x"), 0)
    lri = b"LRI\x00\x1c" + b"\xff" * 40
    assert Envelope(True, CallerBlock.NEVER).open(b"\x60" + bytes(4) + lri).content == lri


@pytest.mark.parametrize("length", [2049, 0x7FFF, 0xFFFF])
def test_a_length_bomb_ends_the_connection_and_takes_no_memory(length: int) -> None:
    link = TpduLink(TpduSettings(), 0)
    link.receive(b"\0\0", 0)
    tracemalloc.start()
    try:
        (event,) = link.receive(length.to_bytes(2, "big"), 0)
        for _ in range(100):
            assert link.receive(bytes(100), 0) == []
        assert tracemalloc.get_traced_memory()[0] < 1024 + 2048  # the second: the event and its traceback
    finally:
        tracemalloc.stop()
    assert isinstance(event, Ended)
    with pytest.raises(NotSent):
        link.send(Message(b"x", Tpdu(b"ab", b"cd")), 0)


def test_an_unfinished_frame_and_a_silent_peer_end_the_connection() -> None:
    link = TpduLink(TpduSettings(frame_s=10, idle_s=60), 0)
    assert link.deadline == 60
    link.receive(b"\x00", 5)
    assert link.deadline == 15
    link.receive(b"\x10", 14)
    assert link.tick(14.9) == []
    assert link.tick(15) == [Ended("frame unfinished")]
    assert link.deadline is None
    silent = TpduLink(TpduSettings(idle_s=60), 0)
    assert silent.tick(59) == []
    assert silent.tick(60) == [Ended("silence")]


@pytest.mark.parametrize("caller", [Caller("x", "1"), Caller("1" * 17, ""), Caller("1", "2", b"short")])
def test_a_caller_that_cannot_be_written(caller: Caller) -> None:
    with pytest.raises(WireError):
        caller.encode()


def test_too_long_a_message_is_not_sent() -> None:
    with pytest.raises(WireError):
        TpduLink(TpduSettings(longest=20), 0).send(Message(bytes(16), Tpdu(b"ab", b"cd")), 0)
