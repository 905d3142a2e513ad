"""Log events as JSON lines, with a last net under secrets and numbers.

Whoever logs masks what is whole (``mask_msisdn``); what slips through is masked here, by its look or its key.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, TextIO, cast
from weakref import WeakKeyDictionary

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

from aircharge.observe.aside import aside

__all__ = ["JsonLines", "log_level", "mask_text", "open_log_file", "reopen_log_files", "standard_output"]

_NUMBER: Final = re.compile(r"(?<![0-9])((?:86)?1[3-9][0-9])[0-9]{4}([0-9]{4})(?![0-9])")
_SECRET: Final = re.compile(r"pin|passw|secret|pepper|master|(?:^|_)ke[ky]s?(?:$|_)", re.IGNORECASE)
_OF_TWISTED: Final = frozenset(
    (
        "format",
        "message",
        "isError",
        "printed",
        "system",
        "time",
        "why",
        "failure",
        "log_text",
        "logLevel",
        "sender",
    )
)
_LEVELS: Final = {level.name: number for number, level in enumerate(LogLevel.iterconstants())}


def log_level(name: str) -> LogLevel:
    """``debug``, ``info``, ``warn``, ``error`` or ``critical``. Raises ValueError."""
    if name not in _LEVELS:
        raise ValueError(f"log level {name!r}: one of {', '.join(_LEVELS)}")
    level: LogLevel = LogLevel.lookupByName(name)
    return level


def mask_text(text: str) -> str:
    """``text`` with what looks like a mobile number (11 digits, or 86 before them) shown as 138****5678."""
    return text if len(text) < 11 else _NUMBER.sub(r"\1****\2", text)


@implementer(ILogObserver)
class JsonLines:
    """Writes one JSON object a line: time (UTC), level, from, text, then the event's own plain fields.

    Below ``level`` nothing is formatted at all. ``{pin}``, ``{secret}`` and their like never appear, whatever
    a format string says.
    """

    def __init__(self, out: TextIO, level: str = "info") -> None:
        self._out = out
        self._level = _LEVELS[log_level(level).name]

    def set_level(self, level: str) -> None:
        """Raises ValueError."""
        self._level = _LEVELS[log_level(level).name]

    def write_aside(self) -> None:
        """From now on a thread writes: see ``aside``."""
        self._out = cast(TextIO, aside(self._out) or self._out)

    def go_on_in(self, out: TextIO) -> None:
        """Write there from now on; what was written to before is closed."""
        before, self._out = self._out, out
        before.close()

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level") or LogLevel.info
        if _LEVELS[level.name] < self._level:
            return
        self._out.write(self._line(level.name, _without_secrets(event)))
        self._out.flush()

    def _line(self, level: str, event: LogEvent) -> str:
        at = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
        record: dict[str, Any] = {
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": level,
            "from": event.get("log_namespace", "-"),
            "text": mask_text(formatEvent(event)),
        }
        failure = event.get("log_failure")
        if failure is not None:
            record["trace"] = mask_text(failure.getTraceback(elideFrameworkCode=True))
        for key, value in event.items():
            if not key.startswith("log_") and key not in _OF_TWISTED and key not in record:
                record[key] = _plain(value)
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"


def _without_secrets(event: Mapping[str, Any]) -> LogEvent:
    return {key: "***" if _is_secret(key) else value for key, value in event.items()}


@lru_cache(1024)
def _is_secret(key: str) -> bool:
    """Whether a field's name says that its value must not be seen (names are few: those of our own calls)."""
    return not key.startswith("log_") and _SECRET.search(key) is not None


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return mask_text(str(value)) if type(value) is int and value > 10**10 else value
    try:
        return mask_text(str(value))
    except Exception as error:  # a broken __str__ of what is logged must not lose the line
        return f"<{type(value).__name__}: {type(error).__name__}>"


def open_log_file(path: str, level: str = "info") -> JsonLines:
    """An observer that appends to a file; "-" is standard output. Raises OSError."""
    lines = JsonLines(sys.stdout if path == "-" else _opened(path), level)
    if path != "-":
        _files[lines] = path
    return lines


def _opened(path: str) -> TextIO:
    """For its owner alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return cast(TextIO, open(descriptor, "a", encoding="utf-8", buffering=1))


_files: WeakKeyDictionary[JsonLines, str] = WeakKeyDictionary()


def reopen_log_files() -> int:
    """Go on in new files under the same names (whoever rotates has moved the old ones); how many. Raises OSError."""
    for lines, path in list(_files.items()):
        lines.go_on_in(_opened(path))
    return len(_files)


_standard = JsonLines(sys.stdout)


def standard_output() -> JsonLines:
    """The one observer on standard output: ``twistd --logger aircharge.observe.logs.standard_output``."""
    return _standard
