"""Limits and transfer rules as clerks write them. A limit is never edited: it is switched off, and a new one made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Table, func, insert, select, update

from aircharge.ledger.chart import (
    PERIOD_DAY,
    PERIOD_MONTH,
    PERIOD_TRANSACTION,
    PERIOD_WEEK,
    SUBJECT_OUTLET,
    SUBJECT_PHONE,
    SUBJECT_TARGET,
)
from aircharge.ledger.policy_loading import bump_policy_txn
from aircharge.ledger.risk import SUBJECTS
from aircharge.ledger.tables import metadata
from aircharge.outlets.lists import thing_of
from aircharge.outlets.registry import Desk, RegistryError
from aircharge.outlets.tariff import ROWS_MAX
from aircharge.values import AMOUNT_MAX_FEN, Operation, mask_msisdn

__all__ = [
    "LIMITED",
    "LIMIT_PERIODS",
    "PROFILES",
    "LimitForm",
    "TransferForm",
    "add_limit_txn",
    "add_profile_txn",
    "add_transfer_rule_txn",
    "limit_rules",
    "switch_limit_txn",
    "switch_transfer_rule_txn",
    "transfer_rules",
]

LIMIT_PERIODS: Final = {
    "transaction": PERIOD_TRANSACTION,
    "day": PERIOD_DAY,
    "week": PERIOD_WEEK,
    "month": PERIOD_MONTH,
}
LIMITED: Final = {
    operation.name.lower(): operation
    for operation in (
        Operation.RECHARGE,
        Operation.REVERSAL,
        Operation.FUNDING,
        Operation.TRANSFER,
        Operation.WITHDRAWAL,
        Operation.COMMISSION,
        Operation.TICKET,
    )
}
"""Operations an outlet may be limited in."""

_GROUP: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,15}")
_COUNT_MAX: Final = 1_000_000
_limit, _transfer, _outlet = (metadata.tables[name] for name in ("limit_rule", "transfer_rule", "outlet"))


@dataclass(frozen=True, slots=True)
class LimitForm:
    """A limit as a clerk writes it. ``value``: one outlet's code, number, terminal or manager alone; "" = each."""

    subject: str
    operation: str
    period: str
    count_max: int | None = None
    value_max_fen: int | None = None
    value_min_fen: int | None = None
    value: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class TransferForm:
    """Who may transfer to whom: an outlet's code or a group on each side."""

    from_code: str = ""
    from_group: str = ""
    to_code: str = ""
    to_group: str = ""
    min_fen: int = 1
    max_fen: int = AMOUNT_MAX_FEN


PROFILES: Final = {
    "target-velocity": (
        LimitForm("target", "recharge", "day", count_max=10),
        LimitForm("target", "recharge", "week", count_max=15),
        LimitForm("target", "recharge", "month", count_max=40),
    ),
}
"""Limits that go together: how often a customer's number may be recharged."""


def add_limit_txn(desk: Desk, form: LimitForm) -> int:
    """Make a limit, in force from now on; returns its number. Orders made before are not counted on it."""
    for word, value, table in (
        ("subject", form.subject, SUBJECTS),
        ("operation", form.operation, LIMITED),
        ("period", form.period, LIMIT_PERIODS),
    ):
        if value not in table:
            raise RegistryError(f"{word} {value!r}: one of {', '.join(table)}")
    _check_numbers(form)
    if form.group and not _GROUP.fullmatch(form.group):
        raise RegistryError(f"group {form.group!r}: 1 to 16 letters, digits, - and _")
    value = _subject_value(desk.txn, form)
    values = {
        "subject": SUBJECTS[form.subject],
        "value": value,
        "group_code": form.group,
        "operation": int(LIMITED[form.operation]),
        "period": LIMIT_PERIODS[form.period],
        "count_max": form.count_max,
        "value_min_fen": form.value_min_fen,
        "value_max_fen": form.value_max_fen,
    }
    number = _add(desk, _limit, values)
    shown = mask_msisdn(value) if values["subject"] in (SUBJECT_PHONE, SUBJECT_TARGET) else value
    desk.note("limit.add", f"limit {number}", **(values | {"value": shown}))
    return number


def _check_numbers(form: LimitForm) -> None:
    is_single = form.period == "transaction"
    if form.count_max is None and form.value_max_fen is None and form.value_min_fen is None:
        raise RegistryError("a limit limits something: how many, how much at most, or how much at least")
    if is_single and form.count_max is not None:
        raise RegistryError("a single order has no number of orders: limit a day, week or month")
    if not is_single and form.value_min_fen is not None:
        raise RegistryError("the least amount is one of each single order: period transaction")
    if form.count_max is not None and not 0 <= form.count_max <= _COUNT_MAX:
        raise RegistryError(f"{form.count_max} orders: 0 to {_COUNT_MAX}")
    for fen in (form.value_max_fen, form.value_min_fen):
        if fen is not None and not 0 < fen <= AMOUNT_MAX_FEN:
            raise RegistryError("an amount is more than nothing and at most 100 million yuan")
    if (form.value_min_fen or 0) > (form.value_max_fen or AMOUNT_MAX_FEN):
        raise RegistryError("the least amount is more than the most")


def _subject_value(txn: Connection, form: LimitForm) -> str:
    """One subject alone, as its counter writes it: an outlet by its id."""
    if not form.value:
        return ""
    if form.subject == "manager":
        return form.value[:32]
    subject, value = thing_of(txn, form.subject, form.value)
    if subject == SUBJECT_OUTLET:
        return str(txn.execute(select(_outlet.c.id).where(_outlet.c.code == value)).scalar_one())
    return value


def add_profile_txn(desk: Desk, name: str) -> list[int]:
    """Make all limits of a profile; returns their numbers."""
    if name not in PROFILES:
        raise RegistryError(f"profile {name!r}: one of {', '.join(PROFILES)}")
    return [add_limit_txn(desk, form) for form in PROFILES[name]]


def switch_limit_txn(desk: Desk, number: int, *, on: bool) -> None:
    """Put a limit out of force, or in force again."""
    _switch(desk, _limit, number, "limit", on=on)


def limit_rules(txn: Connection) -> list[dict[str, Any]]:
    """All limits in words; amounts in fen, numbers masked."""
    subjects = {number: name for name, number in SUBJECTS.items()}
    periods = {number: name for name, number in LIMIT_PERIODS.items()}
    codes = {str(row.id): row.code for row in txn.execute(select(_outlet.c.id, _outlet.c.code))}
    shown = []
    for row in txn.execute(select(_limit).order_by(_limit.c.id)).mappings():
        value = row["value"]
        if row["subject"] == SUBJECT_OUTLET:
            value = codes.get(value, value)
        elif row["subject"] in (SUBJECT_PHONE, SUBJECT_TARGET):
            value = mask_msisdn(value)
        shown.append(
            {
                "limit": row["id"],
                "subject": subjects[row["subject"]],
                "only": value,
                "group": row["group_code"],
                "operation": Operation(row["operation"]).name.lower(),
                "period": periods[row["period"]],
                "count_max": row["count_max"],
                "value_max_fen": row["value_max_fen"],
                "value_min_fen": row["value_min_fen"],
                "on": bool(row["enabled"]),
            }
        )
    return shown


# -- transfer rules -----------------------------------------------------------------------------------------


def add_transfer_rule_txn(desk: Desk, form: TransferForm) -> int:
    """Let some outlets transfer to others beside parent and child; returns the rule's number."""
    for side, code, group in (("from", form.from_code, form.from_group), ("to", form.to_code, form.to_group)):
        if bool(code) == bool(group):
            raise RegistryError(f"{side}: an outlet's code or a group, one of them")
        if code:
            thing_of(desk.txn, "outlet", code)
        elif not _GROUP.fullmatch(group):
            raise RegistryError(f"group {group!r}: 1 to 16 letters, digits, - and _")
    if form.from_code and form.from_code == form.to_code:
        raise RegistryError("from and to are the same outlet")
    if not 0 < form.min_fen <= form.max_fen <= AMOUNT_MAX_FEN:
        raise RegistryError(
            "amounts: more than nothing, the least not above the most, at most 100 million yuan"
        )
    values = {name: getattr(form, name) for name in TransferForm.__slots__}
    number = _add(desk, _transfer, values)
    desk.note("transfer-rule.add", f"transfer rule {number}", **values)
    return number


def switch_transfer_rule_txn(desk: Desk, number: int, *, on: bool) -> None:
    """Put a transfer rule out of force, or in force again."""
    _switch(desk, _transfer, number, "transfer rule", on=on)


def transfer_rules(txn: Connection) -> list[dict[str, Any]]:
    """All of them as they are stored, ``enabled`` as ``on``."""
    rows = txn.execute(select(_transfer).order_by(_transfer.c.id)).mappings()
    return [{"rule": row["id"], **_side(row), "on": bool(row["enabled"])} for row in rows]


def _side(row: Any) -> dict[str, Any]:
    return {
        "from": row["from_code"] or f"group {row['from_group']}",
        "to": row["to_code"] or f"group {row['to_group']}",
        "min_fen": row["min_fen"],
        "max_fen": row["max_fen"],
    }


# -- both ---------------------------------------------------------------------------------------------------


def _add(desk: Desk, table: Table, values: dict[str, Any]) -> int:
    number = int(desk.txn.execute(select(func.max(table.c.id))).scalar() or 0) + 1
    desk.txn.execute(insert(table).values(id=number, **values))
    bump_policy_txn(desk.txn)
    return number


def _switch(desk: Desk, table: Table, number: int, what: str, *, on: bool) -> None:
    found = select(table.c.enabled).where(table.c.id == number)
    row = desk.txn.execute(found).first() if 0 < number < ROWS_MAX else None
    if row is None:
        raise RegistryError(f"no {what} {number}")
    if bool(row.enabled) == on:
        raise RegistryError(f"{what} {number} is {'on' if on else 'off'} already")
    desk.txn.execute(update(table).where(table.c.id == number).values(enabled=int(on)))
    bump_policy_txn(desk.txn)
    desk.note(f"{what.replace(' ', '-')}.{'on' if on else 'off'}", f"{what} {number}")
