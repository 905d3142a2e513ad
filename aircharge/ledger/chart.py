"""The chart of accounts and the small numbers that rows carry: what a kind, a status or a state stands for.

Sign convention: an outlet's float is what we owe the outlet, a liability (``normal_side`` -1). Its ``posted`` is
credits minus debits. Bank clearing and operator stocks are assets (+1): their balance is debits minus credits.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ADJUSTMENT",
    "BANK_CLEARING",
    "BATCH_CANCELLED",
    "BATCH_DONE",
    "BATCH_RUNNING",
    "CANCEL_DONE",
    "CANCEL_STANDS",
    "CANCEL_WANTED",
    "CARD_ACTIVE",
    "CARD_BLOCKED",
    "COMMISSION_DISCOUNT",
    "COMMISSION_EXPENSE",
    "COMMISSION_INCOME",
    "COMMISSION_INSTANT",
    "COMMISSION_MONTHLY",
    "COMMISSION_NONE",
    "DAY_CLOSED",
    "DAY_CUTTING",
    "DAY_OPEN",
    "DETAIL_EQUAL",
    "DETAIL_MISSING",
    "DETAIL_OTHER",
    "DETAIL_UNKNOWN",
    "FIRST_ACCOUNT",
    "HOUSE",
    "JOURNAL_ADJUST",
    "JOURNAL_CLAWBACK",
    "JOURNAL_COMMISSION",
    "JOURNAL_DEPOSIT",
    "JOURNAL_DISCOUNT",
    "JOURNAL_FUNDING",
    "JOURNAL_PAYOUT",
    "JOURNAL_SETTLE",
    "JOURNAL_STOCK",
    "JOURNAL_TRANSFER",
    "JOURNAL_WITHDRAW",
    "KEY_ACTIVE",
    "KEY_PENDING",
    "KEY_RETIRED",
    "KIND_COMMISSION",
    "KIND_DEPOSIT",
    "KIND_FLOAT",
    "KIND_STOCK",
    "KIND_SYSTEM",
    "LEVEL_CITY",
    "LEVEL_DISTRIBUTOR",
    "LEVEL_OUTLET",
    "LEVEL_PROVINCE",
    "LIST_BLACK",
    "LIST_WHITE",
    "NORMAL_SIDE",
    "NOTICE_EXPIRED",
    "NOTICE_SENT",
    "NOTICE_UNSENT",
    "OUTLET_ACTIVE",
    "OUTLET_CLOSED",
    "OUTLET_CLOSING",
    "OUTLET_PENDING",
    "OUTLET_SUSPENDED",
    "PERIOD_DAY",
    "PERIOD_MONTH",
    "PERIOD_TRANSACTION",
    "PERIOD_WEEK",
    "PHONE_ACTIVE",
    "PHONE_BLOCKED",
    "PIN_ABOVE",
    "PIN_ALWAYS",
    "PIN_NEVER",
    "POS_COMPARED",
    "POS_EQUAL",
    "POS_UNEQUAL",
    "RIGHT_ADMIN",
    "RIGHT_QUERY",
    "RIGHT_RECHARGE",
    "SUBJECT_MANAGER",
    "SUBJECT_OUTLET",
    "SUBJECT_PHONE",
    "SUBJECT_TARGET",
    "SUBJECT_TERMINAL",
    "SUSPENSE",
    "SYSTEM_ACCOUNTS",
    "TERMINAL_ACTIVE",
    "TERMINAL_BLOCKED",
    "TICKET_CANCELLED",
    "TICKET_EXPIRED",
    "TICKET_PAID",
    "TICKET_WAITING",
    "UNDO_ASKED",
    "UNDO_DONE",
    "UNDO_HEARD",
    "UNDO_NONE",
    "UNDO_NOTHING",
    "UNDO_REFUSED",
    "commission_account",
    "deposit_account",
]

BANK_CLEARING: Final = 100
COMMISSION_INCOME, COMMISSION_EXPENSE, SUSPENSE, ADJUSTMENT = 200, 201, 300, 400
SYSTEM_ACCOUNTS: Final = (
    (BANK_CLEARING, 1, "bank clearing"),
    (COMMISSION_INCOME, -1, "commission income"),
    (COMMISSION_EXPENSE, 1, "commission expense"),
    (SUSPENSE, -1, "suspense"),
    (ADJUSTMENT, 1, "adjustment"),
)
"""Accounts without a balance row: (id, normal side, name). Operator stocks are 1..99."""
FIRST_ACCOUNT: Final = 1000
"""Accounts of outlets begin here; they have a balance row."""

KIND_SYSTEM, KIND_STOCK, KIND_FLOAT, KIND_COMMISSION, KIND_DEPOSIT = range(5)
NORMAL_SIDE: Final = {KIND_STOCK: 1, KIND_FLOAT: -1, KIND_COMMISSION: -1, KIND_DEPOSIT: -1}
_COMMISSION_OFFSET: Final = 10**12
_DEPOSIT_OFFSET: Final = 2 * 10**12


def commission_account(float_id: int) -> int:
    """The commission account (佣金) of the outlet with this float."""
    return float_id + _COMMISSION_OFFSET


def deposit_account(float_id: int) -> int:
    """The frozen deposit (保证金) of the outlet with this float."""
    return float_id + _DEPOSIT_OFFSET


# What a journal row books (journal.op). A reversal's rows carry the op of the row they mirror.
JOURNAL_SETTLE, JOURNAL_FUNDING, JOURNAL_DISCOUNT, JOURNAL_COMMISSION, JOURNAL_TRANSFER = 1, 2, 3, 4, 5
JOURNAL_ADJUST, JOURNAL_WITHDRAW, JOURNAL_DEPOSIT, JOURNAL_STOCK, JOURNAL_PAYOUT = 6, 7, 8, 9, 10
JOURNAL_CLAWBACK: Final = 11

COMMISSION_NONE, COMMISSION_DISCOUNT, COMMISSION_INSTANT, COMMISSION_MONTHLY = range(4)
"""How an outlet earns: nothing; it pays less; its commission account is credited at once; reckoned at month end."""

OUTLET_PENDING, OUTLET_ACTIVE, OUTLET_SUSPENDED, OUTLET_CLOSING, OUTLET_CLOSED = range(5)
LEVEL_PROVINCE, LEVEL_CITY, LEVEL_DISTRIBUTOR, LEVEL_OUTLET = 1, 2, 3, 4
PIN_NEVER, PIN_ABOVE, PIN_ALWAYS = range(3)
RIGHT_RECHARGE, RIGHT_QUERY, RIGHT_ADMIN = 1, 2, 4
PHONE_ACTIVE, PHONE_BLOCKED = 1, 2
CARD_ACTIVE, CARD_BLOCKED = 1, 2
TERMINAL_ACTIVE, TERMINAL_BLOCKED = 1, 2
NOTICE_UNSENT, NOTICE_SENT, NOTICE_EXPIRED = range(3)
DAY_OPEN, DAY_CUTTING, DAY_CLOSED = range(3)
HOUSE: Final = 0
"""The accounting day of everything that concerns no operator."""

SUBJECT_OUTLET, SUBJECT_PHONE, SUBJECT_TERMINAL, SUBJECT_TARGET, SUBJECT_MANAGER = 1, 2, 3, 4, 5
PERIOD_TRANSACTION, PERIOD_DAY, PERIOD_WEEK, PERIOD_MONTH = range(4)
LIST_BLACK, LIST_WHITE = 1, 2
KEY_PENDING, KEY_ACTIVE, KEY_RETIRED = range(3)
POS_EQUAL, POS_UNEQUAL, POS_COMPARED = 1, 2, 3
"""A terminal's batch: its totals were ours; they were not, details are awaited; the details are compared."""
DETAIL_EQUAL, DETAIL_UNKNOWN, DETAIL_OTHER, DETAIL_MISSING = range(4)
"""A line of such a batch: as ours; we know of none; another amount; the terminal does not know of ours."""
CANCEL_WANTED, CANCEL_DONE, CANCEL_STANDS = range(3)
"""A recharge its terminal took back: not yet undone; it is; the operator would not, it stands."""
UNDO_NONE, UNDO_ASKED, UNDO_DONE, UNDO_NOTHING, UNDO_REFUSED, UNDO_HEARD = range(6)
"""Protective reversal of a recharge: never; may be under way; taken back; it was never executed; it stands; may be
under way, and the recharge's own yes has come meanwhile."""
TICKET_WAITING, TICKET_PAID, TICKET_EXPIRED, TICKET_CANCELLED = range(4)
BATCH_RUNNING, BATCH_DONE, BATCH_CANCELLED = range(3)
