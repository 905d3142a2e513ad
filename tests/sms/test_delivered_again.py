"""What an SMS centre delivers again, and what a shopkeeper sends again: the table of docs/channels/sms.md, by the door.

The clock moves when told; the words are those that the phone shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aircharge.errors import NotSent
from aircharge.instance import DEMO_PIN
from aircharge.ledger.policy_loading import bump_policy_txn
from aircharge.sms.phrases import CheckCode, Phrases
from aircharge.wire.stk import StkOperation
from tests.ledger.desk import START_MS
from tests.sms import test_door
from tests.sms.test_door import SETTLED, World, balance, child

MINUTE, HOUR = 60_000, 3_600_000
WAITS = {
    "1 s": 1_000,
    "62 s": 62_000,
    "315 s": 315_000,
    "700 s": 700_000,
    "a day": 24 * HOUR,
    "47 h": 47 * HOUR,
}


class Hand:
    def __init__(self) -> None:
        self.ms = START_MS

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(test_door, "SystemClock", Hand)
    made = World(tmp_path)
    made.store.guard.believe(made.clock.now_ms())  # as the daemon does at its start
    yield made
    made.store.engine.dispose()


def wait(world: World, ms: int) -> None:
    clock: Any = world.clock
    clock.ms += ms


def texts(world: World) -> list[str]:
    """What the outlet's phone shows since the last look."""
    phrases = Phrases(CheckCode(b"k" * 32))
    shown = [phrases.word(row) for row in world.notices if not row.topic.startswith("customer")]
    world.notices.clear()
    return shown


# What is delivered again: reference, message id, esm_class prove nothing, only the SMS centre's time does.
DELIVERIES = {
    "nothing": {},
    "the same reference": {"reference": 7},
    "another reference": {"reference": 8},
    "another esm_class": {"esm_class": 0x04},
}


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("later", WAITS)
def test_without_a_time_nothing_is_done_again_and_the_truth_is_told(
    world: World, delivery: str, later: str
) -> None:
    world.plain("13812345678 50", reference=7)
    world.notices.clear()
    before_fen = balance(world, "A1")
    wait(world, WAITS[later])
    assert world.plain("13812345678 50", **DELIVERIES[delivery]) == 0
    [text] = texts(world)
    assert text.startswith("未重复扣款(26):")
    assert "10:00已充" in text
    assert text.endswith("13812345678 50*2")
    assert "成功" not in text
    assert (world.asked(), balance(world, "A1")) == (1, before_fen)


@pytest.mark.parametrize(
    "said",
    ["１３８１２３４５６７８　５０元", "138-1234-5678 50.00", "+8613812345678,50", " 13812345678  50。"],
)
def test_other_wording_is_the_same_wish(world: World, said: str) -> None:
    world.plain("13812345678 50")
    world.notices.clear()
    wait(world, 20_000)
    world.plain(said)
    [text] = texts(world)
    assert text.startswith("未重复扣款(26):10:00已充13812345678 50元,流水")
    assert world.asked() == 1


def test_each_time_the_way_that_is_named_works_and_is_guarded_in_turn(world: World) -> None:
    world.plain("13812345678 50")
    for n in range(2, 10):
        world.notices.clear()
        wait(world, HOUR)
        world.plain("13812345678 50")
        [text] = texts(world)
        way = text[text.rindex("138") :]
        assert way == f"13812345678 50*{n}"
        world.plain(way)
        assert world.topics() == SETTLED
        wait(world, MINUTE)
        world.plain(way)
        assert world.topics() == ["outlet.refused.DUPLICATE"]
    assert world.asked() == 9
    wait(world, HOUR)
    world.plain("13812345678 50")
    assert "*" not in texts(world)[0]  # there is no tenth: by the card's menu, or after the window


def test_with_a_pin_the_way_says_so_and_works_in_either_place(world: World) -> None:
    world.plain(f"13812345678 50 {DEMO_PIN}")
    world.notices.clear()
    wait(world, HOUR)
    world.plain(f"13812345678 50 {DEMO_PIN}")
    assert texts(world)[0].endswith("13812345678 50*2 密码")
    world.plain(f"13812345678 50*2 {DEMO_PIN}")
    world.plain(f"13812345678 50 {DEMO_PIN}*3")
    assert world.asked() == 3


def test_after_the_window_the_same_words_are_served(world: World) -> None:
    world.plain("13812345678 50")
    wait(world, 48 * HOUR + 1)
    world.notices.clear()
    world.plain("13812345678 50")
    assert world.topics() == SETTLED


def test_a_no_that_is_delivered_again_stays_a_no(world: World) -> None:
    world.line.answers.append(NotSent("no link"))
    world.plain("13812345678 50")
    [text] = texts(world)
    assert "未扣款" in text
    assert text.endswith("13812345678 50*2")
    wait(world, 62_000)
    world.plain("13812345678 50")
    [text] = texts(world)
    assert text.startswith("未扣款(26):10:00的同一短信未办成(")
    assert text.endswith("13812345678 50*2")
    assert world.asked() == 1
    world.plain("13812345678 50*2")
    assert world.topics() == SETTLED


def test_a_recharge_that_was_taken_back_is_not_made_anew(world: World) -> None:
    before_fen = balance(world, "A1")
    world.plain("13812345678 50")
    world.plain(f"14 13812345678 50 {DEMO_PIN}")
    world.notices.clear()
    wait(world, 64_000)
    world.plain("13812345678 50")
    assert texts(world)[0].startswith("未扣款(26):10:00充13812345678 50元已返销,流水")
    assert balance(world, "A1") == before_fen
    # … and the reversal that comes again takes back no later recharge.
    world.plain("13812345678 50*2")
    world.notices.clear()
    wait(world, MINUTE)
    world.plain(f"14 13812345678 50 {DEMO_PIN}")
    assert texts(world) == ["未重复办理(26):10:00的同一短信已办妥。再办请在原短信末尾加*2"]
    assert balance(world, "A1") == before_fen - 5_000
    world.plain(f"14 13812345678 50 {DEMO_PIN}*2")
    assert balance(world, "A1") == before_fen


def test_a_transfer_again_names_its_way(world: World) -> None:
    child(world)
    world.plain(f"15 B2 1000 {DEMO_PIN}")
    assert "已转给B2 1000.00元" in texts(world)[-1]
    wait(world, 26 * HOUR)
    world.plain(f"15 B2 1000 {DEMO_PIN}")
    [text] = texts(world)
    assert text.startswith("未重复转账(26):11-23 10:00已转给B2")
    assert text.endswith("15 B2 1000*2 密码")
    assert balance(world, "B2") == 100_000
    world.plain(f"15 B2 1000*2 {DEMO_PIN}")
    assert balance(world, "B2") == 200_000


def test_a_transfer_by_the_card_then_by_text_names_its_way(world: World) -> None:
    child(world)
    world.plain(f"15 B2 1000 {DEMO_PIN}", sent_ms=world.clock.now_ms())
    world.notices.clear()
    wait(world, 2 * MINUTE)
    world.plain(f"15 B2 1000 {DEMO_PIN}", sent_ms=world.clock.now_ms())  # proved to be another message
    [text] = texts(world)
    assert text.startswith("未受理(26):10:00已转给B2 1000元,流水")
    assert text.endswith("再转请发15 B2 1000*2 密码")


def test_a_wrong_pin_that_comes_again_is_no_second_try(world: World) -> None:
    for _ in range(4):
        world.plain("13812345678 50 264081")
        wait(world, MINUTE)
    shown = texts(world)
    assert "还可试2次" in shown[0]
    assert shown[1].startswith("未扣款(26):10:00的同一短信未办成(密码错误)")
    world.plain(f"13812345678 50 {DEMO_PIN}")
    assert world.topics() == SETTLED


def test_an_old_answer_confirms_no_later_question(world: World) -> None:
    with world.store.writing() as txn:
        body = '{"guard": "all", "rules": []}'
        statement = "INSERT INTO rule_set (version, state, body, author, made_ms) VALUES (1, 1, ?, 'risk', 0)"
        txn.exec_driver_sql(statement, (body,))
        bump_policy_txn(txn)
    for repeat in ("", "*2", "*3"):
        world.plain(f"13812345678 50{repeat}")
    world.notices.clear()
    world.plain("13812345679 50")
    assert texts(world)[0].endswith("请5分钟内回复Y办理。")
    world.plain("Y")
    assert world.topics() == SETTLED
    wait(world, 10 * MINUTE)
    world.plain("13812345670 30")
    asked = world.asked()
    assert texts(world)[0].endswith("请5分钟内回复Y2办理。")
    world.plain("Y")  # the first one, delivered again
    assert texts(world) == ["未重复办理(26):10:00已收到同一答复。如要确认新的询问,请回复Y2"]
    assert world.asked() == asked
    world.plain("是2")
    assert world.topics() == SETTLED
    world.plain("13812345679 50")  # what was asked back and answered comes again
    assert texts(world)[0].startswith("未重复扣款(26):10:00已充13812345679 50元")


def test_proved_by_the_sms_centres_time(world: World) -> None:
    at_ms = world.clock.now_ms()
    world.plain("13812345678 50", sent_ms=at_ms, reference=7)
    first = texts(world)
    wait(world, 2_000)
    world.plain("13812345678 50", sent_ms=at_ms, reference=7)
    assert texts(world) == first  # the stored answer, word for word
    wait(world, 47 * HOUR)
    world.plain("13812345678 50", sent_ms=at_ms, reference=7)
    assert texts(world)[0].startswith(
        "未重复扣款(26):11-23 10:00已充13812345678 50元,流水"
    )  # what is true now
    world.plain("13812345678 50", sent_ms=world.clock.now_ms(), reference=8)
    assert world.topics() == SETTLED  # another time, another message: an honest repeat


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("14 13712345678 50", "14 号码 金额 密码"),
        ("14", "14 号码 金额 密码"),
        ("14 1371234567 50 735194", "14 号码 金额 密码"),
        ("15 B2 1000", "15 网点编号 金额 密码"),
        ("15 B2 735194", "15 网点编号 金额 密码"),
        ("16", "16 金额"),
        ("16 100 73519", "16 金额"),
        ("17 735194 415926", "17 旧密码 新密码 新密码"),
        ("18 13900000003", "18 丢失的号码 密码"),
        ("19", "19 密码"),
        ("19 5", "19 密码"),
        ("Y 73519", "按询问短信回复"),
    ],
)
def test_a_slip_in_any_command_is_named_each_time(world: World, text: str, way: str) -> None:
    for _ in range(6):
        assert world.plain(text) == 0
        [shown] = texts(world)
        assert shown.startswith(("未受理(30)", "未办理(30)"))
        assert way in shown


@pytest.mark.parametrize(
    ("text", "way"), [("00 73519", "00"), ("11 x", "11"), ("12", "12 流水"), ("13 99", "13 月日")]
)
def test_a_slip_in_a_question_is_named_each_time(world: World, text: str, way: str) -> None:
    for _ in range(6):
        world.plain(text, to="0353910")
        assert way in texts(world)[0]


def test_a_strangers_slips_still_end_in_silence(world: World) -> None:
    for _ in range(6):
        world.plain("14 13712345678 50", source="13900000099")
    assert len(world.notices) == 3


def test_a_captured_packet_replayed_a_thousand_times_is_counted_and_not_told(world: World) -> None:
    packets = [world.packet(world.message(1)), world.packet(world.message(2, StkOperation.BALANCE))]
    for packet in packets:
        world.stk(packet)
    wait(world, 11 * MINUTE)
    world.notices.clear()
    rows = "SELECT count(*) FROM audit"
    with world.store.engine.connect() as txn:
        before = txn.exec_driver_sql(rows).scalar_one()
    for _ in range(500):
        for packet in packets:
            assert world.stk(packet) == 0
    assert world.topics() == ["outlet.refused.REPLAY"] * 3
    with world.store.engine.connect() as txn:
        assert txn.exec_driver_sql(rows).scalar_one() - before == 6  # three, the 10th, 100th and 1,000th
        assert txn.exec_driver_sql("SELECT again_n FROM heard WHERE words = 'replayed'").scalar_one() == 1_000
    assert world.asked() == 1


def test_a_packet_replayed_within_ten_minutes_is_told_a_few_times(world: World) -> None:
    packets = [world.packet(world.message(1)), world.packet(world.message(2, StkOperation.BALANCE))]
    for _ in range(100):
        for packet in packets:
            world.stk(packet)
    told = world.topics()
    assert told.count("outlet.settled") <= 6
    assert told.count("outlet.balance") <= 4
    assert world.asked() == 1


def test_a_corrected_pin_is_no_repetition(world: World) -> None:
    world.plain("13812345678 50 264081")
    world.plain("13812345678 50 264081")  # the SMS centre again: counted once
    world.plain(f"13812345678 50 {DEMO_PIN}")
    world.plain(f"13812345678 50 {DEMO_PIN}")
    refused = "outlet.refused.PIN_WRONG"
    again = "outlet.refused.DUPLICATE"
    assert world.topics() == [refused, again, *SETTLED, again]
    assert world.asked() == 1
