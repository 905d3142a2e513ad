"""Reversals: asked for by a verb of their own, never assumed; a protective one is marked before it is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from aircharge.errors import InDoubt, LedgerError, NotSent, Reason, Refusal
from aircharge.ledger.chart import UNDO_ASKED, UNDO_DONE, UNDO_NOTHING, UNDO_REFUSED
from aircharge.ledger.commands import CloseRecharge, Postpone
from aircharge.ledger.reading import Asked, FoundRecharge, OpenOrder
from aircharge.ledger.reversing import OpenReversal, Undo
from aircharge.outlets.consent import ConsentCode
from aircharge.ports import OperatorAnswer
from aircharge.switch.board import DoubtPolicy
from aircharge.switch.doubt import DoubtResolver, order_id_of, undo_ref, undone_id_of
from aircharge.switch.recharge import carry
from aircharge.switch.reversal import accept, reverse
from aircharge.values import Asker, Channel, Key, Operation, State, Verdict
from tests.switch.world import NOW_MS, OP_REF, ORDER_ID, ORIGINAL_REF, World, now

FOUND = FoundRecharge(ORDER_ID - 7, 1)
UNDO_REF = f"ACR{ORDER_ID:019d}"


def wish(**more: Any) -> OpenReversal:
    asker = Asker("13900000001", "0353911")
    known = {"target": "13812345678", "amount_fen": 5000, **more}
    return OpenReversal(Channel.SMS, Key("sms:13900000001", "r1"), asker, 0, NOW_MS, **known)


def world_of(mode: str = "resend", finality_s: float = 600) -> tuple[World, DoubtResolver]:
    world = World(DoubtPolicy(mode=mode, first_s=5, max_s=60, finality_s=finality_s))
    return world, DoubtResolver(world.board, Clock())


def doubtful(kind: Operation, *, undo: int = 0, age_ms: int = 10_000) -> OpenOrder:
    is_reversal = kind is Operation.REVERSAL
    return OpenOrder(
        ORDER_ID,
        OP_REF,
        1,
        "13812345678",
        5000,
        State.IN_DOUBT,
        NOW_MS - age_ms,
        NOW_MS,
        0,
        kind=kind,
        undo=undo,
        original_ref=ORIGINAL_REF if is_reversal else "",
    )


def rounds(world: World, resolver: DoubtResolver, order: OpenOrder, answer: Any) -> None:
    world.line.answers = [answer]
    world.ledger.open_orders = [order]
    now(resolver.round())


# -- same-day reversal ------------------------------------------------------------------------------------


def test_it_is_durable_before_the_operator_is_asked_and_names_the_original() -> None:
    world, _ = world_of()
    world.ledger.reads = [FOUND]
    done = now(reverse(world.board, wish()))
    assert [type(step) for step in world.trace] == [OpenReversal, tuple, CloseRecharge]
    assert world.trace[1] == ("reverse", OP_REF)
    assert world.line.asked[0].original_ref == ORIGINAL_REF
    assert world.trace[0].orig_id == FOUND.order_id
    assert done.state is State.SETTLED
    assert not world.board.in_flight


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("0000", Verdict.YES),
        ("1001", Verdict.NO),
        ("4001", Verdict.NO),
        ("6001", Verdict.NO),
        ("6003", Verdict.NO),
        ("6004", Verdict.NO),
        ("7777", Verdict.UNKNOWN),
        (NotSent("down"), Verdict.NOT_SENT),
        (InDoubt("time-out"), Verdict.UNKNOWN),
    ],
)
def test_what_an_answer_comes_to(answer: object, verdict: Verdict) -> None:
    world, _ = world_of()
    world.ledger.reads = [FOUND]
    world.line.answers = [answer]
    now(reverse(world.board, wish()))
    assert world.last_close().verdict is verdict
    assert (world.last_close().next_ms > NOW_MS) == (verdict is Verdict.UNKNOWN)


def test_to_a_recharge_the_codes_of_reversals_say_nothing() -> None:
    world, resolver = world_of("resend")
    rounds(world, resolver, doubtful(Operation.RECHARGE), "6001")
    assert world.commands(CloseRecharge) == []
    assert len(world.postponed()) == 1


def test_what_is_not_found_is_the_ledgers_to_refuse() -> None:
    world, _ = world_of()
    world.ledger.reads = [None]
    refused = now(accept(world.board, wish()))
    assert (refused.state, world.trace[0].orig_id) == (State.REFUSED, 0)
    assert len(world.trace) == 1


@pytest.mark.parametrize("trouble", ["down", "full", "closing"])
def test_objections_are_recorded_by_the_ledger(trouble: str) -> None:
    world, _ = world_of()
    world.ledger.reads = [FOUND]
    if trouble == "down":
        world.line.up = False
    elif trouble == "full":
        world.board.in_flight_max = 0
    else:
        world.board.closing = True
    now(accept(world.board, wish()))
    expected = Reason.OPERATOR_DOWN if trouble == "down" else Reason.BUSY
    assert world.trace[0].refuse is expected


def test_the_customers_code_is_compared() -> None:
    world, _ = world_of()
    world.board.consent = ConsentCode(b"k" * 16)
    right = world.board.consent.of(FOUND.order_id)
    for given, is_right in ((right, True), ("", False), ("12345", False)):
        world.ledger.reads = [FOUND]
        now(accept(world.board, wish(consent=given)))
        assert world.trace[-1].consent_ok is is_right


def test_a_clerk_without_a_name_is_refused() -> None:
    world, _ = world_of()
    world.ledger.reads = [FOUND]
    world.ledger.opened = "whose name does this bear?"
    with pytest.raises(Refusal, match="name"):
        now(accept(world.board, wish()))


def test_a_close_the_ledger_lost_leaves_it_open() -> None:
    world, _ = world_of()
    world.ledger.reads = [FOUND]
    world.ledger.failure = LedgerError("commit unknown")
    assert now(reverse(world.board, wish())).state is State.HELD
    assert not world.board.in_flight


def test_what_is_not_fresh_is_not_carried() -> None:
    world, _ = world_of()
    world.ledger.reads = [FOUND]
    opened = now(accept(world.board, wish()))
    world.trace.clear()
    now(carry(world.board, opened))
    assert len(world.trace) == 2


# -- doubts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "verb"), [("resend", "reverse"), ("reverse", "reverse"), ("query", "query"), ("never", "")]
)
def test_a_doubtful_reversal_is_asked_about_under_its_own_reference(mode: str, verb: str) -> None:
    world, resolver = world_of(mode)
    rounds(world, resolver, doubtful(Operation.REVERSAL), "0000")
    asked = [step for step in world.trace if isinstance(step, tuple)]
    assert asked == ([(verb, OP_REF)] if verb else [])
    if verb:
        assert world.line.asked[0].original_ref == ORIGINAL_REF
        assert world.last_close().verdict is Verdict.YES
    else:
        assert len(world.postponed()) == 1


@pytest.mark.parametrize("code", ["6003", "4001", "9001"])
def test_an_answer_that_may_be_our_own_doing_leaves_the_doubt(code: str) -> None:
    """ "Reversed already" may be what our first request did, where the operator does not know it again."""
    world, resolver = world_of()
    rounds(world, resolver, doubtful(Operation.REVERSAL), code)
    assert world.commands(CloseRecharge) == []
    assert len(world.postponed()) == 1


def test_a_reversal_the_operator_does_not_know_is_a_no_past_finality_only() -> None:
    world, resolver = world_of("query")
    rounds(world, resolver, doubtful(Operation.REVERSAL, age_ms=600_000), "1404")
    assert world.commands(CloseRecharge) == []
    rounds(world, resolver, doubtful(Operation.REVERSAL, age_ms=721_000), "1404")
    assert world.last_close().verdict is Verdict.NO


@pytest.mark.parametrize(("kind", "closes"), [(Operation.REVERSAL, 1), (Operation.RECHARGE, 0), (None, 0)])
def test_a_late_answer_is_read_by_what_was_asked(kind: Operation | None, closes: int) -> None:
    world, _ = world_of()
    world.ledger.reads = [kind and Asked(kind, 1, OP_REF, 5000)]
    assert world.line.late is not None
    world.line.late(OperatorAnswer(OP_REF, "6004"))
    assert len(world.commands(CloseRecharge)) == closes


# -- protective reversal ----------------------------------------------------------------------------------


def test_an_unanswered_recharge_is_marked_first_then_taken_back() -> None:
    world, resolver = world_of("reverse", finality_s=0)
    rounds(world, resolver, doubtful(Operation.RECHARGE), "0000")
    assert [type(step) for step in world.trace] == [Undo, tuple, CloseRecharge]
    assert world.trace[1] == ("reverse", UNDO_REF)
    request = world.line.asked[0]
    assert (request.original_ref, request.msisdn, request.amount_fen) == (OP_REF, "13812345678", 5000)
    close = world.last_close()
    assert (close.verdict, close.undo) == (Verdict.NO, UNDO_DONE)


@pytest.mark.parametrize(
    ("code", "closes"),
    [
        ("0000", (Verdict.NO, UNDO_DONE)),
        ("6003", (Verdict.NO, UNDO_DONE)),
        ("6001", (Verdict.NO, UNDO_NOTHING)),
        ("6004", (Verdict.YES, UNDO_REFUSED)),
        ("6002", None),  # not the recharge we meant: for people, in time
        ("4001", None),
        ("1001", None),
        ("9001", None),
    ],
)
def test_what_an_answer_to_it_comes_to(code: str, closes: tuple[Verdict, int] | None) -> None:
    world, resolver = world_of("reverse", finality_s=0)
    rounds(world, resolver, doubtful(Operation.RECHARGE), code)
    commands = world.commands(CloseRecharge)
    assert [(close.verdict, close.undo) for close in commands] == ([closes] if closes else [])
    assert len(world.postponed()) == (closes is None)


def test_nothing_to_take_back_counts_after_finality_where_there_is_one() -> None:
    world, resolver = world_of("reverse", finality_s=600)
    rounds(world, resolver, doubtful(Operation.RECHARGE, age_ms=600_000), "6001")
    assert world.commands(CloseRecharge) == []
    rounds(world, resolver, doubtful(Operation.RECHARGE, age_ms=721_000), "6001")
    assert world.last_close().undo == UNDO_NOTHING


def test_without_an_answer_it_is_asked_for_again_under_the_same_reference() -> None:
    world, resolver = world_of("reverse")
    for _ in range(3):
        rounds(world, resolver, doubtful(Operation.RECHARGE, undo=UNDO_ASKED), InDoubt("time-out"))
    assert [step for step in world.trace if isinstance(step, tuple)] == [("reverse", UNDO_REF)] * 3
    assert len(world.commands(Postpone)) == 3


@pytest.mark.parametrize("mode", ["resend", "query", "never", "reverse"])
def test_once_begun_the_recharge_is_neither_sent_again_nor_asked_about(mode: str) -> None:
    world, resolver = world_of(mode)
    rounds(world, resolver, doubtful(Operation.RECHARGE, undo=UNDO_ASKED), "0000")
    assert [step for step in world.trace if isinstance(step, tuple)] == [("reverse", UNDO_REF)]


def test_what_has_ended_meanwhile_is_not_taken_back() -> None:
    world, resolver = world_of("reverse")
    world.ledger.may_undo = False
    rounds(world, resolver, doubtful(Operation.RECHARGE), "0000")
    assert [type(step) for step in world.trace] == [Undo]


@pytest.mark.parametrize(
    ("code", "closes"),
    [
        ("0000", (Verdict.NO, UNDO_DONE)),
        ("6004", (Verdict.YES, UNDO_REFUSED)),
        ("6001", None),
        ("4001", None),
    ],
)
def test_a_late_answer_to_it(code: str, closes: tuple[Verdict, int] | None) -> None:
    world, _ = world_of("reverse", finality_s=0)
    assert world.line.late is not None
    world.line.late(OperatorAnswer(UNDO_REF, code))
    commands = world.commands(CloseRecharge)
    assert [(close.verdict, close.undo) for close in commands] == ([closes] if closes else [])


@pytest.mark.parametrize("prefix", ["AC", "R", "ABCDEFGHIJKL"])
def test_the_reference_of_a_protective_reversal(prefix: str) -> None:
    op_ref = f"{prefix}{2**63 - 1:020d}"
    reference = undo_ref(op_ref)
    assert len(reference) == len(op_ref) <= 32
    assert (undone_id_of(reference), order_id_of(reference)) == (2**63 - 1, 0)
    assert undone_id_of(op_ref) == 0


@pytest.mark.parametrize("reference", ["", "R", "ACR1", "X" * 32, "R" * 20])
def test_no_such_reference(reference: str) -> None:
    assert undone_id_of(reference) == 0
