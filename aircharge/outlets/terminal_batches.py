"""What became of terminals' batches: settled ones, the lines that differ, and those still open. Reading only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, RowMapping, func, select

from aircharge.ledger.chart import DETAIL_EQUAL, POS_EQUAL
from aircharge.ledger.tables import metadata
from aircharge.ledger.terminal_reading import batch_lines, totals
from aircharge.ledger.terminals import Totals
from aircharge.outlets.desk import RegistryError
from aircharge.outlets.terminals import terminal_row

__all__ = ["OpenBatch", "batch_sheet", "open_batches", "settled_batches", "sums_of"]

_t = metadata.tables
_terminal, _outlet, _session = _t["terminal"], _t["outlet"], _t["terminal_session"]
_batch, _detail, _txn = _t["pos_batch"], _t["pos_detail"], _t["txn"]
_WRONG: Final = (
    select(func.count())
    .where(
        _detail.c.terminal_id == _batch.c.terminal_id,
        _detail.c.batch == _batch.c.batch,
        _detail.c.said != DETAIL_EQUAL,
    )
    .scalar_subquery()
)
"""Lines that differ."""


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """What a terminal has sold and not yet settled. ``since_ms``: its first sale."""

    terminal: str
    outlet: str
    batch: int
    sums: Totals
    since_ms: int


def settled_batches(txn: Connection, terminal: str = "", *, differing: bool = False) -> Iterator[RowMapping]:
    """Rows of ``pos_batch`` with terminal, outlet and the count of lines that differ, newest first."""
    found = (
        select(
            _batch, _terminal.c.code.label("terminal"), _outlet.c.code.label("outlet"), _WRONG.label("wrong")
        )
        .join(_terminal, _terminal.c.id == _batch.c.terminal_id)
        .join(_outlet, _outlet.c.id == _terminal.c.outlet_id)
        .order_by(_batch.c.made_ms.desc(), _batch.c.terminal_id, _batch.c.batch.desc())
    )
    if terminal:
        found = found.where(_terminal.c.code == terminal)
    if differing:
        found = found.where(_batch.c.state != POS_EQUAL)
    yield from txn.execute(found).mappings()


def batch_sheet(txn: Connection, terminal: str, batch: int) -> tuple[RowMapping, list[RowMapping]]:
    """A settled batch, and its lines that differ. Raises RegistryError."""
    number = terminal_row(txn, terminal).id
    here = (_batch.c.terminal_id == number) & (_batch.c.batch == batch)
    row = txn.execute(select(_batch).where(here)).mappings().first()
    if row is None:
        raise RegistryError(f"terminal {terminal} has not settled batch {batch}")
    c = _detail.c
    lines = select(_detail).where(c.terminal_id == number, c.batch == batch, c.said != DETAIL_EQUAL)
    return row, list(txn.execute(lines.order_by(c.trace)).mappings())


def open_batches(txn: Connection, outlet: str = "") -> Iterator[OpenBatch]:
    """Terminals whose open batch has something in it, by their codes."""
    found = (
        select(_terminal.c.code, _session.c.batch, _outlet.c.code.label("outlet"))
        .join(_session, _session.c.terminal_id == _terminal.c.id)
        .join(_outlet, _outlet.c.id == _terminal.c.outlet_id)
        .order_by(_terminal.c.code)
    )
    if outlet:
        found = found.where(_outlet.c.code == outlet)
    for row in txn.execute(found).all():
        if lines := batch_lines(txn, row.code, row.batch):
            orders = [line.order_id for line in lines[:1]]  # traces go up with time
            since_ms = txn.execute(select(_txn.c.created_ms).where(_txn.c.id.in_(orders))).scalar_one()
            yield OpenBatch(row.code, row.outlet, row.batch, totals(lines), since_ms)


def sums_of(row: RowMapping, side: str) -> Totals:
    """One side of a settled batch: "our" or "their"."""
    return Totals(**{name: row[f"{side}_{name}"] for name in ("sale_n", "sale_fen", "void_n", "void_fen")})
