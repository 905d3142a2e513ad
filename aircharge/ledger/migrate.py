"""The schema's version: checked at start-up, changed only by ``aircharge db upgrade``.

Migrations are alembic's and live in ``migrations/`` at the root of the source tree.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from aircharge.errors import LedgerError

__all__ = ["MIGRATIONS", "check_schema", "upgrade"]

MIGRATIONS: Final = Path(__file__).resolve().parents[2] / "migrations"


def upgrade(engine: Engine) -> None:
    """Bring the database to this code's schema, in one transaction."""
    with engine.execution_options(immediate=True).begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check_schema(engine: Engine) -> None:
    """Raises LedgerError when the database is empty, older or newer than this code; changes nothing."""
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    script = ScriptDirectory.from_config(_config())
    head = script.get_current_head()
    if found == head:
        return
    if found is None:
        raise LedgerError("the ledger's database is empty: run `aircharge db upgrade`")
    if found not in {revision.revision for revision in script.walk_revisions()}:
        raise LedgerError(
            f"the ledger's schema {found} is newer than this program ({head}): install its version"
        )
    raise LedgerError(
        f"the ledger's schema {found} is older than this program ({head}): run `aircharge db upgrade`"
    )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
