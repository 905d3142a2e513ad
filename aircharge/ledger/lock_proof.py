"""Proof that this process holds SQLite's lock on its ledger.

SQLite's locks are POSIX locks: a child does not inherit them, and closing any descriptor of the file drops them.
Without one, another process (the desk) takes itself for the only one, begins the wal-index anew and deletes the log
under the daemon. In WAL mode every open connection holds a shared lock on octet 128 of the ``-shm`` file ("dead man's
switch", sqlite.org/walformat.html, section 2.3.2).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from aircharge.errors import LedgerError

__all__ = ["NotLocked", "prove_lock"]

_LOCKS: Final = Path("/proc/locks")
_DEAD_MANS_SWITCH: Final = 128


class NotLocked(LedgerError):
    """Other processes would not see that this one uses the ledger."""


def prove_lock(engine: Engine) -> None:
    """Raises NotLocked. PostgreSQL has a server for that; where there is no /proc/locks nothing can be proved."""
    path = engine.url.database
    if engine.dialect.name != "sqlite" or not path or path == ":memory:" or not _LOCKS.exists():
        return
    with engine.connect() as txn:
        txn.exec_driver_sql("SELECT 1 FROM sqlite_schema").first()
        held = _locked_by(os.getpid(), f"{path}-shm")
    if not held:
        raise NotLocked(
            f"process {os.getpid()} holds no lock on {path}-shm: was the ledger opened before a fork?"
        )


def _locked_by(pid: int, path: str) -> bool:
    """Whether the process has a lock on the octet, as proc_locks(5) tells."""
    try:
        inode = os.stat(path).st_ino
        lines = _LOCKS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    for line in lines:
        words = line.split()
        if len(words) < 8 or words[1] not in ("POSIX", "OFDLCK") or words[4] != str(pid):
            continue
        is_octet = int(words[6]) <= _DEAD_MANS_SWITCH and (
            words[7] == "EOF" or int(words[7]) >= _DEAD_MANS_SWITCH
        )
        if words[5].rpartition(":")[2] == str(inode) and is_octet:
            return True
    return False
