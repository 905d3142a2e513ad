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

PLACES = {
    "tpdu": ("tpdu", "iso8583"),
    "hdlc": ("hdlc", "iso8583"),
    "stx": ("stx", "iso8583"),
    "fsk": ("fsk", "iso8583"),
    "audio": ("fsk-audio", "iso8583"),
    "fixed-line": ("fsk", "fsk"),
    "gateway": ("fsk-gateway", "fsk"),
}
"""Framing and application by the place's name; terminal n is at the n-th."""
NAMES = tuple(PLACES)
OUTLET = Shop("C1", "13900000001", "89860000000000000001", float_fen=1_000_000)
MERCHANT = "898110200000001"
BAUD = 9600
PLACE = """
[[pos.place]]
name = "{name}"
endpoint = "tcp:{port}:interface=127.0.0.1"
framing = "{framing}"
application = "{application}"
baud = {baud}
"""


class Counter:
    """The instance, and a terminal at each place."""

    def __init__(self, folder: Path) -> None:
        self.places = {name: free_port() for name in NAMES}
        places = "".join(
            PLACE.format(name=name, framing=framing, application=application, port=port, baud=BAUD)
            for (name, port), (framing, application) in zip(self.places.items(), PLACES.values(), strict=True)
        )
        self.instance = Instance(folder, free_ports(), response_timeout_s=10.0, extra=places)
        self.instance.create([OUTLET])
        self.keys = {name: secrets.token_hex(16) for name in NAMES}
        self._inject()

    def _inject(self) -> None:
        ring = load(self.instance.config_file).key_ring(SystemRandomness())
        engine = create_engine(f"sqlite:///{self.instance.ledger_file}")
        with engine.begin() as txn:
            outlet_id = txn.execute(text("SELECT id FROM outlet")).scalar_one()
            for number, name in enumerate(NAMES, 1):
                txn.execute(
                    text(
                        "INSERT INTO terminal (id, code, outlet_id, kind, created_ms, merchant, module, key_version)"
                        " VALUES (:id, :code, :outlet, 'pos', 1, :merchant, :module, 1)"
                    ),
                    {
                        "id": number,
                        "code": self.code(name),
                        "outlet": outlet_id,
                        "merchant": MERCHANT,
                        "module": self.module(name),
                    },
                )
                wrapped = ring.seal(bound_master(number, 1), bytes.fromhex(self.keys[name]))
                txn.execute(
                    text(
                        "INSERT INTO terminal_key (terminal_id, version, wrapped, family, state, made_ms)"
                        " VALUES (:id, 1, :wrapped, '3des', 1, 1)"
                    ),
                    {"id": number, "wrapped": wrapped},
                )
                path = self.instance.folder / f"{name}.key"
                path.touch(mode=0o600)
                path.write_text(self.keys[name])
        engine.dispose()

    @staticmethod
    def code(name: str) -> str:
        return f"1000000{NAMES.index(name) + 1}"

    @staticmethod
    def module(name: str) -> str:
        return f"{NAMES.index(name) + 1:016d}"

    def say(self, name: str, *statements: str, options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """What the terminal's clerk sees, a row a statement."""
        folder, (framing, language) = self.instance.folder, PLACES[name]
        command = [sys.executable, "-m", "aircharge.simulators.pos", "--json", "--wait", "20"]
        command += [
            "--connect",
            f"tcp:{HOST}:{self.places[name]}",
            "--framing",
            framing,
            "--baud",
            str(BAUD),
        ]
        command += ["--terminal", self.code(name), "--master-key-file", str(folder / f"{name}.key")]
        command += ["--language", language, "--module", self.module(name)]
        command += ["--state", str(folder / f"{name}.json"), *options, "-"]
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


@pytest.mark.parametrize("name", NAMES)
def test_a_day(counter: Counter, name: str) -> None:
    """Signs in, sells, loses an answer, takes it back, sells on, settles: the operator has what the journal has."""
    is_short = PLACES[name][0] == "fsk-audio"
    if is_short:
        pytest.importorskip("numpy", reason="the audio extra is not installed")
    targets = iter(f"1380000{n}{NAMES.index(name)}00" for n in (1, 2, 3))
    day = [statement.format(next(targets)) if "{}" in statement else statement for statement in DAY]
    codes = CODES
    if is_short:
        day, codes = ([item for part in SHORT for item in of[part]] for of in (day, CODES))
    said = counter.say(name, *day)
    assert [row["code"] for row in said] == codes
    lost = f"13800002{NAMES.index(name)}00"
    counter.instance.wait_until(
        "the lost sale to be taken back",
        lambda: counter.value(f"SELECT state FROM txn WHERE kind = 1 AND msisdn = '{lost}'") == 7,
    )
    asker = f"pos:{counter.code(name)}"
    settled = counter.value(f"SELECT count(*) FROM txn WHERE kind = 1 AND state = 4 AND asker = '{asker}'")
    assert settled == (1 if is_short else 2)
    assert counter.value(f"SELECT state FROM pos_batch WHERE terminal_id = {NAMES.index(name) + 1}") == 1


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
