"""A file of recharges: number and amount a line, and what speaks against each line before anything is reserved. Pure.

CSV in UTF-8 or GB18030, with or without a heading; at most 5,000 lines. A line that cannot be is reported, the others
go on.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from aircharge.errors import AirchargeError, Reason, Refusal
from aircharge.ledger.policy import Policy
from aircharge.ledger.pricing import quote, sells
from aircharge.values import AMOUNT_MAX_FEN, Msisdn

__all__ = [
    "LINES_MAX",
    "BatchFileError",
    "BatchLine",
    "Offer",
    "Totals",
    "read_lines",
    "totals",
    "weigh_lines",
]

LINES_MAX: Final = 5000
_YUAN: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,2}))?")
_HEADINGS: Final = frozenset(("number", "msisdn", "phone", "号码", "手机号", "手机号码"))


class BatchFileError(AirchargeError):
    """The file cannot be read at all: the message says why."""


@dataclass(frozen=True, slots=True)
class BatchLine:
    """A line of the file by its number; ``reason`` is OK or what speaks against it. Amounts in fen."""

    line: int
    msisdn: str
    amount_fen: int = 0
    operator_id: int = 0
    cost_fen: int = 0
    reason: Reason = Reason.OK


@dataclass(frozen=True, slots=True)
class Offer:
    """What an operator serves: segments of numbers, and the face values it sells without a product in the ledger."""

    operator_id: int
    segments: tuple[str, ...]
    sells: Callable[[int], bool]


@dataclass(frozen=True, slots=True)
class Totals:
    """A dry run's sums. ``refused``: how many lines by reason."""

    lines: int
    valid: int
    amount_fen: int
    cost_fen: int
    refused: dict[Reason, int]


def read_lines(data: bytes) -> list[BatchLine]:
    """The lines of a file. Raises BatchFileError when it is no text, empty or too long."""
    return [_line(number, row) for number, row in csv_rows(data, _HEADINGS)]


def csv_rows(data: bytes, headings: Container[str]) -> list[tuple[int, list[str]]]:
    """Rows with the number of their last line, blank ones left out, and the first if it begins with a heading.

    Raises BatchFileError.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = data.decode("gb18030")
        except UnicodeDecodeError as error:
            raise BatchFileError("the file is neither UTF-8 nor GB18030 text") from error
    if "\0" in text:
        raise BatchFileError("the file is no text")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        found = ((reader.line_num, row) for row in reader if any(cell.strip() for cell in row))
        rows = list(islice(found, LINES_MAX + 2))  # a heading, and one more than there may be
    except csv.Error as error:
        raise BatchFileError(f"the file is no CSV: {error}") from error
    if rows and rows[0][1][0].strip().lower() in headings:
        rows = rows[1:]
    if not rows:
        raise BatchFileError("the file has no lines")
    if len(rows) > LINES_MAX:
        raise BatchFileError(f"the file has more than {LINES_MAX} lines")
    return rows


def fen_of(yuan: str) -> int:
    """ "50" or "49.5" yuan in fen; 0 for what is no amount."""
    found = _YUAN.fullmatch(yuan.strip())
    fen = int(found[1]) * 100 + int((found[2] or "").ljust(2, "0")) if found else 0
    return fen if fen <= AMOUNT_MAX_FEN else 0


def _line(number: int, row: Sequence[str]) -> BatchLine:
    if len(row) != 2:
        return BatchLine(number, row[0].strip()[:20], reason=Reason.FORMAT)
    written, amount_fen = row[0].strip(), fen_of(row[1])
    try:
        msisdn = Msisdn.parse(written)
    except Refusal:
        return BatchLine(number, written[:20], reason=Reason.NUMBER)
    if not amount_fen:
        return BatchLine(number, str(msisdn), reason=Reason.AMOUNT)
    return BatchLine(number, str(msisdn), amount_fen)


def weigh_lines(
    lines: Sequence[BatchLine], offers: Sequence[Offer], policy: Policy, group: str, local_date: int
) -> list[BatchLine]:
    """Every line with its operator and what the outlet would pay for it, or with what speaks against it.

    The same number and amount a second time is refused as DUPLICATE: one file does not say it twice.
    """
    segments = {segment: offer for offer in offers for segment in offer.segments}
    longest = max((len(segment) for segment in segments), default=0)
    seen: set[tuple[str, int]] = set()
    weighed = []
    for line in lines:
        offer = next((o for n in range(longest, 0, -1) if (o := segments.get(line.msisdn[:n]))), None)
        reason = line.reason
        if reason is Reason.OK:
            reason = _objection(line, offer, policy, local_date, seen)
        if reason is not Reason.OK or offer is None:
            weighed.append(BatchLine(line.line, line.msisdn, line.amount_fen, reason=reason))
            continue
        seen.add((line.msisdn, line.amount_fen))
        cost_fen = quote(policy, offer.operator_id, group, line.amount_fen, local_date).cost_fen
        weighed.append(BatchLine(line.line, line.msisdn, line.amount_fen, offer.operator_id, cost_fen))
    return weighed


def _objection(
    line: BatchLine, offer: Offer | None, policy: Policy, local_date: int, seen: set[tuple[str, int]]
) -> Reason:
    if offer is None:
        return Reason.NUMBER
    by_default = offer.sells(line.amount_fen)
    if not sells(policy, offer.operator_id, line.amount_fen, local_date, by_default=by_default):
        return Reason.AMOUNT
    return Reason.DUPLICATE if (line.msisdn, line.amount_fen) in seen else Reason.OK


def totals(lines: Sequence[BatchLine]) -> Totals:
    """Counts and sums; only valid lines are summed."""
    valid = [line for line in lines if line.reason is Reason.OK]
    refused: Counter[Reason] = Counter(line.reason for line in lines if line.reason is not Reason.OK)
    amount_fen, cost_fen = sum(line.amount_fen for line in valid), sum(line.cost_fen for line in valid)
    return Totals(len(lines), len(valid), amount_fen, cost_fen, dict(refused))
