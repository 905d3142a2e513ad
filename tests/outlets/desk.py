"""A clerk's desk over a ledger in memory; what a refused change must leave as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aircharge.outlets.registry import Desk, RegistryError
from tests.ledger.desk import Books

RULE_TABLES = ("product", "price", "limit_rule", "list_entry", "rule_set", "transfer_rule", "policy", "audit")


def at_desk(books: Books, work: Callable[[Desk], Any], actor: str = "li") -> Any:
    with books.store.writing() as txn:
        return work(Desk(txn, books.clock.ms, actor))


def read(books: Books, question: Callable[..., Any], *words: Any, **more: Any) -> Any:
    with books.engine.connect() as txn:
        return question(txn, *words, **more)


def policy_version(books: Books) -> int:
    return int(books.value("SELECT version FROM policy"))


def actions(books: Books) -> list[str]:
    """What the audit says "li" and "wang" have done."""
    return [
        row[0] for row in books.rows("SELECT action FROM audit WHERE actor IN ('li', 'wang') ORDER BY seq")
    ]


def refused(books: Books, work: Callable[[Desk], Any], says: str, actor: str = "li") -> None:
    """It is refused with these words, and no table of rules has changed."""
    before = [books.rows(f"SELECT * FROM {table}") for table in RULE_TABLES]
    with pytest.raises(RegistryError, match=says):
        at_desk(books, work, actor)
    assert [books.rows(f"SELECT * FROM {table}") for table in RULE_TABLES] == before
