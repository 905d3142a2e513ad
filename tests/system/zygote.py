"""The rig's end of the process that forks daemons (``rigged`` is the other end)."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.system.rigged import Life

__all__ = ["Zygote"]

ROOT = Path(__file__).parents[2]


class Zygote:
    """One daemon at a time."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.system.rigged"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = 0
        self._heard = b""

    def start(self, life: Life) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(life.line())
        self._process.stdin.flush()
        self.pid = self._word(90.0)["up"]

    def ended(self, wait_s: float = 0.0) -> int | None:
        """The exit code of the daemon (-9 when killed), or None while it lives."""
        assert self._process.stdout is not None
        if not self._heard and not select.select([self._process.stdout], [], [], wait_s)[0]:
            return None
        self.pid = 0
        status: int = self._word(5.0)["down"]
        return status

    def _word(self, wait_s: float) -> dict[str, int]:
        """The next line; several may have come at once."""
        out = self._process.stdout
        assert out is not None
        while b"\n" not in self._heard:
            if not select.select([out], [], [], wait_s)[0]:
                raise RuntimeError("the zygote says nothing")
            octets = os.read(out.fileno(), 4096)
            if not octets:
                raise RuntimeError("the zygote has ended")
            self._heard += octets
        line, _, self._heard = self._heard.partition(b"\n")
        word: dict[str, int] = json.loads(line)
        return word

    def signal(self, number: int) -> None:
        """Signal the daemon, unless it has ended (its end is still to be heard then)."""
        assert self.pid > 0, "no daemon lives"
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    @property
    def is_frozen(self) -> bool:
        """Whether the daemon stands still by a SIGSTOP (proc(5))."""
        try:
            status = Path(f"/proc/{self.pid}/stat").read_text("ascii")
        except (FileNotFoundError, ProcessLookupError):
            return False
        return self.pid > 0 and status.rpartition(")")[2].split()[0] == "T"

    def close(self) -> None:
        """End the daemon that may still live, then the zygote."""
        if self.pid:
            self.signal(signal.SIGKILL)
            self.ended(60.0)
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(60)
