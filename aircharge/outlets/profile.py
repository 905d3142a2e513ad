"""Master data: what is known of an outlet, changed field by field, each with what stood there before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from aircharge.ledger.tables import metadata
from aircharge.outlets.desk import Desk, RegistryError, open_row, outlet_row
from aircharge.outlets.fields import BY_NAME, FIELDS, Weight, check_contract, weighed
from aircharge.outlets.telling import tell_outlet_txn

__all__ = [
    "change_profile_txn",
    "differences",
    "heavy_fields",
    "profile_of",
    "read_changes",
    "write_profile_txn",
]

_outlet, _profile = metadata.tables["outlet"], metadata.tables["outlet_profile"]


def profile_of(txn: Connection, code: str) -> dict[str, Any]:
    """All fields of an outlet, by field name. Raises RegistryError."""
    outlet_id = outlet_row(txn, code).id
    columns = [(_profile if field.profile else _outlet).c[field.column].label(field.name) for field in FIELDS]
    found = select(*columns).join(_profile, _profile.c.outlet_id == _outlet.c.id)
    return dict(txn.execute(found.where(_outlet.c.id == outlet_id)).mappings().one())


def change_profile_txn(
    desk: Desk, code: str, said: Mapping[str, str], *, confirmed: bool = False
) -> dict[str, list[str]]:
    """Change fields to what people write; returns {field: [before, after]} as it may be seen. The outlet is told.

    ``confirmed``: two people want it, or names are labels; else what needs two people is refused.
    Raises RegistryError: no such field, one with a command of its own, a value that cannot be, nothing that differs.
    """
    row = open_row(desk.txn, code)
    before, after = read_changes(desk.txn, code, said)
    heavy = heavy_fields(before, after)
    if heavy and not confirmed:
        names = ", ".join(name for some in heavy.values() for name in some)
        raise RegistryError(f"{names}: that takes two people")
    changed = differences(before, after)
    write_profile_txn(desk, row.id, {name: after[name] for name in changed})
    words = [BY_NAME[name].zh if row.language == "zh" else name for name in changed]
    tell_outlet_txn(desk, row.id, "profile", " ".join(words), language=row.language)
    desk.note("outlet.change", code, **changed)
    return changed


def heavy_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[str]]:
    """The fields whose change takes two people, by the kind of request."""
    found = weighed(before, after)
    return {kind.value: found[kind] for kind in (Weight.MONEY, Weight.GUARD) if found[kind]}


def read_changes(
    txn: Connection, code: str, said: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """All fields as they are and as they would be, checked. Raises RegistryError."""
    open_row(txn, code)
    before = profile_of(txn, code)
    after = dict(before)
    for name, text in said.items():
        field = BY_NAME.get(name)
        if field is None:
            raise RegistryError(f"no field is called {name!r}; there are: {', '.join(BY_NAME)}")
        if field.weight is Weight.OWN:
            raise RegistryError(f"{name} is changed by a command of its own: outlet move, step, freeze")
        try:
            after[name] = field.read(text.strip())
        except RegistryError as error:
            raise RegistryError(f"{name}: {error}") from error
    check_contract(after)
    if before == after:
        raise RegistryError(f"nothing of outlet {code} would change")
    return before, after


def write_profile_txn(desk: Desk, outlet_id: int, values: Mapping[str, Any]) -> None:
    """Write fields, by name, to whichever table they are of. No audit row: the caller's."""
    for table, key, is_profile in ((_outlet, _outlet.c.id, False), (_profile, _profile.c.outlet_id, True)):
        columns = {
            BY_NAME[name].column: value
            for name, value in values.items()
            if BY_NAME[name].profile is is_profile
        }
        if columns:
            desk.txn.execute(update(table).where(key == outlet_id).values(**columns))


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[str]]:
    """{field: [before, after]} of what differs, as it may be seen: secrets end in four characters."""
    return {
        name: [BY_NAME[name].seen(before[name]), BY_NAME[name].seen(after[name])]
        for name in after
        if before[name] != after[name]
    }
