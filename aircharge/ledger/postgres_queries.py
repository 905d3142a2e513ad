"""The loader's questions in PostgreSQL's tongue: lists of keys go in as one array for each of their columns."""

from __future__ import annotations

from typing import Final

from aircharge.ledger.queries import FINAL_TOPICS, OUTLET_COLUMNS, TXN_COLUMNS, Queries

__all__ = [
    "DAYS_LOCK",
    "ENTER",
    "ENTER_ALONE",
    "HOLD",
    "HOLD_ALONE",
    "LOCK_BALANCES",
    "LOCK_CARDS",
    "LOCK_PINS",
    "LOCK_REQUESTS",
    "POSTGRES_QUERIES",
]

_TXN: Final = ", ".join(f"t.{name}" for name in TXN_COLUMNS)
_JOINS: Final = """JOIN balance b ON b.account_id = o.float_id
    LEFT JOIN credential c ON c.outlet_id = o.id"""

POSTGRES_QUERIES: Final = Queries(
    days="""SELECT operator_id, biz_date FROM day WHERE state = 0 AND %s::bigint[] IS NOT NULL
    UNION ALL SELECT -1, version FROM policy UNION ALL SELECT -2, coalesce(max(last_jid), 0) FROM seal""",
    by_code=f"""SELECT {OUTLET_COLUMNS}
    FROM unnest(%s::text[]) k(code) JOIN outlet o ON o.code = k.code {_JOINS}""",
    by_phone=f"""SELECT p.msisdn, p.rights, p.status, p.active_from_ms, p.created_ms, {OUTLET_COLUMNS}
    FROM unnest(%s::text[]) k(phone) JOIN outlet_phone p ON p.msisdn = k.phone
    JOIN outlet o ON o.id = p.outlet_id {_JOINS}""",
    by_terminal=f"""SELECT k.asker, p.rights, p.status, 0, p.created_ms, {OUTLET_COLUMNS}
    FROM unnest(%s::text[]) k(asker) JOIN terminal p ON p.code = substr(k.asker, 5)
    JOIN outlet o ON o.id = p.outlet_id {_JOINS}""",
    by_float=f"""SELECT {OUTLET_COLUMNS}
    FROM unnest(%s::bigint[]) k(id) JOIN outlet o ON o.float_id = k.id {_JOINS}""",
    cards="""SELECT d.id, d.outlet_id, d.msisdn, d.key_version, d.status, d.hi, d.bitmap
    FROM unnest(%s::bigint[]) k(id) JOIN card d ON d.id = k.id""",
    replays="""SELECT r.card_id, r.serial, r.req_hash, r.txn_id, r.seen_ms
    FROM unnest(%s::bigint[], %s::bigint[]) k(card, serial)
    JOIN replay r ON r.card_id = k.card AND r.serial = k.serial""",
    heard="""SELECT h.phone, h.words, h.repeat_n, h.pin, h.txn_id, h.reason, h.seen_ms, h.sent_ms, h.again_n, h.told_ms
    FROM unnest(%s::text[], %s::text[]) k(phone, words)
    JOIN heard h ON h.phone = k.phone AND h.words = k.words""",
    by_key=f"""SELECT {_TXN}
    FROM unnest(%s::text[], %s::text[]) k(scope, mark)
    JOIN txn t ON t.idem_scope = k.scope AND t.idem_key = k.mark""",
    by_id=f"SELECT {_TXN} FROM unnest(%s::bigint[]) k(id) JOIN txn t ON t.id = k.id",
    # "+ 0": by the number's few orders, never through an outlet's whole day, whatever table the plan was made for.
    intents=f"""SELECT {_TXN}
    FROM unnest(%s::text[], %s::bigint[]) k(target, account) CROSS JOIN LATERAL (
    SELECT * FROM txn i WHERE i.msisdn = k.target AND i.outlet_acct + 0 = k.account AND i.created_ms + 0 >= %s
    AND i.kind IN (1, 4) AND i.state NOT IN (0, 5) OFFSET 0) t""",
    answers=f"""SELECT n.txn_id, n.topic, n.body FROM unnest(%s::bigint[]) k(id) JOIN outbox n ON n.txn_id = k.id
    JOIN txn t ON t.id = n.txn_id AND t.asker = n.recipient WHERE n.topic IN ({FINAL_TOPICS}) ORDER BY n.id""",
    last=f"""SELECT {_TXN} FROM unnest(%s::bigint[]) k(id) CROSS JOIN LATERAL (
    SELECT l.* FROM txn l WHERE l.outlet_acct = k.id AND l.kind = 1 AND l.state <> 0
    ORDER BY l.created_ms DESC, l.id DESC LIMIT 1) t""",
    offences="""SELECT o.phone, o.n FROM unnest(%s::text[]) k(phone)
    JOIN offence o ON o.phone = k.phone AND o.local_date = %s""",
    languages="""SELECT l.msisdn, l.language FROM unnest(%s::text[]) k(phone)
    JOIN number_language l ON l.msisdn = k.phone""",
    requests="""SELECT q.id, q.what, q.payload, q.maker, q.state, q.made_ms
    FROM unnest(%s::bigint[]) k(id) JOIN change_request q ON q.id = k.id""",
    first_phones="""SELECT p.outlet_id, min(p.msisdn) FROM unnest(%s::bigint[]) k(id)
    JOIN outlet_phone p ON p.outlet_id = k.id GROUP BY p.outlet_id""",
    balances="""SELECT b.account_id, b.posted, b.held, b.floor, b.version
    FROM unnest(%s::bigint[]) k(id) JOIN balance b ON b.account_id = k.id""",
    lines="""SELECT o.float_id, l.limit_fen FROM unnest(%s::bigint[]) k(id)
    JOIN outlet o ON o.float_id = k.id JOIN credit_line l ON l.outlet_id = o.id WHERE l.until_ms > %s""",
    journal="""SELECT j.jid, j.txn_id, j.op, j.dr, j.cr, j.amount, j.biz_date, j.at_ms
    FROM unnest(%s::bigint[]) k(id) JOIN journal j ON j.txn_id = k.id ORDER BY j.jid""",
    reversals=f"""SELECT {_TXN}
    FROM unnest(%s::bigint[]) k(id) JOIN txn t ON t.outlet_acct = k.id AND t.created_ms >= %s
    WHERE t.kind = 2""",
    # Counters are shared by outlets, and may not be there yet: those missing are made, all are locked, in order.
    counters="""INSERT INTO limit_counter AS c (subject, value, operation, period, began, n, total_fen)
    SELECT k.*, 0, 0 FROM unnest(%s::smallint[], %s::text[], %s::smallint[], %s::smallint[], %s::integer[]) k
    ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT (subject, value, operation, period, began) DO UPDATE SET n = c.n
    RETURNING c.subject, c.value, c.operation, c.period, c.began, c.n, c.total_fen""",
    lists="""SELECT l.subject, l.value, l.colour, l.reason, l.until_ms
    FROM unnest(%s::smallint[], %s::text[]) k(subject, value)
    JOIN list_entry l ON l.subject = k.subject AND l.value = k.value""",
    served="""SELECT t.msisdn, t.outlet_acct, count(*)
    FROM unnest(%s::text[], %s::bigint[]) k(target, account)
    JOIN txn t ON t.msisdn = k.target AND t.outlet_acct = k.account AND t.created_ms >= %s
    WHERE t.kind = 1 AND t.state = 4 GROUP BY t.msisdn, t.outlet_acct""",
)

# Locks are taken in this order of tables, in each table in the order of ids and by one statement: two batches can
# never wait for each other. Whoever has an outlet's balance may read and change that outlet's orders as well.

LOCK_REQUESTS: Final = """SELECT (payload::json ->> 'account')::bigint FROM change_request
    WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE"""
LOCK_BALANCES: Final = """WITH f (id) AS (
    SELECT o.float_id FROM outlet_phone p JOIN outlet o ON o.id = p.outlet_id WHERE p.msisdn = ANY(%s::text[])
    UNION SELECT o.float_id FROM terminal p JOIN outlet o ON o.id = p.outlet_id WHERE p.code = ANY(%s::text[])
    UNION SELECT float_id FROM outlet WHERE code = ANY(%s::text[])
    UNION SELECT unnest(ARRAY[outlet_acct, counter_acct]) FROM txn WHERE id = ANY(%s::bigint[])
    UNION SELECT unnest(%s::bigint[]))
    SELECT account_id FROM balance WHERE account_id IN (
    SELECT id FROM f UNION ALL SELECT id + %s FROM f) ORDER BY account_id FOR UPDATE"""
LOCK_PINS: Final = """SELECT outlet_id FROM credential WHERE outlet_id IN (
    SELECT outlet_id FROM outlet_phone WHERE msisdn = ANY(%s::text[])
    UNION ALL SELECT outlet_id FROM terminal WHERE code = ANY(%s::text[])) ORDER BY outlet_id FOR UPDATE"""
LOCK_CARDS: Final = "SELECT id FROM card WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE"

DAYS_LOCK: Final = 0x41434459
"""The advisory lock "ACDY": every batch shares it until its commit, whoever cuts a day has it alone."""
ENTER: Final = "SELECT pg_advisory_xact_lock_shared(%s)"
ENTER_ALONE: Final = "SELECT pg_advisory_xact_lock(%s)"
_MINE: Final = """WITH mine AS (SELECT expires_ms FROM node_lease WHERE node = %s AND epoch = %s FOR KEY SHARE)
    SELECT (SELECT expires_ms FROM mine) - (extract(epoch FROM clock_timestamp()) * 1000)::bigint"""
HOLD: Final = f"{_MINE}, pg_advisory_xact_lock_shared(%s)"
HOLD_ALONE: Final = f"{_MINE}, pg_advisory_xact_lock(%s)"
"""The same, and how many ms a daemon's lease has left (NULL: it is another's); the lease's row cannot be taken over
before the commit: a heartbeat changes it all the same."""
