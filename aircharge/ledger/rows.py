"""Rows as the book sees them: what the store loaded for a batch, and what is to be written back.

Plain mutable values; two commands of one batch that touch the same row share the same object.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from aircharge.ledger.chart import LEVEL_OUTLET, PHONE_ACTIVE
from aircharge.ledger.commands import NoticeRow
from aircharge.ledger.policy import EMPTY_POLICY, CounterKey, Policy
from aircharge.values import State

__all__ = [
    "REPLAYED",
    "AuditEntry",
    "BalanceRow",
    "CardState",
    "Changes",
    "Charge",
    "CounterRow",
    "CredentialRow",
    "HeardRow",
    "JournalRow",
    "ListRow",
    "Needs",
    "OutletRow",
    "PhoneRow",
    "ReconItem",
    "ReplayRow",
    "RequestRow",
    "RowChange",
    "Rows",
    "TxnRow",
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
    level: int = LEVEL_OUTLET
    parent_id: int | None = None
    group: str = "standard"
    manager: str = ""
    residual_fen: int = 0
    created_ms: int = 0


@dataclass(slots=True)
class PhoneRow:
    outlet_id: int
    rights: int
    status: int = PHONE_ACTIVE
    active_from_ms: int = 0
    created_ms: int = 0


@dataclass(slots=True)
class BalanceRow:
    """A float, in fen. ``version`` counts its changes; a write repeats the version it read.

    ``floor`` is what was written last, ``bound`` what holds now: once the line has ended, or is below what is used of
    it, the bound follows the balance up, so that whatever comes in repays and nothing more is lent.
    """

    account_id: int
    posted: int
    held: int
    floor: int
    version: int
    line_fen: int = 0  # what a credit line lends at this moment

    @property
    def bound(self) -> int:
        """How far down the balance less its holds may go now, never more than nothing."""
        return max(self.floor, min(-self.line_fen, self.posted - self.held, 0))

    @property
    def available(self) -> int:
        return self.posted - self.held - self.bound


@dataclass(slots=True)
class CredentialRow:
    outlet_id: int
    pin_mac: bytes
    salt: bytes
    pepper_ver: int
    fails: int
    locks: int
    locked_until_ms: int
    must_change: int = 0
    duress_mac: bytes | None = None


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


REPLAYED: Final = "replayed"
"""Under these words an asker's messages of the day are counted that were seen before (``hearing``)."""


@dataclass(slots=True)
class HeardRow:
    """A plain message as it was first heard, and how often it has come again since (``hearing``)."""

    phone: str
    words: str
    repeat_n: int
    pin: str
    txn_id: int  # 0: it became no order
    reason: int
    seen_ms: int
    sent_ms: int | None  # by the SMS centre's clock, where it told
    again_n: int = 0
    told_ms: int = 0  # when its repetition was last answered


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
    orig_txn: int | None = None
    counter_acct: int | None = None
    commission: int = 0
    commission_mode: int = 0
    price_id: int = 0
    undo: int = 0
    counted: str = ""  # which limit counters it counts on (``limits``)
    released_ms: int = 0  # when a parked order was let go
    owner_node: int = 0
    owner_epoch: int = 0
    centre: str = ""  # the SMS centre that brought it
    loaded_state: int | None = None

    @property
    def is_open(self) -> bool:
        return State(self.state).is_open

    @property
    def is_live(self) -> bool:
        """Not yet at an end that nothing can change."""
        return self.state not in (State.REFUSED, State.VOIDED, State.REVERSED)


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
    what: str
    payload: dict[str, Any]
    maker: str
    state: int
    made_ms: int


@dataclass(slots=True)
class CounterRow:
    """What was used of a limit in its period."""

    n: int = 0
    total_fen: int = 0


@dataclass(slots=True)
class ListRow:
    """A number, outlet or terminal on a list. colour: LIST_BLACK or LIST_WHITE."""

    colour: int
    reason: str
    until_ms: int | None


@dataclass(frozen=True, slots=True)
class Charge:
    """What an order or question counts against: the loader finds its counters, lists and live orders."""

    phone: str
    operation: int  # values.Operation
    target: str = ""
    terminal: str = ""


@dataclass(frozen=True, slots=True)
class RowChange:
    """A rare change of one row of a table without a class of its own (ticket, batch line, credit line …).

    ``where`` empty: the row is new. Else exactly one row must be met, or the ledger is broken.
    """

    table: str
    values: dict[str, Any]
    where: dict[str, Any] = field(default_factory=dict)


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
    heard: set[tuple[str, str]] = field(default_factory=set)  # plain messages: (phone, words)
    keys: set[tuple[str, str]] = field(default_factory=set)
    orders: set[int] = field(default_factory=set)
    intents: set[tuple[str, str]] = field(default_factory=set)  # (asking phone, target)
    charges: set[Charge] = field(default_factory=set)
    order_charges: set[tuple[str, int, int]] = field(
        default_factory=set
    )  # (asker, operation, whose target: order)
    codes: set[str] = field(default_factory=set)  # outlets by their code
    accounts: set[int] = field(default_factory=set)  # balances beside the floats
    reversals: set[int] = field(default_factory=set)  # orders whose outlets' reversals are looked at
    earners: set[str] = field(default_factory=set)  # phones of outlets whose commission account is needed
    journals: set[int] = field(default_factory=set)  # orders whose journal rows are needed
    wanted: set[tuple[str, str, Any]] = field(default_factory=set)  # rare rows: (table, column, value)
    last: set[str] = field(default_factory=set)  # phones of outlets whose last recharge is asked for
    offenders: set[str] = field(default_factory=set)
    requests: set[int] = field(default_factory=set)
    alone: bool = False  # an accounting day is cut: no other batch may be under way


@dataclass(slots=True)
class Rows:
    """What was found."""

    node: int = 0  # which daemon writes, and under which lease
    epoch: int = 0
    policy: Policy = EMPTY_POLICY
    days: dict[int, int] = field(default_factory=dict)  # open day by operator, HOUSE = 0
    sealed_jid: int = 0  # no row may be booked with a number up to this
    phones: dict[str, PhoneRow] = field(default_factory=dict)
    outlets: dict[int, OutletRow] = field(default_factory=dict)
    accounts: dict[int, OutletRow] = field(default_factory=dict)  # outlets by their float
    balances: dict[int, BalanceRow] = field(default_factory=dict)
    credentials: dict[int, CredentialRow] = field(default_factory=dict)
    cards: dict[int, CardState] = field(default_factory=dict)
    replays: dict[tuple[int, int], ReplayRow] = field(default_factory=dict)
    heard: dict[tuple[str, str], list[HeardRow]] = field(default_factory=dict)  # by (phone, words)
    txns: dict[int, TxnRow] = field(default_factory=dict)
    by_key: dict[tuple[str, str], TxnRow] = field(default_factory=dict)
    intents: dict[tuple[int, str], list[TxnRow]] = field(default_factory=dict)  # (float, target)
    answers: dict[int, tuple[str, dict[str, Any]]] = field(
        default_factory=dict
    )  # order → topic and facts told
    told_n: dict[int, int] = field(default_factory=dict)  # order → how often it was told
    last: dict[int, TxnRow] = field(default_factory=dict)  # the last recharge, by outlet
    offences: dict[str, int] = field(default_factory=dict)
    languages: dict[str, str] = field(default_factory=dict)
    requests: dict[int, RequestRow] = field(default_factory=dict)
    first_phones: dict[int, str] = field(default_factory=dict)  # by outlet, for notices nobody asked for
    codes: dict[str, OutletRow] = field(default_factory=dict)
    counters: dict[CounterKey, CounterRow] = field(default_factory=dict)
    lists: dict[tuple[int, str], ListRow] = field(default_factory=dict)  # (subject, value)
    served: dict[tuple[int, str], int] = field(
        default_factory=dict
    )  # (float, number) → settled of late; loaded when a rule or the guard asks
    journal: dict[int, list[JournalRow]] = field(default_factory=dict)  # by order
    reversals: dict[int, list[TxnRow]] = field(default_factory=dict)  # by float, those of late
    found: dict[tuple[str, str, Any], list[dict[str, Any]]] = field(default_factory=dict)  # what was wanted

    def add_txn(self, row: TxnRow) -> TxnRow:
        """Keep one object per order."""
        kept = self.txns.setdefault(row.id, row)
        self.by_key.setdefault((kept.idem_scope, kept.idem_key), kept)
        return kept


@dataclass(slots=True)
class Changes:
    """What is to be written, in the order of its foreign keys. Updated rows are kept by id."""

    days: list[tuple[int, int]] = field(default_factory=list)  # (operator, day to open); the open one is cut
    new_txns: list[TxnRow] = field(default_factory=list)
    txns: dict[int, TxnRow] = field(default_factory=dict)
    journal: list[JournalRow] = field(default_factory=list)
    balances: dict[int, BalanceRow] = field(default_factory=dict)
    replays: list[ReplayRow] = field(default_factory=list)
    heard: dict[tuple[str, str, int, str], HeardRow] = field(default_factory=dict)
    cards: dict[int, CardState] = field(default_factory=dict)
    credentials: dict[int, CredentialRow] = field(default_factory=dict)
    offences: dict[str, int] = field(default_factory=dict)  # how many more of each number
    notices: list[NoticeRow] = field(default_factory=list)
    notices_sent: list[int] = field(default_factory=list)
    notices_retry: list[tuple[int, int]] = field(default_factory=list)
    parts_began: dict[tuple[str, str, int, int, int], tuple[str, int]] = field(default_factory=dict)
    parts_ended: set[tuple[str, str, int, int, int]] = field(default_factory=set)
    notices_left: list[tuple[int, int]] = field(default_factory=list)
    notices_expired: list[int] = field(default_factory=list)
    audit: list[AuditEntry] = field(default_factory=list)
    recon: list[ReconItem] = field(default_factory=list)
    requests: list[tuple[int, str, int]] = field(default_factory=list)  # (request, checker, order)
    counters: dict[CounterKey, CounterRow] = field(default_factory=dict)
    rare: list[RowChange] = field(default_factory=list)
