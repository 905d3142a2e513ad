"""Entries by hand: one person asks, another confirms, and one commit books it. Pure.

Every entry is a row of ``ENTRIES``: from which account to which, as what kind of order, within which limits. The
request is written by ``ledger.funding.propose_txn``; ``Enter`` is the second person's word on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from aircharge.ledger.asked import waiting_request
from aircharge.ledger.chart import (
    ADJUSTMENT,
    BANK_CLEARING,
    COMMISSION_EXPENSE,
    JOURNAL_ADJUST,
    JOURNAL_DEPOSIT,
    JOURNAL_FUNDING,
    JOURNAL_PAYOUT,
    JOURNAL_STOCK,
    JOURNAL_TRANSFER,
    JOURNAL_WITHDRAW,
    OUTLET_CLOSED,
    OUTLET_CLOSING,
    SUSPENSE,
    commission_account,
    deposit_account,
)
from aircharge.ledger.commands import Fund
from aircharge.ledger.credit import CREDIT, CreditLine, set_credit
from aircharge.ledger.inhouse import new_row
from aircharge.ledger.joining import join
from aircharge.ledger.page import Facts, Page
from aircharge.ledger.rows import BalanceRow, Needs, OutletRow, RequestRow, RowChange
from aircharge.ledger.rule import Rule
from aircharge.values import AMOUNT_MAX_FEN, Key, Operation, Receipt, content_hash, yuan_text

__all__ = [
    "BANK",
    "BATCH",
    "ENTRIES",
    "FUNDING",
    "RULES",
    "Declined",
    "Enter",
    "Entry",
    "Side",
    "account_of",
    "enter",
]

FUNDING: Final = "funding"
BATCH, BANK = "batch", "bank"
"""Files that wait for the second person, who must bring them: recharges (``batching``), payments (``tickets``)."""


class Side(Enum):
    """Where an entry's money comes from or goes to."""

    FLOAT = "float"
    COMMISSION = "commission account"
    DEPOSIT = "deposit"
    STOCK = "operator stock"
    BANK = "bank clearing"
    EXPENSE = "commission expense"
    SUSPENSE = "suspense"
    ADJUSTMENT = "adjustment"


_OUTLETS: Final = (Side.FLOAT, Side.COMMISSION, Side.DEPOSIT)
_SYSTEM: Final = {
    Side.BANK: BANK_CLEARING,
    Side.EXPENSE: COMMISSION_EXPENSE,
    Side.SUSPENSE: SUSPENSE,
    Side.ADJUSTMENT: ADJUSTMENT,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind of entry. ``scope``: within which its reference counts once (usually its own name)."""

    debit: Side
    credit: Side
    operation: Operation
    op: int  # JOURNAL_FUNDING …
    topic: str = ""  # what the outlet is told
    max_fen: int = AMOUNT_MAX_FEN
    own: bool = False  # only money of its own leaves the float, no credit
    closing: bool = False  # only from an outlet that is being closed and has nothing held
    scope: str = ""
    reference: str = "reference"  # what people call it

    @property
    def of_outlet(self) -> bool:
        return self.debit in _OUTLETS or self.credit in _OUTLETS

    @property
    def of_operator(self) -> bool:
        return Side.STOCK in (self.debit, self.credit)


_S, _O = Side, Operation
ENTRIES: Final[dict[str, Entry]] = {
    # what               debit          credit         as                journal op         told
    FUNDING: Entry(_S.BANK, _S.FLOAT, _O.FUNDING, JOURNAL_FUNDING, "outlet.funded", reference="bank slip"),
    "adjust-up": Entry(_S.ADJUSTMENT, _S.FLOAT, _O.ADJUSTMENT, JOURNAL_ADJUST, "outlet.adjusted"),
    "adjust-down": Entry(_S.FLOAT, _S.ADJUSTMENT, _O.ADJUSTMENT, JOURNAL_ADJUST, "outlet.adjusted"),
    "withdrawal": Entry(
        _S.FLOAT,
        _S.BANK,
        _O.WITHDRAWAL,
        JOURNAL_WITHDRAW,
        "outlet.withdrawn",
        own=True,
        closing=True,
        reference="bank slip",
    ),
    "deposit-in": Entry(_S.FLOAT, _S.DEPOSIT, _O.DEPOSIT, JOURNAL_DEPOSIT, "outlet.deposit", own=True),
    "deposit-out": Entry(_S.DEPOSIT, _S.FLOAT, _O.DEPOSIT, JOURNAL_DEPOSIT, "outlet.deposit"),
    "payout": Entry(_S.EXPENSE, _S.COMMISSION, _O.PAYOUT, JOURNAL_PAYOUT, "outlet.payout"),
    "commission-out": Entry(
        _S.COMMISSION, _S.FLOAT, _O.COMMISSION, JOURNAL_TRANSFER, "outlet.commission", closing=True
    ),
    "stock": Entry(_S.STOCK, _S.BANK, _O.STOCK, JOURNAL_STOCK, reference="bank slip"),
    "suspense-in": Entry(
        _S.BANK, _S.SUSPENSE, _O.FUNDING, JOURNAL_FUNDING, scope=FUNDING, reference="bank slip"
    ),
    "suspense-out": Entry(
        _S.SUSPENSE, _S.FLOAT, _O.FUNDING, JOURNAL_FUNDING, "outlet.funded", scope="suspense"
    ),
    "suspense-refund": Entry(_S.SUSPENSE, _S.BANK, _O.WITHDRAWAL, JOURNAL_WITHDRAW, scope="suspense"),
    "suspense-stock": Entry(_S.SUSPENSE, _S.STOCK, _O.ADJUSTMENT, JOURNAL_ADJUST),
}
"""What people may enter. Credit lines move no money: ``ledger.credit``."""


@dataclass(frozen=True, slots=True)
class Enter:
    """A second person's word on a request: booked, or declined with a note.

    Result: the Receipt (SETTLED, fresh), a CreditLine, Declined, or a text that says why not: no such request
    waits, one person alone, a reference used before, not so much money there.
    """

    request_id: int
    checker: str
    decline: str = ""  # why not; "" = confirm
    only: str = ""  # the kind of request it must be; "" = any
    service: str = "0353910"  # the number the outlet's notice comes from


@dataclass(frozen=True, slots=True)
class Declined:
    """The request is at its end; nothing has moved."""

    request_id: int
    what: str


def account_of(side: Side, payload: dict[str, Any]) -> int:
    """The account a side means: a system's, an operator's stock, or one of the outlet with that float."""
    if side in _SYSTEM:
        return _SYSTEM[side]
    if side is Side.STOCK:
        return int(payload["operator"])
    float_id = int(payload["account"])
    own = {
        Side.FLOAT: float_id,
        Side.COMMISSION: commission_account(float_id),
        Side.DEPOSIT: deposit_account(float_id),
    }
    return own[side]


def enter(page: Page, command: Enter) -> Receipt | CreditLine | Declined | str:
    """Decide a request that waits."""
    kinds = (command.only,) if command.only else (*ENTRIES, CREDIT, BATCH, BANK)
    request = waiting_request(page, command.request_id, command.checker, kinds)
    if isinstance(request, str):
        return request
    if command.decline:
        return _decline(page, command, request)
    if request.what in (BATCH, BANK):
        return f"request {request.id} is a file: who confirms it must bring it"
    if request.what == CREDIT:
        return _set_credit(page, command, request)
    return _book(page, command, request, ENTRIES[request.what])


def _decline(page: Page, command: Enter, request: RequestRow) -> Declined:
    values = {
        "state": 2,
        "checker": command.checker,
        "checked_ms": page.now_ms,
        "note": command.decline[:200],
    }
    page.changes.rare.append(RowChange("change_request", values, {"id": request.id, "state": 0}))
    request.state = 2
    _audit(page, command, request, "decline", note=command.decline[:200])
    return Declined(request.id, request.what)


def _set_credit(page: Page, command: Enter, request: RequestRow) -> CreditLine | str:
    outlet = page.rows.accounts.get(request.payload["account"])
    if outlet is None or outlet.status == OUTLET_CLOSED:
        return "that outlet does not exist"
    if request.payload["limit_fen"] and request.payload["until_ms"] <= page.now_ms:
        return "that credit line has ended already"
    line = set_credit(page, outlet, request.payload["limit_fen"], request.payload["until_ms"], request.maker)
    _approve(page, command, request, 0)
    facts = {"amount_fen": line.limit_fen, "at_ms": page.now_ms, "outlet": outlet.code}
    _tell(page, command, outlet, 0, "outlet.credit", {**facts, "until_ms": line.until_ms})
    return line


def _book(page: Page, command: Enter, request: RequestRow, entry: Entry) -> Receipt | str:
    payload = request.payload
    amount_fen, mark = payload["amount_fen"], payload["slip"]
    outlet = page.rows.accounts.get(payload.get("account", 0))
    key = Key(entry.scope or request.what, mark)
    objection = _objection(page, entry, outlet, amount_fen, payload)
    if (key.scope, key.mark) in page.rows.by_key:
        objection = f"{entry.reference} {mark} has been booked already"
    if objection:
        return objection
    debit, credit = account_of(entry.debit, payload), account_of(entry.credit, payload)
    home = outlet.float_id if outlet is not None and entry.of_outlet else _home(entry, payload)
    content = content_hash(entry.operation, str(home), amount_fen)
    row = new_row(
        page, entry.operation, key, content, home, amount_fen, operator_id=payload.get("operator", 0)
    )
    page.add_txn(row)
    facts = _move(page, entry, debit, credit, amount_fen)
    page.post(row, entry.op, debit, credit, amount_fen)
    _approve(page, command, request, row.id)
    if outlet is not None and entry.of_outlet:
        if entry.operation is Operation.FUNDING:
            join(page, outlet)
        facts |= {
            "order_id": row.id,
            "amount_fen": amount_fen,
            "at_ms": page.now_ms,
            "outlet": outlet.code,
        }
        _tell(page, command, outlet, row.id, entry.topic, facts)
    return page.receipt(row, fresh=True)


def _objection(
    page: Page, entry: Entry, outlet: OutletRow | None, amount_fen: int, payload: dict[str, Any]
) -> str:
    """What speaks against it now that it is to be booked; "" = nothing."""
    if not 0 < amount_fen <= entry.max_fen:
        return f"the amount must be more than nothing and at most {yuan_text(entry.max_fen)} yuan"
    if not entry.of_outlet:
        return ""
    if outlet is None:
        return "that outlet does not exist"
    if outlet.status == OUTLET_CLOSED:
        return f"outlet {outlet.code} is closed"
    if entry.closing and outlet.status != OUTLET_CLOSING:
        return f"outlet {outlet.code} is not being closed"
    if entry.closing and page.rows.balances[outlet.float_id].held:
        return f"outlet {outlet.code} has orders that are still open"
    if entry.debit not in _OUTLETS:
        return ""
    balance = page.rows.balances[account_of(entry.debit, payload)]
    free_fen = _free(balance, entry)
    if free_fen < amount_fen:
        return f"the {entry.debit.value} of {outlet.code} has only {yuan_text(free_fen)} yuan free"
    return ""


def _free(balance: BalanceRow, entry: Entry) -> int:
    """What may leave the account, in fen; never less than nothing."""
    own_fen = balance.posted - balance.held
    return max(min(own_fen, balance.available) if entry.own else balance.available, 0)


def _home(entry: Entry, payload: dict[str, Any]) -> int:
    """The account an order without an outlet belongs to: the one that is not the bank's."""
    side = entry.credit if entry.debit is Side.BANK else entry.debit
    return account_of(side, payload)


def _move(page: Page, entry: Entry, debit: int, credit: int, amount_fen: int) -> Facts:
    """Balances of the outlet's accounts; what the outlet is told is its float, where that moved."""
    told: dict[Side, Facts] = {}
    for side, account, moved_fen in (
        (entry.debit, debit, -amount_fen),
        (entry.credit, credit, amount_fen),
    ):
        if side in _OUTLETS:
            after_fen = page.credit(account, moved_fen).posted
            told[side] = {"before_fen": after_fen - moved_fen, "after_fen": after_fen}
    return told.get(Side.FLOAT) or next(iter(told.values()), {})


def _approve(page: Page, command: Enter, request: RequestRow, order_id: int) -> None:
    request.state = 1
    page.changes.requests.append((request.id, command.checker, order_id))
    _audit(page, command, request, "confirm")


def _audit(page: Page, command: Enter, request: RequestRow, done: str, **more: Any) -> None:
    payload = request.payload
    thing = str(payload.get("outlet") or payload.get("operator") or request.what)
    detail = {name: payload[name] for name in ("amount_fen", "limit_fen") if name in payload}
    page.audit(
        f"{request.what}.{done}",
        thing,
        command.checker,
        request=request.id,
        maker=request.maker,
        **detail,
        **more,
    )


def _tell(page: Page, command: Enter, outlet: OutletRow, order_id: int, topic: str, facts: Facts) -> None:
    recipient = page.rows.first_phones.get(outlet.id)
    if recipient and topic:
        page.notice(order_id, topic, recipient, command.service, outlet.language, facts)


def _needs(needs: Needs, command: Enter | Fund) -> None:
    needs.requests.add(command.request_id)


def _fund(page: Page, command: Fund) -> Receipt | CreditLine | Declined | str:
    """Funding alone."""
    return enter(page, Enter(command.request_id, command.checker, only=FUNDING, service=command.service))


RULES: Final = {Enter: Rule(_needs, enter), Fund: Rule(_needs, _fund)}
