"""Frames in a stream that may hold anything between them: hunt for a start, judge, go on one octet later.

Unlike a Splitter nothing here ends the stream: what is no frame is skipped octet by octet, so that a broken
frame costs only itself. The buffer never holds more than one longest frame.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import Final

__all__ = ["BAD", "Hunter", "Verdict"]


class Verdict(Enum):
    """Why a candidate is no frame."""

    BAD = "bad"


BAD: Final = Verdict.BAD
"""The octets at the start are no frame, whatever follows."""


class Hunter(ABC):
    """``feed`` what arrived and get the frames in it; ``give_up`` on an unfinished one after a silence."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.octets_skipped = 0
        self._doubted = 0  # octets at the front that stood in a candidate which failed
        self._is_noisy = False  # what came last was no frame

    @property
    def buffered_octets(self) -> int:
        """Octets of a candidate that is not whole yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are whole now, in order."""
        self._buffer += data
        return self._scan()

    def give_up(self) -> list[bytes]:
        """The line fell silent inside a candidate: it is none. Frames that it seemed to swallow are found."""
        frames = []
        while self._buffer:
            self._fail(len(self._buffer))
            frames += self._scan()
        return frames

    def silence(self) -> None:
        """The line was silent: what comes now is not the rest of any noise."""
        self._is_noisy = False

    def _scan(self) -> list[bytes]:
        frames = []
        buffer, position = self._buffer, 0
        while position < len(buffer):
            length = self.judge(memoryview(buffer)[position:], self._is_noisy or position < self._doubted)
            if length is None or (length is not BAD and len(buffer) - position < length):
                break
            if length is BAD:
                position += 1
                self.octets_skipped += 1
                self._is_noisy = True
                continue
            frame = bytes(buffer[position : position + length])
            if self.is_sound(frame):
                frames.append(frame)
                position += length
                self._is_noisy = position < self._doubted
            else:
                self._doubted = max(self._doubted, position + length)
                self.unsound()
                position += 1
                self.octets_skipped += 1
        del buffer[:position]
        self._doubted = max(0, self._doubted - position)
        return frames

    def _fail(self, doubted: int) -> None:
        del self._buffer[:1]
        self.octets_skipped += 1
        self._doubted = max(self._doubted, doubted) - 1

    @abstractmethod
    def judge(self, octets: memoryview, is_doubted: bool) -> int | Verdict | None:
        """Octets of the frame that begins here, BAD when none does, None when more must be seen first.

        ``is_doubted``: these octets stood inside a candidate that failed, or come right behind noise.
        """

    @abstractmethod
    def is_sound(self, frame: bytes) -> bool:
        """Whether the check octets of ``frame`` hold."""

    def unsound(self) -> None:  # noqa: B027 (most framings need not know)
        """A candidate of full length failed its check."""
