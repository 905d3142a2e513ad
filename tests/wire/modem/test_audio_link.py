"""FSK calls as audio in virtual time, two ends in real pace: gateways that pass silence and such that do not."""

from __future__ import annotations

import random

import pytest

np = pytest.importorskip("numpy", reason="the audio extra is not installed")

from aircharge.wire.fsk_link import FskLink, FskSettings, Role  # noqa: E402
from aircharge.wire.modem.audio_link import BURST_S, ENCODINGS, PAUSE_S, SLICE_S, AudioLink  # noqa: E402
from aircharge.wire.modem.line import AudioLine  # noqa: E402
from aircharge.wire.modem.tones import MODEMS  # noqa: E402
from aircharge.wire.pos_link import Ended, Event, Message, Received  # noqa: E402

RANDOM = b"\x01\x02\x03\x04"


def call(role: Role, tones: str = "bell202", audio: str = "alaw", **settings: int) -> AudioLink:
    line = AudioLine(MODEMS[tones], ENCODINGS[audio])
    return AudioLink(FskLink(FskSettings(**settings), role, 0.0), line, 0.0)


class Voice:
    """A gateway between two ends, a slice at a time; what nobody says is silence, or nothing at all."""

    def __init__(self, tones: str, audio: str, *, passes_silence: bool, loses_s: float = 0.0) -> None:
        self.ends = (call(Role.CENTRE, tones, audio), call(Role.TERMINAL, tones, audio))
        self.now = 0.0
        self.events: tuple[list[Event], list[Event]] = ([], [])
        self._silence = ENCODINGS[audio].encode(np.zeros(160, np.int16))
        self._passes_silence, self._loses_s = passes_silence, loses_s
        self._said = (bytearray(self.ends[0].open(RANDOM, 0.0)), bytearray())

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / SLICE_S)):
            self.now += SLICE_S
            for number, end in enumerate(self.ends):
                if (due := end.deadline) is not None and due <= self.now:
                    self.events[number].extend(end.tick(self.now))
                self._said[number].extend(end.data_to_send())
            for number in (0, 1):
                self._carry(number, 1 - number)

    def _carry(self, speaker: int, hearer: int) -> None:
        said, size = self._said[speaker], len(self._silence)
        piece = bytes(said[:size])
        del said[:size]
        if speaker == 0 and self.now < self._loses_s:
            piece = b""
        if self._passes_silence:
            piece += self._silence[len(piece) :]
        if piece:
            self.events[hearer].extend(self.ends[hearer].receive(piece, self.now))

    def say(self, speaker: int, content: bytes) -> None:
        self._said[speaker].extend(self.ends[speaker].send(Message(content), self.now))

    def received(self, hearer: int) -> list[bytes]:
        return [event.message.content for event in self.events[hearer] if isinstance(event, Received)]


@pytest.mark.parametrize("passes_silence", [True, False])
@pytest.mark.parametrize(("tones", "audio"), [("bell202", "alaw"), ("v23", "ulaw"), ("bell202", "linear")])
def test_a_question_and_its_answer(tones: str, audio: str, *, passes_silence: bool) -> None:
    voice = Voice(tones, audio, passes_silence=passes_silence)
    voice.run(3)
    question, answer = random.Random(1).randbytes(60), random.Random(2).randbytes(90)
    voice.say(1, question)
    voice.run(3)
    voice.say(0, answer)
    voice.run(4)
    assert (voice.received(0), voice.received(1)) == ([question], [answer])
    assert [end.link.repeats_sent for end in voice.ends] == [0, 0]


def test_what_the_line_lost_is_said_again() -> None:
    voice = Voice("bell202", "alaw", passes_silence=False, loses_s=0.6)
    voice.run(6)
    voice.say(1, b"sale")
    voice.run(3)
    assert (voice.received(0), voice.ends[0].link.repeats_sent) == ([b"sale"], 1)


def heard_at_once(link: AudioLink, seconds: float, now: float) -> list[Event]:
    return link.receive(b"\xd5" * round(seconds * 8000), now)


def test_audio_faster_than_it_sounds_ends_the_call_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second's worth a second is well, and what was held back for a while; then no more."""
    link = call(Role.CENTRE)
    link.open(RANDOM, 0.0)
    for second in range(10):
        assert heard_at_once(link, 1, second) == []
    assert heard_at_once(link, BURST_S - 0.1, 10.0) == []
    monkeypatch.setattr(AudioLine, "hear", lambda *_: pytest.fail("it was demodulated"))
    assert heard_at_once(link, 1, 10.5) == [Ended("audio faster than it sounds")]
    assert (link.has_ended, link.deadline, link.data_to_send()) == (True, None, b"")
    assert (link.receive(b"\xd5" * 160, 11.0), link.tick(11.0), link.connection_lost()) == ([], [], [])


def test_a_pause_is_waited_for_once() -> None:
    link = call(Role.TERMINAL)
    heard_at_once(link, 0.1, 1.0)
    assert link.deadline == 1.0 + PAUSE_S
    assert link.tick(1.0 + PAUSE_S) == []
    assert (due := link.deadline) is not None
    assert due > 60
