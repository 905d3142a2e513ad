"""Parked orders: held by a rule until a clerk has looked at them; let go to the operator, or declined. Pure.

Two steps, so that a desk and a daemon cannot both send: the clerk's word is written down first (``Release``), then
the daemon that carries the order takes it out of the park (``Resume``), and only one who does is told ``fresh``.
From then on it is a hold like any other: whoever finds it after a crash must ask, never send it as if it were new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aircharge.errors import Reason
from aircharge.ledger.closing import ENDINGS
from aircharge.ledger.page import Page
from aircharge.ledger.rows import Needs, TxnRow
from aircharge.ledger.rule import Rule
from aircharge.values import Operation, Receipt, State

__all__ = ["RULES", "Decline", "Release", "Resume"]


@dataclass(frozen=True, slots=True)
class Release:
    """A clerk lets a parked order go. Result: its Receipt, still PARKED (a daemon carries it), or why not."""

    order_id: int
    actor: str


@dataclass(frozen=True, slots=True)
class Resume:
    """A daemon takes a released order up. Result: its Receipt, HELD and ``fresh`` for the one that did it."""

    order_id: int


@dataclass(frozen=True, slots=True)
class Decline:
    """A clerk says no to a parked order: nothing was sent, so it is voided. Result: its Receipt, or why not."""

    order_id: int
    actor: str


def release(page: Page, command: Release) -> Receipt | str:
    row = _parked(page, command)
    if isinstance(row, str):
        return row
    if not row.released_ms:
        row.released_ms = page.now_ms
        page.touch_txn(row)
        page.audit("order.release", f"order {row.id}", command.actor, amount_fen=row.amount)
    return page.receipt(row, fresh=False)


def resume(page: Page, command: Resume) -> Receipt:
    """The operator's times count from now: nothing has left the house before.

    A same-day reversal whose day has ended while it waited is void.
    """
    row = page.rows.txns.get(command.order_id)
    if row is None:
        return Receipt(0, State.REFUSED, Reason.NOT_FOUND, fresh=False)
    if row.state != State.PARKED or not row.released_ms:
        return page.receipt(row, fresh=False)
    if row.kind == Operation.REVERSAL and row.biz_date != page.date(row.operator_id):
        _void(page, row, Reason.NOT_REVERSIBLE)
        return page.receipt(row, fresh=False)
    row.state, row.reason = int(State.HELD), Reason.OK.number
    row.released_ms, row.next_ms = page.now_ms, page.now_ms + page.settings.hold_look_ms
    page.touch_txn(row)
    return page.receipt(row, fresh=True)


def decline(page: Page, command: Decline) -> Receipt | str:
    """The hold ends and the limits are given back, as with an operator's no."""
    row = _parked(page, command)
    if isinstance(row, str):
        return row
    _void(page, row, Reason.RULE)
    page.audit("order.decline", f"order {row.id}", command.actor, amount_fen=row.amount)
    return page.receipt(row, fresh=True)


def _void(page: Page, row: TxnRow, reason: Reason) -> None:
    row.next_ms, row.done_ms = None, page.now_ms
    ENDINGS[Operation(row.kind)].void(page, row, page.rows.accounts[row.outlet_acct], reason)
    page.touch_txn(row)


def _parked(page: Page, command: Release | Decline) -> TxnRow | str:
    row = page.rows.txns.get(command.order_id)
    if not command.actor.strip():
        return "whose name does this bear?"
    if row is None:
        return f"no order {command.order_id}"
    if row.state != State.PARKED:
        return f"order {row.id} is {State(row.state).name}: only a parked order can be let go or declined"
    return row


def _needs(needs: Needs, command: Release | Resume | Decline) -> None:
    needs.orders.add(command.order_id)


RULES: Final = {
    Release: Rule(_needs, release),
    Resume: Rule(_needs, resume),
    Decline: Rule(_needs, decline),
}
