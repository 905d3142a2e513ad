"""Automatic reversals (冲正) of payment terminals: an answer was lost, so the terminal takes its sale back. Pure.

The terminal is told yes as soon as its wish is durable, whatever has become of the sale; it hands the cash back then.
So the wish is kept until it is fulfilled: a sale that never came is refused when it comes, one that is open is
reversed as soon as it is known to be settled, and one that cannot be reversed is told to the outlet by SMS.

It is for an answer that was not heard, and no second way to void (返销): a terminal that has gone on since (``WentOn``)
has heard it, one that moved has none of its former outlet's sales, and what might mean another sale means none.
Source: ISO 8583 message class 0400, conventions of Q/CUP 007 (docs/protocols/pos-8583.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from aircharge.errors import Reason
from aircharge.ledger import pos_proof
from aircharge.ledger.chart import CANCEL_DONE, CANCEL_STANDS, CANCEL_WANTED
from aircharge.ledger.closing import ENDINGS
from aircharge.ledger.inhouse import new_row
from aircharge.ledger.page import Page
from aircharge.ledger.rows import Needs, OutletRow, RowChange, TxnRow
from aircharge.ledger.rule import Rule, asker_needs
from aircharge.values import Asker, Channel, Key, Operation, Receipt, State

__all__ = ["RULES", "CancelSale", "EndCancel", "WentOn"]


class WentOn(Enum):
    """What a terminal can only have done after it had heard how its sale ended."""

    NOT = ""
    SALE = "another sale or void of it was taken"
    SETTLED = "its batch is settled"
    PRINTED = "its slip was printed again"


_TABLE: Final = "pos_reversal"
_NEVER_CAME: Final = b"cancelled"


@dataclass(frozen=True, slots=True)
class CancelSale:
    """A terminal takes the sale of this ``key`` back. ``code``: why, as DE 39 of its request says (98, A0, 06).

    ``orig_id``: the order under that key as it was read before, 0 = none. Result: the sale's Receipt as it stands
    (REFUSED and CANCELLED when it had never come); REFUSED and CLASH when it was of another amount: then nothing is
    taken back; a REFUSED one with order 0 when the terminal stands nowhere; None: the sale has come meanwhile,
    read again. ``target``: the number as the sale had it, "" = not told; of another one nothing is taken back either.
    ``mac``: that of the sale's message, b"" = not told. ``went_on``: what the terminal has done since (read before), so
    the answer was heard: REFUSED and NOT_REVERSIBLE. ``today_n``: how many its outlet's terminals took back today.
    """

    terminal_id: int
    asker: Asker
    key: Key
    amount_fen: int
    code: str
    orig_id: int = 0
    target: str = ""
    mac: bytes = b""
    went_on: WentOn = WentOn.NOT
    today_n: int = 0
    alarm_n: int = 0  # of so many a day there is an alarm, and of each further so many; 0: none


@dataclass(frozen=True, slots=True)
class EndCancel:
    """What became of it: taken back, or (``stands``) not to be taken back. Result: whether this ended it."""

    order_id: int
    stands: bool = False


def cancel_sale(page: Page, command: CancelSale) -> Receipt | None:
    outlet, _ = page.outlet_of(command.asker.phone)
    if outlet is None:
        return Receipt(0, State.REFUSED, Reason.UNKNOWN_SENDER, fresh=False)
    row = page.rows.by_key.get((command.key.scope, command.key.mark))
    if row is None:
        return page.receipt(_remember(page, command, outlet), fresh=True)
    if row.loaded_state is not None and row.id != command.orig_id:
        return None  # whether it was taken back before has not been loaded
    if row.outlet_acct != outlet.float_id:  # the terminal has been moved since
        return _refused(page, command, row, Reason.NOT_REVERSIBLE, f"of another outlet than {outlet.code}")
    if row.kind != Operation.RECHARGE or _is_other(page, command, row):
        page.audit("alarm.clash", f"order {row.id}", channel=int(Channel.POS))
        return Receipt(row.id, State.REFUSED, Reason.CLASH, fresh=False)
    if not row.is_live:
        return page.receipt(row, fresh=False)
    if row.state == State.PARKED and not row.released_ms:  # nothing has left the house
        row.next_ms, row.done_ms = None, page.now_ms
        ENDINGS[Operation.RECHARGE].void(page, row, outlet, Reason.CANCELLED)
        page.touch_txn(row)
        return page.receipt(row, fresh=True)
    if page.rows.found.get((_TABLE, "txn_id", row.id)):
        return page.receipt(row, fresh=False)
    if command.went_on is not WentOn.NOT:
        return _refused(page, command, row, Reason.NOT_REVERSIBLE, command.went_on.value)
    wish = {"txn_id": row.id, "terminal_id": command.terminal_id, "code": command.code[:2]}
    wish |= {"state": CANCEL_WANTED, "made_ms": page.now_ms, "done_ms": None}
    page.changes.rare.append(RowChange(_TABLE, dict(wish)))
    page.rows.found[_TABLE, "txn_id", row.id] = [wish]
    page.audit("order.cancel", f"order {row.id}", command.asker.phone, state=State(row.state).name)
    today_n = command.today_n + 1
    if command.alarm_n and today_n % command.alarm_n == 0:
        page.audit("alarm.many-reversals", f"outlet {outlet.code}", command.asker.phone, today=today_n)
    return page.receipt(row, fresh=True)


def _is_other(page: Page, command: CancelSale, row: TxnRow) -> bool:
    """Whether it may mean another message than the one this order was made by."""
    if row.amount and command.amount_fen != row.amount:
        return True
    if row.msisdn and command.target not in ("", row.msisdn):
        return True
    if command.mac:
        return pos_proof.is_other(page, row, command.mac)
    return pos_proof.has_clashed(page, row)


def _refused(page: Page, command: CancelSale, row: TxnRow, reason: Reason, why: str) -> Receipt:
    """Nothing is taken back, and people are told: the cash may have gone back all the same."""
    page.audit("alarm.reversal-refused", f"order {row.id}", command.asker.phone, why=why)
    return Receipt(row.id, State.REFUSED, reason, fresh=False)


def _remember(page: Page, command: CancelSale, outlet: OutletRow) -> TxnRow:
    """The sale itself, refused before it came: its key is taken."""
    row = new_row(
        page,
        Operation.RECHARGE,
        command.key,
        _NEVER_CAME,
        outlet.float_id,
        command.amount_fen,
        channel=Channel.POS,
        asker=command.asker.phone,
        service=command.asker.service,
        state=int(State.REFUSED),
        reason=Reason.CANCELLED.number,
    )
    page.add_txn(row)
    return row


def end_cancel(page: Page, command: EndCancel) -> bool:
    wishes = page.rows.found.get((_TABLE, "txn_id", command.order_id), ())
    if not any(wish["state"] == CANCEL_WANTED for wish in wishes):
        return False
    order = page.rows.txns[command.order_id]
    stands = command.stands and order.state == State.SETTLED  # else somebody has taken it back meanwhile
    state = CANCEL_STANDS if stands else CANCEL_DONE
    met = {"txn_id": command.order_id, "state": CANCEL_WANTED}
    page.changes.rare.append(RowChange(_TABLE, {"state": state, "done_ms": page.now_ms}, met))
    page.rows.found[_TABLE, "txn_id", command.order_id] = [{"state": state}]
    if stands:
        page.audit("alarm.cancelled-sale-stands", f"order {command.order_id}")
    return True


def _cancel_needs(needs: Needs, command: CancelSale) -> None:
    asker_needs(needs, command.asker)
    needs.keys.add((command.key.scope, command.key.mark))
    if command.orig_id:
        needs.wanted.add((_TABLE, "txn_id", command.orig_id))


def _end_needs(needs: Needs, command: EndCancel) -> None:
    needs.orders.add(command.order_id)
    needs.wanted.add((_TABLE, "txn_id", command.order_id))


RULES: Final = {CancelSale: Rule(_cancel_needs, cancel_sale), EndCancel: Rule(_end_needs, end_cancel)}
