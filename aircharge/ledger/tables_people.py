"""The tables of people and rules: outlets, staff, what is sold at which price, limits, requests of many lines.

Part of ``aircharge.ledger.tables``; the rooms of ``aircharge.outlets`` write most of them.
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

from aircharge.ledger.chart import CARD_ACTIVE, LEVEL_OUTLET, OUTLET_ACTIVE, PHONE_ACTIVE, PIN_NEVER
from aircharge.ledger.columns import Id, big, fen, metadata, ms, small, word

__all__ = ["metadata"]

outlet = Table(
    "outlet",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("code", String(16), nullable=False, unique=True),
    Column("name", String(64), nullable=False, server_default=""),
    small("status", OUTLET_ACTIVE),
    Column("language", String(2), nullable=False, server_default="zh"),
    small("pin_policy", PIN_NEVER),
    fen("pin_above_fen", 0),
    Column("float_id", BigInteger, ForeignKey("account.id"), nullable=False, unique=True),
    ms("created_ms"),
    small("level", LEVEL_OUTLET),  # LEVEL_PROVINCE …
    Column("parent_id", BigInteger, ForeignKey("outlet.id")),
    word("group_code", 16, "standard"),  # prices and limits are made by group
    word("manager", 32),  # the account manager's login
    fen("residual_fen", 0),  # what must stay on the float
    CheckConstraint("status BETWEEN 0 AND 4", name="status"),
    CheckConstraint("language IN ('zh', 'en')", name="language"),
    CheckConstraint("pin_policy IN (0, 1, 2)", name="pin_policy"),
    CheckConstraint("level BETWEEN 1 AND 4", name="level"),
    CheckConstraint("parent_id IS NULL OR parent_id <> id", name="parent"),
    CheckConstraint("residual_fen >= 0", name="residual"),
)
Index("outlet_parent", outlet.c.parent_id)

outlet_profile = Table(
    "outlet_profile",
    metadata,
    Column("outlet_id", Id, ForeignKey("outlet.id"), primary_key=True, autoincrement=False),
    word("address", 200),
    word("region", 16),  # county code, GB/T 2260
    word("legal_person", 64),
    word("legal_id", 32),
    word("contact", 64),
    word("contact_phone", 20),
    word("type", 16),
    word("contract_no", 32),
    Column("contract_from", Integer, nullable=False, server_default="0"),  # yyyymmdd, 0 = unknown
    Column("contract_until", Integer, nullable=False, server_default="0"),
    fen("deposit_due_fen", 0),  # 保证金 agreed
    word("bank", 64),
    word("bank_account", 40),
    word("bank_account_name", 64),
    word("credit_grade", 8),
    Column("opened_ms", BigInteger, nullable=False, server_default="0"),
    Column("closed_ms", BigInteger, nullable=False, server_default="0"),
)

outlet_move = Table(
    "outlet_move",
    metadata,
    Column("outlet_id", BigInteger, ForeignKey("outlet.id"), primary_key=True, autoincrement=False),
    Column("since_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("parent_id", BigInteger, ForeignKey("outlet.id")),
    word("actor", 64),
)

terminal = Table(
    "terminal",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("code", String(16), nullable=False, unique=True),
    Column("outlet_id", BigInteger, ForeignKey("outlet.id"), nullable=False),
    word("kind", 16),
    small("status", 1),  # 1 active, 2 blocked
    ms("created_ms"),
    word("merchant", 15),  # ISO 8583 DE 42; "" = not bound yet
    small("rights", 3),  # RIGHT_RECHARGE …
    small("key_version", 0),  # the master key it signs in with, 0 = none injected
    word("module", 16),  # security module (PSAM) of a fixed-line terminal; "" = none
    CheckConstraint("status IN (1, 2)", name="status"),
    CheckConstraint("rights BETWEEN 1 AND 7", name="rights"),
)
Index(
    "terminal_module",
    terminal.c.module,
    unique=True,
    sqlite_where=text("module <> ''"),
    postgresql_where=text("module <> ''"),
)

outlet_phone = Table(
    "outlet_phone",
    metadata,
    Column("msisdn", String(20), primary_key=True),
    Column("outlet_id", BigInteger, ForeignKey("outlet.id"), nullable=False),
    small("rights"),
    ms("created_ms"),
    small("status", PHONE_ACTIVE),  # PHONE_ACTIVE, PHONE_BLOCKED
    Column("active_from_ms", BigInteger, nullable=False, server_default="0"),  # a replaced SIM waits
    CheckConstraint("rights BETWEEN 1 AND 7", name="rights"),
    CheckConstraint("status IN (1, 2)", name="status"),
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
    small("key_source"),  # 0 derived from a master key, 1 imported
    small("master_version"),
    small("key_version"),
    Column("kic_wrapped", LargeBinary),
    Column("kid_wrapped", LargeBinary),
    small("status", CARD_ACTIVE),
    Column("hi", BigInteger, nullable=False, server_default="0"),
    Column("bitmap", BigInteger, nullable=False, server_default="0"),  # 64 bit, as a signed number
    ms("created_ms"),
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
    small("pepper_ver"),
    small("fails", 0),
    small("locks", 0),
    Column("locked_until_ms", BigInteger, nullable=False, server_default="0"),
    ms("changed_ms"),
    small("must_change", 0),  # 1: an initial PIN, good only to choose another
    Column("duress_mac", LargeBinary),
    CheckConstraint("fails >= 0 AND locks >= 0", name="counts"),
)

pin_history = Table(
    "pin_history",
    metadata,
    Column("outlet_id", BigInteger, ForeignKey("outlet.id"), primary_key=True, autoincrement=False),
    Column("changed_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("pin_mac", LargeBinary, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    small("pepper_ver"),
)

offence = Table(
    "offence",
    metadata,
    Column("phone", String(20), primary_key=True),
    Column("local_date", Integer, primary_key=True, autoincrement=False),
    Column("n", Integer, nullable=False),
)

staff = Table(
    "staff",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("login", String(32), nullable=False, unique=True),
    word("name", 64),
    word("role", 16),  # clerk | manager | finance | risk | auditor | admin
    Column(
        "scope_outlet_id", BigInteger, ForeignKey("outlet.id")
    ),  # a manager's region, a clerk's distributor
    Column("password_hash", String(200), nullable=False),
    Column("totp_wrapped", LargeBinary),
    big("totp_step"),  # the last time step a code was accepted for: a code counts once
    small("status", 1),  # 1 active, 2 blocked
    small("fails", 0),
    Column("locked_until_ms", BigInteger, nullable=False, server_default="0"),
    small("must_change", 1),
    ms("made_ms"),
    ms("changed_ms"),
    Column(
        "admin_ms", BigInteger, nullable=False, server_default="0"
    ),  # when first an enrolled admin; 0 = never
    Column(
        "confirms_from_ms", BigInteger, nullable=False, server_default="0"
    ),  # may be a second person from then on
    CheckConstraint("status IN (1, 2)", name="status"),
)

policy = Table(
    "policy",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),  # one row, 1
    big("version", 1),  # counts every change of products, prices, limits, rules and transfer rules
    CheckConstraint("id = 1", name="one"),
)

product = Table(
    "product",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    small("operator_id"),
    fen("min_fen"),  # a face value has min = max
    fen("max_fen"),
    fen("step_fen"),
    Column("from_date", Integer, nullable=False),
    Column("until_date", Integer),  # the last day, NULL = for ever
    small("enabled", 1),
    CheckConstraint("min_fen > 0 AND max_fen >= min_fen AND step_fen > 0", name="range"),
)

price = Table(
    "price",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    small("operator_id", 0),  # 0 = any
    word("group_code", 16),  # "" = any
    fen("min_fen", 0),
    Column("max_fen", BigInteger),  # NULL = no end
    small("mode"),  # COMMISSION_DISCOUNT …
    Column("rate_ppm", Integer, nullable=False, server_default="0"),  # parts per million of the face value
    fen("fixed_fen", 0),
    Column("from_date", Integer, nullable=False),
    Column("until_date", Integer),
    CheckConstraint("rate_ppm BETWEEN 0 AND 500000 AND fixed_fen >= 0", name="rate"),
    CheckConstraint("mode BETWEEN 1 AND 3", name="mode"),
)

limit_rule = Table(
    "limit_rule",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    small("subject"),  # SUBJECT_OUTLET …
    word("value", 32),  # one subject alone; "" = each
    word("group_code", 16),  # "" = any
    small("operation"),  # values.Operation
    small("period"),  # PERIOD_TRANSACTION …
    Column("count_max", Integer),
    Column("value_min_fen", BigInteger),
    Column("value_max_fen", BigInteger),
    small("enabled", 1),
    CheckConstraint("subject BETWEEN 1 AND 5 AND period BETWEEN 0 AND 3", name="kind"),
)

limit_counter = Table(
    "limit_counter",
    metadata,
    Column("subject", SmallInteger, primary_key=True, autoincrement=False),
    Column("value", String(32), primary_key=True),
    Column("operation", SmallInteger, primary_key=True, autoincrement=False),
    Column("period", SmallInteger, primary_key=True, autoincrement=False),
    Column("began", Integer, primary_key=True, autoincrement=False),  # local date the period began, yyyymmdd
    Column("n", Integer, nullable=False),
    fen("total_fen"),
    CheckConstraint("n >= 0 AND total_fen >= 0", name="counts"),
    sqlite_with_rowid=False,
)

list_entry = Table(
    "list_entry",
    metadata,
    Column("subject", SmallInteger, primary_key=True, autoincrement=False),  # SUBJECT_TARGET …
    Column("value", String(32), primary_key=True),
    small("colour"),  # LIST_BLACK, LIST_WHITE
    word("reason", 100),
    word("author", 64),
    ms("made_ms"),
    ms("until_ms", nullable=True),
    CheckConstraint("colour IN (1, 2)", name="colour"),
)

rule_set = Table(
    "rule_set",
    metadata,
    Column("version", Id, primary_key=True, autoincrement=False),
    small("state", 0),  # 0 draft, 1 active, 2 retired
    Column("body", Text, nullable=False),  # ordered rules, JSON
    word("author", 64),
    ms("made_ms"),
    CheckConstraint("state IN (0, 1, 2)", name="state"),
)
Index(
    "rule_set_one_active",
    rule_set.c.state,
    unique=True,
    sqlite_where=text("state = 1"),
    postgresql_where=text("state = 1"),
)

transfer_rule = Table(
    "transfer_rule",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    word("from_code", 16),  # an outlet's code, or "" with a group
    word("from_group", 16),
    word("to_code", 16),
    word("to_group", 16),
    fen("min_fen", 1),
    fen("max_fen"),
    small("enabled", 1),
)

deposit_ticket = Table(
    "deposit_ticket",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("outlet_id", BigInteger, ForeignKey("outlet.id"), nullable=False),
    word("idem_scope", 40),
    word("idem_key", 64),
    fen("asked_fen"),
    fen("exact_fen"),  # what must arrive; nobody else waits for this very sum
    small("state", 0),  # TICKET_WAITING …
    ms("made_ms"),
    ms("until_ms"),
    Column("txn_id", BigInteger),
    UniqueConstraint("idem_scope", "idem_key"),
    CheckConstraint("asked_fen > 0 AND exact_fen >= asked_fen", name="amount"),
    CheckConstraint("state BETWEEN 0 AND 3", name="state"),
)
Index(
    "deposit_ticket_exact",
    deposit_ticket.c.exact_fen,
    unique=True,
    sqlite_where=text("state = 0"),
    postgresql_where=text("state = 0"),
)

Index("deposit_ticket_sum", deposit_ticket.c.exact_fen)

credit_line = Table(
    "credit_line",
    metadata,
    Column("outlet_id", Id, ForeignKey("outlet.id"), primary_key=True, autoincrement=False),
    fen("limit_fen"),
    ms("until_ms"),
    word("author", 64),
    small("ended", 0),  # 1: its time is over and the outlet was told
    CheckConstraint("limit_fen >= 0", name="limit"),
)

batch = Table(
    "batch",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),  # the order that holds its reserve
    Column("outlet_id", BigInteger, ForeignKey("outlet.id"), nullable=False),
    Column("file_hash", LargeBinary, nullable=False),
    word("name", 64),
    Column("lines", Integer, nullable=False),
    fen("total_fen"),
    small("state", 0),  # BATCH_RUNNING …
    word("author", 64),
    ms("made_ms"),
    ms("done_ms", nullable=True),
    UniqueConstraint("outlet_id", "file_hash"),
    CheckConstraint("state BETWEEN 0 AND 2", name="state"),
)

batch_line = Table(
    "batch_line",
    metadata,
    Column("batch_id", BigInteger, ForeignKey("batch.id"), primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    word("msisdn", 20),
    fen("amount_fen"),
    fen("cost_fen"),
    small("state", 0),  # 0 waits, 1 opened, 2 refused
    small("reason", 0),
    Column("txn_id", BigInteger),
    CheckConstraint("state BETWEEN 0 AND 2", name="state"),
)
