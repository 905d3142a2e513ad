"""Admission: levels with hysteresis, turns by outlet, bounded room, age; and what never asks."""

from __future__ import annotations

from collections import Counter as Count
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as Timers

from aircharge.errors import Reason, Refusal
from aircharge.ledger.commands import Inquire, OpenRecharge
from aircharge.observe.metrics import Registry
from aircharge.switch.admission import HOUSE, Admission, Turn
from aircharge.switch.fairness import Levels, Room
from aircharge.switch.inquiry import inquire, object_to
from aircharge.switch.recharge import accept, carry
from aircharge.switch.workload import CHANNELS, AdmissionSettings, Work, asks
from aircharge.values import Asker, Channel, Operation
from tests.switch.world import ORDER_ID, World, now, order


class Gate:
    """An admission on timers of the test; ``window`` is operator 1's."""

    def __init__(self, window: int = 10_000, **chosen: Any) -> None:
        self.timers = Timers()
        self.window = window
        self.queued = 0  # before the ledger's writer
        self.registry = Registry()
        self.admission = Admission(
            self,
            AdmissionSettings(**chosen),
            windows={1: lambda: self.window},
            ledger_waiting=lambda: self.queued,
            registry=self.registry,
            call_later=self.timers.callLater,
        )
        self.came: list[Any] = []  # outlets, in the order of their turns
        self.refused: Count[str] = Count()

    def now_ms(self) -> int:
        return int(self.timers.seconds() * 1000)

    def monotonic_s(self) -> float:
        return self.timers.seconds()

    def ask(self, outlet: str = "a", work: Work = Work.CARD, number: int = 1) -> Turn:
        turn = self.admission.turn(number, outlet, work)
        try:
            ready = self.admission.enter(turn)
        except Refusal as refusal:
            self._no(refusal, outlet)
            return turn
        if ready is None:
            self.came.append(outlet)
        else:
            ready.addCallbacks(
                lambda _: self.came.append(outlet), lambda failure: self._no(failure.value, outlet)
            )
        return turn

    def _no(self, error: Any, outlet: str) -> None:
        assert error.reason is Reason.BUSY
        self.refused[outlet] += 1

    def shed(self, work: Work, why: str) -> int:
        return self.registry.counter(
            "shed_total", "new work refused before the hold", work=work.name.lower(), why=why
        ).value


# -- arithmetic ---------------------------------------------------------------------------------------------


def test_classes_go_and_come_back_one_by_one() -> None:
    levels = Levels([0.25, 0.5, 1.0], 0.1)
    seen = [levels.see(load) for load in (0.0, 0.3, 0.5, 0.45, 0.39, 0.2, 0.14, 1.0, 0.95, 0.0)]
    assert seen == [0, 1, 2, 2, 1, 1, 0, 3, 3, 0]


@given(st.lists(st.floats(0, 2), max_size=40), st.floats(0, 0.3))
def test_a_level_never_flaps_within_calm(loads: list[float], calm: float) -> None:
    rise = [0.2, 0.4, 0.4, 0.9]
    levels = Levels(rise, calm)
    for load in loads:
        before, after = levels.level, levels.see(load)
        assert all(load >= rise[n] - calm for n in range(after))
        assert all(load < rise[n] for n in range(after, len(rise)))
        assert levels.see(load) == after
        if after < before:
            assert load < rise[before - 1] - calm


def test_thresholds_that_fall_are_refused() -> None:
    with pytest.raises(ValueError, match="rise"):
        Levels([0.5, 0.4], 0.1)
    with pytest.raises(ValueError, match="rise"):
        AdmissionSettings(text_at=0.1)


@pytest.mark.parametrize(
    "wrong", [{"hands_max": 0}, {"outlet_waiting_max": 0}, {"waiting_max": -1}, {"wait_max_s": 0.0}]
)
def test_settings_that_would_stop_everything_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|at least"):
        AdmissionSettings(**wrong)


@settings(max_examples=200)
@given(st.lists(st.one_of(st.none(), st.sampled_from("abcdefgh")), max_size=200), st.integers(1, 20))
def test_no_outlet_waits_for_more_than_one_turn_of_each_other(steps: list[str | None], total: int) -> None:
    """A letter asks, None takes: whoever waits is served before any outlet, waiting or new, is served twice more."""
    room: Room[str] = Room(total, 5, [1.0])
    passed: dict[str, Count[str]] = {}  # who was served while this outlet waited for its turn
    waiting: Count[str] = Count()
    for step in steps:
        if step is not None:
            if room.put(0, step, step):
                waiting[step] += 1
                passed.setdefault(step, Count())
            continue
        served = room.take()
        if served is None:
            assert not passed
            continue
        passed.pop(served)
        for turns in passed.values():
            turns[served] += 1
            assert turns[served] == 1
        waiting[served] -= 1
        if waiting[served]:
            passed[served] = Count()
    assert len(room) == waiting.total()


@given(st.lists(st.sampled_from("abc"), max_size=60), st.integers(1, 30), st.integers(1, 30))
def test_room_is_left_for_who_has_none(asked: list[str], total: int, each: int) -> None:
    """Each greedy outlet in turn takes half of what is free at most: after three of them an eighth is left."""
    room: Room[str] = Room(total, each, [1.0])
    for key in asked:
        room.put(0, key, key)
    assert len(room) <= total
    if total >= 8:
        assert room.put(0, "new", "new")


def test_an_outlet_fills_at_most_what_stays_free() -> None:
    room: Room[int] = Room(10, 100, [1.0])
    assert sum(room.put(0, "bulk", n) for n in range(100)) == 5
    assert sum(room.put(0, "other", n) for n in range(100)) == 3
    assert room.fill == 0.8
    assert [room.take() for _ in range(9)] == [0, 0, 1, 1, 2, 2, 3, 4, None]


@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 2), st.sampled_from("ab"))), max_size=100))
def test_the_highest_class_is_taken_first_and_finds_room_last(steps: list[tuple[int, str] | None]) -> None:
    room: Room[int] = Room(12, 12, [0.25, 0.5, 1.0])
    inside: Count[int] = Count()
    for step in steps:
        if step is None:
            taken = room.take()
            assert taken == max(+inside, default=None)
            if taken is not None:
                inside[taken] -= 1
        elif room.put(step[0], step[1], step[0]):
            assert inside.total() < 12 * [0.25, 0.5, 1.0][step[0]]
            inside[step[0]] += 1
        assert room.top == max(+inside, default=-1)
        assert len(room) == inside.total()


def test_dropping_one_that_does_not_wait_is_an_error() -> None:
    room: Room[int] = Room(10, 10, [1.0])
    room.put(0, "a", 1)
    with pytest.raises(ValueError, match="not in deque"):
        room.drop(0, "a", 2)
    room.drop(0, "a", 1)
    assert (len(room), room.top, room.take()) == (0, -1, None)
    with pytest.raises(KeyError):
        room.drop(0, "a", 1)


# -- coming in ----------------------------------------------------------------------------------------------


def test_with_room_nothing_waits() -> None:
    gate = Gate()
    turns = [gate.ask() for _ in range(100)]
    assert len(gate.came) == 100
    assert all(turn.ready is None for turn in turns)
    assert not gate.timers.getDelayedCalls()
    for turn in turns:
        gate.admission.held(turn)
    assert (gate.admission.holding, gate.admission.waiting) == (0, 0)


def test_a_bulk_outlet_takes_turns_with_the_small_ones() -> None:
    gate = Gate(hands_max=4, waiting_max=64, outlet_waiting_max=16)
    inside = [gate.ask("bulk") for _ in range(100)]
    small = [gate.ask(f"small{n}") for n in range(5)]
    assert gate.refused == {"bulk": 100 - 4 - 16}
    del gate.came[:]
    for turn in [*inside[:20], *small]:
        gate.admission.held(turn)
    assert gate.came[:7] == ["bulk", "small0", "small1", "small2", "small3", "small4", "bulk"]
    assert gate.refused["bulk"] == 80
    assert gate.shed(Work.CARD, "outlet") == 80


def test_an_operators_window_holds_back_its_own_orders_only() -> None:
    gate = Gate(window=2, spare=0)
    first = [gate.ask() for _ in range(3)]
    asked = gate.ask("a", Work.QUESTION, HOUSE)
    other = gate.ask("a", Work.CARD, 2)
    assert (len(gate.came), gate.admission.waiting) == (4, 1)
    first[0].order_id = 11
    gate.admission.held(first[0])
    assert gate.admission.waiting == 1  # on disk, and now with the operator
    gate.admission.answered(11)
    gate.admission.ended(11)
    assert (len(gate.came), gate.admission.waiting) == (5, 0)
    gate.admission.ended(11)  # twice is once
    gate.admission.answered(99)
    gate.admission.ended(99)  # a reversal, an adopted order: it never came in here
    for turn in (*first[1:], asked, other):
        gate.admission.held(turn)
    assert gate.admission.holding == 0


def test_an_operator_that_answers_slowly_gets_nothing_beyond_its_window() -> None:
    """What waited behind a full window until it is too late would have been held for nothing."""
    gate = Gate(window=10, spare=30)
    for n in range(1, 41):
        turn = gate.ask(f"o{n}")
        turn.order_id = n
        gate.admission.held(turn)
    assert len(gate.came) == 40
    gate.timers.advance(30.0)
    gate.admission.ended(1)
    assert gate.admission.holding == 0
    assert gate.admission.enter(gate.admission.turn(1, "x", Work.CARD)) is not None


def test_what_an_operator_said_is_in_our_hands_until_it_is_written() -> None:
    gate = Gate(hands_max=2)
    for n in (1, 2):
        turn = gate.ask()
        turn.order_id = n
        gate.admission.held(turn)
    for n in (1, 2):
        gate.admission.answered(n)
        gate.admission.answered(n)  # twice is once
    gate.ask("b")
    assert (gate.came, gate.admission.waiting) == (["a", "a"], 1)
    gate.admission.ended(1)
    assert gate.came == ["a", "a", "b"]


def test_what_waited_too_long_is_refused_even_when_nothing_moves() -> None:
    gate = Gate(hands_max=1, wait_max_s=2.0, hold_slow_s=100.0)
    first = gate.ask("a")
    gate.ask("b")
    gate.timers.advance(1.0)
    gate.ask("c")
    gate.timers.advance(1.5)
    assert gate.refused == {"b": 1}
    gate.admission.held(first)
    assert gate.came == ["a", "c"]
    gate.timers.pump([1.0] * 5)
    assert gate.refused == {"b": 1}
    assert gate.shed(Work.CARD, "age") == 1
    assert not gate.timers.getDelayedCalls()


def test_many_turns_that_end_at_once_are_no_recursion() -> None:
    gate = Gate(hands_max=1, waiting_max=3000, outlet_waiting_max=3000)
    first, done = gate.ask(), 0

    def end(turn: Turn) -> None:
        nonlocal done
        done += 1
        gate.admission.held(turn)

    for n in range(1400):
        turn = gate.admission.turn(1, f"o{n}", Work.CARD)
        ready = gate.admission.enter(turn)
        assert ready is not None
        ready.addCallback(lambda _, turn=turn: end(turn))
    gate.admission.held(first)
    assert (done, gate.admission.waiting) == (1400, 0)


# -- what goes first ----------------------------------------------------------------------------------------


def test_every_class_goes_in_its_order_and_comes_back() -> None:
    gate = Gate(ledger_waiting_high=1000)
    gone = []
    for gate.queued in range(0, 1001, 10):
        kept = {work for work in Work if not gate.admission.sheds(work)}
        gone += [work for work in Work if work not in kept and work not in gone]
        assert kept == set(list(Work)[len(gone) :])
    assert gone == list(Work)
    gate.queued = 0
    assert not gate.admission.sheds(Work.REPORT)


def test_while_important_work_is_refused_nothing_else_comes_in() -> None:
    """What it frees is freed in bursts: a class below must not take what the next moment's cards need."""
    gate = Gate(hands_max=8, waiting_max=4, outlet_waiting_max=1)
    inside = [gate.ask(f"o{n}") for n in range(13)]
    assert gate.refused == {"o12": 1}
    for turn in inside[:8]:
        gate.admission.held(turn)
    assert (gate.admission.waiting, gate.admission.holding) == (0, 4)
    assert not gate.admission.is_roomy(1, Work.TEXT)
    assert gate.admission.is_roomy(1, Work.CARD)
    gate.ask("text", Work.TEXT)
    gate.ask("question", Work.QUESTION, HOUSE)
    gate.ask("elsewhere", Work.TEXT, 2)
    assert (gate.refused["text"], gate.refused["question"], gate.refused["elsewhere"]) == (1, 1, 0)
    gate.timers.advance(0.5)
    gate.ask("text", Work.TEXT)
    gate.ask("question", Work.QUESTION, HOUSE)
    assert gate.came[-2:] == ["text", "question"]
    assert gate.admission.is_roomy(1, Work.TEXT)


def test_a_class_that_is_too_much_by_itself_goes_on() -> None:
    gate = Gate(hands_max=1, waiting_max=10, outlet_waiting_max=10)
    inside = gate.ask("first")
    for n in range(10):
        gate.ask(f"o{n}", Work.TEXT)
    assert gate.refused.total() == 3  # plain SMS fill seven tenths of the room
    gate.admission.held(inside)
    gate.ask("again", Work.TEXT)
    assert gate.refused["again"] == 0


def test_what_waits_is_served_by_class_across_operators() -> None:
    gate = Gate(hands_max=1, waiting_max=40)
    inside = gate.ask("first")
    for work, number in (
        (Work.QUESTION, HOUSE),
        (Work.TEXT, 1),
        (Work.CARD, 2),
        (Work.TEXT, 2),
        (Work.CARD, 1),
    ):
        turn = gate.admission.turn(number, "o", work)
        ready = gate.admission.enter(turn)
        assert ready is not None
        ready.addCallback(lambda _, turn=turn: gate.came.append(turn.work) or gate.admission.held(turn))
    gate.admission.held(inside)
    assert gate.came[1:] == [Work.CARD, Work.CARD, Work.TEXT, Work.TEXT, Work.QUESTION]


def test_a_hold_that_takes_long_is_load() -> None:
    gate = Gate(hold_slow_s=2.0)
    turn = gate.ask()
    gate.timers.advance(1.0)
    assert gate.admission.sheds(Work.QUESTION)
    assert not gate.admission.sheds(Work.TEXT)
    gate.timers.advance(1.0)
    gate.ask("b")
    assert gate.shed(Work.CARD, "load") == 1
    gate.admission.held(turn)
    gate.ask("b")
    assert gate.came == ["a", "b"]


def test_load_of_one_operator_is_no_load_of_another() -> None:
    gate = Gate(window=1, spare=0, waiting_max=10, outlet_waiting_max=1)
    for n in range(10):
        gate.ask(f"o{n}")
    gate.ask("x", Work.TEXT)
    gate.ask("y", Work.TEXT, 2)
    gate.ask("z", asks(Operation.RECAP), HOUSE)
    assert gate.refused == {"x": 1, "z": 1}
    gate.ask("last", Work.CARD)  # cards are refused by a full room only
    assert gate.refused == {"x": 1, "z": 1}
    gate.ask("more", Work.CARD)
    assert gate.refused["more"] == 1


def test_each_door_has_its_class() -> None:
    assert set(CHANNELS) == set(Channel)
    by_class = sorted(Channel, key=lambda channel: CHANNELS[channel])
    assert {by_class[-1], by_class[-2]} == {Channel.STK, Channel.POS}
    assert asks(Operation.RECAP) < asks(Operation.BALANCE) < CHANNELS[Channel.WEB] < CHANNELS[Channel.SMS]


# -- the verbs ----------------------------------------------------------------------------------------------


def crowded(**chosen: Any) -> World:
    world = World()
    world.board.admission = Admission(world.clock, AdmissionSettings(**chosen), ledger_waiting=lambda: 1000)
    return world


def test_under_load_nothing_is_written_and_nobody_is_told() -> None:
    world = crowded()
    asker = Asker("13900000001", "0353910")
    question = Inquire(Operation.BALANCE, "k", asker, 0, Channel.SMS)
    for verb in (accept(world.board, order()), inquire(world.board, question)):
        with pytest.raises(Refusal) as caught:
            now(verb)
        assert caught.value.reason is Reason.BUSY
    with pytest.raises(Refusal):
        now(object_to(world.board, asker, Reason.FORMAT))
    assert world.trace == []


def test_what_came_in_goes_to_its_end_whatever_the_load() -> None:
    world = World()
    held = now(accept(world.board, order()))
    world.board.admission.settings = AdmissionSettings(hold_slow_s=0.001)
    world.clock.ms += 10_000
    now(carry(world.board, held))
    assert world.last_close().order_id == ORDER_ID
    assert world.board.admission.holding == 0


def test_a_hold_that_fails_gives_its_place_back() -> None:
    world = World()
    waiting: Deferred[Any] = Deferred()
    world.ledger.do = lambda command: waiting  # type: ignore[method-assign,assignment]
    running = Deferred.fromCoroutine(accept(world.board, order()))
    assert world.board.admission.holding == 1
    waiting.errback(Refusal(Reason.BUSY))
    with pytest.raises(Refusal):
        now(running)
    assert world.board.admission.holding == 0


def test_an_order_without_a_line_needs_no_window() -> None:
    """It is refused durably, and its outlet told why; that must not wait for a line that is away."""
    world = World()
    world.board.admission = Admission(world.clock, windows={1: lambda: 0})
    world.line.up = False
    now(accept(world.board, order()))
    assert world.commands(OpenRecharge)[-1].refuse is Reason.OPERATOR_DOWN
    assert now(accept(world.board, replace(order("17712345678")))).reason is Reason.NUMBER
