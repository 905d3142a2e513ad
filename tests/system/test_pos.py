"""Payment terminals before the real daemon: a day over each framing, through the ledger and the operator."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aircharge.instance import HOST
from aircharge.wire.fsk import FskFrame, FskType
from aircharge.wire.fsk_outlet import Answered, Asked, Head
from aircharge.wire.fsk_wishes import Echo
from tests.system.audit import audit
from tests.system.pos_counter import OUTLET, Counter, Place

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PLACES = {
    "tpdu": ("tpdu", "iso8583"),
    "hdlc": ("hdlc", "iso8583"),
    "stx": ("stx", "iso8583"),
    "fsk": ("fsk", "iso8583"),
    "audio": ("fsk-audio", "iso8583"),
    "fixed-line": ("fsk", "fsk"),
    "gateway": ("fsk-gateway", "fsk"),
}
"""Framing and application by the place's name."""


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    places = {name: Place(*spoken) for name, spoken in PLACES.items()}
    made = Counter(tmp_path_factory.mktemp("pos"), places)
    with made.instance as instance:
        instance.start()
        yield made
        instance.stop()
        assert audit(instance.ledger_file, instance.operator_file).problems == []


DAY = (
    "sign-in",
    "sale {} 50",
    "sale {} 30 lose-answer",
    "clear",
    "sale {} 20 repeat",
    "balance",
    "settle",
    "sign-out",
)
CODES = ["00", "00", "", "00", "00", "00", "00", "00"]
SHORT = slice(0, 4), slice(6, 7)
"""Of a day what it takes in any case: mu-law audio goes in real time, both ways."""


@pytest.mark.parametrize("name", PLACES)
def test_a_day(counter: Counter, name: str) -> None:
    """Signs in, sells, loses an answer, takes it back, sells on, settles: the operator has what the journal has."""
    is_short = PLACES[name][0] == "fsk-audio"
    if is_short:
        pytest.importorskip("numpy", reason="the audio extra is not installed")
    targets = iter(f"1380000{n}{counter.number(name) - 1}00" for n in (1, 2, 3))
    day = [statement.format(next(targets)) if "{}" in statement else statement for statement in DAY]
    codes = CODES
    if is_short:
        day, codes = ([item for part in SHORT for item in of[part]] for of in (day, CODES))
    said = counter.say(name, *day)
    assert [row["code"] for row in said] == codes
    lost = f"13800002{counter.number(name) - 1}00"
    counter.instance.wait_until(
        "the lost sale to be taken back",
        lambda: counter.value(f"SELECT state FROM txn WHERE kind = 1 AND msisdn = '{lost}'") == 7,
    )
    asker = f"pos:{counter.code(name)}"
    settled = counter.value(f"SELECT count(*) FROM txn WHERE kind = 1 AND state = 4 AND asker = '{asker}'")
    assert settled == (1 if is_short else 2)
    assert counter.value(f"SELECT state FROM pos_batch WHERE terminal_id = {counter.number(name)}") == 1


def test_a_customer_is_told_and_the_terminal_is_not(counter: Counter) -> None:
    target = "13800009999"
    assert [row["code"] for row in counter.say("tpdu", "sign-in", f"sale {target} 50")] == ["00", "00"]
    inbox = counter.instance.centre("inbox", number=target, count=1, wait_s=50)["messages"]
    assert len(inbox) == 1
    assert "50" in inbox[0]["text"]


def test_split_at_every_octet(counter: Counter) -> None:
    said = counter.say("tpdu", "sign-in", "sale 13800008888 50", options=("--split",))
    assert [row["code"] for row in said] == ["00", "00"]


def test_the_line_is_cut_between_a_sale_and_its_answer(counter: Counter) -> None:
    """By its own means the terminal dials again, takes the sale back, and after a wrong MAC signs in."""
    target, pin = "13800006666", counter.instance.folder / "wrong.pin"
    pin.write_text("000000")
    said = counter.say("tpdu", "sign-in", "cut", f"sale {target} 50", "clear")
    assert [row["code"] for row in said] == ["00", "00", "", "00"]
    counter.instance.wait_until(
        "the sale to be taken back or never to have been",
        lambda: counter.value(f"SELECT state FROM txn WHERE kind = 1 AND msisdn = '{target}'") in (None, 7),
    )
    said = counter.say(
        "tpdu", f"sale {target} 30 wrong-mac", f"sale {target} 30", options=("--pin-file", str(pin))
    )
    assert [(row["say"][0], row["code"]) for row in said] == [
        ("sale", "A0"),
        ("sign-in", "00"),
        ("sale", "55"),
    ]


def test_from_a_number_of_another(counter: Counter) -> None:
    said = counter.say("tpdu", "echo", "sign-in", options=("--caller", "13999999999"))
    assert [row["code"] for row in said] == ["62", "62"]
    said = counter.say("tpdu", "sign-in", options=("--caller", OUTLET.phone))
    assert [row["code"] for row in said] == ["00"]


def test_a_recording_is_answered(counter: Counter, tmp_path: Path) -> None:
    """``aircharge audio answer`` beside the running daemon: what the centre says is heard again by a terminal."""
    modem = pytest.importorskip("aircharge.wire.modem.recording", reason="the audio extra is not installed")
    from aircharge.wire.modem.tones import BELL_202
    from aircharge.wire.modem.wav import read_wav, write_wav

    content = Asked(Head(counter.module("gateway"), 77), Echo()).encode()
    frame = FskFrame(FskType.FROM_TERMINAL, b"\x01\x02\x03\x04", 5, content)
    asked, said = tmp_path / "asked.wav", tmp_path / "said.wav"
    asked.write_bytes(write_wav(modem.spoken([modem.Said(b"\x55" * 30 + frame.encode(), 0.5)], BELL_202, 3)))
    place = f"tcp:{HOST}:{counter.places['gateway'].port}"
    command = [sys.executable, "-m", "aircharge.cli", "audio", "answer", str(asked), "--to", str(said)]
    subprocess.run([*command, "--connect", place], check=True, timeout=100)
    receipt, answer = modem.hear(read_wav(said.read_bytes())[0], BELL_202).frames
    assert (receipt.frame.kind, answer.frame.sequence) == (FskType.RECEIVED, 6)
    shown = Answered.decode(answer.frame.content)
    assert (shown.reply.shown.code, shown.head.trace) == ("00", 77)
