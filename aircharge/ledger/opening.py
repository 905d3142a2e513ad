"""Opening a recharge: check in ``Reason``'s order of precedence, then hold the float. Pure."""

from __future__ import annotations

from typing import Final

from aircharge.errors import Reason
from aircharge.ledger import hearing, limits, pos_proof, repeating
from aircharge.ledger.chart import RIGHT_RECHARGE
from aircharge.ledger.commands import OpenRecharge
from aircharge.ledger.page import Facts, Page
from aircharge.ledger.pricing import Quote, quote, sells
from aircharge.ledger.repeating import facts_of, keys_of
from aircharge.ledger.rows import Charge, Needs, OutletRow, PhoneRow, TxnRow
from aircharge.ledger.rule import Rule, asker_needs
from aircharge.ledger.screening import Request, screen
from aircharge.values import (
    AMOUNT_MAX_FEN,
    YES_WORDS,
    Key,
    Operation,
    Order,
    Receipt,
    State,
    content_hash,
    terminal_of,
)

__all__ = [
    "RULES",
    "charge_of",
    "earlier_hash",
    "hold",
    "is_admitted",
    "open_recharge",
    "order_row",
    "weigh",
]

_ADMITTED: Final = (Reason.OK, Reason.REVIEW)
_CONTENT_REASONS = (Reason.NUMBER, Reason.AMOUNT, Reason.FORMAT)


def earlier_hash(order: Order) -> bytes:
    """Content of a re-confirmation: which request it asks about, and what that request was."""
    assert order.earlier is not None
    target = f"{order.earlier.mark}|{order.target}"
    return content_hash(Operation.RECONFIRM, target, order.amount_fen, order.repeat)


def _needs(needs: Needs, command: OpenRecharge) -> None:
    order = command.order
    asker_needs(needs, order.asker)
    hearing.hearing_needs(needs, order)
    needs.keys.update((key.scope, key.mark) for key in keys_of(order))
    needs.keys.add((order.key.scope, order.key.mark))
    needs.intents.add((order.asker.phone, str(order.target)))
    needs.charges.add(charge_of(command))


def open_recharge(page: Page, command: OpenRecharge) -> Receipt:
    """Hold, refuse, or repeat what was said before."""
    order = command.order
    if order.earlier is not None:
        return _reconfirm(page, command)
    content = content_hash(Operation.RECHARGE, order.target, order.amount_fen, order.repeat)
    known, before = repeating.known(page, order), hearing.heard_before(page, order)
    if before is not None and hearing.is_to_answer(page, order, known):
        return hearing.answer_again(page, order, before)
    if known is not None:
        return repeating.repeat(
            page, order, known, content, is_other=pos_proof.is_other(page, known, order.mac)
        )
    seen = page.seen(order.asker.card)
    if seen is not None:  # the serial of a question, or of a message nobody could be served for
        if seen.req_hash != content:
            return repeating.turn_away(page, order, None, Reason.CLASH)
        if page.is_late(seen.seen_ms):
            return repeating.turn_away(page, order, None, Reason.REPLAY)
    fresh_counter = seen is not None or page.spend_counter(order.asker.card)
    outlet, phone = page.outlet_of(order.asker.phone)
    if outlet is None or phone is None:
        return repeating.nobody(page, order, content)
    reason, facts = _who(page, command, outlet, phone, fresh_counter=fresh_counter, asks_only=False)
    if reason is Reason.OK:
        reason, facts = weigh(page, command, outlet)
    row = _record(page, command, outlet, keys_of(order)[0], content, reason, facts)
    page.spend_serial(order.asker.card, content, row.id)
    return page.receipt(row, fresh=True)


# -- re-confirmation (重复充值) ------------------------------------------------------------------------------


def _reconfirm(page: Page, command: OpenRecharge) -> Receipt:
    """Ask the state of an earlier request; execute it, under the earlier key, only if no record of it exists.

    A refusal of the question itself (a wrong PIN, say) is recorded under the question's own key: the earlier
    request stays free to be confirmed by the next question.
    """
    order = command.order
    assert order.earlier is not None
    own = earlier_hash(order)
    repeated = _repeated_question(page, order, own)
    if repeated is not None:
        return repeated
    earlier = page.rows.by_key.get((order.earlier.scope, order.earlier.mark))
    content = content_hash(Operation.RECHARGE, order.target, order.amount_fen, order.repeat)
    fresh_counter = page.spend_counter(order.asker.card)
    outlet, phone = page.outlet_of(order.asker.phone)
    if outlet is None or phone is None:
        return repeating.nobody(page, order, own)
    asks_only = earlier is not None
    reason, facts = _who(page, command, outlet, phone, fresh_counter=fresh_counter, asks_only=asks_only)
    if reason is Reason.OK and earlier is not None:
        page.spend_serial(order.asker.card, own, earlier.id)
        if earlier.req_hash != content:
            return repeating.turn_away(page, order, earlier, Reason.CLASH)
        return _tell_state(page, order, earlier)
    if reason is Reason.OK:
        reason, facts = weigh(page, command, outlet)
    key, kept = (order.earlier, content) if reason in _ADMITTED else (order.key, own)
    row = _record(page, command, outlet, key, kept, reason, facts)
    page.spend_serial(order.asker.card, own, row.id)
    return page.receipt(row, fresh=True)


def _repeated_question(page: Page, order: Order, own: bytes) -> Receipt | None:
    """The very same question again; None when it is new."""
    refused = page.rows.by_key.get((order.key.scope, order.key.mark))
    if refused is not None:
        return repeating.repeat(page, order, refused, own)
    seen = page.seen(order.asker.card)
    if seen is None:
        return None
    about = page.rows.txns.get(seen.txn_id)
    if seen.req_hash != own:
        return repeating.turn_away(page, order, about, Reason.CLASH)
    if about is None or page.is_late(seen.seen_ms):
        return repeating.turn_away(page, order, about, Reason.REPLAY)
    return _tell_state(page, order, about)


def _tell_state(page: Page, order: Order, row: TxnRow) -> Receipt:
    repeating.tell_state(page, order, row)
    return page.receipt(row, fresh=False)


# -- the checks -------------------------------------------------------------------------------------------


def _who(
    page: Page,
    command: OpenRecharge,
    outlet: OutletRow,
    phone: PhoneRow,
    *,
    fresh_counter: bool,
    asks_only: bool,
) -> tuple[Reason, Facts]:
    """REPLAY, CARD, OUTLET, RIGHTS, STALE, the PIN's reasons; else OK."""
    order = command.order
    if not fresh_counter:
        return Reason.REPLAY, {}
    reason = page.standing(order.asker, outlet, phone, RIGHT_RECHARGE, asks_only=asks_only)
    if reason is not Reason.OK:
        return reason, {}
    if page.is_stale(order.sent_ms, order.received_ms):
        return Reason.STALE, {}
    needed = command.pin_needed or page.policy_wants_pin(outlet, order.channel, order.amount_fen)
    return page.check_pin(outlet, order.asker.pin, needed=needed)


def weigh(page: Page, command: OpenRecharge, outlet: OutletRow) -> tuple[Reason, Facts]:
    """NUMBER, AMOUNT, FORMAT, DUPLICATE, what ``screen`` finds, the limits, OPERATOR_DOWN or BUSY, FLOAT; else OK.

    REVIEW says that nothing is wrong, but a rule wants a clerk to look at it: held, and parked.
    """
    order = command.order
    if command.refuse in _CONTENT_REASONS:
        return command.refuse, {}
    if not command.operator_id:
        return Reason.NUMBER, {}
    if not 0 < order.amount_fen <= AMOUNT_MAX_FEN:
        return Reason.AMOUNT, {}
    by_default = not command.unsold
    if not sells(page.rows.policy, command.operator_id, order.amount_fen, page.today, by_default=by_default):
        return Reason.AMOUNT, {}
    duplicate = {} if command.batch_id else _intended_before(page, order, outlet)
    if duplicate:
        return Reason.DUPLICATE, duplicate
    screened, told = screen(page, outlet, _request(command))
    if screened not in _ADMITTED:
        return screened, told
    reason, facts = limits.check(page, outlet, charge_of(command), order.amount_fen)
    if reason is not Reason.OK:
        return reason, facts
    if command.refuse is not Reason.OK:
        return command.refuse, {}
    short_fen = _quote(page, command, outlet).cost_fen - command.reserved_fen
    if 0 < short_fen > page.rows.balances[outlet.float_id].available - outlet.residual_fen:
        return Reason.FLOAT, {}
    return screened, told


def _quote(page: Page, command: OpenRecharge, outlet: OutletRow) -> Quote:
    return quote(page.rows.policy, command.operator_id, outlet.group, command.order.amount_fen, page.today)


def charge_of(command: OpenRecharge) -> Charge:
    """What a recharge counts against."""
    order = command.order
    terminal = command.terminal or terminal_of(order.asker.phone)
    return Charge(order.asker.phone, int(Operation.RECHARGE), str(order.target)[:20], terminal)


def _request(command: OpenRecharge) -> Request:
    """The order as rules look at it; a PIN that has come this far is right."""
    order = command.order
    return Request(
        charge_of(command),
        int(order.channel),
        order.amount_fen,
        command.operator_id,
        repeated=order.repeat > 1,
        confirmed=command.confirmed,
        pin_given=order.asker.pin is not None,
    )


def _intended_before(page: Page, order: Order, outlet: OutletRow) -> Facts:
    """The intent guard over all channels: the first recharge that this one would repeat without saying so."""
    since_ms = page.now_ms - page.settings.intent_window_ms
    rows = [
        row
        for row in page.rows.intents.get((outlet.float_id, str(order.target)), ())
        if row.kind == Operation.RECHARGE
        and row.amount == order.amount_fen
        and row.created_ms >= since_ms
        and row.state
        not in (State.REFUSED, State.VOIDED, State.REVERSED)  # what was taken back repeats nothing
    ]
    if not any(row.repeat_n >= order.repeat for row in rows):
        return {}
    first = min(rows, key=lambda row: row.id)
    return {
        "first_id": first.id,
        "first_at_ms": first.created_ms,
        "repeat_next": max(row.repeat_n for row in rows) + 1,
    }


# -- the record -------------------------------------------------------------------------------------------


def _record(
    page: Page,
    command: OpenRecharge,
    outlet: OutletRow,
    key: Key,
    content: bytes,
    reason: Reason,
    extra: Facts,
) -> TxnRow:
    """Write the order down: held, held and parked, or refused with its notice. Either way its key is taken."""
    order = command.order
    row = order_row(page, command, outlet, key, content, reason)
    page.add_txn(row)
    if order.mac:
        pos_proof.keep(page, row, order.mac)
    if reason in _ADMITTED:
        hold(page, outlet, row)
        limits.count(page, outlet, row, charge_of(command))
    hearing.hear(page, order, row.id, reason)
    if reason is not Reason.OK:
        facts = facts_of(page, order, outlet, row.id, reason) | _how_to_insist(page, order, reason, extra)
        page.notice(row.id, "outlet.refused", order.asker.phone, order.asker.service, outlet.language, facts)
        page.rows.answers[row.id] = ("outlet.refused", facts)
    return row


def _how_to_insist(page: Page, order: Order, reason: Reason, extra: Facts) -> Facts:
    """What is told beside the reason: the number after ``*``, or the answer, that nobody has used yet."""
    said = order.said
    if said is None or order.sent_ms is not None:
        return extra
    facts = dict(extra)
    if reason is Reason.CONFIRM:
        facts["answer"] = hearing.answer_word(page, order.asker.phone, said.window_ms)
    elif said.words != YES_WORDS:
        again = max(extra.get("repeat_next", 0), hearing.next_repeat(page, order.asker.phone, said))
        facts["repeat_next"] = again
    return facts


def is_admitted(reason: Reason) -> bool:
    """Whether an order is held, to be carried or parked."""
    return reason in _ADMITTED


def order_row(
    page: Page, command: OpenRecharge, outlet: OutletRow, key: Key, content: bytes, reason: Reason
) -> TxnRow:
    order, order_id = command.order, page.ids()
    is_held, is_parked = reason in _ADMITTED, reason is Reason.REVIEW
    amount_fen = max(order.amount_fen, 0)
    price = _quote(page, command, outlet) if is_held else Quote(amount_fen)
    return TxnRow(
        id=order_id,
        kind=int(Operation.RECHARGE),
        channel=int(order.channel),
        idem_scope=key.scope,
        idem_key=key.mark,
        req_hash=content,
        outlet_acct=outlet.float_id,
        operator_id=command.operator_id,
        msisdn=str(order.target)[:20],
        amount=amount_fen,
        cost=price.cost_fen,
        repeat_n=order.repeat,
        asker=order.asker.phone,
        service=order.asker.service,
        state=int(State.PARKED if is_parked else State.HELD if is_held else State.REFUSED),
        reason=reason.number,
        op_ref=f"{page.settings.op_ref_prefix}{order_id:020d}" if is_held else None,
        op_code=None,
        op_serial=None,
        attempts=0,
        biz_date=page.date(command.operator_id),
        created_ms=page.now_ms,
        next_ms=page.now_ms + page.settings.hold_look_ms if is_held and not is_parked else None,
        done_ms=None if is_held else page.now_ms,
        commission=price.commission_fen,
        commission_mode=price.mode,
        price_id=price.price_id,
    )


def hold(page: Page, outlet: OutletRow, row: TxnRow) -> None:
    balance = page.rows.balances[outlet.float_id]
    balance.held += row.cost
    page.touch_balance(balance)
    page.rows.intents.setdefault((outlet.float_id, row.msisdn), []).append(row)
    page.rows.last[outlet.id] = row


RULES: Final = {OpenRecharge: Rule(_needs, open_recharge)}
