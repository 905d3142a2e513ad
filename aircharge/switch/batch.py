"""Files of recharges under way: their lines become recharges, a bounded number at a time, until none waits.

Whatever a crash leaves is in the ledger: lines that wait are taken up again, lines that were opened are orders like
any other (``doubt``). Two daemons on one file do no harm: a line's key is taken once.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from aircharge.errors import Refusal
from aircharge.ledger.batch_file import Offer
from aircharge.ledger.batching import LINE_OPENED, LINE_REFUSED, EndBatch, OpenLine, batch_key
from aircharge.ledger.commands import OpenRecharge
from aircharge.ledger.pending import WaitingLine, batch_counts, running_batches, waiting_lines
from aircharge.switch.admission import HOUSE
from aircharge.switch.board import Board, OperatorPlan
from aircharge.switch.recharge import carry
from aircharge.switch.workload import Work
from aircharge.values import Asker, Channel, Msisdn, Order, Receipt, State

__all__ = ["BatchRunner", "offers_of"]

log = Logger()

_WIDTH_MIN: Final = 4
"""So many lines of a file are carried at a time, however many files there are."""

Spawn = Callable[[Coroutine[Any, Any, Any]], "Deferred[None]"]
"""Runs a coroutine to its end; the daemon waits for those before it stops."""


def offers_of(board: Board) -> list[Offer]:
    """What the operators serve, for a dry run."""
    return [Offer(plan.operator_id, plan.segments, plan.products.sells) for plan in board.operators]


class BatchRunner:
    """Looks for files every ``interval_s`` and carries ``width`` of their lines at a time.

    Files go on side by side and share the width: none waits for another's operator.
    """

    def __init__(
        self,
        board: Board,
        reactor: IReactorTime,
        spawn: Spawn,
        *,
        interval_s: float = 1.0,
        width: int = 50,
        page: int = 500,
    ) -> None:
        self._board = board
        self._spawn = spawn
        self._interval_s = interval_s
        self._width = width
        self._page = page
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._round_guarded()))
        self._loop.clock = reactor
        self._is_stopping = False
        self._going: set[int] = set()  # files that are being gone on with

    def start(self) -> None:
        self._loop.start(self._interval_s, now=True).addErrback(
            lambda failure: log.failure("files of recharges are no longer taken up", failure=failure)
        )

    def stop(self) -> None:
        """No further line is opened; those under way go on."""
        self._is_stopping = True
        if self._loop.running:
            self._loop.stop()

    async def _round_guarded(self) -> None:
        try:
            for batch_id in await self._begin():
                self._spawn(self._go_on_guarded(batch_id))
        except Exception:  # whatever one round meets, the next one comes
            log.failure("files of recharges could not be gone on with; the next round tries again")

    async def _go_on_guarded(self, batch_id: int) -> None:
        try:
            await self._go_on(batch_id)
        except Exception:  # whatever one file meets, the others go on and so does it later
            log.failure("a file of recharges could not be gone on with; the next round tries again")

    async def round(self) -> int:
        """Go on with every file as far as its operators can be asked; returns how many lines were opened."""
        going = [Deferred.fromCoroutine(self._go_on(batch_id)) for batch_id in await self._begin()]
        return _sum(await DeferredList(going, consumeErrors=True))

    async def _begin(self) -> list[int]:
        """Files that wait and are not being gone on with; from now on they are."""
        found = await self._board.ledger.read(running_batches)
        begun = [batch_id for batch_id in found if batch_id not in self._going]
        self._going.update(begun)
        return begun

    async def _go_on(self, batch_id: int) -> int:
        """Page by page; it stops for now when no line of a page could be opened."""
        total = 0
        try:
            while not self._stands_still():
                lines = await self._board.ledger.read(lambda txn: waiting_lines(txn, batch_id, self._page))
                if not lines:
                    await self._end(batch_id)
                    break
                opened = await self._page_of(lines)
                total += opened
                if not opened:
                    break
        finally:
            self._going.discard(batch_id)
        return total

    def _stands_still(self) -> bool:
        return self._is_stopping or self._board.closing

    async def _page_of(self, lines: list[WaitingLine]) -> int:
        """This file's part of the ``width`` workers share the lines of one page."""
        rest = iter(lines)
        width = max(self._width // max(len(self._going), 1), min(_WIDTH_MIN, self._width))
        workers = [Deferred.fromCoroutine(self._work(rest)) for _ in range(min(width, len(lines)))]
        return _sum(await DeferredList(workers, consumeErrors=True))

    async def _work(self, rest: Any) -> int:
        opened = 0
        for line in rest:
            if self._stands_still() or len(self._board.in_flight) >= self._board.in_flight_max:
                break
            plan = self._board.serving(line.msisdn)
            if plan is not None and not plan.line.ready():
                continue  # it waits for its operator
            try:
                receipt = await self._open(plan, line)
            except Refusal:
                break  # too much to do: it stays where it is
            if receipt is None:
                break  # cancelled meanwhile
            opened += receipt.fresh
            if receipt.fresh and receipt.state is State.HELD:
                await self._spawn(carry(self._board, receipt))
            elif receipt.fresh:
                self._board.meters.order(receipt.state, receipt.reason)
        return opened

    async def _open(self, plan: OperatorPlan | None, line: WaitingLine) -> Receipt | None:
        """Its turn is its outlet's, with whatever else that one sends. Raises Refusal(BUSY)."""
        board, lane = self._board, plan.operator_id if plan else HOUSE
        async with board.admission.turn(lane, line.phone, Work.FILE) as turn:
            receipt = await board.ledger.do(_opening(board, plan, line))
            if isinstance(receipt, Receipt) and receipt.fresh and receipt.state is State.HELD:
                board.in_flight.add(receipt.order_id)
                turn.order_id = receipt.order_id
        return receipt if isinstance(receipt, Receipt) else None

    async def _end(self, batch_id: int) -> None:
        counts = await self._board.ledger.read(lambda txn: batch_counts(txn, batch_id))
        opened, refused = counts.get(LINE_OPENED, 0), counts.get(LINE_REFUSED, 0)
        if await self._board.ledger.do(EndBatch(batch_id, opened, refused)):
            log.info(
                "batch {batch}: {opened} lines opened, {refused} refused",
                batch=batch_id,
                opened=opened,
                refused=refused,
            )


def _sum(outcomes: Iterable[tuple[bool, Any]]) -> int:
    """Of all that have ended; the first failure is raised."""
    total = 0
    for succeeded, value in outcomes:
        if not succeeded:
            value.raiseException()
        total += value
    return total


def _opening(board: Board, plan: OperatorPlan | None, line: WaitingLine) -> OpenLine:
    order = Order(
        Channel.CLI,
        batch_key(line.batch_id, line.line),
        Asker(line.phone, line.service),
        Msisdn(line.msisdn),
        line.amount_fen,
        board.clock.now_ms(),
    )
    opening = OpenRecharge(
        order,
        plan.operator_id if plan else 0,
        unsold=plan is not None and not plan.products.sells(line.amount_fen),
        confirmed=True,
        batch_id=line.batch_id,
        reserved_fen=line.cost_fen,
    )
    return OpenLine(opening, line.line)
