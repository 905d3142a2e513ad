"""Opening a recharge: precedence of refusals, known keys, serials, counters, PINs, the intent guard."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from sqlalchemy import text

from aircharge.errors import Reason
from aircharge.ledger.commands import OpenRecharge
from aircharge.outlets import registry
from aircharge.outlets.registry import Desk
from aircharge.values import State, Verdict
from tests.ledger.desk import MINUTE, PHONES, PIN, WRONG, Books
from tests.ledger.test_reversing import back

DAY = 24 * 60 * MINUTE


def change(books: Books, statement: str, **values: Any) -> None:
    with books.store.writing() as txn:
        txn.execute(text(statement), values)


def suspend(books: Books) -> None:
    with books.store.writing() as txn:
        registry.freeze_txn(Desk(txn, books.clock.ms, "clerk"), "A")


# -- one refusal each, and which of two comes first -------------------------------------------------------


def break_card(books: Books) -> None:
    change(books, "UPDATE card SET status = 2")


def break_rights(books: Books) -> None:
    change(books, "UPDATE outlet_phone SET rights = 2")


def break_float(books: Books) -> None:
    change(books, "UPDATE balance SET posted = 0, held = 0")


STEPS: list[tuple[Reason, Any, dict[str, Any]]] = [
    (Reason.CARD, break_card, {}),
    (Reason.OUTLET, suspend, {}),
    (Reason.RIGHTS, break_rights, {}),
    (Reason.STALE, None, {"sent_ms": 0}),
    (Reason.PIN_WRONG, None, {"pin": WRONG}),
    (Reason.NUMBER, None, {"refuse": Reason.NUMBER}),
    (Reason.DUPLICATE, lambda books: books.do(books.plain()), {}),
    (Reason.OPERATOR_DOWN, None, {"refuse": Reason.OPERATOR_DOWN}),
    (Reason.FLOAT, break_float, {}),
]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("worst", range(len(STEPS)))
def test_reasons_come_in_their_order_of_precedence(worst: int) -> None:
    """Everything from here on is wrong at once: the first in order is what is told."""
    books = Books().setup()
    options: dict[str, Any] = {}
    for _, spoil, more in reversed(STEPS[worst:-1]):
        options |= more
        if spoil is not None:
            spoil(books)
    break_float(books)
    receipt = books.do(books.stk(**options))
    assert (receipt.state, receipt.reason, receipt.fresh) == (State.REFUSED, STEPS[worst][0], True)
    assert books.money("A") == (0, 0)
    assert books.told()[-1] == f"outlet.refused {STEPS[worst][0].name}"
    books.engine.dispose()


def test_a_refusal_holds_its_key_and_is_repeated_as_it_was(books: Books) -> None:
    asked = books.plain(outlet="B", amount_fen=20_000)
    first = books.do(asked)
    [told] = books.notices
    books.notices.clear()
    books.fund("B", 50_000)
    books.notices.clear()
    again = books.do(asked)
    assert (first.reason, again.reason, again.fresh, again.order_id) == (
        Reason.FLOAT,
        Reason.FLOAT,
        False,
        first.order_id,
    )
    [repeated] = books.notices
    assert repeated.facts == {**told.facts, "again": 1}
    assert told.facts["available_fen"] == 10_000


def test_a_float_is_drained_to_exactly_nothing(books: Books) -> None:
    commands = [books.plain(f"138000000{number:02d}", 1000, outlet="B") for number in range(12)]
    reasons = [receipt.reason for receipt in books.batch(*commands)]
    assert reasons == [Reason.OK] * 10 + [Reason.FLOAT] * 2
    assert books.money("B") == (10_000, 10_000)


def test_an_unknown_sender_is_counted_and_told(books: Books) -> None:
    receipt = books.do(books.plain(outlet="13700000000"))
    assert (receipt.order_id, receipt.reason) == (0, Reason.UNKNOWN_SENDER)
    assert books.value("SELECT n FROM offence") == 1
    assert books.told() == ["sender.unknown"]
    for _ in range(3):
        books.do(books.plain(outlet="13700000000"))
    assert books.told() == ["sender.unknown", "outlet.last-notice"]


@pytest.mark.parametrize("amount_fen", [0, -500])
def test_an_amount_that_is_none(books: Books, amount_fen: int) -> None:
    assert books.do(books.plain(amount_fen=amount_fen)).reason is Reason.AMOUNT


def test_a_number_nobody_serves(books: Books) -> None:
    assert books.do(books.plain(operator_id=0)).reason is Reason.NUMBER


def test_the_reference_is_one_per_order_for_life(books: Books) -> None:
    receipt = books.do(books.plain())
    assert receipt.op_ref == f"AC{receipt.order_id:020d}"


# -- keys -------------------------------------------------------------------------------------------------


def test_same_key_same_content_is_one_order(books: Books) -> None:
    asked = books.plain()
    receipts = [*books.batch(asked, asked), books.do(asked)]
    assert {receipt.order_id for receipt in receipts} == {receipts[0].order_id}
    assert [receipt.fresh for receipt in receipts] == [True, False, False]
    assert books.told() == []  # open: it will be told when it ends
    assert books.money("A") == (100_000, 5_000)
    books.do(books.close(receipts[0], Verdict.YES))
    books.told()
    assert books.do(asked).state is State.SETTLED
    assert books.told() == ["outlet.settled"]


def test_same_key_other_content_is_a_clash(books: Books) -> None:
    asked = books.plain(mark="one")
    first = books.do(asked)
    clash = books.do(books.plain(amount_fen=9000, mark="one"))
    assert (clash.reason, clash.state, clash.fresh) == (Reason.CLASH, State.REFUSED, False)
    assert books.notices[0].facts["first_id"] == first.order_id
    assert books.value("SELECT count(*) FROM audit WHERE action = 'alarm.clash'") == 1
    books.do(books.close(first, Verdict.NO))
    books.notices.clear()
    assert books.do(asked).state is State.VOIDED
    assert books.told() == ["outlet.refused OPERATOR_NO"]  # the answer, not the clash's refusal


@pytest.mark.parametrize("later_ms", [11 * MINUTE, DAY, 365 * DAY])
def test_a_replay_is_refused_for_ever(books: Books, later_ms: int) -> None:
    asked = books.stk()
    order = books.do(asked)
    books.do(books.close(order, Verdict.YES))
    books.told()
    books.wait(later_ms)
    replay = books.do(asked)
    assert (replay.reason, replay.fresh) == (Reason.REPLAY, False)
    assert books.money("A") == (95_000, 0)
    assert books.told() == ["outlet.refused REPLAY"]
    assert books.value("SELECT state FROM txn WHERE id = :id", id=order.order_id) == State.SETTLED
    assert books.value("SELECT count(*) FROM audit WHERE action = 'alarm.replay'") == 1


# -- the intent guard -------------------------------------------------------------------------------------


def test_the_same_again_must_be_said(books: Books) -> None:
    first = books.do(books.plain())
    books.wait(MINUTE)
    refused = books.do(books.stk())  # another channel
    assert refused.reason is Reason.DUPLICATE
    facts = books.notices[-1].facts
    assert (facts["first_id"], facts["first_at_ms"], facts["repeat_next"]) == (
        first.order_id,
        first.created_ms,
        2,
    )
    assert books.do(books.plain(repeat=2)).reason is Reason.OK
    assert books.do(books.plain(repeat=2)).reason is Reason.DUPLICATE
    assert books.notices[-1].facts["repeat_next"] == 3
    assert books.do(books.plain(repeat=3)).reason is Reason.OK
    assert books.do(books.plain(outlet="B")).reason is Reason.OK  # another outlet
    assert books.do(books.plain(amount_fen=6000)).reason is Reason.OK  # another amount


def test_a_voided_one_may_be_tried_again_at_once(books: Books) -> None:
    first = books.do(books.plain())
    books.do(books.close(first, Verdict.NO))
    assert books.do(books.plain()).reason is Reason.OK


def test_after_five_minutes_it_is_a_new_wish(books: Books) -> None:
    books.do(books.plain())
    books.wait(5 * MINUTE + 1)
    assert books.do(books.plain()).reason is Reason.OK


def test_two_of_the_same_in_one_batch(books: Books) -> None:
    assert [r.reason for r in books.batch(books.plain(), books.plain())] == [Reason.OK, Reason.DUPLICATE]


# -- serials and counters ---------------------------------------------------------------------------------


def test_a_retransmission_has_the_same_counter_and_is_not_refused(books: Books) -> None:
    asked = books.stk()
    books.do(asked)
    assert books.do(asked).state is State.HELD


def test_a_new_serial_with_a_used_counter_is_a_replay(books: Books) -> None:
    books.do(books.stk(use=books.card(counter=10)))
    refused = books.do(books.stk("13812345670", use=books.card(counter=10)))
    assert (refused.reason, refused.fresh) == (Reason.REPLAY, True)
    assert books.do(books.stk("13812345671", use=books.card(counter=9))).reason is Reason.OK
    assert books.do(books.stk("13812345672", use=books.card(counter=100))).reason is Reason.OK
    assert books.do(books.stk("13812345673", use=books.card(counter=36))).reason is Reason.REPLAY
    assert books.do(books.stk("13812345674", use=books.card(counter=37))).reason is Reason.OK


def test_a_counter_far_ahead_is_taken_with_an_alarm(books: Books) -> None:
    books.do(books.stk(use=books.card(counter=1)))
    assert books.do(books.stk("13812345670", use=books.card(counter=2**30))).reason is Reason.OK
    assert books.value("SELECT count(*) FROM audit WHERE action = 'alarm.counter-jump'") == 1


def test_serials_have_64_bits(books: Books) -> None:
    for number, serial in enumerate((0, 1, 2**63 - 1, 2**63, 2**64 - 1)):
        use = books.card(serial=serial)
        assert books.do(books.stk(f"1381234560{number}", use=use)).reason is Reason.OK
        clash = books.do(books.stk("13899999999", use=dataclasses.replace(use, counter=500 + number)))
        assert clash.reason is Reason.CLASH


def test_a_card_of_another_phone_outlet_or_key(books: Books) -> None:
    card = books.card("A")
    wrong = [
        books.stk(use=card, outlet="B"),
        books.stk(use=dataclasses.replace(books.card("A"), key_version=2)),
    ]
    assert [receipt.reason for receipt in books.batch(*wrong)] == [Reason.CARD, Reason.CARD]
    change(books, "UPDATE outlet_phone SET outlet_id = 1001 WHERE msisdn = :p", p=PHONES["A"])
    assert books.do(books.stk(use=books.card("A"))).reason is Reason.CARD


def test_the_serial_of_a_question_does_not_pay(books: Books) -> None:
    use = books.card()
    books.do(books.ask(use=use, pin=PIN, pin_needed=True))
    assert books.do(books.stk(use=use)).reason is Reason.CLASH


# -- PIN --------------------------------------------------------------------------------------------------


def stk_with(books: Books, pin: str | None) -> Any:
    books.wait(1)
    return books.do(books.stk(pin=pin))


def test_three_wrong_pins_lock_for_half_an_hour_and_three_locks_for_the_clerk(books: Books) -> None:
    for lock in range(3):
        for left in (2, 1, 0):
            assert stk_with(books, WRONG).reason is Reason.PIN_WRONG
            assert books.notices[-1].facts["tries_left"] == left
        until_ms = books.notices[-1].facts["locked_until_ms"]
        locked = stk_with(books, PIN)  # the right one, during the lock
        assert locked.reason is Reason.PIN_LOCKED
        assert books.notices[-1].facts["locked_until_ms"] == until_ms
        if lock < 2:
            assert until_ms == books.clock.ms - 1 + 30 * MINUTE
            books.wait(30 * MINUTE)
        else:
            books.wait(3650 * DAY)
            assert stk_with(books, PIN).reason is Reason.PIN_LOCKED
    assert books.value("SELECT count(*) FROM audit WHERE action = 'alarm.pin-lock'") == 3


def test_the_right_pin_forgives(books: Books) -> None:
    for _ in range(3):
        stk_with(books, WRONG)
        stk_with(books, WRONG)
        books.wait(6 * MINUTE)
        assert stk_with(books, PIN).reason is Reason.OK
    assert books.rows("SELECT fails, locks FROM credential ORDER BY outlet_id")[0] == (0, 0)


def test_wrong_pins_of_one_batch_all_count(books: Books) -> None:
    commands = [books.stk(pin=WRONG) for _ in range(4)]
    reasons = [receipt.reason for receipt in books.batch(*commands)]
    assert reasons == [Reason.PIN_WRONG] * 3 + [Reason.PIN_LOCKED]


def test_a_retransmitted_wrong_pin_counts_once(books: Books) -> None:
    asked = books.stk(pin=WRONG)
    for _ in range(5):
        assert books.do(asked).reason is Reason.PIN_WRONG
    assert books.value("SELECT max(fails) FROM credential") == 1


def test_a_lock_does_not_stop_what_needs_no_pin(books: Books) -> None:
    for _ in range(3):
        stk_with(books, WRONG)
    assert books.do(books.plain()).reason is Reason.OK


POLICIES = [
    ("never", 0, 5000, None, Reason.OK),
    ("never", 0, 5000, PIN, Reason.OK),
    ("never", 0, 5000, WRONG, Reason.PIN_WRONG),
    ("always", 0, 5000, None, Reason.PIN_NEEDED),
    ("always", 0, 5000, PIN, Reason.OK),
    ("above", 5000, 5000, None, Reason.OK),
    ("above", 5000, 5001, None, Reason.PIN_NEEDED),
    ("above", 5000, 5001, PIN, Reason.OK),
]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("policy", "above_fen", "amount_fen", "pin", "reason"), POLICIES)
def test_the_outlets_policy_for_plain_sms(
    policy: str, above_fen: int, amount_fen: int, pin: str | None, reason: Reason
) -> None:
    books = Books().setup(pin_policy=policy, pin_above_fen=above_fen)
    assert books.do(books.plain(amount_fen=amount_fen, pin=pin)).reason is reason
    books.engine.dispose()


def test_no_notice_and_no_audit_row_holds_a_pin(books: Books) -> None:
    for pin in (WRONG, PIN):
        books.do(books.stk(pin=pin))
    for table in ("outbox", "audit", "txn", "replay", "credential"):
        text = repr(books.rows(f"SELECT * FROM {table}"))
        assert PIN not in text, table
        assert WRONG not in text, table


# -- re-confirmation --------------------------------------------------------------------------------------


def again(books: Books, first: OpenRecharge, **more: Any) -> OpenRecharge:
    assert first.order.asker.card is not None
    return books.stk(earlier=first.order.asker.card.serial, **more)


def test_reconfirm_of_a_known_request_tells_its_state_and_moves_nothing(books: Books) -> None:
    first = books.stk()
    order = books.do(first)
    for verdict, state in ((None, "HELD"), (Verdict.UNKNOWN, "IN_DOUBT"), (Verdict.YES, "SETTLED")):
        if verdict is not None:
            books.do(books.close(order, verdict))
        books.notices.clear()
        receipt = books.do(again(books, first))
        assert (receipt.order_id, receipt.fresh) == (order.order_id, False)
        assert [(n.topic, n.facts["state"]) for n in books.notices] == [("outlet.state", state)]
    books.wait(400 * DAY)
    assert books.do(again(books, first)).state is State.SETTLED
    assert books.value("SELECT count(*) FROM journal WHERE op = 1") == 1


def test_reconfirm_of_a_lost_request_executes_it_once_under_its_key(books: Books) -> None:
    lost = books.stk()
    receipt = books.do(again(books, lost))
    assert (receipt.state, receipt.fresh) == (State.HELD, True)
    late = books.do(lost)  # the lost message arrives after all
    assert (late.order_id, late.fresh) == (receipt.order_id, False)
    second = books.do(again(books, lost))
    assert (second.order_id, second.fresh) == (receipt.order_id, False)
    assert books.money("A") == (100_000, 5_000)


def test_reconfirm_retransmitted_or_replayed(books: Books) -> None:
    lost = books.stk()
    question = again(books, lost)
    order = books.do(question)
    assert books.do(question).order_id == order.order_id
    assert books.money("A") == (100_000, 5_000)
    books.wait(11 * MINUTE)
    assert books.do(question).reason is Reason.REPLAY


def test_reconfirm_of_other_content_is_a_clash(books: Books) -> None:
    first = books.stk()
    books.do(first)
    assert books.do(again(books, first, amount_fen=9000)).reason is Reason.CLASH
    assert books.money("A") == (100_000, 5_000)


def test_a_refused_question_leaves_the_request_free(books: Books) -> None:
    lost = books.stk()
    question = again(books, lost, pin=WRONG)
    assert books.do(question).reason is Reason.PIN_WRONG
    assert books.do(question).fresh is False
    assert books.do(again(books, lost)).state is State.HELD


def test_a_suspended_outlet_may_ask_but_not_execute(books: Books) -> None:
    known, lost = books.stk(), books.stk("13812345670")
    books.do(known)
    suspend(books)
    assert books.do(again(books, known)).state is State.HELD
    assert books.do(again(books, lost, target="13812345670")).reason is Reason.OUTLET


def test_midnight_in_shanghai_opens_the_next_accounting_day(books: Books) -> None:
    first = books.do(books.plain("13812345678", 5_000))
    books.wait(86_400_000)
    settled = books.do(books.close(first, Verdict.YES))
    second = books.do(books.plain("13812345679", 5_000))
    days = books.rows("SELECT biz_date FROM day WHERE operator_id = 1 ORDER BY biz_date")
    before, after = (row[0] for row in days)
    assert before < after
    dates = dict(books.rows("SELECT id, biz_date FROM txn WHERE kind = 1"))
    assert (dates[first.order_id], dates[second.order_id]) == (before, after)
    assert books.value("SELECT biz_date FROM journal WHERE txn_id = :id", id=settled.order_id) == after
    books.wait(-86_400_000)
    books.do(books.plain("13812345670", 5_000))
    assert len(books.rows("SELECT 1 FROM day WHERE operator_id = 1")) == 2


@pytest.mark.parametrize(
    ("product", "amount_fen", "reason"),
    [
        (None, 5_000, Reason.AMOUNT),  # the configuration does not sell it, and the ledger knows no product
        ((5_000, 5_000), 5_000, Reason.OK),
        ((5_000, 5_000), 3_000, Reason.AMOUNT),
    ],
)
def test_products_in_the_ledger_overrule_the_configuration(
    books: Books, product: tuple[int, int] | None, amount_fen: int, reason: Reason
) -> None:
    if product is not None:
        least, most = product
        books.add("product", id=1, operator_id=1, min_fen=least, max_fen=most, step_fen=1, from_date=20260101)
    assert books.do(books.plain(amount_fen=amount_fen, unsold=True)).reason is reason


def test_what_was_taken_back_may_be_sent_again_at_once(books: Books) -> None:
    """The intent guard asks about a repetition, not about a recharge whose first one was reversed."""
    first = books.do(books.plain())
    books.do(books.close(first, Verdict.YES))
    taken = books.do(back(books, first))
    assert books.do(books.plain()).reason is Reason.DUPLICATE  # the operator has not said yet
    books.do(books.close(taken, Verdict.YES))
    assert books.do(books.plain()).reason is Reason.OK
    assert books.do(books.plain()).reason is Reason.DUPLICATE  # the guard looks at the new one
