"""Messages of several parts that wait for the others are known beyond the process, without what stands in them."""

from __future__ import annotations

from dataclasses import replace

from aircharge.ledger.parts import NoteParts, WaitingParts
from aircharge.ledger.parts_reading import waiting_parts
from tests.ledger.desk import Books

ONE = WaitingParts("13900000001", "0353911", 7, wide=False, total=2, centre="smsc")
TWO = replace(ONE, ref=8)


def left(books: Books, node: int = 1, before_ms: int = 0) -> list[WaitingParts]:
    with books.engine.connect() as txn:
        return waiting_parts(txn, node, before_ms)


def test_what_waits_is_found_after_a_crash_and_what_ended_is_not(books: Books) -> None:
    books.do(NoteParts(began=(ONE, TWO)))
    books.do(NoteParts(began=(ONE,)))  # its first part came again
    assert left(books) == [ONE, TWO]
    books.do(NoteParts(ended=(TWO,)))
    assert left(books) == [ONE]
    books.do(NoteParts(ended=(ONE, TWO)))
    assert left(books) == []


def test_in_one_batch_what_was_said_last_counts(books: Books) -> None:
    books.batch(NoteParts(began=(ONE, TWO)), NoteParts(ended=(ONE,)))
    assert left(books) == [TWO]
    books.batch(NoteParts(ended=(TWO,)), NoteParts(began=(TWO,)))
    assert left(books) == [TWO]


def test_another_nodes_are_found_when_they_are_old(books: Books) -> None:
    books.do(NoteParts(began=(ONE,)))
    assert left(books, node=2, before_ms=books.clock.ms) == []
    assert left(books, node=2, before_ms=books.clock.ms + 1) == [ONE]
