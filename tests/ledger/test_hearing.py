"""What is heard again is not done again, whatever became of the first: the same words, on both engines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aircharge.errors import Reason
from aircharge.ledger.commands import Offence
from aircharge.ledger.losing import ReportLost
from aircharge.ledger.pinning import ChangePin
from aircharge.ledger.returning import ReverseTransfer
from aircharge.ledger.reversing import OpenReversal
from aircharge.ledger.transferring import MoveCommission, Transfer
from aircharge.values import YES_WORDS, Asker, Channel, Key, Operation, Pin, Said, State, Verdict
from tests.ledger.desk import MINUTE, PHONES, PIN, SERVICE, WRONG, Books
from tests.ledger.test_transferring import child_of_a

HOUR = 60 * MINUTE
WINDOW = 48 * HOUR


@pytest.fixture
def family(books: Books) -> Books:
    """B is A's child."""
    child_of_a(books)
    return books


def words(repeat: int = 1, pin: str = "", verb: Operation = Operation.RECHARGE, text: str = "w") -> Said:
    return Said(verb, text, repeat, pin, WINDOW)


def say(books: Books, repeat: int = 1, **more: Any) -> Any:
    """A plain recharge without the SMS centre's time; each delivery has a key of its own."""
    said = more.pop("said", None) or words(repeat, "ab" if more.get("pin") else "")
    return books.do(books.plain(repeat=repeat, said=said, **more))


def told(books: Books) -> tuple[Any, ...]:
    facts = books.notices[-1].facts
    return facts["reason"], facts.get("became"), facts.get("repeat_next")


ENDS = {
    "settled": (Verdict.YES, "recharge-done", State.SETTLED),
    "no": (Verdict.NO, "recharge-no", State.VOIDED),
    "never sent": (Verdict.NOT_SENT, "recharge-no", State.VOIDED),
    "in doubt": (Verdict.UNKNOWN, "recharge-open", State.IN_DOUBT),
    "still held": (None, "recharge-open", State.HELD),
}


@pytest.mark.parametrize("later_ms", [1_000, 62_000, 315_000, 11 * MINUTE, 26 * HOUR, WINDOW])
@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_done_twice_whatever_became_of_the_first(books: Books, end: str, later_ms: int) -> None:
    verdict, became, state = ENDS[end]
    first = say(books)
    if verdict is not None:
        books.do(books.close(first, verdict))
    books.told()
    before = books.money("A")
    books.wait(later_ms)
    again = say(books)
    assert (again.state, again.reason, again.fresh) == (State.REFUSED, Reason.DUPLICATE, False)
    assert told(books) == ("DUPLICATE", became, 2)
    assert books.notices[-1].facts["first_id"] == first.order_id
    assert books.notices[-1].facts["first_at_ms"] == first.created_ms
    assert books.money("A") == before
    assert books.value("SELECT state FROM txn WHERE id = :id", id=first.order_id) == state
    assert books.value("SELECT count(*) FROM txn WHERE kind = 1") == 1
    assert books.problems() == []


def test_a_refused_one_is_not_done_when_it_comes_again(books: Books) -> None:
    assert say(books, outlet="B", amount_fen=20_000).reason is Reason.FLOAT
    assert books.notices[-1].facts["repeat_next"] == 2
    books.fund("B", 50_000)
    books.wait(62_000)
    assert say(books, outlet="B", amount_fen=20_000).reason is Reason.DUPLICATE
    assert told(books) == ("DUPLICATE", "recharge-no", 2)
    assert books.notices[-1].facts["because"] == "FLOAT"
    assert say(books, 2, outlet="B", amount_fen=20_000).state is State.HELD
    assert say(books, outlet="B", amount_fen=20_000).reason is Reason.DUPLICATE
    assert told(books) == ("DUPLICATE", "recharge-open", 3)  # what the words became said anew is told


def test_what_was_taken_back_is_not_done_anew(books: Books) -> None:
    first = say(books)
    books.do(books.close(first, Verdict.YES))
    asker = Asker(PHONES["A"], SERVICE, None, Pin(PIN))
    back = books.do(OpenReversal(Channel.SMS, Key("s", "r"), asker, first.order_id, books.clock.ms))
    books.do(books.close(back, Verdict.YES))
    books.wait(64_000)
    assert say(books).reason is Reason.DUPLICATE
    assert told(books) == ("DUPLICATE", "recharge-back", 2)
    assert books.money("A") == (100_000, 0)


def test_who_means_it_has_a_way_each_time(books: Books) -> None:
    assert say(books).state is State.HELD
    for repeat in (2, 3, 4):
        assert say(books).reason is Reason.DUPLICATE
        assert told(books)[2] == repeat
        assert say(books, repeat).state is State.HELD
        assert say(books, repeat).reason is Reason.DUPLICATE
        assert told(books)[2] == repeat + 1
    assert books.money("A") == (100_000, 20_000)


def test_after_the_window_the_same_words_are_a_new_wish(books: Books) -> None:
    say(books)
    books.wait(WINDOW + 1)
    assert say(books).state is State.HELD
    books.wait(HOUR)
    assert say(books).reason is Reason.DUPLICATE


def test_a_corrected_pin_is_another_message_and_a_wrong_one_counts_once(books: Books) -> None:
    for _ in range(2):
        say(books, pin=WRONG, said=words(pin="wr"))
        books.wait(MINUTE)
    assert books.value("SELECT fails FROM credential ORDER BY outlet_id LIMIT 1") == 1
    assert say(books, pin=PIN).state is State.HELD
    assert say(books, pin=WRONG, said=words(pin="wr")).reason is Reason.DUPLICATE
    assert told(books)[1] == "recharge-open"


def test_a_stranger_who_is_registered_since_ordered_nothing(books: Books) -> None:
    stranger = "13900000077"
    assert say(books, phone=stranger).reason is Reason.UNKNOWN_SENDER
    with books.store.writing() as txn:
        txn.exec_driver_sql("UPDATE outlet_phone SET msisdn = '13900000077' WHERE msisdn = '13900000001'")
    assert say(books, phone=stranger).reason is Reason.DUPLICATE
    assert told(books) == ("DUPLICATE", "recharge-no", 2)
    assert books.value("SELECT count(*) FROM txn WHERE kind = 1") == 0


def test_two_deliveries_in_one_batch_are_one_order(books: Books) -> None:
    one, two = (books.plain(said=words()) for _ in range(2))
    held, again = books.batch(one, two)
    assert (held.state, again.reason) == (State.HELD, Reason.DUPLICATE)


def test_the_sms_centres_time_tells_messages_apart(books: Books) -> None:
    at_ms = books.clock.ms
    timed = {"said": words(), "sent_ms": at_ms, "mark": f"ref:{at_ms}:1"}
    first = books.do(books.plain(**timed))
    books.do(books.close(first, Verdict.YES))
    books.told()
    again = books.do(books.plain(**timed))
    assert (again.order_id, again.state) == (first.order_id, State.SETTLED)
    assert books.told() == ["outlet.settled"]  # proved: the stored answer
    books.wait(6 * MINUTE)
    later = {"said": words(), "sent_ms": books.clock.ms, "mark": f"ref:{books.clock.ms}:2"}
    assert books.do(books.plain(**later)).state is State.HELD  # proved to be another: an honest repeat


def test_one_message_over_two_centres_one_of_which_names_its_time(books: Books) -> None:
    sent_ms = books.clock.ms
    books.wait(2_000)
    say(books)  # over the one without
    books.wait(20 * MINUTE)
    late = books.do(books.plain(said=words(), sent_ms=sent_ms, mark=f"at:{sent_ms}:x"))
    assert late.reason is Reason.DUPLICATE
    books.do(books.plain(said=words(), sent_ms=books.clock.ms, mark=f"at:{books.clock.ms}:x"))
    assert books.value("SELECT count(*) FROM txn WHERE kind = 1 AND state = 1") == 2
    books.wait(HOUR)
    assert say(books).reason is Reason.DUPLICATE  # no time: it may be either


def test_again_and_again_is_told_a_few_times(books: Books) -> None:
    say(books)
    books.told()
    for _ in range(1_000 // 50):
        books.batch(*(books.plain(said=words()) for _ in range(50)))
    assert len(books.told()) == 3
    assert books.value("SELECT again_n FROM heard") == 1_000
    books.wait(HOUR)
    say(books)
    assert len(books.told()) == 1  # a person who asks later is answered


# -- every other verb ---------------------------------------------------------------------------------------


def test_an_old_reversal_takes_no_later_recharge_back(books: Books) -> None:
    asker = Asker(PHONES["A"], SERVICE, None, Pin(PIN))

    def reverse(orig_id: int, mark: str) -> Any:
        said = words(verb=Operation.REVERSAL, text="14")
        asked = {"target": "13812345678", "amount_fen": 5000, "said": said}
        return books.do(OpenReversal(Channel.SMS, Key("s", mark), asker, orig_id, books.clock.ms, **asked))

    assert reverse(0, "1").reason is Reason.NOT_FOUND  # nothing to take back yet
    order = books.do(books.plain())
    books.do(books.close(order, Verdict.YES))
    assert reverse(order.order_id, "2").reason is Reason.DUPLICATE
    assert told(books) == ("DUPLICATE", "act-no", 2)
    assert books.money("A") == (95_000, 0)


def test_an_old_transfer_that_was_taken_back_is_not_made_anew(family: Books) -> None:
    asker = Asker(PHONES["A"], SERVICE, None, Pin(PIN))
    said = words(verb=Operation.TRANSFER, text="15")

    def move(mark: str) -> Any:
        return family.do(Transfer(Channel.SMS, Key("s", mark), asker, "B", 1000, family.clock.ms, said=said))

    first = move("1")
    family.do(ReverseTransfer(Channel.SMS, Key("s", "2"), asker, first.order_id, family.clock.ms))
    before = family.money("A")
    family.wait(HOUR)
    assert move("3").reason is Reason.DUPLICATE
    assert told(family) == ("DUPLICATE", "transfer-back", 2)
    assert family.money("A") == before


def test_commission_moves_once(books: Books) -> None:
    asker = Asker(PHONES["A"], SERVICE, None, Pin(PIN))
    said = words(verb=Operation.COMMISSION, text="19")
    moves = [
        MoveCommission(Channel.SMS, Key("s", str(n)), asker, 0, books.clock.ms, said=said) for n in (1, 2)
    ]
    assert [books.do(move).reason for move in moves] == [Reason.FLOAT, Reason.DUPLICATE]
    assert told(books) == ("DUPLICATE", "act-no", 2)


def test_an_old_change_of_the_pin_changes_nothing_later(books: Books) -> None:
    outlet = books.value("SELECT id FROM outlet WHERE code = 'A'")

    def change(old: str, new: str) -> Any:
        said = words(pin=f"{old}{new}"[:12], verb=Operation.PIN_CHANGE, text="17")
        asker = Asker(PHONES["A"], SERVICE, None, Pin(old))
        command = ChangePin(
            Channel.SMS, asker, Pin(old), Pin(new), Pin(new), books.clock.ms, outlet_id=outlet, salt=b"s" * 16
        )
        return books.do(replace(command, said=said))

    steps = [(PIN, "415926"), ("415926", "860341"), ("860341", "264081"), ("264081", PIN)]
    for old, new in steps:
        assert change(old, new).reason is Reason.OK
        books.wait(11 * MINUTE)
    for old, new in steps:
        assert change(old, new).reason is Reason.DUPLICATE
    assert books.value("SELECT sum(fails) FROM credential") == 0
    assert books.do(books.plain(pin=PIN, pin_needed=True)).state is State.HELD


def test_an_old_report_of_loss_blocks_no_new_card(books: Books) -> None:
    with books.store.writing() as txn:
        txn.exec_driver_sql("UPDATE outlet_phone SET rights = 7")
        txn.exec_driver_sql(
            "INSERT INTO outlet_phone (msisdn, outlet_id, rights, created_ms)"
            " SELECT '13900000009', outlet_id, 3, 0 FROM outlet_phone WHERE msisdn = '13900000001'"
        )
    asker = Asker(PHONES["A"], SERVICE, None, Pin(PIN))
    said = words(verb=Operation.STATUS, text="18")

    def report() -> Any:
        return books.do(ReportLost(Channel.SMS, asker, "13900000009", books.clock.ms, None, said))

    assert report().reason is Reason.OK
    with books.store.writing() as txn:
        txn.exec_driver_sql("UPDATE outlet_phone SET status = 1 WHERE msisdn = '13900000009'")
    active = books.value("SELECT status FROM outlet_phone WHERE msisdn = '13900000009'")
    books.wait(HOUR)
    assert report().reason is Reason.DUPLICATE
    assert told(books) == ("DUPLICATE", "act-done", 2)
    assert books.value("SELECT status FROM outlet_phone WHERE msisdn = '13900000009'") == active


def test_an_answer_to_nothing_answers_no_later_question(books: Books) -> None:
    asker = Asker(PHONES["A"], SERVICE)
    said = Said(Operation.RECONFIRM, YES_WORDS, window_ms=WINDOW)
    books.do(Offence(asker, Reason.FORMAT, books.clock.ms, "Y", said))
    books.told()
    books.wait(HOUR)
    answered = replace(books.plain(said=said, answers=words(pin="y1")), confirmed=True)
    assert books.do(answered).reason is Reason.DUPLICATE
    assert told(books) == ("DUPLICATE", "yes", 2)
    assert books.money("A") == (100_000, 0)
    assert books.do(replace(books.plain(said=replace(said, repeat=2)), confirmed=True)).state is State.HELD


def test_what_can_come_again_no_more_is_forgotten(books: Books) -> None:
    for number in range(5):
        say(books, said=words(text=f"w{number}"), target=f"1381234567{number}")
    books.wait(31 * 24 * HOUR)
    say(books, said=words(text="w5"), target="13812345675")
    assert books.value("SELECT count(*) FROM heard") == 6
    books.wait(2 * 24 * HOUR)
    for number in range(6, 9):
        say(books, said=words(text=f"w{number}"), target=f"1381234567{number}")
    assert books.value("SELECT count(*) FROM heard") == 4  # two old ones go with each new one
