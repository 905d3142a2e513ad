"""How a person of the staff proves who it is: password (argon2id), one-time password, lock-out, first login.

A wrong try is counted in the same transaction that found it wrong, so nothing here raises for one: the result says it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import select, update

from aircharge.ledger.tables import metadata
from aircharge.outlets.cards import KeyRing
from aircharge.outlets.registry import Desk
from aircharge.outlets.rights import Person, Role
from aircharge.outlets.staff import BLOCKED, StaffError
from aircharge.outlets.totp import SECRET_OCTETS, accepted_step
from aircharge.ports import Randomness

__all__ = [
    "FAILS_MAX",
    "LOCK_MS",
    "PASSWORD_MIN",
    "Denied",
    "Passwords",
    "check_password",
    "enrol_txn",
    "new_password_txn",
    "random_half",
    "random_password",
    "random_totp",
    "sign_in_txn",
]

FAILS_MAX: Final = 5
LOCK_MS: Final = 900_000
CONFIRM_WAIT_MS: Final = 86_400_000
"""Who has enrolled, new or after a reset, is no second person for so long: time enough for the one it should be to
say that it was somebody else."""
FOUNDERS: Final = 2  # the first two admins confirm at once: nobody else could
PASSWORD_MIN, PASSWORD_MAX = 10, 128
_LETTERS: Final = "23456789abcdefghjkmnpqrstuvwxyz"  # none like another
_t = metadata.tables["staff"]


@dataclass(frozen=True, slots=True)
class Denied:
    """Nobody was let in. The same words whether login, password or code was wrong."""

    why: str


class Passwords:
    """argon2id (RFC 9106). The defaults are its second recommendation; tests take cheap ones.

    An initial password of two halves, each known to another person, is kept as two hashes with ``|`` between them, and
    typed with a hyphen between the halves.
    """

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._nobodys = ""

    def hash(self, password: str) -> str:
        """With its own salt and parameters, PHC string format."""
        return self._hasher.hash(password.encode("utf-8", "surrogatepass"))

    def is_right(self, hashed: str, password: str) -> bool:
        if "|" in hashed:
            halves = zip(hashed.split("|"), (*password.strip().split("-"), "", "")[:2], strict=True)
            found = [self.is_right(kept, half) for kept, half in halves]
            return all(found) and password.count("-") == 1
        try:
            return self._hasher.verify(hashed, password.encode("utf-8", "surrogatepass"))
        except (VerificationError, InvalidHashError):
            return False

    def waste(self, password: str) -> None:
        """Take as long as a check does: nobody learns from the time which logins exist."""
        self._nobodys = self._nobodys or self.hash("nobody")
        self.is_right(self._nobodys, password)


def check_password(password: str, login: str) -> None:
    """Raises StaffError for one that is short, of a few characters only, or has the login in it."""
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise StaffError(f"a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters")
    if len(set(password)) < 5 or login.lower() in password.lower():
        raise StaffError("this password is too easy to guess")


def random_half(chance: Randomness) -> str:
    """Half of an initial password: ten characters, near 50 bit, behind argon2id and a lock-out."""
    return random_password(chance)[:10]


def random_password(chance: Randomness) -> str:
    """Sixteen unbiased characters, near 80 bit; good for one login only."""
    octets = (octet for _ in range(8) for octet in chance.token(64))
    ends = 256 - 256 % len(_LETTERS)
    return "".join([_LETTERS[octet % len(_LETTERS)] for octet in octets if octet < ends][:16])


def random_totp(chance: Randomness) -> bytes:
    return chance.token(SECRET_OCTETS)


def sign_in_txn(
    desk: Desk, login: str, password: str, code: str, passwords: Passwords, ring: KeyRing
) -> Person | Denied:
    """Count the try, and say who it is. A person who must still enrol is let in without a code, for that only
    (``enrol_txn``): role and scope are not to be used before ``staff.person_txn`` knows the person.
    """
    row = desk.txn.execute(select(_t).where(_t.c.login == login).with_for_update()).first()
    if row is None:
        passwords.waste(password)
        desk.note("alarm.login", login, why="unknown")
        return Denied("login, password or code is wrong")
    if row.locked_until_ms > desk.now_ms:
        return Denied(f"{login} is locked out for {_minutes(row.locked_until_ms - desk.now_ms)} minutes more")
    is_enrolled = row.totp_wrapped is not None and not row.must_change
    step = accepted_step(_totp_of(row, ring), code, desk.now_ms, row.totp_step) if is_enrolled else 1
    if not passwords.is_right(row.password_hash, password) or not step:
        return _count(desk, row)
    if row.status == BLOCKED:
        return Denied(f"{login} is blocked: ask an admin")
    values: dict[str, Any] = {"fails": 0, "locked_until_ms": 0}
    desk.txn.execute(
        update(_t).where(_t.c.id == row.id).values(**values, **({"totp_step": step} if is_enrolled else {}))
    )
    desk.note("staff.login" if is_enrolled else "staff.first-login", login)
    return Person(row.id, row.login, Role(row.role), row.scope_outlet_id, row.changed_ms)


def _count(desk: Desk, row: Any) -> Denied:
    fails = row.fails + 1
    is_last = fails >= FAILS_MAX
    values = {"fails": 0, "locked_until_ms": desk.now_ms + LOCK_MS} if is_last else {"fails": fails}
    desk.txn.execute(update(_t).where(_t.c.id == row.id).values(**values))
    desk.note("alarm.login", row.login, why="locked" if is_last else "wrong", fails=fails)
    if is_last:
        return Denied(
            f"login, password or code is wrong: {row.login} is locked out for {_minutes(LOCK_MS)} minutes"
        )
    return Denied("login, password or code is wrong")


def enrol_txn(
    desk: Desk, person: Person, password: str, secret: bytes, code: str, passwords: Passwords, ring: KeyRing
) -> Person:
    """The first login's end: a password of one's own and an authenticator that works. Raises StaffError."""
    row = desk.txn.execute(select(_t).where(_t.c.id == person.id).with_for_update()).first()
    if (
        row is None
        or row.changed_ms != person.changed_ms
        or not (row.must_change or row.totp_wrapped is None)
    ):
        raise StaffError("this first login is over: log in again")
    _check_new(row, password, passwords)
    step = accepted_step(secret, code, desk.now_ms, 0)
    if not step:
        raise StaffError("that is not the authenticator's code: nothing was kept, log in again")
    changed_ms = max(desk.now_ms, row.changed_ms + 1)
    is_founder = row.role == Role.ADMIN and not row.admin_ms and _admins_before(desk, row.id) < FOUNDERS
    values = {
        "confirms_from_ms": 0 if is_founder else desk.now_ms + CONFIRM_WAIT_MS,
        "admin_ms": row.admin_ms or (desk.now_ms if row.role == Role.ADMIN else 0),
        "password_hash": passwords.hash(password),
        "totp_wrapped": ring.seal(_bound(row.id), secret),
        "totp_step": step,
        "must_change": 0,
        "changed_ms": changed_ms,
    }
    desk.txn.execute(update(_t).where(_t.c.id == row.id).values(**values))
    desk.note("staff.enrol", row.login)
    return Person(row.id, row.login, Role(row.role), row.scope_outlet_id, changed_ms)


def _admins_before(desk: Desk, staff_id: int) -> int:
    was = (_t.c.admin_ms > 0) | ((_t.c.role == Role.ADMIN) & (_t.c.totp_step > 0))
    return len(desk.txn.execute(select(_t.c.id).where(was, _t.c.id != staff_id).limit(FOUNDERS)).all())


def new_password_txn(desk: Desk, person: Person, password: str, passwords: Passwords) -> None:
    """Another password for somebody who has just proved to be that person; other sessions end. Raises StaffError."""
    row = desk.txn.execute(select(_t).where(_t.c.id == person.id).with_for_update()).one()
    _check_new(row, password, passwords)
    changed_ms = max(desk.now_ms, row.changed_ms + 1)
    values = {"password_hash": passwords.hash(password), "changed_ms": changed_ms}
    desk.txn.execute(update(_t).where(_t.c.id == row.id).values(**values))
    desk.note("staff.password", row.login)


def _check_new(row: Any, password: str, passwords: Passwords) -> None:
    check_password(password, row.login)
    if passwords.is_right(row.password_hash, password):
        raise StaffError("that is the password there was")


def _totp_of(row: Any, ring: KeyRing) -> bytes:
    return ring.open(_bound(row.id), row.totp_wrapped)


def _bound(staff_id: int) -> bytes:
    return b"staff|%d|totp" % staff_id


def _minutes(ms: int) -> int:
    return -(-ms // 60_000)
