"""The tables of payment terminals: their keys, sessions, batches, and the automatic reversals they asked for.

Part of ``aircharge.ledger.tables``; the terminals themselves are in ``aircharge.ledger.tables_people``. Keys stand
here only wrapped (AES-GCM under a key-encryption key, ``aircharge.outlets.cards``).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    text,
)

from aircharge.ledger.columns import Id, big, fen, metadata, ms, small, word

__all__ = ["metadata"]

terminal_key = Table(
    "terminal_key",
    metadata,
    Column("terminal_id", BigInteger, ForeignKey("terminal.id"), primary_key=True, autoincrement=False),
    Column("version", SmallInteger, primary_key=True, autoincrement=False),  # 1..255
    Column("wrapped", LargeBinary, nullable=False),
    word("kcv", 16),  # check value, hexadecimal
    word("family", 8),  # 3des | aes
    small("state", 0),  # KEY_PENDING, KEY_ACTIVE, KEY_RETIRED
    ms("made_ms"),
    word("author", 130),  # maker+checker
    CheckConstraint("state IN (0, 1, 2)", name="state"),
    CheckConstraint("version BETWEEN 1 AND 255", name="version"),
)

key_component = Table(
    "key_component",
    metadata,
    Column("terminal_id", BigInteger, ForeignKey("terminal.id"), primary_key=True, autoincrement=False),
    Column("version", SmallInteger, primary_key=True, autoincrement=False),
    Column("part", SmallInteger, primary_key=True, autoincrement=False),
    small("parts"),
    Column("sealed", LargeBinary, nullable=False),  # gone when the last one comes
    word("kcv", 16),  # of the component
    word("family", 8),
    word("custodian", 64),
    ms("made_ms"),
    CheckConstraint("part BETWEEN 1 AND parts", name="part"),
)

terminal_session = Table(
    "terminal_session",
    metadata,
    Column("terminal_id", Id, ForeignKey("terminal.id"), primary_key=True, autoincrement=False),
    small("key_version", 0),  # the master key the working keys were sent under
    big("session"),  # counts the sign-ins
    Column("batch", Integer, nullable=False, server_default="1"),
    Column("pik_wrapped", LargeBinary),  # NULL: signed out
    Column("mak_wrapped", LargeBinary),
    big("signed_ms"),
    big("until_ms"),  # the working keys are good until then
    Column("parameters", Integer, nullable=False, server_default="0"),  # version of the parameters it has
    big("next_session"),  # the number that was used or offered last
    CheckConstraint("batch BETWEEN 1 AND 999999", name="batch"),
    CheckConstraint("(pik_wrapped IS NULL) = (mak_wrapped IS NULL)", name="keys"),
)

terminal_offer = Table(
    "terminal_offer",
    metadata,
    Column("terminal_id", BigInteger, ForeignKey("terminal.id"), primary_key=True, autoincrement=False),
    Column(
        "key_version", SmallInteger, primary_key=True, autoincrement=False
    ),  # master key they were sent under
    big("session"),
    Column("pik_wrapped", LargeBinary),  # NULL: used, or ended
    Column("mak_wrapped", LargeBinary),
    big("until_ms"),
    CheckConstraint("(pik_wrapped IS NULL) = (mak_wrapped IS NULL)", name="keys"),
)
"""What a sign-in was answered with, and no message has used yet: beside it the session in use is good."""

pos_batch = Table(
    "pos_batch",
    metadata,
    Column("terminal_id", BigInteger, ForeignKey("terminal.id"), primary_key=True, autoincrement=False),
    Column("batch", Integer, primary_key=True, autoincrement=False),
    small("state"),  # POS_EQUAL, POS_UNEQUAL, POS_COMPARED
    *(
        column
        for side in ("our", "their")
        for what in ("sale", "void")
        for column in (
            Column(f"{side}_{what}_n", Integer, nullable=False),
            fen(f"{side}_{what}_fen"),
        )
    ),
    ms("made_ms"),
    ms("done_ms", nullable=True),
    CheckConstraint("state IN (1, 2, 3)", name="state"),
)

pos_detail = Table(
    "pos_detail",
    metadata,
    Column("terminal_id", BigInteger, ForeignKey("terminal.id"), primary_key=True, autoincrement=False),
    Column("batch", Integer, primary_key=True, autoincrement=False),
    Column("trace", Integer, primary_key=True, autoincrement=False),
    fen("their_fen"),  # 0: the terminal does not know of it
    fen("our_fen"),  # 0: we know of none
    big("txn_id"),
    small("said"),  # DETAIL_EQUAL …
    CheckConstraint("said BETWEEN 0 AND 3", name="said"),
)

pos_reversal = Table(
    "pos_reversal",
    metadata,
    Column("txn_id", Id, ForeignKey("txn.id"), primary_key=True, autoincrement=False),  # the recharge
    Column("terminal_id", BigInteger, ForeignKey("terminal.id"), nullable=False),
    word("code", 2),  # DE 39 of the request: 98 no answer, A0 its MAC was wrong …
    small("state", 0),  # CANCEL_WANTED, CANCEL_DONE, CANCEL_STANDS
    ms("made_ms"),
    ms("done_ms", nullable=True),
    CheckConstraint("state IN (0, 1, 2)", name="state"),
)
Index(
    "pos_reversal_wanted",
    pos_reversal.c.made_ms,
    sqlite_where=text("state = 0"),
    postgresql_where=text("state = 0"),
)

Index("pos_reversal_terminal", pos_reversal.c.terminal_id, pos_reversal.c.made_ms)

pos_proof = Table(
    "pos_proof",
    metadata,
    Column("txn_id", Id, ForeignKey("txn.id"), primary_key=True, autoincrement=False),  # a terminal's sale
    Column("mac", LargeBinary, nullable=False),  # of the message that asked for it
    ms("clashed_ms", nullable=True),  # when another message came under its trace
)

pos_copy = Table(
    "pos_copy",
    metadata,
    Column("txn_id", Id, ForeignKey("txn.id"), primary_key=True, autoincrement=False),
    small("n"),  # how often its slip was printed again
    CheckConstraint("n >= 0", name="n"),
)
