"""Every topic, every reason and every state has its words, and they fit one SMS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aircharge.errors import ConfigError, Reason
from aircharge.ledger.commands import NoticeRow
from aircharge.sms.phrases import (
    LANGUAGES,
    CheckCode,
    Phrases,
    built_in_templates,
    load_templates,
    preview,
    reason_codes,
)
from aircharge.values import State

GSM7_BASIC = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
AT_MS = 1_795_400_460_000  # 2026-11-23 02:21:00 UTC, 10:21 in Shanghai
FACTS: dict[str, Any] = {
    "order_id": 900_000_1234,
    "target": "13812345678",
    "amount_fen": 5000,
    "cost_fen": 4950,
    "before_fen": 100_000,
    "after_fen": 95_050,
    "at_ms": AT_MS,
    "outlet": "A1023",
    "first_id": 1234,
    "first_at_ms": AT_MS,
    "balance_fen": 95_050,
    "available_fen": 90_050,
    "held_fen": 5000,
    "today_n": 12,
    "today_fen": 60_000,
    "repeat_next": 2,
}


@pytest.fixture(scope="module")
def phrases() -> Phrases:
    return Phrases(CheckCode(bytes(range(32))))


@pytest.mark.parametrize(
    ("topic", "more", "zh"),
    [
        ("outlet.settled", {}, "成功:13812345678充50.00元,流水00001234。余额1000.00-49.50=950.50元。"),
        ("outlet.balance", {}, "余额950.50元,可用900.50,在途50.00。今日12笔600.00元。"),
        ("outlet.last", {"state": "SETTLED"}, "上笔11-23 10:21 13812345678 50.00元 成功 流水00001234。"),
        (
            "outlet.refused",
            {"reason": "DUPLICATE"},
            "未受理(26):10:21已充13812345678 50.00元,流水00001234。确需再充请发:号码 50*2",
        ),
        (
            "outlet.refused",
            {"reason": "NUMBER"},
            "失败(14)号码无效:13812345678充50.00元,流水00001234。未扣款,余额950.50元。",
        ),
        (
            "outlet.refused",
            {"reason": "PIN_WRONG", "tries_left": 0, "locked_until_ms": AT_MS + 1_800_000},
            "密码错误3次,已锁定至10:51。如非本人操作请立即联系客户经理。",
        ),
        (
            "outlet.refused",
            {"reason": "PIN_WRONG", "tries_left": 2, "locked_until_ms": 0},
            "未受理(55):密码错误,还可试2次,未扣款。",
        ),
        (
            "outlet.refused",
            {"reason": "PIN_LOCKED", "locked_until_ms": 1 << 62},
            "密码已锁定,本次未受理(75)。请联系客户经理解锁。",
        ),
    ],
)
def test_wording(phrases: Phrases, topic: str, more: dict[str, Any], zh: str) -> None:
    facts = {**FACTS, "order_id": 1234, **more}
    assert phrases.phrase(topic, facts, "zh") == zh
    assert phrases.phrase(topic, facts, "en").isascii()


def test_customer_reads_a_masked_number_and_a_check_code(phrases: Phrases) -> None:
    code = CheckCode(bytes(range(32))).of(FACTS["order_id"], "13812345678", 5000)
    text = phrases.phrase("customer.settled", FACTS, "zh")
    assert text == f"您的号码138****5678已充值50.00元,10:21,流水00001234,网点A1023,校验{code}。"
    assert "13812345678" not in phrases.phrase("customer.settled", FACTS, "en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_and_every_state_is_in_every_table(phrases: Phrases, language: str) -> None:
    table = built_in_templates()[language]
    assert {key for key in table if key.startswith("outlet.refused.")} == {
        f"outlet.refused.{reason.name}" for reason in Reason
    }
    assert set(reason_codes()) == set(Reason)
    for state in State:
        assert f"word.{state.name}" in table
        assert phrases.phrase("outlet.state", {**FACTS, "state": state.name}, language)
    for reason in Reason:
        bare = phrases.phrase("outlet.refused", {"reason": reason.name}, language)
        full = phrases.phrase("outlet.refused", {**FACTS, "reason": reason.name}, language)
        assert bare
        assert full
        if reason not in (Reason.OK, Reason.PIN_LOCKED, Reason.PIN_WRONG):
            assert reason.code in full


def test_both_tongues_have_the_same_wordings() -> None:
    tables = built_in_templates()
    assert set(tables["zh"]) == set(tables["en"])


def test_every_wording_fits_one_sms_with_the_longest_values() -> None:
    for shown in preview(built_in_templates()):
        assert shown.text, f"{shown.language} {shown.key} uses a fact without sample value"
        assert shown.fits, f"{shown.language} {shown.key}: {shown.length} > {shown.length_max}: {shown.text}"
        if shown.language == "en":
            assert set(shown.text) <= GSM7_BASIC
            assert shown.length == len(shown.text)


def test_longer_values_take_a_shorter_variant(phrases: Phrases) -> None:
    facts = {**FACTS, "outlet": "WESTLAKE-0010023", "amount_fen": 10_000_000_00}
    text = phrases.phrase("customer.settled", facts, "zh")
    assert len(text) <= 70
    assert "校验" in text
    huge = dict.fromkeys(("before_fen", "after_fen", "cost_fen"), 10**12)
    assert len(phrases.phrase("outlet.settled", {**FACTS, **huge}, "zh")) <= 70


def test_topics_without_order(phrases: Phrases) -> None:
    for language in LANGUAGES:
        for topic in ("outlet.help", "outlet.last-notice", "sender.unknown"):
            assert phrases.phrase(topic, {}, language)
        for reason in Reason:
            assert phrases.phrase("outlet.help", {"reason": reason.name}, language)
        assert phrases.phrase("outlet.last", {"order_id": 0}, language)
    assert phrases.phrase("outlet.help", {}, "fr") == phrases.phrase("outlet.help", {}, "zh")
    with pytest.raises(LookupError):
        phrases.phrase("no.such.topic", {})


def test_a_row_of_the_outbox_is_worded(phrases: Phrases) -> None:
    row = NoticeRow(1, 1234, "outlet.pending", "13900000001", "0353911", "en", FACTS, 0, 1)
    assert phrases.word(row).startswith("In process: 13812345678 50.00 yuan, ref 00001234.")


def test_check_code_is_keyed_and_checks() -> None:
    ours, theirs = CheckCode(b"a" * 32), CheckCode(b"b" * 32)
    code = ours.of(7, "13812345678", 5000)
    assert len(code) == 4
    assert set(code) <= set(CheckCode.ALPHABET)
    assert ours.is_ours(f" {code.lower()} ", 7, "13812345678", 5000)
    assert not ours.is_ours(code, 7, "13812345678", 5001)
    assert not ours.is_ours("é", 7, "13812345678", 5000)
    assert code != theirs.of(7, "13812345678", 5000)
    with pytest.raises(ValueError, match="16 octets"):
        CheckCode(b"short")


def test_own_wordings_replace_ours(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        '[zh]\n"outlet.help" = "请发:号码 金额"\n"outlet.settled" = ["好:{target} {amount}"]\n', "utf-8"
    )
    own = Phrases(CheckCode(bytes(16)), load_templates(str(path)))
    assert own.phrase("outlet.help", {}, "zh") == "请发:号码 金额"
    assert own.phrase("outlet.settled", FACTS, "zh") == "好:13812345678 50.00"
    assert own.phrase("outlet.help", {}, "en").startswith("Not understood")


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ('[fr]\n"outlet.help" = "x"', "fr"),
        ('[zh]\n"outlet.hilfe" = "x"', "zh.outlet.hilfe"),
        ('[zh]\n"outlet.help" = "{pin}"', "zh.outlet.help"),
        ('[zh]\n"outlet.help" = "{after}"', "zh.outlet.help"),
        ('[zh]\n"outlet.help" = "{target.__class__}"', "zh.outlet.help"),
        ('[zh]\n"outlet.help" = "{"', "zh.outlet.help"),
        ('[zh]\n"outlet.help" = 5', "zh.outlet.help"),
        ('[zh]\n"outlet.help" = []', "zh.outlet.help"),
        (f'[zh]\n"outlet.help" = "{"长" * 71}"', "zh.outlet.help"),
        ('[en]\n"outlet.help" = "[x]"', "en.outlet.help"),
        ('[zh]\n"outlet.settled" = "{after}"', "zh.outlet.settled"),
        ("[zh", "-"),
    ],
)
def test_a_wrong_wording_is_named(tmp_path: Path, content: str, key: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(content, "utf-8")
    with pytest.raises(ConfigError) as wrong:
        load_templates(str(path))
    assert wrong.value.key == key


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_templates("/nonexistent/own.toml")
