"""PINs: an initial one opens only its own change, weak and former ones are refused, the duress PIN looks like a busy
system. Right PIN of every outlet of ``desk``: 735194."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from aircharge.errors import Reason
from aircharge.ledger.page import BookSettings
from aircharge.ledger.pin_rules import is_near, same_or_slip, why_weak
from aircharge.ledger.pinning import ChangePin
from aircharge.ledger.reversing import OpenReversal
from aircharge.sms.phrases import CheckCode, Phrases
from aircharge.values import Asker, CardUse, Channel, Key, Operation, Pin, State
from tests.ledger.desk import MINUTE, PHONES, PIN, SERVICE, WRONG, Books

NEW, THIRD, FOURTH = "482915", "917340", "260483"
DURESS = "630284"
RISK_DESK = "13700000000"


def change(books: Books, old: str = PIN, new: str = NEW, again: str = "", **more: Any) -> Reason:
    """What becomes of ``17 old new again``."""
    outlet = more.pop("outlet", "A")
    phone = more.pop("phone", PHONES[outlet])
    use: CardUse | None = more.pop("use", None)
    number = more.pop("outlet_id", books.value("SELECT id FROM outlet WHERE code = :c", c=outlet))
    books.salts = getattr(books, "salts", 0) + 1  # type: ignore[attr-defined]
    command = ChangePin(
        Channel.STK if use else Channel.SMS,
        Asker(phone, SERVICE, use),
        Pin(old),
        Pin(new),
        Pin(again or new),
        books.clock.ms,
        outlet_id=number,
        salt=books.salts.to_bytes(16, "big"),  # type: ignore[attr-defined]
        **more,
    )
    reason: Reason = books.do(command).reason
    return reason


def opens(books: Books, pin: str) -> Reason:
    """What a recharge with that PIN comes to; a fresh number each time."""
    serial = next(_targets)
    reason: Reason = books.do(books.plain(f"138{serial:08d}", pin=pin, pin_needed=True)).reason
    return reason


_targets = itertools.count(1)


def must_change(books: Books) -> None:
    with books.store.writing() as txn:
        txn.exec_driver_sql("UPDATE credential SET must_change = 1")


# -- weak PINs ----------------------------------------------------------------------------------------------

WEAK = [
    ("000000", "all alike"),
    ("121212", "one pair"),
    ("112112", "one half twice"),
    ("123456", "upwards"),
    ("987654", "downwards"),
    ("567890", "upwards to nought"),
    ("199107", "a month of birth"),
    ("200212", "a month of birth"),
    ("147258", "two columns of the keypad"),
    ("112233", "pairs"),
    ("123321", "a mirror"),
    ("520131", "said for its sound"),
    ("000001", "the outlet's own number"),
    ("12345", "five digits"),
    ("1234567", "seven digits"),
    ("12a456", "a letter"),
    ("１２３４５６", "digits of another alphabet"),
    ("", "nothing"),
]


@pytest.mark.parametrize(("pin", "why"), WEAK, ids=[why for _, why in WEAK])
def test_what_is_tried_first_is_refused(books: Books, pin: str, why: str) -> None:
    assert why_weak(pin, [PHONES["A"]])
    assert change(books, new=pin) is Reason.PIN_WEAK
    assert opens(books, PIN) is Reason.OK


@pytest.mark.parametrize("pin", [PIN, NEW, THIRD, FOURTH, DURESS, "199113", "736194", "180291"])
def test_other_pins_are_good(pin: str) -> None:
    assert why_weak(pin, list(PHONES.values())) == ""


@given(st.from_regex(r"[0-9]{6}", fullmatch=True), st.from_regex(r"[0-9]{6}", fullmatch=True))
def test_near_is_one_slip_of_a_finger(one: str, other: str) -> None:
    differing = sum(a != b for a, b in zip(one, other, strict=True))
    assert is_near(one, lambda pin: pin == other) == (differing <= 1)
    assert len(set(same_or_slip(one))) == 55


# -- changing -----------------------------------------------------------------------------------------------


def test_the_new_pin_opens_and_the_old_one_does_not(books: Books) -> None:
    assert change(books) is Reason.OK
    assert books.told() == ["outlet.pin-changed"]
    assert opens(books, PIN) is Reason.PIN_WRONG
    assert opens(books, NEW) is Reason.OK
    [(what, actor)] = books.rows("SELECT object, actor FROM audit WHERE action = 'pin.change'")
    assert (what, actor) == ("A", "outlet A")


def test_an_initial_pin_opens_nothing_but_its_own_change(books: Books) -> None:
    must_change(books)
    assert books.do(books.plain()).reason is Reason.PIN_CHANGE  # the channel asks for no PIN, yet
    assert opens(books, PIN) is Reason.PIN_CHANGE
    assert books.do(books.ask()).reason is Reason.PIN_CHANGE
    assert books.do(books.plain(pin_needed=True)).reason is Reason.PIN_CHANGE
    assert opens(books, WRONG) is Reason.PIN_WRONG
    assert change(books, new=DURESS, duress=True) is Reason.PIN_CHANGE
    assert books.money("A") == (100_000, 0)
    assert change(books) is Reason.OK
    assert opens(books, NEW) is Reason.OK
    assert books.do(books.ask()).reason is Reason.OK


def test_the_last_three_do_not_come_back_but_the_fourth_does(books: Books) -> None:
    for old, new in ((PIN, NEW), (NEW, THIRD)):
        books.wait(MINUTE)
        assert change(books, old, new) is Reason.OK
    for former in (PIN, NEW, THIRD):
        books.wait(60 * MINUTE)
        assert change(books, THIRD, former) is Reason.PIN_WEAK
    assert change(books, THIRD, FOURTH) is Reason.OK
    books.wait(60 * MINUTE)
    assert change(books, FOURTH, PIN) is Reason.OK
    assert books.value("SELECT count(*) FROM pin_history") == 4


REFUSED: list[tuple[str, dict[str, Any], Reason]] = [
    ("the old one is wrong", {"old": WRONG}, Reason.PIN_WRONG),
    ("the new ones differ", {"again": THIRD}, Reason.PIN_WEAK),
    ("the new one is the old one", {"new": PIN}, Reason.PIN_WEAK),
    ("an unknown sender", {"phone": "13900000099"}, Reason.UNKNOWN_SENDER),
    ("the number was another outlet's a moment ago", {"outlet_id": 7}, Reason.RIGHTS),
    ("too late", {"sent_ms": 0}, Reason.STALE),
]


@pytest.mark.parametrize(("more", "reason"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_is_refused_changes_nothing(books: Books, more: dict[str, Any], reason: Reason) -> None:
    assert change(books, **more) is reason
    assert opens(books, PIN) is Reason.OK
    assert books.value("SELECT count(*) FROM pin_history") == 0


def test_a_suspended_outlet_changes_no_pin(books: Books) -> None:
    with books.store.writing() as txn:
        txn.exec_driver_sql("UPDATE outlet SET status = 2")
    assert change(books) is Reason.OUTLET


def test_wrong_old_pins_lock_like_any_other(books: Books) -> None:
    assert [change(books, old=WRONG) for _ in range(4)] == [Reason.PIN_WRONG] * 3 + [Reason.PIN_LOCKED]
    assert change(books) is Reason.PIN_LOCKED  # the right one, during the lock
    books.wait(30 * MINUTE)
    assert change(books) is Reason.OK


def test_one_serial_does_for_one_pin(books: Books) -> None:
    """Whoever can seal packets, and guesses under one serial, is counted once or turned away: never let in."""
    use, asked = books.card(), books.card()
    guesses = ("112233", "223344", "334455", PIN)
    said = [change(books, old, use=use) for old in guesses]
    assert said == [Reason.PIN_WRONG, *[Reason.CLASH] * 3]
    said = [books.do(books.ask(use=asked, pin=pin, pin_needed=True)).reason for pin in guesses]
    assert said == [Reason.PIN_WRONG, *[Reason.CLASH] * 3]
    assert books.value("SELECT fails FROM credential WHERE fails > 0") == 2


def test_nor_does_one_serial_tell_pins_apart_by_a_reversal_of_nothing(books: Books) -> None:
    """What was never sold has no row to keep the refusal: only the serial knows of it."""
    use = books.card()
    said = [take_back(books, pin, use) for pin in (WRONG, WRONG, "223344", PIN)]
    assert said == [Reason.PIN_WRONG] * 2 + [Reason.CLASH] * 2
    assert books.value("SELECT fails FROM credential WHERE fails > 0") == 1


def take_back(books: Books, pin: str, use: CardUse) -> Reason:
    command = OpenReversal(
        Channel.STK,
        Key(f"stk:{use.card_id}", f"{use.serial:016x}"),
        Asker(PHONES["A"], SERVICE, use, Pin(pin)),
        orig_id=0,
        received_ms=books.clock.ms,
        target="13812345678",
        amount_fen=5000,
    )
    return books.do(command).reason  # type: ignore[no-any-return]


def test_the_sms_centres_repetition_is_told_again_and_counts_nothing(books: Books) -> None:
    assert change(books) is Reason.OK
    books.wait(MINUTE)
    assert change(books) is Reason.OK
    assert books.told() == ["outlet.pin-changed"] * 2
    assert books.value("SELECT count(*) FROM pin_history") == 1
    assert books.rows("SELECT fails FROM credential JOIN outlet ON id = outlet_id WHERE code = 'A'") == [(0,)]
    books.wait(11 * MINUTE)
    assert change(books) is Reason.PIN_WRONG


def test_two_changes_of_one_batch_follow_each_other(books: Books) -> None:
    number = books.value("SELECT id FROM outlet WHERE code = 'A'")
    asker = Asker(PHONES["A"], SERVICE)

    def wish(old: str, new: str) -> ChangePin:
        salt = new.encode() * 2
        pins = (Pin(old), Pin(new), Pin(new))
        return ChangePin(Channel.SMS, asker, *pins, books.clock.ms, outlet_id=number, salt=salt)

    said = books.batch(wish(PIN, NEW), wish(PIN, THIRD), wish(NEW, FOURTH), books.plain(pin=FOURTH))
    assert [receipt.reason for receipt in said] == [Reason.OK, Reason.PIN_WRONG, Reason.OK, Reason.OK]
    assert books.value("SELECT count(*) FROM pin_history") == 2
    assert opens(books, FOURTH) is Reason.OK


def test_a_cards_serial_counts_once_for_a_change_too(books: Books) -> None:
    use = books.card()
    assert change(books, use=use) is Reason.OK
    books.wait(MINUTE)
    assert change(books, use=use) is Reason.OK  # the SMS centre's repetition
    books.wait(11 * MINUTE)
    assert change(books, use=use) is Reason.REPLAY
    assert opens(books, NEW) is Reason.OK


def test_no_digit_of_a_pin_is_written_anywhere(books: Books) -> None:
    change(books)
    change(books, NEW, DURESS, duress=True)
    change(books, WRONG, THIRD)
    for table in ("audit", "outbox", "txn", "change_request", "credential", "pin_history", "replay"):
        written = repr(books.rows(f"SELECT * FROM {table}"))
        for pin in (PIN, NEW, DURESS, WRONG, THIRD):
            assert pin not in written
    assert NEW not in repr(ChangePin(Channel.SMS, Asker("1", SERVICE), Pin(PIN), Pin(NEW), Pin(NEW), 0))


# -- duress -------------------------------------------------------------------------------------------------


@pytest.fixture
def forced(books: Books) -> Books:
    """Outlet A has a duress PIN."""
    assert change(books, new=DURESS, duress=True) is Reason.OK
    assert books.told() == ["outlet.pin-changed"]
    return books


def test_the_duress_pin_looks_like_a_busy_system_and_raises_the_alarm(forced: Books) -> None:
    receipt = forced.do(forced.plain(pin=DURESS))
    assert (receipt.state, receipt.reason) == (State.REFUSED, Reason.BUSY)
    assert forced.do(forced.ask(Operation.BALANCE, pin=DURESS)).reason is Reason.BUSY
    assert forced.told() == ["outlet.refused BUSY"] * 2
    assert forced.money("A") == (100_000, 0)
    assert forced.rows("SELECT object FROM audit WHERE action = 'alarm.duress'") == [("A",), ("A",)]
    assert opens(forced, PIN) is Reason.OK
    assert change(forced, DURESS, NEW) is Reason.BUSY


def test_the_duress_pin_of_one_outlet_is_wrong_for_another(forced: Books) -> None:
    assert forced.do(forced.plain(outlet="B", pin=DURESS)).reason is Reason.PIN_WRONG


def test_the_duress_pin_outlives_a_change_of_the_pin(forced: Books) -> None:
    assert change(forced) is Reason.OK
    assert opens(forced, DURESS) is Reason.BUSY
    assert opens(forced, NEW) is Reason.OK


def test_a_duress_pin_does_not_lift_or_count_a_lock(forced: Books) -> None:
    assert [opens(forced, WRONG), opens(forced, DURESS), opens(forced, WRONG)] == [
        Reason.PIN_WRONG,
        Reason.BUSY,
        Reason.PIN_WRONG,
    ]
    assert opens(forced, WRONG) is Reason.PIN_WRONG
    assert opens(forced, DURESS) is Reason.PIN_LOCKED


@pytest.mark.parametrize(
    ("new", "duress"),
    [(PIN, True), (WRONG, True), ("123456", True), (DURESS, False), (DURESS[:-1] + "0", False)],
    ids=["the PIN", "a slip from the PIN", "a weak one", "the duress PIN", "a slip from the duress PIN"],
)
def test_pin_and_duress_pin_stay_two_digits_apart(forced: Books, new: str, duress: bool) -> None:
    assert change(forced, new=new, duress=duress) is Reason.PIN_WEAK
    assert opens(forced, PIN) is Reason.OK
    assert opens(forced, DURESS) is Reason.BUSY


def test_the_risk_desk_is_told_where_it_has_a_number(engine: str) -> None:
    books = Books(settings=BookSettings(risk_phone=RISK_DESK)).setup()
    change(books, new=DURESS, duress=True)
    books.notices.clear()
    opens(books, DURESS)
    assert [(notice.topic, notice.recipient) for notice in books.notices] == [
        ("risk.duress", RISK_DESK),
        ("outlet.refused", PHONES["A"]),
    ]
    assert books.problems() == []
    books.engine.dispose()


def test_an_outlet_that_is_not_open_yet_is_told_so_and_may_set_its_pin(books: Books) -> None:
    with books.store.writing() as txn:
        txn.execute(text("UPDATE outlet SET status = 0 WHERE code = 'A'"))
    books.do(books.plain())
    [refused] = books.notices
    assert (refused.topic, refused.facts["reason"]) == ("outlet.refused", "OUTLET")
    phrases = Phrases(CheckCode(b"k" * 16))
    assert phrases.word(refused) == "未受理(03):网点尚未启用,未扣款。首次存款到账后启用,可先发17改密码。"
    assert change(books) is Reason.OK
    with books.store.writing() as txn:
        txn.execute(text("UPDATE outlet SET status = 2 WHERE code = 'A'"))
    books.notices.clear()
    books.do(books.plain("13812345679"))
    assert "已暂停" in phrases.word(books.notices[0])


@pytest.mark.parametrize(
    ("new", "again", "says"),
    [
        (NEW, "482916", "两次输入的新密码不同"),
        ("123456", "", "新密码过于简单"),
        (PIN, "", "新密码与近三次相同"),
    ],
)
def test_a_new_pin_is_refused_with_its_own_cause(books: Books, new: str, again: str, says: str) -> None:
    assert change(books, new=new, again=again) is Reason.PIN_WEAK
    said = Phrases(CheckCode(b"k" * 16)).word(books.notices[-1])
    assert said == f"未受理(55):{says},密码未更改。请换一个6位密码重发。"
