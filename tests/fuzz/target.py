"""What a fuzz target is, and the two things that are measured of every one: its errors and its memory."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from aircharge.errors import WireError

__all__ = ["Memory", "Target", "cuts", "memory_of", "must", "same_however_cut"]

_EVERY_CUT_MAX: Final = 64
"""Streams up to this long are cut at every boundary."""
_SOME_CUTS: Final = 8


def _nothing(value: Any, data: bytes) -> None:
    """A decoder of which nothing is promised but its errors."""


def _no_seeds() -> Iterable[bytes]:
    return ()


@dataclass(frozen=True, slots=True)
class Target:
    """One decoder or session.

    ``decode`` takes any octets and raises nothing but ``allowed``; ``check`` is given what came out and the
    octets, and raises nothing at all. ``bombs`` claim or hide far more than they are, ``tame`` is refused at the
    same place with a claim that is only just wrong; ``opened`` makes a fresh receiver to measure both with
    (default: decode), and ``copies`` is how many times over a reader of whole files may hold its input.
    ``seeds`` are where the corpus began.
    """

    decode: Callable[[bytes], Any]
    check: Callable[[Any, bytes], None] = _nothing
    allowed: tuple[type[Exception], ...] = (WireError,)
    tame: bytes = b""
    bombs: tuple[bytes, ...] = ()
    opened: Callable[[], Callable[[bytes], Any]] | None = None
    copies: int = 0
    seeds: Callable[[], Iterable[bytes]] = _no_seeds

    def run(self, data: bytes) -> bool:
        """Whether the octets were taken. Whatever this raises is a find."""
        try:
            value = self.decode(data)
        except self.allowed:
            return False
        self.check(value, data)
        return True


class Memory(NamedTuple):
    """Octets that taking some input costs beside receiver and input: at the peak, and kept afterwards."""

    peak: int
    kept: int


def memory_of(target: Target, *pieces: bytes) -> Memory:
    """What ``pieces`` cost a fresh receiver, its errors with their tracebacks included in the peak."""
    opened = target.opened or (lambda: target.decode)

    def swallow(take: Callable[[bytes], Any]) -> None:
        for data in pieces:
            with suppress(*target.allowed):
                take(data)

    swallow(opened())  # once before: caches of patterns, lazy imports
    take = opened()
    gc.collect(1)
    tracemalloc.start()
    try:
        swallow(take)
        peak = tracemalloc.get_traced_memory()[1]
        gc.collect(1)
        return Memory(peak, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()


def must(truth: bool, why: str) -> None:
    """An assertion inside an ``except``."""
    assert truth, why


def cuts(data: bytes) -> Iterator[tuple[bytes, ...]]:
    """Ways to cut a stream: octet by octet; in two at every boundary, or at eight when it is long."""
    yield tuple(data[at : at + 1] for at in range(len(data)))
    step = 1 if len(data) <= _EVERY_CUT_MAX else len(data) // _SOME_CUTS
    for at in range(1, len(data), step):
        yield data[:at], data[at:]


def same_however_cut(receive: Callable[[Iterable[bytes]], Any], whole: Any, data: bytes) -> None:
    """``receive`` must make of every cutting of the stream what it made of the whole."""
    for pieces in cuts(data):
        found = receive(pieces)
        assert found == whole, f"cut into {[len(piece) for piece in pieces]}: {found!r}, whole: {whole!r}"
