"""What an outlet pays for a face value, and what it earns by it. Pure.

The customer always pays face value. Rates are parts per million; a fraction of a fen is rounded half to even, so a
journal row can be reckoned again from its order's ``price_id``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aircharge.ledger.chart import COMMISSION_DISCOUNT, COMMISSION_NONE
from aircharge.ledger.policy import Policy, Price

__all__ = ["Quote", "cost_of", "quote", "reckon", "sells"]

_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Quote:
    """What is held on the float, and what the outlet earns, in fen."""

    cost_fen: int
    commission_fen: int = 0
    mode: int = COMMISSION_NONE
    price_id: int = 0


def sells(
    policy: Policy, operator_id: int, amount_fen: int, local_date: int, *, by_default: bool = True
) -> bool:
    """Whether the operator's products of that day have this face value; ``by_default`` while it has none at all."""
    products = policy.products_of(operator_id)
    if not products:
        return by_default
    return any(
        product.enabled
        and product.from_date <= local_date
        and (product.until_date is None or local_date <= product.until_date)
        and product.min_fen <= amount_fen <= product.max_fen
        and (amount_fen - product.min_fen) % product.step_fen == 0
        for product in products
    )


def reckon(price: Price, amount_fen: int) -> int:
    """The commission on a face value: rate and fixed part, at most the face value less one fen."""
    whole, rest = divmod(amount_fen * price.rate_ppm, _MILLION)
    rounds_up = 2 * rest > _MILLION or (2 * rest == _MILLION and whole % 2 == 1)
    return min(whole + rounds_up + price.fixed_fen, amount_fen - 1)


def quote(policy: Policy, operator_id: int, group: str, amount_fen: int, local_date: int) -> Quote:
    """By the price that fits best: group before any, operator before any, then the newest."""
    priced = policy.prices_for(operator_id, group)
    fitting = [price for price in priced if _fits(price, amount_fen, local_date)]
    if not fitting:
        return Quote(amount_fen)
    price = max(fitting, key=lambda one: (one.group != "", one.operator_id != 0, one.from_date, one.id))
    commission_fen = reckon(price, amount_fen)
    return Quote(cost_of(price.mode, amount_fen, commission_fen), commission_fen, price.mode, price.id)


def cost_of(mode: int, amount_fen: int, commission_fen: int) -> int:
    """What is held on the float: the face value, less a discount that is given at once."""
    return amount_fen - commission_fen if mode == COMMISSION_DISCOUNT else amount_fen


def _fits(price: Price, amount_fen: int, local_date: int) -> bool:
    return (
        price.min_fen <= amount_fen
        and (price.max_fen is None or amount_fen <= price.max_fen)
        and price.from_date <= local_date
        and (price.until_date is None or local_date <= price.until_date)
    )
