"""What the database itself refuses, whatever the program does; and the schema's version."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import IntegrityError

from aircharge.errors import LedgerError
from aircharge.ledger.chart import SYSTEM_ACCOUNTS
from aircharge.ledger.migrate import check_schema, upgrade
from aircharge.ledger.sqlite_queries import SQLITE_QUERIES
from aircharge.ledger.store import open_engine
from aircharge.ledger.tables import metadata
from aircharge.values import Verdict
from tests.ledger import engines
from tests.ledger.desk import Books

_NEW_TXN = (
    "INSERT INTO txn (id, kind, channel, idem_scope, idem_key, req_hash, outlet_acct, amount, cost, state, op_ref,"
    " biz_date, created_ms, orig_txn) VALUES "
)
FORBIDDEN = {
    "held more than there is": "UPDATE balance SET held = 100001 WHERE account_id = 1000",
    "held less than nothing": "UPDATE balance SET held = -1 WHERE account_id = 1000",
    "spent below the floor": "UPDATE balance SET posted = 4999 WHERE account_id = 1000",
    "a floor above nothing": "UPDATE balance SET floor = 1 WHERE account_id = 1000",
    "a journal row edited": "UPDATE journal SET amount = amount + 1",
    "a journal row deleted": "DELETE FROM journal",
    "an audit row edited": "UPDATE audit SET actor = 'nobody'",
    "an audit row deleted": "DELETE FROM audit",
    "an order posted twice": "INSERT INTO journal SELECT jid + 1, txn_id, op, dr, cr, amount, biz_date, at_ms"
    " FROM journal",
    "debit = credit": "INSERT INTO journal SELECT jid + 1, txn_id, 9, dr, dr, amount, biz_date, at_ms FROM journal",
    "a transfer of nothing": "INSERT INTO journal SELECT jid + 1, txn_id, 9, dr, cr, 0, biz_date, at_ms FROM journal",
    "a transfer to nowhere": "INSERT INTO journal SELECT jid + 1, txn_id, 9, dr, 77, 5, biz_date, at_ms FROM journal",
    "a key used twice": _NEW_TXN
    + "(1, 1, 1, 'sms:13900000001', 'open', '00', 1000, 5, 5, 0, NULL, 20261123, 1, NULL)",
    "a hold without reference": _NEW_TXN
    + "(1, 1, 1, 's', 'k', '00', 1000, 5, 5, 1, NULL, 20261123, 1, NULL)",
    "an order over nothing": _NEW_TXN + "(1, 1, 1, 's', 'k', '00', 1000, 0, 0, 1, 'R', 20261123, 1, NULL)",
    "an order less than nothing": _NEW_TXN
    + "(1, 1, 1, 's', 'k', '00', 1000, -5, 5, 0, NULL, 20261123, 1, NULL)",
    "no such state": _NEW_TXN + "(1, 1, 1, 's', 'k', '00', 1000, 5, 5, 9, 'R', 20261123, 1, NULL)",
    "a reference used twice": "UPDATE txn SET op_ref = (SELECT max(op_ref) FROM txn) WHERE kind = 1",
    "a reversal of nothing": _NEW_TXN + "(1, 2, 1, 's', 'k', '00', 1000, 5, 5, 1, 'R', 20261123, 1, NULL)",
    "two live reversals": _NEW_TXN
    + "(1, 2, 1, 's', 'k', '00', 1000, 5, 5, 1, 'R', 20261123, 1, (SELECT max(id) FROM txn)),"
    + "(2, 2, 1, 's', 'l', '00', 1000, 5, 5, 1, 'S', 20261123, 1, (SELECT max(id) FROM txn))",
    "maker = checker": "UPDATE change_request SET checker = maker",
    "approved by nobody": "UPDATE change_request SET checker = NULL",
    "a serial spent twice": "INSERT INTO replay SELECT * FROM replay",
    "a phone of two outlets": "INSERT INTO outlet_phone (msisdn, outlet_id, rights, created_ms)"
    " VALUES ('13900000001', 1001, 1, 0)",
    "a card of two": "INSERT INTO card (id, iccid, outlet_id, msisdn, profile, key_source, master_version, key_version,"
    " created_ms) SELECT 9, iccid, outlet_id, '13900000009', profile, 0, 1, 1, 0 FROM card WHERE id = 1",
    "an imported card without keys": "UPDATE card SET key_source = 1",
    "an outlet of no account": "UPDATE outlet SET float_id = 55",
    "no such language": "UPDATE outlet SET language = 'xx'",
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_forbidden(books: Books, name: str) -> None:
    settled = books.do(books.stk("13812345670"))
    books.do(books.close(settled, Verdict.YES))
    books.do(books.plain(mark="open"))
    assert books.money("A") == (95_000, 5_000)
    with pytest.raises(IntegrityError), books.store.writing() as txn:
        txn.exec_driver_sql(FORBIDDEN[name])
    assert books.problems() == []


@pytest.mark.usefixtures("engine")
def test_migrations_make_what_the_tables_say(tmp_path: Path) -> None:
    engine = open_engine(engines.empty_url(tmp_path))
    upgrade(engine)
    with engine.connect() as txn:
        assert compare_metadata(MigrationContext.configure(txn), metadata) == []
        system = txn.exec_driver_sql(
            "SELECT id, normal_side FROM account WHERE kind = 0 ORDER BY id"
        ).fetchall()
        assert [tuple(row) for row in system] == [(number, side) for number, side, _ in SYSTEM_ACCOUNTS]
    upgrade(engine)  # twice does nothing
    check_schema(engine)
    engine.dispose()


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("DROP TABLE alembic_version", "empty"),
        ("UPDATE alembic_version SET version_num = 'ffff'", "newer"),
    ],
)
def test_another_schema_is_refused(books: Books, statement: str, why: str) -> None:
    check_schema(books.engine)
    with books.store.writing() as txn:
        txn.exec_driver_sql(statement)
    with pytest.raises(LedgerError, match=why):
        check_schema(books.engine)


def test_the_database_is_durable(sqlite_books: Books) -> None:
    assert sqlite_books.value("PRAGMA journal_mode") == "wal"
    assert sqlite_books.value("PRAGMA synchronous") == 2
    assert sqlite_books.value("PRAGMA foreign_keys") == 1


@pytest.mark.parametrize("table", ["journal", "audit"])
@pytest.mark.parametrize("verb", ["INSERT OR REPLACE INTO", "REPLACE INTO"])
def test_nothing_is_replaced(sqlite_books: Books, table: str, verb: str) -> None:
    """REPLACE deletes the row that is in its way, and that is a deletion like any other."""
    sqlite_books.do(sqlite_books.close(sqlite_books.do(sqlite_books.stk("13812345670")), Verdict.YES))
    with pytest.raises(IntegrityError), sqlite_books.store.writing() as txn:
        txn.exec_driver_sql(f"{verb} {table} SELECT * FROM {table}")
    number = "jid" if table == "journal" else "seq"
    with pytest.raises(IntegrityError), sqlite_books.store.writing() as txn:
        txn.exec_driver_sql(f"UPDATE OR REPLACE {table} SET {number} = {number} + 1")
    assert sqlite_books.problems() == []


def test_each_question_of_the_hot_path_uses_an_index(sqlite_books: Books) -> None:
    # Those left out are small (days, requests, cards by a list of ids) or asked by few.
    names = ("by_phone", "by_float", "cards", "replays", "by_key", "by_id", "intents", "answers", "lines")
    for name in names:
        statement = getattr(SQLITE_QUERIES, name)
        values = ("[]", 0)[: statement.count("?")]
        with sqlite_books.engine.connect() as txn:
            plan = txn.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, values).fetchall()
        scans = [row[3] for row in plan if row[3].startswith("SCAN")]
        assert all(scan.startswith(("SCAN k ", "SCAN json_each")) for scan in scans), (name, scans)
