"""PostgreSQL's roles: an owner who migrates, and the daemon's, which can add to the journal and never change it.

The triggers that refuse UPDATE and DELETE of the journal bind everybody but the owner, who could take them away. So
the daemon and the clerks' desk connect as a role that owns nothing.
"""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import Connection, Engine, text

from aircharge.errors import LedgerError
from aircharge.ledger.tables import metadata

__all__ = ["APPEND_ONLY", "grant", "may_edit_history"]

APPEND_ONLY: Final = frozenset({"audit", "eod_balance", "journal", "seal"})
"""Rows are added and read; nothing else."""

_DELETED: Final = frozenset(
    {
        "batch_line",
        "heard",
        "key_check",
        "key_component",
        "limit_counter",
        "limit_rule",
        "list_entry",
        "number_language",
        "offence",
        "outbox",
        "outlet_phone",
        "pin_history",
        "price",
        "product",
        "replay",
        "terminal",
        "transfer_rule",
        "unjoined",
    }
)
"""Rows may go when their time is over. Of all other tables no row ever goes."""

_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def grant(engine: Engine, role: str) -> None:
    """Give an existing role what daemon and desk need, and take everything else. To be run by the tables' owner.

    Again after each upgrade. Raises LedgerError: SQLite, no such role, or one that is above the tables' rules.
    """
    if engine.dialect.name != "postgresql":
        raise LedgerError("roles are PostgreSQL's; an SQLite file is guarded by its file's permissions")
    if not _NAME.fullmatch(role):
        raise LedgerError(f"role {role!r}: lower-case letters, digits and _")
    with engine.execution_options(immediate=True).begin() as txn:
        _check(txn, role)
        for statement in _statements(role):
            txn.execute(text(statement))


def _check(txn: Connection, role: str) -> None:
    found = txn.execute(
        text(
            "SELECT rolsuper, pg_has_role(rolname, (SELECT tableowner FROM pg_tables"
            " WHERE schemaname = current_schema() AND tablename = 'journal'), 'MEMBER') FROM pg_roles"
            " WHERE rolname = :role"
        ),
        {"role": role},
    ).first()
    if found is None:
        raise LedgerError(f"there is no role {role}: CREATE ROLE {role} LOGIN")
    if found[0] or found[1]:
        raise LedgerError(f"role {role} is a superuser or owns the tables: it could change the journal")


def _statements(role: str) -> list[str]:
    statements = [
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}",
        f"GRANT USAGE ON SCHEMA public TO {role}",
        f"GRANT SELECT ON alembic_version TO {role}",
    ]
    for table in sorted(metadata.tables):
        rights = "SELECT, INSERT"
        if table not in APPEND_ONLY:
            rights += ", UPDATE"
        if table in _DELETED:
            rights += ", DELETE"
        statements.append(f"GRANT {rights} ON {table} TO {role}")
    return statements


def may_edit_history(engine: Engine) -> bool:
    """Whether who we are connected as could change the journal: then the database does not guard it from us."""
    if engine.dialect.name != "postgresql":
        return False
    with engine.connect() as txn:
        question = (
            "SELECT has_table_privilege('journal', 'UPDATE') OR has_table_privilege('journal', 'DELETE')"
        )
        return bool(txn.execute(text(question)).scalar())
