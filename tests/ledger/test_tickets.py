"""Deposit tickets: one sum, one outlet; what the bank brings is credited once or lies in suspense."""

from __future__ import annotations

from typing import Any

import pytest

from aircharge.errors import Reason
from aircharge.ledger.chart import SUSPENSE
from aircharge.ledger.pending import expired_tickets, free_sums, ticket_outlet
from aircharge.ledger.tickets import AskTicket, ExpireTicket, PayTicket
from aircharge.values import Asker, Channel, Key, Pin, State
from tests.ledger.desk import MINUTE, PHONES, PIN, SERVICE, WRONG, Books

HOUR = 60 * MINUTE
_marks = iter(range(10**9))


def ask(books: Books, amount_fen: int = 100_000, outlet: str = "A", **more: Any) -> AskTicket:
    phone, start = PHONES.get(outlet, outlet), more.pop("start", 0)
    with books.engine.connect() as txn:
        sums = more.pop("sums", None) or free_sums(txn, phone, amount_fen, start, 8)
    pin = more.pop("pin", None)
    who = Asker(phone, SERVICE, None, Pin(pin) if pin else None)
    key = Key(f"sms:{phone}", more.pop("mark", None) or f"k{next(_marks)}")
    return AskTicket(Channel.SMS, key, who, amount_fen, sums, books.clock.ms, **more)


def pay(books: Books, exact_fen: int, key: str = "bank-1", **more: Any) -> PayTicket:
    with books.engine.connect() as txn:
        code = more.pop("code", None) or ticket_outlet(txn, exact_fen)
    return PayTicket(key, exact_fen, more.pop("at_ms", books.clock.ms), code)


def test_an_exact_sum_is_told_and_credited(books: Books) -> None:
    receipt = books.do(ask(books))
    assert (receipt.state, receipt.amount_fen, receipt.cost_fen) == (State.SETTLED, 100_000, 100_001)
    [told] = books.notices
    assert (told.topic, told.facts["exact_fen"]) == ("outlet.ticket", 100_001)
    assert told.facts["until_ms"] == books.clock.ms + 24 * HOUR
    assert books.money("A") == (100_000, 0)  # nothing has moved yet
    books.notices.clear()
    paid = books.do(pay(books, 100_001))
    assert (paid.outlet_id, paid.amount_fen) == (1000, 100_001)
    assert books.money("A") == (200_001, 0)
    assert books.rows("SELECT dr, cr, amount FROM journal ORDER BY jid DESC LIMIT 1") == [
        (100, 1000, 100_001)
    ]
    assert books.rows("SELECT state, txn_id FROM deposit_ticket") == [(1, paid.order_id)]
    assert books.told() == ["outlet.funded"]


def test_a_line_of_the_bank_counts_once(books: Books) -> None:
    books.do(ask(books))
    line = pay(books, 100_001)
    first, second = books.batch(line, line)
    assert (first.order_id, first.fresh, second.fresh) == (second.order_id, True, False)
    assert not books.do(line).fresh
    assert books.do(pay(books, 100_002)) == "bank line bank-1 came before with another sum"
    assert books.money("A") == (200_001, 0)
    again = books.do(pay(books, 100_001, "bank-2"))  # the ticket is spent
    assert (again.outlet_id, books.money("A")) == (0, (200_001, 0))


def test_money_for_nobody_lies_in_suspense(books: Books) -> None:
    receipt = books.do(pay(books, 77_777))
    assert (receipt.outlet_id, receipt.fresh) == (0, True)
    assert books.rows("SELECT dr, cr, amount FROM journal ORDER BY jid DESC LIMIT 1") == [
        (100, SUSPENSE, 77_777)
    ]
    item = books.rows("SELECT kind, theirs, txn_id FROM recon_item")
    assert item == [(4, 77_777, receipt.order_id)]
    assert not books.do(pay(books, 77_777)).fresh


def test_two_outlets_never_wait_for_one_sum(books: Books) -> None:
    one, other = ask(books), ask(books, outlet="B")
    assert one.sums == other.sums  # both looked at the same moment
    first, second = books.batch(one, other)
    assert (first.cost_fen, second.cost_fen) == (100_001, 100_002)
    assert books.do(pay(books, 100_002)).outlet_id == 1001
    late = ask(books, outlet="B", sums=(100_001,))
    assert books.do(late).reason is Reason.BUSY
    assert "outlet.refused BUSY" in books.told()


def test_the_same_amount_again_is_the_same_ticket(books: Books) -> None:
    first = books.do(ask(books))
    second = books.do(ask(books))
    assert second.cost_fen == first.cost_fen
    assert books.value("SELECT count(*) FROM deposit_ticket") == 1
    assert books.do(ask(books, 100_100)).cost_fen == 100_101


def test_one_key_is_one_ticket(books: Books) -> None:
    command = ask(books, mark="k")
    first, second = books.batch(command, command)
    assert (second.order_id, second.fresh, second.cost_fen) == (first.order_id, False, first.cost_fen)
    assert books.do(ask(books, 5_000, mark="k")).reason is Reason.CLASH


def test_all_sums_are_taken(books: Books) -> None:
    for more_fen in range(1, 100):
        books.do(ask(books, sums=(100_000 + more_fen,), outlet="B"))
    command = ask(books)
    assert command.sums == ()
    assert books.do(command).reason is Reason.BUSY


def test_sums_begin_where_chance_says(books: Books) -> None:
    assert ask(books, start=98).sums[:3] == (100_099, 100_001, 100_002)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"amount_fen": 0}, Reason.AMOUNT),
        ({"amount_fen": -1}, Reason.AMOUNT),
        ({"amount_fen": 10**19}, Reason.AMOUNT),
        ({"pin": WRONG}, Reason.PIN_WRONG),
        ({"outlet": "13700000000"}, Reason.UNKNOWN_SENDER),
        ({"sums": (100_000,)}, Reason.BUSY),  # no sum of ours
        ({"sums": (100_100,)}, Reason.BUSY),
    ],
)
def test_what_is_refused(books: Books, more: dict[str, Any], reason: Reason) -> None:
    assert books.do(ask(books, **more)).reason is reason
    assert books.value("SELECT count(*) FROM deposit_ticket") == 0


def test_limits_of_tickets(books: Books) -> None:
    books.add("limit_rule", id=1, subject=1, value="", group_code="", operation=18, period=1, count_max=1)
    assert books.do(ask(books, pin=PIN)).state is State.SETTLED
    assert books.do(ask(books, 5_000)).reason is Reason.LIMIT_COUNT


# -- time -------------------------------------------------------------------------------------------------


def test_a_ticket_expires_after_its_day_and_a_while(books: Books) -> None:
    ticket = books.do(ask(books))
    command = ExpireTicket(ticket.order_id, "A")
    books.wait(24 * HOUR + 12 * HOUR)
    assert books.do(command) is False
    books.wait(1)
    with books.engine.connect() as txn:
        assert expired_tickets(txn, books.clock.ms - 12 * HOUR) == [command]
    books.notices.clear()
    assert books.batch(command, command) == [True, False]
    assert books.told() == ["outlet.ticket-expired"]
    assert books.do(pay(books, 100_001)).outlet_id == 0
    assert books.do(ask(books, outlet="B")).cost_fen == 100_001  # the sum is free again


def test_a_bank_line_that_comes_late(books: Books) -> None:
    books.do(ask(books))
    books.wait(23 * HOUR)
    paid_ms = books.clock.ms
    books.wait(10 * HOUR)
    assert books.do(pay(books, 100_001, "late", at_ms=books.clock.ms)).outlet_id == 0  # paid after its time
    assert books.do(pay(books, 100_001, at_ms=paid_ms)).outlet_id == 1000


def test_paid_and_expired_in_one_batch(books: Books) -> None:
    ticket = books.do(ask(books))
    books.wait(37 * HOUR)
    line = pay(books, 100_001, at_ms=books.clock.ms - 20 * HOUR)
    paid, gone = books.batch(line, ExpireTicket(ticket.order_id, "A"))
    assert (paid.outlet_id, gone) == (1000, False)


def test_a_ticket_that_appeared_meanwhile(books: Books) -> None:
    blind = PayTicket("bank-1", 100_001, books.clock.ms)
    books.do(ask(books))
    assert books.do(blind) == "look again: a ticket of another outlet has that sum"
    assert books.do(pay(books, 100_001)).outlet_id == 1000


@pytest.mark.parametrize(
    ("exact_fen", "key"), [(0, "k"), (-1, "k"), (10**19, "k"), (100, ""), (100, "k" * 61)]
)
def test_what_no_bank_says(books: Books, exact_fen: int, key: str) -> None:
    assert isinstance(books.do(PayTicket(key, exact_fen, books.clock.ms)), str)


def test_no_ticket_of_that_number(books: Books) -> None:
    assert books.do(ExpireTicket(4711, "A")) is False


@pytest.mark.parametrize("fen", [99_901, 99_999, 100_050, 1])
def test_tickets_are_asked_in_whole_yuan(books: Books, fen: int) -> None:
    """Who asked for 999.01 … 999.99 could have taken 1,000.00, and with it the next round payment of anybody."""
    refused = books.do(ask(books, fen))
    assert (refused.state, refused.reason) == (State.REFUSED, Reason.AMOUNT)
    assert books.rows("SELECT exact_fen FROM deposit_ticket") == []


def test_a_round_sum_is_nobodys_ticket(books: Books) -> None:
    for _ in range(3):
        for amount_fen in (99_900, 100_000):
            books.do(ask(books, amount_fen, mark=f"m{next(_marks)}"))
    sums = [row[0] for row in books.rows("SELECT exact_fen FROM deposit_ticket")]
    assert sums
    assert not [exact_fen for exact_fen in sums if exact_fen % 100 == 0]


@pytest.mark.parametrize(("before_ms", "outlet_id"), [(35 * HOUR, 0), (2 * MINUTE, 0), (MINUTE // 2, 1000)])
def test_what_was_paid_before_the_ticket_was_asked_for_is_not_its_money(
    books: Books, before_ms: int, outlet_id: int
) -> None:
    """A bank tells whole minutes, so a minute is given."""
    books.wait(50 * HOUR)
    books.do(ask(books))
    paid = books.do(pay(books, 100_001, at_ms=books.clock.ms - before_ms))
    assert paid.outlet_id == outlet_id
