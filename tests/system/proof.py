"""The long proof: ``python -m tests.system.proof [--kills 2000] [--seed N] [--part kills]``; results go to docs/proof.

Parts: whole daemons that are all given the same requests (fleet), the fuzzer through the real doors (doors), worlds
that go wrong until there were so many kills (kills), planted bugs (mutants), simulated worlds until there were a
million faults (worlds). It may be ended at any
time: the worlds that are done are in ``var/proof.json`` and ``var/worlds.json``, and the next run of the same product
goes on from there. SIGINT or SIGTERM ends it after the world under way, with what it has so far written to docs/proof.
Exit code 0 only when all is done and nothing was found.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.doors.__main__ import main as doors
from tests.postgres import Cluster, programs
from tests.system import proof_worlds
from tests.system.audit import Audit
from tests.system.fleet import FleetPlan, run_fleet
from tests.system.mutants import MUTANTS
from tests.system.points import DISK, OUTSIDE, POINTS
from tests.system.proof_text import ROOT, fleet_result, write_fleet, write_kills
from tests.system.rig import DOUBTS, Report, WorldPlan, run_world

__all__ = ["RUNS_MAX", "hunt", "main", "mutant_plan", "planned"]

STATE = ROOT / "var" / "proof.json"
RUNS_MAX = 6
PARTS = ("fleet", "doors", "kills", "mutants", "worlds")
DOORS_MIN = 60.0
ENGINES = ("sqlite", "postgresql")
FLEETS = tuple((daemons, share) for daemons in (2, 4) for share in (2.0, 0.5))


class Progress:
    """What earlier runs have done, kept in a file: worlds with their results, by number."""

    def __init__(self, seed: int, kills: int) -> None:
        """Goes on with what there is, unless that is done or of another product."""
        self.is_ending = False
        state: dict[str, Any] = json.loads(STATE.read_text("utf-8")) if STATE.exists() else {}
        self.reports = [_report(row) for row in state.get("worlds", ())]
        if state.get("product") != _product() or self.kills >= kills:
            state = {"product": _product(), "seed": seed, "worlds": []}
            self.reports = []
        self._state = state
        self.seed: int = state["seed"]

    @property
    def kills(self) -> int:
        return sum(report.killed for report in self.reports)

    def add(self, report: Report) -> None:
        self.reports.append(report)
        row = dataclasses.asdict(
            dataclasses.replace(report, kills=Counter())
        )  # which takes a Counter's items for keys
        row |= {"kills": dict(report.kills), "folder": str(report.folder)}
        self._state["worlds"].append(row)
        STATE.parent.mkdir(exist_ok=True)
        made = STATE.with_suffix(".new")
        made.write_text(json.dumps(self._state), "utf-8")
        made.replace(STATE)

    def end(self, _number: int, _frame: object) -> None:
        """A signal's: no further world."""
        self.is_ending = True


def _report(row: dict[str, Any]) -> Report:
    plan = WorldPlan(**{**row["plan"], "points": tuple(row["plan"]["points"])})
    own = {
        "plan": plan,
        "audit": Audit(**row["audit"]),
        "kills": Counter(row["kills"]),
        "folder": Path(row["folder"]),
    }
    return Report(**{**row, **own})


def _product() -> str:
    """The product's text: worlds of another one prove nothing of this."""
    digest = hashlib.sha256()
    for folder in ("aircharge", "migrations"):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.is_file() and file.suffix != ".pyc":
                digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()


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


def planned(seed: int, number: int) -> WorldPlan:
    """All modes on the one engine, then all on the other: every place twice in an order of chance."""
    modes = list(DOUBTS)
    engine = ENGINES[number // len(modes) % (len(ENGINES) if programs() else 1)]
    points = (*POINTS, *OUTSIDE, *(DISK if engine == "sqlite" else ()))
    mode = modes[number % len(modes)]
    return WorldPlan(seed + number, mode, 2 * len(points), points, operator_kills=2, engine=engine)


def _worlds(folder: Path, kills: int, progress: Progress) -> None:
    """Worlds until there were so many kills, those of earlier runs included."""
    server = Cluster("log_min_messages=error", durable=True) if programs() else None
    try:
        while progress.kills < kills and not progress.is_ending:
            plan = planned(progress.seed, len(progress.reports))
            place = server if plan.engine == "postgresql" else None
            report = run_world(folder / f"world{plan.seed}", plan, place)
            progress.add(report)
            _say(
                f"world {plan.seed} ({plan.mode}, {plan.engine}): {report.killed} kills, {_verdict(report)},"
                f" {report.took_s:.0f} s; {progress.kills} of {kills}"
            )
            if report.audit.clean:
                shutil.rmtree(report.folder)
    finally:
        if server:
            server.stop()


def _mutants(folder: Path, seed: int) -> dict[str, Report | None]:
    caught = {}
    for name in MUTANTS:
        report = caught[name] = hunt(folder, name, seed)
        _say(f"{name}: {'SURVIVED' if report is None else _verdict(report)}")
    return caught


def _fleets(folder: Path, seed: int, command: str) -> bool:
    """Whole daemons on one PostgreSQL; whether nothing was found."""
    if programs() is None:
        _say("PEER MISSING: postgresql; no fleet of daemons")
        return False
    server, reports = Cluster("log_min_messages=error", durable=True), []
    try:
        for daemons, share in FLEETS:
            plan = FleetPlan(daemons, share=share, seed=seed)
            reports.append(run_fleet(folder / f"fleet{daemons}.{share}", server, plan))
            _say(fleet_result(reports[-1]))
    finally:
        server.stop()
    write_fleet(reports, command)
    return not any(report.problems for report in reports)


def _verdict(report: Report) -> str:
    problems = report.audit.problems
    return "clean" if not problems else f"{len(problems)} problems, the first: {problems[0]}"


def _say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run, write, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.proof", description=__doc__)
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--faults", type=int, default=proof_worlds.FAULTS, help="of simulated worlds")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument(
        "--doors", type=float, default=DOORS_MIN, help="minutes of the fuzzer through the doors"
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="only this (again for more)")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the worlds")
    options = parser.parse_args()
    parts = options.part or PARTS
    folder = Path(tempfile.mkdtemp(prefix="aircharge-proof-"))
    progress = Progress(options.seed, options.kills)
    command = f"python -m tests.system.proof --kills {options.kills} --seed {progress.seed}"
    command += "".join(f" --part {part}" for part in options.part or ())
    is_proved = "fleet" not in parts or _fleets(folder, progress.seed, command)
    if "doors" in parts:
        through = ["--seed", str(progress.seed), "--minutes", str(options.doors), "--write"]
        is_proved &= doors(through) == 0
    mutants: dict[str, Report | None] = {}
    if "mutants" in parts:
        mutants = _mutants(folder, progress.seed)
        calm = run_world(folder / "calm", mutant_plan("send_first", progress.seed, kills=0))
        _say(f"send_first without kills: {_verdict(calm)}")
        is_proved &= None not in mutants.values() and calm.audit.clean
    if "kills" in parts:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, progress.end)
        _worlds(folder, options.kills, progress)
        is_whole = {*POINTS, *OUTSIDE} <= {point for report in progress.reports for point in report.kills}
        is_proved &= is_whole and progress.kills >= options.kills
        is_proved &= all(report.audit.clean for report in progress.reports)
    if {"kills", "mutants"} & set(parts):
        write_kills(progress.reports if "kills" in parts else [], mutants, command)
    if "worlds" in parts and not progress.is_ending:
        is_proved &= proof_worlds.main(["--faults", str(options.faults), "--product", _product()]) == 0
    if is_proved and not options.keep:
        shutil.rmtree(folder)
    else:
        _say(f"the worlds are in {folder}")
    _say(f"{'proved' if is_proved else 'NOT PROVED'}; written to docs/proof")
    return 0 if is_proved else 1


if __name__ == "__main__":
    sys.exit(main())
