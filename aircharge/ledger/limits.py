"""Limits: how often and how much, per outlet, phone, terminal, target and manager. Pure.

Checked and counted in the same command as the hold, taken back when it is voided; the local calendar decides when a
period begins. A counter belongs to a subject, an operation and a period, not to a limit: it begins with the first
limit (or rule) that asks for it, and several limits read it.
"""

from __future__ import annotations

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
from aircharge.ledger.rows import Charge, CounterRow, OutletRow, TxnRow
from aircharge.values import terminal_of

__all__ = [
    "check",
    "count",
    "counter_bit",
    "counter_key",
    "counters_of",
    "marked_counters",
    "over",
    "period_began",
    "release",
    "used",
]


def counters_of(
    policy: Policy, outlet: OutletRow, charge: Charge, at_ms: int, utc_offset_min: int
) -> dict[CounterKey, list[LimitRule]]:
    """The counters an order of this kind counts on, each with the limits that read it (none: a rule's tally)."""
    values = _subjects(outlet, charge)
    counters: dict[CounterKey, list[LimitRule]] = {}
    known = [(subject, value) for subject, value in values.items() if value]
    for rule in policy.limits_on(charge.operation, known, outlet.group):
        began = period_began(at_ms, rule.period, utc_offset_min)
        key = (rule.subject, values[rule.subject], rule.operation, rule.period, began)
        counters.setdefault(key, []).append(rule)
    for subject, operation, period in policy.tallies:
        if operation == charge.operation and (value := values.get(subject, "")):
            began = period_began(at_ms, period, utc_offset_min)
            counters.setdefault((subject, value, operation, period, began), [])
    return counters


def marked_counters(row: TxnRow, outlet: OutletRow, utc_offset_min: int) -> list[CounterKey]:
    """The counters an order was counted on when it was made, whatever limits and manager there are now."""
    if not row.counted:
        return []
    mask, terminal, manager = row.counted.split("|", 2)
    charge = Charge(row.asker, row.kind, row.msisdn, terminal)
    values = _subjects(outlet, charge) | {SUBJECT_MANAGER: manager}
    return [
        (subject, values[subject], row.kind, period, period_began(row.created_ms, period, utc_offset_min))
        for subject in values
        for period in (PERIOD_DAY, PERIOD_WEEK, PERIOD_MONTH)
        if int(mask, 16) >> counter_bit(subject, period) & 1
    ]


def check(page: Page, outlet: OutletRow, charge: Charge, amount_fen: int) -> tuple[Reason, Facts]:
    """LIMIT_VALUE or LIMIT_COUNT with rule, counter and time of reset; else OK."""
    for key, rules in _counters(page, outlet, charge).items():
        used = page.rows.counters.get(key, CounterRow())
        for rule in rules:
            reason, facts = over(rule, used, amount_fen)
            if reason is not Reason.OK:
                return reason, facts | _reset(page, rule)
    return Reason.OK, {}


def over(rule: LimitRule, used: CounterRow, amount_fen: int) -> tuple[Reason, Facts]:
    """Whether one more order would go past this limit."""
    facts: Facts = {"rule": rule.id, "period": rule.period, "subject": rule.subject}
    is_single = rule.period == PERIOD_TRANSACTION
    used_fen = 0 if is_single else used.total_fen
    if rule.count_max is not None and not is_single and used.n + 1 > rule.count_max:
        return Reason.LIMIT_COUNT, facts | {"used_n": used.n, "count_max": rule.count_max}
    if rule.value_max_fen is not None and used_fen + amount_fen > rule.value_max_fen:
        if is_single:
            return Reason.LIMIT_VALUE, facts | {"single_max_fen": rule.value_max_fen}
        room_fen = max(rule.value_max_fen - used_fen, 0)
        facts |= {"used_fen": used_fen, "value_max_fen": rule.value_max_fen, "room_fen": room_fen}
        return Reason.LIMIT_VALUE, facts
    if rule.value_min_fen is not None and is_single and amount_fen < rule.value_min_fen:
        return Reason.LIMIT_VALUE, facts | {"single_min_fen": rule.value_min_fen}
    return Reason.OK, {}


def used(page: Page, outlet: OutletRow, charge: Charge, subject: int, period: int) -> CounterRow:
    """What a subject of this order has used in the period that runs now; nothing where it is not counted."""
    key = counter_key(outlet, charge, subject, period, page.now_ms, page.settings.utc_offset_min)
    return page.rows.counters.get(key, CounterRow())


def counter_key(
    outlet: OutletRow, charge: Charge, subject: int, period: int, at_ms: int, utc_offset_min: int
) -> CounterKey:
    """Under which key a subject of this order would be counted then."""
    value = _subjects(outlet, charge).get(subject, "")
    return (subject, value, charge.operation, period, period_began(at_ms, period, utc_offset_min))


def count(page: Page, outlet: OutletRow, row: TxnRow, charge: Charge) -> None:
    """An order was admitted; ``row.counted`` remembers which counters it is on, so that a void gives back just those.

    ``charge`` is what ``check`` was asked about; its phone, operation and target are the order's own.
    """
    mask = 0
    for key in _counters(page, outlet, charge):
        if key[3] != PERIOD_TRANSACTION:
            mask |= 1 << counter_bit(key[0], key[3])
            _move(page, key, 1, row.amount)
    if mask:
        row.counted = f"{mask:x}|{charge.terminal}|{outlet.manager}"


def release(page: Page, row: TxnRow, outlet: OutletRow) -> None:
    """An order was voided."""
    for key in marked_counters(row, outlet, page.settings.utc_offset_min):
        _move(page, key, -1, -row.amount)


def _move(page: Page, key: CounterKey, n: int, fen: int) -> None:
    row = page.rows.counters.setdefault(key, CounterRow())
    row.n, row.total_fen = max(row.n + n, 0), max(row.total_fen + fen, 0)
    page.changes.counters[key] = row


def _counters(page: Page, outlet: OutletRow, charge: Charge) -> dict[CounterKey, list[LimitRule]]:
    policy = page.rows.policy
    if not policy.limits and not policy.tallies:
        return {}
    return counters_of(policy, outlet, charge, page.now_ms, page.settings.utc_offset_min)


def _subjects(outlet: OutletRow, charge: Charge) -> dict[int, str]:
    return {
        SUBJECT_OUTLET: str(outlet.id),
        SUBJECT_PHONE: "" if terminal_of(charge.phone) else charge.phone,
        SUBJECT_TERMINAL: charge.terminal,
        SUBJECT_TARGET: charge.target,
        SUBJECT_MANAGER: outlet.manager,
    }


def counter_bit(subject: int, period: int) -> int:
    """The bit of ``txn.counted`` that stands for a subject's counter of a period."""
    return 3 * (subject - 1) + period - 1


def _local(at_ms: int, utc_offset_min: int) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, UTC) + timedelta(minutes=utc_offset_min)


def period_began(at_ms: int, period: int, utc_offset_min: int) -> int:
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
