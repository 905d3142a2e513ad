"""The menu's message: layout byte by byte, every fault by name, random bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aircharge.errors import WireError
from aircharge.values import Pin
from aircharge.wire.ota import Command, KeySet, Spi, open_command, seal_command
from aircharge.wire.stk import FIELDS, Fault, StkMessage, StkOperation, decode, encode

PIN = Pin("736194")
RECHARGE = StkMessage(StkOperation.RECHARGE, 0x1122334455667788, PIN, 0x6AAAAAAA, "13812345678", 5000)
RECONFIRM = replace(RECHARGE, operation=StkOperation.RECONFIRM, earlier=0x99AABBCCDDEEFF00, repeat=2)
BALANCE = StkMessage(StkOperation.BALANCE, 1, Pin("0000"), 0)
LAST = StkMessage(StkOperation.LAST, (1 << 64) - 1, Pin("123456789012"), (1 << 32) - 1)
REVERSAL = replace(RECHARGE, operation=StkOperation.REVERSAL, consent="4711")
TRANSFER = replace(RECHARGE, operation=StkOperation.TRANSFER, target="", party="GX-17", amount_fen=1_000_000)
TICKET = replace(BALANCE, operation=StkOperation.TICKET, amount_fen=100_000)
PIN_CHANGE = replace(BALANCE, operation=StkOperation.PIN_CHANGE, new_pin=Pin("415926"))
STATUS = replace(BALANCE, operation=StkOperation.STATUS, reference=2_158_377)
TAKE_BACK = replace(STATUS, operation=StkOperation.TAKE_BACK, consent="4711")
RECAP = replace(BALANCE, operation=StkOperation.RECAP, date=20_261_323)

LAYOUTS = [
    (RECHARGE, "01 01 1122334455667788 13812345678f 00001388 01 26736194ffffffff 6aaaaaaa"),
    (RECONFIRM, "01 02 1122334455667788 99aabbccddeeff00 13812345678f 00001388 02 26736194ffffffff 6aaaaaaa"),
    (BALANCE, "01 03 0000000000000001 240000ffffffffff 00000000"),
    (REVERSAL, "01 05 1122334455667788 13812345678f 00001388 4711 26736194ffffffff 6aaaaaaa"),
    (
        replace(REVERSAL, consent=""),
        "01 05 1122334455667788 13812345678f 00001388 ffff 26736194ffffffff 6aaaaaaa",
    ),
    (
        TRANSFER,
        "01 06 1122334455667788 47582d3137000000 0000000000000000 000f4240 01 26736194ffffffff 6aaaaaaa",
    ),
    (TICKET, "01 07 0000000000000001 000186a0 240000ffffffffff 00000000"),
    (PIN_CHANGE, "01 08 0000000000000001 26415926ffffffff 240000ffffffffff 00000000"),
    (
        replace(TICKET, operation=StkOperation.COMMISSION, amount_fen=0),
        "01 09 0000000000000001 00000000 240000ffffffffff 00000000",
    ),
    (STATUS, "01 0a 0000000000000001 0020ef29 240000ffffffffff 00000000"),
    (RECAP, "01 0b 0000000000000001 013529cb 240000ffffffffff 00000000"),
    (replace(BALANCE, operation=StkOperation.HISTORY), "01 0c 0000000000000001 240000ffffffffff 00000000"),
    (TAKE_BACK, "01 0d 0000000000000001 0020ef29 4711 240000ffffffffff 00000000"),
    (LAST, "01 04 ffffffffffffffff 2c123456789012ff ffffffff"),
]


@pytest.mark.parametrize(("message", "layout"), LAYOUTS)
def test_layout_both_ways(message: StkMessage, layout: str) -> None:
    data = bytes.fromhex(layout)
    assert encode(message) == data
    assert decode(data) == message
    assert decode(data).pin.secret == message.pin.secret
    for end in range(len(data)):
        with pytest.raises(WireError):
            decode(data[:end])
    with pytest.raises(WireError) as caught:
        decode(data + b"\0")
    assert caught.value.hint == Fault.LENGTH


@pytest.mark.parametrize(
    ("layout", "fault"),
    [
        ("", Fault.LENGTH),
        ("02 01 1122334455667788 13812345678f 00001388 01 26736194ffffffff 6aaaaaaa", Fault.VERSION),
        ("01 00 1122334455667788 13812345678f 00001388 01 26736194ffffffff 6aaaaaaa", Fault.OPERATION),
        ("01 0e 1122334455667788 13812345678f 00001388 01 26736194ffffffff 6aaaaaaa", Fault.OPERATION),
        ("01 05 1122334455667788 13812345678f 00001388 47a1 26736194ffffffff 6aaaaaaa", Fault.CONSENT),
        (
            "01 06 1122334455667788 4758003137000000 0000000000000000 000f4240 01 26736194ffffffff 6aaaaaaa",
            Fault.PARTY,
        ),
        ("01 08 0000000000000001 36415926ffffffff 240000ffffffffff 00000000", Fault.PIN),
        ("01 0a 0000000000000001 ffffffff 240000ffffffffff 00000000", Fault.REFERENCE),
        ("01 0b 0000000000000001 ffffffff 240000ffffffffff 00000000", Fault.DATE),
        ("01 03 1122334455667788 13812345678f 00001388 01 26736194ffffffff 6aaaaaaa", Fault.LENGTH),
        ("01 01 1122334455667788 1381a345678f 00001388 01 26736194ffffffff 6aaaaaaa", Fault.TARGET),
        ("01 01 1122334455667788 1381f345678f 00001388 01 26736194ffffffff 6aaaaaaa", Fault.TARGET),
        ("01 01 1122334455667788 ffffffffffff 00001388 01 26736194ffffffff 6aaaaaaa", Fault.TARGET),
        ("01 01 1122334455667788 13812345678f 00001388 00 26736194ffffffff 6aaaaaaa", Fault.REPEAT),
        ("01 01 1122334455667788 13812345678f 00001388 01 06736194ffffffff 6aaaaaaa", Fault.PIN),
        ("01 01 1122334455667788 13812345678f 00001388 01 25736194ffffffff 6aaaaaaa", Fault.PIN),
        ("01 01 1122334455667788 13812345678f 00001388 01 2673619affffffff 6aaaaaaa", Fault.PIN),
        ("01 01 1122334455667788 13812345678f 00001388 01 23736fffffffffff 6aaaaaaa", Fault.PIN),
        ("01 01 1122334455667788 13812345678f 00001388 01 2d1234567890123f 6aaaaaaa", Fault.PIN),
        (
            "01 02 1122334455667788 1122334455667788 13812345678f 00001388 01 26736194ffffffff 6aaaaaaa",
            Fault.SERIAL,
        ),
    ],
)
def test_faults_have_names(layout: str, fault: Fault) -> None:
    with pytest.raises(WireError) as caught:
        decode(bytes.fromhex(layout))
    assert caught.value.hint == fault
    assert "736194" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"serial": 1 << 64}, Fault.SERIAL),
        ({"serial": -1}, Fault.SERIAL),
        ({"earlier": 5}, Fault.SERIAL),
        ({"operation": StkOperation.RECONFIRM}, Fault.SERIAL),
        ({"operation": StkOperation.RECONFIRM, "earlier": RECHARGE.serial}, Fault.SERIAL),
        ({"target": ""}, Fault.TARGET),
        ({"target": "1" * 13}, Fault.TARGET),
        ({"target": "１３８"}, Fault.TARGET),
        ({"amount_fen": 1 << 32}, Fault.AMOUNT),
        ({"amount_fen": -1}, Fault.AMOUNT),
        ({"repeat": 0}, Fault.REPEAT),
        ({"repeat": 256}, Fault.REPEAT),
        ({"pin": Pin("123")}, Fault.PIN),
        ({"pin": Pin("1234567890123")}, Fault.PIN),
        ({"pin": Pin("12a456")}, Fault.PIN),
        ({"sent_s": -1}, Fault.TIME),
        ({"sent_s": 1 << 32}, Fault.TIME),
    ],
)
def test_nothing_is_written_that_nobody_could_read(wrong: dict[str, object], fault: Fault) -> None:
    with pytest.raises(WireError) as caught:
        encode(replace(RECHARGE, **wrong))  # type: ignore[arg-type]
    assert caught.value.hint == fault


@pytest.mark.parametrize("family", ["aes", "3des"])
def test_the_longest_message_fits_one_sms(family: str) -> None:
    code = 0x12 if family == "aes" else 0x15
    keys = KeySet(bytes(range(16)), bytes(range(16, 32)), 1)
    command = Command(Spi.of(), code, code, bytes.fromhex("a1c001"), 1, encode(TRANSFER))
    packet = seal_command(command, keys)
    assert len(encode(TRANSFER)) == max(len(encode(message)) for message, _ in LAYOUTS)
    assert len(b"\x02\x70\x00" + packet) <= 140
    assert decode(open_command(packet, keys).data) == TRANSFER


def test_the_example_of_the_documentation() -> None:
    lines = (
        (Path(__file__).parents[2] / "docs" / "protocols" / "stk.md").read_text(encoding="utf-8").splitlines()
    )
    octets = [line.replace(" ", "") for line in lines if line.startswith("    ")]
    assert bytes.fromhex(octets[0]) == encode(RECHARGE)
    keys = KeySet(bytes(range(16)), bytes(range(16, 32)), 1)
    command = Command(Spi.of(), 0x12, 0x12, bytes.fromhex("a1c001"), 1, encode(RECHARGE))
    assert bytes.fromhex(octets[1] + octets[2]) == seal_command(command, keys)
    assert len(seal_command(replace(command, data=encode(RECONFIRM)), keys)) == 74


def test_neither_pin_nor_number_is_shown() -> None:
    shown = repr(RECHARGE) + str(RECHARGE)
    assert "736194" not in shown
    assert "13812345678" not in shown


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=50), st.integers(0, 14))
def test_random_bytes_give_an_error_or_a_message(data: bytes, operation: int) -> None:
    for candidate in (data, bytes((1, operation)) + data):
        try:
            message = decode(candidate)
        except WireError as error:
            assert error.hint in Fault.__members__.values()  # noqa: PT017  either outcome is right
        else:
            assert encode(message) == candidate


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(StkOperation),
    st.integers(1, (1 << 64) - 1),
    st.from_regex(r"[0-9]{4,12}", fullmatch=True),
    st.integers(0, (1 << 32) - 1),
    st.from_regex(r"[0-9]{1,12}", fullmatch=True),
    st.integers(0, (1 << 32) - 1),
    st.integers(1, 255),
)
def test_any_message_survives_the_round_trip(
    operation: StkOperation, serial: int, pin: str, sent_s: int, target: str, amount_fen: int, repeat: int
) -> None:
    values = {
        "earlier": 0,
        "target": target,
        "amount_fen": amount_fen,
        "repeat": repeat,
        "consent": target[:4],
        "party": f"D-{target}",
        "new_pin": Pin(pin[::-1]),
        "reference": amount_fen % 10**8,
        "date": amount_fen % 99_991_232,
    }
    given_fields = {name: values[name] for name in FIELDS[operation]}
    message = StkMessage(operation, serial, Pin(pin), sent_s, **given_fields)  # type: ignore[arg-type]
    assert decode(encode(message)) == message
