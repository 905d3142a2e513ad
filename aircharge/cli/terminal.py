"""``aircharge terminal``: what binds a payment terminal, its block and session. Keys: ``terminal_key``."""

from __future__ import annotations

from typing import Any, Final

import click
from sqlalchemy import select

from aircharge.cli.show import desk_of, out, show_sheet, show_table
from aircharge.ledger.tables import metadata
from aircharge.office import local_time
from aircharge.outlets.phones import rights_of, rights_text
from aircharge.outlets.terminal_components import components_of
from aircharge.outlets.terminal_injection import UNBLOCK
from aircharge.outlets.terminals import (
    TERMINAL_ACTIVE,
    Binding,
    bind_terminal_txn,
    block_terminal_txn,
    sign_out_txn,
    terminal_sheet,
)
from aircharge.staffroom import Staffroom, sees

__all__ = ["terminal"]

_STATES: Final = ("pending", "in use", "retired")
_actor = click.option("--actor", required=True)


@click.group()
def terminal() -> None:
    """Payment terminals: binding, block, session, keys."""


@terminal.command("bind")
@click.argument("terminal")
@click.option("--merchant", required=True, help="DE 42, 15 letters and digits.")
@click.option("--module", default="", help="Number of its security module (PSAM), for a fixed-line terminal.")
@click.option("--rights", default="recharge+query", help="recharge+query+admin, in any choice.")
@_actor
@click.pass_context
def terminal_bind(
    context: click.Context, terminal: str, merchant: str, module: str, rights: str, actor: str
) -> None:
    """Say which merchant and security module TERMINAL has, and what it may do."""
    with desk_of(context) as office, office.desk(actor) as desk:
        is_held = bind_terminal_txn(desk, terminal, Binding(merchant, module, rights_of(rights)))
    held = "; it has a key, and is blocked until two people lift that (terminal unblock)" if is_held else ""
    out.print(f"terminal {terminal} is bound to merchant {merchant}{held}")


@terminal.command("block")
@click.argument("terminal")
@_actor
@click.pass_context
def terminal_block(context: click.Context, terminal: str, actor: str) -> None:
    """Refuse TERMINAL from now on."""
    with desk_of(context) as office, office.desk(actor) as desk:
        block_terminal_txn(desk, terminal)
        out.print(f"terminal {terminal} is blocked")


@terminal.command("unblock")
@click.argument("terminal")
@_actor
@click.pass_context
def terminal_unblock(context: click.Context, terminal: str, actor: str) -> None:
    """Ask to lift a block; a second person confirms."""
    with desk_of(context) as office:
        out.print(Staffroom(office).change(UNBLOCK, {"terminal": terminal}, actor=actor))


@terminal.command("sign-out")
@click.argument("terminal")
@_actor
@click.pass_context
def terminal_sign_out(context: click.Context, terminal: str, actor: str) -> None:
    """Take TERMINAL's working keys from it: it must sign in again."""
    with desk_of(context) as office, office.desk(actor) as desk:
        sign_out_txn(desk, terminal)
        out.print(f"terminal {terminal} is signed out; a running daemon sees that within a minute")


@terminal.command("list")
@click.option("--outlet", default="", help="Only those that stand there.")
@click.pass_context
def terminal_list(context: click.Context, outlet: str) -> None:
    """Terminals with their outlets and the version of the key in use."""
    terminals, outlets = metadata.tables["terminal"], metadata.tables["outlet"]
    found = select(terminals, outlets.c.code.label("outlet")).join(
        outlets, outlets.c.id == terminals.c.outlet_id
    )
    if outlet:
        found = found.where(outlets.c.code == outlet)
    with desk_of(context) as office, office.store.engine.connect() as txn:
        rows = txn.execute(found.order_by(terminals.c.code)).mappings().all()
        seen = [row for row in rows if sees(txn, office.person, {"outlet": row["outlet"]})]
    show_table("terminals", [_line(row) for row in seen])


def _line(row: Any) -> dict[str, Any]:
    return {
        "terminal": row["code"],
        "outlet": row["outlet"],
        "kind": row["kind"],
        "merchant": row["merchant"] or "-",
        "status": "active" if row["status"] == TERMINAL_ACTIVE else "blocked",
        "key": row["key_version"] or "-",
    }


@terminal.command("show")
@click.argument("terminal")
@click.pass_context
def terminal_show(context: click.Context, terminal: str) -> None:
    """One terminal, its session, and its keys by their check values."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        sheet, keys = terminal_sheet(txn, terminal)
        is_in = sheet["signed_in"] and office.clock.now_ms() < sheet["until_ms"]
        begun = components_of(txn, terminal)
    session = {
        "security module": sheet["module"] or "-",
        "rights": rights_text(sheet["rights"]),
        "signed in": f"until {local_time(sheet['until_ms'])}" if is_in else "no",
        "last sign-in": local_time(sheet["signed_ms"]),
        "batch": sheet["batch"] or 1,
    }
    show_sheet("terminal", {**_line(sheet), **session})
    shown = [{**key, "state": _STATES[key["state"]], "made": local_time(key["made_ms"])} for key in keys]
    for key in shown:
        del key["made_ms"]
    show_table("keys", shown)
    if begun:
        show_table("components that wait for the others", begun)
