"""The fuzzer through the real doors: its short form, and that it sees what it is for; ``make fuzz-doors`` goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doors.run import Plan, drawn, kinds, play
from tests.doors.street import ACTS


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_short_storm_harms_nobody(tmp_path: Path) -> None:
    report = play(tmp_path / "house", Plan(1, rounds=1, actions=90))
    assert report.problems == []
    assert report.counts["credited by the operator"] >= 5
    assert report.counts["kill -9"] >= 1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_planted_bug_is_found(tmp_path: Path) -> None:
    """Taking back what was heard (T1 of 2026-11-30), by tills alone."""
    tills = [
        (name, number)
        for seed in range(3)
        for name, number in drawn(Plan(seed, actions=200))[0]
        if name in ("pos_sale", "pos_takes_back_what_it_heard")
    ]
    plan = Plan(1, mutant="reversal_of_what_was_heard")
    report = play(tmp_path / "house", plan, [tills])
    assert any("taken back" in kind for kind in kinds(report.problems)), report.problems


def test_a_seed_is_a_list_of_actions() -> None:
    plan = Plan(7, rounds=3, actions=2000)
    assert drawn(plan) == drawn(plan)
    assert {name for actions in drawn(plan) for name, _ in actions} == ACTS.keys()
