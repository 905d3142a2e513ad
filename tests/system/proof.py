"""The long proof: ``python -m tests.system.proof [--kills 400] [--seed N]``; its result is written to docs/proof.

Exit code 0 only when every world is clean, every point was died at, and every planted bug was caught.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from tests.system.mutants import MUTANTS
from tests.system.points import OUTSIDE, POINTS
from tests.system.rig import DOUBTS, FAULTS, FINALITY_S, LATE_S, Report, WorldPlan, run_world

__all__ = ["RUNS_MAX", "hunt", "main", "mutant_plan"]

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "proof" / "kill-rig.md"
RUNS_MAX = 6
KILLS_PER_WORLD = 2 * (len(POINTS) + len(OUTSIDE))


def mutant_plan(name: str, seed: int, *, like: str = "", kills: int = 7) -> WorldPlan:
    """A short world in which the bug shows; ``like`` gives the sound product the world of a mutant."""
    mutant = MUTANTS[name or like]
    points = mutant.points or (*POINTS, *OUTSIDE)
    return WorldPlan(seed, mutant.mode, kills, points, name, drain_s=15.0 if name and kills else 100.0)


def hunt(folder: Path, name: str, seed: int = 30) -> Report | None:
    """The first run whose audit has the bug's own evidence, of at most ``RUNS_MAX``; else None."""
    for run in range(RUNS_MAX):
        report = run_world(folder / f"{name}.{run}", mutant_plan(name, seed + run))
        if any(MUTANTS[name].evidence in problem for problem in report.audit.problems):
            return report
    return None


def _worlds(folder: Path, kills: int, seed: int) -> list[Report]:
    reports: list[Report] = []
    left = kills
    while left > 0:
        mode = list(DOUBTS)[len(reports) % len(DOUBTS)]
        plan = WorldPlan(seed + len(reports), mode, KILLS_PER_WORLD, operator_kills=2)
        report = run_world(folder / f"world{plan.seed}", plan)
        reports.append(report)
        left -= report.killed
        _say(f"world {plan.seed} ({mode}): {report.killed} kills, {_verdict(report)}, {report.took_s:.0f} s")
        if report.audit.clean:
            shutil.rmtree(report.folder)
    return reports


def _mutants(folder: Path, seed: int) -> dict[str, Report | None]:
    caught = {}
    for name in MUTANTS:
        report = caught[name] = hunt(folder, name, seed)
        _say(f"{name}: {'SURVIVED' if report is None else _verdict(report)}")
    return caught


def _verdict(report: Report) -> str:
    problems = report.audit.problems
    return "clean" if not problems else f"{len(problems)} problems, the first: {problems[0]}"


def _say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


# -- the result as text -----------------------------------------------------------------------------------


def _result(reports: list[Report], mutants: dict[str, Report | None], calm: Report, command: str) -> str:
    kills: Counter[str] = Counter()
    fates: Counter[str] = Counter()
    centre: Counter[str] = Counter()
    for report in reports:
        kills.update(report.kills)
        fates.update(report.fates)
        centre.update(report.centre)
    problems = [problem for report in reports for problem in report.audit.problems]
    stopped = kills.pop("stopped in order", 0)
    seeds = ", ".join(f"{report.plan.seed} {report.plan.mode}" for report in reports)
    sums = {
        name: sum(getattr(report.audit, name) for report in reports)
        for name in ("orders", "settled", "voided", "refused", "open", "credited")
    }
    lines = [
        f"## {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {_commit()}",
        "",
        f"`{command}` on {_machine()}; {sum(report.took_s for report in reports):.0f} s of worlds.",
        "",
        f"- **{sum(kills.values())} kills** of the daemon at {len(kills)} points, "
        f"{sum(report.operator_kills for report in reports)} of the operator's platform; "
        f"{stopped} times the daemon had stopped in order before the kill came.",
        f"- Worlds (seed and doubt mode): {seeds}.",
        f"- {sum(report.requests for report in reports)} requests: {_list(sums)}; "
        f"open orders were taken up {sum(report.taken_up for report in reports)} times after starts; "
        f"{sum(report.ruled for report in reports)} doubts were decided by two people (mode never).",
        f"- What the operator did: {_list(fates)}.",
        f"- What the SMS centre did: {_list(centre)}.",
        f"- Audit: {'**clean**' if not problems else f'**{len(problems)} problems**'}.",
        *(f"  - {problem}" for problem in problems[:20]),
        "",
        "| point | what has happened by then | kills |",
        "|---|---|---|",
        *(f"| {name} | {what} | {kills[name]} |" for name, what in _points()),
        "",
        "| planted bug | caught in run | problems found | one of them |",
        "|---|---|---|---|",
        *(_mutant_row(name, report) for name, report in mutants.items()),
        "",
        f"`send_first` without any kill (seed {calm.plan.seed}, {calm.requests} requests): {_verdict(calm)}; "
        "it takes the kills to see it.",
        "",
    ]
    return "\n".join(lines) + "\n"


def _points() -> Iterable[tuple[str, str]]:
    yield from ((name, what) for name, (what, _) in POINTS.items())
    yield from OUTSIDE.items()


def _mutant_row(name: str, report: Report | None) -> str:
    if report is None:
        return f"| {name} | **survived {RUNS_MAX} runs** | | |"
    evidence = MUTANTS[name].evidence
    one = next(problem for problem in report.audit.problems if evidence in problem)
    run = int(report.folder.suffix[1:]) + 1
    return f"| {name} | {run} | {len(report.audit.problems)} | {one} |"


def _list(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "aircharge", "migrations")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def _head() -> str:
    chances = ", ".join(
        f"{name} {100 * value:g} %" for name, value in FAULTS.items() if not name.endswith("_ms")
    )
    return f"""# The kill rig: results

What `make proof` found, newest last. How it works: `tests/system/rig.py` (one world), `points.py` (where the daemon
dies), `mutants.py` (planted bugs), `audit.py` (the judge, which shares no code with the product).

A world is a fresh ledger on SQLite (FULL), the simulated operator as a process with a durable record of its own, an
SMS centre, six outlets of which two run out of money, and one life of the daemon after the other, each ended by
SIGKILL. What the operator does with a request, beside executing and answering it:
{chances}.
Its answers are spread over 4 ms + an exponential 10 ms, so they overtake each other; a late execution comes
{LATE_S} s after its request (it says that none comes later than {FINALITY_S} s). The SMS centre: of the unanswered 35 %
are never delivered again, 15 % of the answered are delivered once more, 4 % of STK and referenced messages have a
tampered twin, 10 % of STK recharges are asked about (重复充值), 3 % of our SMS are throttled, 1 % never answered, the
line is cut now and then. At the end the faults stop, every order must become definite, the daemon is stopped in order,
and then the books are compared: one to one by reference, number and amount with the operator's record; at most one
credit per request over all its messages; no message answered OK that is not in the ledger; balances against the
journal; floors; every customer told; nothing logged as an error.

"""


def main() -> int:
    """Run, write, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.proof", description=__doc__)
    parser.add_argument("--kills", type=int, default=400)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--keep", action="store_true", help="keep the folder of the worlds")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="aircharge-proof-"))
    reports = _worlds(folder, options.kills, options.seed)
    mutants = _mutants(folder, options.seed)
    calm = run_world(folder / "calm", mutant_plan("send_first", options.seed, kills=0))
    _say(f"send_first without kills: {_verdict(calm)}")
    command = f"python -m tests.system.proof --kills {options.kills} --seed {options.seed}"
    if not RESULTS.exists():
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(_head(), "utf-8")
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(_result(reports, mutants, calm, command))
    is_whole = {*POINTS, *OUTSIDE} <= {point for report in reports for point in report.kills}
    is_proved = all(report.audit.clean for report in reports) and None not in mutants.values() and is_whole
    if is_proved and not options.keep:
        shutil.rmtree(folder)
    else:
        _say(f"the worlds are in {folder}")
    _say(f"{'proved' if is_proved else 'NOT PROVED'}; written to {RESULTS.relative_to(ROOT)}")
    return 0 if is_proved else 1


if __name__ == "__main__":
    sys.exit(main())
