"""Worlds in processes of their own: no test runs a reactor, not even a simulated one, in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def _python(*arguments: str, hash_seed: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def worlds(first: int, runs: int, hash_seed: int = 0) -> dict[int, dict[str, Any]]:
    """Verdicts by seed, of ``aircharge prove --json``."""
    arguments = (
        "-m",
        "aircharge.cli",
        "prove",
        "--seed",
        str(first),
        "--runs",
        str(runs),
        "--jobs",
        "1",
        "--json",
    )
    done = _python(*arguments, hash_seed=hash_seed)
    verdicts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(verdicts) == runs, done.stderr[-3000:]
    return {verdict["seed"]: verdict for verdict in verdicts}


def mutant(name: str) -> tuple[int, str]:
    """Exit code (0: caught) and what was said."""
    done = _python("-m", "tests.world.mutants", name)
    return done.returncode, done.stdout + done.stderr[-3000:]


def check_worlds(first: int, runs: int, again: int) -> None:
    """No world has a problem; the first ``again`` run twice, in processes with other hash seeds, have one trace."""
    verdicts = worlds(first, runs, hash_seed=1)
    problems = {seed: verdict["problems"] for seed, verdict in verdicts.items() if verdict["problems"]}
    assert not problems, f"aircharge prove --seed {min(problems)} --runs 1 repeats it: {problems}"
    second = worlds(first, again, hash_seed=2)
    assert {seed: verdict["trace"] for seed, verdict in second.items()} == {
        seed: verdicts[seed]["trace"] for seed in second
    }
    assert len({verdict["trace"] for verdict in verdicts.values()}) == runs
