"""Doubts: resend, query, never; late answers; people."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from aircharge.errors import InDoubt, NotSent, Reason
from aircharge.ledger.commands import CloseRecharge
from aircharge.ledger.reading import OpenOrder, open_orders
from aircharge.ledger.writer import InlineLedger
from aircharge.ports import OperatorAnswer
from aircharge.switch.board import Board, DoubtPolicy, OperatorPlan, Products
from aircharge.switch.doubt import DoubtResolver, order_id_of, undo_ref
from aircharge.values import State, Verdict
from tests.ledger.desk import Books
from tests.ledger.engines import kept_in
from tests.switch.world import NOW_MS, OP_REF, ORDER_ID, ScriptedLine, World, now


def doubtful(
    state: State = State.IN_DOUBT, *, age_ms: int = 10_000, attempts: int = 0, operator_id: int = 1
) -> OpenOrder:
    return OpenOrder(
        order_id=ORDER_ID,
        op_ref=OP_REF,
        operator_id=operator_id,
        target="13812345678",
        amount_fen=5000,
        state=state,
        created_ms=NOW_MS - age_ms,
        next_ms=NOW_MS,
        attempts=attempts,
    )


def world_of(mode: str, **more: Any) -> tuple[World, DoubtResolver]:
    world = World(
        DoubtPolicy(mode=mode, first_s=5, factor=2, max_s=60, manual_after_s=86_400, finality_s=600, **more)
    )
    return world, DoubtResolver(world.board, Clock())


def test_recovery_makes_every_hold_a_doubt_that_is_due_now() -> None:
    world, resolver = world_of("resend")
    world.ledger.open_orders = [doubtful(State.HELD), doubtful(State.IN_DOUBT)]
    assert now(resolver.recover()) == 2
    [close] = world.commands(CloseRecharge)
    assert (close.verdict, close.next_ms) == (Verdict.UNKNOWN, NOW_MS)


def test_resend_sends_the_same_reference_again_and_settles() -> None:
    world, resolver = world_of("resend")
    world.ledger.open_orders = [doubtful()]
    assert now(resolver.round()) == 1
    assert ("recharge", OP_REF) in world.trace
    assert world.last_close().verdict is Verdict.YES


def test_a_doubt_that_stays_one_waits_longer_each_time() -> None:
    world, resolver = world_of("resend")
    for attempts in (0, 1, 2, 9):
        world.line.answers = [InDoubt("again")]
        world.ledger.open_orders = [doubtful(attempts=attempts)]
        now(resolver.round())
    waits = [item.next_ms - NOW_MS for item in world.postponed()]
    assert waits == [10_000, 20_000, 40_000, 60_000]
    assert world.commands(CloseRecharge) == []


def test_what_was_not_sent_costs_no_attempt() -> None:
    world, resolver = world_of("resend")
    world.line.answers = [NotSent("link down")]
    world.ledger.open_orders = [doubtful()]
    now(resolver.round())
    assert [item for item in world.trace if not isinstance(item, tuple)] == []


def test_query_not_found_is_a_no_only_past_the_operators_finality() -> None:
    world, resolver = world_of("query")
    world.line.answers = ["1404", "1404"]
    world.ledger.open_orders = [doubtful(age_ms=600_000)]
    now(resolver.round())
    assert world.commands(CloseRecharge) == []
    assert len(world.postponed()) == 1
    world.ledger.open_orders = [doubtful(age_ms=721_000)]
    now(resolver.round())
    assert world.last_close().verdict is Verdict.NO


def test_query_never_sends_a_recharge() -> None:
    world, resolver = world_of("query")
    world.ledger.open_orders = [doubtful()]
    now(resolver.round())
    assert [item[0] for item in world.trace if isinstance(item, tuple)] == ["query"]


@pytest.mark.parametrize("mode", ["resend", "query"])
def test_an_unmapped_code_leaves_the_doubt(mode: str) -> None:
    world, resolver = world_of(mode)
    world.line.answers = ["9001"]
    world.ledger.open_orders = [doubtful()]
    now(resolver.round())
    assert world.commands(CloseRecharge) == []
    assert len(world.postponed()) == 1


def test_busy_in_answer_to_a_resend_says_nothing_of_the_first_send() -> None:
    world, resolver = world_of("resend")
    world.line.answers = ["4001"]
    world.ledger.open_orders = [doubtful()]
    now(resolver.round())
    assert world.commands(CloseRecharge) == []
    assert len(world.postponed()) == 1
    assert world.line.late is not None
    world.line.late(OperatorAnswer(OP_REF, "4001"))
    assert world.commands(CloseRecharge) == []


def test_never_asks_nothing_and_people_get_it_at_last() -> None:
    world, resolver = world_of("never")
    world.ledger.open_orders = [doubtful()]
    now(resolver.round())
    [waits] = world.trace
    assert waits.next_ms == NOW_MS + 86_400_000
    world.ledger.open_orders = [doubtful(age_ms=86_400_000)]
    now(resolver.round())
    close = world.last_close()
    assert (close.verdict, close.manual) == (Verdict.UNKNOWN, True)


def test_orders_being_carried_are_left_alone() -> None:
    world, resolver = world_of("resend")
    world.board.in_flight.add(ORDER_ID)
    world.ledger.open_orders = [doubtful()]
    assert now(resolver.round()) == 0


def test_a_line_that_is_down_is_not_asked() -> None:
    world, resolver = world_of("resend")
    world.line.up = False
    world.ledger.open_orders = [doubtful()]
    now(resolver.round())
    assert world.trace == []


@pytest.mark.parametrize(("code", "verdict"), [("0000", Verdict.YES), ("1001", Verdict.NO)])
def test_a_late_answer_settles(code: str, verdict: Verdict) -> None:
    world, _ = world_of("never")
    assert world.line.late is not None
    world.line.late(OperatorAnswer(OP_REF, code, "OP9", NOW_MS))
    assert world.last_close().verdict is verdict


@pytest.mark.parametrize(
    ("operator", "name", "amount_fen", "state"),
    [
        (1, str, 0, State.SETTLED),
        (1, str, 5000, State.SETTLED),
        (1, str, 500, State.IN_DOUBT),  # another amount than was asked for: people are called
        (2, str, 0, State.HELD),  # it was not asked
        (2, undo_ref, 0, State.HELD),
        (1, lambda op_ref: "ZZ" + op_ref[2:], 0, State.HELD),  # a reference of another house
    ],
)
def test_a_late_answer_counts_from_whom_was_asked_about_what_was_asked(
    operator: int, name: Callable[[str], str], amount_fen: int, state: State
) -> None:
    books, codes = Books().setup(), World().plan.codes
    held = books.do(books.plain(amount_fen=5000))
    lines = {number: ScriptedLine([]) for number in (1, 2)}
    plans = [
        OperatorPlan(number, f"op{number}", line, ("13",), Products(), codes, DoubtPolicy())
        for number, line in lines.items()
    ]
    DoubtResolver(Board(InlineLedger(books.store), plans, books.clock), Clock())
    late = lines[operator].late
    assert late is not None
    late(OperatorAnswer(name(held.op_ref), "0000", "OP9", NOW_MS, amount_fen))
    assert books.value("SELECT state FROM txn WHERE id = :id", id=held.order_id) == state
    assert books.rows("SELECT * FROM recon_item") == []
    alarms = books.value("SELECT count(*) FROM audit WHERE action = 'alarm.odd-answer'")
    assert alarms == (state is State.IN_DOUBT)
    assert not books.problems()


def test_what_a_query_finds_of_another_amount_leaves_the_doubt() -> None:
    world, resolver = world_of("query")
    answer: Deferred[OperatorAnswer] = succeed(OperatorAnswer(OP_REF, "0000", "OP9", NOW_MS, 500))
    world.line.answers = [answer]
    world.ledger.open_orders = [doubtful()]
    now(resolver.round())
    assert world.commands(CloseRecharge) == []
    assert len(world.postponed()) == 1


def test_a_late_answer_that_says_nothing_moves_nothing() -> None:
    world, _ = world_of("resend")
    assert world.line.late is not None
    world.line.late(OperatorAnswer(OP_REF, "9001"))
    world.line.late(OperatorAnswer("nonsense", "0000"))
    assert world.trace == []


@pytest.mark.parametrize(
    ("reference", "order_id"), [(OP_REF, ORDER_ID), ("AC1", 0), ("", 0), ("X" * 32, 0), ("AC" + "9" * 20, 0)]
)
def test_reference_and_order(reference: str, order_id: int) -> None:
    assert order_id_of(reference) == order_id


def test_reasons_of_refusal_are_known_by_number() -> None:
    assert all(Reason.by_number(reason.number) is reason for reason in Reason)


@pytest.mark.parametrize(("ahead_ms", "age_ms", "is_final"), [
    (780_000, 36_000, False), (-780_000, 36_000, False), (0, 719_999, False), (-780_000, 720_000, True),
])  # fmt: skip
def test_not_found_is_final_by_the_clock_that_dated_the_order(
    ahead_ms: int, age_ms: int, is_final: bool
) -> None:
    world, resolver = world_of("query")
    world.line.answers = ["1404"]
    world.ledger.open_orders = [replace(doubtful(age_ms=age_ms), read_ms=NOW_MS)]
    world.clock.ms = NOW_MS + ahead_ms  # the daemon's own
    now(resolver.round())
    assert len(world.commands(CloseRecharge)) == is_final


def test_an_order_read_from_postgresql_tells_the_time_of_its_reading() -> None:
    with kept_in("postgresql"):
        books = Books().setup()
        books.do(books.plain())
        with books.engine.connect() as txn:
            [order] = open_orders(txn, 2**60)
        assert abs(order.read_ms - time.time() * 1000) < 60_000


def test_an_operator_that_is_configured_no_more() -> None:
    world, resolver = world_of("resend")
    world.ledger.open_orders = [doubtful(operator_id=9), doubtful(State.HELD, operator_id=9)]
    now(resolver.round())
    now(resolver.round())
    limit_ms = NOW_MS - 10_000 + 86_400_000
    assert {item.next_ms for item in world.postponed()} == {limit_ms}
    assert {(close.verdict, close.manual) for close in world.commands(CloseRecharge)} == {
        (Verdict.UNKNOWN, False)
    }
    world.ledger.open_orders = [doubtful(operator_id=9, age_ms=86_400_001)]
    now(resolver.round())
    assert world.last_close().manual


def test_a_slow_operator_keeps_nobody_elses_doubts() -> None:
    world = World(DoubtPolicy(mode="resend"))
    slow = ScriptedLine(world.trace)
    plans = [world.plan, replace(world.plan, operator_id=2, name="slow", line=slow)]
    clock = Clock()
    resolver = DoubtResolver(Board(world.ledger, plans, world.clock), clock)
    waiting: Deferred[OperatorAnswer] = Deferred()
    asked: list[str] = []

    async def never(request: Any) -> OperatorAnswer:
        asked.append("slow")
        return await waiting

    slow.recharge = never  # type: ignore[method-assign]
    other = replace(doubtful(operator_id=2), order_id=ORDER_ID + 1)
    world.ledger.open_orders = [doubtful(), other]
    resolver.start()
    for _ in range(3):
        clock.advance(1)
    resolver.stop()
    assert asked == ["slow"]
    assert world.trace.count(("recharge", OP_REF)) == 4
