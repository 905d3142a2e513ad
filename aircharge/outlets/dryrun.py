"""A rule set tried on a day that has been: what it, and the limits of today, would have done to each order.

Every recharge of that day that was let in, or that only a list, a rule, the guard or a limit kept out, is looked at
again in its order. Limits and counts begin at nothing that morning. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, and_, func, or_, select

from aircharge.errors import Reason
from aircharge.ledger.chart import (
    LIST_WHITE,
    OUTLET_ACTIVE,
    PERIOD_MONTH,
    SUBJECT_OUTLET,
    SUBJECT_PHONE,
    SUBJECT_TARGET,
    SUBJECT_TERMINAL,
)
from aircharge.ledger.limits import counter_key, counters_of, over
from aircharge.ledger.page import Page
from aircharge.ledger.policy import CounterKey, Policy
from aircharge.ledger.policy_loading import limit_of
from aircharge.ledger.risk import RuleSet, Situation, judge
from aircharge.ledger.rows import Charge, CounterRow, OutletRow
from aircharge.ledger.screening import SERVED_SINCE_MS, is_guarded, near_number, neighbours, unusual
from aircharge.ledger.tables import metadata
from aircharge.values import Channel, Operation, State, mask_msisdn, terminal_of, yuan_text

__all__ = ["DryRun", "Tried", "dry_run"]

_txn, _outlet, _phone = (metadata.tables[name] for name in ("txn", "outlet", "outlet_phone"))
_limit, _list = metadata.tables["limit_rule"], metadata.tables["list_entry"]
_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_EXAMPLES_MAX: Final = 3
_OURS: Final = (
    Reason.LISTED,
    Reason.RULE,
    Reason.CONFIRM,
    Reason.LIMIT_VALUE,
    Reason.LIMIT_COUNT,
)
"""Refusals that other rules might not have made."""


@dataclass(slots=True)
class Tried:
    """One rule, limit or guard, and what it would have done. ``then``: deny, ask_pin, hold, alert, ask back, refuse."""

    name: str
    then: str
    orders: int = 0
    fen: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, order: Any, offset_ms: int) -> None:
        self.orders += 1
        self.fen += order["amount"]
        if len(self.examples) < _EXAMPLES_MAX:
            minute = (order["created_ms"] + offset_ms) // 60_000 % 1440
            when = f"{minute // 60:02d}:{minute % 60:02d}"
            number, yuan = mask_msisdn(order["msisdn"]), yuan_text(order["amount"])
            self.examples.append(f"{order['id']} {when} {number} {yuan}")


@dataclass(slots=True)
class DryRun:
    """What became of the day's orders: how many there were, how many would go on, and what each rule did."""

    orders: int = 0
    passed: int = 0
    tried: list[Tried] = field(default_factory=list)


def dry_run(txn: Connection, rule_set: RuleSet, date: int, now_ms: int, utc_offset_min: int = 480) -> DryRun:
    """Try a rule set on the recharges of a local date (yyyymmdd). Raises ValueError for no such date."""
    since_ms = _midnight_ms(date, utc_offset_min)
    trial = _Trial(txn, rule_set, now_ms, utc_offset_min)
    for order in _traffic(txn, since_ms, since_ms + _DAY_MS):
        trial.take(order)
    return trial.outcome


def _midnight_ms(date: int, utc_offset_min: int) -> int:
    day = datetime(date // 10_000, date // 100 % 100, date % 100, tzinfo=UTC)
    return int(day.timestamp()) * 1000 - utc_offset_min * 60_000


def _traffic(txn: Connection, since_ms: int, until_ms: int) -> Iterator[Any]:
    c = _txn.c
    was_admitted = or_(c.state != int(State.REFUSED), c.reason.in_([reason.number for reason in _OURS]))
    outlet = _outlet.c
    found = (
        select(
            *(c[name] for name in ("id", "channel", "operator_id", "msisdn", "amount", "repeat_n", "asker")),
            *(c[name] for name in ("outlet_acct", "idem_scope", "created_ms")),
            *(outlet[name] for name in ("code", "group_code", "manager", "pin_policy", "pin_above_fen")),
            outlet.id.label("outlet_id"),
            outlet.created_ms.label("outlet_ms"),
            func.coalesce(_phone.c.created_ms, 0).label("phone_ms"),
        )
        .select_from(
            _txn.join(_outlet, outlet.float_id == c.outlet_acct).outerjoin(_phone, _phone.c.msisdn == c.asker)
        )
        .where(c.kind == int(Operation.RECHARGE), was_admitted)
        .where(and_(c.created_ms >= since_ms, c.created_ms < until_ms))
        .order_by(c.created_ms, c.id)
    )
    yield from txn.execute(found).mappings()


class _Trial:
    """The day's orders so far: counters, and what each rule has done."""

    def __init__(self, txn: Connection, rule_set: RuleSet, now_ms: int, utc_offset_min: int) -> None:
        self._txn = txn
        self._offset_min = utc_offset_min
        limits = [
            limit_of(row)
            for row in txn.execute(select(_limit).order_by(_limit.c.id)).mappings()
            if row["enabled"]
        ]
        self._policy = Policy(
            limits=tuple(limits), rules=rule_set.rules, guard=rule_set.guard, tallies=rule_set.tallies
        )
        entries = select(_list.c.subject, _list.c.value).where(
            _list.c.colour == LIST_WHITE, or_(_list.c.until_ms.is_(None), _list.c.until_ms > now_ms)
        )
        self._white = {(subject, value) for subject, value in txn.execute(entries)}
        self._counters: dict[CounterKey, CounterRow] = {}
        self._by_rule = {rule.name: Tried(rule.name, rule.then) for rule in rule_set.rules}
        self._guard = Tried("guard", "ask back")
        self._by_limit = {rule.id: Tried(f"limit {rule.id}", "refuse") for rule in limits}
        guard = [self._guard] if rule_set.guard else []
        self.outcome = DryRun(tried=[*self._by_rule.values(), *guard, *self._by_limit.values()])

    def take(self, order: Any) -> None:
        """One more order, in the order of the day."""
        outlet = _outlet_of(order)
        asker = order["asker"]
        charge = Charge(asker, int(Operation.RECHARGE), order["msisdn"], terminal_of(asker))
        self.outcome.orders += 1
        stops = self._by_the_rules(order, outlet, charge)
        if stops is None or stops.then == "hold":  # a limit is asked before anything is held
            stops = self._by_the_limits(order, outlet, charge) or stops
        if stops is not None:
            stops.add(order, self._offset_min * 60_000)
            if stops.then != "hold":
                return
        else:
            self.outcome.passed += 1
        for key in counters_of(self._policy, outlet, charge, order["created_ms"], self._offset_min):
            counter = self._counters.setdefault(key, CounterRow())
            counter.n, counter.total_fen = counter.n + 1, counter.total_fen + order["amount"]

    def _by_the_rules(self, order: Any, outlet: OutletRow, charge: Charge) -> Tried | None:
        about = {
            (SUBJECT_OUTLET, outlet.code),
            (SUBJECT_PHONE, charge.phone),
            (SUBJECT_TARGET, charge.target),
            (SUBJECT_TERMINAL, charge.terminal),
        }
        listed = not self._white.isdisjoint(about)
        verdict = judge(self._policy.rules, self._situation(order, outlet, charge, listed=listed))
        for name in verdict.alerts:
            self._by_rule[name].add(order, self._offset_min * 60_000)
        if verdict.then in ("deny", "ask_pin"):
            return self._by_rule[verdict.rule]
        if is_guarded(self._policy, outlet) and not listed and self._asks_back(order, outlet, charge):
            return self._guard
        return self._by_rule[verdict.rule] if verdict.then == "hold" else None

    def _asks_back(self, order: Any, outlet: OutletRow, charge: Charge) -> bool:
        n, total_fen = self._used(order, outlet, charge, SUBJECT_OUTLET, PERIOD_MONTH)
        if unusual(order["amount"], n, total_fen):
            return True
        if self._served(order, [charge.target]):
            return False
        served = self._served(order, list(neighbours(charge.target)))
        return bool(near_number(charge.target, lambda number: served.get(number, 0)))

    def _by_the_limits(self, order: Any, outlet: OutletRow, charge: Charge) -> Tried | None:
        counters = counters_of(self._policy, outlet, charge, order["created_ms"], self._offset_min)
        for key, rules in counters.items():
            used = self._counters.get(key, CounterRow())
            for rule in rules:
                if over(rule, used, order["amount"])[0] is not Reason.OK:
                    return self._by_limit[rule.id]
        return None

    def _situation(self, order: Any, outlet: OutletRow, charge: Charge, *, listed: bool) -> Situation:
        at_ms = order["created_ms"]
        return Situation(
            channel=order["channel"],
            operation=charge.operation,
            operator_id=order["operator_id"],
            amount_fen=order["amount"],
            target=charge.target,
            outlet=outlet.code,
            group=outlet.group,
            hour=(at_ms + self._offset_min * 60_000) // _HOUR_MS % 24,
            outlet_days=(at_ms - order["outlet_ms"]) // _DAY_MS,
            phone_days=(at_ms - order["phone_ms"]) // _DAY_MS,
            repeated=order["repeat_n"] > 1,
            listed=listed,
            pin_given=_had_pin(order, outlet),
            first_time=lambda: not self._served(order, [charge.target]),
            used=partial(self._used, order, outlet, charge),
        )

    def _used(
        self, order: Any, outlet: OutletRow, charge: Charge, subject: int, period: int
    ) -> tuple[int, int]:
        key = counter_key(outlet, charge, subject, period, order["created_ms"], self._offset_min)
        counter = self._counters.get(key, CounterRow())
        return counter.n, counter.total_fen

    def _served(self, order: Any, numbers: list[str]) -> dict[str, int]:
        """Settled recharges of these numbers by this outlet in the ninety days before the order."""
        c, at_ms = _txn.c, order["created_ms"]
        found = (
            select(c.msisdn, func.count())
            .where(c.msisdn.in_(numbers), c.outlet_acct == order["outlet_acct"])
            .where(and_(c.created_ms >= at_ms - SERVED_SINCE_MS, c.created_ms < at_ms))
            .where(c.kind == int(Operation.RECHARGE), c.state == int(State.SETTLED))
            .group_by(c.msisdn)
        )
        return {row[0]: int(row[1]) for row in self._txn.execute(found)}


def _had_pin(order: Any, outlet: OutletRow) -> bool:
    """A PIN is not written down: every channel but plain SMS always has one, and there the outlet's policy tells."""
    channel = Channel(order["channel"])
    return channel is not Channel.SMS or Page.policy_wants_pin(outlet, channel, order["amount"])


def _outlet_of(order: Any) -> OutletRow:
    return OutletRow(
        id=order["outlet_id"],
        code=order["code"],
        status=OUTLET_ACTIVE,
        language="",
        pin_policy=order["pin_policy"],
        pin_above_fen=order["pin_above_fen"],
        float_id=order["outlet_acct"],
        group=order["group_code"],
        manager=order["manager"],
    )
