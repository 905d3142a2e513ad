"""Same-day reversal (返销): a recharge is looked up, its reversal opened durably, then the operator is asked.

As with a recharge ``accept`` is what the asker waits for, and ``carry`` (the recharge's own) brings it to an end;
an answer that does not come is a doubt (``aircharge.switch.doubt``).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from aircharge.errors import Reason, Refusal
from aircharge.ledger.reading import FoundRecharge, find_recharge, float_of, recharge_of
from aircharge.ledger.reversing import OpenReversal
from aircharge.switch.board import Board
from aircharge.switch.recharge import carry, wait_for_lease
from aircharge.values import Receipt, State

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["accept", "meant", "reverse"]

_LOOK_BACK_MS: Final = 48 * 3_600_000
"""An accounting day is never longer."""


async def reverse(board: Board, command: OpenReversal) -> Receipt:
    """One reversal from request to receipt, for doors that wait for the outcome."""
    return await carry(board, await accept(board, command))


async def accept(board: Board, command: OpenReversal) -> Receipt:
    """Open or refuse, durably. Number and amount are enough: ``orig_id`` 0 is looked up here.

    Raises LedgerError when the commit's fate is unknown (ask again by the same key), Refusal(RIGHTS) for a clerk
    without a name, Refusal(BUSY) while our lease may have ended.
    """
    wait_for_lease(board)
    found = await board.ledger.read(lambda txn: meant(txn, command, board.clock.now_ms()))
    is_given = (
        board.consent is None or found is None or board.consent.is_given(command.consent, found.order_id)
    )
    receipt = await board.ledger.do(
        dataclasses.replace(
            command,
            orig_id=found.order_id if found else 0,
            consent_ok=is_given,
            refuse=_objection(board, found),
        )
    )
    if isinstance(receipt, str):
        raise Refusal(Reason.RIGHTS, receipt)
    assert isinstance(receipt, Receipt)
    if receipt.fresh and receipt.state is State.HELD:
        board.in_flight.add(receipt.order_id)
    elif receipt.fresh or receipt.state is State.REFUSED:
        board.meters.order(receipt.state, receipt.reason)
    else:
        board.meters.repeated.add()
    return receipt


def meant(txn: Connection, command: OpenReversal, now_ms: int) -> FoundRecharge | None:
    """The recharge that a request is about: by its id, or the outlet's last one of that number and amount."""
    if command.orig_id or command.asker is None:
        return recharge_of(txn, command.orig_id)
    float_id = float_of(txn, command.asker.phone)
    if float_id is None:
        return None
    since_ms = now_ms - _LOOK_BACK_MS
    return find_recharge(txn, float_id, command.target, command.amount_fen, since_ms)


def _objection(board: Board, found: FoundRecharge | None) -> Reason:
    """What speaks against it before the ledger is asked."""
    plan = board.plan(found.operator_id) if found else None
    if plan is None or not plan.line.ready():
        return Reason.OPERATOR_DOWN
    if board.closing or len(board.in_flight) >= board.in_flight_max:
        return Reason.BUSY
    return Reason.OK
