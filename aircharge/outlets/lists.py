"""Black and white lists: phones, customers' numbers, terminals and outlets, each with an end if one is set.

Black refuses, white is passed over by the agent's rules (not by limits or the float). One entry a thing: the newest
word counts, the audit keeps the earlier ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select

from aircharge.errors import Refusal
from aircharge.ledger.chart import (
    LIST_BLACK,
    LIST_WHITE,
    SUBJECT_OUTLET,
    SUBJECT_PHONE,
    SUBJECT_TARGET,
    SUBJECT_TERMINAL,
)
from aircharge.ledger.policy_loading import bump_policy_txn
from aircharge.ledger.tables import metadata
from aircharge.outlets.registry import Desk, RegistryError
from aircharge.values import Msisdn, address_digits, mask_msisdn

__all__ = ["COLOURS", "LISTABLE", "ListForm", "entries", "list_txn", "thing_of", "unlist_txn"]

COLOURS: Final = {"black": LIST_BLACK, "white": LIST_WHITE}
LISTABLE: Final = {
    "phone": SUBJECT_PHONE,
    "target": SUBJECT_TARGET,
    "terminal": SUBJECT_TERMINAL,
    "outlet": SUBJECT_OUTLET,
}
_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,15}")
_t, _outlet = metadata.tables["list_entry"], metadata.tables["outlet"]


@dataclass(frozen=True, slots=True)
class ListForm:
    """An entry as a clerk writes it. ``subject``: a word of LISTABLE; ``until_ms``: None = for good."""

    subject: str
    value: str
    colour: str
    reason: str
    until_ms: int | None = None


def list_txn(desk: Desk, form: ListForm) -> None:
    """Put something on a list, in the place of what was said of it before."""
    subject, value = thing_of(desk.txn, form.subject, form.value)
    if form.colour not in COLOURS:
        raise RegistryError(f"colour {form.colour!r}: black or white")
    if not 0 < len(form.reason.strip()) <= 100:
        raise RegistryError("a reason of 1 to 100 characters is wanted")
    if form.until_ms is not None and form.until_ms <= desk.now_ms:
        raise RegistryError("that end is past already")
    if form.colour == "black":
        _keep_the_ban(desk, subject, value, form.until_ms)
    desk.txn.execute(delete(_t).where(_t.c.subject == subject, _t.c.value == value))
    words = {"reason": form.reason.strip(), "author": desk.actor[:64], "until_ms": form.until_ms}
    desk.txn.execute(
        insert(_t).values(
            subject=subject, value=value, colour=COLOURS[form.colour], made_ms=desk.now_ms, **words
        )
    )
    bump_policy_txn(desk.txn)
    shown = _shown(subject, value)
    desk.note(f"list.{form.colour}", f"{form.subject} {shown}", reason=form.reason, until_ms=form.until_ms)


def _keep_the_ban(desk: Desk, subject: int, value: str, until_ms: int | None) -> None:
    """A ban that ends sooner is a looser one, and that takes two people. Raises RegistryError."""
    black = (_t.c.subject == subject, _t.c.value == value, _t.c.colour == LIST_BLACK)
    row = desk.txn.execute(select(_t.c.until_ms).where(*black)).first()
    if row is None or until_ms is None or (row.until_ms is not None and row.until_ms <= until_ms):
        return
    raise RegistryError(f"{_shown(subject, value)} is banned for longer: ask that it is taken off first")


def unlist_txn(desk: Desk, subject: str, value: str) -> None:
    """Take something off its list."""
    number, what = thing_of(desk.txn, subject, value)
    taken = desk.txn.execute(delete(_t).where(_t.c.subject == number, _t.c.value == what))
    if not taken.rowcount:
        raise RegistryError(f"{subject} {_shown(number, what)} is on no list")
    bump_policy_txn(desk.txn)
    desk.note("list.remove", f"{subject} {_shown(number, what)}")


def thing_of(txn: Connection, subject: str, value: str) -> tuple[int, str]:
    """The subject's number and its value as the ledger writes it. Raises RegistryError."""
    if subject not in LISTABLE:
        raise RegistryError(f"{subject!r}: one of {', '.join(LISTABLE)}")
    number = LISTABLE[subject]
    if number == SUBJECT_OUTLET:
        if txn.execute(select(_outlet.c.id).where(_outlet.c.code == value)).first() is None:
            raise RegistryError(f"no outlet {value}")
    elif number == SUBJECT_TERMINAL:
        if not _CODE.fullmatch(value):
            raise RegistryError(f"terminal {value!r}: 1 to 16 letters, digits, - and _")
    else:
        try:
            return number, str(Msisdn.parse(value) if number == SUBJECT_TARGET else address_digits(value))
        except Refusal as refusal:
            raise RegistryError("that is no phone number") from refusal
    return number, value


def entries(txn: Connection, now_ms: int) -> list[dict[str, Any]]:
    """All entries, those whose time is over marked so; numbers are masked."""
    names = {number: name for name, number in LISTABLE.items()}
    colours = {number: name for name, number in COLOURS.items()}
    found = txn.execute(select(_t).order_by(_t.c.subject, _t.c.value)).mappings()
    return [
        {
            "subject": names[row["subject"]],
            "value": _shown(row["subject"], row["value"]),
            "colour": colours[row["colour"]],
            "in force": row["until_ms"] is None or row["until_ms"] > now_ms,
            "until_ms": row["until_ms"],
            "reason": row["reason"],
            "author": row["author"],
        }
        for row in found
    ]


def _shown(subject: int, value: str) -> str:
    return mask_msisdn(value) if subject in (SUBJECT_PHONE, SUBJECT_TARGET) else value
