"""Who may come in now: new work is admitted, waits for its turn, or is refused before the hold (docs/overload.md).

Refusal(BUSY) is what a door answers with its code for "later" (SMPP 0x58, ISO 8583 DE 39 = 91, HTTP 503): nothing was
written, nobody is told by SMS. Answers of operators, settlement, reversals, recovery and reports of loss never ask.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aircharge.errors import Reason, Refusal
from aircharge.observe.metrics import Counter, Registry
from aircharge.ports import Clock
from aircharge.switch.lane import Lane
from aircharge.switch.workload import AdmissionSettings, Work

__all__ = ["HOUSE", "Admission", "Crowded", "Turn"]

log = Logger()

HOUSE: Final = 0
"""The lane of what no operator is asked for: questions, transfers, deposits."""

_TOLD_S: Final = 10.0  # the log is told of load so often at most


class Crowded(Refusal):
    """BUSY: too much to do for work of this class in this lane (``for_all``), or from this outlet."""

    def __init__(self, number: int, work: Work, why: str) -> None:
        super().__init__(Reason.BUSY, f"{work.name.lower()}: {why}")
        self.number = number
        self.work = work
        self.for_all = why in ("load", "room")


class Turn:
    """One piece of new work: ``async with`` from its coming in until the ledger has it."""

    __slots__ = (
        "_admission",
        "is_asking",
        "lane",
        "number",
        "order_id",
        "outlet",
        "ready",
        "since_s",
        "work",
    )

    lane: Lane[Turn]
    since_s: float  # waiting since, then with the ledger since, then with the operator since

    def __init__(self, admission: Admission, number: int, outlet: str, work: Work) -> None:
        self._admission = admission
        self.number = number
        self.outlet = outlet
        self.work = work
        self.order_id = 0  # set: an operator is asked about this order next, and ``Admission.ended`` follows
        self.ready: Deferred[None] | None = None  # while it waits
        self.is_asking = False  # the operator has it

    async def __aenter__(self) -> Turn:
        ready = self._admission.enter(self)
        if ready is not None:
            await ready
        return self

    async def __aexit__(self, *error: object) -> None:
        self._admission.held(self)


class Admission:
    """One place for all doors: a Turn around the ledger's part, then ``answered`` and ``ended`` of its order."""

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
        self._lanes: dict[int, Lane[Turn]] = {}
        self._levels = self.settings.levels()  # by the ledger's load
        self._shares = self.settings.shares
        self._holding: OrderedDict[Turn, None] = OrderedDict()  # the oldest first
        self._carried: dict[int, Turn] = {}
        self._closing = 0  # answered, and not ended
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
            lane = Lane(self.settings, self._windows.get(turn.number), now_s)
            self._lanes[turn.number] = lane
        turn.lane = lane
        if turn.work < self._level(now_s) or self._is_late_for(turn.number, turn.work, now_s):
            raise self._refusal(turn, "load")
        if not lane.room and self._has_hands() and lane.has_window(now_s):
            self._admit(turn, now_s)
            return None
        if not lane.room.put(turn.work, turn.outlet, turn):
            if lane.is_roomy(turn.work):
                raise self._refusal(turn, "outlet")
            lane.keep_for(turn.work, now_s)
            raise self._refusal(turn, "room")
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
            turn.is_asking = True
            self._carried[turn.order_id] = turn
        else:
            turn.lane.busy -= 1
        if self._waiters:
            self._pump()

    def answered(self, order_id: int) -> None:
        """The operator has answered, or will not; what it comes to is to be written.

        Orders that never came in here (reversals, adopted ones) are passed over, by ``ended`` as well.
        """
        turn = self._carried.get(order_id)
        if turn is not None and turn.is_asking:
            turn.is_asking = False
            turn.lane.answered(self._clock.monotonic_s(), turn.since_s)
            self._closing += 1

    def ended(self, order_id: int) -> None:
        """What the operator said is written, or is left to doubt resolution."""
        self.answered(order_id)
        if self._carried.pop(order_id, None) is not None:
            self._closing -= 1
            if self._waiters:
                self._pump()

    def sheds(self, work: Work) -> bool:
        """Whether this class is refused now, or would be, whatever it is about."""
        now_s = self._clock.monotonic_s()
        return work < self._level(now_s) or self._is_late_for(HOUSE, work, now_s)

    def is_roomy(self, number: int, work: Work) -> bool:
        """Whether a class that was refused in a lane would find much room there again."""
        now_s = self._clock.monotonic_s()
        return work >= self._levels.level and all(
            lane.is_roomy(work) and not lane.is_kept_for(work, now_s) for lane in self._reach(number)
        )

    @property
    def level(self) -> int:
        """How many classes are refused now."""
        return sum(self.sheds(work) for work in Work)

    @property
    def waiting(self) -> int:
        return sum(len(lane.room) for lane in self._lanes.values())

    @property
    def holding(self) -> int:
        return len(self._holding)

    # -- load ---------------------------------------------------------------------------------------------

    def _level(self, now_s: float) -> int:
        """How many classes the ledger's load keeps out."""
        settings = self.settings
        load = self._ledger_waiting() / settings.ledger_waiting_high
        if self._holding:
            oldest_s = now_s - next(iter(self._holding)).since_s
            load = max(load, oldest_s / settings.hold_slow_s)
        return self._levels.see(load)

    def _reach(self, number: int) -> Iterable[Lane[Turn]]:
        """The lanes whose load is this one's: what asks no operator yields to what asks any."""
        lane = self._lanes.get(number)
        return self._lanes.values() if lane is None or number == HOUSE else (lane,)

    def _is_late_for(self, number: int, work: Work, now_s: float) -> bool:
        """Whether more important work is refused, or so much waits that this class would not be let in to wait."""
        share = self._shares[work]
        return any(
            lane.is_kept_for(work, now_s) or (number == HOUSE and len(lane.room) and lane.room.fill >= share)
            for lane in self._reach(number)
        )

    def _refusal(self, turn: Turn, why: str) -> Crowded:
        work = turn.work
        counter = self._shed.get((work, why))
        if counter is None:
            counter = self._shed[work, why] = (self._registry or Registry()).counter(
                "shed_total", "new work refused before the hold", work=work.name.lower(), why=why
            )
        counter.add()
        self._tell(work)
        return Crowded(turn.number, work, why)

    def _tell(self, work: Work) -> None:
        """The log hears of it now and then."""
        now_s = self._clock.monotonic_s()
        if now_s - self._told_s >= _TOLD_S:
            self._told_s = now_s
            log.warn(
                "too much to do: {work} refused; {waiting} wait, {holding} are being written",
                work=work.name.lower(),
                waiting=self.waiting,
                holding=len(self._holding),
            )

    def _has_hands(self) -> bool:
        return len(self._holding) + self._closing < self.settings.hands_max

    # -- turns --------------------------------------------------------------------------------------------

    def _admit(self, turn: Turn, now_s: float) -> None:
        if not turn.lane.busy:
            turn.lane.heard_s = now_s
        turn.lane.busy += 1
        turn.since_s = now_s
        self._holding[turn] = None

    def _pump(self) -> None:
        """Admit whoever's turn it is: the highest class, outlet after outlet."""
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
        if not self._has_hands():
            return None
        self._turn += 1  # of lanes with equal classes another one each time
        lanes = list(self._lanes.values())
        best: Lane[Turn] | None = None
        for step in range(len(lanes)):
            lane = lanes[(self._turn + step) % len(lanes)]
            if lane.room and lane.has_window(now_s) and (best is None or lane.room.top > best.room.top):
                best = lane
        turn = best.room.take() if best is not None else None
        if turn is not None:
            self._admit(turn, now_s)
        return turn

    def _expire(self, now_s: float) -> None:
        """Refuse what has waited too long: its sender has given up, or will ask again."""
        while self._waiters:
            turn = self._waiters[0]
            if turn.ready is not None and now_s - turn.since_s < self.settings.wait_max_s:
                return
            self._waiters.popleft()
            ready, turn.ready = turn.ready, None
            if ready is not None:
                turn.lane.room.drop(turn.work, turn.outlet, turn)
                ready.errback(self._refusal(turn, "age"))

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
