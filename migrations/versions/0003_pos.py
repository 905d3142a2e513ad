"""Payment terminals: what binds a terminal, its wrapped keys, sessions, batches and automatic reversals.

Expands only: the program of revision 0002 reads and writes on as before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for column in (
        "merchant VARCHAR(15) DEFAULT '' NOT NULL",
        "rights SMALLINT DEFAULT 3 NOT NULL CONSTRAINT ck_terminal_rights CHECK (rights BETWEEN 1 AND 7)",
        "key_version SMALLINT DEFAULT 0 NOT NULL",
        "module VARCHAR(16) DEFAULT '' NOT NULL",
    ):
        op.execute(f"ALTER TABLE terminal ADD COLUMN {column}")
    op.create_index(
        "terminal_module",
        "terminal",
        ["module"],
        unique=True,
        sqlite_where=sa.text("module <> ''"),
        postgresql_where=sa.text("module <> ''"),
    )
    _keys()
    _batches()
    _reversals()


def _keys() -> None:
    op.create_table(
        "terminal_key",
        sa.Column("terminal_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("kcv", sa.String(length=16), server_default="", nullable=False),
        sa.Column("family", sa.String(length=8), server_default="", nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.String(length=130), server_default="", nullable=False),
        sa.CheckConstraint("state IN (0, 1, 2)", name=op.f("ck_terminal_key_state")),
        sa.CheckConstraint("version BETWEEN 1 AND 255", name=op.f("ck_terminal_key_version")),
        sa.ForeignKeyConstraint(["terminal_id"], ["terminal.id"], name=op.f("fk_terminal_key_terminal_id")),
        sa.PrimaryKeyConstraint("terminal_id", "version", name=op.f("pk_terminal_key")),
    )
    op.create_table(
        "key_component",
        sa.Column("terminal_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("part", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("parts", sa.SmallInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("kcv", sa.String(length=16), server_default="", nullable=False),
        sa.Column("family", sa.String(length=8), server_default="", nullable=False),
        sa.Column("custodian", sa.String(length=64), server_default="", nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("part BETWEEN 1 AND parts", name=op.f("ck_key_component_part")),
        sa.ForeignKeyConstraint(["terminal_id"], ["terminal.id"], name=op.f("fk_key_component_terminal_id")),
        sa.PrimaryKeyConstraint("terminal_id", "version", "part", name=op.f("pk_key_component")),
    )
    op.create_table(
        "terminal_session",
        sa.Column("terminal_id", _ID, autoincrement=False, nullable=False),
        sa.Column("key_version", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("session", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("batch", sa.Integer(), server_default="1", nullable=False),
        sa.Column("pik_wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("mak_wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("signed_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("until_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("parameters", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint("batch BETWEEN 1 AND 999999", name=op.f("ck_terminal_session_batch")),
        sa.CheckConstraint(
            "(pik_wrapped IS NULL) = (mak_wrapped IS NULL)", name=op.f("ck_terminal_session_keys")
        ),
        sa.ForeignKeyConstraint(
            ["terminal_id"], ["terminal.id"], name=op.f("fk_terminal_session_terminal_id")
        ),
        sa.PrimaryKeyConstraint("terminal_id", name=op.f("pk_terminal_session")),
    )


def _batches() -> None:
    op.create_table(
        "pos_batch",
        sa.Column("terminal_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("batch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        *(
            column
            for side in ("our", "their")
            for what in ("sale", "void")
            for column in (
                sa.Column(f"{side}_{what}_n", sa.Integer(), nullable=False),
                sa.Column(f"{side}_{what}_fen", sa.BigInteger(), nullable=False),
            )
        ),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("done_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state IN (1, 2, 3)", name=op.f("ck_pos_batch_state")),
        sa.ForeignKeyConstraint(["terminal_id"], ["terminal.id"], name=op.f("fk_pos_batch_terminal_id")),
        sa.PrimaryKeyConstraint("terminal_id", "batch", name=op.f("pk_pos_batch")),
    )
    op.create_table(
        "pos_detail",
        sa.Column("terminal_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("batch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("trace", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("their_fen", sa.BigInteger(), nullable=False),
        sa.Column("our_fen", sa.BigInteger(), nullable=False),
        sa.Column("txn_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("said", sa.SmallInteger(), nullable=False),
        sa.CheckConstraint("said BETWEEN 0 AND 3", name=op.f("ck_pos_detail_said")),
        sa.ForeignKeyConstraint(["terminal_id"], ["terminal.id"], name=op.f("fk_pos_detail_terminal_id")),
        sa.PrimaryKeyConstraint("terminal_id", "batch", "trace", name=op.f("pk_pos_detail")),
    )


def _reversals() -> None:
    op.create_table(
        "pos_reversal",
        sa.Column("txn_id", _ID, autoincrement=False, nullable=False),
        sa.Column("terminal_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(length=2), server_default="", nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("done_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state IN (0, 1, 2)", name=op.f("ck_pos_reversal_state")),
        sa.ForeignKeyConstraint(["terminal_id"], ["terminal.id"], name=op.f("fk_pos_reversal_terminal_id")),
        sa.ForeignKeyConstraint(["txn_id"], ["txn.id"], name=op.f("fk_pos_reversal_txn_id")),
        sa.PrimaryKeyConstraint("txn_id", name=op.f("pk_pos_reversal")),
    )
    op.create_index(
        "pos_reversal_wanted",
        "pos_reversal",
        ["made_ms"],
        unique=False,
        sqlite_where=sa.text("state = 0"),
        postgresql_where=sa.text("state = 0"),
    )
    op.create_table(
        "pos_copy",
        sa.Column("txn_id", _ID, autoincrement=False, nullable=False),
        sa.Column("n", sa.SmallInteger(), nullable=False),
        sa.CheckConstraint("n >= 0", name=op.f("ck_pos_copy_n")),
        sa.ForeignKeyConstraint(["txn_id"], ["txn.id"], name=op.f("fk_pos_copy_txn_id")),
        sa.PrimaryKeyConstraint("txn_id", name=op.f("pk_pos_copy")),
    )
