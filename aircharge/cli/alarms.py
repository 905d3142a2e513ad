"""``aircharge alarms``: what the audit has for people to look into."""

from __future__ import annotations

import json
from typing import Any, Final

import click
from sqlalchemy import select

from aircharge.cli.show import desk_of, show_table
from aircharge.ledger.tables import metadata
from aircharge.observe.logs import mask_text
from aircharge.office import local_time

__all__ = ["alarms"]

_ALARM: Final = "alarm."
_DAY_MS: Final = 86_400_000


@click.command("alarms")
@click.option("--about", default="", help="Only of this outlet, terminal, person, “order N” …")
@click.option("--what", default="", help="Only of this kind, such as batch-differs.")
@click.option("--days", type=click.IntRange(1, 3660), default=30, help="How far back.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50)
@click.pass_context
def alarms(context: click.Context, about: str, what: str, days: int, limit: int) -> None:
    """The audit's alarms, the newest first."""
    c = metadata.tables["audit"].c
    found = select(c.at_ms, c.action, c.object, c.detail).order_by(c.seq.desc()).limit(limit)
    found = found.where(c.action == _ALARM + what) if what else found.where(c.action.startswith(_ALARM))
    if about:
        found = found.where(c.object == about)
    with desk_of(context) as office, office.store.engine.connect() as txn:
        rows = txn.execute(found.where(c.at_ms > office.clock.now_ms() - days * _DAY_MS)).all()
    show_table("alarms", [_line(row) for row in rows])


def _line(row: Any) -> dict[str, str]:
    detail = ", ".join(f"{name} {value}" for name, value in json.loads(row.detail).items())
    return {
        "at": local_time(row.at_ms),
        "what": row.action.removeprefix(_ALARM),
        "about": _masked(row.object),
        "more": _masked(detail),
    }


def _masked(text: str) -> str:
    """Without whole numbers of customers."""
    return mask_text(text)
