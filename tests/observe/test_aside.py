"""Whoever writes the log never waits for whoever reads it."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher, textFileLogObserver
from twisted.python.logfile import LogFile

from aircharge.observe import aside as module
from aircharge.observe.aside import Aside, aside, finish_logs, lines_lost
from aircharge.observe.logs import JsonLines, open_log_file

LINE = "x" * 99 + "\n"


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_all", [])


@pytest.fixture
def said() -> Iterator[EventLoggingObserver]:
    seen = EventLoggingObserver()
    globalLogPublisher.addObserver(seen)
    yield seen
    globalLogPublisher.removeObserver(seen)


def losses(said: EventLoggingObserver) -> list[int]:
    return [event["count"] for event in said if "were lost" in event.get("log_format", "")]


class Door:
    """Takes what is put when it is open; otherwise whoever puts waits."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.taken = ""

    def put(self, text: str) -> None:
        assert self.open.wait(30)
        self.taken += text


def test_a_reader_that_stops_costs_lines_and_no_time(said: EventLoggingObserver) -> None:
    door = Door()
    log = Aside(door.put, queue_max=1000)
    began = time.monotonic()
    for _ in range(1000):
        log.write(LINE)
    assert time.monotonic() - began < 2
    lost = log.lost
    assert 985 <= lost <= 990  # ten wait, the first may be on its way
    assert not log.finish(0.05)
    assert losses(said) == []
    door.open.set()
    assert log.finish(5)
    log.write("once more\n")
    assert log.finish(5)
    assert losses(said) == [lost]
    assert door.taken == LINE * (1000 - lost) + "once more\n"


def test_all_is_written_in_order_while_the_reader_keeps_up() -> None:
    door = Door()
    door.open.set()
    log = Aside(door.put)
    for number in range(5000):
        log.write(f"{number}\n")
    assert log.finish(10)
    assert door.taken == "".join(f"{number}\n" for number in range(5000))
    assert log.lost == 0


def test_a_disk_that_refuses_is_tried_again(said: EventLoggingObserver) -> None:
    taken: list[str] = []

    def put(text: str) -> None:
        if len(taken) < 1 and "first" in text:
            raise OSError(28, "No space left on device")
        taken.append(text)

    log = Aside(put)
    log.write("first\n")
    assert log.finish(5)
    assert log.lost == 1
    log.write("second\n")
    assert log.finish(5)
    assert taken == ["second\n"]
    assert losses(said) == [1]


@pytest.mark.parametrize("is_blocking", [True, False])
def test_a_pipe_nobody_reads(is_blocking: bool) -> None:
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(theirs, is_blocking)
    with open(theirs, "w", encoding="utf-8") as out, open(ours, "rb") as reader:
        lines = JsonLines(out)
        lines.write_aside()
        began = time.monotonic()
        for number in range(500):
            lines({"log_format": "line {n} of 13812345678", "n": number, "pin": "123456"})
        assert time.monotonic() - began < 5
        finish_logs(0.1)
        got = b""
        while b"line 499" not in got:
            got += reader.read1(65_536)
        assert got.count(b"\n") == 500
        assert b"12345678" not in got
        assert b"123456" not in got
        assert lines_lost() == 0
        assert aside(out) is aside(out)


def test_one_whose_reader_is_gone_costs_nothing_but_lines() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "w", encoding="utf-8") as out:
        lines = JsonLines(out)
        lines.write_aside()
        lines({"log_format": "nobody reads this"})
        finish_logs(5)
        assert lines_lost() == 1


class StuckFile:
    """A file on a disk that does not answer."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.answers = threading.Event()

    def write(self, data: bytes) -> None:
        assert self.answers.wait(30)
        self.file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def test_twistds_file_on_a_stuck_disk(tmp_path: Path) -> None:
    file = LogFile("d.log", str(tmp_path), rotateLength=20_000)
    observer = textFileLogObserver(file)
    observer._outFile = aside(file)
    file._file = stuck = StuckFile(file._file)
    began = time.monotonic()
    for number in range(300):
        observer({"log_format": "line {n}", "n": number, "log_time": 0.0, "log_namespace": "-"})
    file.rotate()  # USR1
    observer._outFile.do(file.reopen)  # HUP
    observer({"log_format": "the last", "log_time": 0.0, "log_namespace": "-"})
    assert time.monotonic() - began < 5
    finish_logs(0.1)
    stuck.answers.set()
    finish_logs(10)
    file.close()
    written = "".join(path.read_text() for path in sorted(tmp_path.iterdir(), reverse=True))
    assert all(f"line {number}\n" in written for number in range(300))
    assert (tmp_path / "d.log").read_text().endswith("the last\n")
    assert "line" not in (tmp_path / "d.log").read_text()
    assert lines_lost() == 0


def test_a_file_that_cannot_be_opened_anew_is_tried_again(tmp_path: Path) -> None:
    file = LogFile("d.log", str(tmp_path))
    out = aside(file)
    assert out is not None
    (tmp_path / "d.log").unlink()
    (tmp_path / "d.log").mkdir()
    out.do(file.reopen)
    out.write("lost\n")
    assert out.finish(5)
    assert out.lost == 1
    (tmp_path / "d.log").rmdir()
    out.write("kept\n")
    assert out.finish(5)
    assert "kept\n" in (tmp_path / "d.log").read_text()


def test_what_is_said_at_the_very_end_is_written_before_write_returns() -> None:
    door = Door()
    log = Aside(door.put)
    log.write("one\n")
    log.end(0.05)
    began = time.monotonic()
    log.write("two\n")
    assert time.monotonic() - began < 0.3  # its reader does not read: nobody waits again
    door.open.set()
    log.end(5)
    log.write("three\n")
    assert door.taken == "one\ntwo\nthree\n"


def test_our_own_file_goes_on_in_the_reopened_one(tmp_path: Path) -> None:
    lines = open_log_file(str(tmp_path / "a.log"))
    lines.write_aside()
    lines({"log_format": "one"})
    finish_logs(5)
    assert "one" in (tmp_path / "a.log").read_text()


def test_what_has_no_descriptor_stays_as_it_is() -> None:
    assert aside(object()) is None
