"""Which lines of ours an example reaches, and the few examples that reach what all of them reach."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

import aircharge

__all__ = ["fewest", "steps_of"]

_OURS: Final = str(Path(aircharge.__file__).parent)

Step = tuple[str, int, int]


def steps_of(run: Callable[[bytes], object], data: bytes) -> set[Step]:
    """Steps from line to line inside aircharge/, as (file, line before, line)."""
    found: set[Step] = set()
    last: dict[FrameType, int] = {}

    def within(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            found.add((frame.f_code.co_filename, last.get(frame, 0), frame.f_lineno))
            last[frame] = frame.f_lineno
        return within

    def called(frame: FrameType, event: str, _: Any) -> Any:
        return within if frame.f_code.co_filename.startswith(_OURS) else None

    before = sys.gettrace()
    sys.settrace(called)
    try:
        with suppress(Exception):  # a find is reported by the runner; here only its way counts
            run(data)
    finally:
        sys.settrace(before)
    return found


def fewest(
    run: Callable[[bytes], object], examples: Iterable[bytes], octets_max: int, each_max: int = 1024
) -> list[bytes]:
    """The shortest examples first, each kept when it takes a step that none before it took."""
    reached: set[Step] = set()
    kept: list[bytes] = []
    size = 0
    for data in sorted(set(examples), key=lambda one: (len(one), one)):
        if len(data) > each_max or size + len(data) > octets_max:
            continue
        steps = steps_of(run, data)
        if not steps <= reached:
            reached |= steps
            kept.append(data)
            size += len(data)
    return kept
