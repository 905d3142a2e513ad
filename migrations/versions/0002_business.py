"""The business: hierarchy, staff, prices, limits, days by operator, proofs, leases; orders gain a state and columns.

Expands only: nothing that revision 0001's program reads goes away but ``day``'s key, so stop the daemon, upgrade,
start the new one. SQLite cannot change a CHECK: there ``txn`` is made anew and its rows are carried over.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COMMISSION_OFFSET, _DEPOSIT_OFFSET = 10**12, 2 * 10**12


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    _columns()
    if is_sqlite:
        _make_txn_anew()
    else:
        _alter_txn()
    op.create_index(
        "txn_owner",
        "txn",
        ["owner_node"],
        unique=False,
        sqlite_where=sa.text("state IN (1, 2, 3)"),
        postgresql_where=sa.text("state IN (1, 2, 3)"),
    )
    op.create_index(
        "txn_parked",
        "txn",
        ["created_ms"],
        unique=False,
        sqlite_where=sa.text("state = 8"),
        postgresql_where=sa.text("state = 8"),
    )
    op.create_index(
        "txn_reversals",
        "txn",
        ["outlet_acct", "created_ms"],
        unique=False,
        sqlite_where=sa.text("kind = 2"),
        postgresql_where=sa.text("kind = 2"),
    )
    _days()
    _tables()
    _accounts()
    op.execute("INSERT INTO policy (id, version) VALUES (1, 1)")
    for statement in _refuse_changes(is_sqlite):
        op.execute(statement)


def _columns() -> None:
    """SQLite takes a column with its constraints in one statement, PostgreSQL as well; alembic's words do not."""
    for table, column in (
        ("change_request", "note VARCHAR(200) DEFAULT '' NOT NULL"),
        ("credential", "must_change SMALLINT DEFAULT 0 NOT NULL"),
        ("credential", f"duress_mac {_bytes()}"),
        (
            "outlet",
            "level SMALLINT DEFAULT 4 NOT NULL CONSTRAINT ck_outlet_level CHECK (level BETWEEN 1 AND 4)",
        ),
        (
            "outlet",
            "parent_id BIGINT CONSTRAINT fk_outlet_parent_id REFERENCES outlet (id)"
            " CONSTRAINT ck_outlet_parent CHECK (parent_id IS NULL OR parent_id <> id)",
        ),
        ("outlet", "group_code VARCHAR(16) DEFAULT 'standard' NOT NULL"),
        ("outlet", "manager VARCHAR(32) DEFAULT '' NOT NULL"),
        (
            "outlet",
            "residual_fen BIGINT DEFAULT 0 NOT NULL CONSTRAINT ck_outlet_residual CHECK (residual_fen >= 0)",
        ),
        (
            "outlet_phone",
            "status SMALLINT DEFAULT 1 NOT NULL CONSTRAINT ck_outlet_phone_status CHECK (status IN (1, 2))",
        ),
        ("outlet_phone", "active_from_ms BIGINT DEFAULT 0 NOT NULL"),
    ):
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    op.create_index("outlet_parent", "outlet", ["parent_id"], unique=False)


def _bytes() -> str:
    return "BLOB" if op.get_bind().dialect.name == "sqlite" else "BYTEA"


def _alter_txn() -> None:
    for column in (
        "counter_acct BIGINT CONSTRAINT fk_txn_counter_acct REFERENCES account (id)",
        "commission BIGINT DEFAULT 0 NOT NULL CONSTRAINT ck_txn_commission CHECK (commission >= 0)",
        "commission_mode SMALLINT DEFAULT 0 NOT NULL",
        "price_id BIGINT DEFAULT 0 NOT NULL",
        "undo SMALLINT DEFAULT 0 NOT NULL",
        "counted VARCHAR(64) DEFAULT '' NOT NULL",
        "released_ms BIGINT DEFAULT 0 NOT NULL",
    ):
        op.execute(f"ALTER TABLE txn ADD COLUMN {column}")
    op.execute("ALTER TABLE txn DROP CONSTRAINT ck_txn_state")
    op.execute("ALTER TABLE txn ADD CONSTRAINT ck_txn_state CHECK (state BETWEEN 0 AND 8)")


def _make_txn_anew() -> None:
    """``migrate.upgrade`` has switched foreign keys off; it looks through them before the commit."""
    kept = ", ".join(column["name"] for column in sa.inspect(op.get_bind()).get_columns("txn"))
    op.create_table(
        "txn_new",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("channel", sa.SmallInteger(), nullable=False),
        sa.Column("idem_scope", sa.String(length=40), nullable=False),
        sa.Column("idem_key", sa.String(length=64), nullable=False),
        sa.Column("req_hash", sa.LargeBinary(), nullable=False),
        sa.Column("outlet_acct", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("msisdn", sa.String(length=20), server_default="", nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("repeat_n", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("asker", sa.String(length=20), server_default="", nullable=False),
        sa.Column("service", sa.String(length=20), server_default="", nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("op_ref", sa.String(length=32), nullable=True),
        sa.Column("op_code", sa.String(length=8), nullable=True),
        sa.Column("op_serial", sa.String(length=40), nullable=True),
        sa.Column("orig_txn", sa.BigInteger(), nullable=True),
        sa.Column("counter_acct", sa.BigInteger(), nullable=True),
        sa.Column("commission", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("commission_mode", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("price_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("undo", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("counted", sa.String(length=64), server_default="", nullable=False),
        sa.Column("released_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("owner_node", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("owner_epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("biz_date", sa.Integer(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_ms", sa.BigInteger(), nullable=True),
        sa.Column("done_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("commission >= 0", name=op.f("ck_txn_commission")),
        sa.CheckConstraint("(kind = 2) = (orig_txn IS NOT NULL)", name=op.f("ck_txn_original")),
        sa.CheckConstraint("amount > 0 OR (state = 0 AND amount = 0)", name=op.f("ck_txn_amount")),
        sa.CheckConstraint("cost > 0 OR (state = 0 AND cost = 0)", name=op.f("ck_txn_cost")),
        sa.CheckConstraint("state BETWEEN 0 AND 8", name=op.f("ck_txn_state")),
        sa.CheckConstraint(
            "state NOT IN (1, 2, 3, 4, 6) OR op_ref IS NOT NULL OR kind > 2", name=op.f("ck_txn_reference")
        ),
        sa.ForeignKeyConstraint(["counter_acct"], ["account.id"], name=op.f("fk_txn_counter_acct")),
        sa.ForeignKeyConstraint(["orig_txn"], ["txn.id"], name=op.f("fk_txn_orig_txn")),
        sa.ForeignKeyConstraint(["outlet_acct"], ["account.id"], name=op.f("fk_txn_outlet_acct")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_txn")),
        sa.UniqueConstraint("idem_scope", "idem_key", name=op.f("uq_txn_idem_scope")),
        sa.UniqueConstraint("op_ref", name=op.f("uq_txn_op_ref")),
    )
    op.execute(f"INSERT INTO txn_new ({kept}) SELECT {kept} FROM txn")
    op.execute("DROP TABLE txn")
    op.execute("ALTER TABLE txn_new RENAME TO txn")
    op.create_index("txn_intent", "txn", ["msisdn", "outlet_acct", "created_ms"], unique=False)
    op.create_index(
        "txn_one_reversal",
        "txn",
        ["orig_txn"],
        unique=True,
        sqlite_where=sa.text("kind = 2 AND state IN (1, 2, 3, 4, 6)"),
        postgresql_where=sa.text("kind = 2 AND state IN (1, 2, 3, 4, 6)"),
    )
    op.create_index(
        "txn_open",
        "txn",
        ["next_ms"],
        unique=False,
        sqlite_where=sa.text("state IN (1, 2, 3)"),
        postgresql_where=sa.text("state IN (1, 2, 3)"),
    )
    op.create_index("txn_statement", "txn", ["outlet_acct", "created_ms"], unique=False)


def _days() -> None:
    """The accounting day is each operator's own; what was one for all becomes the house's and everybody's."""
    op.execute("CREATE TABLE day_old AS SELECT * FROM day")
    op.execute("DROP TABLE day")
    op.create_table(
        "day",
        sa.Column("operator_id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("biz_date", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("cut_jid", sa.BigInteger(), nullable=True),
        sa.Column("cut_ms", sa.BigInteger(), nullable=True),
        sa.Column("closed_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state IN (0, 1, 2)", name=op.f("ck_day_state")),
        sa.PrimaryKeyConstraint("operator_id", "biz_date", name=op.f("pk_day")),
    )
    newest = "(SELECT max(biz_date) FROM day_old)"
    op.execute(
        "INSERT INTO day (operator_id, biz_date, state) "
        f"SELECT o.id, d.biz_date, CASE WHEN d.biz_date = {newest} THEN 0 ELSE 1 END FROM day_old d, "
        "(SELECT 0 AS id UNION ALL SELECT id FROM account WHERE kind = 1) o"
    )
    op.execute("DROP TABLE day_old")
    op.create_index(
        "day_one_open",
        "day",
        ["operator_id"],
        unique=True,
        sqlite_where=sa.text("state = 0"),
        postgresql_where=sa.text("state = 0"),
    )


def _accounts() -> None:
    """Commission and deposit accounts of the outlets that are there."""
    for kind, offset in ((3, _COMMISSION_OFFSET), (4, _DEPOSIT_OFFSET)):
        op.execute(
            f"INSERT INTO account (id, kind, owner_id, normal_side, created_ms) "
            f"SELECT id + {offset}, {kind}, owner_id, -1, created_ms FROM account WHERE kind = 2"
        )
        op.execute(f"INSERT INTO balance (account_id) SELECT id FROM account WHERE kind = {kind}")
    op.execute("INSERT INTO outlet_profile (outlet_id, opened_ms) SELECT id, created_ms FROM outlet")


def _refuse_changes(is_sqlite: bool) -> list[str]:
    """Seals are immutable, as the journal is since 0001."""
    if is_sqlite:
        return [
            f"CREATE TRIGGER seal_no_{verb.lower()} BEFORE {verb} ON seal "
            f"BEGIN SELECT RAISE(ABORT, 'seal rows are immutable'); END"
            for verb in ("UPDATE", "DELETE")
        ]
    return [
        "CREATE FUNCTION seal_immutable() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'seal rows are immutable' "
        "USING ERRCODE = 'integrity_constraint_violation'; END $$",
        "CREATE TRIGGER seal_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON seal "
        "FOR EACH STATEMENT EXECUTE FUNCTION seal_immutable()",
    ]


def _tables() -> None:
    """As ``alembic`` writes them from the metadata of this revision."""
    op.create_table(
        "eod_balance",
        sa.Column("operator_id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("biz_date", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("debits", sa.BigInteger(), nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("thru_jid", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("operator_id", "biz_date", "account_id", name=op.f("pk_eod_balance")),
    )
    op.create_table(
        "limit_counter",
        sa.Column("subject", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("value", sa.String(length=32), nullable=False),
        sa.Column("operation", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("period", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("began", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("n >= 0 AND total_fen >= 0", name=op.f("ck_limit_counter_counts")),
        sa.PrimaryKeyConstraint(
            "subject", "value", "operation", "period", "began", name=op.f("pk_limit_counter")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "limit_rule",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("subject", sa.SmallInteger(), nullable=False),
        sa.Column("value", sa.String(length=32), server_default="", nullable=False),
        sa.Column("group_code", sa.String(length=16), server_default="", nullable=False),
        sa.Column("operation", sa.SmallInteger(), nullable=False),
        sa.Column("period", sa.SmallInteger(), nullable=False),
        sa.Column("count_max", sa.Integer(), nullable=True),
        sa.Column("value_min_fen", sa.BigInteger(), nullable=True),
        sa.Column("value_max_fen", sa.BigInteger(), nullable=True),
        sa.Column("enabled", sa.SmallInteger(), server_default="1", nullable=False),
        sa.CheckConstraint(
            "subject BETWEEN 1 AND 5 AND period BETWEEN 0 AND 3", name=op.f("ck_limit_rule_kind")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_limit_rule")),
    )
    op.create_table(
        "link_lease",
        sa.Column("link_id", sa.String(length=32), nullable=False),
        sa.Column("node", sa.SmallInteger(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("link_id", name=op.f("pk_link_lease")),
    )
    op.create_table(
        "list_entry",
        sa.Column("subject", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("value", sa.String(length=32), nullable=False),
        sa.Column("colour", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.String(length=100), server_default="", nullable=False),
        sa.Column("author", sa.String(length=64), server_default="", nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("colour IN (1, 2)", name=op.f("ck_list_entry_colour")),
        sa.PrimaryKeyConstraint("subject", "value", name=op.f("pk_list_entry")),
    )
    op.create_table(
        "node_lease",
        sa.Column("node", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("host", sa.String(length=64), nullable=False),
        sa.Column("beat_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("pk_node_lease")),
    )
    op.create_table(
        "policy",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_policy_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy")),
    )
    op.create_table(
        "price",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("operator_id", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("group_code", sa.String(length=16), server_default="", nullable=False),
        sa.Column("min_fen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("max_fen", sa.BigInteger(), nullable=True),
        sa.Column("mode", sa.SmallInteger(), nullable=False),
        sa.Column("rate_ppm", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fixed_fen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("from_date", sa.Integer(), nullable=False),
        sa.Column("until_date", sa.Integer(), nullable=True),
        sa.CheckConstraint("mode BETWEEN 1 AND 3", name=op.f("ck_price_mode")),
        sa.CheckConstraint("rate_ppm BETWEEN 0 AND 500000 AND fixed_fen >= 0", name=op.f("ck_price_rate")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price")),
    )
    op.create_table(
        "product",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("operator_id", sa.SmallInteger(), nullable=False),
        sa.Column("min_fen", sa.BigInteger(), nullable=False),
        sa.Column("max_fen", sa.BigInteger(), nullable=False),
        sa.Column("step_fen", sa.BigInteger(), nullable=False),
        sa.Column("from_date", sa.Integer(), nullable=False),
        sa.Column("until_date", sa.Integer(), nullable=True),
        sa.Column("enabled", sa.SmallInteger(), server_default="1", nullable=False),
        sa.CheckConstraint(
            "min_fen > 0 AND max_fen >= min_fen AND step_fen > 0", name=op.f("ck_product_range")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_product")),
    )
    op.create_table(
        "rule_set",
        sa.Column(
            "version",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("state", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("author", sa.String(length=64), server_default="", nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN (0, 1, 2)", name=op.f("ck_rule_set_state")),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_rule_set")),
    )
    op.create_index(
        "rule_set_one_active",
        "rule_set",
        ["state"],
        unique=True,
        sqlite_where=sa.text("state = 1"),
        postgresql_where=sa.text("state = 1"),
    )
    op.create_table(
        "seal",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("first_jid", sa.BigInteger(), nullable=False),
        sa.Column("last_jid", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("prev_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("marks", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_seal")),
        sa.UniqueConstraint("hash", name=op.f("uq_seal_hash")),
        sa.UniqueConstraint("last_jid", name=op.f("uq_seal_last_jid")),
    )
    op.create_table(
        "transfer_rule",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("from_code", sa.String(length=16), server_default="", nullable=False),
        sa.Column("from_group", sa.String(length=16), server_default="", nullable=False),
        sa.Column("to_code", sa.String(length=16), server_default="", nullable=False),
        sa.Column("to_group", sa.String(length=16), server_default="", nullable=False),
        sa.Column("min_fen", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("max_fen", sa.BigInteger(), nullable=False),
        sa.Column("enabled", sa.SmallInteger(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfer_rule")),
    )
    op.create_table(
        "batch",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("outlet_id", sa.BigInteger(), nullable=False),
        sa.Column("file_hash", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.String(length=64), server_default="", nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("author", sa.String(length=64), server_default="", nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("done_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state BETWEEN 0 AND 2", name=op.f("ck_batch_state")),
        sa.ForeignKeyConstraint(["outlet_id"], ["outlet.id"], name=op.f("fk_batch_outlet_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch")),
        sa.UniqueConstraint("outlet_id", "file_hash", name=op.f("uq_batch_outlet_id")),
    )
    op.create_table(
        "credit_line",
        sa.Column(
            "outlet_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("limit_fen", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.String(length=64), server_default="", nullable=False),
        sa.CheckConstraint("limit_fen >= 0", name=op.f("ck_credit_line_limit")),
        sa.ForeignKeyConstraint(["outlet_id"], ["outlet.id"], name=op.f("fk_credit_line_outlet_id")),
        sa.PrimaryKeyConstraint("outlet_id", name=op.f("pk_credit_line")),
    )
    op.create_table(
        "deposit_ticket",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("outlet_id", sa.BigInteger(), nullable=False),
        sa.Column("idem_scope", sa.String(length=40), server_default="", nullable=False),
        sa.Column("idem_key", sa.String(length=64), server_default="", nullable=False),
        sa.Column("asked_fen", sa.BigInteger(), nullable=False),
        sa.Column("exact_fen", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("txn_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("asked_fen > 0 AND exact_fen >= asked_fen", name=op.f("ck_deposit_ticket_amount")),
        sa.CheckConstraint("state BETWEEN 0 AND 3", name=op.f("ck_deposit_ticket_state")),
        sa.ForeignKeyConstraint(["outlet_id"], ["outlet.id"], name=op.f("fk_deposit_ticket_outlet_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deposit_ticket")),
        sa.UniqueConstraint("idem_scope", "idem_key", name=op.f("uq_deposit_ticket_idem_scope")),
    )
    op.create_index(
        "deposit_ticket_exact",
        "deposit_ticket",
        ["exact_fen"],
        unique=True,
        sqlite_where=sa.text("state = 0"),
        postgresql_where=sa.text("state = 0"),
    )
    op.create_index("deposit_ticket_sum", "deposit_ticket", ["exact_fen"], unique=False)
    op.create_table(
        "outlet_move",
        sa.Column("outlet_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("since_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("actor", sa.String(length=64), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["outlet_id"], ["outlet.id"], name=op.f("fk_outlet_move_outlet_id")),
        sa.ForeignKeyConstraint(["parent_id"], ["outlet.id"], name=op.f("fk_outlet_move_parent_id")),
        sa.PrimaryKeyConstraint("outlet_id", "since_ms", name=op.f("pk_outlet_move")),
    )
    op.create_table(
        "outlet_profile",
        sa.Column(
            "outlet_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("address", sa.String(length=200), server_default="", nullable=False),
        sa.Column("region", sa.String(length=16), server_default="", nullable=False),
        sa.Column("legal_person", sa.String(length=64), server_default="", nullable=False),
        sa.Column("legal_id", sa.String(length=32), server_default="", nullable=False),
        sa.Column("contact", sa.String(length=64), server_default="", nullable=False),
        sa.Column("contact_phone", sa.String(length=20), server_default="", nullable=False),
        sa.Column("type", sa.String(length=16), server_default="", nullable=False),
        sa.Column("contract_no", sa.String(length=32), server_default="", nullable=False),
        sa.Column("contract_from", sa.Integer(), server_default="0", nullable=False),
        sa.Column("contract_until", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deposit_due_fen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bank", sa.String(length=64), server_default="", nullable=False),
        sa.Column("bank_account", sa.String(length=40), server_default="", nullable=False),
        sa.Column("bank_account_name", sa.String(length=64), server_default="", nullable=False),
        sa.Column("credit_grade", sa.String(length=8), server_default="", nullable=False),
        sa.Column("opened_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("closed_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["outlet_id"], ["outlet.id"], name=op.f("fk_outlet_profile_outlet_id")),
        sa.PrimaryKeyConstraint("outlet_id", name=op.f("pk_outlet_profile")),
    )
    op.create_table(
        "pin_history",
        sa.Column("outlet_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("pin_mac", sa.LargeBinary(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("pepper_ver", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(["outlet_id"], ["outlet.id"], name=op.f("fk_pin_history_outlet_id")),
        sa.PrimaryKeyConstraint("outlet_id", "changed_ms", name=op.f("pk_pin_history")),
    )
    op.create_table(
        "staff",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("login", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), server_default="", nullable=False),
        sa.Column("role", sa.String(length=16), server_default="", nullable=False),
        sa.Column("scope_outlet_id", sa.BigInteger(), nullable=True),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("totp_wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("totp_step", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("status", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("fails", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("locked_until_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("must_change", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("status IN (1, 2)", name=op.f("ck_staff_status")),
        sa.ForeignKeyConstraint(["scope_outlet_id"], ["outlet.id"], name=op.f("fk_staff_scope_outlet_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff")),
        sa.UniqueConstraint("login", name=op.f("uq_staff_login")),
    )
    op.create_table(
        "terminal",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("code", sa.String(length=16), nullable=False),
        sa.Column("outlet_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), server_default="", nullable=False),
        sa.Column("status", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("status IN (1, 2)", name=op.f("ck_terminal_status")),
        sa.ForeignKeyConstraint(["outlet_id"], ["outlet.id"], name=op.f("fk_terminal_outlet_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_terminal")),
        sa.UniqueConstraint("code", name=op.f("uq_terminal_code")),
    )
    op.create_table(
        "batch_line",
        sa.Column("batch_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("msisdn", sa.String(length=20), server_default="", nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("cost_fen", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("reason", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("txn_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state BETWEEN 0 AND 2", name=op.f("ck_batch_line_state")),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name=op.f("fk_batch_line_batch_id")),
        sa.PrimaryKeyConstraint("batch_id", "line", name=op.f("pk_batch_line")),
    )
