"""TLV, its bounds, and the splitter of a TCP stream."""

from __future__ import annotations

import contextlib
import itertools
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircharge.errors import WireError
from aircharge.wire.operator.ber import NEED_DATA, decode_integer, encode_integer, tlv, tree
from aircharge.wire.operator.codec import encode, splitter
from tests.wire.operator.samples import SAMPLES

STREAM = b"".join(encode(apdu) for apdu in SAMPLES)
FRAMES = [encode(apdu) for apdu in SAMPLES]


def _split(pieces):
    split, frames = splitter(), []
    for piece in pieces:
        split.feed(piece)
        while (frame := split.next_frame()) is not NEED_DATA:
            frames.append(frame)
    return frames, split.held


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100_000])
def test_a_stream_in_any_pieces_gives_the_same_apdus(size):
    pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    assert _split(pieces) == (FRAMES, 0)


def test_trailing_octets_wait():
    assert _split([STREAM + FRAMES[0][:9]]) == (FRAMES, 9)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_cuts_anywhere(cuts):
    places = sorted({0, *cuts, len(STREAM)})
    pieces = [STREAM[a:b] for a, b in itertools.pairwise(places)]
    assert _split(pieces)[0] == FRAMES


@pytest.mark.parametrize(
    "head",
    [
        b"\xa1\x84\xff\xff\xff\xff",
        b"\xa1\x83\x01\x00\x00",
        b"\xa1\x80",
        b"\xa1\x85",
        b"\xa1\xff",
        b"\x30",
        b"\xbf",
        b"\x00",
        b"GET / HTTP/1.1",
        b"\x16\x03\x01",
    ],
    ids=bytes.hex,
)
def test_a_header_that_can_never_become_an_apdu_is_refused_at_once(head):
    first, split = splitter(), splitter()
    first.feed(head)
    with pytest.raises(WireError):  # a coverage measurement keeps each line's first run
        first.next_frame()
    split.feed(head)
    tracemalloc.start()
    with pytest.raises(WireError):
        split.next_frame()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8192  # the exception and its words; nothing of the announced size


def test_the_largest_apdu_passes_octet_by_octet_in_linear_time():
    frame = tlv(0xA1, bytes(65_532))
    assert len(frame) == 65_536
    assert _split([frame[at : at + 1] for at in range(len(frame))])[0] == [frame]


@given(st.integers(-(2**70), 2**70))
def test_integers(value):
    assert decode_integer(encode_integer(value)) == value


@given(st.binary(max_size=60))
def test_random_octets_are_a_tree_or_a_wire_error(octets):
    with contextlib.suppress(WireError):
        tree(octets)


def test_depth_is_bounded():
    nested = b""
    for _ in range(9):
        nested = tlv(0xA0, nested)
    with pytest.raises(WireError):
        tree(nested)


def test_the_sample_that_five_codecs_agree_on():
    text = (Path(__file__).parents[2] / "vectors" / "operator_ber_sample.json").read_text()
    sample = json.loads(text)
    octets, value = bytes.fromhex(sample["recharge_request_ber"]), sample["recharge_request_value"]
    node = tree(octets)
    assert [part.tag for part in node.parts] == [0x80 | number for number in range(11)]
    content = [part.content for part in node.parts]
    assert content[1].hex() == value["requestId"]
    assert content[4].decode() == value["msisdn"]
    assert decode_integer(content[5]) == value["amountFen"]
    assert decode_integer(content[6]) == value["currency"]
    assert tlv(0x30, b"".join(tlv(part.tag, part.content) for part in node.parts)) == octets
