"""The accounting day is cut in the middle of the trade: what is held before and settled after bears both dates."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from aircharge.ledger.book import BookSettings
from aircharge.ledger.chart import HOUSE
from aircharge.ledger.cutoff import accounting_date, cut_minute, date_text, following, parse_date
from aircharge.ledger.days import CutDay, DayCut, OpenDays
from aircharge.values import Receipt, State, Verdict
from tests.ledger.desk import PHONES, START_MS, Books

D, E = 2026_11_23, 2026_11_24  # the desk's day, and the next
HOUR = 3_600_000


def dates(books: Books, order: Receipt) -> tuple[int, list[int]]:
    """The date of the hold, and of the postings."""
    held = books.value("SELECT biz_date FROM txn WHERE id = :id", id=order.order_id)
    posted = books.rows("SELECT biz_date FROM journal WHERE txn_id = :id ORDER BY jid", id=order.order_id)
    return held, [date for (date,) in posted]


def days(books: Books, operator_id: int = 1) -> list[tuple[Any, ...]]:
    question = "SELECT biz_date, state FROM day WHERE operator_id = :id ORDER BY biz_date"
    return books.rows(question, id=operator_id)


def test_both_dates_are_kept(books: Books) -> None:
    before = books.do(books.plain("13800000001"))
    settled = books.do(books.plain("13800000002"))
    books.do(books.close(settled, Verdict.YES))
    assert books.do(CutDay(1, E, "clerk")) == DayCut(1, D, E)
    after = books.do(books.plain("13800000003"))
    for order in (before, after):
        books.do(books.close(order, Verdict.YES))
    #                     held  posted
    assert dates(books, settled) == (D, [D])
    assert dates(books, before) == (D, [E])
    assert dates(books, after) == (E, [E])
    assert days(books) == [(D, 1), (E, 0)]
    assert days(books, HOUSE) == [(D, 0)]  # the house goes on with its own day
    books.fund("A", 100)
    assert books.value("SELECT max(biz_date) FROM txn WHERE kind = 3") == D


def test_one_batch_may_trade_cut_and_trade(books: Books) -> None:
    commands = [books.plain("13800000001"), CutDay(1, E, "clerk"), books.plain("13800000002")]
    before, cut, after = books.batch(*commands)
    assert cut == DayCut(1, D, E)
    books.batch(books.close(before, Verdict.YES), books.close(after, Verdict.YES))
    assert dates(books, before) == (D, [E])
    assert dates(books, after) == (E, [E])
    assert days(books) == [(D, 1), (E, 0)]


@pytest.mark.parametrize(
    ("operator_id", "next_date", "actor", "why"),
    [
        (1, D, "clerk", "the day of 2026-11-23 is open: the next one comes after it"),
        (1, D - 1, "clerk", "the day of 2026-11-23 is open: the next one comes after it"),
        (1, E + 1, "clerk", "at most one day ahead of 2026-11-23"),
        (1, 2099_01_01, "clerk", "at most one day ahead of 2026-11-23"),
        (100, E, "clerk", "no operator 100"),
        (-1, E, "clerk", "no operator -1"),
        (1, E, " ", "whose name does this bear?"),
    ],
)
def test_a_cut_is_refused(books: Books, operator_id: int, next_date: int, actor: str, why: str) -> None:
    books.do(books.plain("13800000001"))
    known = books.rows("SELECT * FROM day")
    assert books.do(CutDay(operator_id, next_date, actor)) == why
    assert books.rows("SELECT * FROM day") == known


def test_a_day_is_cut_once(books: Books) -> None:
    books.do(books.plain("13800000001"))
    assert books.batch(CutDay(1, E, "clerk"), CutDay(1, E, "clerk"), CutDay(1, E + 1, "clerk")) == [
        DayCut(1, D, E),
        "the day of 2026-11-24 is open: the next one comes after it",
        "at most one day ahead of 2026-11-23",
    ]
    books.wait(24 * HOUR)  # the clock has come to the day that is open
    assert books.do(OpenDays()) == (DayCut(0, D, E),)
    assert books.do(CutDay(1, E + 1, "clerk")) == DayCut(1, E, E + 1)


def test_who_does_not_trade_gets_his_day_all_the_same(books: Books) -> None:
    assert books.do(OpenDays((1, 2))) == (DayCut(1, 0, D), DayCut(2, 0, D))
    assert books.do(OpenDays((1, 2))) == ()
    books.wait(14 * HOUR)  # midnight
    assert books.do(OpenDays()) == (DayCut(0, D, E), DayCut(1, D, E), DayCut(2, D, E))
    assert days(books, 2) == [(D, 1), (E, 0)]
    actions = books.rows("SELECT object, actor FROM audit WHERE action = 'day.cut' ORDER BY seq")
    assert actions[-1] == ("operator 2", "machine")


# local time          cut      accounting day
CLOCKS = [
    ("2026-11-23 00:00", "00:00", "2026-11-23"),
    ("2026-11-23 23:59", "00:00", "2026-11-23"),
    ("2026-11-23 23:29", "23:30", "2026-11-23"),
    ("2026-11-23 23:30", "23:30", "2026-11-24"),
    ("2026-11-24 23:29", "23:30", "2026-11-24"),
    ("2026-12-31 18:00", "18:00", "2027-01-01"),
    ("2026-11-24 01:59", "02:00", "2026-11-23"),
    ("2026-11-24 02:00", "02:00", "2026-11-24"),
    ("2028-02-28 23:59", "12:01", "2028-02-29"),
]


@pytest.mark.parametrize(("local", "cut", "day"), CLOCKS)
def test_the_hour_of_the_cut(local: str, cut: str, day: str) -> None:
    midnight_ms = START_MS - 10 * HOUR  # 2026-11-23 00:00 in Shanghai
    date, _, time = local.partition(" ")
    at_ms, reached = midnight_ms, D
    while reached != parse_date(date):
        reached, at_ms = following(reached), at_ms + 24 * HOUR
    at_ms += cut_minute(time) * 60_000
    assert date_text(accounting_date(at_ms, 480, cut_minute(cut))) == day


@pytest.mark.usefixtures("engine")
def test_each_operator_is_cut_at_his_hour() -> None:
    books = Books(settings=BookSettings(cut_at={"1": "23:30", "2": "02:00"})).setup()
    books.wait(13 * HOUR + 30 * 60_000)  # 23:30
    one = books.do(books.plain("13800000001"))
    two = books.do(books.plain("13800000002", operator_id=2))
    books.wait(HOUR)  # 00:30
    later = books.do(books.plain("13800000003", operator_id=2))
    books.fund("A", 100)
    assert dates(books, one)[0] == E
    assert dates(books, two)[0] == D
    assert dates(books, later)[0] == D
    assert books.value("SELECT max(biz_date) FROM txn WHERE kind = 3") == E
    assert books.problems() == []
    books.engine.dispose()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"1": "24:00"}, "no time of day"),
        ({"1": "7:30"}, "no time of day"),
        ({"x": "00:00"}, "no operator's number"),
    ],
)
def test_a_wrong_hour_is_refused(settings: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        BookSettings(cut_at=settings)


@pytest.mark.parametrize("text", ["2026-13-01", "2026-02-30", "20261", "", "yesterday"])
def test_no_date(text: str) -> None:
    with pytest.raises(ValueError, match="no date"):
        parse_date(text)


def test_a_cut_among_a_thousand_open_orders_loses_and_doubles_none(books: Books) -> None:
    """Holds, settlements and voids go on in other batches while the day is cut at a moment of its own."""
    books.fund("A", 2_000_000)
    held: list[Receipt] = []
    for first in range(0, 1000, 100):
        held += books.batch(*[books.plain(f"138{n:08d}", 1000) for n in range(first, first + 100)])
    assert {order.state for order in held} == {State.HELD}
    later: list[Receipt] = []
    for first in range(0, 1000, 50):
        commands: list[Any] = [
            books.close(order, Verdict.NO if n % 10 == 0 else Verdict.YES)
            for n, order in enumerate(held[first : first + 50])
        ]
        commands += [books.plain(f"139{n:08d}", 1000) for n in range(first, first + 10)]
        if first == 500:
            commands.insert(17, CutDay(1, E, "clerk"))
        later += [
            r for r in books.batch(*commands) if isinstance(r, Receipt) and r.fresh and r.state == State.HELD
        ]
    books.batch(*[books.close(order, Verdict.YES) for order in later])
    by_dates = books.rows(
        "SELECT t.biz_date, t.state, j.biz_date, count(*) FROM txn t LEFT JOIN journal j ON j.txn_id = t.id"
        " WHERE t.kind = 1 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    settled, voided = int(State.SETTLED), int(State.VOIDED)
    cut_at = sum(1 for n in range(17) if n % 10)  # of the batch that was cut
    assert sorted(by_dates, key=str) == sorted(
        [
            (D, settled, D, 450 + cut_at),
            (
                D,
                settled,
                E,
                450 - cut_at + 100,
            ),  # the first hundred of the later ones were held before the cut
            (D, voided, None, 100),
            (E, settled, E, 100),
        ],
        key=str,
    )
    assert books.money("A") == (100_000 + 2_000_000 - (900 + 200) * 1000, 0)


def test_batches_of_other_daemons_see_the_cut_or_end_before_it(postgres_books: Books) -> None:
    """A second writer trades all the while: its rows have the old date up to the cut and the new one after it."""
    books = postgres_books
    books.fund("A", 2_000_000)
    other = Books(books.url, node=2)
    other._serial = 1_000_000
    orders: list[Receipt] = []
    cut = threading.Event()
    failures: list[BaseException] = []

    def trade() -> None:
        try:
            count = 0
            while not (cut.is_set() and len(orders) > 100) and count < 5000:
                count += 1
                [order] = other.batch(other.plain(f"137{count:08d}", 1000, phone=PHONES["A"]))
                orders.append(order)
                other.batch(other.close(order, Verdict.YES))
        except BaseException as error:  # the thread's own: shown by the test
            failures.append(error)

    trader = threading.Thread(target=trade)
    trader.start()
    while len(orders) < 30 and trader.is_alive():
        cut.wait(0.005)
    assert books.do(CutDay(1, E, "clerk")) == DayCut(1, D, E)
    cut.set()
    trader.join()
    assert failures == []
    rows = books.rows("SELECT jid, biz_date FROM journal WHERE op = 1 ORDER BY jid")
    assert {date for _, date in rows} == {D, E}
    assert [date for _, date in rows] == sorted(date for _, date in rows)
    assert days(books) == [(D, 1), (E, 0)]
    other.engine.dispose()


def test_two_daemons_open_the_same_day(postgres_books: Books) -> None:
    books, other = postgres_books, Books(postgres_books.url, node=2)
    for each in (books, other):
        each.clock.ms = START_MS + 14 * HOUR
    first = books.do(books.plain("13800000001"))
    other._serial = 500
    second = other.do(other.plain("13800000002"))
    assert {dates(books, order)[0] for order in (first, second)} == {E}
    assert days(books) == [(E, 0)]
    assert days(books, HOUSE) == [(D, 1), (E, 0)]  # it does not trade: its day is opened with the others
    other.engine.dispose()
