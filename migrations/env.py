"""Alembic's environment. Only ``aircharge.ledger.schema`` runs it; the connection is handed in."""

from __future__ import annotations

from alembic import context

from aircharge.ledger.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
