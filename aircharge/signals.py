"""What the daemon does on each signal (docs/operations.md, "Signals"): none ends it without a word.

TERM, INT, QUIT and PWR stop it in order, and at once when one of them comes again. HUP opens the log files anew. Of the
others each that would end a process is said in the log and ignored, but for those that tell of a fault of the process
itself (SEGV, ABRT …). One that somebody has taken before (twistd takes USR1 to rotate its log file) stays theirs.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.logger import Logger, globalLogPublisher

from aircharge.observe.aside import aside, finish_logs, writer_of
from aircharge.observe.logs import JsonLines, reopen_log_files

__all__ = ["IGNORED", "STOPS", "close_logs", "listen_to_signals", "reopen_logs", "write_logs_aside"]

log = Logger()

_REAL_TIME: Final = range(signal.SIGRTMIN, signal.SIGRTMAX + 1)
_BY_NAME: Final = {one.name: one for one in signal.Signals}
STOPS: Final = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGPWR")
IGNORED: Final = (
    "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGPOLL", "SIGIO", "SIGSTKFLT", "SIGXCPU",
)  # fmt: skip


def listen_to_signals(reactor: Any, leave: Callable[[int], Any]) -> None:
    """Take the signals now, and those that the reactor takes for itself once it runs. ``leave(code)`` ends at once."""
    stopping: list[str] = []

    def stop(name: str, before: Any, number: int) -> None:
        stopping.append(name)
        if len(stopping) > 1:
            reactor.callFromThread(_leave, name, leave)
        elif callable(before):
            before(number, None)  # the reactor's own: it stops, and remembers by which signal
        else:
            reactor.callFromThread(reactor.stop)

    def take(*, again: bool) -> None:
        for name in STOPS:
            number = _BY_NAME.get(name)
            before = signal.getsignal(number) if number is not None and again else None
            if number is not None:
                _take(
                    number, partial(stop, name, before if _is_reactors(before) else None, number), again=again
                )
        _take(_BY_NAME["SIGHUP"], partial(reactor.callFromThread, reopen_logs), again=again)
        for number in (*(_BY_NAME[name] for name in IGNORED if name in _BY_NAME), *_REAL_TIME):
            _take(number, partial(reactor.callFromThread, _said, int(number)), again=False)

    close_logs()
    write_logs_aside()
    reactor.addSystemEventTrigger("after", "shutdown", finish_logs)  # twistd then ends itself by the signal
    take(again=False)
    reactor.callWhenRunning(take, again=True)


def _is_reactors(handler: Any) -> bool:
    return getattr(handler, "__module__", "").startswith("twisted.")


def _take(number: int, act: Callable[[], object], *, again: bool) -> None:
    """``again``: also from whoever has it now."""
    if again or signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
        signal.signal(number, lambda _number, _frame: act())


def _leave(name: str, leave: Callable[[int], Any]) -> None:
    log.critical("{signal} again: ended at once; the next start takes up what is open", signal=name)
    leave(1)


def _said(number: int) -> None:
    log.info("signal {number} means nothing here and is ignored", number=number)


def _observers() -> list[Any]:
    """Who writes the log; Twisted has no public way to them."""
    return list(getattr(globalLogPublisher, "_observers", ()))


def _files_of_twistd() -> list[Any]:
    """What ``--logfile`` writes to."""
    outs = (getattr(observer, "_outFile", None) for observer in _observers())
    files = (getattr(out, "file", out) for out in outs)
    return [file for file in files if hasattr(file, "reopen") and hasattr(file, "path")]


def write_logs_aside() -> None:
    """From now on no line of the log waits for whoever reads it: ours and twistd's are written by threads."""
    for observer in _observers():
        if isinstance(observer, JsonLines):
            observer.write_aside()
        elif hasattr(observer, "_outFile"):
            observer._outFile = aside(observer._outFile) or observer._outFile


def close_logs() -> None:
    """Keep the log from everybody else: twistd opens its file before it takes a umask of its own."""
    for file in _files_of_twistd():
        _close(file)


def _close(file: Any) -> None:
    with contextlib.suppress(OSError):
        os.chmod(file.path, 0o600)


def _reopen(file: Any) -> None:
    file.reopen()
    _close(file)


def reopen_logs() -> None:
    """Open our own log files anew, and those twistd writes (``--logfile``); the configuration stays as it is."""
    count = reopen_log_files()
    for file in _files_of_twistd():
        writer = writer_of(file)
        if writer is None:
            _reopen(file)
        else:
            writer.do(partial(_reopen, file))
        count += 1
    log.info(
        "SIGHUP: {count} log files opened anew; the configuration is read at the next start", count=count
    )
