"""A bank's file of payments: reference, amount and time a line; all of it is sound or none is taken. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from aircharge.ledger.batch_file import BatchFileError, csv_rows, fen_of

__all__ = ["BankLine", "read_bank_lines"]

_HEADINGS: Final = frozenset(("reference", "key", "流水号", "交易流水号"))
_YEAR_MIN: Final = 2000
_TIMES: Final = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M")


@dataclass(frozen=True, slots=True)
class BankLine:
    """So much came in at that time; the bank's reference counts once on a day."""

    reference: str
    amount_fen: int
    paid_ms: int


def read_bank_lines(data: bytes, utc_offset_min: int) -> list[BankLine]:
    """The payments of a file. Raises BatchFileError, which names the line."""
    lines: list[BankLine] = []
    seen: set[tuple[str, int]] = set()
    for number, row in csv_rows(data, _HEADINGS):
        line = _line(number, row, utc_offset_min)
        day = (line.paid_ms + utc_offset_min * 60_000) // 86_400_000
        if (line.reference, day) in seen:
            raise BatchFileError(f"line {number}: reference {line.reference} is there twice on one day")
        seen.add((line.reference, day))
        lines.append(line)
    return lines


def _line(number: int, row: Sequence[str], utc_offset_min: int) -> BankLine:
    if len(row) != 3:
        raise BatchFileError(f"line {number}: reference, amount and time are wanted")
    reference, amount_fen = row[0].strip(), fen_of(row[1])
    if not 0 < len(reference) <= 55 or not reference.isprintable():
        raise BatchFileError(
            f"line {number}: the reference is missing, too long or has characters nobody can see"
        )
    if not amount_fen:
        raise BatchFileError(f"line {number}: {row[1].strip()[:30]!r} is no amount in yuan")
    return BankLine(reference, amount_fen, _ms(number, row[2].strip(), utc_offset_min))


def _ms(number: int, text: str, utc_offset_min: int) -> int:
    for form in _TIMES:
        try:
            local = datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
        if local.year >= _YEAR_MIN:
            return int((local - timedelta(minutes=utc_offset_min)).timestamp()) * 1000
    raise BatchFileError(f"line {number}: {text[:30]!r} is no time: YYYY-MM-DD HH:MM")
