"""What the long proof writes to docs/proof: the kill rig's results, and those of several daemons on one ledger."""

from __future__ import annotations

import os
import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.system.fleet import AMOUNT_FEN, OUTLETS, FleetReport
from tests.system.mutants import MUTANTS
from tests.system.points import DISK, OUTSIDE, POINTS
from tests.system.rig import FAULTS, FINALITY_S, LATE_S, NO_KILLS, Report

__all__ = ["ROOT", "append_title", "fleet_result", "write_fleet", "write_kills"]

ROOT = Path(__file__).parents[2]
KILLS = ROOT / "docs" / "proof" / "kill-rig.md"
FLEET = ROOT / "docs" / "proof" / "several-daemons.md"


def write_kills(reports: Sequence[Report], mutants: dict[str, Report | None], command: str) -> None:
    """Append a section to the kill rig's page."""
    _append(KILLS, _head(), [*_title(command), *_worlds(reports), *_mutants(mutants)])


def write_fleet(reports: Sequence[FleetReport], command: str) -> None:
    """Append a section to the page of several daemons."""
    _append(FLEET, _fleet_head(), [*_title(command), *_fleet_table(reports), ""])


def append_title(page: Path, head: str, command: str, lines: Sequence[str]) -> None:
    """Append a section under a title with date, commit, command and machine."""
    _append(page, head, [*_title(command), *lines])


def _append(page: Path, head: str, lines: Sequence[str]) -> None:
    if not page.exists():
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(head, "utf-8")
    with page.open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def _title(command: str) -> list[str]:
    return [
        f"## {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {_commit()}",
        "",
        f"`{command}` on {_machine()}.",
        "",
    ]


# -- several daemons --------------------------------------------------------------------------------------


def fleet_result(report: FleetReport) -> str:
    """One line for whoever watches."""
    plan, found = report.plan, report.audit
    verdict = "clean" if not report.problems else f"PROBLEMS: {report.problems}"
    what = f"{plan.daemons} daemons, {plan.requests} requests each"
    return f"{what}: {found.settled} settled, {verdict}, {report.took_s:.0f} s"


def _fleet_table(reports: Sequence[FleetReport]) -> list[str]:
    lines = [
        "| daemons | requests, each to all | payable | messages answered OK | settled | operator's credits | refused |"
        " deadlocks | orders opened by daemon | seconds | audit and verify |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for report in reports:
        plan, found = report.plan, report.audit
        shares = ", ".join(str(count) for _, count in sorted(report.opened_by.items()))
        verdict = "clean" if not report.problems else f"**{'; '.join(report.problems)}**"
        answered = report.messages.get("answered", 0)
        lines.append(
            f"| {plan.daemons} | {plan.requests} | {plan.payable} | {answered} | {found.settled} | {found.credited} |"
            f" {found.refused} | {report.deadlocks} | {shares} | {report.took_s:.0f} | {verdict} |"
        )
    return lines


def _fleet_head() -> str:
    return f"""# Several daemons on one ledger: results

What `make proof` found, newest last; `tests/system/fleet.py` does it. Whole daemons under `twistd` on one PostgreSQL
with fsync, an SMS centre of its own bound to each, one operator's platform with a durable record of its own and a line
to each. Every daemon is given the same requests, sealed STK messages of {OUTLETS} outlets, each in an order of its own
(a card's messages overtake each other by no more than its counter's window allows), {AMOUNT_FEN // 100} yuan
each. The same request is one order, whoever hears it first: what can be paid must be settled once, and where funds are
short each outlet must end at exactly nothing. Afterwards everything is stopped in order and compared: the operator's
record one to one with the ledger by reference, number and amount, every balance with the journal, deadlocks by the
server's own count and log, and `aircharge verify`.

"""


# -- the kill rig -----------------------------------------------------------------------------------------


def _worlds(reports: Sequence[Report]) -> list[str]:
    if not reports:
        return []
    kills, fates, centre = (
        _sum(report.kills for report in reports),
        _sum(r.fates for r in reports),
        _sum(r.centre for r in reports),
    )
    problems = [f"world {report.plan.seed}: {one}" for report in reports for one in report.audit.problems]
    ends = {name: kills.pop(name, 0) for name in sorted(NO_KILLS)}
    seeds = ", ".join(f"{report.plan.seed} {report.plan.mode} {report.plan.engine}" for report in reports)
    sums = {
        name: sum(getattr(report.audit, name) for report in reports)
        for name in ("orders", "settled", "voided", "refused", "open", "credited", "reversed", "taken_back")
    }
    return [
        f"- **{sum(kills.values())} kills** of the daemon at {len(kills)} points, "
        f"{sum(report.operator_kills for report in reports)} of the operator's platform; "
        f"{sum(report.freezes for report in reports)} sleeps (SIGSTOP, SIGCONT); "
        f"{sum(report.disk_faults for report in reports)} calls refused by the disk. "
        f"The daemon's other ends: {_list(ends)}. {sum(report.took_s for report in reports):.0f} s of worlds.",
        f"- Worlds (seed, doubt mode, engine): {seeds}.",
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
    ]


def _mutants(mutants: dict[str, Report | None]) -> list[str]:
    if not mutants:
        return []
    rows = (_mutant_row(name, report) for name, report in mutants.items())
    return ["| planted bug | caught in run | problems found | one of them |", "|---|---|---|---|", *rows, ""]


def _sum(counts: Iterable[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return total


def _points() -> Iterable[tuple[str, str]]:
    yield from ((name, what) for name, (what, _) in POINTS.items())
    yield from OUTSIDE.items()
    yield from DISK.items()


def _mutant_row(name: str, report: Report | None) -> str:
    if report is None:
        return f"| {name} | **survived** | | |"
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

A world is a fresh ledger on SQLite (FULL) or PostgreSQL (fsync), the simulated operator as a process with a durable
record of its own, an SMS centre, six outlets of which two run out of money, and one life of the daemon
after the other, each ended by SIGKILL (a broken disk apart). What the operator does with a request, beside executing
and answering it:
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
