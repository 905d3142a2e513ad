"""The agent's own rules as plain values: what is sold, at which price, within which limits. Pure.

Loaded by the store when the version in the database has changed (``policy_loading``); rates are parts per million.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    """All of them, of one version."""

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


EMPTY_POLICY: Final = Policy()
