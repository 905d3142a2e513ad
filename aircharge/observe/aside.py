"""The log never blocks money: lines are put into a bounded queue, and a thread of its own writes them.

Whoever reads the log (a pipe, a journal, a disk) may stop for as long as it likes: what does not fit into the queue is
dropped, counted and said once there is room again. Call sites write as to any file.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.logger import Logger

__all__ = ["Aside", "aside", "finish_logs", "lines_lost", "writer_of"]

log = Logger()

_QUEUE_MAX: Final = 4 * 1024 * 1024  # characters that wait
_AT_ONCE: Final = 64 * 1024
_FINISH_S: Final = 2.0
_PATIENCE_S: Final = 0.5

Act = Callable[[], object]


class Aside:
    """What ``write`` is given is passed to ``put`` by a thread, in order; ``write`` never waits for it.

    ``lost``: lines that found no room, or that ``put`` refused by an exception. ``file``: what it stands before.
    """

    def __init__(self, put: Callable[[str], object], file: Any = None, queue_max: int = _QUEUE_MAX) -> None:
        self.file = file
        self.lost = 0
        self.put = put
        self._queue: deque[str | Act] = deque()
        self._queue_max = queue_max
        self._size = 0
        self._unsaid = 0
        self._is_busy = False
        self._patience_s = 0.0
        self._ready = threading.Condition()  # of an RLock: a destructor may log while somebody logs
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Take a piece of the log, whole or not at all; its length."""
        with self._ready:
            if self._size + len(text) > self._queue_max:
                self.lost += 1
                self._unsaid += 1
                return len(text)
            self._queue.append(text)
            self._size += len(text)
            self._ready.notify_all()
            unsaid = 0
            if self._size * 2 < self._queue_max:
                unsaid, self._unsaid = self._unsaid, 0
        if unsaid:
            log.critical("{count} lines of the log were lost: its reader did not keep up", count=unsaid)
        if self._patience_s and not self.finish(self._patience_s):
            self._patience_s = 0.0
        return len(text)

    def flush(self) -> None:
        """The thread writes as soon as it can; see ``finish``."""

    def do(self, act: Act) -> None:
        """Have the thread do something between two writes (open a file anew); never dropped."""
        if threading.current_thread() is self._thread:
            act()
            return
        with self._ready:
            self._queue.append(act)
            self._ready.notify_all()

    def finish(self, wait_s: float = _FINISH_S) -> bool:
        """Wait until all is written, so long at the most; whether it was."""
        with self._ready:
            return self._ready.wait_for(lambda: not (self._queue or self._is_busy), wait_s)

    def end(self, wait_s: float) -> None:
        """The process ends soon: finish, and let what is still said be written at once where that is possible."""
        self._patience_s = _PATIENCE_S if self.finish(wait_s) else 0.0

    def _run(self) -> None:
        while True:
            with self._ready:
                self._is_busy = False
                self._ready.notify_all()
                while not self._queue:
                    self._ready.wait()
                self._is_busy = True
                task, count = self._take()
            try:
                if isinstance(task, str):
                    self.put(task)
                else:
                    task()
            except Exception:  # a full disk, a reader that is gone: the next line is tried again
                with self._ready:
                    self.lost += count
                    self._unsaid += count

    def _take(self) -> tuple[str | Act, int]:
        """The next act, or as many lines as are written at once, and how many they are."""
        task = self._queue.popleft()
        if not isinstance(task, str):
            return task, 0
        parts, size = [task], len(task)
        while self._queue and isinstance(self._queue[0], str) and size < _AT_ONCE:
            parts.append(str(self._queue.popleft()))
            size += len(parts[-1])
        self._size -= size
        return "".join(parts), len(parts)


_all: list[Aside] = []


def aside(file: Any) -> Aside | None:
    """An ``Aside`` before a file: one of Twisted's log files, or one with a descriptor; None where it is neither."""
    made = writer_of(file)
    if made is not None:
        return made
    if hasattr(file, "rotate") and hasattr(file, "reopen"):
        made = Aside(partial(_put_to_log_file, file), file)
        file.rotate = partial(made.do, file.rotate)  # by USR1: never in the reactor's thread
    else:
        try:
            descriptor = file.fileno()
            file.flush()
        except (OSError, AttributeError, ValueError):
            return None
        made = Aside(partial(_put_all, descriptor), file)
    if not _all:
        atexit.register(finish_logs)
    _all.append(made)
    return made


def writer_of(file: Any) -> Aside | None:
    """The one that stands before a file already."""
    return next((one for one in _all if one.file is file or one is file), None)


def finish_logs(wait_s: float = _FINISH_S) -> None:
    """Before the process ends: wait for what is still to be written, so long in all at the most."""
    for one in _all:
        one.end(wait_s / len(_all))


def lines_lost() -> int:
    """Of all logs, since the start."""
    return sum(one.lost for one in _all)


def _put_to_log_file(file: Any, text: str) -> None:
    if not hasattr(file, "_file"):  # it could not be opened anew last time
        file._openFile()
    file.write(text)


def _put_all(descriptor: int, text: str) -> None:
    """Write it whole, whatever the descriptor takes at once; it may be one that does not block."""
    rest = memoryview(text.encode("utf-8", "backslashreplace"))
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            waiting = select.poll()
            waiting.register(descriptor, select.POLLOUT)
            with contextlib.suppress(InterruptedError):
                waiting.poll(1000)
