"""``aircharge terminal key``: master keys, brought by one person (or by their custodians), confirmed by another."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

import click

from aircharge.cli.show import desk_of, out, show_table
from aircharge.cli.terminal_batch import terminal
from aircharge.office import Office
from aircharge.outlets.desk import Desk, RegistryError
from aircharge.outlets.requests import request_txn
from aircharge.outlets.rights import NotAllowed
from aircharge.outlets.terminal_components import (
    PartOf,
    enter_components_txn,
    forget_components_txn,
    made_keys,
)
from aircharge.outlets.terminal_injection import (
    INJECT,
    KeyFaults,
    injection,
    keys_asked,
    retire_key_txn,
    rewrap_txn,
)
from aircharge.outlets.terminal_keys import (
    FAMILIES,
    TRANSPORTS,
    KeyLine,
    kcv_text,
    key_file,
    key_lines,
    key_of,
)
from aircharge.staffroom import Staffroom, sees

__all__ = ["terminal"]

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_actor = click.option("--actor", required=True)
_family = click.option("--family", type=click.Choice(list(FAMILIES)), default="3des")
_degenerate = click.option(
    "--allow-degenerate", is_flag=True, help="Single DES, and 3DES with equal parts, for old terminals."
)
_part = click.option("--part", type=click.IntRange(1, 3), required=True, help="Which component it is.")
_parts = click.option("--of", "parts", type=click.IntRange(2, 3), required=True, help="How many there are.")
_version = click.IntRange(1, 255)


@terminal.group("key")
def key() -> None:
    """Master keys: brought by one person, compared and confirmed by another."""


@key.command("file")
@click.argument("file", type=_FILE)
@click.option("--transport", type=click.Choice(list(TRANSPORTS)), help="How the file's keys are wrapped.")
@click.option("--transport-key", type=_FILE, help="The transport key's file: hexadecimal, mode 600.")
@_degenerate
@click.option("--dry-run", is_flag=True, help="Say what is wrong with it; ask for nothing.")
@_actor
@click.pass_context
def file_command(
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
        lines = _lines(_secret(file) if transport is None else file.read_bytes())
        wrapping = None
        if transport is not None and transport_key is not None:
            wrapping = transport, key_of(_secret(transport_key).decode("ascii", "replace").strip())
        room = Staffroom(office)
        with office.desk(actor) as desk:
            try:
                payload = injection(
                    desk.txn, room.ring(), lines, maker=actor, transport=wrapping, degenerate=allow_degenerate
                )
            except KeyFaults as error:
                _refuse(error)
            show_table("keys", keys_asked(payload))
            out.print("a dry run: nothing is asked" if dry_run else room.change_txn(desk, INJECT, payload))


@key.command("component")
@click.argument("terminal")
@click.argument("version", type=_version)
@_part
@_parts
@_family
@_degenerate
@_actor
@click.pass_context
def component_command(
    context: click.Context,
    terminal: str,
    version: int,
    part: int,
    parts: int,
    family: str,
    allow_degenerate: bool,
    actor: str,
) -> None:
    """Bring one component of a key, typed unseen, with its check value. The last one asks for the key."""
    typed = click.prompt("component", hide_input=True)
    kcv = click.prompt("its check value")
    with desk_of(context) as office:
        line = KeyLine(1, terminal, version, family, kcv_text(kcv), key_of(typed))
        _enter(office, [line], PartOf(part, parts), allow_degenerate, actor)


@key.command("component-file")
@click.argument("file", type=_FILE)
@_part
@_parts
@_degenerate
@_actor
@click.pass_context
def component_file_command(
    context: click.Context, file: Path, part: int, parts: int, allow_degenerate: bool, actor: str
) -> None:
    """Bring one person's components of many keys: FILE as for whole keys, mode 600, all or nothing."""
    with desk_of(context) as office:
        _enter(office, _lines(_secret(file)), PartOf(part, parts), allow_degenerate, actor)


def _enter(office: Office, lines: Sequence[KeyLine], part: PartOf, degenerate: bool, actor: str) -> None:
    room = Staffroom(office)
    with office.desk(actor) as desk:
        _check_scope(desk, office, [line.terminal for line in lines])
        try:
            done = enter_components_txn(desk, room.ring(), lines, part)
            out.print(f"{len(lines)} components of {part.parts} taken, {len(done.lines)} keys complete")
            if not done.lines:
                return
            payload = injection(
                desk.txn,
                room.ring(),
                done.lines,
                maker=actor,
                custodians=done.custodians,
                degenerate=degenerate,
            )
        except KeyFaults as error:
            _refuse(error)
        show_table("keys", keys_asked(payload))
        out.print(room.change_txn(desk, INJECT, payload))


@key.command("generate")
@click.argument("terminals", nargs=-1, required=True)
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--of", "parts", type=click.IntRange(2, 3), default=2, help="Components.")
@_family
@click.option("--octets", type=int, default=16)
@_actor
@click.pass_context
def generate_command(
    context: click.Context,
    terminals: tuple[str, ...],
    folder: Path,
    parts: int,
    family: str,
    octets: int,
    actor: str,
) -> None:
    """Make keys; their components go once to FOLDER, a file each of mode 600, for the injection device."""
    files = [folder / f"component-{number}.csv" for number in range(1, parts + 1)]
    with desk_of(context) as office:
        for file in files:
            if file.exists():
                raise RegistryError(f"{file.name} is there already: another folder, or move it away")
        room = Staffroom(office)
        with office.desk(actor) as desk:
            keys, components = made_keys(desk.txn, terminals, family, octets, parts, office.chance.token)
            try:
                payload = injection(desk.txn, room.ring(), keys, maker=actor)
            except KeyFaults as error:
                _refuse(error)
            said = room.change_txn(desk, INJECT, payload)
            for file, lines in zip(files, components, strict=True):
                _write(file, key_file(lines))  # before the commit
        show_table("keys", keys_asked(payload))
        out.print(said)


@key.command("compare")
@click.argument("number", type=int)
@click.pass_context
def compare_command(context: click.Context, number: int) -> None:
    """The check values of a waiting request, for whoever is to confirm it."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        row = request_txn(Desk(txn, office.clock.now_ms(), "-"), number)
        if row.what != INJECT:
            raise RegistryError(f"request {number} is {row.what}, not about keys of terminals")
        payload = json.loads(row.payload)
        if not sees(txn, office.person, payload):
            raise NotAllowed("these terminals are outside the part of the tree you work in")
    show_table(f"request {number} of {row.maker}", keys_asked(payload))


@key.command("retire")
@click.argument("terminal")
@click.argument("version", type=_version)
@_actor
@click.pass_context
def retire_command(context: click.Context, terminal: str, version: int, actor: str) -> None:
    """Destroy a key, or the components of one not complete; of the one in use the session ends too."""
    with desk_of(context) as office, office.desk(actor) as desk:
        if gone := forget_components_txn(desk, terminal, version):
            out.print(f"{gone} components of key {version} of terminal {terminal} are gone")
            return
        retire_key_txn(desk, terminal, version)
        out.print(
            f"key {version} of terminal {terminal} is retired; a session begun under it ends within a minute"
        )


@key.command("rewrap")
@_actor
@click.pass_context
def rewrap_command(context: click.Context, actor: str) -> None:
    """Wrap all keys under the newest KEK of the ring; no terminal is touched. Can be repeated."""
    with desk_of(context) as office:
        ring, total, at = Staffroom(office).ring(), 0, (0, 0)
        while True:
            with office.desk(actor) as desk:
                count, at = rewrap_txn(desk, ring, at)
            if not count:
                break
            total += count
        out.print(f"{total} keys are wrapped under the newest KEK")


def _check_scope(desk: Desk, office: Office, terminals: Sequence[str]) -> None:
    """Raises NotAllowed. A terminal there is none of is for others to name."""
    keys = [{"terminal": code} for code in terminals]
    if not sees(desk.txn, office.person, {"keys": keys}):
        raise NotAllowed(f"a terminal is outside the part of the tree {desk.actor} works in")


def _lines(octets: bytes) -> list[KeyLine]:
    lines, faults = key_lines(octets)
    if faults:
        _refuse(KeyFaults(faults))
    return lines


def _secret(file: Path) -> bytes:
    """What is in a file that nobody else may read. Raises RegistryError."""
    if file.stat().st_mode & 0o077:
        raise RegistryError(f"{file.name} may be read by others: chmod 600")
    return file.read_bytes()


def _write(file: Path, text: str) -> None:
    """A new file that nobody else may read. Raises OSError where there is one already."""
    target = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(target, "w", encoding="ascii") as handle:
        handle.write(text)


def _refuse(error: KeyFaults) -> NoReturn:
    for fault in error.faults:
        out.print(str(fault))
    raise error
