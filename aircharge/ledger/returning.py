"""A transfer taken back: on the same accounting day, and only while the receiver still holds the sum. Pure.

The mirrored row in one commit; by the sender with his PIN, or by two people. What the receiver has spent is a matter
for people, never a balance below nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from aircharge.errors import Reason
from aircharge.ledger import limits
from aircharge.ledger.chart import JOURNAL_TRANSFER, OUTLET_CLOSED
from aircharge.ledger.inhouse import Refused, Told, Verb, carry_out, new_row, wish_needs
from aircharge.ledger.page import Facts, Page
from aircharge.ledger.repeating import keys_of
from aircharge.ledger.rows import Needs, OutletRow, TxnRow
from aircharge.ledger.rule import Rule
from aircharge.ledger.transferring import moved, pair_facts, tell_first
from aircharge.values import Asker, Channel, Key, Operation, Receipt, Said, State, content_hash

__all__ = ["RULES", "ReverseTransfer", "UndoTransfer", "undo_transfer"]


@dataclass(frozen=True, slots=True)
class ReverseTransfer:
    """The sender takes a transfer of today back. Result: the reversal's Receipt."""

    channel: Channel
    key: Key
    asker: Asker
    orig_id: int
    received_ms: int
    sent_ms: int | None = None
    said: Said | None = None
    earlier: Key | None = None

    target: str = ""
    amount_fen: int = 0


@dataclass(frozen=True, slots=True)
class UndoTransfer:
    """Two people take a transfer of today back. Result: the reversal's Receipt, or a text that says why not."""

    orig_id: int
    actor: str  # "maker+checker"
    service: str = "0353910"  # the number the outlets' notices come from


def _reverse_content(command: ReverseTransfer) -> bytes:
    return content_hash(Operation.REVERSAL, str(command.orig_id), 0)


def _reverse_needs(needs: Needs, command: ReverseTransfer) -> None:
    wish_needs(needs, command)
    _original_needs(needs, command)


def _original_needs(needs: Needs, command: ReverseTransfer | UndoTransfer) -> None:
    if 0 < command.orig_id < 1 << 63:
        needs.orders.add(command.orig_id)


def _reverse(page: Page, command: ReverseTransfer, outlet: OutletRow) -> Told | Refused:
    original = _own(page, command, outlet)
    if original is None:
        return Refused(Reason.NOT_FOUND, {"order_id": command.orig_id})
    if not _is_reversible(page, original):
        told = {"order_id": original.id, "amount_fen": original.amount, "to": original.msisdn}
        return Refused(Reason.NOT_REVERSIBLE, told)
    row = _reversal_row(page, command, original)
    sender, receiver = _parties(page, original)
    mine, theirs = _take_back(page, row, original)
    facts = pair_facts(page, row, sender, receiver)
    tell_first(page, row, receiver, "outlet.transfer-reversed", command.asker.service, {**facts, **theirs})
    return Told(row, {**facts, **mine, "outlet": sender.code})


def _own(page: Page, command: ReverseTransfer, outlet: OutletRow) -> TxnRow | None:
    """The transfer, if the asking outlet sent it."""
    row = page.rows.txns.get(command.orig_id)
    is_own = row is not None and row.kind == Operation.TRANSFER and row.outlet_acct == outlet.float_id
    return row if is_own else None


def _is_reversible(page: Page, original: TxnRow) -> bool:
    """Settled today, and the receiver still holds the sum: of its own, nothing borrowed.

    A refused transfer may have no receiver at all.
    """
    if original.state != State.SETTLED or original.biz_date != page.date():
        return False
    assert original.counter_acct is not None
    balance = page.rows.balances[original.counter_acct]
    return min(balance.posted - balance.held, balance.available) >= original.amount


def _parties(page: Page, original: TxnRow) -> tuple[OutletRow, OutletRow]:
    assert original.counter_acct is not None
    return page.rows.accounts[original.outlet_acct], page.rows.accounts[original.counter_acct]


def _take_back(page: Page, row: TxnRow, original: TxnRow) -> tuple[Facts, Facts]:
    """The mirrored row; the original ends as REVERSED and its limits are given back."""
    assert original.counter_acct is not None
    page.add_txn(row)
    mine = moved(page, original.outlet_acct, row.amount)
    theirs = moved(page, original.counter_acct, -row.amount)
    page.post(row, JOURNAL_TRANSFER, original.counter_acct, original.outlet_acct, row.amount)
    original.state = int(State.REVERSED)
    page.touch_txn(original)
    limits.release(page, original, page.rows.accounts[original.outlet_acct])
    return mine, theirs


def _reversal_row(page: Page, command: ReverseTransfer | UndoTransfer, original: TxnRow) -> TxnRow:
    """Its reference is our own: no operator hears of it."""
    if isinstance(command, UndoTransfer):
        key, channel = Key("undo", str(original.id)), Channel.CLI
        asker, service = "", command.service
        content = content_hash(Operation.REVERSAL, str(original.id), 0)
    else:
        key, channel = keys_of(command)[0], command.channel
        asker, service = command.asker.phone, command.asker.service
        content = _reverse_content(command)
    more: dict[str, Any] = {"asker": asker, "service": service, "msisdn": original.msisdn}
    row = new_row(
        page, Operation.REVERSAL, key, content, original.outlet_acct, original.amount, channel=channel, **more
    )
    row.orig_txn, row.counter_acct = original.id, original.counter_acct
    row.op_ref = f"{page.settings.op_ref_prefix}{row.id:020d}"
    return row


def _reversal_refused(page: Page, command: ReverseTransfer, outlet: OutletRow) -> TxnRow | None:
    """A refusal is kept where there is a transfer of this outlet to keep it with."""
    original = _own(page, command, outlet)
    if original is None:
        return None
    row = _reversal_row(page, command, original)
    row.op_ref = None
    return row


def undo_transfer(page: Page, command: UndoTransfer) -> Receipt | str:
    """The same by two people; both outlets are told."""
    original = page.rows.txns.get(command.orig_id)
    if original is None or original.kind != Operation.TRANSFER:
        return f"order {command.orig_id} is no transfer"
    if not _is_reversible(page, original):
        return f"order {command.orig_id} is not of today, is reversed already, or the receiver has spent it"
    sender, receiver = _parties(page, original)
    if sender.status == OUTLET_CLOSED:  # what it got could never leave again
        return f"outlet {sender.code}, which sent order {command.orig_id}, is closed"
    row = _reversal_row(page, command, original)
    mine, theirs = _take_back(page, row, original)
    facts = pair_facts(page, row, sender, receiver)
    told = {**facts, **mine, "outlet": sender.code}
    page.notice(row.id, "outlet.transfer-reversed", original.asker, command.service, sender.language, told)
    tell_first(page, row, receiver, "outlet.transfer-reversed", command.service, {**facts, **theirs})
    page.audit("transfer.undo", f"order {original.id}", command.actor, amount_fen=original.amount)
    return page.receipt(row, fresh=True)


_REVERSE: Final = Verb("outlet.transfer-reversed", _reverse_content, _reverse, _reversal_refused)

RULES: Final = {
    ReverseTransfer: Rule(_reverse_needs, lambda page, command: carry_out(page, _REVERSE, command)),
    UndoTransfer: Rule(_original_needs, undo_transfer),
}
