"""Role × action × scope × way in: every cell of the table of rights is tried, and what it does not say is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aircharge.config import load
from aircharge.instance import Instance, Ports, Shop
from aircharge.office import Office
from aircharge.outlets.reach import check_action_txn
from aircharge.outlets.registry import OutletForm
from aircharge.outlets.requests import KINDS, outlets_of
from aircharge.outlets.rights import ACTIONS, NotAllowed, Person, Role, check_txn
from aircharge.outlets.staff import StaffForm, add_staff_txn, first_admin_txn
from aircharge.outlets.terminals import add_terminal_txn
from aircharge.values import Pin

ICCIDS = {"A1": "89860000000000000001", "B1": "89860000000000000002"}
SHOPS = [Shop("A1", "13900000001", ICCIDS["A1"]), Shop("B1", "13900000002", ICCIDS["B1"])]

WHOLE_HOUSE = frozenset(
    [
        "key.accept",
        "reconciled",
        "clock.accept",
        "outlet.found",
        "transfer-rule.add",
        "transfer-rule.on",
        "transfer-rule.off",
        "alarms",
        "money.commission",
        "money.bank-ask",
        "personalise",
        "day.cut",
        "day.close",
        "product.add",
        "product.on",
        "product.off",
        "product.end",
        "price.add",
        "price.end",
        "limit.add",
        "limit.profile",
        "limit.on",
        "limit.off",
        "rules.draft",
        "terminal.key.rewrap",
        "keys.export",
        "rules.activate",
        "rules.retire",
        "bank",
    ]
)
"""For nobody who works in a part of the tree, said once more in a test: an action is not taken off by mistake."""
ANYWHERE = frozenset(
    [
        "language",
        "fund.list",
        "money.list",
        "day.list",
        "seal.head",
        "seal.check",
        "staff.list",
        "staff.password",
        "product.list",
        "price.list",
        "limit.list",
        "transfer-rule.list",
        "list.show",
        "rules.list",
        "rules.show",
        "rules.dry-run",
    ]
)
"""These name no outlet and change nothing of one; each stands here because somebody thought of it."""
ITSELF = frozenset(
    [
        "outlet.list",
        "terminal.list",
        "terminal.batches",
        "terminal.unsettled",
        "terminal.key.file",
        "terminal.key.component-file",
        "terminal.key.generate",
        "terminal.key.compare",
        "outlet.import",
        "outlet.export",
        "fund.file",
        "reversal.list",
        "request.list",
        "request.approve",
        "request.decline",
        "parked.list",
        "fund.confirm",
        "money.confirm",
        "money.decline",
        "money.bank-book",
        "batch.start",
    ]
)
"""The command looks itself at each thing it names (``inside``, requests)."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A1 and B1, each with a card, a terminal and a clerk; wang works for the whole house."""
    folder: Path = tmp_path_factory.mktemp("rights")
    Instance(folder, Ports()).create(SHOPS)
    office = Office(load(folder / "aircharge.toml"))
    with office.desk("nobody") as work:
        first_admin_txn(work, "wang", "Wang", "x")
        for code in ("A1", "B1"):
            add_staff_txn(work, StaffForm(f"of-{code.lower()}", "x", "clerk", code), "x")
            add_terminal_txn(work, code, f"T-{code}")
    yield office
    office.close()


def person(office: Office, role: Role, scope: str) -> Person:
    with office.store.engine.connect() as txn:
        [scope_id] = outlets_of(txn, {"outlet": scope}) if scope else [None]
    return Person(7, "somebody", role, scope_id)


def arguments(action: str, code: str) -> dict[str, Any]:
    """What a command names when it is about that outlet."""
    within = ACTIONS[action].within
    return {
        "code": {"code": code},
        "parent": {"parent": code},
        "iccid": {"iccid": ICCIDS.get(code, "")},
        "terminal": {"terminal": f"T-{code}"},
        "login": {"login": f"of-{code.lower()}"},
        "subject": {"subject": "outlet", "value": code},
    }.get(within, {})


def is_allowed(office: Office, who: Person, action: str, named: dict[str, Any]) -> bool:
    """The same word from the check before a command and from the desk it is done at."""
    with office.store.engine.connect() as txn:
        try:
            check_action_txn(txn, who, action, named, office.clock.now_ms())
        except NotAllowed:
            before = False
        else:
            before = True
    office.person = who
    try:
        with office.desk(who.login, action, **named):
            within = True
    except NotAllowed:
        within = False
    finally:
        office.person = None
    assert before is within, action
    return before


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_every_cell(desk: Office, action: str) -> None:
    row = ACTIONS[action]
    named = row.within in ("code", "parent", "iccid", "terminal", "login", "subject")
    for role in Role:
        is_role = role in row.by
        for code in ("A1", "B1"):
            said = arguments(action, code)
            assert is_allowed(desk, person(desk, role, ""), action, said) is is_role
            inside = action not in WHOLE_HOUSE and (code == "A1" if named else action in ANYWHERE | ITSELF)
            assert is_allowed(desk, person(desk, role, "A1"), action, said) is (is_role and inside), (
                role,
                code,
            )
        if named:  # what is not there, or is nobody's, is in nobody's part
            assert not is_allowed(desk, person(desk, role, "A1"), action, arguments(action, "NONE") or {})
            assert not is_allowed(desk, person(desk, role, "A1"), action, {})


def test_every_action_is_of_one_class() -> None:
    """An action that names no outlet is the whole house's, or somebody has said why it is not."""
    for action, row in ACTIONS.items():
        classes = [action in WHOLE_HOUSE, action in ANYWHERE, action in ITSELF]
        if row.within == "-" or row.within in ("inside", "house", "request", "requests"):
            assert sum(classes) == 1, action


def test_whom_a_part_of_the_tree_reaches(desk: Office) -> None:
    """People of the whole house, customers' numbers and other parts are out of reach, also as a new scope."""
    some = person(desk, Role.RISK, "A1")
    admin = person(desk, Role.ADMIN, "A1")
    assert is_allowed(desk, some, "staff.block", {"login": "of-a1"})
    assert not is_allowed(desk, some, "staff.block", {"login": "wang"})
    assert not is_allowed(desk, some, "list.add", {"subject": "target", "value": "13812345678"})
    assert not is_allowed(desk, some, "list.add", {"subject": "phone", "value": "13900000002"})
    assert is_allowed(desk, some, "list.add", {"subject": "phone", "value": "13900000001"})
    for scope, is_right in (("A1", True), ("B1", False), ("", False)):
        assert is_allowed(desk, admin, "staff.role", {"login": "of-a1", "scope": scope}) is is_right
        assert is_allowed(desk, admin, "staff.add", {"login": "new", "scope": scope}) is is_right


def test_every_kind_of_request_by_role_and_scope(desk: Office) -> None:
    """Asking and confirming: who may not by role, and nobody of a part about another part or the whole house."""
    for kind in sorted(KINDS):
        row = ACTIONS[kind]
        for confirming, roles in ((False, row.by), (True, row.check)):
            for role in Role:
                for payload in ({"outlet": "B1"}, {}):
                    for scope in ("", "A1"):
                        is_right = role in roles and not scope
                        with desk.store.engine.connect() as txn:
                            try:
                                found = outlets_of(txn, payload)
                                check_txn(txn, person(desk, role, scope), kind, found, confirming=confirming)
                            except NotAllowed:
                                assert not is_right, (kind, role, scope)
                            else:
                                assert is_right, (kind, role, scope)


def test_an_auditor_does_nothing_by_any_act_of_the_office(desk: Office) -> None:
    """The rights stand in the acts, not only in the command line."""
    acts: list[Any] = [
        lambda: desk.freeze("A1", actor="somebody"),
        lambda: desk.freeze("A1", actor="somebody", lift=True),
        lambda: desk.add_outlet(OutletForm("N1", "", ("13900000077",)), Pin("736194"), actor="somebody"),
        lambda: desk.set_duress("A1", Pin("630284"), actor="somebody"),
        lambda: desk.add_card("A1", "89860000000000000009", "13900000001", actor="somebody"),
        lambda: desk.block_card(ICCIDS["A1"], actor="somebody"),
        lambda: desk.block_card(ICCIDS["A1"], actor="somebody", lift=True),
        lambda: desk.set_language("13812345678", "en", actor="somebody"),
        lambda: desk.propose_funding("A1", 100, "s", maker="somebody"),
        lambda: desk.propose_funding_rows([{"outlet": "A1", "amount": "1", "slip": "s"}], maker="somebody"),
        lambda: desk.approve_funding(1, checker="somebody"),
        lambda: desk.desk("somebody").__enter__(),
        lambda: desk.run([]),
    ]
    desk.person = person(desk, Role.AUDITOR, "")
    try:
        for act in acts:
            with pytest.raises(NotAllowed, match=r"auditor|two people|no right is named"):
                act()
    finally:
        desk.person = None
