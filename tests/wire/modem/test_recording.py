"""Recordings of calls: what is found in them and when, and what the centre says, against minimodem's ears and mouth."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

np = pytest.importorskip("numpy", reason="the audio extra is not installed")

from aircharge.wire.fsk import FskFrame, FskType  # noqa: E402
from aircharge.wire.fsk_link import FskLink, FskSettings, Role  # noqa: E402
from aircharge.wire.modem.g711 import Encoding, Samples  # noqa: E402
from aircharge.wire.modem.recording import TURN_S, Said, centre_says, hear, spoken  # noqa: E402
from aircharge.wire.modem.tones import BELL_202, V23, Tones  # noqa: E402
from aircharge.wire.pos_link import Message  # noqa: E402
from tests.peers.modem_audio import minimodem_hears, minimodem_says, needs_minimodem, on_the_line  # noqa: E402

BOTH = pytest.mark.parametrize("tones", [BELL_202, V23], ids=lambda tones: tones.name)
RANDOM = bytes.fromhex("1a2b3c4d")
PREAMBLE = b"\x55" * FskSettings().preamble_octets
LINKED = FskFrame(FskType.LINK_ANSWER, RANDOM, 0)
ASKED = FskFrame(FskType.FROM_TERMINAL, RANDOM, 1, random.Random(1).randbytes(90))
THANKS = FskFrame(FskType.RECEIVED, RANDOM, 2)
MORE = FskFrame(FskType.FROM_TERMINAL, RANDOM, 3, b"and more")


def recorded(tones: Tones, *said: tuple[float, FskFrame], noise_db: float | None = None) -> Samples:
    samples = spoken([Said(PREAMBLE + frame.encode(), at) for at, frame in said], tones, 0.0)
    return on_the_line(samples, noise_db, 5, Encoding.ALAW)


def spoilt(samples: Samples, at_s: float) -> Samples:
    spoilt = samples.copy()
    spoilt[round(at_s * 8000) : round(at_s * 8000) + 200] = 0
    return spoilt


@BOTH
def test_frames_and_when_they_sound(tones: Tones) -> None:
    found = hear(recorded(tones, (0.5, LINKED), (2.0, ASKED), (5.0, MORE), noise_db=20), tones)
    assert [heard.frame for heard in found.frames] == [LINKED, ASKED, MORE]
    assert found.broken == 0
    for heard, at in zip(found.frames, (0.5, 2.0, 5.0), strict=True):
        assert heard.begins_s == pytest.approx(at + 60 / 1200, abs=0.03)  # behind the carrier
        octets = PREAMBLE + heard.frame.encode()
        assert heard.ends_s - heard.begins_s == pytest.approx(len(octets) / 120, abs=0.03)


def test_broken_frames_are_counted_and_hide_no_other() -> None:
    samples = recorded(BELL_202, (0.5, ASKED), (2.5, MORE), (4.0, ASKED), (6.0, MORE))
    found = hear(spoilt(spoilt(samples, 1.2), 4.6), BELL_202)
    assert [heard.frame for heard in found.frames] == [MORE, MORE]
    assert found.broken == 2
    in_content = FskFrame(FskType.FROM_TERMINAL, RANDOM, 1, b"\x55" * 40 + MORE.encode() + b"\x55" * 40)
    found = hear(recorded(BELL_202, (0.0, in_content)), BELL_202)
    assert ([heard.frame for heard in found.frames], found.broken) == ([in_content], 0)
    assert hear(np.zeros(0, np.int16), BELL_202).frames == ()


def test_what_the_centre_says_is_what_the_link_would_say() -> None:
    """Octet for octet, up to the terminal's receipt; a link that lives through the same call."""
    samples = recorded(BELL_202, (1.0, LINKED), (2.0, ASKED), (6.0, THANKS), (7.0, MORE))
    said, silent = centre_says(hear(samples, BELL_202), lambda content: content[::-1])
    link = FskLink(FskSettings(), Role.CENTRE, 0)
    expected = [link.open(RANDOM, 0)]
    link.receive(LINKED.encode(), 0)
    for frame in (ASKED, MORE):
        link.receive(frame.encode(), 0)
        expected.append(link.data_to_send())
        expected.append(link.send(Message(frame.content[::-1]), 0))
        link.receive(FskFrame(FskType.RECEIVED, RANDOM, frame.sequence + 1).encode(), 0)
    assert [one.octets for one in said] == expected
    assert silent == []


def test_when_the_centre_speaks() -> None:
    """Behind what it answers, never into what is coming in, one thing at a time."""
    call = recorded(V23, (0.0, LINKED), (1.0, ASKED), (2.7, MORE), (3.7, ASKED))
    found = hear(call, V23)
    said, silent = centre_says(found, lambda content: content if content == ASKED.content else None)
    assert [one.octets[30] for one in said] == [0x83, 0x84, 0x83, 0x83, 0x84]  # no room for a link request
    assert [heard.frame for heard in silent] == [MORE]
    for one in said:
        assert not any(heard.begins_s <= one.begins_s < heard.ends_s for heard in found.frames)
    ends = [one.begins_s + len(one.octets) / 120 for one in said]
    assert all(later.begins_s >= end + TURN_S - 1e-9 for end, later in zip(ends, said[1:], strict=False))
    assert said[0].begins_s >= found.frames[1].ends_s + TURN_S
    again = hear(spoken(said, V23, 0.0), V23)
    assert [(PREAMBLE + heard.frame.encode()) for heard in again.frames] == [one.octets for one in said]


def test_a_repeat_is_acknowledged_and_not_asked_again() -> None:
    asked: list[bytes] = []
    found = hear(recorded(BELL_202, (0.0, ASKED), (3.0, ASKED), (6.0, MORE)), BELL_202)
    said, _ = centre_says(found, lambda content: asked.append(content) or b"yes")
    assert asked == [ASKED.content, MORE.content]
    assert [one.octets[30] for one in said] == [0x83, 0x84, 0x83, 0x83, 0x84]


@needs_minimodem
@pytest.mark.peer
@BOTH
def test_minimodem_asks_and_minimodem_hears_the_answer(tones: Tones, tmp_path: Path) -> None:
    theirs = minimodem_says(PREAMBLE + ASKED.encode(), tones, tmp_path)
    found = hear(on_the_line(theirs, 18, 2, Encoding.ULAW), tones)
    assert [heard.frame for heard in found.frames] == [ASKED]
    answer = random.Random(9).randbytes(120)
    said, _ = centre_says(found, lambda content: answer)
    ours = Encoding.ULAW.decode(Encoding.ULAW.encode(spoken(said, tones, found.seconds)))
    assert minimodem_hears(ours, tones, tmp_path) == b"".join(one.octets for one in said)
    expected = [
        FskFrame(FskType.RECEIVED, RANDOM, 1),
        FskFrame(FskType.FROM_CENTRE, RANDOM, 2, answer),
    ]
    assert [one.octets for one in said] == [PREAMBLE + frame.encode() for frame in expected]
