"""Corners of the rules that daily trade rarely meets: each is decided, and nothing of it moves money unasked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from aircharge.errors import CommandFailed, Reason
from aircharge.ledger import failing, lock_proof, opening
from aircharge.ledger.book import RULES
from aircharge.ledger.chart import OUTLET_CLOSED
from aircharge.ledger.entries import Declined, Enter
from aircharge.ledger.failing import failure_of
from aircharge.ledger.lock_proof import NotLocked, prove_lock
from aircharge.ledger.parking import Resume
from aircharge.ledger.reversing import OpenReversal
from aircharge.values import CardUse, Channel, Key, Receipt, State, Verdict
from tests.ledger.desk import PHONES, Books
from tests.ledger.test_entries import DAY, ask, status
from tests.ledger.test_reversing import back, clerk, settled

# -- entries by hand --------------------------------------------------------------------------------------


def request(books: Books, what: str, payload: str) -> int:
    number = 1 + (books.value("SELECT max(id) FROM change_request") or 0)
    question = (
        "INSERT INTO change_request (id, what, payload, maker, state, made_ms, note)"
        " VALUES (:id, :what, :payload, 'li', 0, :ms, '')"
    )
    with books.store.writing() as txn:
        txn.execute(text(question), {"id": number, "what": what, "payload": payload, "ms": books.clock.ms})
    return number


def credit(books: Books, account: int, until_ms: int) -> int:
    return request(
        books, "credit", f'{{"account": {account}, "limit_fen": 500, "until_ms": {until_ms}, "outlet": "A"}}'
    )


def test_a_file_is_confirmed_by_who_brings_it(books: Books) -> None:
    for what in ("batch", "bank"):
        number = request(books, what, '{"outlet": "A"}')
        assert "must bring it" in books.do(Enter(number, "wang"))
        assert books.do(Enter(number, "wang", decline="an old one")) == Declined(number, what)


def test_a_credit_line_for_nobody_or_for_yesterday_is_none(books: Books) -> None:
    later_ms = books.clock.ms + DAY
    assert (
        books.do(Enter(credit(books, 1000, books.clock.ms), "wang")) == "that credit line has ended already"
    )
    waiting = credit(books, 1000, later_ms)
    assert "does not exist" in books.do(Enter(credit(books, 999_999, later_ms), "wang"))
    status(books, "A", OUTLET_CLOSED)
    assert books.do(Enter(waiting, "wang")) == "that outlet does not exist"


def test_an_entry_asked_for_by_a_form_that_was_not_looked_at(books: Books) -> None:
    """Requests are looked at again when they are decided: what was asked may have been true once."""
    payload = '{{"account": {}, "amount_fen": {}, "slip": "{}", "outlet": "A"}}'
    for account, fen, slip, said in (
        (999_999, 100, "s1", "that outlet does not exist"),
        (1000, 0, "s2", "more than nothing"),
        (1000, 10**18, "s3", "more than nothing"),
    ):
        assert said in books.do(Enter(request(books, "funding", payload.format(account, fen, slip)), "wang"))
    assert isinstance(books.do(Enter(ask(books, "funding", 700, "twice"), "wang")), Receipt)
    again = request(books, "funding", payload.format(1000, 700, "twice"))
    assert "has been booked already" in books.do(Enter(again, "wang"))
    closing = request(books, "withdrawal", payload.format(1000, 700, "s4"))
    assert "is not being closed" in str(books.do(Enter(closing, "wang")))
    assert books.money("A") == (100_700, 0)


def test_an_outlet_without_a_phone_is_credited_and_nobody_is_told(books: Books) -> None:
    with books.store.writing() as txn:
        txn.execute(text("DELETE FROM outlet_phone WHERE msisdn = :p"), {"p": PHONES["B"]})
    assert isinstance(books.do(Enter(ask(books, "funding", 700, "slip", "B"), "wang")), Receipt)
    assert books.told() == []


# -- recharges --------------------------------------------------------------------------------------------


def used(use: CardUse) -> CardUse:
    return CardUse(use.card_id, use.key_version, use.serial, 0)


def test_the_serial_of_a_question_is_no_order(books: Books) -> None:
    """Another content is a clash; the very same, from nobody and long ago, is a replay."""
    use = used(books.card())
    first = books.stk(use=use, phone="13700000009")
    assert books.do(first).reason is Reason.UNKNOWN_SENDER
    assert books.do(books.stk("13800000007", use=use)).reason is Reason.CLASH
    books.wait(DAY)
    assert books.do(first).reason is Reason.REPLAY
    assert books.money("A") == (100_000, 0)


def test_an_earlier_request_is_confirmed_by_nobody(books: Books) -> None:
    use = used(books.card())
    question = books.stk(use=use, earlier=77, phone="13700000009")
    assert books.do(question).reason is Reason.UNKNOWN_SENDER
    assert books.do(books.stk("13800000007", use=use, earlier=77)).reason is Reason.CLASH
    assert books.do(question).reason is Reason.REPLAY  # the serial is spent, and of no order
    assert books.value("SELECT count(*) FROM txn WHERE kind = 1") == 0


def test_who_is_admitted(books: Books) -> None:
    assert opening.is_admitted(books.do(books.plain()).reason)
    assert not opening.is_admitted(Reason.FLOAT)


# -- reversals --------------------------------------------------------------------------------------------


def test_a_clerk_has_a_name(books: Books) -> None:
    order = settled(books)
    assert books.do(clerk(books, order, actor="  ")) == "whose name does this bear?"
    first = books.do(clerk(books, order))
    assert first.state is State.HELD
    other = books.do(clerk(books, settled(books, "13800000001"), mark=f"r{order.order_id}"))
    assert (other.order_id, other.reason, other.fresh) == (first.order_id, Reason.CLASH, False)
    assert books.do(clerk(books, order)).fresh is False
    assert books.do(clerk(books, 12345)).reason is Reason.NOT_FOUND
    entries = "SELECT count(*) FROM audit WHERE action = 'order.reverse'"
    assert books.value(entries) == 1


def test_nothing_of_a_closed_outlet_is_taken_back(books: Books) -> None:
    order = settled(books)
    status(books, "A", OUTLET_CLOSED)
    assert books.do(clerk(books, order)).reason is Reason.OUTLET


def test_a_terminal_that_was_not_the_first_is_told_to_wait(books: Books) -> None:
    order = settled(books)
    books.do(clerk(books, order))
    auto = OpenReversal(
        Channel.POS, Key("auto", "1"), None, order.order_id, books.clock.ms, auto=True, actor="terminal"
    )
    assert books.do(auto).reason is Reason.BUSY


def test_a_reversal_of_an_order_that_is_not_settled_breaks_the_ledger(books: Books) -> None:
    order = settled(books)
    taken = books.do(back(books, order))
    with books.store.writing() as txn:
        txn.execute(text("UPDATE txn SET state = 3 WHERE id = :id"), {"id": order.order_id})
    with pytest.raises(Exception, match="is reversed by"):
        books.do(books.close(taken, Verdict.YES))
    with books.store.writing() as txn:
        txn.execute(text("UPDATE txn SET state = 4 WHERE id = :id"), {"id": order.order_id})


# -- failing ----------------------------------------------------------------------------------------------


def test_what_is_written_down_of_a_failure() -> None:
    note = failure_of(Resume(1), KeyError("secret"))
    assert (note.about, note.why, note.asker) == ("Resume", "KeyError", None)


def test_a_failure_of_a_terminal_or_of_nobody_is_told_to_people_only(books: Books) -> None:
    terminal = failure_of(books.plain(phone="pos:0000001"), KeyError())
    assert terminal.asker is None
    assert terminal.about.startswith("OpenRecharge sms:pos:0000001")
    for note in (terminal, failure_of(books.plain(phone="13700000009"), KeyError())):
        books.do(note)
    assert books.told() == []
    assert books.value("SELECT count(*) FROM audit WHERE action = 'alarm.command-failed'") == 2


# -- SQLite's lock ----------------------------------------------------------------------------------------


@pytest.fixture
def lock_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "locks"
    monkeypatch.setattr(lock_proof, "_LOCKS", path)
    return path


def wal_engine(folder: Path) -> Any:
    engine = create_engine(f"sqlite:///{folder / 'l.db'}")
    with engine.connect() as txn:
        txn.exec_driver_sql("PRAGMA journal_mode = WAL")
    (folder / "l.db-shm").touch()
    return engine


@pytest.mark.parametrize(
    ("kind", "whose", "octets", "holds"),
    [
        ("POSIX", 0, "128 128", True),
        ("POSIX", 0, "120 EOF", True),
        ("OFDLCK", 0, "0 200", True),
        ("POSIX", 1, "128 128", False),  # another process's
        ("FLOCK", 0, "128 128", False),
        ("POSIX", 0, "129 130", False),
        ("POSIX", 0, "120 127", False),
        ("POSIX", 0, "", False),  # a line of another form
    ],
)
def test_the_lock_is_proved_by_the_kernels_list(
    tmp_path: Path, lock_list: Path, kind: str, whose: int, octets: str, holds: bool
) -> None:
    engine = wal_engine(tmp_path)
    inode = os.stat(tmp_path / "l.db-shm").st_ino
    lock_list.write_text(
        f"1: POSIX ADVISORY READ {os.getpid()} 00:00:1 128 128\n"
        f"2: {kind} ADVISORY READ {os.getpid() + whose} 08:01:{inode} {octets}\n"
    )
    if holds:
        prove_lock(engine)
    else:
        with pytest.raises(NotLocked, match="before a fork"):
            prove_lock(engine)
    engine.dispose()


def test_where_no_list_is_nothing_can_be_proved(tmp_path: Path, lock_list: Path) -> None:
    engine = wal_engine(tmp_path)
    prove_lock(engine)
    prove_lock(create_engine("sqlite://"))
    lock_list.mkdir()  # a list that cannot be read proves nothing: it is not taken for a lock
    with pytest.raises(NotLocked):
        prove_lock(engine)
    engine.dispose()


def test_rules_of_failing_are_the_books() -> None:
    assert failing.RULES.items() <= RULES.items()
    assert issubclass(CommandFailed, Exception)
