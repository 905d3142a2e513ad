"""Reads the agent's rules from their tables when their version has changed; ``bump_policy_txn`` says that it has."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Table, select, update

from aircharge.ledger.policy import LimitRule, Policy, Price, Product, TransferRule
from aircharge.ledger.risk import RuleSet, rule_set_of
from aircharge.ledger.tables import metadata

__all__ = ["bump_policy_txn", "limit_of", "load_policy", "price_of"]

_t = metadata.tables


def bump_policy_txn(txn: Connection) -> None:
    """To be called in the transaction of every change of products, prices, limits, lists and rules."""
    table = _t["policy"]
    txn.execute(update(table).values(version=table.c.version + 1))


def load_policy(txn: Connection, version: int) -> Policy:
    """Everything that is enabled."""
    rules = txn.execute(select(_t["rule_set"]).where(_t["rule_set"].c.state == 1)).mappings().first()
    rule_set = rule_set_of(json.loads(rules["body"])) if rules else RuleSet()
    return Policy(
        version,
        tuple(
            Product(
                row["operator_id"],
                row["min_fen"],
                row["max_fen"],
                row["step_fen"],
                row["from_date"],
                row["until_date"],
                bool(row["enabled"]),
            )
            for row in _rows(txn, _t["product"])
        ),
        tuple(price_of(row) for row in _rows(txn, _t["price"])),
        tuple(limit_of(row) for row in _rows(txn, _t["limit_rule"]) if row["enabled"]),
        tuple(
            TransferRule(
                row["id"],
                row["from_code"],
                row["from_group"],
                row["to_code"],
                row["to_group"],
                row["min_fen"],
                row["max_fen"],
            )
            for row in _rows(txn, _t["transfer_rule"])
            if row["enabled"]
        ),
        rules["version"] if rules else 0,
        rule_set.rules,
        rule_set.guard,
        rule_set.asks_first_time,
        rule_set.tallies,
        txn.execute(select(_t["list_entry"].c.value).limit(1)).first() is not None,
    )


def price_of(row: Any) -> Price:
    """A row of ``price`` (a mapping) as the book knows it."""
    return Price(
        row["id"],
        row["operator_id"],
        row["group_code"],
        row["min_fen"],
        row["max_fen"],
        row["mode"],
        row["rate_ppm"],
        row["fixed_fen"],
        row["from_date"],
        row["until_date"],
    )


def limit_of(row: Any) -> LimitRule:
    """A row of ``limit_rule`` (a mapping) as the book knows it."""
    return LimitRule(
        row["id"],
        row["subject"],
        row["value"],
        row["group_code"],
        row["operation"],
        row["period"],
        row["count_max"],
        row["value_min_fen"],
        row["value_max_fen"],
    )


def _rows(txn: Connection, table: Table) -> list[Any]:
    return list(txn.execute(select(table).order_by(table.c.id)).mappings())
