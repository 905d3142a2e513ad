"""Text that an FSK terminal shows or prints: GBK in bounded lines, and the data of operations 22 and 21.

22: ``mode 1 | code 2 | lines``; 21: ``copies 1 | (mark 3 | template 1 | line | 00)*``. Source:
docs/protocols/pos-fsk.md section 6.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aircharge.wire.fsk_octets import wrong

__all__ = ["Lines", "Record", "Shown", "Slip"]

_GBK: Final = "gbk"
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")
_CODE: Final = re.compile(r"[0-9A-Z]{2}", re.ASCII)
_MARK: Final = re.compile(rb"%(?:FF|[BE][1-9])")
_MARK_OCTETS: Final = 3


def _letters(octets: bytes, name: str, offset: int) -> str:
    try:
        text = octets.decode(_GBK)
    except UnicodeDecodeError as error:
        raise wrong("not GBK", name, offset + error.start) from None
    if _CONTROLS.search(text):
        raise wrong("a control character", name, offset)
    return text


@dataclass(frozen=True, slots=True)
class Lines:
    """A screen or a roll of paper. ``columns``: octets of GBK, so a Chinese character takes two."""

    columns: int
    rows: int

    def encode(self, line: str, name: str) -> bytes:
        """One line. Raises WireError for what GBK does not have, for control characters, and when it is too long."""
        try:
            octets = line.encode(_GBK)
        except UnicodeEncodeError:
            raise wrong("a character that GBK does not have", name) from None
        if _CONTROLS.search(line):
            raise wrong("a control character", name)
        if len(octets) > self.columns:
            raise wrong(f"{len(octets)} columns, there are {self.columns}", name)
        return octets

    def decode(self, octets: bytes, name: str, offset: int = 0) -> str:
        """One line back. Raises WireError like ``encode``."""
        if len(octets) > self.columns:
            raise wrong(f"{len(octets)} columns, there are {self.columns}", name, offset)
        return _letters(octets, name, offset)

    def check(self, rows: int, name: str) -> None:
        if rows > self.rows:
            raise wrong(f"{rows} lines, there are {self.rows}", name)

    def fold(self, *paragraphs: str) -> tuple[str, ...]:
        """Lines that fit, whatever comes: unknown characters become ``?``, long lines go on, surplus lines are cut."""
        lines: list[str] = []
        for paragraph in paragraphs:
            known = _CONTROLS.sub(" ", paragraph).encode(_GBK, "replace").decode(_GBK)
            line, width = "", 0
            for letter in known:
                octets = len(letter.encode(_GBK))
                if width + octets > self.columns:
                    lines.append(line)
                    line, width = "", 0
                line, width = line + letter, width + octets
            lines.append(line)
        return tuple(lines[: self.rows])


@dataclass(frozen=True, slots=True)
class Shown:
    """Operation 22, the result: a code of two characters (00: done) and lines of text."""

    code: str
    lines: tuple[str, ...] = ()
    mode: int = 0

    def encode(self, screen: Lines) -> bytes:
        """The datum. Raises WireError for a code or text that does not fit."""
        if not _CODE.fullmatch(self.code) or not 0 <= self.mode <= 255:
            raise wrong("not a mode of one octet and a code of two characters", "show")
        screen.check(len(self.lines), "show")
        text = b"\n".join(screen.encode(line, "show") for line in self.lines)
        return bytes([self.mode]) + self.code.encode("ascii") + text

    @classmethod
    def decode(cls, datum: bytes, screen: Lines) -> Shown:
        """Raises WireError, offsets within the datum."""
        code = datum[1:3].decode("ascii", "replace")
        if not _CODE.fullmatch(code):
            raise wrong("no code of two characters", "show", 1)
        parts = datum[3:].split(b"\n") if datum[3:] else []
        screen.check(len(parts), "show")
        return cls(code, tuple(_each(parts, screen, 3)), datum[0])


def _each(parts: Iterable[bytes], screen: Lines, at: int) -> Iterable[str]:
    for part in parts:
        yield screen.decode(part, "show", at)
        at += len(part) + 1


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a slip. ``mark``: ``%B1`` title of the first copy, ``%FF`` body, ``%E1`` end of the first copy.

    ``template``: the number of the terminal's own text that stands before ``line``.
    """

    line: str
    mark: str = "%FF"
    template: int = 0


@dataclass(frozen=True, slots=True)
class Slip:
    """Operation 21: what is to be printed, ``copies`` times."""

    records: tuple[Record, ...]
    copies: int = 1

    def encode(self, paper: Lines) -> bytes:
        """The datum. Raises WireError for text that does not fit, a strange mark, 0 or more than 9 copies."""
        if not 1 <= self.copies <= 9:
            raise wrong("1 to 9 copies", "print")
        paper.check(len(self.records), "print")
        return b"%d" % self.copies + b"".join(_record(record, paper) for record in self.records)

    @classmethod
    def decode(cls, datum: bytes, paper: Lines) -> Slip:
        """Raises WireError, offsets within the datum."""
        if not b"1" <= datum[:1] <= b"9":
            raise wrong("1 to 9 copies", "print")
        records = []
        at = 1
        while at < len(datum):
            text = at + _MARK_OCTETS + 1
            end = datum.find(b"\0", text)
            if end < 0 or not _MARK.fullmatch(datum, at, at + _MARK_OCTETS):
                raise wrong("a record without a mark or without an end", "print", at)
            mark = datum[at : at + _MARK_OCTETS].decode("ascii")
            records.append(Record(paper.decode(datum[text:end], "print", text), mark, datum[text - 1]))
            at = end + 1
        paper.check(len(records), "print")
        return cls(tuple(records), int(datum[:1]))


def _record(record: Record, paper: Lines) -> bytes:
    mark = record.mark.encode("ascii", "replace")
    if not _MARK.fullmatch(mark) or not 0 <= record.template <= 255:
        raise wrong("no mark of a record, or no template's number", "print")
    return mark + bytes([record.template]) + paper.encode(record.line, "print") + b"\0"
