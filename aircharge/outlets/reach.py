"""Which outlets a command means, by its arguments: what the table of rights holds a person's scope to.

The one place where a right is checked: before a command begins, and again in the transaction that does it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, select

from aircharge.ledger.reading import orders_by_number
from aircharge.ledger.tables import metadata
from aircharge.outlets import staff
from aircharge.outlets.requests import outlets_of
from aircharge.outlets.rights import ACTIONS, Person, check_txn

__all__ = ["check_action_txn"]

_outlet, _card, _request = (metadata.tables[name] for name in ("outlet", "card", "change_request"))


def check_action_txn(
    txn: Connection, person: Person, action: str, arguments: Mapping[str, Any], now_ms: int
) -> None:
    """Raises NotAllowed unless the table of rights lets the person give this command.

    StaffError: a second person who is too new. Of requests that are named, each must be of a kind the person may
    confirm.
    """
    within = ACTIONS[action].within if action in ACTIONS else "-"
    if within in ("request", "requests"):
        staff.check_second(txn, person.login, now_ms)
        check_txn(txn, person, action, [] if person.scope_id is None else [person.scope_id])
        value = arguments.get(within)
        numbers = value if isinstance(value, tuple) else (value,)
        for row in txn.execute(select(_request).where(_request.c.id.in_(numbers))):
            check_txn(txn, person, row.what, outlets_of(txn, json.loads(row.payload)), confirming=True)
        return
    value, find = arguments.get(within), _FINDERS.get(within)
    found = find(txn, str(value)) if find is not None and value is not None else []
    if within in ("login", "subject"):
        found = outlets_of(
            txn, {name: arguments.get(name, "") for name in _NAMED[within] if name in arguments}
        )
    check_txn(txn, person, action, found)


def _by_code(txn: Connection, code: str) -> list[int]:
    return list(txn.execute(select(_outlet.c.id).where(_outlet.c.code == code)).scalars())


def _by_card(txn: Connection, iccid: str) -> list[int]:
    return list(txn.execute(select(_card.c.outlet_id).where(_card.c.iccid == iccid)).scalars())


def _by_terminal(txn: Connection, terminal: str) -> list[int]:
    return outlets_of(txn, {"terminal": terminal})


def _by_order(txn: Connection, number: str) -> list[int]:
    accounts = [order["outlet_acct"] for order in orders_by_number(txn, number)]
    return list(txn.execute(select(_outlet.c.id).where(_outlet.c.float_id.in_(accounts))).scalars())


_FINDERS: Final[dict[str, Callable[[Connection, str], list[int]]]] = {
    "code": _by_code,
    "parent": _by_code,
    "iccid": _by_card,
    "terminal": _by_terminal,
    "number": _by_order,
}
"""The outlet that an argument of a command means (``rights.Action.within``)."""

_NAMED: Final = {"login": ("login", "scope"), "subject": ("subject", "value")}
