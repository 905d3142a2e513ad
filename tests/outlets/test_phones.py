"""An outlet's numbers, terminals and a SIM that is lost: who may order, and from when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aircharge.errors import Reason
from aircharge.outlets import phones, terminals
from aircharge.outlets.phones import rights_of
from aircharge.outlets.registry import CardForm, Desk, RegistryError, add_card_txn, block_card_txn
from aircharge.values import Operation, State
from tests.ledger.desk import MINUTE, Books
from tests.outlets.desk import actions, at_desk

MAIN, SECOND = "13900000001", "13900000033"
DAY = 24 * 60 * MINUTE
ICCID = "89860012345678901234"


def bind(books: Books, rights: str = "recharge+query", phone: str = SECOND) -> None:
    """Bound, and its waiting time is over."""
    at_desk(books, lambda desk: phones.bind_phone_txn(desk, "A", phone, rights_of(rights)))
    books.wait(DAY)


def test_each_number_has_rights_of_its_own(books: Books) -> None:
    bind(books, "query")
    assert books.do(books.plain(phone=SECOND)).reason is Reason.RIGHTS
    assert books.do(books.ask(Operation.BALANCE, phone=SECOND)) is not None
    assert books.told()[-1] == "outlet.balance"
    at_desk(books, lambda desk: phones.change_rights_txn(desk, "A", SECOND, rights_of("recharge")))
    assert books.do(books.plain("13812345679", phone=SECOND)).state is State.HELD
    books.do(books.ask(Operation.BALANCE, phone=SECOND))
    assert "outlet.refused RIGHTS" in books.told()
    assert actions(books) == ["phone.bind", "phone.rights"]


def test_an_unbound_number_is_a_strangers(books: Books) -> None:
    bind(books)
    at_desk(books, lambda desk: phones.unbind_phone_txn(desk, "A", SECOND))
    assert books.do(books.plain(phone=SECOND)).reason is Reason.UNKNOWN_SENDER
    at_desk(books, lambda desk: phones.bind_phone_txn(desk, "B", SECOND))
    detail = books.value("SELECT detail FROM audit WHERE action = 'phone.unbind'")
    assert "139****0033" in detail
    assert SECOND not in repr(books.rows("SELECT * FROM audit"))


def test_a_lost_sim_stops_at_once_and_its_replacement_waits_a_day(books: Books) -> None:
    use = books.card("A")
    from_ms = at_desk(books, lambda desk: phones.lost_sim_txn(desk, "A", MAIN, SECOND))
    assert from_ms == books.clock.ms + DAY
    assert books.do(books.plain(phone=MAIN)).reason is Reason.RIGHTS
    assert books.do(books.stk(use=use)).reason is Reason.CARD
    assert books.do(books.plain("13812345679", phone=SECOND)).reason is Reason.RIGHTS
    assert books.money("A") == (100_000, 0)  # the balance is the outlet's
    books.wait(DAY - 1)
    assert books.do(books.plain("13812345670", phone=SECOND)).reason is Reason.RIGHTS
    books.wait(1)
    assert books.do(books.plain("13812345671", phone=SECOND)).state is State.HELD
    assert books.do(books.plain("13812345672", phone=MAIN)).reason is Reason.RIGHTS


def test_two_people_let_a_replacement_go_before_its_time(books: Books) -> None:
    at_desk(books, lambda desk: phones.lost_sim_txn(desk, "A", MAIN, SECOND))
    with pytest.raises(RegistryError, match="called back"):
        at_desk(books, lambda desk: phones.release_phone_txn(desk, "A", SECOND, " "))
    at_desk(books, lambda desk: phones.release_phone_txn(desk, "A", SECOND, "called the owner at 10:05"))
    assert books.do(books.plain(phone=SECOND)).state is State.HELD
    with pytest.raises(RegistryError, match="does not wait"):
        at_desk(books, lambda desk: phones.release_phone_txn(desk, "A", SECOND, "again"))
    assert actions(books) == ["phone.bind", "phone.lost", "phone.release"]


def test_a_new_sim_with_the_old_number(books: Books) -> None:
    old = books.value("SELECT iccid FROM card WHERE msisdn = :phone", phone=MAIN)
    at_desk(books, lambda desk: phones.lost_sim_txn(desk, "A", MAIN, MAIN))
    card_id = at_desk(books, lambda desk: add_card_txn(desk, "A", CardForm(ICCID, MAIN)))
    assert books.do(books.plain(phone=MAIN)).reason is Reason.RIGHTS
    books.wait(DAY)
    assert books.do(books.stk(use=books.card("A", card_id=card_id))).state is State.HELD
    with pytest.raises(RegistryError, match="replaced by another"):
        at_desk(books, lambda desk: block_card_txn(desk, old, lift=True))


def test_without_a_replacement_the_number_is_only_blocked(books: Books) -> None:
    assert at_desk(books, lambda desk: phones.lost_sim_txn(desk, "A", MAIN)) == 0
    assert books.rows("SELECT status FROM outlet_phone WHERE msisdn = :phone", phone=MAIN) == [(2,)]


def full(desk: Desk) -> None:
    for number in range(10):
        phones.bind_phone_txn(desk, "A", f"1390000010{number}")


REFUSED: tuple[tuple[Callable[[Desk], Any], str], ...] = (
    (lambda desk: phones.bind_phone_txn(desk, "A", "13900000002"), "bound to an outlet already"),
    (lambda desk: phones.bind_phone_txn(desk, "A", MAIN), "bound to an outlet already"),
    (lambda desk: phones.bind_phone_txn(desk, "A", "abc"), "no phone number"),
    (lambda desk: phones.bind_phone_txn(desk, "NONE", SECOND), "no outlet NONE"),
    (lambda desk: phones.bind_phone_txn(desk, "A", SECOND, 0), "needs a right"),
    (lambda desk: phones.bind_phone_txn(desk, "A", SECOND, 8), "needs a right"),
    (lambda desk: rights_of("recharge+fly"), "right 'fly'"),
    (full, "has 10 numbers"),
    (lambda desk: phones.change_rights_txn(desk, "A", "13900000002", 1), "not bound to outlet A"),
    (lambda desk: phones.change_rights_txn(desk, "A", MAIN, 9), "needs a right"),
    (lambda desk: phones.unbind_phone_txn(desk, "A", SECOND), "not bound to outlet A"),
    (lambda desk: phones.unbind_phone_txn(desk, "A", MAIN), "last number of outlet A"),
    (lambda desk: phones.lost_sim_txn(desk, "A", SECOND), "not bound to outlet A"),
    (lambda desk: phones.lost_sim_txn(desk, "A", MAIN, "13900000002"), "bound to an outlet already"),
    (lambda desk: phones.release_phone_txn(desk, "A", MAIN, "called"), "does not wait"),
    (lambda desk: terminals.add_terminal_txn(desk, "NONE", "T1"), "no outlet NONE"),
    (lambda desk: terminals.add_terminal_txn(desk, "A", "T 1"), "terminal 'T 1'"),
    (lambda desk: terminals.add_terminal_txn(desk, "A", "T1", "POS!"), "kind of terminal"),
    (lambda desk: terminals.block_terminal_txn(desk, "T9"), "no terminal T9"),
    (lambda desk: terminals.move_terminal_txn(desk, "T9", "B"), "no terminal T9"),
)


@pytest.mark.parametrize(("work", "says"), REFUSED)
def test_what_cannot_be_leaves_everything_as_it_was(
    books: Books, work: Callable[[Desk], Any], says: str
) -> None:
    tables = ("outlet_phone", "card", "terminal", "audit")
    before = [books.rows(f"SELECT * FROM {table}") for table in tables]
    with pytest.raises(RegistryError, match=says):
        at_desk(books, work)
    assert before == [books.rows(f"SELECT * FROM {table}") for table in tables]


def test_a_terminal_is_added_moved_and_blocked(books: Books) -> None:
    at_desk(books, lambda desk: terminals.add_terminal_txn(desk, "A", "T1", "phone-pos"))
    with pytest.raises(RegistryError, match="exists already"):
        at_desk(books, lambda desk: terminals.add_terminal_txn(desk, "B", "T1"))
    with pytest.raises(RegistryError, match="stands at A already"):
        at_desk(books, lambda desk: terminals.move_terminal_txn(desk, "T1", "A"))
    at_desk(books, lambda desk: terminals.move_terminal_txn(desk, "T1", "B"))
    at_desk(books, lambda desk: terminals.block_terminal_txn(desk, "T1"))
    with pytest.raises(RegistryError, match="blocked already"):
        at_desk(books, lambda desk: terminals.block_terminal_txn(desk, "T1"))
    question = "SELECT o.code, t.kind, t.status FROM terminal t JOIN outlet o ON o.id = t.outlet_id"
    assert books.rows(question) == [("B", "phone-pos", 2)]
    at_desk(books, lambda desk: terminals.block_terminal_txn(desk, "T1", lift=True))
    assert actions(books) == ["terminal.add", "terminal.move", "terminal.block", "terminal.unblock"]
