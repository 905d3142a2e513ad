"""The first day, as docs/people.md tells it, and what nobody does alone after it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from sqlalchemy import text

from aircharge import office, staffroom
from aircharge.config import load
from aircharge.instance import Instance, Ports
from aircharge.ledger.funding import _write
from tests.outlets.staff_desk import OWN, PASSWORDS
from tests.test_cli_people import MINUTE, Clock, House, _number, let_time_leap
from tests.test_cli_people import house as house  # noqa: PLC0414  (a fixture)

DOCS = Path(__file__).parents[1] / "docs" / "people.md"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A house without outlets and without staff."""
    Instance(tmp_path, Ports()).create([])
    let_time_leap(tmp_path)
    monkeypatch.setattr(office, "SystemClock", Clock)
    monkeypatch.setattr(staffroom, "Passwords", lambda: PASSWORDS)
    Clock.ms += 1000 * MINUTE
    return House(tmp_path)


def first_day() -> list[list[str]]:
    """The commands of the first fenced block, word for word; "#" begins what the docs say of it."""
    block = DOCS.read_text(encoding="utf-8").split("```")[1]
    lines = [line.split("#")[0] for line in block.strip().splitlines() if line.strip()]
    return [shlex.split(line) for line in lines]


def halves(said: str) -> list[str]:
    return re.findall(r"initial password ([a-z0-9]+)", said)


def test_the_first_day_goes_as_the_docs_say(empty: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is typed by who stands before it: ``wang: aircharge …``."""
    known: dict[str, list[str]] = {}
    number = ""
    for who, program, *words in first_day():
        assert program == "aircharge"
        login = who.rstrip(":")
        if words[:2] == ["staff", "init"]:
            empty.run(login, *words, typed=f"{OWN}-1\n{OWN}-1\n")
            known[login] = [f"{OWN}-1"]
        elif words[0] == "login":
            empty.first_login(login, "-".join(known[login]), monkeypatch)
        else:
            said = empty.run(login, *[number if word == "N" else word for word in words])
            if words[:2] == ["staff", "add"]:
                known[words[2]] = halves(said)
                asked = words[2]
            elif words[:2] == ["request", "approve"] and halves(said):
                known[asked] += halves(said)
            number = _number(said) if "waits for another person" in said else number
    tree = empty.run("wang", "outlet", "list")
    assert all(code in tree for code in ("P1", "P2", "D-17", "S-1"))


def test_with_a_second_admin_blocked_the_first_adds_nobody_alone(house: House) -> None:
    """One risk person and one admin are not enough to bring in finance people of their own."""
    house.run("qian", "staff", "block", "li")
    for role in ("finance", "admin"):
        said = house.run("wang", "staff", "add", f"new-{role}", "--name", "x", "--role", role)
        assert "waits for another person" in said
    assert "new-" not in house.run("wang", "staff", "list")


def test_before_a_second_admin_is_enrolled_nobody_but_admins_come_alone(
    empty: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty.run("wang", "staff", "init", "wang", "--name", "Wang", typed=f"{OWN}-1\n{OWN}-1\n")
    empty.first_login("wang", f"{OWN}-1", monkeypatch)
    said = empty.run("wang", "staff", "add", "zhou", "--name", "Zhou", "--role", "finance")
    assert "waits for another person" in said


def test_no_one_person_learns_an_initial_password(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = house.run("wang", "staff", "reset", "zhou")
    [first] = halves(asked)
    [second] = halves(house.run("qian", "request", "approve", _number(asked)))
    for alone in (first, second, f"{first}-{first}", f"{second}-{second}"):
        assert "wrong" in house.run("zhou", "login", "zhou", typed=f"{alone}\n\n", code=1)
    house.first_login("zhou", f"{first}-{second}", monkeypatch)


def test_who_is_new_or_was_reset_confirms_nothing_for_a_day(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = house.run("wang", "staff", "reset", "zhou")
    known = halves(asked) + halves(house.run("qian", "request", "approve", _number(asked)))
    house.first_login("zhou", "-".join(known), monkeypatch)
    assert "zhou confirms nothing before" in house.log_in("zhou")
    house.log_in("wu")
    number = _number(house.run("wu", "fund", "ask", "A1", "50", "--slip", "s1"))
    for words in (["fund", "confirm"], ["money", "confirm"], ["request", "approve"]):
        said = house.run("zhou", *words, number, code=1)
        assert "less than a day" in said, words
    Clock.ms += 1440 * MINUTE
    assert "confirms nothing" not in house.log_in("zhou")
    assert "SETTLED" in house.run("zhou", "request", "approve", number)


def test_a_months_commission_is_what_was_asked_for_as_such_and_was_shown(house: House) -> None:
    """A payout by hand whose reference ends like the month is none of it; nothing is confirmed unseen."""
    by_hand = _number(
        house.run("sun", "money", "ask", "payout", "50", "--reference", "x:202610", "--outlet", "A1")
    )
    said = house.run("zhou", "money", "confirm", "--all-of", "202610", code=1)
    assert "no commission of 202610 waits" in said
    desk = office.Office(load(house.folder / "aircharge.toml"))
    with desk.desk("somebody") as one:
        for code in ("A1", "B1"):  # as ``money commission`` writes them
            row = one.txn.execute(text("SELECT float_id FROM outlet WHERE code = :code"), {"code": code})
            account = row.scalar_one()
            payload = {"account": account, "outlet": code, "amount_fen": 700, "slip": f"{code}:202610"}
            _write(one.txn, "payout", payload | {"month": 202610}, maker="li", now_ms=Clock.ms)
    desk.close()
    said = house.run("zhou", "money", "confirm", "--all-of", "202610", typed="n\n", code=1)
    assert "2 requests, 14.00 yuan in all" in said
    assert "nothing is confirmed" in said
    said = house.run("zhou", "money", "confirm", "--all-of", "202610", typed="y\n")
    assert said.count("7.00 yuan booked") == 2
    assert by_hand in house.run("zhou", "money", "list")


def test_of_each_request_it_is_said_what_became_of_it(house: House) -> None:
    good = [_number(house.run("wu", "fund", "ask", "A1", "50", "--slip", f"s{n}")) for n in (1, 2)]
    said = house.run("zhou", "money", "confirm", good[0], "999", good[1], code=1)
    assert said.count("50.00 yuan booked") == 2
    assert "request 999: not done" in said
    assert "1 of 3 could not be done" in said
