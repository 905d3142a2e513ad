"""``aircharge request``: what waits for a second person, of every kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from aircharge.cli.show import desk_of, out, show_table
from aircharge.outlets.requests import masked
from aircharge.staffroom import Staffroom

__all__ = ["request"]


@click.group()
def request() -> None:
    """Requests that wait for a second person."""


@request.command("list")
@click.pass_context
def request_list(context: click.Context) -> None:
    """All that wait, money by hand too."""
    with desk_of(context) as office:
        show_table("waiting", [_line(item) for item in Staffroom(office).waiting()])


@request.command("approve")
@click.argument("requests", type=int, nargs=-1, required=True)
@click.option("--checker", required=True)
@click.pass_context
def request_approve(context: click.Context, requests: tuple[int, ...], checker: str) -> None:
    """Confirm: what was asked for is done at once. The checker is not the maker."""
    with desk_of(context) as office:
        for number in requests:
            out.print(Staffroom(office).approve(number, actor=checker))


@request.command("decline")
@click.argument("requests", type=int, nargs=-1, required=True)
@click.option("--note", required=True, help="Why.")
@click.option("--checker", required=True)
@click.pass_context
def request_decline(context: click.Context, requests: tuple[int, ...], note: str, checker: str) -> None:
    """Decline: nothing changes."""
    with desk_of(context) as office:
        for number in requests:
            Staffroom(office).decline(number, note, actor=checker)
            out.print(f"request {number}: declined")


def _line(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "request": item["request"],
        "what": item["what"],
        "about": item["about"],
        "detail": " ".join(
            f"{name}={value}" for name, value in masked(item["payload"]).items() if name != "account"
        ),
        "maker": item["maker"],
        "until": f"{datetime.fromtimestamp(item['until_ms'] / 1000, UTC) + timedelta(hours=8):%m-%d %H:%M}",
    }
