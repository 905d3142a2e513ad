"""The verifier names what was meddled with."""

from __future__ import annotations

import pytest

from aircharge.ledger.verify import verify
from aircharge.values import Verdict
from tests.ledger.desk import Books
from tests.ledger.engines import unguard_txn

# A word alone: the triggers that guard that table are taken away first.
MEDDLING = [
    (["UPDATE balance SET posted = posted + 1 WHERE account_id = 1000"], "account 1000: balance"),
    (["UPDATE balance SET held = held + 1 WHERE account_id = 1000"], "account 1000: held"),
    (["UPDATE balance SET floor = -100000000 WHERE account_id = 1000"], "account 1000: floor"),
    (["UPDATE balance SET floor = -1 WHERE account_id > 1000000"], "without a credit line"),
    (["UPDATE balance SET posted = posted + 1 WHERE account_id > 1000000"], "balance 101, journal 100"),
    (["journal", "UPDATE journal SET amount = amount + 1 WHERE op = 1"], "disagree"),
    (["journal", "UPDATE journal SET dr = 1001 WHERE op = 1"], "disagree"),
    (["journal", "UPDATE journal SET cr = 2 WHERE op = 1"], "disagree"),
    (["journal", "UPDATE journal SET op = 2 WHERE op = 1"], "disagree"),
    (["journal", "UPDATE journal SET amount = amount + 1 WHERE op = 4"], "disagree"),
    (["journal", "UPDATE journal SET cr = 1000 WHERE op = 4"], "disagree"),
    (["journal", "DELETE FROM journal WHERE op = 1"], "disagree: no row of op 1"),
    (["journal", "DELETE FROM journal WHERE op = 2"], "disagree: no row of op 2"),
    (["journal", "DELETE FROM journal WHERE op = 4"], "disagree: no row of op 4"),
    (
        [
            "journal",
            "INSERT INTO journal SELECT jid + 100, txn_id, 9, dr, cr, amount, biz_date, at_ms"
            " FROM journal WHERE op = 1",
        ],
        "disagree",
    ),
    (["UPDATE txn SET state = 5 WHERE state = 4 AND kind = 1"], "not settled"),
    (["UPDATE txn SET state = 4 WHERE state = 1"], "disagree"),
    (["UPDATE txn SET state = 7 WHERE state = 4 AND kind = 1"], "reversed, but by no reversal"),
    (["UPDATE txn SET commission_mode = 1 WHERE state = 4 AND kind = 1"], "disagree"),
    (["UPDATE txn SET kind = 8 WHERE kind = 3"], "disagree"),
    (["audit", "UPDATE audit SET detail = '[]' WHERE seq = 3"], "audit row 3"),
    (["audit", "DELETE FROM audit WHERE seq = 2"], "audit row 2"),
    (["audit", "DELETE FROM audit WHERE seq = 1"], "audit row 1"),
]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("statements", "named"), MEDDLING)
def test_meddling_is_found(statements: list[str], named: str) -> None:
    books = Books().setup()
    books.add("price", id=1, operator_id=1, mode=2, rate_ppm=20_000, from_date=2026_01_01)
    books.do(books.close(books.do(books.plain("13800000001")), Verdict.YES))
    books.do(books.plain("13800000002"))
    assert books.problems() == []
    with books.store.writing() as txn:
        for statement in statements:
            if " " in statement:
                txn.exec_driver_sql(statement)
            else:
                unguard_txn(txn, statement)
    assert any(named in problem for problem in books.problems()), books.problems()
    books.engine.dispose()


def test_the_report_counts(books: Books) -> None:
    books.do(books.close(books.do(books.plain("13800000001")), Verdict.YES))
    with books.engine.connect() as txn:
        report = verify(txn)
    assert report.sound
    assert (report.rows, report.accounts, report.orders, report.debits_fen) == (3, 6, 3, 115_000)


def test_small_pieces_say_the_same(books: Books) -> None:
    for number in range(7):
        books.do(books.close(books.do(books.plain(f"1380000000{number}")), Verdict.YES))
    with books.engine.connect() as txn:
        reports = [verify(txn, piece) for piece in (1, 2, 3, 1000)]
    assert [report.problems for report in reports] == [[]] * 4
    assert {(report.rows, report.accounts, report.orders, report.debits_fen) for report in reports} == {
        (9, 6, 9, 145_000)
    }


def test_the_first_bad_row_comes_first(books: Books) -> None:
    for number in range(30):
        books.do(books.close(books.do(books.plain(f"138000000{number:02d}", 1000)), Verdict.YES))
    bad = [jid for (jid,) in books.rows("SELECT jid FROM journal WHERE op = 1 ORDER BY jid")][5:25]
    with books.store.writing() as txn:
        unguard_txn(txn, "journal")
        txn.exec_driver_sql(f"UPDATE journal SET amount = 999 WHERE jid BETWEEN {bad[0]} AND {bad[-1]}")
    problems = books.problems()
    assert problems[0].startswith(f"journal row {bad[0]}: it and its order")
    with books.store.writing() as txn:
        txn.exec_driver_sql(f"UPDATE journal SET amount = 1000 WHERE jid BETWEEN {bad[0]} AND {bad[-1]}")
