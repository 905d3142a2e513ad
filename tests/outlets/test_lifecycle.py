"""The life of an outlet, step by step: which may follow which, and what each lets it do."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from aircharge.errors import Reason
from aircharge.ledger.chart import (
    OUTLET_ACTIVE,
    OUTLET_CLOSED,
    OUTLET_CLOSING,
    OUTLET_PENDING,
    OUTLET_SUSPENDED,
)
from aircharge.ledger.entries import Enter
from aircharge.ledger.funding import EntryForm, propose_entry_txn
from aircharge.outlets.lifecycle import NEXT, STATUSES, freeze_txn, step_txn
from aircharge.outlets.phones import bind_phone_txn
from aircharge.outlets.registry import OutletForm, RegistryError, add_outlet_txn
from aircharge.values import Operation, Pin, Receipt, State, Verdict
from tests.ledger.desk import PINS, Books
from tests.outlets.desk import actions, at_desk

NEW = "13900000050"


def step(books: Books, status: int, code: str = "A") -> None:
    at_desk(books, lambda desk: step_txn(desk, code, status))


def status(books: Books, code: str = "A") -> str:
    return STATUSES[int(books.value("SELECT status FROM outlet WHERE code = :code", code=code))][0]


def enter(books: Books, what: str, amount_fen: int) -> None:
    form = EntryForm(what, amount_fen, f"{what}-{amount_fen}", "A")
    with books.store.writing() as txn:
        request = propose_entry_txn(txn, form, maker="li", now_ms=books.clock.ms)
    assert isinstance(books.do(Enter(request, "wang")), Receipt)


@pytest.mark.parametrize("before", STATUSES)
@pytest.mark.parametrize("after", STATUSES)
def test_the_table_of_steps(before: int, after: int) -> None:
    """Nothing but what the table says; an outlet with nothing on its accounts, in SQLite."""
    books = Books().setup({"A": 0})
    with books.store.writing() as txn:
        txn.execute(text("UPDATE outlet SET status = :status"), {"status": before})
    if (before, after) == (OUTLET_SUSPENDED, OUTLET_ACTIVE):  # a freeze: it takes two people to lift it
        with pytest.raises(RegistryError, match="takes two people"):
            step(books, after)
        at_desk(books, lambda desk: freeze_txn(desk, "A", lift=True))
        assert status(books) == "active"
    elif after in NEXT[before]:
        step(books, after)
        assert status(books) == STATUSES[after][0]
    else:
        with pytest.raises(RegistryError, match="already" if after == before else "cannot become"):
            step(books, after)
        assert status(books) == STATUSES[before][0]
    books.engine.dispose()


def test_a_pending_outlet_begins_with_its_first_deposit(books: Books) -> None:
    form = OutletForm("N1", "", (NEW,), "zh", "never", more={"status": "pending"})
    at_desk(books, lambda desk: add_outlet_txn(desk, form, Pin("735194"), PINS, b"s" * 16))
    assert status(books, "N1") == "pending"
    books.fund("N1", 10_000)
    assert status(books, "N1") == "active"
    assert books.do(books.plain(phone=NEW)).state is State.HELD
    books.fund("N1", 20_000)
    detail = "SELECT count(*) FROM audit WHERE action = 'outlet.activate' AND object = 'N1'"
    assert books.value(detail) == 1


def test_a_clerk_lets_a_pending_outlet_begin(books: Books) -> None:
    form = OutletForm("N1", "", (NEW,), "zh", "never", more={"status": "pending"})
    at_desk(books, lambda desk: add_outlet_txn(desk, form, Pin("735194"), PINS, b"s" * 16))
    assert books.do(books.plain(phone=NEW)).reason is Reason.OUTLET
    step(books, OUTLET_ACTIVE, "N1")
    books.fund("N1", 10_000)
    assert books.do(books.plain("13812345679", phone=NEW)).state is State.HELD


@pytest.mark.parametrize("stopped", [OUTLET_SUSPENDED, OUTLET_CLOSING])
def test_a_stopped_outlet_gets_no_new_hold_settles_open_ones_and_may_ask(books: Books, stopped: int) -> None:
    held = books.do(books.plain())
    step(books, stopped)
    assert books.do(books.plain("13812345679")).reason is Reason.OUTLET
    books.told()
    books.do(books.ask(Operation.BALANCE))
    assert books.told() == ["outlet.balance"]
    books.do(books.close(held, Verdict.YES))
    assert books.money("A") == (95_000, 0)
    assert books.value("SELECT min(status) FROM account WHERE owner_id = 1000") == 1


def test_closing_to_the_end(books: Books) -> None:
    held = books.do(books.plain())
    enter(books, "deposit-in", 20_000)
    step(books, OUTLET_CLOSING)
    for says, work in (
        ("float of outlet A is not empty: 800.00 yuan, 50.00 held", lambda: None),
        ("float of outlet A is not empty", lambda: books.do(books.close(held, Verdict.NO))),
        ("deposit of outlet A is not empty: 200.00", lambda: enter(books, "withdrawal", 80_000)),
        ("float of outlet A is not empty: 200.00", lambda: enter(books, "deposit-out", 20_000)),
    ):
        work()
        with pytest.raises(RegistryError, match=says):
            step(books, OUTLET_CLOSED)
    enter(books, "withdrawal", 20_000)
    step(books, OUTLET_CLOSED)
    assert status(books) == "closed"
    assert books.rows("SELECT DISTINCT status FROM account WHERE owner_id = 1000") == [(2,)]
    assert books.rows("SELECT status FROM card WHERE outlet_id = 1000") == [(2,)]
    assert books.value("SELECT closed_ms FROM outlet_profile WHERE outlet_id = 1000") == books.clock.ms
    assert books.do(books.plain("13812345670")).reason is Reason.UNKNOWN_SENDER
    assert actions(books)[-1] == "outlet.close"
    form = OutletForm("N1", "", ("13900000001",))  # its number may be another's now
    at_desk(books, lambda desk: add_outlet_txn(desk, form, Pin("735194"), PINS, b"s" * 16))
    with pytest.raises(RegistryError, match="outlet A is closed"):
        at_desk(books, lambda desk: bind_phone_txn(desk, "A", NEW))


def test_an_outlet_with_others_below_stays(books: Books) -> None:
    form = OutletForm("D1", "", (NEW,), more={"level": "distributor"})
    at_desk(books, lambda desk: add_outlet_txn(desk, form, Pin("735194"), PINS, b"s" * 16))
    form = OutletForm("S1", "", ("13900000051",), parent="D1")
    at_desk(books, lambda desk: add_outlet_txn(desk, form, Pin("735194"), PINS, b"s" * 16))
    with pytest.raises(RegistryError, match="S1 and perhaps others stand below D1"):
        step(books, OUTLET_CLOSING, "D1")
    step(books, OUTLET_CLOSING, "S1")
    step(books, OUTLET_CLOSED, "S1")
    step(books, OUTLET_CLOSING, "D1")
    form = OutletForm("S2", "", ("13900000052",), parent="D1")
    with pytest.raises(RegistryError, match="being closed"):
        at_desk(books, lambda desk: add_outlet_txn(desk, form, Pin("735194"), PINS, b"s" * 16))


def test_no_such_outlet_and_one_that_is_pending(books: Books) -> None:
    with pytest.raises(RegistryError, match="no outlet NONE"):
        step(books, OUTLET_SUSPENDED, "NONE")
    assert OUTLET_SUSPENDED not in NEXT[OUTLET_PENDING]
