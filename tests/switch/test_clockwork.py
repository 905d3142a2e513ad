"""Rounds, the keeper of days and the prover of books, on real books and a clock that moves when told."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.task import Clock

from aircharge.errors import LedgerError
from aircharge.ledger.book import BookSettings
from aircharge.ledger.chart import HOUSE
from aircharge.ledger.days import OpenDays
from aircharge.ledger.sealing import SealSettings
from aircharge.ledger.singletons import Taken
from aircharge.switch.day import DayKeeper, DaySettings
from aircharge.switch.proof import ProofSettings, Prover
from aircharge.switch.rounds import Rounds
from aircharge.values import Verdict
from tests.ledger.desk import Books
from tests.ledger.engines import unguard_txn
from tests.switch.chores import BooksPort
from tests.switch.world import now

DAY_MS = 86_400_000
SEALING = SealSettings(every_s=60, lag_s=30)


# -- rounds -----------------------------------------------------------------------------------------------


class Steps:
    """A step that meets what the test says, once."""

    def __init__(self) -> None:
        self.count = 0
        self.failure: Exception | None = None

    async def __call__(self) -> None:
        self.count += 1
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure


@pytest.mark.parametrize("failure", [Taken("another daemon is at it"), LedgerError("the disk is full")])
def test_a_round_that_fails_is_tried_again(failure: Exception) -> None:
    clock, steps = Clock(), Steps()
    steps.failure = failure
    rounds = Rounds("work", steps, 10, clock)
    rounds.start()
    assert steps.count == 1
    clock.advance(10)
    assert steps.count == 2
    rounds.stop()
    clock.advance(100)
    assert steps.count == 2


def test_a_second_start_or_stop_changes_nothing() -> None:
    clock, steps = Clock(), Steps()
    rounds = Rounds("work", steps, 10, clock)
    rounds.stop()
    rounds.start(now=False)
    rounds.start()
    assert steps.count == 0
    clock.advance(10)
    assert steps.count == 1


def test_every_zero_seconds_is_never() -> None:
    clock, steps = Clock(), Steps()
    Rounds("work", steps, 0, clock).start()
    assert (steps.count, clock.getDelayedCalls()) == (0, [])


# -- days -------------------------------------------------------------------------------------------------


class Days:
    """A keeper of operators 1 and 2 and what it has called unsound."""

    def __init__(self) -> None:
        self.books = Books().setup()
        self.port = BooksPort(self.books)
        self.unsound: list[str] = []
        self.reactor = Clock()
        self.keeper = DayKeeper(
            self.port,
            (1, 2),
            BookSettings(),
            DaySettings(),
            self.books.clock,
            self.reactor,
            self.unsound.extend,
        )

    def closed(self) -> list[tuple[int, ...]]:
        """Operators with a closed day."""
        return self.books.rows("SELECT operator_id FROM day WHERE closed_ms IS NOT NULL ORDER BY operator_id")


def test_the_clock_alone_opens_the_next_day_and_the_one_before_is_closed() -> None:
    days = Days()
    now(days.keeper.round())
    opened = len(days.port.commands)
    now(days.keeper.round())
    assert len(days.port.commands) == opened  # nothing is due: the book is not asked
    days.books.do(days.books.close(days.books.do(days.books.plain()), Verdict.YES))
    days.books.wait(DAY_MS)
    now(days.keeper.round())
    assert days.port.commands[-1] == OpenDays((HOUSE, 1, 2))
    assert days.keeper.waiting == 0
    assert days.closed() == [(HOUSE,), (1,), (2,)]
    assert days.unsound == days.books.problems() == []


def test_over_wrong_books_no_day_is_closed_and_it_is_said_every_round() -> None:
    days = Days()
    days.keeper.start()
    with days.books.store.writing() as txn:
        txn.exec_driver_sql(
            "UPDATE balance SET posted = posted + 1 WHERE account_id = (SELECT max(account_id) FROM balance)"
        )
    days.books.wait(DAY_MS)
    days.reactor.advance(10)
    said = list(days.unsound)
    assert said
    assert all("cannot be closed" in why for why in said)
    assert days.keeper.waiting > 0
    days.reactor.advance(10)
    assert days.unsound == said * 2
    days.keeper.stop()
    days.reactor.advance(10)
    assert days.unsound == said * 2


# -- proof ------------------------------------------------------------------------------------------------


class Proof:
    """A prover of books in which A has sold twice."""

    def __init__(self, head_file: Path | None = None) -> None:
        self.books = Books().setup()
        for number in ("13812345678", "13812345679"):
            self.books.do(self.books.close(self.books.do(self.books.plain(number)), Verdict.YES))
        self.unsound: list[str] = []
        self.reactor = Clock()
        self.prover = Prover(
            BooksPort(self.books),
            ProofSettings(),
            SEALING,
            head_file,
            self.books.clock,
            self.reactor,
            self.unsound.extend,
            utc_offset_min=480,
        )


def test_sound_books_are_verified_at_the_start_and_every_hour() -> None:
    proof = Proof()
    assert proof.prover.age_s() == -1.0
    proof.prover.start()
    rows = proof.books.value("SELECT count(*) FROM journal")
    assert (proof.prover.problems, proof.prover.rows) == (0, rows)
    proof.books.wait(7000)
    assert proof.prover.age_s() == 7.0
    proof.reactor.advance(3600)
    assert proof.prover.age_s() == 0.0
    proof.prover.stop()
    proof.books.wait(1000)
    proof.reactor.advance(3600)
    assert proof.prover.age_s() == 1.0
    assert proof.unsound == []


def test_a_balance_that_its_journal_does_not_bear_closes_the_doors() -> None:
    proof = Proof()
    with proof.books.store.writing() as txn:
        txn.exec_driver_sql(
            "UPDATE balance SET posted = posted + 1 WHERE account_id = (SELECT max(account_id) FROM balance)"
        )
    now(proof.prover.verify())
    assert proof.prover.problems == len(proof.unsound) > 0


def test_heads_are_published_once_and_held_against_the_seals(tmp_path: Path) -> None:
    heads = tmp_path / "heads.txt"
    proof = Proof(heads)
    now(proof.prover.verify())  # nothing was published yet: nothing is held against it
    assert proof.unsound == []
    proof.books.wait(60_000)
    now(proof.prover.seal())
    assert proof.prover.sealed == proof.books.value("SELECT count(*) FROM journal")
    [head] = heads.read_text("ascii").split()
    now(proof.prover.seal())  # nothing new
    assert heads.read_text("ascii").split() == [head]
    now(proof.prover.verify())
    assert proof.unsound == []
    with proof.books.store.writing() as txn:
        unguard_txn(txn, "seal")
        txn.exec_driver_sql("DELETE FROM seal")
    now(proof.prover.verify())
    assert any(head.split(":")[0] in why or "seal" in why for why in proof.unsound)


def test_a_head_that_cannot_be_written_is_written_later(tmp_path: Path) -> None:
    """P9 of 2026-11-30: one OSError, and no row was sealed any more."""
    folder = tmp_path / "away"
    proof = Proof(folder / "heads.txt")
    proof.prover.start()
    proof.books.wait(60_000)
    proof.reactor.advance(SEALING.every_s)
    assert proof.books.value("SELECT count(*) FROM seal") == 1
    folder.mkdir()
    proof.reactor.advance(SEALING.every_s)
    [head] = (folder / "heads.txt").read_text("ascii").split()
    assert head.startswith("1:")
    proof.prover.stop()
    assert proof.unsound == []


def test_a_torn_line_of_the_head_file_is_a_torn_line(tmp_path: Path) -> None:
    heads = tmp_path / "heads.txt"
    heads.write_text("1:0123abc", "ascii")
    proof = Proof(heads)
    proof.books.wait(60_000)
    now(proof.prover.seal())
    torn, head = heads.read_text("ascii").splitlines()
    assert (torn, len(head.partition(":")[2])) == ("1:0123abc", 64)
    now(proof.prover.verify())
    assert proof.unsound == []


def test_without_a_file_seals_are_made_all_the_same() -> None:
    proof = Proof()
    proof.books.wait(60_000)
    now(proof.prover.seal())
    assert proof.prover.sealed == proof.books.value("SELECT sum(n) FROM seal")
