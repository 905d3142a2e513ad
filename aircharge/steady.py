"""A reactor whose timers go by the monotonic clock: Twisted's own stand still when the wall clock is set back."""

from __future__ import annotations

import time
from typing import Any

__all__ = ["steady"]


def steady(reactor: Any) -> Any:
    """Give the process's own reactor the monotonic clock, before anything is scheduled with it; returns it."""
    reactor.seconds = time.monotonic
    return reactor
