"""The outlets' business before the real daemon, by text and by card: what they read, what books and operator say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from aircharge.config import load
from aircharge.instance import DEMO_PIN, Instance, Shop, free_ports
from aircharge.office import Office
from tests.system.audit import audit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PARENT = Shop("P1", "13900000001", "89860000000000000001", float_fen=1_000_000)
CHILD = Shop("C1", "13900000002", "89860000000000000002", float_fen=100_000, language="en")
WAIT_S = 50


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """P1 is a distributor, C1 an outlet under it that reads English and earns two per cent at once."""
    with Instance(tmp_path_factory.mktemp("business"), free_ports(), response_timeout_s=10.0) as instance:
        instance.create([PARENT, CHILD])
        office = Office(load(instance.config_file))
        with office.desk("test") as desk:
            desk.txn.exec_driver_sql("UPDATE outlet SET level = 3 WHERE code = 'P1'")
            [parent] = desk.txn.exec_driver_sql("SELECT id FROM outlet WHERE code = 'P1'").one()
            desk.txn.exec_driver_sql(
                f"UPDATE outlet SET parent_id = {parent}, group_code = 'new' WHERE code = 'C1'"
            )
            desk.txn.exec_driver_sql(
                "INSERT INTO price (id, group_code, mode, rate_ppm, from_date) VALUES (1, 'new', 2, 20000, 20260101)"
            )
            desk.txn.exec_driver_sql("UPDATE policy SET version = version + 1")
        office.close()
        instance.start()
        for shop in (PARENT, CHILD):
            assert instance.centre("inbox", number=shop.phone, count=1, wait_s=WAIT_S)["total"] == 1
        yield instance
        instance.stop()
        found = audit(instance.ledger_file, instance.operator_file)
        assert found.problems == []
        assert found.open == 0


def texts(world: Instance, phone: str) -> list[str]:
    return [str(one["text"]) for one in world.centre("inbox", number=phone)["messages"]]


def said(world: Instance, shop: Shop, verb: str, words: str, **request: Any) -> None:
    """Send it, and wait until a new text with these words has come."""
    before = len(texts(world, shop.phone))
    world.centre(verb, **{"from": shop.phone, **request}, wait_s=WAIT_S)
    world.wait_until(
        f"{words!r} to be told",
        lambda: any(words in text for text in texts(world, shop.phone)[before:]),
    )


def sms(world: Instance, shop: Shop, text: str, words: str, to: str = "0353911") -> None:
    said(world, shop, "sms", words, to=to, text=text)


def stk(world: Instance, shop: Shop, operation: str, words: str, **fields: Any) -> None:
    said(world, shop, "stk", words, operation=operation, pin=DEMO_PIN, **fields)


def credited(world: Instance, target: str) -> int:
    """What the operator has credited and not taken back, in times."""
    rows = world.operator("record", msisdn=target)["rows"]
    return sum(row["credits"] * (-1 if row["kind"] == "reverse" else 1) for row in rows)


def test_a_transfer_and_its_refusal(world: Instance) -> None:
    sms(world, PARENT, f"15 C1 1000 {DEMO_PIN}", "已转给C1")
    world.wait_until(
        "the child to hear", lambda: any("1000.00" in text for text in texts(world, CHILD.phone))
    )
    stk(world, CHILD, "transfer", "P1", party="P1", amount_fen=1_000)
    sms(world, CHILD, f"15 NOBODY 10 {DEMO_PIN}", "(25)")


def test_a_reversal_takes_the_customers_credit_and_the_commission_back(world: Instance) -> None:
    stk(world, CHILD, "recharge", "Done", target="13811110001", amount_fen=5_000)
    assert credited(world, "13811110001") == 1
    sms(world, CHILD, f"14 13811110001 50 {DEMO_PIN}", "13811110001")
    world.wait_until("the operator to take it back", lambda: credited(world, "13811110001") == 0)
    world.wait_until("the customer to hear of both", lambda: len(texts(world, "13811110001")) >= 2)
    sms(world, CHILD, f"14 13811110002 50 {DEMO_PIN}", "(25)")


def test_commission_comes_into_the_float(world: Instance) -> None:
    stk(world, CHILD, "recharge", "Done", target="13811110003", amount_fen=10_000)
    stk(world, CHILD, "commission", "2.00", amount_fen=0)
    sms(world, CHILD, f"19 {DEMO_PIN}", "(51)")


def test_a_deposit_is_announced_by_an_exact_sum(world: Instance) -> None:
    sms(world, PARENT, "16 5000", "5000.")
    stk(world, CHILD, "ticket", "300.", amount_fen=30_000)


def test_orders_and_days_are_asked_about(world: Instance) -> None:
    stk(world, PARENT, "recharge", "成功", target="13811110004", amount_fen=3_000)
    sms(world, PARENT, "12 13811110004", "13811110004 30.00元:成功", to="0353910")
    sms(world, PARENT, "10", "*0004 30成功", to="0353910")
    sms(world, PARENT, "13", "成功1笔30.00元", to="0353910")
    stk(world, PARENT, "recap", "成功1笔30.00元")
    stk(world, PARENT, "history", "*0004 30成功")


def test_a_pin_is_changed_and_the_old_one_is_wrong(world: Instance) -> None:
    new = "415926"
    sms(world, PARENT, f"17 {DEMO_PIN} {new} {new}", "密码")
    sms(world, PARENT, f"13811110005 50 {DEMO_PIN}", "(55)")
    sms(world, PARENT, f"13811110005 50 {new}", "成功:13811110005")
    sms(world, PARENT, f"17 {new} 123456 123456", "(55)")
    sms(world, PARENT, f"17 {new} 264081 264081", "密码设置已更新")


def test_the_books_are_right(world: Instance) -> None:
    office = Office(load(world.config_file))
    try:
        lines, is_sound = office.verify()
        assert is_sound, lines
    finally:
        office.close()
