"""``aircharge terminal``: what binds a payment terminal, its block and session, and its master keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NoReturn

import click
from sqlalchemy import select

from aircharge.cli.show import desk_of, out, show_sheet, show_table
from aircharge.ledger.tables import metadata
from aircharge.office import local_time
from aircharge.outlets.desk import Desk, RegistryError
from aircharge.outlets.phones import rights_of
from aircharge.outlets.requests import request_txn
from aircharge.outlets.terminal_injection import (
    INJECT,
    UNBLOCK,
    KeyFaults,
    injection,
    keys_asked,
    retire_key_txn,
)
from aircharge.outlets.terminal_keys import TRANSPORTS, key_lines, key_of
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

_STATES: Final = ("waits for its terminal", "in use", "retired")
_file = click.Path(exists=True, dir_okay=False, path_type=Path)
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
        bind_terminal_txn(desk, terminal, Binding(merchant, module, rights_of(rights)))
        out.print(f"terminal {terminal} is bound to merchant {merchant}")


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
        out.print(f"terminal {terminal} is signed out")


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
    session = {
        "security module": sheet["module"] or "-",
        "rights": sheet["rights"],
        "signed in": f"until {local_time(sheet['until_ms'])}" if sheet["signed_in"] else "no",
        "last sign-in": local_time(sheet["signed_ms"]),
        "batch": sheet["batch"] or 1,
    }
    show_sheet("terminal", {**_line(sheet), **session})
    states = {"state": lambda value: _STATES[value], "made_ms": local_time}
    show_table("keys", [{name: states.get(name, str)(value) for name, value in key.items()} for key in keys])


# -- keys --------------------------------------------------------------------------------------------------


@terminal.group("key")
def key() -> None:
    """Master keys: brought by one person, compared and confirmed by another."""


@key.command("file")
@click.argument("file", type=_file)
@click.option("--transport", type=click.Choice(list(TRANSPORTS)), help="How the file's keys are wrapped.")
@click.option("--transport-key", type=_file, help="The transport key's file: hexadecimal, mode 600.")
@click.option(
    "--allow-degenerate", is_flag=True, help="Single DES, and 3DES with equal parts, for old terminals."
)
@click.option("--dry-run", is_flag=True, help="Say what is wrong with it; ask for nothing.")
@_actor
@click.pass_context
def key_file(
    context: click.Context,
    file: Path,
    transport: str | None,
    transport_key: Path | None,
    allow_degenerate: bool,
    dry_run: bool,
    actor: str,
) -> None:
    """Ask for the keys of FILE (terminal,version,family,key,kcv), all or nothing; a second person confirms."""
    if (transport is None) is not (transport_key is None):
        raise click.UsageError("--transport and --transport-key go together")
    with desk_of(context) as office:
        lines, faults = key_lines(_secret(file) if transport is None else file.read_bytes())
        if faults:
            _refuse(KeyFaults(faults))
        wrapping = None
        if transport is not None and transport_key is not None:
            wrapping = transport, key_of(_secret(transport_key).decode("ascii").strip())
        room = Staffroom(office)
        with office.store.engine.connect() as txn:
            try:
                payload = injection(
                    txn, room.ring(), lines, maker=actor, transport=wrapping, degenerate=allow_degenerate
                )
            except KeyFaults as error:
                _refuse(error)
        show_table("keys", keys_asked(payload))
        out.print("a dry run: nothing asked" if dry_run else room.change(INJECT, payload, actor=actor))


@key.command("compare")
@click.argument("number", type=int)
@click.pass_context
def key_compare(context: click.Context, number: int) -> None:
    """The check values of a waiting request, for whoever is to confirm it."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        row = request_txn(Desk(txn, office.clock.now_ms(), "-"), number)
        if row.what != INJECT:
            raise RegistryError(f"request {number} is {row.what}, not about keys of terminals")
        show_table(f"request {number} of {row.maker}", keys_asked(json.loads(row.payload)))


@key.command("retire")
@click.argument("terminal")
@click.argument("version", type=click.IntRange(1, 255))
@_actor
@click.pass_context
def key_retire(context: click.Context, terminal: str, version: int, actor: str) -> None:
    """Destroy a key; of the one in use the session ends too."""
    with desk_of(context) as office, office.desk(actor) as desk:
        retire_key_txn(desk, terminal, version)
        out.print(f"key {version} of terminal {terminal} is retired")


def _secret(file: Path) -> bytes:
    """What is in a file that nobody else may read. Raises RegistryError."""
    if file.stat().st_mode & 0o077:
        raise RegistryError(f"{file.name} may be read by others: chmod 600")
    return file.read_bytes()


def _refuse(error: KeyFaults) -> NoReturn:
    for fault in error.faults:
        out.print(str(fault))
    raise error
