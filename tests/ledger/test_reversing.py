"""Same-day reversals and protective ones: who may, when, and what is booked."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from aircharge.errors import Reason
from aircharge.ledger import chart
from aircharge.ledger.book import BookSettings
from aircharge.ledger.commands import CloseRecharge
from aircharge.ledger.parking import Decline, Resume
from aircharge.ledger.reversing import OpenReversal, Undo
from aircharge.ledger.transferring import MoveCommission
from aircharge.sms.phrases import CheckCode, Phrases
from aircharge.values import Asker, Channel, Key, Pin, Receipt, State, Verdict
from tests.ledger import engines
from tests.ledger.desk import MINUTE, PHONES, PIN, SERVICE, WRONG, Books

Y, N, U, S = Verdict.YES, Verdict.NO, Verdict.UNKNOWN, Verdict.NOT_SENT
HOUR = 60 * MINUTE
PHRASES = Phrases(CheckCode(bytes(32)))


def settled(books: Books, target: str = "13812345678", amount_fen: int = 5000, **more: Any) -> Receipt:
    """A recharge that the operator has executed."""
    order = books.do(books.plain(target, amount_fen, **more))
    receipt: Receipt = books.do(books.close(order, Y, code="0000"))
    assert receipt.state is State.SETTLED
    books.notices.clear()
    return receipt


def back(books: Books, order: Receipt | int, **more: Any) -> OpenReversal:
    """The outlet asks for it by number and amount."""
    order_id = order if isinstance(order, int) else order.order_id
    outlet, mark, pin = more.pop("outlet", "A"), more.pop("mark", f"r{order_id}"), more.pop("pin", PIN)
    asker = Asker(more.pop("phone", PHONES[outlet]), SERVICE, None, Pin(pin) if pin else None)
    if isinstance(order, Receipt):
        more = {"target": order.target, "amount_fen": order.amount_fen, **more}
    return OpenReversal(Channel.SMS, Key(f"sms:{asker.phone}", mark), asker, order_id, books.clock.ms, **more)


def clerk(books: Books, order: Receipt | int, **more: Any) -> OpenReversal:
    order_id = order if isinstance(order, int) else order.order_id
    key = Key("desk", more.pop("mark", f"r{order_id}"))
    return OpenReversal(
        Channel.CLI, key, None, order_id, books.clock.ms, actor=more.pop("actor", "li"), **more
    )


def rows_of(books: Books, order: Receipt) -> list[tuple[Any, ...]]:
    question = "SELECT op, dr, cr, amount FROM journal WHERE txn_id = :id ORDER BY jid"
    return books.rows(question, id=order.order_id)


def state_of(books: Books, order: Receipt) -> State:
    return State(books.value("SELECT state FROM txn WHERE id = :id", id=order.order_id))


# answers in order      reversal         recharge         posted   what outlet and customer are told
LINES = [
    ([Y], State.SETTLED, State.REVERSED, 100_000, ["outlet.reversed", "customer.reversed"]),
    ([N], State.VOIDED, State.SETTLED, 95_000, ["outlet.reversal-refused"]),
    ([S], State.VOIDED, State.SETTLED, 95_000, ["outlet.reversal-refused"]),
    ([U], State.IN_DOUBT, State.SETTLED, 95_000, ["outlet.reversal-pending"]),
    ([U, U], State.IN_DOUBT, State.SETTLED, 95_000, ["outlet.reversal-pending"]),
    (
        [U, Y],
        State.SETTLED,
        State.REVERSED,
        100_000,
        ["outlet.reversal-pending", "outlet.reversed", "customer.reversed"],
    ),
    ([U, N], State.VOIDED, State.SETTLED, 95_000, ["outlet.reversal-pending", "outlet.reversal-refused"]),
    ([U, S], State.IN_DOUBT, State.SETTLED, 95_000, ["outlet.reversal-pending"]),
    ([Y, Y], State.SETTLED, State.REVERSED, 100_000, ["outlet.reversed", "customer.reversed"]),
    ([Y, N], State.SETTLED, State.REVERSED, 100_000, ["outlet.reversed", "customer.reversed"]),
    ([N, Y], State.VOIDED, State.SETTLED, 95_000, ["outlet.reversal-refused"]),
]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("answers", "state", "original", "posted", "told"), LINES)
def test_answers(
    books: Books,
    answers: list[Verdict],
    state: State,
    original: State,
    posted: int,
    told: list[str],
    together: bool,
) -> None:
    order = settled(books)
    opened = books.do(back(books, order))
    assert (opened.state, opened.reason, opened.fresh) == (State.HELD, Reason.OK, True)
    assert (books.money("A"), books.told()) == ((95_000, 0), [])  # no float is held for it
    commands = [books.close(opened, verdict, code="0000") for verdict in answers]
    last = books.batch(*commands)[-1] if together else [books.do(command) for command in commands][-1]
    assert last.state is state
    assert state_of(books, order) is original
    assert books.money("A") == (posted, 0)
    assert books.told() == told


def test_the_reversal_has_a_reference_of_its_own_and_names_the_original(books: Books) -> None:
    order = settled(books)
    opened = books.do(back(books, order))
    assert opened.op_ref == f"AC{opened.order_id:020d}" != order.op_ref
    assert opened.original_ref == order.op_ref
    assert (opened.target, opened.amount_fen) == ("13812345678", 5000)


# how the outlet earns        the recharge's rows                        mirrored
PRICES = [
    (None, [(1, 1000, 1, 5000)], [(1, 1, 1000, 5000)]),
    (chart.COMMISSION_DISCOUNT, [(1, 1000, 1, 4950), (3, 201, 1, 50)], [(1, 1, 1000, 4950), (3, 1, 201, 50)]),
    (
        chart.COMMISSION_INSTANT,
        [(1, 1000, 1, 5000), (4, 201, 1000 + 10**12, 50)],
        [(1, 1, 1000, 5000), (4, 1000 + 10**12, 201, 50)],
    ),
    (chart.COMMISSION_MONTHLY, [(1, 1000, 1, 5000)], [(1, 1, 1000, 5000)]),
]


@pytest.mark.parametrize(("mode", "given", "mirrored"), PRICES)
def test_the_rows_are_mirrored_and_commission_goes_back_exactly(
    books: Books, mode: int | None, given: list[tuple[int, ...]], mirrored: list[tuple[int, ...]]
) -> None:
    if mode is not None:
        books.add("price", id=1, mode=mode, rate_ppm=10_000, from_date=20260101)
    order = settled(books)
    assert rows_of(books, order) == given
    opened = books.do(back(books, order))
    books.do(books.close(opened, Y))
    assert rows_of(books, opened) == mirrored
    assert rows_of(books, order) == given
    assert books.money("A") == (100_000, 0)
    assert books.value("SELECT sum(posted) FROM balance WHERE account_id > 1000000000000") == 0


def test_commission_that_was_moved_already_comes_out_of_the_float(books: Books) -> None:
    """Earned 50 fen, 30 of them moved to the float since: 20 come from the commission account, 30 from the float."""
    books.add("price", id=1, mode=chart.COMMISSION_INSTANT, rate_ppm=10_000, from_date=20260101)
    order = settled(books)
    move_commission(books, 30)
    assert books.money("A") == (95_030, 0)
    opened = books.do(back(books, order))
    books.do(books.close(opened, Y))
    earned = chart.commission_account(1000)
    assert rows_of(books, opened) == [
        (1, 1, 1000, 5000),
        (4, earned, 201, 50),
        (chart.JOURNAL_CLAWBACK, 1000, earned, 30),
    ]
    assert books.money("A") == (100_000, 0)
    assert books.value("SELECT posted FROM balance WHERE account_id = :id", id=earned) == 0
    told = books.notices[0].facts
    assert (told["before_fen"], told["cost_fen"], told["after_fen"]) == (95_030, 4_970, 100_000)


def move_commission(books: Books, amount_fen: int) -> None:
    asker = Asker(PHONES["A"], SERVICE, None, Pin(PIN))
    key = Key(f"sms:{asker.phone}", "commission")
    moved = books.do(MoveCommission(Channel.SMS, key, asker, amount_fen, books.clock.ms))
    assert moved.state is State.SETTLED
    books.notices.clear()


def test_what_outlet_and_customer_are_told(books: Books) -> None:
    order = settled(books)
    opened = books.do(back(books, order))
    books.wait(1500)
    books.do(books.close(opened, Y))
    outlet, customer = books.notices
    assert outlet.facts == {
        "order_id": opened.order_id,
        "first_id": order.order_id,
        "target": "13812345678",
        "amount_fen": 5000,
        "at_ms": books.clock.ms,
        "outlet": "A",
        "before_fen": 95_000,
        "cost_fen": 5_000,
        "after_fen": 100_000,
    }
    assert (outlet.recipient, outlet.sender) == (PHONES["A"], SERVICE)
    assert (customer.recipient, customer.sender) == ("13812345678", SERVICE)
    assert not {"before_fen", "cost_fen", "after_fen"} & customer.facts.keys()


# -- the same request again -------------------------------------------------------------------------------


def test_the_same_request_again_gets_the_stored_answer(books: Books) -> None:
    order = settled(books)
    command = back(books, order)
    opened = books.do(command)
    again = books.do(command)
    assert (again.order_id, again.state, again.fresh) == (opened.order_id, State.HELD, False)
    books.do(books.close(opened, Y))
    books.notices.clear()
    # The second look at number and amount finds nothing any more; the request is still the same one.
    late = books.do(back(books, 0, target=order.target, amount_fen=5000, mark=command.key.mark))
    assert (late.order_id, late.state, late.fresh) == (opened.order_id, State.SETTLED, False)
    assert books.told() == ["outlet.reversed"]
    assert books.notices == []


def test_the_recharges_own_message_again_is_answered_as_it_stands_now(books: Books) -> None:
    command = books.plain()
    order = books.do(command)
    books.do(books.close(order, Y))
    books.do(books.close(books.do(back(books, order)), Y))
    books.notices.clear()
    again = books.do(command)
    assert (again.order_id, again.state, again.fresh) == (order.order_id, State.REVERSED, False)
    [told] = books.notices
    assert (told.topic, told.facts["state"]) == ("outlet.state", "REVERSED")


def test_the_same_key_for_another_recharge_is_a_clash(books: Books) -> None:
    first, second = settled(books), settled(books, "13800000001")
    opened = books.do(back(books, first, mark="m"))
    clash = books.do(back(books, second, mark="m"))
    assert (clash.state, clash.reason) == (State.REFUSED, Reason.CLASH)
    assert state_of(books, opened) is State.HELD
    assert books.value("SELECT count(*) FROM txn WHERE kind = 2") == 1


def test_of_two_requests_for_one_recharge_in_one_batch_one_is_opened(books: Books) -> None:
    order = settled(books)
    first, second = books.batch(back(books, order, mark="1"), back(books, order, mark="2"))
    assert (first.state, second.state, second.reason) == (State.HELD, State.REFUSED, Reason.NOT_REVERSIBLE)


def test_of_two_daemons_at_once_one_opens_it(postgres_books: Books) -> None:
    books = postgres_books
    stores = [books, *(Books(books.url, node=node) for node in (2, 3, 4))]
    with ThreadPoolExecutor(len(stores)) as pool:
        for number in range(5):
            order = settled(books, f"1380000000{number}", 1000)
            commands = [back(books, order, mark=f"{number}.{place}") for place in range(len(stores))]
            ready = Barrier(len(stores))

            def opened(store: Books, command: OpenReversal, ready: Barrier = ready) -> Receipt:
                ready.wait(30)
                receipt: Receipt = store.do(command)
                return receipt

            states = [receipt.state for receipt in pool.map(opened, stores, commands)]
            assert sorted(states) == [State.REFUSED] * 3 + [State.HELD]
    for store in stores[1:]:
        store.engine.dispose()


# -- who and what -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"pin": None}, Reason.PIN_NEEDED),
        ({"pin": WRONG}, Reason.PIN_WRONG),
        ({"sent_ms": 1}, Reason.STALE),
        ({"outlet": "B"}, Reason.NOT_FOUND),  # another outlet's recharge
        ({"target": "13800000009"}, Reason.NOT_FOUND),
        ({"amount_fen": 4999}, Reason.NOT_FOUND),
        ({"phone": "13911111111"}, Reason.UNKNOWN_SENDER),
        ({"refuse": Reason.OPERATOR_DOWN}, Reason.OPERATOR_DOWN),
    ],
)
def test_refusals(books: Books, more: dict[str, Any], reason: Reason) -> None:
    order = settled(books)
    refused = books.do(back(books, order, **more))
    assert (refused.state, refused.reason) == (State.REFUSED, reason)
    assert state_of(books, order) is State.SETTLED
    assert books.money("A") == (95_000, 0)
    if reason not in (Reason.UNKNOWN_SENDER,):
        assert books.told() == [f"outlet.refused {reason.name}"]


@pytest.mark.parametrize("number", [0, -1, 10**18])
def test_what_does_not_exist_is_not_found(books: Books, number: int) -> None:
    refused = books.do(back(books, number))
    assert (refused.order_id, refused.reason) == (0, Reason.NOT_FOUND)
    assert books.value("SELECT count(*) FROM txn WHERE kind = 2") == 0


def why(books: Books) -> str:
    [notice] = books.notices
    assert notice.topic == "outlet.refused"
    books.notices.clear()
    for language, reason in (("zh", "不能返销,"), ("en", "cannot be reversed, ")):
        assert reason in PHRASES.phrase(notice.topic, notice.facts, language)  # each why is worded
    return str(notice.facts["why"])


@pytest.mark.parametrize("verdict", [None, U, N])
def test_only_a_settled_recharge_is_taken_back(books: Books, verdict: Verdict | None) -> None:
    order = books.do(books.plain())
    if verdict is not None:
        books.do(books.close(order, verdict))
    books.notices.clear()
    refused = books.do(back(books, order))
    assert (refused.reason, why(books)) == (Reason.NOT_REVERSIBLE, "state")


def test_yesterdays_recharge_is_not_taken_back(books: Books) -> None:
    order = settled(books)
    books.wait(24 * HOUR)
    refused = books.do(back(books, order))
    assert (refused.reason, why(books)) == (Reason.NOT_REVERSIBLE, "day")


def test_once_taken_back_or_on_its_way_there_is_no_second(books: Books) -> None:
    order = settled(books)
    opened = books.do(back(books, order, mark="1"))
    assert books.do(back(books, order, mark="2")).reason is Reason.NOT_REVERSIBLE
    assert why(books) == "taken-back"
    books.do(books.close(opened, Y))
    books.notices.clear()
    assert books.do(back(books, order, mark="3")).reason is Reason.NOT_REVERSIBLE
    assert why(books) == "taken-back"


def test_after_the_operators_no_it_may_be_asked_again(books: Books) -> None:
    order = settled(books)
    books.do(books.close(books.do(back(books, order, mark="1")), N, reason=Reason.OPERATOR_NO))
    again = books.do(back(books, order, mark="2"))
    books.do(books.close(again, Y))
    assert state_of(books, order) is State.REVERSED
    assert books.money("A") == (100_000, 0)


def test_eight_a_month(books: Books) -> None:
    orders = [settled(books, f"138000000{number:02d}", 1000) for number in range(10)]
    for order in orders[:8]:
        books.do(books.close(books.do(back(books, order)), Y))
    books.notices.clear()
    assert books.do(back(books, orders[8])).reason is Reason.NOT_REVERSIBLE
    assert why(books) == "month"
    assert books.do(clerk(books, orders[9])).reason is Reason.NOT_REVERSIBLE
    books.wait(9 * 24 * HOUR)  # 23 November … 2 December
    assert books.do(back(books, settled(books))).state is State.HELD


def test_a_limit_on_reversals_counts_and_gives_back(books: Books) -> None:
    books.add(
        "limit_rule",
        id=1,
        subject=chart.SUBJECT_OUTLET,
        operation=2,
        period=chart.PERIOD_DAY,
        count_max=1,
    )
    first, second = settled(books), settled(books, "13800000001")
    opened = books.do(back(books, first, mark="1"))
    refused = books.do(back(books, second, mark="2"))
    assert refused.reason is Reason.LIMIT_COUNT
    books.do(books.close(opened, N))
    assert books.do(back(books, second, mark="3")).state is State.HELD


def test_a_reversal_gives_back_what_the_recharge_counted(books: Books) -> None:
    books.add(
        "limit_rule",
        id=1,
        subject=chart.SUBJECT_OUTLET,
        operation=1,
        period=chart.PERIOD_DAY,
        value_max_fen=8_000,
    )
    order = settled(books)
    assert books.do(books.plain("13800000001", 5000)).reason is Reason.LIMIT_VALUE
    books.do(books.close(books.do(back(books, order)), Y))
    assert books.do(books.plain("13800000002", 5000)).state is State.HELD


@pytest.fixture
def strict(engine: str) -> Iterator[Books]:
    """The customer's code is asked for; operator 1 is cut at 22:00."""
    settings = BookSettings(reversal_consent=True, cut_at={"1": "22:00"})
    made = Books(engines.new_url(), settings).setup()
    yield made
    assert made.problems() == []
    made.engine.dispose()


def test_the_customers_code_and_three_wrong_ones(strict: Books) -> None:
    first, second = settled(strict), settled(strict, "13800000001")
    good = {"consent": "4711", "consent_ok": True}
    assert strict.do(back(strict, first, mark="0")).reason is Reason.CONSENT  # none given
    for mark in ("1", "2"):
        wrong = strict.do(back(strict, first, mark=mark, consent="0000", consent_ok=False))
        assert wrong.reason is Reason.CONSENT
    strict.notices.clear()
    assert strict.do(back(strict, first, mark="3", **good)).reason is Reason.NOT_REVERSIBLE
    assert why(strict) == "tries"
    assert strict.do(back(strict, second, mark="4", **good)).state is State.HELD
    assert strict.do(clerk(strict, first, **good)).reason is Reason.NOT_REVERSIBLE


@pytest.mark.parametrize(("minutes", "why_not"), [(709, ""), (711, "cut")])
def test_ten_minutes_before_the_cut_it_ends(strict: Books, minutes: int, why_not: str) -> None:
    """It is 10:00; the day is cut at 22:00."""
    strict.wait(9 * HOUR)
    order = settled(strict)
    strict.wait((minutes - 540) * MINUTE)
    opened = strict.do(back(strict, order, consent="4711"))
    if why_not:
        assert (opened.reason, why(strict)) == (Reason.NOT_REVERSIBLE, why_not)
    else:
        assert opened.state is State.HELD


def test_a_reversal_that_ends_after_the_cut_bears_the_new_date(books: Books) -> None:
    order = settled(books)
    opened = books.do(back(books, order))
    books.do(books.close(opened, U))
    books.wait(15 * HOUR)
    books.do(books.close(opened, Y))
    question = "SELECT biz_date FROM journal WHERE txn_id = :id"
    assert books.value(question, id=order.order_id) == 20261123
    assert books.value(question, id=opened.order_id) == 20261124
    assert books.value("SELECT biz_date FROM txn WHERE id = :id", id=opened.order_id) == 20261123


# -- by a clerk -------------------------------------------------------------------------------------------


def test_a_clerk_needs_a_name_and_an_order(books: Books) -> None:
    order = settled(books)
    assert books.do(clerk(books, order, actor=" ")) == "whose name does this bear?"
    assert books.do(clerk(books, 12345)).reason is Reason.NOT_FOUND
    opened = books.do(clerk(books, order))
    assert opened.state is State.HELD
    assert books.do(clerk(books, order)).order_id == opened.order_id
    other = settled(books, "13800000001")
    clash = books.do(clerk(books, other, mark=f"r{order.order_id}"))
    assert (clash.reason, clash.state) == (Reason.CLASH, State.REFUSED)
    assert books.value("SELECT actor FROM audit WHERE action = 'order.reverse'") == "li"
    books.do(books.close(opened, Y))
    assert [notice.recipient for notice in books.notices] == [PHONES["A"], "13812345678"]


def test_from_a_desk_it_waits_for_a_daemon(books: Books) -> None:
    order = settled(books)
    opened = books.do(clerk(books, order, at_desk=True))
    assert opened.state is State.PARKED
    assert books.do(back(books, order)).reason is Reason.NOT_REVERSIBLE
    taken = books.do(Resume(opened.order_id))
    assert (taken.state, taken.fresh, taken.original_ref) == (State.HELD, True, order.op_ref)
    assert books.do(Resume(opened.order_id)).fresh is False
    books.do(books.close(opened, Y))
    assert books.money("A") == (100_000, 0)


def test_from_a_desk_it_is_void_when_its_day_ends_before_a_daemon_has_it(books: Books) -> None:
    order = settled(books)
    opened = books.do(clerk(books, order, at_desk=True))
    books.wait(15 * HOUR)
    taken = books.do(Resume(opened.order_id))
    assert (taken.state, taken.reason, taken.fresh) == (State.VOIDED, Reason.NOT_REVERSIBLE, False)
    assert state_of(books, order) is State.SETTLED
    assert books.told() == ["outlet.reversal-refused"]


def test_from_a_desk_it_may_be_given_up_before_a_daemon_has_it(books: Books) -> None:
    order = settled(books)
    opened = books.do(clerk(books, order, at_desk=True))
    assert books.do(Decline(opened.order_id, "li")).state is State.VOIDED
    assert state_of(books, order) is State.SETTLED


# -- contradictions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second", "kind"), [(Y, N, 2), (N, Y, 1)])
def test_a_contradiction_is_for_people(books: Books, first: Verdict, second: Verdict, kind: int) -> None:
    opened = books.do(back(books, settled(books)))
    books.batch(books.close(opened, first), books.close(opened, second))
    assert books.rows("SELECT op_ref, kind, txn_id FROM recon_item") == [
        (opened.op_ref, kind, opened.order_id)
    ]


def test_a_doubt_past_its_limit_goes_to_people(books: Books) -> None:
    order = settled(books)
    opened = books.do(back(books, order))
    books.do(books.close(opened, U))
    assert books.do(books.close(opened, U, manual=True)).state is State.MANUAL
    assert books.do(back(books, order, mark="2")).reason is Reason.NOT_REVERSIBLE
    assert books.do(books.close(opened, Y, actor="li+wang")).state is State.SETTLED
    assert books.money("A") == (100_000, 0)


# -- protective reversal ----------------------------------------------------------------------------------

DONE, NOTHING, STANDS = chart.UNDO_DONE, chart.UNDO_NOTHING, chart.UNDO_REFUSED

# answers after the time-out: (whose, verdict)     state            posted  held   people are called
UNDONE = [
    ([(DONE, N)], State.VOIDED, 100_000, 0, 0),
    ([(NOTHING, N)], State.VOIDED, 100_000, 0, 0),
    ([(STANDS, Y)], State.SETTLED, 95_000, 0, 0),
    ([(0, Y)], State.IN_DOUBT, 100_000, 5_000, 0),  # its own yes: it was executed, the reversal will undo it
    ([(0, Y), (DONE, N)], State.VOIDED, 100_000, 0, 0),
    ([(0, Y), (STANDS, Y)], State.SETTLED, 95_000, 0, 0),
    ([(DONE, N), (0, Y)], State.VOIDED, 100_000, 0, 0),  # executed, then taken back: no contradiction
    ([(NOTHING, N), (0, Y)], State.VOIDED, 100_000, 0, 1),  # the operator had said there was nothing
    ([(0, Y), (NOTHING, N)], State.MANUAL, 100_000, 5_000, 1),  # and so it is in the other order
    ([(0, Y), (0, N)], State.MANUAL, 100_000, 5_000, 1),
    ([(0, Y), (0, Y), (DONE, N)], State.VOIDED, 100_000, 0, 0),
    ([(0, N)], State.VOIDED, 100_000, 0, 0),
    ([(0, N), (NOTHING, N)], State.VOIDED, 100_000, 0, 0),
    ([(STANDS, Y), (DONE, N)], State.SETTLED, 95_000, 0, 1),
    ([(DONE, N), (STANDS, Y)], State.VOIDED, 100_000, 0, 1),
    ([(0, U), (DONE, N)], State.VOIDED, 100_000, 0, 0),
]


@pytest.mark.parametrize(("answers", "state", "posted", "held", "called"), UNDONE)
def test_a_protective_reversal(
    books: Books, answers: list[tuple[int, Verdict]], state: State, posted: int, held: int, called: int
) -> None:
    order = books.do(books.plain())
    books.do(books.close(order, U))
    assert books.do(Undo(order.order_id)) is True
    assert books.value("SELECT max(undo) FROM txn") == chart.UNDO_ASKED
    assert books.do(Undo(order.order_id)) is True  # repeated until there is an answer
    for whose, verdict in answers:
        books.do(books.close(order, verdict, undo=whose))
    assert state_of(books, order) is state
    assert books.money("A") == (posted, held)
    assert books.value("SELECT count(*) FROM recon_item") == called


def test_what_has_ended_is_not_undone(books: Books) -> None:
    for verdict in (Y, N):
        order = books.do(books.plain(f"1380000000{int(verdict)}"))
        books.do(books.close(order, verdict))
        assert books.do(Undo(order.order_id)) is False
    assert books.do(Undo(12345)) is False
    assert books.do(Undo(books.do(back(books, settled(books))).order_id)) is False
    assert books.value("SELECT max(undo) FROM txn") == 0


def test_an_answer_to_a_reversal_nobody_asked_for_is_for_people(books: Books) -> None:
    order = books.do(books.plain())
    books.do(CloseRecharge(order.order_id, N, undo=DONE))
    assert state_of(books, order) is State.HELD
    assert books.value("SELECT count(*) FROM recon_item") == 1


def test_two_people_rule_on_what_is_being_undone(books: Books) -> None:
    order = books.do(books.plain())
    books.do(books.close(order, U))
    books.do(Undo(order.order_id))
    books.do(books.close(order, U, manual=True))
    assert books.do(books.close(order, Y)).state is State.MANUAL
    assert books.do(books.close(order, Y, actor="li+wang")).state is State.SETTLED


# -- verify -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE journal SET op = 6 WHERE txn_id = {id}",
        "UPDATE journal SET cr = 1001, amount = amount WHERE txn_id = {id}",
        "UPDATE journal SET txn_id = {original}, op = 6 WHERE txn_id = {id}",
        "UPDATE txn SET state = 5 WHERE id = {id}",
        "UPDATE txn SET state = 4 WHERE id = {original}",
    ],
)
def test_verify_names_a_reversal_that_is_no_mirror(books: Books, damage: str) -> None:
    order = settled(books)
    opened = books.do(back(books, order))
    books.do(books.close(opened, Y))
    assert books.problems() == []
    with books.store.writing() as txn:
        engines.unguard_txn(txn, "journal")
        before = txn.exec_driver_sql("SELECT jid, txn_id, op, cr FROM journal").fetchall()
        txn.exec_driver_sql(damage.format(id=opened.order_id, original=order.order_id))
    found = books.problems()
    assert any(str(opened.order_id) in problem or str(order.order_id) in problem for problem in found), found
    with books.store.writing() as txn:  # the fixture ends with sound books
        for jid, txn_id, op, cr in before:
            txn.exec_driver_sql(
                f"UPDATE journal SET txn_id = {txn_id}, op = {op}, cr = {cr} WHERE jid = {jid}"
            )
        txn.exec_driver_sql(f"UPDATE txn SET state = 4 WHERE id = {opened.order_id}")
        txn.exec_driver_sql(f"UPDATE txn SET state = 7 WHERE id = {order.order_id}")
