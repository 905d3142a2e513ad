"""Rows as the book sees them: what the store loaded for a batch, and what is to be written back.

Plain mutable values; two commands of one batch that touch the same row share the same object.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aircharge.ledger.commands import NoticeRow
from aircharge.values import State

__all__ = [
    "AuditEntry",
    "BalanceRow",
    "CardState",
    "Changes",
    "CredentialRow",
    "JournalRow",
    "Needs",
    "OutletRow",
    "PhoneRow",
    "ReconItem",
    "ReplayRow",
    "RequestRow",
    "Rows",
    "TxnRow",
    "Usage",
]


@dataclass(slots=True)
class OutletRow:
    id: int
    code: str
    status: int
    language: str
    pin_policy: int
    pin_above_fen: int
    float_id: int


@dataclass(slots=True)
class PhoneRow:
    outlet_id: int
    rights: int


@dataclass(slots=True)
class BalanceRow:
    """A float, in fen. ``version`` counts its changes; a write repeats the version it read."""

    account_id: int
    posted: int
    held: int
    floor: int
    version: int

    @property
    def available(self) -> int:
        return self.posted - self.held - self.floor


@dataclass(slots=True)
class CredentialRow:
    outlet_id: int
    pin_mac: bytes
    salt: bytes
    pepper_ver: int
    fails: int
    locks: int
    locked_until_ms: int


@dataclass(slots=True)
class CardState:
    """What the book must know of a card: whose it is and which counters it has used (``counters``)."""

    id: int
    outlet_id: int
    msisdn: str
    key_version: int
    status: int
    hi: int
    bitmap: int  # unsigned


@dataclass(slots=True)
class ReplayRow:
    card_id: int
    serial: int  # unsigned 64 bit
    req_hash: bytes
    txn_id: int
    seen_ms: int


@dataclass(slots=True)
class TxnRow:
    """An order. ``loaded_state`` is the state in the database, None for a row that is new in this batch."""

    id: int
    kind: int
    channel: int
    idem_scope: str
    idem_key: str
    req_hash: bytes
    outlet_acct: int
    operator_id: int
    msisdn: str
    amount: int
    cost: int
    repeat_n: int
    asker: str
    service: str
    state: int
    reason: int
    op_ref: str | None
    op_code: str | None
    op_serial: str | None
    attempts: int
    biz_date: int
    created_ms: int
    next_ms: int | None
    done_ms: int | None
    loaded_state: int | None = None

    @property
    def is_open(self) -> bool:
        return State(self.state).is_open


@dataclass(slots=True)
class JournalRow:
    """One transfer: debit ``dr``, credit ``cr``."""

    jid: int
    txn_id: int
    op: int
    dr: int
    cr: int
    amount: int
    biz_date: int
    at_ms: int


@dataclass(slots=True)
class ReconItem:
    """Something for people. kind: 1 yes after void or refusal, 2 no after settle, 3 an answer to no order of ours."""

    op_ref: str
    kind: int
    ours: int
    theirs: int
    txn_id: int


@dataclass(slots=True)
class RequestRow:
    """A request that waits for a second person; ``payload`` is decoded."""

    id: int
    payload: dict[str, Any]
    maker: str
    state: int


@dataclass(slots=True)
class Usage:
    """An outlet's day so far (settled and open recharges) and its last recharge."""

    today_n: int = 0
    today_fen: int = 0
    last: TxnRow | None = None


@dataclass(slots=True)
class AuditEntry:
    actor: str
    action: str
    thing: str
    detail: dict[str, Any]


@dataclass(slots=True)
class Needs:
    """What a batch must find loaded."""

    phones: set[str] = field(default_factory=set)
    cards: set[int] = field(default_factory=set)
    serials: set[tuple[int, int]] = field(default_factory=set)
    keys: set[tuple[str, str]] = field(default_factory=set)
    orders: set[int] = field(default_factory=set)
    intents: set[tuple[str, str]] = field(default_factory=set)  # (asking phone, target)
    usage: set[str] = field(default_factory=set)  # phones of outlets whose day is asked for
    offenders: set[str] = field(default_factory=set)
    requests: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Rows:
    """What was found."""

    day: int = 0  # biz_date of the open day, 0 = there is none yet
    phones: dict[str, PhoneRow] = field(default_factory=dict)
    outlets: dict[int, OutletRow] = field(default_factory=dict)
    accounts: dict[int, OutletRow] = field(default_factory=dict)  # outlets by their float
    balances: dict[int, BalanceRow] = field(default_factory=dict)
    credentials: dict[int, CredentialRow] = field(default_factory=dict)
    cards: dict[int, CardState] = field(default_factory=dict)
    replays: dict[tuple[int, int], ReplayRow] = field(default_factory=dict)
    txns: dict[int, TxnRow] = field(default_factory=dict)
    by_key: dict[tuple[str, str], TxnRow] = field(default_factory=dict)
    intents: dict[tuple[int, str], list[TxnRow]] = field(default_factory=dict)  # (float, target)
    answers: dict[int, tuple[str, dict[str, Any]]] = field(
        default_factory=dict
    )  # order → topic and facts told
    usage: dict[int, Usage] = field(default_factory=dict)  # by outlet
    offences: dict[str, int] = field(default_factory=dict)
    languages: dict[str, str] = field(default_factory=dict)
    requests: dict[int, RequestRow] = field(default_factory=dict)
    first_phones: dict[int, str] = field(default_factory=dict)  # by outlet, for notices nobody asked for

    def add_txn(self, row: TxnRow) -> TxnRow:
        """Keep one object per order."""
        kept = self.txns.setdefault(row.id, row)
        self.by_key.setdefault((kept.idem_scope, kept.idem_key), kept)
        return kept


@dataclass(slots=True)
class Changes:
    """What is to be written, in the order of its foreign keys. Updated rows are kept by id."""

    day: int = 0  # a first day to open
    new_txns: list[TxnRow] = field(default_factory=list)
    txns: dict[int, TxnRow] = field(default_factory=dict)
    journal: list[JournalRow] = field(default_factory=list)
    balances: dict[int, BalanceRow] = field(default_factory=dict)
    replays: list[ReplayRow] = field(default_factory=list)
    cards: dict[int, CardState] = field(default_factory=dict)
    credentials: dict[int, CredentialRow] = field(default_factory=dict)
    offences: dict[str, int] = field(default_factory=dict)
    notices: list[NoticeRow] = field(default_factory=list)
    notices_sent: list[int] = field(default_factory=list)
    notices_retry: list[tuple[int, int]] = field(default_factory=list)
    notices_expired: list[int] = field(default_factory=list)
    audit: list[AuditEntry] = field(default_factory=list)
    recon: list[ReconItem] = field(default_factory=list)
    requests: list[tuple[int, str, int]] = field(default_factory=list)  # (request, checker, order)
