"""Questions, offences, notices, funding."""

from __future__ import annotations

import threading

import pytest

from aircharge.errors import Reason
from aircharge.ledger.commands import Fund, NoticesDone, Offence
from aircharge.ledger.funding import FundingError, propose_txn
from aircharge.ledger.lookups import today_of
from aircharge.ledger.reading import unsent_notices
from aircharge.outlets import registry
from aircharge.outlets.registry import Desk
from aircharge.values import Asker, Operation, Receipt, State, Verdict
from tests.ledger.desk import MINUTE, PHONES, PIN, WRONG, Books


def test_balance_shows_float_holds_and_the_day(books: Books) -> None:
    settled = books.do(books.plain("13800000001", 3000))
    books.do(books.close(settled, Verdict.YES))
    books.do(books.plain("13800000002", 5000))
    voided = books.do(books.plain("13800000003", 7000))
    books.do(books.close(voided, Verdict.NO))
    books.notices.clear()
    receipt = books.do(books.ask())
    assert receipt.facts == {
        "at_ms": books.clock.ms,
        "outlet": "A",
        "balance_fen": 97_000,
        "available_fen": 92_000,
        "held_fen": 5_000,
    }  # the day's count and sum are looked up beside the writer and come with the question
    assert books.told() == ["outlet.balance"]
    with books.engine.connect() as txn:
        assert today_of(txn, PHONES["A"], 0) == {"today_n": 2, "today_fen": 8_000}
        assert today_of(txn, PHONES["A"], books.clock.ms + 1) == {"today_n": 0, "today_fen": 0}
        assert today_of(txn, "13900000000", 0) == {"today_n": 0, "today_fen": 0}


def test_a_question_sees_what_its_own_batch_did(books: Books) -> None:
    _, receipt = books.batch(books.plain(), books.ask())
    assert receipt.facts["held_fen"] == 5_000


def test_last(books: Books) -> None:
    assert books.do(books.ask(Operation.LAST)).facts["order_id"] == 0
    order = books.do(books.plain())
    assert books.do(books.ask(Operation.LAST)).facts == {
        "order_id": order.order_id,
        "target": "13812345678",
        "amount_fen": 5000,
        "at_ms": order.created_ms,
        "state": "HELD",
        "reason": "OK",
        "outlet": "A",
    }


def test_questions_of_a_suspended_outlet_and_of_nobody(books: Books) -> None:
    with books.store.writing() as txn:
        registry.freeze_txn(Desk(txn, books.clock.ms, "clerk"), "A")
    assert books.do(books.ask()).reason is Reason.OK
    assert books.do(books.ask(outlet="13700000000")).reason is Reason.UNKNOWN_SENDER
    assert books.told() == ["outlet.balance", "sender.unknown"]


def test_a_stk_question_guards_pin_serial_and_counter(books: Books) -> None:
    use = books.card(counter=5)
    question = books.ask(use=use, pin=WRONG, pin_needed=True)
    assert [books.do(question).reason for _ in range(4)] == [Reason.PIN_WRONG] * 4
    assert books.value("SELECT max(fails) FROM credential") == 1
    right = books.ask(use=books.card(counter=6), pin=PIN, pin_needed=True)
    assert [books.do(right).reason for _ in range(2)] == [Reason.OK] * 2
    other = books.ask(Operation.LAST, use=right.asker.card, pin=PIN, pin_needed=True)
    assert books.do(other).reason is Reason.CLASH
    old = books.ask(use=books.card(counter=6), pin=PIN, pin_needed=True)
    assert books.do(old).reason is Reason.REPLAY
    books.wait(11 * MINUTE)
    assert books.do(right).reason is Reason.REPLAY


def test_a_stale_question(books: Books) -> None:
    assert books.do(books.ask(sent_ms=books.clock.ms - 11 * MINUTE)).reason is Reason.STALE


# -- offences ---------------------------------------------------------------------------------------------


def test_three_notices_then_silence_until_midnight(books: Books) -> None:
    asker = Asker("13900000001", "0353911")
    counts = [books.do(Offence(asker, Reason.FORMAT, books.clock.ms)) for _ in range(5)]
    assert counts == [1, 2, 3, 4, 5]
    assert books.told() == ["outlet.help", "outlet.help", "outlet.last-notice"]
    books.wait(14 * 60 * MINUTE)
    assert books.do(Offence(asker, Reason.FORMAT, books.clock.ms)) == 1
    assert books.told() == ["outlet.help"]


# -- notices ----------------------------------------------------------------------------------------------


def test_what_became_of_notices(books: Books) -> None:
    order = books.do(books.plain())
    books.do(books.close(order, Verdict.YES))
    books.do(books.ask())
    sent, retried, expired = (notice.notice_id for notice in books.notices)
    done = NoticesDone((sent,), ((retried, books.clock.ms + 5000),), (expired,))
    assert books.do(done) is None
    assert books.do(done) is None
    with books.engine.connect() as txn:
        pending = unsent_notices(txn, books.clock.ms + 4999, 100)
        assert [n.topic for n in pending] == ["outlet.funded", "outlet.funded"]
        [*_, again] = unsent_notices(txn, books.clock.ms + 5000, 100)
    assert (again.notice_id, again.attempts, again.topic) == (retried, 2, "customer.settled")
    assert books.rows("SELECT state, count(*) FROM outbox GROUP BY state ORDER BY state") == [
        (0, 3),
        (1, 1),
        (2, 1),
    ]


# -- funding ----------------------------------------------------------------------------------------------


def propose(books: Books, slip: str = "slip-1", amount_fen: int = 4200, maker: str = "li") -> int:
    with books.store.writing() as txn:
        return propose_txn(txn, "A", amount_fen, slip, maker=maker, now_ms=books.clock.ms)


def test_two_people_fund_an_outlet(books: Books) -> None:
    request = propose(books)
    assert books.money("A") == (100_000, 0)
    assert books.do(Fund(request, "li")) == "maker and checker are two people"
    assert books.do(Fund(request, " ")) == "maker and checker are two people"
    receipt = books.do(Fund(request, "wang"))
    assert isinstance(receipt, Receipt)
    assert (receipt.state, receipt.amount_fen, receipt.outlet_id) == (State.SETTLED, 4200, 1000)
    assert books.money("A") == (104_200, 0)
    [notice] = books.notices
    assert (notice.topic, notice.facts["before_fen"], notice.facts["after_fen"]) == (
        "outlet.funded",
        100_000,
        104_200,
    )
    assert books.rows("SELECT dr, cr, amount FROM journal ORDER BY jid DESC LIMIT 1") == [(100, 1000, 4200)]
    assert books.do(Fund(request, "wang")) == f"no request {request} waits to be confirmed"
    assert books.do(Fund(999, "wang")) == "no request 999 waits to be confirmed"


def test_a_request_confirmed_twice_in_one_batch_pays_once(books: Books) -> None:
    request = propose(books)
    first, second = books.batch(Fund(request, "wang"), Fund(request, "zhao"))
    assert isinstance(first, Receipt)
    assert isinstance(second, str)
    assert books.money("A") == (104_200, 0)


def test_a_bank_slip_counts_once(books: Books) -> None:
    request = propose(books)
    with pytest.raises(FundingError):
        propose(books)
    books.do(Fund(request, "wang"))
    with pytest.raises(FundingError):
        propose(books)


def test_two_daemons_count_every_malformed_message(postgres_books: Books) -> None:
    """Of one number, at both of them at once: none is lost."""
    here, there = postgres_books, Books(postgres_books.url, node=2)
    stranger = Asker("13700000001", "0353911")

    def annoy(books: Books) -> None:
        for _ in range(20):
            books.do(Offence(stranger, Reason.FORMAT, books.clock.ms))

    threads = [threading.Thread(target=annoy, args=(books,)) for books in (here, there)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    there.engine.dispose()
    assert here.value("SELECT n FROM offence") == 40
