"""A ledger that cannot be read or written stops no clockwork, and loses nothing an operator has said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from aircharge.errors import LedgerError, Reason
from aircharge.ledger.batching import EndBatch, OpenLine
from aircharge.ledger.commands import CloseRecharge
from aircharge.ledger.reversing import OpenReversal
from aircharge.ports import OperatorAnswer
from aircharge.switch.batch import BatchRunner
from aircharge.switch.board import Board
from aircharge.switch.doubt import DoubtResolver
from aircharge.switch.funding import Expiry
from aircharge.switch.parking import ParkedOrders
from aircharge.switch.reversal import meant
from aircharge.values import Asker, Channel, Key, State, Verdict
from tests.ledger.desk import PHONES, SERVICE, Books
from tests.switch.test_batch import FileLedger, runner
from tests.switch.test_doubt import doubtful, world_of
from tests.switch.world import NOW_MS, OP_REF, ORDER_ID, World, now, receipt

ANSWER = OperatorAnswer(OP_REF, "0000", "OP1", NOW_MS)
CLOSE = CloseRecharge(ORDER_ID, Verdict.YES)


class Dark:
    """A ledger that cannot be read until it is ``well``."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error or LedgerError("the disk is gone")
        self.looks = 0
        self.is_well = False

    def read(self, _reader: Callable[[Any], Any]) -> Deferred[Any]:
        self.looks += 1
        return succeed([]) if self.is_well else fail(self.error)


RUNNERS: dict[str, Callable[[Board, Clock], Any]] = {
    "batch": lambda board, clock: BatchRunner(board, clock, Deferred.fromCoroutine, interval_s=1),
    "doubt": lambda board, clock: DoubtResolver(board, clock, interval_s=1),
    "expiry": lambda board, clock: Expiry(board, clock, 0, interval_s=1),
    "parking": lambda board, clock: ParkedOrders(board, clock, Deferred.fromCoroutine, 1),
}


@pytest.mark.parametrize("error", [LedgerError("the disk is gone"), OSError(5, "EIO"), KeyError("a bug")])
@pytest.mark.parametrize("name", sorted(RUNNERS))
def test_every_round_looks_again_until_it_is_stopped(name: str, error: Exception) -> None:
    world, clock, ledger = World(), Clock(), Dark(error)
    world.board.ledger = ledger  # type: ignore[assignment]
    runs = RUNNERS[name](world.board, clock)
    runs.stop()  # before its start: nothing
    runs.start()
    clock.advance(1)
    assert ledger.looks == 2
    ledger.is_well = True
    clock.advance(1)
    looks = ledger.looks
    assert looks > 2
    runs.stop()
    clock.advance(10)
    assert ledger.looks == looks


# -- what an operator has said ----------------------------------------------------------------------------


def test_a_late_yes_that_could_not_be_written_is_written_in_a_later_round() -> None:
    world, resolver = world_of("resend")
    world.ledger.failure = LedgerError("no room")
    world.ledger.reads = [None]
    assert world.line.late is not None
    world.line.late(ANSWER)
    [(waits, tries)] = world.board.unwritten
    assert (waits.order_id, waits.verdict, tries) == (ORDER_ID, Verdict.YES, 0)
    now(resolver.round())
    assert list(world.board.unwritten) == [(waits, 1)]
    world.ledger.failure = None
    now(resolver.round())
    assert not world.board.unwritten
    assert world.last_close() == waits


def test_after_many_rounds_it_is_left_to_the_operators_next_answer() -> None:
    world, resolver = world_of("resend")
    world.ledger.failure = LedgerError("no room")
    world.board.unwritten.append((CLOSE, 120))
    now(resolver.round())
    assert not world.board.unwritten


def test_an_order_whose_answer_waits_to_be_written_is_not_sent_again() -> None:
    """It would be executed now, and voided when the ledger takes the first answer."""
    world, resolver = world_of("resend")
    not_sent = CloseRecharge(ORDER_ID, Verdict.NOT_SENT, reason=Reason.OPERATOR_DOWN)
    world.board.unwritten.append((not_sent, 0))
    world.ledger.failure = LedgerError("no room")
    world.ledger.open_orders = [doubtful(State.HELD, age_ms=121_000)]
    assert now(resolver.round()) == 0
    assert world.line.asked == []
    world.ledger.failure, world.ledger.open_orders = None, []
    now(resolver.round())
    assert world.last_close() == not_sent


def test_an_answer_that_cannot_be_written_to_a_resend_fails_the_round_and_frees_the_order() -> None:
    world, resolver = world_of("resend")
    world.ledger.failure = LedgerError("no room")
    world.ledger.open_orders = [doubtful()]
    with pytest.raises(LedgerError, match="no room"):
        now(resolver.round())
    assert not world.board.in_flight


# -- lines of a file --------------------------------------------------------------------------------------


def test_a_line_that_another_daemon_has_opened_is_not_sent_again() -> None:
    world = World()
    ledger = FileLedger(world, 1)
    do = ledger.do

    def repeated(command: Any) -> Deferred[Any]:
        answer = do(command)
        return (
            succeed(receipt(State.HELD, Reason.OK, fresh=False)) if isinstance(command, OpenLine) else answer
        )

    ledger.do = repeated  # type: ignore[method-assign]
    assert now(runner(world, ledger).round()) == 0
    assert len(world.commands(OpenLine)) == 1
    assert world.line.asked == []
    assert not world.board.in_flight


def test_the_end_of_a_file_that_another_daemon_has_told_is_not_told_twice() -> None:
    world = World()
    ledger = FileLedger(world, 0)
    ledger.do = lambda command: (world.trace.append(command), succeed(False))[1]  # type: ignore[method-assign,func-returns-value,assignment]
    assert now(runner(world, ledger).round()) == 0
    assert world.commands(EndBatch) == [EndBatch(77, 3, 1)]


# -- which recharge a reversal means ----------------------------------------------------------------------


def test_a_reversal_means_the_outlets_own_last_sale_of_that_number_and_amount() -> None:
    books = Books().setup()
    sales = []
    for _ in range(2):
        sales.append(books.do(books.plain(amount_fen=5000, confirmed=True)))
        books.do(books.close(sales[-1], Verdict.YES))
        books.wait(600_000)

    def found(phone: str | None, orig_id: int = 0, amount_fen: int = 5000) -> int:
        asker = Asker(phone, SERVICE) if phone else None
        command = OpenReversal(
            channel=Channel.SMS,
            key=Key("reverse", "1"),
            received_ms=books.clock.ms,
            orig_id=orig_id,
            asker=asker,
            target="13812345678",
            amount_fen=amount_fen,
        )
        with books.engine.connect() as txn:
            row = meant(txn, command, books.clock.ms)
        return row.order_id if row else 0

    assert found(PHONES["A"]) == sales[1].order_id
    assert found(PHONES["A"], amount_fen=3000) == 0
    assert found(PHONES["B"]) == 0
    assert found("13700000000") == 0
    assert found(None, orig_id=sales[0].order_id) == sales[0].order_id
