"""Plain texts and their one meaning (docs/channels/sms.md)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircharge.errors import Reason, Refusal
from aircharge.sms.grammar import (
    Ask,
    Balance,
    Deposit,
    Earned,
    History,
    Last,
    Lost,
    NewPin,
    Recap,
    Recharge,
    Reverse,
    Send,
    ServiceKind,
    Status,
    TakeBack,
    Unclear,
    Yes,
    parse,
)
from aircharge.values import AMOUNT_MAX_FEN, Msisdn, Pin

NUMBER = "13812345678"

RECHARGES = [
    # text, amount_fen, repeat, pin
    ("13812345678 50", 5000, 1, None),
    ("  13812345678   50 \r\n", 5000, 1, None),
    ("13812345678\t50", 5000, 1, None),
    ("13812345678\u3000\u300050", 5000, 1, None),
    ("13812345678\xa050", 5000, 1, None),
    ("13812345678 50", 5000, 1, None),
    ("+8613812345678 50", 5000, 1, None),
    ("008613812345678 50", 5000, 1, None),
    ("8613812345678 50", 5000, 1, None),
    ("+86 138 1234 5678 50", 5000, 1, None),
    ("138-1234-5678 50", 5000, 1, None),
    ("+86-138-1234-5678 50", 5000, 1, None),
    ("138 1234 5678 50", 5000, 1, None),
    ("\u202a13812345678\u202c 50\u200b", 5000, 1, None),
    ("\ufeff13812345678 50\x00", 5000, 1, None),
    ("13812345678 50元", 5000, 1, None),
    ("13812345678 50 元", 5000, 1, None),
    ("13812345678 50块", 5000, 1, None),
    ("13812345678 50块钱", 5000, 1, None),
    ("13812345678 ¥50", 5000, 1, None),
    ("13812345678 ￥50", 5000, 1, None),
    ("13812345678 50.", 5000, 1, None),
    ("13812345678 50。", 5000, 1, None),
    ("13812345678 50元!", 5000, 1, None),
    ("13812345678,50", 5000, 1, None),
    ("13812345678, 50", 5000, 1, None),
    ("13812345678,50,654321", 5000, 1, "654321"),
    ("13812345678、50", 5000, 1, None),
    ("13812345678#50", 5000, 1, None),
    ("13812345678#50#654321", 5000, 1, "654321"),
    ("13812345678+50", 5000, 1, None),
    ("13812345678+50+654321", 5000, 1, "654321"),
    ("13812345678 50 654321", 5000, 1, "654321"),
    ("13812345678 50元 654321", 5000, 1, "654321"),
    ("138 1234 5678 50 654321", 5000, 1, "654321"),
    ("13812345678 50*2", 5000, 2, None),
    ("13812345678 50 *2", 5000, 2, None),
    ("13812345678 50 * 2", 5000, 2, None),
    ("13812345678 50＊2", 5000, 2, None),
    ("13812345678 50×2", 5000, 2, None),
    ("13812345678 50元*3", 5000, 3, None),
    ("13812345678 50*2元", 5000, 2, None),
    ("13812345678 50*2 654321", 5000, 2, "654321"),
    ("13812345678 50*1", 5000, 1, None),
    ("13812345678 50.5", 5050, 1, None),
    ("13812345678 50.05", 5005, 1, None),
    ("13812345678 0.01", 1, 1, None),
    ("13812345678 100000000", AMOUNT_MAX_FEN, 1, None),
]

FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {0x20: 0x3000}


@pytest.mark.parametrize(("text", "amount_fen", "repeat", "pin"), RECHARGES)
@pytest.mark.parametrize("width", ["half", "full"])
def test_recharge(text: str, amount_fen: int, repeat: int, pin: str | None, width: str) -> None:
    if width == "full":
        text = text.translate(FULL_WIDTH)
    expected = Recharge(Msisdn(NUMBER), amount_fen, repeat, Pin(pin) if pin else None)
    assert parse(text, ServiceKind.RECHARGE) == expected


REFUSED = [
    ("1381234567 50", Reason.NUMBER),  # a digit short
    ("138123456789 50", Reason.NUMBER),  # a digit long
    ("12812345678 50", Reason.NUMBER),  # no such segment
    ("01088886666 50", Reason.NUMBER),
    ("010-88886666 50", Reason.NUMBER),
    ("+85291234567 50", Reason.NUMBER),
    ("88886666 50 654321", Reason.NUMBER),
    ("13812345678 0", Reason.AMOUNT),
    ("13812345678 0.00", Reason.AMOUNT),
    ("13812345678 00", Reason.AMOUNT),
    ("13812345678 050", Reason.AMOUNT),
    ("13812345678 50.005", Reason.AMOUNT),
    ("13812345678 50.000", Reason.AMOUNT),
    ("13812345678 100000000.01", Reason.AMOUNT),
    ("13812345678 10000000000000000000", Reason.AMOUNT),
    ("13812345678 " + "9" * 60, Reason.AMOUNT),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_a_slip_in_number_or_amount_is_named(text: str, reason: Reason) -> None:
    with pytest.raises(Refusal) as refused:
        parse(text, ServiceKind.RECHARGE)
    assert refused.value.reason is reason


UNCLEAR = [
    "",
    " ",
    "?",
    "你好",
    "帮助",
    "50",
    "13812345678",
    "1381234567850",
    "50 13812345678",
    "13812345678 13912345678",
    "13812345678 13912345678 50",
    "13812345678 50 13912345678",
    "13812345678 8613912345678",
    "13812345678 -50",
    "13812345678 - 50",
    "13812345678-50",
    "13812345678.50",
    "13812345678*50",
    "13812345678 +-50",
    "13812345678 1e3",
    "13812345678 5O",
    "13812345678 fifty",
    "13812345678 五十",
    "13812345678 50²",
    "13812345678 ٥٠",
    "13812345678 50 2",
    "13812345678 50 30",
    "13812345678 50 65432",
    "13812345678 50 6543210",
    "13812345678 654321 50",
    "13812345678 1,234567",  # a thousands comma, or a PIN?
    "13812345678,1 234567",
    "13812345678 1,000",
    "13812345678 50*0",
    "13812345678 50*10",
    "13812345678 50*2*2",
    "13812345678 50**2",
    "13812345678 .5",
    "13812345678 50.5.5",
    "13812345678 50元5",
    "13812345678  50 651 321",
    "1 3812345678 50",
    "13812345678 50 " + " " * 5 + "x",
    "13812345678 " + "9" * 80,
]


@pytest.mark.parametrize("text", UNCLEAR)
def test_unclear(text: str) -> None:
    assert parse(text, ServiceKind.RECHARGE) == Unclear()


@pytest.mark.parametrize(
    ("text", "ask"),
    [
        ("00", Balance()),
        ("００", Balance()),
        (" 00 \n", Balance()),
        ("00。", Balance()),
        ("00 654321", Balance(Pin("654321"))),
        ("00#654321", Balance(Pin("654321"))),
        ("11", Last()),
        ("１１", Last()),
        ("11\u3000６５４３２１", Last(Pin("654321"))),
        ("0", Unclear()),
        ("000", Unclear()),
        ("1", Unclear()),
        ("12", Unclear()),
        ("00 11", Unclear()),
        ("00 6543", Unclear()),
        ("00654321", Unclear()),
        ("OO", Balance()),
        ("0 0", Balance()),
        ("13812345678 50", Unclear()),
        ("", Unclear()),
    ],
)
def test_query(text: str, ask: object) -> None:
    assert parse(text, ServiceKind.QUERY) == ask


NOISE = st.text(alphabet="0123456789+-*#.,， 　＊０５８元块¥\t\nx", max_size=40) | st.text(max_size=120)


@given(NOISE, st.sampled_from(ServiceKind))
def test_any_text_has_a_meaning_or_a_reason(text: str, kind: ServiceKind) -> None:
    try:
        ask = parse(text, kind)
    except Refusal as refusal:
        reason = refusal.reason
    else:
        reason = None
    if reason is not None:
        assert reason in (Reason.NUMBER, Reason.AMOUNT)
        assert kind is ServiceKind.RECHARGE
        return
    if isinstance(ask, Recharge):
        digits = "".join(
            sign for sign in text.translate({v: k for k, v in FULL_WIDTH.items()}) if sign.isdigit()
        )
        assert ask.target in digits
        assert 0 < ask.amount_fen <= AMOUNT_MAX_FEN
        assert 1 <= ask.repeat <= 9


@given(
    st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True),
    st.integers(1, AMOUNT_MAX_FEN),
    st.integers(1, 9),
    st.none() | st.from_regex(r"[0-9]{6}", fullmatch=True),
    st.sampled_from([" ", "  ", ",", "，", "#", "\t"]),
    st.booleans(),
)
def test_what_is_written_is_read(
    number: str, amount_fen: int, repeat: int, pin: str | None, separator: str, wide: bool
) -> None:
    amount = f"{amount_fen // 100}.{amount_fen % 100:02d}" if amount_fen % 100 else str(amount_fen // 100)
    text = separator.join([number, amount + (f"*{repeat}" if repeat > 1 else ""), *([pin] if pin else [])])
    if wide:
        text = text.translate(FULL_WIDTH)
    if len(amount) == 11 and amount.isdigit() and amount[:1] == "1" and amount[1] in "3456789":
        return  # an amount that looks like a second number is not read at all
    assert parse(text, ServiceKind.RECHARGE) == Recharge(
        Msisdn(number), amount_fen, repeat, Pin(pin) if pin else None
    )


PIN, NEW = Pin("736194"), Pin("415926")


@pytest.mark.parametrize(
    ("text", "ask"),
    [
        ("14 13812345678 50 736194", Reverse(Msisdn(NUMBER), 5000, PIN)),
        ("14 138 1234 5678 50元 736194 4711", Reverse(Msisdn(NUMBER), 5000, PIN, "4711")),
        ("１４，１３８１２３４５６７８，５０，７３６１９４", Reverse(Msisdn(NUMBER), 5000, PIN)),
        ("14 12345678 736194", TakeBack("12345678", PIN)),
        ("14 12345678 736194 4711", TakeBack("12345678", PIN, "4711")),
        ("14 1234567 736194", Unclear()),
        ("15 GX-17 1000 736194", Send("GX-17", 100_000, PIN)),
        ("15 10086 1000*2 736194", Send("10086", 100_000, PIN, 2)),
        ("16 5000", Deposit(500_000)),
        ("16 5000元 736194", Deposit(500_000, PIN)),
        ("17 736194 415926 415926", NewPin(PIN, NEW, NEW)),
        ("18 +86 139 0000 0002 736194", Lost(Msisdn("13900000002"), PIN)),
        ("18 13900000002", Unclear()),
        ("19 736194", Earned(PIN)),
        ("19 12.5 736194", Earned(PIN, 1250)),
        ("y", Yes()),
        ("Ｙ", Yes()),
        ("是。", Yes()),
        ("Y 736194", Yes(PIN)),
        ("14 13812345678 50", Unclear()),
        ("14 13812345678 50 7361", Unclear()),
        ("15 GX 17 1000 736194", Unclear()),
        ("15 GX17 -1 736194", Unclear()),
        ("17 736194 415926", Unclear()),
        ("17 7361944 415926 415926", Unclear()),
        ("18 736194", Unclear()),
        ("yes please", Unclear()),
    ],
)
def test_acts(text: str, ask: Ask) -> None:
    assert parse(text, ServiceKind.RECHARGE) == ask


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("14 12812345678 50 736194", None),
        ("14 13812345678 0 736194", Reason.AMOUNT),
        ("15 GX 0 736194", Reason.AMOUNT),
        ("15 GX 10000000000000000000 736194", Reason.AMOUNT),
        ("16 0", Reason.AMOUNT),
        ("16 100000000.01", Reason.AMOUNT),
        ("19 0.001 736194", Reason.AMOUNT),
    ],
)
def test_amounts_that_cannot_be_are_named(text: str, reason: Reason | None) -> None:
    if reason is None:
        assert parse(text, ServiceKind.RECHARGE) == Unclear()
        return
    with pytest.raises(Refusal) as caught:
        parse(text, ServiceKind.RECHARGE)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("text", "ask"),
    [
        ("10", History()),
        ("10 736194", History(PIN)),
        ("12 12345678", Status("12345678")),
        ("12 13812345678 736194", Status(NUMBER, PIN)),
        ("13", Recap()),
        ("13 736194", Recap("", PIN)),
        ("13 1122", Recap("1122")),
        ("13 20261122 736194", Recap("20261122", PIN)),
        ("12", Unclear()),
        ("12 123", Unclear()),
        ("13 112", Unclear()),
        ("14 13812345678 50 736194", Unclear()),
    ],
)
def test_questions(text: str, ask: Ask) -> None:
    assert parse(text, ServiceKind.QUERY) == ask
