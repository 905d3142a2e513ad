"""Products and prices: what may be written, that prices are never edited, what the books then do."""

from __future__ import annotations

from typing import Any

import pytest

from aircharge.errors import Reason
from aircharge.outlets import tariff
from aircharge.outlets.tariff import PriceForm, ProductForm
from tests.ledger.desk import MINUTE, Books
from tests.outlets.desk import actions, at_desk, policy_version, read, refused

TODAY = 20261123
DAY = 24 * 60 * MINUTE


def price(books: Books, **form: Any) -> int:
    number: int = at_desk(books, lambda desk: tariff.add_price_txn(desk, PriceForm(**form)))
    return number


def test_face_values_one_by_one(books: Books) -> None:
    before = policy_version(books)
    form = ProductForm(1, faces_fen=(1000, 2000, 5000))
    assert at_desk(books, lambda desk: tariff.add_products_txn(desk, form)) == [1, 2, 3]
    assert policy_version(books) == before + 1
    assert actions(books) == ["product.add"] * 3
    asked = [(1000, "OK"), (2000, "OK"), (3000, "AMOUNT"), (5000, "OK"), (5001, "AMOUNT")]
    for number, (fen, reason) in enumerate(asked):
        assert books.do(books.plain(f"1380000000{number}", fen)).reason.name == reason


def test_a_range_from_tomorrow_until_its_end(books: Books) -> None:
    form = ProductForm(
        1, min_fen=1000, max_fen=5000, step_fen=2000, from_date=TODAY + 1, until_date=TODAY + 2
    )
    at_desk(books, lambda desk: tariff.add_products_txn(desk, form))
    for day, fen, reason in [
        (0, 3000, "AMOUNT"),
        (1, 3000, "OK"),
        (1, 2000, "AMOUNT"),
        (2, 5000, "OK"),
        (3, 3000, "AMOUNT"),
    ]:
        books.clock.ms += day * DAY
        assert books.do(books.plain("13800000001", fen, repeat=9)).reason.name == reason, (day, fen)
        books.clock.ms -= day * DAY


def test_the_kill_switch(books: Books) -> None:
    at_desk(books, lambda desk: tariff.add_products_txn(desk, ProductForm(1, faces_fen=(1000,))))
    at_desk(books, lambda desk: tariff.switch_product_txn(desk, 1, on=False))
    assert books.do(books.plain(amount_fen=1000)).reason is Reason.AMOUNT
    refused(books, lambda desk: tariff.switch_product_txn(desk, 1, on=False), "off already")
    at_desk(books, lambda desk: tariff.switch_product_txn(desk, 1, on=True))
    assert books.do(books.plain(amount_fen=1000)).reason is Reason.OK
    at_desk(books, lambda desk: tariff.end_product_txn(desk, 1, TODAY - 1))
    assert books.do(books.plain("13800000001", 1000)).reason is Reason.AMOUNT
    assert actions(books) == ["product.add", "product.off", "product.on", "product.end"]


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (ProductForm(3, faces_fen=(1000,)), "no operator 3"),
        (ProductForm(10**19, faces_fen=(1000,)), "no operator"),
        (ProductForm(1), "one of them"),
        (ProductForm(1, faces_fen=(0,)), "more than nothing"),
        (ProductForm(1, faces_fen=(-1,)), "more than nothing"),
        (ProductForm(1, faces_fen=(10**19,)), "at most 100 million"),
        (ProductForm(1, faces_fen=(1000, 1000)), "named twice"),
        (ProductForm(1, faces_fen=(1000,), step_fen=10), "one of them"),
        (ProductForm(1, min_fen=5000, max_fen=1000, step_fen=1000), "not above the most"),
        (ProductForm(1, min_fen=1000, max_fen=5000), "more than nothing"),
        (ProductForm(1, min_fen=1000, max_fen=5000, step_fen=3000), "whole number of steps"),
        (ProductForm(1, faces_fen=(1000,), from_date=TODAY - 1), "begin today or later"),
        (ProductForm(1, faces_fen=(1000,), from_date=20261131), "is no date"),
        (ProductForm(1, faces_fen=(1000,), until_date=TODAY - 1), "before the first"),
    ],
)
def test_products_that_cannot_be(books: Books, form: ProductForm, says: str) -> None:
    refused(books, lambda desk: tariff.add_products_txn(desk, form), says)


def test_a_new_price_ends_the_old_one_the_day_before(books: Books) -> None:
    assert price(books, mode="discount", rate_ppm=10_000) == 1
    assert price(books, mode="discount", rate_ppm=20_000, from_date=TODAY + 7) == 2
    assert price(books, mode="discount", rate_ppm=30_000, group="gold") == 3  # another group: both go on
    rows = [(row["id"], row["from_date"], row["until_date"]) for row in read(books, tariff.prices)]
    assert rows == [(1, TODAY, TODAY + 6), (2, TODAY + 7, None), (3, TODAY, None)]
    assert books.do(books.plain(amount_fen=1000)).cost_fen == 990
    books.wait(7 * DAY)
    assert books.do(books.plain(amount_fen=1000)).cost_fen == 980
    assert actions(books) == ["price.add"] * 3


def test_a_price_that_replaces_another_on_its_first_day(books: Books) -> None:
    price(books, mode="discount", rate_ppm=10_000)
    price(books, mode="instant", rate_ppm=20_000)
    receipt = books.do(books.plain(amount_fen=1000))
    assert books.rows("SELECT price_id, cost FROM txn WHERE id = :id", id=receipt.order_id) == [(2, 1000)]


def test_an_end_is_set_never_a_rate(books: Books) -> None:
    price(books, mode="discount", rate_ppm=10_000)
    at_desk(books, lambda desk: tariff.end_price_txn(desk, 1, 20261231))
    at_desk(books, lambda desk: tariff.end_price_txn(desk, 1, TODAY - 1))
    assert books.do(books.plain(amount_fen=1000)).cost_fen == 1000
    refused(books, lambda desk: tariff.end_price_txn(desk, 1, TODAY), "has ended already")
    refused(books, lambda desk: tariff.end_price_txn(desk, 99, TODAY), "no price 99")
    refused(books, lambda desk: tariff.end_price_txn(desk, 10**19, TODAY), "no price")
    assert not [name for name in tariff.__all__ if "edit" in name or "change" in name]


def test_what_is_past_stays_as_it_was(books: Books) -> None:
    price(books, mode="discount", rate_ppm=10_000)
    refused(books, lambda desk: tariff.end_price_txn(desk, 1, TODAY - 2), "what was sold is sold")
    form = PriceForm("discount", 20_000, from_date=TODAY - 1)
    refused(books, lambda desk: tariff.add_price_txn(desk, form), "begin today or later")


def test_a_price_cannot_run_into_a_later_one(books: Books) -> None:
    price(books, mode="discount", rate_ppm=10_000, from_date=TODAY + 7)
    refused(books, lambda desk: tariff.add_price_txn(desk, PriceForm("discount", 20_000)), "begins later")


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (PriceForm("gift", 1), "mode 'gift'"),
        (PriceForm("discount"), "gives something"),
        (PriceForm("discount", -1), "0 to 50 %"),
        (PriceForm("discount", 500_001), "0 to 50 %"),
        (PriceForm("discount", 0, -5), "gives something"),
        (PriceForm("discount", 0, 10**19), "gives something"),
        (PriceForm("discount", 1, operator_id=3), "no operator 3"),
        (PriceForm("discount", 1, operator_id=10**19), "no operator"),
        (PriceForm("discount", 1, group="金牌"), "group '金牌'"),
        (PriceForm("discount", 1, group="x" * 17), "group"),
        (PriceForm("discount", 1, min_fen=-1), "band"),
        (PriceForm("discount", 1, min_fen=2000, max_fen=1000), "band"),
        (PriceForm("discount", 1, max_fen=10**19), "band"),
        (PriceForm("discount", 1, from_date=20270229), "is no date"),
        (PriceForm("discount", 1, until_date=20261122), "before the first"),
    ],
)
def test_prices_that_cannot_be(books: Books, form: PriceForm, says: str) -> None:
    refused(books, lambda desk: tariff.add_price_txn(desk, form), says)
