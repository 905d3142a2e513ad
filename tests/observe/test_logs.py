"""What a log line holds, and what it never does."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from aircharge.observe.logs import JsonLines, mask_text, open_log_file
from aircharge.values import Msisdn, Pin


def lines_of(write: Any, level: str = "info") -> list[dict[str, Any]]:
    out = io.StringIO()
    write(Logger("test", observer=JsonLines(out, level)))
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line() -> None:
    (line,) = lines_of(lambda log: log.info("order {order} is {state}", order=7, state="SETTLED"))
    assert line["text"] == "order 7 is SETTLED"
    assert (line["level"], line["from"], line["order"], line["state"]) == ("info", "test", 7, "SETTLED")
    assert line["at"].endswith("Z")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("13812345678", "138****5678"),
        ("to 8613812345678.", "to 86138****5678."),
        ("+8613812345678,13912345678", "+86138****5678,139****5678"),
        ("Key(scope='sms:13812345678')", "Key(scope='sms:138****5678')"),
        ("order 00000000013812345678", "order 00000000013812345678"),
        ("12812345678 1381234567", "12812345678 1381234567"),
    ],
)
def test_numbers_are_masked(text: str, masked: str) -> None:
    assert mask_text(text) == masked


def test_numbers_and_secrets_are_never_written() -> None:
    def write(log: Logger) -> None:
        log.warn("{phone} {pin} {n}", phone="13812345678", pin="123456", n=13812345678)
        log.info("{a!r} {b} {c}", a=Pin("123456"), b=Msisdn("13812345678"), c=["13812345678"])
        log.info(
            "{password} {card_key} {secret_file}", password="123456", card_key=b"123456", secret_file="123456"
        )
        try:
            raise ValueError("no such phone: 13812345678")
        except ValueError:
            log.failure("lost {phone}", failure=Failure(), phone="13812345678")

    written = json.dumps(lines_of(write))
    assert "12345678" not in written
    assert "123456" not in written
    assert "138****5678" in written
    assert "no such phone" in written


def test_level() -> None:
    def write(log: Logger) -> None:
        for level in LogLevel.iterconstants():
            log.emit(level, "x")

    assert [line["level"] for line in lines_of(write, "warn")] == ["warn", "error", "critical"]
    with pytest.raises(ValueError, match="loud"):
        JsonLines(io.StringIO(), "loud")


def test_what_cannot_be_shown_loses_no_line() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    (line,) = lines_of(lambda log: log.info("x", what=Broken(), nothing=None, many=[1]))
    assert line["what"] == "<Broken: RuntimeError>"
    assert line["nothing"] is None


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for text in ("one", "two"):
        Logger("test", observer=open_log_file(str(path))).info(text)
    assert [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()] == ["one", "two"]
