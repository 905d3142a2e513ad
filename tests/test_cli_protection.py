"""No one person at the desk reaches an outlet's float, or weakens what protects it, and the outlet hears of it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from aircharge import office
from aircharge.config import load
from aircharge.demo import _handset
from aircharge.errors import Reason
from aircharge.instance import Shop
from aircharge.ledger.commands import OpenRecharge
from aircharge.ledger.statements import Movement, Recap, Statement, csv_text
from aircharge.values import Asker, Channel, Key, Msisdn, Operation, Order, State
from tests.test_cli_people import MINUTE, Clock, House, _number
from tests.test_cli_people import house as house  # noqa: PLC0414  (a fixture)

OWNERS, OTHER = "13900000001", "13900009999"
DAY = 1440 * MINUTE


def rows(house: House, question: str) -> list[tuple[object, ...]]:
    [path] = house.folder.rglob("*.db")
    db = sqlite3.connect(path)
    try:
        return db.execute(question).fetchall()
    finally:
        db.close()


def told(house: House) -> list[tuple[str, str, str]]:
    """Who was told what of the desk's doings, oldest first: number, act, thing."""
    found = rows(house, "SELECT recipient, body FROM outbox WHERE topic = 'outlet.desk' ORDER BY id")
    said = [(str(number), json.loads(str(body))) for number, body in found]
    return [(number, facts["act"], facts.get("thing", "")) for number, facts in said]


def plain(house: House, phone: str, target: str = "13812345678") -> Reason:
    """What becomes of a plain SMS without a PIN."""
    desk = office.Office(load(house.folder / "aircharge.toml"))
    key = Key(f"sms:{phone}", f"{target}:{Clock.ms}")
    order = Order(Channel.SMS, key, Asker(phone, "0353911"), Msisdn(target), 5000, Clock.ms)
    [receipt] = desk.store.run([OpenRecharge(order, 1)])
    desk.close()
    assert receipt.reason is not Reason.OK or receipt.state is State.HELD
    reason: Reason = receipt.reason
    return reason


def test_a_clerk_binds_a_phone_the_owner_hears_and_it_waits(house: House) -> None:
    said = house.run("wu", "outlet", "phone", "A1", OTHER)
    assert "or when two people release it" in said
    assert told(house) == [(OWNERS, "phone-new", "139****9999")]
    assert plain(house, OTHER) is Reason.RIGHTS
    assert plain(house, OWNERS) is Reason.OK  # the instance's outlets want no PIN
    said = house.run(
        "wu", "outlet", "phone", "A1", OWNERS, "--unbind", code=1
    )  # nobody would be left to hear
    assert "last number" in said
    number = _number(house.run("wu", "outlet", "release-phone", "A1", OTHER, "--note", "called the owner"))
    assert plain(house, OTHER) is Reason.RIGHTS
    house.run("sun", "request", "approve", number)
    assert plain(house, OTHER, "13812345679") is Reason.OK
    assert told(house)[1:] == [(OWNERS, "phone-release", "139****9999")]


def test_after_a_day_without_an_objection_the_phone_orders(house: House) -> None:
    house.run("wu", "outlet", "phone", "A1", OTHER, "--rights", "recharge")
    Clock.ms += DAY - MINUTE
    assert plain(house, OTHER) is Reason.RIGHTS
    Clock.ms += MINUTE
    assert plain(house, OTHER, "13812345679") is Reason.OK


def test_more_rights_take_two_people_fewer_take_one(house: House) -> None:
    house.run("wu", "outlet", "phone", "A1", OTHER, "--rights", "query")
    Clock.ms += DAY
    house.log_in("wu")
    asked = house.run("wu", "outlet", "phone", "A1", OTHER, "--rights", "recharge+query")
    assert plain(house, OTHER) is Reason.RIGHTS
    house.log_in("sun")
    house.run("sun", "request", "approve", _number(asked))
    assert plain(house, OTHER, "13812345679") is Reason.OK
    house.run("wu", "outlet", "phone", "A1", OTHER, "--rights", "query")
    assert plain(house, OTHER, "13812345670") is Reason.RIGHTS


def test_a_new_outlet_wants_its_pin_and_a_clerk_alone_does_not_change_that(house: House) -> None:
    house.run("wu", "outlet", "step", "A1", "active", code=1)
    tree = ["UPDATE outlet SET level = 3 WHERE code = 'A1'"]
    [path] = house.folder.rglob("*.db")
    with sqlite3.connect(path) as db:
        db.execute(tree[0])
    house.run("wu", "outlet", "add", "S1", "--phone", OTHER, "--parent", "A1")
    assert plain(house, OTHER) is Reason.PIN_CHANGE  # not even asked for: first it is to be changed
    assert rows(house, "SELECT pin_policy FROM outlet WHERE code = 'S1'") == [(2,)]
    asked = house.run("wu", "outlet", "profile", "S1", "pin_policy=never", "address=West Lake")
    assert "address" in asked
    assert rows(house, "SELECT pin_policy FROM outlet WHERE code = 'S1'") == [(2,)]
    assert "may not confirm" in house.run("zhou", "request", "approve", _number(asked), code=1)
    house.run("sun", "request", "approve", _number(asked))
    assert rows(house, "SELECT pin_policy FROM outlet WHERE code = 'S1'") == [(0,)]
    house.run("wu", "outlet", "profile", "S1", "pin_policy=always")  # stricter: one person
    assert rows(house, "SELECT pin_policy FROM outlet WHERE code = 'S1'") == [(2,)]
    asked = house.run(
        "wu", "outlet", "add", "S2", "--phone", "13900009998", "--parent", "A1", "--pin-policy", "never"
    )
    assert rows(house, "SELECT pin_policy FROM outlet WHERE code = 'S2'") == [(2,)]
    assert "profile.guard" in house.run("sun", "request", "list")


def test_prices_bank_accounts_and_whom_the_desk_calls_take_two_people_by_every_way(house: House) -> None:
    before = rows(
        house,
        "SELECT group_code, bank_account, contact_phone FROM outlet JOIN outlet_profile ON id = outlet_id",
    )
    fields = ["group=vip", "bank_account=6222020012345678903", "contact_phone=13700000000"]
    said = house.run("wu", "outlet", "profile", "A1", *fields)
    assert "changed" not in said
    assert said.count("waits for another person") == 2
    file = house.folder / "a.csv"
    file.write_text("code,group,bank_account\nA1,gold,6222020012345670000\n")
    said = house.run("wu", "outlet", "import", str(file), "--pins-file", str(house.folder / "pins"))
    assert "waits for another person" in said
    question = (
        "SELECT group_code, bank_account, contact_phone FROM outlet JOIN outlet_profile ON id = outlet_id"
    )
    assert rows(house, question) == before
    assert "6222020012345678903" not in house.run("zhou", "request", "list")
    assert "8903" in house.run("zhou", "request", "list")
    file.write_text("code,parent\nA1,B1\n")
    said = house.run("wu", "outlet", "import", str(file), "--pins-file", str(house.folder / "pins2"), code=1)
    assert "you may not move outlets" in said


def test_a_freeze_does_not_end_by_another_name(house: House) -> None:
    house.run("wu", "outlet", "freeze", "A1")
    assert "takes two people" in house.run("wu", "outlet", "step", "A1", "active", code=1)
    assert "suspended" in house.run("wu", "outlet", "show", "A1")


def test_another_card_in_a_number_waits_and_the_owner_hears(house: House) -> None:
    house.run("wu", "outlet", "block-card", "89860000000000000001")
    house.run("wu", "outlet", "card", "A1", "--iccid", "89860000000000000009", "--phone", OWNERS)
    assert plain(house, OWNERS) is Reason.RIGHTS
    assert told(house) == [(OWNERS, "card-new", "139****0001")]


def test_the_duress_pin_is_no_oracle(house: House) -> None:
    """The instance's PIN is 736194: a guess beside it, one on it and one far away are answered alike."""
    said = {
        house.run("wu", "outlet", "duress", "A1", typed=f"{pin}\n{pin}\n")
        for pin in ("736194", "736195", "630284", "736294")
    }
    assert len(said) == 1
    assert [act for _, act, _ in told(house)] == ["duress-near", "duress-near", "duress", "duress-near"]


def test_nothing_a_command_writes_takes_the_place_of_a_file(house: House) -> None:
    held = house.folder / "checkcode-like.key"
    held.write_text("a key")
    commands = [
        ("qian", ["outlet", "export", str(held)]),
        ("qian", ["statement", "A1", "20261123", "--file", str(held)]),
        ("qian", ["seal", "head", "--file", str(held)]),
    ]
    for who, words in commands:
        house.run(who, *words, code=2 if "seal" in words else 1)
    assert "exists" in house.run("wang", "personalise", str(held), code=1)
    made: Path = house.folder / "cards-later"
    number = _number(house.run("wang", "personalise", str(made)))
    made.write_text("somebody was quicker")
    assert "exists" in house.run("qian", "request", "approve", number, code=1)
    assert made.read_text() == "somebody was quicker"
    assert held.read_text() == "a key"


@pytest.mark.parametrize("text", ["[/x]", "[red]all[/red]", "a\x1b[2Jb"])
def test_what_users_write_is_text(house: House, text: str) -> None:
    house.run("wu", "money", "transfer", "A1", "B1", "5", "--reference", "r-1")
    house.run(
        "sun", "money", "ask", "adjust-down", "5", "--reference", "r-2", "--outlet", "A1", "--reason", text
    )
    shown = text.replace("\x1b", "\\x1b")
    for who, words in (("zhou", ["money", "list"]), ("zhou", ["request", "list"])):
        said = house.run(who, *words)
        assert shown in "".join(said.split("\n")) or shown.split("[")[0] in said
        assert "\x1b[2J" not in said


def test_master_data_is_shown_in_words_and_to_whoever_may_look(house: House) -> None:
    house.run("wu", "outlet", "profile", "A1", "address=West Lake")
    said = house.run("wu", "outlet", "profile", "A1")
    for word in ("West Lake", "active", "never", "standard", "0.00"):
        assert word in said
    assert "'A1'" not in said


def test_a_handset_asks_the_query_number_what_is_a_question() -> None:
    shop = Shop("A1", OWNERS, "89860000000000000001")
    for words, number in (
        (["12", "13812345678"], "0353910"),
        (["13", "1122"], "0353910"),
        (["00"], "0353910"),
        (["00", "736194"], "0353910"),
        (["13812345678", "50"], "0353911"),
        (["14", "13812345678", "50", "736194"], "0353911"),
    ):
        assert _handset("sms", words, shop)[1]["to"] == number


def test_a_statement_in_chinese_says_in_chinese_what_moved() -> None:
    """Every operation that can stand on a statement has its word."""
    moves = {
        "FUNDING",
        "RECHARGE",
        "REVERSAL",
        "TRANSFER",
        "ADJUSTMENT",
        "WITHDRAWAL",
        "COMMISSION",
        "DEPOSIT",
    }
    for kind in sorted(moves | {"PAYOUT", "BATCH"}):
        row = Movement(1, 0, 7, 1, Operation[kind].name.lower(), "", 100, 100)
        shown = Statement("A1", "float", 20261123, 0, 100, (row,), Recap())
        assert kind.lower() not in csv_text(shown, "zh")
        assert kind.lower() in csv_text(shown, "en")
