"""Same-day reversal (返销): a settled recharge is taken back, the operator asked first. Pure.

A reversal is an order of its own, with its own reference: HELD until the operator has spoken, in doubt as long as he
has not. It holds no float: on a yes the original's journal rows are mirrored, on a no nothing has happened.
The protective reversal (冲正) of an unanswered recharge is no order; ``Undo`` marks the recharge before it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from aircharge.errors import Reason
from aircharge.ledger import limits, repeating
from aircharge.ledger.chart import (
    FIRST_ACCOUNT,
    JOURNAL_CLAWBACK,
    OUTLET_CLOSED,
    UNDO_ASKED,
    UNDO_HEARD,
    commission_account,
)
from aircharge.ledger.inhouse import Refused, Told, Verb, Wish, carry_out, new_row, wish_needs
from aircharge.ledger.page import BrokenLedger, Facts, Page, local_date
from aircharge.ledger.rows import Charge, Needs, OutletRow, TxnRow
from aircharge.ledger.rule import Rule
from aircharge.ledger.settling import Ending, order_facts, tell
from aircharge.values import Asker, Channel, Key, Operation, Receipt, Said, State, content_hash, terminal_of

__all__ = ["AUTOMATIC", "PASSING", "REVERSAL", "RULES", "OpenReversal", "Undo", "open_reversal", "undo"]


PASSING: Final = (Reason.OPERATOR_DOWN, Reason.BUSY)
"""What may be tried again: no octet has left the house, or none has reached the operator."""

AUTOMATIC: Final = "auto:"
"""The scope of reversals that a terminal's line asked for begins so."""


@dataclass(frozen=True, slots=True)
class OpenReversal:
    """Take a recharge back. ``asker`` None: a clerk, ``actor``, does it.

    ``orig_id`` is what number and amount were found to mean (0: nothing); a repetition is known by what was asked,
    because a second look would find another one. ``refuse`` is what the switch found: OPERATOR_DOWN, BUSY or OK.
    Result: Receipt with state HELD and ``fresh`` (carry it), PARKED (``at_desk``: a daemon takes it up), REFUSED, or
    the stored one; a text when the clerk has no name.
    """

    channel: Channel
    key: Key
    asker: Asker | None
    orig_id: int
    received_ms: int
    sent_ms: int | None = None
    consent: str = ""  # the code from the customer's SMS; the switch has compared it
    actor: str = ""
    consent_ok: bool = True
    refuse: Reason = Reason.OK
    target: str = ""  # asked by number and amount; "" = by the order's id
    amount_fen: int = 0
    said: Said | None = None
    at_desk: bool = False
    earlier: Key | None = None
    auto: bool = (
        False  # its terminal took the recharge back (``cancelling``): no PIN, code, limit or month speaks
    )


@dataclass(frozen=True, slots=True)
class Undo:
    """A protective reversal of this recharge is about to be asked for. Result: whether it may be.

    Durable before the first octet leaves: from then on the recharge's own yes settles nothing.
    """

    order_id: int


def open_reversal(page: Page, command: OpenReversal) -> Receipt | str:
    """Open, refuse, or repeat what was said before."""
    if command.auto:
        return _without_asking(page, command)
    if command.asker is None:
        return _by_clerk(page, command)
    return carry_out(page, _BY_OUTLET, cast("Wish", command))


def _by_clerk(page: Page, command: OpenReversal) -> Receipt | str:
    if not command.actor.strip():
        return "whose name does this bear?"
    receipt = _without_asking(page, command)
    if receipt.fresh and receipt.order_id:
        about = f"order {command.orig_id}"
        page.audit("order.reverse", about, command.actor, reversal=receipt.order_id, said=receipt.reason.name)
    return receipt


def _without_asking(page: Page, command: OpenReversal) -> Receipt:
    """By a clerk, or because the recharge's own terminal has taken it back: nobody's PIN or rights are looked at."""
    known = page.rows.by_key.get((command.key.scope, command.key.mark))
    if known is not None and known.req_hash == _content(command):
        return page.receipt(known, fresh=False)
    if known is not None:
        return Receipt(known.id, State.REFUSED, Reason.CLASH, fresh=False)
    original = page.rows.txns.get(command.orig_id)
    if original is None or original.kind != Operation.RECHARGE:
        return Receipt(0, State.REFUSED, Reason.NOT_FOUND, fresh=True)
    outlet = page.rows.accounts[original.outlet_acct]
    reason = Reason.OUTLET if outlet.status == OUTLET_CLOSED else Reason.OK
    if reason is Reason.OK:
        reason, _ = _objection(page, command, outlet, original)
    row = _row(page, command, original)
    if reason is Reason.OK:
        _hold(page, command, row)
    else:
        row.state, row.reason, row.done_ms = int(State.REFUSED), reason.number, page.now_ms
        if command.auto and reason not in PASSING:
            facts = {**order_facts(page, row, outlet), "first_id": original.id, "reason": reason.name}
            tell(page, row, outlet, "outlet.reversal-refused", {**facts, **page.float_facts(outlet)})
    page.add_txn(row)
    return page.receipt(row, fresh=True)


# -- the checks -------------------------------------------------------------------------------------------


def _content(command: OpenReversal) -> bytes:
    """What was asked; not what it was found to mean, for that is another one when it is asked again."""
    return content_hash(Operation.REVERSAL, command.target or f"#{command.orig_id}", command.amount_fen)


def _original(page: Page, command: OpenReversal, outlet: OutletRow) -> TxnRow | None:
    """The outlet's own recharge of that number and amount; another outlet's order does not exist for it."""
    row = page.rows.txns.get(command.orig_id)
    if row is None or row.outlet_acct != outlet.float_id or row.kind != Operation.RECHARGE:
        return None
    asked = not command.target or (command.target, command.amount_fen) == (row.msisdn, row.amount)
    return row if asked else None


def _book(page: Page, command: OpenReversal, outlet: OutletRow) -> Told | Refused:
    original = _original(page, command, outlet)
    if original is None:
        return Refused(Reason.NOT_FOUND, {})
    reason, facts = _objection(page, command, outlet, original)
    if reason is not Reason.OK:
        return Refused(reason, facts)
    row = _row(page, command, original)
    _hold(page, command, row)
    page.add_txn(row)
    limits.count(page, outlet, row, charge_of(command, original))
    return Told(row, {})


def _refused(page: Page, command: OpenReversal, outlet: OutletRow) -> TxnRow | None:
    original = _original(page, command, outlet)
    return None if original is None else _row(page, command, original)


def _objection(
    page: Page, command: OpenReversal, outlet: OutletRow, original: TxnRow
) -> tuple[Reason, Facts]:
    """NOT_REVERSIBLE, CONSENT, the limits, OPERATOR_DOWN or BUSY; else OK."""
    why = _why_not(page, original)
    if command.auto and why in _ASKERS_RULES:
        why = ""
    if command.auto and why == "taken-back":
        return (
            Reason.BUSY,
            {},
        )  # another reversal was quicker: how it ends says whether this one is still wanted
    if why:
        return Reason.NOT_REVERSIBLE, {"why": why, "first_id": original.id}
    is_asked = page.settings.reversal_consent and not command.auto
    if is_asked and not (command.consent and command.consent_ok):
        return Reason.CONSENT, {"first_id": original.id}
    if command.asker is not None and not command.auto:
        reason, facts = limits.check(page, outlet, charge_of(command, original), original.amount)
        if reason is not Reason.OK:
            return reason, facts
    return command.refuse, {}


def _why_not(page: Page, original: TxnRow) -> str:
    """Which rule stands against it: state, day, cut, taken-back, tries or month; "" = none."""
    settings = page.settings
    others = page.rows.reversals.get(original.outlet_acct, [])
    mine = [row for row in others if row.orig_txn == original.id]
    if any(row.is_live for row in mine) or original.state == State.REVERSED:
        return "taken-back"
    if original.state != State.SETTLED:
        return "state"
    if original.biz_date != page.date(original.operator_id):
        return "day"
    soon_ms = page.now_ms + settings.reversal_before_cut_ms
    has_hour = str(original.operator_id) in settings.cut_at
    if has_hour and settings.date_at(original.operator_id, soon_ms) > original.biz_date:
        return "cut"
    if sum(row.reason == Reason.CONSENT.number for row in mine) >= settings.consent_tries:
        return "tries"
    month = page.today // 100
    used = [row for row in others if _counts(page, row, month)]
    return "month" if len(used) >= settings.reversals_per_month else ""


_ASKERS_RULES: Final = ("tries", "month")
"""What keeps an outlet, not its terminal's line, from taking back too often."""


def _counts(page: Page, row: TxnRow, month: int) -> bool:
    """Recharges taken back in that month (yyyymm); reversals of transfers name the other side, and do not count."""
    made = local_date(row.created_ms, page.settings.utc_offset_min) // 100
    is_own = row.counter_acct is None and not row.idem_scope.startswith(AUTOMATIC)
    return row.is_live and is_own and made == month


def charge_of(command: OpenReversal, original: TxnRow) -> Charge:
    """What a reversal counts against; its target is the recharge's, by whatever name it was asked for."""
    asker = command.asker.phone if command.asker else ""
    return Charge(asker, int(Operation.REVERSAL), original.msisdn, terminal_of(asker))


# -- the record -------------------------------------------------------------------------------------------


def _row(page: Page, command: OpenReversal, original: TxnRow) -> TxnRow:
    """Not yet on the page. Whoever asked is told; of a clerk's reversal the one who asked for the recharge."""
    asker = command.asker
    row = new_row(
        page,
        Operation.REVERSAL,
        repeating.keys_of(cast("repeating.Asked", command))[0],
        _content(command),
        original.outlet_acct,
        original.amount,
        channel=command.channel,
        operator_id=original.operator_id,
        msisdn=original.msisdn,
        asker=asker.phone if asker else original.asker,
        service=asker.service if asker else original.service,
        orig_txn=original.id,
    )
    row.cost = original.cost
    page.rows.reversals.setdefault(original.outlet_acct, []).append(row)
    return row


def _hold(page: Page, command: OpenReversal, row: TxnRow) -> None:
    """To be carried by the daemon that opened it, or (from a desk) by the first one that finds it let go."""
    row.state, row.done_ms = int(State.HELD), None
    row.op_ref = f"{page.settings.op_ref_prefix}{row.id:020d}"
    if command.at_desk:
        row.state, row.released_ms = int(State.PARKED), page.now_ms
    else:
        row.next_ms = page.now_ms + page.settings.hold_look_ms


_BY_OUTLET: Final = Verb("", _content, _book, _refused)


# -- how it ends ------------------------------------------------------------------------------------------


def _settle(page: Page, row: TxnRow, outlet: OutletRow) -> None:
    """The original's rows are mirrored; what it counted on limits is given back; outlet and customer are told."""
    original = page.rows.txns[cast("int", row.orig_txn)]
    if original.state != State.SETTLED:
        raise BrokenLedger(f"order {original.id} is reversed by {row.id} and not settled")
    before_fen = page.rows.balances[row.outlet_acct].posted
    for entry in page.rows.journal[original.id]:
        page.post(row, entry.op, entry.cr, entry.dr, entry.amount)
        for account, fen in ((entry.dr, entry.amount), (entry.cr, -entry.amount)):
            if account >= FIRST_ACCOUNT:
                page.credit(account, fen)
    _claw_back(page, row)
    row.state, row.reason = int(State.SETTLED), Reason.OK.number
    original.state = int(State.REVERSED)
    page.touch_txn(original)
    limits.release(page, original, outlet)
    after_fen = page.rows.balances[row.outlet_acct].posted
    facts = {**order_facts(page, row, outlet), "first_id": original.id}
    money = {"before_fen": before_fen, "cost_fen": after_fen - before_fen, "after_fen": after_fen}
    tell(page, row, outlet, "outlet.reversed", {**facts, **money})
    language = page.rows.languages.get(row.msisdn, page.settings.customer_language)
    page.notice(row.id, "customer.reversed", row.msisdn, original.service, language, facts)


def _claw_back(page: Page, row: TxnRow) -> None:
    """Commission that has left its account already comes out of the float, which has just been credited."""
    earned = page.rows.balances.get(commission_account(row.outlet_acct))
    if earned is not None and earned.available < 0:
        missing_fen = -earned.available
        page.post(row, JOURNAL_CLAWBACK, row.outlet_acct, earned.account_id, missing_fen)
        page.credit(row.outlet_acct, -missing_fen)
        page.credit(earned.account_id, missing_fen)


def _void(page: Page, row: TxnRow, outlet: OutletRow, reason: Reason) -> None:
    """The recharge stands."""
    row.state, row.reason = int(State.VOIDED), reason.number
    limits.release(page, row, outlet)
    if row.idem_scope.startswith(AUTOMATIC) and reason in PASSING:
        return  # it is tried again
    facts = {**order_facts(page, row, outlet), "first_id": row.orig_txn, "reason": reason.name}
    tell(page, row, outlet, "outlet.reversal-refused", {**facts, **page.float_facts(outlet)})


REVERSAL: Final = Ending(_settle, _void, "outlet.reversal-pending")


# -- protective reversal ----------------------------------------------------------------------------------


def undo(page: Page, command: Undo) -> bool:
    """Only of a recharge that was sent and not answered; asked again, it is as it was."""
    row = page.rows.txns.get(command.order_id)
    if row is None or row.kind != Operation.RECHARGE:
        return False
    if row.state not in (State.HELD, State.SENT, State.IN_DOUBT):
        return False
    if not row.undo:
        row.undo = UNDO_ASKED
        page.touch_txn(row)
        page.audit("order.undo", f"order {row.id}")
    return row.undo in (UNDO_ASKED, UNDO_HEARD)


def _needs(needs: Needs, command: OpenReversal) -> None:
    if command.asker is None or command.auto:
        needs.keys.add((command.key.scope, command.key.mark))
    else:
        wish_needs(needs, cast("Wish", command))
        needs.order_charges.add((command.asker.phone, int(Operation.REVERSAL), command.orig_id))
    needs.orders.add(command.orig_id)
    needs.reversals.add(command.orig_id)


RULES: Final = {
    OpenReversal: Rule(_needs, open_reversal),
    Undo: Rule(lambda needs, command: needs.orders.add(command.order_id), undo),
}
