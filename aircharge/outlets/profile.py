"""Master data: what is known of an outlet, changed field by field, each with what stood there before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from aircharge.ledger.tables import metadata
from aircharge.outlets.desk import Desk, RegistryError, open_row, outlet_row
from aircharge.outlets.fields import BY_NAME, FIELDS, check_contract

__all__ = ["change_profile_txn", "differences", "profile_of", "write_profile_txn"]

_outlet, _profile = metadata.tables["outlet"], metadata.tables["outlet_profile"]


def profile_of(txn: Connection, code: str) -> dict[str, Any]:
    """All fields of an outlet, by field name. Raises RegistryError."""
    outlet_id = outlet_row(txn, code).id
    columns = [(_profile if field.profile else _outlet).c[field.column].label(field.name) for field in FIELDS]
    found = select(*columns).join(_profile, _profile.c.outlet_id == _outlet.c.id)
    return dict(txn.execute(found.where(_outlet.c.id == outlet_id)).mappings().one())


def change_profile_txn(desk: Desk, code: str, said: Mapping[str, str]) -> dict[str, list[str]]:
    """Change fields to what people write; returns {field: [before, after]} as it may be seen.

    Raises RegistryError: no such field, one with a command of its own, a value that cannot be, nothing that differs.
    """
    outlet_id = open_row(desk.txn, code).id
    before = profile_of(desk.txn, code)
    after = dict(before)
    for name, text in said.items():
        field = BY_NAME.get(name)
        if field is None:
            raise RegistryError(f"no field is called {name!r}; there are: {', '.join(BY_NAME)}")
        if not field.free:
            raise RegistryError(f"{name} is changed by a command of its own")
        try:
            after[name] = field.read(text.strip())
        except RegistryError as error:
            raise RegistryError(f"{name}: {error}") from error
    check_contract(after)
    changed = differences(before, after)
    if not changed:
        raise RegistryError(f"nothing of outlet {code} would change")
    write_profile_txn(desk, outlet_id, {name: after[name] for name in changed})
    desk.note("outlet.change", code, **changed)
    return changed


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
