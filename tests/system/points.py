"""Where the rigged daemon dies: sixteen places of the flow, each reached by a patch in that process only.

A place is passed many times in a life; the daemon kills itself, with SIGKILL, on the passage it was told, or freezes
there, with SIGSTOP, until it is woken. More comes from outside: death at any moment, death while it stops in order, a
disk that is full or broken.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextvars import ContextVar
from typing import Any

from aircharge import daemon
from aircharge.ledger.commands import CloseRecharge, OpenRecharge
from aircharge.ledger.saving import Saver
from aircharge.ledger.store import Store
from aircharge.protocols.operator_link import OperatorLink, _Line
from aircharge.sms.door import SmsDoor
from aircharge.switch.doubt import DoubtResolver
from aircharge.values import Receipt

__all__ = ["DISK", "OUTSIDE", "POINTS", "Killer", "plant"]

POINTS: dict[str, tuple[str, int]] = {
    "before_hold": ("a message is understood, nothing is written", 20),
    "hold_uncommitted": ("the hold is written, its transaction not committed", 8),
    "held": ("the hold is committed, nobody knows yet", 8),
    "repeated": ("a redelivery was met by its key, its answer is durable", 3),
    "before_mo_response": ("the SMS centre's message is taken, its response not written", 20),
    "before_send": ("the operator's line is about to be used", 20),
    "half_sent": ("half of a request's octets are with the kernel", 16),
    "sent": ("all of a request's octets are with the kernel", 16),
    "answer_unread": ("the operator's answer is read, nothing is done with it", 16),
    "settle_uncommitted": ("the settlement is written, its transaction not committed", 8),
    "settled": ("the settlement is committed, nobody knows yet", 8),
    "before_publish": ("a notice is about to go to the SMS centre", 16),
    "published": ("the SMS centre has taken a notice, that is not written down", 16),
    "recovering": ("open orders are being taken up after a start", 1),
    "resolving": ("an order in doubt is about to be asked about", 3),
    "doubt_answered": ("the answer to a doubt is read, nothing is done with it", 3),
}
"""Name → what has happened by then, and the latest passage that is drawn."""

OUTSIDE = {
    "anywhere": "from outside, at a moment of chance",
    "stopping": "from outside, after SIGTERM",
    "frozen": "from outside, after it stood still at one of the places and was woken again",
}

DISK = {
    "disk_full": "from outside, after its ledger found no room for a while, or in the middle of that",
    "disk_error": "its ledger's disk fails: it leaves by itself, or the death comes from outside",
}
"""What only a ledger in a file of the daemon's own can meet."""


class Killer:
    """Counts the passages of one point and ends this process on the given one."""

    def __init__(self, point: str, nth: int, calm_s: float = 0.0, *, freezes: bool = False) -> None:
        self._point = point
        self._freezes = freezes
        self._left = nth
        self._counts_from = time.monotonic() + calm_s
        self._lock = threading.Lock()

    def is_at(self, point: str) -> bool:
        """A passage of ``point``: whether this one is the end (the caller may first do what only it can)."""
        if point != self._point or time.monotonic() < self._counts_from:
            return False
        with self._lock:
            self._left -= 1
            return self._left == 0

    def pass_by(self, point: str) -> None:
        if self.is_at(point):
            self.strike()

    def strike(self) -> None:
        """By our own hand, so that it is exactly here: kill -9, or a sleep that only somebody else ends."""
        os.kill(os.getpid(), signal.SIGSTOP if self._freezes else signal.SIGKILL)
        if not self._freezes:
            signal.pause()  # the signal is on its way: not one more step of this thread


_batch: ContextVar[list[Any]] = ContextVar("batch", default=[])  # noqa: B039  replaced, never changed


def plant(killer: Killer) -> None:
    """Patch this process's copy of the product; the product's files know nothing of it."""
    _plant_ledger(killer)
    _plant_door(killer)
    _plant_line(killer)
    _plant_doubts(killer)


def _has(kind: type) -> bool:
    return any(isinstance(command, kind) for command in _batch.get())


def _plant_ledger(killer: Killer) -> None:
    run_batch, save = Store.run_batch, Saver.save

    def running(self: Store, commands: Any) -> Any:
        _batch.set(list(commands))
        if _has(OpenRecharge):
            killer.pass_by("before_hold")
        outcome = run_batch(self, commands)
        if _has(OpenRecharge):
            killer.pass_by("held")
        if any(isinstance(one, Receipt) and not one.fresh and one.order_id for one in outcome.results):
            killer.pass_by("repeated")
        if _has(CloseRecharge):
            killer.pass_by("settled")
        return outcome

    def saving(self: Saver, txn: Any, changes: Any, now_ms: int) -> None:
        save(self, txn, changes, now_ms)
        if _has(OpenRecharge):
            killer.pass_by("hold_uncommitted")
        if _has(CloseRecharge):
            killer.pass_by("settle_uncommitted")

    Store.run_batch = running  # type: ignore[method-assign]
    Saver.save = saving  # type: ignore[method-assign]


def _plant_door(killer: Killer) -> None:
    answer, send = SmsDoor.answer, daemon.SmsSink.send

    async def answering(self: SmsDoor, message: Any, peer: Any) -> int:
        status = await answer(self, message, peer)
        killer.pass_by("before_mo_response")
        return status

    async def sending(self: Any, notice: Any) -> None:
        killer.pass_by("before_publish")
        await send(self, notice)
        killer.pass_by("published")

    SmsDoor.answer = answering  # type: ignore[method-assign]
    daemon.SmsSink.send = sending  # type: ignore[method-assign]


def _plant_line(killer: Killer) -> None:
    recharge, send = OperatorLink.recharge, OperatorLink._send
    received = OperatorLink.answer_received

    def recharging(self: OperatorLink, request: Any) -> Any:
        killer.pass_by("before_send")
        return recharge(self, request)

    def sending(self: OperatorLink, line: _Line, asked: Any, now: float) -> None:
        if killer.is_at("half_sent"):
            _send_part(killer, line, asked, now, 2)
        elif killer.is_at("sent"):
            _send_part(killer, line, asked, now, 1)
        else:
            send(self, line, asked, now)

    def receiving(self: OperatorLink, asked: Any, answer: Any) -> None:
        killer.pass_by("answer_unread")
        received(self, asked, answer)

    OperatorLink.recharge = recharging  # type: ignore[method-assign]
    OperatorLink._send = sending  # type: ignore[method-assign]
    OperatorLink.answer_received = receiving  # type: ignore[method-assign]


def _send_part(killer: Killer, line: _Line, asked: Any, now: float, share: int) -> None:
    """Hand the first ``1/share`` of the request's octets to the kernel, after all that waits; then it is time.

    The rest is for whoever was only asleep.
    """
    transport: Any = line.transport
    line.flush()
    _to_kernel(transport)
    line.session.request(asked.argument, asked, now)
    octets = line.session.data_to_send()
    transport.write(octets[: len(octets) // share])
    _to_kernel(transport)
    asked.is_sent = True
    killer.strike()
    transport.write(octets[len(octets) // share :])


def _to_kernel(transport: Any) -> None:
    """All that Twisted keeps for the next turn; a full socket gets a hundred tries."""
    for _ in range(100):
        if transport.dataBuffer or transport._tempDataBuffer:
            transport.doWrite()


def _plant_doubts(killer: Killer) -> None:
    recover, ask, heard = DoubtResolver.recover, DoubtResolver._ask, DoubtResolver._heard
    close = DoubtResolver._close
    is_recovering: list[bool] = []

    async def recovering(self: DoubtResolver) -> int:
        is_recovering.append(True)
        count = await recover(self)
        is_recovering.clear()
        killer.pass_by("recovering")  # nothing was open: die with the doors still shut
        return count

    async def closing(self: DoubtResolver, command: Any) -> None:
        await close(self, command)
        if is_recovering:
            killer.pass_by("recovering")

    async def asking(self: DoubtResolver, plan: Any, order: Any) -> None:
        killer.pass_by("resolving")
        await ask(self, plan, order)

    async def hearing(self: DoubtResolver, plan: Any, order: Any, answer: Any) -> None:
        killer.pass_by("doubt_answered")
        await heard(self, plan, order, answer)

    DoubtResolver.recover = recovering  # type: ignore[method-assign]
    DoubtResolver._close = closing  # type: ignore[method-assign]
    DoubtResolver._ask = asking  # type: ignore[method-assign]
    DoubtResolver._heard = hearing  # type: ignore[method-assign]
