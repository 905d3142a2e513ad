"""A reactor whose timers go by the monotonic clock: Twisted's go by the wall clock and stand still when it is set back."""

from __future__ import annotations

import time
from typing import Any

__all__ = ["steady"]


def steady(reactor: Any) -> Any:
    """Give the process's own reactor the monotonic clock, before anything is scheduled with it; returns it."""
    reactor.seconds = time.monotonic
    return reactor
