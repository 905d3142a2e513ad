"""A file of outlets against the ledger: what it would add and change, everything that is wrong, and the doing of it.

All or nothing, in one transaction. An outlet that is not there is founded, with a random PIN that must be changed; of
one that is there, master data and the parent may change; what has a command of its own (level, status, numbers,
terminals, PIN policy) must stand in the file as it is, or not at all. So an exported file imports again unchanged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import update

from aircharge.ledger.audit import append_audits_txn
from aircharge.ledger.chart import LEVEL_CITY, OUTLET_CLOSED, OUTLET_PENDING, OUTLET_SUSPENDED
from aircharge.ledger.dialect import dialect_of
from aircharge.ledger.tables import metadata
from aircharge.outlets.desk import Desk, RegistryError, lock_registry_txn
from aircharge.outlets.fields import BY_NAME, Weight, check_contract, defaults, weighed
from aircharge.outlets.founding import Plan, found_txn
from aircharge.outlets.known import Known, known_of
from aircharge.outlets.pins import PinHash, random_pin
from aircharge.outlets.profile import differences, write_profile_txn
from aircharge.outlets.sheets import Fault, read_sheet
from aircharge.outlets.telling import tell_outlet_txn
from aircharge.outlets.tree import check_place, note_move
from aircharge.outlets.wishes import Wish, read_wishes
from aircharge.values import Pin, mask_msisdn

__all__ = ["Change", "Draft", "Powers", "draft_txn", "import_txn"]

_outlet = metadata.tables["outlet"]
_MARK: Final = 16  # of a file's SHA-256 these digits stand in each outlet's audit row
_OWN_COMMAND: Final = "is changed by a command of its own"


@dataclass(frozen=True, slots=True)
class Powers:
    """What whoever brings a file may do by it: no more than by the commands for a single outlet."""

    inside: Collection[int] | None = (
        None  # the only outlets to be changed, or to have others put below; None = all
    )
    may_move: bool = True  # the right to ``outlet.move``
    alone: bool = False  # what takes two people is done at once: a house without staff


_ALL: Final = Powers()


@dataclass(slots=True)
class Change:
    """What a file changes of an outlet that is there. ``shown``: {field: [before, after]}, as it may be seen."""

    code: str
    outlet_id: int
    values: dict[str, Any]
    shown: dict[str, list[str]]
    parent: list[str] = field(default_factory=list)  # [before, after] when it moves


@dataclass(slots=True)
class Draft:
    """What a file would do. Nothing of it may be done while there is a fault."""

    digest: str
    faults: list[Fault] = field(default_factory=list)
    new: list[Plan] = field(default_factory=list)  # parents before children
    changes: list[Change] = field(default_factory=list)
    unchanged: int = 0
    parents: dict[str, int] = field(default_factory=dict)  # numbers of outlets that are there, by code
    heavy: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """What takes two people and is left out: outlet's code, kind of request (``fields.Weight``), fields as written."""


def draft_txn(desk: Desk, octets: bytes, encoding: str = "", powers: Powers = _ALL) -> Draft:
    """Check a file against the ledger without changing anything.

    Raises RegistryError for a file that cannot be read at all.
    """
    sheet = read_sheet(octets, desk.settings, encoding)
    draft = Draft(hashlib.sha256(octets).hexdigest(), sheet.faults)
    wishes = read_wishes(sheet)
    known = known_of(desk.txn, wishes)
    draft.parents = {code: outlet.outlet_id for code, outlet in known.outlets.items()}
    places = {code: (outlet.level, outlet.status) for code, outlet in known.outlets.items()}
    places |= {wish.code: _new_place(wish) for wish in wishes if wish.code not in places}
    for wish in wishes:
        if wish.code in known.outlets:
            _draft_change(draft, wish, known, places, powers)
        else:
            _draft_new(desk, draft, wish, known, places, powers)
    draft.new.sort(key=lambda plan: plan.values["level"])
    draft.faults.sort()
    return draft


def import_txn(
    desk: Desk,
    octets: bytes,
    pins: PinHash,
    token: Callable[[int], bytes],
    encoding: str = "",
    powers: Powers = _ALL,
) -> tuple[Draft, list[tuple[str, Pin]]]:
    """Do what a file says; returns what it was, and the new outlets' PINs, which are kept nowhere else.

    With a fault nothing is done and no PIN is returned. ``token``: so many unpredictable octets. What takes two people
    is left out (``Draft.heavy``), and is the caller's to ask for.
    """
    lock_registry_txn(desk.txn)
    draft = draft_txn(desk, octets, encoding, powers)
    if draft.faults:
        return draft, []
    found_txn(desk, draft.new, draft.parents)
    initial = _give_pins(desk, draft.new, pins, token)
    numbers = draft.parents | {plan.code: plan.outlet_id for plan in draft.new}
    for change in draft.changes:
        write_profile_txn(desk, change.outlet_id, change.values)
        if change.shown:
            tell_outlet_txn(desk, change.outlet_id, "profile", " ".join(change.shown))
        if change.parent:
            parent_id = numbers.get(change.parent[1])
            moved = update(_outlet).where(_outlet.c.id == change.outlet_id).values(parent_id=parent_id)
            desk.txn.execute(moved)
            note_move(desk, change.outlet_id, parent_id)
    append_audits_txn(desk.txn, desk.now_ms, desk.actor, _audit_rows(draft, len(octets)))
    return draft, initial


# -- an outlet that is not there ----------------------------------------------------------------------------


def _new_place(wish: Wish) -> tuple[int, int]:
    base = defaults()
    level = wish.values.get("level", base["level"])
    return level, wish.values.get("status", OUTLET_PENDING)


def _draft_new(
    desk: Desk,
    draft: Draft,
    wish: Wish,
    known: Known,
    places: Mapping[str, tuple[int, int]],
    powers: Powers,
) -> None:
    fault = _Faults(draft, wish)
    usual = defaults() | {"status": OUTLET_PENDING}
    values = usual | wish.values
    if values["status"] > OUTLET_SUSPENDED:
        fault("status", "a new outlet is pending, active or suspended")
    phones, terminals, parent = wish.phones or (), wish.terminals or (), wish.parent or ""
    if not phones and values["level"] > LEVEL_CITY and not wish.is_faulty("phones"):
        fault("phones", "an outlet needs a phone")
    if len(phones) > desk.settings.phones_max:
        fault("phones", f"more than {desk.settings.phones_max} numbers")
    for digits, _ in phones:
        if digits in known.phones:
            fault("phones", f"number {mask_msisdn(digits)} is bound to an outlet already")
    for code, _ in terminals:
        if code in known.terminals:
            fault("terminals", f"terminal {code} exists already")
    _check_contract(fault, values)
    _check_parent(fault, wish, parent, values["level"], places)
    _check_inside(fault, parent, known, places, powers.inside)
    if not powers.alone:
        _leave_heavy(draft, wish.code, usual, values, is_new=True)
    draft.new.append(Plan(wish.code, values, parent, phones, terminals))


# -- one that is there ----------------------------------------------------------------------------------------


def _draft_change(
    draft: Draft,
    wish: Wish,
    known: Known,
    places: Mapping[str, tuple[int, int]],
    powers: Powers,
) -> None:
    fault = _Faults(draft, wish)
    was = known.outlets[wish.code]
    if powers.inside is not None and was.outlet_id not in powers.inside:
        fault("code", "that outlet is outside the part of the tree you work in")
        return
    after = was.values | wish.values
    changed = differences(was.values, after)
    for name in changed:
        if BY_NAME[name].weight is Weight.OWN:
            fault(name, f"{_OWN_COMMAND}; it is {BY_NAME[name].seen(was.values[name])} now")
    if wish.phones is not None and set(wish.phones) != was.phones:
        fault("phones", f"{_OWN_COMMAND}: outlet phone")
    if wish.terminals is not None and set(wish.terminals) != was.terminals:
        fault("terminals", f"{_OWN_COMMAND}: outlet terminal")
    moves = wish.parent is not None and wish.parent != was.parent
    if not changed and not moves:
        draft.unchanged += 1
        return
    if was.status == OUTLET_CLOSED:
        fault("", f"outlet {wish.code} is closed")
    _check_contract(fault, after)
    if not powers.alone:
        _leave_heavy(draft, wish.code, was.values, after)
        changed = differences(was.values, after)
        if not changed and not moves:
            return
    change = Change(wish.code, was.outlet_id, {name: after[name] for name in changed}, changed)
    if moves:
        parent = wish.parent or ""
        if not powers.may_move:
            fault("parent", f"it stands below {was.parent or 'nobody'}: you may not move outlets")
        _check_parent(fault, wish, parent, was.level, places)
        _check_inside(fault, parent, known, places, powers.inside)
        change.parent = [was.parent, parent]
    draft.changes.append(change)


def _leave_heavy(
    draft: Draft, code: str, before: Mapping[str, Any], after: dict[str, Any], *, is_new: bool = False
) -> None:
    """What takes two people is put back to what it was, and noted."""
    found = weighed(before, after, is_new=is_new)
    for kind in (Weight.MONEY, Weight.GUARD):
        if found[kind]:
            fields = {name: BY_NAME[name].show(after[name]) for name in found[kind]}
            draft.heavy.append((code, kind.value, fields))
            after.update({name: before[name] for name in found[kind]})


# -- checks both have ------------------------------------------------------------------------------------------


class _Faults:
    """Notes what is wrong with one line."""

    def __init__(self, draft: Draft, wish: Wish) -> None:
        self._draft, self._line = draft, wish.line

    def __call__(self, column: str, text: str) -> None:
        self._draft.faults.append(Fault(self._line, column, text))


def _check_contract(fault: _Faults, values: Mapping[str, Any]) -> None:
    try:
        check_contract(values)
    except RegistryError as error:
        fault("contract_until", str(error))


def _check_parent(
    fault: _Faults, wish: Wish, parent: str, level: int, places: Mapping[str, tuple[int, int]]
) -> None:
    if not parent:
        return
    if parent not in places:
        fault("parent", f"no outlet {parent}")
        return
    try:
        check_place(wish.code, level, parent, *places[parent])
    except RegistryError as error:
        fault("parent", str(error))


def _check_inside(
    fault: _Faults,
    parent: str,
    known: Known,
    places: Mapping[str, tuple[int, int]],
    inside: Collection[int] | None,
) -> None:
    """Below whom it is put must be inside, or be put inside by the same file."""
    if inside is None or (parent in places and parent not in known.outlets):
        return
    if not parent or parent not in known.outlets or known.outlets[parent].outlet_id not in inside:
        fault("parent", "that place is outside the part of the tree you work in")


# -- what is written beside the outlets --------------------------------------------------------------------------


def _give_pins(
    desk: Desk, plans: Sequence[Plan], pins: PinHash, token: Callable[[int], bytes]
) -> list[tuple[str, Pin]]:
    """A random PIN, to be changed at first, for every new outlet that has a phone."""
    rows, initial = [], []
    version = pins.newest
    for plan in plans:
        if not plan.phones:
            continue
        pin, salt = Pin(random_pin(token(64), tuple(digits for digits, _ in plan.phones))), token(16)
        mac = pins.mac(version, plan.outlet_id, salt, pin.secret)
        rows.append((plan.outlet_id, mac, salt, version, desk.now_ms, 1))
        initial.append((plan.code, pin))
    if rows:
        columns = "outlet_id, pin_mac, salt, pepper_ver, changed_ms, must_change"
        dialect_of(desk.txn.engine).insert(desk.txn, "credential", columns, rows)
    return initial


def _audit_rows(draft: Draft, octets: int) -> list[tuple[str, str, dict[str, Any]]]:
    mark = draft.digest[:_MARK]
    counts = {"new": len(draft.new), "changed": len(draft.changes), "unchanged": draft.unchanged}
    rows: list[tuple[str, str, dict[str, Any]]] = [
        ("outlet.import", mark, {"sha256": draft.digest, "octets": octets, **counts})
    ]
    for plan in draft.new:
        shown = {name: BY_NAME[name].seen(plan.values[name]) for name in ("name", "level", "status")}
        phones = [mask_msisdn(digits) for digits, _ in plan.phones]
        detail = {"import": mark, "parent": plan.parent, "phones": phones, **shown}
        rows.append(("outlet.add", plan.code, detail))
    for change in draft.changes:
        if change.shown:
            rows.append(("outlet.change", change.code, {"import": mark, **change.shown}))
        if change.parent:
            rows.append(("outlet.move", change.code, {"import": mark, "parent": change.parent}))
    return rows
