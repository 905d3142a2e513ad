"""The tables about the ledger itself: which keys it was written with, and whether it came from a backup.

Part of ``aircharge.ledger.tables``.
"""

from __future__ import annotations

from sqlalchemy import Column, Integer, LargeBinary, String, Table

from aircharge.ledger.columns import metadata, ms

__all__ = ["metadata"]

key_check = Table(
    "key_check",
    metadata,
    Column("name", String(32), primary_key=True),  # pepper, checkcode, card-master.1, kek.1
    Column("value", LargeBinary, nullable=False),  # 8 octets: tells keys apart, and tells nothing of them
    ms("made_ms"),
)

clock_word = Table(
    "clock_word",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    ms("said_ms"),  # two people said that this was the time
)

suspect = Table(
    "suspect",
    metadata,
    Column("id", String(32), primary_key=True),  # ``suspects.identity_of`` a command
    Column(
        "deaths", Integer, nullable=False
    ),  # how often it was under way when a broken invariant ended the process
    Column("about", String(64), nullable=False),  # the command's name
    ms("at_ms"),
)

restored = Table(
    "restored",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    ms("backup_ms"),  # when the backup was taken: what came after it is not in this ledger
    ms("restored_ms"),
    ms("reconciled_ms", nullable=True),  # from then on the doors may open
)
