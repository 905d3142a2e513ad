"""The command line as a clerk uses it: every command, and its own clear error for bad input."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aircharge.cli import main
from aircharge.instance import Instance, Ports, Shop

Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Instance(tmp_path, Ports()).create([Shop("A1", "13900000001", "89860000000000000001", float_fen=100_000)])
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    def command(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["-c", str(folder / "aircharge.toml"), *words])
        assert result.exit_code == code, result.output
        return result

    return command


def test_check_config_says_that_all_is_in_order(run: Run) -> None:
    assert "in order; 1 SMPP peers, 1 operators" in run("check-config").output


def test_check_config_names_file_and_key(folder: Path, run: Run) -> None:
    path = folder / "aircharge.toml"
    path.write_text(path.read_text().replace("[ledger]", "[ledger]\nulr = 1"))
    output = run("check-config", code=1).output
    assert str(path) in output
    assert "ledger.ulr: unknown key" in output


def test_check_config_wants_the_schema(folder: Path, run: Run) -> None:
    (folder / "ledger.db").unlink()
    assert "aircharge db upgrade" in run("check-config", code=1).output
    run("db", "upgrade")
    run("db", "upgrade")
    run("check-config")


def test_an_outlet_from_birth_to_freeze(run: Run) -> None:
    output = run(
        "outlet", "add", "B2", "--phone", "+86 139-0000-0002", "--language", "en", "--actor", "wang"
    ).output
    pin = re.search(r"initial PIN ([0-9]{6})$", output.strip())
    assert pin, output
    run(
        "outlet", "card", "B2", "--iccid", "89860000000000000002", "--phone", "13900000002", "--actor", "wang"
    )
    shown = run("outlet", "show", "B2").output
    for expected in ("B2", "active", "139****0002", "89860000000000000002", "recharge query"):
        assert expected in shown
    assert "13900000002" not in shown
    run("outlet", "freeze", "B2", "--actor", "wang")
    assert "suspended" in run("outlet", "list").output
    run("outlet", "freeze", "B2", "--lift", "--actor", "wang")
    assert "suspended" not in run("outlet", "list").output
    assert re.search(r"new PIN [0-9]{6}", run("outlet", "pin", "B2", "--actor", "wang").output)


def test_a_lost_card_is_blocked_and_a_customers_language_kept(run: Run) -> None:
    run("outlet", "block-card", "89860000000000000001", "--actor", "wang")
    assert "blocked" in run("outlet", "show", "A1").output
    run("outlet", "block-card", "89860000000000000001", "--lift", "--actor", "wang")
    assert "blocked" not in run("outlet", "show", "A1").output
    assert "no such card" in run("outlet", "block-card", "8986", "--actor", "wang", code=1).output
    run("language", "13812345678", "en", "--actor", "wang")
    output = run("language", "13812345678", "zh", "--actor", "wang").output
    assert "138****5678" in output
    assert "13812345678" not in output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["outlet", "add", "A1", "--phone", "13900000009", "--actor", "w"], "exists already"),
        (["outlet", "add", "B3", "--phone", "13900000001", "--actor", "w"], "bound to an outlet already"),
        (["outlet", "add", "B 3", "--phone", "13900000009", "--actor", "w"], "outlet code"),
        (["outlet", "add", "B3", "--phone", "hello", "--actor", "w"], "no phone number"),
        (["outlet", "add", "B3", "--phone", "13900000009", "--actor", " "], "whose name"),
        (["outlet", "show", "NONE"], "no outlet NONE"),
        (["outlet", "freeze", "NONE", "--actor", "w"], "no outlet NONE"),
        (["outlet", "card", "A1", "--iccid", "123", "--phone", "13900000001", "--actor", "w"], "ICCID"),
        (
            [
                "outlet",
                "card",
                "A1",
                "--iccid",
                "89860000000000000009",
                "--phone",
                "13900000007",
                "--actor",
                "w",
            ],
            "not bound to outlet",
        ),
        (
            [
                "outlet",
                "card",
                "A1",
                "--iccid",
                "89860000000000000001",
                "--phone",
                "13900000001",
                "--actor",
                "w",
            ],
            "in use by a card already",
        ),
        (["fund", "ask", "NONE", "50", "--slip", "s", "--maker", "w"], "no outlet NONE"),
        (["fund", "ask", "A1", "0", "--slip", "s", "--maker", "w"], "more than nothing"),
        (["fund", "ask", "A1", "--slip", "s", "--maker", "w", "--", "-1"], "no amount in yuan"),
        (["fund", "ask", "A1", "1e5", "--slip", "s", "--maker", "w"], "no amount in yuan"),
        (["fund", "ask", "A1", "10000000000000000000", "--slip", "s", "--maker", "w"], "no amount in yuan"),
        (["fund", "ask", "A1", "900000000", "--slip", "s", "--maker", "w"], "more than moves in one step"),
        (["fund", "ask", "A1", "50", "--slip", "", "--maker", "w"], "slip"),
        (["fund", "ask", "A1", "50", "--slip", "slip-A1", "--maker", "w"], "entered already"),
        (["fund", "confirm", "99", "--checker", "w"], "no request 99"),
        (["order", "show", "12345678"], "no order"),
        (
            ["order", "resolve", "5", "executed", "--evidence", "e", "--maker", "w", "--checker", "w"],
            "two people",
        ),
        (
            ["order", "resolve", "5", "executed", "--evidence", "e", "--maker", "w", "--checker", "li"],
            "no order 5",
        ),
    ],
)
def test_bad_input_has_its_own_clear_error_and_changes_nothing(run: Run, words: list[str], why: str) -> None:
    before = run("outlet", "list").output
    output = run(*words, code=1).output
    assert why in output
    assert "Traceback" not in output
    assert run("outlet", "list").output == before
    assert "every balance" in run("verify").output


def test_float_needs_two_people_and_a_slip_counts_once(run: Run) -> None:
    output = run("fund", "ask", "A1", "250.50", "--slip", "B-7", "--maker", "wang").output
    request = re.search(r"request ([0-9]+)", output)
    assert request
    assert "two people" in run("fund", "confirm", request[1], "--checker", "wang", code=1).output
    assert "B-7" in run("fund", "list").output
    assert "250.50" in run("fund", "confirm", request[1], "--checker", "li").output
    assert "no request" in run("fund", "confirm", request[1], "--checker", "li", code=1).output
    assert (
        "entered already" in run("fund", "ask", "A1", "1", "--slip", "B-7", "--maker", "wang", code=1).output
    )
    assert "1250.50" in run("outlet", "list").output


def test_a_funding_file_is_all_or_nothing(folder: Path, run: Run) -> None:
    path = folder / "slips.csv"
    path.write_text("outlet,amount,slip\nA1,10,S1\nA1,x,S2\n", encoding="utf-8")
    assert "line 3" in run("fund", "file", str(path), "--maker", "wang", code=1).output
    assert "none" in run("fund", "list").output
    path.write_text("outlet,sum\nA1,10\n", encoding="utf-8")
    assert "column 'amount' is missing" in run("fund", "file", str(path), "--maker", "wang", code=1).output
    path.write_text("outlet,amount,slip\nA1,10,S1\nA1,20,S1\n", encoding="utf-8")
    assert "entered already" in run("fund", "file", str(path), "--maker", "wang", code=1).output
    path.write_text("\ufeffoutlet,amount,slip\nA1,10,S1\nA1,20.5,S2\n", encoding="utf-8")
    numbers = re.findall(r"[0-9]+", run("fund", "file", str(path), "--maker", "wang").output.split(":")[1])
    run("fund", "confirm", *numbers, "--checker", "li")
    assert "1030.50" in run("outlet", "list").output


def test_an_order_is_shown_by_id_and_by_its_last_digits(run: Run) -> None:
    shown = run("outlet", "show", "A1").output
    order = re.search(r"[0-9]{17,19}", shown.split("orders")[1])
    assert order
    assert run("order", "show", order[0]).output == run("order", "show", order[0][-8:]).output
    assert "funding" in run("order", "show", order[0]).output


def test_verify_names_what_a_superuser_changed(folder: Path, run: Run) -> None:
    assert "every balance is what its rows say" in run("verify").output
    with sqlite3.connect(folder / "ledger.db") as database:
        database.execute("UPDATE balance SET posted = posted + 100")
    assert "balance 100100, journal 100000" in run("verify", code=1).output


def test_personalisation_is_a_secret_file(folder: Path, run: Run) -> None:
    path = folder / "for-the-card-maker.json"
    assert "1 cards written" in run("personalise", str(path)).output
    assert path.stat().st_mode & 0o777 == 0o600


def test_imported_keys_are_wrapped_and_come_back(folder: Path, run: Run) -> None:
    keys = folder / "keys.json"
    kic, kid = "11" * 16, "22" * 16
    keys.write_text(f'{{"kic": "{kic}", "kid": "{kid}"}}')
    run("outlet", "add", "B2", "--phone", "13900000002", "--actor", "wang")
    words = [
        "outlet",
        "card",
        "B2",
        "--iccid",
        "89860000000000000002",
        "--phone",
        "13900000002",
        "--actor",
        "wang",
    ]
    run(*words, "--keys-file", str(keys))
    path = folder / "cards-out.json"
    run("personalise", str(path))
    assert kic in path.read_text()
    assert bytes.fromhex(kic) not in (folder / "ledger.db").read_bytes()
    keys.write_text('{"kic": "11", "kid": "22"}')
    assert "key kic" in run(*words, "--keys-file", str(keys), code=1).output
