"""Orders decided by two people: a doubt by evidence from outside, a parked order that may go on. Pure.

The request is ``outlets.requests``'s; order and request change in one commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aircharge.ledger.asked import waiting_request
from aircharge.ledger.closing import close_recharge
from aircharge.ledger.commands import CloseRecharge
from aircharge.ledger.page import Page
from aircharge.ledger.parking import Release, release
from aircharge.ledger.returning import UndoTransfer, undo_transfer
from aircharge.ledger.rows import Needs, RequestRow
from aircharge.ledger.rule import Rule
from aircharge.values import Operation, Receipt, State, Verdict

__all__ = ["ABOUT_ORDERS", "RELEASE", "RULES", "RULING", "UNDO", "RuleOrder", "rule"]

RULING, RELEASE, UNDO = "ruling", "release", "undo-transfer"
"""Kinds of requests: {"order", "executed", "evidence"} and {"order"}."""
ABOUT_ORDERS: Final = (RULING, RELEASE, UNDO)

_DOUBTFUL: Final = (State.HELD, State.SENT, State.IN_DOUBT, State.MANUAL)


@dataclass(frozen=True, slots=True)
class RuleOrder:
    """The second person confirms. ``order_id`` repeats the request's own, so that the order is at hand.

    Result: the order's Receipt, or a text that says why not; the request still waits then.
    """

    request_id: int
    order_id: int
    checker: str


def rule(page: Page, command: RuleOrder) -> Receipt | str:
    """Settle or void a doubt, or let a parked order go."""
    request = waiting_request(page, command.request_id, command.checker, _RULES)
    if isinstance(request, str):
        return request
    if request.payload["order"] != command.order_id:
        return f"request {request.id} is about another order"
    names = f"{request.maker}+{command.checker}"
    result = _RULES[request.what](page, request, names)
    if isinstance(result, Receipt):
        request.state = 1
        page.changes.requests.append((request.id, command.checker, command.order_id))
        page.audit(
            f"{request.what}.confirm",
            f"order {command.order_id}",
            command.checker,
            request=request.id,
            maker=request.maker,
            **{name: value for name, value in request.payload.items() if name != "order"},
        )
    return result


def _decide(page: Page, request: RequestRow, names: str) -> Receipt | str:
    order_id = request.payload["order"]
    row = page.rows.txns.get(order_id)
    if row is None or row.kind > Operation.REVERSAL:
        return f"no order {order_id} that an operator was asked about"
    if row.state not in _DOUBTFUL:
        return (
            f"order {order_id} is {State(row.state).name} already: nothing has changed; if the operator says otherwise,"
            " two people book the difference (docs/operations.md, an operator that contradicts itself)"
        )
    verdict = Verdict.YES if request.payload["executed"] else Verdict.NO
    return close_recharge(page, CloseRecharge(order_id, verdict, actor=names))


def _let_go(page: Page, request: RequestRow, names: str) -> Receipt | str:
    return release(page, Release(request.payload["order"], names))


def _take_back(page: Page, request: RequestRow, names: str) -> Receipt | str:
    return undo_transfer(page, UndoTransfer(request.payload["order"], names))


_RULES: Final = {RULING: _decide, RELEASE: _let_go, UNDO: _take_back}


def _needs(needs: Needs, command: RuleOrder) -> None:
    needs.requests.add(command.request_id)
    needs.orders.add(command.order_id)


RULES: Final = {RuleOrder: Rule(_needs, rule)}
