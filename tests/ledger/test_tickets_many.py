"""Deposit tickets and bank lines that outsiders tried: references that come again, one outlet with many tickets."""

from __future__ import annotations

from typing import Any

import pytest

from aircharge.errors import Reason
from aircharge.ledger.chart import PIN_ABOVE, PIN_ALWAYS, SUSPENSE
from aircharge.ledger.pending import tickets_waiting
from aircharge.ledger.tickets import PayTicket
from aircharge.values import Receipt, State
from tests.ledger.desk import MINUTE, PHONES, PIN, Books
from tests.ledger.test_tickets import HOUR, ask, pay

DAY = 24 * HOUR


def suspense(books: Books) -> int:
    question = "SELECT coalesce(sum(amount), 0) FROM journal WHERE cr = :a"
    return int(books.value(question, a=SUSPENSE))


def alarms(books: Books) -> int:
    return int(books.value("SELECT count(*) FROM audit WHERE action = 'alarm.clash'"))


def line(books: Books, exact_fen: int = 700, key: str = "000123", **more: Any) -> PayTicket:
    return PayTicket(key, exact_fen, more.pop("at_ms", books.clock.ms), **more)


def test_a_reference_of_another_day_is_another_payment(books: Books) -> None:
    first, at_ms = books.do(line(books)), books.clock.ms
    books.wait(DAY)
    second = books.do(line(books))
    assert isinstance(second, Receipt)
    assert second.fresh
    assert second.order_id != first.order_id
    books.wait(DAY)
    third = books.do(line(books))
    assert third.fresh
    assert suspense(books) == 2_100
    for again in (line(books, at_ms=at_ms), line(books, at_ms=at_ms + DAY), line(books)):
        assert not books.do(again).fresh  # the file is booked again
    assert (suspense(books), alarms(books)) == (2_100, 0)


def test_the_same_reference_on_one_day_with_another_time_is_an_alarm(books: Books) -> None:
    books.do(line(books))
    said = books.do(line(books, at_ms=books.clock.ms + MINUTE))
    assert said == "bank line 000123 came before with another time"
    assert books.do(line(books, 701)) == "bank line 000123 came before with another sum"
    assert (suspense(books), alarms(books)) == (700, 2)


def test_the_bank_s_day_is_china_s(books: Books) -> None:
    """23:59 and 00:01 in Shanghai are two days, though one in UTC."""
    late_ms = books.clock.ms - books.clock.ms % DAY + 16 * HOUR - MINUTE
    assert books.do(line(books, at_ms=late_ms)).fresh
    assert books.do(line(books, at_ms=late_ms + 2 * MINUTE)).fresh


def test_a_slip_booked_by_hand_is_booked_once(books: Books) -> None:
    books.fund("A", 700)
    slip = books.value("SELECT idem_key FROM txn WHERE idem_scope = 'funding' AND amount = 700")
    assert not books.do(line(books, key=slip)).fresh
    assert books.do(line(books, 701, key=slip)) == f"bank line {slip} came before with another sum"


def test_a_reference_too_long_to_be_told_apart(books: Books) -> None:
    assert isinstance(books.do(line(books, key="k" * 55)), Receipt)
    assert isinstance(books.do(line(books, key="k" * 56)), str)


def asked(books: Books, amount_fen: int, outlet: str = "A") -> Receipt:
    with books.engine.connect() as txn:
        waiting_n = tickets_waiting(txn, PHONES[outlet])
    receipt = books.do(ask(books, amount_fen, outlet, waiting_n=waiting_n))
    assert isinstance(receipt, Receipt)
    return receipt


def test_an_outlet_has_a_few_tickets_at_a_time(books: Books) -> None:
    made = [asked(books, 100_000 * (n + 1)) for n in range(5)]
    assert all(one.state is State.SETTLED for one in made)
    refused = asked(books, 900_000)
    assert (refused.state, refused.reason) == (State.REFUSED, Reason.LIMIT_COUNT)
    assert books.notices[-1].facts["tickets_n"] == 5
    assert asked(books, 300_000).cost_fen == made[2].cost_fen  # its own ticket is told again
    assert asked(books, 900_000, "B").state is State.SETTLED  # others have theirs
    books.do(pay(books, made[0].cost_fen))
    assert asked(books, 900_000).state is State.SETTLED


@pytest.mark.parametrize(
    ("policy", "above", "needs"),
    [(PIN_ALWAYS, 0, True), (PIN_ABOVE, 99_999, True), (PIN_ABOVE, 100_000, False)],
)
def test_a_ticket_asks_for_the_pin_as_a_recharge_of_that_amount_does(
    books: Books, policy: int, above: int, needs: bool
) -> None:
    with books.store.writing() as txn:
        txn.exec_driver_sql(
            f"UPDATE outlet SET pin_policy = {policy}, pin_above_fen = {above} WHERE code = 'A'"
        )
    without = books.do(ask(books))
    assert (without.reason is Reason.PIN_NEEDED) == needs
    assert books.do(ask(books, pin=PIN)).state is State.SETTLED
