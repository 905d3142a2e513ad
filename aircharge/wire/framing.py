"""Bounded splitters: a byte stream in, whole frames out.

``feed(data)`` takes what arrived, ``next_frame()`` gives the next frame, header included, or ``NEED_DATA``.
A length that is too short or too long raises WireError as soon as it can be read, before anything is kept
for it; from then on the stream is lost and every call raises the same error.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import Final

from aircharge.errors import WireError

__all__ = ["NEED_DATA", "LengthSplitter", "NeedData", "SmppSplitter", "Splitter", "again"]


class NeedData(Enum):
    """The type of the value NEED_DATA."""

    NEED_DATA = "need data"


NEED_DATA: Final = NeedData.NEED_DATA
"""No whole frame is there yet."""


class Splitter(ABC):
    """What all splitters share: the buffer, the position in it and the error that ended the stream."""

    __slots__ = ("_buffer", "_error", "_position")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._position = 0
        self._error: WireError | None = None

    @property
    def buffered_octets(self) -> int:
        """Octets that arrived and belong to no frame handed out yet."""
        return len(self._buffer) - self._position

    def feed(self, data: bytes) -> None:
        """Take what arrived. After a framing error it is dropped."""
        if self._error is None:
            self._buffer += data

    def next_frame(self) -> bytes | NeedData:
        """The next whole frame, or NEED_DATA. Raises WireError when the stream cannot be split any more."""
        if self._error is not None:
            raise again(self._error)
        try:
            length = self.frame_length(self._buffer, self._position)
        except WireError as error:
            self._error = again(error)
            self._buffer = bytearray()
            self._position = 0
            raise
        start = self._position
        if length is None or len(self._buffer) - start < length:
            if start:
                del self._buffer[:start]
                self._position = 0
            return NEED_DATA
        end = start + length
        frame = bytes(memoryview(self._buffer)[start:end])
        self._position = end
        return frame

    @abstractmethod
    def frame_length(self, buffer: bytearray, start: int) -> int | None:
        """Octets of the frame that begins at ``start``, header included; None when that cannot be read yet.

        Raises WireError when the length is out of bounds.
        """


def again(error: WireError) -> WireError:
    """The same error without its traceback: kept, that would hold the frames of everybody who called."""
    return WireError(
        error.standard, error.section, error.why, offset=error.offset, field=error.field, hint=error.hint
    )


class LengthSplitter(Splitter):
    """Frames that begin with an unsigned big-endian length of ``length_octets``.

    ``extra_octets`` is added to the number on the wire (0 when it counts the whole frame, ``length_octets``
    when it counts only what follows). Frames outside ``shortest``..``longest`` octets are refused (``hint``).
    """

    __slots__ = ("_extra_octets", "_hint", "_length_octets", "_longest", "_section", "_shortest", "_standard")

    def __init__(
        self,
        length_octets: int,
        *,
        shortest: int,
        longest: int,
        extra_octets: int = 0,
        standard: str,
        section: str,
        hint: int = 0,
    ) -> None:
        super().__init__()
        self._length_octets = length_octets
        self._extra_octets = extra_octets
        self._shortest = shortest
        self._longest = longest
        self._standard = standard
        self._section = section
        self._hint = hint

    def frame_length(self, buffer: bytearray, start: int) -> int | None:
        end = start + self._length_octets
        if len(buffer) < end:
            return None
        length = int.from_bytes(buffer[start:end], "big") + self._extra_octets
        if not self._shortest <= length <= self._longest:
            raise WireError(
                self._standard,
                self._section,
                f"a frame of {length} octets, allowed are {self._shortest} to {self._longest}",
                field="length",
                hint=self._hint,
            )
        return length


class SmppSplitter(LengthSplitter):
    """SMPP 3.4 section 3.2: command_length, 32 bit, counts itself. Out of bounds: hint 0x02."""

    __slots__ = ()

    def __init__(self, max_length: int = 65536) -> None:
        super().__init__(4, shortest=16, longest=max_length, standard="SMPP 3.4", section="5.1.1", hint=0x02)
