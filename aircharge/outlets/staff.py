"""Staff: who works here, as what and where; added, blocked and changed within the caller's transaction.

Every change is a row of the audit. How a person proves who it is: ``signing_in``; what a role may do: ``rights``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from aircharge.errors import AirchargeError
from aircharge.ledger.tables import metadata
from aircharge.outlets.registry import Desk
from aircharge.outlets.rights import SCOPED, Person, Role

__all__ = [
    "ACTIVE",
    "BLOCKED",
    "StaffError",
    "StaffForm",
    "add_staff_txn",
    "block_staff_txn",
    "change_role_txn",
    "check_second",
    "first_admin_txn",
    "is_empty",
    "others_were_admins",
    "people",
    "person_txn",
    "reset_staff_txn",
    "staff_row",
    "unblock_staff_txn",
]

ACTIVE, BLOCKED = 1, 2
_t = metadata.tables["staff"]
_outlet = metadata.tables["outlet"]
_LOGIN: Final = re.compile(r"[a-z][a-z0-9._-]{1,31}")
_NOBODY: Final = frozenset(("machine", "demo", "root", "admin"))
"""Names that the audit's rows bear for nobody in particular."""


class StaffError(AirchargeError):
    """What was asked about the staff cannot be: the message says why."""


@dataclass(frozen=True, slots=True)
class StaffForm:
    """A person to be added."""

    login: str
    name: str
    role: str
    scope: str = ""  # an outlet's code: it and all below it; "" = the whole house


def is_empty(txn: Connection) -> bool:
    """Whether nobody has been added yet: names are labels until then."""
    return txn.execute(select(_t.c.id).limit(1)).first() is None


def staff_row(txn: Connection, login: str) -> Any:
    """Raises StaffError when nobody is called that."""
    row = txn.execute(select(_t).where(_t.c.login == login).with_for_update()).first()
    if row is None:
        raise StaffError(f"nobody of the staff is called {login!r}")
    return row


def person_txn(txn: Connection, login: str) -> Person | None:
    """Somebody who may work now; None when blocked, unknown, or not yet enrolled."""
    row = txn.execute(select(_t).where(_t.c.login == login)).first()
    if row is None or row.status != ACTIVE or row.must_change or row.totp_wrapped is None:
        return None
    return Person(row.id, row.login, Role(row.role), row.scope_outlet_id, row.changed_ms)


def people(txn: Connection, now_ms: int) -> list[dict[str, Any]]:
    """Everybody, for a list; no secret."""
    rows = txn.execute(
        select(_t, _outlet.c.code)
        .outerjoin(_outlet, _outlet.c.id == _t.c.scope_outlet_id)
        .order_by(_t.c.login)
    )
    return [
        {
            "login": row.login,
            "name": row.name,
            "role": row.role,
            "scope": row.code or "all",
            "state": _state(row, now_ms),
        }
        for row in rows
    ]


def _state(row: Any, now_ms: int) -> str:
    if row.status == BLOCKED:
        return "blocked"
    if row.locked_until_ms > now_ms:
        return "locked"
    return "not enrolled" if row.must_change or row.totp_wrapped is None else "active"


def others_were_admins(txn: Connection, login: str) -> bool:
    """Whether anybody else has ever been an enrolled admin, blocked or of another role since, or not."""
    was = (_t.c.admin_ms > 0) | ((_t.c.role == Role.ADMIN) & (_t.c.totp_step > 0))
    return txn.execute(select(_t.c.id).where(was, _t.c.login != login).limit(1)).first() is not None


def check_second(txn: Connection, login: str, now_ms: int) -> None:
    """Raises StaffError for somebody who is too new to be a second person. Names that are labels may."""
    from_ms = txn.execute(select(_t.c.confirms_from_ms).where(_t.c.login == login)).scalar() or 0
    if from_ms > now_ms:
        hours = -(-(from_ms - now_ms) // 3_600_000)
        raise StaffError(f"{login} has been here for less than a day: he confirms in {hours} hours")


def first_admin_txn(desk: Desk, login: str, name: str, password_hash: str) -> int:
    """The very first person, an admin. Raises StaffError when anybody is there."""
    if not is_empty(desk.txn):
        raise StaffError("there is staff already: an admin adds people")
    return _insert(desk, StaffForm(login, name, Role.ADMIN), password_hash, alone=True)


def add_staff_txn(desk: Desk, form: StaffForm, password_hash: str) -> int:
    """A person with an initial password, who chooses another and enrols an authenticator at the first login."""
    return _insert(desk, form, password_hash, alone=False)


def _insert(desk: Desk, form: StaffForm, password_hash: str, *, alone: bool) -> int:
    if not _LOGIN.fullmatch(form.login) or form.login in _NOBODY:
        raise StaffError(f"login {form.login!r}: 2 to 32 small letters, digits, . - and _; nobody's name")
    if not 0 < len(form.name.strip()) <= 64:
        raise StaffError("a person has a name of at most 64 characters")
    role, scope_id = _place(desk.txn, form.role, form.scope)
    if desk.txn.execute(select(_t.c.id).where(_t.c.login == form.login)).first() is not None:
        raise StaffError(f"login {form.login} is taken")
    number = int(desk.txn.execute(select(func.max(_t.c.id))).scalar() or 0) + 1
    values = {"login": form.login, "name": form.name.strip(), "role": role, "scope_outlet_id": scope_id}
    times = {"made_ms": desk.now_ms, "changed_ms": desk.now_ms}
    desk.txn.execute(
        insert(_t).values(
            id=number,
            **values,
            **times,
            password_hash=password_hash,
            totp_step=0,
            status=ACTIVE,
            must_change=1,
        )
    )
    desk.note("staff.add", form.login, role=role, scope=form.scope, alone=alone)
    return number


def _place(txn: Connection, role: str, scope: str) -> tuple[Role, int | None]:
    """A role, and the outlet below which it works."""
    if role not in Role.__members__.values():
        raise StaffError(f"role {role!r}: {', '.join(Role)}")
    if not scope:
        if Role(role) in SCOPED:
            raise StaffError(f"a {role} works within a part of the tree: name its outlet as the scope")
        return Role(role), None
    scope_id = txn.execute(select(_outlet.c.id).where(_outlet.c.code == scope)).scalar()
    if scope_id is None:
        raise StaffError(f"no outlet {scope}")
    return Role(role), int(scope_id)


def change_role_txn(desk: Desk, login: str, role: str, scope: str = "") -> None:
    """Another role or scope; sessions end. Raises StaffError: no such person, the last admin's role."""
    row = staff_row(desk.txn, login)
    new, scope_id = _place(desk.txn, role, scope)
    if new is not Role.ADMIN:
        _keep_an_admin(desk.txn, row)
    admin = {"admin_ms": desk.now_ms} if new is Role.ADMIN and row.totp_step and not row.admin_ms else {}
    _change(desk, row, role=new, scope_outlet_id=scope_id, **admin)
    desk.note("staff.role", login, before=row.role, after=new, scope=scope)


def block_staff_txn(desk: Desk, login: str) -> None:
    """At once, and without a second person; sessions end."""
    row = staff_row(desk.txn, login)
    if row.status == BLOCKED:
        raise StaffError(f"{login} is blocked already")
    _keep_an_admin(desk.txn, row)
    _change(desk, row, status=BLOCKED)
    desk.note("staff.block", login)


def unblock_staff_txn(desk: Desk, login: str) -> None:
    """Lift a block, or a lock-out before its time."""
    row = staff_row(desk.txn, login)
    _change(desk, row, status=ACTIVE, fails=0, locked_until_ms=0)
    desk.note("staff.unblock", login, before=row.status)


def reset_staff_txn(desk: Desk, login: str, password_hash: str) -> None:
    """A new initial password and no authenticator: as on the first day. Sessions end, a lock-out too."""
    row = staff_row(desk.txn, login)
    _change(
        desk,
        row,
        password_hash=password_hash,
        totp_wrapped=None,
        must_change=1,
        fails=0,
        locked_until_ms=0,
    )
    desk.note("staff.reset", login)


def _change(desk: Desk, row: Any, **values: Any) -> None:
    changed_ms = max(desk.now_ms, row.changed_ms + 1)
    desk.txn.execute(update(_t).where(_t.c.id == row.id).values(**values, changed_ms=changed_ms))


def _keep_an_admin(txn: Connection, row: Any) -> None:
    others = select(_t.c.id).where(_t.c.role == Role.ADMIN, _t.c.status == ACTIVE, _t.c.id != row.id)
    if row.role == Role.ADMIN and txn.execute(others.limit(1)).first() is None:
        raise StaffError(f"{row.login} is the last admin")
