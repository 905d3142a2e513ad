"""The long proof can be ended and goes on where it was, as long as the product is the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.system import proof, proof_text, proof_worlds
from tests.system.audit import Audit
from tests.system.points import DISK, OUTSIDE, POINTS
from tests.system.proof import Progress, planned
from tests.system.rig import Report


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(proof, "STATE", tmp_path / "var" / "proof.json")
    return tmp_path / "var" / "proof.json"


def a_world(progress: Progress) -> Report:
    plan = planned(progress.seed, len(progress.reports))
    kills = Counter({"held": 3, "stopped in order": 1, "left by itself": 2})
    return Report(plan, Audit(orders=9, problems=["one"]), kills, requests=10, folder=Path("here"))


def test_worlds_go_on_until_there_were_so_many_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof_worlds, "STATE", tmp_path / "worlds.json")
    monkeypatch.setattr(proof_worlds, "PAGE", tmp_path / "worlds.md")
    monkeypatch.setattr(proof_worlds, "_STEP", 2)
    first = proof_worlds.go_on(50, 1, "one")
    again = proof_worlds.go_on(first.faults_total + 1, 1, "one")
    assert (first.worlds, again.worlds > first.worlds, again.failed) == (first.next_seed - 1, True, {})
    assert proof_worlds.go_on(1, 1, "other").worlds == 2
    page = tmp_path / "worlds.md"
    proof_worlds.written([("abc", again)], "make proof", page)
    assert f"{again.faults_total:,} faults in {again.worlds} worlds" in page.read_text()


def test_what_is_done_is_not_done_again(state: Path) -> None:
    first = Progress(7, 100)
    for _ in range(2):
        first.add(a_world(first))
    assert first.kills == 6
    second = Progress(8, 100)
    assert (second.seed, second.kills, second.reports) == (7, 6, first.reports)


def test_what_has_reached_its_number_begins_anew(state: Path) -> None:
    first = Progress(7, 3)
    first.add(a_world(first))
    assert (Progress(8, 3).seed, Progress(8, 3).kills) == (8, 0)
    assert Progress(8, 4).kills == 3


def test_another_product_begins_anew(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Progress(7, 100)
    first.add(a_world(first))
    monkeypatch.setattr(proof, "_product", lambda: "another")
    assert Progress(8, 100).kills == 0


def test_worlds_take_turns() -> None:
    plans = [planned(100, number) for number in range(8)]
    assert len({(plan.mode, plan.engine) for plan in plans}) == (8 if proof.programs() else 4)
    assert all({*POINTS, *OUTSIDE} <= set(plan.points) for plan in plans)
    assert all((DISK.keys() <= set(plan.points)) == (plan.engine == "sqlite") for plan in plans)


def test_the_page_names_every_end(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "kill-rig.md"
    monkeypatch.setattr(proof_text, "KILLS", page)
    proof_text.write_kills([a_world(Progress(7, 100))], {}, "the command")
    text = page.read_text("utf-8")
    assert text.count("# The kill rig") == 1
    assert "**3 kills** of the daemon at 1 points" in text
    assert "2 left by itself, 1 stopped in order" in text
    assert "world 7: one" in text
