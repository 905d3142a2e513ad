"""Payment terminals before the real daemon: a day over each framing, through the ledger and the operator."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from aircharge.config import load
from aircharge.instance import HOST, Instance, Shop, free_port, free_ports
from aircharge.machine import SystemRandomness
from aircharge.pos.shelf import bound_master
from tests.system.audit import audit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FRAMINGS = ("tpdu", "hdlc", "stx", "fsk", "fsk-audio")
DAYS = FRAMINGS[:4]
OUTLET = Shop("C1", "13900000001", "89860000000000000001", float_fen=1_000_000)
MERCHANT = "898110200000001"
BAUD = 9600
PLACE = """
[[pos.place]]
name = "{framing}"
endpoint = "tcp:{port}:interface=127.0.0.1"
framing = "{framing}"
baud = {baud}
"""


class Counter:
    """The instance, and terminal n at the n-th framing."""

    def __init__(self, folder: Path) -> None:
        self.places = {framing: free_port() for framing in FRAMINGS}
        places = "".join(PLACE.format(framing=f, port=p, baud=BAUD) for f, p in self.places.items())
        self.instance = Instance(folder, free_ports(), response_timeout_s=10.0, extra=places)
        self.instance.create([OUTLET])
        self.keys = {framing: secrets.token_hex(16) for framing in FRAMINGS}
        self._inject()

    def _inject(self) -> None:
        ring = load(self.instance.config_file).key_ring(SystemRandomness())
        engine = create_engine(f"sqlite:///{self.instance.ledger_file}")
        with engine.begin() as txn:
            outlet_id = txn.execute(text("SELECT id FROM outlet")).scalar_one()
            for number, framing in enumerate(FRAMINGS, 1):
                txn.execute(
                    text(
                        "INSERT INTO terminal (id, code, outlet_id, kind, created_ms, merchant, key_version)"
                        " VALUES (:id, :code, :outlet, 'pos', 1, :merchant, 1)"
                    ),
                    {"id": number, "code": self.code(framing), "outlet": outlet_id, "merchant": MERCHANT},
                )
                wrapped = ring.seal(bound_master(number, 1), bytes.fromhex(self.keys[framing]))
                txn.execute(
                    text(
                        "INSERT INTO terminal_key (terminal_id, version, wrapped, family, state, made_ms)"
                        " VALUES (:id, 1, :wrapped, '3des', 1, 1)"
                    ),
                    {"id": number, "wrapped": wrapped},
                )
                path = self.instance.folder / f"{framing}.key"
                path.touch(mode=0o600)
                path.write_text(self.keys[framing])
        engine.dispose()

    @staticmethod
    def code(framing: str) -> str:
        return f"1000000{FRAMINGS.index(framing) + 1}"

    def say(self, framing: str, *statements: str, options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """What the terminal's clerk sees, a row a statement."""
        folder = self.instance.folder
        command = [sys.executable, "-m", "aircharge.simulators.pos", "--json", "--wait", "20"]
        command += [
            "--connect",
            f"tcp:{HOST}:{self.places[framing]}",
            "--framing",
            framing,
            "--baud",
            str(BAUD),
        ]
        command += ["--terminal", self.code(framing), "--master-key-file", str(folder / f"{framing}.key")]
        command += ["--state", str(folder / f"{framing}.json"), *options, "-"]
        done = subprocess.run(
            command, input="\n".join(statements), text=True, capture_output=True, timeout=200, check=False
        )
        assert done.stderr == "", done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def value(self, question: str) -> Any:
        engine = create_engine(f"sqlite:///{self.instance.ledger_file}")
        with engine.connect() as txn:
            found = txn.execute(text(question)).scalar()
        engine.dispose()
        return found


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    made = Counter(tmp_path_factory.mktemp("pos"))
    with made.instance as instance:
        instance.start()
        yield made
        instance.stop()
        assert audit(instance.ledger_file, instance.operator_file).problems == []


def test_a_sale_over_the_telephone(counter: Counter) -> None:
    """mu-law audio in real time, both ways."""
    pytest.importorskip("numpy", reason="the audio extra is not installed")
    said = counter.say("fsk-audio", "sign-in", "sale 13800007777 50")
    assert [row["code"] for row in said] == ["00", "00"]


@pytest.mark.parametrize("framing", DAYS)
def test_a_day(counter: Counter, framing: str) -> None:
    """Signs in, sells, loses an answer, takes it back, sells on, settles: the operator has what the journal has."""
    number = FRAMINGS.index(framing)
    first, lost, third = (f"1380000{n}{number}00" for n in (1, 2, 3))
    said = counter.say(
        framing,
        "sign-in",
        f"sale {first} 50",
        f"sale {lost} 30 lose-answer",
        "clear",
        f"sale {third} 20 repeat",
        "balance",
        "settle",
        "sign-out",
    )
    assert [row["code"] for row in said] == ["00", "00", "", "00", "00", "00", "00", "00"]
    assert said[6]["fields"]["48"][30:] == "1"
    counter.instance.wait_until(
        "the lost sale to be taken back",
        lambda: counter.value(f"SELECT state FROM txn WHERE kind = 1 AND msisdn = '{lost}'") == 7,
    )
    states = counter.value(
        f"SELECT count(*) FROM txn WHERE kind = 1 AND state = 4 AND asker = 'pos:{counter.code(framing)}'"
    )
    assert states == 2


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
