"""Orders for ``sick_disk.c``: the library is compiled once, each disk is a file of numbers shared with a process."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

__all__ = ["SickDisk"]

SOURCE = Path(__file__).with_name("sick_disk.c")


class SickDisk:
    """Well until told otherwise."""

    def __init__(self, folder: Path, files: str) -> None:
        """Processes started with ``environment`` fail on files whose path has ``files`` in it. Skips without gcc."""
        compiler = shutil.which("gcc")
        if compiler is None:
            pytest.skip("PEER MISSING: gcc (build-essential)")
        self._library = folder / "sick_disk.so"
        command = [
            compiler,
            "-shared",
            "-fPIC",
            "-O1",
            "-Wall",
            "-Werror",
            "-o",
            str(self._library),
            str(SOURCE),
            "-ldl",
        ]
        subprocess.run(command, check=True)
        self._orders = folder / "sick_disk.orders"
        self._orders.write_bytes(bytes(4096))
        self._files = files
        with self._orders.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 4096)

    @property
    def environment(self) -> dict[str, str]:
        """This process's, and the sickness."""
        return {
            **os.environ,
            "LD_PRELOAD": str(self._library),
            "AIRCHARGE_SICK_DISK": str(self._orders),
            "AIRCHARGE_SICK_FILES": self._files,
        }

    def fill(self, after: int = 0) -> None:
        """No room any more, once so many calls have passed."""
        self._order(errno.ENOSPC, after, -1)

    def break_down(self, after: int = 0, calls: int = -1) -> None:
        """Errors of input and output for so many calls, once ``after`` have passed; -1: for ever."""
        self._order(errno.EIO, after, calls)

    def heal(self) -> None:
        self._order(0, 0, 0)

    @property
    def failed(self) -> int:
        """Calls that were made to fail so far."""
        (failed,) = struct.unpack_from("=i", self._shared, 16)
        return int(failed)

    def _order(self, code: int, after: int, calls: int) -> None:
        """The errno last: until then nothing is sick."""
        struct.pack_into("=iii", self._shared, 0, 0, after, calls)
        struct.pack_into("=i", self._shared, 0, code)
