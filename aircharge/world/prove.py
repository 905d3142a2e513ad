"""Run a plan and audit what it leaves; make a failing one's story short."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aircharge.world.audit import audit
from aircharge.world.base import Base
from aircharge.world.plan import Plan
from aircharge.world.world import World

__all__ = ["Verdict", "base_of_worlds", "run_plan", "shrink"]

_SHM: Final = Path("/dev/shm")  # noqa: S108  a private folder is made in it


@dataclass(slots=True)
class Verdict:
    """What one world came to. ``trace``: the hash of all that could be seen from outside."""

    seed: int
    problems: list[str]
    faults: dict[str, int]
    trace: str
    events: int
    orders: int
    lives: int


@contextmanager
def base_of_worlds() -> Iterator[Base]:
    """A folder in memory where there is one, taken away at the end."""
    where = _SHM if _SHM.is_dir() and os.access(_SHM, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="aircharge-world-", dir=where) as folder:
        yield Base(Path(folder) / "base")


def run_plan(base: Base, plan: Plan) -> Verdict:
    """Carry a plan through and audit what it leaves."""
    world = World(base, plan)
    try:
        world.run()
        problems = audit(world)
    finally:
        world.close()
    orders = world.orders()
    return Verdict(
        plan.seed,
        problems,
        dict(world.faults),
        world.timeline.trace,
        world.timeline.events,
        orders,
        world.lives,
    )


def kind_of(problem: str) -> str:
    """A problem without its numbers: the same kind in another story."""
    return "".join(letter for letter in problem.splitlines()[0] if not letter.isdigit())[:40]


def shrink(base: Base, plan: Plan, tries_max: int = 400) -> Plan:
    """Leave out steps as long as a problem of the first kind stays; pieces first, then one by one."""
    kinds = {kind_of(problem) for problem in run_plan(base, plan).problems}
    size, tries = max(len(plan.steps) // 2, 1), 0
    while plan.steps and tries < tries_max:
        shorter = None
        for start in range(0, len(plan.steps), size):
            candidate = plan.without(set(range(start, start + size)))
            tries += 1
            if kinds & {kind_of(problem) for problem in run_plan(base, candidate).problems}:
                shorter = candidate
                break
        if shorter is not None:
            plan = shorter
            size = min(size, max(len(plan.steps), 1))
        elif size == 1:
            break
        else:
            size = max(size // 2, 1)
    return plan
