"""The simulated terminal before a centre that tells lies: what it refuses, what it keeps, and when it keeps it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aircharge.simulators import pos
from aircharge.simulators.pos_terminal import Memory, Outcome, PosTerminal, TerminalSettings
from aircharge.wire.iso8583.message import Message
from aircharge.wire.iso8583.profile import PROFILES
from aircharge.wire.iso8583.terminal import Demand, Header, Sums, WorkingKeys, open_message, seal_message

MASTER = bytes(range(1, 17))
PIK, MAK = bytes(range(17, 33)), bytes(range(33, 49))
CUP = PROFILES["cup"]
TARGET = "13812345678"

Lie = Callable[[Message], None]


def now(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of something that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


class Centre:
    """Says 00 to all, under the right MAC; ``lie`` changes an answer before it is signed, ``touch`` after."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.kept: list[dict[str, Any]] = []  # the memory as it was when octets arrived
        self.lie: Lie = lambda answer: None
        self.touch: Callable[[bytes], bytes | None] = lambda octets: octets
        self.mak = MAK
        self.header = Header()
        self.is_signed = True
        settings = TerminalSettings(master=MASTER)
        self.terminal = PosTerminal(settings, self.exchange, keep=self._keep)

    def _keep(self, memory: Memory) -> None:
        self.written = memory.to_json()

    async def exchange(self, octets: bytes) -> bytes | None:
        _, request = open_message(octets, CUP)
        self.heard.append(request)
        self.kept.append(self.written)
        answer = Message(request.answer_mti, {n: request.fields[n] for n in (11, 41, 42, 60)})
        answer.fields[39] = "00"
        if request.text(60)[8:] in ("003", "001") and request.mti == "0800":
            answer.fields[62] = WorkingKeys.wrapped(MASTER, PIK, MAK).encode()
        if request.mti == "0500":
            answer.fields[48] = request.text(48) + "2"
        self.lie(answer)
        is_signed = self.is_signed and 64 in request.fields
        sealed = seal_message(self.header, answer, CUP, "cup-ecb" if is_signed else "", self.mak)
        return self.touch(sealed)

    def do(self, verb: str, *words: Any, **more: Any) -> Outcome:
        outcome: Outcome = now(getattr(self.terminal, verb)(*words, **more))
        return outcome

    def say(self, *words: str) -> Outcome:
        line: Any = SimpleNamespace(is_cut_next=False, reactor=None)
        outcome: Outcome = now(pos.perform(line, self.terminal, words))
        return outcome


@pytest.fixture
def centre() -> Centre:
    made = Centre()
    assert made.do("sign_in").code == "00"
    return made


def _keys(part: slice) -> Lie:
    def lie(answer: Message) -> None:
        octets = bytearray(answer.octets(62))
        octets[part] = bytes(octet ^ 1 for octet in octets[part])
        answer.fields[62] = bytes(octets)

    return lie


def _without_keys(answer: Message) -> None:
    answer.fields[62] = b"12345"


@pytest.mark.parametrize(
    "lie",
    [_keys(slice(16, 20)), _keys(slice(36, 40)), _keys(slice(0, 16)), _without_keys],
    ids=["PIK check", "MAK check", "PIK", "length"],
)
def test_keys_that_do_not_prove_themselves_are_not_taken(lie: Lie) -> None:
    centre = Centre()
    centre.lie = lie
    assert centre.do("sign_in").code == "key"
    assert (centre.terminal.memory.pik, centre.terminal.memory.mak) == ("", "")
    assert centre.do("sale", TARGET, 5000).code == "77"


def test_what_is_owed_is_kept_before_the_sale_leaves(centre: Centre) -> None:
    """Power may go at any moment: after it the terminal still knows its trace and what it must take back."""
    centre.do("sale", TARGET, 5000)
    sale, kept = centre.heard[-1], centre.kept[-1]
    assert (sale.mti, kept["trace"]) == ("0200", int(sale.text(11)))
    memory = Memory.from_json(kept)
    assert memory.owed is not None
    assert (memory.owed["11"], memory.owed["4"], memory.owed["39"]) == (sale.text(11), "000000005000", "98")
    assert centre.terminal.memory.owed is None


def _other_trace(answer: Message) -> None:
    answer.fields[11] = "009999"


def _other_terminal(answer: Message) -> None:
    answer.fields[41] = "10000002"


def _other_type(answer: Message) -> None:
    answer.mti = "0810"


@pytest.mark.parametrize("lie", [_other_trace, _other_terminal, _other_type])
def test_an_answer_to_something_else_is_none_and_the_sale_is_taken_back_first(
    centre: Centre, lie: Lie
) -> None:
    centre.lie = lie
    assert centre.do("sale", TARGET, 5000).code == ""
    sale = centre.heard[-1]
    assert centre.do("sale", TARGET, 3000).code == ""
    assert [message.mti for message in centre.heard[-2:]] == ["0200", "0400"]  # no second sale went out
    assert centre.heard[-1].text(11) == sale.text(11)
    centre.lie = lambda answer: None
    assert centre.do("sale", TARGET, 3000).code == "00"
    assert [message.mti for message in centre.heard[-2:]] == ["0400", "0200"]
    assert [line.amount_fen for line in centre.terminal.memory.journal] == [3000]


def test_an_approval_without_a_mac_or_under_another_key_is_none(centre: Centre) -> None:
    centre.is_signed = False
    assert centre.do("sale", TARGET, 5000).code == ""
    centre.is_signed, centre.mak = True, PIK
    assert centre.do("clear").code == ""
    assert centre.terminal.memory.owed is not None
    centre.mak = MAK
    assert centre.do("clear").code == "00"
    assert centre.terminal.memory.owed is None


def test_silence_to_a_reversal_is_asked_again_with_the_same_content(centre: Centre) -> None:
    centre.touch = lambda octets: None
    centre.do("sale", TARGET, 5000)
    for _ in range(3):
        assert centre.do("clear").code == ""
    asked = [message.fields for message in centre.heard[-3:]]
    assert asked[0] == asked[1] == asked[2]
    assert centre.do("void", 1).code == ""
    assert centre.heard[-1].mti == "0400"


def test_a_settlement_that_differs_is_uploaded_fifteen_lines_at_a_time(centre: Centre) -> None:
    for _ in range(16):
        centre.do("sale", TARGET, 1000)
    assert centre.do("settle").code == "00"
    assert [message.mti for message in centre.heard[-4:]] == ["0500", "0320", "0320", "0320"]
    assert Sums.decode(centre.heard[-4]) == Sums(16_000, 16)
    assert [message.text(48)[:2] for message in centre.heard[-3:-1]] == ["15", "01"]
    assert centre.heard[-1].text(48) == "0016"
    assert (centre.terminal.memory.batch, centre.terminal.memory.journal) == (2, [])


def test_a_pin_block_under_another_key_is_another_block(centre: Centre) -> None:
    centre.do("sale", TARGET, 5000, "123456")
    sound = centre.heard[-1].octets(52)
    centre.do("sale", TARGET, 5000, "123456", fault="wrong-pin-key")
    assert len(sound) == len(centre.heard[-1].octets(52)) == 8
    assert sound != centre.heard[-1].octets(52)


def test_the_header_asks_for_a_sign_in(centre: Centre) -> None:
    centre.header = Header().demanding(Demand.SIGN_IN)
    centre.do("balance")
    wanted = [centre.terminal.wants]
    centre.header = Header()
    centre.do("sign_in")
    assert [*wanted, centre.terminal.wants] == [Demand.SIGN_IN, Demand.NONE]


@pytest.mark.parametrize(
    "words",
    [
        ["sell"],
        ["sale", TARGET],
        ["sale", "12345", "50"],
        ["sale", TARGET, "-5"],
        ["sale", TARGET, "5.5"],
        ["void", "first"],
        ["reprint", "1234567"],
        ["wait", "soon"],
        ["balance", "1", "2"],
        ["sale", TARGET, "repeat"],
        ["sale", TARGET, "50", "nonsense"],
        ["sale", TARGET, "50", "123456", "nonsense"],
        ["sale", TARGET, "50*0"],
        ["void", "repeat"],
        ["void", "7", "12"],
        ["balance", "last"],
        ["check", "everybody"],
    ],
)
def test_a_statement_that_says_nothing_sends_nothing(centre: Centre, words: list[str]) -> None:
    before = len(centre.heard)
    with pytest.raises(pos.BadStatement) as caught:
        centre.say(*words)
    assert len(centre.heard) == before
    assert not {TARGET, "123456"} & set(str(caught.value).replace(":", " ").split())


def test_statements(centre: Centre) -> None:
    assert centre.say("sale", TARGET, "50", "123456", "repeat").code == "00"
    assert centre.heard[-1].fields == centre.heard[-2].fields
    assert centre.say("clear").slip == "nothing is owed"
    assert centre.say("forget").code == "00"
    assert centre.terminal.memory.journal == []
    assert centre.say("cut").code == "00"
    assert centre.say("sale", TARGET, "50*2").code == "00"
    assert (centre.heard[-1].text(4), centre.heard[-1].text(57)) == ("000000005000", "REPEAT=2")


def test_what_is_owed_is_taken_back_before_the_settlement(centre: Centre) -> None:
    centre.touch = lambda octets: None
    centre.say("sale", TARGET, "50")
    assert centre.say("settle").code == ""
    assert centre.heard[-1].mti == "0400"
    centre.touch = lambda octets: octets
    assert centre.say("settle").slip == "it differs: 0 lines uploaded"
    assert [message.mti for message in centre.heard[-3:]] == ["0400", "0500", "0320"]
    assert centre.terminal.memory.owed is None


def test_the_slip_bears_the_trace_that_void_and_reprint_ask_for(centre: Centre) -> None:
    outcome = centre.say("sale", TARGET, "50")
    shown = pos._shown(["sale", TARGET, "50"], outcome, centre.terminal, as_json=False)
    assert shown == f"sale 138****5678 50: 00 (trace {centre.terminal.memory.trace})"
    slip = Outcome("00", f"号码 {TARGET}\n流水 138123456789")
    shown = pos._shown(["last"], slip, centre.terminal, as_json=False)
    assert shown == "last: 00 号码 138****5678 | 流水 138123456789"


def test_what_is_owed_is_said_where_nothing_came(centre: Centre) -> None:
    centre.touch = lambda octets: None
    words = ["sale", TARGET, "50"]
    outcome = centre.say(*words)
    shown = pos._shown(words, outcome, centre.terminal, as_json=False)
    owed = f"trace {centre.terminal.owed_trace} is to be taken back first"
    assert shown == f"sale 138****5678 50: no answer ({owed})"


@pytest.mark.parametrize("content", ["nonsense", "{}", '{"journal": []}x', '{"journal": [], "x": 1}', "[]"])
def test_a_state_file_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "state").write_text(content)
    with pytest.raises(pos.BadStatement, match="not what a terminal remembers"):
        pos._kept(tmp_path / "state")


@pytest.mark.parametrize(
    "words",
    [["--source", "65536"], ["--source", "x"], ["--fsk-profile", "x"], ["--mac", "x"], ["--profile", "x"]],
)
def test_options_that_cannot_be(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        pos.main(["--master-key-file", "none", *words, "echo"])
    assert caught.value.code == 2
    assert len(capsys.readouterr().err) < 3000


def test_parameters_are_shown_as_they_came(centre: Centre) -> None:
    def lie(answer: Message) -> None:
        answer.fields[62] = "VERSION=1\n欢迎".encode("gbk")

    centre.lie = lie
    assert centre.say("download").slip == centre.terminal.memory.parameters == "VERSION=1\n欢迎"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["sale", TARGET, "50", "246810"], "sale 138****5678 50 ***: 00"),
        (["sale", TARGET, "50", "246810", "repeat"], "sale 138****5678 50 *** repeat: 00"),
        (["void", "7", "246810"], "void 7 ***: 00"),
        (["balance", "246810"], "balance ***: 00"),
        (["check", TARGET], "check 138****5678: 00"),
    ],
)
def test_no_pin_and_no_whole_number_is_shown(centre: Centre, words: list[str], shown: str) -> None:
    assert pos._shown(words, Outcome("00"), centre.terminal, as_json=False) == shown
    said = pos._shown(words, Outcome("00"), centre.terminal, as_json=True)
    assert "246810" not in said
    assert TARGET not in said


@pytest.mark.parametrize(
    ("words", "with_pin"),
    [
        (["sale", TARGET, "50"], ["sale", TARGET, "50", "1234"]),
        (["sale", TARGET, "50", "repeat"], ["sale", TARGET, "50", "1234", "repeat"]),
        (["sale", TARGET, "50", "9999"], ["sale", TARGET, "50", "9999"]),
        (["sale", TARGET], ["sale", TARGET]),
        (["void", "7"], ["void", "7", "1234"]),
        (["balance"], ["balance", "1234"]),
        (["last"], ["last"]),
    ],
)
def test_the_pin_of_a_file_stands_where_none_was_typed(words: list[str], with_pin: list[str]) -> None:
    assert pos._with_pin(words, "1234") == with_pin
    assert pos._with_pin(words, "") == words
