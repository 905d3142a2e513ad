"""A terminal on a voice gateway that only passes audio: modem, link and application in real time."""

from __future__ import annotations

import pytest

np = pytest.importorskip("numpy", reason="the audio extra is not installed")

from aircharge.protocols.pos_line import PosLine  # noqa: E402
from aircharge.protocols.pos_place import PosPlace  # noqa: E402
from aircharge.wire.fsk_link import FskLink, FskSettings, Role  # noqa: E402
from aircharge.wire.modem.audio_link import ENCODINGS, SLICE_S, AudioLink  # noqa: E402
from aircharge.wire.modem.line import AudioLine  # noqa: E402
from aircharge.wire.modem.tones import MODEMS  # noqa: E402
from aircharge.wire.pos_link import Message, Opened, Received  # noqa: E402
from tests.protocols.test_pos_line import House, connected  # noqa: E402


class Phone:
    """The terminal's end of the call, and the gateway that carries 20 ms of audio each way at a time."""

    def __init__(self, house: House, audio: str, tones: str, noise: float = 0.0) -> None:
        self.house = house
        self.line, self.wire = connected(house)
        encoding = ENCODINGS[audio]
        modem = AudioLine(MODEMS[tones], encoding)
        self.link = AudioLink(FskLink(FskSettings(), Role.TERMINAL, 0), modem, 0)
        self.silence = encoding.encode(np.zeros(int(8000 * SLICE_S), np.int16))
        self.encoding, self.noise = encoding, noise
        self.chance = np.random.default_rng(5)
        self.events: list[object] = []
        self.heard = bytearray()

    def carry(self, seconds: float) -> None:
        size = len(self.silence)
        for _ in range(int(seconds / SLICE_S)):
            now = self.house.clock.seconds()
            self.heard += self.wire.value()
            self.wire.clear()
            theirs, self.heard = bytes(self.heard[:size]) or self.silence, self.heard[size:]
            self.events += self.link.receive(self._noisy(theirs), now)
            self.events += self.link.tick(now)
            self.line.dataReceived(self._noisy(self.link.data_to_send() or self.silence))
            self.house.clock.advance(SLICE_S)

    def _noisy(self, audio: bytes) -> bytes:
        if not self.noise:
            return audio
        samples = self.encoding.decode(audio)
        hum = self.chance.normal(0, self.noise, len(samples))
        return self.encoding.encode(np.clip(samples + hum, -32768, 32767).astype(np.int16))

    def saw(self, kind: type) -> list[object]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.mark.parametrize(
    ("audio", "tones", "noise"),
    [("ulaw", "bell202", 0.0), ("alaw", "v23", 0.0), ("linear", "bell202", 0.0), ("ulaw", "v23", 1200.0)],
)
def test_a_call(audio: str, tones: str, noise: float) -> None:
    """Noise of 1,200 beside a peak of 8,000 is 13 dB."""
    house = House("fsk-audio", audio=audio, tones=tones)
    phone = Phone(house, audio, tones, noise)
    phone.carry(3)
    assert phone.saw(Opened)
    phone.link.send(Message(b"sale of 50 yuan"), house.clock.seconds())
    phone.carry(6)
    assert [message.content for message in house.heard] == [b"sale of 50 yuan"]
    [answer] = phone.saw(Received)
    assert isinstance(answer, Received)
    assert answer.message.content == b"yes to sale of 50 yuan"


def test_audio_goes_out_in_real_time() -> None:
    house = House("fsk-audio")
    _, wire = connected(house)
    sizes = []
    for _ in range(20):
        sizes.append(len(wire.value()))
        wire.clear()
        house.clock.advance(SLICE_S)
    assert sizes[0] <= 160
    assert max(sizes) <= 320
    assert 1500 < sum(sizes) <= 3300  # 400 ms of 8 kHz


def test_a_caller_who_hangs_up_or_never_speaks() -> None:
    house = House("fsk-audio")
    line, wire = connected(house)
    assert isinstance(line, PosLine)
    house.clock.pump([0.05] * 800)
    assert wire.disconnecting
    assert not any(line.link._out for line in house.server.lines)


def test_codings_and_tones_that_nobody_knows() -> None:
    for wrong in ({"audio": "mp3"}, {"tones": "v90"}):
        with pytest.raises(ValueError, match="one of"):
            PosPlace("p", "tcp:0", "fsk-audio", **wrong)
