"""Risk rules: what the agent lets pass, refuses, wants a PIN for, or keeps for a clerk to look at. Pure.

A rule set is JSON, ``{"guard": …, "rules": [{"name": …, "when": {…}, "then": …}, …]}``; the words of ``when`` are the
rows of ``CONDITIONS`` and all of them must hold. Rules are asked in order: the first that decides wins, ``alert``
writes an alarm and goes on (docs/rules.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aircharge.ledger.chart import (
    PERIOD_DAY,
    PERIOD_MONTH,
    PERIOD_WEEK,
    SUBJECT_MANAGER,
    SUBJECT_OUTLET,
    SUBJECT_PHONE,
    SUBJECT_TARGET,
    SUBJECT_TERMINAL,
)
from aircharge.ledger.policy import RiskRule, Tally
from aircharge.values import AMOUNT_MAX_FEN, Channel, Operation

__all__ = [
    "ACTIONS",
    "CONDITIONS",
    "PERIODS",
    "SUBJECTS",
    "RuleError",
    "RuleSet",
    "Situation",
    "Verdicts",
    "judge",
    "rule_set_of",
]

ACTIONS: Final = ("allow", "deny", "ask_pin", "hold", "alert")
SUBJECTS: Final = {
    "outlet": SUBJECT_OUTLET,
    "phone": SUBJECT_PHONE,
    "terminal": SUBJECT_TERMINAL,
    "target": SUBJECT_TARGET,
    "manager": SUBJECT_MANAGER,
}
PERIODS: Final = {"day": PERIOD_DAY, "week": PERIOD_WEEK, "month": PERIOD_MONTH}
OPERATIONS: Final = {operation.name.lower(): operation for operation in Operation}
CHANNELS: Final = {channel.name.lower(): channel for channel in Channel}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,15}")
_GROUP: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,15}")
_RULES_MAX: Final = 100
_DAYS_MAX: Final = 36_500


class RuleError(ValueError):
    """A rule set says what it may not: which rule, which word, and why."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What rules may look at. ``first_time`` and ``used`` are asked only by rules that want them."""

    channel: int
    operation: int
    operator_id: int
    amount_fen: int
    target: str
    outlet: str  # its code
    group: str
    hour: int  # local, 0..23
    outlet_days: int  # whole days since the outlet was opened
    phone_days: int  # whole days since the asking number was bound
    repeated: bool  # "the same again" was said
    listed: bool  # on a white list
    pin_given: bool  # and right: a wrong one was refused before
    first_time: Callable[[], bool]
    used: Callable[[int, int], tuple[int, int]]  # (subject, period) → orders and fen so far


@dataclass(frozen=True, slots=True)
class Condition:
    """One word of ``when``: what may be written there, and whether it holds."""

    read: Callable[[Any], Any]
    holds: Callable[[Situation, Any], bool]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """A rule set that is in order. ``guard``: outlet groups with the wrong-number guard on, "*" = all."""

    rules: tuple[RiskRule, ...] = ()
    guard: frozenset[str] = frozenset()

    @property
    def asks_first_time(self) -> bool:
        return any(name == "first_time" for rule in self.rules for name, _ in rule.when)

    @property
    def tallies(self) -> frozenset[Tally]:
        """Counters that must run for these rules; the guard goes by the outlet's month."""
        tallies = set()
        for rule in self.rules:
            when = dict(rule.when)
            if "counted" in when:
                subject, period, *_ = when["counted"]
                operations = when.get("operation") or (int(Operation.RECHARGE),)
                tallies |= {(subject, operation, period) for operation in operations}
        if self.guard:
            tallies.add((SUBJECT_OUTLET, int(Operation.RECHARGE), PERIOD_MONTH))
        return frozenset(tallies)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the rules say: an action, the rule that decided ("" = none did: allow), and the alerts on the way."""

    then: str = "allow"
    rule: str = ""
    alerts: tuple[str, ...] = ()


def judge(rules: Iterable[RiskRule], situation: Situation) -> Verdicts:
    """The first rule that decides. A PIN that is asked for and was given decides nothing: the next rule is asked.

    Whoever is on a white list is looked at only by rules that name it (``"listed": true``).
    """
    alerts: list[str] = []
    for rule in rules:
        if situation.listed and ("listed", True) not in rule.when:
            continue
        if rule.then == "ask_pin" and situation.pin_given:
            continue
        if not all(CONDITIONS[name].holds(situation, value) for name, value in rule.when):
            continue
        if rule.then != "alert":
            return Verdicts(rule.then, rule.name, tuple(alerts))
        alerts.append(rule.name)
    return Verdicts(alerts=tuple(alerts))


# -- reading a rule set -----------------------------------------------------------------------------------


def rule_set_of(body: Any) -> RuleSet:
    """A rule set from decoded JSON. Raises RuleError that names the rule and the word."""
    if not isinstance(body, dict) or not set(body) <= {"guard", "rules"}:
        raise RuleError('a rule set is {"guard": …, "rules": […]} and nothing else')
    found = body.get("rules", [])
    if not isinstance(found, list) or len(found) > _RULES_MAX:
        raise RuleError(f"rules: a list of at most {_RULES_MAX}")
    rules = tuple(_rule(place, one) for place, one in enumerate(found, 1))
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise RuleError(f"rule {name}: the name is used twice")
    return RuleSet(rules, _guard(body.get("guard", "off")))


def _guard(value: Any) -> frozenset[str]:
    if value in ("off", "all"):
        return frozenset() if value == "off" else frozenset("*")
    try:
        return frozenset(_words(_group)(value))
    except RuleError as error:
        raise RuleError(f'guard: "off", "all" or a list of outlet groups, not {value!r}') from error


def _rule(place: int, one: Any) -> RiskRule:
    if not isinstance(one, dict):
        raise RuleError(f"rule {place}: an object with name, when and then")
    name = one.get("name", f"r{place}")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RuleError(f"rule {place}: name {name!r}: 1 to 16 letters, digits and .-_")
    unknown = sorted(set(one) - {"name", "when", "then"})
    if unknown:
        raise RuleError(f"rule {name}: unknown field {unknown[0]!r}; known: name, when, then")
    if one.get("then") not in ACTIONS:
        raise RuleError(f"rule {name}: then {one.get('then')!r}: one of {', '.join(ACTIONS)}")
    when = one.get("when", {})
    if not isinstance(when, dict):
        raise RuleError(f"rule {name}: when: an object of conditions")
    return RiskRule(name, one["then"], tuple(_condition(name, word, when[word]) for word in sorted(when)))


def _condition(rule: str, word: str, value: Any) -> tuple[str, Any]:
    if word not in CONDITIONS:
        raise RuleError(f"rule {rule}: unknown field {word!r}; known: {', '.join(CONDITIONS)}")
    try:
        return word, CONDITIONS[word].read(value)
    except RuleError as error:
        raise RuleError(f"rule {rule}: {word}: {error}") from error


def _number(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise RuleError(f"a whole number from {least} to {most}, not {value!r}")
        return value

    return read


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise RuleError(f"true or false, not {value!r}")
    return value


def _words(read: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def read_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not value:
            raise RuleError(f"a list of at least one, not {value!r}")
        return tuple(read(one) for one in value)

    return read_all


def _one_of(table: dict[str, Any]) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if not isinstance(value, str) or value not in table:
            raise RuleError(f"{value!r}: one of {', '.join(table)}")
        return int(table[value])

    return read


def _group(value: Any) -> str:
    if not isinstance(value, str) or not _GROUP.fullmatch(value):
        raise RuleError(f"{value!r} is no code: 1 to 16 letters, digits, - and _")
    return value


def _segment(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,11}", value):
        raise RuleError(f"{value!r} is no beginning of a number")
    return value


def _hours(value: Any) -> tuple[int, int]:
    """[22, 6]: from ten in the evening until six, midnight in between."""
    if not isinstance(value, list) or len(value) != 2:
        raise RuleError(f"[from, until] in hours, not {value!r}")
    return _number(0, 23)(value[0]), _number(0, 24)(value[1])


def _counted(value: Any) -> tuple[int, int, int, int]:
    """Subject, period, and how many orders or how much there must have been before this one."""
    known = {"subject", "period", "orders", "fen"}
    if not isinstance(value, dict) or not {"subject", "period"} <= set(value) <= known:
        raise RuleError("an object with subject, period, and orders or fen (or both)")
    orders, fen = value.get("orders", 0), value.get("fen", 0)
    if not _number(0, 10**6)(orders) + _number(0, AMOUNT_MAX_FEN)(fen):
        raise RuleError("orders or fen: more than nothing")
    return _one_of(SUBJECTS)(value["subject"]), _one_of(PERIODS)(value["period"]), orders, fen


def _is_hour(situation: Situation, hours: Sequence[int]) -> bool:
    since, until = hours
    if since <= until:
        return since <= situation.hour < until
    return situation.hour >= since or situation.hour < until


def _has_used(situation: Situation, wanted: tuple[int, int, int, int]) -> bool:
    subject, period, orders, fen = wanted
    n, total_fen = situation.used(subject, period)
    return n >= orders and total_fen >= fen


_AMOUNT: Final = _number(1, AMOUNT_MAX_FEN)
_DAYS: Final = _number(0, _DAYS_MAX)

CONDITIONS: Final[dict[str, Condition]] = {
    "channel": Condition(_words(_one_of(CHANNELS)), lambda now, names: now.channel in names),
    "operation": Condition(_words(_one_of(OPERATIONS)), lambda now, names: now.operation in names),
    "operator": Condition(_words(_number(1, 99)), lambda now, ids: now.operator_id in ids),
    "amount_from_fen": Condition(_AMOUNT, lambda now, fen: now.amount_fen >= fen),
    "amount_to_fen": Condition(_AMOUNT, lambda now, fen: now.amount_fen <= fen),
    "hours": Condition(_hours, _is_hour),
    "outlet": Condition(_words(_group), lambda now, codes: now.outlet in codes),
    "group": Condition(_words(_group), lambda now, codes: now.group in codes),
    "outlet_days_below": Condition(_DAYS, lambda now, days: now.outlet_days < days),
    "phone_days_below": Condition(_DAYS, lambda now, days: now.phone_days < days),
    "segment": Condition(_words(_segment), lambda now, heads: now.target.startswith(heads)),
    "first_time": Condition(_yes_or_no, lambda now, wanted: now.first_time() == wanted),
    "repeated": Condition(_yes_or_no, lambda now, wanted: now.repeated == wanted),
    "listed": Condition(_yes_or_no, lambda now, wanted: now.listed == wanted),
    "counted": Condition(_counted, _has_used),
}
"""The closed vocabulary of ``when``."""
