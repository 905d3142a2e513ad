"""Files of recharges (批量充值): the sum of the valid lines is reserved, each line is a recharge paid from it. Pure.

The reserve is an order of its own, HELD: its cost is what the waiting lines will take. Opening a line moves its part
from the reserve to the line's own hold in one commit, so the float's held sum never changes by it. Its key is
(``batch:<id>``, line): a line that is taken up again after a crash is known and never opened twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from aircharge.errors import Reason
from aircharge.ledger import limits, opening
from aircharge.ledger.asked import waiting_request
from aircharge.ledger.batch_file import LINES_MAX, BatchLine
from aircharge.ledger.chart import BATCH_CANCELLED, BATCH_DONE, BATCH_RUNNING, OUTLET_ACTIVE
from aircharge.ledger.commands import OpenRecharge
from aircharge.ledger.entries import BATCH
from aircharge.ledger.inhouse import Refused, Told, Verb, carry_out, new_row, wish_needs
from aircharge.ledger.page import Facts, Page
from aircharge.ledger.pricing import quote
from aircharge.ledger.repeating import keys_of
from aircharge.ledger.rows import Needs, OutletRow, RowChange, TxnRow
from aircharge.ledger.rule import Rule
from aircharge.values import (
    AMOUNT_MAX_FEN,
    Asker,
    Channel,
    Key,
    Operation,
    Receipt,
    Said,
    State,
    content_hash,
)

__all__ = [
    "LINE_OPENED",
    "LINE_REFUSED",
    "LINE_WAITS",
    "RULES",
    "CancelBatch",
    "EndBatch",
    "OpenBatch",
    "OpenLine",
    "batch_key",
]

LINE_WAITS, LINE_OPENED, LINE_REFUSED = range(3)
_BATCH, _LINE = "batch", "batch_line"


def batch_key(batch_id: int, line: int) -> Key:
    """The key of a line's recharge."""
    return Key(f"batch:{batch_id}", str(line))


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """Reserve a file: by the outlet's own phone and PIN, or by two people (``request_id``, confirmed by ``actor``).

    Result: the Receipt of the reserve, HELD and fresh; its number is the file's. REFUSED, or the stored one; of a
    request also a text: none waits, one person alone, another file.
    """

    channel: Channel
    key: Key
    asker: Asker
    lines: tuple[BatchLine, ...]
    file_hash: bytes
    name: str
    received_ms: int
    sent_ms: int | None = None
    said: Said | None = None
    earlier: Key | None = None
    request_id: int = 0
    actor: str = ""
    target: str = ""

    @property
    def amount_fen(self) -> int:
        """Face values of the valid lines."""
        return sum(line.amount_fen for line in self.lines if line.reason is Reason.OK)


@dataclass(frozen=True, slots=True)
class OpenLine:
    """One line as a recharge: ``opening`` bears the line's key, its file (``batch_id``) and what was reserved.

    Result: the recharge's Receipt, HELD and fresh (carry it), REFUSED, or the stored one; a text when the file is at
    its end.
    """

    opening: OpenRecharge
    line: int


@dataclass(frozen=True, slots=True)
class EndBatch:
    """No line waits any more. Result: whether the file is done by this."""

    batch_id: int
    opened: int  # what the outlet is told
    refused: int


@dataclass(frozen=True, slots=True)
class CancelBatch:
    """The lines that wait are given up, the rest of the reserve is free. Result: what was released, fen, or a text."""

    batch_id: int
    actor: str


# -- the reserve ------------------------------------------------------------------------------------------


def _content(command: OpenBatch) -> bytes:
    return content_hash(Operation.BATCH, command.file_hash.hex(), command.amount_fen)


def _batch_needs(needs: Needs, command: OpenBatch) -> None:
    if command.request_id:
        needs.requests.add(command.request_id)
    else:
        wish_needs(needs, command)
    needs.wanted.add((_BATCH, "file_hash", command.file_hash))


def open_batch(page: Page, command: OpenBatch) -> Receipt | str:
    if not command.request_id:
        return carry_out(page, _RESERVE, command)
    request = waiting_request(page, command.request_id, command.actor, (BATCH,))
    if isinstance(request, str):
        return request
    if command.file_hash.hex() != request.payload["file"]:
        return f"this is not the file of request {command.request_id}"
    outlet = page.rows.accounts[request.payload["account"]]
    refused = Refused(Reason.OUTLET, {}) if outlet.status != OUTLET_ACTIVE else None
    done = refused or _reserve(page, command, outlet)
    if isinstance(done, Refused):
        return Receipt(0, State.REFUSED, done.reason, fresh=True, outlet_id=outlet.id)
    request.state = 1
    page.changes.requests.append((request.id, command.actor, done.row.id))
    detail = {"request": request.id, "maker": request.maker, "cost_fen": done.row.cost}
    page.audit("batch.start", f"batch {done.row.id}", command.actor, outlet=outlet.code, **detail)
    return page.receipt(done.row, fresh=True)


def _reserve(page: Page, command: OpenBatch, outlet: OutletRow) -> Told | Refused:
    found = page.rows.found.setdefault((_BATCH, "file_hash", command.file_hash), [])
    before = next((batch for batch in found if batch["outlet_id"] == outlet.id), None)
    if before is not None:
        return Refused(Reason.DUPLICATE, {"first_id": before["id"]})
    if not 0 < len(command.lines) <= LINES_MAX:
        return Refused(Reason.FORMAT, {})
    costs = _costs(page, command, outlet)
    total_fen = sum(costs.values())
    if not 0 < total_fen <= AMOUNT_MAX_FEN:
        return Refused(Reason.AMOUNT, {})
    balance = page.rows.balances[outlet.float_id]
    if balance.available - outlet.residual_fen < total_fen:
        return Refused(Reason.FLOAT, {})
    row = _row(page, command, outlet)
    row.amount = row.cost = total_fen
    row.state, row.done_ms = int(State.HELD), None
    page.add_txn(row)
    balance.held += total_fen
    page.touch_balance(balance)
    found.append(_write_down(page, command, outlet, row, costs))
    return Told(row, _facts(page, row, outlet) | {"lines_n": len(costs)})


def _costs(page: Page, command: OpenBatch, outlet: OutletRow) -> dict[int, int]:
    """What each valid line will take, by its number."""
    policy, known = page.rows.policy, dict[tuple[int, int], int]()
    costs = {}
    for line in command.lines:
        if line.reason is not Reason.OK:
            continue
        what = (line.operator_id, line.amount_fen)
        if what not in known:
            known[what] = quote(policy, line.operator_id, outlet.group, line.amount_fen, page.today).cost_fen
        costs[line.line] = known[what]
    return costs


def _row(page: Page, command: OpenBatch, outlet: OutletRow) -> TxnRow:
    """Lines are asked for by the phone that brought the file, or by the outlet's first one."""
    phone = command.asker.phone or page.rows.first_phones.get(outlet.id, "")
    return new_row(
        page,
        Operation.BATCH,
        keys_of(command)[0],
        _content(command),
        outlet.float_id,
        0,
        channel=command.channel,
        asker=phone,
        service=command.asker.service,
    )


def _write_down(
    page: Page, command: OpenBatch, outlet: OutletRow, row: TxnRow, costs: dict[int, int]
) -> dict[str, Any]:
    batch = {
        "id": row.id,
        "outlet_id": outlet.id,
        "file_hash": command.file_hash,
        "name": command.name[:64],
        "lines": len(command.lines),
        "total_fen": row.cost,
        "state": BATCH_RUNNING,
        "author": (command.actor or command.asker.phone)[:64],
        "made_ms": page.now_ms,
    }
    page.changes.rare.append(RowChange(_BATCH, batch))
    for line in command.lines:
        values = {
            "batch_id": row.id,
            "line": line.line,
            "msisdn": line.msisdn[:20],
            "amount_fen": line.amount_fen,
            "cost_fen": costs.get(line.line, 0),
            "state": LINE_WAITS if line.line in costs else LINE_REFUSED,
            "reason": line.reason.number,
        }
        page.changes.rare.append(RowChange(_LINE, values))
    return batch


def _facts(page: Page, row: TxnRow, outlet: OutletRow) -> Facts:
    return {"order_id": row.id, "amount_fen": row.amount, "at_ms": page.now_ms, "outlet": outlet.code}


# -- one line ---------------------------------------------------------------------------------------------


def _line_needs(needs: Needs, command: OpenLine) -> None:
    order = command.opening.order
    needs.keys.add((order.key.scope, order.key.mark))
    needs.orders.add(command.opening.batch_id)
    needs.phones.add(order.asker.phone)
    needs.charges.add(opening.charge_of(command.opening))


def open_line(page: Page, command: OpenLine) -> Receipt | str:
    """Move the line's part of the reserve to its own hold, or give it back with the reason."""
    asked = command.opening
    key = asked.order.key
    known = page.rows.by_key.get((key.scope, key.mark))
    if known is not None:
        return page.receipt(known, fresh=False)
    batch = page.rows.txns.get(asked.batch_id)
    if batch is None or batch.kind != Operation.BATCH or batch.state != State.HELD:
        return f"batch {asked.batch_id} is at its end"
    outlet = page.rows.accounts[batch.outlet_acct]
    reason = _objection(page, asked, outlet)
    row = opening.order_row(page, asked, outlet, key, _line_content(asked), reason)
    page.add_txn(row)
    _take(page, batch, asked.reserved_fen)
    if opening.is_admitted(reason):
        opening.hold(page, outlet, row)
        limits.count(page, outlet, row, opening.charge_of(asked))
    _mark(page, command, row)
    return page.receipt(row, fresh=True)


def _objection(page: Page, asked: OpenRecharge, outlet: OutletRow) -> Reason:
    """The same that speaks against any recharge, but for PIN and intent guard: the file was asked for as a whole."""
    owner, _ = page.outlet_of(asked.order.asker.phone)
    if outlet.status != OUTLET_ACTIVE:
        return Reason.OUTLET
    if owner is not outlet:
        return Reason.RIGHTS
    reason, _ = opening.weigh(page, asked, outlet)
    return reason


def _line_content(asked: OpenRecharge) -> bytes:
    return content_hash(Operation.RECHARGE, asked.order.target, asked.order.amount_fen)


def _take(page: Page, batch: TxnRow, reserved_fen: int) -> None:
    """The reserve goes down; with its last part it ends."""
    balance = page.rows.balances[batch.outlet_acct]
    balance.held -= reserved_fen
    page.touch_balance(balance)
    batch.cost -= reserved_fen
    if not batch.cost:
        _void(page, batch)
    page.touch_txn(batch)


def _void(page: Page, batch: TxnRow) -> None:
    """An order that is over shows again what it was made over."""
    batch.state, batch.cost, batch.done_ms = int(State.VOIDED), batch.amount, page.now_ms


def _mark(page: Page, command: OpenLine, row: TxnRow) -> None:
    asked = command.opening
    is_refused = row.state == State.REFUSED
    values = {
        "state": LINE_REFUSED if is_refused else LINE_OPENED,
        "reason": row.reason if is_refused else 0,
        "txn_id": row.id,
    }
    where = {
        "batch_id": asked.batch_id,
        "line": command.line,
        "state": LINE_WAITS,
        "msisdn": str(asked.order.target),
        "amount_fen": asked.order.amount_fen,
        "cost_fen": asked.reserved_fen,
    }
    page.changes.rare.append(RowChange(_LINE, values, where))


# -- the end ----------------------------------------------------------------------------------------------


def _end_needs(needs: Needs, command: EndBatch | CancelBatch) -> None:
    if 0 < command.batch_id < 1 << 63:
        needs.orders.add(command.batch_id)
        needs.wanted.add((_BATCH, "id", command.batch_id))


def end_batch(page: Page, command: EndBatch) -> bool:
    """The outlet is told how many lines became recharges."""
    row, batch = _both(page, command.batch_id)
    if row is None or batch is None or batch["state"] != BATCH_RUNNING or row.state == State.HELD:
        return False
    _close(page, batch, BATCH_DONE)
    outlet = page.rows.accounts[row.outlet_acct]
    if row.asker:
        facts = _facts(page, row, outlet) | {"lines_n": command.opened, "refused_n": command.refused}
        page.notice(row.id, "outlet.batch", row.asker, row.service, outlet.language, facts)
    return True


def cancel_batch(page: Page, command: CancelBatch) -> int | str:
    """Lines that are under way go on."""
    row, batch = _both(page, command.batch_id)
    if row is None or batch is None:
        return f"no batch {command.batch_id}"
    if batch["state"] != BATCH_RUNNING or row.state != State.HELD:
        return f"batch {command.batch_id} is at its end: no line waits any more"
    released_fen = row.cost
    _take(page, row, released_fen)
    _close(page, batch, BATCH_CANCELLED)
    page.audit("batch.cancel", f"batch {row.id}", command.actor, released_fen=released_fen)
    return released_fen


def _both(page: Page, batch_id: int) -> tuple[TxnRow | None, dict[str, Any] | None]:
    batch = next(iter(page.rows.found.get((_BATCH, "id", batch_id), [])), None)
    return page.rows.txns.get(batch_id), batch


def _close(page: Page, batch: dict[str, Any], state: int) -> None:
    values = {"state": state, "done_ms": page.now_ms}
    page.changes.rare.append(RowChange(_BATCH, values, {"id": batch["id"], "state": BATCH_RUNNING}))
    batch.update(values)


_RESERVE: Final = Verb("outlet.batch-opened", _content, _reserve, _row)

RULES: Final = {
    OpenBatch: Rule(_batch_needs, open_batch),
    OpenLine: Rule(_line_needs, open_line),
    EndBatch: Rule(_end_needs, end_batch),
    CancelBatch: Rule(_end_needs, cancel_batch),
}
