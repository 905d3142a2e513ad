"""The daemon that dies on demand: a zygote with everything imported, one forked daemon at a time.

``python -m tests.system.rigged`` reads one JSON object a line (``Life``) and answers ``{"up": pid}``, later
``{"down": status}`` as ``os.waitstatus_to_exitcode`` has it. Every daemon is a process of its own with a reactor,
threads, sockets and database connections of its own; only its imports are inherited.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import signal
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aircharge import daemon
from aircharge.config import load
from aircharge.observe.aside import finish_logs
from aircharge.observe.logs import standard_output
from tests.system.mutants import plant_mutant
from tests.system.points import Killer, plant

__all__ = ["Life"]

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Life:
    """One life of the daemon: where it ends (point "" = only by signal), and what is planted in it."""

    config: str
    out: str
    point: str = ""
    nth: int = 1
    calm_s: float = 0.0  # passages count only after this
    mutant: str = ""
    patience_ms: int = 2500
    freezes: bool = False  # at the point it stops by SIGSTOP, and goes on when somebody wakes it

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


def die_with_parent() -> None:
    """Linux: SIGKILL as soon as whoever started us is gone, so that nothing outlives a broken test run."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def live(life: Life) -> None:
    """Be the daemon until killed, or until SIGTERM has stopped it in order."""
    die_with_parent()
    out = os.open(life.out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    from twisted.internet import reactor as installed
    from twisted.logger import globalLogBeginner

    reactor: Any = installed
    globalLogBeginner.beginLoggingTo([standard_output()], redirectStandardIO=False)
    # Rounds and patience of seconds instead of minutes; the rules stay the same.
    resolver: Any = functools.partial(daemon.DoubtResolver, interval_s=0.1, patience_ms=life.patience_ms)
    daemon.DoubtResolver = resolver  # type: ignore[misc]
    plant_mutant(life.mutant)
    plant(Killer(life.point, life.nth, life.calm_s, freezes=life.freezes))
    service = daemon.AirchargeService(load(Path(life.config)), reactor)
    service.startService()  # as twistd: before the reactor runs
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()


def main() -> None:
    """One life after the other, until standard input ends."""
    die_with_parent()
    for line in sys.stdin.buffer:
        life = Life(**json.loads(line))
        child = os.fork()
        if child == 0:
            os.close(0)
            code = 1
            try:
                live(life)
                code = 0
            except BaseException:  # the end of a process: whatever it was, it is in the log
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                finish_logs()
                os._exit(code)
        _say(up=child)
        _, status = os.waitpid(child, 0)
        _say(down=os.waitstatus_to_exitcode(status))


def _say(**words: int) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
