"""People at the office: logging in, asking for what needs two people, confirming it.

Behind the command line; every later door of the staff goes through here too. A house without staff has no persons:
names are labels then, and what needs a second person is done at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from aircharge.ledger.asked import LIFE_MS
from aircharge.ledger.commands import Result
from aircharge.ledger.credit import CREDIT
from aircharge.ledger.entries import ENTRIES, Declined, Enter
from aircharge.ledger.on_behalf import ON_BEHALF, OrderFor
from aircharge.ledger.ruling import ABOUT_ORDERS, RuleOrder
from aircharge.ledger.tables import metadata
from aircharge.ledger.tickets import AskTicket
from aircharge.office import Office, OfficeError, local_time
from aircharge.outlets import requests, sessions, signing_in, staff
from aircharge.outlets.cards import KeyRing
from aircharge.outlets.desk import Desk, digits_of
from aircharge.outlets.imports import Powers
from aircharge.outlets.on_behalf import order_for
from aircharge.outlets.phones import (
    bind_phone_txn,
    change_rights_txn,
    gains_rights,
    rights_of,
    rights_text,
    unbind_phone_txn,
)
from aircharge.outlets.profile import change_profile_txn, heavy_fields, read_changes
from aircharge.outlets.reach import check_action_txn
from aircharge.outlets.requests import Payload, RequestError, Tools, outlets_of
from aircharge.outlets.rights import ACTIONS, Person, Role, check_txn, is_within
from aircharge.outlets.sessions import SessionError
from aircharge.outlets.signing_in import Denied, Passwords
from aircharge.values import Receipt, State, mask_msisdn, yuan_text

__all__ = ["Staffroom", "sees", "write_new", "write_secret"]

_request, _phone = metadata.tables["change_request"], metadata.tables["outlet_phone"]


def write_secret(path: Path, text: str) -> None:
    """A file that only its owner may read, never for a moment otherwise."""
    spare = path.with_name(f"{path.name}.{os.getpid()}")
    handle = os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "w", encoding="utf-8") as file:
        file.write(text)
    spare.replace(path)


def write_new(path: Path, octets: bytes) -> None:
    """A new file of its owner's only. Raises OSError (FileExistsError) where there is anything by that name."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError as error:
        raise FileExistsError(f"{path} exists already: no file is written over") from error
    with open(handle, "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())


class Staffroom:
    """People of one office. ``person`` of the office is whoever has proved it, None in a house without staff."""

    def __init__(self, office: Office, passwords: Passwords | None = None) -> None:
        self.office = office
        self._passwords = passwords or Passwords()

    def ring(self) -> KeyRing:
        return self.office.config.key_ring(self.office.chance)

    def tools(self) -> Tools:
        return Tools(self.office.config.pin_hash(), self.office.chance, self._passwords)

    # -- who it is ----------------------------------------------------------------------------------------

    def has_staff(self) -> bool:
        with self.office.store.engine.connect() as txn:
            return not staff.is_empty(txn)

    def sign_in(self, login: str, password: str, code: str) -> Person | Denied:
        """A try is counted whatever comes of it. A person who is not enrolled may do nothing but ``enrol``."""
        with self.office.desk("login", checked=True) as desk:
            return signing_in.sign_in_txn(desk, login, password, code, self._passwords, self.ring())

    def must_enrol(self, person: Person) -> bool:
        with self.office.store.engine.connect() as txn:
            return staff.person_txn(txn, person.login) is None

    def enrol(self, person: Person, password: str, secret: bytes, code: str) -> Person:
        with self.office.desk(person.login, checked=True) as desk:
            return signing_in.enrol_txn(desk, person, password, secret, code, self._passwords, self.ring())

    def confirms_from_ms(self, person: Person) -> int:
        """From when a person may be the second one; 0 = already."""
        with self.office.store.engine.connect() as txn:
            table = metadata.tables["staff"]
            found = select(table.c.confirms_from_ms).where(table.c.id == person.id)
            from_ms = int(txn.execute(found).scalar_one())
        return from_ms if from_ms > self.office.clock.now_ms() else 0

    def new_password(self, person: Person, password: str) -> None:
        with self.office.desk(person.login, checked=True) as desk:
            signing_in.new_password_txn(desk, person, password, self._passwords)

    def begin(self, person: Person, path: Path) -> None:
        """Write the session's file."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        session = sessions.begin(person, self.office.clock.now_ms())
        write_secret(path, sessions.token_of(session, self.ring()))

    def resume(self, path: Path) -> Person:
        """Who has logged in; the session's idle time begins anew. Raises SessionError."""
        try:
            exposed, token = path.stat().st_mode & 0o077, path.read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise SessionError("nobody is logged in: aircharge login") from error
        if exposed:
            raise SessionError(f"{path} may be read by others: aircharge login")
        ring = self.ring()
        with self.office.store.engine.connect() as txn:
            person, session = sessions.resume(txn, token, ring, self.office.clock.now_ms())
        write_secret(path, sessions.token_of(session, ring))
        return person

    def check(self, person: Person, action: str, arguments: Mapping[str, Any]) -> None:
        """Raises NotAllowed unless the table of rights lets the person give this command."""
        with self.office.store.engine.connect() as txn:
            check_action_txn(txn, person, action, arguments, self.office.clock.now_ms())

    # -- people -------------------------------------------------------------------------------------------

    def init(self, login: str, name: str, password: str) -> None:
        signing_in.check_password(password, login)
        with self.office.desk(login or "nobody", checked=True) as desk:
            staff.first_admin_txn(desk, login, name, self._passwords.hash(password))

    def block(self, login: str, actor: str) -> None:
        with self.office.desk(actor, "staff.block", login=login) as desk:
            staff.block_staff_txn(desk, login)

    def people(self) -> list[dict[str, Any]]:
        with self.office.store.engine.connect() as txn:
            return staff.people(txn, self.office.clock.now_ms())

    # -- two people ---------------------------------------------------------------------------------------

    def change(self, what: str, payload: Payload, *, actor: str) -> str:
        """Ask for a change that needs two people; what to tell. Done at once where there is nobody else to ask:
        in a house without staff, and when its only admin adds the second.
        """
        is_done = self.office.person is None
        with self._place_of(what if is_done else "", payload), self.office.desk(actor, checked=True) as desk:
            said = self.change_txn(desk, what, payload)
        return said

    def change_txn(self, desk: Desk, what: str, payload: Payload) -> str:
        """The same as part of a greater piece of work."""
        person = self.office.person
        alone = self._is_alone(desk, what, payload)
        if person is not None:
            check_txn(desk.txn, person, what, outlets_of(desk.txn, payload))
        if alone and what not in (*ABOUT_ORDERS, *ON_BEHALF):
            return requests.apply_alone_txn(desk, what, payload, self.tools())
        said = ""
        if what in ("staff.add", "staff.reset"):
            kept, said = requests.first_half(self.tools())
            payload, said = {**payload, **kept}, f"; {said}"
        number = requests.propose_txn(desk, what, payload, self.tools())
        return f"request {number} waits for another person: aircharge request approve {number}{said}"

    def powers(self) -> Powers:
        """What the person may do by a file of outlets: what they may do to each of them by a command."""
        person = self.office.person
        may_move = person is None or person.role in ACTIONS["outlet.move"].by
        return Powers(self.office.inside(), may_move, alone=person is None)

    def change_profile(
        self, code: str, said: Mapping[str, str], *, actor: str
    ) -> tuple[dict[str, list[str]], list[str]]:
        """Change master data: what one person may is done, the rest is asked for.

        Returns {field: [before, after]}, and what to tell of the requests. Raises RegistryError.
        """
        with self.office.desk(actor, "outlet.profile", code=code) as desk:
            if self.office.person is None:
                return change_profile_txn(desk, code, said, confirmed=True), []
            heavy = heavy_fields(*read_changes(desk.txn, code, said))
            asked = [(code, what, {name: said[name] for name in names}) for what, names in heavy.items()]
            left = {name: said[name] for name in said if not any(name in names for names in heavy.values())}
            before, after = read_changes(desk.txn, code, said)
            is_changed = any(before[name] != after[name] for name in left)
            changed = change_profile_txn(desk, code, left) if is_changed else {}
            return changed, self.ask_heavy_txn(desk, asked)

    def ask_heavy_txn(self, desk: Desk, heavy: Sequence[tuple[str, str, Mapping[str, str]]]) -> list[str]:
        """Ask for changes of master data that take two people: (outlet, kind, fields); what to tell."""
        return [
            self.change_txn(desk, what, {"outlet": code, "fields": dict(fields)})
            for code, what, fields in heavy
        ]

    def change_phone(self, code: str, number: str, rights: str, *, unbind: bool, actor: str) -> str:
        """Bind a number, change what it may do or take it away; what to tell."""
        shown = mask_msisdn(number)
        with self.office.desk(actor, "outlet.phone", code=code) as desk:
            if unbind:
                unbind_phone_txn(desk, code, number)
                return f"{shown}: done"
            if rights and _is_bound(desk.txn, number):
                mask = rights_of(rights)
                if gains_rights(desk.txn, code, number, mask):
                    wish = {"outlet": code, "phone": digits_of(number), "rights": rights_text(mask)}
                    return self.change_txn(desk, "phone.rights", wish)
                change_rights_txn(desk, code, number, mask)
                return f"{shown}: done"
            bind_phone_txn(desk, code, number, *([rights_of(rights)] if rights else []))
            from_ms = desk.now_ms + desk.settings.phone_wait_ms
        return f"{shown}: done; it may order from {local_time(from_ms)} on, or when two people release it"

    def _is_alone(self, desk: Desk, what: str, payload: Payload) -> bool:
        """A house without staff, or its first admin, who adds admins until a second one has enrolled; never again."""
        person = self.office.person
        if person is None:
            return True
        is_founding = what == "staff.add" and payload.get("role") == Role.ADMIN and not payload.get("scope")
        is_founder = person.role is Role.ADMIN and person.scope_id is None
        return is_founding and is_founder and not staff.others_were_admins(desk.txn, person.login)

    def approve(self, number: int, *, actor: str) -> str:
        """The second person's yes. Raises OfficeError, RequestError, NotAllowed."""
        what, payload = self._asked(number, actor)
        if what in ENTRIES or what == CREDIT:
            return self._booked(number, Enter(number, actor))
        if what in ABOUT_ORDERS:
            return self._booked(number, RuleOrder(number, payload["order"], actor))
        if what in ON_BEHALF:
            with self.office.store.engine.connect() as txn:
                now_ms = self.office.clock.now_ms()
                command = order_for(txn, number, what, payload, checker=actor, now_ms=now_ms)
            return self._booked(number, command)
        with self._place_of(what, payload), self.office.desk(actor, checked=True) as desk:
            said = requests.approve_txn(desk, number, self.tools())
        return said

    def decline(self, number: int, note: str, *, actor: str) -> None:
        self._asked(number, actor)
        with self.office.desk(actor, checked=True) as desk:
            requests.decline_txn(desk, number, note)

    def waiting(self) -> list[dict[str, Any]]:
        """Requests that wait, of the part of the tree the person sees."""
        person = self.office.person
        with self.office.store.engine.connect() as txn:
            return [
                item
                for item in requests.waiting(txn, self.office.clock.now_ms())
                if sees(txn, person, item["payload"])
            ]

    def _asked(self, number: int, actor: str) -> tuple[str, dict[str, Any]]:
        """A request that waits and that this person may decide; what has ended ends now. Raises what says why not."""
        person = self.office.person
        with self.office.desk(actor, checked=True) as desk:
            requests.expire_txn(desk)
        with self.office.store.engine.connect() as txn:
            row = txn.execute(select(_request).where(_request.c.id == number)).first()
            if row is None or row.state:
                ended = row is not None and row.note == "expired"
                why = (
                    f"is older than {LIFE_MS // 86_400_000} days and has ended" if ended else "does not wait"
                )
                raise RequestError(f"request {number} {why}: no request {number} waits to be confirmed")
            payload: dict[str, Any] = json.loads(row.payload)
            if person is not None:
                staff.check_second(txn, person.login, self.office.clock.now_ms())
                check_txn(txn, person, row.what, outlets_of(txn, payload), confirming=True)
        return row.what, payload

    def _booked(self, number: int, command: Enter | RuleOrder | OrderFor) -> str:
        result: Result
        [result] = self.office.store.run([command])
        if isinstance(result, str):
            raise OfficeError(result)
        if isinstance(result, Declined):
            return f"request {number}: declined"
        if isinstance(result, Receipt):
            said = f"request {number}: order {result.order_id} is {result.state.name}"
            if result.state is State.PARKED:  # the daemon takes it up; until then it is as it was
                said = f"request {number}: order {result.order_id} is let go and on its way to the operator;"
                return f"{said} what becomes of it: aircharge order show {result.order_id}"
            is_ticket = isinstance(command, OrderFor) and isinstance(command.wish, AskTicket)
            return f"{said}; to be paid: {yuan_text(result.cost_fen)} yuan exactly" if is_ticket else said
        return f"request {number}: credit line {yuan_text(result.limit_fen)} yuan"

    @contextmanager
    def _place_of(self, what: str, payload: Payload) -> Iterator[None]:
        """The new file that an export of keys is written to: there, and empty, before anything is decided.

        The keys are written into it after the commit that says so. Where there is a file by that name the request still
        waits. What is left of a decision that came to nothing is taken away again.
        """
        if what != "keys.export":
            yield
            return
        path = Path(payload["file"])
        write_new(path, b"")
        try:
            yield
        except BaseException:  # whatever ended the decision: the empty file goes, the error goes on
            path.unlink(missing_ok=True)
            raise
        write_secret(path, json.dumps(self.office.personalisation(), indent=1))


def _is_bound(txn: Connection, number: str) -> bool:
    found = select(_phone.c.msisdn).where(_phone.c.msisdn == digits_of(number))
    return txn.execute(found).first() is not None


def sees(txn: Connection, person: Person | None, payload: Payload) -> bool:
    """Whether what a request (or a line of a list) names is in the part of the tree the person works in."""
    if person is None or person.scope_id is None:
        return True
    outlets = outlets_of(txn, payload)
    return bool(outlets) and all(is_within(txn, person.scope_id, number) for number in outlets)
