"""Terminals: bound, blocked, signed out; their keys by two people, on each engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from aircharge.errors import AirchargeError
from aircharge.ledger.asked import LIFE_MS
from aircharge.ledger.chart import KEY_ACTIVE, KEY_PENDING, KEY_RETIRED
from aircharge.ledger.terminal_reading import TerminalRow, read_terminal
from aircharge.ledger.terminals import Session, SignIn, UseSession
from aircharge.outlets import requests, terminals
from aircharge.outlets.cards import KeyRing, KeyRingError
from aircharge.outlets.desk import RegistryError
from aircharge.outlets.requests import RequestError
from aircharge.outlets.terminal_components import (
    Complete,
    PartOf,
    components_of,
    enter_components_txn,
    forget_components_txn,
    made_keys,
)
from aircharge.outlets.terminal_injection import (
    INJECT,
    UNBLOCK,
    KeyFaults,
    injection,
    retire_key_txn,
    rewrap_txn,
)
from aircharge.outlets.terminal_keys import (
    KeyLine,
    bound_master,
    combined,
    kcv_of,
    key_file,
    key_lines,
    with_parity,
)
from aircharge.outlets.terminals import Binding
from tests.ledger import engines
from tests.ledger.desk import Books
from tests.outlets.staff_desk import House

ONE, TWO = "T0000001", "T0000002"
MERCHANT = "898330154110001"
KEY = with_parity(bytes(range(40, 56)), "3des")
OTHER = with_parity(bytes(range(80, 96)), "3des")


@pytest.fixture(params=engines.ENGINES)
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    with engines.kept_in(request.param):
        books = Books().setup({"A": 100_000, "B": 0})
        made = House(books)
        for outlet, code in (("A", ONE), ("B", TWO)):
            made.at_desk(lambda desk, o=outlet, c=code: terminals.add_terminal_txn(desk, o, c))
        yield made
        assert books.problems() == []
        books.engine.dispose()


def line(key: bytes = KEY, terminal: str = ONE, version: int = 1, number: int = 2, kcv: str = "") -> KeyLine:
    return KeyLine(number, terminal, version, "3des", kcv or kcv_of(key, "3des"), key)


def ask(house: House, *lines: KeyLine, maker: str = "wang", custodians: tuple[str, ...] = ()) -> int:
    def work(desk: Any) -> int:
        payload = injection(desk.txn, house.ring, lines, maker=maker, custodians=custodians)
        return requests.propose_txn(desk, INJECT, payload, house.tools)

    return house.at_desk(work, maker)


def approve(house: House, number: int, checker: str = "li") -> str:
    return house.at_desk(lambda desk: requests.approve_txn(desk, number, house.tools), checker)


def row_of(house: House, code: str = ONE) -> TerminalRow:
    with house.books.engine.connect() as txn:
        row = read_terminal(txn, code)
    assert row is not None
    return row


def sign_in(house: House, version: int, code: str = ONE) -> None:
    row = row_of(house, code)
    command = SignIn(row.id, code, version, row.session + 1, b"pik", b"mak", house.books.clock.ms + 1000)
    assert isinstance(house.books.do(command), Session)
    house.books.do(UseSession(row.id, code, row.session + 1))  # its first message under a good MAC


def states(house: House) -> dict[int, int]:
    return dict(house.books.rows("SELECT version, state FROM terminal_key ORDER BY version"))


# -- binding, block, session -------------------------------------------------------------------------------


def bind(house: House, code: str = ONE, merchant: str = MERCHANT, **more: Any) -> None:
    house.at_desk(lambda desk: terminals.bind_terminal_txn(desk, code, Binding(merchant, **more)))


def test_a_terminal_is_bound_to_merchant_and_module(house: House) -> None:
    bind(house, module="1234567890123456", rights=1)
    row = row_of(house)
    assert (row.merchant, row.module) == (MERCHANT, "1234567890123456")
    with pytest.raises(RegistryError, match="bound so already"):
        bind(house, module="1234567890123456", rights=1)
    with pytest.raises(RegistryError, match=f"in terminal {ONE}"):
        bind(house, TWO, module="1234567890123456")


@pytest.mark.parametrize("name", ["", "\0" * 8, "T000000\n", "nobody"])
def test_who_is_nobody(house: House, name: str) -> None:
    with house.books.engine.connect() as txn:
        assert read_terminal(txn, name) is read_terminal(txn, module=name) is None


BAD_BINDING: list[tuple[str, dict[str, Any], str]] = [
    ("NONE", {}, "no terminal NONE"),
    ("T1", {}, "DE 41"),
    (ONE, {"merchant": "89833015411000"}, "DE 42"),
    (ONE, {"merchant": "89833015411000 "}, "DE 42"),
    (ONE, {"module": "123"}, "security module"),
    (ONE, {"rights": 8}, "rights"),
    (ONE, {"rights": 0}, "rights"),
]


def test_a_binding_that_cannot_be(house: House) -> None:
    house.at_desk(lambda desk: terminals.add_terminal_txn(desk, "A", "T1"))
    before = house.books.rows("SELECT * FROM terminal")
    for code, form, says in BAD_BINDING:
        with pytest.raises(RegistryError, match=says):
            bind(house, code, **{"merchant": MERCHANT, **form})
    assert house.books.rows("SELECT * FROM terminal") == before


def test_a_session_ends_by_force_by_a_move_and_by_another_merchant(house: House) -> None:
    works = (
        lambda desk: terminals.sign_out_txn(desk, ONE),
        lambda desk: terminals.bind_terminal_txn(desk, ONE, Binding(MERCHANT)),
        lambda desk: terminals.move_terminal_txn(desk, ONE, "B"),
    )
    approve(house, ask(house, line()))
    for number, work in enumerate(works, 1):
        sign_in(house, 1)
        assert row_of(house).mak_wrapped == b"mak"
        house.at_desk(work)
        assert (row_of(house).mak_wrapped, row_of(house).session) == (None, number)
    with pytest.raises(RegistryError, match="not signed in"):
        house.at_desk(works[0])


def test_a_terminal_with_a_key_is_not_moved_to_another_float_by_one_person(house: House) -> None:
    assert house.at_desk(lambda desk: terminals.move_terminal_txn(desk, ONE, "B")) is False
    assert row_of(house).is_active
    approve(house, ask(house, line()))
    assert house.at_desk(lambda desk: terminals.move_terminal_txn(desk, ONE, "A")) is True
    assert not row_of(house).is_active


def test_a_block_is_lifted_by_two(house: House) -> None:
    approve(house, ask(house, line()))
    sign_in(house, 1)
    house.at_desk(lambda desk: terminals.block_terminal_txn(desk, ONE))
    assert row_of(house).mak_wrapped == b"mak"  # a reversal that it owes is heard
    number = house.at_desk(
        lambda desk: requests.propose_txn(desk, UNBLOCK, {"terminal": ONE}, house.tools), "wang"
    )
    assert not row_of(house).is_active
    with pytest.raises(RequestError, match="two people"):
        approve(house, number, "wang")
    assert "active" in approve(house, number)
    assert (row_of(house).is_active, row_of(house).mak_wrapped) == (True, None)


# -- keys --------------------------------------------------------------------------------------------------


def test_a_key_comes_by_two_people_and_is_in_use_at_the_sign_in(house: House) -> None:
    number = ask(house, line(), line(OTHER, TWO, number=3))
    assert states(house) == {}
    with pytest.raises(RequestError, match="two people"):
        approve(house, number, "wang")
    assert "2 keys" in approve(house, number)
    row = row_of(house)
    assert house.ring.open(bound_master(row.id, 1), row.masters[1]) == KEY
    assert (row.key_version, states(house)) == (0, {1: KEY_PENDING})
    assert house.books.value("SELECT author FROM terminal_key WHERE version = 1 LIMIT 1") == "wang+li"
    sign_in(house, 1)
    assert row_of(house).key_version == 1
    _, keys = house.at_desk(lambda desk: terminals.terminal_sheet(desk.txn, ONE))
    assert [(key["kcv"], key["state"]) for key in keys] == [(kcv_of(KEY, "3des"), KEY_ACTIVE)]


def test_no_key_stands_anywhere_in_clear_nor_sealed_in_what_is_shown_or_closed(house: House) -> None:
    number = ask(house, line())
    [item] = house.at_desk(lambda desk: requests.waiting(desk.txn, desk.now_ms))
    sealed = item["payload"]["sealed"][0]
    assert (item["about"], "sealed" in requests.masked(item["payload"])) == (ONE, False)
    assert sealed not in repr(house.books.rows("SELECT * FROM audit"))
    approve(house, number)
    for table in ("audit", "change_request", "terminal", "terminal_key"):
        text = repr(house.books.rows(f"SELECT * FROM {table}"))
        assert KEY.hex() not in text.lower()
        assert repr(KEY)[2:-1] not in text
    assert "sealed" not in json.loads(
        house.books.value("SELECT payload FROM change_request WHERE what = 'terminal.inject'")
    )


def test_a_declined_request_keeps_no_keys(house: House) -> None:
    number = ask(house, line())
    house.at_desk(lambda desk: requests.decline_txn(desk, number, "wrong check value"), "li")
    assert "sealed" not in house.books.value(
        "SELECT max(payload) FROM change_request WHERE what = 'terminal.inject'"
    )
    assert states(house) == {}


def test_a_new_version_waits_while_the_old_one_is_good(house: House) -> None:
    approve(house, ask(house, line()))
    sign_in(house, 1)
    approve(house, ask(house, line(OTHER, version=2)))
    assert states(house) == {1: KEY_ACTIVE, 2: KEY_PENDING}
    sign_in(house, 1)
    assert row_of(house).key_version == 1
    sign_in(house, 2)
    assert (row_of(house).key_version, states(house)) == (2, {1: KEY_RETIRED, 2: KEY_ACTIVE})


def test_a_retired_key_is_destroyed_and_its_session_ends(house: House) -> None:
    approve(house, ask(house, line()))
    sign_in(house, 1)
    house.at_desk(lambda desk: retire_key_txn(desk, ONE, 1))
    row = row_of(house)
    assert (row.key_version, row.masters, row.mak_wrapped) == (0, {}, None)
    assert bytes(house.books.value("SELECT wrapped FROM terminal_key")) == b""
    for version in (1, 2):
        with pytest.raises(RegistryError, match=f"no key of version {version}"):
            house.at_desk(lambda desk, v=version: retire_key_txn(desk, ONE, v))
    with pytest.raises(KeyFaults):  # a number is used once
        ask(house, line())


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([line(), line(OTHER, "NONE", number=3)], "line 3: no terminal NONE"),
        ([line(), line(OTHER, TWO, number=3, kcv="000000")], "line 3: the key's check value is"),
        ([line(), line(KEY, TWO, number=3)], "line 3: another terminal has this key"),
        ([line(), line(bytes(16), TWO, number=3)], "line 3: a key of one octet"),
        ([line(), line(KEY[:8] * 2, TWO, number=3)], "line 3: single DES"),
        ([line(OTHER, TWO, version=2)], "line 2: version 1 waits"),
        ([line(OTHER, TWO)], "line 2: terminal T0000002 has had"),
        ([line(with_parity(bytes(range(9, 25)), "3des"))], "line 2: another terminal has this key"),
    ],
)
def test_a_file_is_taken_whole_or_not_at_all(house: House, lines: list[KeyLine], says: str) -> None:
    if len(lines) == 1:
        approve(house, ask(house, line(with_parity(bytes(range(9, 25)), "3des"), TWO)))
    before = (
        house.books.rows("SELECT * FROM terminal_key"),
        house.books.rows("SELECT * FROM change_request"),
    )
    with pytest.raises(KeyFaults) as caught:
        ask(house, *lines)
    assert str(caught.value.faults[0]).startswith(says)
    assert (
        house.books.rows("SELECT * FROM terminal_key"),
        house.books.rows("SELECT * FROM change_request"),
    ) == before


def test_who_brought_a_part_does_not_confirm(house: House) -> None:
    number = ask(house, line(), custodians=("zhao", "wang"))
    with pytest.raises(RegistryError, match="zhao has brought a part"):
        approve(house, number, "zhao")
    assert "1 keys" in approve(house, number)


def test_two_requests_for_one_version_come_to_one_key(house: House) -> None:
    first, second = ask(house, line()), ask(house, line(OTHER))
    approve(house, first)
    with pytest.raises(RegistryError, match="has had a key of version 1"):
        approve(house, second)
    row = row_of(house)
    assert KeyRing({}, {1: bytes(range(32))}).open(bound_master(row.id, 1), row.masters[1]) == KEY


def test_keys_move_under_a_new_kek(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    approve(house, ask(house, line(), line(OTHER, TWO, number=3)))
    house.at_desk(lambda desk: retire_key_txn(desk, TWO, 1))
    approve(house, ask(house, line(OTHER, TWO, version=2)))
    new = bytes(range(100, 132))
    monkeypatch.setattr("aircharge.outlets.terminal_injection._REWRAPPED", 1)
    both, alone = (
        KeyRing({}, {1: bytes(range(32)), 2: new}, house.chance),
        KeyRing({}, {2: new}, house.chance),
    )
    with pytest.raises(KeyRingError, match="no KEK 1"):
        house.at_desk(lambda desk: rewrap_txn(desk, alone))
    first, second = row_of(house).id, row_of(house, TWO).id
    at, seen = (0, 0), []
    while (step := house.at_desk(lambda desk, at=at: rewrap_txn(desk, both, at)))[0]:
        at = step[1]
        seen.append(step)
    assert seen == [(1, (first, 1)), (1, (second, 2))]
    assert alone.open(bound_master(first, 1), row_of(house).masters[1]) == KEY
    assert alone.open(bound_master(second, 2), row_of(house, TWO).masters[2]) == OTHER


# -- components --------------------------------------------------------------------------------------------

PIECES = [bytes(range(start, start + 16)) for start in (3, 50, 111)]


def enter(house: House, who: str, number: int, *lines: KeyLine, parts: int = 2) -> Complete:
    return house.at_desk(
        lambda desk: enter_components_txn(desk, house.ring, lines, PartOf(number, parts)), who
    )


def components(house: House) -> list[Any]:
    return house.books.rows("SELECT version, part, custodian FROM key_component ORDER BY version, part")


def test_three_people_bring_a_key_that_a_fourth_confirms(house: House) -> None:
    for number, who in ((3, "wang"), (1, "zhao")):
        assert enter(house, who, number, line(PIECES[number - 1]), parts=3) == Complete()
    text = repr(house.books.rows("SELECT * FROM key_component")) + repr(
        house.books.rows("SELECT * FROM audit")
    )
    assert not any(repr(piece)[2:-1] in text or piece.hex() in text for piece in PIECES)
    done = enter(house, "sun", 2, line(PIECES[1]), parts=3)
    assert (done.custodians, components(house)) == (("wang", "zhao"), [])
    whole = bytes(a ^ b ^ c for a, b, c in zip(*PIECES, strict=True))
    assert [(one.key, one.kcv) for one in done.lines] == [(whole, kcv_of(whole, "3des"))]
    number = ask(house, *done.lines, maker="sun", custodians=done.custodians)
    for who, says in (("wang", "brought a part"), ("zhao", "brought a part"), ("sun", "two people")):
        with pytest.raises(AirchargeError, match=says):
            approve(house, number, who)
    approve(house, number, "li")
    row = row_of(house)
    assert house.ring.open(bound_master(row.id, 1), row.masters[1]) == with_parity(whole, "3des")


BAD_PART: list[tuple[str, int, KeyLine, int, str]] = [
    ("wang", 2, line(PIECES[1]), 2, "no one has two"),
    ("zhao", 1, line(PIECES[1]), 2, "component 1 is there already"),
    ("zhao", 2, line(PIECES[1]), 3, "begun as 3des in 2"),
    ("zhao", 2, line(PIECES[1], kcv="123456"), 2, "the component's check value is"),
    ("zhao", 2, line(bytes(16)), 2, "over and over"),
    ("zhao", 2, line(PIECES[0]), 2, "components are the same"),
    ("zhao", 2, line(PIECES[1] + bytes(range(8))), 2, "one length"),
    ("zhao", 2, line(PIECES[1], "NONE"), 2, "no terminal NONE"),
]


def test_a_component_that_is_not_taken(house: House) -> None:
    enter(house, "wang", 1, line(PIECES[0]))
    for who, number, wrong, parts, says in BAD_PART:
        with pytest.raises(KeyFaults) as caught:
            enter(house, who, number, line(OTHER, TWO, number=1), wrong, parts=parts)
        assert says in str(caught.value.faults[-1])
        assert components(house) == [(1, 1, "wang")]


def test_components_are_forgotten_by_hand_or_after_a_week(house: House) -> None:
    enter(house, "wang", 1, line(PIECES[0]))
    assert [row["custodian"] for row in house.at_desk(lambda desk: components_of(desk.txn, ONE))] == ["wang"]
    assert house.at_desk(lambda desk: forget_components_txn(desk, ONE, 1)) == 1
    assert house.at_desk(lambda desk: forget_components_txn(desk, ONE, 1)) == 0
    enter(house, "wang", 1, line(PIECES[0]))
    house.books.wait(LIFE_MS + 1)
    enter(house, "zhao", 2, line(PIECES[1]))
    assert components(house) == [(1, 2, "zhao")]


@pytest.mark.parametrize("part", [(0, 2), (3, 2), (1, 1), (1, 4)])
def test_a_key_has_two_or_three_components(part: tuple[int, int]) -> None:
    with pytest.raises(RegistryError, match="two or three components"):
        PartOf(*part)


@pytest.mark.parametrize(("family", "octets", "parts"), [("3des", 16, 2), ("3des", 24, 3), ("aes", 32, 2)])
def test_made_keys_are_the_sum_of_their_components(
    house: House, family: str, octets: int, parts: int
) -> None:
    approve(house, ask(house, line()))
    keys, pieces = house.at_desk(
        lambda desk: made_keys(desk.txn, [ONE, TWO], family, octets, parts, house.chance.token)
    )
    assert [(one.terminal, one.version) for one in keys] == [(ONE, 2), (TWO, 1)]
    for key, *parts_of in zip(keys, *pieces, strict=True):
        assert combined([piece.key for piece in parts_of]) == key.key
        assert kcv_of(key.key, family) == key.kcv
        lines, faults = key_lines(key_file(parts_of[:1]).encode())
        assert (lines[0].key, faults) == (parts_of[0].key, [])


def test_keys_that_cannot_be_made(house: House) -> None:
    for codes, octets, says in (
        ([ONE, ONE], 16, "twice"),
        (["NONE"], 16, "no terminal"),
        ([ONE], 17, "17 octets"),
    ):
        with pytest.raises(RegistryError, match=says):
            house.at_desk(
                lambda desk, c=codes, o=octets: made_keys(desk.txn, c, "3des", o, 2, house.chance.token)
            )
