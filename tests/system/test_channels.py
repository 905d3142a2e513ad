"""What outlets send and what they and their customers read, before the real daemon: forms, questions, PIN policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from aircharge.config import load
from aircharge.instance import DEMO_PIN, Instance, Shop, free_ports
from aircharge.office import Office, OutletForm
from aircharge.values import Pin
from tests.system.audit import audit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OUTLET = Shop("C1", "13900000001", "89860000000000000001", float_fen=1_000_000)
WAIT_S = 50  # for an answer: a limit, not a delay
CAREFUL = "13900000002"  # an outlet whose plain SMS always need the PIN
DOUBTFUL = Shop("C3", "13900000003", "89860000000000000003")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """Doubts are for people here (mode never)."""
    folder = tmp_path_factory.mktemp("channels")
    with Instance(folder, free_ports(), response_timeout_s=10.0, doubt='mode = "never"') as instance:
        instance.create([OUTLET, DOUBTFUL])
        office = Office(load(instance.config_file))
        office.add_outlet(
            OutletForm("C2", "careful", (CAREFUL,), "zh", "always"), Pin(DEMO_PIN), actor="test"
        )
        office.approve_funding(office.propose_funding("C2", 100_000, "s2", maker="a"), checker="b")
        office.set_language("13800000002", "en", actor="test")
        office.close()
        instance.start()
        for phone in (OUTLET.phone, DOUBTFUL.phone, CAREFUL):
            assert instance.centre("inbox", number=phone, count=1, wait_s=WAIT_S)["total"] == 1  # its float
        yield instance
        instance.stop()
        assert audit(instance.ledger_file, instance.operator_file).problems == []


def total(world: Instance, phone: str) -> int:
    return int(world.centre("inbox", number=phone)["total"])


def answer(world: Instance, verb: str, **request: Any) -> str:
    """Send it; the next text on the sender's phone."""
    phone = request["from"]
    before = total(world, phone)
    world.centre(verb, **request, wait_s=WAIT_S)
    messages = world.centre("inbox", number=phone, count=before + 1, wait_s=WAIT_S)["messages"]
    assert len(messages) > before, "no answer"
    return str(messages[before]["text"])


def sms(world: Instance, text: str, *, phone: str = OUTLET.phone, to: str = "0353911") -> str:
    return answer(world, "sms", **{"from": phone, "to": to, "text": text})


def stk(world: Instance, operation: str, shop: Shop = OUTLET, **more: Any) -> str:
    return answer(world, "stk", **{"from": shop.phone, "operation": operation, "pin": DEMO_PIN, **more})


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("13811110001 50", "13811110001"),
        ("１３８１１１１０００２　５０元", "13811110002"),
        ("+86 138-1111-0003\t50\r\n", "13811110003"),
        ("008613811110004 50.00", "13811110004"),
        (f"13811110005 50 {DEMO_PIN}", "13811110005"),
    ],
)
def test_forms_of_one_and_the_same(world: Instance, text: str, target: str) -> None:
    assert f"成功:{target}充50.00元" in sms(world, text)
    [row] = world.operator("record", msisdn=target)["rows"]
    assert (row["amount_fen"], row["credits"]) == (5_000, 1)


def test_the_customers_own_language_and_check_code(world: Instance) -> None:
    for target, words in (
        ("13800000001", "您的号码138****0001已充值50.00元"),
        ("13800000002", "Your number 138****0002"),
    ):
        stk(world, "recharge", target=target, amount_fen=5_000)
        [message] = world.centre("inbox", number=target, count=1, wait_s=WAIT_S)["messages"]
        assert words in message["text"]
        assert message["sender"] == "0353911"
        assert any(word in message["text"] for word in ("校验", "check "))


def test_questions_by_card_and_by_text_agree(world: Instance) -> None:
    stk(world, "recharge", target="13800000003", amount_fen=3_000)
    for text in (stk(world, "last"), sms(world, "11", to="0353910")):
        assert "13800000003 30.00元 成功" in text
    balances = {stk(world, "balance"), sms(world, "００", to="0353910")}
    assert len(balances) == 1
    assert balances.pop().startswith("余额")


def test_an_outlet_may_want_its_pin_in_every_plain_sms(world: Instance) -> None:
    assert "(55):需要密码" in sms(world, "13800000004 50", phone=CAREFUL)
    assert "(55):密码错误" in sms(world, "13800000005 50 111111", phone=CAREFUL)
    assert "成功" in sms(world, f"13800000006 50 {DEMO_PIN}", phone=CAREFUL)
    assert "(55)" in sms(world, "00", phone=CAREFUL, to="0353910")
    assert "余额950.00" in sms(world, f"00 {DEMO_PIN}", phone=CAREFUL, to="0353910")


@pytest.mark.parametrize(
    ("fault", "executed", "words"), [("swallow", True, "成功"), ("lose", False, "(05)运营商未受理")]
)
def test_two_people_decide_a_doubt_that_nothing_else_can(
    world: Instance, fault: str, executed: bool, words: str
) -> None:
    target = "13800000007" if executed else "13800000008"
    world.operator("next", fault=fault)
    assert "处理中" in stk(world, "recharge", DOUBTFUL, target=target, amount_fen=5_000)
    before = total(world, DOUBTFUL.phone)
    office = Office(load(world.config_file))
    [order] = [order for order in office.orders_of("C3") if order["msisdn"] == target]
    ruling = {"executed": executed, "evidence": "operator's file", "maker": "wang", "checker": "li"}
    assert ("SETTLED" if executed else "VOIDED") in office.resolve(order["id"], **ruling)
    assert office.verify()[1]
    office.close()
    messages = world.centre("inbox", number=DOUBTFUL.phone, count=before + 1, wait_s=WAIT_S)["messages"]
    assert words in messages[-1]["text"]
    assert (
        len(world.centre("inbox", number=target, count=int(executed), wait_s=WAIT_S)["messages"]) == executed
    )
