"""A recording of the terminal's side of an FSK call: the frames in it, and what the centre would say, as a recording.

What is in a recording reacts to nothing: frames are taken as they come, with the random and the sequence numbers they
bear; repeats are acknowledged and not asked again. Source of frames and dialogue: docs/protocols/pos-fsk.md section 5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aircharge.wire.fsk import PREAMBLE_OCTET, FskFrame, FskHunter, FskType
from aircharge.wire.fsk_link import FskSettings
from aircharge.wire.modem.demodulator import Demodulator
from aircharge.wire.modem.g711 import Encoding, Samples
from aircharge.wire.modem.line import AudioLine
from aircharge.wire.modem.tones import OCTET_BITS, Tones

__all__ = ["TURN_S", "Heard", "Hearing", "Said", "centre_says", "hear", "spoken"]

TURN_S: Final = 0.1
"""From the end of what was heard to what is said: the octets must be certain, and the line's echo gone."""
_RATE: Final = 8000
_PIECE: Final = _RATE
_SETTINGS: Final = FskSettings()
_PREAMBLE: Final = re.compile(rb"\x55{8,}")
_NEAR: Final = 3
"""Octets by which the end of a preamble may have been misread."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A sound frame; from the beginning of its preamble to the end of its checksum, seconds of the recording."""

    frame: FskFrame
    begins_s: float
    ends_s: float


@dataclass(frozen=True, slots=True)
class Hearing:
    """All of a recording. ``broken``: preambles that no sound frame follows."""

    frames: tuple[Heard, ...]
    broken: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Said:
    """Octets of one transmission, preamble included, and when its carrier begins, seconds of the recording."""

    octets: bytes
    begins_s: float


def hear(samples: Samples, tones: Tones) -> Hearing:
    """What stands in 8 kHz samples."""
    demodulator = Demodulator(tones, _RATE)
    octets, begins = bytearray(), []
    for at in range(0, len(samples), _PIECE):
        octets += demodulator.feed(samples[at : at + _PIECE])
        begins += demodulator.begins
    octets += demodulator.flush()
    begins += demodulator.begins
    times = np.array(begins) / _RATE
    frames: list[Heard] = []
    broken = 0
    for burst in _bursts(times):
        found, bad = _frames(bytes(octets[burst]), times[burst], OCTET_BITS / tones.baud)
        frames += found
        broken += bad
    return Hearing(tuple(frames), broken, len(samples) / _RATE)


def _bursts(times: NDArray[np.float64]) -> Iterator[slice]:
    """Octets with no silence between them that would end a frame."""
    cuts = (np.flatnonzero(np.diff(times) > _SETTINGS.gap_s + _SETTINGS.octet_s) + 1).tolist()
    yield from map(slice, [0, *cuts], [*cuts, len(times)])


def _frames(octets: bytes, times: NDArray[np.float64], octet_s: float) -> tuple[list[Heard], int]:
    """Frames of one burst, and how many preambles lead to none."""
    hunter = FskHunter()
    preambles = [match.span() for match in _PREAMBLE.finditer(octets)]
    frames, ends, position = [], [], 0
    for found in [*hunter.feed(octets), *hunter.give_up()]:
        start = octets.index(found, position)
        position = start + len(found)
        begin = start
        while begin and octets[begin - 1] == PREAMBLE_OCTET:
            begin -= 1
        frames.append(
            Heard(FskFrame.decode(found), float(times[begin]), float(times[position - 1]) + octet_s)
        )
        ends.append((start, position))
    return frames, _without_frame(preambles, ends)


def _without_frame(preambles: list[tuple[int, int]], frames: list[tuple[int, int]]) -> int:
    """Preambles (begin, end) that neither lead to a frame nor stand inside one."""
    count = 0
    for number, (begin, end) in enumerate(preambles):
        goes_on = number + 1 < len(preambles) and preambles[number + 1][0] <= end + _NEAR
        belongs = any(begin <= start <= end + _NEAR or start <= begin < stop for start, stop in frames)
        count += not goes_on and not belongs
    return count


def centre_says(
    hearing: Hearing, ask: Callable[[bytes], bytes | None], octet_s: float = _SETTINGS.octet_s
) -> tuple[list[Said], list[Heard]]:
    """The centre's side, in order, and the data frames to which ``ask`` (content to content) had no answer.

    A link request where there is room for it before the answer to it; for each data frame its receipt, and once the
    answer, in which nobody's turn is taken: what is said begins only when nothing is coming in. Raises WireError for
    an answer that no frame can hold.
    """
    mouth = _Mouth(hearing.frames, octet_s)
    silent: list[Heard] = []
    random = last = None
    for heard in hearing.frames:
        frame = heard.frame
        if frame.kind is FskType.LINK_ANSWER and frame.random != random:
            random = frame.random
            mouth.say_before(heard, FskFrame(FskType.LINK_REQUEST, frame.random, 0))
        elif frame.kind is FskType.FROM_TERMINAL:
            mouth.say(heard, FskFrame(FskType.RECEIVED, frame.random, frame.sequence))
            is_again, last = last == (frame.random, frame.sequence), (frame.random, frame.sequence)
            if is_again:
                continue
            content = ask(frame.content)
            if content is None:
                silent.append(heard)
                continue
            sequence = (frame.sequence + 1) % 256
            mouth.say(heard, FskFrame(FskType.FROM_CENTRE, frame.random, sequence, content))
    return mouth.said, silent


class _Mouth:
    """Says one thing behind the other, and nothing into what is coming in."""

    def __init__(self, frames: Iterable[Heard], octet_s: float) -> None:
        self.said: list[Said] = []
        self._frames = tuple(frames)
        self._octet_s = octet_s
        self._free_s = 0.0

    def _octets(self, frame: FskFrame) -> tuple[bytes, float]:
        """And how long they take, with what stands around them."""
        octets = bytes([PREAMBLE_OCTET]) * _SETTINGS.preamble_octets + frame.encode()
        return octets, len(octets) * self._octet_s + TURN_S

    def say_before(self, heard: Heard, frame: FskFrame) -> None:
        octets, seconds = self._octets(frame)
        at = heard.begins_s - seconds - TURN_S
        if at >= self._free_s:
            self.said.append(Said(octets, at))
            self._free_s = at + seconds

    def say(self, heard: Heard, frame: FskFrame) -> None:
        octets, seconds = self._octets(frame)
        at = max(heard.ends_s + TURN_S, self._free_s)
        for other in self._frames:
            if other.begins_s <= at < other.ends_s + TURN_S:
                at = other.ends_s + TURN_S
        self.said.append(Said(octets, at))
        self._free_s = at + seconds


def spoken(said: Iterable[Said], tones: Tones, seconds: float) -> Samples:
    """The 8 kHz samples of it all, silence between; at least ``seconds`` of them, so that both sides lie together."""
    line = AudioLine(tones, Encoding.LINEAR, _RATE)
    parts = [
        (round(one.begins_s * _RATE), Encoding.LINEAR.decode(line.say(one.octets, one.begins_s)))
        for one in said
    ]
    length = max([round(seconds * _RATE), *(at + len(part) + round(TURN_S * _RATE) for at, part in parts)])
    samples = np.zeros(length, np.int16)
    for at, part in parts:
        samples[at : at + len(part)] = part
    return samples
