"""Upgrades with the data of an earlier program in them: nothing is lost, the books go on, on both engines."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from aircharge.errors import LedgerError
from aircharge.ledger.migrate import MIGRATIONS, check_schema, upgrade
from aircharge.ledger.store import open_engine
from aircharge.ledger.tables import metadata
from aircharge.values import State, Verdict
from tests.ledger import engines
from tests.ledger.desk import Books

pytestmark = pytest.mark.usefixtures("engine")

_TXN = (
    "INSERT INTO txn (id, kind, channel, idem_scope, idem_key, req_hash, outlet_acct, operator_id, msisdn, amount,"
    " cost, state, op_ref, biz_date, created_ms, next_ms, done_ms) VALUES "
)
DATA_OF = {
    "0001": [
        "INSERT INTO account (id, kind, owner_id, normal_side, created_ms)"
        " VALUES (1, 1, 1, -1, 5), (1000, 2, 1000, 1, 5)",
        "INSERT INTO balance (account_id, posted, held, floor, version) VALUES (1000, 95000, 3000, 0, 4)",
        "INSERT INTO outlet (id, code, float_id, created_ms) VALUES (1000, 'A', 1000, 5)",
        "INSERT INTO outlet_phone (msisdn, outlet_id, rights, created_ms) VALUES ('13900000001', 1000, 3, 5)",
        "INSERT INTO card (id, iccid, outlet_id, msisdn, profile, key_source, master_version, key_version, hi,"
        " created_ms) VALUES (1, '89860000000000000010', 1000, '13900000001', 'default', 0, 1, 1, 9, 5)",
        "INSERT INTO credential (outlet_id, pin_mac, salt, pepper_ver, fails, changed_ms)"
        " VALUES (1000, 'm', 's', 1, 2, 5)",
        "INSERT INTO day (biz_date, state) VALUES (20261123, 0)",
        _TXN
        + "(7, 3, 3, 'funding', 'slip', 'h', 1000, 0, '', 100000, 100000, 4, NULL, 20261123, 6, NULL, 6)",
        _TXN
        + "(8, 1, 1, 'sms:13900000001', 'a', 'h', 1000, 1, '13800000001', 5000, 5000, 4, 'AC8', 20261123, 7,"
        " NULL, 8)",
        _TXN
        + "(9, 1, 1, 'sms:13900000001', 'b', 'h', 1000, 1, '13800000002', 3000, 3000, 1, 'AC9', 20261123, 9, 99,"
        " NULL)",
        "INSERT INTO journal (jid, txn_id, op, dr, cr, amount, biz_date, at_ms) VALUES"
        " (1, 7, 2, 100, 1000, 100000, 20261123, 6), (2, 8, 1, 1000, 1, 5000, 20261123, 8)",
        "INSERT INTO replay (card_id, serial, req_hash, txn_id, seen_ms) VALUES (1, -5, 'h', 8, 7)",
    ],
}
DATA_OF["0002"] = [
    statement.replace(
        "INTO day (biz_date, state) VALUES (", "INTO day (operator_id, biz_date, state) VALUES (0, "
    )
    for statement in DATA_OF["0001"]
] + [
    "INSERT INTO account (id, kind, owner_id, normal_side, created_ms)"
    " VALUES (1000000001000, 3, 1000, -1, 5), (2000000001000, 4, 1000, -1, 5)",
    "INSERT INTO balance (account_id, posted, held, floor, version)"
    " VALUES (1000000001000, 0, 0, 0, 0), (2000000001000, 0, 0, 0, 0)",
    "INSERT INTO terminal (id, code, outlet_id, kind, created_ms) VALUES (1, 'T1', 1000, 'pos', 5)",
]
DATA_OF["0003"] = [
    *DATA_OF["0002"],
    "INSERT INTO terminal_session (terminal_id, session, signed_ms, until_ms) VALUES (1, 3, 5, 9)",
]
DATA_OF["0004"] = [
    *DATA_OF["0003"],
    "INSERT INTO terminal_offer (terminal_id, key_version, session, until_ms) VALUES (1, 1, 4, 9)",
]
IN_THE_WAY = {"0001": "seal", "0002": "pos_batch", "0003": "terminal_offer", "0004": "pos_proof"}
"""What a program of that revision had written: a settled recharge, an open one, a card with its counter."""


def revisions() -> list[str]:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def same_as_metadata(engine: Engine) -> bool:
    with engine.connect() as txn:
        return not compare_metadata(MigrationContext.configure(txn), metadata)


def test_every_earlier_revision_has_its_data_here() -> None:
    assert list(DATA_OF) == revisions()[:-1]


@pytest.mark.parametrize("revision", DATA_OF)
def test_an_upgrade_carries_the_books_over(tmp_path: Path, revision: str) -> None:
    books = Books(engines.empty_url(tmp_path))
    upgrade(books.engine, revision)
    with pytest.raises(LedgerError, match="older"):
        check_schema(books.engine)
    with books.store.writing() as txn:
        for statement in DATA_OF[revision]:
            txn.exec_driver_sql(statement)
    upgrade(books.engine)
    check_schema(books.engine)
    assert same_as_metadata(books.engine)
    assert books.money("A") == (95_000, 3_000)
    assert books.rows("SELECT state FROM txn ORDER BY id") == [(4,), (4,), (1,)]
    assert books.value("SELECT hi FROM card") == 9
    assert books.problems() == []
    assert books.do(books.close(9, Verdict.YES)).state is State.SETTLED
    assert books.do(books.plain()).state is State.HELD
    assert books.money("A") == (92_000, 5_000)
    assert books.problems() == []
    books.engine.dispose()


@pytest.mark.parametrize("revision", DATA_OF)
def test_an_upgrade_that_fails_has_changed_nothing(tmp_path: Path, revision: str) -> None:
    """A table of the new schema's name is in the way."""
    engine = open_engine(engines.empty_url(tmp_path))
    upgrade(engine, revision)
    table = IN_THE_WAY[revision]
    with engine.execution_options(immediate=True).begin() as txn:
        txn.exec_driver_sql(f"CREATE TABLE {table} (mine INTEGER)")
    with pytest.raises(Exception, match=table):
        upgrade(engine)
    with engine.connect() as txn:
        assert txn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == revision
        assert txn.exec_driver_sql("SELECT count(*) FROM txn").scalar() == 0
    with engine.execution_options(immediate=True).begin() as txn:
        txn.exec_driver_sql(f"DROP TABLE {table}")
    upgrade(engine)
    assert same_as_metadata(engine)
    engine.dispose()


def test_two_upgrades_at_once_are_one(tmp_path: Path) -> None:
    url = engines.empty_url(tmp_path)
    both = [open_engine(url), open_engine(url)] if "postgresql" in url else [open_engine(url)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(upgrade, both))
    assert same_as_metadata(both[0])
    for engine in both:
        engine.dispose()
