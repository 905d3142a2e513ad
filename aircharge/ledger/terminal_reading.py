"""What is read of payment terminals' orders: by trace, by batch, and the automatic reversals still to be fulfilled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import BigInteger, Connection, bindparam, func, select, text

from aircharge.errors import Reason
from aircharge.ledger.cancelling import WentOn
from aircharge.ledger.chart import CANCEL_WANTED, KEY_RETIRED, TERMINAL_ACTIVE
from aircharge.ledger.reversing import AUTOMATIC, PASSING
from aircharge.ledger.tables import metadata
from aircharge.ledger.terminals import Totals
from aircharge.values import Key, Operation, State, as_terminal

__all__ = [
    "BatchLine",
    "Offer",
    "OrderSeen",
    "TerminalRow",
    "WantedCancel",
    "batch_lines",
    "is_being_taken_back",
    "last_trace",
    "order_seen",
    "order_under",
    "read_terminal",
    "sale_key",
    "taken_back_since",
    "totals",
    "wanted_cancels",
    "went_on",
]

_t = metadata.tables
_txn, _wish = _t["txn"], _t["pos_reversal"]
_batch, _copy, _outlet = _t["pos_batch"], _t["pos_copy"], _t["outlet"]
_terminal, _key, _session = _t["terminal"], _t["terminal_key"], _t["terminal_session"]
_offer, _phone = _t["terminal_offer"], _t["outlet_phone"]
_TRACES: Final = 10**6
_OF_SESSION: Final = (
    "session",
    "batch",
    "until_ms",
    "parameters",
    "next_session",
)


def sale_key(terminal: str, batch: int, trace: int) -> Key:
    """What makes a terminal's request the same one: batch (DE 60.2) and trace number (DE 11), six digits each."""
    return Key(as_terminal(terminal), f"{batch:06d}{trace:06d}")


@dataclass(frozen=True, slots=True)
class Offer:
    """Wrapped keys that a sign-in was answered with, and no message has used yet."""

    key_version: int  # master key they were sent under
    session: int
    pik_wrapped: bytes
    mak_wrapped: bytes
    until_ms: int


@dataclass(frozen=True, slots=True)
class TerminalRow:
    """A terminal with its wrapped keys and its session."""

    id: int
    code: str
    merchant: str
    outlet_id: int
    is_active: bool
    key_version: int  # the master key in use, 0 = none
    masters: dict[int, bytes]  # wrapped, by version; retired ones are not among them
    session: int = 0
    batch: int = 1
    pik_wrapped: bytes | None = None
    mak_wrapped: bytes | None = None
    until_ms: int = 0
    parameters: int = 0
    phones: tuple[str, ...] = ()  # of its outlet
    module: str = ""  # its security module's number
    next_session: int = 0  # the number that was used or offered last
    offers: tuple[Offer, ...] = ()


def read_terminal(txn: Connection, code: str = "", module: str = "") -> TerminalRow | None:
    """By its code (DE 41), or by its security module's number; many have none, so no number finds nobody."""
    name = code or module
    if not (name and name.isprintable()):  # PostgreSQL takes no text with a NUL
        return None
    c = _terminal.c
    found = (
        select(_terminal, _session)
        .outerjoin(_session, _session.c.terminal_id == c.id)
        .where(c.code == code if code else c.module == module)
    )
    row = txn.execute(found).mappings().first()
    if row is None:
        return None
    keys = select(_key.c.version, _key.c.wrapped).where(
        _key.c.terminal_id == row["id"], _key.c.state != KEY_RETIRED, _key.c.family != "aes"
    )
    phones = select(_phone.c.msisdn).where(_phone.c.outlet_id == row["outlet_id"]).order_by(_phone.c.msisdn)
    is_new = row["session"] is None
    offered = select(_offer).where(_offer.c.terminal_id == row["id"], _offer.c.pik_wrapped.is_not(None))
    offers = tuple(
        Offer(
            offer.key_version,
            offer.session,
            bytes(offer.pik_wrapped),
            bytes(offer.mak_wrapped),
            offer.until_ms,
        )
        for offer in txn.execute(offered.order_by(_offer.c.key_version))
    )
    session = {} if is_new else {name: row[name] for name in _OF_SESSION}
    return TerminalRow(
        row["id"],
        row["code"],
        row["merchant"],
        row["outlet_id"],
        row["status"] == TERMINAL_ACTIVE,
        row[_terminal.c.key_version],
        {version: bytes(wrapped) for version, wrapped in txn.execute(keys)},
        pik_wrapped=_octets(row["pik_wrapped"]),
        mak_wrapped=_octets(row["mak_wrapped"]),
        phones=tuple(txn.execute(phones).scalars()),
        module=row["module"],
        offers=offers,
        **session,
    )


def _octets(value: bytes | memoryview | None) -> bytes | None:
    return None if value is None else bytes(value)


@dataclass(frozen=True, slots=True)
class OrderSeen:
    """An order under a key, as a slip shows it."""

    order_id: int
    kind: Operation
    state: State
    reason: Reason
    msisdn: str
    amount_fen: int
    created_ms: int
    outlet_id: int  # whose sale it is; its terminal may have been moved since


def order_seen(txn: Connection, key: Key) -> OrderSeen | None:
    """The order under a key."""
    c = _txn.c
    found = (
        select(c.id, c.kind, c.state, c.reason, c.msisdn, c.amount, c.created_ms, _outlet.c.id)
        .join(_outlet, _outlet.c.float_id == c.outlet_acct)
        .where(c.idem_scope == key.scope, c.idem_key == key.mark)
    )
    row = txn.execute(found).first()
    if row is None:
        return None
    return OrderSeen(row.id, Operation(row.kind), State(row.state), Reason.by_number(row.reason), *row[4:])


def went_on(txn: Connection, terminal_id: int, key: Key, order_id: int) -> WentOn:
    """What the terminal of this sale has done since, that it does only after it has heard the answer."""
    c, batch = _txn.c, int(key.mark[:6])
    settled = select(_batch.c.batch).where(_batch.c.terminal_id == terminal_id, _batch.c.batch == batch)
    if txn.execute(settled).first() is not None:
        return WentOn.SETTLED
    if txn.execute(select(_copy.c.n).where(_copy.c.txn_id == order_id)).first() is not None:
        return WentOn.PRINTED
    later = select(c.id).where(
        c.idem_scope == key.scope,
        c.idem_key.between(f"{batch:06d}{0:06d}", f"{batch:06d}{_TRACES - 1:06d}"),
        c.id > order_id,
        c.state != int(State.REFUSED),
    )
    return WentOn.NOT if txn.execute(later.limit(1)).first() is None else WentOn.SALE


def taken_back_since(txn: Connection, outlet_id: int, since_ms: int) -> int:
    """How many sales the terminals of an outlet have taken back by automatic reversal since then."""
    found = (
        select(func.count())
        .select_from(_wish.join(_terminal, _terminal.c.id == _wish.c.terminal_id))
        .where(_terminal.c.outlet_id == outlet_id, _wish.c.made_ms >= since_ms)
    )
    return int(txn.execute(found).scalar_one())


def last_trace(txn: Connection, terminal: str, batch: int) -> int:
    """The highest trace number of a batch under which anything was written down; 0: none."""
    first, last = sale_key(terminal, batch, 0), sale_key(terminal, batch, _TRACES - 1)
    c = _txn.c
    found = select(func.max(c.idem_key)).where(
        c.idem_scope == first.scope, c.idem_key.between(first.mark, last.mark)
    )
    return int((txn.execute(found).scalar() or "0")[-6:])


def order_under(txn: Connection, key: Key) -> int:
    """The order that was recorded under a key, 0 = none."""
    c = _txn.c
    found = select(c.id).where(c.idem_scope == key.scope, c.idem_key == key.mark)
    return int(txn.execute(found).scalar() or 0)


def is_being_taken_back(txn: Connection, order_id: int) -> bool:
    """Whether its terminal has taken it back, and that has not come to an end."""
    c = _wish.c
    found = select(c.txn_id).where(c.txn_id == order_id, c.state == CANCEL_WANTED)
    return txn.execute(found).first() is not None


@dataclass(frozen=True, slots=True)
class BatchLine:
    """A sale or a void of a terminal's batch that counts in its settlement."""

    trace: int
    order_id: int
    amount_fen: int
    is_void: bool


def batch_lines(txn: Connection, terminal: str, batch: int) -> list[BatchLine]:
    """Settled sales (also those the terminal voided later) and settled voids; what it took back does not count."""
    c, scope = _txn.c, as_terminal(terminal)
    first, last = sale_key(terminal, batch, 0).mark, sale_key(terminal, batch, _TRACES - 1).mark
    void = _txn.alias("void")
    taken_back = select(_wish.c.txn_id).where(_wish.c.txn_id == c.id, _wish.c.state == CANCEL_WANTED).exists()
    voided = (
        select(void.c.id)
        .where(void.c.orig_txn == c.id, void.c.idem_scope == scope, void.c.state == int(State.SETTLED))
        .exists()
    )
    settled, is_sale = c.state == int(State.SETTLED), c.kind == int(Operation.RECHARGE)
    counts = (is_sale & settled & ~taken_back) | (is_sale & (c.state == int(State.REVERSED)) & voided)
    counts |= (c.kind == int(Operation.REVERSAL)) & settled
    found = (
        select(c.idem_key, c.id, c.amount, c.kind)
        .where(c.idem_scope == scope, c.idem_key >= first, c.idem_key <= last, counts)
        .order_by(c.idem_key)
    )
    return [
        BatchLine(int(mark) % _TRACES, order_id, amount_fen, kind == Operation.REVERSAL)
        for mark, order_id, amount_fen, kind in txn.execute(found)
    ]


def totals(lines: list[BatchLine]) -> Totals:
    """What a settlement compares."""
    sales = [line.amount_fen for line in lines if not line.is_void]
    voids = [line.amount_fen for line in lines if line.is_void]
    return Totals(len(sales), sum(sales), len(voids), sum(voids))


@dataclass(frozen=True, slots=True)
class WantedCancel:
    """A recharge its terminal took back, as it stands. ``tries``: reversals opened for that before."""

    order_id: int
    operator_id: int
    state: State
    tries: int = 0
    is_open: bool = False  # one of them is under way
    has_failed: bool = False  # one of them was refused, and not just for want of a line
    made_ms: int = 0  # when it was taken back
    tried_ms: int = 0  # when the last of ``tries`` ended


_OPEN: Final = [int(state) for state in State if state.is_open]
_WANTED: Final = (
    select(_txn.c.id, _txn.c.operator_id, _txn.c.state, _wish.c.made_ms)
    .join(_wish, _wish.c.txn_id == _txn.c.id)
    .where(text(f"pos_reversal.state = {CANCEL_WANTED}"), _txn.c.state.not_in(_OPEN))
    .where(
        _wish.c.made_ms >= bindparam("ms", type_=BigInteger),
        (_wish.c.made_ms > bindparam("ms")) | (_wish.c.txn_id > bindparam("id", type_=BigInteger)),
    )
    .order_by(_wish.c.made_ms, _txn.c.id)
    .limit(bindparam("most", type_=BigInteger))
)
"""Asked every second: built once; the state is written out so that the partial index is seen to fit."""


def wanted_cancels(txn: Connection, limit: int = 200, after: tuple[int, int] = (0, 0)) -> list[WantedCancel]:
    """Those whose recharge is at an end, oldest first, behind this time and order."""
    found = txn.execute(_WANTED, {"most": limit, "ms": after[0], "id": after[1]})
    wanted = [
        WantedCancel(number, operator_id, State(state), made_ms=made_ms)
        for number, operator_id, state, made_ms in found
    ]
    return [_with_tries(txn, wish) if wish.state is State.SETTLED else wish for wish in wanted]


def _with_tries(txn: Connection, wish: WantedCancel) -> WantedCancel:
    c = _txn.c
    scope = f"{AUTOMATIC}{wish.order_id}"
    tried = txn.execute(select(c.state, c.reason, c.done_ms).where(c.idem_scope == scope)).all()
    others = txn.execute(
        select(func.count()).where(c.orig_txn == wish.order_id, c.state.in_(_OPEN))
    ).scalar_one()
    failed = [
        row
        for row in tried
        if row.state in (State.REFUSED, State.VOIDED) and Reason.by_number(row.reason) not in PASSING
    ]
    tried_ms = max((row.done_ms or 0 for row in tried), default=0)
    return replace(wish, tries=len(tried), is_open=bool(others), has_failed=bool(failed), tried_ms=tried_ms)
