"""A clerk's reversal on the command line: opened durably, waiting for the daemon; and each thing that may be wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aircharge.cli import main
from aircharge.config import load
from aircharge.instance import Instance, Ports, Shop
from aircharge.ledger.commands import CloseRecharge, OpenRecharge
from aircharge.office import Office
from aircharge.outlets.consent import ConsentCode
from aircharge.values import Asker, Channel, Key, Msisdn, Order, Receipt, State, Verdict

Run = Callable[..., Result]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    Instance(tmp_path, Ports()).create([Shop("A1", "13900000001", "89860000000000000001", float_fen=100_000)])
    made = Office(load(tmp_path / "aircharge.toml"))
    yield made
    made.close()


@pytest.fixture
def run(tmp_path: Path, office: Office) -> Run:
    def command(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["-c", str(tmp_path / "aircharge.toml"), *words])
        assert result.exit_code == code, result.output
        return result

    return command


def recharge(office: Office, verdict: Verdict | None = Verdict.YES) -> Receipt:
    now_ms = time.time_ns() // 1_000_000
    asker = Asker("13900000001", "0353911")
    order = Order(
        Channel.SMS, Key("sms:13900000001", str(now_ms)), asker, Msisdn("13812345678"), 5000, now_ms
    )
    [receipt] = office.store.run([OpenRecharge(order, 1)])
    if verdict is not None:
        [receipt] = office.store.run([CloseRecharge(receipt.order_id, verdict)])
    assert isinstance(receipt, Receipt)
    return receipt


def reversals(office: Office) -> list[tuple[int, int]]:
    with office.store.engine.connect() as txn:
        found = txn.exec_driver_sql("SELECT orig_txn, state FROM txn WHERE kind = 2 ORDER BY id")
        return [(row[0], row[1]) for row in found]


def test_it_is_opened_and_waits_for_a_daemon(office: Office, run: Run) -> None:
    order = recharge(office)
    said = run("reversal", "open", str(order.order_id), "--actor", "li").output
    assert "PARKED" in said
    assert reversals(office) == [(order.order_id, State.PARKED)]
    assert "PARKED" in run("reversal", "list").output
    again = run("reversal", "open", str(order.order_id), "--actor", "li", code=1).output
    assert "NOT_REVERSIBLE" in again
    run("verify")


@pytest.mark.parametrize("verdict", [None, Verdict.UNKNOWN, Verdict.NO])
def test_only_a_settled_recharge(office: Office, run: Run, verdict: Verdict | None) -> None:
    order = recharge(office, verdict)
    said = run("reversal", "open", str(order.order_id), "--actor", "li", code=1).output
    assert "refused (40 NOT_REVERSIBLE)" in said
    assert State.PARKED not in [state for _, state in reversals(office)]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("0", "no recharges are called 0"),
        ("-1", "No such option"),
        ("99999999999999999999", "no recharges are called"),
        ("nonsense", "no recharges are called nonsense"),
    ],
)
def test_what_does_not_exist(office: Office, run: Run, number: str, words: str) -> None:
    recharge(office)
    code = 2 if number.startswith("-") else 1
    assert words in run("reversal", "open", number, "--actor", "li", code=code).output
    assert reversals(office) == []


def test_the_customers_code(office: Office, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "aircharge.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("[ledger]\n", "[ledger.book]\nreversal_consent = true\n\n[ledger]\n", 1))
    order = recharge(office)
    number = str(order.order_id)
    assert "CONSENT" in run("reversal", "open", number, "--actor", "li", code=1).output
    code = ConsentCode(office.config.checkcode()).of(order.order_id)
    assert "PARKED" in run("reversal", "open", number, "--consent", code, "--actor", "li").output


def test_somebody_must_put_the_name_to_it(office: Office, run: Run) -> None:
    order = recharge(office)
    assert "actor" in run("reversal", "open", str(order.order_id), code=2).output
    run("reversal", "open", str(order.order_id), "--actor", " ", code=1)
    assert reversals(office) == []
