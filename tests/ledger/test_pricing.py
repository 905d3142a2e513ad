"""What an outlet pays and earns, as an accountant reads it; and that it can always be reckoned again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from aircharge.errors import Reason
from aircharge.ledger.chart import COMMISSION_DISCOUNT, COMMISSION_INSTANT, COMMISSION_MONTHLY
from aircharge.ledger.policy import Policy, Price, Product
from aircharge.ledger.pricing import quote, reckon, sells
from aircharge.ledger.reckoning import commission_problems
from aircharge.ledger.tables import metadata
from aircharge.values import State, Verdict
from tests.ledger.desk import MINUTE, Books

TODAY = 20261123
MOBILE, UNICOM = 1, 2


def product(operator: int, low: int, high: int, step: int, **more: Any) -> Product:
    return Product(
        operator, low, high, step, **({"from_date": 0, "until_date": None, "enabled": True} | more)
    )


def price(number: int, **more: Any) -> Price:
    values: dict[str, Any] = {
        "operator_id": 0,
        "group": "",
        "min_fen": 0,
        "max_fen": None,
        "mode": COMMISSION_DISCOUNT,
        "rate_ppm": 0,
        "fixed_fen": 0,
        "from_date": 0,
        "until_date": None,
    }
    return Price(number, **(values | more))


# -- face values ------------------------------------------------------------------------------------------

FIXED = tuple(product(MOBILE, fen, fen, 1) for fen in (1000, 2000, 3000, 5000, 10_000))
RANGE = (product(MOBILE, 1000, 50_000, 1000),)
DATED = (product(MOBILE, 1000, 1000, 1, from_date=20261101, until_date=20261130),)


@pytest.mark.parametrize(
    ("products", "operator", "amount_fen", "date", "sold"),
    [
        # a list of face values
        (FIXED, MOBILE, 1000, TODAY, True),
        (FIXED, MOBILE, 10_000, TODAY, True),
        (FIXED, MOBILE, 4000, TODAY, False),
        (FIXED, MOBILE, 1001, TODAY, False),
        # from 10 to 500 yuan, whole tens
        (RANGE, MOBILE, 1000, TODAY, True),
        (RANGE, MOBILE, 50_000, TODAY, True),
        (RANGE, MOBILE, 51_000, TODAY, False),
        (RANGE, MOBILE, 500, TODAY, False),
        (RANGE, MOBILE, 1050, TODAY, False),
        # an operator without products of his own: the configuration alone says what he sells
        (RANGE, UNICOM, 1234, TODAY, True),
        ((), MOBILE, 1234, TODAY, True),
        # November only, its first and its last day included
        (DATED, MOBILE, 1000, 20261031, False),
        (DATED, MOBILE, 1000, 20261101, True),
        (DATED, MOBILE, 1000, 20261130, True),
        (DATED, MOBILE, 1000, 20261201, False),
        # switched off
        ((product(MOBILE, 1000, 1000, 1, enabled=False),), MOBILE, 1000, TODAY, False),
    ],
)
def test_what_is_sold(
    products: tuple[Product, ...], operator: int, amount_fen: int, date: int, sold: bool
) -> None:
    assert sells(Policy(products=products), operator, amount_fen, date) is sold


# -- which price --------------------------------------------------------------------------------------------

PRICES = (
    price(1, rate_ppm=10_000),  # everybody: 1 %
    price(2, operator_id=MOBILE, rate_ppm=20_000),  # with this operator: 2 %
    price(3, group="gold", rate_ppm=30_000),  # this group: 3 %
    price(4, group="gold", operator_id=MOBILE, rate_ppm=40_000, until_date=20261130),
    price(5, group="gold", operator_id=MOBILE, rate_ppm=50_000, from_date=20261201),
    price(6, group="gold", operator_id=MOBILE, rate_ppm=60_000, min_fen=10_000, max_fen=20_000),
)


@pytest.mark.parametrize(
    ("operator", "group", "amount_fen", "date", "price_id", "cost_fen"),
    [
        (UNICOM, "standard", 5000, TODAY, 1, 4950),
        (MOBILE, "standard", 5000, TODAY, 2, 4900),  # the operator before any
        (UNICOM, "gold", 5000, TODAY, 3, 4850),  # the group before any
        (MOBILE, "gold", 5000, TODAY, 4, 4800),  # both: the group first, then the operator
        (MOBILE, "gold", 5000, 20261130, 4, 4800),  # its last day
        (MOBILE, "gold", 5000, 20261201, 5, 4750),  # the next one's first day
        (MOBILE, "gold", 10_000, TODAY, 6, 9400),  # the band's ends belong to it; the newer row wins
        (MOBILE, "gold", 20_000, TODAY, 6, 18_800),
        (MOBILE, "gold", 20_100, TODAY, 4, 19_296),
    ],
)
def test_which_price(
    operator: int, group: str, amount_fen: int, date: int, price_id: int, cost_fen: int
) -> None:
    found = quote(Policy(prices=PRICES), operator, group, amount_fen, date)
    assert (found.price_id, found.cost_fen) == (price_id, cost_fen)


def test_without_a_price_the_face_value_is_paid_and_nothing_earned() -> None:
    found = quote(Policy(), MOBILE, "standard", 5000, TODAY)
    assert (found.cost_fen, found.commission_fen, found.mode, found.price_id) == (5000, 0, 0, 0)


# -- rounding: half to even, exactly -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate_ppm", "fixed_fen", "amount_fen", "commission_fen"),
    [
        (15_000, 0, 5000, 75),  # 1.5 % of 50.00 = 0.75
        (12_500, 0, 1_000, 12),  # 12.5 fen: half, to the even 12 (docs/rules.md)
        (12_500, 0, 3_000, 38),  # 37.5 fen: half, to the even 38
        (10_000, 0, 50, 0),  # 0.5 fen: half, to the even 0
        (10_000, 0, 150, 2),  # 1.5 fen: half, to the even 2
        (10_000, 0, 250, 2),  # 2.5 fen: half, to the even 2
        (10_000, 0, 350, 4),  # 3.5 fen: half, to the even 4
        (10_000, 0, 151, 2),  # 1.51 fen
        (10_000, 0, 149, 1),  # 1.49 fen
        (12_345, 0, 9999, 123),  # 123.437655 fen
        (333_333, 0, 3, 1),  # 0.999999 fen
        (1, 0, 500_000, 0),  # 0.5 fen
        (1, 0, 1_500_000, 2),  # 1.5 fen
        (1, 0, 500_001, 1),  # just more than half
        (0, 20, 5000, 20),  # a fixed part alone
        (10_000, 20, 5000, 70),  # both
        (500_000, 9000, 5000, 4999),  # never the whole face value: the stock is never given away
        (0, 0, 5000, 0),
    ],
)
def test_rounding(rate_ppm: int, fixed_fen: int, amount_fen: int, commission_fen: int) -> None:
    assert reckon(price(1, rate_ppm=rate_ppm, fixed_fen=fixed_fen), amount_fen) == commission_fen


@given(rate_ppm=st.integers(0, 500_000), amount_fen=st.integers(2, 10**10))
def test_rounding_is_that_of_the_exact_fraction(rate_ppm: int, amount_fen: int) -> None:
    from fractions import Fraction

    exact = Fraction(amount_fen * rate_ppm, 1_000_000)
    assert reckon(price(1, rate_ppm=rate_ppm), amount_fen) == round(exact)  # Fraction rounds half to even


# -- in the books ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "float_fen", "journal"),
    [
        # 2 % on 50.00: debit, credit, fen (A is account 1000)
        (COMMISSION_DISCOUNT, 95_100, [(1000, 1, 4900), (201, 1, 100)]),
        (COMMISSION_INSTANT, 95_000, [(1000, 1, 5000), (201, 10**12 + 1000, 100)]),
        (COMMISSION_MONTHLY, 95_000, [(1000, 1, 5000)]),
    ],
)
def test_the_three_ways_of_earning(
    books: Books, mode: int, float_fen: int, journal: list[tuple[int, int, int]]
) -> None:
    books.add("price", id=7, mode=mode, rate_ppm=20_000, from_date=0)
    receipt = books.do(books.plain(amount_fen=5000))
    books.told()
    books.do(books.close(receipt, Verdict.YES))
    assert books.money("A") == (float_fen, 0)
    question = "SELECT dr, cr, amount FROM journal WHERE txn_id = :id ORDER BY jid"
    assert books.rows(question, id=receipt.order_id) == journal
    assert books.rows("SELECT price_id, commission FROM txn WHERE id = :id", id=receipt.order_id) == [
        (7, 100)
    ]
    # The customer is told the face value, whatever the outlet paid.
    told = {notice.topic: notice.facts for notice in books.notices}
    assert told["customer.settled"]["amount_fen"] == 5000
    assert "cost_fen" not in told["customer.settled"]


def test_a_face_value_that_is_not_sold_is_refused(books: Books) -> None:
    books.add("product", id=1, operator_id=1, min_fen=1000, max_fen=5000, step_fen=1000, from_date=0)
    assert books.do(books.plain(amount_fen=5000)).reason is Reason.OK
    assert books.do(books.plain(amount_fen=5500)).reason is Reason.AMOUNT


def test_an_order_keeps_the_price_of_its_day(books: Books) -> None:
    """Held before midnight under one price, settled after it under another: the first counts."""
    books.add("price", id=1, mode=COMMISSION_DISCOUNT, rate_ppm=10_000, from_date=0, until_date=TODAY)
    books.add("price", id=2, mode=COMMISSION_DISCOUNT, rate_ppm=50_000, from_date=TODAY + 1)
    early = books.do(books.plain(amount_fen=10_000))
    books.wait(15 * 60 * MINUTE)
    late = books.do(books.plain("13800000001", amount_fen=10_000))
    books.batch(books.close(early, Verdict.YES), books.close(late, Verdict.YES))
    assert books.rows("SELECT price_id, cost FROM txn WHERE kind = 1 ORDER BY id") == [(1, 9900), (2, 9500)]
    assert reckoned(books) == []


# -- reckoned again -------------------------------------------------------------------------------------------


def reckoned(books: Books) -> list[str]:
    with books.engine.connect() as txn:
        return commission_problems(txn)


def trade(books: Books) -> list[int]:
    """Settled orders without price, with each mode, with halves; one held, one void, one refused."""
    plain = books.do(books.plain("13800000000", 1000))
    ids = [plain.order_id]
    for mode in (COMMISSION_DISCOUNT, COMMISSION_INSTANT, COMMISSION_MONTHLY):
        books.add("price", id=mode, mode=mode, rate_ppm=15_000, fixed_fen=mode, from_date=0)
        ids.append(books.do(books.plain(f"1380000000{mode}", 1050)).order_id)
    for order_id in ids:
        books.do(books.close(order_id, Verdict.YES))
    held, void, refused = (
        books.do(books.plain(f"1380000001{n}", fen)) for n, fen in enumerate((50, 50, 10**8))
    )
    books.do(books.close(void, Verdict.NO))
    assert (held.state, refused.state) == (State.HELD, State.REFUSED)
    return ids


def test_every_commission_is_reckoned_again_from_its_price(books: Books) -> None:
    trade(books)
    assert reckoned(books) == []


@pytest.mark.parametrize(
    ("statement", "which"),
    [
        ("UPDATE price SET rate_ppm = rate_ppm + 1000 WHERE id = 1", 1),
        ("UPDATE price SET mode = 3 WHERE id = 2", 2),
        ("UPDATE txn SET commission = commission + 1 WHERE id = :id", 2),
        ("UPDATE txn SET price_id = 99 WHERE id = :id", 3),
        ("UPDATE txn SET commission = 1 WHERE id = :id", 0),
    ],
)
def test_what_somebody_edited_is_named(books: Books, statement: str, which: int) -> None:
    ids = trade(books)
    with books.engine.begin() as txn:
        kept = txn.execute(text("SELECT * FROM price")).mappings().all()
        before = txn.execute(
            text("SELECT commission, price_id FROM txn WHERE id = :id"), {"id": ids[which]}
        ).one()
    with books.store.writing() as txn:
        txn.execute(text(statement), {"id": ids[which]} if ":id" in statement else {})
    assert any(f"order {ids[which]}:" in problem for problem in reckoned(books))
    with books.store.writing() as txn:  # the fixture wants sound books
        for row in kept:
            txn.execute(text("UPDATE price SET rate_ppm = :rate_ppm, mode = :mode WHERE id = :id"), dict(row))
        txn.execute(
            text("UPDATE txn SET commission = :c, price_id = :p WHERE id = :id"),
            {"c": before[0], "p": before[1], "id": ids[which]},
        )


# -- the customer pays face value ---------------------------------------------------------------------------

SURCHARGE = re.compile(r"surcharge|service_?fee|handling|markup|加收|手续费|服务费", re.IGNORECASE)


def test_nothing_anywhere_can_charge_the_customer_more() -> None:
    for table in metadata.tables.values():
        for column in table.columns:
            assert not SURCHARGE.search(column.name), f"{table.name}.{column.name}"
    root = Path(__file__).resolve().parent.parent.parent / "aircharge" / "sms" / "templates"
    for path in root.glob("*.toml"):
        assert not SURCHARGE.search(path.read_text("utf-8")), path.name
