"""The numbers an outlet orders from: bound with rights, changed, unbound; a SIM that is lost, and what replaces it.

The float is the outlet's and never the SIM's: nothing here moves money.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select, update

from aircharge.ledger.chart import (
    CARD_ACTIVE,
    CARD_BLOCKED,
    PHONE_ACTIVE,
    PHONE_BLOCKED,
    RIGHT_ADMIN,
    RIGHT_QUERY,
    RIGHT_RECHARGE,
)
from aircharge.ledger.tables import metadata
from aircharge.outlets.desk import Desk, RegistryError, digits_of, open_row
from aircharge.outlets.telling import tell_outlet_txn
from aircharge.values import mask_msisdn

__all__ = [
    "RIGHTS",
    "USUAL_RIGHTS",
    "bind_phone_txn",
    "change_rights_txn",
    "first_phones_txn",
    "gains_rights",
    "hold_phone_txn",
    "lost_sim_txn",
    "release_phone_txn",
    "rights_of",
    "rights_text",
    "unbind_phone_txn",
]

_phone, _card = metadata.tables["outlet_phone"], metadata.tables["card"]
RIGHTS: Final = {"recharge": RIGHT_RECHARGE, "query": RIGHT_QUERY, "admin": RIGHT_ADMIN}
USUAL_RIGHTS: Final = RIGHT_RECHARGE | RIGHT_QUERY


def rights_of(text: str) -> int:
    """ "recharge+query" as a mask. Raises RegistryError."""
    mask = 0
    for word in text.replace(",", "+").split("+"):
        if word.strip() not in RIGHTS:
            raise RegistryError(f"right {word.strip()!r}: {', '.join(RIGHTS)}, joined by +")
        mask |= RIGHTS[word.strip()]
    return mask


def rights_text(mask: int) -> str:
    return "+".join(word for word, bit in RIGHTS.items() if mask & bit)


def bind_phone_txn(
    desk: Desk, code: str, phone: str, rights: int = USUAL_RIGHTS, *, active_from_ms: int | None = None
) -> str:
    """Bind a number to an outlet; returns its national digits. The outlet's other numbers are told.

    It may order from ``active_from_ms`` on; None = after ``phone_wait_ms``, time enough for the owner to hear of it
    and to object. Only an outlet's first numbers, which come with it, do not wait (``first_phones_txn``).
    """
    if active_from_ms is None:
        active_from_ms = desk.now_ms + desk.settings.phone_wait_ms
    digits = _bind(desk, code, phone, rights, active_from_ms)
    outlet = open_row(desk.txn, code)
    tell_outlet_txn(desk, outlet.id, "phone-new", mask_msisdn(digits), until_ms=active_from_ms, but=(digits,))
    return digits


def first_phones_txn(desk: Desk, code: str, numbers: Iterable[str]) -> None:
    """Bind the numbers a new outlet begins with: nothing is on its float yet, and there is nobody to be told."""
    for number in numbers:
        _bind(desk, code, number, USUAL_RIGHTS, 0)


def _bind(desk: Desk, code: str, phone: str, rights: int, active_from_ms: int) -> str:
    digits = digits_of(phone)
    outlet = open_row(desk.txn, code)
    _check_rights(rights)
    bound = desk.txn.execute(select(_phone.c.outlet_id).where(_phone.c.msisdn == digits)).scalar()
    if bound is not None:
        raise RegistryError(f"number {mask_msisdn(digits)} is bound to an outlet already")
    if _in_use(desk.txn, outlet.id) >= desk.settings.phones_max:
        raise RegistryError(f"outlet {code} has {desk.settings.phones_max} numbers: no more may be bound")
    values = {"msisdn": digits, "outlet_id": outlet.id, "rights": rights, "created_ms": desk.now_ms}
    desk.txn.execute(insert(_phone).values(**values, active_from_ms=active_from_ms))
    more = {"active_from_ms": active_from_ms} if active_from_ms else {}
    desk.note("phone.bind", code, phone=mask_msisdn(digits), rights=rights_text(rights), **more)
    return digits


def change_rights_txn(desk: Desk, code: str, phone: str, rights: int) -> None:
    """What an outlet's number may do from now on. To give it more takes two people: the caller's business."""
    row = _bound(desk.txn, code, phone)
    _check_rights(rights)
    _change(desk, row, rights=rights)
    before, after = rights_text(row.rights), rights_text(rights)
    desk.note("phone.rights", code, phone=mask_msisdn(row.msisdn), rights=[before, after])
    tell_outlet_txn(desk, row.outlet_id, "phone-rights", mask_msisdn(row.msisdn))


def gains_rights(txn: Connection, code: str, phone: str, rights: int) -> bool:
    """Whether an outlet's number would be allowed more than it is now. Raises RegistryError."""
    return bool(rights & ~_bound(txn, code, phone).rights)


def unbind_phone_txn(desk: Desk, code: str, phone: str) -> None:
    """Take a number from an outlet, not its last; a card in it is blocked. The audit keeps that it was bound."""
    row = _bound(desk.txn, code, phone)
    is_waiting = row.active_from_ms > desk.now_ms
    others = _in_use(desk.txn, row.outlet_id, by_ms=desk.now_ms) - (0 if is_waiting else 1)
    if row.status == PHONE_ACTIVE and not others:
        raise RegistryError(f"{mask_msisdn(row.msisdn)} is the last number of outlet {code}")
    desk.txn.execute(delete(_phone).where(_phone.c.msisdn == row.msisdn))
    card = _block_card(desk.txn, row.msisdn)
    tell_outlet_txn(desk, row.outlet_id, "phone-gone", mask_msisdn(row.msisdn), also=(row.msisdn,))
    desk.note("phone.unbind", code, phone=mask_msisdn(row.msisdn), rights=rights_text(row.rights), card=card)


def hold_phone_txn(desk: Desk, msisdn: str) -> int:
    """A number gets another card: it waits as one that replaces a lost one does. Returns from when it counts."""
    row = desk.txn.execute(select(_phone).where(_phone.c.msisdn == msisdn)).one()
    if row.active_from_ms > desk.now_ms:  # it waits already, for this very card
        return int(row.active_from_ms)
    active_from_ms = desk.now_ms + desk.settings.sim_wait_ms
    _change(desk, row, active_from_ms=active_from_ms)
    return active_from_ms


def lost_sim_txn(desk: Desk, code: str, lost: str, replacement: str = "") -> int:
    """Block a lost number and its card at once; bind what replaces it, which must wait. Returns from when it counts.

    ``replacement`` may be another number or the same one (a new SIM with the old number: its new card is added
    after this); "" = none yet. It has the rights of the lost one, waits ``sim_wait_ms``, or until two people let it
    go after a call back. Returns 0 without a replacement.
    """
    row = _bound(desk.txn, code, lost)
    digits = digits_of(replacement) if replacement else ""
    card = _block_card(desk.txn, row.msisdn)
    active_from_ms = desk.now_ms + desk.settings.sim_wait_ms if digits else 0
    if digits == row.msisdn:
        _change(desk, row, status=PHONE_ACTIVE, active_from_ms=active_from_ms)
    else:
        _change(desk, row, status=PHONE_BLOCKED)
        if digits:
            bind_phone_txn(desk, code, digits, row.rights, active_from_ms=active_from_ms)
    new = {digits} if digits != row.msisdn else set()
    tell_outlet_txn(desk, row.outlet_id, "phone-lost", mask_msisdn(row.msisdn), also=(row.msisdn,), but=new)
    shown = {"replacement": mask_msisdn(digits), "active_from_ms": active_from_ms} if digits else {}
    desk.note("phone.lost", code, phone=mask_msisdn(row.msisdn), card=card, **shown)
    return active_from_ms


def release_phone_txn(desk: Desk, code: str, phone: str, note: str) -> None:
    """Let a number that waits order before its time. ``note``: who was called back, and when.

    It weakens a control: whoever calls this has made sure that a second person agrees.
    """
    if not note.strip():
        raise RegistryError("who was called back? The note is missing")
    row = _bound(desk.txn, code, phone)
    if row.status != PHONE_ACTIVE or row.active_from_ms <= desk.now_ms:
        raise RegistryError(f"number {mask_msisdn(row.msisdn)} does not wait to be let go")
    _change(desk, row, active_from_ms=desk.now_ms)
    tell_outlet_txn(desk, row.outlet_id, "phone-release", mask_msisdn(row.msisdn), but=(row.msisdn,))
    desk.note("phone.release", code, phone=mask_msisdn(row.msisdn), note=note.strip()[:200])


def _bound(txn: Connection, code: str, phone: str) -> Any:
    """The row of an open outlet's number. Raises RegistryError."""
    digits = digits_of(phone)
    outlet = open_row(txn, code)
    row = txn.execute(select(_phone).where(_phone.c.msisdn == digits)).first()
    if row is None or row.outlet_id != outlet.id:
        raise RegistryError(f"number {mask_msisdn(digits)} is not bound to outlet {code}")
    return row


def _change(desk: Desk, row: Any, **values: int) -> None:
    desk.txn.execute(update(_phone).where(_phone.c.msisdn == row.msisdn).values(**values))


def _check_rights(rights: int) -> None:
    if not 0 < rights <= sum(RIGHTS.values()):
        raise RegistryError(f"a number needs a right: {', '.join(RIGHTS)}")


def _in_use(txn: Connection, outlet_id: int, *, by_ms: int | None = None) -> int:
    """Numbers of an outlet that are not blocked; ``by_ms``: those that no longer wait at that time."""
    active = (_phone.c.outlet_id == outlet_id) & (_phone.c.status == PHONE_ACTIVE)
    if by_ms is not None:
        active &= _phone.c.active_from_ms <= by_ms
    return int(txn.execute(select(func.count()).select_from(_phone).where(active)).scalar_one())


def _block_card(txn: Connection, msisdn: str) -> str:
    """Block the card in a number; returns the end of its ICCID, "" when there was none to block."""
    found = (_card.c.msisdn == msisdn) & (_card.c.status == CARD_ACTIVE)
    iccid = txn.execute(select(_card.c.iccid).where(found)).scalar()
    if iccid is None:
        return ""
    txn.execute(update(_card).where(found).values(status=CARD_BLOCKED))
    return str(iccid)[-4:]
