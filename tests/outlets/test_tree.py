"""The tree of outlets: where each may stand, what a move keeps, and that no order of moves makes a cycle."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aircharge.outlets import tree
from aircharge.outlets.registry import Desk, OutletForm, RegistryError, add_outlet_txn
from aircharge.values import Pin
from tests.ledger import engines
from tests.ledger.desk import MINUTE, PINS, Books
from tests.outlets.desk import at_desk, read

# code, level, parent
HOUSE = (
    ("P1", "province", ""),
    ("P2", "province", ""),
    ("C1", "city", "P1"),
    ("C2", "city", "P2"),
    ("D1", "distributor", "C1"),
    ("D2", "distributor", "C2"),
    ("S1", "outlet", "D1"),
    ("S2", "outlet", "D1"),
    ("S3", "outlet", "D2"),
)


def plant(desk: Desk) -> None:
    for number, (code, level, parent) in enumerate(HOUSE):
        form = OutletForm(code, code, (f"1390000100{number}",), parent=parent, more={"level": level})
        add_outlet_txn(desk, form, Pin("735194"), PINS, b"s" * 16)


@pytest.fixture(params=engines.ENGINES)
def books(request: pytest.FixtureRequest) -> Iterator[Books]:
    with engines.kept_in(request.param):
        made = Books().setup({"A": 0})
        at_desk(made, plant)
        yield made
        assert made.problems() == []
        made.engine.dispose()


def stands(books: Books) -> dict[str, str | None]:
    question = "SELECT o.code, p.code FROM outlet o LEFT JOIN outlet p ON p.id = o.parent_id"
    return {row[0]: row[1] for row in books.rows(question)}


def test_a_move_takes_all_below_along_and_keeps_its_history(books: Books) -> None:
    books.wait(MINUTE)
    began_ms = books.clock.ms
    at_desk(books, lambda desk: tree.move_txn(desk, "D1", "C2"))
    assert {row["code"]: row["depth"] for row in read(books, tree.downline, "P2")} == {
        "C2": 1, "D1": 2, "D2": 2, "S1": 3, "S2": 3, "S3": 3
    }  # fmt: skip
    assert [row["code"] for row in read(books, tree.downline, "P1")] == ["C1"]
    at_desk(books, lambda desk: tree.move_txn(desk, "D1", "C1"))  # in the same millisecond
    assert [(row["since_ms"], row["parent"], row["actor"]) for row in read(books, tree.moves, "D1")] == [
        (began_ms - MINUTE, "C1", "li"),
        (began_ms, "C2", "li"),
        (began_ms + 1, "C1", "li"),
    ]


def test_the_downline_shows_float_and_last_order(books: Books) -> None:
    books.fund("S1", 12_345)
    [first, second] = read(books, tree.downline, "D1")
    assert (first["code"], first["posted"], first["last_ms"]) == ("S1", 12_345, books.clock.ms)
    assert (second["code"], second["posted"], second["last_ms"]) == ("S2", 0, None)


REFUSED = (
    # who, to whom, to which level, says
    ("S1", "NONE", None, "no outlet NONE"),
    ("NONE", "D1", None, "no outlet NONE"),
    ("P1", "P1", None, "below itself"),
    ("P1", "S1", None, "a cycle: S1 stands below P1"),
    ("C1", "D1", None, "a cycle: D1 stands below C1"),
    ("D1", "D2", None, "cannot stand below D2, a distributor"),
    (
        "D1",
        "S3",
        None,
        "cannot stand below S3, an outlet; name a parent that is a province or a city, or raise",
    ),
    ("S1", "D1", None, "stands there already"),
    ("S1", "D2", 9, "level 9"),
    ("D1", "C2", 4, "below D1 stands a outlet"),
)


@pytest.mark.parametrize(("code", "parent", "level", "says"), REFUSED)
def test_where_an_outlet_cannot_stand(
    books: Books, code: str, parent: str, level: int | None, says: str
) -> None:
    before = stands(books), books.rows("SELECT * FROM outlet_move"), books.rows("SELECT * FROM audit")
    with pytest.raises(RegistryError, match=says):
        at_desk(books, lambda desk: tree.move_txn(desk, code, parent, level=level))
    assert before == (
        stands(books),
        books.rows("SELECT * FROM outlet_move"),
        books.rows("SELECT * FROM audit"),
    )


def test_a_shop_becomes_a_distributor(books: Books) -> None:
    at_desk(books, lambda desk: tree.move_txn(desk, "S1", "C1", level=3))
    at_desk(books, lambda desk: tree.move_txn(desk, "S2", "S1"))
    assert stands(books)["S2"] == "S1"
    at_desk(books, lambda desk: tree.move_txn(desk, "S2", ""))
    assert stands(books)["S2"] is None


CODES = st.sampled_from([code for code, _, _ in HOUSE])


@settings(max_examples=25)
@given(st.lists(st.tuples(CODES, CODES, st.sampled_from([None, 1, 2, 3, 4])), max_size=12))
def test_no_order_of_moves_makes_a_cycle(moves: list[tuple[str, str, int | None]]) -> None:
    books = Books().setup({"A": 0})
    at_desk(books, plant)
    for code, parent, level in moves:
        try:
            at_desk(books, partial(tree.move_txn, code=code, parent_code=parent, level=level))
        except RegistryError:
            continue
    levels = dict(books.rows("SELECT code, level FROM outlet"))
    parents = stands(books)
    for start in parents:
        above = parents[start]
        assert above is None or levels[above] < levels[start]
        seen = {start}
        while above is not None:
            assert above not in seen
            seen.add(above)
            above = parents[above]
        assert len(seen) <= 4
    books.engine.dispose()
