"""The judge itself: each thing that can be wrong is put into small books by hand, and must be seen."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from tests.system.audit import Audit, audit, audit_requests
from tests.system.rig_centre import Request

LEDGER = """
CREATE TABLE txn (id, kind, op_ref, state, amount, cost, msisdn, outlet_acct, orig_txn);
CREATE TABLE balance (account_id, posted, held, floor);
CREATE TABLE journal (jid, txn_id, op, dr, cr, amount);
CREATE TABLE outbox (txn_id, topic);
CREATE TABLE offence (phone, n);
INSERT INTO txn VALUES (1, 1, 'AC1', 4, 5000, 5000, '13800000001', 1000, NULL);
INSERT INTO txn VALUES (2, 1, 'AC2', 5, 3000, 3000, '13800000002', 1000, NULL);
INSERT INTO txn VALUES (3, 1, NULL, 0, 3000, 3000, '13800000003', 1000, NULL);
INSERT INTO journal VALUES (1, 9, 2, 100, 1000, 20000), (2, 1, 1, 1000, 1, 5000);
INSERT INTO balance VALUES (1000, 15000, 0, 0);
INSERT INTO outbox VALUES (1, 'outlet.settled'), (1, 'customer.settled'), (2, 'outlet.refused');
INSERT INTO offence VALUES ('13900000001', 1);
"""
OPERATOR = """
CREATE TABLE credit (op_ref, msisdn, amount_fen);
CREATE TABLE outcome (op_ref, original_ref);
INSERT INTO credit VALUES ('AC1', '13800000001', 5000);
"""


REVERSED = """
UPDATE txn SET state = 7 WHERE id = 1;
INSERT INTO txn VALUES (4, 2, 'AC4', 4, 5000, 5000, '13800000001', 1000, 1);
INSERT INTO journal VALUES (3, 4, 1, 1, 1000, 5000);
UPDATE balance SET posted = 20000;
"""
TAKEN_BACK = """
INSERT INTO credit VALUES ('AC4', '13800000001', -5000);
INSERT INTO outcome VALUES ('AC4', 'AC1');
"""
UNDONE = f"""
UPDATE txn SET op_ref = 'AC{2:020d}' WHERE id = 2;
"""
UNDONE_THERE = f"""
INSERT INTO credit VALUES ('AC{2:020d}', '13800000002', 3000), ('ACR{2:019d}', '13800000002', -3000);
INSERT INTO outcome VALUES ('ACR{2:019d}', 'AC{2:020d}');
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


def test_what_was_taken_back_is_clean(tmp_path: Path) -> None:
    found = look(tmp_path, REVERSED + UNDONE, TAKEN_BACK + UNDONE_THERE)
    assert found.problems == []
    assert (found.reversed, found.settled, found.voided) == (1, 0, 1)


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
        (REVERSED, "", "order 1 is reversed, the operator did not take AC1 back"),
        (REVERSED, "", "reversal 4 is settled, the operator did not do it"),
        ("", TAKEN_BACK, "order 1 is settled, the operator has taken AC1 back"),
        ("", TAKEN_BACK, "took AC1 back by AC4, which we never asked for"),
        (
            REVERSED + "UPDATE txn SET state = 5 WHERE id = 4",
            TAKEN_BACK,
            "reversal 4 is void, the operator did",
        ),
        (REVERSED + "UPDATE txn SET state = 3 WHERE id = 4", TAKEN_BACK, "1 orders are not definite"),
        (REVERSED, TAKEN_BACK * 2, "took AC1 back twice"),
        (REVERSED, TAKEN_BACK.replace("-5000", "-4000"), "took AC1 back as it was never given"),
        (UNDONE, UNDONE_THERE.split(", (", maxsplit=1)[0], "order 2 is void, the operator credited"),
        ("DELETE FROM offence", "", "without sense were answered OK, 0 counted"),
    ],
)
def test_what_is_wrong_is_seen(tmp_path: Path, ledger: str, operator: str, words: str) -> None:
    assert any(words in problem for problem in look(tmp_path, ledger, operator).problems)


def test_a_customer_without_sms_is_seen(tmp_path: Path) -> None:
    assert "1 customers were recharged and got no SMS" in look(tmp_path, **{"13800000001": 0}).problems
