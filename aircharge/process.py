"""Which process this is, in words that another process of the same machine can check.

``host/pid/start``: the start time (Linux: clock ticks since the machine booted) tells a process from a later one with
its number.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

__all__ = ["is_running", "this_process"]


def this_process() -> str:
    """At most 64 characters."""
    pid = os.getpid()
    return f"{socket.gethostname()[:32]}/{pid}/{_started(pid)}"


def is_running(name: str) -> bool:
    """Whether the process of that name runs; True when that cannot be told from here."""
    host, _, rest = name.partition("/")
    pid, _, started = rest.partition("/")
    if host != socket.gethostname()[:32] or not pid.isdecimal():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return _started(int(pid)) in (started, "")


def _started(pid: int) -> str:
    """ "" where there is no /proc; "-" for one that has ended and was not yet waited for."""
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return ""
    return "-" if fields[0] in "ZX" else fields[19]
