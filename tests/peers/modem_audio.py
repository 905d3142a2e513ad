"""Audio for the modem's tests and its benchmark: minimodem as a process, resampling, noise."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from aircharge.wire.modem.g711 import Encoding, Samples
from aircharge.wire.modem.tones import Tones
from aircharge.wire.modem.wav import read_wav, write_wav

needs_minimodem = pytest.mark.skipif(not shutil.which("minimodem"), reason="PEER MISSING: minimodem")
RATE, FINE_RATE = 8000, 48000  # minimodem itself is unsound at 8 kHz: 6.67 samples a bit are rounded
FACTOR = FINE_RATE // RATE
_REACH = 40 * FACTOR
_LOW_PASS = np.sinc(np.arange(-_REACH, _REACH + 1) / FACTOR) * np.hamming(2 * _REACH + 1) / FACTOR


def to_samples(values: np.ndarray) -> Samples:
    return np.clip(np.rint(values), -32768, 32767).astype(np.int16)


def finer(samples: Samples) -> Samples:
    """8 kHz to 48 kHz."""
    spread = np.zeros(len(samples) * FACTOR)
    spread[::FACTOR] = samples
    return to_samples(np.convolve(spread, _LOW_PASS * FACTOR, "same"))


def coarser(samples: Samples) -> Samples:
    """48 kHz to 8 kHz."""
    return to_samples(np.convolve(samples, _LOW_PASS, "same")[::FACTOR])


def on_the_line(samples: Samples, snr_db: float | None, seed: int, encoding: Encoding) -> Samples:
    """With white noise (in 0 to 4 kHz, against the power of the signal) and through the line's encoding."""
    values = samples * (8000.0 / max(8000, int(np.abs(samples.astype(np.int32)).max())))  # room for the noise
    if snr_db is not None:
        power = float(np.mean(values[values != 0] ** 2)) / 10 ** (snr_db / 10)
        values += np.random.default_rng(seed).normal(0, power**0.5, len(values))
    return encoding.decode(encoding.encode(to_samples(values)))


def _command(path: Path, direction: str, tones: Tones) -> list[str]:
    tones_of = ["-M", f"{tones.mark:.0f}", "-S", f"{tones.space:.0f}"]
    return ["minimodem", direction, "-8", *tones_of, "-f", str(path)]


def minimodem_says(octets: bytes, tones: Tones, folder: Path) -> Samples:
    """8 kHz samples of what it modulates."""
    path = folder / "said.wav"
    subprocess.run(
        [*_command(path, "--tx", tones), "-R", str(FINE_RATE), "1200"], input=octets, check=True, timeout=60
    )
    samples, rate, _ = read_wav(path.read_bytes())
    assert rate == FINE_RATE
    return coarser(samples)


def minimodem_hears(samples: Samples, tones: Tones, folder: Path) -> bytes:
    """What it makes of 8 kHz samples."""
    path = folder / "heard.wav"
    path.write_bytes(write_wav(finer(samples), FINE_RATE))
    command = [*_command(path, "--rx", tones), "-q", "1200"]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).stdout
