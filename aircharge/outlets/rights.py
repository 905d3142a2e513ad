"""Who may do what: one table of actions and roles, and within which part of the tree. What is not named is denied.

An action's name is its command's ("outlet.freeze") or the name of a request (``requests.KINDS``, ``entries.ENTRIES``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, select

from aircharge.errors import AirchargeError
from aircharge.ledger.entries import ENTRIES
from aircharge.ledger.tables import metadata

__all__ = [
    "ACTIONS",
    "FREE",
    "SCOPED",
    "Action",
    "NotAllowed",
    "Person",
    "Role",
    "check_txn",
    "codes_within",
    "ids_within",
    "is_within",
]

_outlet = metadata.tables["outlet"]
_DEPTH_MAX: Final = 16  # the tree has four levels; a chain longer than this is broken


class NotAllowed(AirchargeError):
    """This person may not do that: the message says which right is missing."""


class Role(StrEnum):
    """What a person is in the house."""

    CLERK = "clerk"  # his distributor's outlets
    MANAGER = "manager"  # account manager of a region
    FINANCE = "finance"
    RISK = "risk"
    AUDITOR = "auditor"  # sees everything, changes nothing
    ADMIN = "admin"  # people and keys; no money


SCOPED: Final = (Role.CLERK, Role.MANAGER)
"""Roles that work within a part of the tree, which must be named; the others may be given one."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of the staff who has proved it."""

    id: int
    login: str
    role: Role
    scope_id: int | None = None  # an outlet of the tree: it and all below it; None = the whole house
    changed_ms: int = 0  # sessions from before this are void


@dataclass(frozen=True, slots=True)
class Action:
    """``by``: who may do it or, where ``check`` names somebody, ask for it; one of ``check`` must confirm.

    ``within``: which argument of the command names the outlet ("code", "parent"), its card ("iccid"), its terminal
    ("terminal"), its order ("number"), somebody of the staff who works there ("login"), what is to be put on a list
    ("subject") or the requests to be decided ("request", "requests"), which must be of kinds
    the person may confirm; "payload" = the request's own says it; "inside" = the command looks itself; "-" = no
    single outlet is meant; "house" = it holds for all outlets: for nobody who works in a part of the tree.
    """

    by: frozenset[Role]
    check: frozenset[Role] = frozenset()
    within: str = "-"


_ROLES: Final = {
    "C": Role.CLERK,
    "M": Role.MANAGER,
    "F": Role.FINANCE,
    "R": Role.RISK,
    "U": Role.AUDITOR,
    "A": Role.ADMIN,
}


def _roles(letters: str) -> frozenset[Role]:
    return frozenset(_ROLES[letter] for letter in letters if letter != ".")


# C clerk, M manager, F finance, R risk, U auditor, A admin
_TABLE: Final = """
    action              by      confirm within
    outlet.add          CM....  ......  parent
    outlet.found        .....A  ...R.A  house
    outlet.card         CM....  ......  code
    outlet.freeze       CM.R..  ......  code
    outlet.block-card   CM.R..  ......  iccid
    outlet.pin          CM.R..  ......  code
    outlet.duress       CM....  ......  code
    outlet.list         CMFRUA  ......  inside
    outlet.show         CMFRUA  ......  code
    outlet.move         .M....  ......  code
    outlet.tree         CMFRUA  ......  code
    outlet.step         CM....  ......  code
    outlet.phone        CM....  ......  code
    outlet.lost-sim     CM.R..  ......  code
    outlet.release-phone CM.R.. ......  code
    outlet.terminal     CM....  ......  code
    outlet.profile      CM....  ......  code
    terminal.bind       CM....  ......  terminal
    terminal.block      CM.R..  ......  terminal
    terminal.unblock    CM.R..  .M.R..  terminal
    terminal.sign-out   CM.R..  ......  terminal
    terminal.list       CMFRUA  ......  inside
    terminal.show       CMFRUA  ......  terminal
    terminal.batches    CMFRUA  ......  inside
    terminal.batch      CMFRUA  ......  terminal
    terminal.unsettled  CMFRUA  ......  inside
    terminal.key.file   .....A  ......  inside
    terminal.key.component ...R.A ...... terminal
    terminal.key.component-file ...R.A ...... inside
    terminal.key.generate .....A ...... inside
    terminal.key.compare ...RUA ......  inside
    terminal.key.retire ...R.A  ......  terminal
    terminal.key.rewrap .....A  ......  house
    terminal.inject     ...R.A  ...R.A  payload
    outlet.import       CM....  ......  inside
    outlet.export       CMFRUA  ......  inside
    language            CM....  ......  -
    fund.ask            CMF...  ......  code
    fund.file           ..F...  ......  inside
    fund.list           CMFRUA  ......  -
    fund.confirm        ..F...  ......  requests
    money.ask           .MF...  ......  code
    money.credit        .MFR..  ......  code
    money.commission    ..F...  ......  house
    money.list          ..FRUA  ......  -
    money.confirm       ..F...  ......  requests
    money.decline       ..FR..  ......  requests
    money.transfer      CMF...  ......  code
    money.ticket        CMF...  ......  code
    money.undo-transfer .MF...  ......  number
    money.bank-ask      ..F...  ......  house
    money.bank-book     ..F...  ......  request
    undo-transfer       .MF...  ..FR..  payload
    transfer            CMF...  ..F...  payload
    ticket              CMF...  .MF...  payload
    batch.dry-run       CMFRUA  ......  code
    batch.ask           .MF...  ......  code
    batch.start         ..F...  ......  request
    batch.show          CMFRUA  ......  number
    batch.report        .MFRU.  ......  number
    batch.cancel        .MFR..  ......  number
    order.show          CMFRUA  ......  number
    order.resolve       .MFR..  ......  number
    order.release       .M.R..  ......  number
    order.decline       .M.R..  ......  number
    reversal.open       CM.R..  ......  number
    reversal.list       CMFRUA  ......  inside
    personalise         .....A  ......  house
    day.list            CMFRUA  ......  -
    day.cut             ..F...  ......  house
    day.close           ..F...  ......  house
    statement           CMFRUA  ......  code
    alarms              ..FRUA  ......  house
    seal.head           CMFRUA  ......  -
    seal.check          CMFRUA  ......  -
    request.list        CMFRUA  ......  inside
    request.approve     .MFR.A  ......  inside
    request.decline     .MFR.A  ......  inside
    staff.list          ...RUA  ......  -
    staff.add           .....A  ...R.A  login
    staff.role          .....A  ...R.A  login
    staff.block         ...R.A  ......  login
    staff.unblock       .....A  ...R.A  login
    staff.reset         .....A  ...R.A  login
    staff.password      CMFRUA  ......  -
    pin.reset           CM.R..  .M.R..  payload
    pin.unlock          CM.R..  .M.R..  payload
    outlet.unfreeze     CM.R..  .M.R..  payload
    card.unblock        CM.R..  .M.R..  payload
    phone.release       CM.R..  .M.R..  payload
    phone.rights        CM.R..  .M.R..  payload
    profile.money       CMF...  ..FR..  payload
    profile.guard       CM.R..  .M.R..  payload
    keys.export         .....A  ...R.A  payload
    key.accept          .....A  ...R.A  house
    reconciled          ..F..A  ..FR..  house
    clock.accept        ..F..A  ..FR..  house
    ruling              .MFR..  ..FR..  payload
    release             .M.R..  .M.R..  payload
    rules.activate      ...R..  ...R.A  payload
    rules.retire        ...R..  ...R.A  payload
    product.add         ..F...  ......  house
    product.list        CMFRUA  ......  -
    product.on          ..F...  ......  house
    product.off         ..FR..  ......  house
    product.end         ..F...  ......  house
    price.add           ..F...  ..FR..  house
    price.end           ..F...  ..FR..  house
    price.list          CMFRUA  ......  -
    limit.add           ...R..  ......  house
    limit.profile       ...R..  ......  house
    limit.on            ...R..  ......  house
    limit.off           ...R..  ...R.A  house
    limit.list          CMFRUA  ......  -
    transfer-rule.add   .MFR..  ..FR..  house
    transfer-rule.on    .MFR..  ..FR..  house
    transfer-rule.off   .MFR..  ......  house
    transfer-rule.list  CMFRUA  ......  -
    list.add            CM.R..  ......  subject
    list.white          ...R..  ...R.A  subject
    list.remove         ...R..  ...R.A  subject
    list.show           CMFRUA  ......  -
    rules.draft         ...R..  ......  house
    rules.list          ...RUA  ......  -
    rules.show          ...RUA  ......  -
    rules.dry-run       ...RU.  ......  -
    parked.list         CMFRUA  ......  inside
    entry               CMF...  ..F...  payload
    batch               .MF...  ..F...  payload
    bank                ..F...  ..F...  payload
    credit              .MFR..  ..FR..  payload
"""


def _read(table: str) -> dict[str, Action]:
    _, *lines = table.strip().splitlines()
    return {
        name: Action(_roles(by), _roles(check), within) for name, by, check, within in map(str.split, lines)
    }


ACTIONS: Final[dict[str, Action]] = _read(_TABLE)
"""Every action there is. Entries of money by hand share the row ``entry``."""

FREE: Final = frozenset(
    (
        "check-config",
        "init",
        "backup",
        "restore",
        "db.upgrade",
        "db.grant",
        "verify",
        "demo",
        "simulate",
        "prove",
        "audio.decode",
        "audio.answer",
        "login",
        "logout",
        "staff.init",
    )
)
"""Commands of whoever runs the machine: nobody's session is asked for."""


def check_txn(
    txn: Connection, person: Person, action: str, outlets: Iterable[int] = (), *, confirming: bool = False
) -> None:
    """Raises NotAllowed unless the table lets that role do (or confirm) it and every outlet is in the scope."""
    row = ACTIONS.get("entry" if action in ENTRIES else action)
    roles = frozenset[Role]() if row is None else row.check if confirming else row.by
    if person.role not in roles:
        verb = "confirm" if confirming else "do"
        raise NotAllowed(f"{person.login} is {person.role}: the role may not {verb} {action}")
    if person.scope_id is None:
        return
    numbers = list(outlets)
    if row is not None and row.within == "house":
        raise NotAllowed(f"{action} is for the whole house, {person.login} works in a part of the tree")
    if row is not None and row.within not in ("-", "inside") and not numbers:
        raise NotAllowed(f"{action} is not about an outlet {person.login} works for")
    for outlet_id in numbers:
        if not is_within(txn, person.scope_id, outlet_id):
            raise NotAllowed(f"that outlet is outside the part of the tree {person.login} works in")


def codes_within(txn: Connection, scope_id: int | None) -> set[str]:
    """The codes of an outlet and of all below it; None = of all there are."""
    rows = txn.execute(select(_outlet.c.id, _outlet.c.code, _outlet.c.parent_id)).all()
    if scope_id is None:
        return {row.code for row in rows}
    below: dict[int | None, list[Any]] = {}
    for row in rows:
        below.setdefault(row.parent_id, []).append(row)
    found, front = {row.code for row in rows if row.id == scope_id}, [scope_id]
    while front:
        children = [row for number in front for row in below.pop(number, ())]
        found |= {row.code for row in children}
        front = [row.id for row in children]
    return found


def ids_within(txn: Connection, scope_id: int) -> set[int]:
    """The numbers of an outlet and of all below it."""
    inside = codes_within(txn, scope_id)
    return {row.id for row in txn.execute(select(_outlet.c.id, _outlet.c.code)) if row.code in inside}


def is_within(txn: Connection, scope_id: int, outlet_id: int) -> bool:
    """Whether an outlet is that one or stands below it."""
    at: Any = outlet_id
    for _ in range(_DEPTH_MAX):
        if at == scope_id:
            return True
        if at is None:
            return False
        at = txn.execute(select(_outlet.c.parent_id).where(_outlet.c.id == at)).scalar()
    return False
