"""Automatic reversals: whatever has become of the sale, its terminal's wish is kept and never taken twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from aircharge.errors import Reason
from aircharge.ledger.cancelling import CancelSale, EndCancel
from aircharge.ledger.chart import CANCEL_DONE, CANCEL_STANDS, CANCEL_WANTED
from aircharge.ledger.commands import Inquire
from aircharge.ledger.parking import Release
from aircharge.ledger.reversing import OpenReversal
from aircharge.ledger.terminal_reading import BatchLine, batch_lines, totals, wanted_cancels
from aircharge.values import Channel, Key, Operation, Receipt, State, Verdict
from tests.ledger.desk import PHONES, PIN, WRONG, Books
from tests.ledger.pos import TERMINAL, Counter

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def books() -> Iterator[Books]:
    made = Books().setup()
    yield made
    assert made.problems() == []
    made.engine.dispose()


@pytest.fixture
def counter(books: Books) -> Counter:
    return Counter(books)


def settled(counter: Counter, **more: Any) -> Receipt:
    held = counter.books.do(counter.sale(**more))
    assert held.state is State.HELD
    receipt: Receipt = counter.books.do(counter.books.close(held, Verdict.YES, code="0000"))
    counter.books.notices.clear()
    return receipt


def wishes(books: Books) -> list[Any]:
    return [row[0] for row in books.rows("SELECT state FROM pos_reversal ORDER BY txn_id")]


def auto(books: Books, order: Receipt, tries: int = 0, **more: Any) -> OpenReversal:
    key = Key(f"auto:{order.order_id}", str(tries))
    return OpenReversal(Channel.POS, key, None, order.order_id, books.clock.ms, auto=True, **more)


def test_a_terminal_sells_on_its_outlets_float(counter: Counter) -> None:
    receipt = settled(counter)
    assert (receipt.state, counter.books.money("A")) == (State.SETTLED, (95_000, 0))
    again = counter.books.do(counter.sale(trace=1))
    assert (again.order_id, again.fresh) == (receipt.order_id, False)
    other = counter.books.do(counter.sale(amount_fen=6000, trace=1))
    assert other.reason is Reason.CLASH


def test_the_customer_is_told_the_terminal_is_not(counter: Counter) -> None:
    held = counter.books.do(counter.sale())
    counter.books.do(counter.books.close(held, Verdict.YES))
    assert [(n.topic, n.recipient) for n in counter.books.notices] == [("customer.settled", "13812345678")]
    counter.books.notices.clear()
    refused = counter.books.do(counter.sale(amount_fen=90_000_00, target="13812345679"))
    assert (refused.reason, counter.books.told()) == (Reason.FLOAT, [])


def test_a_doubt_and_its_end_are_told_to_the_outlets_phone(counter: Counter) -> None:
    held = counter.books.do(counter.sale())
    counter.books.do(counter.books.close(held, Verdict.UNKNOWN, next_ms=9))
    counter.books.do(counter.books.close(held, Verdict.NO))
    told = [(n.topic, n.recipient) for n in counter.books.notices]
    assert told == [("outlet.pending", PHONES["A"]), ("outlet.refused", PHONES["A"])]


def test_blocked_unknown_and_wrong_pins(books: Books, counter: Counter) -> None:
    assert books.do(counter.sale(pin=WRONG)).reason is Reason.PIN_WRONG
    assert books.do(counter.sale(pin=PIN)).state is State.HELD
    with books.store.writing() as txn:
        txn.exec_driver_sql("UPDATE terminal SET status = 2")
    assert books.do(counter.sale(target="13812345679")).reason is Reason.RIGHTS
    stranger = CancelSale(9, counter.asker, counter.key(1), 5000, "98")
    with books.store.writing() as txn:
        txn.exec_driver_sql("UPDATE terminal SET code = 'other'")
    assert books.do(counter.sale(target="13812345670")).reason is Reason.UNKNOWN_SENDER
    assert books.do(stranger).reason is Reason.UNKNOWN_SENDER
    assert wishes(books) == []


def test_limits_count_the_terminal_not_a_phone(books: Books, counter: Counter) -> None:
    for subject in (2, 3):
        books.add(
            "limit_rule", id=subject, subject=subject, operation=1, period=1, count_max=subject - 1, enabled=1
        )
    settled(counter)
    assert counter.books.do(counter.sale(target="13812345679")).state is State.HELD
    refused = counter.books.do(counter.sale(target="13812345670"))
    assert refused.reason is Reason.LIMIT_COUNT
    counted = books.rows("SELECT subject, value, n FROM limit_counter ORDER BY subject, value")
    assert [row for row in counted if row[0] in (2, 3)] == [(3, TERMINAL, 2)]


def test_balance_and_last_are_answered_without_an_sms(counter: Counter) -> None:
    settled(counter)
    for operation, name, value in (
        (Operation.BALANCE, "available_fen", 95_000),
        (Operation.LAST, "amount_fen", 5000),
    ):
        asked = Inquire(operation, "ask", counter.asker, counter.books.clock.ms, Channel.POS)
        answer = counter.books.do(asked)
        assert (answer.reason, answer.facts[name]) == (Reason.OK, value)
    assert counter.books.told() == []


# -- taking back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("together", [False, True])
def test_taken_back_before_it_came_the_sale_is_refused(counter: Counter, together: bool) -> None:
    books = counter.books
    commands = [
        counter.cancel(7),
        counter.sale(trace=7),
        counter.cancel(7),
        counter.sale(trace=7, amount_fen=6000),
    ]
    if together:
        first, sale, again, other = books.batch(*commands)
    else:
        first = books.do(commands[0])
        sale, again, other = (
            books.do(counter.sale(trace=7)),
            books.do(counter.cancel(7)),
            books.do(commands[3]),
        )
    assert (first.state, first.reason, first.fresh) == (State.REFUSED, Reason.CANCELLED, True)
    for receipt in (sale, again, other):
        assert (receipt.state, receipt.reason, receipt.fresh) == (State.REFUSED, Reason.CANCELLED, False)
        assert receipt.order_id == first.order_id
    assert books.money("A") == (100_000, 0)


@pytest.mark.parametrize("together", [False, True])
def test_the_sale_and_its_reversal_in_one_batch(counter: Counter, together: bool) -> None:
    books = counter.books
    if together:
        held, wish, again = books.batch(counter.sale(trace=1), counter.cancel(1), counter.cancel(1))
    else:
        held, wish, again = (
            books.do(make)
            for make in (counter.sale(trace=1), counter.cancel(1, orig_id=0), counter.cancel(1))
        )
        assert wish is None  # it came between the look and the command: look again
        wish, again = books.do(counter.cancel(1)), books.do(counter.cancel(1))
    assert wish.order_id == again.order_id == held.order_id
    assert wish.state is State.HELD
    assert wishes(books) == [CANCEL_WANTED]
    assert again.fresh is False


@pytest.mark.parametrize("verdict", [Verdict.YES, Verdict.NO])
def test_an_open_sale_waits_for_its_answer(counter: Counter, verdict: Verdict) -> None:
    books = counter.books
    held = books.do(counter.sale(trace=1))
    books.do(counter.cancel(1))
    with books.engine.connect() as txn:
        assert wanted_cancels(txn) == []
    books.do(books.close(held, Verdict.UNKNOWN, next_ms=9))
    books.do(books.close(held, verdict))
    with books.engine.connect() as txn:
        [wish] = wanted_cancels(txn)
    assert (wish.order_id, wish.operator_id, wish.tries) == (held.order_id, 1, 0)
    assert wish.state is (State.SETTLED if verdict is Verdict.YES else State.VOIDED)


def test_a_settled_sale_is_reversed_without_pin_limit_or_month(books: Books, counter: Counter) -> None:
    books.add("limit_rule", id=1, subject=1, operation=2, period=1, count_max=0, enabled=1)
    for trace in range(1, 12):
        order = settled(counter, trace=trace, target=f"138123400{trace:02d}", amount_fen=1000)
        books.do(counter.cancel(trace, 1000))
        opened = books.do(auto(books, order))
        assert (opened.state, opened.fresh, opened.original_ref) == (State.HELD, True, order.op_ref)
        assert books.do(auto(books, order)).fresh is False
        with books.engine.connect() as txn:
            assert wanted_cancels(txn)[-1].is_open
        assert books.do(books.close(opened, Verdict.YES)).state is State.SETTLED
        assert books.do(EndCancel(order.order_id)) is True
    assert (books.money("A"), wishes(books)) == ((100_000, 0), [CANCEL_DONE] * 11)
    told = [(n.topic, n.recipient) for n in books.notices][-2:]
    assert told == [("outlet.reversed", PHONES["A"]), ("customer.reversed", "13812340011")]


def test_what_the_operator_will_not_take_back_stands_and_is_told(books: Books, counter: Counter) -> None:
    order = settled(counter, trace=1)
    books.do(counter.cancel(1))
    opened = books.do(auto(books, order))
    books.do(books.close(opened, Verdict.NOT_SENT, reason=Reason.OPERATOR_DOWN))
    assert books.told() == []
    with books.engine.connect() as txn:
        [wish] = wanted_cancels(txn)
    assert (wish.tries, wish.has_failed, wish.is_open) == (1, False, False)
    opened = books.do(auto(books, order, 1))
    books.do(books.close(opened, Verdict.NO, reason=Reason.NOT_REVERSIBLE))
    assert [(n.topic, n.recipient) for n in books.notices] == [("outlet.reversal-refused", PHONES["A"])]
    with books.engine.connect() as txn:
        assert wanted_cancels(txn)[0].has_failed
    assert books.do(EndCancel(order.order_id, stands=True)) is True
    assert books.do(EndCancel(order.order_id)) is False
    assert books.do(EndCancel(12345)) is False
    assert wishes(books) == [CANCEL_STANDS]
    with books.engine.connect() as txn:
        assert wanted_cancels(txn) == []


def test_a_clerks_reversal_that_was_quicker_is_waited_for(books: Books, counter: Counter) -> None:
    """It was opened between the look and the command; when it comes to nothing the wish is still there."""
    order = settled(counter, trace=1)
    books.do(counter.cancel(1))
    by_clerk = OpenReversal(Channel.CLI, Key("desk", "1"), None, order.order_id, books.clock.ms, actor="li")
    opened = books.do(by_clerk)
    late = books.do(auto(books, order))
    assert (opened.state, late.state, late.reason) == (State.HELD, State.REFUSED, Reason.BUSY)
    books.do(books.close(opened, Verdict.NOT_SENT, reason=Reason.OPERATOR_DOWN))
    with books.engine.connect() as txn:
        [wish] = wanted_cancels(txn)
    assert (wish.tries, wish.is_open, wish.has_failed) == (1, False, False)
    assert books.do(auto(books, order, 1)).state is State.HELD


def test_what_a_clerk_took_back_after_all_does_not_stand(books: Books, counter: Counter) -> None:
    """The look found the operator's no; before the wish was ended a clerk's reversal had its yes."""
    order = settled(counter, trace=1)
    books.do(counter.cancel(1))
    books.do(books.close(books.do(auto(books, order)), Verdict.NO, reason=Reason.NOT_REVERSIBLE))
    by_clerk = OpenReversal(Channel.CLI, Key("desk", "1"), None, order.order_id, books.clock.ms, actor="li")
    books.do(books.close(books.do(by_clerk), Verdict.YES))
    assert books.do(EndCancel(order.order_id, stands=True)) is True
    assert wishes(books) == [CANCEL_DONE]
    assert books.value("SELECT count(*) FROM audit WHERE action = 'alarm.cancelled-sale-stands'") == 0


def test_past_its_day_it_stands(books: Books, counter: Counter) -> None:
    order = settled(counter, trace=1)
    books.wait(86_400_000)
    books.do(counter.cancel(1))
    refused = books.do(auto(books, order))
    assert (refused.state, refused.reason) == (State.REFUSED, Reason.NOT_REVERSIBLE)
    assert [n.topic for n in books.notices] == ["outlet.reversal-refused"]
    with books.engine.connect() as txn:
        assert wanted_cancels(txn)[0].has_failed


def test_another_amount_takes_nothing_back(books: Books, counter: Counter) -> None:
    settled(counter, trace=1)
    refused = books.do(counter.cancel(1, 6000))
    assert (refused.state, refused.reason) == (State.REFUSED, Reason.CLASH)
    assert wishes(books) == []


def test_what_is_over_already_needs_nothing(books: Books, counter: Counter) -> None:
    refused = books.do(counter.sale(trace=1, amount_fen=90_000_00))
    assert refused.reason is Reason.FLOAT
    answer = books.do(counter.cancel(1, 90_000_00))
    assert (answer.order_id, answer.reason, answer.fresh) == (refused.order_id, Reason.FLOAT, False)
    assert wishes(books) == []


@pytest.mark.parametrize("released", [False, True])
def test_a_parked_sale_ends_at_once_unless_it_was_let_go(
    books: Books, counter: Counter, released: bool
) -> None:
    books.add("rule_set", version=1, state=1, body='{"rules": [{"then": "hold"}]}', made_ms=0)
    parked = books.do(counter.sale(trace=1))
    assert parked.state is State.PARKED
    if released:
        books.do(Release(parked.order_id, "li"))
    answer = books.do(counter.cancel(1))
    if released:
        assert (answer.state, wishes(books)) == (State.PARKED, [CANCEL_WANTED])
    else:
        assert (answer.state, answer.reason, wishes(books)) == (State.VOIDED, Reason.CANCELLED, [])
        assert books.money("A") == (100_000, 0)


# -- what a batch counts -----------------------------------------------------------------------------------


def lines(counter: Counter, batch: int = 1) -> list[BatchLine]:
    with counter.books.engine.connect() as txn:
        return batch_lines(txn, counter.code, batch)


def test_a_batch_counts_sales_and_voids_not_what_was_taken_back(books: Books, counter: Counter) -> None:
    kept, voided, cancelled, stands, waits = (
        settled(counter, target=f"1381234567{n}", amount_fen=1000 * (n + 1)) for n in range(5)
    )
    books.do(counter.sale(target="13812345690"))  # open: nobody knows
    asker = counter.sale(pin=PIN).order.asker
    void = OpenReversal(Channel.POS, counter.key(50), asker, voided.order_id, books.clock.ms)
    assert books.do(books.close(books.do(void), Verdict.YES)).state is State.SETTLED
    books.do(counter.cancel(3, 3000))
    books.do(books.close(books.do(auto(books, cancelled)), Verdict.YES))
    books.do(EndCancel(cancelled.order_id))
    books.do(counter.cancel(4, 4000))
    books.do(books.close(books.do(auto(books, stands)), Verdict.NO))
    books.do(EndCancel(stands.order_id, stands=True))
    books.do(counter.cancel(5, 5000))
    found = lines(counter)
    assert [(line.trace, line.amount_fen, line.is_void) for line in found] == [
        (1, 1000, False),
        (2, 2000, False),
        (4, 4000, False),
        (50, 2000, True),
    ]
    assert found[0].order_id == kept.order_id
    assert waits.state is State.SETTLED
    sums = totals(found)
    assert (sums.sale_n, sums.sale_fen, sums.void_n, sums.void_fen) == (3, 7000, 1, 2000)
    assert lines(counter, 2) == []


def test_a_wish_and_its_end_in_one_batch(counter: Counter) -> None:
    """Nothing of the batch is tried again: the second command sees what the first has written."""
    order = settled(counter)
    cancel = counter.cancel(1, orig_id=order.order_id)
    told, ended, again = counter.books.batch(
        cancel, EndCancel(order.order_id, stands=True), EndCancel(order.order_id)
    )
    assert (told.order_id, ended, again) == (order.order_id, True, False)
    assert wishes(counter.books) == [CANCEL_STANDS]
    assert not counter.books.rows("SELECT 1 FROM audit WHERE action = 'alarm.command-failed'")
