"""Limits: how often and how much, per outlet, phone, terminal, target and manager. Pure.

Checked and counted in the same command as the hold, taken back when it is voided; the local calendar decides when a
period begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from aircharge.errors import Reason
from aircharge.ledger.chart import (
    PERIOD_DAY,
    PERIOD_MONTH,
    PERIOD_TRANSACTION,
    PERIOD_WEEK,
    SUBJECT_MANAGER,
    SUBJECT_OUTLET,
    SUBJECT_PHONE,
    SUBJECT_TARGET,
    SUBJECT_TERMINAL,
)
from aircharge.ledger.page import Facts, Page
from aircharge.ledger.policy import CounterKey, LimitRule, Policy
from aircharge.ledger.rows import Charge, CounterRow, OutletRow

__all__ = ["check", "count", "counters_of", "release"]


def counters_of(
    policy: Policy, outlet: OutletRow, charge: Charge, at_ms: int, utc_offset_min: int
) -> dict[CounterKey, list[LimitRule]]:
    """The counters an order of this kind counts on, each with the rules that read it."""
    counters: dict[CounterKey, list[LimitRule]] = {}
    for rule in policy.limits:
        value = _subject(outlet, charge).get(rule.subject, "")
        if rule.operation != charge.operation or not value:
            continue
        if rule.value not in ("", value) or rule.group not in ("", outlet.group):
            continue
        began = _began(at_ms, rule.period, utc_offset_min)
        counters.setdefault((rule.subject, value, rule.operation, rule.period, began), []).append(rule)
    return counters


def check(page: Page, outlet: OutletRow, charge: Charge, amount_fen: int) -> tuple[Reason, Facts]:
    """LIMIT_VALUE or LIMIT_COUNT with rule, counter and time of reset; else OK."""
    for key, rule in _rules(page, outlet, charge, page.now_ms):
        used = page.rows.counters.get(key, CounterRow())
        total_fen = amount_fen if rule.period == PERIOD_TRANSACTION else used.total_fen + amount_fen
        facts: Facts = {"rule": rule.id, "period": rule.period, "subject": rule.subject}
        if rule.count_max is not None and rule.period != PERIOD_TRANSACTION and used.n + 1 > rule.count_max:
            return Reason.LIMIT_COUNT, facts | {"used_n": used.n, "count_max": rule.count_max} | _reset(
                page, rule
            )
        if rule.value_max_fen is not None and total_fen > rule.value_max_fen:
            facts |= {"used_fen": total_fen - amount_fen, "value_max_fen": rule.value_max_fen}
            return Reason.LIMIT_VALUE, facts | _reset(page, rule)
        if (
            rule.value_min_fen is not None
            and rule.period == PERIOD_TRANSACTION
            and amount_fen < rule.value_min_fen
        ):
            return Reason.LIMIT_VALUE, facts | {"value_min_fen": rule.value_min_fen}
    return Reason.OK, {}


def count(page: Page, outlet: OutletRow, charge: Charge, amount_fen: int) -> None:
    """An order was admitted."""
    _move(page, outlet, charge, page.now_ms, 1, amount_fen)


def release(page: Page, outlet: OutletRow, charge: Charge, amount_fen: int, at_ms: int) -> None:
    """An order made at ``at_ms`` was voided."""
    _move(page, outlet, charge, at_ms, -1, -amount_fen)


def _move(page: Page, outlet: OutletRow, charge: Charge, at_ms: int, n: int, fen: int) -> None:
    for key in {key for key, _ in _rules(page, outlet, charge, at_ms) if key[3] != PERIOD_TRANSACTION}:
        row = page.rows.counters.setdefault(key, CounterRow())
        row.n, row.total_fen = max(row.n + n, 0), max(row.total_fen + fen, 0)
        page.changes.counters[key] = row


def _rules(
    page: Page, outlet: OutletRow, charge: Charge, at_ms: int
) -> Iterator[tuple[CounterKey, LimitRule]]:
    if not page.rows.policy.limits:
        return
    counters = counters_of(page.rows.policy, outlet, charge, at_ms, page.settings.utc_offset_min)
    for key, rules in counters.items():
        for rule in rules:
            yield key, rule


def _subject(outlet: OutletRow, charge: Charge) -> dict[int, str]:
    return {
        SUBJECT_OUTLET: str(outlet.id),
        SUBJECT_PHONE: charge.phone,
        SUBJECT_TERMINAL: charge.terminal,
        SUBJECT_TARGET: charge.target,
        SUBJECT_MANAGER: outlet.manager,
    }


def _local(at_ms: int, utc_offset_min: int) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, UTC) + timedelta(minutes=utc_offset_min)


def _began(at_ms: int, period: int, utc_offset_min: int) -> int:
    """The local date a period began, as yyyymmdd; weeks begin on Monday (ISO 8601)."""
    local = _local(at_ms, utc_offset_min)
    if period == PERIOD_WEEK:
        local -= timedelta(days=local.weekday())
    elif period == PERIOD_MONTH:
        local = local.replace(day=1)
    return local.year * 10_000 + local.month * 100 + local.day


def _reset(page: Page, rule: LimitRule) -> Facts:
    """When the counter begins anew, ms UTC; nothing for a limit on each single order."""
    offset_min = page.settings.utc_offset_min
    local = _local(page.now_ms, offset_min).replace(hour=0, minute=0, second=0, microsecond=0)
    if rule.period == PERIOD_DAY:
        local += timedelta(days=1)
    elif rule.period == PERIOD_WEEK:
        local += timedelta(days=7 - local.weekday())
    elif rule.period == PERIOD_MONTH:
        local = (local.replace(day=1) + timedelta(days=32)).replace(day=1)
    else:
        return {}
    return {"resets_ms": int((local - timedelta(minutes=offset_min)).timestamp()) * 1000}
