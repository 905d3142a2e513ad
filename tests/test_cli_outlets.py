"""``aircharge outlet`` on a real ledger file: tree, life, phones, terminals, master data, files in and out."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aircharge.cli import main
from aircharge.instance import Instance, Ports, Shop

HOUSE = Shop("P1", "13900000001", "89860000000000000001", float_fen=0)


class Desk:
    def __init__(self, folder: Path) -> None:
        self.instance = Instance(folder, Ports())
        self.instance.create([HOUSE])
        self.folder = folder

    def run(self, *words: str, ok: bool = True) -> str:
        result: Result = CliRunner().invoke(
            main, ["-c", str(self.instance.config_file), "outlet", *words], terminal_width=200
        )
        assert (result.exit_code == 0) is ok, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.output

    def act(self, *words: str, ok: bool = True) -> str:
        return self.run(*words, "--actor", "li", ok=ok)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


FILE = """code,name,level,parent,phones
D1,distributor one,3,P1,13900000011
S1,shop one,4,D1,13900000012:recharge+query
S2,shop two,4,D1,13900000013
"""


def test_a_house_arrives_by_file_and_leaves_by_file(desk: Desk, tmp_path: Path) -> None:
    desk.act("move", "P1", "-", "--level", "1")
    file, pins = tmp_path / "new.csv", tmp_path / "pins"
    file.write_text(FILE, encoding="gb18030")
    assert "3 new" in desk.act("import", str(file), "--dry-run")
    assert "S1" not in desk.run("list")
    assert "3 new" in desk.act("import", str(file), "--pins-file", str(pins))
    assert len(pins.read_text().splitlines()) == 3
    assert stat.S_IMODE(pins.stat().st_mode) == 0o600
    tree = desk.run("tree", "P1")
    assert all(code in tree for code in ("D1", "S1", "S2"))
    for encoding in ("utf-8-bom", "gb18030"):
        back = tmp_path / f"back-{encoding}.csv"
        assert "4 outlets" in desk.run("export", str(back), "--chinese", "--encoding", encoding)
        assert "0 new, 0 changed, 4 as they were" in desk.act("import", str(back), "--dry-run")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("S1,shop,4,NOBODY,13900000012", "line 2, parent"),
        ("S 1,shop,4,,13900000012", "line 2, code"),
        ("S1,shop,7,,13900000012", "line 2, level"),
        ("S1,shop,4,,13900000001", "line 2, phones"),
        ("S1,shop,4", "line 2"),
        ("S1,a,4,,13900000012\nS1,b,4,,13900000013", "line 3, code"),
    ],
)
def test_a_bad_line_is_named_and_nothing_changes(desk: Desk, tmp_path: Path, line: str, words: str) -> None:
    before = desk.run("list")
    file = tmp_path / "bad.csv"
    file.write_text(f"code,name,level,parent,phones\n{line}\n")
    said = desk.act("import", str(file), "--pins-file", str(tmp_path / "pins"), ok=False)
    assert words in said
    assert "nothing has changed" in said
    assert desk.run("list") == before
    assert not (tmp_path / "pins").exists()


def test_a_life_with_phones_terminals_and_master_data(desk: Desk) -> None:
    desk.act("phone", "P1", "13900000002", "--rights", "query")
    desk.act("phone", "P1", "13900000002", "--rights", "recharge+query")
    desk.act("phone", "P1", "13900000002", "--unbind")
    lost = desk.act("lost-sim", "P1", "13900000001", "--replacement", "13900000003")
    assert "139****0001 and its card are blocked; 139****0003 counts from" in lost
    desk.act("terminal", "P1", "T0000001")
    desk.act("terminal", "P1", "T0000001", "--block")
    assert "contract_no" in desk.act("profile", "P1", "contract_no=HT-1", "address=1 Main Street")
    assert "HT-1" in desk.act("profile", "P1")
    desk.act("step", "P1", "closing", "--why", "moves away")
    assert "closed" in desk.act("step", "P1", "closed")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("move", "NOBODY", "P1"), "no outlet NOBODY"),
        (("move", "P1", "P1"), "P1"),
        (("tree-of", "P1"), "No such command"),
        (("step", "NOBODY", "closing"), "no outlet NOBODY"),
        (("step", "P1", "closed"), "P1"),
        (("phone", "P1", "12"), "number"),
        (("phone", "P1", "13900000001"), "bound"),
        (("phone", "P1", "13900000009", "--rights", "fly"), "fly"),
        (("lost-sim", "P1", "13900000009"), "13"),
        (("terminal", "P1", "T 1"), "T 1"),
        (("terminal", "P1", "T9", "--block"), "T9"),
        (("profile", "P1", "colour=red"), "colour"),
        (("profile", "P1", "contract_from=20261332"), "contract"),
        (("profile", "P1", "address"), "name=value"),
    ],
)
def test_bad_input_has_an_error_of_its_own_and_changes_nothing(
    desk: Desk, words: tuple[str, ...], why: str
) -> None:
    before = desk.run("show", "P1")
    assert why in desk.act(*words, ok=False)
    assert desk.run("show", "P1") == before
