"""Examples out of examples: what the plain runner feeds. The same seed gives the same stream of bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Final

__all__ = ["mutants", "repeated"]

_LENGTH_MAX: Final = 4096
_EXTREMES: Final = (
    b"\0", b"\x01", b"\x7f", b"\x80", b"\xff", b"\0\0", b"\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0",
    b"\xff\xff\xff\xff", b"\x84\x7f\xff\xff\xff", b"\x1b", b'"', b"\r\n", b"[", "０".encode(), b"\xd8\x00",
)  # fmt: skip


def _flip(data: bytearray, others: Sequence[bytes], chance: Random) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _extreme(data: bytearray, others: Sequence[bytes], chance: Random) -> None:
    """Something at the edge of what fields hold, over what was there or before it."""
    at = chance.randint(0, len(data))
    new = chance.choice(_EXTREMES)
    data[at : at + chance.choice((0, len(new)))] = new


def _drop(data: bytearray, others: Sequence[bytes], chance: Random) -> None:
    at = chance.randint(0, len(data))
    del data[at : at + chance.choice((1, 2, 4, len(data)))]


def _again(data: bytearray, others: Sequence[bytes], chance: Random) -> None:
    at, end = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
    data[end:end] = data[at:end] * chance.choice((1, 1, 2, 9))


def _noise(data: bytearray, others: Sequence[bytes], chance: Random) -> None:
    at = chance.randint(0, len(data))
    data[at:at] = chance.randbytes(chance.randint(1, 8))


def _graft(data: bytearray, others: Sequence[bytes], chance: Random) -> None:
    """The end of another example behind the beginning of this one."""
    other = chance.choice(others)
    data[chance.randint(0, len(data)) :] = other[chance.randint(0, len(other)) :]


_WAYS: Final[tuple[Callable[[bytearray, Sequence[bytes], Random], None], ...]] = (
    _flip, _flip, _extreme, _extreme, _drop, _again, _noise, _graft,
)  # fmt: skip


def mutants(examples: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Without end: each an example changed in one to five ways."""
    chance = Random(seed)
    known = [*examples, b""]
    while True:
        data = bytearray(chance.choice(known))
        for _ in range(chance.randint(1, 5)):
            chance.choice(_WAYS)(data, known, chance)
        yield bytes(data[:_LENGTH_MAX])


def repeated(examples: Sequence[bytes], octets: int) -> Iterator[bytes]:
    """Inputs of that length, each one piece again and again: what takes time with the square of it shows."""
    for piece in (*examples, *(bytes((octet,)) for octet in range(256)), b"a.", b"1,", b'{"a":', b"\x1b\x1b"):
        if piece:
            yield (piece * (octets // len(piece) + 1))[:octets]
            middle = len(piece) // 2
            yield (piece[:middle] + piece[middle:] * (octets // (len(piece) - middle) + 1))[:octets]
