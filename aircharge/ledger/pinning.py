"""An outlet changes its PIN, or sets the one it gives under duress. Pure.

Digits never leave this room but as MACs: no request is written down, and none is known by a mark, for a fingerprint
of a text with six digits in it would give them away. A repetition is known by what it asks for instead.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Any, Final

from aircharge.errors import Reason
from aircharge.ledger.asking import serial_says
from aircharge.ledger.chart import RIGHT_RECHARGE
from aircharge.ledger.commands import InquiryReceipt
from aircharge.ledger.hearing import count_replay, hear, heard_again, heard_before, hearing_needs
from aircharge.ledger.page import Facts, Page
from aircharge.ledger.pin_rules import duress_record, is_duress, is_near, why_weak
from aircharge.ledger.rows import CredentialRow, HeardRow, Needs, OutletRow, PhoneRow, RowChange
from aircharge.ledger.rule import Rule, asker_needs
from aircharge.values import Asker, Channel, Operation, Pin, Said, content_hash

__all__ = ["HISTORY", "RULES", "ChangePin", "change_pin"]

HISTORY: Final = 3
"""A new PIN is none of the last three: the present one and the two before it."""


@dataclass(frozen=True, slots=True)
class ChangePin:
    """The old PIN, and twice the new one. Result: InquiryReceipt; the reply is a notice in the same commit.

    ``salt`` comes from chance; ``outlet_id`` is the outlet of the asking phone as it was read beforehand.
    """

    channel: Channel
    asker: Asker
    old: Pin
    new: Pin
    again: Pin
    received_ms: int
    sent_ms: int | None = None
    duress: bool = False  # ``new`` is to be the duress PIN; the PIN stays
    outlet_id: int = 0
    salt: bytes = field(default=b"", repr=False)
    said: Said | None = None


def change_pin(page: Page, command: ChangePin) -> InquiryReceipt:
    """OK, or what ``Inquire`` refuses for, PIN_WRONG, PIN_LOCKED, PIN_CHANGE (a duress PIN before that), PIN_WEAK."""
    asker = command.asker
    before = heard_before(page, command)
    if before is not None:
        return _again(page, command, before)
    outlet, phone = page.outlet_of(asker.phone)
    content = content_hash(Operation.PIN_CHANGE, "duress" if command.duress else "", 0)
    reason, is_first = serial_says(page, asker, content, command.old)
    if outlet is None or phone is None:
        hear(page, command, 0, Reason.UNKNOWN_SENDER)
        page.offend(asker, Reason.UNKNOWN_SENDER)
        return InquiryReceipt(Reason.UNKNOWN_SENDER)
    told: Facts = {}
    is_news = True
    if reason is not Reason.OK:
        is_news = count_replay(
            page, asker, f"alarm.{reason.name.lower()}", outlet.code, channel=int(command.channel)
        )
    else:
        reason, told = _decide(page, command, outlet, phone, is_first=is_first)
    facts: Facts = {"at_ms": page.now_ms, "outlet": outlet.code, **told}
    if reason is not Reason.OK:
        facts["reason"] = reason.name
    hear(page, command, 0, reason)
    topic = "outlet.pin-changed" if reason is Reason.OK else "outlet.refused"
    if is_news:
        page.notice(0, topic, asker.phone, asker.service, outlet.language, facts)
    return InquiryReceipt(reason, outlet.id, facts)


def _again(page: Page, command: ChangePin, before: HeardRow) -> InquiryReceipt:
    """Delivered again: no PIN is looked at, for it may have been changed since."""
    outlet = heard_again(page, command, before)
    return InquiryReceipt(Reason.DUPLICATE, outlet.id if outlet else 0)


def _decide(
    page: Page, command: ChangePin, outlet: OutletRow, phone: PhoneRow, *, is_first: bool
) -> tuple[Reason, Facts]:
    reason = page.standing(command.asker, outlet, phone, RIGHT_RECHARGE, asks_only=False, sets_pin=True)
    if reason is not Reason.OK:
        return reason, {}
    if page.is_stale(command.sent_ms, command.received_ms):
        return Reason.STALE, {}
    if outlet.id != command.outlet_id:  # the number was bound to another outlet a moment ago
        return Reason.RIGHTS, {}
    row = page.rows.credentials.get(outlet.id)
    if row is not None and _is_done(page, command, row):
        return Reason.OK, {}
    changing = not command.duress
    reason, told = page.check_pin(outlet, command.old, needed=True, counts=is_first, changing=changing)
    if reason is not Reason.OK or row is None:
        return reason, told
    if why := _why_not(page, command, row):
        return Reason.PIN_WEAK, {"why": why}
    if command.duress:
        _set_duress(page, command, row)
    else:
        _set_pin(page, command, row)
    what = "pin.duress" if command.duress else "pin.change"
    page.audit(what, outlet.code, f"outlet {outlet.code}", channel=int(command.channel))
    return Reason.OK, {}


def _is_done(page: Page, command: ChangePin, row: CredentialRow) -> bool:
    """The same change again, a moment later: the SMS centre repeats itself. Only who knows both PINs can say it."""
    history = _history(page, row)
    if command.duress or not history or row.locked_until_ms > page.now_ms:
        return False
    is_late = page.is_late(history[-1]["changed_ms"])
    return not is_late and page.is_pin(row, command.new) and _was(page, history[-1], row, command.old)


def _why_not(page: Page, command: ChangePin, row: CredentialRow) -> str:
    """A word of the templates (``word.why.…``); "" = it may be. Which PIN it is too near is not told."""
    if command.new.secret != command.again.secret:
        return "pin-differs"
    new, outlet_id = command.new, row.outlet_id
    phones = [item["msisdn"] for item in page.rows.found.get(("outlet_phone", "outlet_id", outlet_id), ())]
    if why_weak(new.secret, [*phones, command.asker.phone]):
        return "pin-easy"
    if command.duress:
        return "pin-easy" if is_near(new.secret, lambda pin: page.is_pin(row, Pin(pin))) else ""
    if is_near(new.secret, lambda pin: is_duress(page.pin_mac, row.duress_mac, outlet_id, pin)):
        return "pin-easy"
    before = _history(page, row)[1 - HISTORY :]
    is_used = page.is_pin(row, new) or any(_was(page, item, row, new) for item in before)
    return "pin-used" if is_used else ""


def _was(page: Page, item: dict[str, Any], row: CredentialRow, pin: Pin) -> bool:
    mac = page.pin_mac(item["pepper_ver"], row.outlet_id, bytes(item["salt"]), pin.secret)
    return hmac.compare_digest(mac, bytes(item["pin_mac"]))


def _history(page: Page, row: CredentialRow) -> list[dict[str, Any]]:
    """PINs there were, the oldest first; changes of this batch are in it."""
    return page.rows.found.setdefault(("pin_history", "outlet_id", row.outlet_id), [])


def _set_pin(page: Page, command: ChangePin, row: CredentialRow) -> None:
    """The present PIN goes into the history, the new one takes its place."""
    history = _history(page, row)
    changed_ms = max(page.now_ms, history[-1]["changed_ms"] + 1 if history else 0)
    old = {"pin_mac": row.pin_mac, "salt": row.salt, "pepper_ver": row.pepper_ver}
    old |= {"outlet_id": row.outlet_id, "changed_ms": changed_ms}
    history.append(old)
    page.changes.rare.append(RowChange("pin_history", old))
    row.salt, row.must_change = command.salt, 0
    row.pin_mac = page.pin_mac(row.pepper_ver, row.outlet_id, row.salt, command.new.secret)
    values = {"pin_mac": row.pin_mac, "salt": row.salt, "must_change": 0, "changed_ms": page.now_ms}
    page.changes.rare.append(RowChange("credential", values, {"outlet_id": row.outlet_id}))


def _set_duress(page: Page, command: ChangePin, row: CredentialRow) -> None:
    row.duress_mac = duress_record(
        page.pin_mac, row.pepper_ver, row.outlet_id, command.salt, command.new.secret
    )
    values = {"duress_mac": row.duress_mac}
    page.changes.rare.append(RowChange("credential", values, {"outlet_id": row.outlet_id}))


def _needs(needs: Needs, command: ChangePin) -> None:
    asker_needs(needs, command.asker)
    hearing_needs(needs, command)
    needs.wanted.add(("pin_history", "outlet_id", command.outlet_id))
    needs.wanted.add(("outlet_phone", "outlet_id", command.outlet_id))


RULES: Final = {ChangePin: Rule(_needs, change_pin)}
