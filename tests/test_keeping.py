"""An instance is made, its keys are known again, its backup is restored and stays shut until it is reconciled."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from twisted.python.usage import UsageError

from aircharge.cli import main
from aircharge.tap import Options
from tests.postgres import cluster, drop, programs

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def command(*words: str, code: int = 0) -> Result:
        made = CliRunner().invoke(main, ["-c", str(tmp_path / "one" / "aircharge.toml"), *words])
        assert made.exit_code == code, made.output
        return made

    return command


@pytest.fixture(params=["sqlite", "postgresql"])
def one(tmp_path: Path, run: Run, request: pytest.FixtureRequest) -> Path:
    """A made instance with an outlet that has money."""
    more = []
    if request.param == "postgresql":
        more = ["--url", request.getfixturevalue("empty_database")]
    run("init", str(tmp_path / "one"), *more)
    return tmp_path / "one"


@pytest.fixture
def empty_database(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    url = cluster().empty()
    monkeypatch.setenv("PATH", f"{programs()}:{os.environ['PATH']}")
    yield url
    drop(url)


def starts(folder: Path) -> str:
    """What twistd says of the configuration in the foreground; "" when it would go on."""
    try:
        Options().parseOptions(["--config", str(folder / "aircharge.toml")])
    except UsageError as error:
        return str(error)
    return ""


def test_what_is_made_is_ours_only_and_in_order(one: Path, run: Run) -> None:
    assert one.stat().st_mode & 0o777 == 0o700
    assert (one / "keys").stat().st_mode & 0o777 == 0o700
    for file in (*(one / "keys").iterdir(), one / "aircharge.toml", *one.glob("ledger.db*")):
        assert file.stat().st_mode & 0o777 == 0o600, file
    assert "in order" in run("check-config").output
    assert starts(one) == ""
    before = (one / "keys" / "pepper").read_bytes()
    assert "nothing is written over" in run("init", str(one), code=1).output
    assert (one / "keys" / "pepper").read_bytes() == before


@pytest.mark.parametrize("name", ["pepper", "kek", "card-master", "checkcode"])
def test_a_wrong_key_is_named_before_anything_opens(tmp_path: Path, run: Run, name: str) -> None:
    run("init", str(tmp_path / "one"))
    file = tmp_path / "one" / "keys" / name
    file.write_text("0123456789abcdef" * 4)
    for said in (run("check-config", code=1).output, starts(tmp_path / "one")):
        assert f"this is not the key {name}" in said
    run("key", "accept", "--why", "the old one was read by others", "--maker", "anna")
    run("check-config")
    assert starts(tmp_path / "one") == ""


def test_a_new_kek_keeps_the_old_one_and_a_lost_one_is_missed(tmp_path: Path, run: Run) -> None:
    run("init", str(tmp_path / "one"))
    path = tmp_path / "one" / "aircharge.toml"
    text = path.read_text()
    (tmp_path / "one" / "keys" / "kek-2").touch(0o600)
    (tmp_path / "one" / "keys" / "kek-2").write_text("fedcba9876543210" * 4)
    new = text.replace('kek_file = "keys/kek"', 'kek_version = 2\nkek_file = "keys/kek-2"')
    path.write_text(new)
    assert "kek.1" in run("check-config", code=1).output
    path.write_text(new.replace("kek_version = 2", 'kek_version = 2\nkek_old = { "1" = "keys/kek" }'))
    run("check-config")


def test_a_backup_is_restored_and_shut_until_it_is_reconciled(one: Path, run: Run, tmp_path: Path) -> None:
    run("outlet", "add", "A1", "--phone", "13900000001", "--actor", "anna")
    run("backup", str(tmp_path / "copy"))
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o700
    assert "exists" in run("backup", str(tmp_path / "copy"), code=1).output
    assert run("restore", str(tmp_path / "copy"), code=1).output  # never over a ledger
    if (one / "ledger.db").exists():
        for file in one.glob("ledger.db*"):
            file.rename(tmp_path / file.name)
    else:
        path = one / "aircharge.toml"
        url = next(line for line in path.read_text().splitlines() if line.startswith("url"))
        path.write_text(path.read_text().replace(url, f"url = {json.dumps(cluster().empty())}"))
    run("restore", str(tmp_path / "copy"))
    assert "A1" in run("outlet", "list").output
    assert "reconcile" in starts(one)
    assert "reconcile" in run("check-config", code=1).output
    run("reconciled", "--evidence", "operator's file of 30 November", "--maker", "anna")
    assert starts(one) == ""
    assert "no restored ledger" in run("reconciled", "--evidence", "x", "--maker", "anna", code=1).output


def test_a_backup_that_was_touched_is_refused(tmp_path: Path, run: Run) -> None:
    run("init", str(tmp_path / "one"))
    run("backup", str(tmp_path / "copy"))
    for file in (tmp_path / "one").glob("ledger.db*"):
        file.unlink()
    with open(tmp_path / "copy" / "ledger.db", "ab") as file:
        file.write(b"x")
    assert "its hash is another" in run("restore", str(tmp_path / "copy"), code=1).output
    assert not (tmp_path / "one" / "ledger.db").exists()


def test_a_backup_wants_its_own_keys(tmp_path: Path, run: Run) -> None:
    run("init", str(tmp_path / "one"))
    run("backup", str(tmp_path / "copy"))
    run_other = CliRunner().invoke(main, ["init", str(tmp_path / "two")])
    assert run_other.exit_code == 0
    for file in (tmp_path / "two").glob("ledger.db*"):
        file.unlink()
    other = ["-c", str(tmp_path / "two" / "aircharge.toml"), "restore", str(tmp_path / "copy")]
    made = CliRunner().invoke(main, other)
    assert made.exit_code == 1
    assert "needs its own keys" in made.output


@pytest.mark.parametrize("name", ["what?mode=ro", "a#b", "50%25 off", "with blank", "账本"])
def test_a_ledger_lies_where_its_path_says(name: str, tmp_path: Path) -> None:
    """``?``, ``#`` and ``%`` are letters of a path like others."""
    folder = tmp_path / name

    def run(*words: str) -> str:
        made = CliRunner().invoke(main, ["-c", str(folder / "aircharge.toml"), *words])
        assert made.exit_code == 0, made.output
        return made.output

    run("init", str(folder))
    assert {file.name for file in tmp_path.iterdir()} == {name}
    run("outlet", "add", "A1", "--phone", "13900000001", "--actor", "anna")
    run("backup", str(folder / "copy"))
    (folder / "ledger.db").rename(folder / "old.db")
    run("restore", str(folder / "copy"))
    assert "A1" in run("outlet", "list")
    assert {file.name for file in tmp_path.iterdir()} == {name}
    assert (folder / "ledger.db").stat().st_size > 0


@pytest.mark.parametrize("words", [("check-config",), ("order", "show", "1"), ("verify",)])
def test_a_database_that_does_not_answer_is_said_in_one_line(
    tmp_path: Path, run: Run, words: list[str]
) -> None:
    """Nobody listens there; a server that is still recovering answers with the same kind of error (57P03)."""
    run("init", str(tmp_path / "one"))
    file = tmp_path / "one" / "aircharge.toml"
    file.write_text(file.read_text().replace("sqlite:///ledger.db", "postgresql://127.0.0.1:1/aircharge"))
    said = run(*words, code=1).output
    assert "ledger.url: the database says: " in said
    assert len(said.splitlines()) == 1
    assert "ledger.url: the database says: " in starts(tmp_path / "one")
