"""Rule sets: drafted by one, tried on a day that has been, activated by another; versions are kept for ever."""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from aircharge.ledger.policy_loading import bump_policy_txn
from aircharge.ledger.risk import RuleError, RuleSet, rule_set_of
from aircharge.ledger.tables import metadata
from aircharge.outlets.registry import Desk, RegistryError
from aircharge.outlets.tariff import ROWS_MAX

__all__ = [
    "activate_rules_txn",
    "draft_rules_txn",
    "retire_rules_txn",
    "rule_set_text",
    "rule_sets",
    "rules_of",
]

DRAFT, ACTIVE, RETIRED = range(3)
_STATES: Final = ("draft", "active", "retired")
_BODY_MAX: Final = 200_000
_t = metadata.tables["rule_set"]


def draft_rules_txn(desk: Desk, body: str) -> int:
    """Write down a rule set; returns its version. Raises RegistryError that names the rule and the word."""
    rule_set = _read(body)
    version = int(desk.txn.execute(select(func.max(_t.c.version))).scalar() or 0) + 1
    values = {"body": body, "author": desk.actor[:64], "made_ms": desk.now_ms}
    desk.txn.execute(insert(_t).values(version=version, state=DRAFT, **values))
    desk.note("rules.draft", f"rules {version}", rules=len(rule_set.rules), guard=sorted(rule_set.guard))
    return version


def activate_rules_txn(desk: Desk, version: int) -> None:
    """Put a draft, or an earlier set again, in force; the one before is kept. Another than its author does it."""
    row = _row(desk.txn, version)
    if row["state"] == ACTIVE:
        raise RegistryError(f"rules {version} are in force already")
    if row["author"] == desk.actor:
        raise RegistryError(f"rules {version} are {desk.actor}'s own: another person puts them in force")
    _read(row["body"])
    before = _retire(desk)
    desk.txn.execute(update(_t).where(_t.c.version == version).values(state=ACTIVE))
    bump_policy_txn(desk.txn)
    desk.note("rules.activate", f"rules {version}", before=before, author=row["author"])


def retire_rules_txn(desk: Desk) -> int:
    """Put the active set out of force and none in its place; returns its version."""
    before = _retire(desk)
    if not before:
        raise RegistryError("no rules are in force")
    bump_policy_txn(desk.txn)
    desk.note("rules.retire", f"rules {before}")
    return before


def _retire(desk: Desk) -> int:
    """The version that was in force until now, 0 = none."""
    before = desk.txn.execute(select(_t.c.version).where(_t.c.state == ACTIVE)).scalar()
    desk.txn.execute(update(_t).where(_t.c.state == ACTIVE).values(state=RETIRED))
    return int(before or 0)


def rule_sets(txn: Connection) -> list[dict[str, Any]]:
    """All versions, the newest first."""
    return [
        {
            "version": row["version"],
            "state": _STATES[row["state"]],
            "rules": len(_read(row["body"]).rules),
            "author": row["author"],
            "made_ms": row["made_ms"],
        }
        for row in txn.execute(select(_t).order_by(_t.c.version.desc())).mappings()
    ]


def rule_set_text(txn: Connection, version: int) -> str:
    """As it was written."""
    return str(_row(txn, version)["body"])


def rules_of(txn: Connection, version: int) -> RuleSet:
    return _read(_row(txn, version)["body"])


def _row(txn: Connection, version: int) -> Any:
    found = select(_t).where(_t.c.version == version)
    row = txn.execute(found).mappings().first() if 0 < version < ROWS_MAX else None
    if row is None:
        raise RegistryError(f"no rules {version}")
    return row


def _read(body: str) -> RuleSet:
    if len(body) > _BODY_MAX:
        raise RegistryError(f"a rule set has at most {_BODY_MAX} characters")
    try:
        return rule_set_of(json.loads(body, object_pairs_hook=_once))
    except json.JSONDecodeError as error:
        raise RegistryError(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except (RuleError, RecursionError, ValueError) as error:  # nested too deep; a number too long to be read
        raise RegistryError(str(error)) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose words are written once each: JSON would take the last and say nothing."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1)
        raise RuleError(f"{twice!r} is written twice")
    return found
