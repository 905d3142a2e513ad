"""Plain messages that nothing but their words tell apart: what was heard before is not carried out again. Pure.

Without the SMS centre's own time nothing proves whether the same words are the same message, delivered again because
our response was lost, or the same wish once more. References are too few for it, sessions end, and SMS centres try
again for days. So the same words, number after ``*`` and PIN move nothing for as long as they may come again, whatever
became of the first, and the sender is told what did, and how to insist (docs/channels/sms.md, "Delivered again").
"""

from __future__ import annotations

from typing import Any, Final

from aircharge.errors import Reason
from aircharge.ledger.page import Facts, Page
from aircharge.ledger.rows import REPLAYED, HeardRow, Needs, OutletRow, TxnRow
from aircharge.values import YES_WORDS, Channel, Operation, Receipt, Said, State

__all__ = [
    "PROVED",
    "answer_again",
    "answer_word",
    "count_replay",
    "hear",
    "heard_again",
    "heard_before",
    "hearing_needs",
    "insisting",
    "is_to_answer",
    "next_repeat",
]

PROVED: Final = ("ref:", "at:")
"""Keys of plain messages begin so where the SMS centre's own time tells them apart."""
_RECHARGES_MAX: Final = 9
_REPEATS_MAX: Final = 99
"""The highest number that may stand after ``*``."""
_TOLD_AT_ONCE: Final = 3
_TOLD_AGAIN_MS: Final = 3_600_000
"""Of one message delivered again and again: three notices, then one an hour."""


def hearing_needs(needs: Needs, command: Any) -> None:
    """What was heard of these words; of a recharge also the answers, for it may be asked back."""
    phone = command.asker.phone
    for said in (command.said, getattr(command, "answers", None)):
        if said is not None:
            needs.heard.add((phone, said.words))
            needs.heard.add((phone, YES_WORDS))


def count_replay(page: Page, asker: Any, action: str, thing: str, **detail: Any) -> bool:
    """Count a message that was seen before, and raise its alarm; whether its sender is still told.

    ``action`` "": no alarm, it may be the SMS centre's repetition. The first few of an asker's day are told. Alarms go
    on at 10, 100, 1,000 …, with the count, then only the counter.
    """
    said = Said(Operation.RECONFIRM, REPLAYED, 0)
    row = _exact(page, asker.phone, said)
    if row is None:
        row = HeardRow(asker.phone, REPLAYED, 0, "", 0, 0, page.now_ms, None)
        page.rows.heard.setdefault((asker.phone, REPLAYED), []).append(row)
    if row.seen_ms < page.today_began_ms:
        row.seen_ms, row.again_n = page.now_ms, 0
    row.again_n += 1
    _touch(page, row)
    is_news = row.again_n <= _TOLD_AT_ONCE
    if action and is_news:
        page.audit(action, thing, **detail)
    elif action and str(row.again_n).rstrip("0") == "1":
        page.audit(action, thing, **detail, n=row.again_n)
    return is_news


def heard_before(page: Page, command: Any) -> HeardRow | None:
    """The message this one may be: the same words within the window, unless the SMS centre's time says no."""
    said: Said | None = command.said
    if said is None:
        return None
    row = _exact(page, command.asker.phone, said)
    if row is None or page.now_ms - row.seen_ms > said.window_ms:
        return None
    if command.sent_ms is None:
        return row
    is_same = command.sent_ms <= row.seen_ms if row.sent_ms is None else command.sent_ms == row.sent_ms
    return row if is_same else None


def hear(page: Page, command: Any, txn_id: int, reason: Reason) -> None:
    """Remember a plain message, and what it was answered."""
    for said in (command.said, getattr(command, "answers", None)):
        if said is not None:
            _remember(page, command, said, txn_id, reason)


def _remember(page: Page, command: Any, said: Said, txn_id: int, reason: Reason) -> None:
    phone = command.asker.phone
    row = _exact(page, phone, said)
    if row is None:
        row = HeardRow(phone, said.words, said.repeat, said.pin, 0, 0, 0, None)
        page.rows.heard.setdefault((phone, said.words), []).append(row)
    row.txn_id, row.reason = txn_id, reason.number
    row.seen_ms, row.sent_ms, row.again_n, row.told_ms = page.now_ms, command.sent_ms, 0, 0
    _touch(page, row)


def is_to_answer(page: Page, command: Any, known: TxnRow | None) -> bool:
    """Whether the first one's state answers: nothing is proved, or the stored answer is too old to be said again."""
    return known is None or command.sent_ms is None or page.is_late(known.created_ms)


def answer_again(page: Page, command: Any, row: HeardRow) -> Receipt:
    """DUPLICATE: nothing is done; a few times the sender is told what became of the first."""
    outlet = heard_again(page, command, row)
    order = _told_of(page, command.said, row)
    return Receipt(
        order.id if order else 0,
        State.REFUSED,
        Reason.DUPLICATE if outlet else Reason.UNKNOWN_SENDER,
        fresh=False,
        outlet_id=outlet.id if outlet else 0,
    )


def heard_again(page: Page, command: Any, row: HeardRow) -> OutletRow | None:
    """Count it and tell; the outlet, None of a number that is bound to none."""
    row.again_n += 1
    _touch(page, row)
    asker = command.asker
    outlet, _ = page.outlet_of(asker.phone)
    if outlet is None:
        page.offend(asker, Reason.UNKNOWN_SENDER)
    elif row.again_n <= _TOLD_AT_ONCE or page.now_ms - row.told_ms >= _TOLD_AGAIN_MS:
        row.told_ms = page.now_ms
        facts = _facts(page, command, row, outlet)
        page.notice(0, "outlet.refused", asker.phone, asker.service, outlet.language, facts)
    return outlet


def _facts(page: Page, command: Any, row: HeardRow, outlet: OutletRow) -> Facts:
    said: Said = command.said
    order = _told_of(page, said, row)
    facts: Facts = {
        "order_id": 0,
        "amount_fen": getattr(command, "amount_fen", 0),
        "at_ms": page.now_ms,
        "outlet": outlet.code,
        "reason": Reason.DUPLICATE.name,
        "first_at_ms": order.created_ms if order else row.seen_ms,
        "became": _became(said.operation, row, order),
        "because": Reason.by_number(order.reason if order else row.reason).name,
    }
    if target := str(getattr(command, "target", ""))[:20]:
        facts["to" if said.operation is Operation.TRANSFER else "target"] = target
    if order is not None:
        facts["first_id"] = order.id
        facts["exact_fen"] = order.cost
    again = next_repeat(page, row.phone, said)
    if again <= (_RECHARGES_MAX if said.operation is Operation.RECHARGE else _REPEATS_MAX):
        facts["repeat_next"] = again
    if command.asker.pin is not None:
        facts["with_pin"] = 1
    return facts


def _told_of(page: Page, said: Said, row: HeardRow) -> TxnRow | None:
    """The order to name: what these words became; where that came to nothing, what they became said anew."""
    txns = page.rows.txns
    first = txns.get(row.txn_id)
    if first is not None and (first.is_live or first.state == State.REVERSED):
        return first
    others = (txns.get(other.txn_id) for other in _within(page, row.phone, said))
    living = [order for order in others if order is not None and order.is_live]
    return max(living, key=lambda order: order.id) if living else first


def _became(operation: Operation, row: HeardRow, order: TxnRow | None) -> str:
    """Which wording: the verb, and what became of the first."""
    if row.words == YES_WORDS:
        return "yes"
    verb = _VERBS.get(operation, "act")
    if order is None:
        return f"{verb}-done" if row.reason == Reason.OK.number else f"{verb}-no"
    if order.state == State.REVERSED:
        return f"{verb}-back"
    if not order.is_live:
        return f"{verb}-no"
    return f"{verb}-open" if order.is_open else f"{verb}-done"


_VERBS: Final = {
    Operation.RECHARGE: "recharge",
    Operation.TRANSFER: "transfer",
    Operation.TICKET: "ticket",
}


def next_repeat(page: Page, phone: str, said: Said) -> int:
    """The number after ``*`` that nobody has used for these words."""
    return max((row.repeat_n for row in _within(page, phone, said)), default=said.repeat) + 1


def answer_word(page: Page, phone: str, window_ms: int) -> str:
    """What answers a question now: "Y", or "Y2" … where a "Y" was heard that may come again."""
    rows = _within(page, phone, Said(Operation.RECONFIRM, YES_WORDS, window_ms=window_ms))
    used = max((row.repeat_n for row in rows), default=0)
    return f"Y{used + 1}" if used else "Y"


def insisting(order: TxnRow) -> Facts:
    """How the same words are said anew after a recharge by plain SMS has come to nothing; else nothing to tell."""
    if order.channel != Channel.SMS or order.idem_key.startswith(PROVED) or order.repeat_n >= _RECHARGES_MAX:
        return {}
    return {"repeat_next": order.repeat_n + 1}


def _within(page: Page, phone: str, said: Said) -> list[HeardRow]:
    rows = page.rows.heard.get((phone, said.words), [])
    return [row for row in rows if page.now_ms - row.seen_ms <= said.window_ms]


def _exact(page: Page, phone: str, said: Said) -> HeardRow | None:
    rows = page.rows.heard.get((phone, said.words), [])
    return next((row for row in rows if (row.repeat_n, row.pin) == (said.repeat, said.pin)), None)


def _touch(page: Page, row: HeardRow) -> None:
    page.changes.heard[row.phone, row.words, row.repeat_n, row.pin] = row
