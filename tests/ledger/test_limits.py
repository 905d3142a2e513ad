"""Limits: who may how often and how much; counted with the hold, given back with the void, explained in one SMS."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from aircharge.errors import Reason
from aircharge.ledger.chart import (
    PERIOD_DAY,
    PERIOD_MONTH,
    PERIOD_TRANSACTION,
    PERIOD_WEEK,
    SUBJECT_MANAGER,
    SUBJECT_OUTLET,
    SUBJECT_PHONE,
    SUBJECT_TARGET,
    SUBJECT_TERMINAL,
)
from aircharge.ledger.verify import verify
from aircharge.sms.phrases import CheckCode, Phrases
from aircharge.values import Operation, State, Verdict
from tests.ledger.desk import MINUTE, START_MS, Books
from tests.ledger.test_reversing import back

DAY = 24 * 60 * MINUTE
MIDNIGHT_MS = START_MS + 14 * 60 * MINUTE  # START_MS is Monday, 23 November 2026, 10:00 in Shanghai
PHRASES = Phrases(CheckCode(bytes(32)))


def limit(books: Books, number: int = 1, **values: Any) -> None:
    row = {"subject": SUBJECT_OUTLET, "operation": int(Operation.RECHARGE), "period": PERIOD_DAY}
    books.add("limit_rule", id=number, **(row | values))


def counters(books: Books) -> list[tuple[Any, ...]]:
    """Subject, value, period, since, orders and fen, of whatever is counted at all."""
    return books.rows(
        "SELECT subject, value, period, began, n, total_fen FROM limit_counter WHERE n > 0 ORDER BY 1, 2, 3, 4"
    )


def numbers(books: Books, count: int, amount_fen: int = 1000, **more: Any) -> list[str]:
    """That many recharges of different numbers, one after the other: their reasons."""
    return [
        books.do(books.plain(f"138000000{number:02d}", amount_fen, **more)).reason.name
        for number in range(count)
    ]


# -- what counts on what --------------------------------------------------------------------------------------


def set_manager(books: Books, manager: str) -> None:
    with books.store.writing() as txn:
        txn.execute(text("UPDATE outlet SET manager = :manager"), {"manager": manager})


@pytest.mark.parametrize(
    ("rule", "asked", "reasons"),
    [
        # two a day for each outlet: A's third is refused, B's first is not
        ({"subject": SUBJECT_OUTLET}, [{}, {}, {}, {"outlet": "B"}], "OK OK LIMIT_COUNT OK"),
        # two a day for each customer's number, whoever recharges it
        (
            {"subject": SUBJECT_TARGET},
            [
                {"target": "13811111111"},
                {"target": "13811111111", "outlet": "B"},
                {"target": "13811111111", "repeat": 2},
                {"target": "13822222222"},
            ],
            "OK OK LIMIT_COUNT OK",
        ),
        # two a day for each phone: A has a second one
        (
            {"subject": SUBJECT_PHONE},
            [{}, {}, {}, {"phone": "13900000091"}],
            "OK OK LIMIT_COUNT OK",
        ),
        # two a day for each terminal
        (
            {"subject": SUBJECT_TERMINAL},
            [{"terminal": "T1"}, {"terminal": "T1"}, {"terminal": "T1"}, {"terminal": "T2"}, {}, {}, {}],
            "OK OK LIMIT_COUNT OK OK OK OK",
        ),
        # two a day for all outlets of an account manager together
        (
            {"subject": SUBJECT_MANAGER},
            [{}, {"outlet": "B"}, {}, {"outlet": "B"}],
            "OK OK LIMIT_COUNT LIMIT_COUNT",
        ),
        # one outlet alone; A is 1000
        (
            {"subject": SUBJECT_OUTLET, "value": "1000"},
            [{}, {}, {}, *[{"outlet": "B"}] * 3],
            "OK OK LIMIT_COUNT OK OK OK",
        ),
        # another group's limit, another operation's, one that is switched off
        ({"group_code": "gold"}, [{}, {}, {}], "OK OK OK"),
        ({"group_code": "standard"}, [{}, {}, {}], "OK OK LIMIT_COUNT"),
        ({"operation": int(Operation.TRANSFER)}, [{}, {}, {}], "OK OK OK"),
        ({"enabled": 0}, [{}, {}, {}], "OK OK OK"),
    ],
)
def test_two_a_day(books: Books, rule: dict[str, Any], asked: list[dict[str, Any]], reasons: str) -> None:
    with books.store.writing() as txn:
        phone = "INSERT INTO outlet_phone (msisdn, outlet_id, rights, created_ms) VALUES ('13900000091', 1000, 3, 0)"
        txn.execute(text(phone))
    set_manager(books, "zhao")
    limit(books, count_max=2, **rule)
    said = []
    for number, order in enumerate(asked):
        order = {"target": f"138000000{number:02d}"} | order
        said.append(books.do(books.plain(amount_fen=1000, **order)).reason.name)
    assert " ".join(said) == reasons


def test_count_and_value_by_day_week_and_month(books: Books) -> None:
    """A counter a period; the day's begins anew at midnight, the week's on Monday, the month's on the first."""
    for number, (period, fen) in enumerate(
        [(PERIOD_DAY, 3000), (PERIOD_WEEK, 5000), (PERIOD_MONTH, 6000)], 1
    ):
        limit(books, number, period=period, value_max_fen=fen)
    table = [
        (0, "OK OK OK LIMIT_VALUE", 1),  # Monday: the day's 30 yuan are used
        (1, "OK OK LIMIT_VALUE LIMIT_VALUE", 2),  # Tuesday: the week's 50
        (6, "LIMIT_VALUE LIMIT_VALUE LIMIT_VALUE LIMIT_VALUE", 2),  # Sunday
        (7, "OK LIMIT_VALUE LIMIT_VALUE LIMIT_VALUE", 3),  # Monday, 30 November: the month's 60
        (8, "OK OK OK LIMIT_VALUE", 1),  # Tuesday, 1 December: a new month in the same week
    ]
    for day, reasons, rule in table:
        books.clock.ms = START_MS + day * DAY
        books.notices.clear()
        assert " ".join(numbers(books, 4)) == reasons, day
        assert books.notices[-1].facts["rule"] == rule


@pytest.mark.parametrize(
    ("rule", "amount_fen", "reason"),
    [
        ({"value_max_fen": 5000}, 5000, Reason.OK),
        ({"value_max_fen": 5000}, 5001, Reason.LIMIT_VALUE),
        ({"value_min_fen": 1000}, 1000, Reason.OK),
        ({"value_min_fen": 1000}, 999, Reason.LIMIT_VALUE),
        ({"count_max": 0}, 1000, Reason.OK),  # a single order has no number
    ],
)
def test_a_limit_on_each_single_order_counts_nothing(
    books: Books, rule: dict[str, Any], amount_fen: int, reason: Reason
) -> None:
    limit(books, period=PERIOD_TRANSACTION, **rule)
    assert books.do(books.plain(amount_fen=amount_fen)).reason is reason
    assert books.value("SELECT count(*) FROM limit_counter") == 0


def test_the_local_midnight_decides(books: Books) -> None:
    limit(books, count_max=1)
    books.clock.ms = MIDNIGHT_MS - 1
    assert numbers(books, 2) == ["OK", "LIMIT_COUNT"]
    books.clock.ms = MIDNIGHT_MS
    assert books.do(books.plain("13811111111")).reason is Reason.OK
    assert counters(books) == [
        (SUBJECT_OUTLET, "1000", PERIOD_DAY, 20261123, 1, 1000),
        (SUBJECT_OUTLET, "1000", PERIOD_DAY, 20261124, 1, 5000),
    ]


def test_within_one_batch_every_order_counts(books: Books) -> None:
    limit(books, count_max=3)
    orders = [books.plain(f"1380000000{number}", 1000) for number in range(5)]
    assert [receipt.reason.name for receipt in books.batch(*orders)] == ["OK"] * 3 + ["LIMIT_COUNT"] * 2


def test_a_refusal_and_a_repetition_count_nothing(books: Books) -> None:
    limit(books, count_max=2)
    asked = books.plain(amount_fen=1000)
    books.batch(asked, asked, books.plain(amount_fen=10**9))
    assert counters(books) == [(SUBJECT_OUTLET, "1000", PERIOD_DAY, 20261123, 1, 1000)]


# -- what must stay on the float --------------------------------------------------------------------------------


def test_the_residual_stays_on_the_float(books: Books) -> None:
    with books.store.writing() as txn:
        txn.execute(text("UPDATE outlet SET residual_fen = 95000 WHERE code = 'A'"))
    assert books.do(books.plain(amount_fen=5001)).reason is Reason.FLOAT
    assert books.do(books.plain(amount_fen=5000)).reason is Reason.OK
    assert books.do(books.plain("13800000001", 1)).reason is Reason.FLOAT


# -- given back exactly ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "n"), [(Verdict.YES, 1), (Verdict.NO, 0), (Verdict.NOT_SENT, 0), (Verdict.UNKNOWN, 1)]
)
def test_what_the_operators_answer_does_to_the_counter(books: Books, verdict: Verdict, n: int) -> None:
    limit(books, count_max=1)
    receipt = books.do(books.plain(amount_fen=1000))
    books.do(books.close(receipt, verdict))
    assert books.rows("SELECT n, total_fen FROM limit_counter") == [(n, n * 1000)]
    assert books.do(books.plain("13811111111")).reason is (Reason.LIMIT_COUNT if n else Reason.OK)


def test_a_void_after_midnight_gives_back_to_the_day_it_was_counted_on(books: Books) -> None:
    limit(books, count_max=5)
    receipt = books.do(books.plain(amount_fen=1000))
    books.wait(DAY)
    books.do(books.plain("13811111111", 2000))
    books.do(books.close(receipt, Verdict.NO))
    assert counters(books) == [(SUBJECT_OUTLET, "1000", PERIOD_DAY, 20261124, 1, 2000)]


def test_a_limit_made_after_the_hold_gets_nothing_back(books: Books) -> None:
    """Else two new orders and the void of an uncounted one would leave room for a third."""
    uncounted = books.do(books.plain(amount_fen=1000))
    limit(books, count_max=2)
    assert numbers(books, 2) == ["OK", "OK"]
    books.do(books.close(uncounted, Verdict.NO))
    assert numbers(books, 1, 2000) == ["LIMIT_COUNT"]


def test_a_limit_taken_away_after_the_hold_still_gets_it_back(books: Books) -> None:
    limit(books, count_max=2)
    counted = books.do(books.plain(amount_fen=1000))
    for enabled, verdict in ((0, Verdict.NO), (1, None)):
        with books.store.writing() as txn:
            txn.execute(text("UPDATE limit_rule SET enabled = :on"), {"on": enabled})
            txn.execute(text("UPDATE policy SET version = version + 1"))
        if verdict is not None:
            books.do(books.close(counted, verdict))
    assert numbers(books, 3) == ["OK", "OK", "LIMIT_COUNT"]


def test_a_new_manager_gets_nothing_of_the_old_ones_orders(books: Books) -> None:
    set_manager(books, "zhao")
    limit(books, subject=SUBJECT_MANAGER, count_max=9)
    first = books.do(books.plain(amount_fen=1000))
    set_manager(books, "qian")
    books.do(books.plain("13811111111", 2000))
    assert [row[1] for row in counters(books)] == ["qian", "zhao"]
    books.do(books.close(first, Verdict.NO))
    assert counters(books) == [(SUBJECT_MANAGER, "qian", PERIOD_DAY, 20261123, 1, 2000)]


# -- any orders in any order ------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "open", "open", "yes", "no", "not sent", "doubt", "night"]),
        st.integers(0, 7),
        st.sampled_from(["A", "B"]),
        st.sampled_from([100, 200, 700]),
    ),
    max_size=40,
)
VERDICTS = {"yes": Verdict.YES, "no": Verdict.NO, "not sent": Verdict.NOT_SENT, "doubt": Verdict.UNKNOWN}
LIMITS = (
    {"subject": SUBJECT_OUTLET, "period": PERIOD_DAY, "count_max": 4},
    {"subject": SUBJECT_OUTLET, "period": PERIOD_WEEK, "value_max_fen": 2500},
    {"subject": SUBJECT_TARGET, "period": PERIOD_DAY, "count_max": 2},
    {"subject": SUBJECT_PHONE, "period": PERIOD_MONTH, "value_max_fen": 5000},
)


def test_never_exceeded_and_given_back_exactly(engine: str) -> None:
    examples = settings(
        max_examples=20 if engine == "sqlite" else 10, deadline=None, suppress_health_check=list(HealthCheck)
    )
    examples(given(steps=STEPS, size=st.sampled_from([1, 3, 40]))(trade_and_count))()


def trade_and_count(steps: list[tuple[str, int, str, int]], size: int) -> None:
    books = Books().setup({"A": 100_000, "B": 100_000})
    for number, rule in enumerate(LIMITS, 1):
        limit(books, number, **rule)
    made: list[int] = []
    waiting: list[Any] = []

    def flush() -> None:
        commands, waiting[:] = list(waiting), []
        for receipt in books.batch(*commands) if commands else []:
            if receipt.fresh and receipt.state is State.HELD:
                made.append(receipt.order_id)

    for what, which, outlet, fen in steps:
        if what == "open":
            waiting.append(books.plain(f"1380000000{which % 3}", fen, outlet=outlet, repeat=which + 1))
        elif what == "night":
            flush()
            books.wait(DAY)
        elif made:
            waiting.append(books.close(made[which % len(made)], VERDICTS[what]))
        if len(waiting) >= size:
            flush()
    flush()
    try:
        assert_counted(books)
    finally:
        books.engine.dispose()


def assert_counted(books: Books) -> None:
    """Every counter is the sum of the orders that stand, and none is past its limit."""
    standing = books.rows(
        "SELECT outlet_acct, asker, msisdn, amount, created_ms FROM txn WHERE kind = 1 AND state NOT IN (0, 5)"
    )
    expected: dict[tuple[Any, ...], tuple[int, int]] = {}
    for account, asker, target, amount, created_ms in standing:
        day = (created_ms - START_MS) // DAY
        values = {SUBJECT_OUTLET: str(account), SUBJECT_PHONE: asker, SUBJECT_TARGET: target}
        for rule in LIMITS:
            began = {
                PERIOD_DAY: _date(day),
                PERIOD_WEEK: _date(day // 7 * 7),
                PERIOD_MONTH: _date(day) // 100 * 100 + 1,
            }[rule["period"]]
            key = (rule["subject"], values[rule["subject"]], rule["period"], began)
            n, fen = expected.get(key, (0, 0))
            expected[key] = (n + 1, fen + amount)
    assert sorted((*key, *used) for key, used in expected.items()) == counters(books)
    for (subject, _, period, _), (n, fen) in expected.items():
        for rule in LIMITS:
            if (rule["subject"], rule["period"]) == (subject, period):
                assert n <= rule.get("count_max", n)
                assert fen <= rule.get("value_max_fen", fen)


def _date(day: int) -> int:
    """Days after 23 November 2026 as yyyymmdd."""
    if day < 8:
        return 20261123 + day
    return 20261201 + day - 8 if day < 39 else 20270101 + day - 39


# -- what the outlet reads --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "zh", "en"),
    [
        (
            {"period": PERIOD_DAY, "value_max_fen": 5000},
            "未受理(61):本网点今日限额50.00元,已用30.00元,还可用20.00元,11-24零点恢复。规则1",
            "Refused (61): your outlet may today have 50.00 yuan, used 30.00, 20.00 left; anew on 11-24 at 00:00."
            " Not charged. Rule 1",
        ),
        (
            {"period": PERIOD_WEEK, "subject": SUBJECT_TARGET, "count_max": 1},
            "未受理(65):该号码本周限1笔,已办1笔,未扣款,11-30零点恢复。规则1",
            "Refused (65): this number may this week have 1 orders, 1 made; anew on 11-30 at 00:00."
            " Not charged. Rule 1",
        ),
        (
            {"period": PERIOD_MONTH, "subject": SUBJECT_MANAGER, "count_max": 1},
            "未受理(65):本片区本月限1笔,已办1笔,未扣款,12-01零点恢复。规则1",
            "Refused (65): your region may this month have 1 orders, 1 made; anew on 12-01 at 00:00."
            " Not charged. Rule 1",
        ),
        (
            {"period": PERIOD_TRANSACTION, "value_max_fen": 3000},
            "未受理(61):单笔最多30.00元,本笔30.01元,未扣款。规则1",
            "Refused (61): at most 30.00 yuan at once, this was 30.01; not charged. Rule 1",
        ),
    ],
)
def test_a_refusal_says_which_rule_what_is_used_and_when_it_begins_anew(
    books: Books, rule: dict[str, Any], zh: str, en: str
) -> None:
    set_manager(books, "zhao")
    limit(books, **rule)
    assert books.do(books.plain(amount_fen=3000)).reason is Reason.OK
    refused = books.do(books.plain(amount_fen=3001))
    assert refused.state is State.REFUSED
    notice = books.notices[-1]
    assert PHRASES.phrase(notice.topic, notice.facts, "zh") == zh
    assert PHRASES.phrase(notice.topic, notice.facts, "en") == en
    assert len(zh) <= 70
    assert len(en) <= 160


def test_even_the_largest_numbers_fit_one_sms(books: Books) -> None:
    limit(books, 987654321, value_max_fen=10**10)
    books.fund("A", 10**10)
    books.do(books.plain(amount_fen=10**10 - 1))
    books.notices.clear()
    books.do(books.plain("13811111111", amount_fen=10**10))
    [notice] = books.notices
    for language, most in (("zh", 70), ("en", 160)):
        worded = PHRASES.phrase(notice.topic, notice.facts, language)
        assert len(worded) <= most
        assert "00" in worded


def test_two_daemons_on_one_database_never_exceed_a_limit_they_share(postgres_books: Books) -> None:
    """One customer's number, two outlets, each served by a daemon of its own: eleven orders of a hundred, no more."""
    here = postgres_books
    limit(here, subject=SUBJECT_TARGET, count_max=11)
    there = Books(here.url, node=2)
    orders = {
        "A": (here, [here.plain(amount_fen=100, outlet="A", repeat=n + 1) for n in range(50)]),
        "B": (there, [there.plain(amount_fen=100, outlet="B", repeat=n + 1) for n in range(50)]),
    }
    reasons: list[str] = []

    def serve(books: Books, commands: list[Any]) -> None:
        for start in range(0, len(commands), 5):
            reasons.extend(receipt.reason.name for receipt in books.batch(*commands[start : start + 5]))

    threads = [threading.Thread(target=serve, args=each) for each in orders.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    there.engine.dispose()
    assert sorted(reasons) == ["LIMIT_COUNT"] * 89 + ["OK"] * 11
    assert counters(here) == [(SUBJECT_TARGET, "13812345678", PERIOD_DAY, 20261123, 11, 1100)]


# -- verified -------------------------------------------------------------------------------------------------


MEDDLED = {
    "UPDATE limit_counter SET n = n + 1 WHERE period = 1": "says 2 orders and 5000 fen, its orders say 1 and 5000",
    "UPDATE limit_counter SET total_fen = 0 WHERE period = 2": "says 1 orders and 0 fen, its orders say 1 and 5000",
    "DELETE FROM limit_counter WHERE period = 3": "says 0 orders and 0 fen, its orders say 1 and 5000",
    "INSERT INTO limit_counter SELECT subject, 'nobody', operation, period, began, 1, 100 FROM limit_counter"
    " WHERE period = 1 AND n = 1": "says 1 orders and 100 fen, its orders say 0 and 0",
    "UPDATE txn SET counted = 'junk' WHERE counted <> ''": "says 1 orders and 5000 fen, its orders say 0 and 0",
}


class Undo(Exception):
    """What was done is taken back."""


@pytest.mark.parametrize("subject", [1, 2, 3, 4, 5])
def test_verify_names_a_counter_that_is_not_its_orders(books: Books, subject: int) -> None:
    """One order stands, one was voided, one taken back; each way of meddling is undone before the next."""
    set_manager(books, "li")
    for period in (1, 2, 3):
        limit(books, period, subject=subject, period=period, count_max=9)
    terminal = {"terminal": "T-1"} if subject == 3 else {}
    kept, gone, wrong = (books.do(books.plain(f"1380000000{n}", **terminal)) for n in range(3))
    books.do(books.close(gone, Verdict.NO))
    for order in (kept, wrong):
        books.do(books.close(order, Verdict.YES))
    books.do(books.close(books.do(back(books, wrong)), Verdict.YES))
    assert books.problems() == []
    for meddle, said in MEDDLED.items():
        with books.store.writing() as txn, suppress(Undo), txn.begin_nested():
            txn.exec_driver_sql(meddle)
            problems = verify(txn).problems
            raise Undo
        assert any(said in problem for problem in problems), (meddle, problems)
        assert not any("13900000001" in problem or "13800000000" in problem for problem in problems)


def test_verify_goes_by_the_calendar_of_the_limits(books: Books) -> None:
    """What was sold in the last hour of a day is that day's, not the next one's."""
    limit(books, 1, subject=1, period=1, count_max=9)
    books.wait(13 * 60 * MINUTE + 59 * MINUTE)  # 23:59 in Shanghai
    books.do(books.plain("13800000001"))
    assert books.problems() == []
    books.wait(MINUTE)
    books.do(books.plain("13800000002"))
    assert [row[-2] for row in counters(books)] == [1, 1]
    assert books.problems() == []
