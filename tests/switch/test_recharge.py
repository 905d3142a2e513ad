"""One recharge: intent before send, definite outcomes only."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from aircharge.errors import InDoubt, LedgerError, NotSent, Reason, Refusal
from aircharge.ledger.commands import CloseRecharge, OpenRecharge
from aircharge.switch.recharge import accept, carry, recharge
from aircharge.values import State, Verdict
from tests.switch.world import NOW_MS, OP_REF, ORDER_ID, World, now, order, receipt


def test_the_hold_is_committed_before_the_operator_is_asked() -> None:
    world = World()
    done = now(recharge(world.board, order()))
    assert [type(step) for step in world.trace] == [OpenRecharge, tuple, CloseRecharge]
    assert world.trace[1] == ("recharge", OP_REF)
    assert done.state is State.SETTLED
    assert not world.board.in_flight


@pytest.mark.parametrize(
    ("answer", "verdict", "reason"),
    [
        ("0000", Verdict.YES, Reason.OPERATOR_NO),
        ("1001", Verdict.NO, Reason.NUMBER_NO),
        ("4001", Verdict.NO, Reason.BUSY),
        ("7777", Verdict.UNKNOWN, Reason.OPERATOR_NO),  # in no list: never "declined"
        (NotSent("down"), Verdict.NOT_SENT, Reason.OPERATOR_DOWN),
        (InDoubt("time-out"), Verdict.UNKNOWN, Reason.DOUBT),
    ],
)
def test_what_an_answer_comes_to(answer: object, verdict: Verdict, reason: Reason) -> None:
    world = World()
    world.line.answers = [answer]
    now(recharge(world.board, order()))
    close = world.last_close()
    assert (close.order_id, close.verdict) == (ORDER_ID, verdict)
    if verdict is not Verdict.YES:
        assert close.reason is reason
    assert (close.next_ms > NOW_MS) == (verdict is Verdict.UNKNOWN)


@pytest.mark.parametrize(
    ("target", "amount_fen", "reason"),
    [
        ("17712345678", 5000, Reason.NUMBER),  # no operator of ours
        ("1381234567", 5000, Reason.NUMBER),  # a card may send anything
    ],
)
def test_objections_are_recorded_by_the_ledger_not_answered_by_the_switch(
    target: str, amount_fen: int, reason: Reason
) -> None:
    world = World()
    refused = now(recharge(world.board, order(target, amount_fen)))
    [opening] = world.commands(OpenRecharge)
    assert opening.refuse is reason
    assert refused.state is State.REFUSED
    assert len(world.trace) == 1


@pytest.mark.parametrize(
    ("amount_fen", "unsold"), [(5000, False), (5001, True), (0, True), (-1, True), (10**19, True)]
)
def test_the_configurations_products_are_a_word_to_the_ledger(amount_fen: int, unsold: bool) -> None:
    world = World()
    now(accept(world.board, order(amount_fen=amount_fen)))
    [opening] = world.commands(OpenRecharge)
    assert (opening.unsold, opening.refuse) == (unsold, Reason.OK)


def test_a_line_that_is_down_or_doors_that_close_refuse_before_the_hold() -> None:
    world = World()
    world.line.up = False
    now(accept(world.board, order()))
    assert world.commands(OpenRecharge)[-1].refuse is Reason.OPERATOR_DOWN
    world.line.up = True
    world.board.closing = True
    now(accept(world.board, order()))
    assert world.commands(OpenRecharge)[-1].refuse is Reason.BUSY


def test_a_full_house_writes_nothing_so_that_the_same_message_may_come_again() -> None:
    world = World()
    world.board.in_flight_max = 0
    with pytest.raises(Refusal) as caught:
        now(accept(world.board, order()))
    assert caught.value.reason is Reason.BUSY
    assert world.commands(OpenRecharge) == []
    world.board.in_flight_max = 10
    assert now(accept(world.board, order())).state is State.HELD


def test_while_the_lease_may_have_ended_nothing_is_decided() -> None:
    """A definite refusal would be kept for good; whoever is told to wait comes again."""
    world = World()
    world.board.is_ours = lambda: False
    with pytest.raises(Refusal) as caught:
        now(accept(world.board, order()))
    assert caught.value.reason is Reason.BUSY
    assert world.commands(OpenRecharge) == []


@pytest.mark.parametrize("state", [State.HELD, State.SETTLED, State.IN_DOUBT, State.REFUSED])
def test_a_receipt_that_is_not_fresh_is_never_carried(state: State) -> None:
    world = World()
    stored = receipt(state, fresh=False)
    assert now(carry(world.board, stored)) is stored
    assert world.trace == []


def test_an_order_is_in_flight_until_its_close_is_durable() -> None:
    world = World()
    waiting: Deferred[object] = Deferred()
    world.line.answers = [waiting]
    running = Deferred.fromCoroutine(recharge(world.board, order()))
    assert world.board.in_flight == {ORDER_ID}
    waiting.errback(InDoubt("link lost"))
    assert now(running).state is State.IN_DOUBT
    assert not world.board.in_flight


def test_a_close_the_ledger_lost_leaves_the_hold_standing() -> None:
    world = World()
    world.ledger.failure = LedgerError("commit unknown")
    assert now(recharge(world.board, order())).state is State.HELD
    assert not world.board.in_flight
