"""The runner of files: bounded, patient with a line that is down, at its end when told, and once per line."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from aircharge.errors import LedgerError, Reason
from aircharge.ledger.batching import EndBatch, OpenLine
from aircharge.ledger.commands import CloseRecharge
from aircharge.ledger.pending import WaitingLine, batch_counts, running_batches
from aircharge.ports import OperatorAnswer
from aircharge.switch.admission import Admission
from aircharge.switch.batch import BatchRunner, offers_of
from aircharge.switch.board import Board
from aircharge.switch.workload import AdmissionSettings, Work
from aircharge.values import State
from tests.switch.world import ScriptedLine, World, now, receipt

BATCH = 77


class FileLedger:
    """One file with lines that wait, until they are opened."""

    def __init__(self, world: World, lines: int) -> None:
        self.world = world
        self.waiting = {
            n: WaitingLine(BATCH, n, f"138{n:08d}", 5000, 5000, "13900000001", "0353911")
            for n in range(1, lines + 1)
        }
        self.states: dict[int, State | str | Exception] = {}
        self.done = False

    def do(self, command: Any) -> Deferred[Any]:
        self.world.trace.append(command)
        if isinstance(command, OpenLine):
            state = self.states.get(command.line, State.HELD)
            if isinstance(state, Exception):
                raise state
            if isinstance(state, str):
                return succeed(state)
            self.waiting.pop(command.line, None)
            return succeed(receipt(state, Reason.OK))
        if isinstance(command, EndBatch):
            self.done = True
            return succeed(True)
        return succeed(receipt(State.SETTLED))

    def read(self, reader: Any) -> Deferred[Any]:
        if reader is running_batches:
            return succeed([] if self.done else [BATCH])
        names = reader.__code__.co_names
        if batch_counts.__name__ in names:
            return succeed({1: 3, 2: 1})
        return succeed(list(self.waiting.values())[:4])


def runner(world: World, ledger: FileLedger, **more: Any) -> BatchRunner:
    world.board.ledger = ledger
    return BatchRunner(world.board, Clock(), Deferred.fromCoroutine, **more)


def test_every_line_is_opened_carried_and_the_end_told() -> None:
    world = World()
    ledger = FileLedger(world, 9)
    assert now(runner(world, ledger).round()) == 9
    assert [command.line for command in world.commands(OpenLine)] == list(range(1, 10))
    assert len(world.commands(CloseRecharge)) == 9
    assert world.commands(EndBatch) == [EndBatch(BATCH, 3, 1)]
    assert not world.board.in_flight
    assert now(runner(world, ledger).round()) == 0


def test_a_line_is_a_recharge_with_its_own_key() -> None:
    world = World()
    now(runner(world, FileLedger(world, 1)).round())
    [command] = world.commands(OpenLine)
    opening = command.opening
    assert (opening.order.key.scope, opening.order.key.mark) == ("batch:77", "1")
    assert (opening.operator_id, opening.batch_id, opening.reserved_fen) == (1, BATCH, 5000)
    assert (opening.confirmed, opening.pin_needed) == (True, False)


def test_no_more_than_so_many_at_a_time() -> None:
    world = World()
    waiting: list[Deferred[Any]] = [Deferred() for _ in range(4)]
    world.line.answers = list(waiting)
    going = Deferred.fromCoroutine(runner(world, FileLedger(world, 4), width=2).round())
    assert len(world.commands(OpenLine)) == 2
    for answer in waiting:
        answer.callback(OperatorAnswer("AC", "0000", "1", 0))
    assert now(going) == 4


def test_a_line_that_is_down_keeps_its_lines_waiting() -> None:
    world = World()
    world.line.up = False
    ledger = FileLedger(world, 3)
    assert now(runner(world, ledger).round()) == 0
    assert not world.commands(OpenLine)
    assert not world.commands(EndBatch)
    world.line.up = True
    assert now(runner(world, ledger).round()) == 3


@pytest.mark.parametrize("stop", ["closing", "full", "stopped"])
def test_nothing_is_begun_on_the_way_out(stop: str) -> None:
    world = World()
    made = runner(world, FileLedger(world, 3))
    world.board.closing = stop == "closing"
    if stop == "full":
        world.board.in_flight_max = 0
    if stop == "stopped":
        made.stop()
    assert now(made.round()) == 0
    assert not world.commands(OpenLine)


def test_under_load_the_lines_of_a_file_wait_in_the_ledger() -> None:
    world, queued = World(), 1000
    ledger = FileLedger(world, 3)
    world.board.admission = Admission(world.clock, ledger_waiting=lambda: queued)
    made = runner(world, ledger)
    assert now(made.round()) == 0
    assert (world.trace, len(ledger.waiting)) == ([], 3)
    queued = 0
    assert now(made.round()) == 3
    assert world.commands(EndBatch) == [EndBatch(BATCH, 3, 1)]


def test_a_file_has_its_outlets_turns_and_goes_on_when_they_come() -> None:
    world = World()
    ledger = FileLedger(world, 9)
    limits = AdmissionSettings(hands_max=1, waiting_max=16, outlet_waiting_max=2)
    admission = world.board.admission = Admission(world.clock, limits)
    first = admission.turn(1, "13900000009", Work.CARD)
    assert admission.enter(first) is None
    running = Deferred.fromCoroutine(runner(world, ledger, width=4).round())
    assert admission.waiting == 2  # of four workers: no more of one outlet, whatever brings them
    other = admission.turn(1, "13900000008", Work.CARD)
    waits = admission.enter(other)
    assert waits is not None
    waits.addCallback(lambda _: world.trace.append("other"))
    admission.held(first)
    assert world.trace == ["other"]  # its class goes first
    admission.held(other)
    assert now(running) == 9
    assert len(world.commands(CloseRecharge)) == 9
    assert (admission.waiting, admission.holding) == (0, 0)


def test_a_file_that_was_cancelled_meanwhile() -> None:
    world = World()
    ledger = FileLedger(world, 3)
    ledger.states = {1: "batch 77 is at its end", 2: "batch 77 is at its end", 3: "batch 77 is at its end"}
    assert now(runner(world, ledger).round()) == 0
    assert not world.commands(CloseRecharge)


def test_refused_and_known_lines_are_not_carried() -> None:
    world = World()
    ledger = FileLedger(world, 3)
    ledger.states = {1: State.REFUSED, 2: State.PARKED}
    assert now(runner(world, ledger).round()) == 3
    assert len(world.commands(CloseRecharge)) == 1


def test_a_ledger_that_fails_is_asked_again_later() -> None:
    world = World()
    ledger = FileLedger(world, 2)
    ledger.states = {1: LedgerError("the commit's fate is unknown"), 2: LedgerError("again")}
    made = runner(world, ledger)
    with pytest.raises(LedgerError):
        now(made.round())
    ledger.states = {}
    assert now(made.round()) == 2


def test_what_the_operators_offer() -> None:
    [offer] = offers_of(World().board)
    assert (offer.operator_id, offer.segments, offer.sells(5000), offer.sells(5001)) == (
        1,
        ("13", "15"),
        True,
        False,
    )


class TwoFiles(FileLedger):
    """A file of 8 lines at an operator that is silent, and one of 3 at another that answers."""

    def __init__(self, world: World) -> None:
        super().__init__(world, 0)
        self.files = {
            number: {
                n: WaitingLine(number, n, f"{head}{n:08d}", 5000, 5000, phone, "0353911")
                for n in range(lines)
            }
            for number, head, lines, phone in ((1, "138", 8, "13900000001"), (2, "177", 3, "13900000002"))
        }
        self.ended: list[int] = []

    def do(self, command: Any) -> Deferred[Any]:
        if isinstance(command, OpenLine):
            self.files[command.opening.batch_id].pop(command.line, None)
            operator_id = command.opening.operator_id
            return succeed(replace(receipt(State.HELD), operator_id=operator_id, order_id=command.line + 1))
        if isinstance(command, EndBatch):
            self.ended.append(command.batch_id)
            return succeed(True)
        return succeed(receipt(State.SETTLED))

    def read(self, reader: Any) -> Deferred[Any]:
        if reader is running_batches:
            return succeed([number for number in self.files if number not in self.ended])
        if batch_counts.__name__ in reader.__code__.co_names:
            return succeed({1: 3})
        batch_id = inspect.getclosurevars(reader).nonlocals["batch_id"]
        return succeed(list(self.files[batch_id].values())[:4])


def test_a_file_at_a_silent_operator_keeps_nobody_elses() -> None:
    world = World()
    answering = ScriptedLine(world.trace)
    world.line.answers = [Deferred() for _ in range(99)]  # nobody answers
    plans = [world.plan, replace(world.plan, operator_id=2, name="two", line=answering, segments=("177",))]
    ledger = TwoFiles(world)
    world.board = Board(ledger, plans, world.clock)  # type: ignore[arg-type]
    clock = Clock()
    files = BatchRunner(world.board, clock, Deferred.fromCoroutine, width=8)
    files.start()
    clock.advance(1)
    files.stop()
    assert ledger.ended == [2]
    assert len(ledger.files[1]) == 4  # of the silent one's, so many are under way
    assert not ledger.files[2]


def test_a_file_that_fails_is_gone_on_with_in_the_next_round() -> None:
    world = World()
    ledger = FileLedger(world, 2)
    ledger.states[1] = LedgerError("the disk said no")
    clock = Clock()
    world.board.ledger = ledger
    files = BatchRunner(world.board, clock, Deferred.fromCoroutine)
    files.start()
    ledger.states.clear()
    clock.advance(1)
    files.stop()
    assert ledger.done
