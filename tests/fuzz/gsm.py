"""Text of short messages: alphabets, packing, UDH, parts cut and joined; and the splitter of length-led frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, Final

from aircharge.errors import WireError
from aircharge.wire.framing import LengthSplitter, SmppSplitter, Splitter
from aircharge.wire.gsm import (
    Part,
    Reassembler,
    Udh,
    alphabet_of,
    decode_gsm7,
    decode_text,
    encode_gsm7,
    encode_text,
    fill_bits_after,
    pack,
    split_parts,
    unpack,
)
from tests.fuzz.target import Target, same_however_cut

__all__ = ["TARGETS"]

_DEFAULTS: Final[tuple[Any, ...]] = ("gsm7", "latin1", "ascii", "gsm7-packed")

# -- alphabets ---------------------------------------------------------------------------------------------


def _text(data: bytes) -> str | None:
    """Octets: data_coding, the peer's default alphabet, then the user data."""
    coding, default = (data[0], _DEFAULTS[data[1] & 3]) if len(data) > 1 else (0, "gsm7")
    return decode_text(data[2:], coding, default)


def _text_again(text: str | None, data: bytes) -> None:
    septets = bytes(octet & 0x7F for octet in data[2:])
    for fill_bits in range(7):
        unpacked = unpack(pack(septets, fill_bits), fill_bits)
        assert unpacked in (septets, septets[:-1])
        assert len(unpacked) == len(septets) or septets[-1] == 0
    if text is None:
        return
    said = encode_gsm7(decode_gsm7(septets))
    assert said is None or decode_gsm7(said) == decode_gsm7(septets)
    for default in _DEFAULTS:
        coding, octets = encode_text(text, default)
        assert coding in (0, 8)
        packed = pack(octets) if default == "gsm7-packed" and coding == 0 else octets
        again = decode_text(packed, coding, default)
        assert again is not None
        # Seven bits cannot tell a last "@" from padding; a lone surrogate cannot be said at all.
        assert again == text or (default == "gsm7-packed" and again == text.removesuffix("@"))
        _check_parts(octets, coding, default, 0x1234)


# -- parts -------------------------------------------------------------------------------------------------


def _body(part: Part, alphabet: str) -> bytes:
    return unpack(part.body, fill_bits_after(len(part.udh))) if alphabet == "gsm7-packed" else part.body


def _check_parts(octets: bytes, coding: int, default: Any, ref: int) -> None:
    alphabet = alphabet_of(coding, default)
    parts = split_parts(octets, coding, ref & 0xFF, default=default)
    if alphabet != "gsm7-packed":
        assert b"".join(part.body for part in parts) == octets
    for part in parts:
        limit = 140 if alphabet not in ("gsm7", "ascii") else 160
        assert len(part.user_data) <= limit
        if part.udh:
            assert Udh.parse(part.user_data) == (Udh.parse(part.udh)[0], part.body)
    bodies = [_body(part, alphabet) for part in parts]
    if alphabet == "gsm7-packed":  # a last "@" of a part cannot be told from padding
        assert b"".join(bodies).replace(b"\0", b"") == octets.replace(b"\0", b"")
    for before, after in pairwise(bodies):
        if alphabet in ("gsm7", "gsm7-packed"):
            assert not before.endswith(b"\x1b")
        if alphabet == "ucs2" and len(before) > 1:
            assert not (0xD8 <= before[-2] <= 0xDB and 0xDC <= after[0] <= 0xDF)


# -- UDH ---------------------------------------------------------------------------------------------------


def _udh_again(found: tuple[Udh, bytes], data: bytes) -> None:
    udh, body = found
    assert data.endswith(body)
    assert len(body) == len(data) - 1 - data[0]
    concat = udh.concat
    if concat is not None:
        assert 1 <= concat.seq <= concat.total <= 255
        assert Udh((concat.element(),)).concat == concat
    assert udh.ports is None or all(0 <= port <= 0xFFFF for port in udh.ports)
    try:
        octets = udh.build()
    except WireError:  # longer than one short message: read, never sent
        assert data[0] >= 140
        return
    assert Udh.parse(octets + body) == (udh, body)


# -- parts back together -----------------------------------------------------------------------------------

_MESSAGES_MAX, _AGE_MAX_MS, _BYTES_MAX = 3, 50, 2000


def _reassembled(data: bytes) -> list[bytes]:
    """Octets: records of key, reference, total, number, time passed, octets of body."""
    joined = Reassembler(_MESSAGES_MAX, _AGE_MAX_MS, _BYTES_MAX)
    sent: dict[tuple[int, int, int, int], set[bytes]] = {}
    whole = []
    at = now_ms = 0
    while at + 6 <= len(data):
        key, ref, total, seq, passed, octets = data[at : at + 6]
        key, ref, total = key & 1, ref & 3, total % 5
        seq %= 5
        body = data[at + 6 : at + 6 + octets]
        at += 6 + octets
        now_ms += passed & 15
        if not 1 <= seq <= total:
            continue
        sent.setdefault((key, ref, total, seq), set()).add(body)
        found = joined.add(key, ref, total, seq, body, now_ms)
        assert len(joined) <= _MESSAGES_MAX
        assert 0 <= joined.size_bytes <= _BYTES_MAX
        if found is not None:
            options: set[bytes] = {b""}
            for number in range(1, total + 1):
                options = {head + tail for head in options for tail in sent[key, ref, total, number]}
                if len(options) > 64:
                    break
            else:
                assert found in options
            whole.append(found)
    return whole


# -- frames led by their length ----------------------------------------------------------------------------

_TWO: Final = {"shortest": 2, "longest": 600, "standard": "a test", "section": "1"}
_SPLITTERS: Final[tuple[Callable[[], Splitter], ...]] = (
    SmppSplitter,
    partial(LengthSplitter, 2, extra_octets=2, **_TWO),
    partial(LengthSplitter, 1, extra_octets=1, **_TWO),
)


def _split(kind: int, pieces: Iterable[bytes]) -> tuple[list[bytes], int, str]:
    splitter = _SPLITTERS[kind % len(_SPLITTERS)]()
    frames = []
    why = ""
    for piece in pieces:
        splitter.feed(piece)
        try:
            while isinstance(frame := splitter.next_frame(), bytes):
                assert frame, "a frame of nothing: it would come for ever"
                frames.append(frame)
        except WireError as error:
            why = error.why
    return frames, splitter.buffered_octets, why


def _frames(data: bytes) -> tuple[list[bytes], int, str]:
    return _split(data[0] if data else 0, (data[1:],))


def _frames_again(found: tuple[list[bytes], int, str], data: bytes) -> None:
    frames, held, why = found
    joined = b"".join(frames)
    assert data[1:].startswith(joined)
    assert held == (0 if why else len(data[1:]) - len(joined))
    same_however_cut(lambda pieces: _split(data[0] if data else 0, pieces), found, data[1:])


def _opened_splitter() -> Callable[[bytes], Any]:
    splitter = SmppSplitter()

    def take(data: bytes) -> None:
        splitter.feed(data)
        splitter.next_frame()

    return take


# -- where the corpora begin -------------------------------------------------------------------------------

_SAYINGS: Final = ("13812345678 50", "充值50元", "a{b}€@", "Ünïcode 😀 " * 20, "\x1b", "x" * 161)


def _text_seeds() -> Iterator[bytes]:
    for coding in (0, 1, 2, 3, 4, 5, 6, 7, 8, 14, 0x10, 0x14, 0x18, 0x20, 0xC0, 0xE0, 0xF0, 0xF4):
        yield bytes((coding, 0)) + "充值a".encode("utf-16-be")
    for saying in _SAYINGS:
        for number, default in enumerate(_DEFAULTS):
            coding, octets = encode_text(saying, default)
            yield bytes((coding, number)) + octets


def _udh_seeds() -> Iterator[bytes]:
    for text in (
        "0500034202 01",
        "06080412340201",
        "027000",
        "0605041f900bb8",
        "0404021f90",
        "00",
        "0301ff00",
    ):
        yield bytes.fromhex(text) + b"body"


def _reassembly_seeds() -> Iterator[bytes]:
    def part(total: int, seq: int, body: bytes, ref: int = 0, passed: int = 1) -> bytes:
        return bytes((0, ref, total, seq, passed, len(body))) + body

    yield part(2, 1, b"ab") + part(2, 2, b"cd")
    yield part(3, 3, b"ab") + part(3, 1, b"cd") + part(3, 1, b"xy") + part(3, 2, b"z")
    yield b"".join(part(2, 1, b"a" * 200, ref, 15) for ref in range(4)) + part(2, 2, b"")
    yield part(1, 1, b"alone") + part(4, 4, b"")


TARGETS: Final = {
    "gsm-text": Target(_text, _text_again, (), seeds=_text_seeds),
    "gsm-udh": Target(
        Udh.parse,
        _udh_again,
        tame=b"\x02\x00\x01",
        bombs=(b"\xff", b"\x04\x70\xff", b"\x03\x00\xff\xff"),
        seeds=_udh_seeds,
    ),
    "gsm-reassembly": Target(_reassembled, allowed=(), seeds=_reassembly_seeds),
    "framing": Target(
        _frames,
        _frames_again,
        tame=b"\x00\x01\x00\x01",
        bombs=(b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff\x00", b"\x00\x00\x00\x00"),
        opened=_opened_splitter,
        seeds=lambda: (
            bytes((kind,)) + b"\x00\x00\x00\x10" + bytes(12) + b"\x00\x03abc" for kind in range(3)
        ),
    ),
}
