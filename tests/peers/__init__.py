"""Tests against programs that we did not write. Each says what it needs and is skipped loudly without it.

``.ci/run`` fails when the words "PEER MISSING" appear: on a build machine nothing of this is optional.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

__all__ = ["need"]

_DAEMON_FOLDERS = "/usr/sbin:/usr/local/sbin:/sbin"


def need(*programs: str) -> None:
    """Skip the calling test when one of these programs is missing; "lib….so…" names a shared library."""
    missing = [program for program in programs if not _present(program)]
    if missing:
        pytest.skip(f"PEER MISSING: {', '.join(missing)}")


def _present(program: str) -> bool:
    if program.startswith("lib") and ".so" in program:
        return any(True for root in ("/usr/lib", "/usr/local/lib") for _ in Path(root).rglob(program))
    return bool(shutil.which(program) or shutil.which(program, path=_DAEMON_FOLDERS))
