"""What an outlet may ask for itself, ordered on its behalf by two people of the staff. Pure.

The two names stand where the outlet's PIN would; standing, rules, limits and money are the same as over its phone.
The request is ``outlets.requests``'s; order and request change in one commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from aircharge.errors import Reason
from aircharge.ledger.asked import waiting_request
from aircharge.ledger.chart import OUTLET_ACTIVE
from aircharge.ledger.inhouse import Refused, Verb
from aircharge.ledger.page import Page
from aircharge.ledger.repeating import known
from aircharge.ledger.rows import Needs
from aircharge.ledger.rule import Rule
from aircharge.ledger.tickets import RULES as TICKET_RULES
from aircharge.ledger.tickets import TICKET, AskTicket
from aircharge.ledger.transferring import RULES as TRANSFER_RULES
from aircharge.ledger.transferring import TRANSFER, Transfer
from aircharge.values import Key, Receipt

__all__ = ["ON_BEHALF", "RULES", "OrderFor", "key_for"]

ON_BEHALF: Final[dict[str, Verb]] = {"transfer": TRANSFER, "ticket": TICKET}
"""Kinds of requests: {"outlet", "to", "amount_fen", "reference"}; a ticket has no "to"."""

_WISHES: Final = {**TRANSFER_RULES, **TICKET_RULES}


@dataclass(frozen=True, slots=True)
class OrderFor:
    """The second person confirms. ``wish`` says what the request says, so that all it needs is at hand.

    Result: the order's Receipt, or a text that says why not; the request still waits then and nothing has changed.
    """

    request_id: int
    checker: str
    wish: Transfer | AskTicket


def key_for(what: str, reference: str) -> Key:
    """A reference counts once for each kind."""
    return Key(f"desk:{what}", reference)


def order_for(page: Page, command: OrderFor) -> Receipt | str:
    """Book it as the outlet itself could."""
    request = waiting_request(page, command.request_id, command.checker, ON_BEHALF)
    if isinstance(request, str):
        return request
    wish = command.wish
    outlet, _ = page.outlet_of(wish.asker.phone)
    if outlet is None or request.payload != _words(request.what, outlet.code, wish):
        return f"request {request.id} is about something else"
    if known(page, wish) is not None:
        return f"reference {wish.key.mark} has been used already"
    if outlet.status != OUTLET_ACTIVE:
        return f"refused ({Reason.OUTLET.code} {Reason.OUTLET.name}): outlet {outlet.code} is not active"
    verb = ON_BEHALF[request.what]
    done = verb.book(page, wish, outlet)
    if isinstance(done, Refused):
        return f"refused ({done.reason.code} {done.reason.name})"
    page.notice(done.row.id, verb.topic, wish.asker.phone, wish.asker.service, outlet.language, done.facts)
    request.state = 1
    page.changes.requests.append((request.id, command.checker, done.row.id))
    names = {"request": request.id, "maker": request.maker, "order": done.row.id}
    page.audit(f"{request.what}.confirm", outlet.code, command.checker, **names, **request.payload)
    return page.receipt(done.row, fresh=True)


def _words(what: str, code: str, wish: Transfer | AskTicket) -> dict[str, Any]:
    """The payload of the request that asks for this."""
    to = {"to": wish.to_code} if isinstance(wish, Transfer) else {}
    is_its = wish.key == key_for(what, wish.key.mark)
    words = {"outlet": code, "amount_fen": wish.amount_fen, "reference": wish.key.mark, **to}
    return words if is_its else {}


def _needs(needs: Needs, command: OrderFor) -> None:
    needs.requests.add(command.request_id)
    _WISHES[type(command.wish)].needs(needs, command.wish)


RULES: Final = {OrderFor: Rule(_needs, order_for)}
