"""Many worlds: run seeds, keep count, say what came of them. For ``aircharge prove`` and the tests."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from twisted.logger import globalLogBeginner

from aircharge.world.plan import make_plan
from aircharge.world.prove import Verdict, base_of_worlds, run_plan, shrink

__all__ = ["Tally", "main_loop", "prove", "quiet", "tell_story", "told_as_json"]

_SLICE: Final = 20
"""Seeds a worker process is given at a time."""


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


_is_quiet: list[bool] = []


def quiet() -> None:
    """Nothing of the worlds' logs goes anywhere but into the worlds."""
    if _is_quiet:
        return
    _is_quiet.append(True)
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)


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
    with ProcessPoolExecutor(jobs, get_context("spawn"), quiet, max_tasks_per_child=5) as pool:
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


def told_as_json(seed: int, runs: int, jobs: int, say: Callable[[str], Any]) -> int:
    """A line for each world. Returns the exit code, as ``main_loop`` does."""
    code = 0
    for verdict in prove(range(seed, seed + runs), jobs):
        say(json.dumps(asdict(verdict), ensure_ascii=False))
        code = code or bool(verdict.problems)
    return int(code)


def tell_story(seed: int, say: Callable[[str], Any]) -> None:
    """What happens in a world; of a failing one the short story."""
    quiet()
    with base_of_worlds() as base:
        short = make_plan(seed)
        if run_plan(base, short).problems:
            say(f"\nseed {seed} made short (aircharge prove --seed {seed} --runs 1 repeats the whole):")
            short = shrink(base, short)
        say(short.story())
        for problem in run_plan(base, short).problems:
            say(f"  → {problem}")
