"""pyiso8583, told what stands where by a table of its own: written from the standard's list, not from our profiles."""

from __future__ import annotations

from typing import Any, Final

import iso8583

from aircharge.wire.iso8583.message import Message, Value

__all__ = ["OCTETS_LLL", "PEERS", "Peer"]

_TABLE: Final = """
2 n ..19 | 3 n 6 | 4 n 12 | 5 n 12 | 6 n 12 | 7 n 10 | 8 n 8 | 9 n 8 | 10 n 8 | 11 n 6 | 12 n 6 | 13 n 4
14 n 4 | 15 n 4 | 16 n 4 | 17 n 4 | 18 n 4 | 19 n 3 | 20 n 3 | 21 n 3 | 22 n 3 | 23 n 3 | 24 n 3 | 25 n 2
26 n 2 | 27 n 1 | 32 n ..11 | 33 n ..11 | 35 z ..37 | 36 z ...104 | 37 an 12 | 38 an 6 | 39 an 2 | 40 an 3
41 ans 8 | 42 ans 15 | 43 ans 40 | 44 ans ..25 | 45 ans ..76 | 46 b ...600 | 47 b ...512 | 48 n ...322
49 an 3 | 50 an 3 | 51 an 3 | 52 b 8 | 53 n 16 | 54 ans ...40 | 55 b ...255 | 56 b ...600 | 57 ans ...100
58 ans ...100 | 59 b ...600 | 60 n ...17 | 61 n ...29 | 62 b ...512 | 63 ans ...163 | 64 b 8 | 70 n 3
90 n 42 | 95 an 42 | 100 n ..11 | 102 ans ..28 | 103 ans ..28 | 128 b 8
"""
_ROWS: Final = [row.split() for row in _TABLE.replace("\n", "|").split("|") if row.strip()]
_KINDS: Final = {int(number): kind for number, kind, _ in _ROWS}
OCTETS_LLL: Final = frozenset(int(number) for number, kind, size in _ROWS if kind == "b" and "." in size)


def _spec(number: str, kind: str, size: str, *, packed: bool, pad: str) -> dict[str, Any]:
    """A row in pyiso8583's words; lengths count digits, characters or octets as they stand on the line."""
    dots = size.count(".")
    row: dict[str, Any] = {
        "data_enc": "gbk",
        "len_enc": "bcd" if packed else "ascii",
        "len_type": (dots + 1) // 2 if packed else dots,
        "max_len": int(size.strip(".")),
        "desc": number,
    }
    if packed and kind in ("n", "z"):
        row |= {"data_enc": "b", "len_count": "nibbles", pad: "0"}
    elif packed and kind == "b":
        row["data_enc"] = "b"
    elif kind == "b":
        row["max_len"] *= 2
    return row


class Peer:
    """pyiso8583 with one dialect. ``knows``: the elements that it can be told of."""

    def __init__(self, *, packed: bool, pad: str = "right_pad", pin_octets: int = 8) -> None:
        self._packed = packed
        self._spec = {
            number: _spec(number, kind, str(pin_octets) if number == "52" else size, packed=packed, pad=pad)
            for number, kind, size in _ROWS
        }
        self._spec["h"] = _spec("h", "ans", "0", packed=packed, pad=pad)
        self._spec["t"] = {**_spec("t", "n", "4", packed=packed, pad=pad), "len_count": "bytes"}
        self._spec["t"]["max_len"] = 2 if packed else 4
        self._spec["p"] = self._spec["1"] = _spec("p", "b", "8", packed=packed, pad=pad)
        # As characters its LLL counts hexadecimal digits; ours, like jPOS's IFA_LLLBINARY, counts octets.
        self.knows = frozenset(_KINDS) - (frozenset() if packed else OCTETS_LLL)

    def encode(self, message: Message) -> bytes:
        fields = {str(number): self._out(number, value) for number, value in message.fields.items()}
        return bytes(iso8583.encode({"t": message.mti, **fields}, self._spec)[0])

    def decode(self, octets: bytes) -> Message:
        fields = iso8583.decode(octets, self._spec)[0]
        mti = fields.pop("t")
        numbers = [int(number) for number in fields if number not in ("h", "p", "1")]
        return Message(mti, {number: self._in(number, fields[str(number)]) for number in numbers})

    def _out(self, number: int, value: Value) -> str:
        if isinstance(value, bytes):
            return value.hex().upper()
        return value.replace("=", "D") if _KINDS[number] == "z" and self._packed else value

    @staticmethod
    def _in(number: int, text: str) -> Value:
        kind = _KINDS[number]
        return bytes.fromhex(text) if kind == "b" else text.replace("D", "=") if kind == "z" else text


PEERS: Final = {
    "cup": Peer(packed=True),
    "bcd": Peer(packed=True, pad="left_pad"),
    "cup-aes": Peer(packed=True, pin_octets=16),
    "ascii": Peer(packed=False),
}
"""By the names of our profiles."""
