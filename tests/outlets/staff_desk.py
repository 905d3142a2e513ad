"""A house with people for the tests of ``outlets``: cheap passwords, countable chance, authenticators at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from argon2 import PasswordHasher
from sqlalchemy import select

from aircharge.ledger.tables import metadata
from aircharge.outlets.cards import KeyRing
from aircharge.outlets.registry import Desk
from aircharge.outlets.requests import Tools
from aircharge.outlets.rights import Person
from aircharge.outlets.signing_in import Denied, Passwords, enrol_txn, sign_in_txn
from aircharge.outlets.staff import StaffForm, add_staff_txn, first_admin_txn
from aircharge.outlets.totp import code_of, step_of
from tests.ledger.desk import PINS, Books

T = TypeVar("T")
PASSWORDS = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
INITIAL, OWN = "initial-password", "correct horse battery"


class Chance:
    """Octets that look random and are the same in every run."""

    def __init__(self) -> None:
        self.calls = 0

    def token(self, length: int) -> bytes:
        self.calls += 1
        return bytes((self.calls * 89 + at * 37) % 251 for at in range(length))


class House:
    """Books with staff: ``hire`` somebody, let him ``log_in``, work ``at_desk``."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.chance = Chance()
        self.ring = KeyRing({}, {1: bytes(range(32))}, self.chance)
        self.tools = Tools(PINS, self.chance, PASSWORDS)

    def at_desk(self, work: Callable[[Desk], T], actor: str = "li") -> T:
        with self.books.store.writing() as txn:
            return work(Desk(txn, self.books.clock.ms, actor))

    def hire(self, login: str, role: str = "admin", scope: str = "") -> Person:
        """Added, logged in for the first time, enrolled."""
        hashed = PASSWORDS.hash(INITIAL)
        if not self.books.value("SELECT count(*) FROM staff") and role == "admin":
            self.at_desk(lambda desk: first_admin_txn(desk, login, login.title(), hashed))
        else:
            form = StaffForm(login, login.title(), role, scope)
            self.at_desk(lambda desk: add_staff_txn(desk, form, hashed))
        return self.enrol(login)

    def enrol(self, login: str, password: str = OWN) -> Person:
        found = self.sign_in(login, INITIAL, "")
        assert isinstance(found, Person)
        secret = self.secret(login)
        code = code_of(secret, step_of(self.books.clock.ms))
        return self.at_desk(
            lambda desk: enrol_txn(desk, found, password, secret, code, PASSWORDS, self.ring), login
        )

    @staticmethod
    def secret(login: str) -> bytes:
        return login.encode().ljust(20, b"-")

    def code(self, login: str, away: int = 0) -> str:
        return code_of(self.secret(login), step_of(self.books.clock.ms) + away)

    def sign_in(self, login: str, password: str = OWN, code: str | None = None) -> Person | Denied:
        said = self.code(login) if code is None else code
        return self.at_desk(
            lambda desk: sign_in_txn(desk, login, password, said, PASSWORDS, self.ring), "login"
        )

    def row(self, login: str) -> Any:
        table = metadata.tables["staff"]
        with self.books.engine.connect() as txn:
            return txn.execute(select(table).where(table.c.login == login)).one()
