"""Transfers between outlets, and commission into the float. Pure.

A transfer is one journal row, float to float, settled at once; both sides are told. Parent and child may, others by a
transfer rule. How one is taken back: ``returning``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aircharge.errors import Reason
from aircharge.ledger import limits
from aircharge.ledger.chart import JOURNAL_TRANSFER, OUTLET_ACTIVE, commission_account
from aircharge.ledger.inhouse import Refused, Told, Verb, carry_out, new_row, wish_needs
from aircharge.ledger.page import Facts, Page
from aircharge.ledger.repeating import keys_of
from aircharge.ledger.rows import Charge, Needs, OutletRow, TxnRow
from aircharge.ledger.rule import Rule
from aircharge.ledger.screening import Request, screen
from aircharge.values import (
    AMOUNT_MAX_FEN,
    Asker,
    Channel,
    Key,
    Operation,
    Said,
    State,
    content_hash,
)

__all__ = ["RULES", "TRANSFER", "MoveCommission", "Transfer", "moved", "pair_facts", "tell_first"]


@dataclass(frozen=True, slots=True)
class Transfer:
    """Float to another outlet's float. Result: the Receipt, SETTLED and fresh, REFUSED, or the stored one."""

    channel: Channel
    key: Key
    asker: Asker
    to_code: str
    amount_fen: int
    received_ms: int
    sent_ms: int | None = None
    repeat: int = 1  # 2 = "yes, the same again"
    said: Said | None = None
    earlier: Key | None = None

    @property
    def target(self) -> str:
        return self.to_code


@dataclass(frozen=True, slots=True)
class MoveCommission:
    """Commission account to float; 0 = all there is. Result: the Receipt."""

    channel: Channel
    key: Key
    asker: Asker
    amount_fen: int
    received_ms: int
    sent_ms: int | None = None
    said: Said | None = None
    earlier: Key | None = None

    target: str = ""


# -- transfer ---------------------------------------------------------------------------------------------


def _content(command: Transfer) -> bytes:
    return content_hash(Operation.TRANSFER, command.to_code, command.amount_fen, command.repeat)


def _charge(command: Transfer) -> Charge:
    return Charge(command.asker.phone, int(Operation.TRANSFER), command.to_code)


def _transfer_needs(needs: Needs, command: Transfer) -> None:
    wish_needs(needs, command)
    needs.codes.add(command.to_code)
    needs.intents.add((command.asker.phone, command.to_code))
    needs.charges.add(_charge(command))


def _transfer(page: Page, command: Transfer, outlet: OutletRow) -> Told | Refused:
    other = page.rows.codes.get(command.to_code)
    refused = _objection(page, command, outlet, other)
    if refused is not None:
        return refused
    assert other is not None
    row = _transfer_row(page, command, outlet)
    row.counter_acct = other.float_id
    page.add_txn(row)
    limits.count(page, outlet, row, _charge(command))
    page.rows.intents.setdefault((outlet.float_id, row.msisdn), []).append(row)
    mine = moved(page, outlet.float_id, -row.amount)
    theirs = moved(page, other.float_id, row.amount)
    page.post(row, JOURNAL_TRANSFER, outlet.float_id, other.float_id, row.amount)
    facts = pair_facts(page, row, outlet, other)
    tell_first(page, row, other, "outlet.received", command.asker.service, {**facts, **theirs})
    return Told(row, {**facts, **mine, "outlet": outlet.code})


def _objection(page: Page, command: Transfer, outlet: OutletRow, other: OutletRow | None) -> Refused | None:
    """AMOUNT, DUPLICATE, NOT_FOUND, lists and rules, NO_RULE, limits, FLOAT in that order."""
    amount_fen = command.amount_fen
    if not 0 < amount_fen <= AMOUNT_MAX_FEN:
        return Refused(Reason.AMOUNT, {})
    duplicate = _sent_before(page, command, outlet)
    if duplicate:
        return Refused(Reason.DUPLICATE, duplicate)
    if other is None:
        return Refused(Reason.NOT_FOUND, {})
    refused = _pair(page, outlet, other, amount_fen)
    if refused is not None:
        return refused
    request = Request(
        _charge(command),
        int(command.channel),
        amount_fen,
        repeated=command.repeat > 1,
        confirmed=True,
        pin_given=True,
    )
    reason, facts = screen(page, outlet, request)
    if reason is Reason.OK:
        reason, facts = limits.check(page, outlet, _charge(command), amount_fen)
    if reason is not Reason.OK:  # nobody can let a transfer go later: what is to be held is refused
        return Refused(Reason.RULE if reason is Reason.REVIEW else reason, facts)
    if page.rows.balances[outlet.float_id].available - outlet.residual_fen < amount_fen:
        return Refused(Reason.FLOAT, {})
    return None


def _pair(page: Page, outlet: OutletRow, other: OutletRow, amount_fen: int) -> Refused | None:
    """NO_RULE, or LIMIT_VALUE where a rule allows the two other amounts only."""
    if other.id == outlet.id or other.status != OUTLET_ACTIVE:
        return Refused(Reason.NO_RULE, {})
    if outlet.parent_id == other.id or other.parent_id == outlet.id:
        return None
    rules = page.rows.policy.transfers_between(outlet.code, outlet.group, other.code, other.group)
    if any(rule.min_fen <= amount_fen <= rule.max_fen for rule in rules):
        return None
    if not rules:
        return Refused(Reason.NO_RULE, {})
    fitting = max(rules, key=lambda rule: rule.max_fen)
    told: Facts = {"rule": fitting.id}
    if amount_fen > fitting.max_fen:
        return Refused(Reason.LIMIT_VALUE, told | {"single_max_fen": fitting.max_fen})
    return Refused(Reason.LIMIT_VALUE, told | {"single_min_fen": min(rule.min_fen for rule in rules)})


def _sent_before(page: Page, command: Transfer, outlet: OutletRow) -> Facts:
    """The first transfer of a moment ago that this one would repeat without saying so."""
    since_ms = page.now_ms - page.settings.intent_window_ms
    rows = [
        row
        for row in page.rows.intents.get((outlet.float_id, command.to_code), ())
        if row.kind == Operation.TRANSFER
        and row.state == State.SETTLED
        and row.amount == command.amount_fen
        and row.created_ms >= since_ms
    ]
    if not any(row.repeat_n >= command.repeat for row in rows):
        return {}
    first = min(rows, key=lambda row: row.id)
    again = max(row.repeat_n for row in rows) + 1
    return {"first_id": first.id, "first_at_ms": first.created_ms, "repeat_next": again}


def _transfer_row(page: Page, command: Transfer, outlet: OutletRow) -> TxnRow:
    return new_row(
        page,
        Operation.TRANSFER,
        _key(command),
        _content(command),
        outlet.float_id,
        command.amount_fen,
        channel=command.channel,
        msisdn=command.to_code[:20],
        repeat_n=command.repeat,
        asker=command.asker.phone,
        service=command.asker.service,
    )


def _key(command: Transfer | MoveCommission) -> Key:
    return keys_of(command)[0]


def moved(page: Page, account: int, fen: int) -> Facts:
    after_fen = page.credit(account, fen).posted
    return {"before_fen": after_fen - fen, "after_fen": after_fen}


def pair_facts(page: Page, row: TxnRow, sender: OutletRow, receiver: OutletRow) -> Facts:
    return {
        "order_id": row.id,
        "amount_fen": row.amount,
        "at_ms": page.now_ms,
        "outlet": receiver.code,
        "from": sender.code,
        "to": receiver.code,
    }


def tell_first(page: Page, row: TxnRow, outlet: OutletRow, topic: str, service: str, facts: Facts) -> None:
    """Whoever did not ask himself is told on the outlet's first phone."""
    phone = page.rows.first_phones.get(outlet.id)
    if phone:
        page.notice(row.id, topic, phone, service, outlet.language, facts)


# -- commission → float -----------------------------------------------------------------------------------


def _move_content(command: MoveCommission) -> bytes:
    return content_hash(Operation.COMMISSION, "", command.amount_fen)


def _move_needs(needs: Needs, command: MoveCommission) -> None:
    wish_needs(needs, command)
    needs.earners.add(command.asker.phone)


def _move_commission(page: Page, command: MoveCommission, outlet: OutletRow) -> Told | Refused:
    earned = commission_account(outlet.float_id)
    there_fen = page.rows.balances[earned].available
    amount_fen = command.amount_fen or there_fen
    if not 0 <= amount_fen <= AMOUNT_MAX_FEN:
        return Refused(Reason.AMOUNT, {})
    if not 0 < amount_fen <= there_fen:
        return Refused(Reason.FLOAT, {"earned_fen": there_fen})
    row = _commission_row(page, command, outlet)
    row.amount = row.cost = amount_fen
    page.add_txn(row)
    moved(page, earned, -amount_fen)
    mine = moved(page, outlet.float_id, amount_fen)
    page.post(row, JOURNAL_TRANSFER, earned, outlet.float_id, amount_fen)
    facts = {
        "order_id": row.id,
        "amount_fen": amount_fen,
        "at_ms": page.now_ms,
        "outlet": outlet.code,
        "earned_fen": there_fen - amount_fen,
    }
    return Told(row, {**facts, **mine})


def _commission_row(page: Page, command: MoveCommission, outlet: OutletRow) -> TxnRow:
    return new_row(
        page,
        Operation.COMMISSION,
        _key(command),
        _move_content(command),
        outlet.float_id,
        command.amount_fen,
        channel=command.channel,
        asker=command.asker.phone,
        service=command.asker.service,
    )


TRANSFER: Final = Verb("outlet.transferred", _content, _transfer, _transfer_row)
_COMMISSION: Final = Verb("outlet.commission", _move_content, _move_commission, _commission_row)

RULES: Final = {
    Transfer: Rule(_transfer_needs, lambda page, command: carry_out(page, TRANSFER, command)),
    MoveCommission: Rule(_move_needs, lambda page, command: carry_out(page, _COMMISSION, command)),
}
