"""``aircharge limit``, ``transfer-rule``, ``list``, ``rules`` and ``parked``: what keeps trade within bounds."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click
from sqlalchemy import Connection

from aircharge.cli.show import desk_of, out, show_table
from aircharge.cli.tariff import DAY, date_of, fen_or_none, span
from aircharge.ledger.page import local_date
from aircharge.ledger.reading import parked_orders
from aircharge.ledger.risk import SUBJECTS
from aircharge.office import Office, OfficeError, fen_from_yuan
from aircharge.outlets import dryrun, limitbook, lists, rulebook
from aircharge.outlets.limitbook import LIMIT_PERIODS, LIMITED, PROFILES, LimitForm, TransferForm
from aircharge.outlets.lists import COLOURS, LISTABLE, ListForm
from aircharge.outlets.requests import outlets_of
from aircharge.outlets.rights import is_within
from aircharge.staffroom import Staffroom
from aircharge.values import mask_msisdn, yuan_text

__all__ = ["limit", "lists_group", "parked", "rules", "transfer_rule"]

_ACTOR: Final = click.option("--actor", required=True, help="Your name, for the audit.")
_DAY_MS: Final = 86_400_000


def _offset_ms(office: Office) -> int:
    return office.config.ledger.book.utc_offset_min * 60_000


def _local(office: Office, at_ms: int | None) -> str:
    if at_ms is None:
        return "-"
    return f"{datetime.fromtimestamp(0) + timedelta(milliseconds=at_ms + _offset_ms(office)):%Y-%m-%d %H:%M}"


# -- limits -------------------------------------------------------------------------------------------------


@click.group()
def limit() -> None:
    """Limits: how often and how much. A limit is never edited: it is switched off, and a new one made."""


@limit.command("add")
@click.argument("subject", type=click.Choice(sorted(SUBJECTS)))
@click.argument("operation", type=click.Choice(sorted(LIMITED)))
@click.argument("period", type=click.Choice(list(LIMIT_PERIODS)))
@click.option("--count", type=int, help="How many orders at most.")
@click.option("--most", default="", help="How much at most, yuan.")
@click.option("--least", default="", help="How much at least, yuan; for period transaction.")
@click.option("--only", default="", help="One outlet (code), number, terminal or manager alone.")
@click.option("--group", default="", help="One group of outlets alone.")
@_ACTOR
@click.pass_context
def limit_add(
    context: click.Context,
    subject: str,
    operation: str,
    period: str,
    count: int | None,
    most: str,
    least: str,
    only: str,
    group: str,
    actor: str,
) -> None:
    """A limit from now on; orders made before do not count on it."""
    with desk_of(context) as office, office.desk(actor) as desk:
        amounts = (fen_or_none(most), fen_or_none(least))
        form = LimitForm(subject, operation, period, count, *amounts, value=only, group=group)
        number = limitbook.add_limit_txn(desk, form)
    out.print(f"limit {number} is in force")


@limit.command("profile")
@click.argument("name", type=click.Choice(sorted(PROFILES)))
@_ACTOR
@click.pass_context
def limit_profile(context: click.Context, name: str, actor: str) -> None:
    """Limits that go together, e.g. how often a customer's number may be recharged."""
    with desk_of(context) as office, office.desk(actor) as desk:
        numbers = limitbook.add_profile_txn(desk, name)
    out.print(f"limits {', '.join(str(number) for number in numbers)} are in force")


@limit.command("on")
@click.argument("number", type=int)
@_ACTOR
@click.pass_context
def limit_on(context: click.Context, number: int, actor: str) -> None:
    """Put a limit in force again."""
    with desk_of(context) as office, office.desk(actor) as desk:
        limitbook.switch_limit_txn(desk, number, on=True)
    out.print(f"limit {number} is on")


@limit.command("off")
@click.argument("number", type=int)
@_ACTOR
@click.pass_context
def limit_off(context: click.Context, number: int, actor: str) -> None:
    """Ask that a limit is put out of force."""
    with desk_of(context) as office:
        out.print(Staffroom(office).change("limit.off", {"limit": number}, actor=actor))


@limit.command("list")
@click.pass_context
def limit_list(context: click.Context) -> None:
    """All limits."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        show_table("limits", [_limit_line(row) for row in limitbook.limit_rules(txn)])


def _limit_line(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "limit": row["limit"],
        "of": f"{row['subject']} {row['only']}".strip(),
        "group": row["group"] or "any",
        "operation": row["operation"],
        "per": row["period"],
        "orders": "-" if row["count_max"] is None else row["count_max"],
        "yuan": span(row["value_min_fen"], row["value_max_fen"]),
        "on": "yes" if row["on"] else "no",
    }


# -- transfer rules -----------------------------------------------------------------------------------------


@click.group("transfer-rule")
def transfer_rule() -> None:
    """Who may transfer to whom beside parent and child."""


@transfer_rule.command("add")
@click.option("--from", "from_code", default="", help="From this outlet.")
@click.option("--from-group", default="", help="From outlets of this group.")
@click.option("--to", "to_code", default="", help="To this outlet.")
@click.option("--to-group", default="", help="To outlets of this group.")
@click.option("--least", default="0.01", help="Yuan.")
@click.option("--most", required=True, help="Yuan.")
@_ACTOR
@click.pass_context
def transfer_rule_add(
    context: click.Context,
    from_code: str,
    from_group: str,
    to_code: str,
    to_group: str,
    least: str,
    most: str,
    actor: str,
) -> None:
    """Ask for a transfer rule."""
    with desk_of(context) as office:
        amounts = (fen_from_yuan(least), fen_from_yuan(most))
        form = TransferForm(from_code, from_group, to_code, to_group, *amounts)
        out.print(Staffroom(office).change("transfer-rule.add", asdict(form), actor=actor))


@transfer_rule.command("on")
@click.argument("number", type=int)
@_ACTOR
@click.pass_context
def transfer_rule_on(context: click.Context, number: int, actor: str) -> None:
    """Ask that a transfer rule is in force again."""
    with desk_of(context) as office:
        out.print(Staffroom(office).change("transfer-rule.on", {"rule": number}, actor=actor))


@transfer_rule.command("off")
@click.argument("number", type=int)
@_ACTOR
@click.pass_context
def transfer_rule_off(context: click.Context, number: int, actor: str) -> None:
    """Put a transfer rule out of force."""
    with desk_of(context) as office, office.desk(actor) as desk:
        limitbook.switch_transfer_rule_txn(desk, number, on=False)
    out.print(f"transfer rule {number} is off")


@transfer_rule.command("list")
@click.pass_context
def transfer_rule_list(context: click.Context) -> None:
    """All transfer rules."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        show_table("transfer rules", [_transfer_line(row) for row in limitbook.transfer_rules(txn)])


def _transfer_line(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "rule": row["rule"],
        "from": row["from"],
        "to": row["to"],
        "yuan": span(row["min_fen"], row["max_fen"]),
        "on": "yes" if row["on"] else "no",
    }


# -- lists --------------------------------------------------------------------------------------------------


@click.group("list")
def lists_group() -> None:
    """Black and white lists."""


@lists_group.command("add")
@click.argument("colour", type=click.Choice(sorted(COLOURS)))
@click.argument("subject", type=click.Choice(sorted(LISTABLE)))
@click.argument("value")
@click.option("--reason", required=True)
@click.option("--until", type=DAY, help="Last day.")
@_ACTOR
@click.pass_context
def list_add(
    context: click.Context,
    colour: str,
    subject: str,
    value: str,
    reason: str,
    until: datetime | None,
    actor: str,
) -> None:
    """Put a phone, a customer's number (target), a terminal or an outlet on a list; white needs a second person."""
    with desk_of(context) as office:
        until_ms = None
        if until is not None:
            days = (until - datetime(1970, 1, 1)).days + 1
            until_ms = days * _DAY_MS - _offset_ms(office)
        form = ListForm(subject, value, colour, reason, until_ms)
        if colour == "white":
            out.print(Staffroom(office).change("list.white", asdict(form), actor=actor))
            return
        with office.desk(actor) as desk:
            lists.list_txn(desk, form)
        out.print(f"that {subject} is on the black list")


@lists_group.command("remove")
@click.argument("subject", type=click.Choice(sorted(LISTABLE)))
@click.argument("value")
@_ACTOR
@click.pass_context
def list_remove(context: click.Context, subject: str, value: str, actor: str) -> None:
    """Ask that something is taken off its list."""
    with desk_of(context) as office:
        payload = {"subject": subject, "value": value}
        out.print(Staffroom(office).change("list.remove", payload, actor=actor))


@lists_group.command("show")
@click.pass_context
def list_show(context: click.Context) -> None:
    """All entries."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        found = lists.entries(txn, office.clock.now_ms())
        show_table("lists", [_list_line(office, row) for row in found])


def _list_line(office: Office, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "list": row["colour"],
        "what": f"{row['subject']} {row['value']}",
        "until": _local(office, row["until_ms"]) if row["in force"] else "over",
        "reason": row["reason"],
        "author": row["author"],
    }


# -- rules --------------------------------------------------------------------------------------------------


@click.group()
def rules() -> None:
    """Risk rules: drafted, tried on yesterday, put in force by another person (docs/rules.md)."""


@rules.command("draft")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_ACTOR
@click.pass_context
def rules_draft(context: click.Context, file: Path, actor: str) -> None:
    """Write down a rule set (JSON); nothing changes yet."""
    with desk_of(context) as office:
        try:
            body = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise OfficeError(f"{file} is not UTF-8") from error
        with office.desk(actor) as desk:
            version = rulebook.draft_rules_txn(desk, body)
        out.print(f"rules {version} drafted; try them: aircharge rules dry-run {version}")


@rules.command("list")
@click.pass_context
def rules_list(context: click.Context) -> None:
    """All versions."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        found = rulebook.rule_sets(txn)
        show_table("rules", [row | {"made_ms": _local(office, row["made_ms"])} for row in found])


@rules.command("show")
@click.argument("version", type=int)
@click.pass_context
def rules_show(context: click.Context, version: int) -> None:
    """One version as it was written."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        out.print(rulebook.rule_set_text(txn, version), markup=False)


@rules.command("dry-run")
@click.argument("version", type=int)
@click.option("--day", type=DAY, help="A local day; yesterday if it is not named.")
@click.pass_context
def rules_dry_run(context: click.Context, version: int, day: datetime | None) -> None:
    """What these rules, and the limits of today, would have done to a day's recharges. Nothing is written."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        offset_min, now_ms = office.config.ledger.book.utc_offset_min, office.clock.now_ms()
        date = date_of(day) or local_date(now_ms - _DAY_MS, offset_min)
        outcome = dryrun.dry_run(txn, rulebook.rules_of(txn, version), date, now_ms, offset_min)
    out.print(f"{date}: {outcome.orders} recharges, {outcome.passed} would have gone on")
    show_table("rules and limits", [_tried(one) for one in outcome.tried])


def _tried(one: dryrun.Tried) -> dict[str, Any]:
    return {
        "rule": one.name,
        "then": one.then,
        "orders": one.orders,
        "yuan": yuan_text(one.fen),
        "examples": "\n".join(one.examples) or "-",
    }


@rules.command("activate")
@click.argument("version", type=int)
@_ACTOR
@click.pass_context
def rules_activate(context: click.Context, version: int, actor: str) -> None:
    """Ask that a version is put in force; its author cannot do it."""
    with desk_of(context) as office:
        out.print(Staffroom(office).change("rules.activate", {"version": version}, actor=actor))


@rules.command("retire")
@_ACTOR
@click.pass_context
def rules_retire(context: click.Context, actor: str) -> None:
    """Ask that no rules are in force."""
    with desk_of(context) as office:
        out.print(Staffroom(office).change("rules.retire", {}, actor=actor))


# -- parked orders ------------------------------------------------------------------------------------------


@click.group()
def parked() -> None:
    """Orders a rule has parked: ``aircharge order release`` and ``order decline`` decide them."""


@parked.command("list")
@click.pass_context
def parked_list(context: click.Context) -> None:
    """All of them, the oldest first."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        found = [order for order in parked_orders(txn) if _sees(office, txn, order.order_id)]
        shown = [
            {
                "id": order.order_id,
                "made": _local(office, order.created_ms),
                "number": mask_msisdn(order.target),
                "yuan": yuan_text(order.amount_fen),
                "let go": _local(office, order.released_ms or None),
            }
            for order in found
        ]
        show_table("parked", shown)


def _sees(office: Office, txn: Connection, order_id: int) -> bool:
    """Whether whoever has logged in works for the order's outlet."""
    person = office.person
    if person is None or person.scope_id is None:
        return True
    return all(is_within(txn, person.scope_id, number) for number in outlets_of(txn, {"order": order_id}))
