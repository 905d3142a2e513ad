"""Who may trade: outlets, their cards and PINs, changed within the caller's transaction.

Every change is a row of the audit in the same commit. Bad input is a ``RegistryError`` that says what is wrong;
nothing has changed then. Phones, terminals, the tree, master data and the life cycle have files of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import func, insert, select, update

from aircharge.ledger.chart import (
    CARD_ACTIVE,
    CARD_BLOCKED,
    LEVEL_CITY,
    OUTLET_ACTIVE,
    OUTLET_PENDING,
    OUTLET_SUSPENDED,
)
from aircharge.ledger.pin_rules import duress_record, is_duress, is_near, same_or_slip
from aircharge.ledger.tables import metadata
from aircharge.outlets.desk import (
    Desk,
    RegistryError,
    RegistrySettings,
    digits_of,
    lock_registry_txn,
    open_row,
    outlet_row,
)
from aircharge.outlets.fields import BY_NAME, check_contract, defaults, read_code
from aircharge.outlets.founding import Plan, found_txn
from aircharge.outlets.lifecycle import freeze_txn
from aircharge.outlets.phones import bind_phone_txn, first_phones_txn, hold_phone_txn
from aircharge.outlets.pins import PinHash, WeakPin, check_pin
from aircharge.outlets.telling import tell_outlet_txn
from aircharge.outlets.tree import check_place
from aircharge.values import AMOUNT_MAX_FEN, Pin, mask_msisdn

__all__ = [
    "CardForm",
    "Desk",
    "OutletForm",
    "RegistryError",
    "RegistrySettings",
    "add_card_txn",
    "add_outlet_txn",
    "bind_phone_txn",
    "block_card_txn",
    "freeze_txn",
    "keys_txn",
    "set_duress_txn",
    "set_language_txn",
    "set_pin_txn",
    "unlock_pin_txn",
]

_t = metadata.tables
_ICCID: Final = re.compile(r"89[0-9]{16,18}")


@dataclass(frozen=True, slots=True)
class OutletForm:
    """A new outlet as a clerk writes it."""

    code: str
    name: str
    phones: tuple[str, ...]
    language: str = "zh"
    pin_policy: str = "always"  # never | above | always: when plain SMS needs the PIN
    pin_above_fen: int = 0
    parent: str = ""  # the code of whom it stands below
    more: Mapping[str, str] = field(default_factory=dict)  # other ``fields.FIELDS`` as people write them


@dataclass(frozen=True, slots=True)
class CardForm:
    """A SIM card to be bound. Keys come wrapped, or are derived from the master key (None)."""

    iccid: str
    phone: str
    profile: str = "default"
    master_version: int = 1
    key_version: int = 1


def add_outlet_txn(
    desk: Desk, form: OutletForm, pin: Pin, pins: PinHash, salt: bytes, *, must_change: bool = False
) -> int:
    """Add an outlet with its accounts, phones and initial PIN; returns its id (= its float's).

    A province or a city may be without a phone, and has no PIN then.
    """
    plan = _plan(desk, form)
    parents = {}
    if form.parent:
        lock_registry_txn(desk.txn)
        parent = outlet_row(desk.txn, form.parent)
        check_place(form.code, plan.values["level"], parent.code, parent.level, parent.status)
        parents[parent.code] = parent.id
    found_txn(desk, [plan], parents)
    shown = {
        name: BY_NAME[name].seen(plan.values[name]) for name in ("name", "language", "pin_policy", *form.more)
    }
    desk.note("outlet.add", form.code, parent=form.parent, **shown)
    first_phones_txn(desk, form.code, form.phones)
    if form.phones:
        set_pin_txn(desk, form.code, pin, pins, salt, must_change=must_change)
    return plan.outlet_id


def _plan(desk: Desk, form: OutletForm) -> Plan:
    """The form, checked; its phones are bound later, one by one."""
    read_code(form.code)
    if not 0 <= form.pin_above_fen <= AMOUNT_MAX_FEN:
        raise RegistryError("the amount above which the PIN is asked for is out of bounds")
    outlet = _t["outlet"]
    if desk.txn.execute(select(outlet.c.id).where(outlet.c.code == form.code)).first() is not None:
        raise RegistryError(f"outlet {form.code} exists already")
    said = {"name": form.name, "language": form.language, "pin_policy": form.pin_policy, **form.more}
    values = defaults() | {"pin_above": form.pin_above_fen}
    for name, text in said.items():
        if name not in BY_NAME:
            raise RegistryError(f"no field is called {name!r}")
        values[name] = BY_NAME[name].read(text.strip())
    check_contract(values)
    if not form.phones and values["level"] > LEVEL_CITY:
        raise RegistryError("an outlet needs a phone")
    if values["status"] not in (OUTLET_PENDING, OUTLET_ACTIVE, OUTLET_SUSPENDED):
        raise RegistryError("a new outlet is pending, active or suspended")
    return Plan(form.code, values, form.parent)


def set_pin_txn(
    desk: Desk, code: str, pin: Pin, pins: PinHash, salt: bytes, *, must_change: bool = False
) -> None:
    """Set a PIN and lift any lock; the one before may not come back soon. Raises WeakPin.

    ``must_change``: it opens nothing but its own change.
    """
    outlet = open_row(desk.txn, code)
    phones = _t["outlet_phone"]
    numbers = tuple(
        desk.txn.execute(select(phones.c.msisdn).where(phones.c.outlet_id == outlet.id)).scalars()
    )
    check_pin(pin.secret, numbers)
    credential = _t["credential"]
    kept = desk.txn.execute(
        select(credential.c.duress_mac).where(credential.c.outlet_id == outlet.id)
    ).scalar()
    if is_near(pin.secret, lambda near: is_duress(pins.mac, kept, outlet.id, near)):
        raise WeakPin("this PIN is too near the duress PIN")
    values = {
        "pin_mac": pins.mac(pins.newest, outlet.id, salt, pin.secret),
        "salt": salt,
        "pepper_ver": pins.newest,
        "fails": 0,
        "locks": 0,
        "locked_until_ms": 0,
        "changed_ms": desk.now_ms,
        "must_change": int(must_change),
    }
    is_first = not _keep_old_pin(desk, outlet.id)
    changed = desk.txn.execute(update(credential).where(credential.c.outlet_id == outlet.id).values(**values))
    if not changed.rowcount:
        desk.txn.execute(insert(credential).values(outlet_id=outlet.id, **values))
    desk.note("pin.set", code, must_change=must_change)
    if not is_first:
        tell_outlet_txn(desk, outlet.id, "pin-reset")


def _keep_old_pin(desk: Desk, outlet_id: int) -> bool:
    """Whether there was one."""
    credential, history = _t["credential"], _t["pin_history"]
    old = desk.txn.execute(select(credential).where(credential.c.outlet_id == outlet_id)).first()
    if old is None:
        return False
    last = select(func.max(history.c.changed_ms)).where(history.c.outlet_id == outlet_id)
    changed_ms = max(desk.now_ms, int(desk.txn.execute(last).scalar() or 0) + 1)
    kept = {"pin_mac": old.pin_mac, "salt": old.salt, "pepper_ver": old.pepper_ver}
    desk.txn.execute(insert(history).values(outlet_id=outlet_id, changed_ms=changed_ms, **kept))
    return True


def set_duress_txn(desk: Desk, code: str, pin: Pin, pins: PinHash, salt: bytes) -> None:
    """Set the PIN an outlet gives under duress; its numbers are told. Raises WeakPin for a weak one.

    One that is a slip away from the PIN itself is not set. Only the outlet hears so: whoever sets it at the desk, the
    audit and the time it takes say the same for every PIN, or a clerk could find the outlet's PIN by asking.
    """
    outlet = open_row(desk.txn, code)
    check_pin(pin.secret)
    credential = _t["credential"]
    row = desk.txn.execute(select(credential).where(credential.c.outlet_id == outlet.id)).first()
    if row is None:
        raise RegistryError(f"outlet {code} has no PIN yet")
    own = bytes(row.pin_mac)
    salt_of = bytes(row.salt)
    near = [pins.mac(row.pepper_ver, outlet.id, salt_of, one) == own for one in same_or_slip(pin.secret)]
    record = duress_record(pins.mac, pins.newest, outlet.id, salt, pin.secret)
    kept = row.duress_mac if any(near) else record
    desk.txn.execute(update(credential).where(credential.c.outlet_id == outlet.id).values(duress_mac=kept))
    tell_outlet_txn(desk, outlet.id, "duress-near" if any(near) else "duress")
    desk.note("pin.duress", code)


def unlock_pin_txn(desk: Desk, code: str) -> None:
    """Lift a lock; the PIN stays. Raises RegistryError when none stands."""
    outlet = open_row(desk.txn, code)
    credential = _t["credential"]
    is_locked = (credential.c.outlet_id == outlet.id) & (credential.c.locked_until_ms > desk.now_ms)
    values = {"fails": 0, "locks": 0, "locked_until_ms": 0}
    if not desk.txn.execute(update(credential).where(is_locked).values(**values)).rowcount:
        raise RegistryError(f"the PIN of {code} is not locked")
    tell_outlet_txn(desk, outlet.id, "pin-unlock")
    desk.note("pin.unlock", code)


def add_card_txn(desk: Desk, code: str, form: CardForm) -> int:
    """Bind a SIM card to one of the outlet's phones; returns the card's id. Its imported keys follow by
    ``keys_txn`` (they are wrapped under the id)."""
    outlet = open_row(desk.txn, code)
    digits = digits_of(form.phone)
    if not _ICCID.fullmatch(form.iccid):
        raise RegistryError(f"ICCID {form.iccid!r}: 18 to 20 digits that begin with 89 (ITU-T E.118)")
    phones, card = _t["outlet_phone"], _t["card"]
    if desk.txn.execute(select(phones.c.outlet_id).where(phones.c.msisdn == digits)).scalar() != outlet.id:
        raise RegistryError(f"number {mask_msisdn(digits)} is not bound to outlet {code}")
    is_other = _retire_card(desk, digits)
    taken = select(card.c.id).where((card.c.iccid == form.iccid) | (card.c.msisdn == digits))
    if desk.txn.execute(taken).first() is not None:
        raise RegistryError("that card or that number is in use by a card already")
    card_id = int(desk.txn.execute(select(func.max(card.c.id))).scalar() or 0) + 1
    desk.txn.execute(
        insert(card).values(
            id=card_id,
            iccid=form.iccid,
            outlet_id=outlet.id,
            msisdn=digits,
            profile=form.profile,
            key_source=0,
            master_version=form.master_version,
            key_version=form.key_version,
            status=CARD_ACTIVE,
            created_ms=desk.now_ms,
        )
    )
    desk.note("card.add", code, iccid=form.iccid[-4:], phone=mask_msisdn(digits), profile=form.profile)
    from_ms = hold_phone_txn(desk, digits) if is_other else 0
    if is_other or _has_money(desk, outlet.float_id):
        tell_outlet_txn(desk, outlet.id, "card-new", mask_msisdn(digits), until_ms=from_ms, also=(digits,))
    return card_id


def _has_money(desk: Desk, float_id: int) -> bool:
    balance = _t["balance"]
    posted = select(balance.c.posted, balance.c.held).where(balance.c.account_id == float_id)
    return any(desk.txn.execute(posted).one())


def _retire_card(desk: Desk, msisdn: str) -> bool:
    """A blocked card makes room for another with its number: the ICCID stands where the number stood, for good.

    Its row stays: the serials and counters it has used are kept by it. Whether there was one.
    """
    card = _t["card"]
    blocked = (card.c.msisdn == msisdn) & (card.c.status == CARD_BLOCKED)
    iccid = desk.txn.execute(select(card.c.iccid).where(blocked)).scalar()
    if iccid is not None:
        desk.txn.execute(update(card).where(blocked).values(msisdn=iccid))
        desk.note("card.retire", iccid[-4:], phone=mask_msisdn(msisdn))
    return iccid is not None


def keys_txn(desk: Desk, card_id: int, kic_wrapped: bytes, kid_wrapped: bytes) -> None:
    """Give a card imported keys, wrapped."""
    card = _t["card"]
    values = {"key_source": 1, "kic_wrapped": kic_wrapped, "kid_wrapped": kid_wrapped}
    desk.txn.execute(update(card).where(card.c.id == card_id).values(**values))
    desk.note("card.keys", str(card_id))


def block_card_txn(desk: Desk, iccid: str, *, lift: bool = False) -> None:
    """Block a lost card, or lift that. The float stays with the outlet."""
    card = _t["card"]
    row = desk.txn.execute(select(card.c.msisdn, card.c.outlet_id).where(card.c.iccid == iccid)).first()
    if row is None:
        raise RegistryError("no such card")
    if row.msisdn == iccid:
        raise RegistryError("that card has been replaced by another")
    status = CARD_ACTIVE if lift else CARD_BLOCKED
    desk.txn.execute(update(card).where(card.c.iccid == iccid).values(status=status))
    if lift:
        tell_outlet_txn(desk, row.outlet_id, "card-unblock", mask_msisdn(row.msisdn))
    desk.note("card.unblock" if lift else "card.block", iccid[-4:])


def set_language_txn(desk: Desk, number: str, language: str) -> None:
    """The language a customer's number is written to in."""
    digits = digits_of(number)
    if language not in ("zh", "en"):
        raise RegistryError(f"language {language!r}: zh or en")
    table = _t["number_language"]
    changed = desk.txn.execute(update(table).where(table.c.msisdn == digits).values(language=language))
    if not changed.rowcount:
        desk.txn.execute(insert(table).values(msisdn=digits, language=language))
    desk.note("number.language", mask_msisdn(digits), language=language)
