"""Closing a recharge: an operator's answer, or its absence, met by the order's state. The table decides. Pure."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Final

from aircharge.errors import Reason
from aircharge.ledger.chart import UNDO_ASKED, UNDO_DONE, UNDO_HEARD, UNDO_NONE
from aircharge.ledger.commands import CloseRecharge, Postpone
from aircharge.ledger.page import MACHINE, Page
from aircharge.ledger.reversing import REVERSAL
from aircharge.ledger.rows import Needs, OutletRow, ReconItem, TxnRow
from aircharge.ledger.rule import Rule
from aircharge.ledger.settling import RECHARGE, Ending, order_facts, tell
from aircharge.values import Operation, Receipt, State, Verdict

__all__ = ["ANSWERS", "ENDINGS", "RULES", "Step", "close_recharge", "postpone"]


class Step(Enum):
    """What an answer does to an order."""

    SETTLE = "settle"
    VOID = "void"
    DOUBT = "doubt"  # or MANUAL, when the command says that it is past its limit
    KEEP = "keep"  # says nothing new
    QUARREL = "quarrel"  # contradicts what was booked: the state stays, people are called


_YES, _NO, _UNKNOWN, _NOT_SENT = Verdict.YES, Verdict.NO, Verdict.UNKNOWN, Verdict.NOT_SENT

ANSWERS: Final[dict[tuple[State, Verdict], Step]] = {
    (State.HELD, _YES): Step.SETTLE,
    (State.HELD, _NO): Step.VOID,
    (State.HELD, _UNKNOWN): Step.DOUBT,
    (State.HELD, _NOT_SENT): Step.VOID,
    (State.SENT, _YES): Step.SETTLE,
    (State.SENT, _NO): Step.VOID,
    (State.SENT, _UNKNOWN): Step.DOUBT,
    (State.SENT, _NOT_SENT): Step.KEEP,
    (State.IN_DOUBT, _YES): Step.SETTLE,
    (State.IN_DOUBT, _NO): Step.VOID,
    (State.IN_DOUBT, _UNKNOWN): Step.DOUBT,
    (State.IN_DOUBT, _NOT_SENT): Step.KEEP,
    (State.MANUAL, _YES): Step.SETTLE,
    (State.MANUAL, _NO): Step.VOID,
    (State.MANUAL, _UNKNOWN): Step.KEEP,
    (State.MANUAL, _NOT_SENT): Step.KEEP,
    (State.SETTLED, _YES): Step.KEEP,
    (State.SETTLED, _NO): Step.QUARREL,
    (State.SETTLED, _UNKNOWN): Step.KEEP,
    (State.SETTLED, _NOT_SENT): Step.KEEP,
    (State.VOIDED, _YES): Step.QUARREL,
    (State.VOIDED, _NO): Step.KEEP,
    (State.VOIDED, _UNKNOWN): Step.KEEP,
    (State.VOIDED, _NOT_SENT): Step.KEEP,
    (State.REFUSED, _YES): Step.QUARREL,
    (State.REFUSED, _NO): Step.KEEP,
    (State.REFUSED, _UNKNOWN): Step.KEEP,
    (State.REFUSED, _NOT_SENT): Step.KEEP,
    (State.REVERSED, _YES): Step.KEEP,
    (State.REVERSED, _NO): Step.QUARREL,
    (State.REVERSED, _UNKNOWN): Step.KEEP,
    (State.REVERSED, _NOT_SENT): Step.KEEP,
    (State.PARKED, _YES): Step.QUARREL,  # nobody has asked the operator yet
    (State.PARKED, _NO): Step.KEEP,
    (State.PARKED, _UNKNOWN): Step.KEEP,
    (State.PARKED, _NOT_SENT): Step.KEEP,
}

ENDINGS: Final[dict[Operation, Ending]] = {Operation.RECHARGE: RECHARGE, Operation.REVERSAL: REVERSAL}
"""What moves when an order of each kind ends."""

YES_AFTER_NO, NO_AFTER_YES, NO_SUCH_ORDER = 1, 2, 3


def close_recharge(page: Page, command: CloseRecharge) -> Receipt:
    """Settle, void, doubt, or leave as it is."""
    row = page.rows.txns.get(command.order_id)
    if row is None:
        return _stranger(page, command)
    if Operation(row.kind) not in ENDINGS:  # no operator was ever asked about it
        return page.receipt(row, fresh=False)
    step = _while_undone(page, row, command, ANSWERS[State(row.state), command.verdict])
    if command.odd and State(row.state).is_open:
        _odd(page, row, command)
    if step is Step.KEEP:
        return page.receipt(row, fresh=False)
    if step is Step.QUARREL:
        return _quarrel(page, command, row)
    is_no = command.verdict is Verdict.NO and command.undo != UNDO_DONE and not command.actor
    if row.undo == UNDO_HEARD and is_no:
        return _yes_and_nothing(page, command, row)
    outlet = page.rows.accounts[row.outlet_acct]
    if step is Step.DOUBT:
        return page.receipt(row, fresh=_doubt(page, command, row, outlet))
    ending = ENDINGS[Operation(row.kind)]
    row.op_code, row.op_serial = command.code[:8] or row.op_code, command.serial[:64] or row.op_serial
    row.next_ms, row.done_ms, row.undo = None, page.now_ms, command.undo or row.undo
    if step is Step.SETTLE:
        ending.settle(page, row, outlet)
    else:
        ending.void(page, row, outlet, command.reason)
    page.touch_txn(row)
    if command.actor:
        page.audit("order.ruled", f"order {row.id}", command.actor, state=State(row.state).name)
    return page.receipt(row, fresh=True)


def _while_undone(page: Page, row: TxnRow, command: CloseRecharge, step: Step) -> Step:
    """What a protective reversal changes: the recharge's own yes is no news, for the reversal takes it back.

    Only the answer to the reversal, or two people, can settle it then; that it came is remembered. After an operator's
    word that there was nothing to take back a yes is a contradiction, and so it is the other way round.
    """
    if command.undo and row.undo == UNDO_NONE:
        return Step.QUARREL  # an answer to something never asked
    own_yes = command.verdict is Verdict.YES and not command.undo and not command.actor
    if own_yes and step is Step.SETTLE and row.undo in (UNDO_ASKED, UNDO_HEARD):
        if row.undo == UNDO_ASKED:
            row.undo = UNDO_HEARD
            row.op_code, row.op_serial = command.code[:8] or row.op_code, command.serial[:64] or row.op_serial
            page.touch_txn(row)
        return Step.KEEP
    return Step.KEEP if own_yes and row.undo == UNDO_DONE else step


def _yes_and_nothing(page: Page, command: CloseRecharge, row: TxnRow) -> Receipt:
    """The operator has executed it, and says that it has not, or that there is nothing to take back: for people."""
    _quarrel(page, command, row)
    outlet = page.rows.accounts[row.outlet_acct]
    if row.state != State.MANUAL:
        return page.receipt(row, fresh=_doubt(page, replace(command, manual=True, code=""), row, outlet))
    return page.receipt(row, fresh=False)


def _doubt(page: Page, command: CloseRecharge, row: TxnRow, outlet: OutletRow) -> bool:
    """Into doubt, or on to people; whether the state has changed. The outlet hears of it once."""
    before = State(row.state)
    after = State.MANUAL if command.manual else State.IN_DOUBT
    if after is before:
        return False
    row.state, row.reason = int(after), Reason.DOUBT.number
    row.op_code = command.code[:8] or row.op_code
    row.next_ms = None if command.manual else command.next_ms or None
    page.touch_txn(row)
    if before is not State.IN_DOUBT:
        topic = ENDINGS[Operation(row.kind)].pending
        tell(page, row, outlet, topic, order_facts(page, row, outlet))
    if command.manual:
        page.audit("alarm.manual", f"order {row.id}", command.actor or MACHINE)
    return True


def _odd(page: Page, row: TxnRow, command: CloseRecharge | Postpone) -> None:
    """An answer that means nothing to the configuration, or names another amount: said once for each code."""
    code = command.code[:8]
    if row.op_code == code:
        return
    row.op_code = code
    page.touch_txn(row)
    reference = row.op_ref or ""
    page.audit("alarm.odd-answer", f"order {row.id}", code=code, why=command.odd, reference=reference)


def _quarrel(page: Page, command: CloseRecharge, row: TxnRow) -> Receipt:
    """Yes after no, or no after yes: nothing moves by machine."""
    kind = YES_AFTER_NO if command.verdict is Verdict.YES else NO_AFTER_YES
    reference = row.op_ref or f"order {row.id}"
    ours = row.cost if row.state == State.SETTLED else 0
    theirs = row.amount if command.verdict is Verdict.YES else 0
    page.changes.recon.append(ReconItem(reference, kind, ours, theirs, row.id))
    page.audit(
        "alarm.contradiction",
        f"order {row.id}",
        command.actor or MACHINE,
        state=State(row.state).name,
        verdict=command.verdict.name,
        code=command.code[:8],
    )
    return page.receipt(row, fresh=False)


def _stranger(page: Page, command: CloseRecharge) -> Receipt:
    """An answer to no order of ours: written down for reconciliation, nothing is posted."""
    page.changes.recon.append(ReconItem(f"order {command.order_id}"[:32], NO_SUCH_ORDER, 0, 0, 0))
    page.audit("alarm.unknown-answer", f"order {command.order_id}", code=command.code[:8])
    return Receipt(0, State.REFUSED, Reason.NOT_FOUND, fresh=False)


def postpone(page: Page, command: Postpone) -> Receipt:
    """Count the attempt and set the next time, if the order is still in doubt."""
    row = page.rows.txns.get(command.order_id)
    if row is None:
        return Receipt(0, State.REFUSED, Reason.NOT_FOUND, fresh=False)
    if row.state in (State.HELD, State.SENT, State.IN_DOUBT):
        if command.odd:
            _odd(page, row, command)
        row.attempts = min(row.attempts + 1, 32_000)
        row.next_ms = command.next_ms
        page.touch_txn(row)
    return page.receipt(row, fresh=False)


def _needs(needs: Needs, command: CloseRecharge | Postpone) -> None:
    needs.orders.add(command.order_id)


RULES: Final = {CloseRecharge: Rule(_needs, close_recharge), Postpone: Rule(_needs, postpone)}
