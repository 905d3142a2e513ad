"""Every refusal as an outlet sees it, in Chinese and English, before the real daemon: its own answer, nothing moved.

One live world; each case has outlets of its own, so that locks and silence disturb nobody.
"""

from __future__ import annotations

import itertools
import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from aircharge.config import load
from aircharge.instance import DEMO_PIN, Instance, Shop, free_ports
from aircharge.office import Office
from tests.system.audit import audit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LANGUAGES = ("zh", "en")
WAIT_S = 50  # for an answer: a limit, not a delay
REPETITION_S = 15.0
CASES = (
    *(
        "plain",
        "wrong_pin",
        "no_number",
        "amount",
        "float",
        "malformed",
        "twice",
        "frozen",
        "blocked",
        "mac",
        "replay",
    ),
    *("clash", "reconfirm", "stale", "down", "refused", "busy", "doubt", "slip"),
)
_numbers = itertools.count(1)
_targets = itertools.count(1)


class World:
    """The instance, and an outlet by case and language."""

    def __init__(self, folder: Any) -> None:
        self.shops: dict[tuple[str, str], Shop] = {}
        for case, language in itertools.product(CASES, LANGUAGES):
            number = next(_numbers)
            float_fen = 2_000 if case == "float" else 100_000
            self.shops[case, language] = Shop(
                f"R{number:03d}",
                f"139{number:08d}",
                f"8986{number:016d}",
                float_fen=float_fen,
                language=language,
            )
        # A repetition counts as the SMS centre's for seconds only: what comes later is a replay.
        self.instance = Instance(
            folder,
            free_ports(),
            response_timeout_s=10.0,
            doubt='mode = "resend"\nfirst_s = 1.0\nmax_s = 1.0',
            extra=f"\n[ledger.book]\nretransmit_window_ms = {REPETITION_S * 1000:.0f}\n",
        )
        self.instance.create(list(self.shops.values()))
        self.office = Office(load(self.instance.config_file))
        self.instance.start()
        self._seen: dict[str, int] = {}
        for shop in self.shops.values():  # the notice of its float
            assert self.instance.centre("inbox", number=shop.phone, count=1, wait_s=WAIT_S)["total"] == 1
            self._seen[shop.phone] = 1

    def shop(self, case: str, language: str) -> Shop:
        return self.shops[case, language]

    def told(self, phone: str, count: int = 1) -> list[str]:
        """The next texts on a phone."""
        since = self._seen.get(phone, 0)
        answer = self.instance.centre("inbox", number=phone, count=since + count, wait_s=WAIT_S)
        texts = [str(message["text"]) for message in answer["messages"]][since : since + count]
        assert len(texts) == count, f"too few answers: {texts}"
        self._seen[phone] = since + count
        return texts

    def silent(self, phone: str) -> bool:
        answer = self.instance.centre("inbox", number=phone, count=self._seen.get(phone, 0) + 1, wait_s=1)
        return int(answer["total"]) == self._seen.get(phone, 0)

    def sms(self, shop: Shop, text: str, *, to: str = "0353911", **more: Any) -> str:
        request = {"from": shop.phone, "to": to, "text": text, "wait_s": WAIT_S, **more}
        assert self.instance.centre("sms", **request)["status"] == 0
        return self.told(shop.phone)[0]

    def stk(self, shop: Shop, target: str, amount_fen: int = 5_000, **more: Any) -> str:
        self.send_stk(shop, target, amount_fen, **more)
        return self.told(shop.phone)[0]

    def send_stk(self, shop: Shop, target: str, amount_fen: int = 5_000, **more: Any) -> dict[str, Any]:
        request = {
            "from": shop.phone,
            "operation": "recharge",
            "pin": DEMO_PIN,
            "target": target,
            "wait_s": WAIT_S,
        }
        answer = self.instance.centre("stk", **{**request, "amount_fen": amount_fen, **more})
        assert answer["status"] == 0
        return answer

    def is_line_down(self) -> bool:
        """Whether the daemon itself says that no operator can be asked."""
        url = f"http://127.0.0.1:{self.instance.ports.metrics}/status"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return not any(link["ready"] for link in json.load(answer)["operators"].values())

    def executed(self, target: str) -> int:
        """How often the operator has credited that number."""
        return sum(row["credits"] for row in self.instance.operator("record", msisdn=target)["rows"])

    def moved_fen(self, shop: Shop) -> int:
        """What has left the outlet's float or is held on it."""
        row = self.office.outlet(shop.code)
        return shop.float_fen - int(str(row["available"]).replace(".", ""))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("refusals"))
    with made.instance:
        yield made
        assert made.office.verify() == (made.office.verify()[0], True)
        made.office.close()
        made.instance.stop()
        assert audit(made.instance.ledger_file, made.instance.operator_file).problems == []


def target() -> str:
    return f"138{next(_targets):08d}"


def has(text: str, language: str, zh: str, en: str) -> None:
    wanted = zh if language == "zh" else en
    assert wanted in text, text
    assert len(text) <= (70 if language == "zh" else 160)


both = pytest.mark.parametrize("language", LANGUAGES)


@both
def test_success_for_comparison(world: World, language: str) -> None:
    shop, number = world.shop("plain", language), target()
    has(world.sms(shop, f"{number} 50"), language, "1000.00-50.00=950.00", "1000.00-50.00=950.00")
    assert (world.executed(number), world.moved_fen(shop)) == (1, 5_000)


@both
def test_a_wrong_pin_three_times_locks(world: World, language: str) -> None:
    shop, number = world.shop("wrong_pin", language), target()
    has(
        world.stk(shop, number, pin="000001"),
        language,
        "(55):密码错误,还可试2次",
        "(55): wrong PIN, 2 tries left",
    )
    has(world.stk(shop, number, pin="000002"), language, "还可试1次", "1 tries left")
    has(
        world.stk(shop, number, pin="000003"),
        language,
        "密码错误3次,已锁定至",
        "Wrong PIN 3 times: locked until",
    )
    has(world.stk(shop, number), language, "已锁定至", "locked until")  # the right one during the lock
    assert (world.executed(number), world.moved_fen(shop)) == (0, 0)


@both
def test_a_number_nobody_serves(world: World, language: str) -> None:
    shop = world.shop("no_number", language)
    has(
        world.sms(shop, "12012345678 50"),
        language,
        "(14):号码应为11位",
        "(14): the number must be an 11-digit",
    )
    has(world.stk(shop, "123"), language, "失败(14)号码无效", "Failed (14) invalid number")
    assert world.moved_fen(shop) == 0


@both
def test_an_amount_that_is_not_sold(world: World, language: str) -> None:
    shop, number = world.shop("amount", language), target()
    has(world.sms(shop, f"{number} 51"), language, "失败(13)无此面值", "Failed (13) no such amount")
    has(world.stk(shop, number, 1), language, "失败(13)无此面值", "Failed (13) no such amount")
    has(world.sms(shop, f"{number} 0"), language, "(13):金额有误", "(13): the amount is not valid")
    assert (world.executed(number), world.moved_fen(shop)) == (0, 0)


@both
def test_a_float_too_short(world: World, language: str) -> None:
    shop, number = world.shop("float", language), target()
    has(world.sms(shop, f"{number} 50"), language, "(51)余额不足", "(51) float too short")
    assert (world.executed(number), world.moved_fen(shop)) == (0, 0)


@both
def test_malformed_texts_get_help_a_last_notice_and_then_silence(world: World, language: str) -> None:
    shop, number = world.shop("malformed", language), target()
    for _ in range(2):
        has(world.sms(shop, "hello"), language, "未识别", "Not understood")
    has(world.sms(shop, "hello"), language, "今日24点前将不再回复", "until midnight")
    world.instance.centre("sms", **{"from": shop.phone, "to": "0353911", "text": "hello"})
    assert world.silent(shop.phone)
    has(world.sms(shop, f"{number} 50"), language, "成功", "Done")  # what is understood is always served
    assert world.moved_fen(shop) == 5_000


@both
def test_a_slip_is_named_however_often(world: World, language: str) -> None:
    shop = world.shop("slip", language)
    for _ in range(5):
        has(world.sms(shop, "1381234567 50"), language, "(14)", "(14)")


@both
def test_the_same_again_needs_to_be_meant(world: World, language: str) -> None:
    shop, number = world.shop("twice", language), target()
    world.sms(shop, f"{number} 50", reference=1)
    has(world.sms(shop, f"{number} 50", reference=2), language, "(26):", "(26):")
    has(world.stk(shop, number), language, "50*2", "50*2")  # over all channels
    has(world.sms(shop, f"{number} 50*2", reference=3), language, "成功", "Done")
    assert (world.executed(number), world.moved_fen(shop)) == (2, 10_000)


@both
def test_a_frozen_outlet_may_ask_and_not_sell(world: World, language: str) -> None:
    shop, number = world.shop("frozen", language), target()
    world.office.freeze(shop.code, actor="clerk")
    has(world.sms(shop, f"{number} 50"), language, "(03):网点已暂停", "(03): the outlet is suspended")
    has(world.sms(shop, "00", to="0353910"), language, "余额1000.00", "Balance 1000.00")
    assert (world.executed(number), world.moved_fen(shop)) == (0, 0)


@both
def test_a_blocked_card(world: World, language: str) -> None:
    shop, number = world.shop("blocked", language), target()
    has(world.stk(shop, target()), language, "成功", "Done")
    world.office.block_card(shop.iccid, actor="clerk")
    has(world.stk(shop, number), language, "(57):卡片已停用", "(57): the card is blocked")
    assert world.executed(number) == 0


@both
def test_a_bad_mac_consumes_no_serial(world: World, language: str) -> None:
    shop, number = world.shop("mac", language), target()
    has(
        world.stk(shop, number, serial=77, bad_mac=True),
        language,
        "(57):卡片校验未通过",
        "(57): the card could not",
    )
    has(
        world.stk(shop, number, serial=78, tamper=True),
        language,
        "(57):卡片校验未通过",
        "(57): the card could not",
    )
    assert world.executed(number) == 0
    has(world.stk(shop, number, serial=77), language, "成功", "Done")
    assert (world.executed(number), world.moved_fen(shop)) == (1, 5_000)


def test_a_redelivery_gets_the_stored_answer_and_a_replay_is_refused(world: World) -> None:
    """Both languages together: they share the wait between what is a repetition and what is a replay."""
    sold = [(language, world.shop("replay", language), target()) for language in LANGUAGES]
    for language, shop, number in sold:
        has(world.stk(shop, number), language, "成功", "Done")
        world.instance.centre("resend", **{"from": shop.phone, "wait_s": WAIT_S})
        has(world.told(shop.phone)[0], language, "成功", "Done")
    time.sleep(REPETITION_S + 0.5)
    for language, shop, number in sold:
        assert world.silent(shop.phone)
        world.instance.centre("replay", **{"from": shop.phone, "wait_s": WAIT_S})
        text = world.told(shop.phone)[0]
        has(text, language, "(94):该充值短信已处理过", "(94): this message was handled before")
        assert (world.executed(number), world.moved_fen(shop)) == (1, 5_000)


@both
def test_the_same_serial_with_other_content(world: World, language: str) -> None:
    shop, number, other = world.shop("clash", language), target(), target()
    world.stk(shop, number, serial=5)
    has(world.stk(shop, other, serial=5), language, "(26):与流水", "(26): same serial")
    assert (world.executed(number), world.executed(other), world.moved_fen(shop)) == (1, 0, 5_000)


@both
def test_reconfirm_never_executes_twice(world: World, language: str) -> None:
    shop, number, lost = world.shop("reconfirm", language), target(), target()
    serial = world.send_stk(shop, number)["serial"]
    world.told(shop.phone)
    asked = {"operation": "reconfirm", "earlier": serial}
    has(world.stk(shop, number, **asked), language, "已成功", "done (")
    assert world.executed(number) == 1
    asked = {"operation": "reconfirm", "earlier": 4711}  # the message itself was lost on its way
    has(world.stk(shop, lost, **asked), language, "成功", "Done")
    has(world.stk(shop, lost, serial=4711), language, "成功", "Done")  # and comes late: the stored answer
    assert (world.executed(lost), world.moved_fen(shop)) == (1, 10_000)


@both
def test_a_stale_message(world: World, language: str) -> None:
    shop, number = world.shop("stale", language), target()
    has(
        world.sms(shop, f"{number} 50", age_s=700),
        language,
        "(68):短信到达过晚",
        "(68): message came too late",
    )
    has(world.stk(shop, number, age_s=700), language, "(68):短信到达过晚", "(68): message came too late")
    assert (world.executed(number), world.moved_fen(shop)) == (0, 0)


@both
def test_the_operator_says_no_such_number(world: World, language: str) -> None:
    shop, number = world.shop("refused", language), target()
    world.instance.operator("next", fault="refuse", code="1001")
    has(
        world.sms(shop, f"{number} 50"),
        language,
        "失败(14)运营商查无此号",
        "Failed (14) operator has no such",
    )
    assert (world.executed(number), world.moved_fen(shop)) == (0, 0)


@both
def test_the_operator_is_busy(world: World, language: str) -> None:
    shop, number = world.shop("busy", language), target()
    world.instance.operator("next", fault="busy")
    has(world.sms(shop, f"{number} 50"), language, "失败(91)系统忙", "Failed (91) system busy")
    assert (world.executed(number), world.moved_fen(shop)) == (0, 0)


@pytest.mark.parametrize("language", ["zh"])
def test_a_lost_answer_is_in_process_and_settles_later(world: World, language: str) -> None:
    shop, number = world.shop("doubt", language), target()
    world.instance.operator("next", fault="swallow")
    has(world.sms(shop, f"{number} 50"), language, "处理中", "In process")
    assert world.moved_fen(shop) == 5_000  # held
    has(world.told(shop.phone)[0], language, "成功", "Done")
    assert (world.executed(number), world.moved_fen(shop)) == (1, 5_000)


def test_an_unknown_sender_is_told_and_then_met_with_silence(world: World) -> None:
    stranger = Shop("none", "13999999999", "")
    for _ in range(2):
        assert "未登记" in world.sms(stranger, f"{target()} 50")
    world.sms(stranger, "50")
    world.instance.centre("sms", **{"from": stranger.phone, "to": "0353911", "text": "50"})
    assert world.silent(stranger.phone)


def test_the_operator_is_down(world: World) -> None:
    """Last in this file: the operator is stopped and started again."""
    world.instance.stop_one("operator")
    world.instance.wait_until("the daemon to see it", world.is_line_down)
    numbers = {}
    for language in LANGUAGES:
        shop, numbers[language] = world.shop("down", language), target()
        text = world.sms(shop, f"{numbers[language]} 50")
        has(text, language, "失败(91)运营商线路暂停", "Failed (91) operator line down")
        assert world.moved_fen(shop) == 0
    world.instance.start_operator()
    for language, number in numbers.items():
        assert world.executed(number) == 0, language
