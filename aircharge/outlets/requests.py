"""Changes that need two people and move no money: one asks, another confirms, and one transaction does it.

A kind of request is a row of ``KINDS``: what it does once it is confirmed. Who may ask and who may confirm is
``rights.ACTIONS``. Asking tries the change in a savepoint that is taken back, so what could not be done is refused at
once. Money by hand has the same table and list, but its own rules: ``ledger.entries``; orders: ``ledger.ruling``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from aircharge.errors import AirchargeError
from aircharge.ledger.asked import LIFE_MS
from aircharge.ledger.on_behalf import ON_BEHALF
from aircharge.ledger.ruling import ABOUT_ORDERS, RELEASE, RULING, UNDO
from aircharge.ledger.tables import metadata
from aircharge.observe.logs import mask_text
from aircharge.outlets import staff
from aircharge.outlets.desk import RegistryError, digits_of, outlet_row
from aircharge.outlets.fields import BY_NAME
from aircharge.outlets.loosening import LOOSENING
from aircharge.outlets.on_behalf import check_on_behalf_txn
from aircharge.outlets.phones import release_phone_txn
from aircharge.outlets.pins import PinHash, random_pin
from aircharge.outlets.registry import (
    Desk,
    OutletForm,
    add_outlet_txn,
    block_card_txn,
    freeze_txn,
    set_pin_txn,
    unlock_pin_txn,
)
from aircharge.outlets.rulebook import activate_rules_txn, retire_rules_txn
from aircharge.outlets.signing_in import Passwords, random_half, random_password
from aircharge.outlets.standing import OF_THE_LEDGER
from aircharge.outlets.telling import tell_outlet_txn
from aircharge.outlets.terminal_injection import OF_TERMINALS
from aircharge.ports import Randomness
from aircharge.values import Operation, Pin, State, mask_msisdn

__all__ = [
    "KINDS",
    "Payload",
    "RequestError",
    "Tools",
    "apply_alone_txn",
    "approve_txn",
    "decline_txn",
    "expire_txn",
    "first_half",
    "masked",
    "outlets_of",
    "propose_txn",
    "request_txn",
    "waiting",
]

_t = metadata.tables["change_request"]
_order = metadata.tables["txn"]
_outlet = metadata.tables["outlet"]
_card = metadata.tables["card"]
_terminal = metadata.tables["terminal"]
_staff, _phone = metadata.tables["staff"], metadata.tables["outlet_phone"]
_SECOND: Final = "a second person"
_SHOWN: Final = 20  # of a list
_SEALED: Final = "sealed"  # keys of terminals, half a password's hash: gone when the request is closed
ASKED, APPROVED, DECLINED = range(3)

Payload = Mapping[str, Any]


class RequestError(AirchargeError):
    """The request cannot be made or decided: the message says why."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What changes are made with."""

    pins: PinHash
    chance: Randomness
    passwords: Passwords


# -- what each kind does; the returned sentence is for the person who confirms -------------------------------


def _found_outlet(desk: Desk, payload: Payload, tools: Tools) -> str:
    """An outlet below nobody: the top of a tree. With a phone it has a PIN that opens nothing but its own change."""
    code, phones = payload["outlet"], tuple(payload["phones"])
    form = OutletForm(code, payload["name"], phones, more={"level": payload["level"]})
    pin = Pin(random_pin(tools.chance.token(256), phones))
    add_outlet_txn(desk, form, pin, tools.pins, tools.chance.token(16), must_change=True)
    return f"{payload['level']} {code} added" + (f"; initial PIN {pin.secret}" if phones else "")


def _reset_pin(desk: Desk, payload: Payload, tools: Tools) -> str:
    code, pin = payload["outlet"], Pin(random_pin(tools.chance.token(256)))
    set_pin_txn(desk, code, pin, tools.pins, tools.chance.token(16), must_change=bool(payload["must_change"]))
    return f"outlet {code}: new PIN {pin.secret}"


def _unlock_pin(desk: Desk, payload: Payload, tools: Tools) -> str:
    unlock_pin_txn(desk, payload["outlet"])
    return f"outlet {payload['outlet']}: the PIN's lock is lifted"


def _unfreeze(desk: Desk, payload: Payload, tools: Tools) -> str:
    freeze_txn(desk, payload["outlet"], lift=True)
    tell_outlet_txn(desk, outlet_row(desk.txn, payload["outlet"]).id, "unfreeze")
    return f"outlet {payload['outlet']} is active"


def _unblock_card(desk: Desk, payload: Payload, tools: Tools) -> str:
    block_card_txn(desk, payload["iccid"], lift=True)
    return f"card {payload['iccid']} is active"


def _release_phone(desk: Desk, payload: Payload, tools: Tools) -> str:
    release_phone_txn(desk, payload["outlet"], payload["phone"], payload["note"])
    return f"outlet {payload['outlet']}: {mask_msisdn(payload['phone'])} may order at once"


def _export_keys(desk: Desk, payload: Payload, tools: Tools) -> str:
    cards = desk.txn.execute(select(func.count()).select_from(_card)).scalar_one()
    desk.note("keys.export", str(payload["file"]), cards=cards)
    return f"{cards} cards written to {payload['file']}"


def _activate_rules(desk: Desk, payload: Payload, tools: Tools) -> str:
    activate_rules_txn(desk, payload["version"])
    return f"rules {payload['version']} are in force"


def _retire_rules(desk: Desk, payload: Payload, tools: Tools) -> str:
    return f"rules {retire_rules_txn(desk)} are out of force"


def _add_staff(desk: Desk, payload: Payload, tools: Tools) -> str:
    form = staff.StaffForm(payload["login"], payload["name"], payload["role"], payload["scope"])
    hashed, said = _initial(payload, tools)
    staff.add_staff_txn(desk, form, hashed)
    return f"{form.login} added as {form.role}; {said}"


def _change_role(desk: Desk, payload: Payload, tools: Tools) -> str:
    staff.change_role_txn(desk, payload["login"], payload["role"], payload["scope"])
    return f"{payload['login']} is {payload['role']}"


def _unblock_staff(desk: Desk, payload: Payload, tools: Tools) -> str:
    staff.unblock_staff_txn(desk, payload["login"])
    return f"{payload['login']} may log in"


def _reset_staff(desk: Desk, payload: Payload, tools: Tools) -> str:
    hashed, said = _initial(payload, tools)
    staff.reset_staff_txn(desk, payload["login"], hashed)
    return f"{payload['login']}: {said}"


def _initial(payload: Payload, tools: Tools) -> tuple[str, str]:
    """An initial password's hash, and what to tell of it: the second half where the asker was told the first."""
    if _SEALED not in payload:
        password = random_password(tools.chance)
        return tools.passwords.hash(password), f"initial password {password}"
    half = random_half(tools.chance)
    said = f"second half of the initial password {half}: hand it over yourself, the asker has the first"
    return f"{payload[_SEALED]}|{tools.passwords.hash(half)}", said


def first_half(tools: Tools) -> tuple[dict[str, str], str]:
    """Of an initial password that no one person is to know: what a request keeps, and what its asker is told."""
    half = random_half(tools.chance)
    said = (
        f"first half of the initial password {half}: hand it over yourself, whoever confirms has the second"
    )
    return {_SEALED: tools.passwords.hash(half)}, said


Apply = Callable[[Desk, Payload, Tools], str]

KINDS: Final[dict[str, Apply]] = {
    "outlet.found": _found_outlet,  # outlet, name, level, phones
    "pin.reset": _reset_pin,  # outlet, must_change
    "pin.unlock": _unlock_pin,  # outlet
    "outlet.unfreeze": _unfreeze,  # outlet
    "card.unblock": _unblock_card,  # iccid
    "phone.release": _release_phone,  # outlet, phone, note
    "keys.export": _export_keys,  # file
    "rules.activate": _activate_rules,  # version
    "rules.retire": _retire_rules,
    "staff.add": _add_staff,  # login, name, role, scope
    "staff.role": _change_role,  # login, role, scope
    "staff.unblock": _unblock_staff,  # login
    "staff.reset": _reset_staff,  # login
    **LOOSENING,
    **OF_THE_LEDGER,
    **OF_TERMINALS,
}
"""What a confirmed request does, and what its payload names."""


# -- asking, deciding ---------------------------------------------------------------------------------------


def propose_txn(desk: Desk, what: str, payload: Payload, tools: Tools | None) -> int:
    """Write down a request; returns its number. ``tools`` None: for requests about orders, which need none.

    Raises what the change itself would raise, and RequestError."""
    expire_txn(desk)
    if what in ABOUT_ORDERS:
        _try_order(desk.txn, what, payload)
    elif what in ON_BEHALF:
        check_on_behalf_txn(desk.txn, what, payload)
    else:
        _try(desk, what, payload, tools)
    body = json.dumps(dict(payload), sort_keys=True, ensure_ascii=False)
    same = select(_t.c.id).where(_t.c.what == what, _t.c.payload == body, _t.c.state == ASKED)
    if (known := desk.txn.execute(same).scalar()) is not None:
        raise RequestError(f"request {known} asks for the same and waits")
    number = int(desk.txn.execute(select(func.max(_t.c.id))).scalar() or 0) + 1
    values = {"id": number, "what": what, "payload": body, "maker": desk.actor, "made_ms": desk.now_ms}
    desk.txn.execute(insert(_t).values(**values, state=ASKED))
    desk.note(f"{what}.ask", thing_of(what, payload), request=number, **masked(payload))
    return number


def masked(payload: Payload) -> Payload:
    """A payload as audit and lists may show it: no whole phone numbers, in a reason or a note neither; no keys."""
    return {name: _masked(name, value) for name, value in payload.items() if name != _SEALED}


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return value[:_SHOWN]
    if isinstance(value, dict):
        return {field: _field(field, text) for field, text in value.items()}
    if not isinstance(value, str):
        return value
    return mask_msisdn(value) if name in ("value", "phone") else mask_text(value)


def _field(name: str, text: str) -> str:
    """A field of master data as the second person may see it."""
    field = BY_NAME.get(name)
    return mask_text(text) if field is None else field.seen(field.read(text))


def _try(desk: Desk, what: str, payload: Payload, tools: Tools | None) -> None:
    if what not in KINDS or tools is None:
        raise RequestError(f"no request is called {what!r}")
    trial = desk.txn.begin_nested()
    try:
        KINDS[what](Desk(desk.txn, desk.now_ms, _SECOND), payload, tools)
    except KeyError as error:
        raise RequestError(f"{what}: {error} is missing") from error
    finally:
        trial.rollback()


def _try_order(txn: Connection, what: str, payload: Payload) -> None:
    order_id = payload["order"]
    kinds = (Operation.TRANSFER,) if what == UNDO else (Operation.RECHARGE, Operation.REVERSAL)
    found = select(_order.c.state).where(_order.c.id == order_id, _order.c.kind.in_(map(int, kinds)))
    state = txn.execute(found).scalar()
    if state is None:
        raise RequestError(f"no order {order_id}")
    right_states = {RELEASE: (State.PARKED,), UNDO: (State.SETTLED,)}
    is_right = State(state) in right_states.get(what, [state for state in State if state.is_open])
    if not is_right or (what == RULING and state == State.PARKED):
        raise RequestError(f"order {order_id} is {State(state).name} already: nothing has changed")
    if what == RULING and not str(payload["evidence"]).strip():
        raise RequestError("where is the evidence written?")


def request_txn(desk: Desk, number: int) -> Any:
    """A request that may still be decided, locked. Raises RequestError."""
    row = desk.txn.execute(select(_t).where(_t.c.id == number).with_for_update()).first()
    if row is None or row.state != ASKED:
        raise RequestError(f"no request {number} waits to be confirmed")
    if desk.now_ms - row.made_ms > LIFE_MS:
        raise RequestError(f"request {number} is older than seven days and has ended: ask again")
    return row


def approve_txn(desk: Desk, number: int, tools: Tools) -> str:
    """Do what was asked, in the second person's name (``desk.actor``); returns what to tell that person.

    Raises RequestError (none waits, one person alone) and what the change itself raises: the request still waits.
    """
    row = request_txn(desk, number)
    if desk.actor == row.maker:
        raise RequestError("maker and checker are two people")
    if row.what not in KINDS:
        raise RequestError(f"request {number} is {row.what}: it is confirmed elsewhere")
    staff.check_second(desk.txn, desk.actor, desk.now_ms)
    _close(desk, row, APPROVED, "")
    payload = json.loads(row.payload)
    said = KINDS[row.what](desk, payload, tools)
    desk.note(f"{row.what}.confirm", thing_of(row.what, payload), request=number, maker=row.maker)
    return said


def apply_alone_txn(desk: Desk, what: str, payload: Payload, tools: Tools) -> str:
    """Do it at once: for a house without staff, where names are labels, and for its only admin."""
    if what not in KINDS:
        raise RequestError(f"no request is called {what!r}")
    return KINDS[what](desk, payload, tools)


def decline_txn(desk: Desk, number: int, note: str) -> None:
    """Say no to a request of any kind: nothing changes. Raises RequestError."""
    row = request_txn(desk, number)
    if desk.actor == row.maker:
        raise RequestError("maker and checker are two people")
    if not note.strip():
        raise RequestError("why is it declined?")
    _close(desk, row, DECLINED, note)
    thing = thing_of(row.what, json.loads(row.payload))
    desk.note(f"{row.what}.decline", thing, request=number, maker=row.maker, note=note[:200])


def _close(desk: Desk, row: Any, state: int, note: str) -> None:
    values = {"state": state, "checker": desk.actor, "checked_ms": desk.now_ms, "note": note[:200]}
    payload = json.loads(row.payload)
    if payload.pop(_SEALED, None) is not None:
        values["payload"] = json.dumps(payload, sort_keys=True, ensure_ascii=False)
    changed = desk.txn.execute(update(_t).where(_t.c.id == row.id, _t.c.state == ASKED).values(**values))
    if changed.rowcount != 1:
        raise RequestError(f"no request {row.id} waits to be confirmed")


def expire_txn(desk: Desk) -> int:
    """End what nobody has decided for seven days; how many they were."""
    old = (_t.c.state == ASKED) & (_t.c.made_ms < desk.now_ms - LIFE_MS)
    numbers = list(desk.txn.execute(select(_t.c.id).where(old)).scalars())
    if numbers:
        values = {"state": DECLINED, "checker": "machine", "checked_ms": desk.now_ms, "note": "expired"}
        desk.txn.execute(update(_t).where(old).values(**values))
        desk.note("request.expire", f"{len(numbers)} requests", requests=numbers[:50])
    return len(numbers)


def waiting(txn: Connection, now_ms: int) -> list[dict[str, Any]]:
    """Requests of every kind that may still be decided, the oldest first."""
    rows = txn.execute(
        select(_t).where(_t.c.state == ASKED, _t.c.made_ms >= now_ms - LIFE_MS).order_by(_t.c.id)
    )
    return [
        {
            "request": row.id,
            "what": row.what,
            "about": thing_of(row.what, json.loads(row.payload)),
            "payload": json.loads(row.payload),
            "maker": row.maker,
            "made_ms": row.made_ms,
            "until_ms": row.made_ms + LIFE_MS,
        }
        for row in rows
    ]


def thing_of(what: str, payload: Payload) -> str:
    """What a request is about, in a word."""
    if "iccid" in payload:
        return f"card {str(payload['iccid'])[-4:]}"
    if "keys" in payload:
        first, *more = (str(key["terminal"]) for key in payload["keys"])
        return f"{first} and {len(more)} more" if more else first
    for name in ("outlet", "terminal", "login", "order", "version", "operator", "file"):
        if name in payload:
            return str(payload[name])
    return what


def outlets_of(txn: Connection, payload: Payload) -> list[int]:
    """The outlets a request touches, for the scope of whoever asks or confirms; empty = the whole house."""
    if "outlet" in payload:
        question = select(_outlet.c.id).where(_outlet.c.code == payload["outlet"])
    elif "iccid" in payload:
        question = select(_card.c.outlet_id).where(_card.c.iccid == payload["iccid"])
    elif "terminal" in payload or "keys" in payload:
        codes = {key["terminal"] for key in payload.get("keys", (payload,))}
        question = select(_terminal.c.outlet_id).where(_terminal.c.code.in_(codes))
    elif "order" in payload:
        question = (
            select(_outlet.c.id)
            .join(_order, _order.c.outlet_acct == _outlet.c.float_id)
            .where(_order.c.id == payload["order"])
        )
    elif "login" in payload:
        return _of_person(txn, payload)
    elif "subject" in payload:
        return _of_subject(txn, str(payload["subject"]), str(payload["value"]))
    else:
        return []
    return list(txn.execute(question).scalars())


def _of_person(txn: Connection, payload: Payload) -> list[int]:
    """Where somebody of the staff works, and is to work; empty = the whole house is or would be among it."""
    person = txn.execute(select(_staff.c.scope_outlet_id).where(_staff.c.login == payload["login"])).first()
    found = [] if person is None else [person.scope_outlet_id]
    if "scope" in payload:
        asked = select(_outlet.c.id).where(_outlet.c.code == payload["scope"])
        found.append(txn.execute(asked).scalar())
    return [] if None in found else [int(number) for number in found if number is not None]


def _of_subject(txn: Connection, subject: str, value: str) -> list[int]:
    """The outlet that a list's entry is about; a customer's number is nobody's."""
    question = {
        "outlet": select(_outlet.c.id).where(_outlet.c.code == value),
        "phone": select(_phone.c.outlet_id).where(_phone.c.msisdn == _digits(value)),
        "terminal": select(_terminal.c.outlet_id).where(_terminal.c.code == value),
    }.get(subject)
    return [] if question is None else list(txn.execute(question).scalars())


def _digits(number: str) -> str:
    try:
        return digits_of(number)
    except RegistryError:
        return ""
