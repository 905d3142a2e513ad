"""ITU-T G.711: the two companding laws of telephone lines, and 16-bit linear samples.

Tables are computed from the Recommendation's segments (table 1a: A-law, 13 bit; table 2a: mu-law, 14 bit); samples
are held as 16-bit numbers, so that A-law's steps are multiples of 8 and mu-law's of 4.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Encoding", "Samples"]

Samples = NDArray[np.int16]
_MU_BIAS: Final = 33 * 4
_A_INVERTED: Final = 0x55  # even bits of every octet are inverted on the line


def _mu_values() -> Samples:
    """What each of the 256 octets means."""
    octets = ~np.arange(256) & 0xFF
    magnitude = (((octets & 0x0F) << 3) + _MU_BIAS << ((octets & 0x70) >> 4)) - _MU_BIAS
    return np.where(octets & 0x80, -magnitude, magnitude).astype(np.int16)


def _a_values() -> Samples:
    octets = np.arange(256) ^ _A_INVERTED
    segment, step = (octets & 0x70) >> 4, (octets & 0x0F) << 4
    magnitude = np.where(segment == 0, step + 8, (step + 0x108) << np.maximum(segment - 1, 0))
    return np.where(octets & 0x80, magnitude, -magnitude).astype(np.int16)


def _nearest(values: Samples) -> NDArray[np.uint8]:
    """For each 16-bit sample (index: the sample + 32768) the octet whose meaning is nearest to it."""
    order = np.argsort(values, kind="stable")
    ladder = values[order].astype(np.int32)
    samples = np.arange(-32768, 32768)
    return order[np.searchsorted((ladder[1:] + ladder[:-1] + 1) // 2, samples, side="right")].astype(np.uint8)


_VALUES: Final = {"ulaw": _mu_values(), "alaw": _a_values()}
_OCTETS: Final = {law: _nearest(values) for law, values in _VALUES.items()}


class Encoding(Enum):
    """How samples stand in octets; ``wav_format`` is the RIFF format tag, ``octets`` of one sample."""

    LINEAR = ("linear", 1, 2)
    ULAW = ("ulaw", 7, 1)
    ALAW = ("alaw", 6, 1)

    def __init__(self, word: str, wav_format: int, octets: int) -> None:
        self.word = word
        self.wav_format = wav_format
        self.octets = octets

    def encode(self, samples: Samples) -> bytes:
        """Samples as octets; linear ones lowest octet first."""
        if self is Encoding.LINEAR:
            return samples.astype("<i2").tobytes()
        return _OCTETS[self.word][samples.astype(np.int32) + 32768].tobytes()

    def decode(self, octets: bytes) -> Samples:
        """Octets as samples. Linear: an even number of them."""
        if self is Encoding.LINEAR:
            return np.frombuffer(octets, "<i2").astype(np.int16)
        return _VALUES[self.word][np.frombuffer(octets, np.uint8)]
