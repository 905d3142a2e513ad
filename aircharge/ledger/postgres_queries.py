"""The loader's questions in PostgreSQL's tongue: lists of keys go in as one array for each of their columns."""

from __future__ import annotations

from typing import Final

from aircharge.ledger.queries import OUTLET_COLUMNS, TXN_COLUMNS, Queries

__all__ = ["LOCK_BALANCES", "LOCK_CARDS", "LOCK_PINS", "LOCK_REQUESTS", "POSTGRES_QUERIES"]

_TXN: Final = ", ".join(f"t.{name}" for name in TXN_COLUMNS)
_JOINS: Final = """JOIN balance b ON b.account_id = o.float_id
    LEFT JOIN credential c ON c.outlet_id = o.id"""

POSTGRES_QUERIES: Final = Queries(
    day="""SELECT biz_date FROM day WHERE state = 0 AND %s::text[] IS NOT NULL ORDER BY biz_date DESC LIMIT 1""",
    by_phone=f"""SELECT p.msisdn, p.rights, {OUTLET_COLUMNS}
    FROM unnest(%s::text[]) k(phone) JOIN outlet_phone p ON p.msisdn = k.phone
    JOIN outlet o ON o.id = p.outlet_id {_JOINS}""",
    by_float=f"""SELECT {OUTLET_COLUMNS}
    FROM unnest(%s::bigint[]) k(id) JOIN outlet o ON o.float_id = k.id {_JOINS}""",
    cards="""SELECT d.id, d.outlet_id, d.msisdn, d.key_version, d.status, d.hi, d.bitmap
    FROM unnest(%s::bigint[]) k(id) JOIN card d ON d.id = k.id""",
    replays="""SELECT r.card_id, r.serial, r.req_hash, r.txn_id, r.seen_ms
    FROM unnest(%s::bigint[], %s::bigint[]) k(card, serial)
    JOIN replay r ON r.card_id = k.card AND r.serial = k.serial""",
    by_key=f"""SELECT {_TXN}
    FROM unnest(%s::text[], %s::text[]) k(scope, mark)
    JOIN txn t ON t.idem_scope = k.scope AND t.idem_key = k.mark""",
    by_id=f"SELECT {_TXN} FROM unnest(%s::bigint[]) k(id) JOIN txn t ON t.id = k.id",
    intents=f"""SELECT {_TXN}
    FROM unnest(%s::text[], %s::bigint[]) k(target, account)
    JOIN txn t ON t.msisdn = k.target AND t.outlet_acct = k.account
    AND t.created_ms >= %s WHERE t.kind = 1 AND t.state NOT IN (0, 5)""",
    answers="""SELECT n.txn_id, n.topic, n.body FROM unnest(%s::bigint[]) k(id) JOIN outbox n ON n.txn_id = k.id
    WHERE n.topic IN ('outlet.settled', 'outlet.refused') ORDER BY n.id""",
    today="""SELECT t.outlet_acct, count(*), sum(t.amount)::bigint
    FROM unnest(%s::bigint[]) k(id) JOIN txn t ON t.outlet_acct = k.id AND t.created_ms >= %s
    WHERE t.kind = 1 AND t.state IN (1, 2, 3, 4, 6) GROUP BY t.outlet_acct""",
    last=f"""SELECT {_TXN} FROM unnest(%s::bigint[]) k(id) CROSS JOIN LATERAL (
    SELECT l.* FROM txn l WHERE l.outlet_acct = k.id AND l.kind = 1 AND l.state <> 0
    ORDER BY l.created_ms DESC, l.id DESC LIMIT 1) t""",
    offences="""SELECT o.phone, o.n FROM unnest(%s::text[]) k(phone)
    JOIN offence o ON o.phone = k.phone AND o.local_date = %s""",
    languages="""SELECT l.msisdn, l.language FROM unnest(%s::text[]) k(phone)
    JOIN number_language l ON l.msisdn = k.phone""",
    requests="""SELECT q.id, q.payload, q.maker, q.state FROM unnest(%s::bigint[]) k(id)
    JOIN change_request q ON q.id = k.id WHERE q.what = 'funding'""",
    first_phones="""SELECT p.outlet_id, min(p.msisdn) FROM unnest(%s::bigint[]) k(id)
    JOIN outlet_phone p ON p.outlet_id = k.id GROUP BY p.outlet_id""",
)

# Locks are taken in this order of tables, in each table in the order of ids and by one statement: two batches can
# never wait for each other. Whoever has an outlet's balance may read and change that outlet's orders as well.

LOCK_REQUESTS: Final = """SELECT (payload::json ->> 'account')::bigint FROM change_request
    WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE"""
LOCK_BALANCES: Final = """SELECT account_id FROM balance WHERE account_id IN (
    SELECT o.float_id FROM outlet_phone p JOIN outlet o ON o.id = p.outlet_id WHERE p.msisdn = ANY(%s::text[])
    UNION ALL SELECT outlet_acct FROM txn WHERE id = ANY(%s::bigint[])
    UNION ALL SELECT unnest(%s::bigint[])) ORDER BY account_id FOR UPDATE"""
LOCK_PINS: Final = """SELECT c.outlet_id FROM outlet_phone p JOIN credential c ON c.outlet_id = p.outlet_id
    WHERE p.msisdn = ANY(%s::text[]) ORDER BY c.outlet_id FOR UPDATE OF c"""
LOCK_CARDS: Final = "SELECT id FROM card WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE"
