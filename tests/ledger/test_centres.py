"""Which SMS centre brought a question stands with the order and with each notice that answers it."""

from __future__ import annotations

from dataclasses import replace

from aircharge.errors import Reason
from aircharge.ledger.commands import NoticesDone, Offence, OpenRecharge
from aircharge.ledger.reading import claim_notices_txn, left_notices, unsent_notices
from aircharge.values import Asker, Verdict
from tests.ledger.desk import PHONES, SERVICE, Books

ONE, TWO = "smsc-one", "smsc-two"


def from_centre(command: OpenRecharge, centre: str) -> OpenRecharge:
    order = command.order
    return replace(command, order=replace(order, asker=replace(order.asker, centre=centre)))


def outbox(books: Books) -> list[tuple[str, str]]:
    rows = books.rows("SELECT topic, centre FROM outbox WHERE state = 0 ORDER BY id")
    return [(topic, centre) for topic, centre in rows]


def forget(books: Books) -> None:
    with books.store.writing() as txn:
        txn.exec_driver_sql("UPDATE outbox SET state = 2 WHERE state = 0")


def test_the_outcome_of_an_order_leaves_where_it_came_from(books: Books) -> None:
    forget(books)
    receipt = books.do(from_centre(books.plain(), ONE))
    books.do(books.close(receipt, Verdict.YES))  # another batch, as after a restart
    assert sorted(outbox(books)) == [("customer.settled", ""), ("outlet.settled", ONE)]
    assert {notice.topic: notice.centre for notice in books.notices} == dict(outbox(books))


def test_the_same_number_over_another_centre_steers_its_own_answer_only(books: Books) -> None:
    forget(books)
    receipt = books.do(from_centre(books.plain(), ONE))
    forged = Asker(PHONES["A"], SERVICE, centre=TWO)
    books.do(Offence(forged, Reason.FORMAT, books.clock.ms))
    books.do(books.close(receipt, Verdict.YES))
    assert ("outlet.settled", ONE) in outbox(books)
    assert ("outlet.help", TWO) in outbox(books)


def test_a_stored_answer_goes_to_where_it_was_asked_for_again(books: Books) -> None:
    order = books.plain()
    books.do(books.close(books.do(from_centre(order, ONE)), Verdict.YES))
    forget(books)
    books.do(from_centre(order, TWO))
    assert outbox(books) == [("outlet.settled", TWO)]


def test_what_was_left_is_found_by_whoever_has_the_centre(books: Books) -> None:
    forget(books)
    books.notices.clear()
    books.do(from_centre(books.plain(amount_fen=200_000), ONE))
    [notice] = books.notices
    now_ms = books.clock.ms
    books.do(NoticesDone(left=((notice.notice_id, now_ms + 60_000),)))
    with books.engine.connect() as txn:
        assert unsent_notices(txn, now_ms, 10) == []
        assert left_notices(txn, [TWO], 10) == left_notices(txn, [], 10) == []
        assert [(row.notice_id, row.is_left) for row in left_notices(txn, [ONE], 10)] == [
            (notice.notice_id, False)
        ]
        late = unsent_notices(txn, now_ms + 60_000, 10)
        assert [(row.notice_id, row.centre, row.is_left) for row in late] == [(notice.notice_id, ONE, True)]


def test_another_daemon_with_the_centre_claims_what_was_left(books: Books) -> None:
    forget(books)
    books.notices.clear()
    books.do(from_centre(books.plain(amount_fen=200_000), ONE))
    [notice] = books.notices
    now_ms = books.clock.ms
    everybody = range(1024)
    with books.store.writing() as txn:
        assert (
            claim_notices_txn(txn, now_ms, now_ms + 60_000, 10, everybody, [ONE]) == []
        )  # nobody has left it
    books.do(NoticesDone(left=((notice.notice_id, now_ms + 30_000),)))
    with books.store.writing() as txn:
        assert claim_notices_txn(txn, now_ms, now_ms + 60_000, 10, everybody, [TWO]) == []
        [claimed] = claim_notices_txn(txn, now_ms, now_ms + 60_000, 10, everybody, [TWO, ONE])
        assert (claimed.notice_id, claimed.is_left) == (notice.notice_id, False)
        assert claim_notices_txn(txn, now_ms, now_ms + 60_000, 10, everybody, [ONE]) == []  # it is somebody's


def test_what_a_dead_daemon_left_is_anybodys_after_its_time(books: Books) -> None:
    forget(books)
    books.notices.clear()
    books.do(from_centre(books.plain(amount_fen=200_000), ONE))
    [notice] = books.notices
    now_ms = books.clock.ms
    books.do(NoticesDone(left=((notice.notice_id, now_ms + 30_000),)))
    with books.store.writing() as txn:
        assert claim_notices_txn(txn, now_ms, now_ms + 60_000, 10, [], []) == []
        [claimed] = claim_notices_txn(txn, now_ms + 30_000, now_ms + 90_000, 10, [], [TWO])
        assert claimed.is_left
