"""An operator's answer that means nothing definite is an alarm once for each code an order hears (rows L24, L26)."""

from __future__ import annotations

from typing import Any

from aircharge.ledger.commands import CloseRecharge, Postpone
from aircharge.values import State, Verdict
from tests.ledger.desk import Books


def alarms(books: Books) -> list[Any]:
    return books.rows("SELECT object, detail FROM audit WHERE action = 'alarm.odd-answer' ORDER BY seq")


def test_the_first_answer_is_an_alarm_once_for_each_code(books: Books) -> None:
    order = books.do(books.plain())
    said = CloseRecharge(order.order_id, Verdict.UNKNOWN, code="5001", next_ms=1, odd="unknown code")
    assert books.do(said).state is State.IN_DOUBT
    books.do(said)
    books.do(Postpone(order.order_id, 1, "5001", "unknown code"))
    assert len(alarms(books)) == 1
    [(subject, detail)] = alarms(books)
    assert subject == f"order {order.order_id}"
    assert "5001" in detail
    books.do(Postpone(order.order_id, 1, "7777", "unknown code"))
    assert len(alarms(books)) == 2
    books.do(books.close(order, Verdict.YES, code="0000"))
    books.do(said)  # it has ended: nothing is doubtful any more
    assert len(alarms(books)) == 2


def test_a_serial_of_64_characters_is_kept_whole(books: Books) -> None:
    order = books.do(books.plain())
    books.do(books.close(order, Verdict.YES, code="0000", serial="s" * 64))
    assert books.value("SELECT op_serial FROM txn WHERE id = :i", i=order.order_id) == "s" * 64
