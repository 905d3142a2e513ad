"""One run: a house of its own, actions drawn from a seed, everything settled after each round, and judged.

An action is a name and a number; what it chooses, it chooses by that number. The list of a seed is always the same,
and a shorter list can be played: ``shrink`` looks for one that still shows a problem of the same kind.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.doors import desk_acts, pos_acts, sms_acts, world_acts
from tests.doors.house import House
from tests.doors.judge import judge
from tests.doors.street import ACTS, QUERY, Street
from tests.postgres import Cluster

__all__ = ["Action", "Plan", "Report", "drawn", "kinds", "play", "shrink"]

MODES = ("resend", "query", "reverse", "never")
assert all((desk_acts, pos_acts, sms_acts, world_acts))  # they enter their acts

OWED_ROUNDS = 5

Action = tuple[str, int]


@dataclass(frozen=True)
class Plan:
    """``engine``: sqlite or postgresql; ``mode``: of doubts, "" = by the seed."""

    seed: int
    engine: str = "sqlite"
    rounds: int = 2
    actions: int = 80  # a round
    mutant: str = ""
    mode: str = ""

    @property
    def doubts(self) -> str:
        return self.mode or MODES[self.seed % len(MODES)]


@dataclass
class Report:
    """What one run came to."""

    plan: Plan
    problems: list[str] = field(default_factory=list)
    actions: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    done: list[Action] = field(default_factory=list)
    took_s: float = 0.0
    folder: Path = Path()


def drawn(plan: Plan) -> list[list[Action]]:
    """The seed's actions, a list a round."""
    rng = random.Random(plan.seed)
    names = list(ACTS)
    weights = [ACTS[name][1] for name in names]
    return [
        [(name, rng.getrandbits(48)) for name in rng.choices(names, weights, k=plan.actions)]
        for _ in range(plan.rounds)
    ]


def play(
    folder: Path, plan: Plan, rounds: list[list[Action]] | None = None, server: Cluster | None = None
) -> Report:
    """From an empty ledger to the last judgement; ends at the first round with a problem."""
    rounds = drawn(plan) if rounds is None else rounds
    report = Report(plan, folder=folder)
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "actions.json").write_text(json.dumps(rounds), "utf-8")
    house = House(folder, plan.seed, plan.doubts, plan.mutant, server)
    street = Street(house, plan.seed)
    try:
        house.start_operator()
        house.start()
        house.until("the SMS centre to be bound", lambda: house.centre.is_bound)
        for number, actions in enumerate(rounds, 1):
            _act(street, actions, report)
            _settle(street)
            report.problems += [f"round {number}: {problem}" for problem in judge(street)]
            if report.problems:
                break
    except Exception as error:  # the daemon is gone, or a door is shut: a find like any other
        report.problems.append(f"{type(error).__name__}: {error}")
    finally:
        _count(street, report)
        house.stop()
    report.took_s = time.monotonic() - began
    return report


def _act(street: Street, actions: list[Action], report: Report) -> None:
    house = street.house
    house.centre.is_calm = False
    for name, number in actions:
        house.check_alive()
        rng = random.Random(number)
        report.done.append((name, number))
        report.actions[name] += 1
        street.read_pins()
        ACTS[name][0](street, rng)
        house.turn_for(rng.choice((0.0, 0.0, 0.02, 0.1, 0.4)))


def _settle(street: Street) -> None:
    """The storm is over: the operator answers, terminals clear what they owe, people decide; outlets ask for 00."""
    house = street.house
    house.centre.is_calm, house.centre.drops_response = True, 0.0
    house.instance.operator("faults", reset=True)
    house.until("the line to the operator", house.instance._has_line)
    house.until("the SMS centre to be bound", lambda: house.centre.is_bound)
    house.until("the tills to end what they do", lambda: not house.tasks)
    for till in street.tills.values():
        if till.is_blocked:
            house.type("outlet", "terminal", till.outlet, till.code, "--lift", "--actor", "anna")
            house.approve()
            till.is_blocked = False
    for outlet in street.outlets:
        if outlet.is_frozen:
            house.type("outlet", "freeze", outlet.code, "--lift", "--actor", "anna")
            outlet.is_frozen = False
        house.type("outlet", "pin", outlet.code, "--unlock", "--actor", "anna")
    house.approve()
    for _ in range(OWED_ROUNDS):
        for till in street.tills.values():
            till.begin(till.pay_back())
        house.until("the tills to end what they do", lambda: not house.tasks)
        house.settle()
        if not any(till.terminal.memory.owed for till in street.tills.values()):
            break
    street.read_pins()
    for outlet in street.outlets:
        street.plain(outlet, f"00 {outlet.pin}", QUERY)
    house.until("the balances", house.is_quiet)
    house.until("readiness", house.is_ready)


def _count(street: Street, report: Report) -> None:
    house = street.house
    report.counts = house.counts + street.counts + house.centre.counts
    report.counts["texts read"] = sum(len(texts) for texts in house.centre.inbox.values())
    try:
        for kind, state, count in house.rows("SELECT kind, state, count(*) FROM txn GROUP BY 1, 2"):
            report.counts[f"orders of kind {kind} in state {state}"] = count
        [(report.counts["credited by the operator"],)] = house.record(
            "SELECT count(*) FROM credit WHERE amount_fen > 0"
        )
    except Exception as error:  # a ledger that cannot be read is counted by its problem
        report.problems.append(f"afterwards: {error!r}")


def kinds(problems: list[str]) -> set[str]:
    """Problems without their numbers and names: what two runs have in common."""
    return {re.sub(r"[0-9]+|D[1-5]", "#", re.sub(r"^round \d+: ", "", one))[:60] for one in problems}


def shrink(folder: Path, report: Report, tries: int, server: Cluster | None = None) -> list[Action]:
    """A shorter list of actions after which a problem of the same kind is there."""
    wanted, left = kinds(report.problems), list(report.done)
    size = max(len(left) // 2, 1)
    while tries > 0 and size >= 1:
        at = 0
        while at < len(left) and tries > 0:
            shorter = left[:at] + left[at + size :]
            tries -= 1
            again = play(folder / f"shorter{tries}", report.plan, [shorter], server)
            if kinds(again.problems) & wanted:
                left = list(again.done)
            else:
                at += size
        size //= 2
    return left
