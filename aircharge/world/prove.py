"""Many worlds: run seeds, keep count, make a failing one's story short. For ``aircharge prove`` and the tests."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from twisted.logger import globalLogBeginner

from aircharge.world.audit import audit
from aircharge.world.base import Base
from aircharge.world.plan import Plan, make_plan
from aircharge.world.world import World

__all__ = ["Tally", "Verdict", "base_of_worlds", "main_loop", "prove", "run_plan", "shrink"]

_SHM: Final = Path("/dev/shm")  # noqa: S108  a private folder is made in it
_SLICE: Final = 20
"""Seeds a worker process is given at a time."""


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


# -- many ---------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """How far a proof has come; kept in a file so that it can go on another day."""

    next_seed: int = 1
    worlds: int = 0
    orders: int = 0
    events: int = 0
    lives: int = 0
    seconds: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    failed: dict[str, list[str]] = field(default_factory=dict)  # seed → problems

    def add(self, verdict: Verdict) -> None:
        self.worlds += 1
        self.orders += verdict.orders
        self.events += verdict.events
        self.lives += verdict.lives
        self.faults = dict(Counter(self.faults) + Counter(verdict.faults))
        if verdict.problems:
            self.failed[str(verdict.seed)] = verdict.problems[:20]

    @property
    def faults_total(self) -> int:
        return sum(self.faults.values())

    def told(self) -> str:
        head = (
            f"{self.worlds} worlds, {self.faults_total} faults, {self.orders} orders, {self.lives} lives of daemons, "
            f"{self.events} events, {self.seconds:.0f} s: {len(self.failed)} worlds with problems"
        )
        return "\n".join([head, *(f"  {count:8d}  {name}" for name, count in sorted(self.faults.items()))])

    @classmethod
    def load(cls, path: Path) -> Tally:
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else cls()

    def save(self, path: Path) -> None:
        new = path.with_suffix(".new")
        new.write_text(json.dumps(self.__dict__, indent=1, sort_keys=True), encoding="utf-8")
        new.replace(path)


def quiet() -> None:
    """Nothing of the worlds' logs goes anywhere but into the worlds."""
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)


_base: Base | None = None


def run_slice(seeds: Sequence[int]) -> list[Verdict]:
    """In a worker process, which lives for one slice: what a world leaves behind in memory goes with it."""
    with base_of_worlds() as base:
        return [run_plan(base, make_plan(seed)) for seed in seeds]


def prove(seeds: Iterable[int], jobs: int) -> Iterator[Verdict]:
    """Run them all, ``jobs`` at once; verdicts in the order of the seeds."""
    wanted = list(seeds)
    slices = [wanted[place : place + _SLICE] for place in range(0, len(wanted), _SLICE)]
    if jobs <= 1:
        quiet()
        for piece in slices:
            yield from run_slice(piece)
        return
    with ProcessPoolExecutor(jobs, initializer=quiet, max_tasks_per_child=5) as pool:
        for verdicts in pool.map(run_slice, slices):
            yield from verdicts


def main_loop(
    seed: int | None, runs: int, jobs: int, state: Path | None, say: Callable[[str], Any] = print
) -> int:
    """``aircharge prove``. Returns the process's exit code: 1 when any world has a problem."""
    tally = Tally.load(state) if state else Tally()
    first = tally.next_seed if seed is None else seed
    began_s, before_s = time.monotonic(), tally.seconds
    for verdict in prove(range(first, first + runs), jobs):
        tally.add(verdict)
        tally.next_seed = verdict.seed + 1
        tally.seconds = before_s + time.monotonic() - began_s
        for problem in verdict.problems:
            say(f"seed {verdict.seed}: {problem}")
        if state and tally.worlds % 200 == 0:
            tally.save(state)
            say(tally.told().splitlines()[0])
    if state:
        tally.save(state)
    say(tally.told())
    failed = [int(number) for number in tally.failed if first <= int(number) < first + runs]
    if failed:
        tell_story(failed[0], say)
    return 1 if failed else 0


def tell_story(seed: int, say: Callable[[str], Any]) -> None:
    """A failing seed, made short."""
    say(f"\nseed {seed} made short (aircharge prove --seed {seed} --runs 1 repeats it):")
    with base_of_worlds() as base:
        short = shrink(base, make_plan(seed))
        say(short.story())
        for problem in run_plan(base, short).problems:
            say(f"  → {problem}")


if __name__ == "__main__":
    sys.exit(main_loop(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), None))
