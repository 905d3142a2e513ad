"""Who may trade: outlets, their phones, cards and PINs, changed within the caller's transaction.

Every change is a row of the audit in the same commit. Bad input is a ``RegistryError`` that says what is wrong;
nothing has changed then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from aircharge.errors import AirchargeError, Refusal
from aircharge.ledger.audit import append_audit_txn
from aircharge.ledger.chart import (
    CARD_ACTIVE,
    CARD_BLOCKED,
    FIRST_ACCOUNT,
    KIND_COMMISSION,
    KIND_DEPOSIT,
    KIND_FLOAT,
    NORMAL_SIDE,
    OUTLET_ACTIVE,
    OUTLET_CLOSED,
    OUTLET_SUSPENDED,
    PIN_ABOVE,
    PIN_ALWAYS,
    PIN_NEVER,
    RIGHT_QUERY,
    RIGHT_RECHARGE,
    commission_account,
    deposit_account,
)
from aircharge.ledger.tables import metadata
from aircharge.outlets.pins import PinHash, check_pin
from aircharge.values import AMOUNT_MAX_FEN, Pin, address_digits, mask_msisdn

__all__ = [
    "CardForm",
    "OutletForm",
    "RegistryError",
    "add_card_txn",
    "add_outlet_txn",
    "bind_phone_txn",
    "block_card_txn",
    "freeze_txn",
    "set_language_txn",
    "set_pin_txn",
    "unlock_pin_txn",
]

_t = metadata.tables
_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,15}")
_ICCID: Final = re.compile(r"89[0-9]{16,18}")
_POLICIES: Final = {"never": PIN_NEVER, "above": PIN_ABOVE, "always": PIN_ALWAYS}


class RegistryError(AirchargeError):
    """What was asked of the registry cannot be: the message says why."""


@dataclass(frozen=True, slots=True)
class OutletForm:
    """A new outlet as a clerk writes it."""

    code: str
    name: str
    phones: tuple[str, ...]
    language: str = "zh"
    pin_policy: str = "never"  # never | above | always: when plain SMS needs the PIN
    pin_above_fen: int = 0


@dataclass(frozen=True, slots=True)
class CardForm:
    """A SIM card to be bound. Keys come wrapped, or are derived from the master key (None)."""

    iccid: str
    phone: str
    profile: str = "default"
    master_version: int = 1
    key_version: int = 1


@dataclass(frozen=True, slots=True)
class Desk:
    """One piece of work: transaction, time and the person whose name it bears."""

    txn: Connection
    now_ms: int
    actor: str

    def note(self, action: str, thing: str, **detail: Any) -> None:
        append_audit_txn(self.txn, self.now_ms, self.actor, action, thing, detail)


def add_outlet_txn(desk: Desk, form: OutletForm, pin: Pin, pins: PinHash, salt: bytes) -> int:
    """Add an active outlet with its float account, phones and initial PIN; returns its id (= its float's)."""
    if not _CODE.fullmatch(form.code):
        raise RegistryError(f"outlet code {form.code!r}: 1 to 16 letters, digits, - and _")
    if form.language not in ("zh", "en"):
        raise RegistryError(f"language {form.language!r}: zh or en")
    if form.pin_policy not in _POLICIES or not 0 <= form.pin_above_fen <= AMOUNT_MAX_FEN:
        raise RegistryError(f"PIN policy {form.pin_policy!r}: never, above (with an amount) or always")
    if not form.phones:
        raise RegistryError("an outlet needs a phone")
    if _outlet_row(desk.txn, form.code, needed=False) is not None:
        raise RegistryError(f"outlet {form.code} exists already")
    outlet_id = _open_accounts(desk)
    desk.txn.execute(
        insert(_t["outlet"]).values(
            id=outlet_id,
            code=form.code,
            name=form.name[:64],
            status=OUTLET_ACTIVE,
            language=form.language,
            pin_policy=_POLICIES[form.pin_policy],
            pin_above_fen=form.pin_above_fen,
            float_id=outlet_id,
            created_ms=desk.now_ms,
        )
    )
    desk.txn.execute(insert(_t["outlet_profile"]).values(outlet_id=outlet_id, opened_ms=desk.now_ms))
    desk.note("outlet.add", form.code, name=form.name, language=form.language, pin_policy=form.pin_policy)
    for phone in form.phones:
        bind_phone_txn(desk, form.code, phone)
    set_pin_txn(desk, form.code, pin, pins, salt)
    return outlet_id


def _open_accounts(desk: Desk) -> int:
    """Float, commission and frozen deposit of a new outlet, each with a balance of nothing; returns the float's id."""
    account = _t["account"]
    floats = select(func.max(account.c.id)).where(account.c.kind == KIND_FLOAT)
    highest = desk.txn.execute(floats).scalar() or 0
    float_id = max(int(highest) + 1, FIRST_ACCOUNT)
    for kind, account_id in (
        (KIND_FLOAT, float_id),
        (KIND_COMMISSION, commission_account(float_id)),
        (KIND_DEPOSIT, deposit_account(float_id)),
    ):
        values = {
            "kind": kind,
            "owner_id": float_id,
            "normal_side": NORMAL_SIDE[kind],
            "created_ms": desk.now_ms,
        }
        desk.txn.execute(insert(account).values(id=account_id, **values))
        desk.txn.execute(insert(_t["balance"]).values(account_id=account_id))
    return float_id


def bind_phone_txn(desk: Desk, code: str, phone: str, rights: int = RIGHT_RECHARGE | RIGHT_QUERY) -> str:
    """Bind a number to an outlet; returns its national digits."""
    digits = _digits(phone)
    outlet = _outlet_row(desk.txn, code)
    phones = _t["outlet_phone"]
    bound = desk.txn.execute(select(phones.c.outlet_id).where(phones.c.msisdn == digits)).scalar()
    if bound is not None:
        raise RegistryError(f"number {mask_msisdn(digits)} is bound to an outlet already")
    desk.txn.execute(
        insert(phones).values(msisdn=digits, outlet_id=outlet.id, rights=rights, created_ms=desk.now_ms)
    )
    desk.note("phone.bind", code, phone=mask_msisdn(digits), rights=rights)
    return digits


def set_pin_txn(
    desk: Desk, code: str, pin: Pin, pins: PinHash, salt: bytes, *, must_change: bool = False
) -> None:
    """Set a PIN and lift any lock; the one before may not come back soon. Raises WeakPin.

    ``must_change``: it opens nothing but its own change.
    """
    outlet = _outlet_row(desk.txn, code)
    phones = _t["outlet_phone"]
    numbers = tuple(
        desk.txn.execute(select(phones.c.msisdn).where(phones.c.outlet_id == outlet.id)).scalars()
    )
    check_pin(pin.secret, numbers)
    credential = _t["credential"]
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
    _keep_old_pin(desk, outlet.id)
    changed = desk.txn.execute(update(credential).where(credential.c.outlet_id == outlet.id).values(**values))
    if not changed.rowcount:
        desk.txn.execute(insert(credential).values(outlet_id=outlet.id, **values))
    desk.note("pin.set", code, must_change=must_change)


def _keep_old_pin(desk: Desk, outlet_id: int) -> None:
    credential, history = _t["credential"], _t["pin_history"]
    old = desk.txn.execute(select(credential).where(credential.c.outlet_id == outlet_id)).first()
    if old is None:
        return
    last = select(func.max(history.c.changed_ms)).where(history.c.outlet_id == outlet_id)
    changed_ms = max(desk.now_ms, int(desk.txn.execute(last).scalar() or 0) + 1)
    kept = {"pin_mac": old.pin_mac, "salt": old.salt, "pepper_ver": old.pepper_ver}
    desk.txn.execute(insert(history).values(outlet_id=outlet_id, changed_ms=changed_ms, **kept))


def unlock_pin_txn(desk: Desk, code: str) -> None:
    """Lift a lock; the PIN stays. Raises RegistryError when none stands."""
    outlet = _outlet_row(desk.txn, code)
    credential = _t["credential"]
    is_locked = (credential.c.outlet_id == outlet.id) & (credential.c.locked_until_ms > desk.now_ms)
    values = {"fails": 0, "locks": 0, "locked_until_ms": 0}
    if not desk.txn.execute(update(credential).where(is_locked).values(**values)).rowcount:
        raise RegistryError(f"the PIN of {code} is not locked")
    desk.note("pin.unlock", code)


def freeze_txn(desk: Desk, code: str, *, lift: bool = False) -> None:
    """Suspend an outlet (new orders are refused, open ones still settle), or lift that."""
    outlet = _outlet_row(desk.txn, code)
    if outlet.status >= OUTLET_CLOSED:
        raise RegistryError(f"outlet {code} is closed")
    table = _t["outlet"]
    status = OUTLET_ACTIVE if lift else OUTLET_SUSPENDED
    desk.txn.execute(update(table).where(table.c.id == outlet.id).values(status=status))
    desk.note("outlet.unfreeze" if lift else "outlet.freeze", code, before=outlet.status)


def add_card_txn(desk: Desk, code: str, form: CardForm) -> int:
    """Bind a SIM card to one of the outlet's phones; returns the card's id. Its imported keys follow by
    ``keys_txn`` (they are wrapped under the id)."""
    outlet = _outlet_row(desk.txn, code)
    digits = _digits(form.phone)
    if not _ICCID.fullmatch(form.iccid):
        raise RegistryError(f"ICCID {form.iccid!r}: 18 to 20 digits that begin with 89 (ITU-T E.118)")
    phones, card = _t["outlet_phone"], _t["card"]
    if desk.txn.execute(select(phones.c.outlet_id).where(phones.c.msisdn == digits)).scalar() != outlet.id:
        raise RegistryError(f"number {mask_msisdn(digits)} is not bound to outlet {code}")
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
    return card_id


def keys_txn(desk: Desk, card_id: int, kic_wrapped: bytes, kid_wrapped: bytes) -> None:
    """Give a card imported keys, wrapped."""
    card = _t["card"]
    values = {"key_source": 1, "kic_wrapped": kic_wrapped, "kid_wrapped": kid_wrapped}
    desk.txn.execute(update(card).where(card.c.id == card_id).values(**values))
    desk.note("card.keys", str(card_id))


def block_card_txn(desk: Desk, iccid: str, *, lift: bool = False) -> None:
    """Block a lost card, or lift that. The float stays with the outlet."""
    card = _t["card"]
    changed = desk.txn.execute(
        update(card).where(card.c.iccid == iccid).values(status=CARD_ACTIVE if lift else CARD_BLOCKED)
    )
    if not changed.rowcount:
        raise RegistryError("no such card")
    desk.note("card.unblock" if lift else "card.block", iccid[-4:])


def set_language_txn(desk: Desk, number: str, language: str) -> None:
    """The language a customer's number is written to in."""
    digits = _digits(number)
    if language not in ("zh", "en"):
        raise RegistryError(f"language {language!r}: zh or en")
    table = _t["number_language"]
    changed = desk.txn.execute(update(table).where(table.c.msisdn == digits).values(language=language))
    if not changed.rowcount:
        desk.txn.execute(insert(table).values(msisdn=digits, language=language))
    desk.note("number.language", mask_msisdn(digits), language=language)


def _outlet_row(txn: Connection, code: str, *, needed: bool = True) -> Any:
    table = _t["outlet"]
    row = txn.execute(select(table).where(table.c.code == code)).first()
    if row is None and needed:
        raise RegistryError(f"no outlet {code}")
    return row


def _digits(number: str) -> str:
    try:
        return address_digits(number)
    except Refusal as refusal:
        raise RegistryError("that is no phone number") from refusal
