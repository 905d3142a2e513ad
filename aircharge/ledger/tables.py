"""The tables of the ledger and of who may trade, as SQLAlchemy Core sees them.

Money is BIGINT fen, times are BIGINT ms UTC, ids are time-ordered 64 bit (``aircharge.ledger.ids``). What must never
happen is forbidden here, in the database: over-held floats, edited journals, second postings, keys used twice. The
tables themselves are made by ``migrations/``, never by this module at run time.
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
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from aircharge.ledger.chart import CARD_ACTIVE, NOTICE_UNSENT, OUTLET_ACTIVE, PIN_NEVER

__all__ = ["metadata"]

Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite: INTEGER PRIMARY KEY is the row's own number

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _fen(name: str, *more: object, **options: object) -> Column[int]:
    return Column(name, BigInteger, *more, nullable=False, **options)  # type: ignore[arg-type]


def _ms(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _small(name: str, default: int | None = None) -> Column[int]:
    server_default = None if default is None else str(default)
    return Column(name, SmallInteger, nullable=False, server_default=server_default)


account = Table(
    "account",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    _small("kind"),
    Column("owner_id", BigInteger),
    Column("currency", String(3), nullable=False, server_default="CNY"),
    _small("normal_side"),
    _small("status", 0),  # 0 open, 1 frozen, 2 closed
    _ms("created_ms"),
    UniqueConstraint("kind", "owner_id", "currency"),
    CheckConstraint("normal_side IN (-1, 1)", name="side"),
    CheckConstraint("status IN (0, 1, 2)", name="status"),
)

balance = Table(
    "balance",
    metadata,
    Column("account_id", Id, ForeignKey("account.id"), primary_key=True, autoincrement=False),
    _fen("posted", server_default="0"),
    _fen("held", server_default="0"),
    _fen("floor", server_default="0"),
    Column("version", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("held >= 0", name="held"),
    CheckConstraint("floor <= 0", name="floor"),
    CheckConstraint("posted - held >= floor", name="covered"),
)

day = Table(
    "day",
    metadata,
    Column("biz_date", Integer, primary_key=True, autoincrement=False),  # yyyymmdd
    _small("state"),  # 0 open, 1 cutting, 2 closed
    Column("cut_jid", BigInteger),
    _ms("closed_ms", nullable=True),
    CheckConstraint("state IN (0, 1, 2)", name="state"),
)

txn = Table(
    "txn",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    _small("kind"),  # values.Operation
    _small("channel"),  # values.Channel
    Column("idem_scope", String(40), nullable=False),
    Column("idem_key", String(64), nullable=False),
    Column("req_hash", LargeBinary, nullable=False),
    Column("outlet_acct", BigInteger, ForeignKey("account.id"), nullable=False),
    _small("operator_id", 0),
    Column("msisdn", String(20), nullable=False, server_default=""),
    _fen("amount"),
    _fen("cost"),
    _small("repeat_n", 1),
    Column("asker", String(20), nullable=False, server_default=""),
    Column("service", String(20), nullable=False, server_default=""),
    _small("state"),  # values.State
    _small("reason", 0),  # errors.Reason.number
    Column("op_ref", String(32), unique=True),
    Column("op_code", String(8)),
    Column("op_serial", String(40)),
    Column("orig_txn", BigInteger, ForeignKey("txn.id")),
    _small("attempts", 0),
    _small("owner_node", 0),
    Column("owner_epoch", BigInteger, nullable=False, server_default="0"),
    Column("biz_date", Integer, nullable=False),
    _ms("created_ms"),
    _ms("next_ms", nullable=True),
    _ms("done_ms", nullable=True),
    UniqueConstraint("idem_scope", "idem_key"),
    CheckConstraint("state BETWEEN 0 AND 7", name="state"),
    CheckConstraint("amount > 0 OR (state = 0 AND amount = 0)", name="amount"),
    CheckConstraint("cost > 0 OR (state = 0 AND cost = 0)", name="cost"),
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
Index("txn_statement", txn.c.outlet_acct, txn.c.created_ms)
Index("txn_intent", txn.c.msisdn, txn.c.outlet_acct, txn.c.created_ms)

journal = Table(
    "journal",
    metadata,
    Column("jid", Id, primary_key=True, autoincrement=False),
    Column("txn_id", BigInteger, ForeignKey("txn.id"), nullable=False),
    _small("op"),  # JOURNAL_SETTLE …
    Column("dr", BigInteger, ForeignKey("account.id"), nullable=False),
    Column("cr", BigInteger, ForeignKey("account.id"), nullable=False),
    _fen("amount"),
    Column("biz_date", Integer, nullable=False),
    _ms("at_ms"),
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
    _ms("seen_ms"),
    sqlite_with_rowid=False,
)

outlet = Table(
    "outlet",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("code", String(16), nullable=False, unique=True),
    Column("name", String(64), nullable=False, server_default=""),
    _small("status", OUTLET_ACTIVE),
    Column("language", String(2), nullable=False, server_default="zh"),
    _small("pin_policy", PIN_NEVER),
    _fen("pin_above_fen", server_default="0"),
    Column("float_id", BigInteger, ForeignKey("account.id"), nullable=False, unique=True),
    _ms("created_ms"),
    CheckConstraint("status BETWEEN 0 AND 4", name="status"),
    CheckConstraint("language IN ('zh', 'en')", name="language"),
    CheckConstraint("pin_policy IN (0, 1, 2)", name="pin_policy"),
)

outlet_phone = Table(
    "outlet_phone",
    metadata,
    Column("msisdn", String(20), primary_key=True),
    Column("outlet_id", BigInteger, ForeignKey("outlet.id"), nullable=False),
    _small("rights"),
    _ms("created_ms"),
    CheckConstraint("rights BETWEEN 1 AND 7", name="rights"),
)
Index("outlet_phone_outlet", outlet_phone.c.outlet_id)

card = Table(
    "card",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("iccid", String(20), nullable=False, unique=True),
    Column("outlet_id", BigInteger, ForeignKey("outlet.id"), nullable=False),
    Column("msisdn", String(20), nullable=False, unique=True),
    Column("profile", String(32), nullable=False),
    _small("key_source"),  # 0 derived from a master key, 1 imported
    _small("master_version"),
    _small("key_version"),
    Column("kic_wrapped", LargeBinary),
    Column("kid_wrapped", LargeBinary),
    _small("status", CARD_ACTIVE),
    Column("hi", BigInteger, nullable=False, server_default="0"),
    Column("bitmap", BigInteger, nullable=False, server_default="0"),  # 64 bit, as a signed number
    _ms("created_ms"),
    CheckConstraint("status IN (1, 2)", name="status"),
    CheckConstraint("key_source IN (0, 1)", name="key_source"),
    CheckConstraint("(key_source = 1) = (kic_wrapped IS NOT NULL AND kid_wrapped IS NOT NULL)", name="keys"),
)

number_language = Table(
    "number_language",
    metadata,
    Column("msisdn", String(20), primary_key=True),
    Column("language", String(2), nullable=False),
    CheckConstraint("language IN ('zh', 'en')", name="language"),
)

credential = Table(
    "credential",
    metadata,
    Column("outlet_id", Id, ForeignKey("outlet.id"), primary_key=True, autoincrement=False),
    Column("pin_mac", LargeBinary, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    _small("pepper_ver"),
    _small("fails", 0),
    _small("locks", 0),
    Column("locked_until_ms", BigInteger, nullable=False, server_default="0"),
    _ms("changed_ms"),
    CheckConstraint("fails >= 0 AND locks >= 0", name="counts"),
)

offence = Table(
    "offence",
    metadata,
    Column("phone", String(20), primary_key=True),
    Column("local_date", Integer, primary_key=True, autoincrement=False),
    Column("n", Integer, nullable=False),
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
    _ms("created_ms"),
    _ms("next_ms"),
    _ms("expires_ms"),
    _small("attempts", 0),
    _ms("sent_ms", nullable=True),
    _small("state", NOTICE_UNSENT),
    CheckConstraint("state IN (0, 1, 2)", name="state"),
    CheckConstraint("(state = 1) = (sent_ms IS NOT NULL)", name="sent"),
)
Index("outbox_todo", outbox.c.next_ms, sqlite_where=text("state = 0"), postgresql_where=text("state = 0"))
Index("outbox_txn", outbox.c.txn_id)

audit = Table(
    "audit",
    metadata,
    Column("seq", Id, primary_key=True, autoincrement=False),
    _ms("at_ms"),
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
    _small("state", 0),  # 0 asked, 1 approved, 2 declined
    _ms("made_ms"),
    _ms("checked_ms", nullable=True),
    Column("txn_id", BigInteger),
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
    _small("state", 0),
    Column("txn_id", BigInteger),
)
