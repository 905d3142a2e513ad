"""Fixed-line terminals' own message at the door: what each request is answered, shown, printed and ordered to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from aircharge.errors import InDoubt
from aircharge.ledger.terminals import SignIn as LedgerSignIn
from aircharge.pos import codes
from aircharge.pos.door import PosSection
from aircharge.pos.fsk_door import FskDoor
from aircharge.pos.settings import PosSettings
from aircharge.pos.slips import REFUSALS
from aircharge.protocols.pos_line import PosServer
from aircharge.protocols.pos_place import PosPlace
from aircharge.protocols.shell import Ticker
from aircharge.simulators.pos_call import CallFactory, PosCall
from aircharge.simulators.pos_fsk_terminal import FskTerminal
from aircharge.simulators.pos_terminal import TerminalSettings
from aircharge.wire.fsk_message import FskMessage, mac_input
from aircharge.wire.fsk_octets import Operation
from aircharge.wire.fsk_outlet import Answered, Asked, Head
from aircharge.wire.fsk_profiles import PROFILE_2001, STRICT_RULES, Transaction
from aircharge.wire.fsk_wishes import (
    Balance,
    Echo,
    Original,
    Recharge,
    Reprint,
    Reversal,
    Settlement,
    SignIn,
    SignOut,
    Upload,
    Void,
    Wish,
)
from aircharge.wire.iso8583.crypto import MACS, encrypt, pin_block
from aircharge.wire.lri import Caller
from aircharge.wire.pos_link import Message as Frame
from tests.fuzz.mutation import mutants
from tests.ledger.desk import PHONES, PIN, WRONG
from tests.pos.shop import MASTER, MODULE, Shop, now
from tests.wire.test_fsk_outlet import WISHES

PROFILE = replace(PROFILE_2001, rules=STRICT_RULES)
TARGET = "13812345678"


class Set:
    """A terminal that asks for anything, right or wrong, and reads what it is told."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.trace = shop, 0
        self.door = FskDoor(shop.serving())
        known = TerminalSettings(module=MODULE, master=MASTER, mac=shop.settings.mac)
        self.terminal = FskTerminal(known, lambda content: self.door.answer(Frame(content)))
        self.head = Head(MODULE, 1)
        self.caller: Caller | None = None

    @property
    def mac(self) -> Any:
        return partial(MACS[self.shop.settings.mac], bytes.fromhex(self.terminal.memory.mak))

    def content(self, wish: Wish, *, code: int = 0, mac: Any = None, **head: Any) -> bytes:
        self.trace = head.pop("trace", self.trace + 1)
        asked = Asked(replace(self.head, trace=self.trace, **head), wish, code=code)
        needs = PROFILE.rules[asked.transaction].request and self.terminal.memory.mak
        return asked.encode(mac or (self.mac if needs else None), PROFILE)

    def send(self, content: bytes) -> bytes | None:
        said: bytes | None = now(self.door.answer(Frame(content, None, self.caller)))
        return said

    def ask(self, wish: Wish, **how: Any) -> Answered | None:
        said = self.send(self.content(wish, **how))
        return None if said is None else Answered.decode(said, PROFILE)

    def code_of(self, wish: Wish, **how: Any) -> str:
        """The code shown; "" for silence."""
        answer = self.ask(wish, **how)
        return "" if answer is None else answer.reply.shown.code


def sale(
    number: str = TARGET, fen: int = 5000, pin: bytes = b"", repeat: int = 1, batch: int = 1
) -> Recharge:
    return Recharge(number, fen, pin, repeat, batch)


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.close()


@pytest.fixture
def terminal(shop: Shop) -> Set:
    made = Set(shop)
    assert now(made.terminal.sign_in()).code == "00"
    made.trace = 100
    return made


def test_every_code_has_words_that_fit_a_screen() -> None:
    known = {value for name, value in vars(codes).items() if name in codes.__all__ and isinstance(value, str)}
    assert set(REFUSALS) == (known | set(codes.CODES.values())) - {codes.APPROVED}
    assert all(len(words.encode("gbk")) <= 40 for words in REFUSALS.values())


def test_what_a_recharge_shows_and_prints(terminal: Set) -> None:
    answer = terminal.ask(sale(), code=174)
    assert answer is not None
    assert answer.is_genuine(terminal.mac, PROFILE)
    assert (answer.code, answer.head.trace, answer.reply.hangs_up) == (174, 101, True)
    shown, slip = answer.reply.shown, answer.reply.slip
    assert (shown.code, shown.lines[:3]) == ("00", ("充值成功", f"号码 {TARGET}", "金额 50.00元"))
    assert slip is not None
    assert [record.line for record in slip.records[:3]] == [
        "充值成功",
        "终端 10000001 凭证 000101",
        f"号码 {TARGET}",
    ]
    assert (slip.records[0].mark, slip.records[-1].mark) == ("%B1", "%E1")
    again = terminal.ask(sale(), trace=101, is_again=True)
    assert again is not None
    assert again.head.is_again
    assert again.reply == answer.reply
    assert terminal.shop.books.money("A") == (95_000, 0)


def test_a_sign_in_brings_keys_and_the_batch(shop: Shop) -> None:
    terminal = Set(shop)
    content = terminal.send(terminal.content(SignIn()))
    assert content is not None
    answer = Answered.decode(content, PROFILE)
    assert answer.reply.keys is not None
    assert [(key.record, len(key.value)) for key in answer.reply.keys.keys] == [(41, 20), (42, 20)]
    numbers = [operation.number for operation in FskMessage.decode(content, PROFILE.answer).operations]
    assert numbers == [0x39, 0x16, 0x22, 0x26]
    assert not any(answer.mac)
    terminal.terminal.memory.batch = 9
    assert now(terminal.terminal.sign_in()).code == "00"
    assert terminal.terminal.memory.batch == 1


def test_what_the_terminal_is_ordered_to_do_next() -> None:
    shop = Shop(parameters=("A=1",), parameters_version=2)
    terminal = Set(shop)
    now(terminal.terminal.sign_in())
    answer = terminal.ask(Balance())
    assert answer is not None
    assert (answer.transaction, answer.reply.hangs_up) == (Transaction.PARAMETERS, False)
    assert now(terminal.terminal.download()).code == "00"
    shop.books.wait(80_000_000)
    answer = terminal.ask(Balance())
    assert answer is not None
    assert (answer.transaction, answer.reply.hangs_up) == (Transaction.SIGN_IN, False)
    shop.close()


def test_an_unequal_batch_is_uploaded_and_as_many_lines_as_were_told(terminal: Set) -> None:
    books = terminal.shop.books
    now(terminal.terminal.sale(TARGET, 5000))
    terminal.terminal.memory.journal[0].amount_fen = 4000
    assert terminal.code_of(Upload(1)) == "95"  # nothing was told
    assert now(terminal.terminal.settle()).code == "00"
    assert books.rows("SELECT their_fen, our_fen FROM pos_detail") == [(4000, 5000)]
    assert books.value("SELECT batch FROM terminal_session") == 2


def test_a_daemon_that_forgot_an_upload_has_it_settled_again(terminal: Set) -> None:
    now(terminal.terminal.sale(TARGET, 5000))
    unequal = Settlement(1, 1, 4000, 0, 0)
    answer = terminal.ask(unequal)
    assert answer is not None
    assert (answer.transaction, answer.reply.hangs_up) == (Transaction.UPLOAD, False)
    assert terminal.code_of(Upload(1, ((1, 4000),))) == "00"
    terminal.door = FskDoor(terminal.shop.serving())
    assert terminal.code_of(Upload(1)) == "95"
    assert terminal.ask(unequal) is not None
    assert [terminal.code_of(Upload(1, ((1, 4000),))), terminal.code_of(Upload(1))] == ["00", "00"]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (sale(batch=0), "30"),
        (sale(batch=2), "95"),
        (sale(repeat=100), "30"),
        (sale(number="1"), "14"),
        (sale(fen=0), "13"),
        (sale(pin=bytes(8)), "99"),
        (Void(5, batch=0), "30"),
        (Void(5, batch=1), "25"),
        (Reversal(Original(5, bytes(8)), 0, 1), "30"),
        (Reversal(Original(5, bytes(8)), 5000, 0), "30"),
        (Reversal(Original(5, bytes(8)), 5000, 2), "95"),
        (Reversal(Original(5, bytes(8)), 5000, 1), "00"),
        (Reprint(5, 1), "25"),
        (Reprint(0, 1), "25"),
        (Reprint(0), "30"),
        (Echo(), "00"),
        (SignOut(), "00"),
    ],
    ids=range(17),
)
def test_each_its_own_code(terminal: Set, wish: Wish, said: str) -> None:
    answer = terminal.ask(wish)
    assert answer is not None
    assert answer.reply.shown.code == said
    if said != "00":
        assert answer.reply.shown.lines[0] == f"交易失败 {said}"
    if said not in ("30", "00"):
        assert answer.is_genuine(terminal.mac, PROFILE)


def test_a_reversal_names_the_sale_and_a_late_sale_is_refused(terminal: Set) -> None:
    assert terminal.code_of(Reversal(Original(500, bytes(8)), 5000, 1)) == "00"
    assert terminal.code_of(sale(), trace=500) == "12"
    content = terminal.content(sale(), trace=501)
    answer = terminal.send(content)
    assert answer is not None
    assert Answered.decode(answer, PROFILE).reply.shown.code == "00"
    for other in (bytes(8), content[-8:-1] + b"?"):
        assert terminal.code_of(Reversal(Original(501, other), 5000, 1)) == "94"
    assert terminal.shop.books.money("A") == (95_000, 0)
    assert terminal.code_of(Reversal(Original(501, content[-8:]), 5000, 1)) == "00"
    for _ in range(2):
        now(terminal.shop.cancels.round())
    assert terminal.shop.books.money("A") == (100_000, 0)


def test_void_and_reprint_by_trace_alone(terminal: Set) -> None:
    key = bytes.fromhex(terminal.terminal.memory.pik)
    assert terminal.code_of(sale(), trace=500) == "00"
    copies = [terminal.ask(Reprint(trace, 1)) for trace in (0, 500, 0)]
    assert [copy.reply.shown.code for copy in copies if copy] == ["00", "00", "40"]
    assert terminal.code_of(Void(500, pin_block=encrypt(key, pin_block(WRONG)), batch=1)) == "55"
    assert terminal.code_of(Void(500, 4000, encrypt(key, pin_block(PIN)), batch=1)) == "25"
    assert terminal.code_of(Void(500, pin_block=encrypt(key, pin_block(PIN)), batch=1)) == "00"
    assert terminal.shop.books.money("A") == (100_000, 0)


def test_who_has_not_proved_to_be_it(terminal: Set) -> None:
    other = partial(MACS["cup-ecb"], bytes(16))
    for wish in (sale(), Balance(), SignOut(), Reversal(Original(1, bytes(8)), 5000, 1)):
        answer = terminal.ask(wish, mac=other)
        assert answer is not None
        assert (answer.reply.shown.code, any(answer.mac)) == ("A0", False)
        assert answer.transaction is Transaction.SIGN_IN
    assert terminal.code_of(sale(), security_module="9" * 16) == "97"
    terminal.terminal.memory.mak = ""
    assert terminal.code_of(sale()) == "A0"  # none at all
    now(terminal.terminal.sign_in())
    assert terminal.code_of(SignOut()) == "00"
    assert terminal.code_of(sale()) == "77"
    assert terminal.shop.books.value("SELECT count(*) FROM txn WHERE kind = 1") == 0


def test_what_is_no_request(terminal: Set) -> None:
    unknown = terminal.send(terminal.content(Echo(), code=999))
    assert unknown is not None
    message = FskMessage.decode(unknown, PROFILE.answer)
    assert (message.fields["transaction"], message.data(0x22)[0][1:3]) == ("00000999", b"12")
    assert terminal.send(unknown) is None  # an answer is not answered
    assert terminal.send(b"") is None
    number_missing = terminal.content(sale()).replace(b"\x0b" + TARGET.encode(), b"\x0b" + b"1381234567a")
    answer = terminal.send(number_missing)
    assert answer is not None
    assert Answered.decode(answer, PROFILE).reply.shown.code == "30"
    said = terminal.shop.board.meters.registry.exposition()
    for line in ('act="none",said="unreadable"', 'act="unknown",said="12"', 'act="unknown",said="30"'):
        assert f"pos_answers_total{{{line}}}" in said


def test_whatever_a_terminal_signs() -> None:
    shop = Shop()
    terminal = Set(shop)
    now(terminal.terminal.sign_in())

    @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
    @given(st.sampled_from([*Transaction]).flatmap(WISHES.__getitem__), st.integers(1, 9))
    def answered(wish: Wish, trace: int) -> None:
        if hasattr(wish, "batch") and trace % 3:
            wish = replace(wish, batch=1)
        said = terminal.code_of(wish, trace=trace)
        assert said in REFUSALS or said in ("", "00")
        if isinstance(wish, SignIn | SignOut):
            now(terminal.terminal.sign_in())

    answered()
    shop.close()


def test_octets_of_strangers(terminal: Set) -> None:
    sound = [terminal.content(wish) for wish in (sale(), Balance(), Upload(1, ((1, 1),)), SignIn(), Echo())]
    for content in islice(mutants(sound, 5), 300):
        said = terminal.send(content)
        if said is not None:
            code = FskMessage.decode(said, PROFILE.answer).data(0x22)[0][1:3].decode()
            assert code == "00" or code in REFUSALS
    assert terminal.shop.books.value("SELECT count(*) FROM txn WHERE kind = 1") <= 1


@pytest.mark.parametrize(("ani", "said"), [(PHONES["A"], "00"), ("", "62"), ("13999999999", "62")])
def test_who_calls(terminal: Set, ani: str, said: str) -> None:
    terminal.caller = Caller(ani, "95516")
    answer = terminal.ask(sale())
    assert answer is not None
    assert (answer.reply.shown.code, answer.phone) == (said, ani)


def test_silence(terminal: Set) -> None:
    terminal.shop.world.line.answers = [InDoubt("no answer")]
    assert terminal.code_of(sale()) == ""
    terminal.shop.ledger.lose = LedgerSignIn
    assert terminal.code_of(SignIn()) == ""


def test_what_does_not_fit_is_no_configuration() -> None:
    place = (PosPlace("f", "tcp:0", "fsk", "fsk"),)
    assert PosSection(PosSettings(parameters=("A" * 100,)), place).place == place
    with pytest.raises(ValueError, match="parameters"):
        PosSection(PosSettings(parameters=("A" * 200, "B" * 100)), place)
    with pytest.raises(ValueError, match="cup-aes"):
        PosSection(PosSettings(profile="cup-aes", mac="aes-cmac"), place)
    with pytest.raises(ValueError, match="fsk_profile"):
        PosSettings(fsk_profile="2002")


@pytest.mark.parametrize("framing", ["fsk", "fsk-gateway"])
def test_over_its_lines(shop: Shop, framing: str) -> None:
    """The terminal's call and the place, octets carried between them; a gateway's header comes back as it went."""
    clock: Any = Clock()
    door = FskDoor(shop.serving())
    place = PosPlace("f", "tcp:0", framing, "fsk")
    server = PosServer(place, Ticker(clock), door.answer, shop.spawn, shop.chance)
    line, call = (
        server.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5)),
        CallFactory(clock, framing).buildProtocol(None),
    )
    assert line is not None
    near, far = StringTransport(), StringTransport()
    line.makeConnection(near)
    call.makeConnection(far)
    terminal = FskTerminal(TerminalSettings(module=MODULE, master=MASTER), call.exchange)
    for work in (terminal.sign_in(), terminal.sale(TARGET, 5000), terminal.settle()):
        assert carried(work, clock, line, near, call, far).code == "00"
    assert shop.books.money("A") == (95_000, 0)
    assert shop.books.value("SELECT state FROM pos_batch") == 1


def carried(
    work: Any, clock: Any, line: Any, near: StringTransport, call: PosCall, far: StringTransport
) -> Any:
    """The result of ``work``, while octets go to and fro."""
    result: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(result.append)
    for _ in range(2000):
        if result:
            return result[0]
        for source, sink in ((near, call), (far, line)):
            octets = source.value()
            source.clear()
            if octets:
                sink.dataReceived(octets)
        clock.advance(0.05)
    raise AssertionError("no end")


def test_no_modules_number_is_nobodys(shop: Shop) -> None:
    with shop.books.store.writing() as txn:
        txn.exec_driver_sql("UPDATE terminal SET module = ''")
    terminal = Set(shop)
    terminal.head = Head("", 1)
    assert terminal.code_of(SignIn()) == "97"


@pytest.mark.parametrize("wish", [SignIn(), Echo()])
def test_what_anybody_may_ask_gives_no_mac_to_forge_a_sale_with(terminal: Set, wish: Wish) -> None:
    """A MAC of cup-ecb holds for any message whose blocks have the same XOR; operation 13 holds any octets."""
    said = terminal.send(terminal.content(wish))
    assert said is not None
    layout = PROFILE.request
    asked = FskMessage.decode(terminal.content(sale(), mac=lambda covered: said[-8:]), layout)
    *others, mac = asked.operations
    blank = replace(asked, operations=(*others, Operation.bare(0x13, bytes(8)), mac)).encode(layout)
    at = len(blank) - 16  # of the eight octets that are free
    free = fold(mac_input(blank), mac_input(said))
    free = free[at % 8 :] + free[: at % 8]
    forged = blank[:at] + free + blank[at + 8 :]
    answer = terminal.send(forged)
    assert answer is not None
    assert Answered.decode(answer, PROFILE).reply.shown.code == "A0"


def fold(*texts: bytes) -> bytes:
    """The XOR of all blocks."""
    total = 0
    for text in texts:
        padded = text + bytes(-len(text) % 8)
        for at in range(0, len(padded), 8):
            total ^= int.from_bytes(padded[at : at + 8], "big")
    return total.to_bytes(8, "big")
