"""Questions of an outlet, messages that say nothing, notices that went out, float that came in. Pure."""

from __future__ import annotations

from typing import Final

from aircharge.errors import Reason
from aircharge.ledger.chart import BANK_CLEARING, JOURNAL_FUNDING, RIGHT_QUERY
from aircharge.ledger.commands import Fund, Inquire, InquiryReceipt, NoticesDone, Offence
from aircharge.ledger.page import Facts, Page
from aircharge.ledger.rows import Needs, OutletRow, PhoneRow, TxnRow, Usage
from aircharge.ledger.rule import Rule, asker_needs
from aircharge.values import Channel, Operation, Receipt, State, content_hash

__all__ = ["FUNDING_SCOPE", "RULES", "fund", "inquire", "inquiry_hash", "notices_done", "offence"]

FUNDING_SCOPE = "funding"


def inquiry_hash(command: Inquire) -> bytes:
    return content_hash(command.operation, command.about, 0)


def inquire(page: Page, command: Inquire) -> InquiryReceipt:
    """Balance or last recharge; the reply is a notice. Writes the serial and the PIN count."""
    asker = command.asker
    content, seen = inquiry_hash(command), page.seen(asker.card)
    outlet, phone = page.outlet_of(asker.phone)
    reason, told = Reason.OK, Facts()
    if seen is not None and seen.req_hash != content:
        reason = Reason.CLASH
    elif (seen is not None and page.is_late(seen.seen_ms)) or (
        seen is None and not page.spend_counter(asker.card)
    ):
        reason = Reason.REPLAY
    page.spend_serial(asker.card, content, 0)
    if outlet is None or phone is None:
        page.offend(asker, Reason.UNKNOWN_SENDER)
        return InquiryReceipt(Reason.UNKNOWN_SENDER)
    if reason is Reason.OK:
        reason, told = _may_ask(page, command, outlet, phone, is_first=seen is None)
    else:
        page.audit(f"alarm.{reason.name.lower()}", outlet.code, channel=int(command.channel))
    facts: Facts = {"at_ms": page.now_ms, "outlet": outlet.code}
    if reason is not Reason.OK:
        facts |= {"reason": reason.name, **told}
        page.notice(0, "outlet.refused", asker.phone, asker.service, outlet.language, facts)
        return InquiryReceipt(reason, outlet.id, facts)
    if command.operation is Operation.BALANCE:
        facts |= _balance(page, outlet)
    elif command.operation is Operation.LAST:
        facts |= _last(page, outlet)
    else:
        facts |= command.found
    topic = f"outlet.{command.operation.name.lower()}"
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


def _balance(page: Page, outlet: OutletRow) -> Facts:
    usage = page.rows.usage.get(outlet.id, Usage())
    return {**page.float_facts(outlet), "today_n": usage.today_n, "today_fen": usage.today_fen}


def _last(page: Page, outlet: OutletRow) -> Facts:
    row = page.rows.usage.get(outlet.id, Usage()).last
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
    return page.offend(command.asker, command.reason)


def notices_done(page: Page, command: NoticesDone) -> None:
    page.changes.notices_sent.extend(command.sent)
    page.changes.notices_retry.extend(command.retry)
    page.changes.notices_expired.extend(command.expired)


def fund(page: Page, command: Fund) -> Receipt | str:
    """Bank clearing pays into the float, on the word of two people. One bank slip counts once."""
    request = page.rows.requests.get(command.request_id)
    if request is None or request.state or request.what != FUNDING_SCOPE:
        return f"no request {command.request_id} waits to be confirmed"
    if not command.checker.strip() or command.checker == request.maker:
        return "maker and checker are two people"
    account, amount_fen, slip = (request.payload[name] for name in ("account", "amount_fen", "slip"))
    outlet = page.rows.accounts.get(account)
    if outlet is None:
        return "that outlet does not exist"
    if (FUNDING_SCOPE, slip) in page.rows.by_key:
        return f"bank slip {slip} has been booked already"
    row = _funding_row(page, outlet, amount_fen, slip)
    page.add_txn(row)
    balance = page.credit(account, amount_fen)
    before_fen = balance.posted - amount_fen
    page.post(row, JOURNAL_FUNDING, BANK_CLEARING, account, amount_fen)
    request.state = 1
    page.changes.requests.append((request.id, command.checker, row.id))
    page.audit(
        "funding.confirm",
        outlet.code,
        command.checker,
        request=request.id,
        maker=request.maker,
        amount_fen=amount_fen,
    )
    facts = {
        "order_id": row.id,
        "amount_fen": amount_fen,
        "before_fen": before_fen,
        "after_fen": balance.posted,
        "at_ms": page.now_ms,
        "outlet": outlet.code,
    }
    recipient = page.rows.first_phones.get(outlet.id)
    if recipient:
        page.notice(row.id, "outlet.funded", recipient, command.service, outlet.language, facts)
    return page.receipt(row, fresh=True)


def _funding_row(page: Page, outlet: OutletRow, amount_fen: int, slip: str) -> TxnRow:
    return TxnRow(
        id=page.ids(),
        kind=int(Operation.FUNDING),
        channel=int(Channel.CLI),
        idem_scope=FUNDING_SCOPE,
        idem_key=slip,
        req_hash=content_hash(Operation.FUNDING, str(outlet.float_id), amount_fen),
        outlet_acct=outlet.float_id,
        operator_id=0,
        msisdn="",
        amount=amount_fen,
        cost=amount_fen,
        repeat_n=1,
        asker="",
        service="",
        state=int(State.SETTLED),
        reason=Reason.OK.number,
        op_ref=None,
        op_code=None,
        op_serial=None,
        attempts=0,
        biz_date=page.date(),
        created_ms=page.now_ms,
        next_ms=None,
        done_ms=page.now_ms,
    )


def _inquire_needs(needs: Needs, command: Inquire) -> None:
    asker_needs(needs, command.asker)
    needs.usage.add(command.asker.phone)


def _offence_needs(needs: Needs, command: Offence) -> None:
    asker_needs(needs, command.asker)
    needs.offenders.add(command.asker.phone)


RULES: Final = {
    Inquire: Rule(_inquire_needs, inquire),
    Offence: Rule(_offence_needs, offence),
    NoticesDone: Rule(lambda needs, command: None, notices_done),
    Fund: Rule(lambda needs, command: needs.requests.add(command.request_id), fund),
}
