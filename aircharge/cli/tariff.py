"""``aircharge product`` and ``aircharge price``: what is sold, and what outlets earn by it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

import click

from aircharge.cli.show import desk_of, out, show_table
from aircharge.office import OfficeError, fen_from_yuan
from aircharge.outlets import tariff
from aircharge.outlets.tariff import MODES, PriceForm, ProductForm
from aircharge.staffroom import Staffroom
from aircharge.values import yuan_text

__all__ = ["DAY", "date_of", "fen_or_none", "ppm_of", "price", "product", "span"]

DAY: Final = click.DateTime(["%Y-%m-%d"])
_PERCENT: Final = re.compile(r"([0-9]{1,2})(?:\.([0-9]{1,4}))?")
_ACTOR: Final = click.option("--actor", required=True, help="Your name, for the audit.")


def date_of(day: datetime | None) -> int | None:
    """As the ledger writes it, yyyymmdd."""
    return None if day is None else day.year * 10_000 + day.month * 100 + day.day


def fen_or_none(yuan: str) -> int | None:
    return fen_from_yuan(yuan) if yuan else None


def ppm_of(percent: str) -> int:
    """ "1.5" per cent as 15000 parts per million. Raises OfficeError."""
    found = _PERCENT.fullmatch(percent.strip())
    if found is None:
        raise OfficeError(f"{percent!r} is no rate in per cent, with four digits after the point at most")
    return int(found[1]) * 10_000 + int((found[2] or "").ljust(4, "0"))


def span(least_fen: int | None, most_fen: int | None) -> str:
    """Amounts from and to, in yuan: "10.00–500.00"; one alone where they are the same."""
    if least_fen == most_fen:
        return yuan_text(least_fen) if least_fen is not None else "-"
    return "–".join("" if fen is None else yuan_text(fen) for fen in (least_fen, most_fen))


def _days(row: Mapping[str, Any]) -> str:
    """First and last day, both yyyymmdd."""
    return f"{row['from_date']}–{row['until_date'] or ''}"


# -- products -----------------------------------------------------------------------------------------------


@click.group()
def product() -> None:
    """Products: the face values on sale."""


@product.command("add")
@click.argument("operator", type=int)
@click.argument("faces", nargs=-1)
@click.option("--from", "least", default="", help="Instead of FACES: the least amount, yuan.")
@click.option("--to", "most", default="", help="The most, yuan.")
@click.option("--step", default="", help="The step between, yuan.")
@click.option("--since", type=DAY, help="First day; today if it is not named.")
@click.option("--until", type=DAY, help="Last day.")
@_ACTOR
@click.pass_context
def product_add(
    context: click.Context,
    operator: int,
    faces: tuple[str, ...],
    least: str,
    most: str,
    step: str,
    since: datetime | None,
    until: datetime | None,
    actor: str,
) -> None:
    """Put face values (yuan) of an OPERATOR on sale: one by one, or a range with its step."""
    with desk_of(context) as office, office.desk(actor) as desk:
        amounts = tuple(fen_from_yuan(face) for face in faces)
        low, high, by = (fen_or_none(yuan) or 0 for yuan in (least, most, step))
        form = ProductForm(operator, amounts, low, high, by, date_of(since) or 0, date_of(until))
        offset_min = office.config.ledger.book.utc_offset_min
        numbers = tariff.add_products_txn(desk, form, utc_offset_min=offset_min)
    out.print(f"products {', '.join(str(number) for number in numbers)} added")


@product.command("list")
@click.pass_context
def product_list(context: click.Context) -> None:
    """All products."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        show_table("products", [_product_line(row) for row in tariff.products(txn)])


def _product_line(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "product": row["id"],
        "operator": row["operator_id"],
        "yuan": span(row["min_fen"], row["max_fen"]),
        "step": yuan_text(row["step_fen"]) if row["max_fen"] > row["min_fen"] else "-",
        "days": _days(row),
        "sold": "yes" if row["enabled"] else "no",
    }


@product.command("on")
@click.argument("number", type=int)
@_ACTOR
@click.pass_context
def product_on(context: click.Context, number: int, actor: str) -> None:
    """Sell a product again."""
    with desk_of(context) as office, office.desk(actor) as desk:
        tariff.switch_product_txn(desk, number, on=True)
    out.print(f"product {number} is on sale")


@product.command("off")
@click.argument("number", type=int)
@_ACTOR
@click.pass_context
def product_off(context: click.Context, number: int, actor: str) -> None:
    """Stop selling a product at once."""
    with desk_of(context) as office, office.desk(actor) as desk:
        tariff.switch_product_txn(desk, number, on=False)
    out.print(f"product {number} is not sold")


@product.command("end")
@click.argument("number", type=int)
@click.argument("until", type=DAY)
@_ACTOR
@click.pass_context
def product_end(context: click.Context, number: int, until: datetime, actor: str) -> None:
    """Set a product's last day."""
    with desk_of(context) as office, office.desk(actor) as desk:
        tariff.end_product_txn(desk, number, date_of(until) or 0)
    out.print(f"product {number} ends on {until:%Y-%m-%d}")


# -- prices -------------------------------------------------------------------------------------------------


@click.group()
def price() -> None:
    """Prices: what outlets earn. A price is never edited: a new one ends the old one."""


@price.command("add")
@click.argument("mode", type=click.Choice(sorted(MODES)))
@click.option("--rate", default="0", help="Per cent of the face value.")
@click.option("--fixed", default="0", help="Yuan on top of the rate.")
@click.option("--operator", type=int, default=0, help="One operator; 0 = any.")
@click.option("--group", default="", help="One group of outlets; none = any.")
@click.option("--from", "least", default="0", help="For face values from, yuan.")
@click.option("--to", "most", default="", help="For face values to, yuan.")
@click.option("--since", type=DAY, help="First day; today if it is not named.")
@click.option("--until", type=DAY, help="Last day.")
@_ACTOR
@click.pass_context
def price_add(
    context: click.Context,
    mode: str,
    rate: str,
    fixed: str,
    operator: int,
    group: str,
    least: str,
    most: str,
    since: datetime | None,
    until: datetime | None,
    actor: str,
) -> None:
    """Ask for a new price; the one for the same operator, group and amounts ends the day before it begins."""
    with desk_of(context) as office:
        form = PriceForm(
            mode,
            ppm_of(rate),
            fen_from_yuan(fixed),
            operator,
            group,
            fen_from_yuan(least),
            fen_or_none(most),
            date_of(since) or 0,
            date_of(until),
        )
        out.print(Staffroom(office).change("price.add", asdict(form), actor=actor))


@price.command("end")
@click.argument("number", type=int)
@click.argument("until", type=DAY)
@_ACTOR
@click.pass_context
def price_end(context: click.Context, number: int, until: datetime, actor: str) -> None:
    """Ask for a price's last day."""
    with desk_of(context) as office:
        payload = {"price": number, "until_date": date_of(until)}
        out.print(Staffroom(office).change("price.end", payload, actor=actor))


@price.command("list")
@click.pass_context
def price_list(context: click.Context) -> None:
    """All prices, those that have ended too."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        show_table("prices", [_price_line(row) for row in tariff.prices(txn)])


def _price_line(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "price": row["id"],
        "operator": row["operator_id"] or "any",
        "group": row["group_code"] or "any",
        "yuan": span(row["min_fen"], row["max_fen"]),
        "mode": row["mode"],
        "earns": f"{row['rate_ppm'] / 10_000:g} % + {yuan_text(row['fixed_fen'])}",
        "days": _days(row),
    }
