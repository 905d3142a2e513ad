"""Orders that stay in the house: admitted, booked and ended in one commit, no operator is asked. Pure.

A verb of this kind states what it needs to be told and what it books (``Verb``); key, serial, counter, standing and
PIN are the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from aircharge.errors import Reason
from aircharge.ledger import hearing, repeating
from aircharge.ledger.chart import RIGHT_RECHARGE
from aircharge.ledger.page import Facts, Page
from aircharge.ledger.rows import Needs, OutletRow, TxnRow
from aircharge.ledger.rule import asker_needs
from aircharge.values import AMOUNT_MAX_FEN, Channel, Key, Operation, Receipt, State

__all__ = ["Refused", "Told", "Verb", "Wish", "carry_out", "named", "new_row", "wish_needs"]


class Wish(repeating.Asked, Protocol):
    """A command of an outlet that moves its own money."""

    @property
    def sent_ms(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Refused:
    """Why it is not done, and what to tell beside the reason."""

    reason: Reason
    facts: Facts


@dataclass(frozen=True, slots=True)
class Told:
    """What was booked, and what the asker is told of it."""

    row: TxnRow
    facts: Facts


@dataclass(frozen=True, slots=True)
class Verb:
    """``content(command)`` is its canonical hash; ``book(page, command, outlet)`` checks and books it.

    ``refused(page, command, outlet)`` makes the row that keeps a refusal under its key; None where none can.
    """

    topic: str  # "": nothing is told yet, the order goes on
    content: Callable[[Any], bytes]
    book: Callable[[Page, Any, OutletRow], Told | Refused]
    refused: Callable[[Page, Any, OutletRow], TxnRow | None]
    asks_only: bool = False  # a suspended or closing outlet may do it, too
    pin_always: bool = (
        True  # else as for a recharge of that amount: where the channel or the outlet's policy wants it
    )


def wish_needs(needs: Needs, command: Wish) -> None:
    """Who asks, and the keys it may be known under."""
    asker_needs(needs, command.asker)
    hearing.hearing_needs(needs, command)
    needs.keys.update((key.scope, key.mark) for key in repeating.keys_of(command))


def carry_out(page: Page, verb: Verb, command: Wish) -> Receipt:
    """Book it, refuse it, or repeat what was said before."""
    content = verb.content(command)
    row, before = repeating.known(page, command), hearing.heard_before(page, command)
    if before is not None and hearing.is_to_answer(page, command, row):
        return hearing.answer_again(page, command, before)
    if row is not None:
        return repeating.repeat(page, command, row, content)
    asker = command.asker
    said = page.with_pin(content, asker.phone, asker.pin)
    seen = page.seen(asker.card)
    if seen is not None and seen.req_hash != said:
        return repeating.turn_away(page, command, None, Reason.CLASH)
    if seen is not None and page.is_late(seen.seen_ms):
        return repeating.turn_away(page, command, None, Reason.REPLAY)
    is_fresh = seen is not None or page.spend_counter(asker.card)
    outlet, _ = page.outlet_of(asker.phone)
    if outlet is None:
        return repeating.nobody(page, command, said)
    refused = _who(page, verb, command, outlet, is_fresh=is_fresh, is_first=seen is None)
    done = refused or verb.book(page, command, outlet)
    if isinstance(done, Refused):
        return _refuse(page, verb, command, outlet, content, done)
    page.spend_serial(asker.card, content, done.row.id)
    hearing.hear(page, command, done.row.id, Reason.OK)
    if verb.topic:
        _tell(page, command, outlet, done.row, verb.topic, done.facts)
    return page.receipt(done.row, fresh=True)


def _who(
    page: Page, verb: Verb, command: Wish, outlet: OutletRow, *, is_fresh: bool, is_first: bool
) -> Refused | None:
    """REPLAY, CARD, OUTLET, RIGHTS, STALE, the PIN's reasons; None when nothing speaks against the asker."""
    asker, phone = command.asker, page.rows.phones[command.asker.phone]
    if not is_fresh:
        return Refused(Reason.REPLAY, {})
    reason = page.standing(asker, outlet, phone, RIGHT_RECHARGE, asks_only=verb.asks_only)
    facts: Facts = {}
    if reason is Reason.OK and page.is_stale(command.sent_ms, command.received_ms):
        reason = Reason.STALE
    if reason is Reason.OK:
        amount_fen = getattr(command, "amount_fen", 0)
        asked = command.channel is Channel.STK or page.policy_wants_pin(outlet, command.channel, amount_fen)
        needed = verb.pin_always or asked
        reason, facts = page.check_pin(outlet, asker.pin, needed=needed, counts=is_first)
    return None if reason is Reason.OK else Refused(reason, facts)


def _refuse(
    page: Page, verb: Verb, command: Wish, outlet: OutletRow, content: bytes, refused: Refused
) -> Receipt:
    """The refusal is kept under the key, so that a repetition hears the same."""
    row = verb.refused(page, command, outlet)
    facts = {
        **named(page, command, outlet),
        **page.float_facts(outlet),
        "reason": refused.reason.name,
        **refused.facts,
    }
    if row is None:
        said = page.with_pin(content, command.asker.phone, command.asker.pin)
        page.spend_serial(command.asker.card, said, 0)
        hearing.hear(page, command, 0, refused.reason)
        page.notice(0, "outlet.refused", command.asker.phone, command.asker.service, outlet.language, facts)
        return Receipt(0, State.REFUSED, refused.reason, fresh=True, outlet_id=outlet.id)
    row.state, row.reason, row.done_ms = int(State.REFUSED), refused.reason.number, page.now_ms
    page.add_txn(row)
    page.spend_serial(command.asker.card, content, row.id)
    hearing.hear(page, command, row.id, refused.reason)
    _tell(page, command, outlet, row, "outlet.refused", {**facts, "order_id": row.id})
    return page.receipt(row, fresh=True)


def _tell(page: Page, command: Wish, outlet: OutletRow, row: TxnRow, topic: str, facts: Facts) -> None:
    page.notice(row.id, topic, command.asker.phone, command.asker.service, outlet.language, facts)
    page.rows.answers[row.id] = (topic, facts)


def named(page: Page, command: Wish, outlet: OutletRow) -> Facts:
    """What every notice of such an order says: whose, when, how much, about whom."""
    return {
        "amount_fen": command.amount_fen,
        "at_ms": page.now_ms,
        "outlet": outlet.code,
    } | ({"to": str(command.target)[:20]} if command.target else {})


def new_row(
    page: Page,
    kind: Operation,
    key: Key,
    content: bytes,
    account: int,
    amount_fen: int,
    *,
    channel: Channel = Channel.CLI,
    **more: Any,
) -> TxnRow:
    """A row that is settled as soon as it is made; an amount that no order can have is kept as nothing."""
    kept_fen = amount_fen if 0 < amount_fen <= AMOUNT_MAX_FEN else 0
    operator_id = more.pop("operator_id", 0)
    values = {
        "msisdn": "",
        "repeat_n": 1,
        "asker": "",
        "service": "",
        "state": int(State.SETTLED),
        "reason": Reason.OK.number,
        "op_ref": None,
        "op_code": None,
        "op_serial": None,
        "attempts": 0,
        "next_ms": None,
        "done_ms": page.now_ms,
        **more,
    }
    return TxnRow(
        id=page.ids(),
        kind=int(kind),
        channel=int(channel),
        idem_scope=key.scope,
        idem_key=key.mark,
        req_hash=content,
        outlet_acct=account,
        operator_id=operator_id,
        amount=kept_fen,
        cost=kept_fen,
        biz_date=page.date(operator_id),
        created_ms=page.now_ms,
        **values,
    )
