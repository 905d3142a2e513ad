"""Long work beside the book: in order, one piece at a time, and whoever asked for it hears how it ended."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from twisted.internet.defer import Deferred

from aircharge.errors import LedgerError
from aircharge.ledger.chores import Chores


class Loop:
    """The part of a reactor that a thread speaks to."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], Any]] = SimpleQueue()

    def callFromThread(self, call: Callable[..., Any], *arguments: Any) -> None:
        self._calls.put(lambda: call(*arguments))

    def end_of(self, *pieces: Deferred[Any]) -> list[Any]:
        """What the pieces came to, a value or an exception."""
        box: list[Any] = []
        for piece in pieces:
            piece.addBoth(lambda ended: box.append(getattr(ended, "value", ended)))
        while len(box) < len(pieces):
            self._calls.get(timeout=60)()
        return box


@pytest.fixture
def engine() -> Engine:
    return create_engine("sqlite://")


def test_pieces_are_done_in_order_and_each_hears_its_own_end(engine: Engine) -> None:
    loop = Loop()
    chores = Chores(engine, loop)

    def wrong(made: Engine) -> None:
        with made.connect() as txn:
            txn.execute(text("SELECT 1 FROM nowhere"))

    ended = loop.end_of(
        chores.do(lambda made: made is engine),
        chores.do(wrong),
        chores.do(lambda _: 1 // 0),
        chores.do(lambda _: 4),
    )
    assert (ended[0], ended[3]) == (True, 4)
    assert isinstance(ended[1], LedgerError)
    assert "nowhere" in str(ended[1])
    assert isinstance(ended[2], ZeroDivisionError)
    chores.stop()


def test_after_the_stop_nothing_is_begun(engine: Engine) -> None:
    loop, done = Loop(), []
    chores = Chores(engine, loop)

    def first(_: Engine) -> str:
        chores.stop()  # while this piece is under way
        return "ended"

    under_way, after = chores.do(first), chores.do(done.append)
    assert loop.end_of(under_way) == ["ended"]
    assert chores._thread is not None
    chores._thread.join(60)
    assert not after.called
    assert done == []
    [late] = loop.end_of(chores.do(done.append))
    assert isinstance(late, LedgerError)
    assert done == []
