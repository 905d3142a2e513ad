"""The style guide, as far as a machine can hold it (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for room in ("aircharge", "tests", "benchmarks", "migrations", "twisted")
    for path in (ROOT / room).rglob("*.py")
)
OURS = [name for name in FILES if name.startswith("aircharge/")]
TABLES = (
    "tables.py",
    "constants.py",
    "fields.py",
)  # the standard's own tables may be as long as the standard
FILE_MAX, FUNCTION_MAX = 600, 70
CLOCKS = re.compile(
    r"(?<![\w.])(?:time\.(?:time|time_ns|monotonic|sleep)|random\.(?!Random)\w+|secrets\.\w+)\("
)
CLOCK_OWNERS = (
    "machine.py",
    "cli.py",
    "demo.py",
    "instance.py",
    "simulators/operator.py",
    "simulators/sms_centre.py",
    "world/loop.py",
)  # they plug the real ones in
LEFT_OVER = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "handler", "processor", "misc"}


@cache
def source(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(source(name), name)


@pytest.mark.parametrize("name", FILES)
def test_no_file_is_too_long_or_unfinished(name: str) -> None:
    text = source(name)
    if not name.endswith(TABLES):
        assert text.count("\n") <= FILE_MAX
    assert not LEFT_OVER.search(text)


@pytest.mark.parametrize("name", OURS)
def test_no_function_is_too_long(name: str) -> None:
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_MAX, f"{name}: {node.name}"


@pytest.mark.parametrize("name", OURS)
def test_every_module_says_what_it_is(name: str) -> None:
    assert ast.get_docstring(tree(name)), f"{name} has no docstring"
    assert not EMPTY_NAMES & set(Path(name).with_suffix("").parts)


@pytest.mark.parametrize("name", [name for name in OURS if not name.endswith(CLOCK_OWNERS)])
def test_clock_and_chance_are_passed_in(name: str) -> None:
    found = CLOCKS.search(source(name))
    assert found is None, f"{name}: {found and found[0]}"
    for node in tree(name).body:
        if isinstance(node, ast.ImportFrom) and node.module == "twisted.internet":
            assert "reactor" not in {alias.name for alias in node.names}, f"{name}: module-level reactor"


@pytest.mark.parametrize("name", OURS)
def test_a_broad_except_gives_its_reason(name: str) -> None:
    """No bare ``except:``, and a broad one says why on its line."""
    lines = source(name).splitlines()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.ExceptHandler):
            caught = "Exception" if node.type is None else ast.unparse(node.type)
            if caught in ("Exception", "BaseException"):
                assert "#" in lines[node.lineno - 1], f"{name}:{node.lineno}: broad except without a reason"


def test_no_package_hides_twisted() -> None:
    assert not list((ROOT / "twisted").rglob("__init__.py"))


def test_the_readme_has_its_twin() -> None:
    assert (ROOT / "README.zh-CN.md").exists()
    for name in (
        "README.md",
        "README.zh-CN.md",
        "CONTRIBUTING.md",
        "docs/architecture.md",
        "docs/channels/sms.md",
    ):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", source(name)):
            assert (ROOT / name).parent.joinpath(target).exists(), f"{name} points to {target}"
