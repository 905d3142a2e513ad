"""What each kind of order must have in the journal: a table, and the search for the first row that is not so.

A row that its order does not call for is found from the journal; a row that is missing is found by counting what the
orders call for, and only when the counts differ by looking for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, text

from aircharge.ledger.chart import (
    ADJUSTMENT,
    BANK_CLEARING,
    COMMISSION_DISCOUNT,
    COMMISSION_EXPENSE,
    COMMISSION_INSTANT,
    JOURNAL_ADJUST,
    JOURNAL_CLAWBACK,
    JOURNAL_COMMISSION,
    JOURNAL_DEPOSIT,
    JOURNAL_DISCOUNT,
    JOURNAL_FUNDING,
    JOURNAL_PAYOUT,
    JOURNAL_SETTLE,
    JOURNAL_STOCK,
    JOURNAL_TRANSFER,
    JOURNAL_WITHDRAW,
    SUSPENSE,
    commission_account,
    deposit_account,
)
from aircharge.values import Operation, State

__all__ = [
    "HOLDING",
    "KINDS",
    "OPEN",
    "Called",
    "Kind",
    "Posting",
    "called_for",
    "mirrored_rows",
    "missing_rows",
    "optional_rows",
    "strange_rows",
    "unmatched_reversals",
]

_OWN, _OTHER, _STOCK = "t.outlet_acct", "t.counter_acct", "t.operator_id"
_COMMISSION = f"(t.outlet_acct + {commission_account(0)})"
_DEPOSIT = f"(t.outlet_acct + {deposit_account(0)})"


@dataclass(frozen=True, slots=True)
class Posting:
    """One journal row: what it books, from and to whom (each one of several), how much; in SQL over the order ``t``.

    ``mode``: only of orders with commission paid that way (COMMISSION_DISCOUNT …); 0 = always.
    ``may``: it need not be there.
    """

    op: int
    dr: tuple[int | str, ...]
    cr: tuple[int | str, ...]
    fen: str = "t.amount"
    mode: int = 0
    may: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """What a settled order of one kind has booked. ``mirrors``: also each row of its original the other way round."""

    postings: tuple[Posting, ...] = ()
    mirrors: bool = False
    holds: bool = False  # while it is open, its cost is held on the outlet's float


_P = Posting
KINDS: Final[dict[Operation, Kind]] = {
    Operation.RECHARGE: Kind(
        (
            _P(JOURNAL_SETTLE, (_OWN,), (_STOCK,), "t.cost"),
            _P(JOURNAL_DISCOUNT, (COMMISSION_EXPENSE,), (_STOCK,), "t.commission", COMMISSION_DISCOUNT),
            _P(JOURNAL_COMMISSION, (COMMISSION_EXPENSE,), (_COMMISSION,), "t.commission", COMMISSION_INSTANT),
        ),
        holds=True,
    ),
    Operation.REVERSAL: Kind(
        (_P(JOURNAL_CLAWBACK, (_OWN,), (_COMMISSION,), "j.amount", may=True),), mirrors=True
    ),
    Operation.FUNDING: Kind((_P(JOURNAL_FUNDING, (BANK_CLEARING, SUSPENSE), (_OWN,)),)),
    Operation.TRANSFER: Kind((_P(JOURNAL_TRANSFER, (_OWN,), (_OTHER,)),)),
    Operation.ADJUSTMENT: Kind((_P(JOURNAL_ADJUST, (ADJUSTMENT, _OWN), (ADJUSTMENT, _OWN, _STOCK)),)),
    Operation.BATCH: Kind(holds=True),
    Operation.WITHDRAWAL: Kind((_P(JOURNAL_WITHDRAW, (_OWN,), (BANK_CLEARING,)),)),
    Operation.COMMISSION: Kind((_P(JOURNAL_TRANSFER, (_COMMISSION,), (_OWN,)),)),
    Operation.DEPOSIT: Kind((_P(JOURNAL_DEPOSIT, (_OWN, _DEPOSIT), (_OWN, _DEPOSIT)),)),
    Operation.STOCK: Kind((_P(JOURNAL_STOCK, (_OWN,), (BANK_CLEARING,)),)),
    Operation.PAYOUT: Kind((_P(JOURNAL_PAYOUT, (COMMISSION_EXPENSE,), (_COMMISSION,)),)),
}
"""A kind that is not named here has no rows. Who adds a verb that moves money adds its row."""

HOLDING: Final = ", ".join(str(int(kind)) for kind, rule in KINDS.items() if rule.holds)
OPEN: Final = ", ".join(str(int(state)) for state in sorted(state for state in State if state.is_open))
_BOOKED: Final = f"({int(State.SETTLED)}, {int(State.REVERSED)})"
_KNOWN: Final = frozenset(map(int, Operation))
_NOTHING: Final = Kind()
_LIVE_REVERSAL: Final = "t.kind = 2 AND t.state IN (1, 2, 3, 4, 6)"  # as the index says, so that it is used
_SHOWN: Final = 10


# -- rows that no order calls for -------------------------------------------------------------------------


def strange_rows(txn: Connection, after: int, upto: int) -> list[str]:
    """Rows of this piece of the journal (after < jid <= upto) that are not what their orders call for."""
    found = txn.execute(text(_STRANGE), {"after": after, "upto": upto}).all()
    return [_strange(*row) for row in found]


def _strange(jid: int, order_id: int, state: int | None) -> str:
    if state is None:
        return f"journal row {jid}: there is no order {order_id}"
    if state not in (State.SETTLED, State.REVERSED):
        return f"journal row {jid}: its order {order_id} is not settled"
    return f"journal row {jid}: it and its order {order_id} disagree"


def _any(column: str, values: tuple[int | str, ...]) -> str:
    return f"{column} IN ({', '.join(map(str, values))})" if len(values) > 1 else f"{column} = {values[0]}"


def _fits(posting: Posting) -> str:
    terms = [f"j.op = {posting.op}", _any("j.dr", posting.dr), _any("j.cr", posting.cr)]
    if posting.fen != "j.amount":
        terms.append(f"j.amount = {posting.fen}")
    if posting.mode:
        terms.append(f"t.commission_mode = {posting.mode}")
    return f"({' AND '.join(terms)})"


_MIRRORED: Final = """EXISTS (SELECT 1 FROM journal o WHERE o.txn_id = t.orig_txn AND o.op = j.op
    AND o.dr = j.cr AND o.cr = j.dr AND o.amount = j.amount)"""


def _called_for(kind: Operation, rule: Kind) -> str:
    ways = [_fits(posting) for posting in rule.postings] + ([_MIRRORED] if rule.mirrors else [])
    return f"WHEN {int(kind)} THEN {' OR '.join(ways) or '1 = 0'}"


_STRANGE: Final = f"""SELECT j.jid, j.txn_id, t.state FROM journal j LEFT JOIN txn t ON t.id = j.txn_id
    WHERE j.jid > :after AND j.jid <= :upto AND (t.id IS NULL OR t.state NOT IN {_BOOKED}
    OR NOT (CASE t.kind {" ".join(_called_for(kind, rule) for kind, rule in KINDS.items())} ELSE 1 = 0 END))
    ORDER BY j.jid LIMIT {_SHOWN}"""


# -- rows that are missing --------------------------------------------------------------------------------


@dataclass(slots=True)
class Called:
    """What a piece of the orders calls for."""

    orders: int = 0
    rows: int = 0  # without those of reversals (``mirrored_rows``) and those that may be there
    reversed: int = 0


def called_for(txn: Connection, after: int, upto: int, called: Called) -> None:
    """Add what the orders with after < id <= upto call for."""
    question = f"""SELECT t.kind, CASE WHEN t.commission > 0 THEN t.commission_mode ELSE 0 END, count(*),
        sum(CASE WHEN t.state IN {_BOOKED} THEN 1 ELSE 0 END),
        sum(CASE WHEN t.state = {int(State.REVERSED)} THEN 1 ELSE 0 END)
        FROM txn t WHERE t.id > :after AND t.id <= :upto GROUP BY 1, 2"""
    for kind, mode, count, booked, gone in txn.execute(text(question), {"after": after, "upto": upto}):
        called.orders += count
        called.rows += int(booked) * _rows_of(kind, mode)
        called.reversed += int(gone)


def mirrored_rows(txn: Connection) -> int:
    """Rows that the settled reversals call for."""
    question = f"""SELECT o.kind, CASE WHEN o.commission > 0 THEN o.commission_mode ELSE 0 END, count(*)
        FROM txn t JOIN txn o ON o.id = t.orig_txn
        WHERE {_LIVE_REVERSAL} AND t.state = {int(State.SETTLED)} GROUP BY 1, 2"""
    return sum(count * _rows_of(kind, mode) for kind, mode, count in txn.execute(text(question)))


def _rows_of(kind: int, mode: int) -> int:
    rule = KINDS.get(Operation(kind), _NOTHING) if kind in _KNOWN else _NOTHING
    return sum(1 for posting in rule.postings if not posting.may and posting.mode in (0, mode))


def missing_rows(txn: Connection) -> Iterable[str]:
    """Orders that have not all their rows, the first ones of each kind."""
    for kind, rule in KINDS.items():
        for posting in (posting for posting in rule.postings if not posting.may):
            paid = f"AND t.commission > 0 AND t.commission_mode = {posting.mode}" if posting.mode else ""
            question = f"""SELECT t.id FROM txn t WHERE t.kind = {int(kind)} AND t.state IN {_BOOKED} {paid}
                AND NOT EXISTS (SELECT 1 FROM journal j WHERE j.txn_id = t.id AND j.op = {posting.op})
                ORDER BY t.id LIMIT {_SHOWN}"""
            for (order_id,) in txn.execute(text(question)):
                yield f"order {order_id}: its state and its posting disagree: no row of op {posting.op}"
    question = f"""SELECT t.id, o.op FROM txn t JOIN journal o ON o.txn_id = t.orig_txn
        WHERE {_LIVE_REVERSAL} AND t.state = {int(State.SETTLED)}
        AND NOT EXISTS (SELECT 1 FROM journal j WHERE j.txn_id = t.id AND j.op = o.op)
        ORDER BY t.id LIMIT {_SHOWN}"""
    for order_id, op in txn.execute(text(question)):
        yield f"order {order_id}: its state and its posting disagree: no row that mirrors op {op}"


def optional_rows(txn: Connection, after: int, upto: int) -> int:
    """Rows that need not be there, in this piece of the journal."""
    ops = ", ".join(str(posting.op) for rule in KINDS.values() for posting in rule.postings if posting.may)
    question = f"SELECT count(*) FROM journal WHERE jid > :after AND jid <= :upto AND op IN ({ops})"
    return int(txn.execute(text(question), {"after": after, "upto": upto}).scalar_one())


# -- reversals and what they reverse ----------------------------------------------------------------------


def unmatched_reversals(txn: Connection, reversed_count: int) -> Iterable[str]:
    """A settled reversal has reversed its original; nothing else has. ``reversed_count``: orders that are REVERSED."""
    settled = f"{_LIVE_REVERSAL} AND t.state = {int(State.SETTLED)}"
    question = f"""SELECT t.id, o.id FROM txn t JOIN txn o ON o.id = t.orig_txn
        WHERE {settled} AND o.state <> {int(State.REVERSED)} ORDER BY t.id LIMIT {_SHOWN}"""
    for order_id, original in txn.execute(text(question)):
        yield f"order {original}: reversed by {order_id}, but its state does not say so"
    count = txn.execute(text(f"SELECT count(*) FROM txn t WHERE {settled}")).scalar_one()
    if count < reversed_count:
        question = f"""SELECT o.id FROM txn o WHERE o.state = {int(State.REVERSED)} AND NOT EXISTS (
            SELECT 1 FROM txn t WHERE t.orig_txn = o.id AND {settled}) ORDER BY o.id LIMIT {_SHOWN}"""
        for (original,) in txn.execute(text(question)):
            yield f"order {original}: reversed, but by no reversal"
