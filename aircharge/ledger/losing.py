"""An outlet's owner says that another number of the outlet is lost: it and its card order nothing more. Pure.

It only ever closes something, so it takes one person: a phone with the right ``admin`` and the outlet's PIN. To open a
number again, or to bind what replaces it, is the desk's business (``outlets.phones``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aircharge.errors import Reason
from aircharge.ledger.asking import serial_says
from aircharge.ledger.chart import CARD_ACTIVE, CARD_BLOCKED, PHONE_ACTIVE, PHONE_BLOCKED, RIGHT_ADMIN
from aircharge.ledger.commands import InquiryReceipt
from aircharge.ledger.hearing import count_replay, hear, heard_again, heard_before, hearing_needs
from aircharge.ledger.page import Facts, Page
from aircharge.ledger.rows import Needs, OutletRow, PhoneRow, RowChange
from aircharge.ledger.rule import Rule, asker_needs
from aircharge.values import Asker, Channel, Operation, Said, content_hash, mask_msisdn

__all__ = ["RULES", "ReportLost", "report_lost"]


@dataclass(frozen=True, slots=True)
class ReportLost:
    """``lost``: national digits of the other number. Result: InquiryReceipt; the reply is a notice in the same commit.

    A number that is blocked already is answered like one that was blocked now.
    """

    channel: Channel
    asker: Asker
    lost: str
    received_ms: int
    sent_ms: int | None = None
    said: Said | None = None

    @property
    def target(self) -> str:
        return self.lost


def report_lost(page: Page, command: ReportLost) -> InquiryReceipt:
    """OK, or what ``Inquire`` refuses for, and NOT_FOUND: no other number of this outlet is called so."""
    asker = command.asker
    before = heard_before(page, command)
    if before is not None:
        known = heard_again(page, command, before)
        return InquiryReceipt(Reason.DUPLICATE, known.id if known else 0)
    outlet, phone = page.outlet_of(asker.phone)
    content = content_hash(Operation.STATUS, f"lost {command.lost}", 0)
    reason, is_first = serial_says(page, asker, content, asker.pin)
    if outlet is None or phone is None:
        hear(page, command, 0, Reason.UNKNOWN_SENDER)
        page.offend(asker, Reason.UNKNOWN_SENDER)
        return InquiryReceipt(Reason.UNKNOWN_SENDER)
    facts: Facts = {"at_ms": page.now_ms, "outlet": outlet.code, "target": command.lost}
    if reason is Reason.OK:
        reason, told = _decide(page, command, outlet, phone, is_first=is_first)
        facts |= told
    if reason is not Reason.OK:
        facts["reason"] = reason.name
    hear(page, command, 0, reason)
    topic = "outlet.phone-lost" if reason is Reason.OK else "outlet.refused"
    if is_first or count_replay(page, asker, "", outlet.code):
        page.notice(0, topic, asker.phone, asker.service, outlet.language, facts)
    return InquiryReceipt(reason, outlet.id, facts)


def _decide(
    page: Page, command: ReportLost, outlet: OutletRow, phone: PhoneRow, *, is_first: bool
) -> tuple[Reason, Facts]:
    reason = page.standing(command.asker, outlet, phone, RIGHT_ADMIN, asks_only=True)
    if reason is not Reason.OK:
        return reason, {}
    if page.is_stale(command.sent_ms, command.received_ms):
        return Reason.STALE, {}
    reason, told = page.check_pin(outlet, command.asker.pin, needed=True, counts=is_first)
    if reason is not Reason.OK:
        return reason, told
    lost = page.rows.phones.get(command.lost)
    if lost is None or lost.outlet_id != outlet.id or command.lost == command.asker.phone:
        return Reason.NOT_FOUND, {}
    if lost.status == PHONE_ACTIVE:
        _block(page, command, outlet, lost)
    return Reason.OK, {}


def _block(page: Page, command: ReportLost, outlet: OutletRow, lost: PhoneRow) -> None:
    lost.status = PHONE_BLOCKED
    page.changes.rare.append(RowChange("outlet_phone", {"status": PHONE_BLOCKED}, {"msisdn": command.lost}))
    ends = []
    for card in page.rows.found.get(("card", "msisdn", command.lost), ()):
        if card["status"] == CARD_ACTIVE:
            page.changes.rare.append(RowChange("card", {"status": CARD_BLOCKED}, {"id": card["id"]}))
            ends.append(str(card["iccid"])[-4:])
    shown = {"phone": mask_msisdn(command.lost), "card": ends[0] if ends else ""}
    page.audit("phone.lost", outlet.code, f"outlet {outlet.code}", channel=int(command.channel), **shown)


def _needs(needs: Needs, command: ReportLost) -> None:
    asker_needs(needs, command.asker)
    hearing_needs(needs, command)
    needs.phones.add(command.lost)
    needs.wanted.add(("card", "msisdn", command.lost))


RULES: Final = {ReportLost: Rule(_needs, report_lost)}
