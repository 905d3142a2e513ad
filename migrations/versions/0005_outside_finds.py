"""What the faults found on 30 November 2026 need in the schema (docs/proof/outside-finds.md).

Expands only: the program of revision 0004 reads and writes on as before. One function a matter.
"""

from __future__ import annotations

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
