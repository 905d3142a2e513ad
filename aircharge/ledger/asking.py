"""Questions of an outlet, messages that say nothing, notices that went out. Pure."""

from __future__ import annotations

from typing import Final

from aircharge.errors import Reason
from aircharge.ledger.chart import RIGHT_QUERY
from aircharge.ledger.commands import Inquire, InquiryReceipt, NoticesDone, Offence
from aircharge.ledger.hearing import count_replay, hear, heard_again, heard_before, hearing_needs
from aircharge.ledger.page import Facts, Page
from aircharge.ledger.rows import Needs, OutletRow, PhoneRow
from aircharge.ledger.rule import Rule, asker_needs
from aircharge.values import Asker, Channel, Operation, Pin, State, content_hash

__all__ = ["RULES", "inquire", "inquiry_hash", "notices_done", "offence", "serial_says"]


def inquiry_hash(command: Inquire) -> bytes:
    return content_hash(command.operation, command.about, 0)


def serial_says(page: Page, asker: Asker, content: bytes, pin: Pin | None) -> tuple[Reason, bool]:
    """OK, CLASH or REPLAY of a message that is no order, and whether it is the first with its serial; spends it.

    With another PIN it is another message: a repetition's PIN is not counted, and must not be a new guess.
    """
    seen, reason = page.seen(asker.card), Reason.OK
    content = page.with_pin(content, asker.phone, pin)
    if seen is not None and seen.req_hash != content:
        reason = Reason.CLASH
    elif (seen is not None and page.is_late(seen.seen_ms)) or (
        seen is None and not page.spend_counter(asker.card)
    ):
        reason = Reason.REPLAY
    page.spend_serial(asker.card, content, 0)
    return reason, seen is None


def inquire(page: Page, command: Inquire) -> InquiryReceipt:
    """Balance or last recharge; the reply is a notice. Writes the serial and the PIN count."""
    asker = command.asker
    outlet, phone = page.outlet_of(asker.phone)
    reason, is_first = serial_says(page, asker, inquiry_hash(command), asker.pin)
    told, is_news = Facts(), True
    if outlet is None or phone is None:
        page.offend(asker, Reason.UNKNOWN_SENDER)
        return InquiryReceipt(Reason.UNKNOWN_SENDER)
    if reason is Reason.OK:
        reason, told = _may_ask(page, command, outlet, phone, is_first=is_first)
        if not is_first:  # the SMS centre again, or somebody who has caught the packet
            is_news = count_replay(page, asker, "", outlet.code)
    else:
        is_news = count_replay(
            page, asker, f"alarm.{reason.name.lower()}", outlet.code, channel=int(command.channel)
        )
    facts: Facts = {"at_ms": page.now_ms, "outlet": outlet.code}
    if reason is not Reason.OK:
        facts |= {"reason": reason.name, **told}
        if is_news:
            page.notice(0, "outlet.refused", asker.phone, asker.service, outlet.language, facts)
        return InquiryReceipt(reason, outlet.id, facts)
    if command.operation is Operation.BALANCE:
        facts |= page.float_facts(outlet)
    elif command.operation is Operation.LAST:
        facts |= _last(page, outlet)
    facts |= command.found
    topic = f"outlet.{command.operation.name.lower()}"
    if is_news:
        page.notice(0, topic, asker.phone, asker.service, outlet.language, facts)
    return InquiryReceipt(Reason.OK, outlet.id, facts)


def _may_ask(
    page: Page, command: Inquire, outlet: OutletRow, phone: PhoneRow, *, is_first: bool
) -> tuple[Reason, Facts]:
    asker = command.asker
    reason = page.standing(asker, outlet, phone, RIGHT_QUERY, asks_only=True)
    if reason is not Reason.OK:
        return reason, {}
    if page.is_stale(command.sent_ms, command.received_ms):
        return Reason.STALE, {}
    needed = command.pin_needed or (
        command.channel is Channel.SMS and page.policy_wants_pin(outlet, command.channel, 0)
    )
    return page.check_pin(outlet, asker.pin, needed=needed, counts=is_first)


def _last(page: Page, outlet: OutletRow) -> Facts:
    row = page.rows.last.get(outlet.id)
    if row is None:
        return {"order_id": 0}
    return {
        "order_id": row.id,
        "target": row.msisdn,
        "amount_fen": row.amount,
        "at_ms": row.created_ms,
        "state": State(row.state).name,
        "reason": Reason.by_number(row.reason).name,
    }


def offence(page: Page, command: Offence) -> int:
    before = heard_before(page, command)
    if before is not None:
        heard_again(page, command, before)
        return 0
    hear(page, command, 0, command.reason)
    return page.offend(command.asker, command.reason, command.verb)


def notices_done(page: Page, command: NoticesDone) -> None:
    page.changes.notices_sent.extend(command.sent)
    page.changes.notices_retry.extend(command.retry)
    page.changes.notices_left.extend(command.left)
    page.changes.notices_expired.extend(command.expired)


def _inquire_needs(needs: Needs, command: Inquire) -> None:
    asker_needs(needs, command.asker)
    if command.operation is Operation.LAST:
        needs.last.add(command.asker.phone)


def _offence_needs(needs: Needs, command: Offence) -> None:
    asker_needs(needs, command.asker)
    hearing_needs(needs, command)
    needs.offenders.add(command.asker.phone)


RULES: Final = {
    Inquire: Rule(_inquire_needs, inquire),
    Offence: Rule(_offence_needs, offence),
    NoticesDone: Rule(lambda needs, command: None, notices_done),
}
