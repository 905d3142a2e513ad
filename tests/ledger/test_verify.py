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
    (["journal", "UPDATE journal SET amount = amount + 1 WHERE op = 1"], "disagree"),
    (["journal", "DELETE FROM journal WHERE op = 1"], "disagree"),
    (["UPDATE txn SET state = 5 WHERE state = 4 AND kind = 1"], "not settled"),
    (["UPDATE txn SET state = 4 WHERE state = 1"], "disagree"),
    (["audit", "UPDATE audit SET detail = '[]' WHERE seq = 3"], "audit row 3"),
    (["audit", "DELETE FROM audit WHERE seq = 2"], "audit row 2"),
]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("statements", "named"), MEDDLING)
def test_meddling_is_found(statements: list[str], named: str) -> None:
    books = Books().setup()
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
