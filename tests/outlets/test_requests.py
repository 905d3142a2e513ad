"""Two people: who asks does not confirm, what is confirmed is done once, what nobody decides ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from aircharge.errors import AirchargeError, Reason
from aircharge.ledger.asked import LIFE_MS
from aircharge.ledger.entries import Enter
from aircharge.ledger.funding import propose_txn
from aircharge.ledger.parking import Resume
from aircharge.ledger.ruling import RELEASE, RULING, RuleOrder
from aircharge.outlets import registry, requests, rulebook
from aircharge.outlets.phones import lost_sim_txn
from aircharge.outlets.registry import CardForm, RegistryError
from aircharge.outlets.requests import KINDS, RequestError
from aircharge.outlets.staff import StaffError
from aircharge.values import Pin, Receipt, State, Verdict
from tests.ledger import engines
from tests.ledger.desk import MINUTE, PIN, PINS, Books
from tests.outlets.staff_desk import House

ICCID = "89860012345678901234"
HOLD_ALL = json.dumps({"rules": [{"name": "hold", "when": {}, "then": "hold"}]})


@pytest.fixture(params=engines.ENGINES)
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    with engines.kept_in(request.param):
        books = Books().setup({"A": 100_000, "B": 0})
        yield House(books)
        assert books.problems() == []
        books.engine.dispose()


def ask(house: House, what: str, maker: str = "wang", **payload: Any) -> int:
    return house.at_desk(lambda desk: requests.propose_txn(desk, what, payload, house.tools), maker)


def approve(house: House, number: int, checker: str = "li") -> str:
    return house.at_desk(lambda desk: requests.approve_txn(desk, number, house.tools), checker)


def state(house: House, number: int) -> tuple[Any, ...]:
    [row] = house.books.rows("SELECT state, checker, note FROM change_request WHERE id = :n", n=number)
    return row


def waiting(house: House) -> list[int]:
    with house.books.engine.connect() as txn:
        return [item["request"] for item in requests.waiting(txn, house.books.clock.ms)]


# -- what each kind does ------------------------------------------------------------------------------------


def prepare(house: House, what: str) -> None:
    """What must be so before the change makes sense."""
    works: dict[str, Callable[[Any], Any]] = {
        "outlet.unfreeze": lambda desk: registry.freeze_txn(desk, "A"),
        "rules.activate": lambda desk: rulebook.draft_rules_txn(desk, HOLD_ALL),
        "rules.retire": lambda desk: rulebook.draft_rules_txn(desk, HOLD_ALL),
    }
    if what in works:
        house.at_desk(works[what], "sun")
    if what == "rules.retire":
        house.at_desk(lambda desk: rulebook.activate_rules_txn(desk, 1), "zhou")
    if what == "phone.release":
        house.at_desk(lambda desk: lost_sim_txn(desk, "A", "13900000001", "13900000044"))
    if what == "card.unblock":
        house.at_desk(lambda desk: registry.bind_phone_txn(desk, "A", "13900000033"))
        house.at_desk(lambda desk: registry.add_card_txn(desk, "A", CardForm(ICCID, "13900000033")))
        house.at_desk(lambda desk: registry.block_card_txn(desk, ICCID))
    if what == "pin.unlock":
        house.books.batch(*[house.books.plain(pin="111111", pin_needed=True) for _ in range(3)])
    if what in ("staff.role", "staff.unblock", "staff.reset"):
        house.hire("wang")
        house.hire("zhao", "risk")


CHANGES: list[tuple[str, dict[str, Any], str, str, Any]] = [
    # kind             payload                    says           what is read     afterwards
    (
        "pin.reset",
        {"outlet": "A", "must_change": True},
        "new PIN",
        "SELECT sum(must_change) FROM credential",
        1,
    ),
    ("pin.unlock", {"outlet": "A"}, "lifted", "SELECT max(locked_until_ms) FROM credential", 0),
    ("outlet.unfreeze", {"outlet": "A"}, "active", "SELECT status FROM outlet WHERE code = 'A'", 1),
    (
        "card.unblock",
        {"iccid": ICCID},
        "active",
        f"SELECT status FROM card WHERE iccid = '{ICCID}'",
        1,
    ),
    (
        "phone.release",
        {"outlet": "A", "phone": "13900000044", "note": "called back 10:20"},
        "139****0044",
        "SELECT count(*) FROM outlet_phone WHERE active_from_ms > 1795399200000",
        0,
    ),
    (
        "outlet.found",
        {"outlet": "P2", "name": "Jiangsu", "level": "province", "phones": []},
        "province P2 added",
        "SELECT level FROM outlet WHERE code = 'P2'",
        1,
    ),
    (
        "phone.rights",
        {"outlet": "A", "phone": "13900000001", "rights": "recharge+query+admin"},
        "139****0001",
        "SELECT rights FROM outlet_phone WHERE msisdn = '13900000001'",
        7,
    ),
    (
        "keys.export",
        {"file": "/x/cards"},
        "2 cards",
        "SELECT count(*) FROM audit WHERE action = 'keys.export'",
        1,
    ),
    ("rules.activate", {"version": 1}, "in force", "SELECT state FROM rule_set", 1),
    ("rules.retire", {}, "out of force", "SELECT state FROM rule_set", 2),
    (
        "staff.add",
        {"login": "zhao", "name": "Zhao", "role": "risk", "scope": ""},
        "initial password",
        "SELECT role FROM staff",
        "risk",
    ),
    (
        "staff.role",
        {"login": "zhao", "role": "clerk", "scope": "A"},
        "clerk",
        "SELECT role FROM staff WHERE login = 'zhao'",
        "clerk",
    ),
    (
        "staff.unblock",
        {"login": "zhao"},
        "may log in",
        "SELECT status FROM staff WHERE login = 'zhao'",
        1,
    ),
    (
        "staff.reset",
        {"login": "zhao"},
        "initial password",
        "SELECT must_change FROM staff WHERE login = 'zhao'",
        1,
    ),
]


@pytest.mark.parametrize(
    ("what", "payload", "says", "question", "afterwards"), CHANGES, ids=[row[0] for row in CHANGES]
)
def test_a_change_is_asked_for_by_one_and_done_by_another_once(
    house: House, what: str, payload: dict[str, Any], says: str, question: str, afterwards: Any
) -> None:
    prepare(house, what)
    audited = "SELECT count(*) FROM audit"
    before, rows = house.books.value(question), house.books.value(audited)
    number = ask(house, what, **payload)
    assert house.books.value(question) == before  # nothing yet
    assert house.books.value(audited) == rows + 1
    assert waiting(house) == [number]
    with pytest.raises(RequestError, match="two people"):
        approve(house, number, "wang")
    assert says in approve(house, number)
    assert house.books.value(question) == afterwards
    assert state(house, number) == (1, "li", "")
    assert house.books.value(f"{audited} WHERE action = '{what}.confirm' AND actor = 'li'") == 1
    with pytest.raises(RequestError, match="no request"):
        approve(house, number, "zhou")


def test_every_kind_of_the_people_and_pins_is_in_the_table_above() -> None:
    ours = {
        kind
        for kind in KINDS
        if kind.split(".")[0] in ("pin", "keys", "staff", "rules", "card", "phone", "outlet")
    }
    assert ours <= {row[0] for row in CHANGES}


def test_a_reset_pin_is_told_once_and_kept_nowhere(house: House) -> None:
    said = approve(house, ask(house, "pin.reset", outlet="A", must_change=False))
    pin = said.rsplit(" ", 1)[1]
    assert house.books.do(house.books.plain(pin=pin, pin_needed=True)).reason is Reason.OK
    assert house.books.do(house.books.plain(pin=PIN, pin_needed=True)).reason is Reason.PIN_WRONG
    for table in ("audit", "change_request", "credential", "pin_history"):
        assert pin not in repr(house.books.rows(f"SELECT * FROM {table}"))


# -- what cannot be -----------------------------------------------------------------------------------------

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("pin.reset", {"outlet": "NONE", "must_change": True}, "no outlet NONE"),
    ("pin.reset", {"outlet": "A"}, "must_change"),
    ("pin.unlock", {"outlet": "A"}, "not locked"),
    ("card.unblock", {"iccid": "8986"}, "no such card"),
    ("rules.activate", {"version": 9}, "9"),
    ("rules.retire", {}, "no rules"),
    ("staff.add", {"login": "X", "name": "x", "role": "risk", "scope": ""}, "login"),
    ("staff.role", {"login": "nobody", "role": "risk", "scope": ""}, "nobody"),
    ("no.such-kind", {}, "no request is called"),
    (RULING, {"order": 5, "executed": True, "evidence": "letter"}, "no order 5"),
    (RELEASE, {"order": 5}, "no order 5"),
]


@pytest.mark.parametrize(("what", "payload", "why"), BAD, ids=[f"{row[0]} {row[2]}" for row in BAD])
def test_what_could_not_be_done_cannot_be_asked_for(
    house: House, what: str, payload: dict[str, Any], why: str
) -> None:
    with pytest.raises(AirchargeError, match=why):
        ask(house, what, **payload)
    assert waiting(house) == []
    assert house.books.value("SELECT count(*) FROM audit WHERE action LIKE '%.ask' AND actor = 'wang'") == 0


def test_what_has_become_impossible_leaves_the_request_waiting(house: House) -> None:
    prepare(house, "pin.unlock")
    number = ask(house, "pin.unlock", outlet="A")
    house.books.wait(31 * MINUTE)
    with pytest.raises(RegistryError, match="not locked"):
        approve(house, number)
    assert state(house, number) == (0, None, "")


def test_the_same_is_not_asked_for_twice(house: House) -> None:
    number = ask(house, "pin.reset", outlet="A", must_change=True)
    with pytest.raises(RequestError, match=f"request {number} asks for the same"):
        ask(house, "pin.reset", maker="li", outlet="A", must_change=True)
    ask(house, "pin.reset", outlet="B", must_change=True)


def test_the_database_refuses_one_person_too(house: House) -> None:
    number = ask(house, "pin.reset", outlet="A", must_change=True)
    with pytest.raises(IntegrityError), house.books.store.writing() as txn:
        txn.exec_driver_sql(f"UPDATE change_request SET state = 1, checker = maker WHERE id = {number}")


def test_of_two_who_confirm_at_once_one_does_it() -> None:
    with engines.kept_in("postgresql"):
        house = House(Books().setup({"A": 0}))
        number = ask(house, "pin.reset", outlet="A", must_change=True)

        def confirm(checker: str) -> str:
            try:
                return approve(house, number, checker)
            except RequestError as error:
                return str(error)

        with ThreadPoolExecutor(4) as pool:
            said = list(pool.map(confirm, ["li", "zhou", "sun", "qian"]))
        assert len([line for line in said if "new PIN" in line]) == 1
        assert len([line for line in said if "no request" in line]) == 3
        assert house.books.value("SELECT count(*) FROM audit WHERE action = 'pin.reset.confirm'") == 1
        house.books.engine.dispose()


def test_no_whole_number_is_in_the_audit(house: House) -> None:
    prepare(house, "phone.release")
    approve(house, ask(house, "phone.release", outlet="A", phone="13900000044", note="called back"))
    assert "13900000044" not in repr(house.books.rows("SELECT detail, object FROM audit"))


def test_another_person_declines_with_a_note(house: House) -> None:
    number = ask(house, "pin.reset", outlet="A", must_change=True)
    for actor, note, why in (("wang", "no", "two people"), ("li", " ", "why")):
        with pytest.raises(RequestError, match=why):
            house.at_desk(
                lambda desk, note=note: requests.decline_txn(desk, number, note),  # type: ignore[misc]
                actor,
            )
    house.at_desk(lambda desk: requests.decline_txn(desk, number, "called: it was not them"), "li")
    assert state(house, number) == (2, "li", "called: it was not them")
    with pytest.raises(RequestError, match="no request"):
        approve(house, number, "zhou")
    assert house.books.do(house.books.plain(pin=PIN, pin_needed=True)).reason is Reason.OK


def test_a_request_ends_after_seven_days(house: House) -> None:
    numbers = [ask(house, "pin.reset", outlet=code, must_change=True) for code in ("A", "B")]
    house.books.wait(LIFE_MS)
    assert waiting(house) == numbers
    approve(house, numbers[0])
    house.books.wait(1)
    assert waiting(house) == []
    with pytest.raises(RequestError, match="seven days"):
        approve(house, numbers[1])
    again = ask(house, "pin.reset", outlet="B", must_change=True)  # the old one is closed by now
    assert state(house, numbers[1]) == (2, "machine", "expired")
    assert waiting(house) == [again]


def test_money_by_hand_ends_after_seven_days_too(house: House) -> None:
    with house.books.store.writing() as txn:
        number = propose_txn(txn, "A", 5_000, "slip", maker="wang", now_ms=house.books.clock.ms)
    assert waiting(house) == [number]
    house.books.wait(LIFE_MS + 1)
    assert "seven days" in str(house.books.do(Enter(number, "li")))
    assert house.books.money("A") == (100_000, 0)


def test_the_first_people_are_added_by_the_only_admin_and_never_twice(house: House) -> None:
    house.hire("wang")
    form = {"login": "zhao", "name": "Zhao", "role": "admin", "scope": ""}
    said = house.at_desk(lambda desk: requests.apply_alone_txn(desk, "staff.add", form, house.tools), "wang")
    assert "zhao added as admin" in said
    with pytest.raises(StaffError, match="taken"):
        house.at_desk(lambda desk: requests.apply_alone_txn(desk, "staff.add", form, house.tools), "wang")


# -- orders -------------------------------------------------------------------------------------------------


def manual_order(house: House) -> int:
    """50 yuan that nobody knows the end of."""
    receipt = house.books.do(house.books.plain())
    house.books.do(house.books.close(receipt, Verdict.UNKNOWN, manual=True))
    return int(receipt.order_id)


@pytest.mark.parametrize(
    ("executed", "after", "money"),
    [(True, State.SETTLED, (95_000, 0)), (False, State.VOIDED, (100_000, 0))],
    ids=["executed", "not executed"],
)
def test_two_people_decide_a_doubt_once(
    house: House, executed: bool, after: State, money: tuple[int, int]
) -> None:
    order = manual_order(house)
    number = ask(house, RULING, order=order, executed=executed, evidence="letter 7")
    assert house.books.money("A") == (100_000, 5_000)
    assert house.books.do(RuleOrder(number, order, "wang")) == "maker and checker are two people"
    assert "another order" in house.books.do(RuleOrder(number, order + 1, "li"))
    receipt = house.books.do(RuleOrder(number, order, "li"))
    assert isinstance(receipt, Receipt)
    assert (receipt.state, receipt.fresh) == (after, True)
    assert house.books.money("A") == money
    assert state(house, number)[:2] == (1, "li")
    assert "no request" in house.books.do(RuleOrder(number, order, "zhou"))
    assert house.books.rows("SELECT actor FROM audit WHERE action = 'order.ruled'") == [("wang+li",)]
    with pytest.raises(RequestError, match="already"):
        ask(house, RULING, order=order, executed=executed, evidence="letter 8")


def test_an_answer_that_came_before_the_second_person_stands(house: House) -> None:
    order = manual_order(house)
    number = ask(house, RULING, order=order, executed=False, evidence="letter 7")
    house.books.do(house.books.close(order, Verdict.YES))
    assert "SETTLED already" in house.books.do(RuleOrder(number, order, "li"))
    assert state(house, number)[0] == 0
    assert house.books.money("A") == (95_000, 0)


def test_a_ruling_names_its_evidence(house: House) -> None:
    with pytest.raises(RequestError, match="evidence"):
        ask(house, RULING, order=manual_order(house), executed=True, evidence=" ")


def test_a_parked_order_goes_on_by_two_people(house: House) -> None:
    house.books.add("rule_set", version=1, state=1, body=HOLD_ALL, made_ms=0)
    order = house.books.do(house.books.plain()).order_id
    with pytest.raises(RequestError, match="PARKED"):
        ask(house, RULING, order=order, executed=True, evidence="letter")
    number = ask(house, RELEASE, order=order)
    assert house.books.do(Resume(order)).state is State.PARKED  # nobody has confirmed
    receipt = house.books.do(RuleOrder(number, order, "li"))
    assert receipt.state is State.PARKED
    assert state(house, number)[:2] == (1, "li")
    assert house.books.do(Resume(order)).state is State.HELD
    with pytest.raises(RequestError, match="HELD"):
        ask(house, RELEASE, order=order)


# -- PINs at the desk ---------------------------------------------------------------------------------------


def test_a_reset_keeps_the_old_pin_in_the_history(house: House) -> None:
    for pin in ("918273", "482915"):
        house.at_desk(lambda desk, pin=pin: registry.set_pin_txn(desk, "A", Pin(pin), PINS, b"t" * 16))  # type: ignore[misc]
    assert house.books.value("SELECT count(*) FROM pin_history") == 2


def test_a_clerk_sets_the_duress_pin_two_digits_away(house: House) -> None:
    for pin, why in (("123456", "easy"), ("12345", "6 digits")):
        with pytest.raises(AirchargeError, match=why):
            house.at_desk(lambda desk, pin=pin: registry.set_duress_txn(desk, "A", Pin(pin), PINS, b"d" * 16))  # type: ignore[misc]
    for pin in (PIN, "735195"):  # near the PIN: nothing is set, and nobody but the outlet hears so
        house.at_desk(lambda desk, pin=pin: registry.set_duress_txn(desk, "A", Pin(pin), PINS, b"d" * 16))  # type: ignore[misc]
    assert house.books.value("SELECT count(*) FROM credential WHERE duress_mac IS NOT NULL") == 0
    told = house.books.rows("SELECT body, recipient FROM outbox WHERE topic = 'outlet.desk' ORDER BY id")
    assert [("duress-near" in body, recipient) for body, recipient in told] == [(True, "13900000001")] * 2
    said = house.books.rows("SELECT actor, action, object, detail FROM audit WHERE action = 'pin.duress'")
    assert len(set(said)) == 1
    house.at_desk(lambda desk: registry.set_duress_txn(desk, "A", Pin("630284"), PINS, b"d" * 16))
    assert house.books.do(house.books.plain(pin="630284")).reason is Reason.BUSY
    with pytest.raises(AirchargeError, match="too near"):
        house.at_desk(lambda desk: registry.set_pin_txn(desk, "A", Pin("630285"), PINS, b"t" * 16))
