"""Nothing slow stands inside a writing transaction: what is shown there is shown when it has ended (row L23)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from aircharge import office as offices
from aircharge.cli.show import out
from aircharge.config import load
from tests.test_cli_people import House
from tests.test_cli_people import house as house  # noqa: PLC0414  (a fixture)

_SLOW = frozenset(("echo", "prompt", "confirm", "getpass", "input", "sleep", "read_bytes", "read_text"))


def test_what_is_said_within_a_transaction_is_said_after_it(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = offices.Office(load(house.folder / "aircharge.toml"))
    desk.speechless = out.keeping
    with desk.desk("li"):
        out.print("done within")
        with out.keeping():
            out.print("and deeper")
        assert capsys.readouterr().out == ""
    assert capsys.readouterr().out == "done within\nand deeper\n"
    desk.close()


def test_what_speaks_against_it_is_said_before_the_error(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = offices.Office(load(house.folder / "aircharge.toml"))
    desk.speechless = out.keeping

    def fail() -> None:
        with desk.desk("li"):
            out.print("line 3: wrong")
            raise ValueError("nothing has changed")

    with pytest.raises(ValueError, match="nothing has changed"):
        fail()
    assert capsys.readouterr().out == "line 3: wrong\n"
    desk.close()


def test_no_command_asks_reads_or_waits_within_a_transaction() -> None:
    """Printing is kept back; what cannot be kept back does not stand there."""
    found = []
    for path in sorted(Path("aircharge").rglob("*.py")):
        for block in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(block, ast.With) and _writes(block):
                calls = (call for line in block.body for call in ast.walk(line) if isinstance(call, ast.Call))
                found += [f"{path}:{call.lineno}" for call in calls if _name(call) in _SLOW]
    assert found == []


def _writes(block: ast.With) -> bool:
    text = " ".join(ast.unparse(item.context_expr) for item in block.items)
    return ".desk(" in text or ".writing(" in text


def _name(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]
