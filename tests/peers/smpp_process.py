"""Runs ``smpp_daemon`` and other programs for a test, and ends them by their own ids."""

from __future__ import annotations

import json
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


class Told:
    """What a process says, a JSON object a line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        self.process = process
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def wait(self, what: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """The next happening of that kind; others are passed over."""
        ends = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, ends - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {what!r} within {timeout_s} s") from None
            if line.startswith("{"):
                told: dict[str, Any] = json.loads(line)
                if told["what"] == what:
                    return told


def until_listening(port: int, timeout_s: float = 60.0) -> None:
    """Wait until somebody listens there, without dialling. Linux."""
    wanted = re.compile(rf"^ *\d+: [0-9A-F]+:{port:04X} [0-9A-F:]+ 0A ", re.MULTILINE)
    ends = time.monotonic() + timeout_s
    while not any(wanted.search(table.read_text()) for table in TABLES if table.exists()):
        if time.monotonic() > ends:
            raise AssertionError(f"nobody listens on {port} after {timeout_s} s")
        time.sleep(0.1)


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A process for the time of the block."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


@contextmanager
def daemon(*arguments: str) -> Iterator[tuple[int, Told]]:
    """Our server on a free port of loopback: the port, and what it tells."""
    with running(sys.executable, "-m", "tests.peers.smpp_daemon", "0", *arguments) as process:
        told = Told(process)
        yield told.wait("ready")["port"], told
