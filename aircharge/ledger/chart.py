"""The chart of accounts and the small numbers that rows carry: what a kind, a status or a state stands for.

Sign convention: an outlet's float is what we owe the outlet, a liability (``normal_side`` -1). Its ``posted`` is
credits minus debits. Bank clearing and operator stocks are assets (+1): their balance is debits minus credits.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BANK_CLEARING",
    "CARD_ACTIVE",
    "CARD_BLOCKED",
    "JOURNAL_FUNDING",
    "JOURNAL_SETTLE",
    "KIND_FLOAT",
    "KIND_STOCK",
    "KIND_SYSTEM",
    "NORMAL_SIDE",
    "NOTICE_EXPIRED",
    "NOTICE_SENT",
    "NOTICE_UNSENT",
    "OUTLET_ACTIVE",
    "OUTLET_CLOSED",
    "OUTLET_CLOSING",
    "OUTLET_PENDING",
    "OUTLET_SUSPENDED",
    "PIN_ABOVE",
    "PIN_ALWAYS",
    "PIN_NEVER",
    "RIGHT_ADMIN",
    "RIGHT_QUERY",
    "RIGHT_RECHARGE",
    "SYSTEM_ACCOUNTS",
]

BANK_CLEARING: Final = 100
SYSTEM_ACCOUNTS: Final = (
    (100, 1, "bank clearing"),
    (200, -1, "commission income"),
    (201, 1, "commission expense"),
    (300, -1, "suspense"),
    (400, 1, "adjustment"),
)
"""Accounts without a balance row: (id, normal side, name). Operator stocks are 1..99."""

KIND_SYSTEM, KIND_STOCK, KIND_FLOAT = 0, 1, 2
NORMAL_SIDE: Final = {KIND_STOCK: 1, KIND_FLOAT: -1}
JOURNAL_SETTLE, JOURNAL_FUNDING = 1, 2
OUTLET_PENDING, OUTLET_ACTIVE, OUTLET_SUSPENDED, OUTLET_CLOSING, OUTLET_CLOSED = range(5)
PIN_NEVER, PIN_ABOVE, PIN_ALWAYS = range(3)
RIGHT_RECHARGE, RIGHT_QUERY, RIGHT_ADMIN = 1, 2, 4
CARD_ACTIVE, CARD_BLOCKED = 1, 2
NOTICE_UNSENT, NOTICE_SENT, NOTICE_EXPIRED = range(3)
