"""``python -m tests.doors [--seed N] [--minutes M] [--engine …] [--mutant NAME] [--shrink N]`` (``make fuzz-doors``).

Seeds one after the other, each in a house of its own, on SQLite and PostgreSQL in turn, until the time is over.
Exit code 0 when nothing was found; else the seed, its problems, its last actions, and the folder that is kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.doors.run import Plan, Report, play, shrink
from tests.postgres import Cluster, programs
from tests.system.proof_text import ROOT, append_title

PAGE = ROOT / "docs" / "proof" / "doors.md"
HEAD = """# Through the real doors

The fuzzer of `tests/doors`: the real daemon as a process, reached as outlets, terminals, SMS centres, operators, desks
and strangers reach it; every verb in any order.

"""
LAST = 25


def _say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def _tell(report: Report, *, verbose: bool) -> None:
    plan = report.plan
    verdict = f"{len(report.problems)} problems" if report.problems else "clean"
    _say(f"seed {plan.seed} ({plan.doubts}, {plan.engine}): {verdict}, {report.took_s:.0f} s")
    if report.problems:
        for problem in report.problems[:20]:
            _say(f"  {problem[:400]}")
        _say("  the last actions: " + ", ".join(name for name, _ in report.done[-LAST:]))
        _say(f"  folder: {report.folder}")
    if verbose:
        _say("  " + ", ".join(f"{name} {count}" for name, count in sorted(report.counts.items())))


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.doors", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--minutes", type=float, default=0.0, help="0: this seed alone")
    parser.add_argument("--engine", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--actions", type=int, default=80)
    parser.add_argument("--mutant", default="")
    parser.add_argument("--mode", default="")
    parser.add_argument("--shrink", type=int, default=0, help="so many runs to look for a shorter story")
    parser.add_argument("--write", action="store_true", help="append the result to docs/proof/doors.md")
    parser.add_argument("--go-on", action="store_true", help="after a find, too")
    parser.add_argument("--verbose", action="store_true", help="what was counted, after each seed")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Seeds until the time is over or something is found."""
    options = _options(argv)
    engines = ("sqlite", "postgresql") if options.engine == "both" and programs() else (options.engine,)
    engines = ("sqlite",) if engines == ("both",) else engines
    server = Cluster("log_min_messages=error", durable=True) if "postgresql" in engines else None
    folder = Path(tempfile.mkdtemp(prefix="aircharge-doors-"))
    end, reports, seed = time.monotonic() + 60 * options.minutes, [], options.seed
    try:
        while not reports or time.monotonic() < end:
            engine = engines[len(reports) % len(engines)]
            plan = Plan(seed, engine, options.rounds, options.actions, options.mutant, options.mode)
            place = server if engine == "postgresql" else None
            report = play(folder / f"seed{seed}", plan, None, place)
            reports.append(report)
            _tell(report, verbose=options.verbose)
            if report.problems and options.shrink:
                _shorter(folder, report, options.shrink, place)
            if report.problems and not options.go_on:
                break
            if not report.problems:
                shutil.rmtree(report.folder, ignore_errors=True)
            seed += 1
    finally:
        if server is not None:
            server.stop()
    if options.write:
        _write(reports, argv or sys.argv[1:])
    return int(any(report.problems for report in reports))


def _shorter(folder: Path, report: Report, tries: int, server: Cluster | None) -> None:
    left = shrink(folder, report, tries, server)
    _say(f"  shorter ({len(left)} of {len(report.done)}): {json.dumps(left)}")


def _write(reports: list[Report], argv: list[str]) -> None:
    acts: Counter[str] = sum((report.actions for report in reports), Counter())
    counts: Counter[str] = sum((report.counts for report in reports), Counter())
    found = sum(bool(report.problems) for report in reports)
    took_s = sum(report.took_s for report in reports)
    seeds = f"{reports[0].plan.seed} to {reports[-1].plan.seed}"
    lines = [
        f"{len(reports)} seeds ({seeds}), {took_s / 60:.0f} minutes, {sum(acts.values())} actions; "
        f"seeds with a find: {found}.",
        "",
        "| act | times |",
        "|---|---|",
        *(f"| `{name}` | {count} |" for name, count in sorted(acts.items())),
        "",
        "| counted | |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in sorted(counts.items())),
        "",
    ]
    append_title(PAGE, HEAD, " ".join(("python -m tests.doors", *argv)), lines)


if __name__ == "__main__":
    sys.exit(main())
