"""The two FSK modems of fixed-line terminals and the modulator: octets as 8-N-1 to samples, phase continuous."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aircharge.wire.modem.g711 import Samples

__all__ = ["BELL_202", "MODEMS", "OCTET_BITS", "V23", "Modulator", "Tones"]

OCTET_BITS: Final = 10  # start 0, eight data bits lowest first, stop 1


@dataclass(frozen=True, slots=True)
class Tones:
    """Frequencies in Hz of a 1 (mark) and a 0 (space); ``baud`` in bit/s."""

    name: str
    mark: float
    space: float
    baud: float = 1200.0


BELL_202: Final = Tones("Bell 202", 1200.0, 2200.0)
"""Also: caller identification of Telcordia GR-30."""
V23: Final = Tones("V.23", 1300.0, 2100.0)
"""ITU-T V.23 mode 2, the forward channel."""
MODEMS: Final = {"bell202": BELL_202, "v23": V23}


class Modulator:
    """Octets to 16-bit samples. ``amplitude``: peak of 32768; 8000 is about -9 dBm0."""

    def __init__(self, tones: Tones, rate: int = 8000, amplitude: int = 8000) -> None:
        assert 0 < amplitude < 32768
        assert rate > 2 * max(tones.mark, tones.space)
        self.tones = tones
        self._rate = rate
        self._amplitude = amplitude
        self._phase = 0.0  # turns, at the end of the last bit
        self._late = 0.0  # samples from the end of the last bit to the next sample

    def octets(self, octets: bytes) -> Samples:
        """The samples of ``octets``, one close behind the other."""
        data = np.unpackbits(np.frombuffer(octets, np.uint8), bitorder="little").reshape(-1, 8)
        framed = np.ones((len(data), OCTET_BITS), np.uint8)
        framed[:, 0] = 0
        framed[:, 1:9] = data
        return self._bits(framed.ravel())

    def idle(self, bits: int) -> Samples:
        """The carrier of an idle line (mark) for as long as ``bits`` take."""
        return self._bits(np.ones(bits, np.uint8))

    def _bits(self, bits: NDArray[np.uint8]) -> Samples:
        """Phase is linear between the edges of bits, which need not fall on samples."""
        tones = self.tones
        steps = np.where(bits, tones.mark, tones.space) / tones.baud
        edges = self._phase + np.concatenate(([0.0], np.cumsum(steps)))
        length = len(bits) * self._rate / tones.baud
        times = np.arange(self._late, length, 1.0)
        phases = np.interp(times * tones.baud / self._rate, np.arange(len(bits) + 1), edges)
        self._late = float(self._late + len(times) - length)
        self._phase = float(edges[-1] % 1.0)
        samples: Samples = np.rint(self._amplitude * np.sin(2 * np.pi * phases)).astype(np.int16)
        return samples
