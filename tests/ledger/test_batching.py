"""Files of recharges: what a file may say, what is reserved, and that the float's sums never slip."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from aircharge.errors import Reason
from aircharge.ledger.batch_file import (
    BatchFileError,
    BatchLine,
    Offer,
    Totals,
    read_lines,
    totals,
    weigh_lines,
)
from aircharge.ledger.batching import CancelBatch, EndBatch, OpenBatch, OpenLine, batch_key
from aircharge.ledger.commands import OpenRecharge
from aircharge.ledger.entries import Declined, Enter
from aircharge.ledger.funding import FundingError, propose_batch_txn
from aircharge.ledger.pending import batch_counts, batch_lines, running_batches, waiting_lines
from aircharge.ledger.policy import EMPTY_POLICY
from aircharge.ledger.reading import open_orders
from aircharge.values import Asker, Channel, Key, Msisdn, Operation, Order, Pin, Receipt, State, Verdict
from tests.ledger.desk import MINUTE, PHONES, PIN, SERVICE, WRONG, Books

OFFERS = (
    Offer(1, ("138", "139"), lambda fen: 1000 <= fen <= 50_000 and fen % 1000 == 0),
    Offer(2, ("130", "1381"), lambda fen: fen == 3000),
)


def weigh(data: bytes) -> list[tuple[int, Reason]]:
    lines = weigh_lines(read_lines(data), OFFERS, EMPTY_POLICY, "standard", 20261123)
    return [(line.operator_id, line.reason) for line in lines]


FILES: list[tuple[str, bytes, list[tuple[int, Reason]]]] = [
    ("plain", b"13900000001,50\n13900000002,30.00\n", [(1, Reason.OK), (1, Reason.OK)]),
    ("a heading and CRLF", "手机号,金额\r\n13900000001,50\r\n".encode(), [(1, Reason.OK)]),
    ("GB18030", "手机号码,金额\n13900000001,50\n".encode("gb18030"), [(1, Reason.OK)]),
    ("a mark at the beginning", b"\xef\xbb\xbfnumber,amount\n+8613900000001,50\n", [(1, Reason.OK)]),
    ("the longest segment", b"13812345678,30\n13712345678,30\n", [(2, Reason.OK), (0, Reason.NUMBER)]),
    ("no number", b"12,50\n,50\nx,50\n", [(0, Reason.NUMBER)] * 3),
    ("no amount", b"13900000001,0\n13900000001,-1\n13900000001,10000000000000000000\n13900000001,abc\n",
     [(0, Reason.AMOUNT)] * 4),
    ("not sold", b"13900000001,55\n", [(0, Reason.AMOUNT)]),
    ("columns", b"13900000001\n13900000001,50,x\n", [(0, Reason.FORMAT)] * 2),
    ("said twice", b"13900000001,50\n13900000001,50\n13900000001,30\n",
     [(1, Reason.OK), (0, Reason.DUPLICATE), (1, Reason.OK)]),
    ("blank lines", b"\n13900000001,50\n\n , \n", [(1, Reason.OK)]),
]  # fmt: skip


@pytest.mark.parametrize(("data", "verdicts"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_what_is_said_of_each_line(data: bytes, verdicts: list[tuple[int, Reason]]) -> None:
    assert weigh(data) == verdicts


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no lines"),
        (b"number,amount\n", "no lines"),
        (b"\xff\xff\xff", "neither UTF-8 nor GB18030"),
        (b"13900000001\0,50\n", "no text"),
        (b'"13900000001,50\n', "no CSV"),
        (b"13900000001,50\n" * 5001, "more than 5000 lines"),
    ],
)
def test_files_that_cannot_be_read(data: bytes, said: str) -> None:
    with pytest.raises(BatchFileError, match=said):
        read_lines(data)


def test_totals() -> None:
    lines = weigh_lines(
        read_lines(b"13900000001,50\n13900000001,50\n1,2\n"), OFFERS, EMPTY_POLICY, "g", 20261123
    )
    sums = totals(lines)
    assert (sums.lines, sums.valid, sums.amount_fen, sums.cost_fen) == (3, 1, 5000, 5000)
    assert sums.refused == {Reason.DUPLICATE: 1, Reason.NUMBER: 1}


# -- the reserve ------------------------------------------------------------------------------------------


def a_file(*amounts: int, bad: int = 0) -> tuple[BatchLine, ...]:
    good = [BatchLine(n, f"1380000{n:04d}", fen, 1) for n, fen in enumerate(amounts, 1)]
    return (*good, *(BatchLine(len(good) + n + 1, "12", reason=Reason.NUMBER) for n in range(bad)))


def batch(books: Books, *amounts: int, name: str = "f", bad: int = 0, **more: Any) -> OpenBatch:
    """Asked for by li, confirmed by wang; with ``asker`` by the outlet itself."""
    file_hash = hashlib.sha256(name.encode()).digest()
    lines, who = more.pop("lines", a_file(*amounts, bad=bad)), more.pop("asker", None)
    actor, code, request = "", more.pop("code", "A"), more.pop("request", 0)
    if who is None:
        who, actor, request = Asker("", SERVICE), "wang", request or ask(books, name, lines, code)
    key = Key("batch", f"{request}")
    return OpenBatch(
        Channel.CLI, key, who, lines, file_hash, name, books.clock.ms, request_id=request, actor=actor
    )


def ask(books: Books, name: str, lines: tuple[BatchLine, ...], code: str = "A") -> int:
    file_hash = hashlib.sha256(name.encode()).digest()
    with books.store.writing() as txn:
        sums = Totals(len(lines), 1, 0, 0, {})
        return propose_batch_txn(txn, code, name, file_hash, sums, maker="li", now_ms=books.clock.ms)


def line(books: Books, batch_id: int, number: int = 0, **more: Any) -> OpenLine:
    with books.engine.connect() as txn:
        waiting = waiting_lines(txn, batch_id, 5000)
    row = next(row for row in waiting if not number or row.line == number)
    order = Order(
        Channel.CLI,
        batch_key(batch_id, row.line),
        Asker(row.phone, row.service),
        Msisdn(row.msisdn),
        row.amount_fen,
        books.clock.ms,
    )
    opening = OpenRecharge(order, 1, confirmed=True, batch_id=batch_id, reserved_fen=row.cost_fen, **more)
    return OpenLine(opening, row.line)


def reserve(books: Books, batch_id: int) -> tuple[int, State]:
    [(cost, state)] = books.rows("SELECT cost, state FROM txn WHERE id = :i", i=batch_id)
    return cost, State(state)


def test_a_file_from_reserve_to_end(books: Books) -> None:
    opened = books.do(batch(books, 5_000, 3_000, 2_000, bad=1))
    number = opened.order_id
    assert (opened.state, opened.fresh, opened.amount_fen) == (State.HELD, True, 10_000)
    assert books.money("A") == (100_000, 10_000)
    held = []
    for left in (5_000, 2_000, 0):
        receipt = books.do(line(books, number))
        assert (receipt.state, receipt.fresh) == (State.HELD, True)
        assert reserve(books, number) == ((left, State.HELD) if left else (10_000, State.VOIDED))
        assert books.money("A") == (100_000, 10_000)  # from the reserve to the line's own hold
        assert books.problems() == []
        held.append(receipt)
    books.do(books.close(held[0], Verdict.YES))
    books.do(books.close(held[1], Verdict.NO))
    assert books.money("A") == (95_000, 2_000)
    books.do(books.close(held[2], Verdict.YES))
    assert books.money("A") == (93_000, 0)
    assert "outlet.settled" not in books.told()  # thousands of messages to one outlet help nobody
    with books.engine.connect() as txn:
        assert batch_counts(txn, number) == {1: 3, 2: 1}
        shown = [(row["state"], row["order_state"]) for row in batch_lines(txn, number)]
    assert shown == [(1, State.SETTLED), (1, State.VOIDED), (1, State.SETTLED), (2, None)]
    assert books.do(EndBatch(number, 3, 1)) is True
    assert books.told() == ["outlet.batch"]
    assert books.do(EndBatch(number, 3, 1)) is False


def test_customers_are_told_of_their_line(books: Books) -> None:
    number = books.do(batch(books, 5_000)).order_id
    books.do(books.close(books.do(line(books, number)), Verdict.YES))
    assert books.told() == ["customer.settled"]


def test_a_line_is_opened_once(books: Books) -> None:
    number = books.do(batch(books, 5_000, 3_000)).order_id
    command = line(books, number, 1)
    first, second = books.batch(command, command)
    assert (first.order_id, first.fresh, second.fresh) == (second.order_id, True, False)
    assert books.do(command).fresh is False
    assert reserve(books, number) == (3_000, State.HELD)


def test_the_reserve_is_no_doubt(books: Books) -> None:
    number = books.do(batch(books, 5_000, 3_000)).order_id
    opened = books.do(line(books, number))
    with books.engine.connect() as txn:
        assert [row.order_id for row in open_orders(txn, books.clock.ms + 2**40)] == [opened.order_id]
        assert running_batches(txn) == [number]
    for verdict in Verdict:  # not even people can settle it
        assert books.do(books.close(number, verdict)).state is State.HELD


def test_the_same_file_again(books: Books) -> None:
    command = batch(books, 5_000)
    with pytest.raises(FundingError, match="entered already for A"):
        ask(books, "f", a_file(5_000))
    first, again = books.batch(command, command)
    assert (first.state, again) == (State.HELD, f"no request {command.request_id} waits to be confirmed")
    with pytest.raises(FundingError, match="entered already for A"):
        ask(books, "f", a_file(5_000))
    own = Asker(PHONES["A"], SERVICE, None, Pin(PIN))
    assert books.do(batch(books, 5_000, asker=own)).reason is Reason.DUPLICATE
    assert books.do(batch(books, 5_000, code="B")).state is State.HELD  # another outlet's
    assert books.money("A") == (100_000, 5_000)


def test_a_file_takes_two_people_and_the_file_itself(books: Books) -> None:
    command = batch(books, 5_000)
    number = command.request_id
    assert books.do(replace(command, actor="li")) == "maker and checker are two people"
    assert books.do(replace(command, file_hash=b"x" * 32)) == f"this is not the file of request {number}"
    assert books.do(replace(command, request_id=99)) == "no request 99 waits to be confirmed"
    assert books.do(Enter(number, "wang")) == f"request {number} is a file: who confirms it must bring it"
    assert books.do(Enter(number, "wang", decline="wrong month")) == Declined(number, "batch")
    assert books.do(command) == f"no request {number} waits to be confirmed"
    assert books.money("A") == (100_000, 0)
    with pytest.raises(FundingError, match="no line"), books.store.writing() as txn:
        propose_batch_txn(txn, "A", "f", b"h", Totals(2, 0, 0, 0, {}), maker="li", now_ms=books.clock.ms)


REFUSALS: list[tuple[str, dict[str, Any], Reason]] = [
    ("too short a float", {"amounts": (50_000, 50_001)}, Reason.FLOAT),
    ("no valid line", {"bad": 2}, Reason.AMOUNT),
    ("no line", {}, Reason.FORMAT),
    ("too many", {"amounts": (1,) * 5001}, Reason.FORMAT),
]


@pytest.mark.parametrize(("more", "reason"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_what_is_not_reserved(books: Books, more: dict[str, Any], reason: Reason) -> None:
    rest = {name: value for name, value in more.items() if name != "amounts"}
    receipt = books.do(batch(books, *more.get("amounts", ()), **rest))
    assert (receipt.state, receipt.reason) == (State.REFUSED, reason)
    assert books.money("A") == (100_000, 0)
    assert books.value("SELECT count(*) FROM batch") == 0


def test_an_outlet_brings_its_own_file(books: Books) -> None:
    def by_outlet(pin: str, name: str) -> OpenBatch:
        return batch(books, 5_000, name=name, asker=Asker(PHONES["A"], SERVICE, None, Pin(pin)), request=0)

    assert books.do(by_outlet(WRONG, "one")).reason is Reason.PIN_WRONG
    command = replace(by_outlet(PIN, "two"), key=Key("web", "1"))
    receipt = books.do(command)
    assert not books.do(command).fresh
    assert receipt.state is State.HELD
    assert books.told() == ["outlet.refused PIN_WRONG", "outlet.batch-opened"]


# -- lines ------------------------------------------------------------------------------------------------


def test_a_line_that_is_refused_gives_its_part_back(books: Books) -> None:
    books.add(
        "limit_rule", id=1, subject=1, value="", group_code="", operation=1, period=1, value_max_fen=6_000
    )
    number = books.do(batch(books, 5_000, 3_000)).order_id
    assert books.do(line(books, number, 1)).state is State.HELD
    refused = books.do(line(books, number, 2))
    assert (refused.state, refused.reason) == (State.REFUSED, Reason.LIMIT_VALUE)
    assert books.money("A") == (100_000, 5_000)
    assert reserve(books, number) == (8_000, State.VOIDED)
    reasons = books.rows("SELECT state, reason FROM batch_line ORDER BY line")
    assert reasons == [(1, 0), (2, Reason.LIMIT_VALUE.number)]
    assert not any("refused" in told for told in books.told())


def test_limits_of_a_voided_line_are_given_back(books: Books) -> None:
    books.add("limit_rule", id=1, subject=2, value="", group_code="", operation=1, period=1, count_max=1)
    number = books.do(batch(books, 5_000, 3_000)).order_id
    books.do(books.close(books.do(line(books, number, 1)), Verdict.NO))
    assert books.do(line(books, number, 2)).state is State.HELD


def test_a_suspended_outlet_opens_no_lines(books: Books) -> None:
    number = books.do(batch(books, 5_000)).order_id
    with books.store.writing() as txn:
        txn.execute(text("UPDATE outlet SET status = 2 WHERE code = 'A'"))
    assert books.do(line(books, number)).reason is Reason.OUTLET
    assert books.money("A") == (100_000, 0)


def test_the_intent_guard_does_not_ask_again(books: Books) -> None:
    books.do(books.plain("13800000001", 5_000))
    number = books.do(batch(books, 5_000)).order_id
    assert books.do(line(books, number)).state is State.HELD


def test_a_price_that_changes_meanwhile(books: Books) -> None:
    number = books.do(batch(books, 5_000, 5_000)).order_id
    books.add("price", id=1, operator_id=0, group_code="", mode=1, rate_ppm=20_000, from_date=20260101)
    receipt = books.do(line(books, number, 1))
    assert receipt.cost_fen == 4_900
    assert books.money("A") == (100_000, 9_900)


def test_a_dearer_price_takes_the_rest_from_the_float(books: Books) -> None:
    books.add("price", id=1, operator_id=0, group_code="", mode=1, rate_ppm=500_000, from_date=20260101)
    number = books.do(batch(books, 100_000, 100_000)).order_id
    assert books.money("A") == (100_000, 100_000)
    with books.store.writing() as txn:
        txn.execute(text("UPDATE price SET until_date = 20260102"))
        txn.execute(text("UPDATE policy SET version = version + 1"))
    assert books.do(line(books, number, 1)).reason is Reason.FLOAT
    assert books.money("A") == (100_000, 50_000)
    assert books.do(line(books, number, 2)).cost_fen == 100_000  # the first one's part is free now


def test_cancelled_in_the_middle(books: Books) -> None:
    number = books.do(batch(books, 5_000, 3_000, 2_000)).order_id
    opened, waits = line(books, number, 1), line(books, number, 2)
    receipt = books.do(opened)
    assert books.do(CancelBatch(number, "li")) == 5_000
    assert books.money("A") == (100_000, 5_000)
    assert books.do(waits) == f"batch {number} is at its end"
    assert books.do(CancelBatch(number, "li")) == f"batch {number} is at its end: no line waits any more"
    assert books.do(EndBatch(number, 1, 0)) is False
    assert books.do(CancelBatch(4711, "li")) == "no batch 4711"
    assert books.do(CancelBatch(10**19, "li")) == f"no batch {10**19}"
    books.do(books.close(receipt, Verdict.YES))
    assert books.money("A") == (95_000, 0)
    with books.engine.connect() as txn:
        assert running_batches(txn) == []


def test_cancel_and_open_in_one_batch(books: Books) -> None:
    number = books.do(batch(books, 5_000, 3_000)).order_id
    one, two = line(books, number, 1), line(books, number, 2)
    first, released, late = books.batch(one, CancelBatch(number, "li"), two)
    assert isinstance(first, Receipt)
    assert (released, isinstance(late, str)) == (3_000, True)


def test_a_file_of_five_thousand_lines(books: Books) -> None:
    books.fund("A", 6_000_000)
    receipt = books.do(batch(books, *[1_000] * 5000))
    assert receipt.amount_fen == 5_000_000
    assert books.value("SELECT count(*) FROM batch_line") == 5000
    commands = [line(books, receipt.order_id, n) for n in range(1, 4)]
    assert [result.state for result in books.batch(*commands)] == [State.HELD] * 3
    assert books.money("A") == (6_100_000, 5_000_000)


def test_nothing_but_a_file_is_a_file(books: Books) -> None:
    order = books.do(books.plain())
    number = books.do(batch(books, 5_000)).order_id
    command = line(books, number)
    wrong = OpenLine(
        OpenRecharge(command.opening.order, 1, batch_id=order.order_id, reserved_fen=5_000), command.line
    )
    assert books.do(wrong) == f"batch {order.order_id} is at its end"
    assert int(Operation.BATCH) == books.value("SELECT kind FROM txn WHERE id = :i", i=number)
    books.wait(MINUTE)
