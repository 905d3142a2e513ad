"""Doubts before the real daemon, end to end: an answer that comes late, an operator that is asked, a PIN by amount."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aircharge.config import load
from aircharge.instance import DEMO_PIN, Instance, Shop, free_ports
from aircharge.office import Office, OutletForm
from aircharge.values import Pin
from tests.system.audit import audit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SHOP = Shop("D1", "13900000001", "89860000000000000001")
TARGET = "13812345678"


@contextmanager
def world(folder: Path, doubt: str, prepare: Callable[[Office], None] | None = None) -> Iterator[Instance]:
    """A running instance whose operator answers within two seconds or not at all; at the end all is sound."""
    with Instance(folder, free_ports(), response_timeout_s=2.0, doubt=doubt) as instance:
        instance.create([SHOP])
        if prepare is not None:
            office = Office(load(instance.config_file))
            prepare(office)
            office.close()
        instance.start()
        yield instance
        instance.stop()
        found = audit(instance.ledger_file, instance.operator_file)
        assert found.problems == []
        assert found.open == 0


def recharge(instance: Instance, target: str = TARGET) -> None:
    asked = {"operation": "recharge", "target": target, "amount_fen": 5_000, "pin": DEMO_PIN}
    assert instance.centre("stk", **{"from": SHOP.phone}, **asked)["status"] == 0


def state(instance: Instance) -> str:
    office = Office(load(instance.config_file))
    try:
        [order] = [order for order in office.orders_of(SHOP.code) if order["msisdn"] == TARGET]
        return str(order["state"])
    finally:
        office.close()


def texts(instance: Instance, phone: str) -> str:
    return "\n".join(str(one["text"]) for one in instance.centre("inbox", number=phone)["messages"])


def test_an_answer_after_its_time_settles(tmp_path: Path) -> None:
    """Nobody asks again (mode never): it is the late answer itself that ends the doubt."""
    with world(tmp_path, 'mode = "never"') as instance:
        instance.operator("faults", latency_ms=6_000)
        recharge(instance)
        instance.wait_until("the doubt", lambda: state(instance) == "IN_DOUBT")
        instance.wait_until("the late answer", lambda: state(instance) == "SETTLED")
        [row] = instance.operator("record", msisdn=TARGET)["rows"]
        assert row["credits"] == 1
        instance.wait_until("the outlet to hear of it", lambda: "成功" in texts(instance, SHOP.phone))
        assert "处理中" in texts(instance, SHOP.phone)


@pytest.mark.parametrize(("fault", "ends"), [("swallow", "SETTLED"), ("refuse", "VOIDED")])
def test_an_operator_that_can_only_be_asked_is_asked(tmp_path: Path, fault: str, ends: str) -> None:
    with world(tmp_path, 'mode = "query"\nfirst_s = 1.0\nmax_s = 1.0\nfinality_s = 3600.0') as instance:
        instance.operator("next", fault=fault)
        recharge(instance)
        instance.wait_until("the end", lambda: state(instance) == ends)
        rows = instance.operator("record", msisdn=TARGET)["rows"]
        assert sum(row["credits"] for row in rows) == (ends == "SETTLED")


def test_a_pin_is_wanted_above_an_amount(tmp_path: Path) -> None:
    phone = "13900000002"

    def prepare(office: Office) -> None:
        form = OutletForm("D2", "careful with much", (phone,), "zh", "above", 5_000)
        office.add_outlet(form, Pin(DEMO_PIN), actor="test")
        office.approve_funding(office.propose_funding("D2", 100_000, "s2", maker="a"), checker="b")

    with world(tmp_path, 'mode = "resend"', prepare) as instance:
        for text, words in (
            ("13812345671 50", "成功:13812345671充50.00元"),
            ("13812345672 60", "(55):需要密码"),
            (f"13812345673 60 {DEMO_PIN}", "成功:13812345673充60.00元"),
        ):
            instance.centre("sms", **{"from": phone, "to": "0353911", "text": text})
            instance.wait_until(f"the answer to {words}", lambda words=words: words in texts(instance, phone))
