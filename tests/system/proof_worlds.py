"""The long proof's part ``worlds``: simulated worlds until there were a million faults; goes on where it was ended.

``python -m tests.system.proof_worlds --faults 1000000 [--jobs 2]``; ``make proof`` runs it with the rest. The count is
in ``var/worlds.json`` and belongs to one text of the product; the result is written to docs/proof/worlds.md.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from aircharge.world.loop import Tally
from tests.system.proof_text import ROOT, append_title

__all__ = ["FAULTS", "PAGE", "go_on", "main", "written"]

FAULTS = 1_000_000
STATE = ROOT / "var" / "worlds.json"
PAGE = ROOT / "docs" / "proof" / "worlds.md"
_STEP = 200
_HEAD = """# Simulated worlds: results

What `make proof` and `make world` have found, newest last. What a world is, what breaks in it and what is looked at
afterwards: [README.md](README.md).

"""


def go_on(faults: int, jobs: int, product: str) -> Tally:
    """More worlds until there were so many faults; SIGINT or SIGTERM ends it after the worlds under way."""
    ending: list[int] = []
    before = {
        number: signal.signal(number, lambda received, _frame: ending.append(received))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        return _until(faults, jobs, product, ending)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _until(faults: int, jobs: int, product: str, ending: list[int]) -> Tally:
    mark = STATE.with_suffix(".product")
    if not mark.exists() or mark.read_text() != product:
        STATE.unlink(missing_ok=True)
        STATE.parent.mkdir(exist_ok=True)
        mark.write_text(product)
    while (tally := Tally.load(STATE)).faults_total < faults and not ending:
        command = [
            "-m",
            "aircharge.cli",
            "prove",
            "--runs",
            str(_STEP),
            "--jobs",
            str(jobs),
            "--state",
            str(STATE),
        ]
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, check=False, capture_output=True, text=True
        )
        if done.returncode not in (0, 1):
            sys.stderr.write(done.stderr[-2000:])
            break
        sys.stdout.write(done.stdout.splitlines()[-1] + "\n" if done.stdout else "no answer\n")
        sys.stdout.flush()
    return tally


def written(tallies: Iterable[tuple[str, Tally]], command: str, page: Path = PAGE) -> None:
    """Append a section: a row a run (its commit and seeds), and how often each fault came."""
    rows = list(tallies)
    faults: Counter[str] = Counter()
    lines = [
        "| commit | worlds, the last seed | faults | orders | lives of daemons | worlds with a problem |",
        "|---|---|---|---|---|---|",
    ]
    for commit, tally in rows:
        faults.update(tally.faults)
        failed = ", ".join(tally.failed) or "none"
        lines.append(
            f"| {commit} | {tally.worlds:,}, {tally.next_seed - 1} | {tally.faults_total:,} | {tally.orders:,} |"
            f" {tally.lives:,} | {failed} |"
        )
    together = sum(faults.values())
    lines += ["", f"**{together:,} faults in {sum(tally.worlds for _, tally in rows):,} worlds.**", ""]
    lines += [", ".join(f"{name} {count:,}" for name, count in sorted(faults.items())) + ".", ""]
    append_title(page, _HEAD, command, lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system.proof_worlds", description=__doc__)
    parser.add_argument("--faults", type=int, default=FAULTS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--product", default="", help="a mark of the product's text")
    options = parser.parse_args(arguments)
    tally = go_on(options.faults, options.jobs, options.product)
    if tally.faults_total >= options.faults:
        written([("this", tally)], f"python -m tests.system.proof_worlds --faults {options.faults}")
    sys.stdout.write(json.dumps({"faults": tally.faults_total, "failed": tally.failed}) + "\n")
    return 0 if tally.faults_total >= options.faults and not tally.failed else 1


if __name__ == "__main__":
    sys.exit(main())
