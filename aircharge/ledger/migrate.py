"""The schema's version: checked at start-up, changed only by ``aircharge db upgrade``.

Migrations are alembic's and live in ``migrations/`` at the root of the source tree.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, func, select

from aircharge.errors import LedgerError

__all__ = ["MIGRATIONS", "check_schema", "upgrade"]

_UPGRADE_LOCK: Final = 0x41435550  # "ACUP"
MIGRATIONS: Final = Path(__file__).resolve().parents[2] / "migrations"


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database to this code's schema (or an earlier ``revision``), in one transaction."""
    with engine.execution_options(immediate=True).connect() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        driver: Any = connection.connection.dbapi_connection
        if is_sqlite:  # a table that is made anew must not take its children along; it is checked below
            driver.execute("PRAGMA foreign_keys = OFF")
        try:
            with connection.begin():
                if not is_sqlite:  # two daemons that start together upgrade one after the other
                    connection.execute(select(func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
                config = _config()
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
                if is_sqlite and (orphan := driver.execute("PRAGMA foreign_key_check").fetchone()):
                    raise LedgerError(
                        f"the upgrade would leave orphans in table {orphan[0]}: nothing is changed"
                    )
        finally:
            if is_sqlite:
                driver.execute("PRAGMA foreign_keys = ON")


def check_schema(engine: Engine) -> None:
    """Raises LedgerError when the database is empty, older or newer than this code; changes nothing."""
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    head, known = _revisions()
    if found == head:
        return
    if found is None:
        raise LedgerError("the ledger's database is empty: run `aircharge db upgrade`")
    if found not in known:
        raise LedgerError(
            f"the ledger's schema {found} is newer than this program ({head}): install its version"
        )
    raise LedgerError(
        f"the ledger's schema {found} is older than this program ({head}): run `aircharge db upgrade`"
    )


@cache
def _revisions() -> tuple[str | None, frozenset[str]]:
    """This program's newest revision, and all of them."""
    script = ScriptDirectory.from_config(_config())
    return script.get_current_head(), frozenset(one.revision for one in script.walk_revisions())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
