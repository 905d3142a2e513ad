"""Every answer at every state; the money and the words of each."""

from __future__ import annotations

import pytest

from aircharge.errors import Reason
from aircharge.ledger.chart import COMMISSION_DISCOUNT
from aircharge.ledger.closing import ANSWERS, Step
from aircharge.ledger.commands import CloseRecharge
from aircharge.values import State, Verdict
from tests.ledger.desk import Books

Y, N, U, S = Verdict.YES, Verdict.NO, Verdict.UNKNOWN, Verdict.NOT_SENT

# answers in order            state      posted   held  what outlet and customer are told
LINES = [
    ([Y], State.SETTLED, 95_000, 0, ["outlet.settled", "customer.settled"]),
    ([N], State.VOIDED, 100_000, 0, ["outlet.refused OPERATOR_NO"]),
    ([S], State.VOIDED, 100_000, 0, ["outlet.refused OPERATOR_NO"]),
    ([U], State.IN_DOUBT, 100_000, 5_000, ["outlet.pending"]),
    ([U, U], State.IN_DOUBT, 100_000, 5_000, ["outlet.pending"]),
    ([U, Y], State.SETTLED, 95_000, 0, ["outlet.pending", "outlet.settled", "customer.settled"]),
    ([U, N], State.VOIDED, 100_000, 0, ["outlet.pending", "outlet.refused OPERATOR_NO"]),
    ([U, S], State.IN_DOUBT, 100_000, 5_000, ["outlet.pending"]),
    ([Y, Y], State.SETTLED, 95_000, 0, ["outlet.settled", "customer.settled"]),
    ([Y, N], State.SETTLED, 95_000, 0, ["outlet.settled", "customer.settled"]),
    ([Y, U], State.SETTLED, 95_000, 0, ["outlet.settled", "customer.settled"]),
    ([N, N], State.VOIDED, 100_000, 0, ["outlet.refused OPERATOR_NO"]),
    ([N, Y], State.VOIDED, 100_000, 0, ["outlet.refused OPERATOR_NO"]),
    ([N, U, S], State.VOIDED, 100_000, 0, ["outlet.refused OPERATOR_NO"]),
]


def test_every_answer_is_in_the_table_for_every_state() -> None:
    assert set(ANSWERS) == {(state, verdict) for state in State for verdict in Verdict}
    definite = {key for key, step in ANSWERS.items() if step in (Step.SETTLE, Step.VOID)}
    assert all(state.is_open for state, _ in definite)
    assert not any(verdict is Verdict.UNKNOWN for _, verdict in definite)
    not_sent = {state for (state, verdict) in definite if verdict is Verdict.NOT_SENT}
    assert not_sent == {State.HELD}


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("answers", "state", "posted", "held", "told"), LINES)
def test_answers(
    books: Books,
    answers: list[Verdict],
    state: State,
    posted: int,
    held: int,
    told: list[str],
    together: bool,
) -> None:
    order = books.do(books.plain())
    assert (order.state, books.money("A"), books.told()) == (State.HELD, (100_000, 5_000), [])
    commands = [books.close(order, verdict, code="0000") for verdict in answers]
    if together:
        last = books.batch(*commands)[-1]
    else:
        last = [books.do(command) for command in commands][-1]
    assert last.state is state
    assert books.money("A") == (posted, held)
    assert books.told() == told
    settled = 1 if state is State.SETTLED else 0
    assert books.value("SELECT count(*) FROM journal WHERE op = 1") == settled


def test_only_the_answer_that_changes_something_is_fresh(books: Books) -> None:
    order = books.do(books.plain())
    verdicts = [Verdict.UNKNOWN, Verdict.UNKNOWN, Verdict.YES, Verdict.YES, Verdict.NO]
    assert [books.do(books.close(order, verdict)).fresh for verdict in verdicts] == [
        True,
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(("first", "second", "kind"), [(Y, N, 2), (N, Y, 1)])
def test_a_contradiction_is_for_people(books: Books, first: Verdict, second: Verdict, kind: int) -> None:
    order = books.do(books.plain())
    books.batch(books.close(order, first), books.close(order, second), books.close(order, second))
    assert books.rows("SELECT op_ref, kind, txn_id FROM recon_item") == [(order.op_ref, kind, order.order_id)]
    assert books.value("SELECT count(*) FROM audit WHERE action = 'alarm.contradiction'") == 2


def test_an_answer_to_no_order_of_ours_posts_nothing(books: Books) -> None:
    receipt = books.do(CloseRecharge(12345, Verdict.YES))
    assert (receipt.order_id, receipt.reason, receipt.fresh) == (0, Reason.NOT_FOUND, False)
    assert books.value("SELECT kind FROM recon_item") == 3
    assert books.money("A") == (100_000, 0)


def test_a_doubt_past_its_limit_goes_to_people_and_is_ruled_by_two(books: Books) -> None:
    order = books.do(books.plain())
    books.do(books.close(order, Verdict.UNKNOWN, next_ms=1))
    assert books.do(books.close(order, Verdict.UNKNOWN, manual=True)).state is State.MANUAL
    assert books.money("A") == (100_000, 5_000)
    assert books.value("SELECT next_ms FROM txn WHERE id = :id", id=order.order_id) is None
    assert books.do(books.close(order, Verdict.YES, actor="li+wang")).state is State.SETTLED
    assert books.value("SELECT actor FROM audit WHERE action = 'order.ruled'") == "li+wang"
    assert books.told() == ["outlet.pending", "outlet.settled", "customer.settled"]


def test_postponing_counts_and_changes_nothing_else(books: Books) -> None:
    order = books.do(books.plain())
    books.do(books.close(order, Verdict.UNKNOWN, next_ms=7))
    assert books.do(books.postpone(order, 99)).attempts == 1
    assert books.do(books.postpone(order, 199)).attempts == 2
    books.do(books.close(order, Verdict.YES))
    assert books.do(books.postpone(order, 299)).state is State.SETTLED
    assert books.rows("SELECT attempts, next_ms FROM txn WHERE id = :id", id=order.order_id) == [(2, None)]


def test_the_facts_of_a_settlement(books: Books) -> None:
    books.add("price", id=1, mode=COMMISSION_DISCOUNT, rate_ppm=10_000, from_date=20260101)
    order = books.do(books.plain())
    books.wait(1500)
    books.do(books.close(order, Verdict.YES, code="0000", serial="OP77"))
    outlet, customer = books.notices
    assert outlet.facts == {
        "order_id": order.order_id,
        "target": "13812345678",
        "amount_fen": 5000,
        "at_ms": books.clock.ms,
        "outlet": "A",
        "cost_fen": 4950,
        "before_fen": 100_000,
        "after_fen": 95_050,
    }
    assert (outlet.recipient, outlet.sender, outlet.language) == ("13900000001", "0353911", "zh")
    assert (customer.recipient, customer.sender) == ("13812345678", "0353911")
    assert set(customer.facts) == {"order_id", "target", "amount_fen", "at_ms", "outlet"}
    assert books.rows("SELECT op_code, op_serial, done_ms FROM txn WHERE id = :id", id=order.order_id) == [
        ("0000", "OP77", books.clock.ms)
    ]
    rows = books.rows("SELECT op, dr, cr, amount FROM journal WHERE txn_id = :id", id=order.order_id)
    assert rows == [(1, 1000, 1, 4950), (3, 201, 1, 50)]  # what the outlet pays, and what we give for it


def test_the_customer_reads_the_language_of_the_number(books: Books) -> None:
    with books.store.writing() as txn:
        txn.exec_driver_sql("INSERT INTO number_language VALUES ('13812345678', 'en')")
    order = books.do(books.plain())
    books.do(books.close(order, Verdict.YES))
    assert [notice.language for notice in books.notices] == ["zh", "en"]
