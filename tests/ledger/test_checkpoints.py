"""A closed day's checkpoint: the sums of every account through that date, equal to the books."""

from __future__ import annotations

import pytest

from aircharge.errors import LedgerError
from aircharge.ledger.chart import BANK_CLEARING, HOUSE, commission_account
from aircharge.ledger.checkpoints import balance_of, closable, close_day, sums_through
from aircharge.ledger.days import CutDay, OpenDays
from aircharge.ledger.singletons import _LOCKS, Taken
from aircharge.values import Verdict
from tests.ledger.desk import Books
from tests.ledger.engines import unguard_txn

D, E, F = 2026_11_23, 2026_11_24, 2026_11_25
HOUR = 3_600_000
A, B = 1000, 1001


def a_day(books: Books) -> None:
    """A settles 50 and 30 yuan and leaves 20 open; the operator's day is cut, the 20 are settled after it."""
    books.add("price", id=1, operator_id=1, mode=2, rate_ppm=20_000, from_date=2026_01_01)  # 2 %, at once
    for number, fen in (("13800000001", 5_000), ("13800000002", 3_000)):
        books.do(books.close(books.do(books.plain(number, fen)), Verdict.YES))
    late = books.do(books.plain("13800000003", 2_000))
    books.do(books.plain("13800000004", 1_000, outlet="B"))
    books.do(CutDay(1, E, "clerk"))
    books.do(books.close(late, Verdict.YES))


def float_of(books: Books, code: str) -> int:
    return int(books.value("SELECT float_id FROM outlet WHERE code = :code", code=code))


def close(books: Books, operator_id: int, date: int) -> list[str]:
    return close_day(books.engine, operator_id, date, books.clock.ms, "keeper")


def can_close(books: Books) -> list[tuple[int, int]]:
    with books.engine.connect() as txn:
        return closable(txn)


def eod(books: Books, operator_id: int, date: int) -> dict[int, tuple[int, int, int]]:
    question = """SELECT account_id, debits, credits, held FROM eod_balance
        WHERE operator_id = :operator AND biz_date = :date"""
    rows = books.rows(question, operator=operator_id, date=date)
    return {account: (debits, credits, held) for account, debits, credits, held in rows}


def test_an_operators_day_closes_when_it_is_cut(books: Books) -> None:
    a_day(books)
    assert can_close(books) == [(1, D)]
    assert close(books, 1, D) == []
    assert eod(books, 1, D) == {1: (0, 8_000, 0)}  # his stock: 50 and 30 yuan, the 20 are of the next day
    assert books.value("SELECT state FROM day WHERE operator_id = 1 AND biz_date = :d", d=D) == 2
    assert can_close(books) == []


def test_the_houses_checkpoint_has_every_account(books: Books) -> None:
    a_day(books)
    with pytest.raises(LedgerError, match="2026-11-23 of operator 0 cannot be closed now"):
        close(books, HOUSE, D)
    books.wait(14 * HOUR)
    books.do(OpenDays())
    assert can_close(books) == [(1, D), (HOUSE, D)]
    assert close(books, HOUSE, D) == []
    a, b = float_of(books, "A"), float_of(books, "B")
    #                          debits   credits  held
    assert eod(books, HOUSE, D) == {
        BANK_CLEARING: (110_000, 0, 0),
        1: (0, 8_000, 0),
        201: (160, 0, 0),
        a: (8_000, 100_000, 0),
        b: (0, 10_000, 1_000),
        commission_account(a): (0, 160, 0),
    }
    with books.engine.connect() as txn:
        through = [sums_through(txn, a, date).debits for date in (D - 1, D, E)]
        assert through == [0, 8_000, 10_000]
        assert balance_of(txn, a) == 90_000
        assert [balance_of(txn, account) for account in (1, BANK_CLEARING, 201)] == [10_000, -110_000, -200]


def test_days_go_on_from_the_checkpoint_before(books: Books) -> None:
    a_day(books)
    for _ in range(2):
        books.wait(24 * HOUR)
        books.do(OpenDays())
        for operator_id, date in can_close(books):
            assert close(books, operator_id, date) == []
    a = float_of(books, "A")
    assert [eod(books, HOUSE, date)[a][0] for date in (D, E)] == [8_000, 10_000]
    assert books.rows("SELECT operator_id, biz_date, state FROM day ORDER BY 1, 2") == [
        (0, D, 2),
        (0, E, 2),
        (0, F, 0),
        (1, D, 2),
        (1, E, 2),
        (1, F, 0),
    ]
    assert books.problems() == []


def test_an_interrupted_closing_is_finished_later(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    a_day(books)
    books.wait(14 * HOUR)
    books.do(OpenDays())
    monkeypatch.setattr("aircharge.ledger.checkpoints._CHUNK", 2)
    kept = iter(range(2))

    def dies(*arguments: object) -> None:
        if next(kept, None) is None:
            raise KeyboardInterrupt
        return keep(*arguments)  # type: ignore[arg-type]

    from aircharge.ledger import checkpoints

    keep = checkpoints._keep
    monkeypatch.setattr(checkpoints, "_keep", dies)
    with pytest.raises(KeyboardInterrupt):
        close(books, HOUSE, D)
    assert len(eod(books, HOUSE, D)) == 4
    monkeypatch.setattr(checkpoints, "_keep", keep)
    assert close(books, HOUSE, D) == []
    assert len(eod(books, HOUSE, D)) == 6


@pytest.mark.usefixtures("engine")
def test_a_day_is_not_closed_over_wrong_books() -> None:
    books = Books().setup()
    a_day(books)
    books.wait(14 * HOUR)
    books.do(OpenDays())
    with books.store.writing() as txn:
        txn.exec_driver_sql("UPDATE balance SET posted = posted + 1 WHERE account_id = 1000")
    [problem] = close(books, HOUSE, D)
    assert problem.startswith("account 1000: balance")
    assert can_close(books) == [(1, D), (HOUSE, D)]
    assert eod(books, HOUSE, D) == {}
    books.engine.dispose()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (
            "UPDATE eod_balance SET debits = debits + 1 WHERE operator_id = 0 AND account_id = 1000",
            "account 1000",
        ),
        ("UPDATE eod_balance SET thru_jid = 1 WHERE operator_id = 1", "operator 1: account 1"),
        ("DELETE FROM eod_balance WHERE operator_id = 0 AND account_id = 1000", "5 accounts, 6 had moved"),
        ("UPDATE journal SET biz_date = 20261123 WHERE biz_date = 20261124", "checkpoint of 2026-11-23"),
    ],
)
def test_verify_reckons_the_checkpoints_again(statement: str, named: str) -> None:
    books = Books().setup()
    a_day(books)
    books.wait(14 * HOUR)
    books.do(OpenDays())
    for operator_id, date in can_close(books):
        assert close(books, operator_id, date) == []
    assert books.problems() == []
    with books.store.writing() as txn:
        unguard_txn(txn, "journal")
        txn.exec_driver_sql(statement)
    assert any(named in problem for problem in books.problems()), books.problems()
    books.engine.dispose()


def test_two_daemons_do_not_close_at_once(postgres_books: Books) -> None:
    books = postgres_books
    a_day(books)
    with books.store.writing() as txn:
        txn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCKS['close']})")
        with pytest.raises(Taken, match="another daemon is at it"):
            close(books, 1, D)
    assert close(books, 1, D) == []
