"""Files of recharges from the command line: dry run, two people, the same file, clear errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aircharge.cli import main
from aircharge.instance import Instance, Ports, Shop

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    Instance(tmp_path, Ports()).create([Shop("A1", "13900000001", "89860000000000000001", float_fen=100_000)])

    def command(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["-c", str(tmp_path / "aircharge.toml"), *words])
        assert result.exit_code == code, result.output
        return result

    return command


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "lines.csv"
    path.write_text("号码,金额\n13812345678,50\n13812345679,100\n12,50\n13812345678,50\n", encoding="gb18030")
    return str(path)


def asked(run: Run, file: str) -> str:
    found = re.search(
        r"request ([0-9]+) waits", run("batch", "ask", file, "--outlet", "A1", "--maker", "li").output
    )
    assert found
    return found[1]


def test_a_dry_run_writes_nothing(run: Run, file: str) -> None:
    shown = run("batch", "dry-run", file, "--outlet", "A1").output
    for word in ("14 NUMBER", "26 DUPLICATE", "150.00"):
        assert word in shown
    assert "13812345679" not in shown
    assert "13812345679" in run("batch", "dry-run", file, "--outlet", "A1", "--all").output
    assert "asked for: none" in run("batch", "show").output


def test_two_people_start_a_file_and_cancel_it(run: Run, file: str) -> None:
    request = asked(run, file)
    assert "lines.csv" in run("batch", "show").output
    assert "two people" in run("batch", "start", request, file, "--checker", "li", code=1).output
    said = run("batch", "start", request, file, "--checker", "wang").output
    number = re.search(r"batch ([0-9]+): 150.00 yuan reserved", said)
    assert number
    assert "850.00" in run("outlet", "list").output
    assert "no file waits" in run("batch", "start", request, file, "--checker", "wang", code=1).output
    again = run("batch", "ask", file, "--outlet", "A1", "--maker", "li", code=1).output
    assert "entered already" in again
    assert "running" in run("batch", "show").output
    assert "waiting" in run("batch", "show", number[1]).output
    assert "150.00 yuan are free" in run("batch", "cancel", number[1], "--actor", "li").output
    assert "at its end" in run("batch", "cancel", number[1], "--actor", "li", code=1).output
    report = run("batch", "report", number[1]).output.splitlines()
    assert [line.split(",")[4:6] for line in report[1:]] == [
        ["given", ""],
        ["given", ""],
        ["refused", "NUMBER"],
        ["refused", "DUPLICATE"],
    ]
    assert "every balance" in run("verify").output


def test_who_confirms_brings_the_same_file(run: Run, file: str) -> None:
    request = asked(run, file)
    other = Path(file).with_name("other.csv")
    other.write_text("13812345678,50\n", encoding="utf-8")
    assert "not the file" in run("batch", "start", request, str(other), "--checker", "wang", code=1).output
    assert "must bring it" in run("money", "confirm", request, "--checker", "wang", code=1).output
    assert "declined" in run("money", "decline", request, "--reason", "typo", "--checker", "wang").output
    assert "no file waits" in run("batch", "start", request, file, "--checker", "wang", code=1).output


def test_a_float_that_is_too_short(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "dear.csv"
    path.write_text("".join(f"1381234567{n},500\n" for n in range(3)), encoding="utf-8")
    request = asked(run, str(path))
    refused = run("batch", "start", request, str(path), "--checker", "wang", code=1).output
    assert "refused (51 FLOAT)" in refused
    assert "1000.00" in run("outlet", "list").output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no lines"),
        (b"\xff\xff\xff", "neither UTF-8 nor GB18030"),
        (b"12,1\n", "no line of the file is a recharge"),
        (b"13812345678,50\n" * 5001, "more than 5000"),
    ],
)
def test_files_that_are_none(run: Run, tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    assert said in run("batch", "ask", str(path), "--outlet", "A1", "--maker", "li", code=1).output


def test_what_does_not_exist(run: Run, file: str) -> None:
    assert "no outlet Z" in run("batch", "dry-run", file, "--outlet", "Z", code=1).output
    assert "no batch 7" in run("batch", "show", "7", code=1).output
    assert "no batch 7" in run("batch", "report", "7", code=1).output
    assert "no batch 7" in run("batch", "cancel", "7", "--actor", "li", code=1).output
    assert "no file waits" in run("batch", "start", "7", file, "--checker", "li", code=1).output
