"""``aircharge outlet``: who may trade, as clerks write it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from aircharge.cli.show import desk_of, out, show_sheet, show_table
from aircharge.office import OutletForm, fen_from_yuan
from aircharge.outlets.tree import LEVELS
from aircharge.staffroom import Staffroom
from aircharge.values import Pin, yuan_text

__all__ = ["outlet"]


_LEVELS = [names[0] for names in LEVELS.values()]


@click.group()
def outlet() -> None:
    """Outlets: who may trade."""


@outlet.command("add")
@click.argument("code")
@click.option("--name", default="", help="Name on lists.")
@click.option(
    "--phone", "phones", multiple=True, required=True, help="A number it may order from; may be repeated."
)
@click.option("--parent", default="", help="The code of whom it stands below.")
@click.option("--level", type=click.Choice(_LEVELS), default="outlet")
@click.option("--language", type=click.Choice(["zh", "en"]), default="zh")
@click.option(
    "--pin-policy",
    type=click.Choice(["never", "above", "always"]),
    default="always",
    help="When plain SMS needs the PIN.",
)
@click.option("--pin-above", default="0", help="Yuan; with --pin-policy above.")
@click.option("--actor", required=True, help="Your name, for the audit.")
@click.pass_context
def outlet_add(
    context: click.Context,
    code: str,
    name: str,
    phones: tuple[str, ...],
    parent: str,
    level: str,
    language: str,
    pin_policy: str,
    pin_above: str,
    actor: str,
) -> None:
    """Add an outlet; its initial PIN is printed once, stored nowhere, and must be changed before anything else."""
    with desk_of(context) as office:
        pin, above_fen = office.random_pin(), fen_from_yuan(pin_above)
        looser = (
            {} if pin_policy == "always" else {"pin_policy": pin_policy, "pin_above": yuan_text(above_fen)}
        )
        more = {"level": level}
        if office.person is None:  # names are labels: it is done at once
            form = OutletForm(code, name, phones, language, pin_policy, above_fen, parent, more)
            looser = {}
        else:
            form = OutletForm(code, name, phones, language, parent=parent, more=more)
        outlet_id = office.add_outlet(form, pin, actor=actor, must_change=True)
        out.print(f"outlet {code} added as {outlet_id}; initial PIN {pin.secret}")
        if looser:
            for said in Staffroom(office).change_profile(code, looser, actor=actor)[1]:
                out.print(said)


@outlet.command("found")
@click.argument("code")
@click.option("--name", default="", help="Name on lists.")
@click.option("--level", type=click.Choice(_LEVELS), default="province")
@click.option("--phone", "phones", multiple=True, help="A province and a city may be without.")
@click.option("--actor", required=True, help="Your name, for the audit.")
@click.pass_context
def outlet_found(
    context: click.Context, code: str, name: str, level: str, phones: tuple[str, ...], actor: str
) -> None:
    """Ask for an outlet that stands below nobody: the first of the house, another province."""
    with desk_of(context) as office:
        wish = {"outlet": code, "name": name, "level": level, "phones": list(phones)}
        out.print(Staffroom(office).change("outlet.found", wish, actor=actor))


@outlet.command("list")
@click.pass_context
def outlet_list(context: click.Context) -> None:
    """All outlets with their floats."""
    with desk_of(context) as office:
        show_table("outlets", office.outlets())


@outlet.command("show")
@click.argument("code")
@click.pass_context
def outlet_show(context: click.Context, code: str) -> None:
    """One outlet: phones, cards, float, last orders."""
    with desk_of(context) as office:
        shown = office.outlet(code)
        lists = [(key, shown.pop(key)) for key in ("phones", "cards", "orders")]
        show_sheet("outlet", shown)
        for title, rows in lists:
            show_table(title, rows)


@outlet.command("freeze")
@click.argument("code")
@click.option("--actor", required=True)
@click.option("--lift", is_flag=True, help="Lift the freeze.")
@click.pass_context
def outlet_freeze(context: click.Context, code: str, actor: str, lift: bool) -> None:
    """Refuse new orders of an outlet; open ones still settle. Lifting it needs a second person."""
    with desk_of(context) as office:
        if lift:
            out.print(Staffroom(office).change("outlet.unfreeze", {"outlet": code}, actor=actor))
        else:
            office.freeze(code, actor=actor)
            out.print(f"outlet {code} is suspended")


@outlet.command("pin")
@click.argument("code")
@click.option("--unlock", is_flag=True, help="Lift a lock only; the PIN stays.")
@click.option("--actor", required=True)
@click.pass_context
def outlet_pin(context: click.Context, code: str, unlock: bool, actor: str) -> None:
    """Ask for a new random PIN (or an end of the lock); printed once, for whoever confirms.

    The outlet must change it before anything else.
    """
    with desk_of(context) as office:
        what, more = ("pin.unlock", {}) if unlock else ("pin.reset", {"must_change": True})
        out.print(Staffroom(office).change(what, {"outlet": code, **more}, actor=actor))


@outlet.command("duress")
@click.argument("code")
@click.option("--actor", required=True)
@click.pass_context
def outlet_duress(context: click.Context, code: str, actor: str) -> None:
    """Set the PIN an outlet gives when it is forced to: it looks like a busy system and raises the alarm."""
    with desk_of(context) as office:
        pin = click.prompt("Duress PIN", hide_input=True, confirmation_prompt=True)
        office.set_duress(code, Pin(pin), actor=actor)
        out.print(f"outlet {code}: the duress PIN is set")


@outlet.command("card")
@click.argument("code")
@click.option("--iccid", required=True)
@click.option("--phone", required=True, help="The number in the card.")
@click.option("--profile", default="default")
@click.option(
    "--keys-file",
    type=click.Path(exists=True, path_type=Path),
    help='Imported keys: JSON {"kic": hex, "kid": hex}. Without it they are derived.',
)
@click.option("--actor", required=True)
@click.pass_context
def outlet_card(
    context: click.Context,
    code: str,
    iccid: str,
    phone: str,
    profile: str,
    keys_file: Path | None,
    actor: str,
) -> None:
    """Bind a SIM card to an outlet's phone."""
    with desk_of(context) as office:
        keys = json.loads(keys_file.read_text()) if keys_file else None
        office.add_card(code, iccid, phone, profile=profile, keys=keys, actor=actor)
        out.print(f"card {iccid} bound to outlet {code}")


@outlet.command("block-card")
@click.argument("iccid")
@click.option("--actor", required=True)
@click.option("--lift", is_flag=True, help="Lift the block.")
@click.pass_context
def outlet_block_card(context: click.Context, iccid: str, actor: str, lift: bool) -> None:
    """Block a lost SIM card; the float stays with the outlet. Lifting it needs a second person."""
    with desk_of(context) as office:
        if lift:
            out.print(Staffroom(office).change("card.unblock", {"iccid": iccid}, actor=actor))
        else:
            office.block_card(iccid, actor=actor)
            out.print(f"card {iccid} is blocked")
