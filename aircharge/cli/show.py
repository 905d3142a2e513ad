"""How the command line speaks: tables, plain errors, and the office behind it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from aircharge.config import load
from aircharge.errors import AirchargeError, Refusal
from aircharge.office import Office

__all__ = ["PERSON", "desk_of", "out", "plain_errors", "show_sheet", "show_table"]

PERSON = "aircharge.person"
"""Where a command's context keeps who has logged in (``signed``)."""

out = Console(highlight=False, soft_wrap=True)


@contextmanager
def plain_errors() -> Iterator[None]:
    """What went wrong in one line, exit code 1; a refusal says its code."""
    try:
        yield
    except Refusal as refusal:
        raise click.ClickException(
            f"refused ({refusal.reason.code} {refusal.reason.name}) {refusal.detail}".rstrip()
        ) from refusal
    except (AirchargeError, OSError, RuntimeError, UnicodeDecodeError, csv.Error) as error:
        raise click.ClickException(str(error)) from error


def show_table(title: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        out.print(f"{title}: none")
        return
    table = Table(title=title, title_justify="left")
    for column in rows[0]:
        table.add_column(column, overflow="fold", no_wrap=column in ("id", "row"))
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    out.print(table)


def show_sheet(title: str, values: dict[str, Any]) -> None:
    """One thing, a line a value."""
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in values.items():
        table.add_row(name, str(value))
    out.print(table)


@contextmanager
def desk_of(context: click.Context) -> Iterator[Office]:
    """The office of the configuration that ``-c`` names; errors become one line."""
    with plain_errors():
        office = Office(load(context.obj))
        office.person = context.meta.get(PERSON)
        try:
            yield office
        finally:
            office.close()
