"""The tables of the ledger, as SQLAlchemy Core sees them: money, days, proofs, leases.

What must never happen is forbidden here, in the database: over-held floats, edited journals, second postings, keys
used twice. The tables themselves are made by ``migrations/``, never by this module at run time. Who may trade and
by which rules: ``aircharge.ledger.tables_people``; terminals: ``aircharge.ledger.tables_pos``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from aircharge.ledger import tables_keys, tables_people, tables_pos
from aircharge.ledger.chart import NOTICE_UNSENT
from aircharge.ledger.columns import Id, big, fen, metadata, ms, small, word

__all__ = ["metadata"]

assert (
    tables_keys.metadata is tables_people.metadata is tables_pos.metadata is metadata
)  # one set in four files

account = Table(
    "account",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    small("kind"),
    Column("owner_id", BigInteger),
    Column("currency", String(3), nullable=False, server_default="CNY"),
    small("normal_side"),
    small("status", 0),  # 0 open, 1 frozen, 2 closed
    ms("created_ms"),
    UniqueConstraint("kind", "owner_id", "currency"),
    CheckConstraint("normal_side IN (-1, 1)", name="side"),
    CheckConstraint("status IN (0, 1, 2)", name="status"),
)

balance = Table(
    "balance",
    metadata,
    Column("account_id", Id, ForeignKey("account.id"), primary_key=True, autoincrement=False),
    fen("posted", 0),
    fen("held", 0),
    fen("floor", 0),
    Column("version", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("held >= 0", name="held"),
    CheckConstraint("floor <= 0", name="floor"),
    CheckConstraint("posted - held >= floor", name="covered"),
)

day = Table(
    "day",
    metadata,
    Column("operator_id", SmallInteger, primary_key=True, autoincrement=False),  # 0: the house itself
    Column("biz_date", Integer, primary_key=True, autoincrement=False),  # yyyymmdd
    small("state"),  # DAY_OPEN …
    Column("cut_jid", BigInteger),
    ms("cut_ms", nullable=True),
    ms("closed_ms", nullable=True),
    CheckConstraint("state IN (0, 1, 2)", name="state"),
)
Index(
    "day_one_open",
    day.c.operator_id,
    unique=True,
    sqlite_where=text("state = 0"),
    postgresql_where=text("state = 0"),
)

txn = Table(
    "txn",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    small("kind"),  # values.Operation
    small("channel"),  # values.Channel
    Column("idem_scope", String(40), nullable=False),
    Column("idem_key", String(64), nullable=False),
    Column("req_hash", LargeBinary, nullable=False),
    Column("outlet_acct", BigInteger, ForeignKey("account.id"), nullable=False),
    small("operator_id", 0),
    Column("msisdn", String(20), nullable=False, server_default=""),
    fen("amount"),
    fen("cost"),
    small("repeat_n", 1),
    Column("asker", String(20), nullable=False, server_default=""),
    Column("service", String(20), nullable=False, server_default=""),
    small("state"),  # values.State
    small("reason", 0),  # errors.Reason.number
    Column("op_ref", String(32), unique=True),
    Column("op_code", String(8)),
    Column("op_serial", String(64).with_variant(String(40), "sqlite")),  # SQLite keeps any length
    Column("orig_txn", BigInteger, ForeignKey("txn.id")),  # a reversal: of which order
    Column("counter_acct", BigInteger, ForeignKey("account.id")),  # a transfer: to which account
    fen("commission", 0),  # what the outlet earns by it; how it is paid: ``commission_mode``
    small("commission_mode", 0),  # COMMISSION_NONE …
    big("price_id"),  # the row of ``price`` it was reckoned by, 0 = none
    small("undo", 0),  # 1: a protective reversal of it is under way
    word("counted", 64),  # which limit counters it counts on (``aircharge.ledger.limits``)
    big("released_ms"),  # when a parked order was let go, 0 = it was never parked, or still is
    small("attempts", 0),
    small("owner_node", 0),
    Column("owner_epoch", BigInteger, nullable=False, server_default="0"),
    word("centre", 32),  # the SMS centre that brought it, by its peer's name
    Column("biz_date", Integer, nullable=False),
    ms("created_ms"),
    ms("next_ms", nullable=True),
    ms("done_ms", nullable=True),
    UniqueConstraint("idem_scope", "idem_key"),
    CheckConstraint("state BETWEEN 0 AND 8", name="state"),
    CheckConstraint("amount > 0 OR (state = 0 AND amount = 0)", name="amount"),
    CheckConstraint("cost > 0 OR (state = 0 AND cost = 0)", name="cost"),
    CheckConstraint("commission >= 0", name="commission"),
    CheckConstraint("(kind = 2) = (orig_txn IS NOT NULL)", name="original"),
    CheckConstraint("state NOT IN (1, 2, 3, 4, 6) OR op_ref IS NOT NULL OR kind > 2", name="reference"),
)
Index(
    "txn_one_reversal",
    txn.c.orig_txn,
    unique=True,
    sqlite_where=text("kind = 2 AND state IN (1, 2, 3, 4, 6)"),
    postgresql_where=text("kind = 2 AND state IN (1, 2, 3, 4, 6)"),
)
Index(
    "txn_open",
    txn.c.next_ms,
    sqlite_where=text("state IN (1, 2, 3)"),
    postgresql_where=text("state IN (1, 2, 3)"),
)
Index(
    "txn_owner",
    txn.c.owner_node,
    sqlite_where=text("state IN (1, 2, 3)"),
    postgresql_where=text("state IN (1, 2, 3)"),
)
Index(
    "txn_parked",
    txn.c.created_ms,
    sqlite_where=text("state = 8"),
    postgresql_where=text("state = 8"),
)
Index(
    "txn_reversals",
    txn.c.outlet_acct,
    txn.c.created_ms,
    sqlite_where=text("kind = 2"),
    postgresql_where=text("kind = 2"),
)
Index("txn_statement", txn.c.outlet_acct, txn.c.created_ms)
Index("txn_intent", txn.c.msisdn, txn.c.outlet_acct, txn.c.created_ms)

journal = Table(
    "journal",
    metadata,
    Column("jid", Id, primary_key=True, autoincrement=False),
    Column("txn_id", BigInteger, ForeignKey("txn.id"), nullable=False),
    small("op"),  # JOURNAL_SETTLE …
    Column("dr", BigInteger, ForeignKey("account.id"), nullable=False),
    Column("cr", BigInteger, ForeignKey("account.id"), nullable=False),
    fen("amount"),
    Column("biz_date", Integer, nullable=False),
    ms("at_ms"),
    UniqueConstraint("txn_id", "op"),
    CheckConstraint("amount > 0", name="amount"),
    CheckConstraint("dr <> cr", name="sides"),
)
for _side in ("dr", "cr"):
    Index(
        f"journal_{_side}",
        journal.c[_side],
        journal.c.jid,
        sqlite_where=text(f"{_side} >= 1000"),
        postgresql_where=text(f"{_side} >= 1000"),
    )
Index("journal_day", journal.c.biz_date, journal.c.jid)

replay = Table(
    "replay",
    metadata,
    Column("card_id", BigInteger, primary_key=True, autoincrement=False),
    Column("serial", BigInteger, primary_key=True, autoincrement=False),  # 64 bit, as a signed number
    Column("req_hash", LargeBinary, nullable=False),
    Column("txn_id", BigInteger, nullable=False),  # 0: an inquiry, or nobody's
    ms("seen_ms"),
    sqlite_with_rowid=False,
)

heard = Table(
    "heard",
    metadata,
    Column("phone", String(20), primary_key=True),
    Column("words", String(32), primary_key=True),  # mark of verb and content, no PIN in it
    Column("repeat_n", SmallInteger, primary_key=True, autoincrement=False),
    Column("pin", String(24), primary_key=True),  # 16 bits a PIN, keyed
    Column("txn_id", BigInteger, nullable=False),  # 0: it became no order
    small("reason", 0),
    ms("seen_ms"),
    ms("sent_ms", nullable=True),
    Column("again_n", Integer, nullable=False),
    ms("told_ms"),
    sqlite_with_rowid=False,
)
Index("heard_seen", heard.c.seen_ms)

unjoined = Table(
    "unjoined",  # messages of several parts that have not all come; never what stands in them
    metadata,
    Column("source", String(21), primary_key=True),
    Column("destination", String(21), primary_key=True),
    Column("ref", Integer, primary_key=True, autoincrement=False),
    Column("wide", SmallInteger, primary_key=True, autoincrement=False),
    Column("total", SmallInteger, primary_key=True, autoincrement=False),
    word("centre", 32),
    small("node"),
    ms("came_ms"),
    sqlite_with_rowid=False,
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("txn_id", BigInteger, nullable=False),  # 0: belongs to no order
    Column("topic", String(64), nullable=False),
    Column("recipient", String(20), nullable=False),
    Column("sender", String(20), nullable=False),
    Column("language", String(2), nullable=False),
    Column("body", Text, nullable=False),  # the facts, JSON
    ms("created_ms"),
    ms("next_ms"),
    ms("expires_ms"),
    small("attempts", 0),
    ms("sent_ms", nullable=True),
    small("state", NOTICE_UNSENT),
    word("centre", 32),  # the SMS centre it belongs to, by its peer's name; empty: any
    ms("left_ms", nullable=True),  # when its maker, without that SMS centre, left it to whoever has it
    CheckConstraint("state IN (0, 1, 2)", name="state"),
    CheckConstraint("(state = 1) = (sent_ms IS NOT NULL)", name="sent"),
)
Index("outbox_todo", outbox.c.next_ms, sqlite_where=text("state = 0"), postgresql_where=text("state = 0"))
Index("outbox_txn", outbox.c.txn_id)
Index(
    "outbox_left",
    outbox.c.centre,
    sqlite_where=text("state = 0 AND left_ms IS NOT NULL"),
    postgresql_where=text("state = 0 AND left_ms IS NOT NULL"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Id, primary_key=True, autoincrement=False),
    ms("at_ms"),
    Column("actor", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("object", String(128), nullable=False),
    Column("detail", Text, nullable=False),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
)

change_request = Table(
    "change_request",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("what", String(32), nullable=False),
    Column("payload", Text, nullable=False),
    Column("maker", String(64), nullable=False),
    Column("checker", String(64)),
    small("state", 0),  # 0 asked, 1 approved, 2 declined
    ms("made_ms"),
    ms("checked_ms", nullable=True),
    Column("txn_id", BigInteger),
    word("note", 200),  # the checker's word on it
    CheckConstraint("checker IS NULL OR checker <> maker", name="two_people"),
    CheckConstraint("state = 0 OR checker IS NOT NULL", name="checked"),
)

recon_item = Table(
    "recon_item",
    metadata,
    Column("biz_date", Integer, primary_key=True, autoincrement=False),
    Column("op_ref", String(32), primary_key=True),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),  # see rows.ReconItem
    Column("ours", BigInteger),
    Column("theirs", BigInteger),
    small("state", 0),
    Column("txn_id", BigInteger),
)

eod_balance = Table(
    "eod_balance",
    metadata,
    Column("operator_id", SmallInteger, primary_key=True, autoincrement=False),
    Column("biz_date", Integer, primary_key=True, autoincrement=False),
    Column("account_id", BigInteger, primary_key=True, autoincrement=False),
    fen("debits"),  # sums since the first row, up to and with ``thru_jid``
    fen("credits"),
    fen("held"),
    Column("thru_jid", BigInteger, nullable=False),
)

seal = Table(
    "seal",
    metadata,
    Column("seq", Id, primary_key=True, autoincrement=False),
    Column("first_jid", BigInteger, nullable=False),
    Column("last_jid", BigInteger, nullable=False, unique=True),
    Column("n", BigInteger, nullable=False),
    fen("total"),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("marks", LargeBinary, nullable=False),  # 4 octets a row, to name the one that differs
    ms("sealed_ms"),
)

node_lease = Table(
    "node_lease",
    metadata,
    Column("node", SmallInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("host", String(64), nullable=False),
    ms("beat_ms"),
    ms("expires_ms"),
)

link_lease = Table(
    "link_lease",
    metadata,
    Column("link_id", String(32), primary_key=True),  # the line's name in the configuration
    Column("node", SmallInteger),
    big("epoch"),
    Column("expires_ms", BigInteger, nullable=False, server_default="0"),
)
