"""A terminal's new session is offered beside the one it has, until a message proves that it took it.

Expands only: the program of revision 0003 reads and writes on as before.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_CHECK = "CONSTRAINT ck_terminal_session_next CHECK ((next_pik IS NULL) = (next_mak IS NULL))"


def upgrade() -> None:
    octets = "BYTEA" if op.get_bind().dialect.name == "postgresql" else "BLOB"
    for column in (
        "next_session BIGINT DEFAULT 0 NOT NULL",
        "next_key SMALLINT DEFAULT 0 NOT NULL",
        f"next_pik {octets}",
        f"next_mak {octets} {_CHECK}",
        "next_until_ms BIGINT DEFAULT 0 NOT NULL",
    ):
        op.execute(f"ALTER TABLE terminal_session ADD COLUMN {column}")


def downgrade() -> None:
    for name in ("next_until_ms", "next_mak", "next_pik", "next_key", "next_session"):
        op.execute(f"ALTER TABLE terminal_session DROP COLUMN {name}")
