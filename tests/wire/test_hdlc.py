"""HDLC frames and bits: against libspandsp and binascii, any cutting, a spoilt frame costs only itself."""

from __future__ import annotations

import binascii
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aircharge.errors import WireError
from aircharge.wire.hdlc import HdlcFrame, HdlcReceiver, Kind, crc_x25, to_bits
from tests.peers.spandsp import hdlc_bits, hdlc_frames, needs_spandsp
from tests.wire.memory import peak_octets
from tests.wire.pos_line import in_pieces

NUMBERS = st.integers(0, 7)
FRAMES = st.one_of(
    st.builds(HdlcFrame, st.just(Kind.I), st.booleans(), NUMBERS, NUMBERS, st.binary(max_size=40)),
    st.builds(
        HdlcFrame,
        st.sampled_from([Kind.RR, Kind.RNR, Kind.REJ]),
        st.booleans(),
        st.just(0),
        NUMBERS,
    ),
    st.builds(HdlcFrame, st.sampled_from([Kind.SNRM, Kind.UA, Kind.DISC, Kind.DM]), st.booleans()),
    st.builds(HdlcFrame, st.just(Kind.FRMR), st.booleans(), content=st.binary(min_size=3, max_size=3)),
)
STUFFED = st.lists(st.sampled_from([0xFF, 0x7E, 0x1F, 0xF8, 0x00, 0x3F]), max_size=30).map(bytes)


def mirrored(octets: bytes) -> bytes:
    return bytes(int(f"{octet:08b}"[::-1], 2) for octet in octets)


@given(st.binary(max_size=200))
def test_crc_against_binascii(data: bytes) -> None:
    """binascii knows the same polynomial, highest bit first."""
    crc = binascii.crc_hqx(mirrored(data), 0xFFFF) ^ 0xFFFF
    assert crc_x25(data) == int(f"{crc:016b}"[::-1], 2)


def test_crc_check_value() -> None:
    assert crc_x25(b"123456789") == 0x906E  # the catalogue's check value of CRC-16/X.25


@pytest.mark.parametrize(
    ("frame", "control"),
    [
        (HdlcFrame(Kind.SNRM, True), 0x93),
        (HdlcFrame(Kind.UA, True), 0x73),
        (HdlcFrame(Kind.DISC, True), 0x53),
        (HdlcFrame(Kind.DM, True), 0x1F),
        (HdlcFrame(Kind.FRMR, True, content=b"abc"), 0x97),
        (HdlcFrame(Kind.RR, True, nr=3), 0x71),
        (HdlcFrame(Kind.RNR, False, nr=3), 0x65),
        (HdlcFrame(Kind.REJ, True, nr=7), 0xF9),
        (HdlcFrame(Kind.I, True, ns=2, nr=5, content=b"x"), 0xB4),
    ],
)
def test_control_octets(frame: HdlcFrame, control: int) -> None:
    octets = frame.encode()
    assert octets[:2] == bytes([0x30, control])
    assert HdlcFrame.decode(octets) == frame


@given(st.lists(FRAMES, max_size=5), st.lists(st.integers(1, 20), max_size=30), st.binary(max_size=3))
def test_any_cutting_gives_the_same_frames(frames: list[HdlcFrame], cuts: list[int], noise: bytes) -> None:
    bits = noise + b"\xff\xff" + b"".join(to_bits(frame.encode()) for frame in frames) + noise
    receiver = HdlcReceiver()
    found = [frame for piece in in_pieces(bits, cuts) for frame in receiver.feed(piece)]
    sound = [frame for frame in map(decoded, found) if frame is not None]
    assert sound == frames


@given(st.lists(FRAMES, min_size=1, max_size=5), st.integers(0, 7), st.data())
def test_a_spoilt_frame_costs_only_itself(frames: list[HdlcFrame], shift: int, data: st.DataObject) -> None:
    """Whatever the line's bits are aligned to."""
    bits = [to_bits(frame.encode()) for frame in frames]
    which = data.draw(st.integers(0, len(frames) - 1))
    place = data.draw(st.integers(0, len(bits[which]) - 1))
    spoilt = bytearray(bits[which])
    spoilt[place] ^= data.draw(st.integers(1, 255))
    bits[which] = bytes(spoilt)
    stream = int.from_bytes(b"".join(bits), "little") << shift | (1 << shift) - 1
    found = HdlcReceiver().feed(stream.to_bytes(len(b"".join(bits)) + 1, "little"))
    sound = [frame for frame in map(decoded, found) if frame is not None]
    rest = frames[:which] + frames[which + 1 :]
    assert sound in (rest, frames)  # the latter: only the idle line behind it was hit


def decoded(octets: bytes) -> HdlcFrame | None:
    try:
        return HdlcFrame.decode(octets)
    except WireError:
        return None


@needs_spandsp
@pytest.mark.peer
@settings(max_examples=40)
@given(st.lists(FRAMES, min_size=1, max_size=4), STUFFED)
def test_spandsp_reads_our_bits(frames: list[HdlcFrame], worst: bytes) -> None:
    frames = [*frames, HdlcFrame(Kind.I, content=worst)]
    bits = b"\xff\x7e" + b"".join(to_bits(frame.encode()) for frame in frames)
    assert hdlc_frames(bits) == [frame.encode()[:-2] for frame in frames]


@needs_spandsp
@pytest.mark.peer
@settings(max_examples=40)
@given(st.lists(FRAMES, min_size=1, max_size=4), STUFFED)
def test_we_read_the_bits_of_spandsp(frames: list[HdlcFrame], worst: bytes) -> None:
    frames = [*frames, HdlcFrame(Kind.I, content=worst)]
    bits = hdlc_bits([frame.encode()[:-2] for frame in frames])
    assert [HdlcFrame.decode(octets) for octets in HdlcReceiver().feed(bits)] == frames


@pytest.mark.peer
@pytest.mark.skipif(not shutil.which("tshark"), reason="PEER MISSING: tshark")
def test_tshark_reads_our_controls(tmp_path: Path) -> None:
    """Its SDLC dissector names what we mean."""
    frames = [
        HdlcFrame(Kind.SNRM, True),
        HdlcFrame(Kind.UA, True),
        HdlcFrame(Kind.I, True, 2, 5, b"hello"),
        HdlcFrame(Kind.RR, True, nr=3),
        HdlcFrame(Kind.RNR, nr=3),
        HdlcFrame(Kind.REJ, True, nr=7),
        HdlcFrame(Kind.DISC, True),
        HdlcFrame(Kind.DM, True),
    ]
    pcap = bytes.fromhex("d4c3b2a1020004000000000000000000ffff0000") + (268).to_bytes(4, "little")
    for frame in frames:
        octets = frame.encode()[:-2]
        pcap += bytes(8) + len(octets).to_bytes(4, "little") * 2 + octets
    (tmp_path / "lines.pcap").write_bytes(pcap)
    fields = ["-e", "_ws.col.Info", "-e", "sdlc.control.n_s", "-e", "sdlc.control.n_r"]
    seen = subprocess.run(
        ["tshark", "-r", str(tmp_path / "lines.pcap"), "-T", "fields", *fields],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.splitlines()
    words = ["SNRM", "UA", "", "RR", "RNR", "REJ", "RD", "DM"]  # RD is DISC in the other direction
    numbers = [["", ""], ["", ""], ["2", "5"], ["", "3"], ["", "3"], ["", "7"], ["", ""], ["", ""]]
    assert [([*line.split("\t"), "", ""])[1:3] for line in seen] == numbers
    assert [([*line.split("func="), ""])[1].split("\t")[0].split(",")[0] for line in seen] == words


def test_a_frame_without_end_is_dropped_and_takes_no_memory() -> None:
    receiver = HdlcReceiver(longest=256)
    good = to_bits(HdlcFrame(Kind.I, content=b"x").encode())
    assert len(receiver.feed(good)) == 1
    endless = b"\x7e" + b"\x55" * 100_000
    frames, octets = peak_octets(lambda: receiver.feed(endless))
    assert frames == []
    assert octets < 1024
    assert receiver.overlong == 1
    assert len(receiver.feed(good)) == 1


@pytest.mark.parametrize("body", ["", "30", "3011ff", "302b", "30ef"])
def test_what_is_no_frame(body: str) -> None:
    octets = bytes.fromhex(body)
    with pytest.raises(WireError):
        HdlcFrame.decode(octets + crc_x25(octets).to_bytes(2, "little"))
    with pytest.raises(WireError):
        HdlcFrame.decode(HdlcFrame(Kind.UA).encode()[:-1] + b"\0")
