"""What the faults found on 30 November 2026 need in the schema (docs/proof/outside-finds.md).

Expands only: the program of revision 0004 reads and writes on as before. One function a matter.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _know_keys_and_restores()
    _know_the_staff()
    _keep_macs_of_terminals()
    add_heard()
    _keep_the_centres()
    _know_what_waits_for_parts()
    _know_whose_credit_has_ended()
    _keep_whole_serials(64)
    _know_what_time_people_said_it_was()
    _know_what_ended_the_process()


def downgrade() -> None:
    op.drop_table("suspect")
    op.drop_table("clock_word")
    _keep_whole_serials(64)  # cutting would lose what operators said
    op.drop_column("credit_line", "ended")
    _forget_the_centres()
    op.drop_table("unjoined")
    op.drop_table("restored")
    op.drop_table("key_check")
    drop_heard()
    with op.batch_alter_table("staff") as staff:
        staff.drop_column("confirms_from_ms")
        staff.drop_column("admin_ms")
    op.drop_table("pos_proof")
    op.drop_index("pos_reversal_terminal", "pos_reversal")


def _keep_whole_serials(size: int) -> None:
    """L26: an operator's own number has up to 64 characters. SQLite holds no text to a length."""
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("txn", "op_serial", type_=sa.String(size))


def _know_what_ended_the_process() -> None:
    """L1: what was under way when a broken invariant ended the process; after a second time it is set aside."""
    op.create_table(
        "suspect",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("about", sa.String(64), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suspect")),
    )


def _know_what_time_people_said_it_was() -> None:
    """P7: a clock that differs from the ledger's last order is believed when two people say so."""
    op.create_table(
        "clock_word",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("said_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clock_word")),
    )


def _know_whose_credit_has_ended() -> None:
    """L11: that an outlet was told of its line's end no longer shows in its floor, which other movements raise too."""
    op.add_column("credit_line", sa.Column("ended", sa.SmallInteger(), server_default="0", nullable=False))
    op.execute(
        "UPDATE credit_line SET ended = 1 WHERE limit_fen = 0 OR NOT EXISTS (SELECT 1 FROM outlet o"
        " JOIN balance b ON b.account_id = o.float_id WHERE o.id = outlet_id AND b.floor = -limit_fen)"
    )


def _keep_macs_of_terminals() -> None:
    """T2: the MAC under which a terminal's sale came. T1: automatic reversals are counted by outlet and day."""
    op.create_index("pos_reversal_terminal", "pos_reversal", ["terminal_id", "made_ms"])
    op.create_table(
        "pos_proof",
        sa.Column("txn_id", _ID, autoincrement=False, nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.Column("clashed_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["txn_id"], ["txn.id"], name=op.f("fk_pos_proof_txn_id")),
        sa.PrimaryKeyConstraint("txn_id", name=op.f("pk_pos_proof")),
    )


def add_heard() -> None:
    """Plain messages and when they were first heard: what is delivered again is not carried out again."""
    op.create_table(
        "heard",
        sa.Column("phone", sa.String(20), nullable=False),
        sa.Column("words", sa.String(32), nullable=False),
        sa.Column("repeat_n", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("pin", sa.String(24), nullable=False),
        sa.Column("txn_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("sent_ms", sa.BigInteger(), nullable=True),
        sa.Column("again_n", sa.Integer(), nullable=False),
        sa.Column("told_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("phone", "words", "repeat_n", "pin", name="pk_heard"),
        sqlite_with_rowid=False,
    )
    op.create_index("heard_seen", "heard", ["seen_ms"])


def drop_heard() -> None:
    op.drop_index("heard_seen", table_name="heard")
    op.drop_table("heard")


def _know_the_staff() -> None:
    """R3: who has ever been an enrolled admin. R4: from when a person who is new here may confirm."""
    for name in ("admin_ms", "confirms_from_ms"):
        op.add_column("staff", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    op.execute("UPDATE staff SET admin_ms = changed_ms WHERE role = 'admin' AND totp_step > 0")


def _know_keys_and_restores() -> None:
    """K1: check values of the keys. A restored ledger stays shut until it was reconciled."""
    op.create_table(
        "key_check",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_key_check")),
    )
    op.create_table(
        "restored",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("backup_ms", sa.BigInteger(), nullable=False),
        sa.Column("restored_ms", sa.BigInteger(), nullable=False),
        sa.Column("reconciled_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_restored")),
    )


_LEFT = sa.text("state = 0 AND left_ms IS NOT NULL")


def _keep_the_centres() -> None:
    """S3: which SMS centre brought a question, so that its answers leave there after a restart and by any daemon."""
    for table in ("txn", "outbox"):
        op.add_column(table, sa.Column("centre", sa.String(32), server_default="", nullable=False))
    op.add_column("outbox", sa.Column("left_ms", sa.BigInteger(), nullable=True))
    op.create_index("outbox_left", "outbox", ["centre"], sqlite_where=_LEFT, postgresql_where=_LEFT)


def _forget_the_centres() -> None:
    op.drop_index("outbox_left", table_name="outbox")
    op.drop_column("outbox", "left_ms")
    for table in ("outbox", "txn"):
        op.drop_column(table, "centre")


def _know_what_waits_for_parts() -> None:
    """B7: messages whose parts have not all come; their senders are told after a crash too."""
    op.create_table(
        "unjoined",
        sa.Column("source", sa.String(21), nullable=False),
        sa.Column("destination", sa.String(21), nullable=False),
        sa.Column("ref", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("wide", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("total", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("centre", sa.String(32), server_default="", nullable=False),
        sa.Column("node", sa.SmallInteger(), nullable=False),
        sa.Column("came_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "destination", "ref", "wide", "total", name="pk_unjoined"),
        sqlite_with_rowid=False,
    )
