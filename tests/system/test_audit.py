"""The judge itself: each thing that can be wrong is put into small books by hand, and must be seen."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from tests.system.audit import Audit, audit, audit_requests
from tests.system.rig_centre import Request

LEDGER = """
CREATE TABLE txn (id, kind, op_ref, state, amount, cost, msisdn, outlet_acct);
CREATE TABLE balance (account_id, posted, held, floor);
CREATE TABLE journal (jid, txn_id, op, dr, cr, amount);
CREATE TABLE outbox (txn_id, topic);
CREATE TABLE offence (phone, n);
INSERT INTO txn VALUES (1, 1, 'AC1', 4, 5000, 5000, '13800000001', 1000);
INSERT INTO txn VALUES (2, 1, 'AC2', 5, 3000, 3000, '13800000002', 1000);
INSERT INTO txn VALUES (3, 1, NULL, 0, 3000, 3000, '13800000003', 1000);
INSERT INTO journal VALUES (1, 9, 2, 100, 1000, 20000), (2, 1, 1, 1000, 1, 5000);
INSERT INTO balance VALUES (1000, 15000, 0, 0);
INSERT INTO outbox VALUES (1, 'outlet.settled'), (1, 'customer.settled'), (2, 'outlet.refused');
INSERT INTO offence VALUES ('13900000001', 1);
"""
OPERATOR = """
CREATE TABLE credit (op_ref, msisdn, amount_fen);
INSERT INTO credit VALUES ('AC1', '13800000001', 5000);
"""


def look(folder: Path, ledger: str = "", operator: str = "", **received: int) -> Audit:
    ours, theirs = folder / "ledger.db", folder / "operator.db"
    for path, script in ((ours, LEDGER + ledger), (theirs, OPERATOR + operator)):
        db = sqlite3.connect(path)
        db.executescript(script)
        db.close()
    wanted = [
        Request("stk", "13900000001", ["13800000001", "15800000001"], 1),
        Request("stk", "13900000001", ["13800000002"], 1),
        Request("stk", "13900000001", ["13800000003"], 1),
        Request("nonsense", "13900000001", [], 1),
    ]
    found = audit(ours, theirs)
    audit_requests(found, ours, theirs, wanted, Counter({"13800000001": 1, **received}))
    return found


def test_sound_books_are_clean(tmp_path: Path) -> None:
    found = look(tmp_path)
    assert found.problems == []
    assert (found.orders, found.settled, found.voided, found.refused, found.credited) == (3, 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("ledger", "operator", "words"),
    [
        ("", "INSERT INTO credit VALUES ('AC1', '13800000001', 5000)", "credited AC1 twice"),
        ("", "DELETE FROM credit", "the operator never credited AC1"),
        ("", "INSERT INTO credit VALUES ('AC2', '13800000002', 3000)", "is void, the operator credited AC2"),
        ("", "UPDATE credit SET amount_fen = 500", "another number or amount"),
        ("", "UPDATE credit SET msisdn = '13800000002'", "another number or amount"),
        ("", "INSERT INTO credit VALUES ('AC7', '15800000001', 5000)", "AC7, which we never held"),
        ("", "INSERT INTO credit VALUES ('AC7', '15800000001', 5000)", "(stk) was credited 2 times"),
        ("", "INSERT INTO credit VALUES ('AC7', '17000000001', 5000)", "whom nobody named"),
        ("UPDATE txn SET state = 3 WHERE id = 2", "", "1 orders are not definite"),
        ("UPDATE txn SET state = 3 WHERE id = 2", "", "held 0, open orders 3000"),
        ("UPDATE balance SET posted = 14000", "", "balance 14000, journal 15000"),
        ("UPDATE balance SET floor = 16000", "", "below its floor"),
        ("INSERT INTO journal VALUES (3, 1, 1, 1000, 1, 5000)", "", "order 1 posted twice"),
        ("DELETE FROM journal WHERE txn_id = 1", "", "its state and its posting disagree"),
        ("UPDATE journal SET amount = 4000 WHERE txn_id = 1", "", "its state and its posting disagree"),
        ("INSERT INTO journal VALUES (3, 2, 1, 1000, 1, 3000)", "", "order 2: its state and its posting"),
        ("DELETE FROM outbox WHERE topic = 'customer.settled'", "", "not told exactly once"),
        ("INSERT INTO outbox VALUES (1, 'customer.settled')", "", "not told exactly once"),
        ("DELETE FROM txn WHERE id = 3", "", "answered OK and is not in the ledger"),
        ("DELETE FROM offence", "", "without sense were answered OK, 0 counted"),
    ],
)
def test_what_is_wrong_is_seen(tmp_path: Path, ledger: str, operator: str, words: str) -> None:
    assert any(words in problem for problem in look(tmp_path, ledger, operator).problems)


def test_a_customer_without_sms_is_seen(tmp_path: Path) -> None:
    assert "1 customers were recharged and got no SMS" in look(tmp_path, **{"13800000001": 0}).problems
