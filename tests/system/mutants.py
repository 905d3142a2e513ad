"""Five bugs that lost money elsewhere, planted one at a time: the harness must see every one of them.

Each is honest: without kills, lost answers or redelivery (whichever it is about) the daemon still works.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from aircharge import daemon
from aircharge.errors import Reason
from aircharge.ledger import opening
from aircharge.ledger.commands import CloseRecharge
from aircharge.ledger.saving import Saver
from aircharge.ports import OperatorRequest
from aircharge.protocols.operator_link import OperatorLink
from aircharge.sms.door import SmsDoor
from aircharge.switch import recharge
from aircharge.switch.doubt import DoubtResolver
from aircharge.values import Key, State, Verdict

__all__ = ["MUTANTS", "Mutant", "plant_mutant"]


@dataclass(frozen=True)
class Mutant:
    """A bug, the operator's doubt mode it shows in, and what the audit must say about it."""

    plant: Callable[[], None]
    mode: str
    evidence: str
    points: tuple[str, ...] = ()  # where it is killed; all when empty


def send_first() -> None:
    """The operator is asked before the hold's commit: quick, and right as long as nobody dies in between."""
    save, ask, build = Saver.save, OperatorLink.recharge, daemon.AirchargeService._build
    asked: dict[str, Any] = {}
    service: list[Any] = []

    def building(self: Any) -> None:
        build(self)
        service.append(self)

    def ask_now(rows: list[Any], is_sent: threading.Event) -> None:
        for row in rows:
            request = OperatorRequest(row.op_ref, row.msisdn, row.amount, row.created_ms)
            asked[row.op_ref] = ask(service[0].links[0], request)
        service[0]._reactor.callLater(0.001, is_sent.set)

    def saving(self: Saver, txn: Any, changes: Any, now_ms: int) -> None:
        save(self, txn, changes, now_ms)
        held = [row for row in changes.new_txns if row.state == State.HELD]
        if held:
            is_sent = threading.Event()
            service[0]._reactor.callFromThread(ask_now, held, is_sent)
            is_sent.wait(2.0)

    def asking(self: OperatorLink, request: OperatorRequest) -> Any:
        return asked.pop(request.op_ref, None) or ask(self, request)

    daemon.AirchargeService._build = building  # type: ignore[method-assign]
    Saver.save = saving  # type: ignore[method-assign]
    OperatorLink.recharge = asking  # type: ignore[method-assign, assignment]


def void_on_timeout() -> None:
    """No answer in time is taken for a no: the float goes back."""
    ask = recharge.ask

    async def asking(board: Any, plan: Any, held: Any) -> CloseRecharge:
        command = await ask(board, plan, held)
        if command.verdict is Verdict.UNKNOWN:
            return replace(command, verdict=Verdict.NO, reason=Reason.OPERATOR_NO)
        return command

    recharge.ask = asking


def query_notfound_void() -> None:
    """A query's "not found" is taken for a no at once; the operator may still have the request in a queue."""
    heard = DoubtResolver._heard

    async def hearing(self: DoubtResolver, plan: Any, order: Any, answer: Any) -> None:
        if answer.code in plan.codes.not_found:
            await self._close(CloseRecharge(order.order_id, Verdict.NO, code=answer.code))
        else:
            await heard(self, plan, order, answer)

    DoubtResolver._heard = hearing  # type: ignore[method-assign]


def new_ref_per_retry() -> None:
    """Every try has a reference of its own, so the operator cannot see that it is the same recharge."""
    ask = DoubtResolver._ask

    async def asking(self: DoubtResolver, plan: Any, order: Any) -> None:
        new = f"R{order.attempts + 1}{order.op_ref[-20:]}"
        await ask(self, plan, replace(order, op_ref=new))

    DoubtResolver._ask = asking  # type: ignore[method-assign]


def no_replay_guard() -> None:
    """Every delivery is a new request: no key, no serial, no memory of what was meant."""
    begin, numbers = SmsDoor._begin, itertools.count(1)

    async def beginning(self: SmsDoor, order: Any, *, pin_needed: bool) -> None:
        mark = f"n{order.received_ms}.{next(numbers)}"
        asker = replace(order.asker, card=None)
        order = replace(order, key=Key(order.key.scope, mark), asker=asker, said=None)
        await begin(self, order, pin_needed=pin_needed)

    SmsDoor._begin = beginning  # type: ignore[method-assign]
    opening._intended_before = lambda page, order, outlet: {}


MUTANTS = {
    "send_first": Mutant(
        send_first, "resend", "which we never held", ("hold_uncommitted", "sent", "answer_unread", "anywhere")
    ),
    "void_on_timeout": Mutant(void_on_timeout, "resend", "is void, the operator credited"),
    "query_notfound_void": Mutant(query_notfound_void, "query", "is void, the operator credited"),
    "new_ref_per_retry": Mutant(new_ref_per_retry, "resend", "was credited 2 times"),
    "no_replay_guard": Mutant(no_replay_guard, "resend", "was credited 2 times"),
}


def plant_mutant(name: str) -> None:
    """Plant one in this process; "" plants none. Before the kill points, which then see the buggy flow."""
    if name:
        MUTANTS[name].plant()
