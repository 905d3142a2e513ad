"""Reversals before the real daemon, end to end: by SMS and from a desk, with answers lost and with kill -9."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aircharge.cli import main
from aircharge.config import load
from aircharge.instance import DEMO_PIN, Instance, Shop, free_ports
from aircharge.office import Office
from tests.system.audit import Audit, audit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SHOP = Shop("D1", "13900000001", "89860000000000000001")
TARGET = "13812345678"
REVERSE = f"14 {TARGET} 50 {DEMO_PIN}"
RESEND = 'mode = "resend"\nfirst_s = 0.5\nmax_s = 1.0'
UNDO = 'mode = "reverse"\nfirst_s = 0.5\nmax_s = 1.0\nfinality_s = 0.0'


@contextmanager
def world(folder: Path, doubt: str = RESEND, book: str = "") -> Iterator[Instance]:
    """A running instance whose operator answers within two seconds or not at all; at the end all is sound."""
    with Instance(folder, free_ports(), response_timeout_s=2.0, doubt=doubt) as instance:
        instance.create([SHOP])
        if book:
            file = instance.config_file
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace("[ledger]\n", f"[ledger.book]\n{book}\n\n[ledger]\n", 1))
        instance.start()
        yield instance
        instance.stop()
        assert looked_at(instance).problems == []


def looked_at(instance: Instance) -> Audit:
    return audit(instance.ledger_file, instance.operator_file)


def send(instance: Instance, text: str) -> None:
    instance.centre("sms", **{"from": SHOP.phone, "to": "0353911", "text": text})


def orders(instance: Instance) -> list[dict[str, Any]]:
    office = Office(load(instance.config_file))
    try:
        return office.orders_of(SHOP.code)
    finally:
        office.close()


def states(instance: Instance) -> dict[int, str]:
    """The last recharge's state and the last reversal's, by kind."""
    found: dict[int, str] = {}
    for order in orders(instance):
        found.setdefault(order["kind"], str(order["state"]))
    return found


def texts(instance: Instance, phone: str) -> str:
    return "\n".join(str(one["text"]) for one in instance.centre("inbox", number=phone)["messages"])


def recharge(instance: Instance) -> None:
    send(instance, f"{TARGET} 50")
    instance.wait_until("the recharge", lambda: states(instance).get(1) == "SETTLED")
    instance.wait_until("the customer's SMS", lambda: "已充值" in texts(instance, TARGET))


def balance(instance: Instance) -> str:
    office = Office(load(instance.config_file))
    try:
        return str(office.outlet(SHOP.code)["float"])
    finally:
        office.close()


def test_by_sms_both_are_told_and_the_operator_has_done_it_once(tmp_path: Path) -> None:
    with world(tmp_path) as instance:
        recharge(instance)
        before = balance(instance)
        send(instance, REVERSE)
        instance.wait_until("the reversal", lambda: states(instance).get(1) == "REVERSED")
        instance.wait_until("the outlet to hear of it", lambda: "返销成功" in texts(instance, SHOP.phone))
        instance.wait_until("the customer to hear of it", lambda: "已返销" in texts(instance, TARGET))
        assert (before, balance(instance)) == ("9950.00", "10000.00")
        instance.centre(
            "resend", **{"from": SHOP.phone}
        )  # the same message again: the stored answer, nothing is asked
        instance.wait_until("the answer", lambda: texts(instance, SHOP.phone).count("返销成功") == 2)
        rows = instance.operator("record", msisdn=TARGET)["rows"]
        assert sorted((row["kind"], row["credits"]) for row in rows) == [("recharge", 1), ("reverse", 1)]


@pytest.mark.parametrize("fault", ["swallow", "lose"])
def test_an_answer_that_is_lost_is_asked_for_again_and_nothing_is_refunded_before(
    tmp_path: Path, fault: str
) -> None:
    with world(tmp_path, 'mode = "resend"\nfirst_s = 3.0\nmax_s = 3.0') as instance:
        recharge(instance)
        instance.operator("next", fault=fault)
        send(instance, REVERSE)
        instance.wait_until("the doubt", lambda: states(instance).get(2) == "IN_DOUBT")
        instance.wait_until("the outlet to hear", lambda: "返销处理中" in texts(instance, SHOP.phone))
        instance.wait_until("the end", lambda: states(instance).get(2) == "SETTLED")
        assert states(instance)[1] == "REVERSED"
        rows = instance.operator("record", msisdn=TARGET)["rows"]
        assert [row["credits"] for row in rows if row["kind"] == "reverse"] == [1]


def test_what_the_operator_declines_stands(tmp_path: Path) -> None:
    with world(tmp_path) as instance:
        recharge(instance)
        instance.operator("next", fault="refuse", code="6004")
        send(instance, REVERSE)
        instance.wait_until("the end", lambda: states(instance).get(2) == "VOIDED")
        assert states(instance)[1] == "SETTLED"
        instance.wait_until("the outlet to hear", lambda: "返销未成功" in texts(instance, SHOP.phone))
        assert balance(instance) == "9950.00"


def test_killed_while_it_waits_for_the_answer_it_is_taken_up_again(tmp_path: Path) -> None:
    with world(tmp_path) as instance:
        recharge(instance)
        instance.operator("next", fault="swallow")
        send(instance, REVERSE)
        instance.wait_until("the reversal", lambda: 2 in states(instance))
        instance.stop_one("daemon", signal.SIGKILL)
        instance.start_daemon()
        instance.wait_until("the end", lambda: states(instance).get(2) == "SETTLED")
        assert states(instance)[1] == "REVERSED"


def test_a_clerks_reversal_is_carried_by_the_daemon(tmp_path: Path) -> None:
    with world(tmp_path) as instance:
        recharge(instance)
        number = str(orders(instance)[0]["id"])
        words = ["-c", str(instance.config_file), "reversal", "open", number, "--actor", "li"]
        said = CliRunner().invoke(main, words)
        assert said.exit_code == 0, said.output
        instance.wait_until("the end", lambda: states(instance).get(1) == "REVERSED")
        instance.wait_until("the outlet to hear", lambda: "返销成功" in texts(instance, SHOP.phone))


def test_with_the_customers_code_only(tmp_path: Path) -> None:
    with world(tmp_path, book="reversal_consent = true") as instance:
        recharge(instance)
        told = re.search(r"返销码([0-9]{4})", texts(instance, TARGET))
        assert told is not None
        wrong = f"{(int(told[1]) + 1) % 10_000:04d}"
        send(instance, f"{REVERSE} {wrong}")
        instance.wait_until("the refusal", lambda: "(40)" in texts(instance, SHOP.phone))
        assert states(instance)[1] == "SETTLED"
        send(instance, f"{REVERSE} {told[1]}")
        instance.wait_until("the end", lambda: states(instance).get(1) == "REVERSED")


# -- protective reversal ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "credited"), [("swallow", 1), ("lose", 0), ("late", 0)])
def test_an_unanswered_recharge_is_undone(tmp_path: Path, fault: str, credited: int) -> None:
    """Executed and the answer lost: taken back. Never arrived, or arriving later: the operator never executes it."""
    with world(tmp_path, UNDO) as instance:
        instance.operator("faults", late_s=6.0)
        instance.operator("next", fault=fault)
        send(instance, f"{TARGET} 50")
        instance.wait_until("the end", lambda: states(instance).get(1) == "VOIDED")
        assert balance(instance) == "10000.00"
        if fault == "late":
            instance.wait_until("the late one", lambda: instance.operator("status")["late"] == 0)
        rows = instance.operator("record", msisdn=TARGET)["rows"]
        assert sum(row["credits"] for row in rows if row["kind"] == "recharge") == credited
        assert sum(row["credits"] for row in rows if row["kind"] == "reverse") == credited
        found = looked_at(instance)
        assert (found.voided, found.settled) == (1, 0)


def test_a_recharge_that_can_no_longer_be_taken_back_is_settled(tmp_path: Path) -> None:
    with world(tmp_path, UNDO) as instance:
        instance.operator("next", fault="swallow")
        instance.operator("next", fault="refuse", code="6004")
        send(instance, f"{TARGET} 50")
        instance.wait_until("the end", lambda: states(instance).get(1) == "SETTLED")
        assert balance(instance) == "9950.00"


def test_killed_between_the_mark_and_the_answer_the_undoing_goes_on(tmp_path: Path) -> None:
    with world(tmp_path, UNDO) as instance:
        instance.operator("next", fault="swallow", count=2)  # the recharge, and its first reversal
        send(instance, f"{TARGET} 50")
        instance.wait_until(
            "the reversal to be asked for",
            lambda: any(
                row["kind"] == "reverse" for row in instance.operator("record", msisdn=TARGET)["rows"]
            ),
        )
        instance.stop_one("daemon", signal.SIGKILL)
        instance.start_daemon()
        instance.wait_until("the end", lambda: states(instance).get(1) == "VOIDED")
        rows = instance.operator("record", msisdn=TARGET)["rows"]
        assert sorted((row["kind"], row["credits"]) for row in rows) == [("recharge", 1), ("reverse", 1)]
