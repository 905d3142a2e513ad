"""What waits in the ledger for somebody to go on with it: tickets, credit lines that end, files of recharges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, and_, func, or_, select

from aircharge.ledger.chart import BATCH_RUNNING, OUTLET_CLOSED, TICKET_WAITING
from aircharge.ledger.credit import ExpireCredit
from aircharge.ledger.tables import metadata
from aircharge.ledger.tickets import EXTRA_MAX_FEN, ExpireTicket
from aircharge.values import AMOUNT_MAX_FEN

__all__ = [
    "WaitingLine",
    "batch_counts",
    "batch_lines",
    "batches",
    "ended_credit_lines",
    "expired_tickets",
    "free_sums",
    "running_batches",
    "ticket_outlet",
    "tickets_waiting",
    "waiting_lines",
]

_t = metadata.tables
_ticket, _outlet, _phone, _balance = _t["deposit_ticket"], _t["outlet"], _t["outlet_phone"], _t["balance"]
_credit, _batch, _line, _txn = _t["credit_line"], _t["batch"], _t["batch_line"], _t["txn"]


def free_sums(txn: Connection, phone: str, asked_fen: int, start: int, count: int) -> tuple[int, ...]:
    """Exact sums for a ticket over ``asked_fen``, at most ``count``: the outlet's own that waits, then free ones.

    ``start``: any number; where in the 99 to begin, so that outlets that ask at once are told different sums.
    """
    if not 0 < asked_fen <= AMOUNT_MAX_FEN:
        return ()
    c = _ticket.c
    found = select(c.exact_fen, c.asked_fen, c.outlet_id).where(
        c.state == TICKET_WAITING, c.exact_fen.between(asked_fen + 1, asked_fen + EXTRA_MAX_FEN)
    )
    taken = {row.exact_fen: row for row in txn.execute(found)}
    outlet_id = txn.execute(select(_phone.c.outlet_id).where(_phone.c.msisdn == phone)).scalar()
    own = [
        row.exact_fen for row in taken.values() if (row.outlet_id, row.asked_fen) == (outlet_id, asked_fen)
    ]
    order = [asked_fen + 1 + (start + step) % EXTRA_MAX_FEN for step in range(EXTRA_MAX_FEN)]
    return tuple([*own, *(exact for exact in order if exact not in taken)][:count])


def tickets_waiting(txn: Connection, phone: str) -> int:
    """How many tickets of a phone's outlet wait to be paid."""
    outlet_id = select(_phone.c.outlet_id).where(_phone.c.msisdn == phone).scalar_subquery()
    found = select(func.count()).where(_ticket.c.state == TICKET_WAITING, _ticket.c.outlet_id == outlet_id)
    return int(txn.execute(found).scalar_one())


def ticket_outlet(txn: Connection, exact_fen: int) -> str:
    """The code of the outlet whose ticket waits for that sum; "" = nobody's."""
    c = _ticket.c
    found = select(_outlet.c.code).join(_ticket, c.outlet_id == _outlet.c.id)
    return txn.execute(found.where(c.exact_fen == exact_fen, c.state == TICKET_WAITING)).scalar() or ""


def expired_tickets(txn: Connection, before_ms: int, limit: int = 200) -> list[ExpireTicket]:
    """Tickets whose time was over by then, oldest first, as the commands that end them."""
    c = _ticket.c
    found = (
        select(c.id, _outlet.c.code)
        .join(_outlet, _outlet.c.id == c.outlet_id)
        .where(c.state == TICKET_WAITING, c.until_ms < before_ms)
        .order_by(c.until_ms, c.id)
    )
    return [ExpireTicket(number, code) for number, code in txn.execute(found.limit(limit))]


def ended_credit_lines(txn: Connection, now_ms: int, limit: int = 200) -> list[ExpireCredit]:
    """Credit lines past their time of which the outlet has not been told, or whose floor can still come up."""
    b = _balance.c
    own_fen = b.posted - b.held
    found = (
        select(_outlet.c.id, _outlet.c.code)
        .join(_credit, _credit.c.outlet_id == _outlet.c.id)
        .join(_balance, b.account_id == _outlet.c.float_id)
        .where(
            _credit.c.until_ms <= now_ms,
            _outlet.c.status != OUTLET_CLOSED,
            or_(_credit.c.ended == 0, and_(b.floor < 0, b.floor < own_fen)),
        )
        .order_by(_outlet.c.id)
    )
    return [ExpireCredit(number, code) for number, code in txn.execute(found.limit(limit))]


# -- files of recharges -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WaitingLine:
    """A line nobody has begun yet. ``phone`` and ``service``: who asked for the file, and where he wrote to."""

    batch_id: int
    line: int
    msisdn: str
    amount_fen: int
    cost_fen: int
    phone: str
    service: str


_RUNNING: Final = select(_batch.c.id).where(_batch.c.state == BATCH_RUNNING).order_by(_batch.c.id)


def running_batches(txn: Connection) -> list[int]:
    """Files that are not done, oldest first."""
    return [int(number) for number in txn.execute(_RUNNING).scalars()]


def waiting_lines(txn: Connection, batch_id: int, limit: int) -> list[WaitingLine]:
    """The next lines of a file."""
    c = _line.c
    found = (
        select(c.batch_id, c.line, c.msisdn, c.amount_fen, c.cost_fen, _txn.c.asker, _txn.c.service)
        .join(_txn, _txn.c.id == c.batch_id)
        .where(c.batch_id == batch_id, c.state == 0)
        .order_by(c.line)
        .limit(limit)
    )
    return [WaitingLine(*row) for row in txn.execute(found)]


def batch_counts(txn: Connection, batch_id: int) -> dict[int, int]:
    """How many lines are in each state: 0 waits, 1 opened, 2 refused."""
    c = _line.c
    found = select(c.state, func.count()).where(c.batch_id == batch_id).group_by(c.state)
    return {state: int(count) for state, count in txn.execute(found)}


def batches(txn: Connection, batch_id: int | None = None) -> list[dict[str, Any]]:
    """Files, newest first; or one."""
    found = (
        select(_batch, _outlet.c.code, _txn.c.cost.label("reserve_fen"), _txn.c.state.label("txn_state"))
        .join(_outlet, _outlet.c.id == _batch.c.outlet_id)
        .join(_txn, _txn.c.id == _batch.c.id)
        .order_by(_batch.c.id.desc())
        .limit(50)
    )
    if batch_id is not None:
        found = found.where(_batch.c.id == batch_id)
    return [dict(row) for row in txn.execute(found).mappings()]


def batch_lines(txn: Connection, batch_id: int) -> list[dict[str, Any]]:
    """Every line with what became of its order."""
    c, t = _line.c, _txn.c
    found = (
        select(
            _line,
            t.state.label("order_state"),
            t.reason.label("order_reason"),
            t.op_serial,
            t.cost.label("order_cost"),
        )
        .select_from(_line.outerjoin(_txn, t.id == c.txn_id))
        .where(c.batch_id == batch_id)
        .order_by(c.line)
    )
    return [dict(row) for row in txn.execute(found).mappings()]
