"""Every pair of an operator's answers in either order: the tables of docs/protocols/operator-link.md, cell by cell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from aircharge.ledger import chart
from aircharge.ledger.reversing import Undo
from aircharge.values import Receipt, State, Verdict
from tests.ledger.desk import Books
from tests.ledger.test_reversing import back, settled

PAGE: Final = Path(__file__).parents[2] / "docs" / "protocols" / "operator-link.md"
_Y, _N, _U = Verdict.YES, Verdict.NO, Verdict.UNKNOWN
ANSWERS: Final = {
    "yes": (_Y, 0, "0000"),
    "no": (_N, 0, "3001"),
    "unknown": (_U, 0, "9001"),
    "own yes": (_Y, 0, "0000"),
    "own no": (_N, 0, "3001"),
    "taken back": (_N, chart.UNDO_DONE, "0000"),
    "nothing": (_N, chart.UNDO_NOTHING, "6001"),
    "stands": (_Y, chart.UNDO_REFUSED, "6004"),
}
STATES: Final = {"S": State.SETTLED, "V": State.VOIDED, "D": State.IN_DOUBT, "M": State.MANUAL}


def _table(number: int) -> list[tuple[str, str, str]]:
    """(first, second, cell) of one of the two tables."""
    text = PAGE.read_text(encoding="utf-8").partition("## Pairs of answers")[2].partition("\n## ")[0]
    lines = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)[number].splitlines()
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [(row[0], head[column], row[column]) for row in rows for column in range(1, len(head))]


PLAIN, UNDONE = _table(0), _table(1)


def _hear(books: Books, order: Receipt, first: str, second: str) -> None:
    for name in (first, second):
        verdict, undo, code = ANSWERS[name]
        books.do(books.close(order, verdict, undo=undo, code=code))


def _state(books: Books, order: Receipt) -> State:
    return State(books.value("SELECT state FROM txn WHERE id = :i", i=order.order_id))


def _called(books: Books) -> tuple[int, int]:
    alarms = books.value("SELECT count(*) FROM audit WHERE action = 'alarm.contradiction'")
    return int(alarms), int(books.value("SELECT count(*) FROM recon_item"))


def test_the_tables_have_every_pair() -> None:
    assert len(PLAIN) == 3 * 3
    assert len(UNDONE) == 6 * 6


@pytest.mark.parametrize(("first", "second", "cell"), PLAIN)
def test_a_recharge(books: Books, first: str, second: str, cell: str) -> None:
    order = books.do(books.plain())
    _hear(books, order, first, second)
    assert _state(books, order) is STATES[cell[0]]
    assert books.money("A") == {"S": (95_000, 0), "V": (100_000, 0), "D": (100_000, 5_000)}[cell[0]]
    assert _called(books) == (("!" in cell), ("!" in cell))
    assert "customer.settled" in books.told() if cell[0] == "S" else "customer.settled" not in books.told()


@pytest.mark.parametrize(("first", "second", "cell"), PLAIN)
def test_a_reversal(books: Books, first: str, second: str, cell: str) -> None:
    sold = settled(books)
    order = books.do(back(books, sold))
    _hear(books, order, first, second)
    assert _state(books, order) is STATES[cell[0]]
    assert (_state(books, sold) is State.REVERSED) == (cell[0] == "S")
    assert books.money("A") == ((100_000, 0) if cell[0] == "S" else (95_000, 0))
    assert _called(books) == (("!" in cell), ("!" in cell))


@pytest.mark.parametrize(("first", "second", "cell"), UNDONE)
def test_a_recharge_that_is_being_undone(books: Books, first: str, second: str, cell: str) -> None:
    order = books.do(books.plain())
    books.do(books.close(order, _U))
    assert books.do(Undo(order.order_id)) is True
    _hear(books, order, first, second)
    assert _state(books, order) is STATES[cell[0]]
    held = {"S": (95_000, 0), "V": (100_000, 0), "D": (100_000, 5_000), "M": (100_000, 5_000)}
    assert books.money("A") == held[cell[0]]
    assert _called(books) == (("!" in cell), ("!" in cell))
    if cell[0] == "M":  # two people's ruling moves it
        assert books.do(books.close(order, _Y, actor="li+wang")).state is State.SETTLED
