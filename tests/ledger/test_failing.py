"""One command's exception refuses that command, and no other; its outlet and people are told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aircharge.errors import CommandFailed, Reason
from aircharge.ledger.book import RULES
from aircharge.ledger.commands import OpenRecharge
from aircharge.ledger.returning import ReverseTransfer, UndoTransfer
from aircharge.ledger.transferring import MoveCommission, Transfer
from aircharge.values import Asker, Channel, Key, Pin, State
from tests.ledger.desk import PHONES, PIN, SERVICE, Books

pytestmark = pytest.mark.usefixtures("engine")

BAD = "13800000666"


def head(mark: str, outlet: str = "A") -> tuple[Channel, Key, Asker]:
    asker = Asker(PHONES[outlet], SERVICE, None, Pin(PIN))
    return Channel.SMS, Key(f"sms:{asker.phone}", mark), asker


def planted(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A bug that orders to one number meet."""
    rule = RULES[OpenRecharge]

    def decide(page: Any, command: OpenRecharge) -> Any:
        if command.order.target == BAD:
            raise error
        return rule.decide(page, command)

    monkeypatch.setitem(RULES, OpenRecharge, replace(rule, decide=decide))


def alarms(books: Books) -> list[tuple[Any, ...]]:
    return books.rows("SELECT action, object, detail FROM audit WHERE action LIKE 'alarm.%' ORDER BY seq")


def test_a_refused_transfer_cannot_be_reversed(books: Books) -> None:
    refused = books.do(Transfer(*head("t1"), "NOBODY", 1_000, books.clock.ms))
    assert (refused.state, refused.reason) == (State.REFUSED, Reason.NOT_FOUND)
    asked = ReverseTransfer(*head("t2"), refused.order_id, books.clock.ms)
    assert books.do(asked).reason is Reason.NOT_REVERSIBLE
    assert "not of today" in books.do(UndoTransfer(refused.order_id, "wang+li", SERVICE))
    assert books.problems() == []


def test_whatever_an_earlier_order_was_it_is_answered(books: Books) -> None:
    """A later order that names an earlier one of any kind and state."""
    held = books.do(books.plain())
    refused = books.do(books.plain("13800000001", 99_999_999))
    moved = books.do(MoveCommission(*head("c"), 100, books.clock.ms))
    sent = books.do(Transfer(*head("x"), "NOBODY", 1_000, books.clock.ms))
    for number, earlier in enumerate((held, refused, moved, sent)):
        answer = books.do(ReverseTransfer(*head(f"r{number}"), earlier.order_id, books.clock.ms))
        assert answer.state is State.REFUSED
    assert books.problems() == []


@pytest.mark.parametrize(
    "error",
    [AssertionError("a bug"), KeyError("state"), UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogate")],
)
def test_the_others_of_its_batch_are_carried_out(
    books: Books, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    planted(monkeypatch, error)
    orders = [books.plain("13800000001"), books.plain(BAD), books.plain("13800000002")]
    outcome = books.store.run_batch(orders)
    first, failed, last = outcome.results
    assert [one.state for one in (first, last)] == [State.HELD] * 2  # type: ignore[union-attr]
    assert isinstance(failed, CommandFailed)
    assert books.money("A") == (100_000, 10_000)
    [(action, thing, detail)] = alarms(books)
    assert (action, thing.split()[0], BAD in thing + detail) == (
        "alarm.command-failed",
        "OpenRecharge",
        False,
    )
    assert [(n.topic, n.recipient, n.facts["reason"]) for n in outcome.notices] == [
        ("outlet.refused", PHONES["A"], "INTERNAL")
    ]
    monkeypatch.undo()
    assert books.do(orders[1]).state is State.HELD  # nothing of it was written, so it is new
    assert books.problems() == []


def test_an_exception_once_the_commit_has_begun_breaks_the_ledger(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its fate is not known: tried again one by one it might be carried out twice."""

    def commit(*_given: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(books.store._dialect, "commit", commit)
    with pytest.raises(ZeroDivisionError):
        books.store.run_batch([books.plain(), books.plain("13800000002")])
