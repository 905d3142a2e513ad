"""Requests of outlets and their answers: every transaction in every profile, MACs, what is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircharge.errors import WireError
from aircharge.wire.fsk_message import FskMessage, Mac, Operation
from aircharge.wire.fsk_outlet import Answered, Asked, Head, Reply, WorkKey, WorkKeys, parameter_rows
from aircharge.wire.fsk_parts import transaction_of
from aircharge.wire.fsk_profiles import (
    MAC_RULES,
    PROFILE_2001,
    PROFILE_FLOW,
    PROFILES,
    STRICT_RULES,
    TRANSACTION_CODES,
    Profile,
    Transaction,
)
from aircharge.wire.fsk_text import Record, Shown, Slip
from aircharge.wire.fsk_wishes import (
    Balance,
    Echo,
    Last,
    NumberCheck,
    Original,
    Parameters,
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
from tests.wire.test_fsk_message import CONTENT, vector_mac

NOON = datetime(2026, 11, 23, 12, 0, 30)
PIN = bytes.fromhex("1122334455667788")
HEAD = Head(
    "1000000000000001", 123, gateway_code=b"\1\2\3\4", called="02088880001", caller_flag="1", moment=NOON
)
KEYS = WorkKeys((WorkKey(41, bytes(20)), WorkKey(42, bytes(16)), WorkKey(43, bytes(24))), 1)
REPLY = Reply(Shown("00", ("充值成功", "余额 1,234.50")), Slip((Record("流水 000123"),)))

profiles = st.sampled_from([*PROFILES.values()])


def mac_under(key: bytes) -> Mac:
    return lambda covered: hashlib.sha256(key + covered).digest()[:8]


MAC = mac_under(b"key")

FEN = st.integers(0, 10**12 - 1)
COUNT = st.integers(0, 999_999)
BLOCK = st.binary(min_size=8, max_size=8)
PIN_BLOCK = st.just(b"") | BLOCK
DIGITS = st.text("0123456789", min_size=1, max_size=40)
WISHES: dict[Transaction, st.SearchStrategy[Wish]] = {
    Transaction.ECHO: st.just(Echo()),
    Transaction.PARAMETERS: st.just(Parameters()),
    Transaction.SIGN_OUT: st.just(SignOut()),
    Transaction.SIGN_IN: st.builds(SignIn, st.just(b"") | st.binary(min_size=10, max_size=10)),
    Transaction.NUMBER_CHECK: st.builds(NumberCheck, DIGITS),
    Transaction.RECHARGE: st.builds(Recharge, DIGITS, FEN, PIN_BLOCK, COUNT, COUNT),
    Transaction.BALANCE: st.builds(Balance, PIN_BLOCK),
    Transaction.LAST: st.builds(Last, PIN_BLOCK),
    Transaction.VOID: st.builds(Void, COUNT, FEN, PIN_BLOCK, st.just("") | DIGITS, COUNT),
    Transaction.REPRINT: st.builds(Reprint, COUNT, COUNT),
    Transaction.REVERSAL: st.builds(Reversal, st.builds(Original, COUNT, BLOCK), FEN, COUNT),
    Transaction.SETTLEMENT: st.builds(Settlement, COUNT, COUNT, FEN, COUNT, FEN),
    Transaction.UPLOAD: st.builds(
        Upload, COUNT, st.lists(st.tuples(COUNT, FEN | FEN.map(lambda fen: -fen)), max_size=30).map(tuple)
    ),
}


def test_every_transaction_is_tried_has_a_code_and_a_rule() -> None:
    assert set(WISHES) == set(Transaction) == set(MAC_RULES) == set(TRANSACTION_CODES.values())


def test_the_request_of_the_vector() -> None:
    asked = Asked.decode(CONTENT)
    assert asked.wish == Recharge("13800138000", 5000, PIN)
    assert asked.head.trace == 123
    assert asked.is_genuine(vector_mac)
    assert not asked.is_genuine(lambda covered: bytes(8))
    assert asked.encode(vector_mac) == CONTENT


@given(profiles, st.data())
def test_every_request_there_and_back(profile: Profile, data: st.DataObject) -> None:
    transaction = data.draw(st.sampled_from([*Transaction]))
    wish = data.draw(WISHES[transaction])
    head = replace(HEAD, trace=data.draw(COUNT), is_again=data.draw(st.booleans()))
    needs = profile.rules[transaction].request
    content = Asked(head, wish).encode(MAC if needs else None, profile)
    asked = Asked.decode(content, profile)
    assert asked.wish == wish
    assert asked.transaction is transaction
    assert (asked.head.trace, asked.head.is_again) == (head.trace, head.is_again)
    assert asked.head.security_module == HEAD.security_module
    assert asked.is_genuine(MAC, profile)
    assert asked.is_genuine(None, profile) is not needs
    assert asked.is_genuine(mac_under(b"another"), profile) is not needs
    assert Asked(head, wish).encode(None, profile)  # can be written without
    assert repr(asked).find("content") < 0


@given(profiles, st.data())
def test_every_answer_there_and_back(profile: Profile, data: st.DataObject) -> None:
    wish = data.draw(st.sampled_from([*Transaction]).flatmap(lambda transaction: WISHES[transaction]))
    asked = replace(Asked(HEAD, wish), head=replace(HEAD, is_again=data.draw(st.booleans())))
    reply = replace(
        REPLY,
        slip=data.draw(st.sampled_from([None, REPLY.slip])),
        keys=data.draw(st.sampled_from([None, KEYS])),
        hangs_up=data.draw(st.booleans()),
    )
    content = Answered.to(asked, reply, NOON, "13712345678").encode(MAC, profile)
    answered = Answered.decode(content, profile)
    assert answered.reply == reply
    assert answered.transaction is transaction_of(wish)
    assert (answered.head.trace, answered.head.is_again) == (123, asked.head.is_again)
    assert answered.head.moment == NOON
    assert answered.phone == ("" if profile is PROFILE_FLOW else "13712345678")
    assert answered.is_genuine(MAC, profile)
    needs = profile.rules[answered.transaction].answer
    bare = Answered.decode(Answered.to(asked, reply, NOON).encode(None, profile), profile)
    assert bare.is_genuine(MAC, profile) is not needs
    assert bare.mac == bytes(8)


@given(st.integers(0, len(CONTENT) - 1), st.integers(1, 255))
def test_a_changed_octet_is_an_error_or_not_genuine(at: int, flip: int) -> None:
    changed = CONTENT[:at] + bytes([CONTENT[at] ^ flip]) + CONTENT[at + 1 :]
    try:
        asked = Asked.decode(changed)
    except WireError:
        return
    mac_free = not MAC_RULES[asked.transaction].request
    assert mac_free or not asked.is_genuine(vector_mac)


def test_operations_of_an_answer_in_their_order() -> None:
    told = Answered.to(Asked(HEAD, SignIn()), replace(REPLY, keys=KEYS), NOON)
    numbers = [op.number for op in FskMessage.decode(told.encode(MAC), PROFILE_2001.answer).operations]
    assert numbers == [0x39, 0x28, 0x21, 0x22, 0x26]
    numbers = [op.number for op in FskMessage.decode(told.encode(), PROFILE_2001.answer).operations]
    assert numbers == [0x39, 0x21, 0x22, 0x26]


def test_operators_have_codes_of_their_own_for_a_recharge() -> None:
    mobile = CONTENT.replace(bytes.fromhex("00000101"), bytes.fromhex("00000174"))
    assert Asked.decode(mobile).transaction is Transaction.RECHARGE
    own = replace(PROFILE_2001, codes={7: Transaction.ECHO})
    assert Asked.decode(Asked(HEAD, Echo()).encode(None, own), own).wish == Echo()
    with pytest.raises(WireError, match="no code"):
        Asked(HEAD, SignOut()).encode(None, own)


def changed(operations: tuple[Operation, ...], code: str = "00000101") -> bytes:
    message = FskMessage.decode(CONTENT, PROFILE_2001.request)
    fields = {**message.fields, "transaction": code}
    return FskMessage(fields, operations).encode(PROFILE_2001.request)


NUMBER, FIFTY = Operation.bare(0x09, b"13800138000"), Operation.bare(0x07, bytes.fromhex("000000005000"))


@pytest.mark.parametrize(
    ("operations", "code", "field"),
    [
        ((NUMBER,), "00000101", "amount_fen"),
        ((FIFTY,), "00000101", "number"),
        ((NUMBER, FIFTY, FIFTY), "00000101", "operation 07"),
        ((Operation.bare(0x09, b"1380013800a"), FIFTY), "00000101", "number"),
        ((Operation.bare(0x09, b""), FIFTY), "00000101", "number"),
        ((NUMBER, Operation.bare(0x07, b"\x00\x00\x00\x00\x50\x0a")), "00000101", "amount_fen"),
        ((), "00000102", "trace"),
        ((), "00000004", "original"),
        ((Operation.bare(0x0F, b"\xff" * 11),), "00000004", "original"),
        ((Operation.bare(0x0C, b"00001"),), "00000022", "batch"),
        ((Operation.bare(0x0C, b"000001"), Operation.bare(0x0C, bytes(8))), "00000022", "details"),
        (
            (Operation.bare(0x0C, b"000001"), Operation.bare(0x0C, b"\0\0\1*" + bytes(6))),
            "00000022",
            "details",
        ),
        ((), "00000000", "transaction"),
        ((), "99999999", "transaction"),
    ],
    ids=range(14),
)
def test_what_is_no_request_of_an_outlet(operations: tuple[Operation, ...], code: str, field: str) -> None:
    with pytest.raises(WireError) as caught:
        Asked.decode(changed(operations, code))
    assert caught.value.field == field


@pytest.mark.parametrize(
    "asked",
    [
        Asked(HEAD, Recharge("", 1)),
        Asked(HEAD, Recharge("1" * 41, 1)),
        Asked(HEAD, Recharge("１３８", 1)),
        Asked(HEAD, Recharge("138", -1)),
        Asked(HEAD, Recharge("138", 10**12)),
        Asked(HEAD, Recharge("138", 1, b"1234567")),
        Asked(HEAD, Void(1_000_000)),
        Asked(HEAD, Reversal(Original(1, b"short"))),
        Asked(HEAD, Settlement(-1, 0, 0, 0, 0)),
        Asked(HEAD, Upload(1, ((1, 1),) * 200)),
        Asked(replace(HEAD, trace=1_000_000), Echo()),
        Asked(replace(HEAD, trace=-1), Echo()),
    ],
    ids=range(12),
)
def test_what_is_not_asked(asked: Asked) -> None:
    with pytest.raises(WireError):
        asked.encode()


def test_what_is_not_answered() -> None:
    told = Answered.to(Asked(HEAD, Echo()), REPLY, NOON)
    for wrong in (
        replace(told, head=replace(HEAD, moment=None)),
        replace(told, phone="1" * 16),
        replace(told, reply=replace(REPLY, keys=WorkKeys(()))),
        replace(told, reply=replace(REPLY, keys=WorkKeys((WorkKey(41, bytes(15)),)))),
    ):
        with pytest.raises(WireError):
            wrong.encode()


@pytest.mark.parametrize(
    "datum", [b"", b"\0", b"\0\x29", b"\0\x29\x10" + bytes(15), b"\0\x29\x0f" + bytes(15)], ids=range(5)
)
def test_what_are_no_keys(datum: bytes) -> None:
    with pytest.raises(WireError):
        WorkKeys.decode(datum)


def test_answers_of_another_kind_are_refused() -> None:
    content = Answered.to(Asked(HEAD, Echo()), REPLY, NOON).encode()
    message = FskMessage.decode(content, PROFILE_2001.answer)
    for operations in ((), message.operations * 2):
        with pytest.raises(WireError):
            Answered.decode(replace(message, operations=operations).encode(PROFILE_2001.answer))
    never = replace(message, fields={**message.fields, "date": "20260230"}).encode(PROFILE_2001.answer)
    with pytest.raises(WireError, match="moment"):
        Answered.decode(never)


def test_what_else_the_terminal_shall_do() -> None:
    rows = parameter_rows(b"95105", b"")
    assert rows == Operation(0x96, b"", b"\1\x0595105\2\0")
    reply = replace(REPLY, more=(rows,))
    told = Answered.to(Asked(HEAD, Parameters()), reply, NOON).encode(MAC)
    assert Answered.decode(told).reply == reply
    for lines in ((b"a" * 254,), (b"a" * 256,), (b"a" * 200, b"b" * 60)):
        with pytest.raises(WireError):
            parameter_rows(*lines)


def test_a_reversal_under_strict_rules_bears_its_own_mac() -> None:
    strict = replace(PROFILE_2001, rules=STRICT_RULES)
    reversal = Asked(HEAD, Reversal(Original(7, b"A1B2C3D4"), 5000))
    bare, borne = Asked.decode(reversal.encode()), Asked.decode(reversal.encode(MAC))
    assert [bare.wish, borne.wish] == [reversal.wish] * 2
    assert [asked.is_genuine(MAC) for asked in (bare, borne)] == [True, True]
    assert [asked.is_genuine(MAC, strict) for asked in (bare, borne)] == [False, True]


def test_keys_are_in_no_repr() -> None:
    assert "WorkKey(" not in repr(replace(REPLY, keys=KEYS))
