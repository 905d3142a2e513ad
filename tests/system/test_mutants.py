"""The harness is only worth something if it sees what it is for: a planted bug is caught; ``make proof`` plants all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.mutants import MUTANTS
from tests.system.proof import RUNS_MAX, hunt, mutant_plan
from tests.system.rig import run_world


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["void_on_timeout"])
def test_the_mutant_is_caught_and_the_product_is_not(tmp_path: Path, name: str) -> None:
    assert name in MUTANTS
    caught = hunt(tmp_path, name)
    assert caught is not None, f"{name} survived {RUNS_MAX} runs: the harness is blind to it"
    sound = run_world(tmp_path / "sound", mutant_plan("", caught.plan.seed, like=name))
    assert sound.audit.problems == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_send_first_shows_only_by_kills(tmp_path: Path) -> None:
    """Else the first row of the table above would prove nothing about killing."""
    plan = mutant_plan("send_first", 31, kills=0)
    assert run_world(tmp_path, plan).audit.problems == []
