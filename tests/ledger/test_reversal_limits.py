"""A limit on reversals counts whatever the reversal was asked by: number and amount, or the order's id (row L19)."""

from __future__ import annotations

from itertools import product

import pytest

from aircharge.errors import Reason
from aircharge.ledger.chart import PERIOD_DAY, SUBJECT_MANAGER, SUBJECT_OUTLET, SUBJECT_PHONE, SUBJECT_TARGET
from aircharge.ledger.reversing import OpenReversal
from aircharge.values import Operation, Receipt, State, Verdict
from tests.ledger.desk import Books
from tests.ledger.test_limits import limit, set_manager
from tests.ledger.test_reversing import back, settled

SUBJECTS = (SUBJECT_OUTLET, SUBJECT_PHONE, SUBJECT_TARGET, SUBJECT_MANAGER)
NAMES = ("number", "reference")


def asked(books: Books, order: Receipt, name: str) -> OpenReversal:
    if name == "number":
        return back(books, order)
    return back(books, order.order_id)


@pytest.mark.parametrize(("subject", "first", "second"), list(product(SUBJECTS, NAMES, NAMES)))
def test_the_second_reversal_is_over_the_limit(books: Books, subject: int, first: str, second: str) -> None:
    set_manager(books, "li")
    limit(books, subject=subject, operation=int(Operation.REVERSAL), period=PERIOD_DAY, count_max=1)
    orders = [settled(books, amount_fen=fen) for fen in (1_000, 2_000)]  # of one number
    done = books.do(asked(books, orders[0], first))
    assert done.state is State.HELD
    over = books.do(asked(books, orders[1], second))
    assert (over.state, over.reason) == (State.REFUSED, Reason.LIMIT_COUNT)
    books.do(books.close(done, Verdict.NO, code="6002"))
    assert books.do(back(books, orders[1], mark="again")).state is State.HELD  # given back with the void


def test_an_order_that_does_not_exist_counts_on_nothing(books: Books) -> None:
    limit(books, subject=SUBJECT_TARGET, operation=int(Operation.REVERSAL), period=PERIOD_DAY, count_max=1)
    assert books.do(back(books, 4711)).reason is Reason.NOT_FOUND
