"""Transfers: who may, what moves, who is told; taking one back; commission into the float."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from aircharge.errors import Reason
from aircharge.ledger.chart import commission_account
from aircharge.ledger.returning import ReverseTransfer, UndoTransfer
from aircharge.ledger.transferring import MoveCommission, Transfer
from aircharge.values import Asker, CardUse, Channel, Key, Operation, Pin, Receipt, State, Verdict
from tests.ledger.desk import MINUTE, PHONES, PIN, SERVICE, WRONG, Books

_marks = iter(range(10**9))


def asker(outlet: str, pin: str | None = PIN, use: CardUse | None = None) -> Asker:
    return Asker(PHONES.get(outlet, outlet), SERVICE, use, Pin(pin) if pin else None)


def transfer(
    books: Books, to: str = "B", amount_fen: int = 5_000, outlet: str = "A", **more: Any
) -> Transfer:
    mark = more.pop("mark", None) or f"t{next(_marks)}"
    who = asker(outlet, more.pop("pin", PIN), more.pop("use", None))
    channel = Channel.STK if who.card else Channel.SMS
    key = Key(f"sms:{who.phone}", mark)
    return Transfer(channel, key, who, to, amount_fen, more.pop("received_ms", books.clock.ms), **more)


def back(books: Books, order: Receipt | int, outlet: str = "A", **more: Any) -> ReverseTransfer:
    number = order if isinstance(order, int) else order.order_id
    mark = more.pop("mark", None) or f"r{next(_marks)}"
    who = asker(outlet, more.pop("pin", PIN))
    return ReverseTransfer(Channel.SMS, Key(f"sms:{who.phone}", mark), who, number, books.clock.ms)


def child_of_a(books: Books) -> None:
    with books.store.writing() as txn:
        txn.execute(text("UPDATE outlet SET parent_id = 1000 WHERE code = 'B'"))


@pytest.fixture
def family(books: Books) -> Books:
    """B (100 yuan) is A's child (1,000 yuan)."""
    child_of_a(books)
    return books


def test_a_transfer_is_one_row_and_both_are_told(family: Books) -> None:
    receipt = family.do(transfer(family))
    assert (receipt.state, receipt.fresh, receipt.amount_fen) == (State.SETTLED, True, 5_000)
    assert (family.money("A"), family.money("B")) == ((95_000, 0), (15_000, 0))
    last = "SELECT op, dr, cr, amount FROM journal WHERE txn_id = :i"
    assert family.rows(last, i=receipt.order_id) == [(5, 1000, 1001, 5_000)]
    to_b, to_a = family.notices
    assert (to_b.topic, to_b.recipient) == ("outlet.received", PHONES["B"])
    assert (to_b.facts["from"], to_b.facts["before_fen"], to_b.facts["after_fen"]) == ("A", 10_000, 15_000)
    assert (to_a.topic, to_a.recipient) == ("outlet.transferred", PHONES["A"])
    assert (to_a.facts["to"], to_a.facts["before_fen"], to_a.facts["after_fen"]) == ("B", 100_000, 95_000)
    row = family.rows(
        "SELECT kind, outlet_acct, counter_acct, cost FROM txn WHERE id = :i", i=receipt.order_id
    )
    assert row == [(int(Operation.TRANSFER), 1000, 1001, 5_000)]


def test_the_child_may_send_to_its_parent(family: Books) -> None:
    assert family.do(transfer(family, "A", 10_000, "B")).state is State.SETTLED
    assert (family.money("A"), family.money("B")) == ((110_000, 0), (0, 0))


def test_strangers_need_a_rule(books: Books) -> None:
    assert books.do(transfer(books)).reason is Reason.NO_RULE
    books.add("transfer_rule", id=1, from_code="A", to_group="standard", min_fen=100, max_fen=6_000)
    assert books.do(transfer(books)).state is State.SETTLED
    assert books.do(transfer(books, "A", 5_000, "B")).reason is Reason.NO_RULE  # one way only
    assert books.do(transfer(books, amount_fen=6_001)).reason is Reason.LIMIT_VALUE
    assert books.do(transfer(books, amount_fen=99)).reason is Reason.LIMIT_VALUE
    books.add("transfer_rule", id=2, from_group="standard", to_code="B", min_fen=1, max_fen=99)
    assert books.do(transfer(books, amount_fen=99)).state is State.SETTLED


def test_a_rule_that_names_nobody_is_for_nobody(books: Books) -> None:
    books.add("transfer_rule", id=1, min_fen=1, max_fen=6_000)
    assert books.do(transfer(books)).reason is Reason.NO_RULE


REFUSALS: list[tuple[str, dict[str, Any], Reason]] = [
    ("to itself", {"to": "A"}, Reason.NO_RULE),
    ("to nobody", {"to": "ZZ"}, Reason.NOT_FOUND),
    ("nothing", {"amount_fen": 0}, Reason.AMOUNT),
    ("less than nothing", {"amount_fen": -1}, Reason.AMOUNT),
    ("more than there is", {"amount_fen": 10**19}, Reason.AMOUNT),
    ("more than it has", {"amount_fen": 100_001}, Reason.FLOAT),
    ("a wrong PIN", {"pin": WRONG}, Reason.PIN_WRONG),
    ("no PIN", {"pin": None}, Reason.PIN_NEEDED),
]


@pytest.mark.parametrize(("more", "reason"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_what_is_refused(family: Books, more: dict[str, Any], reason: Reason) -> None:
    command = transfer(family, mark="once", **more)
    receipt = family.do(command)
    assert (receipt.state, receipt.reason, receipt.fresh) == (State.REFUSED, reason, True)
    assert family.told() == [f"outlet.refused {reason.name}"]
    assert (family.money("A"), family.money("B")) == ((100_000, 0), (10_000, 0))
    again = family.do(command)
    assert (again.order_id, again.fresh) == (receipt.order_id, False)
    assert family.told() == [f"outlet.refused {reason.name}"]


def test_a_suspended_outlet_neither_sends_nor_receives(family: Books) -> None:
    with family.store.writing() as txn:
        txn.execute(text("UPDATE outlet SET status = 2 WHERE code = 'B'"))
    assert family.do(transfer(family)).reason is Reason.NO_RULE
    assert family.do(transfer(family, "A", 100, "B")).reason is Reason.OUTLET
    assert family.do(transfer(family, outlet="13700000000")).reason is Reason.UNKNOWN_SENDER


def test_what_must_stay_stays(family: Books) -> None:
    with family.store.writing() as txn:
        txn.execute(text("UPDATE outlet SET residual_fen = 1000 WHERE code = 'A'"))
    assert family.do(transfer(family, amount_fen=99_001)).reason is Reason.FLOAT
    assert family.do(transfer(family, amount_fen=99_000)).state is State.SETTLED


def test_the_same_again_must_be_meant(family: Books) -> None:
    first = family.do(transfer(family))
    family.notices.clear()
    assert family.do(transfer(family)).reason is Reason.DUPLICATE
    [told] = family.notices
    assert (told.facts["first_id"], told.facts["repeat_next"]) == (first.order_id, 2)
    assert family.do(transfer(family, repeat=2)).state is State.SETTLED
    assert family.do(transfer(family, amount_fen=5_001)).state is State.SETTLED
    family.wait(5 * MINUTE + 1)
    assert family.do(transfer(family)).state is State.SETTLED
    assert family.money("B") == (30_001, 0)


def test_one_key_moves_once(family: Books) -> None:
    command = transfer(family, mark="k")
    first, second = family.batch(command, command)
    assert (first.order_id, first.fresh, second.order_id, second.fresh) == (
        first.order_id,
        True,
        first.order_id,
        False,
    )
    family.notices.clear()
    assert family.do(command).order_id == first.order_id
    assert family.told() == ["outlet.transferred"]  # the same answer, and the receiver is left in peace
    assert family.do(transfer(family, mark="k", amount_fen=1)).reason is Reason.CLASH
    family.wait(11 * MINUTE)
    assert family.do(command).reason is Reason.REPLAY
    assert family.money("B") == (15_000, 0)


def test_a_card_seals_a_transfer(family: Books) -> None:
    use = family.card(counter=7)
    command = transfer(family, mark=f"{use.serial:016x}", use=use)
    assert family.do(command).state is State.SETTLED
    assert family.value("SELECT hi FROM card WHERE id = :c", c=use.card_id) == 7
    old = transfer(family, use=family.card(counter=7), amount_fen=1)
    assert family.do(old).reason is Reason.REPLAY
    assert family.money("B") == (15_000, 0)


def test_limits_of_transfers(family: Books) -> None:
    family.add(
        "limit_rule", id=7, subject=1, value="", group_code="", operation=4, period=1, value_max_fen=8_000
    )
    first = family.do(transfer(family))
    assert family.do(transfer(family, amount_fen=3_001)).reason is Reason.LIMIT_VALUE
    assert family.do(family.plain()).state is State.HELD  # recharges are counted apart
    assert family.do(back(family, first)).state is State.SETTLED
    assert family.do(transfer(family, amount_fen=8_000)).state is State.SETTLED


def test_funds_on_hold_do_not_move(family: Books) -> None:
    family.do(family.plain(amount_fen=96_000))
    assert family.do(transfer(family)).reason is Reason.FLOAT


# -- taking it back ---------------------------------------------------------------------------------------


def test_a_transfer_is_taken_back(family: Books) -> None:
    sent = family.do(transfer(family))
    family.notices.clear()
    receipt = family.do(back(family, sent))
    assert (receipt.state, receipt.fresh) == (State.SETTLED, True)
    assert (family.money("A"), family.money("B")) == ((100_000, 0), (10_000, 0))
    assert family.rows("SELECT op, dr, cr, amount FROM journal ORDER BY jid DESC LIMIT 1") == [
        (5, 1001, 1000, 5_000)
    ]
    assert family.told() == ["outlet.transfer-reversed"] * 2
    assert family.value("SELECT state FROM txn WHERE id = :i", i=sent.order_id) == int(State.REVERSED)
    assert family.do(back(family, sent)).reason is Reason.NOT_REVERSIBLE
    assert family.do(transfer(family)).state is State.SETTLED  # no duplicate: the first one is gone


def test_it_is_taken_back_once_in_one_batch(family: Books) -> None:
    sent = family.do(transfer(family))
    first, second = family.batch(back(family, sent), back(family, sent))
    assert (first.state, second.reason) == (State.SETTLED, Reason.NOT_REVERSIBLE)
    assert family.money("A") == (100_000, 0)


def test_not_what_the_receiver_has_spent(family: Books) -> None:
    sent = family.do(transfer(family, amount_fen=50_000))
    order = family.do(family.plain(amount_fen=20_000, outlet="B"))
    assert family.do(back(family, sent)).reason is Reason.NOT_REVERSIBLE
    family.do(family.close(order, Verdict.NO))
    assert family.do(back(family, sent)).state is State.SETTLED


def test_not_what_the_receiver_would_have_to_borrow(family: Books) -> None:
    sent = family.do(transfer(family, amount_fen=50_000))
    with family.store.writing() as txn:
        txn.execute(text("UPDATE balance SET floor = -100000 WHERE account_id = 1001"))
    family.add(
        "credit_line", outlet_id=1001, limit_fen=100_000, until_ms=family.clock.ms + MINUTE, author="li"
    )
    family.do(family.plain(amount_fen=20_000, outlet="B"))
    assert family.do(back(family, sent)).reason is Reason.NOT_REVERSIBLE


def test_not_tomorrow(family: Books) -> None:
    sent = family.do(transfer(family))
    family.wait(24 * 60 * MINUTE)
    assert family.do(back(family, sent)).reason is Reason.NOT_REVERSIBLE


def test_only_by_the_sender_and_only_a_transfer(family: Books) -> None:
    sent = family.do(transfer(family))
    recharge = family.do(family.plain())
    assert family.do(back(family, sent, "B")).reason is Reason.NOT_FOUND
    assert family.do(back(family, recharge)).reason is Reason.NOT_FOUND
    for number in (4711, 0, -1, 10**19):
        assert family.do(back(family, number)).reason is Reason.NOT_FOUND
    assert family.do(back(family, sent, pin=WRONG)).reason is Reason.PIN_WRONG
    assert family.do(back(family, sent, mark="same")).state is State.SETTLED
    assert not family.do(back(family, sent, mark="same")).fresh


def test_two_people_take_one_back(family: Books) -> None:
    sent = family.do(transfer(family))
    family.notices.clear()
    receipt = family.do(UndoTransfer(sent.order_id, "li+wang"))
    assert receipt.state is State.SETTLED
    assert [(notice.topic, notice.recipient) for notice in family.notices] == [
        ("outlet.transfer-reversed", PHONES["A"]),
        ("outlet.transfer-reversed", PHONES["B"]),
    ]
    assert family.rows("SELECT action, actor FROM audit ORDER BY seq DESC LIMIT 1") == [
        ("transfer.undo", "li+wang")
    ]
    assert "reversed already" in family.do(UndoTransfer(sent.order_id, "li+wang"))
    assert family.do(UndoTransfer(4711, "li+wang")) == "order 4711 is no transfer"


def test_a_closed_sender_gets_nothing_back(family: Books) -> None:
    sent = family.do(transfer(family))
    with family.store.writing() as txn:
        txn.exec_driver_sql("UPDATE outlet SET status = 4 WHERE code = 'A'")
    before = family.rows("SELECT account_id, posted FROM balance ORDER BY 1")
    assert "closed" in family.do(UndoTransfer(sent.order_id, "li+wang"))
    assert family.rows("SELECT account_id, posted FROM balance ORDER BY 1") == before


# -- commission → float -----------------------------------------------------------------------------------


def move(books: Books, amount_fen: int = 0, **more: Any) -> MoveCommission:
    who = asker("A", more.pop("pin", PIN))
    mark = more.pop("mark", None) or f"c{next(_marks)}"
    return MoveCommission(Channel.SMS, Key(f"sms:{who.phone}", mark), who, amount_fen, books.clock.ms)


@pytest.fixture
def earned(books: Books) -> Books:
    """A has earned 1 yuan."""
    books.add("price", id=1, operator_id=0, group_code="", mode=2, rate_ppm=20_000, from_date=20260101)
    books.do(books.close(books.do(books.plain(amount_fen=5_000)), Verdict.YES))
    books.notices.clear()
    return books


def test_commission_into_the_float(earned: Books) -> None:
    assert earned.do(move(earned, 40)).amount_fen == 40
    assert earned.do(move(earned, 0)).amount_fen == 60
    assert earned.money("A") == (95_100, 0)
    rows = earned.rows("SELECT dr, cr, amount FROM journal ORDER BY jid DESC LIMIT 2")
    assert rows == [(commission_account(1000), 1000, 60), (commission_account(1000), 1000, 40)]
    assert [notice.facts["earned_fen"] for notice in earned.notices] == [60, 0]
    assert earned.told() == ["outlet.commission"] * 2


@pytest.mark.parametrize(
    ("amount_fen", "pin", "reason"),
    [
        (101, PIN, Reason.FLOAT),
        (-1, PIN, Reason.AMOUNT),
        (10**19, PIN, Reason.AMOUNT),
        (50, WRONG, Reason.PIN_WRONG),
        (50, None, Reason.PIN_NEEDED),
    ],
)
def test_commission_that_stays(earned: Books, amount_fen: int, pin: str | None, reason: Reason) -> None:
    receipt = earned.do(move(earned, amount_fen, pin=pin, mark="m"))
    assert (receipt.state, receipt.reason) == (State.REFUSED, reason)
    assert not earned.do(move(earned, amount_fen, pin=pin, mark="m")).fresh
    assert earned.money("A") == (95_000, 0)


def test_there_is_nothing_to_move(books: Books) -> None:
    assert books.do(move(books, 0)).reason is Reason.FLOAT


# -- two daemons ------------------------------------------------------------------------------------------


def test_two_daemons_transfer_both_ways_at_once(postgres_books: Books) -> None:
    """Locks are taken in the order of accounts, whoever is the sender: nobody waits for ever, nothing is lost."""
    child_of_a(postgres_books)
    others = [Books(postgres_books.url, node=node) for node in (2, 3)]

    def send(number: int) -> list[Receipt]:
        mine, (sender, receiver) = others[number], (("A", "B"), ("B", "A"))[number]
        done = []
        for first in range(0, 60, 4):
            batch = [transfer(mine, receiver, 10, sender, repeat=first + n + 1) for n in range(4)]
            done += mine.store.run(batch)
        return done

    with ThreadPoolExecutor(2) as pool:
        receipts = [receipt for done in pool.map(send, range(2)) for receipt in done]
    for book in others:
        book.engine.dispose()
    assert [receipt.state for receipt in receipts] == [State.SETTLED] * 120
    assert (postgres_books.money("A"), postgres_books.money("B")) == ((100_000, 0), (10_000, 0))


def test_a_stored_answer_is_the_askers_own(family: Books) -> None:
    """A1 of 2026-11-30: asked again, the sender of a reversed transfer was told the receiver's balance."""
    first = family.do(transfer(family))
    asked = back(family, first)
    family.do(asked)
    family.notices.clear()
    family.wait(MINUTE)
    again = family.do(asked)
    assert not again.fresh
    [told] = family.notices
    assert (told.recipient, told.facts["before_fen"], told.facts["after_fen"]) == (
        PHONES["A"],
        95_000,
        100_000,
    )
