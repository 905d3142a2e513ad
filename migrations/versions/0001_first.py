"""The first schema: accounts, orders, journal, outbox, audit, and who may trade.

The journal and the audit refuse every UPDATE and DELETE by trigger.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

IMMUTABLE = ("journal", "audit")
SYSTEM_ACCOUNTS = ((100, 1), (200, -1), (201, 1), (300, -1), (400, 1))


def upgrade() -> None:
    _tables()
    for table in IMMUTABLE:
        for statement in _refuse_changes(op.get_bind().dialect.name, table):
            op.execute(statement)
    for account_id, normal_side in SYSTEM_ACCOUNTS:
        op.execute(
            f"INSERT INTO account (id, kind, owner_id, normal_side, created_ms) "
            f"VALUES ({account_id}, 0, {account_id}, {normal_side}, 0)"
        )


def _refuse_changes(dialect: str, table: str) -> list[str]:
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} rows are immutable'); END"
            for verb in ("UPDATE", "DELETE")
        ]
    return [
        f"CREATE FUNCTION {table}_immutable() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} rows are immutable' "
        f"USING ERRCODE = 'integrity_constraint_violation'; END $$",
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_immutable()",
    ]


def _tables() -> None:
    op.create_table(
        "account",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=3), server_default="CNY", nullable=False),
        sa.Column("normal_side", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("normal_side IN (-1, 1)", name=op.f("ck_account_side")),
        sa.CheckConstraint("status IN (0, 1, 2)", name=op.f("ck_account_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("kind", "owner_id", "currency", name=op.f("uq_account_kind")),
    )
    op.create_table(
        "audit",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("object", sa.String(length=128), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit")),
        sa.UniqueConstraint("hash", name=op.f("uq_audit_hash")),
    )
    op.create_table(
        "change_request",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("what", sa.String(length=32), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("maker", sa.String(length=64), nullable=False),
        sa.Column("checker", sa.String(length=64), nullable=True),
        sa.Column("state", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("checked_ms", sa.BigInteger(), nullable=True),
        sa.Column("txn_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("checker IS NULL OR checker <> maker", name=op.f("ck_change_request_two_people")),
        sa.CheckConstraint("state = 0 OR checker IS NOT NULL", name=op.f("ck_change_request_checked")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change_request")),
    )
    op.create_table(
        "day",
        sa.Column("biz_date", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("cut_jid", sa.BigInteger(), nullable=True),
        sa.Column("closed_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state IN (0, 1, 2)", name=op.f("ck_day_state")),
        sa.PrimaryKeyConstraint("biz_date", name=op.f("pk_day")),
    )
    op.create_table(
        "number_language",
        sa.Column("msisdn", sa.String(length=20), nullable=False),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.CheckConstraint("language IN ('zh', 'en')", name=op.f("ck_number_language_language")),
        sa.PrimaryKeyConstraint("msisdn", name=op.f("pk_number_language")),
    )
    op.create_table(
        "offence",
        sa.Column("phone", sa.String(length=20), nullable=False),
        sa.Column("local_date", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("phone", "local_date", name=op.f("pk_offence")),
    )
    op.create_table(
        "outbox",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("txn_id", sa.BigInteger(), nullable=False),
        sa.Column("topic", sa.String(length=64), nullable=False),
        sa.Column("recipient", sa.String(length=20), nullable=False),
        sa.Column("sender", sa.String(length=20), nullable=False),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("sent_ms", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.SmallInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("(state = 1) = (sent_ms IS NOT NULL)", name=op.f("ck_outbox_sent")),
        sa.CheckConstraint("state IN (0, 1, 2)", name=op.f("ck_outbox_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index(
        "outbox_todo",
        "outbox",
        ["next_ms"],
        unique=False,
        sqlite_where=sa.text("state = 0"),
        postgresql_where=sa.text("state = 0"),
    )
    op.create_index("outbox_txn", "outbox", ["txn_id"], unique=False)
    op.create_table(
        "recon_item",
        sa.Column("biz_date", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("op_ref", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("ours", sa.BigInteger(), nullable=True),
        sa.Column("theirs", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("txn_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("biz_date", "op_ref", "kind", name=op.f("pk_recon_item")),
    )
    op.create_table(
        "replay",
        sa.Column("card_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("serial", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("req_hash", sa.LargeBinary(), nullable=False),
        sa.Column("txn_id", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("card_id", "serial", name=op.f("pk_replay")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "balance",
        sa.Column(
            "account_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("posted", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("floor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("floor <= 0", name=op.f("ck_balance_floor")),
        sa.CheckConstraint("held >= 0", name=op.f("ck_balance_held")),
        sa.CheckConstraint("posted - held >= floor", name=op.f("ck_balance_covered")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_balance_account_id")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_balance")),
    )
    op.create_table(
        "outlet",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("code", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), server_default="", nullable=False),
        sa.Column("status", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("language", sa.String(length=2), server_default="zh", nullable=False),
        sa.Column("pin_policy", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("pin_above_fen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("float_id", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("language IN ('zh', 'en')", name=op.f("ck_outlet_language")),
        sa.CheckConstraint("pin_policy IN (0, 1, 2)", name=op.f("ck_outlet_pin_policy")),
        sa.CheckConstraint("status BETWEEN 0 AND 4", name=op.f("ck_outlet_status")),
        sa.ForeignKeyConstraint(["float_id"], ["account.id"], name=op.f("fk_outlet_float_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outlet")),
        sa.UniqueConstraint("code", name=op.f("uq_outlet_code")),
        sa.UniqueConstraint("float_id", name=op.f("uq_outlet_float_id")),
    )
    op.create_table(
        "txn",
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
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("owner_node", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("owner_epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("biz_date", sa.Integer(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_ms", sa.BigInteger(), nullable=True),
        sa.Column("done_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(kind = 2) = (orig_txn IS NOT NULL)", name=op.f("ck_txn_original")),
        sa.CheckConstraint("amount > 0 OR (state = 0 AND amount = 0)", name=op.f("ck_txn_amount")),
        sa.CheckConstraint("cost > 0 OR (state = 0 AND cost = 0)", name=op.f("ck_txn_cost")),
        sa.CheckConstraint("state BETWEEN 0 AND 7", name=op.f("ck_txn_state")),
        sa.CheckConstraint(
            "state NOT IN (1, 2, 3, 4, 6) OR op_ref IS NOT NULL OR kind > 2", name=op.f("ck_txn_reference")
        ),
        sa.ForeignKeyConstraint(["orig_txn"], ["txn.id"], name=op.f("fk_txn_orig_txn")),
        sa.ForeignKeyConstraint(["outlet_acct"], ["account.id"], name=op.f("fk_txn_outlet_acct")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_txn")),
        sa.UniqueConstraint("idem_scope", "idem_key", name=op.f("uq_txn_idem_scope")),
        sa.UniqueConstraint("op_ref", name=op.f("uq_txn_op_ref")),
    )
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
    op.create_table(
        "card",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("iccid", sa.String(length=20), nullable=False),
        sa.Column("outlet_id", sa.BigInteger(), nullable=False),
        sa.Column("msisdn", sa.String(length=20), nullable=False),
        sa.Column("profile", sa.String(length=32), nullable=False),
        sa.Column("key_source", sa.SmallInteger(), nullable=False),
        sa.Column("master_version", sa.SmallInteger(), nullable=False),
        sa.Column("key_version", sa.SmallInteger(), nullable=False),
        sa.Column("kic_wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("kid_wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("status", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("hi", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bitmap", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(key_source = 1) = (kic_wrapped IS NOT NULL AND kid_wrapped IS NOT NULL)",
            name=op.f("ck_card_keys"),
        ),
        sa.CheckConstraint("key_source IN (0, 1)", name=op.f("ck_card_key_source")),
        sa.CheckConstraint("status IN (1, 2)", name=op.f("ck_card_status")),
        sa.ForeignKeyConstraint(["outlet_id"], ["outlet.id"], name=op.f("fk_card_outlet_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_card")),
        sa.UniqueConstraint("iccid", name=op.f("uq_card_iccid")),
        sa.UniqueConstraint("msisdn", name=op.f("uq_card_msisdn")),
    )
    op.create_table(
        "credential",
        sa.Column(
            "outlet_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("pin_mac", sa.LargeBinary(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("pepper_ver", sa.SmallInteger(), nullable=False),
        sa.Column("fails", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("locks", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("locked_until_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("fails >= 0 AND locks >= 0", name=op.f("ck_credential_counts")),
        sa.ForeignKeyConstraint(["outlet_id"], ["outlet.id"], name=op.f("fk_credential_outlet_id")),
        sa.PrimaryKeyConstraint("outlet_id", name=op.f("pk_credential")),
    )
    op.create_table(
        "journal",
        sa.Column(
            "jid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("txn_id", sa.BigInteger(), nullable=False),
        sa.Column("op", sa.SmallInteger(), nullable=False),
        sa.Column("dr", sa.BigInteger(), nullable=False),
        sa.Column("cr", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("biz_date", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_journal_amount")),
        sa.CheckConstraint("dr <> cr", name=op.f("ck_journal_sides")),
        sa.ForeignKeyConstraint(["cr"], ["account.id"], name=op.f("fk_journal_cr")),
        sa.ForeignKeyConstraint(["dr"], ["account.id"], name=op.f("fk_journal_dr")),
        sa.ForeignKeyConstraint(["txn_id"], ["txn.id"], name=op.f("fk_journal_txn_id")),
        sa.PrimaryKeyConstraint("jid", name=op.f("pk_journal")),
        sa.UniqueConstraint("txn_id", "op", name=op.f("uq_journal_txn_id")),
    )
    op.create_index(
        "journal_cr",
        "journal",
        ["cr", "jid"],
        unique=False,
        sqlite_where=sa.text("cr >= 1000"),
        postgresql_where=sa.text("cr >= 1000"),
    )
    op.create_index("journal_day", "journal", ["biz_date", "jid"], unique=False)
    op.create_index(
        "journal_dr",
        "journal",
        ["dr", "jid"],
        unique=False,
        sqlite_where=sa.text("dr >= 1000"),
        postgresql_where=sa.text("dr >= 1000"),
    )
    op.create_table(
        "outlet_phone",
        sa.Column("msisdn", sa.String(length=20), nullable=False),
        sa.Column("outlet_id", sa.BigInteger(), nullable=False),
        sa.Column("rights", sa.SmallInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("rights BETWEEN 1 AND 7", name=op.f("ck_outlet_phone_rights")),
        sa.ForeignKeyConstraint(["outlet_id"], ["outlet.id"], name=op.f("fk_outlet_phone_outlet_id")),
        sa.PrimaryKeyConstraint("msisdn", name=op.f("pk_outlet_phone")),
    )
    op.create_index("outlet_phone_outlet", "outlet_phone", ["outlet_id"], unique=False)
