"""Sessions, batches, details and copies of slips."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import insert

from aircharge.ledger.chart import (
    DETAIL_EQUAL,
    DETAIL_MISSING,
    DETAIL_OTHER,
    DETAIL_UNKNOWN,
    POS_COMPARED,
    POS_EQUAL,
    POS_UNEQUAL,
)
from aircharge.ledger.tables import metadata
from aircharge.ledger.terminals import (
    BATCH_MAX,
    CloseBatch,
    CountCopy,
    Detail,
    EndDetails,
    Session,
    SignIn,
    SignOut,
    TookParameters,
    Totals,
    UseSession,
)
from tests.ledger.desk import Books
from tests.ledger.pos import TERMINAL, Counter

pytestmark = pytest.mark.usefixtures("engine")
ONE = Totals(1, 5000)


@pytest.fixture
def books() -> Iterator[Books]:
    made = Books().setup()
    Counter(made)
    yield made
    assert made.problems() == []
    made.engine.dispose()


def sign_in(session: int, key_version: int = 1) -> SignIn:
    return SignIn(1, TERMINAL, key_version, session, b"pik%d" % session, b"mak%d" % session, 99)


def close(batch: int = 1, theirs: Totals = ONE, ours: Totals = ONE) -> CloseBatch:
    return CloseBatch(1, TERMINAL, batch, theirs, ours)


@pytest.mark.parametrize("together", [False, True])
def test_sign_in_and_out(books: Books, together: bool) -> None:
    commands: list[Any] = [
        sign_in(1),
        sign_in(1),
        sign_in(2),
        SignOut(1, TERMINAL),
        SignOut(1, TERMINAL),
        use(2),
        sign_in(3),
        use(3),
        use(3),
    ]
    said = books.batch(*commands) if together else [books.do(command) for command in commands]
    assert said == [Session(1, 1), None, Session(2, 1), True, False, False, Session(3, 1), True, True]
    assert sessions(books) == [(3, b"mak3"), (3, None)]
    row = books.rows("SELECT key_version, batch, pik_wrapped, until_ms FROM terminal_session")
    assert [tuple(map(_plain, row[0]))] == [(1, 1, b"pik3", 99)]


def use(session: int) -> UseSession:
    return UseSession(1, TERMINAL, session)


def sessions(books: Books) -> list[tuple[Any, ...]]:
    """The session in use with its MAC key, and those that are offered."""
    rows = books.rows("SELECT session, mak_wrapped FROM terminal_session")
    offers = books.rows("SELECT session, mak_wrapped FROM terminal_offer ORDER BY key_version")
    return [tuple(map(_plain, row)) for row in (*rows, *offers)]


@pytest.mark.parametrize("together", [False, True])
def test_what_is_only_offered_ends_nothing(books: Books, together: bool) -> None:
    """Anybody may sign in; the keys in use stay until a message has used others."""
    commands: list[Any] = [sign_in(1), use(1), sign_in(2), sign_in(3), sign_in(4), use(2), use(3)]
    said = books.batch(*commands) if together else [books.do(command) for command in commands]
    assert said[3:] == [Session(3, 1), Session(4, 1), False, False]
    assert sessions(books) == [(1, b"mak1"), (4, b"mak4")]
    assert books.value("SELECT count(*) FROM audit WHERE action = 'terminal.sign-in'") == 1
    assert books.do(use(4)) is True
    assert sessions(books) == [(4, b"mak4"), (4, None)]
    assert books.do(use(1)) is False


@pytest.mark.parametrize("together", [False, True])
def test_each_master_key_has_an_offer_of_its_own(books: Books, together: bool) -> None:
    """Whoever asks under one cannot take away what was offered under another; one that is used ends all."""
    commands: list[Any] = [sign_in(1), sign_in(2, 2), sign_in(3, 2), sign_in(4), use(3), use(4)]
    said = books.batch(*commands) if together else [books.do(command) for command in commands]
    assert said == [Session(1, 1), Session(2, 1), Session(3, 1), Session(4, 1), True, False]
    assert sessions(books) == [(3, b"mak3"), (4, None), (3, None)]
    books.batch(sign_in(5), SignOut(1, TERMINAL))
    assert sessions(books) == [(3, None), (5, None), (3, None)]


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def test_who_never_signed_in_cannot_sign_out_or_take_parameters(books: Books) -> None:
    assert books.do(SignOut(1, TERMINAL)) is False
    books.do(TookParameters(1, 4))
    assert books.rows("SELECT * FROM terminal_session") == []


def test_parameters_are_noted_once(books: Books) -> None:
    books.batch(sign_in(1), TookParameters(1, 4), TookParameters(1, 4))
    books.do(TookParameters(1, 4))
    assert books.rows("SELECT parameters FROM terminal_session") == [(4,)]


def test_a_pending_key_is_taken_into_use_and_the_old_one_retired(books: Books) -> None:
    keys = [(1, 1), (2, 0), (3, 2)]
    with books.store.writing() as txn:
        txn.execute(
            insert(metadata.tables["terminal_key"]),
            [{"terminal_id": 1, "version": v, "wrapped": b"w", "state": s, "made_ms": 1} for v, s in keys],
        )
    assert books.do(use(1)) is False
    books.do(sign_in(1, 2))
    assert books.rows("SELECT version, state FROM terminal_key ORDER BY version") == keys
    assert books.batch(use(1), use(1)) == [True, True]
    assert books.rows("SELECT version, state FROM terminal_key ORDER BY version") == [(1, 2), (2, 1), (3, 2)]
    assert books.value("SELECT key_version FROM terminal") == 2


@pytest.mark.parametrize("together", [False, True])
def test_equal_totals_begin_the_next_batch(books: Books, together: bool) -> None:
    commands = [sign_in(1), close(), close(), close(theirs=Totals(2, 9)), close(2), close(9)]
    said = books.batch(*commands) if together else [books.do(command) for command in commands]
    assert said[1:] == [POS_EQUAL, POS_EQUAL, None, POS_EQUAL, None]
    assert books.value("SELECT batch FROM terminal_session") == 3


def test_without_a_session_no_batch_is_settled(books: Books) -> None:
    assert books.do(close()) is None


def test_the_batch_numbers_turn_over(books: Books) -> None:
    books.do(sign_in(1))
    with books.store.writing() as txn:
        txn.exec_driver_sql(f"UPDATE terminal_session SET batch = {BATCH_MAX}")
    assert books.do(close(BATCH_MAX)) == POS_EQUAL
    assert books.value("SELECT batch FROM terminal_session") == 1


DETAILS = (Detail(1, 5000, 5000, 7), Detail(2, 5000, 0), Detail(3, 0, 5000, 8), Detail(4, 1, 2, 9))


def test_unequal_totals_wait_for_the_details(books: Books) -> None:
    books.do(sign_in(1))
    assert books.do(EndDetails(1, TERMINAL, 1, DETAILS)) is None
    assert books.do(close(theirs=Totals(2, 10_000))) == POS_UNEQUAL
    assert books.do(close(theirs=Totals(2, 10_000))) == POS_UNEQUAL
    assert books.value("SELECT batch FROM terminal_session") == 1
    assert books.do(EndDetails(1, TERMINAL, 1, DETAILS)) == 3
    assert books.do(EndDetails(1, TERMINAL, 1, DETAILS)) == 3
    assert books.do(close(theirs=Totals(2, 10_000))) == POS_COMPARED
    assert books.value("SELECT batch FROM terminal_session") == 2
    said = books.rows("SELECT trace, said FROM pos_detail ORDER BY trace")
    assert said == [(1, DETAIL_EQUAL), (2, DETAIL_UNKNOWN), (3, DETAIL_MISSING), (4, DETAIL_OTHER)]
    books.do(close(2))
    assert books.do(EndDetails(1, TERMINAL, 2, ())) is None  # it was equal


def test_details_that_all_agree_raise_no_alarm(books: Books) -> None:
    books.batch(sign_in(1), close(theirs=Totals(2, 10_000)), EndDetails(1, TERMINAL, 1, DETAILS[:1]))
    assert books.value("SELECT count(*) FROM audit WHERE action = 'alarm.batch-differs'") == 0


def test_a_slip_is_copied_twice_at_most(books: Books) -> None:
    held = books.do(books.plain())
    copies = books.batch(*[CountCopy(held.order_id)] * 2)
    assert [*copies, books.do(CountCopy(held.order_id))] == [1, 2, 0]
    assert books.do(CountCopy(5)) == 0
    assert books.value("SELECT n FROM pos_copy") == 2
