"""The outbox relay: every notice at least once, never twice while this process lives, trouble never spreads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from aircharge.errors import Elsewhere, LinkError, NotSent, Unsendable
from aircharge.events.relay import NoticeRelay, RelaySettings
from aircharge.ledger.commands import NoticeRow, NoticesDone
from aircharge.ports import Notice
from tests.switch.world import NOW_MS, ScriptedClock, now


def row(number: int, *, attempts: int = 0, expires_ms: int = NOW_MS + 1000, order_id: int = 1) -> NoticeRow:
    return NoticeRow(
        notice_id=number,
        order_id=order_id,
        topic="customer.settled",
        recipient="13812345678",
        sender="0353911",
        language="zh",
        facts={},
        created_ms=NOW_MS,
        expires_ms=expires_ms,
        attempts=attempts,
    )


class Outbox:
    """Ledger and sink in one: what was sent, what was written, what the next poll finds."""

    def __init__(self) -> None:
        self.clock = ScriptedClock()
        self.reactor = Clock()
        self.sent: list[Notice] = []
        self.done: list[NoticesDone] = []
        self.stored: list[NoticeRow] = []
        self.outcome: Any = None
        self.up = True
        settings = RelaySettings(concurrency_max=3, queue_max=10, flush_s=0.02, poll_s=2, retry_first_s=2)
        self.relay = NoticeRelay(
            self, self, lambda notice: f"text {notice.notice_id}", self.clock, self.reactor, settings
        )

    def ready(self) -> bool:
        return self.up

    def centres(self) -> list[str]:
        return ["one"] if self.up else []

    def send(self, notice: Notice) -> Deferred[None]:
        self.sent.append(notice)
        if isinstance(self.outcome, Deferred):
            return self.outcome
        return fail(self.outcome) if self.outcome else succeed(None)

    def do(self, command: Any) -> Deferred[None]:
        self.done.append(command)
        return succeed(None)

    def read(self, reader: Any) -> Deferred[list[NoticeRow]]:
        return succeed(list(self.stored))

    def ids(self) -> list[int]:
        return [notice.notice_id for notice in self.sent]


def test_sent_notices_are_written_down_together() -> None:
    box = Outbox()
    box.relay.take([row(1), row(2)])
    assert box.sent[0] == Notice(1, "13812345678", "0353911", "text 1")
    assert box.done == []
    box.reactor.advance(0.02)
    assert [item.sent for item in box.done] == [(1, 2)]


def test_what_the_poll_finds_again_is_not_sent_again() -> None:
    box = Outbox()
    box.stored = [row(1)]
    box.relay.start()
    box.relay.take([row(1)])
    box.reactor.advance(0.02)
    box.reactor.advance(2)  # a poll that may have begun before the outcome was written
    assert box.ids() == [1]


def test_a_failure_is_retried_later_and_later() -> None:
    box = Outbox()
    box.outcome = NotSent("no SMS centre")
    box.relay.take([row(1), row(2, attempts=3)])
    box.reactor.advance(0.02)
    assert box.done[0].retry == ((1, NOW_MS + 2000), (2, NOW_MS + 16_000))
    assert box.done[0].sent == ()


def test_a_retried_notice_is_found_by_a_later_poll() -> None:
    box = Outbox()
    box.relay.start()
    box.outcome = LinkError("0x58")
    box.relay.take([row(1)])
    box.reactor.advance(0.02)
    box.outcome = None
    box.reactor.advance(2)
    box.stored = [row(1, attempts=1)]
    box.reactor.advance(2)
    assert box.ids() == [1, 1]


def test_an_expired_notice_is_not_sent() -> None:
    box = Outbox()
    box.relay.take([row(1, expires_ms=NOW_MS)])
    box.reactor.advance(0.02)
    assert box.sent == []
    assert box.done[0].expired == (1,)


def test_no_more_under_way_than_allowed_and_the_queue_is_bounded() -> None:
    box = Outbox()
    box.outcome = Deferred()
    box.relay.take([row(number) for number in range(1, 40)])
    assert box.ids() == [1, 2, 3]
    box.outcome.callback(None)
    assert len(box.sent) == 13 - 3  # three under way and ten queued were taken, the rest waits in the outbox


def test_nothing_is_sent_while_no_sms_centre_is_bound() -> None:
    box = Outbox()
    box.up = False
    box.relay.start()
    box.relay.take([row(1)])
    assert box.sent == []
    box.up = True
    box.reactor.advance(2)
    box.relay.take([])
    assert box.ids() == [1]


def test_one_that_cannot_be_worded_does_not_stop_the_others() -> None:
    box = Outbox()

    def word(notice: NoticeRow) -> str:
        if notice.notice_id == 1:
            raise KeyError("after_fen")
        return "text"

    box.relay._word = word
    box.relay.take([row(1), row(2)])
    box.reactor.advance(0.02)
    assert box.ids() == [2]
    assert box.done[0].retry[0][0] == 1


def test_stopping_writes_down_what_is_known() -> None:
    box = Outbox()
    box.relay.start()
    box.relay.take([row(1)])
    now(box.relay.stop())
    assert box.done[0].sent == (1,)


def test_under_load_what_belongs_to_no_order_waits_and_is_sent() -> None:
    box = Outbox()
    is_busy = True
    box.relay.is_busy = lambda: is_busy
    box.relay.take([row(1, order_id=0), row(2), row(3, order_id=0, expires_ms=NOW_MS + 60_000), row(4)])
    assert box.ids() == [2, 4]
    assert box.relay.waiting == 2
    is_busy = False
    box.relay.take([row(5)])
    assert box.ids() == [2, 4, 5, 1, 3]
    is_busy = True
    box.relay.take([row(6, order_id=0, expires_ms=NOW_MS + 60_000)])
    assert box.relay.waiting == 1
    box.clock.ms += 30_000  # long enough, whatever there is to do
    box.relay.take([])
    assert (box.ids()[5:], box.relay.waiting) == ([6], 0)


def test_stopping_leaves_what_waits_to_the_next_start() -> None:
    box = Outbox()
    box.relay.is_busy = lambda: True
    box.relay.take([row(1, order_id=0)])
    now(box.relay.stop())
    assert (box.ids(), box.done, box.relay.waiting) == ([], [], 0)


def test_what_is_refused_for_good_ends_at_once() -> None:
    outbox = Outbox()
    outbox.outcome = Unsendable("refused for good")
    outbox.relay.take([row(1), row(2)])
    outbox.reactor.advance(1)
    assert [done.expired for done in outbox.done] == [(1, 2)]
    assert not any(done.retry for done in outbox.done)
    assert outbox.relay.given_up == 2


def test_what_belongs_to_an_sms_centre_that_is_away_is_left_to_whoever_has_it() -> None:
    box = Outbox()
    box.outcome = Elsewhere("one", 60)
    box.relay.take([replace(row(1), centre="one")])
    box.reactor.advance(0.02)
    assert box.done[0].left == ((1, NOW_MS + 60_000),)
    assert (box.sent[0].centre, box.sent[0].waits) == ("one", True)


@pytest.mark.parametrize("late", [{"is_left": True}, {"attempts": 6}])
def test_after_its_time_any_sms_centre_may_carry_it(late: dict[str, Any]) -> None:
    box = Outbox()
    box.relay.take([replace(row(1), centre="one", **late)])
    assert (box.sent[0].centre, box.sent[0].waits) == ("one", False)


def test_where_several_daemons_share_an_outbox_what_was_left_is_looked_for() -> None:
    box, asked = Outbox(), []

    def orphans(limit: int, centres: Any) -> Deferred[list[NoticeRow]]:
        asked.append((limit, list(centres)))
        return succeed([replace(row(7), centre="one")])

    settings = RelaySettings(queue_max=10)
    relay = NoticeRelay(
        box, box, lambda notice: "text", box.clock, box.reactor, settings, node=1, orphans=orphans
    )
    relay.start()
    assert asked == [(10, ["one"])]
    assert box.ids() == [7]
