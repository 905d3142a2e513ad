"""Money by hand from the command line: two people, references that count once, clear errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from aircharge.cli import main
from aircharge.config import load
from aircharge.instance import DEMO_PIN, Instance, Ports, Shop
from aircharge.ledger.tickets import AskTicket
from aircharge.ledger.transferring import Transfer
from aircharge.office import Office
from aircharge.values import Asker, Channel, Key, Pin, State

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    Instance(tmp_path, Ports()).create([Shop("A1", "13900000001", "89860000000000000001", float_fen=100_000)])

    def command(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["-c", str(tmp_path / "aircharge.toml"), *words])
        assert result.exit_code == code, result.output
        return result

    return command


def ask(run: Run, *words: str) -> str:
    found = re.search(r"request ([0-9]+) waits", run("money", *words, "--maker", "wang").output)
    assert found
    return found[1]


def test_an_adjustment_takes_two_people(run: Run) -> None:
    up = ("ask", "adjust-up", "12.50", "--reference", "L-1", "--outlet", "A1", "--reason", "a letter")
    request = ask(run, *up)
    assert "a letter" in run("money", "list").output
    assert "two people" in run("money", "confirm", request, "--checker", "wang", code=1).output
    assert "12.50 yuan booked" in run("money", "confirm", request, "--checker", "li").output
    assert "1012.50" in run("outlet", "list").output
    assert "entered already" in run("money", *up, "--maker", "wang", code=1).output
    assert "every balance" in run("verify").output


def test_a_request_is_declined(run: Run) -> None:
    request = ask(run, "ask", "stock", "5000", "--reference", "B-1", "--operator", "1")
    assert "declined" in run("money", "decline", request, "--reason", "wrong slip", "--checker", "li").output
    assert "none" in run("money", "list").output
    assert "no request" in run("money", "confirm", request, "--checker", "li", code=1).output


def test_a_credit_line(run: Run) -> None:
    request = ask(run, "credit", "A1", "500", "--until", "2027-06-30")
    assert "500.00 yuan, 0.00 owed" in run("money", "confirm", request, "--checker", "li").output
    assert "1500.00" in run("outlet", "list").output  # available


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ask", "adjust-up", "0", "--reference", "r", "--outlet", "A1"), "more than nothing"),
        (("ask", "adjust-up", "-1", "--reference", "r", "--outlet", "A1"), "No such option"),
        (("ask", "adjust-up", "1", "--reference", "r", "--outlet", "Z"), "no outlet Z"),
        (("ask", "stock", "1", "--reference", "r", "--operator", "7"), "no operator 7"),
        (("credit", "A1", "500"), "within a year"),
        (("commission", "202613"), "is no month"),
    ],
)
def test_what_cannot_be_asked(run: Run, words: tuple[str, ...], said: str) -> None:
    code = 2 if "-1" in words else 1
    assert said in run("money", *words, "--maker", "wang", code=code).output
    assert "none" in run("money", "list").output


def test_confirming_nothing(run: Run) -> None:
    assert "no request is named" in run("money", "confirm", "--checker", "li", code=1).output
    assert "0 requests" in run("money", "commission", "202601", "--maker", "wang").output


# -- a transfer taken back by two people ------------------------------------------------------------------


def put_b2_below_a1(run: Run, folder: Path) -> None:
    run("outlet", "add", "B2", "--phone", "13900000002", "--actor", "wang")
    office = Office(load(folder / "aircharge.toml"))
    with office.store.writing() as txn:
        txn.execute(
            text(
                "UPDATE outlet SET parent_id = (SELECT id FROM outlet o WHERE o.code = 'A1') WHERE code = 'B2'"
            )
        )
    office.close()


def test_two_people_take_a_transfer_back(run: Run, tmp_path: Path) -> None:
    put_b2_below_a1(run, tmp_path)
    office = Office(load(tmp_path / "aircharge.toml"))
    asker = Asker("13900000001", "0353911", None, Pin(DEMO_PIN))
    command = Transfer(Channel.SMS, Key("test", "1"), asker, "B2", 5_000, office.clock.now_ms())
    [sent] = office.store.run([command])
    office.close()
    assert sent.state is State.SETTLED, sent
    number = str(sent.order_id)
    said = run("money", "undo-transfer", number, "--maker", "wang").output
    request = re.search(r"request ([0-9]+) waits", said)
    assert request
    assert "asks for the same" in run("money", "undo-transfer", number, "--maker", "wang", code=1).output
    assert "two people" in run("request", "approve", request[1], "--checker", "wang", code=1).output
    assert "950.00" in run("outlet", "list").output
    run("request", "approve", request[1], "--checker", "li")
    assert "950.00" not in run("outlet", "list").output
    assert "REVERSED already" in run("money", "undo-transfer", number, "--maker", "wang", code=1).output
    assert "no order 7" in run("money", "undo-transfer", "7", "--maker", "wang", code=1).output
    assert "every balance" in run("verify").output


# -- what an outlet could ask for itself ------------------------------------------------------------------


def test_two_people_transfer_on_an_outlets_behalf(run: Run, tmp_path: Path) -> None:
    put_b2_below_a1(run, tmp_path)
    wish = ("transfer", "A1", "B2", "50", "--reference", "L-7")
    request = ask(run, *wish)
    assert "asks for the same" in run("money", *wish, "--maker", "wang", code=1).output
    unseen = (*wish[:-1], "L\u200b-7", "--maker", "wang")
    assert "nobody can see" in run("money", *unseen, code=1).output
    assert "two people" in run("request", "approve", request, "--checker", "wang", code=1).output
    assert "950.00" not in run("outlet", "list").output
    assert "SETTLED" in run("request", "approve", request, "--checker", "li").output
    assert "950.00" in run("outlet", "show", "A1").output
    assert "50.00" in run("outlet", "show", "B2").output
    assert "does not wait" in run("request", "approve", request, "--checker", "li", code=1).output
    assert "used already" in run("money", *wish, "--maker", "wang", code=1).output
    assert "every balance" in run("verify").output


def test_a_transfer_the_book_refuses_changes_nothing_and_still_waits(run: Run, tmp_path: Path) -> None:
    put_b2_below_a1(run, tmp_path)
    request = ask(run, "transfer", "A1", "B2", "1000.01", "--reference", "L-8")
    assert "FLOAT" in run("request", "approve", request, "--checker", "li", code=1).output
    assert "1000.00" in run("outlet", "show", "A1").output
    assert "L-8" in run("request", "list").output
    run("outlet", "freeze", "A1", "--actor", "wang")
    assert "not active" in run("request", "approve", request, "--checker", "li", code=1).output
    assert "declined" in run("request", "decline", request, "--note", "no", "--checker", "li").output


def test_two_people_open_a_ticket_for_an_outlet(run: Run) -> None:
    wish = ("ticket", "A1", "500", "--reference", "T-1")
    request = ask(run, *wish)
    assert "two people" in run("request", "approve", request, "--checker", "wang", code=1).output
    said = run("request", "approve", request, "--checker", "li").output
    assert re.search(r"SETTLED; to be paid: 500\.[0-9]{2} yuan exactly", said), said
    assert "used already" in run("money", *wish, "--maker", "wang", code=1).output
    assert "1000.00" in run("outlet", "show", "A1").output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("transfer", "Z", "A1", "1", "--reference", "r"), "no outlet Z"),
        (("transfer", "A1", "Z", "1", "--reference", "r"), "no outlet Z"),
        (("transfer", "A1", "A1", "1", "--reference", "r"), "two sides"),
        (("transfer", "A1", "Z", "1", "--reference", " "), "1 to 64"),
        (("ticket", "A1", "0", "--reference", "r"), "more than nothing"),
        (("ticket", "A1", "10000000000000000000", "--reference", "r"), "no amount"),
        (("ticket", "Z", "1", "--reference", "r"), "no outlet Z"),
    ],
)
def test_what_cannot_be_asked_on_behalf(run: Run, words: tuple[str, ...], said: str) -> None:
    assert said in run("money", *words, "--maker", "wang", code=1).output
    assert "none" in run("request", "list").output


# -- a bank's file ----------------------------------------------------------------------------------------


def bank_file(folder: Path, *lines: str, name: str = "bank.csv") -> str:
    path = folder / name
    path.write_text("\n".join(["reference,amount,paid", *lines]), encoding="utf-8")
    return str(path)


def test_a_banks_file_pays_the_ticket_that_waits(run: Run, tmp_path: Path) -> None:
    office = Office(load(tmp_path / "aircharge.toml"))
    asker = Asker("13900000001", "0353911", None, Pin(DEMO_PIN))
    now_ms = office.clock.now_ms()
    [ticket] = office.store.run([AskTicket(Channel.SMS, Key("t", "1"), asker, 50_000, (50_007,), now_ms)])
    office.close()
    assert ticket.cost_fen == 50_007, ticket
    paid = f"{datetime.now(UTC) + timedelta(hours=8):%Y-%m-%d %H:%M}"
    file = bank_file(tmp_path, f"R1,500.07,{paid}", "R2,3.21,2026-01-01 10:00:30")
    said = run("money", "bank-ask", file, "--maker", "wang").output
    assert "2 lines, 503.28 yuan; 1 have a ticket" in said
    request = re.search(r"request ([0-9]+) waits", said)
    assert request
    assert "entered already" in run("money", "bank-ask", file, "--maker", "wang", code=1).output
    assert "two people" in run("money", "bank-book", request[1], file, "--checker", "wang", code=1).output
    other = bank_file(tmp_path, f"R3,500.07,{paid}", name="other.csv")
    assert "not the file" in run("money", "bank-book", request[1], other, "--checker", "li", code=1).output
    assert "must bring it" in run("money", "confirm", request[1], "--checker", "li", code=1).output
    said = run("money", "bank-book", request[1], file, "--checker", "li").output
    assert "1 to a float, 1 to suspense, 0 booked before" in said
    assert "1500.07" in run("outlet", "list").output
    again = re.search(r"request ([0-9]+) waits", run("money", "bank-ask", file, "--maker", "wang").output)
    assert again
    said = run("money", "bank-book", again[1], file, "--checker", "li").output
    assert "2 booked before" in said
    assert "1500.07" in run("outlet", "list").output
    assert "every balance" in run("verify").output


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("R1,500", "line 2: reference, amount and time"),
        (",500,2026-01-01 10:00", "line 2: the reference is missing"),
        ("R1,0,2026-01-01 10:00", "line 2: '0' is no amount"),
        ("R1,-1,2026-01-01 10:00", "line 2: '-1' is no amount"),
        ("R1,10000000000000000000,2026-01-01 10:00", "is no amount"),
        ("R1,1,yesterday", "line 2: 'yesterday' is no time"),
        ("R1,1,2026-01-01 10:00\nR1,1,2026-01-01 10:00", "line 3: reference R1 is there twice"),
    ],
)
def test_a_banks_file_is_sound_or_none(run: Run, tmp_path: Path, line: str, said: str) -> None:
    file = bank_file(tmp_path, line)
    assert said in run("money", "bank-ask", file, "--maker", "wang", code=1).output
    assert "none" in run("money", "list").output
