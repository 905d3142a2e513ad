"""Who may come in now: new work is admitted, waits for its turn, or is refused before the hold (docs/overload.md).

Refusal(BUSY) is what a door answers with its code for "later" (SMPP 0x58, ISO 8583 DE 39 = 91, HTTP 503): nothing was
written, nobody is told by SMS. Answers of operators, settlement, reversals, recovery and reports of loss never ask.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aircharge.errors import Reason, Refusal
from aircharge.observe.metrics import Counter, Registry
from aircharge.ports import Clock
from aircharge.switch.fairness import FairQueue
from aircharge.switch.workload import AdmissionSettings, Work

__all__ = ["HOUSE", "Admission", "Turn"]

log = Logger()

HOUSE: Final = 0
"""The lane of what no operator is asked for: questions, transfers, deposits."""

_SMOOTH: Final = 1 / 32  # weight of the last answer's time in an operator's mean
_PATIENCE_S: Final = 1.0  # what waits behind a full window should be sent within this time
_TOLD_S: Final = 10.0  # the log is told of load so often at most


class Turn:
    """One piece of new work: ``async with`` from its coming in until the ledger has it."""

    __slots__ = ("_admission", "lane", "number", "order_id", "outlet", "ready", "since_s", "work")

    lane: _Lane
    since_s: float  # waiting since, then with the ledger since, then with the operator since

    def __init__(self, admission: Admission, number: int, outlet: str, work: Work) -> None:
        self._admission = admission
        self.number = number
        self.outlet = outlet
        self.work = work
        self.order_id = 0  # set: an operator is asked about this order next, and ``Admission.ended`` follows
        self.ready: Deferred[None] | None = None  # while it waits

    async def __aenter__(self) -> Turn:
        ready = self._admission.enter(self)
        if ready is not None:
            await ready
        return self

    async def __aexit__(self, *error: object) -> None:
        self._admission.held(self)


class _Lane:
    """One operator, or the house."""

    __slots__ = ("answer_s", "busy", "heard_s", "levels", "queue", "settings", "window")

    def __init__(self, settings: AdmissionSettings, window: Callable[[], int] | None, now_s: float) -> None:
        self.settings = settings
        self.window = window
        self.queue: FairQueue[Turn] = FairQueue(settings.waiting_max, settings.outlet_waiting_max)
        self.levels = settings.levels()
        self.busy = 0  # admitted and not ended
        self.answer_s = 0.0  # mean time from the hold to the end of an order
        self.heard_s = now_s  # when the last order ended, or the first began

    def has_room(self, now_s: float) -> bool:
        if self.window is None:
            return True
        window = self.window()
        if self.busy < window:
            return True
        silence_s = max(self.answer_s, now_s - self.heard_s)
        soon = int(window * _PATIENCE_S / silence_s) if silence_s > 0 else self.settings.spare
        return self.busy < window + min(self.settings.spare, soon)

    def ended(self, now_s: float, since_s: float) -> None:
        self.busy -= 1
        self.heard_s = now_s
        self.answer_s += (now_s - since_s - self.answer_s) * _SMOOTH


class Admission:
    """One place for all doors: a Turn around the ledger's part, ``ended`` after the operator's."""

    def __init__(
        self,
        clock: Clock,
        settings: AdmissionSettings | None = None,
        *,
        windows: Mapping[int, Callable[[], int]] | None = None,
        ledger_waiting: Callable[[], int] = lambda: 0,
        registry: Registry | None = None,
        call_later: Callable[..., Any] | None = None,
    ) -> None:
        """``windows``: how much each operator takes at once, by its id; none = no limit. ``ledger_waiting``: commands
        before the writer. ``call_later``: the reactor's; without it what waits is only looked at in its turn."""
        self.settings = settings or AdmissionSettings()
        self._clock = clock
        self._windows = dict(windows or {})
        self._ledger_waiting = ledger_waiting
        self._registry = registry
        self._call_later = call_later
        self._lanes: dict[int, _Lane] = {}
        self._levels = self.settings.levels()  # of the house as a whole
        self._holding: OrderedDict[Turn, None] = OrderedDict()  # the oldest first
        self._carried: dict[int, Turn] = {}
        self._waiters: deque[Turn] = deque()  # in order of arrival; those whose turn came are still in it
        self._is_timed = self._is_pumping = False
        self._turn = 0
        self._shed: dict[tuple[Work, str], Counter] = {}
        self._told_s = float("-inf")

    # -- what is asked of it ------------------------------------------------------------------------------

    def turn(self, number: int, outlet: str, work: Work) -> Turn:
        """``async with`` this around the ledger's part. ``number``: the operator's id, or HOUSE. Refusal(BUSY)."""
        return Turn(self, number, outlet, work)

    def enter(self, turn: Turn) -> Deferred[None] | None:
        """None: come in; else it waits. Raises Refusal(BUSY), or what it waits for fails with it.

        Whoever came in must come to ``held``.
        """
        now_s = turn.since_s = self._clock.monotonic_s()
        lane = self._lanes.get(turn.number)
        if lane is None:
            lane = _Lane(self.settings, self._windows.get(turn.number), now_s)
            self._lanes[turn.number] = lane
        turn.lane = lane
        if turn.work < self._level(lane, now_s):
            raise self._refusal(turn.work, "load")
        if not lane.queue and len(self._holding) < self.settings.holding_max and lane.has_room(now_s):
            self._admit(turn, now_s)
            return None
        if not lane.queue.put(turn.outlet, turn):
            raise self._refusal(turn.work, "room")
        ready: Deferred[None] = Deferred()
        turn.ready = ready
        self._waiters.append(turn)
        self._watch()
        self._pump()
        return ready

    def held(self, turn: Turn) -> None:
        """What came in is on disk, or failed."""
        now_s = self._clock.monotonic_s()
        self._holding.pop(turn, None)
        if turn.order_id:
            turn.since_s = now_s
            self._carried[turn.order_id] = turn
        else:
            turn.lane.busy -= 1
        if self._waiters:
            self._pump()

    def ended(self, order_id: int) -> None:
        """An order has its end, or is in doubt. Orders that never asked (reversals, adopted ones) are passed over."""
        turn = self._carried.pop(order_id, None)
        if turn is None:
            return
        turn.lane.ended(self._clock.monotonic_s(), turn.since_s)
        if self._waiters:
            self._pump()

    def sheds(self, work: Work) -> bool:
        """Whether this class is refused now, whatever it is about."""
        return work < max(self._level(lane, self._clock.monotonic_s()) for lane in self._every_lane())

    @property
    def level(self) -> int:
        """How many classes are refused now, the worst lane's."""
        return max(self._level(lane, self._clock.monotonic_s()) for lane in self._every_lane())

    @property
    def waiting(self) -> int:
        return sum(len(lane.queue) for lane in self._lanes.values())

    @property
    def holding(self) -> int:
        return len(self._holding)

    # -- load ---------------------------------------------------------------------------------------------

    def _every_lane(self) -> list[_Lane]:
        if not self._lanes:
            self._lanes[HOUSE] = _Lane(self.settings, None, self._clock.monotonic_s())
        return list(self._lanes.values())

    def _level(self, lane: _Lane, now_s: float) -> int:
        """Of the house (the ledger) and of the lane; what asks no operator yields to every lane's load."""
        settings = self.settings
        load = self._ledger_waiting() / settings.ledger_waiting_high
        if self._holding:
            oldest_s = now_s - next(iter(self._holding)).since_s
            load = max(load, oldest_s / settings.hold_slow_s)
        house = self._levels.see(load)
        if lane is self._lanes.get(HOUSE):
            own = max(one.levels.see(_below_full(one)) for one in self._lanes.values())
        else:
            own = lane.levels.see(_below_full(lane))
        level = max(house, own)
        if level and now_s - self._told_s >= _TOLD_S:
            self._told_s = now_s
            log.warn(
                "much to do: {waiting} wait, {holding} are being written; refused up to {work}",
                waiting=self.waiting,
                holding=len(self._holding),
                work=Work(level - 1).name.lower(),
            )
        return level

    def _refusal(self, work: Work, why: str) -> Refusal:
        counter = self._shed.get((work, why))
        if counter is None:
            counter = self._shed[work, why] = (self._registry or Registry()).counter(
                "shed_total", "new work refused before the hold", work=work.name.lower(), why=why
            )
        counter.add()
        return Refusal(Reason.BUSY, why)

    # -- turns --------------------------------------------------------------------------------------------

    def _admit(self, turn: Turn, now_s: float) -> None:
        if not turn.lane.busy:
            turn.lane.heard_s = now_s
        turn.lane.busy += 1
        turn.since_s = now_s
        self._holding[turn] = None

    def _pump(self) -> None:
        """Admit whoever's turn it is: lane after lane, outlet after outlet."""
        if self._is_pumping:  # a turn that ends at once comes back here: the loop below goes on
            return
        self._is_pumping = True
        try:
            while (turn := self._next()) is not None:
                ready, turn.ready = turn.ready, None
                assert ready is not None
                ready.callback(None)
        finally:
            self._is_pumping = False

    def _next(self) -> Turn | None:
        """The next turn, already admitted. What waited too long is refused on the way."""
        now_s = self._clock.monotonic_s()
        self._expire(now_s)
        if len(self._holding) >= self.settings.holding_max:
            return None
        lanes = list(self._lanes.values())
        for step in range(len(lanes)):
            lane = lanes[(self._turn + step) % len(lanes)]
            if lane.queue and lane.has_room(now_s):
                self._turn = (self._turn + step + 1) % len(lanes)
                turn = lane.queue.take()
                assert turn is not None
                self._admit(turn, now_s)
                return turn
        return None

    def _expire(self, now_s: float) -> None:
        """Refuse what has waited too long: its sender has given up, or will ask again."""
        while self._waiters:
            turn = self._waiters[0]
            if turn.ready is not None and now_s - turn.since_s < self.settings.wait_max_s:
                return
            self._waiters.popleft()
            ready, turn.ready = turn.ready, None
            if ready is not None:
                turn.lane.queue.drop(turn.outlet, turn)
                ready.errback(self._refusal(turn.work, "age"))

    def _watch(self) -> None:
        """A timer while something waits: when nothing ends, nobody else would look."""
        if self._call_later is not None and not self._is_timed:
            self._is_timed = True
            left_s = self.settings.wait_max_s - (self._clock.monotonic_s() - self._waiters[0].since_s)
            self._call_later(max(left_s, 0.001), self._look)

    def _look(self) -> None:
        self._is_timed = False
        self._pump()
        if self._waiters:
            self._watch()


def _below_full(lane: _Lane) -> float:
    """A lane's load: what waits. Never all: a full room refuses by itself, and by outlet, not by class."""
    return min(lane.queue.fill, 0.999)
