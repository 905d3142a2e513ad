"""Tariff, limits, lists, rules and parked orders on the command line: every command, and its own error."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aircharge.cli import main
from aircharge.config import load
from aircharge.instance import Instance, Ports, Shop
from aircharge.ledger.commands import OpenRecharge
from aircharge.office import Office
from aircharge.outlets.requests import propose_txn
from aircharge.staffroom import Staffroom
from aircharge.values import Asker, Channel, Key, Msisdn, Order, Receipt, State

Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Instance(tmp_path, Ports()).create([Shop("A1", "13900000001", "89860000000000000001", float_fen=100_000)])
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    def command(*words: str, code: int = 0, actor: str = "li") -> Result:
        named = (*words, "--actor", actor) if actor else words
        result = CliRunner().invoke(main, ["-c", str(folder / "aircharge.toml"), *named])
        assert result.exit_code == code, result.output
        return result

    return command


def order(folder: Path, target: str = "13812345678", amount_fen: int = 5000) -> Receipt:
    """A recharge by SMS, as the daemon would open it."""
    office = Office(load(folder / "aircharge.toml"))
    now_ms = time.time_ns() // 1_000_000
    asker = Asker("13900000001", "0353911")
    asked = Order(
        Channel.SMS, Key("sms:13900000001", f"{now_ms}{target}"), asker, Msisdn(target), amount_fen, now_ms
    )
    [receipt] = office.store.run([OpenRecharge(asked, 1)])
    office.close()
    assert isinstance(receipt, Receipt)
    return receipt


def state(folder: Path) -> list[list[object]]:
    """All that a refused command must leave as it was."""
    office = Office(load(folder / "aircharge.toml"))
    tables = (
        "product",
        "price",
        "limit_rule",
        "list_entry",
        "rule_set",
        "transfer_rule",
        "txn",
        "balance",
        "audit",
    )
    with office.store.engine.connect() as txn:
        found = [[tuple(row) for row in txn.exec_driver_sql(f"SELECT * FROM {table}")] for table in tables]
    office.close()
    return [list(rows) for rows in found]


def test_products(folder: Path, run: Run) -> None:
    assert "products 1, 2 added" in run("product", "add", "1", "30", "50").output
    run("product", "add", "1", "--from", "100", "--to", "500", "--step", "100")
    assert order(folder, amount_fen=4000).reason.name == "AMOUNT"
    assert order(folder, amount_fen=5000).reason.name == "OK"
    run("product", "off", "2")
    assert order(folder, "13800000001").reason.name == "AMOUNT"
    run("product", "on", "2")
    run("product", "end", "3", "2099-12-31")
    shown = run("product", "list", actor="").output
    for expected in ("30.00", "100.00–500.00", "20991231"):
        assert expected in shown


def test_prices(folder: Path, run: Run) -> None:
    run("price", "add", "discount", "--rate", "1.5")
    assert order(folder).cost_fen == 4925
    run(
        "price",
        "add",
        "instant",
        "--fixed",
        "0.20",
        "--group",
        "gold",
        "--to",
        "100",
        "--since",
        "2099-01-01",
    )
    run("price", "end", "2", "2099-12-31")
    shown = run("price", "list", actor="").output
    for expected in ("discount", "1.5 %", "instant", "0.20", "gold", "20990101"):
        assert expected in shown


def test_limits(folder: Path, run: Run) -> None:
    run("limit", "add", "outlet", "recharge", "day", "--count", "1", "--only", "A1")
    assert [order(folder, number).reason.name for number in ("13800000001", "13800000002")] == [
        "OK",
        "LIMIT_COUNT",
    ]
    run("limit", "off", "1")
    assert order(folder, "13800000003").reason.name == "OK"
    run("limit", "on", "1")
    assert "limits 2, 3, 4 are in force" in run("limit", "profile", "target-velocity").output
    shown = run("limit", "list", actor="").output
    assert re.search(r"outlet A1\b.*recharge", shown)
    assert "month" in shown


def test_lists(folder: Path, run: Run) -> None:
    run("list", "add", "black", "target", "+86 13812345678", "--reason", "stolen", "--until", "2099-12-31")
    assert order(folder).reason.name == "LISTED"
    shown = run("list", "show", actor="").output
    assert "138****5678" in shown
    assert "2100-01-01 00:00" in shown
    assert "13812345678" not in shown
    run("list", "remove", "target", "13812345678")
    run("list", "add", "white", "outlet", "A1", "--reason", "our own")
    assert order(folder).reason.name == "OK"
    assert "white" in run("list", "show", actor="").output


def test_transfer_rules(run: Run) -> None:
    run("transfer-rule", "add", "--from", "A1", "--to-group", "gold", "--most", "500")
    run("transfer-rule", "off", "1")
    run("transfer-rule", "on", "1")
    shown = run("transfer-rule", "list", actor="").output
    for expected in ("A1", "group gold", "0.01", "500.00", "yes"):
        assert expected in shown


def test_rules_from_draft_to_a_parked_order(folder: Path, run: Run) -> None:
    body = {"rules": [{"name": "look", "then": "hold", "when": {"amount_from_fen": 5000}}]}
    (folder / "rules.json").write_text(json.dumps(body), encoding="utf-8")
    order(folder, "13800000001")
    assert "rules 1 drafted" in run("rules", "draft", str(folder / "rules.json")).output
    today = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 8 * 3600))
    tried = run("rules", "dry-run", "1", "--day", today, actor="").output
    assert "1 recharges, 0 would have gone on" in tried
    assert "138****0001" in tried
    assert "0 recharges" in run("rules", "dry-run", "1", actor="").output
    assert json.loads(run("rules", "show", "1", actor="").output) == body
    assert "another person" in run("rules", "activate", "1", code=1).output
    run("rules", "activate", "1", actor="wang")
    assert "active" in run("rules", "list", actor="").output
    receipt = order(folder)
    assert receipt.state is State.PARKED
    shown = run("parked", "list", actor="").output
    assert str(receipt.order_id) in shown
    assert "138****5678" in shown
    run("rules", "retire")
    assert order(folder, "13800000002").state is State.HELD


BAD = [
    ("no operator 9", "product", "add", "9", "30"),
    ("no amount in yuan", "product", "add", "1", "50.505"),
    ("more than nothing", "product", "add", "1", "0"),
    ("more than moves in one step", "product", "add", "1", "999999999"),
    ("no amount in yuan", "product", "add", "1", "10000000000000000000"),
    ("one of them", "product", "add", "1"),
    ("no product 7", "product", "off", "7"),
    ("no product", "product", "on", str(10**19)),
    ("no product 7", "product", "end", "7", "2099-01-01"),
    ("no rate in per cent", "price", "add", "discount", "--rate", "-1"),
    ("no rate in per cent", "price", "add", "discount", "--rate", "1.23456"),
    ("0 to 50 %", "price", "add", "discount", "--rate", "51"),
    ("gives something", "price", "add", "discount"),
    ("begin today or later", "price", "add", "discount", "--rate", "1", "--since", "2020-01-01"),
    ("no price 7", "price", "end", "7", "2099-01-01"),
    ("limits something", "limit", "add", "outlet", "recharge", "day"),
    ("0 to", "limit", "add", "outlet", "recharge", "day", "--count", "-1"),
    ("0 to", "limit", "add", "outlet", "recharge", "day", "--count", str(10**19)),
    ("no outlet Z9", "limit", "add", "outlet", "recharge", "day", "--count", "1", "--only", "Z9"),
    ("no limit 7", "limit", "off", "7"),
    ("no limit", "limit", "on", str(10**19)),
    ("no phone number", "list", "add", "black", "target", "12", "--reason", "x"),
    ("no outlet Z9", "list", "add", "white", "outlet", "Z9", "--reason", "x"),
    ("past already", "list", "add", "black", "outlet", "A1", "--reason", "x", "--until", "2020-01-01"),
    ("is on no list", "list", "remove", "outlet", "A1"),
    ("from: ", "transfer-rule", "add", "--to", "A1", "--most", "5"),
    ("same outlet", "transfer-rule", "add", "--from", "A1", "--to", "A1", "--most", "5"),
    ("no transfer rule 7", "transfer-rule", "on", "7"),
    ("no rules 7", "rules", "activate", "7"),
    ("no rules", "rules", "activate", str(10**19)),
    ("no rules are in force", "rules", "retire"),
]


@pytest.mark.parametrize("words", BAD, ids=lambda words: " ".join(words[1:])[:40])
def test_bad_input_has_its_own_error_and_changes_nothing(
    folder: Path, run: Run, words: tuple[str, ...]
) -> None:
    before = state(folder)
    says, *command = words
    assert says in run(*command, code=1).output
    assert state(folder) == before


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "line 1, column 2"),
        (b"\xff\xfe", "is not UTF-8"),
        (b'{"rules": [{"name": "r", "then": "deny", "when": {"hour": 3}}]}', "rule r: unknown field 'hour'"),
    ],
)
def test_a_rule_file_that_cannot_be(folder: Path, run: Run, body: bytes, says: str) -> None:
    (folder / "rules.json").write_bytes(body)
    before = state(folder)
    assert says in run("rules", "draft", str(folder / "rules.json"), code=1).output
    assert state(folder) == before


def test_a_dry_run_of_what_is_not_there(run: Run) -> None:
    assert "no rules 7" in run("rules", "dry-run", "7", actor="", code=1).output
    assert "no rules 7" in run("rules", "show", "7", actor="", code=1).output


def test_no_list_of_requests_shows_a_whole_number(run: Run, folder: Path) -> None:
    number = "13812345678"
    run("list", "add", "black", "target", number, "--reason", "r")
    office = Office(load(folder / "aircharge.toml"))
    wish = {"subject": "target", "value": number, "colour": "white", "reason": f"asked by {number}"}
    with office.desk("wang") as desk:
        propose_txn(desk, "list.white", {**wish, "until_ms": None}, Staffroom(office).tools())
    office.close()
    said = run("request", "list", actor="").output
    assert "138****5678" in said
    assert number not in said + run("list", "show", actor="").output
