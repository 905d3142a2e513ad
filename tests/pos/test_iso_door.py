"""ISO 8583 at the door: each act, each way to be wrong, and its code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aircharge.errors import InDoubt
from aircharge.ledger.terminals import SignIn
from aircharge.outlets.cards import KeyRing
from aircharge.outlets.desk import Desk
from aircharge.outlets.terminal_injection import retire_key_txn
from aircharge.outlets.terminals import move_terminal_txn, sign_out_txn
from aircharge.pos.shelf import FRESH_S, MAK, PIK, TerminalShelf
from aircharge.wire.iso8583.crypto import encrypt, pin_block
from aircharge.wire.iso8583.message import Message, encode
from aircharge.wire.iso8583.terminal import Line, Sums, write_lines
from aircharge.wire.lri import Caller
from tests.ledger.desk import PHONES, PIN, WRONG
from tests.pos.handset import Handset
from tests.pos.shop import MASTER, Shop, now


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.close()


@pytest.fixture
def handset(shop: Shop) -> Handset:
    made = Handset(shop)
    made.sign_in()
    return made


def sealed_pin(handset: Handset, pin: str, pan: str = "", key: bytes = b"", fmt: int = 0) -> dict[int, Any]:
    block = encrypt(key or handset.pik, pin_block(pin, pan, fmt, bytes(range(8))))
    return {26: "06", 52: block, 53: f"{'2' if pan else '1'}600000000000000"}


# -- a day at the counter --------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["cup", "ascii"])
@pytest.mark.parametrize("mac", ["cup-ecb", "x9.9", "x9.19", "aes-cmac"])
def test_a_day(profile: str, mac: str) -> None:
    """Sign in, sell, lose an answer, take it back, void, settle, sign out."""
    shop = Shop(profile=profile, mac=mac)
    handset = Handset(shop)
    signed = handset.sign_in()
    assert signed is not None
    assert (signed.mti, signed.text(39), signed.text(60), signed.text(41)) == (
        "0810",
        "00",
        "22000001003",
        "10000001",
    )
    sale = handset.sale()
    answer = handset.ask_for(sale)
    assert answer is not None
    assert (answer.mti, answer.text(39), answer.text(4), answer.text(2)) == (
        "0210",
        "00",
        "000000005000",
        "13812345678",
    )
    assert (len(answer.text(37)), answer.text(63).split("\n")[:2]) == (12, ["充值成功", "号码 13812345678"])
    again = handset.ask_for(sale)
    assert again is not None
    assert again.fields[37] == answer.fields[37]
    lost = handset.sale("13812345679")
    handset.ask_for(lost)
    assert [handset.code_of(handset.cancel(lost)), handset.code_of(handset.cancel(lost))] == ["00", "00"]
    now(shop.cancels.round())
    now(shop.cancels.round())
    third = handset.sale("13812345670", 10_000)
    assert handset.code_of(third) == "00"
    void = handset.void(int(third.text(11)), 10_000, fields=sealed_pin(handset, PIN))
    assert handset.code_of(void) == "00"
    sums = handset.build("0500", {48: Sums(15_000, 2, 10_000, 1).encode()}, "201")
    settled = handset.ask_for(sums)
    assert settled is not None
    assert (settled.mti, settled.text(39), settled.text(48)[30:]) == ("0510", "00", "1")
    handset.batch += 1
    assert handset.code_of(handset.sale("13812345671")) == "00"
    assert handset.code_of(handset.build("0820", {}, "002")) == "00"
    assert handset.code_of(handset.sale("13812345672")) == "77"
    assert shop.books.money("A") == (90_000, 0)
    shop.close()


def test_questions(handset: Handset) -> None:
    assert handset.code_of(handset.ask("320000")) == "25"
    handset.ask_for(handset.sale())
    balance, last = handset.ask_for(handset.ask("310000")), handset.ask_for(handset.ask("320000"))
    assert balance is not None
    assert last is not None
    assert (balance.text(54), "余额 950.00元" in balance.text(63)) == ("0202156C000000095000", True)
    assert (last.text(2), last.text(4), last.text(44)) == ("13812345678", "000000005000", "SETTLED")
    check = handset.ask_for(handset.ask("330000", f2="13812345678"))
    assert check is not None
    assert (check.text(39), check.text(44)) == ("00", "op")
    assert handset.code_of(handset.ask("330000", f2="19912345678")) == "14"


def test_a_slip_again(handset: Handset) -> None:
    sale = handset.sale()
    handset.ask_for(sale)
    original = f"000001{sale.text(11)}"
    copies = [handset.ask_for(handset.ask("380000", f61=original)) for _ in range(3)]
    texts = [copy.text(63).split("\n")[0] if copy and copy.text(39) == "00" else "" for copy in copies]
    assert texts == ["充值凭证 重印1", "充值凭证 重印2", ""]
    assert copies[2] is not None
    assert copies[2].text(39) == "40"


def test_meant_again(handset: Handset) -> None:
    assert handset.code_of(handset.sale()) == "00"
    assert handset.code_of(handset.sale()) == "26"
    assert handset.code_of(handset.sale(fields={57: "REPEAT=2"})) == "00"


def test_echo_needs_no_session(shop: Shop) -> None:
    assert Handset(shop).code_of(Handset(shop).build("0820", {}, "301"), b"") == "00"


def test_an_uploaded_batch(handset: Handset) -> None:
    handset.ask_for(handset.sale())
    unequal = handset.ask_for(handset.build("0500", {48: Sums(9000, 2).encode()}, "201"))
    assert unequal is not None
    assert unequal.text(48)[30:] == "2"
    lines = [Line(1 + handset.trace - 2, 5000), Line(900, 4000), Line(901, 1, is_void=True)]
    assert handset.code_of(handset.build("0320", {48: write_lines(lines)}, "201")) == "00"
    assert handset.code_of(handset.build("0320", {48: "0009"}, "202")) == "95"
    assert handset.code_of(handset.build("0320", {48: write_lines(lines)}, "201")) == "00"
    assert handset.code_of(handset.build("0320", {48: "0003"}, "202")) == "00"
    assert handset.shop.books.value("SELECT count(*) FROM pos_detail") == 3
    assert handset.shop.books.value("SELECT batch FROM terminal_session") == 2


def test_an_upload_has_its_bounds() -> None:
    door = Handset(Shop(upload_max=1))
    door.sign_in()
    lines = write_lines([Line(1, 1), Line(2, 1)])
    assert door.code_of(door.build("0320", {48: lines}, "201")) == "30"
    door.shop.close()


def test_a_terminal_has_one_upload_at_a_time(handset: Handset) -> None:
    line = write_lines([Line(1, 5000)])
    for batch in range(1, 5):
        handset.batch = batch
        assert handset.code_of(handset.build("0320", {48: line}, "201")) == "00"
    assert [(each.batch, each.lines) for each in handset.door._counter._uploads.values()] == [(4, {1: 5000})]


def test_a_reversal_that_names_another_number_takes_nothing_back(handset: Handset) -> None:
    sale = handset.sale()
    handset.ask_for(sale)
    wish = handset.cancel(sale)
    wish.fields[2] = "13812345679"
    assert handset.code_of(wish) == "94"
    wish.fields[2] = "13812345678"
    assert handset.code_of(wish) == "00"


def test_parameters_are_asked_for_and_taken() -> None:
    shop = Shop(parameters=("SERVICE=10086", "名称=空中充值"), parameters_version=3)
    handset = Handset(shop)
    handset.sign_in()
    handset.code_of(handset.ask("310000"))
    assert handset.is_asked == "1"
    answer = handset.ask_for(handset.build("0800", {}, "360"))
    assert answer is not None
    assert answer.octets(62).decode("gbk") == "VERSION=3\nSERVICE=10086\n名称=空中充值"
    handset.code_of(handset.ask("310000"))
    assert handset.is_asked == "0"
    shop.close()


# -- sign-in ---------------------------------------------------------------------------------------------------


def test_the_terminal_is_asked_to_sign_in_before_its_keys_end(handset: Handset) -> None:
    handset.shop.books.wait(80_000_000)
    assert handset.code_of(handset.ask("310000")) == "00"
    assert handset.is_asked == "3"
    handset.shop.books.wait(7_000_000)
    assert handset.code_of(handset.ask("310000")) == "77"
    assert handset.is_asked == "3"
    handset.sign_in()
    assert handset.code_of(handset.ask("310000")) == "00"


def test_a_new_session_ends_the_old_keys_once_it_is_used(handset: Handset) -> None:
    handset.code_of(handset.ask("310000"))
    old = handset.mak
    handset.sign_in()
    assert handset.code_of(handset.ask("310000")) == "00"
    assert handset.code_of(handset.ask("310000"), old) == "A0"
    assert handset.is_asked == "3"


def test_a_strangers_sign_ins_change_nothing(handset: Handset) -> None:
    """The keys in use stay good, and those offered stay the same: nobody is kept from his first message."""
    shop, stranger = handset.shop, Handset(handset.shop)
    assert handset.code_of(handset.ask("310000")) == "00"
    for _ in range(3):
        stranger.sign_in()
        assert handset.code_of(handset.ask("310000")) == "00"
    written = shop.books.value("SELECT next_session FROM terminal_session")
    handset.sign_in()
    stranger.sign_in()
    assert handset.code_of(handset.sale()) == "00"
    stranger.sign_in()
    assert handset.code_of(handset.sale("13812345679")) == "00"
    assert written == 2
    assert shop.books.rows("SELECT session, next_session FROM terminal_session") == [(2, 3)]
    assert shop.books.value("SELECT count(*) FROM audit WHERE action = 'terminal.sign-in'") == 2


def test_nor_do_they_while_two_master_keys_are_good(shop: Shop) -> None:
    """A stranger who asks under the one that waits leaves what was offered under the other alone."""
    shop.inject(bytes(range(16)), 2, state=0)
    handset, stranger = Handset(shop), Handset(shop)
    for _ in range(3):
        handset.sign_in()
        said = stranger.ask_for(stranger.build("0800", {57: "KEY=2"}, "003"), b"")
        assert said is not None
        assert said.text(39) == "00"
    assert handset.code_of(handset.sale()) == "00"
    assert shop.books.value("SELECT next_session FROM terminal_session") == 2
    assert shop.books.value("SELECT key_version FROM terminal") == 1


def test_what_was_offered_too_long_is_made_anew(handset: Handset) -> None:
    handset.shop.books.wait(44_000_000)
    handset.sign_in()
    assert handset.shop.books.value("SELECT next_session FROM terminal_session") == 2


def test_what_is_offered_is_gone_when_the_desk_ends_it(handset: Handset) -> None:
    """Between the look at the keys and their use; then the terminal signs in again."""
    books = handset.shop.books
    handset.shop.shelf.kept(handset.code)
    with books.store.writing() as txn:
        sign_out_txn(Desk(txn, books.clock.ms, "li"), "10000001")
    assert handset.code_of(handset.ask("310000")) == "77"


@pytest.mark.parametrize(
    "work",
    [
        lambda desk: sign_out_txn(desk, "10000001"),
        lambda desk: retire_key_txn(desk, "10000001", 1),
    ],
    ids=["signed out", "key retired"],
)
def test_what_the_desk_ends_is_over_within_a_minute(handset: Handset, work: Callable[[Desk], None]) -> None:
    assert handset.code_of(handset.ask("310000")) == "00"
    books = handset.shop.books
    with books.store.writing() as txn:
        work(Desk(txn, books.clock.ms, "li"))
    books.wait(int(FRESH_S * 1000) + 1)
    assert handset.code_of(handset.ask("310000")) == "77"
    assert handset.is_asked == "3"


def test_a_moved_terminal_sells_nothing_on_the_other_outlets_float(handset: Handset) -> None:
    """Not even in the minute in which its session is still believed."""
    assert handset.code_of(handset.ask("310000")) == "00"
    books = handset.shop.books
    with books.store.writing() as txn:
        move_terminal_txn(Desk(txn, books.clock.ms, "li"), "10000001", "B")
    assert handset.code_of(handset.sale(fen=1000)) == "58"
    books.wait(int(FRESH_S * 1000) + 1)
    assert handset.code_of(handset.sale(fen=1000)) == "58"
    assert books.money("B") == (10_000, 0)


def test_single_des_only_where_it_is_set(handset: Handset) -> None:
    answer = handset.sign_in("001")
    assert answer is not None
    assert answer.text(39) == "12"
    short = Handset(Shop(key_octets=8, mak_octets=8))
    assert short.sign_in("003").text(39) == "12"  # type: ignore[union-attr]
    answer = short.sign_in("001")
    assert answer is not None
    assert (answer.text(39), len(answer.octets(62)), len(short.mak)) == ("00", 24, 8)
    assert short.code_of(short.sale()) == "00"
    short.shop.close()


def test_a_stock_terminal_has_a_short_mac_key() -> None:
    handset = Handset(Shop(mak_octets=8))
    answer = handset.sign_in()
    assert answer is not None
    assert (len(answer.octets(62)), len(handset.pik), len(handset.mak)) == (40, 16, 8)
    assert handset.code_of(handset.sale()) == "00"
    handset.shop.close()


def test_master_keys_by_version(shop: Shop) -> None:
    new = bytes(range(16))
    shop.inject(new, 2, state=0)
    old, other = Handset(shop), Handset(shop, master=new)
    assert old.sign_in() is not None
    assert old.code_of(old.sale()) == "00"
    said = other.ask_for(other.build("0800", {57: "KEY=2"}, "003"), b"")
    assert said is not None  # anybody may say so …
    assert shop.books.value("SELECT key_version FROM terminal") == 1  # … and it moves nothing
    assert old.sign_in() is not None
    assert old.code_of(old.sale("13812345671")) == "00"
    assert other.sign_in(more="KEY=2") is not None
    assert other.code_of(other.sale("13812345679", trace=50)) == "00"
    assert shop.books.value("SELECT key_version FROM terminal") == 2
    assert other.sign_in(more="KEY=1").text(39) == "A7"  # type: ignore[union-attr]
    assert other.sign_in(more="KEY=999").text(39) == "30"  # type: ignore[union-attr]
    assert other.sign_in(more="OTHER=1") is not None


def test_a_terminal_without_a_key_cannot_sign_in(shop: Shop) -> None:
    with shop.books.store.writing() as txn:
        txn.exec_driver_sql("UPDATE terminal_key SET state = 2")
    answer = Handset(shop).sign_in()
    assert answer is not None
    assert answer.text(39) == "58"


@pytest.mark.parametrize(("lead", "said"), [(1, "00"), (9, "")])
def test_another_sign_in_may_be_quicker(shop: Shop, lead: int, said: str) -> None:
    """Of another daemon's: its session number is taken. Then it goes on from there, or gives up in silence."""
    handset = Handset(shop)
    real, left = shop.ledger.do, [lead]

    def late(command: Any) -> Any:
        if isinstance(command, SignIn) and left[0]:
            left[0] -= 1
            wrapped = (shop.shelf.seal(1, command.session, purpose, bytes(16)) for purpose in (PIK, MAK))
            pik, mak = wrapped
            shop.books.do(SignIn(1, "10000001", 1, command.session, pik, mak, 9))
        return real(command)

    shop.ledger.do = late  # type: ignore[method-assign]
    answer = handset.sign_in()
    assert ("" if answer is None else answer.text(39)) == said


# -- wrong, each in its way ------------------------------------------------------------------------------------


def test_who_is_not_known(shop: Shop) -> None:
    stranger = Handset(shop, code="99999999")
    assert stranger.sign_in().text(39) == "97"  # type: ignore[union-attr]
    handset = Handset(shop)
    assert handset.code_of(handset.sale(merchant="000000000000000"), MASTER) == "03"
    assert handset.code_of(handset.sale(), MASTER) == "77"
    assert handset.is_asked == "3"


def test_who_may_not(handset: Handset) -> None:
    books = handset.shop.books
    with books.store.writing() as txn:
        txn.exec_driver_sql("UPDATE terminal SET status = 2")
    assert handset.code_of(handset.sale()) == "58"
    handset.shop.shelf.forget(handset.shop.terminal())
    assert handset.code_of(handset.sale("13812345679")) == "58"
    with books.store.writing() as txn:
        txn.exec_driver_sql("UPDATE terminal SET code = 'gone'")
    assert handset.code_of(handset.sale()) == "97"


def test_a_wrong_mac(handset: Handset) -> None:
    octets = bytearray(handset.octets(handset.sale()))
    octets[-1] ^= 1
    answer = handset.send(bytes(octets))
    assert answer is not None
    said = handset.read(answer)
    assert (said.text(39), handset.is_asked, 64 in said.fields) == ("A0", "3", False)
    assert handset.shop.books.value("SELECT count(*) FROM txn WHERE kind = 1") == 0


@pytest.mark.parametrize(("mti", "network"), [("0820", "301"), ("0800", "003")])
def test_who_has_proved_nothing_gets_no_mac(handset: Handset, mti: str, network: str) -> None:
    """With the XOR of cup-ecb one MAC over elements that a stranger has chosen would be one to a sale of his."""
    said = handset.ask_for(handset.build(mti, {4: "0" * 12}, network), bytes(range(16)))
    assert said is not None
    assert (said.text(39), 64 in said.fields) == ("00", False)


def test_a_mac_at_the_very_end(handset: Handset) -> None:
    """ISO 8583: with elements above 64 the MAC is DE 128; one in DE 64 before them covers nothing that is behind it."""
    above = handset.sale(fields={90: "0" * 42})
    assert handset.code_of(above) == "00"
    assert 64 not in above.fields
    elsewhere = handset.sale("13812345679", fields={64: bytes(8), 103: "1"})
    octets = handset.octets(elsewhere, b"")
    answer = handset.send(octets)
    assert answer is not None
    assert handset.read(answer).text(39) == "A0"


def test_a_wrong_batch(handset: Handset) -> None:
    assert handset.code_of(handset.sale(batch=2)) == "95"
    assert handset.code_of(handset.cancel(handset.sale(batch=2))) == "95"
    sale = handset.sale()
    handset.ask_for(sale)
    handset.ask_for(handset.build("0500", {48: Sums(5000, 1).encode()}, "201"))
    assert handset.code_of(handset.cancel(sale)) == "40"  # who settled had heard the answer
    assert handset.code_of(handset.build("0500", {48: Sums(5000, 2).encode()}, "201")) == "95"


def test_the_same_trace_with_other_content(handset: Handset) -> None:
    sale = handset.sale()
    assert handset.code_of(sale) == "00"
    assert handset.code_of(handset.sale(fen=6000, trace=int(sale.text(11)))) == "94"


@pytest.mark.parametrize(
    ("pin", "pan", "key", "said"),
    [
        (PIN, "", b"", "00"),
        (PIN, "13812345678", b"", "00"),
        (WRONG, "", b"", "55"),
        (PIN, "13912345678", b"", "99"),
        (PIN, "", bytes(range(16)), "99"),
    ],
)
def test_pin_blocks(handset: Handset, pin: str, pan: str, key: bytes, said: str) -> None:
    fields = sealed_pin(handset, pin, pan, key)
    assert handset.code_of(handset.sale(fields=fields)) == said
    assert handset.shop.books.value("SELECT max(fails) FROM credential") == (1 if said == "55" else 0)


def test_pin_blocks_of_questions_and_voids(handset: Handset) -> None:
    wrong = sealed_pin(handset, PIN, "", bytes(range(16)))
    handset.ask_for(handset.sale())
    assert handset.code_of(handset.void(2, fields=wrong)) == "99"
    assert handset.code_of(handset.build("0200", {3: "310000", 49: "156", **wrong})) == "99"
    right = sealed_pin(handset, PIN, fmt=1)
    assert handset.code_of(handset.build("0200", {3: "310000", 49: "156", **right})) == "00"


MALFORMED = [
    ({4: None}, "30"),
    ({49: "840"}, "30"),
    ({60: "22000001"}, "30"),
    ({57: "REPEAT=0"}, "30"),
    ({57: "REPEAT=001" + "0" * 40}, "30"),  # no column holds it
    ({3: "999999"}, "12"),
]


@pytest.mark.parametrize(("fields", "said"), MALFORMED)
def test_malformed(handset: Handset, fields: dict[int, Any], said: str) -> None:
    assert handset.code_of(handset.sale(fields=fields)) == said


def test_malformed_batches(handset: Handset) -> None:
    for network, text in (("201", "1"), ("201", "02" + "0" * 20), ("201", "01" + "9" * 20)):
        assert handset.code_of(handset.build("0320", {48: text}, network)) == "30"
    assert handset.code_of(handset.build("0500", {48: "1"}, "201")) == "30"
    assert handset.code_of(handset.ask("380000", f61="1")) == "30"
    assert handset.code_of(handset.build("0900", {}, "1")) == "30"


def test_what_cannot_be_read(handset: Handset) -> None:
    sound = handset.octets(handset.sale())
    assert handset.send(b"") is None
    assert handset.send(b"\xff" * 20) is None
    answer = handset.send(sound + b"\0")
    assert answer is not None
    assert handset.read(answer).text(39) == "30"
    for end in range(len(sound)):
        said = handset.send(sound[:end])
        assert said is None or handset.read(said).text(39) == "30"
    assert handset.shop.books.value("SELECT count(*) FROM txn WHERE kind = 1") == 0


def test_an_answer_is_not_answered(handset: Handset) -> None:
    header = handset.octets(handset.sale())[: handset.head]
    for mti in ("0210", "0230"):
        body = Message(mti, {3: "500000", 11: "000001", 41: handset.code, 60: "22000001000"})
        assert handset.send(header + encode(body, handset.profile)) is None
        broken = header + encode(body, handset.profile) + b"\0"
        assert handset.send(broken) is None


@pytest.mark.parametrize(
    ("ani", "said"), [(PHONES["A"], "00"), ("0" + PHONES["A"], "00"), ("", "62"), ("13999999999", "62")]
)
def test_who_dials_in(handset: Handset, ani: str, said: str) -> None:
    handset.caller = Caller(ani.lstrip("0"), "95516")
    assert handset.code_of(handset.sale()) == said


def test_silence(handset: Handset) -> None:
    handset.shop.world.line.answers = [InDoubt("no answer")]
    assert handset.code_of(handset.sale()) == ""


def test_a_ledger_that_is_away_is_silence(handset: Handset) -> None:
    assert handset.code_of(handset.ask("310000")) == "00"
    handset.shop.ledger.lose = SignIn
    assert handset.sign_in() is None


def test_a_master_key_that_does_not_open_is_silence_and_working_keys_are_none(shop: Shop) -> None:
    shop.sign_in()
    shop.shelf = TerminalShelf(shop.ledger, KeyRing({}, {2: bytes(16)}, shop.chance), shop.books.clock)
    handset = Handset(shop)
    assert handset.code_of(handset.sale(), MASTER) == "77"
    assert handset.sign_in() is None


def test_what_is_counted(handset: Handset) -> None:
    handset.code_of(handset.sale())
    handset.code_of(handset.sale(batch=9))
    text = handset.shop.board.meters.registry.exposition()
    assert 'pos_answers_total{act="recharge",said="00"} 1' in text
    assert 'pos_answers_total{act="recharge",said="95"} 1' in text
