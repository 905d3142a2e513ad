"""Frames of the FSK link: the vectors, any cutting, noise, a spoilt frame costs only itself, bounds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircharge.errors import WireError
from aircharge.wire.fsk import FskFrame, FskHunter, FskType
from tests.wire.memory import peak_octets
from tests.wire.pos_line import in_pieces

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "pos_fsk.json").read_text("utf-8"))
RANDOMS = st.binary(min_size=4, max_size=4)
SHORT = st.sampled_from([FskType.LINK_REQUEST, FskType.LINK_ANSWER, FskType.RECEIVED])
LONG = st.sampled_from([FskType.FROM_CENTRE, FskType.FROM_TERMINAL])
FRAMES = st.one_of(
    st.builds(FskFrame, SHORT, RANDOMS, st.integers(0, 255)),
    st.builds(FskFrame, LONG, RANDOMS, st.integers(0, 255), st.binary(max_size=40)),
)
NOISE = st.lists(st.integers(0, 255).filter(lambda octet: octet not in set(FskType)), max_size=20).map(bytes)


@pytest.mark.parametrize("row", VECTORS["link_frames"], ids=lambda row: row["name"])
def test_vectors(row: dict[str, str]) -> None:
    frame = FskFrame(
        FskType(int(row["type"], 16)),
        bytes.fromhex(row["random"]),
        int(row["sync_seq"]),
        bytes.fromhex(row["content"] or ""),
    )
    assert frame.encode().hex() == row["hex"]
    assert FskFrame.decode(bytes.fromhex(row["hex"])) == frame


@given(
    st.lists(FRAMES, max_size=6),
    st.lists(st.integers(1, 30), max_size=30),
    st.lists(NOISE, min_size=7, max_size=7),
)
def test_any_cutting_between_carrier_and_noise(
    frames: list[FskFrame], cuts: list[int], noise: list[bytes]
) -> None:
    stream = b"".join(
        before + b"\x55" * 20 + frame.encode() for before, frame in zip(noise, frames, strict=False)
    )
    hunter = FskHunter()
    found = [frame for piece in in_pieces(stream + noise[6], cuts) for frame in hunter.feed(piece)]
    assert [FskFrame.decode(octets) for octets in found] == frames


@given(st.lists(FRAMES, min_size=1, max_size=6), st.data())
def test_a_spoilt_frame_costs_only_itself(frames: list[FskFrame], data: st.DataObject) -> None:
    octets = [b"\x55" * 5 + frame.encode() for frame in frames]
    which = data.draw(st.integers(0, len(frames) - 1))
    place = data.draw(st.integers(5, len(octets[which]) - 1))
    spoilt = bytearray(octets[which])
    spoilt[place] ^= data.draw(st.integers(1, 255))
    octets[which] = bytes(spoilt)
    hunter = FskHunter()
    found = hunter.feed(b"".join(octets)) + hunter.give_up()
    assert [FskFrame.decode(frame) for frame in found] == frames[:which] + frames[which + 1 :]


@given(st.binary(max_size=3000))
def test_noise_alone_keeps_no_more_than_one_frame(noise: bytes) -> None:
    hunter = FskHunter()
    hunter.feed(noise)
    assert hunter.buffered_octets <= 1024 + 11
    hunter.give_up()
    assert hunter.buffered_octets == 0


@pytest.mark.parametrize("bomb", ["87ffff", "8400ff1a2b3c4d010000", "81ffff", "8703ff1a2b3c4d01ffff"])
def test_a_length_bomb_is_noise_and_takes_no_memory(bomb: str) -> None:
    hunter, frame = FskHunter(), FskFrame(FskType.RECEIVED, b"abcd", 1).encode()
    assert hunter.feed(frame) == [frame]
    frames, octets = peak_octets(lambda: hunter.feed(bytes.fromhex(bomb)))
    assert frames == []
    assert octets < 1024
    assert hunter.feed(frame) == [frame]


@pytest.mark.parametrize(
    "frame",
    [
        FskFrame(FskType.FROM_CENTRE, b"abcd", 1, bytes(1025)),
        FskFrame(FskType.RECEIVED, b"abcd", 1, b"x"),
    ],
)
def test_what_cannot_be_written(frame: FskFrame) -> None:
    with pytest.raises(WireError):
        frame.encode()


@pytest.mark.parametrize("octets", ["", "81", "8100051a2b3c4d00ad", "8100051a2b3c4d00ac00", "5581"])
def test_what_is_no_frame(octets: str) -> None:
    with pytest.raises(WireError):
        FskFrame.decode(bytes.fromhex(octets))
