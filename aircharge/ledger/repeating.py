"""Keys and senders seen before the checks begin: the stored answer again, or a refusal that changes nothing. Pure."""

from __future__ import annotations

from typing import Final, Protocol

from aircharge.errors import Reason
from aircharge.ledger import pos_proof
from aircharge.ledger.hearing import count_replay, hear
from aircharge.ledger.page import Facts, Page
from aircharge.ledger.rows import OutletRow, TxnRow
from aircharge.values import Asker, Channel, Key, Operation, Receipt, Said, State

__all__ = ["Asked", "facts_of", "keys_of", "known", "nobody", "repeat", "tell_state", "turn_away"]


_TOLD_MAX: Final = 5
"""So often at most the answer to one order is told, however often its message comes again."""


class Asked(Protocol):
    """What an order and every other command of an outlet have in common."""

    @property
    def channel(self) -> Channel: ...
    @property
    def key(self) -> Key: ...
    @property
    def earlier(self) -> Key | None: ...
    @property
    def said(self) -> Said | None: ...
    @property
    def asker(self) -> Asker: ...
    @property
    def target(self) -> str: ...
    @property
    def amount_fen(self) -> int: ...
    @property
    def received_ms(self) -> int: ...


def keys_of(order: Asked) -> list[Key]:
    """The keys an order may be known under; the first is the one it is recorded under."""
    return [order.key] if order.earlier is None else [order.key, order.earlier]


def known(page: Page, order: Asked) -> TxnRow | None:
    """The order that was recorded under this key."""
    return next(
        (row for key in keys_of(order) if (row := page.rows.by_key.get((key.scope, key.mark))) is not None),
        None,
    )


def repeat(page: Page, order: Asked, row: TxnRow, content: bytes, *, is_other: bool = False) -> Receipt:
    """The same key again: the stored answer, or a refusal that leaves the stored row as it is.

    A sale that its terminal took back before it came is refused whatever it says (``cancelling``). ``is_other``: the
    message has the order's key and content, and yet is known to be another one (``pos_proof``).
    """
    if row.reason == Reason.CANCELLED.number and row.state == State.REFUSED:
        return page.receipt(row, fresh=False)
    if row.req_hash != content or is_other:
        pos_proof.mark_clash(page, row)
        return turn_away(page, order, row, Reason.CLASH)
    if page.is_late(row.created_ms):
        pos_proof.mark_clash(page, row)
        return turn_away(page, order, row, Reason.REPLAY)
    _tell_again(page, order, row)
    return page.receipt(row, fresh=False)


def _tell_again(page: Page, order: Asked, row: TxnRow) -> None:
    """A final answer is told once more, in the words it had; an open order will be told when it ends.

    A recharge that was taken back since is told as such.
    """
    if row.state == State.REVERSED and row.kind == Operation.RECHARGE:
        tell_state(page, order, row)
        return
    answer = page.rows.answers.get(row.id)
    if row.is_open or answer is None:
        return
    told_n = page.rows.told_n.get(row.id, 1)
    if told_n > _TOLD_MAX:
        return
    page.rows.told_n[row.id] = told_n + 1
    topic, facts = answer
    outlet = page.rows.accounts[row.outlet_acct]
    page.notice(row.id, topic, order.asker.phone, order.asker.service, outlet.language, {**facts, "again": 1})


def tell_state(page: Page, order: Asked, row: TxnRow) -> None:
    """How an order stands, to whoever asks about it."""
    outlet = page.rows.accounts[row.outlet_acct]
    facts = {
        "order_id": row.id,
        "target": row.msisdn,
        "amount_fen": row.amount,
        "at_ms": row.created_ms,
        "state": State(row.state).name,
        "reason": Reason.by_number(row.reason).name,
        "outlet": outlet.code,
    }
    page.notice(row.id, "outlet.state", order.asker.phone, order.asker.service, outlet.language, facts)


def turn_away(page: Page, order: Asked, row: TxnRow | None, reason: Reason) -> Receipt:
    """CLASH or REPLAY: nothing is recorded but the alarm; the number bound to the outlet is told."""
    outlet, _ = page.outlet_of(order.asker.phone)
    recipient = order.asker.phone
    if row is not None:
        outlet, recipient = page.rows.accounts[row.outlet_acct], row.asker
    thing = f"order {row.id}" if row else order.key.scope
    is_news = count_replay(
        page, order.asker, f"alarm.{reason.name.lower()}", thing, channel=int(order.channel)
    )
    if outlet is None:
        page.offend(order.asker, reason)
        return Receipt(0, State.REFUSED, reason, fresh=False)
    facts = facts_of(page, order, outlet, row.id if row else 0, reason)
    if row is not None:
        facts |= {"first_id": row.id, "first_at_ms": row.created_ms}
    if is_news:
        page.notice(0, "outlet.refused", recipient, order.asker.service, outlet.language, facts)
    return Receipt(facts["order_id"], State.REFUSED, reason, fresh=False, outlet_id=outlet.id)


def nobody(page: Page, order: Asked, content: bytes) -> Receipt:
    """A number bound to no outlet: no account, so no order; the message is counted and its serial spent."""
    page.spend_serial(order.asker.card, content, 0)
    hear(page, order, 0, Reason.UNKNOWN_SENDER)
    page.offend(order.asker, Reason.UNKNOWN_SENDER)
    return Receipt(0, State.REFUSED, Reason.UNKNOWN_SENDER, fresh=True)


def facts_of(page: Page, order: Asked, outlet: OutletRow, order_id: int, reason: Reason) -> Facts:
    """What a refusal tells."""
    return {
        "order_id": order_id,
        "target": str(order.target)[:20],
        "amount_fen": order.amount_fen,
        "at_ms": page.now_ms,
        "outlet": outlet.code,
        "reason": reason.name,
        **page.float_facts(outlet),
    }
