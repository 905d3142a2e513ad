"""``aircharge terminal batches``, ``batch``, ``unsettled``: what a settlement left for people to look into."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

import click

from aircharge.cli.show import desk_of, out, show_sheet, show_table
from aircharge.cli.terminal import terminal
from aircharge.ledger.chart import (
    DETAIL_MISSING,
    DETAIL_OTHER,
    DETAIL_UNKNOWN,
    POS_COMPARED,
    POS_EQUAL,
    POS_UNEQUAL,
)
from aircharge.ledger.terminals import Totals
from aircharge.office import local_time
from aircharge.outlets.terminal_batches import batch_sheet, open_batches, settled_batches, sums_of
from aircharge.staffroom import sees
from aircharge.values import yuan_text

__all__ = ["terminal"]

_STATES: Final = {
    POS_EQUAL: "equal",
    POS_UNEQUAL: "awaited",
    POS_COMPARED: "compared",
}
"""Of what differs the lines are awaited, or compared."""
_LINES: Final = {
    DETAIL_UNKNOWN: "only the terminal has it",
    DETAIL_OTHER: "another amount",
    DETAIL_MISSING: "only the ledger has it",
}


@terminal.command("batches")
@click.option("--terminal", "code", default="", help="Only this terminal's.")
@click.option("--differing", is_flag=True, help="Only those that were not equal.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50)
@click.pass_context
def terminal_batches(context: click.Context, code: str, differing: bool, limit: int) -> None:
    """Batches that were settled, the newest first: yuan (and how many), voids below zero."""
    rows = []
    with desk_of(context) as office, office.store.engine.connect() as txn:
        is_seen: Callable[[str], bool] = cache(lambda outlet: sees(txn, office.person, {"outlet": outlet}))
        for row in settled_batches(txn, code, differing=differing):
            if not is_seen(row["outlet"]):
                continue
            head = {name: row[name] for name in ("terminal", "outlet", "batch")}
            sides = {"theirs": _sums(sums_of(row, "their")), "ours": _sums(sums_of(row, "our"))}
            state = f"{row['wrong']} differ" if row["state"] == POS_COMPARED else _STATES[row["state"]]
            rows.append({**head, "settled": local_time(row["made_ms"])[5:16], "state": state, **sides})
            if len(rows) == limit:
                break
    show_table("settled batches", rows)


@terminal.command("batch")
@click.argument("terminal")
@click.argument("number", type=click.IntRange(1, 999_999))
@click.pass_context
def terminal_batch(context: click.Context, terminal: str, number: int) -> None:
    """One settled batch of TERMINAL: both sides' sums, and every line that differs."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        row, lines = batch_sheet(txn, terminal, number)
    sheet = {
        "terminal": terminal,
        "batch": number,
        "state": _STATES[row["state"]],
        "settled": local_time(row["made_ms"]),
        "done": local_time(row["done_ms"]),
        "theirs": _sums(sums_of(row, "their")),
        "ours": _sums(sums_of(row, "our")),
    }
    show_sheet("batch", sheet)
    if row["state"] == POS_EQUAL:
        return
    if row["state"] == POS_UNEQUAL:
        out.print("the terminal has not sent its lines yet")
        return
    shown = [
        {
            "trace": line["trace"],
            "theirs": yuan_text(line["their_fen"]),
            "ours": yuan_text(line["our_fen"]),
            "order": line["txn_id"] or "-",
            "what": _LINES[line["said"]],
        }
        for line in lines
    ]
    show_table("lines that differ (voids below zero)", shown)


@terminal.command("unsettled")
@click.option("--outlet", default="", help="Only terminals that stand there.")
@click.pass_context
def terminal_unsettled(context: click.Context, outlet: str) -> None:
    """Terminals with sales in a batch that is still open."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        rows = [
            {
                "terminal": open_batch.terminal,
                "outlet": open_batch.outlet,
                "batch": open_batch.batch,
                "since": local_time(open_batch.since_ms),
                "sold": _sums(open_batch.sums),
            }
            for open_batch in open_batches(txn, outlet)
            if sees(txn, office.person, {"outlet": open_batch.outlet})
        ]
    show_table("batches not settled", rows)


def _sums(sums: Totals) -> str:
    """Yuan and, behind it, how many; voids on a line of their own."""
    sold = f"{yuan_text(sums.sale_fen)} ({sums.sale_n})"
    return f"{sold}\n{yuan_text(-sums.void_fen)} ({sums.void_n})" if sums.void_n else sold
