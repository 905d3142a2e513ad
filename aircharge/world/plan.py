"""From a seed to a plan: what outlets ask for, what attackers try, what breaks, and when.

A plan is a list of steps with their own numbers in them, so that a story can be made shorter by leaving steps out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

__all__ = ["COUNTERS", "OUTLETS", "PIN", "POS_PORTS", "Counter", "Plan", "Seat", "Step", "make_plan"]

PIN: Final = "736194"
WRONG_PIN: Final = "111111"
STORM_S: Final = 45.0


@dataclass(frozen=True, slots=True)
class Seat:
    """An outlet of the world."""

    code: str
    phone: str
    iccid: str
    float_fen: int
    language: str = "zh"


OUTLETS: Final = (
    Seat("W1", "13900000001", "89860000000000000001", 2_000_000),
    Seat("W2", "13900000002", "89860000000000000002", 60_000, "en"),  # runs dry
    Seat("W3", "13900000003", "89860000000000000003", 2_000_000),  # has a limit of recharges a day
    Seat("W4", "13900000004", "89860000000000000004", 2_000_000),  # its PIN is tried
)


@dataclass(frozen=True, slots=True)
class Counter:
    """A payment terminal of the world."""

    terminal: str
    outlet: str
    language: str = "iso8583"  # or fsk: a fixed-line terminal behind its gateway
    merchant: str = "898110200000001"

    @property
    def module(self) -> str:
        """The number of its security module."""
        return self.terminal.zfill(16)


COUNTERS: Final = (Counter("10000001", "W1"), Counter("10000002", "W2", "fsk"))
POS_PORTS: Final = {"iso8583": 8583, "fsk": 8584}
"""Where the access server and the gateway connect."""
LIMITED: Final = "W3"
LIMIT_COUNT: Final = 3
TRIED: Final = "W4"

_MODES: Final = ("resend", "query", "reverse", "never")
_FATES: Final = (
    "lose", "swallow", "late", "duplicate", "busy", "refuse", "strange", "disconnect", "cut", "other_ref",
    "reject", "garbage", "contradict",
)  # fmt: skip
_BREAKS: Final = (
    "crash", "crash", "crash_before", "crash_after", "crash_after", "pause", "stop", "cut_operator", "cut_centre",
    "deaf_operator", "deaf_centre", "slow", "pieces", "full", "broken", "fail", "unknown", "clock", "drop_responses",
    "refuse_texts", "freeze", "standby",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is done to the world ``at_s``."""

    at_s: float
    kind: str
    about: dict[str, Any] = field(default_factory=dict)

    def told(self) -> str:
        words = " ".join(f"{key}={value}" for key, value in self.about.items())
        return f"{self.at_s:7.3f} s  {self.kind} {words}".rstrip()


@dataclass(frozen=True, slots=True)
class Plan:
    """One world. ``mode``: how the operator's doubts are resolved; ``late_s``: when it executes late ones."""

    seed: int
    mode: str
    starts_ms: int
    late_s: float
    steps: tuple[Step, ...]

    def without(self, gone: set[int]) -> Plan:
        """The same world with some steps, by their place, left out."""
        steps = tuple(step for place, step in enumerate(self.steps) if place not in gone)
        return Plan(self.seed, self.mode, self.starts_ms, self.late_s, steps)

    def story(self) -> str:
        head = f"seed {self.seed}: doubts by {self.mode!r}, late executions after {self.late_s:.1f} s"
        return "\n".join([head, *(step.told() for step in self.steps)])


_NOON_MS: Final = 1_773_115_200_000  # 2026-03-10 12:00 in Shanghai
_MIDNIGHT_MS: Final = _NOON_MS + 12 * 3_600_000


def make_plan(seed: int) -> Plan:
    """The same seed gives the same plan, on every machine."""
    chance = Random(f"plan {seed}")
    starts_ms = _MIDNIGHT_MS - 25_000 if chance.random() < 0.25 else _NOON_MS + chance.randrange(3_600_000)
    steps = [*_asking(chance), *_breaking(chance)]
    if chance.random() < 0.35:
        steps += _trying_pins(chance)
    ringing = list(_ringing(Random(f"tills {seed}")))
    steps += ringing
    if ringing:
        steps += _misusing(Random(f"misused tills {seed}"))
    steps += _delivering_late(Random(f"late deliveries {seed}"))
    steps.sort(key=lambda step: step.at_s)
    return Plan(seed, chance.choice(_MODES), starts_ms, chance.uniform(3.0, 25.0), tuple(steps))


def _asking(chance: Random) -> Iterator[Step]:
    """What outlets and attackers send."""
    targets: list[tuple[float, str, str, int]] = []
    for number in range(chance.randint(14, 26)):
        at_s = chance.uniform(1.0, STORM_S)
        seat = chance.choice(OUTLETS[:3])
        target = f"138{chance.randrange(10_000, 99_999)}{number:03d}"
        amount_fen = chance.choice((3_000, 5_000, 10_000))
        about: dict[str, Any] = {"outlet": seat.code, "target": target, "amount_fen": amount_fen}
        fates = [chance.choice(_FATES) for _ in range(chance.choice((0, 0, 1, 1, 2)))]
        if fates:
            about["fates"] = fates
        if chance.random() < 0.3:
            yield Step(at_s, "plain", about)
        else:
            twin = chance.random()
            if twin < 0.15:
                about["twin"] = chance.choice(("mac", "body"))  # a forged copy overtakes it
            elif twin < 0.25:
                about["deaf"] = True  # the centre does not hear the first answer
            yield Step(at_s, "card", about)
        targets.append((at_s, seat.code, target, amount_fen))
        yield from _after(chance, *targets[-1])
    for _ in range(chance.randint(0, 3)):
        about = {"outlet": "W1", "to": chance.choice(("W2", "W3")), "yuan": chance.choice((20, 30, 50))}
        yield Step(chance.uniform(1.0, STORM_S), "transfer", about)
    for _ in range(chance.randint(0, 3)):
        seat = chance.choice(OUTLETS[:3])
        yield Step(
            chance.uniform(1.0, STORM_S),
            "question",
            {"outlet": seat.code, "text": chance.choice(("00", "11", "10"))},
        )


def _after(chance: Random, at_s: float, code: str, target: str, amount_fen: int) -> Iterator[Step]:
    """What may follow a recharge: the centre delivers again, an attacker replays, the outlet asks again or repents."""
    mark, later_s = chance.random(), at_s + chance.uniform(0.05, 20.0)
    if mark < 0.15:
        yield Step(later_s, "resend", {"outlet": code})
    elif mark < 0.25:
        yield Step(later_s, "replay", {"outlet": code})
    elif mark < 0.35:
        yield Step(later_s, "reconfirm", {"outlet": code})
    elif mark < 0.55:
        about: dict[str, Any] = {"outlet": code, "target": target, "amount_fen": amount_fen}
        if chance.random() < 0.5:
            about["fates"] = [chance.choice(_FATES)]
        yield Step(later_s, "reversal", about)


_FAULTS: Final = (
    "lose-answer", "lose-answer", "repeat", "wrong-mac", "trailing", "other-content", "never-sent", "overtaken",
)  # fmt: skip


def _ringing(chance: Random) -> Iterator[Step]:
    """What happens at terminals, in two worlds of five: sales that get lost, are repeated, taken back, voided."""
    if chance.random() < 0.6:
        return
    for number in range(chance.randint(4, 10)):
        at_s = chance.uniform(1.0, STORM_S)
        counter = chance.choice(COUNTERS)
        target = f"139{chance.randrange(10_000, 99_999)}{number:03d}"
        about: dict[str, Any] = {
            "terminal": counter.terminal,
            "outlet": counter.outlet,
            "target": target,
            "amount_fen": chance.choice((3_000, 5_000)),
        }
        if chance.random() < 0.5:
            about["fault"] = chance.choice(_FAULTS)
        if chance.random() < 0.4:
            about["fates"] = [chance.choice(_FATES) for _ in range(chance.choice((1, 2)))]
        yield Step(at_s, "till", about)
        mark = chance.random()
        if mark < 0.3:
            yield Step(at_s + chance.uniform(0.5, 15.0), "till_void", {"terminal": counter.terminal})
        elif mark < 0.5:
            yield Step(at_s + chance.uniform(0.5, 15.0), "till_replay", {"terminal": counter.terminal})
    for _ in range(chance.randint(0, 2)):
        kind = chance.choice(("cut_tills", "deaf_tills"))
        yield Step(chance.uniform(1.0, STORM_S), kind)


def _delivering_late(chance: Random) -> Iterator[Step]:
    """In two worlds of five messages without a time come again, most when the old memory of a minute is over."""
    if chance.random() < 0.6:
        return
    for number in range(chance.randint(2, 5)):
        at_s = chance.uniform(1.0, STORM_S)
        target = f"137{chance.randrange(10_000, 99_999)}{number:03d}"
        about: dict[str, Any] = {
            "outlet": chance.choice(OUTLETS[:3]).code,
            "target": target,
            "amount_fen": 3_000,
        }
        mark = chance.random()
        if mark < 0.5:
            about["fates"] = ["refuse"]
        yield Step(at_s, "timeless", about)
        if mark > 0.7:
            yield Step(at_s + chance.uniform(2.0, 30.0), "reversal", dict(about))
        for _ in range(chance.choice((1, 1, 2))):
            yield Step(at_s + chance.uniform(1.0, 130.0), "late_again", {"target": target})
        if chance.random() < 0.4:  # and the shopkeeper means it once more
            yield Step(at_s + chance.uniform(131.0, 140.0), "insisting", dict(about))


def _misusing(chance: Random) -> Iterator[Step]:
    """Clerks who take back what they heard, and terminals that are replaced within their batch."""
    for counter in COUNTERS:
        for late_s in (0.0, 8.0):
            yield Step(
                STORM_S + late_s + chance.uniform(-5.0, 3.0), "till_misuse", {"terminal": counter.terminal}
            )
    if chance.random() < 0.3:
        about = {"terminal": chance.choice(COUNTERS).terminal}
        yield Step(chance.uniform(STORM_S / 4, STORM_S), "till_replaced", about)


def _breaking(chance: Random) -> Iterator[Step]:
    """What breaks."""
    for _ in range(chance.randint(3, 12)):
        kind = chance.choice(_BREAKS)
        about: dict[str, Any] = {}
        if kind in ("crash_before", "crash_after", "fail", "unknown"):
            about["commits"] = chance.randint(1, 6)
        elif kind in ("slow", "pieces", "full", "pause"):
            about["for_s"] = round(chance.uniform(0.5, 20.0 if kind != "pause" else 25.0), 3)
        elif kind == "clock":
            about["by_s"] = chance.choice((-40, -3, 2, 30, 90))
        elif kind in ("drop_responses", "refuse_texts"):
            about["n"] = chance.randint(1, 4)
        if kind.startswith("crash"):
            about["silent"] = chance.random() < 0.3
        if kind in ("crash", "crash_before", "crash_after", "broken", "standby"):
            about["down_s"] = round(chance.uniform(0.3, 6.0), 3)
        yield Step(chance.uniform(1.0, STORM_S + 5.0), kind, about)


def _trying_pins(chance: Random) -> Iterator[Step]:
    """Three wrong PINs, and then the right one, which must not open anything for half an hour."""
    at_s = chance.uniform(1.0, STORM_S / 2)
    for number in range(3):
        at_s += chance.uniform(0.2, 3.0)
        yield Step(at_s, "wrong_pin", {"outlet": TRIED, "target": f"1370000000{number}", "amount_fen": 5_000})
    if chance.random() < 0.7:
        at_s += chance.uniform(0.2, 3.0)
        yield Step(at_s, "crash", {"silent": False, "down_s": 0.5})
    at_s += chance.uniform(5.0, 15.0)
    yield Step(at_s, "locked", {"outlet": TRIED, "target": "13700000009", "amount_fen": 5_000})
