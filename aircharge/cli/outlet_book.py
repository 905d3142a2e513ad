"""``aircharge outlet``, the rest of it: place in the tree, life, phones, terminals, master data, files in and out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
from sqlalchemy import select

from aircharge.cli.outlets import outlet
from aircharge.cli.show import desk_of, out, show_sheet, show_table
from aircharge.ledger.chart import OUTLET_ACTIVE, OUTLET_CLOSED, OUTLET_CLOSING
from aircharge.ledger.tables import metadata
from aircharge.office import Office, local_time
from aircharge.outlets.desk import RegistryError
from aircharge.outlets.exports import FILE_COLUMNS, export_rows
from aircharge.outlets.fields import BY_NAME
from aircharge.outlets.imports import Draft, draft_txn, import_txn
from aircharge.outlets.lifecycle import STATUSES, step_txn
from aircharge.outlets.phones import lost_sim_txn
from aircharge.outlets.profile import profile_of
from aircharge.outlets.registry import Desk
from aircharge.outlets.rights import NotAllowed
from aircharge.outlets.sheets import ENCODINGS, write_sheet
from aircharge.outlets.terminal_injection import UNBLOCK
from aircharge.outlets.terminals import add_terminal_txn, block_terminal_txn, move_terminal_txn
from aircharge.outlets.tree import downline, move_txn, moves
from aircharge.staffroom import Staffroom, sees, write_new
from aircharge.values import Pin, mask_msisdn, yuan_text

__all__ = ["outlet"]

_UNTIL_LIFTED: Final = "; it has a key, and is blocked until two people lift that (--lift)"
_STEPS: Final = {"active": OUTLET_ACTIVE, "closing": OUTLET_CLOSING, "closed": OUTLET_CLOSED}
_encoding = click.option("--encoding", type=click.Choice(list(ENCODINGS)), default="utf-8-bom")


# -- the tree and the life ---------------------------------------------------------------------------------


@outlet.command("move")
@click.argument("code")
@click.argument("parent")
@click.option("--level", type=click.IntRange(1, 4), help="1 province, 2 city, 3 distributor, 4 outlet.")
@click.option("--actor", required=True)
@click.pass_context
def outlet_move(context: click.Context, code: str, parent: str, level: int | None, actor: str) -> None:
    """Put an outlet, and all below it, under another PARENT (- = none). Its history stays."""
    with desk_of(context) as office, office.desk(actor) as desk:
        if not sees(desk.txn, office.person, {"outlet": parent}):
            raise NotAllowed(f"{parent} is outside the part of the tree {actor} works in")
        move_txn(desk, code, "" if parent == "-" else parent, level=level)
        out.print(f"outlet {code} stands below {parent}")


@outlet.command("tree")
@click.argument("code")
@click.pass_context
def outlet_tree(context: click.Context, code: str) -> None:
    """All below an outlet, with float and last activity; and where it has stood itself."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        rows = [_below(row) for row in downline(txn, code)]
        show_table("below", rows)
        stood = [{**row, "since_ms": local_time(row["since_ms"])} for row in moves(txn, code)]
        show_table("has stood", stood)


@outlet.command("step")
@click.argument("code")
@click.argument("status", type=click.Choice(list(_STEPS)))
@click.option("--why", default="", help="For the audit.")
@click.option("--actor", required=True)
@click.pass_context
def outlet_step(context: click.Context, code: str, status: str, why: str, actor: str) -> None:
    """Take an outlet on: pending to active, active to closing, closing to closed (nothing owned, nothing open)."""
    with desk_of(context) as office, office.desk(actor) as desk:
        step_txn(desk, code, _STEPS[status], why)
        out.print(f"outlet {code} is {status}")


# -- phones and terminals ----------------------------------------------------------------------------------


@outlet.command("phone")
@click.argument("code")
@click.argument("number")
@click.option(
    "--rights", default="", help="recharge+query+admin, in any choice; changes those of a bound one."
)
@click.option("--unbind", is_flag=True, help="Take the number from the outlet.")
@click.option("--actor", required=True)
@click.pass_context
def outlet_phone(
    context: click.Context, code: str, number: str, rights: str, unbind: bool, actor: str
) -> None:
    """Bind a number to an outlet, change what it may do, or take it away. The outlet's other numbers are told.

    A new number may order after a day, or when two people release it; more rights take a second person.
    """
    with desk_of(context) as office:
        out.print(Staffroom(office).change_phone(code, number, rights, unbind=unbind, actor=actor))


@outlet.command("lost-sim")
@click.argument("code")
@click.argument("lost")
@click.option("--replacement", default="", help="The new number; it may order after a day, or when released.")
@click.option("--actor", required=True)
@click.pass_context
def outlet_lost_sim(context: click.Context, code: str, lost: str, replacement: str, actor: str) -> None:
    """Block a lost number and its card at once; the float stays with the outlet."""
    with desk_of(context) as office, office.desk(actor) as desk:
        from_ms = lost_sim_txn(desk, code, lost, replacement)
        after = f"; {mask_msisdn(replacement)} counts from {local_time(from_ms)}" if replacement else ""
        out.print(f"{mask_msisdn(lost)} and its card are blocked{after}")


@outlet.command("release-phone")
@click.argument("code")
@click.argument("number")
@click.option("--note", required=True, help="Who was called back, and when.")
@click.option("--actor", required=True)
@click.pass_context
def outlet_release_phone(context: click.Context, code: str, number: str, note: str, actor: str) -> None:
    """Ask to let a replaced SIM order before its time; a second person confirms."""
    with desk_of(context) as office:
        wish = {"outlet": code, "phone": number, "note": note}
        out.print(Staffroom(office).change("phone.release", wish, actor=actor))


@outlet.command("terminal")
@click.argument("code")
@click.argument("terminal")
@click.option("--kind", default="pos")
@click.option("--move", "is_move", is_flag=True, help="It stands at another outlet now.")
@click.option("--block", is_flag=True)
@click.option("--lift", is_flag=True, help="Ask to lift the block; a second person confirms.")
@click.option("--actor", required=True)
@click.pass_context
def outlet_terminal(
    context: click.Context,
    code: str,
    terminal: str,
    kind: str,
    is_move: bool,
    block: bool,
    lift: bool,
    actor: str,
) -> None:
    """Put a new terminal at an outlet, move it there, or block it."""
    with desk_of(context) as office:
        if lift:
            with office.desk(actor) as desk:
                _check_stand(desk, office, terminal, code)
            out.print(Staffroom(office).change(UNBLOCK, {"terminal": terminal}, actor=actor))
            return
        with office.desk(actor) as desk:
            is_blocked = _stand(desk, office, code, terminal, kind, is_move=is_move, block=block)
        out.print(f"terminal {terminal}: done" + (_UNTIL_LIFTED if is_blocked else ""))


def _stand(
    desk: Desk, office: Office, code: str, terminal: str, kind: str, *, is_move: bool, block: bool
) -> bool:
    """Whether a move has blocked it."""
    if block or is_move:
        _check_stand(desk, office, terminal, "" if is_move else code)
    if block:
        block_terminal_txn(desk, terminal)
    elif is_move:
        return move_terminal_txn(desk, terminal, code)
    else:
        add_terminal_txn(desk, code, terminal, kind)
    return False


# -- master data -------------------------------------------------------------------------------------------


@outlet.command("profile")
@click.argument("code")
@click.argument("fields", nargs=-1)
@click.option("--actor", default="", help="Your name, for the audit, where something is changed.")
@click.pass_context
def outlet_profile(context: click.Context, code: str, fields: tuple[str, ...], actor: str) -> None:
    """Show an outlet's master data, or change FIELDS: name=value …"""
    with desk_of(context) as office:
        if not fields:
            with office.store.engine.connect() as txn:
                kept = profile_of(txn, code)
                show_sheet("master data", {name: BY_NAME[name].seen(value) for name, value in kept.items()})
            return
        if not actor:
            raise click.UsageError("--actor: whose name does the change bear?")
        changed, asked = Staffroom(office).change_profile(code, _pairs(fields), actor=actor)
        if changed or not asked:
            rows = [{"field": name, "before": old, "after": new} for name, (old, new) in changed.items()]
            show_table("changed", rows)
        for said in asked:
            out.print(said)


# -- files -------------------------------------------------------------------------------------------------


@outlet.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what it would do, and every error with line and column.")
@click.option("--pins-file", type=click.Path(path_type=Path), help="Where the new outlets' PINs go, once.")
@click.option("--actor", required=True)
@click.pass_context
def outlet_import(
    context: click.Context, file: Path, dry_run: bool, pins_file: Path | None, actor: str
) -> None:
    """New outlets and changed master data from a CSV file (UTF-8 or GB18030): all of it or nothing."""
    octets = file.read_bytes()
    with desk_of(context) as office:
        powers = Staffroom(office).powers()
        if dry_run:
            with office.store.engine.connect() as txn:
                _tell(draft_txn(Desk(txn, office.clock.now_ms(), actor), octets, powers=powers))
            return
        if pins_file is None:
            raise click.UsageError("--pins-file: new outlets have PINs, which are kept nowhere else")
        with office.desk(actor) as desk:
            draft, initial = import_txn(
                desk, octets, office.config.pin_hash(), office.chance.token, powers=powers
            )
            asked = Staffroom(office).ask_heavy_txn(desk, draft.heavy)
            if not draft.faults:  # before the commit: without its PINs no outlet comes to be
                write_new(pins_file, _pins_text(initial).encode("ascii"))
        _tell(draft)
        for said in asked:
            out.print(said)


@outlet.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--closed", is_flag=True, help="Closed outlets as well.")
@click.option("--chinese", is_flag=True, help="The header in Chinese.")
@_encoding
@click.pass_context
def outlet_export(context: click.Context, file: Path, closed: bool, chinese: bool, encoding: str) -> None:
    """All outlets as a CSV file that can be imported again."""
    with desk_of(context) as office:
        with office.store.engine.connect() as txn:
            rows = export_rows(txn, inside=office.inside(), closed=closed)
        write_new(file, write_sheet(rows, FILE_COLUMNS, encoding, chinese=chinese))
        out.print(f"{len(rows)} outlets in {file}")


def _pins_text(initial: Sequence[tuple[str, Pin]]) -> str:
    return "".join(f"{code},{pin.secret}\n" for code, pin in initial)


def _tell(draft: Draft) -> None:
    """What a file says, or each of its errors and exit code 1."""
    if draft.faults:
        for fault in draft.faults:
            out.print(str(fault))
        raise click.ClickException(f"{len(draft.faults)} errors: nothing has changed")
    out.print(f"{len(draft.new)} new, {len(draft.changes)} changed, {draft.unchanged} as they were")
    show_table("changes", [{"outlet": one.code, **_shown(one.shown)} for one in draft.changes[:50]])


def _shown(changes: Mapping[str, list[str]]) -> dict[str, str]:
    return {"changes": "; ".join(f"{name}: {old} → {new}" for name, (old, new) in changes.items())}


def _pairs(fields: tuple[str, ...]) -> dict[str, str]:
    pairs = [field.partition("=") for field in fields]
    if not all(sign for _, sign, _ in pairs):
        raise click.UsageError("fields are changed as name=value")
    return {name: value for name, _, value in pairs}


def _check_stand(desk: Desk, office: Office, terminal: str, code: str) -> None:
    """Raises RegistryError, NotAllowed: the terminal stands at another outlet, or where that person does not work."""
    outlets, terminals = metadata.tables["outlet"], metadata.tables["terminal"]
    joined = terminals.join(outlets, outlets.c.id == terminals.c.outlet_id)
    at = desk.txn.execute(
        select(outlets.c.code).select_from(joined).where(terminals.c.code == terminal)
    ).scalar()
    if at is None or (code and at != code):
        raise RegistryError(f"no terminal {terminal}" + (f" at outlet {code}" if code else ""))
    if not sees(desk.txn, office.person, {"outlet": at}):
        raise NotAllowed(f"terminal {terminal} is outside the part of the tree {desk.actor} works in")


def _below(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "code": "  " * (row["depth"] - 1) + row["code"],
        "name": row["name"],
        "below": row["parent"],
        "status": STATUSES[row["status"]][0],
        "float": yuan_text(row["posted"]),
        "available": yuan_text(row["posted"] - row["held"] - row["floor"]),
        "last order": local_time(row["last_ms"]),
    }
