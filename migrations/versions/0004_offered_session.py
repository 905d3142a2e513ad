"""A terminal's new session is offered beside the one it has, until a message proves that it took it.

Expands only: the program of revision 0003 reads and writes on as before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE terminal_session ADD COLUMN next_session BIGINT DEFAULT 0 NOT NULL")
    op.create_table(
        "terminal_offer",
        sa.Column("terminal_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key_version", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("session", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("pik_wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("mak_wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("until_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "(pik_wrapped IS NULL) = (mak_wrapped IS NULL)", name=op.f("ck_terminal_offer_keys")
        ),
        sa.ForeignKeyConstraint(["terminal_id"], ["terminal.id"], name=op.f("fk_terminal_offer_terminal_id")),
        sa.PrimaryKeyConstraint("terminal_id", "key_version", name=op.f("pk_terminal_offer")),
    )


def downgrade() -> None:
    op.drop_table("terminal_offer")
    op.execute("ALTER TABLE terminal_session DROP COLUMN next_session")
