"""What a piece of work allocates at most, whether or not the coverage of the tests is being measured."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

__all__ = ["peak_octets"]


def peak_octets(work: Callable[[], Any]) -> tuple[Any, int]:
    """What ``work()`` returned, and the peak of its allocations; a measurement's own are kept out of it."""
    tracer = sys.gettrace()
    sys.settrace(None)
    tracemalloc.start()
    try:
        return work(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        sys.settrace(tracer)
