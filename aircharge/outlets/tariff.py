"""What is sold, and what outlets earn by it. A price is never edited: a new one begins, and the old one ends before.

So every commission can be reckoned again from the price its order names (``aircharge.ledger.reckoning``). Dates are
local days, yyyymmdd; rates are parts per million of the face value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import Connection, func, insert, or_, select, update

from aircharge.ledger.chart import COMMISSION_DISCOUNT, COMMISSION_INSTANT, COMMISSION_MONTHLY, KIND_STOCK
from aircharge.ledger.page import local_date
from aircharge.ledger.policy_loading import bump_policy_txn
from aircharge.ledger.tables import metadata
from aircharge.outlets.registry import Desk, RegistryError
from aircharge.values import AMOUNT_MAX_FEN

__all__ = [
    "MODES",
    "ROWS_MAX",
    "PriceForm",
    "ProductForm",
    "add_price_txn",
    "add_products_txn",
    "end_price_txn",
    "end_product_txn",
    "prices",
    "products",
    "switch_product_txn",
]

MODES: Final = {
    "discount": COMMISSION_DISCOUNT,
    "instant": COMMISSION_INSTANT,
    "monthly": COMMISSION_MONTHLY,
}
ROWS_MAX: Final = 1 << 63
_RATE_MAX_PPM: Final = 500_000
_GROUP: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,15}")
_product, _price, _account = (metadata.tables[name] for name in ("product", "price", "account"))


@dataclass(frozen=True, slots=True)
class ProductForm:
    """Face values of an operator: a list, or a range with a step. ``from_date`` 0 = today, ``until_date`` the last."""

    operator_id: int
    faces_fen: tuple[int, ...] = ()
    min_fen: int = 0
    max_fen: int = 0
    step_fen: int = 0
    from_date: int = 0
    until_date: int | None = None


@dataclass(frozen=True, slots=True)
class PriceForm:
    """What outlets of a group ("" = any) earn on face values of an operator (0 = any) within a band."""

    mode: str
    rate_ppm: int = 0
    fixed_fen: int = 0
    operator_id: int = 0
    group: str = ""
    min_fen: int = 0
    max_fen: int | None = None
    from_date: int = 0
    until_date: int | None = None


# -- products -----------------------------------------------------------------------------------------------


def add_products_txn(desk: Desk, form: ProductForm, *, utc_offset_min: int = 480) -> list[int]:
    """Put face values on sale; returns the products' numbers."""
    _check_operator(desk.txn, form.operator_id)
    from_date = _check_dates(desk, form.from_date, form.until_date, utc_offset_min)
    if bool(form.faces_fen) == bool(form.min_fen or form.max_fen or form.step_fen):
        raise RegistryError("face values one by one, or a range with its step: one of them")
    if len(set(form.faces_fen)) < len(form.faces_fen):
        raise RegistryError("a face value is named twice")
    ranges = [(fen, fen, 1) for fen in form.faces_fen] or [(form.min_fen, form.max_fen, form.step_fen)]
    for low, high, step in ranges:
        if not 0 < low <= high <= AMOUNT_MAX_FEN or not 0 < step <= AMOUNT_MAX_FEN:
            raise RegistryError(
                "face values are more than nothing and at most 100 million yuan, the least not above the most"
            )
        if (high - low) % step:
            raise RegistryError("no whole number of steps leads from the least to the most")
    first = int(desk.txn.execute(select(func.max(_product.c.id))).scalar() or 0) + 1
    for number, (low, high, step) in enumerate(ranges, first):
        dates = {"from_date": from_date, "until_date": form.until_date}
        values = {"operator_id": form.operator_id, "min_fen": low, "max_fen": high, "step_fen": step, **dates}
        desk.txn.execute(insert(_product).values(id=number, **values))
        desk.note("product.add", f"product {number}", **values)
    bump_policy_txn(desk.txn)
    return list(range(first, first + len(ranges)))


def switch_product_txn(desk: Desk, number: int, *, on: bool) -> None:
    """Stop selling a product at once, or sell it again."""
    row = _row(desk.txn, _product, number, "product")
    if bool(row["enabled"]) == on:
        raise RegistryError(f"product {number} is {'on' if on else 'off'} already")
    desk.txn.execute(update(_product).where(_product.c.id == number).values(enabled=int(on)))
    bump_policy_txn(desk.txn)
    desk.note(f"product.{'on' if on else 'off'}", f"product {number}")


def end_product_txn(desk: Desk, number: int, until_date: int, *, utc_offset_min: int = 480) -> None:
    """Set a product's last day."""
    _end(desk, _product, number, "product", until_date, utc_offset_min)


def products(txn: Connection) -> list[dict[str, Any]]:
    """All products, as they are stored."""
    return _all(txn, _product)


# -- prices -------------------------------------------------------------------------------------------------


def add_price_txn(desk: Desk, form: PriceForm, *, utc_offset_min: int = 480) -> int:
    """A new price from a day on; the one for the same operator, group and band ends the day before. Its number."""
    if form.operator_id:
        _check_operator(desk.txn, form.operator_id)
    _check_price(form)
    from_date = _check_dates(desk, form.from_date, form.until_date, utc_offset_min)
    same = (
        (_price.c.operator_id == form.operator_id)
        & (_price.c.group_code == form.group)
        & (_price.c.min_fen == form.min_fen)
        & (_price.c.max_fen.is_(None) if form.max_fen is None else _price.c.max_fen == form.max_fen)
    )
    last_day = _day_before(from_date)
    overlaps = same & or_(_price.c.until_date.is_(None), _price.c.until_date > last_day)
    later = desk.txn.execute(select(_price.c.id).where(overlaps, _price.c.from_date > from_date)).scalar()
    if later is not None:
        raise RegistryError(
            f"price {later} begins later for the same: end the new one before it, or end that one"
        )
    ended = list(desk.txn.execute(select(_price.c.id).where(overlaps)).scalars())
    desk.txn.execute(update(_price).where(overlaps).values(until_date=last_day))
    number = int(desk.txn.execute(select(func.max(_price.c.id))).scalar() or 0) + 1
    values = {
        "operator_id": form.operator_id,
        "group_code": form.group,
        "min_fen": form.min_fen,
        "max_fen": form.max_fen,
        "mode": MODES[form.mode],
        "rate_ppm": form.rate_ppm,
        "fixed_fen": form.fixed_fen,
        "from_date": from_date,
        "until_date": form.until_date,
    }
    desk.txn.execute(insert(_price).values(id=number, **values))
    bump_policy_txn(desk.txn)
    desk.note("price.add", f"price {number}", **values, ended=ended)
    return number


def _check_price(form: PriceForm) -> None:
    if form.mode not in MODES:
        raise RegistryError(f"mode {form.mode!r}: one of {', '.join(MODES)}")
    if not 0 <= form.rate_ppm <= _RATE_MAX_PPM:
        raise RegistryError("a rate is 0 to 50 %")
    if not 0 <= form.fixed_fen <= AMOUNT_MAX_FEN or not form.rate_ppm + form.fixed_fen:
        raise RegistryError("a price gives something: a rate, a fixed part, or both, and neither is negative")
    if form.group and not _GROUP.fullmatch(form.group):
        raise RegistryError(f"group {form.group!r}: 1 to 16 letters, digits, - and _")
    if not 0 <= form.min_fen <= (AMOUNT_MAX_FEN if form.max_fen is None else form.max_fen) <= AMOUNT_MAX_FEN:
        raise RegistryError("the band's least amount is above its most, or beyond 100 million yuan")


def end_price_txn(desk: Desk, number: int, until_date: int, *, utc_offset_min: int = 480) -> None:
    """Set a price's last day; what was sold until then keeps it."""
    _end(desk, _price, number, "price", until_date, utc_offset_min)


def prices(txn: Connection) -> list[dict[str, Any]]:
    """All prices, those that have ended as well, as they are stored; the mode in a word."""
    names = {number: name for name, number in MODES.items()}
    return [row | {"mode": names[row["mode"]]} for row in _all(txn, _price)]


# -- both ---------------------------------------------------------------------------------------------------


def _end(desk: Desk, table: Any, number: int, what: str, until_date: int, utc_offset_min: int) -> None:
    row = _row(desk.txn, table, number, what)
    today = local_date(desk.now_ms, utc_offset_min)
    if _day(until_date) < _day(_day_before(today)):
        raise RegistryError("its last day may be yesterday or later: what was sold is sold")
    if row["until_date"] is not None and row["until_date"] < today:
        raise RegistryError(f"{what} {number} has ended already")
    desk.txn.execute(update(table).where(table.c.id == number).values(until_date=until_date))
    bump_policy_txn(desk.txn)
    desk.note(f"{what}.end", f"{what} {number}", until_date=until_date, before=row["until_date"])


def _row(txn: Connection, table: Any, number: int, what: str) -> Any:
    found = select(table).where(table.c.id == number)
    row = txn.execute(found).mappings().first() if 0 < number < ROWS_MAX else None
    if row is None:
        raise RegistryError(f"no {what} {number}")
    return row


def _all(txn: Connection, table: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in txn.execute(select(table).order_by(table.c.id)).mappings()]


def _check_operator(txn: Connection, operator_id: int) -> None:
    found = select(_account.c.id).where(_account.c.id == operator_id, _account.c.kind == KIND_STOCK)
    if not 0 < operator_id < 100 or txn.execute(found).first() is None:
        raise RegistryError(f"no operator {operator_id}")


def _check_dates(desk: Desk, from_date: int, until_date: int | None, utc_offset_min: int) -> int:
    """The first day, today where none is named. Yesterday's sales are not priced anew."""
    today = local_date(desk.now_ms, utc_offset_min)
    first = _day(from_date or today)
    if first < _day(today):
        raise RegistryError(f"{from_date} is past: prices and products begin today or later")
    if until_date is not None and _day(until_date) < first:
        raise RegistryError("the last day is before the first")
    return from_date or today


def _day(number: int) -> date:
    try:
        return date(number // 10_000, number // 100 % 100, number % 100)
    except ValueError as error:
        raise RegistryError(f"{number} is no date: yyyymmdd") from error


def _day_before(number: int) -> int:
    day = _day(number) - timedelta(days=1)
    return day.year * 10_000 + day.month * 100 + day.day
