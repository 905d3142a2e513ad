"""Outlets as rows of a file, in the form in which ``outlets.imports`` reads them back unchanged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import Connection, select

from aircharge.ledger.chart import OUTLET_CLOSED, PHONE_ACTIVE
from aircharge.ledger.tables import metadata
from aircharge.outlets.fields import FIELDS
from aircharge.outlets.phones import USUAL_RIGHTS, rights_text
from aircharge.outlets.sheets import COLUMNS
from aircharge.outlets.terminals import TERMINAL_ACTIVE

__all__ = ["FILE_COLUMNS", "export_rows"]

_t = metadata.tables
_outlet, _profile, _phone, _terminal = (
    _t["outlet"],
    _t["outlet_profile"],
    _t["outlet_phone"],
    _t["terminal"],
)
FILE_COLUMNS: Final = tuple(english for english, _ in COLUMNS)
_KIND: Final = "pos"


def export_rows(
    txn: Connection, *, inside: Collection[int] | None = None, closed: bool = False
) -> list[Sequence[str]]:
    """A row of FILE_COLUMNS for every outlet, parents before children; ``inside``: of these numbers only.

    Identity numbers and accounts are whole: the file is a secret.
    """
    parent = _outlet.alias("parent")
    columns = [(_profile if item.profile else _outlet).c[item.column].label(item.name) for item in FIELDS]
    found = (
        select(_outlet.c.id, _outlet.c.code, parent.c.code.label("parent"), *columns)
        .join(_profile, _profile.c.outlet_id == _outlet.c.id)
        .outerjoin(parent, parent.c.id == _outlet.c.parent_id)
        .order_by(_outlet.c.level, _outlet.c.code)
    )
    if not closed:
        found = found.where(_outlet.c.status != OUTLET_CLOSED)
    phones, terminals = _phones(txn), _terminals(txn)
    rows: list[Sequence[str]] = []
    for outlet_id, code, parent_code, *values in txn.execute(found):
        if inside is None or outlet_id in inside:
            shown = [item.show(value) for item, value in zip(FIELDS, values, strict=True)]
            mine = [";".join(phones[outlet_id]), ";".join(terminals[outlet_id])]
            rows.append([code, parent_code or "", *shown, *mine])
    return rows


def _phones(txn: Connection) -> defaultdict[int, list[str]]:
    """Numbers in use by outlet, "13900000001" or "13900000001:query" where the rights are not the usual ones."""
    found = select(_phone).where(_phone.c.status == PHONE_ACTIVE).order_by(_phone.c.msisdn)
    texts = defaultdict(list)
    for row in txn.execute(found):
        rights = "" if row.rights == USUAL_RIGHTS else f":{rights_text(row.rights)}"
        texts[row.outlet_id].append(row.msisdn + rights)
    return texts


def _terminals(txn: Connection) -> defaultdict[int, list[str]]:
    """Active terminals by outlet, "T1" or "T1:phone-pos" where it is no common one."""
    found = select(_terminal).where(_terminal.c.status == TERMINAL_ACTIVE).order_by(_terminal.c.code)
    texts = defaultdict(list)
    for row in txn.execute(found):
        texts[row.outlet_id].append(row.code if row.kind == _KIND else f"{row.code}:{row.kind}")
    return texts
