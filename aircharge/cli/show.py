"""How the command line speaks: tables, plain errors, and the office behind it."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import DBAPIError

from aircharge.config import load
from aircharge.errors import AirchargeError, Refusal
from aircharge.ledger.dialect import database_says
from aircharge.office import Office

__all__ = [
    "COMMAND",
    "PERSON",
    "as_text",
    "csv_cell",
    "desk_of",
    "out",
    "plain_errors",
    "show_sheet",
    "show_table",
]

PERSON, COMMAND = "aircharge.person", "aircharge.command"
"""Where a command's context keeps who has logged in, and the action with its arguments (``signed``)."""

_UNSEEN: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
"""Categories (Unicode 15, table 4-4) of what a terminal obeys or nobody sees: controls, directions, no characters."""


def as_text(value: object, *, keep: str = "") -> str:
    """Text of users as text: what a terminal would obey, or what nobody sees, is written as ``\\x1b``."""
    return "".join(
        character
        if character in keep or unicodedata.category(character) not in _UNSEEN
        else character.encode("unicode_escape").decode("ascii")
        for character in str(value)
    )


def csv_cell(value: object) -> str:
    """A cell that no spreadsheet program runs as a formula; as ``outlets.sheets`` writes and reads them."""
    text = as_text(value, keep="\n")
    return f"'{text}" if text[:1] in _FORMULA else text


_FORMULA: Final = frozenset("=+-@\t\r＝＋-＠")


class _Screen(Console):
    """Shows what it is given, and obeys nothing in it."""

    _kept: list[tuple[tuple[Any, ...], dict[str, Any]]] | None = None

    def print(self, *objects: Any, **more: Any) -> None:
        if self._kept is not None:
            self._kept.append((objects, more))
            return
        shown = [as_text(item, keep="\n\t") if isinstance(item, str) else item for item in objects]
        super().print(*shown, **more)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """What is printed within appears at its end: a pager that waits must not hold a transaction open."""
        if self._kept is not None:
            yield
            return
        kept: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self._kept = kept
        try:
            yield
        finally:
            self._kept = None
            for objects, more in kept:
                self.print(*objects, **more)


out = _Screen(highlight=False, soft_wrap=True, markup=False, emoji=False)


@contextmanager
def plain_errors() -> Iterator[None]:
    """What went wrong in one line, exit code 1; a refusal says its code."""
    try:
        yield
    except Refusal as refusal:
        raise click.ClickException(
            as_text(f"refused ({refusal.reason.code} {refusal.reason.name}) {refusal.detail}".rstrip())
        ) from refusal
    except (AirchargeError, OSError, RuntimeError, UnicodeDecodeError, csv.Error) as error:
        raise click.ClickException(as_text(error, keep="\n")) from error
    except DBAPIError as error:
        raise click.ClickException(as_text(database_says(error))) from error


def show_table(title: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        out.print(f"{title}: none")
        return
    table = Table(title=title, title_justify="left")
    for column in rows[0]:
        table.add_column(column, overflow="fold", no_wrap=column in ("id", "row"))
    for row in rows:
        table.add_row(*(Text(as_text(value)) for value in row.values()))
    out.print(table)


def show_sheet(title: str, values: dict[str, Any]) -> None:
    """One thing, a line a value."""
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in values.items():
        table.add_row(Text(name), Text(as_text(value)))
    out.print(table)


@contextmanager
def desk_of(context: click.Context) -> Iterator[Office]:
    """The office of the configuration that ``-c`` names; errors become one line."""
    with plain_errors():
        office = Office(load(context.obj))
        office.speechless = out.keeping
        office.person, office.command = context.meta.get(PERSON), context.meta.get(COMMAND)
        try:
            yield office
        finally:
            office.close()
