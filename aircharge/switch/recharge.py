"""Recharge: the float is held, the operator asked, the hold settled or voided. Three awaits.

``accept`` is the part the asker waits for: when it returns, the hold or the refusal is durable.
``carry`` is total: it returns the order's Receipt, SETTLED, VOIDED or IN_DOUBT, whatever the line does.
"""

from __future__ import annotations

from twisted.logger import Logger

from aircharge.errors import InDoubt, LedgerError, NotSent, Reason, Refusal
from aircharge.ledger.commands import CloseRecharge, OpenRecharge
from aircharge.ports import OperatorRequest
from aircharge.switch.admission import HOUSE
from aircharge.switch.board import Board, OperatorPlan
from aircharge.switch.workload import CHANNELS
from aircharge.values import Order, Receipt, State, Verdict

__all__ = ["accept", "carry", "recharge"]

log = Logger()


async def recharge(board: Board, order: Order, *, pin_needed: bool = False) -> Receipt:
    """One recharge from order to receipt, for doors that wait for the outcome."""
    return await carry(board, await accept(board, order, pin_needed=pin_needed))


async def accept(board: Board, order: Order, *, pin_needed: bool = False, confirmed: bool = False) -> Receipt:
    """Hold or refuse, durably. Raises LedgerError when the commit's fate is unknown: ask again by the same key.

    Raises Refusal(BUSY), and writes nothing, when there is too much to do (``admission``) and while our lease may have
    ended: that passes in seconds, a refusal stays.
    """
    plan = board.serving(order.target)
    lane = plan.operator_id if plan and plan.line.ready() else HOUSE
    async with board.admission.turn(lane, order.asker.phone, CHANNELS[order.channel]) as turn:
        wait_for_lease(board)
        _wait_for_room(board)
        began_s = board.clock.monotonic_s()
        receipt = await board.ledger.do(
            OpenRecharge(
                order,
                operator_id=plan.operator_id if plan else 0,
                refuse=_objection(board, order, plan),
                unsold=plan is not None and not plan.products.sells(order.amount_fen),
                pin_needed=pin_needed,
                confirmed=confirmed,
            )
        )
        assert isinstance(receipt, Receipt)
        board.meters.hold_s.observe(board.clock.monotonic_s() - began_s)
        if receipt.fresh and receipt.state is State.HELD:
            board.in_flight.add(receipt.order_id)
            turn.order_id = receipt.order_id
    if receipt.fresh and receipt.state is State.HELD:
        return receipt
    if receipt.fresh or receipt.state is State.REFUSED:
        board.meters.order(receipt.state, receipt.reason)
    else:
        board.meters.repeated.add()
    return receipt


def wait_for_lease(board: Board) -> None:
    """Raises Refusal(BUSY) while another daemon may be the one who is to answer."""
    if not board.is_ours():
        raise Refusal(Reason.BUSY, "our lease may have ended")


def _wait_for_room(board: Board) -> None:
    """Raises Refusal(BUSY) when as many orders are carried as may be."""
    if len(board.in_flight) >= board.in_flight_max:
        raise Refusal(Reason.BUSY, "too many in flight")


def _objection(board: Board, order: Order, plan: OperatorPlan | None) -> Reason:
    """What speaks against the order before the ledger is asked."""
    if plan is None or not order.target.is_mobile:
        return Reason.NUMBER
    if not plan.line.ready():
        return Reason.OPERATOR_DOWN
    return Reason.BUSY if board.closing else Reason.OK


async def carry(board: Board, held: Receipt) -> Receipt:
    """Take a fresh hold, or a fresh reversal, to the operator and back. Any other receipt is returned as it is."""
    if not (held.fresh and held.state is State.HELD):
        return held
    plan = board.plan(held.operator_id)
    assert plan is not None, "held for an operator that is not plugged in"
    began_s = board.clock.monotonic_s()
    try:
        command = await ask(board, plan, held)
        board.admission.answered(held.order_id)
        asked_s = board.clock.monotonic_s()
        try:
            receipt = await board.ledger.do(command)
        except LedgerError:
            # The hold stands until doubt resolution has written it; if this process ends first, the operator is asked.
            log.failure("order {order}: its close did not reach the ledger", order=held.order_id)
            board.unwritten.append((command, 0))
            return held
    finally:
        board.in_flight.discard(held.order_id)
        board.admission.ended(held.order_id)
    assert isinstance(receipt, Receipt)
    board.meters.operator_s.observe(asked_s - began_s)
    board.meters.close_s.observe(board.clock.monotonic_s() - asked_s)
    board.meters.order(receipt.state, receipt.reason)
    log.info(
        "order {order} {state} {reason} by {operator}",
        order=receipt.order_id,
        state=receipt.state.name,
        reason=receipt.reason.name,
        operator=plan.name,
    )
    return receipt


async def ask(board: Board, plan: OperatorPlan, held: Receipt) -> CloseRecharge:
    """The operator's word on a hold, as the command it comes to."""
    request = OperatorRequest(held.op_ref, held.target, held.amount_fen, held.created_ms, held.original_ref)
    is_reversal = bool(held.original_ref)
    verb = plan.line.reverse if is_reversal else plan.line.recharge
    try:
        answer = await verb(request)
    except NotSent:
        return CloseRecharge(held.order_id, Verdict.NOT_SENT, reason=Reason.OPERATOR_DOWN)
    except InDoubt as doubt:
        return CloseRecharge(
            held.order_id,
            Verdict.UNKNOWN,
            code=doubt.code,
            next_ms=_look_again_ms(board, plan),
            reason=Reason.DOUBT,
            odd=doubt.odd,
        )
    look_ms = _look_again_ms(board, plan)
    return plan.close(held.order_id, answer, look_ms, held.amount_fen, is_reversal=is_reversal)


def _look_again_ms(board: Board, plan: OperatorPlan) -> int:
    return board.clock.now_ms() + plan.doubt.wait_ms(0)
