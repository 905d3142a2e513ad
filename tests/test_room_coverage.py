"""``tools/room-coverage`` as ``make test`` calls it, on reports in the form that ``coverage json`` writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parent.parent / "tools" / "room-coverage"
FULL = {"ledger": (100, 100), "switch": (20, 20), "wire": (40, 40)}


def look(folder: Path, branches: dict[str, tuple[int, int]], lines: int = 1000) -> tuple[int, str]:
    """Exit code and text; ``branches`` are covered and all of them by room, ``lines`` the covered ones of 1,000."""
    files = {
        f"aircharge/{room}/{name}.py": {
            "summary": {
                "covered_branches": covered if name == "one" else 0,
                "num_branches": total if name == "one" else 0,
                "covered_lines": lines,
                "num_statements": 1000,
            }
        }
        for room, (covered, total) in branches.items()
        for name in ("one", "two")
    }
    report = folder / "report.json"
    report.write_text(json.dumps({"files": files}), "utf-8")
    done = subprocess.run([sys.executable, TOOL, report], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_rooms_at_the_minimum_pass(tmp_path: Path) -> None:
    assert look(tmp_path, {"ledger": (95, 100), "switch": (19, 20), "wire": (38, 40)}, 950)[0] == 0


@pytest.mark.parametrize("room", sorted(FULL))
def test_one_branch_too_few_in_any_room_is_told_with_its_file(tmp_path: Path, room: str) -> None:
    total = FULL[room][1]
    code, said = look(tmp_path, {**FULL, room: (total * 95 // 100 - 1, total)})
    assert code == 1
    assert f"aircharge/{room}/ branches" in said
    assert f"aircharge/{room}/one.py: {total - (total * 95 // 100 - 1)} missing" in said


def test_statements_count_too(tmp_path: Path) -> None:
    assert look(tmp_path, FULL, 949)[0] == 1


def test_another_room_does_not_count_and_a_room_that_is_not_there_fails(tmp_path: Path) -> None:
    assert look(tmp_path, {**FULL, "outlets": (0, 100)})[0] == 0
    code, said = look(tmp_path, {"ledger": (1, 1), "switch": (1, 1)})
    assert code == 1
    assert "aircharge/wire/ branches: 0 of 0" in said
