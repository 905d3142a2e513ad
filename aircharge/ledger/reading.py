"""Questions to the ledger: plain functions over a connection, for recovery, the relay, doors and clerks."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Connection,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
    text,
    update,
)

from aircharge.errors import Reason
from aircharge.ledger.chart import DAY_OPEN, NOTICE_UNSENT
from aircharge.ledger.commands import OPEN_STATES, NoticeRow
from aircharge.ledger.tables import metadata
from aircharge.values import Operation, State

__all__ = [
    "Asked",
    "CardRow",
    "FoundRecharge",
    "OpenOrder",
    "all_cards",
    "asked_of",
    "card_by_msisdn",
    "cards_of",
    "claim_notices_txn",
    "find_recharge",
    "float_of",
    "journal_of",
    "last_asked_back",
    "left_notices",
    "notices_of",
    "open_days",
    "open_orders",
    "orders_by_number",
    "orders_of_outlet",
    "outlets",
    "parked_orders",
    "phones_of",
    "recharge_of",
    "reversals_of_late",
    "unsent_notices",
]

_t = metadata.tables
_txn, _outbox, _card, _journal = _t["txn"], _t["outbox"], _t["card"], _t["journal"]
_outlet, _balance, _phone = _t["outlet"], _t["balance"], _t["outlet_phone"]
_ID_MAX: Final = 2**63 - 1
_ALL: Final = 2**31 - 1
_OPEN_COLUMNS: Final = tuple(
    _txn.c[name]
    for name in (
        "id",
        "op_ref",
        "operator_id",
        "msisdn",
        "amount",
        "state",
        "created_ms",
        "next_ms",
        "attempts",
        "released_ms",
        "kind",
        "undo",
    )
)
_original = _txn.alias("original")
_ORIGINAL_REF: Final = select(_original.c.op_ref).where(_original.c.id == _txn.c.orig_txn).scalar_subquery()


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order whose hold stands, as doubt resolution needs it."""

    order_id: int
    op_ref: str
    operator_id: int
    target: str
    amount_fen: int
    state: State
    created_ms: int
    next_ms: int | None
    attempts: int
    released_ms: int = 0  # it was parked, and let go then
    kind: Operation = Operation.RECHARGE  # or REVERSAL
    undo: int = 0  # UNDO_ASKED: its protective reversal may be under way
    original_ref: str = ""  # a reversal: our reference of the recharge
    read_ms: int = 0  # when it was read, by the clock its other times are of; 0: that is the reader's own

    @property
    def since_ms(self) -> int:
        """Before this nothing of it can have left the house."""
        return self.released_ms or self.created_ms


@dataclass(frozen=True, slots=True)
class CardRow:
    """A card as it is stored: keys wrapped, or None when they are derived."""

    card_id: int
    iccid: str
    msisdn: str
    profile: str
    key_source: int
    master_version: int
    key_version: int
    kic_wrapped: bytes | None
    kid_wrapped: bytes | None
    status: int


def open_orders(
    txn: Connection,
    due_before_ms: int,
    limit: int = 0,
    *,
    held_before_ms: int | None = None,
    owner: int | None = None,
) -> list[OpenOrder]:
    """Orders that are HELD, SENT or IN_DOUBT and due by then (no time set = due), oldest time first; limit 0 = all.

    ``limit``: of each operator, so that the doubts of a dead one stand in no other's way.
    ``owner``: only those of this node.
    ``held_before_ms``: of those still HELD only the ones made by then (younger ones are being carried).
    """
    given = {"due": due_before_ms, "most": limit or _ALL, "owner": owner, "held": held_before_ms}
    question = _open_question(owner is not None, held_before_ms is not None)
    read_ms = int(txn.execute(_SHARED_MS).scalar_one()) if txn.dialect.name == "postgresql" else 0
    return [_open_order(row, read_ms) for row in txn.execute(question, given)]


_SHARED_MS: Final = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")


@cache
def _open_question(of_one: bool, without_young: bool) -> Any:
    """Asked every second: built once."""
    c = _txn.c
    is_open = c.state.in_([int(state) for state in OPEN_STATES])
    is_due = or_(c.next_ms.is_(None), c.next_ms <= bindparam("due", type_=BigInteger))
    is_asked = c.kind <= int(Operation.REVERSAL)  # an operator hears of no other kind
    place = func.row_number().over(partition_by=c.operator_id, order_by=(c.next_ms, c.id)).label("place")
    found = select(c.id, place).where(is_open, is_due, is_asked)
    if of_one:
        found = found.where(c.owner_node == bindparam("owner", type_=BigInteger))
    if without_young:
        is_old = c.created_ms <= bindparam("held", type_=BigInteger)
        found = found.where(or_(c.state != int(State.HELD), is_old))
    ranked = found.subquery()
    return (
        select(*_OPEN_COLUMNS, _ORIGINAL_REF)
        .join(ranked, ranked.c.id == c.id)
        .where(ranked.c.place <= bindparam("most", type_=BigInteger))
        .order_by(c.next_ms, c.id)
    )


def _open_order(row: Any, read_ms: int = 0) -> OpenOrder:
    r = tuple(row)
    asked = (r[0], r[1], r[2], r[3], r[4], State(r[5]), r[6], r[7], r[8], r[9])
    return OpenOrder(*asked, Operation(r[10]), r[11], r[12] or "", read_ms)


@dataclass(frozen=True, slots=True)
class FoundRecharge:
    """A recharge that is to be taken back, as far as the switch must know it."""

    order_id: int
    operator_id: int


def float_of(txn: Connection, phone: str) -> int | None:
    """The float of the outlet that a phone is bound to."""
    join = _phone.join(_outlet, _outlet.c.id == _phone.c.outlet_id)
    return txn.execute(select(_outlet.c.float_id).select_from(join).where(_phone.c.msisdn == phone)).scalar()


def find_recharge(
    txn: Connection, float_id: int, msisdn: str, amount_fen: int, since_ms: int
) -> FoundRecharge | None:
    """The outlet's newest settled recharge of that number and amount since then; else its newest of any state."""
    c = _txn.c
    found = (
        select(c.id, c.operator_id)
        .where(c.msisdn == msisdn, c.outlet_acct == float_id, c.created_ms >= since_ms)
        .where(c.kind == int(Operation.RECHARGE), c.amount == amount_fen)
        .order_by((c.state == int(State.SETTLED)).desc(), c.created_ms.desc(), c.id.desc())
    )
    row = txn.execute(found.limit(1)).first()
    return FoundRecharge(*row) if row else None


def recharge_of(txn: Connection, order_id: int) -> FoundRecharge | None:
    """A recharge by its id."""
    c = _txn.c
    row = txn.execute(
        select(c.id, c.operator_id).where(c.id == order_id, c.kind == int(Operation.RECHARGE))
    ).first()
    return FoundRecharge(*row) if row else None


def reversals_of_late(txn: Connection, since_ms: int, limit: int = 200) -> list[dict[str, Any]]:
    """Reversals of recharges since then with the outlet's id, newest first."""
    c = _txn.c
    found = (
        select(_txn, _outlet.c.id.label("outlet_id"))
        .join(_outlet, _outlet.c.float_id == c.outlet_acct)
        .where(c.kind == int(Operation.REVERSAL), c.counter_acct.is_(None), c.created_ms >= since_ms)
        .order_by(c.created_ms.desc(), c.id.desc())
    )
    return [_order(row) for row in txn.execute(found.limit(limit)).mappings()]


@dataclass(frozen=True, slots=True)
class Asked:
    """What an order asks, and whom: what an answer is held against."""

    kind: Operation
    operator_id: int
    op_ref: str  # empty: no operator was ever asked
    amount_fen: int


def asked_of(txn: Connection, order_id: int) -> Asked | None:
    """What an order asks for."""
    columns = (_txn.c.kind, _txn.c.operator_id, _txn.c.op_ref, _txn.c.amount)
    row = txn.execute(select(*columns).where(_txn.c.id == order_id)).first()
    return None if row is None else Asked(Operation(row[0]), row[1], row[2] or "", row[3])


def parked_orders(txn: Connection, *, released: bool | None = None, limit: int = 500) -> list[OpenOrder]:
    """Orders a rule has parked, oldest first: all, those that were let go and wait for a daemon, or the others."""
    return [_open_order(row) for row in txn.execute(_parked_question(released), {"most": limit})]


@cache
def _parked_question(released: bool | None) -> Any:
    c = _txn.c
    found = select(*_OPEN_COLUMNS, _ORIGINAL_REF).where(text("txn.state = 8"))
    found = found.order_by(c.created_ms, c.id).limit(bindparam("most", type_=BigInteger))
    if released is not None:
        found = found.where(c.released_ms > 0 if released else c.released_ms == 0)
    return found


def last_asked_back(txn: Connection, phone: str, since_ms: int) -> dict[str, Any] | None:
    """The newest recharge since then that this phone was asked about (CONFIRM): what its "Y" means."""
    c = _txn.c
    account = (
        select(_outlet.c.float_id)
        .join(_phone, _phone.c.outlet_id == _outlet.c.id)
        .where(_phone.c.msisdn == phone)
        .scalar_subquery()
    )
    found = (
        select(_txn)
        .where(c.outlet_acct == account, c.created_ms >= since_ms, c.asker == phone)
        .where(c.state == int(State.REFUSED), c.reason == Reason.CONFIRM.number)
        .order_by(c.created_ms.desc(), c.id.desc())
    )
    row = txn.execute(found.limit(1)).mappings().first()
    return _order(row) if row is not None else None


def open_days(txn: Connection) -> dict[int, int]:
    """The open accounting day, yyyymmdd, by operator."""
    c = _t["day"].c
    return {
        row[0]: row[1] for row in txn.execute(select(c.operator_id, c.biz_date).where(c.state == DAY_OPEN))
    }


def unsent_notices(txn: Connection, now_ms: int, limit: int, *, of: int | None = None) -> list[NoticeRow]:
    """Notices of the outbox whose time has come, oldest time first; ``of``: only those that this node has made."""
    c = _outbox.c
    found = select(_outbox).where(c.state == NOTICE_UNSENT, c.next_ms <= now_ms)
    if of is not None:
        found = found.where(_maker(c.id) == of)
    return [_notice(row) for row in txn.execute(found.order_by(c.next_ms, c.id).limit(limit))]


def left_notices(txn: Connection, centres: Collection[str], limit: int) -> list[NoticeRow]:
    """Notices left to whoever has one of these SMS centres."""
    c = _outbox.c
    found = select(_outbox).where(c.state == NOTICE_UNSENT, c.left_ms.is_not(None), c.centre.in_(centres))
    rows = txn.execute(found.order_by(c.id).limit(limit)).all() if centres else ()
    return [replace(_notice(row), is_left=False) for row in rows]


def claim_notices_txn(
    txn: Connection,
    now_ms: int,
    until_ms: int,
    limit: int,
    living: Collection[int],
    centres: Collection[str] = (),
) -> list[NoticeRow]:
    """Notices whose maker is none of the ``living`` nodes, and those left to whoever has one of these ``centres``.

    They are ours until then; nobody else finds them before.
    """
    c = _outbox.c
    alone = and_(c.next_ms <= now_ms, _maker(c.id).not_in(living))
    to_us = and_(c.left_ms.is_not(None), c.next_ms > now_ms, c.centre.in_(centres))
    due = select(c.id).where(c.state == NOTICE_UNSENT, or_(alone, to_us) if centres else alone)
    due = due.order_by(c.next_ms, c.id).limit(limit).with_for_update(skip_locked=True)
    left_ms = case((to_us, None), else_=c.left_ms)
    claim = update(_outbox).where(c.id.in_(due)).values(next_ms=until_ms, left_ms=left_ms).returning(_outbox)
    return sorted((_notice(row) for row in txn.execute(claim)), key=lambda notice: notice.notice_id)


def _maker(number: Any) -> Any:
    """The node in an id (``ids``)."""
    return number.op(">>")(literal_column("12")).op("&")(literal_column("1023"))


def _notice(row: Any) -> NoticeRow:
    return NoticeRow(
        notice_id=row.id,
        order_id=row.txn_id,
        topic=row.topic,
        recipient=row.recipient,
        sender=row.sender,
        language=row.language,
        facts=json.loads(row.body),
        created_ms=row.created_ms,
        expires_ms=row.expires_ms,
        attempts=row.attempts,
        centre=row.centre,
        is_left=row.left_ms is not None,
    )


def card_by_msisdn(txn: Connection, msisdn: str) -> CardRow | None:
    """The card bound to a number, whatever its status."""
    c = _card.c
    columns = (c.id, c.iccid, c.msisdn, c.profile, c.key_source, c.master_version, c.key_version)
    row = txn.execute(
        select(*columns, c.kic_wrapped, c.kid_wrapped, c.status).where(c.msisdn == msisdn)
    ).first()
    return _card_row(row) if row else None


def _card_row(row: Any) -> CardRow:
    return CardRow(*row)


def all_cards(txn: Connection) -> list[CardRow]:
    c = _card.c
    columns = (c.id, c.iccid, c.msisdn, c.profile, c.key_source, c.master_version, c.key_version)
    return [
        _card_row(row)
        for row in txn.execute(select(*columns, c.kic_wrapped, c.kid_wrapped, c.status).order_by(c.id))
    ]


def outlets(txn: Connection, code: str | None = None) -> list[dict[str, Any]]:
    """Outlets with their floats in fen; all, or the one of that code."""
    b = _balance.c
    found = (
        select(_outlet, b.posted, b.held, b.floor)
        .join(_balance, b.account_id == _outlet.c.float_id)
        .order_by(_outlet.c.code)
    )
    if code is not None:
        found = found.where(_outlet.c.code == code)
    return [dict(row) for row in txn.execute(found).mappings()]


def phones_of(txn: Connection, outlet_id: int) -> list[dict[str, Any]]:
    return [
        dict(row) for row in txn.execute(select(_phone).where(_phone.c.outlet_id == outlet_id)).mappings()
    ]


def cards_of(txn: Connection, outlet_id: int) -> list[dict[str, Any]]:
    """Cards without their keys."""
    c = _card.c
    found = select(c.id, c.iccid, c.msisdn, c.profile, c.key_version, c.status).where(
        c.outlet_id == outlet_id
    )
    return [dict(row) for row in txn.execute(found).mappings()]


def orders_of_outlet(txn: Connection, float_id: int, limit: int = 10) -> list[dict[str, Any]]:
    """An outlet's orders, newest first."""
    found = (
        select(_txn)
        .where(_txn.c.outlet_acct == float_id)
        .order_by(_txn.c.created_ms.desc(), _txn.c.id.desc())
    )
    return [_order(row) for row in txn.execute(found.limit(limit)).mappings()]


def orders_by_number(txn: Connection, number: str) -> list[dict[str, Any]]:
    """Orders by whole id, by our reference, or by the last 8 digits of the id (at most 20, newest first)."""
    c = _txn.c
    if not number.isdecimal():
        is_meant = c.op_ref == number
    elif len(number) == 8:  # as every SMS shows it; fewer digits name by chance
        is_meant = c.id % 10 ** len(number) == int(number)
    else:
        is_meant = c.id == min(int(number[-19:]), _ID_MAX)
    found = select(_txn).where(is_meant).order_by(c.created_ms.desc()).limit(20)
    return [_order(row) for row in txn.execute(found).mappings()]


def _order(row: Any) -> dict[str, Any]:
    shown = dict(row)
    shown["state"] = State(shown["state"]).name
    shown["reason"] = Reason.by_number(shown["reason"]).name
    shown["req_hash"] = bytes(shown["req_hash"]).hex()[:16]
    return shown


def journal_of(txn: Connection, order_id: int) -> list[dict[str, Any]]:
    found = select(_journal).where(_journal.c.txn_id == order_id).order_by(_journal.c.jid)
    return [dict(row) for row in txn.execute(found).mappings()]


def notices_of(txn: Connection, order_id: int) -> list[dict[str, Any]]:
    c = _outbox.c
    found = select(c.id, c.topic, c.recipient, c.language, c.created_ms, c.attempts, c.state, c.sent_ms)
    return [dict(row) for row in txn.execute(found.where(c.txn_id == order_id).order_by(c.id)).mappings()]
