"""An automatic reversal is for an answer that was not heard: no second way to void, and never of another sale."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aircharge.outlets.desk import Desk
from aircharge.outlets.terminals import block_terminal_txn, move_terminal_txn
from aircharge.wire.iso8583.message import Message
from aircharge.wire.iso8583.terminal import Sums
from tests.ledger.pos import TERMINAL
from tests.pos.handset import Handset
from tests.pos.shop import Shop, now

OTHER = "13812345679"


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop(reversals_alarm=3)
    yield made
    made.close()


@pytest.fixture
def handset(shop: Shop) -> Handset:
    made = Handset(shop)
    made.sign_in()
    return made


def sold(handset: Handset, target: str = "13812345678", **more: int) -> Message:
    sale = handset.sale(target, **more)
    assert handset.code_of(sale) == "00"
    return sale


def settle(handset: Handset, fen: int = 5000, n: int = 1) -> None:
    assert handset.code_of(handset.build("0500", {48: Sums(fen, n).encode()}, "201")) == "00"


def reprint(handset: Handset, sale: Message) -> str:
    return handset.code_of(handset.ask("380000", f61=f"{handset.batch:06d}{sale.text(11)}0000"))


def alarms(shop: Shop) -> list[str]:
    found = shop.books.rows("SELECT action FROM audit WHERE action LIKE 'alarm.%' ORDER BY seq")
    return [row[0] for row in found]


def taken_back(shop: Shop) -> int:
    for _ in range(2):
        now(shop.cancels.round())
    return int(shop.books.value("SELECT count(*) FROM txn WHERE state = 7"))


# -- T1: answered, heard, and then "not heard" ----------------------------------------------------------------


def test_not_after_the_settlement_even_hours_later(shop: Shop, handset: Handset) -> None:
    sale = sold(handset)
    assert reprint(handset, sale) == "00"
    settle(handset)
    shop.books.wait(8 * 3_600_000)
    assert handset.code_of(handset.cancel(sale)) == "40"
    assert (taken_back(shop), shop.books.money("A")) == (0, (95_000, 0))
    assert alarms(shop) == ["alarm.reversal-refused"]


@pytest.mark.parametrize("since", ["sale", "void", "reprint", "settlement", "unequal settlement"])
def test_not_once_the_terminal_has_gone_on(shop: Shop, handset: Handset, since: str) -> None:
    first = sold(handset)
    sale = sold(handset, OTHER)
    if since == "sale":
        sold(handset, "13812345670")
    elif since == "void":
        handset.code_of(handset.void(int(first.text(11))))
    elif since == "reprint":
        assert reprint(handset, sale) == "00"
    else:
        settle(handset, 10_000, 2 if since == "settlement" else 1)
    before = shop.books.money("A")
    assert handset.code_of(handset.cancel(sale)) == ("00" if since == "void" else "40")
    if since != "void":
        assert shop.books.money("A") == before
        assert alarms(shop)[-1] == "alarm.reversal-refused"


def test_one_that_was_off_for_hours_is_heard(shop: Shop, handset: Handset) -> None:
    sale = sold(handset)
    assert handset.code_of(handset.sale(OTHER, fen=99)) == "13"  # refused: nothing that it had taken
    assert handset.code_of(handset.ask("320000")) == "00"  # a question
    shop.books.wait(10 * 3_600_000)
    handset.sign_in()
    assert handset.code_of(handset.cancel(sale)) == "00"
    assert (taken_back(shop), shop.books.money("A")) == (1, (100_000, 0))


def test_what_was_granted_is_granted_when_it_is_asked_again(shop: Shop, handset: Handset) -> None:
    sale = sold(handset)
    assert handset.code_of(handset.cancel(sale)) == "00"
    sold(handset, OTHER)
    assert handset.code_of(handset.cancel(sale)) == "00"
    assert taken_back(shop) == 1
    settle(handset)
    assert handset.code_of(handset.cancel(sale)) == "00"


def test_many_a_day_raise_an_alarm(shop: Shop, handset: Handset) -> None:
    for n in range(6):
        sale = sold(handset, f"1381234560{n}")
        assert handset.code_of(handset.cancel(sale)) == "00"
    assert alarms(shop) == ["alarm.many-reversals"] * 2
    assert taken_back(shop) == 6


# -- T2: trace numbers that start over ------------------------------------------------------------------------


def replaced(shop: Shop) -> Handset:
    """Another device in its place, with a counter of its own."""
    device = Handset(shop)
    device.sign_in()
    return device


def test_a_reversal_names_the_customer(handset: Handset, shop: Shop) -> None:
    sale = sold(handset)
    bare = handset.cancel(sale)
    del bare.fields[2]
    assert handset.code_of(bare) == "30"
    assert handset.code_of(handset.cancel(sale, **{})) == "00"
    assert taken_back(shop) == 1


def test_another_customers_sale_is_not_taken_back(handset: Handset, shop: Shop) -> None:
    sale = sold(handset)
    other = handset.sale(OTHER, trace=int(sale.text(11)))
    assert handset.code_of(other) == "94"
    assert handset.code_of(handset.cancel(other)) == "94"
    assert (taken_back(shop), shop.books.money("A")) == (0, (95_000, 0))


def test_the_same_customer_and_amount_under_the_same_trace(shop: Shop) -> None:
    """Another message by its MAC: no "00" for what is not executed, and its reversal takes nothing back."""
    handset = Handset(shop)
    handset.sign_in()
    sale = sold(handset)
    shop.books.wait(6 * 60_000)
    handset.sign_in()
    again = handset.sale(trace=int(sale.text(11)), fields={22: "011"})
    assert handset.code_of(again) == "94"
    assert handset.code_of(handset.cancel(again)) == "94"
    assert (taken_back(shop), shop.books.money("A")) == (0, (95_000, 0))
    assert "alarm.clash" in alarms(shop)


def test_a_replaced_terminal_gets_a_batch_of_its_own(shop: Shop, handset: Handset) -> None:
    for n in range(4):
        sold(handset, f"1381234560{n}")
    device = replaced(shop)
    assert device.batch == 2
    assert handset.code_of(handset.sale(OTHER)) in ("00", "A0", "77")  # a sign-in alone changes nothing
    sale = sold(device, "13812345690")
    assert sale.text(11) == "000002"
    assert alarms(shop) == ["alarm.batch-left"]
    assert device.code_of(device.cancel(sale)) == "00"
    assert taken_back(shop) == 1
    states = shop.books.rows("SELECT batch, state, our_sale_n, their_sale_n FROM pos_batch")
    assert states in ([(1, 2, 4, 0)], [(1, 2, 5, 0)])
    assert shop.terminal().row.batch == 2


def test_traces_that_wrap_are_no_new_count(shop: Shop, handset: Handset) -> None:
    handset.trace = 999_990
    sold(handset)
    handset.trace = 3
    handset.sign_in()
    assert handset.batch == 1


def test_a_strangers_sign_in_moves_no_batch(shop: Shop, handset: Handset) -> None:
    for n in range(4):
        sold(handset, f"1381234560{n}")
    stranger = Handset(shop, master=bytes(16))
    stranger.ask_for(stranger.build("0800", {}, "003"), b"")
    assert shop.terminal().row.batch == 1
    sold(handset, OTHER)


# -- T4 and T5: moved, blocked --------------------------------------------------------------------------------


def at_desk(shop: Shop, work: object) -> None:
    with shop.books.store.writing() as txn:
        work(Desk(txn, shop.books.clock.now_ms(), "wang"))  # type: ignore[operator]


def moved(shop: Shop) -> Handset:
    """To outlet B, whose two people have lifted the block."""
    at_desk(shop, lambda desk: move_terminal_txn(desk, TERMINAL, "B"))
    at_desk(shop, lambda desk: block_terminal_txn(desk, TERMINAL, lift=True))
    device = Handset(shop)
    device.trace = 100
    device.sign_in()
    return device


def test_a_moved_terminal_has_none_of_its_former_outlets_sales(shop: Shop, handset: Handset) -> None:
    sale = sold(handset)
    device = moved(shop)
    assert device.batch == 1
    assert reprint(device, sale) == "25"
    assert device.code_of(device.void(int(sale.text(11)))) == "25"
    assert device.code_of(device.cancel(sale)) == "40"
    assert (taken_back(shop), shop.books.money("A")) == (0, (95_000, 0))
    assert alarms(shop) == ["alarm.reversal-refused"]


def test_a_blocked_terminal_that_owes_a_reversal_is_heard(shop: Shop, handset: Handset) -> None:
    sale = sold(handset)
    at_desk(shop, lambda desk: block_terminal_txn(desk, TERMINAL))
    assert handset.code_of(handset.sale(OTHER)) == "58"
    assert handset.code_of(handset.cancel(sale), bytes(16)) in (
        "58",
        "A0",
    )  # not under a MAC that proves nothing
    assert shop.books.rows("SELECT state FROM pos_reversal") == []
    assert handset.code_of(handset.cancel(sale)) == "00"
    assert (taken_back(shop), shop.books.money("A")) == (1, (100_000, 0))
    at_desk(shop, lambda desk: block_terminal_txn(desk, TERMINAL, lift=True))
    assert handset.code_of(handset.sale(OTHER)) == "77"
