"""How orders end: what moves when the operator has said yes, what stands again when it has said no. Pure.

One ``Ending`` a kind of order; ``closing`` decides when.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aircharge.errors import Reason
from aircharge.ledger import limits
from aircharge.ledger.chart import (
    COMMISSION_DISCOUNT,
    COMMISSION_EXPENSE,
    COMMISSION_INSTANT,
    JOURNAL_COMMISSION,
    JOURNAL_DISCOUNT,
    JOURNAL_SETTLE,
    commission_account,
)
from aircharge.ledger.hearing import insisting
from aircharge.ledger.page import Facts, Page
from aircharge.ledger.rows import Charge, OutletRow, TxnRow
from aircharge.values import State, terminal_of

__all__ = ["RECHARGE", "Ending", "charge_of_row", "order_facts", "tell"]

_IN_DOUBT: Final = frozenset((int(State.IN_DOUBT), int(State.MANUAL)))


@dataclass(frozen=True, slots=True)
class Ending:
    """``settle(page, row, outlet)`` and ``void(page, row, outlet, reason)``: both set the row's state.

    ``pending``: the topic the outlet is told by while the answer is missing.
    """

    settle: Callable[[Page, TxnRow, OutletRow], None]
    void: Callable[[Page, TxnRow, OutletRow, Reason], None]
    pending: str = "outlet.pending"


def _settle(page: Page, row: TxnRow, outlet: OutletRow) -> None:
    """Float → operator stock, commission as its price says; the hold ends; outlet and customer are told.

    The stock always goes down by the face value: what a discount leaves open is our commission expense.
    """
    page.rows.balances[row.outlet_acct].held -= row.cost
    balance = page.credit(row.outlet_acct, -row.cost)
    row.state, row.reason = int(State.SETTLED), Reason.OK.number
    page.post(row, JOURNAL_SETTLE, row.outlet_acct, row.operator_id, row.cost)
    if row.commission and row.commission_mode == COMMISSION_DISCOUNT:
        page.post(row, JOURNAL_DISCOUNT, COMMISSION_EXPENSE, row.operator_id, row.commission)
    elif row.commission and row.commission_mode == COMMISSION_INSTANT:
        earned = commission_account(row.outlet_acct)
        page.credit(earned, row.commission)
        page.post(row, JOURNAL_COMMISSION, COMMISSION_EXPENSE, earned, row.commission)
    facts = order_facts(page, row, outlet)
    told = {
        **facts,
        "cost_fen": row.cost,
        "before_fen": balance.posted + row.cost,
        "after_fen": balance.posted,
    }
    tell(page, row, outlet, "outlet.settled", told)
    language = page.rows.languages.get(row.msisdn, page.settings.customer_language)
    if page.settings.reversal_consent:
        facts["consent"] = 1  # the customer's SMS carries the code without which it is not taken back
    page.notice(row.id, "customer.settled", row.msisdn, row.service, language, facts)


def _void(page: Page, row: TxnRow, outlet: OutletRow, reason: Reason) -> None:
    """The hold ends, limits are given back, and nothing else moves."""
    balance = page.rows.balances[row.outlet_acct]
    balance.held -= row.cost
    page.touch_balance(balance)
    row.state, row.reason = int(State.VOIDED), reason.number
    limits.release(page, row, outlet)
    facts = {**order_facts(page, row, outlet), "reason": reason.name, **page.float_facts(outlet)}
    tell(page, row, outlet, "outlet.refused", facts | insisting(row))


def charge_of_row(row: TxnRow) -> Charge:
    """What an order was counted against."""
    return Charge(row.asker, row.kind, row.msisdn, terminal_of(row.asker))


def order_facts(page: Page, row: TxnRow, outlet: OutletRow) -> Facts:
    return {
        "order_id": row.id,
        "target": row.msisdn,
        "amount_fen": row.amount,
        "at_ms": page.now_ms,
        "outlet": outlet.code,
    }


def tell(page: Page, row: TxnRow, outlet: OutletRow, topic: str, facts: Facts) -> None:
    """The number that asked, if one did, hears of its order; the same words answer a repetition.

    What a terminal may have missed goes to a phone of its outlet: doubts and how they ended, and reversals.
    """
    recipient = row.asker
    if terminal_of(recipient) and (_IN_DOUBT & {row.state, row.loaded_state} or row.orig_txn):
        recipient = page.rows.first_phones.get(outlet.id, recipient)
    if recipient and not row.idem_scope.startswith("batch:"):  # of a file its end is told, not each line
        page.notice(row.id, topic, recipient, row.service, outlet.language, facts)
    page.rows.answers[row.id] = (topic, facts)


RECHARGE: Final = Ending(_settle, _void)
