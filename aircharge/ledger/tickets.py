"""Deposit tickets (预存单): an outlet announces a payment and is told the sum by which the bank's line is known. Pure.

The sum is what was asked and 1 to 99 fen more, and nobody else waits for it. A line of the bank with that sum
credits the float by itself; any other money goes to suspense, with an item for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from aircharge.errors import Reason
from aircharge.ledger import limits
from aircharge.ledger.asked import waiting_request
from aircharge.ledger.chart import (
    BANK_CLEARING,
    JOURNAL_FUNDING,
    OUTLET_CLOSED,
    SUSPENSE,
    TICKET_EXPIRED,
    TICKET_PAID,
    TICKET_WAITING,
)
from aircharge.ledger.cutoff import local_date
from aircharge.ledger.entries import BANK, FUNDING
from aircharge.ledger.inhouse import Refused, Told, Verb, carry_out, new_row, wish_needs
from aircharge.ledger.page import Facts, Page
from aircharge.ledger.repeating import keys_of
from aircharge.ledger.rows import Charge, Needs, OutletRow, ReconItem, RequestRow, RowChange, TxnRow
from aircharge.ledger.rule import Rule
from aircharge.values import (
    AMOUNT_MAX_FEN,
    Asker,
    Channel,
    Key,
    Operation,
    Receipt,
    Said,
    content_hash,
)

__all__ = [
    "EXTRA_MAX_FEN",
    "NOBODYS_MONEY",
    "RULES",
    "TICKET",
    "AskTicket",
    "BankFileDone",
    "ExpireTicket",
    "PayTicket",
]

EXTRA_MAX_FEN: Final = 99
NOBODYS_MONEY: Final = 4
"""Kind of reconciliation item: bank money that no ticket waits for; it lies in suspense."""
_YUAN: Final = 100
_MINUTE_MS: Final = 60_000  # a bank tells its times in whole minutes
_CHINA_MIN: Final = 480  # banks' days are China's, whatever the house's calendar
_KEY_MAX: Final = 55  # with "@yyyymmdd" it is a key of 64 characters
_TABLE: Final = "deposit_ticket"


@dataclass(frozen=True, slots=True)
class AskTicket:
    """Announce a payment. ``sums``: exact sums the switch found free; the first that still is becomes the ticket's.

    Result: the Receipt; ``cost_fen`` is the exact sum. Refused with BUSY when none of the sums is free, with
    LIMIT_COUNT when as many tickets of the outlet wait already (``waiting_n``) as may.
    """

    channel: Channel
    key: Key
    asker: Asker
    amount_fen: int
    sums: tuple[int, ...]
    received_ms: int
    sent_ms: int | None = None
    said: Said | None = None
    earlier: Key | None = None
    target: str = ""
    waiting_n: int = 0


@dataclass(frozen=True, slots=True)
class PayTicket:
    """A line of the bank: so much came in. ``code``: the outlet whose ticket has that sum, "" = nobody's.

    Result: the Receipt of the funding (an outlet's, or with outlet 0 the one that lies in suspense); a text when the
    bank's key came with another sum before, or when a ticket of another outlet has appeared: look again.
    """

    bank_key: str
    exact_fen: int
    at_ms: int  # when it was paid
    code: str = ""
    request_id: int = 0  # a line of this request's file, confirmed by ``actor``; 0: the bank's own word
    file: str = ""  # SHA-256 of that file, hex
    actor: str = ""
    service: str = "0353910"

    @property
    def day(self) -> str:
        """The bank's day, yyyymmdd in China: a reference counts once on each."""
        return str(local_date(self.at_ms, _CHINA_MIN))


@dataclass(frozen=True, slots=True)
class BankFileDone:
    """Every line of a bank's file is booked. Result: True, or a text that says why the request cannot end."""

    request_id: int
    file: str
    actor: str


@dataclass(frozen=True, slots=True)
class ExpireTicket:
    """Let a ticket go that nobody has paid. Result: whether it has expired now."""

    ticket_id: int
    code: str
    service: str = "0353910"


# -- asking -----------------------------------------------------------------------------------------------


def _content(command: AskTicket) -> bytes:
    return content_hash(Operation.TICKET, "", command.amount_fen)


def _charge(command: AskTicket) -> Charge:
    return Charge(command.asker.phone, int(Operation.TICKET))


def _ask_needs(needs: Needs, command: AskTicket) -> None:
    wish_needs(needs, command)
    needs.charges.add(_charge(command))
    sums = (exact_fen for exact_fen in command.sums if 0 < exact_fen <= AMOUNT_MAX_FEN)
    needs.wanted.update((_TABLE, "exact_fen", exact_fen) for exact_fen in sums)


def _ask(page: Page, command: AskTicket, outlet: OutletRow) -> Told | Refused:
    amount_fen = command.amount_fen
    if not 0 < amount_fen <= AMOUNT_MAX_FEN - EXTRA_MAX_FEN or amount_fen % _YUAN:
        return Refused(Reason.AMOUNT, {})  # fen tell tickets apart: who asked for them could take a round sum
    reason, facts = limits.check(page, outlet, _charge(command), amount_fen)
    if reason is not Reason.OK:
        return Refused(reason, facts)
    exact_fen, ticket = _choose(page, command, outlet)
    if not exact_fen:
        return Refused(Reason.BUSY, {"ticket_fen": amount_fen})
    if ticket is None and command.waiting_n >= page.settings.tickets_max:
        return Refused(Reason.LIMIT_COUNT, {"tickets_n": command.waiting_n})
    row = _row(page, command, outlet)
    row.cost = exact_fen
    page.add_txn(row)
    limits.count(page, outlet, row, _charge(command))
    if ticket is None:
        ticket = _new_ticket(page, row, outlet, exact_fen)
    return Told(row, _ticket_facts(page, ticket, outlet))


def _choose(page: Page, command: AskTicket, outlet: OutletRow) -> tuple[int, dict[str, Any] | None]:
    """The sum, and the outlet's own ticket if one over that amount still waits; (0, None) when all are taken."""
    for exact_fen in command.sums:
        if not 0 < exact_fen - command.amount_fen <= EXTRA_MAX_FEN:
            continue
        waiting = _waiting(page, exact_fen)
        if waiting is None:
            return exact_fen, None
        is_own = waiting["outlet_id"] == outlet.id and waiting["asked_fen"] == command.amount_fen
        if is_own and page.now_ms < waiting["until_ms"]:
            return exact_fen, waiting
    return 0, None


def _waiting(page: Page, exact_fen: int) -> dict[str, Any] | None:
    found = page.rows.found.get((_TABLE, "exact_fen", exact_fen), [])
    return next((ticket for ticket in found if ticket["state"] == TICKET_WAITING), None)


def _row(page: Page, command: AskTicket, outlet: OutletRow) -> TxnRow:
    return new_row(
        page,
        Operation.TICKET,
        keys_of(command)[0],
        _content(command),
        outlet.float_id,
        command.amount_fen,
        channel=command.channel,
        asker=command.asker.phone,
        service=command.asker.service,
    )


def _new_ticket(page: Page, row: TxnRow, outlet: OutletRow, exact_fen: int) -> dict[str, Any]:
    ticket = {
        "id": row.id,
        "outlet_id": outlet.id,
        "idem_scope": row.idem_scope,
        "idem_key": row.idem_key,
        "asked_fen": row.amount,
        "exact_fen": exact_fen,
        "state": TICKET_WAITING,
        "made_ms": page.now_ms,
        "until_ms": page.now_ms + page.settings.ticket_ttl_ms,
    }
    page.changes.rare.append(RowChange(_TABLE, dict(ticket)))
    page.rows.found.setdefault((_TABLE, "exact_fen", exact_fen), []).append(ticket)
    return ticket


def _ticket_facts(page: Page, ticket: dict[str, Any], outlet: OutletRow) -> Facts:
    return {
        "amount_fen": ticket["asked_fen"],
        "exact_fen": ticket["exact_fen"],
        "until_ms": ticket["until_ms"],
        "at_ms": page.now_ms,
        "outlet": outlet.code,
    }


# -- paying -----------------------------------------------------------------------------------------------


def _pay_needs(needs: Needs, command: PayTicket) -> None:
    if command.request_id:
        needs.requests.add(command.request_id)
    needs.keys.update((FUNDING, mark) for mark in (command.bank_key, _dated(command)))
    if 0 < command.exact_fen <= AMOUNT_MAX_FEN:
        needs.wanted.add((_TABLE, "exact_fen", command.exact_fen))
    if command.code:
        needs.codes.add(command.code)


def pay_ticket(page: Page, command: PayTicket) -> Receipt | str:
    """Book what the bank says came in, once."""
    if command.request_id and isinstance(request := _bank_request(page, command), str):
        return request
    if not 0 < command.exact_fen <= AMOUNT_MAX_FEN:
        return "the amount must be more than nothing and at most 100 million yuan"
    if not 0 < len(command.bank_key) <= _KEY_MAX:
        return "the bank's number is missing or too long"
    known = _known(page, command)
    if isinstance(known, TxnRow):
        return page.receipt(known, fresh=False)
    if isinstance(known, str):
        return known
    ticket = _waiting(page, command.exact_fen)
    if ticket is None or not ticket["made_ms"] - _MINUTE_MS < command.at_ms <= ticket["until_ms"]:
        return _to_suspense(page, command)  # paid before it was asked for, or too late: not for this ticket
    outlet = page.rows.codes.get(command.code)
    if outlet is None or outlet.id != ticket["outlet_id"]:
        return "look again: a ticket of another outlet has that sum"
    if outlet.status == OUTLET_CLOSED:
        return _to_suspense(page, command)
    return _to_float(page, command, ticket, outlet)


def _dated(command: PayTicket) -> str:
    """The key of a line whose reference the bank has used on an earlier day."""
    return f"{command.bank_key}@{command.day}"


def _known(page: Page, command: PayTicket) -> TxnRow | str | None:
    """The row of this very line, why it cannot be booked, or None: it has not come yet.

    A bank begins its references anew: one of another day is another payment. The same day with another sum or another
    time is a contradiction. A slip that was booked by hand has no time: there the sum alone speaks.
    """
    by_key = page.rows.by_key
    row = by_key.get((FUNDING, command.bank_key))
    if row is not None and row.op_serial and row.op_serial.partition(" ")[0] != command.day:
        row = by_key.get((FUNDING, _dated(command)))
    if row is None:
        return None
    at_ms = (row.op_serial or "").partition(" ")[2]
    if row.amount == command.exact_fen and at_ms in ("", str(command.at_ms)):
        return row
    other = "time" if row.amount == command.exact_fen else "sum"
    page.audit("alarm.clash", f"order {row.id}", amount_fen=command.exact_fen, line=command.bank_key)
    return f"bank line {command.bank_key} came before with another {other}"


def _bank_request(page: Page, command: PayTicket | BankFileDone) -> RequestRow | str:
    request = waiting_request(page, command.request_id, command.actor, (BANK,))
    if isinstance(request, RequestRow) and request.payload["file"] != command.file:
        return f"this is not the file of request {request.id}"
    return request


def bank_file_done(page: Page, command: BankFileDone) -> bool | str:
    request = _bank_request(page, command)
    if isinstance(request, str):
        return request
    request.state = 1
    page.changes.requests.append((request.id, command.actor, 0))
    page.audit("bank.confirm", f"request {request.id}", command.actor, maker=request.maker, **request.payload)
    return True


def _to_float(page: Page, command: PayTicket, ticket: dict[str, Any], outlet: OutletRow) -> Receipt:
    row = _funding(page, command, outlet.float_id)
    before_fen = page.rows.balances[outlet.float_id].posted
    page.credit(outlet.float_id, row.amount)
    _end(page, ticket, TICKET_PAID, txn_id=row.id)
    facts = {
        "order_id": row.id,
        "amount_fen": row.amount,
        "before_fen": before_fen,
        "after_fen": before_fen + row.amount,
        "at_ms": page.now_ms,
        "outlet": outlet.code,
    }
    phone = page.rows.first_phones.get(outlet.id)
    if phone:
        page.notice(row.id, "outlet.funded", phone, command.service, outlet.language, facts)
    return page.receipt(row, fresh=True)


def _to_suspense(page: Page, command: PayTicket) -> Receipt:
    row = _funding(page, command, SUSPENSE)
    page.changes.recon.append(ReconItem(f"bank {row.id}", NOBODYS_MONEY, 0, row.amount, row.id))
    page.audit("alarm.nobodys-money", f"order {row.id}", amount_fen=row.amount, line=command.bank_key)
    return page.receipt(row, fresh=True)


def _funding(page: Page, command: PayTicket, account: int) -> TxnRow:
    content = content_hash(Operation.FUNDING, str(account), command.exact_fen)
    is_first = (FUNDING, command.bank_key) not in page.rows.by_key
    key = Key(FUNDING, command.bank_key if is_first else _dated(command))
    row = new_row(page, Operation.FUNDING, key, content, account, command.exact_fen, channel=Channel.API)
    row.op_serial = f"{command.day} {command.at_ms}"  # when the bank says it was paid
    page.add_txn(row)
    page.post(row, JOURNAL_FUNDING, BANK_CLEARING, account, row.amount)
    if command.request_id:
        page.audit("bank.line", f"order {row.id}", command.actor, request=command.request_id)
    return row


# -- expiring ---------------------------------------------------------------------------------------------


def _expire_needs(needs: Needs, command: ExpireTicket) -> None:
    needs.wanted.add((_TABLE, "id", command.ticket_id))
    needs.codes.add(command.code)


def expire_ticket(page: Page, command: ExpireTicket) -> bool:
    """After its time and a while for bank lines that are late; its sum is free again."""
    ticket = next(iter(page.rows.found.get((_TABLE, "id", command.ticket_id), [])), None)
    if ticket is None or ticket["state"] != TICKET_WAITING:
        return False
    if page.now_ms <= ticket["until_ms"] + page.settings.ticket_grace_ms:
        return False
    _end(page, ticket, TICKET_EXPIRED)
    outlet = page.rows.codes.get(command.code)
    phone = page.rows.first_phones.get(outlet.id) if outlet else None
    if outlet and phone:
        facts = _ticket_facts(page, ticket, outlet)
        page.notice(0, "outlet.ticket-expired", phone, command.service, outlet.language, facts)
    return True


def _end(page: Page, ticket: dict[str, Any], state: int, **more: Any) -> None:
    """A ticket ends once; every picture of it on this page shows that."""
    values = {"state": state, **more}
    page.changes.rare.append(RowChange(_TABLE, values, {"id": ticket["id"], "state": TICKET_WAITING}))
    for (table, _, _), rows in page.rows.found.items():
        for row in rows:
            if table == _TABLE and row["id"] == ticket["id"]:
                row.update(values)


TICKET: Final = Verb("outlet.ticket", _content, _ask, _row, pin_always=False)

RULES: Final = {
    AskTicket: Rule(_ask_needs, lambda page, command: carry_out(page, TICKET, command)),
    PayTicket: Rule(_pay_needs, pay_ticket),
    BankFileDone: Rule(lambda needs, command: needs.requests.add(command.request_id), bank_file_done),
    ExpireTicket: Rule(_expire_needs, expire_ticket),
}
