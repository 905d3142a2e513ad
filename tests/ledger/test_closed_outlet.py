"""Money that reaches a closed outlet could never leave it again: each way is refused, or suspense (row L20)."""

from __future__ import annotations

import pytest

from aircharge.errors import Reason
from aircharge.ledger.chart import OUTLET_CLOSED, SUSPENSE
from aircharge.ledger.entries import ENTRIES, Enter
from aircharge.ledger.tickets import PayTicket
from aircharge.ledger.transferring import MoveCommission
from aircharge.values import Asker, Channel, Key, Pin, Receipt, State
from tests.ledger.desk import PHONES, PIN, SERVICE, Books
from tests.ledger.test_entries import ask as ask_entry
from tests.ledger.test_entries import status
from tests.ledger.test_reversing import clerk, settled
from tests.ledger.test_tickets import ask, pay
from tests.ledger.test_transferring import child_of_a, transfer


def close(books: Books, code: str = "B") -> None:
    status(books, code, OUTLET_CLOSED)


def test_no_transfer_reaches_it(books: Books) -> None:
    child_of_a(books)
    close(books)
    assert books.do(transfer(books)).reason is Reason.NO_RULE
    assert books.money("B") == (10_000, 0)


def test_what_is_paid_for_its_ticket_lies_in_suspense(books: Books) -> None:
    asked = books.do(ask(books, outlet="B"))
    paid = pay(books, asked.cost_fen)
    close(books)
    assert books.do(paid).outlet_id == 0
    assert books.value("SELECT sum(amount) FROM journal WHERE cr = :a", a=SUSPENSE) == asked.cost_fen
    assert books.money("B") == (10_000, 0)


@pytest.mark.parametrize("what", sorted(name for name, entry in ENTRIES.items() if entry.of_outlet))
def test_no_entry_by_hand_reaches_it(books: Books, what: str) -> None:
    reference = f"r-{what}"
    if what == "suspense-out":  # one sum that came in
        paid = books.do(PayTicket("bank-1", 700, books.clock.ms))
        reference = str(paid.order_id)
    request = ask_entry(books, what, 700, reference, "B")
    close(books)
    assert books.do(Enter(request, "wang")) == "outlet B is closed"


def test_no_recharge_of_its_is_taken_back(books: Books) -> None:
    order = settled(books, outlet="B", amount_fen=1_000)
    close(books)
    refused = books.do(clerk(books, order))
    assert isinstance(refused, Receipt)
    assert (refused.state, refused.reason) == (State.REFUSED, Reason.OUTLET)


def test_it_moves_no_commission(books: Books) -> None:
    close(books)
    asker = Asker(PHONES["B"], SERVICE, None, Pin(PIN))
    moved = books.do(MoveCommission(Channel.SMS, Key(f"sms:{asker.phone}", "c"), asker, 10, books.clock.ms))
    assert moved.reason is Reason.OUTLET
