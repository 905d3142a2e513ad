"""Making an instance, backup, restore, and what two people say of the ledger's keys and of a restored ledger."""

from __future__ import annotations

import os
from pathlib import Path

import click

from aircharge.cli.show import desk_of, out, plain_errors
from aircharge.config import load
from aircharge.keeping import make_backup, make_instance, restore_backup
from aircharge.machine import SystemClock
from aircharge.staffroom import Staffroom

__all__ = ["backup", "clock", "init", "key", "reconciled", "restore"]


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--url", default="sqlite:///ledger.db", help="The ledger; PostgreSQL: an empty database's URL.")
def init(folder: Path, url: str) -> None:
    """Make FOLDER with configuration, random keys and an empty ledger; nothing is ever written over."""
    os.umask(0o077)
    with plain_errors():
        path = make_instance(folder, url)
        out.print(
            f"{path}: made, with keys in {folder / 'keys'} and an empty ledger; copy the keys to a safe place"
        )


@click.command("backup")
@click.argument("folder", type=click.Path(path_type=Path))
@click.pass_context
def backup(context: click.Context, folder: Path) -> None:
    """Copy the ledger into a new FOLDER, beside a running daemon; the copy is verified. Keys are not in it."""
    os.umask(0o077)
    with plain_errors():
        made = make_backup(load(context.obj), folder, SystemClock().now_ms())
        out.print(f"{folder / made['file']}: {made['octets']} octets, sound, sha256 {made['sha256']}")


@click.command("restore")
@click.argument("folder", type=click.Path(path_type=Path))
@click.pass_context
def restore(context: click.Context, folder: Path) -> None:
    """Put the backup in FOLDER where the configured ledger is to be; never over anything."""
    os.umask(0o077)
    with plain_errors():
        restore_backup(load(context.obj), folder, SystemClock().now_ms())
        out.print(
            "restored and sound. The doors stay shut until two people have reconciled it with the operators' record: "
            "docs/operations.md, then aircharge reconciled --evidence WHERE"
        )


@click.command("reconciled")
@click.option("--evidence", required=True, help="Where the reconciliation with the operators is written.")
@click.option("--maker", required=True)
@click.pass_context
def reconciled(context: click.Context, evidence: str, maker: str) -> None:
    """Ask that a restored ledger opens its doors; another person confirms."""
    with desk_of(context) as office:
        out.print(Staffroom(office).change("reconciled", {"evidence": evidence}, actor=maker))


@click.group()
def clock() -> None:
    """The clock that dates the ledger."""


@clock.command("accept")
@click.option("--why", required=True, help="Why it differs from the ledger's last order: the house was off.")
@click.option("--maker", required=True)
@click.pass_context
def clock_accept(context: click.Context, why: str, maker: str) -> None:
    """Ask that the clock is believed, so that the doors open; another person confirms."""
    with desk_of(context) as office:
        payload = {"at_ms": office.clock.now_ms(), "why": why}
        out.print(Staffroom(office).change("clock.accept", payload, actor=maker))


@click.group()
def key() -> None:
    """The ledger's keys."""


@key.command("accept")
@click.option("--why", required=True)
@click.option("--maker", required=True)
@click.pass_context
def key_accept(context: click.Context, why: str, maker: str) -> None:
    """Ask that the configured keys are the ledger's from now on; another person confirms.

    What was written under other keys stays closed: PINs under another pepper must all be set anew.
    """
    with desk_of(context) as office:
        checks = {name: value.hex() for name, value in office.config.key_checks().items()}
        out.print(Staffroom(office).change("key.accept", {"checks": checks, "why": why}, actor=maker))
