"""What each line of a file asks for, its cells read as values; every cell that cannot be is a fault. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from aircharge.outlets.desk import RegistryError, digits_of
from aircharge.outlets.fields import BY_NAME, NEVER_EMPTY, read_code
from aircharge.outlets.phones import USUAL_RIGHTS, rights_of
from aircharge.outlets.sheets import Fault, Line, Sheet
from aircharge.outlets.terminals import check_terminal

__all__ = ["Wish", "read_wishes"]

T = TypeVar("T")
_BETWEEN: Final = re.compile(r"[;；]")
_KIND: Final = "pos"


@dataclass(slots=True)
class Wish:
    """One outlet of a file. None: the file has no such column."""

    line: int
    code: str
    values: dict[str, Any] = field(default_factory=dict)  # by field name, of the columns there are
    parent: str | None = None
    phones: tuple[tuple[str, int], ...] | None = None  # national digits and rights
    terminals: tuple[tuple[str, str], ...] | None = None  # code and kind
    faulty: set[str] = field(default_factory=set)

    def is_faulty(self, column: str) -> bool:
        return column in self.faulty


def read_wishes(sheet: Sheet) -> list[Wish]:
    """Lines whose code can be read, with their faults and those of things named twice added to the sheet's."""
    wishes = []
    seen: dict[tuple[str, str], int] = {}
    for line in sheet.lines:
        wish = _read(sheet, line)
        if wish is None or _is_again(sheet, seen, wish.line, "code", wish.code):
            continue
        for digits, _ in wish.phones or ():
            _is_again(sheet, seen, wish.line, "phones", digits)
        for code, _ in wish.terminals or ():
            _is_again(sheet, seen, wish.line, "terminals", code)
        wishes.append(wish)
    return wishes


def _is_again(sheet: Sheet, seen: dict[tuple[str, str], int], line: int, column: str, what: str) -> bool:
    first = seen.setdefault((column, what), line)
    if first != line:
        shown = f"*{what[-4:]}" if column == "phones" else what
        sheet.faults.append(Fault(line, column, f"{shown} stands in line {first} already"))
    return first != line


def _read(sheet: Sheet, line: Line) -> Wish | None:
    """None: not even the code can be read."""
    wish = Wish(line.number, "")

    def cell(column: str, read: Callable[[str], T]) -> T | None:
        try:
            return read(line.cells[column])
        except RegistryError as error:
            sheet.faults.append(Fault(line.number, column, str(error)))
            wish.faulty.add(column)
            return None

    code = cell("code", read_code)
    for column in sheet.columns:
        if column in BY_NAME and not (column in NEVER_EMPTY and not line.cells[column]):
            value = cell(column, BY_NAME[column].read)
            if column not in wish.faulty:
                wish.values[column] = value
    if "parent" in sheet.columns:
        wish.parent = cell("parent", lambda text: read_code(text) if text else "")
    if "phones" in sheet.columns:
        wish.phones = cell("phones", _phones)
    if "terminals" in sheet.columns:
        wish.terminals = cell("terminals", _terminals)
    wish.code = code or ""
    return wish if code else None


def _phones(text: str) -> tuple[tuple[str, int], ...]:
    """ "13900000001;13900000002:query"."""
    found = []
    for part in _parts(text):
        number, colon, rights = part.replace("：", ":").partition(":")
        found.append((digits_of(number), rights_of(rights) if colon else USUAL_RIGHTS))
    return _once(found)


def _terminals(text: str) -> tuple[tuple[str, str], ...]:
    """ "T1;T2:phone-pos"."""
    found = []
    for part in _parts(text):
        code, _, kind = part.replace("：", ":").partition(":")
        check_terminal(code.strip(), kind.strip() or _KIND)
        found.append((code.strip(), kind.strip() or _KIND))
    return _once(found)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in _BETWEEN.split(text) if part.strip()]


def _once(found: list[tuple[str, Any]]) -> tuple[tuple[str, Any], ...]:
    names = [name for name, _ in found]
    if len(set(names)) < len(names):
        raise RegistryError("the same one stands there twice")
    return tuple(found)
