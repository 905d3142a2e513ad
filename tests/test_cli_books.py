"""``aircharge day``, ``seal`` and ``statement`` as a clerk uses them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aircharge.cli import main
from aircharge.config import load
from aircharge.instance import Instance, Ports, Shop
from aircharge.ledger.cutoff import date_text
from aircharge.ledger.reading import open_days
from aircharge.ledger.sealing import SealSettings, last_seal, seal_rows
from aircharge.office import Office

Run = Callable[..., Result]
FAR_MS = 3_000_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Instance(tmp_path, Ports()).create([Shop("A1", "13900000001", "89860000000000000001", float_fen=100_000)])
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    def command(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["-c", str(folder / "aircharge.toml"), *words])
        assert result.exit_code == code, result.output
        return result

    return command


@pytest.fixture
def today(folder: Path) -> str:
    """The house's open day: the float was booked on it."""
    office = Office(load(folder / "aircharge.toml"))
    with office.store.engine.connect() as txn:
        date = open_days(txn)[0]
    office.close()
    return date_text(date)


def sealed(folder: Path) -> str:
    office = Office(load(folder / "aircharge.toml"))
    seal_rows(office.store.engine, lambda _: FAR_MS, SealSettings())
    with office.store.engine.connect() as txn:
        head = last_seal(txn)
    office.close()
    assert head is not None
    return head.head


def test_days(run: Run, today: str) -> None:
    assert "open" in run("day", "list").output
    assert f"{today} is cut" in run("day", "cut", "0", "--actor", "wang").output
    assert "is closed; 0 more can be" in run("day", "close", "0", today, "--actor", "wang").output
    assert "closed" in run("day", "list").output
    assert "cannot be closed now" in run("day", "close", "0", today, "--actor", "wang", code=1).output
    run("day", "close", "0", "yesterday", "--actor", "wang", code=2)
    run("day", "list", "--limit", "0", code=2)


def test_seals(run: Run, folder: Path) -> None:
    assert "nothing is sealed" in run("seal", "head").output
    head = sealed(folder)
    assert run("seal", "head").output.strip() == head
    assert "goes through it" in run("seal", "check", head).output
    assert "is not the one that was published" in run("seal", "check", f"1:{'0' * 64}", code=1).output
    assert "is missing" in run("seal", "check", head.replace("1:", "2:"), code=1).output
    assert "is no head" in run("seal", "check", "1", code=1).output


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_statement(run: Run, tmp_path: Path, today: str, encoding: str) -> None:
    assert "1000.00" in run("statement", "A1", today).output
    file = tmp_path / "statement.csv"
    run("statement", "A1", today, "--file", str(file), "--encoding", encoding)
    rows = list(csv.reader(io.StringIO(file.read_bytes().decode(encoding).lstrip("\ufeff"))))
    assert rows[0][0] == "时间"
    assert [row[6] for row in rows[1:]] == ["0.00", "1000.00", "1000.00"]
    assert "no outlet Z9" in run("statement", "Z9", today, code=1).output
    run("statement", "A1", "2026-02-31", code=2)
