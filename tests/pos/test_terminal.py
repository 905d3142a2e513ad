"""The simulated terminal before the real door: a day with faults, and books that agree with its journal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from aircharge.pos.fsk_door import FskDoor
from aircharge.pos.iso_door import IsoDoor
from aircharge.simulators.pos_fsk_terminal import FskTerminal
from aircharge.simulators.pos_terminal import Memory, PosTerminal, TerminalSettings
from aircharge.wire.iso8583.terminal import Demand
from aircharge.wire.pos_link import Message as Frame
from tests.ledger.desk import PIN
from tests.pos.shop import MASTER, MERCHANT, MODULE, Shop, now

LANGUAGES: Any = {"iso8583": (IsoDoor, PosTerminal), "fsk": (FskDoor, FskTerminal)}
PROFILES = {
    "cup": ("iso8583", {"profile": "cup"}),
    "ascii": ("iso8583", {"profile": "ascii"}),
    "2001": ("fsk", {"fsk_profile": "2001", "mac": "x9.19"}),
    "flow": ("fsk", {"fsk_profile": "flow"}),
}


class Counter:
    """A terminal and its door; ``gone`` octets are lost on the way there or back."""

    def __init__(self, shop: Shop, language: str = "iso8583", **settings: Any) -> None:
        self.shop = shop
        self.lost = ""
        door, terminal = LANGUAGES[language]
        self.door = door(shop.serving())
        names = {"profile": shop.settings.profile, "fsk_profile": shop.settings.fsk_profile}
        values = {"merchant": MERCHANT, "module": MODULE, "master": MASTER, **names, **settings}
        self.terminal: Any = terminal(TerminalSettings(mac=shop.settings.mac, **values), self.exchange)

    async def exchange(self, octets: bytes) -> bytes | None:
        if self.lost == "there":
            return None
        answer = await self.door.answer(Frame(octets))
        return None if self.lost == "back" else answer

    def do(self, verb: str, *words: Any, **more: Any) -> str:
        """DE 39, "" for no answer."""
        outcome = now(getattr(self.terminal, verb)(*words, **more))
        return "" if outcome is None else str(outcome.code)

    def rounds(self) -> None:
        for _ in range(3):
            now(self.shop.cancels.round())


@pytest.fixture(params=PROFILES)
def counter(request: pytest.FixtureRequest) -> Iterator[Counter]:
    language, settings = PROFILES[request.param]
    shop = Shop(parameters=("A=1",), **settings)
    made = Counter(shop, language)
    assert made.do("sign_in") == "00"
    yield made
    shop.close()


def test_a_day(counter: Counter) -> None:
    assert counter.do("download") == "00"
    assert counter.terminal.memory.parameters == "VERSION=1\nA=1"
    assert [counter.do("sale", "13812345678", 5000, PIN), counter.do("sale", "13812345679", 2000)] == [
        "00",
        "00",
    ]
    assert [
        counter.do("balance"),
        counter.do("last"),
        counter.do("check", "13812345678"),
        counter.do("echo"),
    ] == ["00"] * 4
    trace = counter.terminal.memory.journal[0].trace
    assert counter.do("reprint", trace) == "00"
    assert counter.do("void", trace, PIN) == "00"
    assert counter.do("settle") == "00"
    assert (counter.terminal.memory.batch, counter.terminal.memory.journal) == (2, [])
    assert counter.do("sale", "13812345670", 1000) == "00"
    assert counter.do("sign_out") == "00"
    assert [counter.do("sale", "13812345671", 1000), counter.do("void", 1), counter.do("balance")] == [
        "77"
    ] * 3
    assert counter.terminal.wants is Demand.SIGN_IN
    assert counter.shop.books.money("A") == (97_000, 0)


@pytest.mark.parametrize("lost", ["there", "back"])
def test_a_lost_message_is_taken_back_before_the_next_sale(counter: Counter, lost: str) -> None:
    counter.lost = lost
    assert [counter.do("sale", "13812345678", 5000), counter.do("sale", "13812345679", 5000)] == ["", ""]
    counter.lost = ""
    assert counter.terminal.memory.owed is not None
    assert counter.do("sale", "13812345670", 1000) == "00"
    assert counter.terminal.memory.owed is None
    counter.rounds()
    assert counter.shop.books.money("A") == (99_000, 0)
    assert counter.do("settle") == "00"
    assert counter.shop.books.value("SELECT state FROM pos_batch") == 1


# the fault, what the clerk sees, what is left on the float once all is over
FAULTS = [
    ("lose-answer", "", 100_000),
    ("repeat", "00", 95_000),
    ("wrong-mac", "A0", 100_000),
    ("trailing", "30", 100_000),  # "" of a fixed-line terminal: no message at all
    ("no-bitmap", "", 100_000),  # no op codes
    ("other-content", "94", 95_000),
    ("never-sent", "", 100_000),
]


@pytest.mark.parametrize(("fault", "code", "left"), FAULTS)
def test_faults(counter: Counter, fault: str, code: str, left: int) -> None:
    is_silent = fault == "trailing" and isinstance(counter.terminal, FskTerminal)
    assert counter.do("sale", "13812345678", 5000, fault=fault) == ("" if is_silent else code)
    counter.do("sign_in")
    counter.do("clear")
    counter.rounds()
    assert counter.shop.books.money("A") == (left, 0)
    assert counter.terminal.memory.owed is None


def test_a_batch_that_differs_is_uploaded(counter: Counter) -> None:
    for n in range(17):
        assert counter.do("sale", f"138123456{n:02d}", 1000) == "00"
    counter.terminal.memory.journal.pop()
    assert counter.do("settle") == "00"
    assert counter.shop.books.value("SELECT state FROM pos_batch") == 3
    assert counter.shop.books.rows("SELECT said, count(*) FROM pos_detail GROUP BY said ORDER BY said") == [
        (0, 16),
        (3, 1),
    ]
    assert counter.terminal.memory.batch == 2


def test_the_memory_survives(counter: Counter) -> None:
    counter.do("sale", "13812345678", 5000)
    counter.lost = "back"
    counter.do("sale", "13812345679", 5000)
    kept = counter.terminal.memory.to_json()
    counter.terminal.memory = Memory.from_json(kept)
    counter.lost = ""
    assert (counter.do("clear"), counter.do("clear")) == ("00", "")
    assert counter.do("settle") == "00"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_terminal_with_another_master_key_refuses_its_keys(language: str) -> None:
    shop = Shop()
    assert Counter(shop, language, master=bytes(range(16))).do("sign_in") == "key"
    shop.close()


def test_answers_that_are_not_ours_are_none(counter: Counter) -> None:
    sound = counter.terminal._exchange
    for spoil in (lambda o: o[:-1] + bytes([o[-1] ^ 1]), lambda o: o[:9], lambda o: b""):

        async def spoiled(octets: bytes, spoil: Any = spoil) -> bytes | None:
            answer = await sound(octets)
            return spoil(answer) if answer else None

        counter.terminal._exchange = spoiled
        assert counter.do("balance") == ""
