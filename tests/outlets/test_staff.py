"""Staff: who may log in, who is locked out, and what the one table of rights lets each role do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from aircharge.ledger.entries import ENTRIES
from aircharge.ledger.tables import metadata
from aircharge.outlets import sessions, staff
from aircharge.outlets.requests import KINDS
from aircharge.outlets.rights import ACTIONS, NotAllowed, Person, Role, check_txn, is_within
from aircharge.outlets.sessions import SessionError
from aircharge.outlets.signing_in import Denied, check_password, enrol_txn, new_password_txn, random_password
from aircharge.outlets.staff import StaffError, StaffForm
from aircharge.outlets.totp import code_of, step_of
from tests.ledger import engines
from tests.ledger.desk import MINUTE, Books
from tests.outlets.staff_desk import INITIAL, OWN, PASSWORDS, Chance, House


@pytest.fixture(params=engines.ENGINES)
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    """Nobody works here yet; outlets A and B, in both engines."""
    yield from _house(request.param)


@pytest.fixture
def lean_house() -> Iterator[House]:
    """The same in SQLite only: for tables of many rows."""
    yield from _house("sqlite")


def _house(engine: str) -> Iterator[House]:
    with engines.kept_in(engine):
        books = Books().setup({"A": 0, "B": 0})
        yield House(books)
        assert books.problems() == []
        books.engine.dispose()


# -- the first days -----------------------------------------------------------------------------------------


def test_the_first_admin_is_made_on_an_empty_table_only(house: House) -> None:
    with house.books.engine.connect() as txn:
        assert staff.is_empty(txn)
    house.hire("wang")
    with pytest.raises(StaffError, match="staff already"):
        house.at_desk(lambda desk: staff.first_admin_txn(desk, "li", "Li", "x"))
    assert house.row("wang").role == Role.ADMIN
    assert house.row("wang").password_hash.startswith("$argon2id$")


def test_the_first_login_sets_password_and_authenticator_and_nothing_else_is_open_before(
    house: House,
) -> None:
    house.hire("wang")
    form = StaffForm("zhao", "Zhao", "finance")
    house.at_desk(lambda desk: staff.add_staff_txn(desk, form, PASSWORDS.hash(INITIAL)))
    found = house.sign_in("zhao", INITIAL, "")
    assert isinstance(found, Person)
    with house.books.engine.connect() as txn:
        assert staff.person_txn(txn, "zhao") is None
    secret = house.secret("zhao")
    good = code_of(secret, step_of(house.books.clock.ms))
    for password, code in ((INITIAL, good), ("short", good), ("zhao-zhao-zhao", good), (OWN, "000000")):
        with pytest.raises(StaffError):
            house.at_desk(
                lambda desk, p=password, c=code: enrol_txn(desk, found, p, secret, c, PASSWORDS, house.ring)
            )
    person = house.enrol("zhao")
    with house.books.engine.connect() as txn:
        assert staff.person_txn(txn, "zhao") == person
    with pytest.raises(StaffError, match="over"):  # the same first login again
        house.at_desk(lambda desk: enrol_txn(desk, found, OWN + "2", secret, good, PASSWORDS, house.ring))
    assert secret not in bytes(house.row("zhao").totp_wrapped)


@pytest.mark.parametrize(
    ("form", "why"),
    [
        (StaffForm("W", "Wang", "clerk", "A"), "login"),
        (StaffForm("machine", "Wang", "admin"), "login"),
        (StaffForm("wang two", "Wang", "admin"), "login"),
        (StaffForm("li", " ", "admin"), "name"),
        (StaffForm("li", "Li", "boss"), "role"),
        (StaffForm("li", "Li", ""), "role"),
        (StaffForm("li", "Li", "clerk"), "scope"),
        (StaffForm("li", "Li", "manager"), "scope"),
        (StaffForm("li", "Li", "clerk", "NONE"), "no outlet NONE"),
        (StaffForm("wang", "Wang again", "admin"), "taken"),
    ],
    ids=lambda value: "" if isinstance(value, str) else f"{value.login} {value.role}",
)
def test_a_bad_form_adds_nobody(lean_house: House, form: StaffForm, why: str) -> None:
    lean_house.hire("wang")
    with pytest.raises(StaffError, match=why):
        lean_house.at_desk(lambda desk: staff.add_staff_txn(desk, form, "x"))
    assert lean_house.books.value("SELECT count(*) FROM staff") == 1


@pytest.mark.parametrize("password", ["", "short", "x" * 129, "aaaaaaaaaaaaaa", "my name is wang!"])
def test_weak_passwords(password: str) -> None:
    with pytest.raises(StaffError):
        check_password(password, "wang")


def test_initial_passwords_are_long_and_unlike() -> None:
    chance = Chance()
    made = {random_password(chance) for _ in range(20)}
    assert len(made) == 20
    assert all(len(password) == 16 for password in made)


# -- logging in ---------------------------------------------------------------------------------------------


def test_password_and_code_let_in_and_a_code_counts_once(house: House) -> None:
    wang = house.hire("wang")
    house.books.wait(MINUTE)
    assert house.sign_in("wang") == wang
    assert isinstance(house.sign_in("wang"), Denied)  # the same code, replayed
    house.books.wait(MINUTE)
    assert house.sign_in("wang") == wang
    assert isinstance(house.sign_in("wang", code=house.code("wang", -1)), Denied)  # an earlier one after it


WRONG_WAYS: list[tuple[str, dict[str, Any]]] = [
    ("a wrong password", {"password": "wrong password"}),
    ("no password", {"password": ""}),
    ("the initial password", {"password": INITIAL}),
    ("a wrong code", {"code": "000000"}),
    ("no code", {"code": ""}),
    ("a code of ten minutes ago", {"code": "old"}),
]


@pytest.mark.parametrize("more", [row[1] for row in WRONG_WAYS], ids=[row[0] for row in WRONG_WAYS])
def test_whatever_is_wrong_is_answered_alike_and_counted(lean_house: House, more: dict[str, Any]) -> None:
    lean_house.hire("wang")
    lean_house.books.wait(20 * MINUTE)
    if more.get("code") == "old":
        more = {"code": lean_house.code("wang", -20)}
    said = lean_house.sign_in("wang", **more)
    nobody = lean_house.sign_in("nobody", code="000000")
    assert said == nobody == Denied("login, password or code is wrong")
    assert lean_house.row("wang").fails == 1
    assert lean_house.books.value("SELECT count(*) FROM audit WHERE action = 'alarm.login'") == 2


def test_five_wrong_ones_lock_for_a_quarter_of_an_hour_whatever_comes_then(house: House) -> None:
    wang = house.hire("wang")
    house.books.wait(MINUTE)
    said = [house.sign_in("wang", "wrong") for _ in range(5)]
    assert isinstance(said[4], Denied)
    assert "locked out for 15 minutes" in said[4].why
    locked = house.sign_in("wang")
    assert isinstance(locked, Denied)
    assert "15 minutes more" in locked.why
    house.books.wait(15 * MINUTE)
    assert house.sign_in("wang") == wang
    assert house.row("wang").fails == 0


def test_a_right_login_forgets_the_wrong_ones(house: House) -> None:
    house.hire("wang")
    for _ in range(3):
        house.books.wait(MINUTE)
        assert [isinstance(house.sign_in("wang", "wrong"), Denied) for _ in range(4)] == [True] * 4
        assert isinstance(house.sign_in("wang"), Person)


def test_blocked_reset_and_unblocked(house: House) -> None:
    house.hire("wang")
    house.hire("zhao", "risk")
    house.at_desk(lambda desk: staff.block_staff_txn(desk, "zhao"))
    house.books.wait(MINUTE)
    assert house.sign_in("zhao") == Denied("zhao is blocked: ask an admin")
    with pytest.raises(StaffError, match="blocked already"):
        house.at_desk(lambda desk: staff.block_staff_txn(desk, "zhao"))
    house.at_desk(lambda desk: staff.unblock_staff_txn(desk, "zhao"))
    house.books.wait(MINUTE)
    assert isinstance(house.sign_in("zhao"), Person)
    house.at_desk(lambda desk: staff.reset_staff_txn(desk, "zhao", PASSWORDS.hash(INITIAL)))
    house.books.wait(MINUTE)
    assert isinstance(house.sign_in("zhao"), Denied)
    assert house.enrol("zhao").login == "zhao"


def test_the_last_admin_stays(house: House) -> None:
    house.hire("wang")
    for work in (
        lambda desk: staff.block_staff_txn(desk, "wang"),
        lambda desk: staff.change_role_txn(desk, "wang", "risk"),
    ):
        with pytest.raises(StaffError, match="last admin"):
            house.at_desk(work)
    house.hire("li")
    house.at_desk(lambda desk: staff.change_role_txn(desk, "wang", "risk"))
    assert house.row("wang").role == "risk"
    with pytest.raises(StaffError, match="nobody"):
        house.at_desk(lambda desk: staff.change_role_txn(desk, "sun", "risk"))


def test_a_new_password_is_a_new_one(house: House) -> None:
    wang = house.hire("wang")
    with pytest.raises(StaffError, match="there was"):
        house.at_desk(lambda desk: new_password_txn(desk, wang, OWN, PASSWORDS))
    house.at_desk(lambda desk: new_password_txn(desk, wang, "another long one", PASSWORDS))
    house.books.wait(MINUTE)
    assert isinstance(house.sign_in("wang"), Denied)
    house.books.wait(MINUTE)
    assert isinstance(house.sign_in("wang", "another long one"), Person)


# -- sessions -----------------------------------------------------------------------------------------------


def resume(house: House, token: str) -> tuple[Person, sessions.Session]:
    with house.books.engine.connect() as txn:
        return sessions.resume(txn, token, house.ring, house.books.clock.ms)


def test_a_session_lives_fifteen_minutes_from_use_and_eight_hours_in_all(house: House) -> None:
    wang = house.hire("wang")
    session = sessions.begin(wang, house.books.clock.ms)
    for _ in range(32):
        house.books.wait(15 * MINUTE)
        person, session = resume(house, sessions.token_of(session, house.ring))
        assert person == wang
    house.books.wait(1)
    with pytest.raises(SessionError, match="over"):
        resume(house, sessions.token_of(session, house.ring))


def test_a_session_unused_or_from_another_clock_is_over(house: House) -> None:
    token = sessions.token_of(sessions.begin(house.hire("wang"), house.books.clock.ms), house.ring)
    house.books.wait(-2 * MINUTE)
    with pytest.raises(SessionError, match="over"):
        resume(house, token)
    house.books.wait(17 * MINUTE + 1)
    with pytest.raises(SessionError, match="over"):
        resume(house, token)


@pytest.mark.parametrize("what", ["block", "role", "reset", "password"])
def test_a_session_ends_with_what_it_rested_on(lean_house: House, what: str) -> None:
    lean_house.hire("wang")
    zhao = lean_house.hire("zhao", "risk")
    token = sessions.token_of(sessions.begin(zhao, lean_house.books.clock.ms), lean_house.ring)
    assert resume(lean_house, token)[0] == zhao
    works: dict[str, Any] = {
        "block": lambda desk: staff.block_staff_txn(desk, "zhao"),
        "role": lambda desk: staff.change_role_txn(desk, "zhao", "finance"),
        "reset": lambda desk: staff.reset_staff_txn(desk, "zhao", "x"),
        "password": lambda desk: new_password_txn(desk, zhao, "another long one", PASSWORDS),
    }
    lean_house.at_desk(works[what])
    with pytest.raises(SessionError, match="ended"):
        resume(lean_house, token)


def test_a_token_that_was_touched_made_up_or_sealed_for_something_else_is_none(house: House) -> None:
    wang = house.hire("wang")
    token = sessions.token_of(sessions.begin(wang, house.books.clock.ms), house.ring)
    other = type(house.ring)({}, {1: bytes(32)}, Chance())
    foreign = sessions.token_of(sessions.begin(wang, house.books.clock.ms), other)
    flipped = [token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :] for at in range(0, 60, 7)]
    for bad in ("", "x", "é", "AAAA", token[:-8], foreign, *flipped):
        with pytest.raises(SessionError):
            resume(house, bad)


# -- rights -------------------------------------------------------------------------------------------------


def test_every_action_has_somebody_and_every_request_somebody_else() -> None:
    for name, action in ACTIONS.items():
        assert action.by, name
    for kind in (*KINDS, "ruling", "release", "entry", "credit"):
        assert ACTIONS[kind].check, f"{kind} is confirmed by nobody"
    assert not [name for name, action in ACTIONS.items() if Role.AUDITOR in action.check]


MAY = [
    # role       action            may do  may confirm
    ("clerk", "outlet.freeze", True, False),
    ("clerk", "pin.reset", True, False),
    ("clerk", "funding", True, False),
    ("clerk", "staff.add", False, False),
    ("clerk", "keys.export", False, False),
    ("manager", "pin.reset", True, True),
    ("manager", "funding", True, False),
    ("finance", "funding", True, True),
    ("finance", "pin.reset", False, False),
    ("finance", "ruling", True, True),
    ("risk", "rules.activate", True, True),
    ("risk", "funding", False, False),
    ("auditor", "outlet.show", True, False),
    ("auditor", "outlet.freeze", False, False),
    ("admin", "staff.add", True, True),
    ("admin", "keys.export", True, True),
    ("admin", "funding", False, False),
    ("admin", "no.such-action", False, False),
]


@pytest.mark.parametrize(("role", "action", "does", "confirms"), MAY)
def test_what_is_not_named_is_denied(
    lean_house: House, role: str, action: str, does: bool, confirms: bool
) -> None:
    person = Person(1, "somebody", Role(role))
    with lean_house.books.engine.connect() as txn:
        for confirming, may in ((False, does), (True, confirms)):
            if may:
                check_txn(txn, person, action, confirming=confirming)
            else:
                with pytest.raises(NotAllowed, match=role):
                    check_txn(txn, person, action, confirming=confirming)


def test_every_entry_by_hand_shares_one_row(house: House) -> None:
    with house.books.engine.connect() as txn:
        for what in ENTRIES:
            check_txn(txn, Person(1, "zhou", Role.FINANCE), what, confirming=True)
            with pytest.raises(NotAllowed):
                check_txn(txn, Person(1, "wang", Role.ADMIN), what, confirming=True)


def tree(house: House) -> dict[str, int]:
    """A province with two cities; a distributor with a shop below the first."""
    outlet, account = metadata.tables["outlet"], metadata.tables["account"]
    rows = [("P", None, 1), ("C1", "P", 2), ("C2", "P", 2), ("D", "C1", 3), ("S", "D", 4)]
    numbers: dict[str, int] = {}
    with house.books.store.writing() as txn:
        for number, (code, above, level) in enumerate(rows, 5_000):
            txn.execute(
                insert(account).values(id=number, kind=2, owner_id=number, normal_side=-1, created_ms=0)
            )
            txn.execute(insert(metadata.tables["balance"]).values(account_id=number))
            place = {"level": level, "parent_id": numbers.get(above or "")}
            txn.execute(insert(outlet).values(id=number, code=code, float_id=number, created_ms=0, **place))
            numbers[code] = number
    return numbers


def test_a_scope_is_an_outlet_and_all_below_it(house: House) -> None:
    number = tree(house)
    with house.books.engine.connect() as txn:
        within = [code for code in number if is_within(txn, number["C1"], number[code])]
        assert within == ["C1", "D", "S"]
        manager = Person(1, "sun", Role.MANAGER, number["C1"])
        check_txn(txn, manager, "outlet.freeze", [number["S"], number["C1"]])
        for outside in ("P", "C2"):
            with pytest.raises(NotAllowed, match="outside"):
                check_txn(txn, manager, "outlet.freeze", [number["S"], number[outside]])
        with pytest.raises(NotAllowed, match="not about an outlet"):
            check_txn(txn, manager, "outlet.freeze", [])
        check_txn(txn, Person(1, "qian", Role.RISK), "outlet.freeze", [number["C2"]])


def test_a_broken_tree_lets_nobody_in(house: House) -> None:
    number = tree(house)
    outlet = metadata.tables["outlet"]
    with house.books.store.writing() as txn:
        txn.execute(update(outlet).where(outlet.c.code == "P").values(parent_id=number["S"]))
    with house.books.engine.connect() as txn:
        assert not is_within(txn, number["C2"], number["S"])
    with house.books.store.writing() as txn:
        txn.execute(update(outlet).where(outlet.c.code == "P").values(parent_id=None))
        assert txn.execute(select(outlet.c.parent_id).where(outlet.c.code == "P")).scalar() is None
