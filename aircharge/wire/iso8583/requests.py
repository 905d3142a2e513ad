"""A terminal's side of the conventions: the requests it builds, and what it reads from answers.

Every act is a row of ``_ROWS``; a function is there only where an element's contents are put together.
docs/protocols/pos-8583.md has the same as a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from aircharge.wire.iso8583.message import BadMessage, Message, Value
from aircharge.wire.iso8583.terminal import CURRENCY, Act, Line, Sums, fixed, write_lines

__all__ = ["Desk", "available_fen", "with_pin"]

_NO_CODE: Final = "000"
_PIN_AND_PAN, _PIN_ALONE = "26", "16"
_TIMED_OUT: Final = "98"
_BALANCE_DIGITS: Final = 12
_REPEATED: Final = (2, 3, 4, 11, 22, 25, 41, 42, 49, 60, 61)


class _Row(NamedTuple):
    mti: str
    elements: dict[int, str]
    network: str = _NO_CODE


_MONEY: Final = {22: "012", 25: "00", 49: CURRENCY}
_ROWS: Final[dict[Act, _Row]] = {
    Act.SALE: _Row("0200", {3: "500000", **_MONEY}),
    Act.VOID: _Row("0200", {3: "200000", **_MONEY}),
    Act.BALANCE: _Row("0200", {3: "310000", 49: CURRENCY}),
    Act.LAST: _Row("0200", {3: "320000"}),
    Act.CHECK: _Row("0200", {3: "330000"}),
    Act.COPY: _Row("0200", {3: "380000"}),
    Act.SIGN_IN: _Row("0800", {}, "003"),
    Act.PARAMETERS: _Row("0800", {}, "360"),
    Act.SIGN_OUT: _Row("0820", {}, "002"),
    Act.ECHO: _Row("0820", {}, "301"),
    Act.SETTLE: _Row("0500", {}, "201"),
    Act.UPLOAD: _Row("0320", {}, "201"),
    Act.UPLOAD_END: _Row("0320", {}, "202"),
}


@dataclass(frozen=True, slots=True)
class Desk:
    """Who asks: terminal 8 and merchant 15 characters, the open batch, the message kind (DE 60.1)."""

    terminal: str
    merchant: str
    batch: int = 1
    kind: str = "22"

    def request(
        self, act: Act, trace: int, more: dict[int, Value] | None = None, *, network: str = ""
    ) -> Message:
        """A request without its MAC; ``more`` adds elements or puts others in their place.

        ``network``: another DE 60.3 than the act's, "001" for a sign-in that wants keys of 8 octets.
        """
        mti, elements, code = _ROWS[act]
        fields: dict[int, Value] = {
            **elements,
            11: fixed(trace, 6),
            41: self.terminal,
            42: self.merchant,
            60: f"{self.kind}{fixed(self.batch, 6)}{network or code}",
            **(more or {}),
        }
        return Message(mti, fields)

    def sale(self, trace: int, number: str, amount_fen: int, repeat: int = 1) -> Message:
        """``repeat`` 2 and up: yes, the same number and amount again."""
        more: dict[int, Value] = {2: number, 4: fixed(amount_fen, 12)}
        if repeat > 1:
            more[57] = f"REPEAT={repeat}"
        return self.request(Act.SALE, trace, more)

    def original(self, trace: int, date: str, batch: int = 0) -> str:
        """DE 61: a transaction of this batch, or of another one; ``date`` is its DE 13."""
        return f"{fixed(batch or self.batch, 6)}{fixed(trace, 6)}{date}"

    def void(self, trace: int, amount_fen: int, original: str) -> Message:
        return self.request(Act.VOID, trace, {4: fixed(amount_fen, 12), 61: original})

    def settle(self, trace: int, sums: Sums) -> Message:
        return self.request(Act.SETTLE, trace, {48: sums.encode()})

    def upload(self, trace: int, lines: list[Line]) -> Message:
        return self.request(Act.UPLOAD, trace, {48: write_lines(lines)})

    def upload_end(self, trace: int, count: int) -> Message:
        """``count``: lines of the whole upload."""
        return self.request(Act.UPLOAD_END, trace, {48: fixed(count, 4)})

    @staticmethod
    def reversal(request: Message, code: str = _TIMED_OUT) -> Message:
        """The automatic reversal of an unanswered sale or void: its own elements and the reason (DE 39)."""
        kept: dict[int, Value] = {
            number: request.fields[number] for number in _REPEATED if number in request.fields
        }
        return Message("0400", {**kept, 39: code})


def with_pin(request: Message, block: bytes, *, bound: bool) -> Message:
    """The request with an enciphered PIN block; ``bound``: made with the number in DE 2."""
    security = (_PIN_AND_PAN if bound else _PIN_ALONE).ljust(16, "0")
    return Message(request.mti, {**request.fields, 26: "12", 52: block, 53: security})


def available_fen(answer: Message) -> int:
    """The balance in DE 54: account 02, kind 02, currency, C or D, 12 digits. Raises BadMessage."""
    text = answer.text(54)
    head, sign, digits = text[:7], text[7:8], text[8:]
    if head != f"0202{CURRENCY}" or sign not in ("C", "D") or len(digits) != _BALANCE_DIGITS:
        raise BadMessage("no balance", 54, 0, answer)
    if not (digits.isascii() and digits.isdecimal()):
        raise BadMessage("no balance", 54, 0, answer)
    return int(digits) if sign == "C" else -int(digits)
