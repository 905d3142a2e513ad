"""An answer that no configured code explains, or with another amount: in doubt, and people see it at once (row L24)."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from aircharge.errors import InDoubt
from aircharge.ledger.commands import CloseRecharge
from aircharge.ports import OperatorAnswer
from aircharge.switch.board import CodeTable, DoubtPolicy
from aircharge.switch.doubt import DoubtResolver
from aircharge.values import State, Verdict
from tests.switch.test_doubt import doubtful, world_of
from tests.switch.world import OP_REF, World, now

CODES = CodeTable(
    yes=frozenset({"0000"}),
    no={},
    not_found=frozenset({"1404"}),
    busy=frozenset({"4001"}),
    pending=frozenset({"9001"}),
)


@pytest.mark.parametrize(
    ("code", "amount_fen", "odd"),
    [
        ("0000", 5000, ""),
        ("0000", 0, ""),
        ("1404", 0, ""),
        ("4001", 0, ""),
        ("9001", 0, ""),
        ("5001", 0, "unknown code"),
        ("REJ05", 0, "unknown code"),
        ("0000", 5001, "the amount is 5001 fen"),
    ],
)
def test_what_is_odd_about_an_answer(code: str, amount_fen: int, odd: str) -> None:
    assert CODES.odd(OperatorAnswer(OP_REF, code, amount_fen=amount_fen), 5000) == odd


@pytest.mark.parametrize("mode", ["resend", "query", "reverse"])
@pytest.mark.parametrize(
    "answer", [OperatorAnswer(OP_REF, "5001"), OperatorAnswer(OP_REF, "0000", amount_fen=1)]
)
def test_in_doubt_it_is_heard_to_every_question(mode: str, answer: OperatorAnswer) -> None:
    world, resolver = world_of(mode)
    world.ledger.open_orders = [doubtful()]
    world.line.answers = [succeed(answer)]
    now(resolver.round())
    [postponed] = world.postponed()
    assert (postponed.code, bool(postponed.odd)) == (answer.code, True)
    assert world.commands(CloseRecharge) == []


def test_what_the_line_found_odd_is_passed_on() -> None:
    world, resolver = world_of("resend")
    world.ledger.open_orders = [doubtful(State.HELD)]
    world.line.answers = [InDoubt("another amount", odd="the amount is 1 fen", code="0000")]
    now(resolver.round())
    assert world.last_close().odd == "the amount is 1 fen"


def test_a_first_answer_with_another_amount_settles_nothing() -> None:
    world = World(DoubtPolicy(mode="query"))
    plan = world.board.operators[0]
    answer = OperatorAnswer(OP_REF, "0000", amount_fen=4999)
    command = plan.close(1, answer, 77, 5000)
    assert (command.verdict, command.odd, command.next_ms) == (Verdict.UNKNOWN, "the amount is 4999 fen", 77)


def test_the_resolver_starts_and_stops() -> None:
    world = World(DoubtPolicy(mode="query"))
    clock = Clock()
    resolver = DoubtResolver(world.board, clock)
    world.ledger.open_orders = [doubtful()]
    resolver.start()
    resolver.stop()
    assert world.last_close().verdict is Verdict.YES


def test_the_end_waits_for_what_a_line_said_last() -> None:
    """The daemon closes its ledger after the lines: a late answer that is still being looked up is written first."""
    world, resolver = world_of("resend")
    reading: Deferred[list[Any]] = Deferred()
    world.ledger.read = lambda reader: reading  # type: ignore[method-assign]
    assert world.line.late is not None
    world.line.late(OperatorAnswer(OP_REF, "0000"))
    ended = Deferred.fromCoroutine(resolver.end())
    assert not ended.called
    reading.callback([])
    assert ended.called
    assert world.last_close().verdict is Verdict.YES


def test_an_end_without_work_ends_at_once() -> None:
    _, resolver = world_of("resend")
    now(resolver.end())
