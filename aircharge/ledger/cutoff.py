"""When accounting days end: local dates as yyyymmdd, and the hour of each operator's cut. Pure.

A day that is cut after noon ends on its own date (23:30: the day of the 5th ends on the 5th at 23:30); one that is
cut at midnight or in the morning goes on into the next date (02:00: it ends on the 6th at 02:00).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = [
    "accounting_date",
    "cut_minute",
    "date_text",
    "following",
    "local_date",
    "midnight_ms",
    "parse_date",
]

_HOUR: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DAY_MS: Final = 86_400_000
_NOON_MIN, _DAY_MIN = 720, 1440


def cut_minute(text: str) -> int:
    """ "23:30" as minutes since local midnight. Raises ValueError."""
    found = _HOUR.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time of day: HH:MM")
    return int(found[1]) * 60 + int(found[2])


def local_date(at_ms: int, utc_offset_min: int) -> int:
    """The calendar day there, as yyyymmdd."""
    local = datetime.fromtimestamp(at_ms // 1000, UTC) + timedelta(minutes=utc_offset_min)
    return local.year * 10_000 + local.month * 100 + local.day


def accounting_date(at_ms: int, utc_offset_min: int, cut_min: int = 0) -> int:
    """The accounting day that the clock says, for a day cut ``cut_min`` minutes after local midnight."""
    shift = -cut_min if cut_min <= _NOON_MIN else _DAY_MIN - cut_min
    return local_date(at_ms, utc_offset_min + shift)


def midnight_ms(at_ms: int, utc_offset_min: int) -> int:
    """When the local day of ``at_ms`` began."""
    offset_ms = utc_offset_min * 60_000
    return (at_ms + offset_ms) // _DAY_MS * _DAY_MS - offset_ms


def following(date: int) -> int:
    """The next calendar day."""
    return _number(_date(date) + timedelta(days=1))


def parse_date(text: str) -> int:
    """ "2026-11-23" or "20261123" as a number. Raises ValueError."""
    digits = text.replace("-", "")
    if len(digits) != 8 or not (digits.isdecimal() and digits.isascii()):
        raise ValueError(f"{text!r} is no date: YYYY-MM-DD")
    return _number(_date(int(digits)))


def date_text(date: int) -> str:
    """20261123 as "2026-11-23"."""
    return f"{date // 10_000:04d}-{date // 100 % 100:02d}-{date % 100:02d}"


def _date(number: int) -> datetime:
    try:
        return datetime(number // 10_000, number // 100 % 100, number % 100, tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"{number} is no date") from error


def _number(date: datetime) -> int:
    return date.year * 10_000 + date.month * 100 + date.day
