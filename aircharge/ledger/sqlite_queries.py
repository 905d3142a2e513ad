"""The loader's questions in SQLite's tongue: lists of keys go in as JSON."""

from __future__ import annotations

from typing import Final

from aircharge.ledger.queries import FINAL_TOPICS, OUTLET_COLUMNS, TXN_COLUMNS, Queries

__all__ = ["SQLITE_QUERIES"]

_TXN: Final = ", ".join(f"t.{name}" for name in TXN_COLUMNS)
_JOINS: Final = """JOIN balance b ON b.account_id = o.float_id
    LEFT JOIN credential c ON c.outlet_id = o.id"""

# CROSS JOIN keeps SQLite to the order written.
SQLITE_QUERIES: Final = Queries(
    days="""SELECT operator_id, biz_date FROM day WHERE state = 0 AND ? IS NOT NULL
    UNION ALL SELECT -1, version FROM policy UNION ALL SELECT -2, coalesce(max(last_jid), 0) FROM seal""",
    by_code=f"""SELECT {OUTLET_COLUMNS}
    FROM json_each(?) k CROSS JOIN outlet o ON o.code = k.value {_JOINS}""",
    by_phone=f"""SELECT p.msisdn, p.rights, p.status, p.active_from_ms, p.created_ms, {OUTLET_COLUMNS}
    FROM json_each(?) k CROSS JOIN outlet_phone p ON p.msisdn = k.value
    JOIN outlet o ON o.id = p.outlet_id {_JOINS}""",
    by_terminal=f"""SELECT k.value, p.rights, p.status, 0, p.created_ms, {OUTLET_COLUMNS}
    FROM json_each(?) k CROSS JOIN terminal p ON p.code = substr(k.value, 5)
    JOIN outlet o ON o.id = p.outlet_id {_JOINS}""",
    by_float=f"""SELECT {OUTLET_COLUMNS}
    FROM json_each(?) k CROSS JOIN outlet o ON o.float_id = k.value {_JOINS}""",
    cards="""SELECT id, outlet_id, msisdn, key_version, status, hi, bitmap FROM card
    WHERE id IN (SELECT value FROM json_each(?))""",
    replays="""SELECT r.card_id, r.serial, r.req_hash, r.txn_id, r.seen_ms
    FROM json_each(?) k CROSS JOIN replay r ON r.card_id = k.value ->> 0 AND r.serial = k.value ->> 1""",
    heard="""SELECT h.phone, h.words, h.repeat_n, h.pin, h.txn_id, h.reason, h.seen_ms, h.sent_ms, h.again_n, h.told_ms
    FROM json_each(?) k CROSS JOIN heard h ON h.phone = k.value ->> 0 AND h.words = k.value ->> 1""",
    by_key=f"""SELECT {_TXN}
    FROM json_each(?) k CROSS JOIN txn t ON t.idem_scope = k.value ->> 0 AND t.idem_key = k.value ->> 1""",
    by_id=f"SELECT {_TXN} FROM json_each(?) k CROSS JOIN txn t ON t.id = k.value",
    intents=f"""SELECT {_TXN}
    FROM json_each(?) k CROSS JOIN txn t ON t.msisdn = k.value ->> 0 AND t.outlet_acct = k.value ->> 1
    AND t.created_ms >= ? WHERE t.kind IN (1, 4) AND t.state NOT IN (0, 5)""",
    answers=f"""SELECT n.txn_id, n.topic, n.body FROM json_each(?) k CROSS JOIN outbox n ON n.txn_id = k.value
    JOIN txn t ON t.id = n.txn_id AND t.asker = n.recipient WHERE n.topic IN ({FINAL_TOPICS}) ORDER BY n.id""",
    last=f"""SELECT {_TXN} FROM json_each(?) k CROSS JOIN txn t ON t.id = (
    SELECT l.id FROM txn l WHERE l.outlet_acct = k.value AND l.kind = 1 AND l.state <> 0
    ORDER BY l.created_ms DESC, l.id DESC LIMIT 1)""",
    offences="""SELECT o.phone, o.n FROM json_each(?) k
    CROSS JOIN offence o ON o.phone = k.value AND o.local_date = ?""",
    languages="""SELECT l.msisdn, l.language FROM json_each(?) k
    CROSS JOIN number_language l ON l.msisdn = k.value""",
    requests="""SELECT id, what, payload, maker, state, made_ms FROM change_request
    WHERE id IN (SELECT value FROM json_each(?))""",
    first_phones="""SELECT p.outlet_id, min(p.msisdn) FROM json_each(?) k
    CROSS JOIN outlet_phone p ON p.outlet_id = k.value GROUP BY p.outlet_id""",
    balances="""SELECT b.account_id, b.posted, b.held, b.floor, b.version
    FROM json_each(?) k CROSS JOIN balance b ON b.account_id = k.value""",
    lines="""SELECT o.float_id, l.limit_fen FROM json_each(?) k
    CROSS JOIN outlet o ON o.float_id = k.value JOIN credit_line l ON l.outlet_id = o.id WHERE l.until_ms > ?""",
    journal="""SELECT j.jid, j.txn_id, j.op, j.dr, j.cr, j.amount, j.biz_date, j.at_ms
    FROM json_each(?) k CROSS JOIN journal j ON j.txn_id = k.value ORDER BY j.jid""",
    reversals=f"""SELECT {_TXN}
    FROM json_each(?) k CROSS JOIN txn t ON t.outlet_acct = k.value AND t.created_ms >= ? WHERE t.kind = 2""",
    counters="""SELECT c.subject, c.value, c.operation, c.period, c.began, c.n, c.total_fen
    FROM json_each(?) k CROSS JOIN limit_counter c ON c.subject = k.value ->> 0 AND c.value = k.value ->> 1
    AND c.operation = k.value ->> 2 AND c.period = k.value ->> 3 AND c.began = k.value ->> 4""",
    lists="""SELECT l.subject, l.value, l.colour, l.reason, l.until_ms
    FROM json_each(?) k CROSS JOIN list_entry l ON l.subject = k.value ->> 0 AND l.value = k.value ->> 1""",
    served="""SELECT t.msisdn, t.outlet_acct, count(*)
    FROM json_each(?) k CROSS JOIN txn t ON t.msisdn = k.value ->> 0 AND t.outlet_acct = k.value ->> 1
    AND t.created_ms >= ? WHERE t.kind = 1 AND t.state = 4 GROUP BY t.msisdn, t.outlet_acct""",
)
