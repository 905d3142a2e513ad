"""kill -9 at every point of the flow: the short version (``make proof`` runs the long one)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.points import OUTSIDE, POINTS
from tests.system.rig import WorldPlan, run_world

EVERY_POINT = {*POINTS, *OUTSIDE}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("mode", "seed"), [("resend", 11), ("query", 12), ("reverse", 13)])
def test_no_kill_loses_or_doubles_money(tmp_path: Path, mode: str, seed: int) -> None:
    report = run_world(
        tmp_path, WorldPlan(seed, mode, kills=len(EVERY_POINT) + 2, operator_kills=1, requests_min=400)
    )
    found = report.audit
    assert found.problems == []
    assert report.killed >= 17
    assert len(EVERY_POINT & report.kills.keys()) >= 12
    assert found.open == 0
    assert found.settled == found.credited - found.taken_back > 100
    assert (found.taken_back > 0) == (mode == "reverse")
    assert report.operator_kills == 1


def test_there_are_points_all_along_the_flow() -> None:
    assert len(POINTS) >= 12
