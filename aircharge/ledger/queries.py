"""What the loader asks of an engine: one SELECT a question, whose first parameter is the list of keys.

Each engine has one of these (``sqlite_queries``); rows come in the order of the columns named here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from aircharge.ledger.rows import TxnRow

__all__ = ["FINAL_TOPICS", "OUTLET_COLUMNS", "TXN_COLUMNS", "Queries"]

TXN_COLUMNS: Final = tuple(item.name for item in fields(TxnRow) if item.name != "loaded_state")
"""Columns of an order, in ``TxnRow``'s order."""

OUTLET_COLUMNS: Final = """o.id, o.code, o.status, o.language, o.pin_policy, o.pin_above_fen, o.float_id,
    o.level, o.parent_id, o.group_code, o.manager, o.residual_fen, o.created_ms,
    b.account_id, b.posted, b.held, b.floor, b.version,
    c.outlet_id, c.pin_mac, c.salt, c.pepper_ver, c.fails, c.locks, c.locked_until_ms, c.must_change,
    c.duress_mac"""
"""Outlet ``o``, its balance ``b``, its credential ``c`` (which may be missing)."""


FINAL_TOPICS: Final = ", ".join(
    f"'outlet.{what}'"
    for what in (
        "settled",
        "refused",
        "reversed",
        "reversal-refused",
        "transferred",
        "transfer-reversed",
        "commission",
        "ticket",
    )
)
"""What the asking number is told of an order that is at its end, and told again when the order comes again."""


@dataclass(frozen=True, slots=True)
class Queries:
    """Texts of our own; every value is bound."""

    days: str  # open accounting days by operator, the policy's version, the last sealed row (of one ignored key)
    by_phone: str  # phone, rights, status, active from, made, and outlet, by phone
    by_terminal: str  # terminal as who asks, rights, status, 0, made, and outlet, by who asks
    by_code: str  # outlet, by code
    by_float: str  # outlet, by float account
    cards: str  # cards, by id
    replays: str  # spent serials, by (card, serial)
    heard: str  # plain messages, by (phone, words)
    by_key: str  # orders, by (scope, key)
    by_id: str  # orders, by id
    intents: str  # live recharges since a time, by (number, float account)
    answers: str  # what those who asked were told of their orders (and nobody else was), by order
    last: str  # the last recharge, by float account
    offences: str  # offences of a day, by phone
    languages: str  # languages, by customer's number
    requests: str  # requests, by id
    first_phones: str  # one phone, by outlet
    balances: str  # accounts, by id
    lines: str  # account and limit of the credit lines that run at a time, by float account
    journal: str  # journal rows, by order
    reversals: str  # reversals since a time, by float account
    counters: str  # limit counters, by key
    lists: str  # list entries, by (subject, value)
    served: str  # settled recharges since a time, by (number, float account)
