"""The agent's own rules as plain values: what is sold, at which price, within which limits. Pure.

Loaded by the store when the version in the database has changed (``policy_loading``); rates are parts per million.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

__all__ = [
    "EMPTY_POLICY",
    "CounterKey",
    "LimitRule",
    "Policy",
    "Price",
    "Product",
    "RiskRule",
    "Tally",
    "TransferRule",
]

CounterKey = tuple[int, str, int, int, int]
"""(subject, its value, operation, period, local date the period began): the key of ``limit_counter``."""


@dataclass(frozen=True, slots=True)
class Product:
    """Face values an operator sells from a local date on, to another: min to max by steps; one value has min = max."""

    operator_id: int
    min_fen: int
    max_fen: int
    step_fen: int
    from_date: int
    until_date: int | None
    enabled: bool


@dataclass(frozen=True, slots=True)
class Price:
    """What an outlet of a group earns on a face value. ``mode``: COMMISSION_DISCOUNT, _INSTANT or _MONTHLY."""

    id: int
    operator_id: int  # 0 = any
    group: str  # "" = any
    min_fen: int
    max_fen: int | None
    mode: int
    rate_ppm: int
    fixed_fen: int
    from_date: int
    until_date: int | None


Tally = tuple[int, int, int]
"""(subject, operation, period): what is counted even where no limit says so, because a rule asks for it."""


@dataclass(frozen=True, slots=True)
class LimitRule:
    """How often, or how much, a subject may within a period. ``value`` and ``group`` narrow it down; "" = any."""

    id: int
    subject: int
    value: str
    group: str
    operation: int
    period: int
    count_max: int | None
    value_min_fen: int | None
    value_max_fen: int | None


@dataclass(frozen=True, slots=True)
class TransferRule:
    """Who may transfer to whom beside parent and child: a code or a group on each side."""

    id: int
    from_code: str
    from_group: str
    to_code: str
    to_group: str
    min_fen: int
    max_fen: int


@dataclass(frozen=True, slots=True)
class RiskRule:
    """If all of ``when`` holds, then ``then``: allow, deny, ask_pin, hold or alert (``aircharge.ledger.risk``)."""

    name: str
    then: str
    when: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """All of them, of one version. What an order needs is found by key: its cost does not grow with their number."""

    version: int = 0
    products: tuple[Product, ...] = ()
    prices: tuple[Price, ...] = ()
    limits: tuple[LimitRule, ...] = ()
    transfers: tuple[TransferRule, ...] = ()
    rules_version: int = 0
    rules: tuple[RiskRule, ...] = ()  # the active rule set, in order
    guard: frozenset[str] = frozenset()  # outlet groups with the wrong-number guard on; "*" = all
    asks_first_time: bool = False  # a rule wants to know whether an outlet has served a number before
    tallies: frozenset[Tally] = frozenset()
    listed: bool = False  # whether there is any list entry at all
    _products: dict[int, list[Product]] = field(init=False, compare=False, repr=False)
    _prices: dict[tuple[int, str], list[Price]] = field(init=False, compare=False, repr=False)
    _limits: dict[tuple[int, int, str, str], list[LimitRule]] = field(init=False, compare=False, repr=False)
    _transfers: dict[tuple[_Side, _Side], list[TransferRule]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Sort each table by what an order knows of it."""
        products: dict[int, list[Product]] = defaultdict(list)
        for one in self.products:
            products[one.operator_id].append(one)
        prices: dict[tuple[int, str], list[Price]] = defaultdict(list)
        for price in self.prices:
            prices[price.operator_id, price.group].append(price)
        limits: dict[tuple[int, int, str, str], list[LimitRule]] = defaultdict(list)
        for limit in self.limits:
            limits[limit.operation, limit.subject, limit.value, limit.group].append(limit)
        transfers: dict[tuple[_Side, _Side], list[TransferRule]] = defaultdict(list)
        for rule in self.transfers:
            sides = _side(rule.from_code, rule.from_group), _side(rule.to_code, rule.to_group)
            transfers[sides].append(rule)
        for name, table in (
            ("_products", products),
            ("_prices", prices),
            ("_limits", limits),
            ("_transfers", transfers),
        ):
            object.__setattr__(self, name, dict(table))

    def products_of(self, operator_id: int) -> list[Product]:
        """What an operator sells or sold."""
        return self._products.get(operator_id, [])

    def prices_for(self, operator_id: int, group: str) -> list[Price]:
        """The prices that mean this operator and group, or any."""
        return [
            price
            for operator in {0, operator_id}
            for of_group in {"", group}
            for price in self._prices.get((operator, of_group), ())
        ]

    def limits_on(self, operation: int, values: Iterable[tuple[int, str]], group: str) -> list[LimitRule]:
        """The limits on an operation that mean one of these (subject, value) or any, and this group or any; by id."""
        found = [
            limit
            for subject, value in values
            for narrowed in {"", value}
            for of_group in {"", group}
            for limit in self._limits.get((operation, subject, narrowed, of_group), ())
        ]
        return sorted(found, key=lambda limit: limit.id)

    def transfers_between(
        self, from_code: str, from_group: str, to_code: str, to_group: str
    ) -> list[TransferRule]:
        """The rules that let the first outlet transfer to the second, each known by code and group; by id."""
        pairs = product(
            (_side(from_code, ""), _side("", from_group)), (_side(to_code, ""), _side("", to_group))
        )
        found = [rule for pair in pairs if ("", "") not in pair for rule in self._transfers.get(pair, ())]
        return sorted(found, key=lambda rule: rule.id)


_Side = tuple[str, str]
"""(code, "") or ("", group) of one side of a transfer; ("", ""): nobody."""


def _side(code: str, group: str) -> _Side:
    """A rule names one outlet or a group; where it names both, the outlet counts."""
    return (code, "") if code else ("", group)


EMPTY_POLICY: Final = Policy()
