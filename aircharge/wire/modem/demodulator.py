"""Samples to octets: every octet is judged as a whole, against all 256 that it may be and against an idle line.

A frame of 8-N-1 behind a stop bit is eleven bits of continuous phase: 1 0 dddddddd 1. For a start time the samples
are correlated with the eleven-bit waves of all octets, in spans of three or four bits whatever the phase in each
(non-coherent block detection; over all eleven bits, transmitters whose bits begin on samples only are misread);
the strongest is the octet. A wave of eleven marks stands for "nothing was sent". The start time is the
one, on a fine grid, at which the strongest is strongest. Without a frame before it a start is taken only when no
later one explains the samples better. A preamble of 55s looks the same two bits further on: where it ends, the
four octets that follow decide, if so many follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aircharge.wire.modem.g711 import Samples
from aircharge.wire.modem.tones import OCTET_BITS, Tones

__all__ = ["Demodulator"]

_BLOCK: Final = OCTET_BITS + 1  # the stop bit before, start, data, stop
_SPANS: Final = (slice(0, 4), slice(4, 8), slice(8, 11))
"""Bits over which the phase must be continuous."""
_STARTS: Final = 8
"""Places in a bit where a start is looked for."""
_LOOK_AHEAD: Final = 10  # bits
_AHEAD: Final = 52
"""Bits behind the next start that must have been heard: four octets, shifted by eight bits, and a rest."""
_IDLE: Final = 256
"""Row of the wave that is an idle line; behind it those whose start or stop bit is wrong."""
_QUALITY_MIN: Final = 0.5
_QUALITY_ONSET: Final = 0.66
"""Correlation with the best wave, of 1, inside a run of octets and for its first: noise alone stays below 0.65."""
_ONSET_GAIN: Final = 0.05
"""How much better than an idle line the first octet must be: a carrier that begins is no start bit."""
_MISS: Final = 1.1
"""A frame whose start or stop bit is wrong is that much stronger: framing is lost when that happens twice."""
_MISSES_MAX: Final = 2
_ALTERNATING: Final = 0x55
_RUN_MIN: Final = 2
"""55s that are a run. Where it ends we may go back eight bits: less than it has brought us forward."""
_SENSE: Final = 4
"""Octets behind a run of 55s that tell where octets begin."""
_FADED: Final = 0.25
"""Of the power of a run of 55s: less is behind the end of what was sent."""
_SILENT: Final = 30.0
"""Root mean square below which a line is silent (about -60 dBm0)."""

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class _Judged:
    """For each start: the strongest octet, its strength, an idle line's, and the octet's share of all power."""

    octets: NDArray[np.int64]
    strengths: Floats
    idle: Floats
    quality: Floats


class Demodulator:
    """Feed samples in chunks of any size, get octets. Holds less than 100 bits of samples between chunks.

    ``begins``: where the start bit of each octet that the last call gave begins, in samples since the first one.
    """

    def __init__(self, tones: Tones, rate: int = 8000) -> None:
        self.tones = tones
        self._bit = rate / tones.baud  # samples
        turns = np.array([tones.space, tones.mark]) / rate
        self._turn = -2j * np.pi * turns
        self._waves = self._make_waves(turns * self._bit)
        self._samples = np.zeros(0)
        self._next = self._bit  # where the next start bit may begin, in the buffer
        self._locked = False
        self._misses = 0
        self._run = 0  # octets of 55 up to here: two bits further on they look the same
        self.begins: list[float] = []
        self._gone = 0  # samples that have left the buffer

    @staticmethod
    def _make_waves(turns_a_bit: Floats) -> Complexes:
        """[space, mark] x bit x wave: the conjugate phase at the beginning of the bit, 0 where it is the other tone."""
        data = np.arange(256)[:, None] >> np.arange(8) & 1
        one, nil = np.ones((256, 1), np.int64), np.zeros((256, 1), np.int64)
        octets = np.hstack((one, nil, data, one))
        wrong = [np.hstack((one, start, data, stop)) for start, stop in ((nil, nil), (one, nil), (one, one))]
        bits = np.vstack((octets, np.ones((1, _BLOCK), np.int64), *wrong))
        steps = turns_a_bit[bits]
        begins = np.exp(-2j * np.pi * (np.cumsum(steps, axis=1) - steps))
        return np.stack([np.where(bits == 0, begins, 0).T, np.where(bits == 1, begins, 0).T])

    def feed(self, samples: Samples) -> bytes:
        """The octets that are certain now."""
        self._samples = np.concatenate((self._samples, samples))
        return self._work(len(self._samples) - _AHEAD * self._bit)

    def flush(self) -> bytes:
        """The audio has ended: the octets that are left."""
        rest = np.zeros(int((_AHEAD + 1) * self._bit))
        self._samples = np.concatenate((self._samples, rest))
        octets = self._work(len(self._samples) - _AHEAD * self._bit)
        self._gone += len(self._samples) - len(rest)
        self._samples, self._next, self._locked = np.zeros(0), self._bit, False
        return octets

    def _work(self, limit: float) -> bytes:
        octets = bytearray()
        self.begins = []
        while self._next < limit:
            octet = self._follow() if self._locked else self._hunt()
            if octet is not None:
                octets.append(octet)
                self.begins.append(self._gone + self._next - OCTET_BITS * self._bit)
        used = max(0, int(self._next - (_RUN_MIN * OCTET_BITS + 3) * self._bit))
        self._samples = self._samples[used:]
        self._next -= used
        self._gone += used
        return bytes(octets)

    def _follow(self) -> int | None:
        """A frame ended here: the next one begins now, or the line is idle."""
        offsets = np.linspace(-0.3, 0.3, 13) * self._bit
        judged = self._judge(self._next + offsets)
        best = int(np.argmax(judged.strengths - 0.02 * judged.strengths.max() * (offsets / self._bit) ** 2))
        if judged.idle[best] >= judged.strengths[best] or judged.quality[best] < _QUALITY_MIN:
            self._locked = False
            self._next += 0.05 * self._bit
            return None
        wrong = self._wrong(float(self._next + offsets[best]))
        self._misses = self._misses + 1 if wrong > _MISS * judged.strengths[best] else 0
        if self._misses >= _MISSES_MAX:
            self._locked = False
            self._next -= (
                OCTET_BITS - 1
            ) * self._bit  # back into the frame before: begin one bit later there
            self._next = max(self._next, self._bit)
            return None
        octet = int(judged.octets[best])
        run, self._run = self._run, self._run + 1 if octet == _ALTERNATING else 0
        if self._run < run >= _RUN_MIN and (shift := self._shift(float(self._next + offsets[best]))):
            self._next += shift
            self._misses = 0
            return None
        self._next += OCTET_BITS * self._bit + 0.4 * float(offsets[best])
        return octet

    def _shift(self, start: float) -> float:
        """A run of 55s ends here: by how much the octets that follow make more sense with another start.

        0 when the transmission ends before so many have followed: no preamble is that near to an end.
        """
        octet = OCTET_BITS * self._bit
        powers = [self._power(start + number * octet, octet) for number in range(-_RUN_MIN, _SENSE + 1)]
        if min(powers[_RUN_MIN:]) < _FADED * min(powers[:_RUN_MIN]):
            return 0.0
        shifts = np.arange(-8, 9, 2) * self._bit
        starts = start + shifts[:, None] + np.arange(_SENSE) * OCTET_BITS * self._bit
        sense = self._judge(starts.ravel()).strengths.reshape(starts.shape).sum(axis=1)
        sense[len(shifts) // 2] *= 1.01
        return float(shifts[int(np.argmax(sense))])

    def _hunt(self) -> int | None:
        """Look through one bit for a start; go on behind it when there is none."""
        bit = self._bit
        if self._power(self._next, 2 * bit) < _SILENT * _SILENT:
            self._next += bit
            return None
        starts = self._next + np.arange(_STARTS) / _STARTS * bit
        parts, fulls = self._tones_in(starts)
        possible = np.flatnonzero(self._may_begin(parts, fulls))
        if not len(possible):
            self._next += bit
            return None
        starts = starts[possible]
        judged = self._judged([part[possible] for part in parts], fulls[possible])
        gains = judged.strengths - judged.idle * (1 + _ONSET_GAIN)
        gains = np.where(judged.quality >= _QUALITY_ONSET, gains, 0.0)
        best = int(np.argmax(judged.strengths * (gains > 0)))
        if gains[best] <= 0:
            self._next += bit
            return None
        if possible[best] == _STARTS - 1:
            self._next += 0.5 * bit
            return None
        if not self._is_first(float(starts[best]), float(judged.strengths[best])):
            self._next = float(starts[best]) + 0.5 * bit
            return None
        self._locked, self._misses, self._run = True, 0, int(judged.octets[best] == _ALTERNATING)
        self._next = float(starts[best]) + OCTET_BITS * bit
        return int(judged.octets[best])

    def _power(self, start: float, length: float) -> float:
        """Mean square; both in samples."""
        window = self._samples[max(0, int(start)) : max(0, int(start + length))]
        return float(window @ window) / max(1, len(window))

    def _is_first(self, start: float, strength: float) -> bool:
        """Start and stop bit are there, and no later start explains the samples better."""
        if self._wrong(start) > strength:
            return False
        later = self._judge(start + np.arange(1.0, _LOOK_AHEAD) * self._bit)
        return strength >= float(0.88 * np.max(later.strengths * (later.strengths > later.idle)))

    def _judge(self, starts: Floats) -> _Judged:
        """Every wave at every start (of the start bit, in samples of the buffer)."""
        return self._judged(*self._tones_in(starts))

    def _tones_in(self, starts: Floats) -> tuple[list[Complexes], Floats]:
        """Both tones in each bit of a frame, [space, mark]; the strength of a wave that is all there is."""
        edges = starts[:, None] + np.arange(-1, OCTET_BITS + 1) * self._bit
        first = max(0, int(edges.min()) - 1)
        samples = self._samples[first : int(edges.max()) + 2]
        edges = edges - first
        power = np.concatenate(([0], np.cumsum(samples * samples)))
        inside = np.interp(edges[:, -1], np.arange(len(power)), power)
        inside -= np.interp(edges[:, 0], np.arange(len(power)), power)
        times = np.arange(len(samples))
        parts = []
        for turn in self._turn:
            sums = np.concatenate(([0], np.cumsum(samples * np.exp(turn * (times + 0.5)))))
            cut = np.interp(edges, np.arange(len(sums)), sums)
            parts.append(np.diff(cut, axis=1) * np.exp(-turn * edges[:, :-1]))
        return parts, np.sqrt(np.maximum(inside, 1.0) * _BLOCK * self._bit / 2)

    def _may_begin(self, parts: list[Complexes], fulls: Floats) -> NDArray[np.bool_]:
        """Where a first octet may be: no wave comes to more than the stronger tone of each of its bits."""
        most = np.maximum(np.abs(parts[0]), np.abs(parts[1])).sum(axis=1)
        idle = self._strengths(parts, slice(_IDLE, _IDLE + 1))[:, 0]
        return np.asarray((most >= _QUALITY_ONSET * fulls) & (most > idle * (1 + _ONSET_GAIN)))

    def _judged(self, parts: list[Complexes], fulls: Floats) -> _Judged:
        sizes = self._strengths(parts, slice(0, _IDLE + 1))
        octets = np.argmax(sizes[:, :_IDLE], axis=1)
        best = sizes[np.arange(len(fulls)), octets]
        return _Judged(octets, best, sizes[:, _IDLE], best / fulls)

    def _wrong(self, start: float) -> float:
        """Strength of the strongest frame whose start or stop bit is wrong."""
        parts, _ = self._tones_in(np.array([start]))
        return float(self._strengths(parts, slice(_IDLE + 1, None)).max())

    def _strengths(self, parts: list[Complexes], rows: slice) -> Floats:
        """Strength of every wave of ``rows``, for each start."""
        total: Floats | float = 0.0
        for span in _SPANS:
            sums = sum(
                part[:, span] @ waves[span, rows] for part, waves in zip(parts, self._waves, strict=True)
            )
            total = total + np.abs(sums)
        return np.asarray(total)
