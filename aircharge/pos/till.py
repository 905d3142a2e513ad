"""What a terminal can ask for, whatever it speaks: act in, code and facts out. None is silence.

A terminal takes every code but 00 for a no, and silence for a reason to take its sale back. So whatever is not known
for certain is answered by silence, never by a code: an order in doubt, a commit whose fate is unknown, a request that
could not be looked at while an earlier copy of it may be under way.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aircharge.errors import CommandFailed, LedgerError, Reason, Refusal
from aircharge.ledger.cancelling import CancelSale
from aircharge.ledger.chart import POS_EQUAL
from aircharge.ledger.commands import Inquire
from aircharge.ledger.cutoff import midnight_ms
from aircharge.ledger.reversing import OpenReversal
from aircharge.ledger.terminal_reading import (
    OrderSeen,
    batch_lines,
    is_being_taken_back,
    last_trace,
    order_seen,
    order_under,
    sale_key,
    taken_back_since,
    totals,
    went_on,
)
from aircharge.ledger.terminals import CloseBatch, CountCopy, Detail, EndDetails, LeaveBatch, Totals
from aircharge.pos.codes import (
    APPROVED,
    BATCH_WRONG,
    CODES,
    FORMAT,
    NO_COPY,
    NOT_FOUND,
)
from aircharge.pos.settings import PosSettings
from aircharge.pos.shelf import Terminal
from aircharge.switch.board import Board
from aircharge.switch.cancelling import cancel
from aircharge.switch.inquiry import inquire
from aircharge.switch.recharge import accept, carry
from aircharge.switch.reversal import accept as accept_reversal
from aircharge.values import Asker, Channel, Key, Msisdn, Operation, Order, Pin, Receipt, State, as_terminal

__all__ = ["NOT_TOLD", "Said", "Sale", "Till", "Timer"]

log = Logger()

Spawn = Callable[[Coroutine[Any, Any, Any]], object]
"""Runs a coroutine to its end by itself; the daemon waits for those before it stops."""


class Timer(Protocol):
    """The reactor's or a world's clockwork."""

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> Any: ...


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: DE 39, and what there is to tell beside it."""

    code: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def is_approved(self) -> bool:
        return self.code == APPROVED


@dataclass(frozen=True, slots=True)
class Sale:
    """A recharge as a terminal asks for it. ``repeat`` 2: yes, the same again."""

    batch: int
    trace: int
    target: str
    amount_fen: int
    pin: Pin | None = None
    repeat: int = 1
    mac: bytes = b""  # of its message


NOT_TOLD: Final = -1
"""The amount of a void that names its sale only by batch and trace."""
_TRACES: Final = 10**6
_WRAPS_FROM: Final = 990_000  # behind 999999 comes 000001: no counting anew
_NO: Final = (State.REFUSED, State.VOIDED)


def _number(text: str) -> Msisdn:
    """A number as orders have it; one that is none is kept as it came, and refused by the ledger under its key."""
    try:
        return Msisdn.parse(text)
    except Refusal:
        return Msisdn(text[:20])


class Till:
    """The business of all terminals."""

    def __init__(self, board: Board, settings: PosSettings, spawn: Spawn, timer: Timer) -> None:
        self._board = board
        self._settings = settings
        self._spawn = spawn
        self._timer = timer
        self._under_way: set[Key] = set()  # requests whose fate this process will know
        self._taken_back: set[Key] = set()  # those of them that have been taken back meanwhile

    def asker(self, terminal: Terminal, pin: Pin | None = None) -> Asker:
        return Asker(as_terminal(terminal.code), self._settings.service, None, pin)

    # -- sales ------------------------------------------------------------------------------------------------

    async def sell(self, terminal: Terminal, sale: Sale) -> Said | None:
        """A recharge; what is not over within ``answer_s`` goes on by itself and is answered by silence."""
        key = sale_key(terminal.code, sale.batch, sale.trace)
        order = Order(
            Channel.POS,
            key,
            self.asker(terminal, sale.pin),
            _number(sale.target),
            sale.amount_fen,
            self._board.clock.now_ms(),
            repeat=sale.repeat,
            mac=sale.mac,
        )
        receipt = await self._once(key, self._sold(order, confirmed=sale.repeat > 1))
        if isinstance(receipt, Receipt) and receipt.state is State.PARKED:
            return await self._take_out_of_the_park(terminal, key, receipt)
        return await self._told(key, receipt)

    async def _sold(self, order: Order, *, confirmed: bool) -> Receipt:
        receipt = await accept(self._board, order, pin_needed=self._settings.pin_needed, confirmed=confirmed)
        return await carry(self._board, receipt)

    async def _take_out_of_the_park(self, terminal: Terminal, key: Key, parked: Receipt) -> Said | None:
        """Nobody at a counter waits for a clerk: what a rule would hold is not sold here."""
        command = CancelSale(terminal.row.id, self.asker(terminal), key, parked.amount_fen, "06")
        try:
            receipt = await cancel(self._board, command)
        except (LedgerError, Refusal):
            return None
        return self._of(Reason.REVIEW) if receipt.state in _NO else None

    async def cancel(
        self,
        terminal: Terminal,
        batch: int,
        trace: int,
        amount_fen: int,
        code: str,
        target: str = "",
        mac: bytes = b"",
    ) -> Said | None:
        """Automatic reversal: yes as soon as the wish is durable, unless the terminal has heard how the sale ended.

        ``target`` and ``mac``: number and MAC of the sale's message, empty where the reversal does not tell them.
        """
        row, key = terminal.row, sale_key(terminal.code, batch, trace)
        command = CancelSale(
            row.id,
            self.asker(terminal),
            key,
            amount_fen,
            code,
            target=_number(target) if target else "",
            mac=mac,
        )
        since_ms = midnight_ms(self._board.clock.now_ms(), self._board.utc_offset_min)
        try:
            known = await self._board.ledger.read(lambda txn: order_seen(txn, key))
            if known is not None and known.kind is Operation.REVERSAL:
                return self._cancelled_void(known)
            if known is not None:
                heard, today_n = await self._board.ledger.read(
                    lambda txn: (
                        went_on(txn, row.id, key, known.order_id),
                        taken_back_since(txn, row.outlet_id, since_ms),
                    )
                )
                alarm_n = self._settings.reversals_alarm
                command = replace(command, went_on=heard, today_n=today_n, alarm_n=alarm_n)
            receipt = await cancel(self._board, command)
        except CommandFailed:
            return self._of(Reason.INTERNAL)  # said again it would fail again: the alarm is people's
        except (LedgerError, Refusal):
            return None  # it says so again until it is answered
        if receipt.reason in (Reason.CLASH, Reason.NOT_REVERSIBLE) or not receipt.order_id:
            return self._of(receipt.reason)
        self._taken_back.update({key} & self._under_way)
        return Said(APPROVED, {"order_id": receipt.order_id})

    def _cancelled_void(self, known: OrderSeen) -> Said:
        """A void is never taken back: that would be a second recharge. Its end is told by SMS, also of an open one:
        a terminal that had to wait for it could sell nothing meanwhile."""
        return Said(APPROVED) if known.state in _NO else self._of(Reason.NOT_REVERSIBLE)

    async def void(
        self, terminal: Terminal, sale: Sale, orig_batch: int, orig_trace: int, consent: str = ""
    ) -> Said | None:
        """Same-day void (返销) of one of this terminal's sales, by its batch and trace."""
        key = sale_key(terminal.code, sale.batch, sale.trace)
        original = sale_key(terminal.code, orig_batch, orig_trace)
        found = await self._board.ledger.read(lambda txn: order_seen(txn, original))
        if found is None or found.kind is not Operation.RECHARGE or found.outlet_id != terminal.row.outlet_id:
            return Said(NOT_FOUND)
        if sale.amount_fen not in (NOT_TOLD, found.amount_fen):
            return Said(NOT_FOUND)
        command = OpenReversal(
            Channel.POS,
            key,
            self.asker(terminal, sale.pin),
            found.order_id,
            self._board.clock.now_ms(),
            consent=consent,
        )
        return await self._told(key, await self._once(key, self._voided(command)))

    async def _voided(self, command: OpenReversal) -> Receipt:
        return await carry(self._board, await accept_reversal(self._board, command))

    async def _once(self, key: Key, work: Coroutine[Any, Any, Receipt]) -> Receipt | Reason | None:
        """What came of it by ``answer_s``; a Reason when nothing was written; None: not known.

        "Not now" is only said of a request that is nowhere: while an earlier copy may be under way, it would be taken
        for that one's refusal.
        """
        if key in self._under_way:
            work.close()
            return None
        self._under_way.add(key)
        outcome: Deferred[Receipt | Reason | None] = Deferred()
        late = self._timer.callLater(self._settings.answer_s, outcome.callback, None)

        async def run() -> None:
            said: Receipt | Reason | None = None
            try:
                said = await self._ended(key, work)
                if key in self._taken_back and isinstance(said, Receipt) and said.state is State.SETTLED:
                    said = None  # its terminal was told that it will be reversed
            finally:
                self._under_way.discard(key)
                self._taken_back.discard(key)
                if late.active():
                    late.cancel()
                    outcome.callback(said)

        self._spawn(run())
        return await outcome

    async def _ended(self, key: Key, work: Coroutine[Any, Any, Receipt]) -> Receipt | Reason | None:
        try:
            return await work
        except CommandFailed:
            known = await self._board.ledger.read(lambda txn: order_under(txn, key))
            return None if known else Reason.INTERNAL
        except LedgerError:
            log.failure("the ledger could not take a terminal's request: it is not answered")
        except Refusal as refusal:
            known = await self._board.ledger.read(lambda txn: order_under(txn, key))
            if known or not self._board.is_ours():
                return None
            return refusal.reason
        return None

    async def _told(self, key: Key, receipt: Receipt | Reason | None) -> Said | None:
        """The answer. A stored one is looked at again: nothing is said of a sale that is being taken back, and no "too
        late" of a request that is open or was executed, for that would be taken for a no."""
        if isinstance(receipt, Receipt) and not receipt.fresh:
            order_id, ledger = receipt.order_id, self._board.ledger
            if receipt.reason is Reason.REPLAY:
                known = await ledger.read(lambda txn: order_seen(txn, key))
                if known is None or known.state not in (*_NO, State.REVERSED):
                    return None
            is_yes = receipt.state is State.SETTLED
            if is_yes and await ledger.read(lambda txn: is_being_taken_back(txn, order_id)):
                return None
        return self._of_receipt(receipt)

    def _of_receipt(self, receipt: Receipt | Reason | None) -> Said | None:
        if receipt is None or isinstance(receipt, Reason):
            return None if receipt is None else self._of(receipt)
        if receipt.state.is_open:
            return None
        facts = {
            "order_id": receipt.order_id,
            "target": receipt.target,
            "amount_fen": receipt.amount_fen,
            "at_ms": receipt.created_ms,
        }
        if receipt.state is State.REVERSED:
            return Said(CODES[Reason.CANCELLED], facts)
        code = APPROVED if receipt.state is State.SETTLED else CODES[receipt.reason]
        return Said(code, facts)

    async def knows(self, terminal: Terminal, batch: int, trace: int) -> bool:
        """Whether there is anything under a trace number."""
        key = sale_key(terminal.code, batch, trace)
        return bool(await self._board.ledger.read(lambda txn: order_under(txn, key)))

    # -- questions --------------------------------------------------------------------------------------------

    async def ask(self, terminal: Terminal, operation: Operation, pin: Pin | None, trace: int) -> Said | None:
        """BALANCE or LAST."""
        now_ms = self._board.clock.now_ms()
        question = Inquire(operation, f"{trace:06d}:{now_ms}", self.asker(terminal, pin), now_ms, Channel.POS)
        try:
            answer = await inquire(self._board, question)
        except Refusal as refusal:
            return self._of(refusal.reason)
        except LedgerError:
            return None
        return Said(CODES[answer.reason], answer.facts)

    def check_number(self, target: str) -> Said:
        """Whether anybody serves that number, and who."""
        try:
            plan = self._board.serving(Msisdn.parse(target))
        except Refusal:
            plan = None
        return self._of(Reason.NUMBER) if plan is None else Said(APPROVED, {"operator": plan.name})

    async def copy(self, terminal: Terminal, batch: int, trace: int) -> Said:
        """A slip once more, marked as a copy; twice at most. ``trace`` 0: of the batch's last sale."""
        key = sale_key(terminal.code, batch, trace or await self._last_sale(terminal, batch))
        found = await self._board.ledger.read(lambda txn: order_seen(txn, key))
        if found is None or found.state is not State.SETTLED or found.kind is not Operation.RECHARGE:
            return Said(NOT_FOUND)
        if found.outlet_id != terminal.row.outlet_id:  # sold where the terminal stood before
            return Said(NOT_FOUND)
        if await self._board.ledger.read(lambda txn: is_being_taken_back(txn, found.order_id)):
            return Said(NOT_FOUND)
        number = await self._board.ledger.do(CountCopy(found.order_id))
        if not number:
            return Said(NO_COPY)
        facts = {
            "order_id": found.order_id,
            "target": found.msisdn,
            "amount_fen": found.amount_fen,
            "at_ms": found.created_ms,
            "copy": number,
        }
        return Said(APPROVED, facts)

    async def _last_sale(self, terminal: Terminal, batch: int) -> int:
        lines = await self._board.ledger.read(lambda txn: batch_lines(txn, terminal.code, batch))
        return max(((line.order_id, line.trace) for line in lines if not line.is_void), default=(0, 0))[1]

    # -- batches ----------------------------------------------------------------------------------------------

    async def settle(self, terminal: Terminal, batch: int, theirs: Totals) -> Said | None:
        """Compare a batch; facts: ``equal``."""
        lines = await self._board.ledger.read(lambda txn: batch_lines(txn, terminal.code, batch))
        command = CloseBatch(terminal.row.id, terminal.code, batch, theirs, totals(lines))
        state = await self._do(command)
        if state is None:
            return None
        return Said(APPROVED, {"equal": state == POS_EQUAL}) if state else Said(BATCH_WRONG)

    async def traces_start_over(self, terminal: Terminal, trace: int) -> bool:
        """Whether a terminal that signs in under this trace number counts anew within its open batch."""
        last = await self._board.ledger.read(lambda txn: last_trace(txn, terminal.code, terminal.row.batch))
        has_wrapped = last >= _WRAPS_FROM and trace < _TRACES - _WRAPS_FROM
        return 0 < trace < last and not has_wrapped

    async def begin_next_batch(self, terminal: Terminal) -> bool:
        """Leave the open batch, unsettled, for the next one: whose traces start over has lost what it sold in it."""
        batch = terminal.row.batch
        lines = await self._board.ledger.read(lambda txn: batch_lines(txn, terminal.code, batch))
        command = LeaveBatch(terminal.row.id, terminal.code, batch, totals(lines))
        return bool(await self._do(command))

    async def compare(self, terminal: Terminal, batch: int, theirs: dict[int, int]) -> Said | None:
        """The upload of an unequal batch is over. ``theirs``: fen by trace, voids below zero. Facts: ``wrong``."""
        lines = await self._board.ledger.read(lambda txn: batch_lines(txn, terminal.code, batch))
        ours = {line.trace: line for line in lines}
        if any(abs(fen) >= 1 << 40 for fen in theirs.values()):
            return Said(FORMAT)
        details = tuple(
            Detail(
                trace,
                theirs.get(trace, 0),
                (-line.amount_fen if line.is_void else line.amount_fen) if line else 0,
                line.order_id if line else 0,
            )
            for trace in sorted(theirs.keys() | ours.keys())
            for line in (ours.get(trace),)
        )
        wrong = await self._do(EndDetails(terminal.row.id, terminal.code, batch, details))
        if wrong is None:
            return None
        return Said(APPROVED, {"wrong": wrong}) if wrong is not False else Said(BATCH_WRONG)

    async def _do(self, command: Any) -> Any:
        """The book's word; False where it has none, None where its fate is unknown."""
        try:
            said = await self._board.ledger.do(command)
        except LedgerError:
            log.failure("the ledger could not take a terminal's request: it is not answered")
            return None
        return False if said is None else said

    @staticmethod
    def _of(reason: Reason) -> Said:
        return Said(CODES[reason])
