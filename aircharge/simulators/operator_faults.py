"""What may go wrong at the simulated operator, drawn from one seed."""

from __future__ import annotations

import dataclasses
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["FATES", "Fate", "FaultPlan", "Faults"]

FATES: Final = (
    "ok",
    "lose",  # the request is lost before execution
    "swallow",  # executed, the answer lost
    "late",  # executed ``late_s`` after it came; a query meanwhile says "not found"
    "duplicate",  # answered twice
    "contradict",  # answered, then answered otherwise
    "busy",  # 4001, definitely not executed
    "refuse",  # ``refuse_code``
    "strange",  # executed, answered with a code nobody knows
    "disconnect",  # executed, then the line is cut instead of an answer
    "cut",  # the line is cut before execution
    "freeze",  # the line goes half-open: connected, deaf and dumb
    "other_ref",  # executed, answered under another reference
    "reject",  # the argument is called mistyped; not executed
    "garbage",  # executed, answered with octets that are no result
)


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Chances are 0 to 1 and share one draw per request; times are in the unit they name."""

    latency_ms: float = 0.0
    jitter_ms: float = 0.0  # exponential on top of latency_ms: answers overtake each other
    slow_ms: float = 0.0  # for the share ``slow`` of answers
    slow: float = 0.0
    late_s: float = 5.0
    finality_s: float = 60.0  # nothing is executed later than this after it came
    pending_told: bool = False  # a query for a late one says "pending" instead of "not found"
    refuse_code: str = "1001"
    refuse_numbers: dict[str, str] = field(default_factory=dict)  # beginning of the number → code
    strange_code: str = "7777"
    chances: dict[str, float] = field(default_factory=dict)  # fate → chance

    def __post_init__(self) -> None:
        unknown = set(self.chances) - set(FATES)
        if unknown or sum(self.chances.values()) > 1:
            raise ValueError(f"fates are {', '.join(FATES)}; chances sum to at most 1")

    def changed(self, changes: dict[str, Any]) -> FaultPlan:
        """This plan with some settings replaced; a fate may be named at the top level. Raises ValueError."""
        known = {item.name for item in dataclasses.fields(self)}
        chances = {**self.chances, **{name: float(changes[name]) for name in changes if name in FATES}}
        rest = {name: value for name, value in changes.items() if name not in FATES}
        if unknown := set(rest) - known:
            raise ValueError(
                f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known | set(FATES)))}"
            )
        return dataclasses.replace(self, **{"chances": chances, **rest})


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one request."""

    name: str
    code: str  # for refusals and strange answers
    delay_s: float


class Faults:
    """Draws fates; the same seed and the same requests give the same fates."""

    def __init__(self, plan: FaultPlan, seed: int) -> None:
        self.plan = plan
        self._random = random.Random(seed)  # noqa: S311  a simulator repeats itself on purpose
        self._next: deque[tuple[str, str]] = deque()

    def queue(self, fate: str, count: int, code: str = "") -> None:
        """The fate of the next ``count`` money requests. Raises ValueError."""
        if fate not in FATES:
            raise ValueError(f"fates are {', '.join(FATES)}")
        self._next.extend([(fate, code)] * count)

    def draw(self, msisdn: str) -> Fate:
        """The fate of a recharge or reversal."""
        plan = self.plan
        if self._next:
            name, code = self._next.popleft()
            return Fate(name, code or self._code(name), self.delay_s())
        for beginning, code in plan.refuse_numbers.items():
            if msisdn.startswith(beginning):
                return Fate("refuse", code, self.delay_s())
        if plan.chances:
            mark = self._random.random()
            for name, chance in plan.chances.items():
                mark -= chance
                if mark < 0:
                    return Fate(name, self._code(name), self.delay_s())
        return Fate("ok", "", self.delay_s())

    def delay_s(self) -> float:
        plan = self.plan
        delay_ms = plan.latency_ms
        if plan.jitter_ms:
            delay_ms += self._random.expovariate(1 / plan.jitter_ms)
        if plan.slow and self._random.random() < plan.slow:
            delay_ms += plan.slow_ms
        return delay_ms / 1000

    def _code(self, name: str) -> str:
        return {"refuse": self.plan.refuse_code, "strange": self.plan.strange_code}.get(name, "")
