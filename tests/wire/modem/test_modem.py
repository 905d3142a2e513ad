"""The FSK modem against minimodem and libspandsp both ways, with noise, in chunks; G.711 and WAV files."""

from __future__ import annotations

import random
import subprocess
import sys
from array import array
from pathlib import Path

import pytest

np = pytest.importorskip("numpy", reason="the audio extra is not installed")

from aircharge.errors import WireError  # noqa: E402
from aircharge.wire.fsk import FskFrame, FskHunter, FskType  # noqa: E402
from aircharge.wire.modem.demodulator import Demodulator  # noqa: E402
from aircharge.wire.modem.g711 import Encoding  # noqa: E402
from aircharge.wire.modem.line import AudioLine  # noqa: E402
from aircharge.wire.modem.tones import BELL_202, V23, Modulator, Tones  # noqa: E402
from aircharge.wire.modem.wav import read_wav, write_wav  # noqa: E402
from tests.peers import spandsp  # noqa: E402
from tests.peers.modem_audio import minimodem_hears, minimodem_says, needs_minimodem, on_the_line  # noqa: E402

DATA = random.Random(3).randbytes(200)
BOTH = pytest.mark.parametrize("tones", [BELL_202, V23], ids=lambda tones: tones.name)


def said(octets: bytes, tones: Tones) -> np.ndarray:
    modulator = Modulator(tones)
    silence = np.zeros(400, np.int16)
    return np.concatenate(
        (silence, modulator.idle(60), modulator.octets(octets), modulator.idle(20), silence)
    )


def heard(samples: np.ndarray, tones: Tones) -> bytes:
    demodulator = Demodulator(tones)
    return demodulator.feed(samples) + demodulator.flush()


@BOTH
@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("snr_db", [None, 10])
def test_our_own_loop(tones: Tones, encoding: Encoding, snr_db: float | None) -> None:
    octets = heard(on_the_line(said(DATA, tones), snr_db, 1, encoding), tones)
    assert DATA in octets if snr_db else octets == DATA


@BOTH
@pytest.mark.parametrize("size", [1, 7, 160, 1001])
def test_chunks_of_any_size(tones: Tones, size: int) -> None:
    samples, demodulator = said(DATA[:40], tones), Demodulator(tones)
    octets = b"".join(demodulator.feed(samples[at : at + size]) for at in range(0, len(samples), size))
    assert octets + demodulator.flush() == DATA[:40]


@BOTH
def test_a_preamble_of_alternating_bits_without_a_carrier_before(tones: Tones) -> None:
    frame = FskFrame(FskType.FROM_TERMINAL, b"abcd", 1, DATA)
    samples = Modulator(tones).octets(b"\x55" * 30 + frame.encode())
    silence = np.zeros(403, np.int16)
    assert FskHunter().feed(heard(np.concatenate((silence, samples, silence)), tones)) == [frame.encode()]


@BOTH
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_alternating_octets_anywhere_in_a_frame(tones: Tones, count: int) -> None:
    """A run of 55s looks the same two bits further on: in a message nobody may take it for a preamble, or look for
    ever where it ends."""
    run = b"\x55" * count
    for content in (DATA[:9] + run, run + DATA[:20] + run + DATA[:1], run):
        frame = FskFrame(FskType.FROM_TERMINAL, b"abcd", 1, content).encode()
        octets = b"\x55" * 30 + frame
        assert heard(on_the_line(said(octets, tones), 15, count, Encoding.ULAW), tones).endswith(frame)


def test_where_octets_of_a_recording_begin() -> None:
    samples, demodulator = said(DATA[:30], V23), Demodulator(V23)
    begins: list[float] = []
    for at in range(0, len(samples), 700):
        demodulator.feed(samples[at : at + 700])
        begins += demodulator.begins
    demodulator.flush()
    expected = 400 + (60 + 10 * np.arange(30)) * 8000 / 1200
    assert np.all(np.abs(np.array(begins + demodulator.begins) - expected) < 4)


@BOTH
@pytest.mark.parametrize("off", [0.99, 1.01])
def test_a_terminal_whose_clock_is_a_hundredth_off(tones: Tones, off: float) -> None:
    theirs = Tones("off", tones.mark * off, tones.space * off, tones.baud * off)
    assert heard(on_the_line(said(DATA, theirs), None, 1, Encoding.ULAW), tones) == DATA


@BOTH
@pytest.mark.parametrize("level", [200, 1000, 30000])
def test_soft_and_loud_lines(tones: Tones, level: int) -> None:
    modulator = Modulator(tones, amplitude=level)
    samples = np.concatenate((modulator.idle(60), modulator.octets(DATA), modulator.idle(20)))
    assert heard(on_the_line(samples, None, 1, Encoding.ALAW), tones) == DATA


def test_silence_and_noise_hold_no_frame_and_little_memory() -> None:
    demodulator = Demodulator(BELL_202)
    assert demodulator.feed(np.zeros(80_000, np.int16)) == b""
    noise = np.random.default_rng(1).normal(0, 3000, 24_000).astype(np.int16)
    assert len(demodulator.feed(noise)) < 100
    assert len(demodulator._samples) < 100 * 8000 / 1200


@needs_minimodem
@pytest.mark.peer
@BOTH
@pytest.mark.parametrize("snr_db", [None, 14])
def test_minimodem_both_ways(tones: Tones, snr_db: float | None, tmp_path: Path) -> None:
    """mu-law at 8 kHz, byte for byte."""
    theirs = on_the_line(minimodem_says(DATA, tones, tmp_path), snr_db, 2, Encoding.ULAW)
    assert DATA in heard(theirs, tones)
    ours = on_the_line(said(DATA, tones), snr_db, 3, Encoding.ULAW)
    assert DATA in minimodem_hears(ours, tones, tmp_path)


@spandsp.needs_spandsp
@pytest.mark.peer
@BOTH
@pytest.mark.parametrize("snr_db", [None, 16])
def test_spandsp_both_ways(tones: Tones, snr_db: float | None) -> None:
    theirs = np.array(spandsp.modulated(DATA, tones.name), np.int16)
    assert DATA in heard(on_the_line(theirs, snr_db, 2, Encoding.ULAW), tones)
    ours = on_the_line(said(DATA, tones), snr_db, 3, Encoding.ULAW)
    assert DATA in spandsp.demodulated(array("h", ours.tolist()), tones.name)


def test_a_half_duplex_line_does_not_hear_itself() -> None:
    ours, theirs = (AudioLine(BELL_202, Encoding.ULAW) for _ in range(2))
    audio = ours.say(DATA, 0.0)
    seconds = len(audio) / 8000
    assert ours.hear(audio, seconds) == b""
    assert theirs.hear(audio, 1.0) + theirs.hang_up() == DATA
    linear = AudioLine(V23, Encoding.LINEAR)
    back = AudioLine(V23, Encoding.LINEAR).say(DATA, 0.0)
    octets = b"".join(linear.hear(back[at : at + 333], 9.0) for at in range(0, len(back), 333))
    assert octets + linear.hang_up() == DATA


@pytest.mark.parametrize("encoding", [Encoding.ULAW, Encoding.ALAW])
def test_g711_against_the_standard_library(encoding: Encoding) -> None:
    """audioop is somebody else's G.711 (gone from Python 3.13)."""
    audioop = pytest.importorskip("audioop")
    octets = bytes(range(256))
    expected = getattr(audioop, f"{encoding.word}2lin")(octets, 2)
    assert encoding.decode(octets).tobytes() == expected
    samples = np.arange(-32768, 32768).astype(np.int16)
    theirs = encoding.decode(getattr(audioop, f"lin2{encoding.word}")(samples.tobytes(), 2)).astype(int)
    ours = encoding.decode(encoding.encode(samples)).astype(int)
    assert np.all(np.abs(ours - samples) <= np.abs(theirs - samples))
    assert np.all(encoding.decode(encoding.encode(encoding.decode(octets))) == encoding.decode(octets))


@pytest.mark.parametrize("encoding", Encoding)
def test_wav_there_and_back(encoding: Encoding) -> None:
    samples = encoding.decode(encoding.encode(said(DATA[:11], V23)))
    again, rate, how = read_wav(write_wav(samples, 8000, encoding))
    assert (again.tolist(), rate, how) == (samples.tolist(), 8000, encoding)


@pytest.mark.parametrize("spoil", [0, 8, 20, 22, 40])
def test_what_is_no_wav(spoil: int) -> None:
    octets = bytearray(write_wav(np.zeros(4, np.int16)))
    octets[spoil] ^= 0x04
    with pytest.raises(WireError):
        read_wav(bytes(octets))
    with pytest.raises(WireError):
        read_wav(write_wav(np.zeros(4, np.int16))[:-1])


def test_all_but_the_modem_does_without_numpy() -> None:
    code = "import sys; sys.modules['numpy'] = None; import aircharge.cli, aircharge.daemon, aircharge.wire.fsk_link"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
