"""What the ledger knows of the outlets, numbers and terminals that a file names: a few set-based questions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Column, Connection, select

from aircharge.ledger.chart import PHONE_ACTIVE
from aircharge.ledger.tables import metadata
from aircharge.outlets.fields import FIELDS
from aircharge.outlets.terminals import TERMINAL_ACTIVE
from aircharge.outlets.wishes import Wish

__all__ = ["Known", "KnownOutlet", "known_of"]

_t = metadata.tables
_outlet, _profile, _phone, _terminal = (
    _t["outlet"],
    _t["outlet_profile"],
    _t["outlet_phone"],
    _t["terminal"],
)
_AT_ONCE: Final = 500  # SQLite's and PostgreSQL's statements carry so many values without trouble


@dataclass(slots=True)
class KnownOutlet:
    """An outlet as it is."""

    outlet_id: int
    level: int
    status: int
    parent: str  # code, "" = none
    values: dict[str, Any]  # by field name
    phones: set[tuple[str, int]] = field(default_factory=set)  # those in use, with their rights
    terminals: set[tuple[str, str]] = field(default_factory=set)  # active ones, with their kind


@dataclass(slots=True)
class Known:
    outlets: dict[str, KnownOutlet]
    phones: set[str]  # of those named, the ones that are bound to somebody
    terminals: set[str]


def known_of(txn: Connection, wishes: Sequence[Wish]) -> Known:
    """Outlets, parents, numbers and terminals named in a file, as far as they are there."""
    codes = {wish.code for wish in wishes} | {wish.parent for wish in wishes if wish.parent}
    numbers = {digits for wish in wishes for digits, _ in wish.phones or ()}
    terminals = {code for wish in wishes for code, _ in wish.terminals or ()}
    outlets = _outlets(txn, codes)
    by_id = {outlet.outlet_id: outlet for outlet in outlets.values()}
    for row in _among(txn, _phone.c.outlet_id, by_id, *_phone.c):
        if row.status == PHONE_ACTIVE:
            by_id[row.outlet_id].phones.add((row.msisdn, row.rights))
    for row in _among(txn, _terminal.c.outlet_id, by_id, *_terminal.c):
        if row.status == TERMINAL_ACTIVE:
            by_id[row.outlet_id].terminals.add((row.code, row.kind))
    bound = {row.msisdn for row in _among(txn, _phone.c.msisdn, numbers, _phone.c.msisdn)}
    placed = {row.code for row in _among(txn, _terminal.c.code, terminals, _terminal.c.code)}
    return Known(outlets, bound, placed)


def _outlets(txn: Connection, codes: Iterable[str]) -> dict[str, KnownOutlet]:
    of_outlet = [_outlet.c[item.column] for item in FIELDS if not item.profile]
    rows = list(
        _among(txn, _outlet.c.code, codes, _outlet.c.id, _outlet.c.code, _outlet.c.parent_id, *of_outlet)
    )
    numbers = [row.id for row in rows]
    profiles = {
        row.outlet_id: row._mapping for row in _among(txn, _profile.c.outlet_id, numbers, *_profile.c)
    }
    above = {row.parent_id for row in rows if row.parent_id is not None}
    names = {row.id: row.code for row in _among(txn, _outlet.c.id, above, _outlet.c.id, _outlet.c.code)}
    found = {}
    for row in rows:
        own, profile = row._mapping, profiles[row.id]
        values = {item.name: (profile if item.profile else own)[item.column] for item in FIELDS}
        parent = names.get(row.parent_id, "")
        found[row.code] = KnownOutlet(row.id, row.level, row.status, parent, values)
    return found


def _among(txn: Connection, key: Column[Any], values: Iterable[Any], *columns: Column[Any]) -> Iterator[Any]:
    """Rows whose key is one of these values."""
    wanted = list(values)
    for start in range(0, len(wanted), _AT_ONCE):
        yield from txn.execute(select(*columns).where(key.in_(wanted[start : start + _AT_ONCE])))
