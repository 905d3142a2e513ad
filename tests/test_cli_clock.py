"""A house whose clock has leapt stays shut until two people have said that the clock is right."""

from __future__ import annotations

import re

import pytest

from tests.test_cli_people import MINUTE, Clock, House
from tests.test_cli_people import house as house  # noqa: PLC0414  (a fixture)

DAY = 1440 * MINUTE


def asked(house: House) -> str:
    output = house.run("zhou", "clock", "accept", "--why", "closed over New Year", "--maker", "zhou")
    found = re.search(r"request ([0-9]+)", output)
    assert found, output
    return found[1]


@pytest.fixture
def leapt(house: House) -> House:
    """The house minds leaps again; its last order is of another month than its clock."""
    file = house.folder / "aircharge.toml"
    words = file.read_text(encoding="utf-8")
    file.write_text(words.replace("leap_max_h = 0", "leap_max_h = 24"), encoding="utf-8")
    assert "aircharge clock accept" in house.run("zhou", "check-config", code=1)
    return house


def test_two_people_say_that_the_clock_is_right(leapt: House) -> None:
    number = asked(leapt)
    assert "the clock says" in leapt.run("zhou", "check-config", code=1)
    leapt.run("zhou", "request", "approve", number, code=1)  # not by one person
    assert "the doors may open" in leapt.run("qian", "request", "approve", number)
    assert "in order" in leapt.run("zhou", "check-config")


def test_what_was_asked_on_another_day_is_not_confirmed(leapt: House) -> None:
    number = asked(leapt)
    Clock.ms += 2 * DAY
    leapt.log_in("qian")
    assert "another day" in leapt.run("qian", "request", "approve", number, code=1)


def test_a_clerk_does_not_say_what_time_it_is(leapt: House) -> None:
    leapt.run("wu", "clock", "accept", "--why", "x", "--maker", "wu", code=1)
