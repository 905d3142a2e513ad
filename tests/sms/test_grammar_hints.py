"""What people write instead of a command: read where its meaning is plain, hinted at where it is not."""

from __future__ import annotations

import pytest

from aircharge.sms.grammar import Balance, Recharge, ServiceKind, Status, Unclear, parse
from aircharge.values import Msisdn, Pin

ACT, ASK = ServiceKind.RECHARGE, ServiceKind.QUERY
FIFTY = Recharge(Msisdn("13812345678"), 5000)


@pytest.mark.parametrize(
    "number",
    ["8613712345678", "+8613712345678", "008613712345678", "137-1234-5678", "137 1234 5678", "13712345678"],
)
@pytest.mark.parametrize("kind", [ACT, ASK])
def test_a_number_is_found_however_it_is_written(number: str, kind: ServiceKind) -> None:
    assert parse(f"12 {number}", kind) == Status("13712345678")
    assert parse(f"12 {number} 654321", kind) == Status("13712345678", Pin("654321"))


@pytest.mark.parametrize(
    "text",
    [
        "\u206613812345678\u2069 50",
        "\u206713812345678\u2069 \u206850\u2069",
        "138\u00ad12345678 50",
        "13812345678 50\ufe0f",
        "138\u20121234\u20125678 50",
        "138\u20151234\u20155678 50",
        "13812345678 50?",
        "13812345678 50？",
        "13812345678 50@",
        "13812345678 50@@",
        '"13812345678" 50',
        '"13812345678 50"',
        "“13812345678” “50”",
        "‘13812345678’ 50.",
    ],
)
def test_a_recharge_is_read_where_its_meaning_is_plain(text: str) -> None:
    assert parse(text, ACT) == FIFTY


@pytest.mark.parametrize(
    "text", ["00", "“00”", '"00"', "余额", "查余额", "OO", "oo", "0O", "0 0", "00?", "00@"]
)
@pytest.mark.parametrize("kind", [ACT, ASK])
def test_the_balance_at_either_number(text: str, kind: ServiceKind) -> None:
    assert parse(text, kind) == Balance()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("50 13812345678", "swapped"),
        ("50元 138-1234-5678", "swapped"),
        ("13812345678", "only-number"),
        ("+86 138 1234 5678", "only-number"),
        ("13812345678 50 13912345678 30", "two"),
        ("13812345678 50,13912345678 30", "two"),
        ("充 13812345678 50", "word"),
        ("充值13812345678 50元", "word"),
        ("给13812345678充50", "word"),
        ("14 13812345678 50", "14"),
        ("hello", ""),
        ('138"12345678 50', ""),
        ("13812345678 5@0", ""),
        ("13812345678 5?0", ""),
        ("50 60", ""),
        ("1 3 8", ""),
    ],
)
def test_what_is_not_plain_is_hinted_at_and_never_carried_out(text: str, hint: str) -> None:
    ask = parse(text, ACT)
    assert isinstance(ask, Unclear)
    assert ask.verb == hint


@pytest.mark.parametrize("text", ["13812345678 50", "14 13812345678 50 654321", "15 GX-17 1000 654321", "Y"])
def test_an_order_to_the_query_number_is_no_order(text: str) -> None:
    ask = parse(text, ASK)
    assert isinstance(ask, Unclear)
    assert ask.verb == "query-number"
