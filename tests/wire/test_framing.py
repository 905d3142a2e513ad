"""Splitters: whole, in any pieces, bounded."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircharge.errors import WireError
from aircharge.wire.framing import NEED_DATA, LengthSplitter, SmppSplitter, Splitter


def drain(splitter: Splitter) -> list[bytes]:
    frames = []
    while isinstance(frame := splitter.next_frame(), bytes):
        frames.append(frame)
    return frames


def smpp(body: bytes) -> bytes:
    return (16 + len(body)).to_bytes(4, "big") + bytes(12) + body


@given(
    st.lists(st.binary(max_size=40), max_size=6),
    st.lists(st.integers(1, 30), max_size=40),
    st.binary(max_size=3),
)
def test_any_cutting_gives_the_same_frames(bodies: list[bytes], cuts: list[int], rest: bytes) -> None:
    stream = b"".join(map(smpp, bodies)) + rest
    splitter = SmppSplitter()
    frames = []
    for cut in [*cuts, len(stream)]:
        splitter.feed(stream[:cut])
        stream = stream[cut:]
        frames += drain(splitter)
    assert frames == [smpp(body) for body in bodies]
    assert splitter.buffered_octets == len(rest)


@pytest.mark.parametrize("length", [0, 1, 15, 65537, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_length_out_of_bounds_ends_the_stream_at_the_header(length: int) -> None:
    splitter = SmppSplitter()
    splitter.feed(smpp(b"x"))
    splitter.feed(length.to_bytes(4, "big"))
    assert splitter.next_frame() == smpp(b"x")
    for _ in range(3):
        with pytest.raises(WireError) as caught:
            splitter.next_frame()
        assert caught.value.hint == 2
        splitter.feed(smpp(b"x") * 1000)
    assert splitter.buffered_octets == 0


def test_the_bounds_themselves_are_allowed() -> None:
    splitter = SmppSplitter(max_length=64)
    splitter.feed(smpp(b"") + smpp(bytes(48)))
    assert drain(splitter) == [smpp(b""), smpp(bytes(48))]
    splitter.feed(smpp(bytes(49)))
    with pytest.raises(WireError):
        splitter.next_frame()


def test_a_length_bomb_allocates_next_to_nothing() -> None:
    splitter = SmppSplitter()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        splitter.feed(b"\xff\xff\xff\xff")
        try:
            splitter.next_frame()
        except WireError:
            pass
        else:
            pytest.fail("a bomb was accepted")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 4096  # the error object and its traceback; nothing of the length asked for


def test_other_lengths() -> None:
    splitter = LengthSplitter(2, shortest=2, longest=100, extra_octets=2, standard="TPDU", section="-")
    splitter.feed(b"\x00\x03abc\x00\x00\x00")
    assert drain(splitter) == [b"\x00\x03abc", b"\x00\x00"]
    assert splitter.next_frame() is NEED_DATA
