"""kill -9 at every point of the flow: the short version (``make proof`` runs the long one)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.postgres import Cluster
from tests.system.points import DISK, OUTSIDE, POINTS
from tests.system.rig import WorldPlan, run_world

EVERY_POINT = {*POINTS, *OUTSIDE}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("mode", "seed"), [("reverse", 13)])
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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nor_on_a_sick_disk(tmp_path: Path) -> None:
    """Full for a while, or failing: the daemon takes nothing, or leaves; nothing it has answered for is lost."""
    points = (*DISK, "frozen")
    report = run_world(tmp_path, WorldPlan(14, "resend", 6, points, requests_min=100, frozen_max_s=1.0))
    assert report.audit.problems == []
    assert report.disk_faults >= 4
    assert report.freezes >= 2
    assert report.audit.settled == report.audit.credited > 20


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.timeout(600)
def test_nor_on_postgresql(tmp_path: Path) -> None:
    """A sleep may be longer than the lease."""
    server = Cluster("log_min_messages=error", durable=True)
    points = ("hold_uncommitted", "held", "settle_uncommitted", "settled", "sent", "frozen")
    try:
        report = run_world(
            tmp_path, WorldPlan(15, "resend", 7, points, requests_min=100, engine="postgresql"), server
        )
    finally:
        server.stop()
    assert report.audit.problems == []
    assert report.killed == 7
    assert report.freezes >= 1
    assert report.audit.settled == report.audit.credited > 20


def test_there_are_points_all_along_the_flow() -> None:
    assert len(POINTS) >= 12
