"""Outlets as a CSV file (RFC 4180): octets to cells and back, with no knowledge of what is in the ledger. Pure.

UTF-8 with or without a byte order mark, or GB18030; header names in English or Chinese. Spreadsheet programs run cells
that begin with ``= + - @`` as formulas, so such cells are written with an apostrophe before them, which is taken off
again when they are read; a bare one is refused where free text stands.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from aircharge.outlets.desk import RegistryError, RegistrySettings
from aircharge.outlets.fields import FIELDS

__all__ = ["COLUMNS", "ENCODINGS", "Fault", "Line", "Sheet", "read_sheet", "write_sheet"]

COLUMNS: Final = (
    ("code", "网点编号"),
    ("parent", "上级编号"),
    *((item.name, item.zh) for item in FIELDS),
    ("phones", "绑定号码"),
    ("terminals", "终端编号"),
)
"""Every column there is, in the order they are written: English and Chinese name."""

ENCODINGS: Final = {"utf-8": "utf-8", "utf-8-bom": "utf-8-sig", "gb18030": "gb18030"}
_NAMES: Final = {name: english for english, chinese in COLUMNS for name in (english, chinese)}
_ACTIVE: Final = re.compile(r"[=+\-@\t\r＝＋－＠]")
_GUARDED: Final = re.compile(r"'+[=+\-@\t\r＝＋－＠]")
_BARE: Final = re.compile(r"[=+\-@]")
_MAY_BEGIN_SO: Final = frozenset({"phones", "contact_phone"})  # +86…
_CELL_MAX: Final = 4000


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """What is wrong in a file. ``line`` counts from 1, the header's; ``column`` is "" for the whole line."""

    line: int
    column: str
    text: str

    def __str__(self) -> str:
        return f"line {self.line}{', ' + self.column if self.column else ''}: {self.text}"


@dataclass(frozen=True, slots=True)
class Line:
    """One outlet: where its line begins, and its cells by English column name, stripped."""

    number: int
    cells: dict[str, str]


@dataclass(slots=True)
class Sheet:
    """What a file says, and what is wrong with it."""

    columns: list[str] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def read_sheet(octets: bytes, settings: RegistrySettings, encoding: str = "") -> Sheet:
    """Cells of a file and every fault of its form. ``encoding``: a key of ENCODINGS, "" = find out.

    Raises RegistryError when it is too large or in no known encoding.
    """
    if len(octets) > settings.file_octets_max:
        raise RegistryError(f"the file has {len(octets)} octets: at most {settings.file_octets_max}")
    sheet = Sheet()
    reader = csv.reader(io.StringIO(_decode(octets, encoding), newline=""), strict=True)
    begun = 1
    try:
        for cells in reader:
            number, begun = begun, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue  # a blank line
            if not sheet.columns:
                _read_header(sheet, number, cells)
                if sheet.faults:
                    return sheet
            elif len(sheet.lines) >= settings.file_lines_max:
                sheet.faults.append(Fault(number, "", f"more than {settings.file_lines_max} outlets"))
                return sheet
            else:
                _read_line(sheet, number, cells)
    except csv.Error as error:
        sheet.faults.append(Fault(begun, "", f"no CSV from here on ({error})"))
    if not sheet.columns:
        sheet.faults.append(Fault(1, "", "the file is empty"))
    return sheet


def write_sheet(
    rows: Iterable[Sequence[str]],
    columns: Sequence[str],
    encoding: str = "utf-8-bom",
    *,
    chinese: bool = False,
) -> bytes:
    """A file of these columns (English names) and rows; ``chinese``: the header's tongue."""
    made = io.StringIO(newline="")
    writer = csv.writer(made)
    titles = dict(COLUMNS)
    writer.writerow([titles[name] if chinese else name for name in columns])
    writer.writerows([_guard(cell) for cell in row] for row in rows)
    return made.getvalue().encode(ENCODINGS[encoding])


def _decode(octets: bytes, encoding: str) -> str:
    if octets.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise RegistryError("the file is UTF-16: save it as CSV in UTF-8 or GB18030")
    if encoding and encoding not in ENCODINGS:
        raise RegistryError(f"encoding {encoding!r}: {', '.join(ENCODINGS)}")
    tried = [ENCODINGS[encoding]] if encoding else ["utf-8", "gb18030"]
    for name in tried:
        try:
            return octets.decode(name).removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            place = octets.count(b"\n", 0, error.start) + 1
    raise RegistryError(f"line {place}: these octets are not {' or '.join(tried)}")


def _read_header(sheet: Sheet, number: int, cells: Sequence[str]) -> None:
    for cell in cells:
        name = _NAMES.get(cell.strip().lower())
        if name is None:
            sheet.faults.append(Fault(number, cell.strip()[:40], "no column is called that"))
        elif name in sheet.columns:
            sheet.faults.append(Fault(number, name, "the column is there twice"))
        else:
            sheet.columns.append(name)
    if "code" not in sheet.columns:
        sheet.faults.append(Fault(number, "code", "the column is missing"))


def _read_line(sheet: Sheet, number: int, cells: Sequence[str]) -> None:
    if len(cells) != len(sheet.columns):
        said = f"{len(cells)} cells where the header has {len(sheet.columns)}"
        sheet.faults.append(Fault(number, "", said))
        return
    found = {}
    for name, cell in zip(sheet.columns, cells, strict=True):
        text = cell.strip()
        if len(text) > _CELL_MAX:
            sheet.faults.append(Fault(number, name, f"{len(text)} characters"))
            text = ""
        elif _BARE.match(text) and name not in _MAY_BEGIN_SO:
            sheet.faults.append(Fault(number, name, "begins like a formula: put an apostrophe before it"))
        found[name] = text[1:] if _GUARDED.match(text) else text
    sheet.lines.append(Line(number, found))


def _guard(cell: str) -> str:
    return "'" + cell if _ACTIVE.match(cell) or _GUARDED.match(cell) else cell
