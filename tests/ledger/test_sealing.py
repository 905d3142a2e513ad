"""The journal is sealed; an edit of a sealed row is found and the row is named, by us and by a checker of ten lines."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import pytest

from aircharge.errors import LedgerError
from aircharge.ledger import sealing
from aircharge.ledger.sealing import Seal, SealSettings, bad_head, bad_seals, last_seal, seal_rows
from aircharge.ledger.singletons import _LOCKS, Taken
from aircharge.values import Verdict
from tests.ledger.desk import START_MS, Books
from tests.ledger.engines import unguard_txn

SMALL = SealSettings(lag_s=30, rows_max=4)


def trade(books: Books, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        books.do(books.close(books.do(books.plain(f"138{number:08d}", 1000)), Verdict.YES))
        books.wait(1000)


def seal(books: Books, settings: SealSettings = SMALL) -> list[Seal]:
    return seal_rows(books.engine, lambda _: books.clock.ms, settings)


def bad(books: Books) -> list[str]:
    with books.engine.connect() as txn:
        return list(bad_seals(txn))


def meddle(books: Books, *statements: str) -> None:
    """What a superuser can do: the triggers away, the rows changed, the triggers back."""
    with books.store.writing() as txn:
        for table in ("journal", "seal"):
            unguard_txn(txn, table)
        for statement in statements:
            txn.exec_driver_sql(statement)


def checked(seals: list[tuple[Any, ...]], rows: list[tuple[Any, ...]]) -> list[int]:
    """The independent checker: seals and journal as they come out of the database; returns bad seals' numbers."""
    wrong, previous, after = [], "0" * 64, 0
    for seq, first, last, n, total, digest in seals:
        text = f"{seq},{first},{last},{n},{total},{previous}\n"
        text += "".join(",".join(map(str, row)) + "\n" for row in rows if after < row[0] <= last)
        if hashlib.sha256(text.encode()).hexdigest() != bytes(digest).hex():
            wrong.append(seq)
        previous, after = bytes(digest).hex(), last
    return wrong


def independent(books: Books) -> list[int]:
    return checked(
        books.rows("SELECT seq, first_jid, last_jid, n, total, hash FROM seal ORDER BY seq"),
        books.rows("SELECT jid, txn_id, op, dr, cr, amount, biz_date, at_ms FROM journal ORDER BY jid"),
    )


def test_old_rows_are_sealed_and_young_ones_wait(books: Books) -> None:
    trade(books, 9)  # and two fundings: eleven rows
    assert seal(books, SealSettings(lag_s=60)) == []
    made = seal(books, SealSettings(lag_s=5, rows_max=4))
    assert [(each.seq, each.n, each.total) for each in made] == [(1, 4, 112_000), (2, 2, 2_000)]
    assert made[1].prev_hash == made[0].hash
    books.wait(60_000)
    assert [(each.seq, each.n) for each in seal(books)] == [(3, 4), (4, 1)]
    assert seal(books) == []
    assert bad(books) == []
    assert independent(books) == []
    with books.engine.connect() as txn:
        head = last_seal(txn)
        assert head is not None
        assert bad_head(txn, head.head) == ""


def sealed(count: int = 14) -> tuple[Books, list[int]]:
    books = Books().setup()
    trade(books, count)
    books.wait(60_000)
    seal(books)
    return books, [jid for (jid,) in books.rows("SELECT jid FROM journal ORDER BY jid")]


EDITS = [
    ("UPDATE journal SET amount = amount + 1 WHERE jid = {row}", "journal row {row} was changed"),
    ("UPDATE journal SET at_ms = at_ms + 1 WHERE jid = {row}", "journal row {row} was changed"),
    ("UPDATE journal SET biz_date = biz_date + 1 WHERE jid = {row}", "journal row {row} was changed"),
    ("UPDATE journal SET dr = 1001 WHERE jid = {row}", "journal row {row} was changed"),
    ("DELETE FROM journal WHERE jid = {row}", "a journal row was taken out after row {before}"),
    (
        "INSERT INTO journal SELECT jid + 1, txn_id, 9, dr, cr, amount, biz_date, at_ms FROM journal"
        " WHERE jid = {row}",
        "journal row {next} was put in",
    ),
    ("UPDATE seal SET total = total + 1 WHERE seq = 2", "seal 2 (rows {first} to {last}): the seal itself"),
    ("UPDATE seal SET hash = marks WHERE seq = 2", "seal 3 does not follow"),
    ("UPDATE seal SET prev_hash = marks WHERE seq = 2", "seal 2 does not follow"),
    ("DELETE FROM seal WHERE seq = 2", "seal 2 is missing"),
    ("UPDATE seal SET last_jid = last_jid + 1 WHERE seq = 2", "seal 2 (rows"),
]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("statement", "named"), EDITS)
def test_a_superusers_edit_is_found_and_named(statement: str, named: str) -> None:
    books, jids = sealed()
    assert independent(books) == bad(books) == []
    [(first, last)] = books.rows("SELECT first_jid, last_jid FROM seal WHERE seq = 2")
    row = jids[6]
    words = {"row": row, "before": jids[5], "next": row + 1, "first": first, "last": last}
    meddle(books, statement.format(**words))
    problems = books.problems()
    assert any(named.format(**words) in problem for problem in problems), problems
    assert independent(books) != [] or "prev_hash" in statement  # the checker reckons that itself
    books.engine.dispose()


@pytest.mark.usefixtures("engine")
def test_a_chain_made_anew_does_not_go_through_the_head_that_was_published() -> None:
    books, jids = sealed()
    with books.engine.connect() as txn:
        published = last_seal(txn)
    assert published is not None
    meddle(books, f"UPDATE journal SET at_ms = at_ms + 1 WHERE jid = {jids[2]}", "DELETE FROM seal")
    seal(books)
    assert bad(books) == []  # a clever superuser
    with books.engine.connect() as txn:
        assert bad_head(txn, published.head) == "seal 4 is not the one that was published"
        assert bad_head(txn, f"99:{'0' * 64}") == "seal 99 was published and is missing"
        assert "no head" in bad_head(txn, "x")
    books.engine.dispose()


def test_seals_cannot_be_changed(books: Books) -> None:
    trade(books, 1)
    books.wait(60_000)
    seal(books)
    for statement in ("UPDATE seal SET n = 1", "DELETE FROM seal"):
        with pytest.raises(Exception, match="immutable"), books.store.writing() as txn:
            txn.exec_driver_sql(statement)


def test_no_row_comes_below_a_seal_though_the_clock_steps_back(books: Books) -> None:
    trade(books, 3)
    books.wait(60_000)
    [made, *_] = seal(books, SealSettings(lag_s=5))
    books.wait(-3_600_000)
    order = books.do(books.plain("13912345678"))
    books.do(books.close(order, Verdict.YES))
    assert books.value("SELECT min(jid) FROM journal WHERE txn_id = :id", id=order.order_id) > made.last_jid
    assert bad(books) == []
    books.clock.ms = START_MS + 7_200_000


def test_nothing_is_sealed_past_a_batch_that_is_under_way(postgres_books: Books) -> None:
    """Its rows are older than the lag when it commits at last; they are not missed and not below a seal."""
    books = postgres_books
    trade(books, 2)
    slow = Books(books.url, node=2)
    slow._serial = 1_000
    order = slow.do(slow.plain("13912345678"))
    entered, go_on = threading.Event(), threading.Event()
    apply = slow.store._book.apply

    def late(*arguments: Any) -> Any:
        entered.set()
        assert go_on.wait(60)
        return apply(*arguments)

    slow.store._book.apply = late  # type: ignore[method-assign]
    batch = threading.Thread(target=lambda: slow.do(slow.close(order, Verdict.YES)))
    batch.start()
    assert entered.wait(60)
    books.wait(3_600_000)  # of the clock that the sealer goes by
    made: list[Seal] = []
    sealer = threading.Thread(target=lambda: made.extend(seal(books)))
    sealer.start()
    sealer.join(0.3)
    assert made == []
    go_on.set()
    batch.join(60)
    sealer.join(60)
    assert sum(each.n for each in made) == 5
    assert bad(books) == []
    slow.engine.dispose()


def test_a_batch_that_never_ends_is_said(postgres_books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    books = postgres_books
    monkeypatch.setattr(sealing, "_PATIENCE_S", 0.1)
    with books.store.writing() as txn:
        txn.exec_driver_sql(f"SELECT pg_advisory_xact_lock_shared({sealing.DAYS_LOCK})")
        with pytest.raises(LedgerError, match="under way"):
            seal(books)


def test_one_daemon_seals(postgres_books: Books) -> None:
    with postgres_books.store.writing() as txn:
        txn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCKS['seal']})")
        with pytest.raises(Taken):
            seal(postgres_books)


def test_a_mark_that_was_changed_alone_hides_nothing(books: Books) -> None:
    """Marks only help to name a row: the hash is over the rows themselves."""
    trade(books, 2)
    books.wait(60_000)
    seal(books)
    with books.store.writing() as txn:
        unguard_txn(txn, "seal")
        txn.exec_driver_sql("UPDATE seal SET marks = prev_hash")
    assert bad(books) == []


@pytest.mark.parametrize(("lag_s", "rows_max"), [(0.5, 10), (5, 0), (5, 100_001)])
def test_settings_out_of_range(lag_s: float, rows_max: int) -> None:
    with pytest.raises(ValueError, match="lag_s is at least"):
        SealSettings(lag_s=lag_s, rows_max=rows_max)
