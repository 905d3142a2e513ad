"""Bugs that have lost money elsewhere, planted one at a time: the worlds' audit must see every one.

Each is honest: where nothing breaks and nobody attacks, the daemon still does what it should.
``python -m tests.world.mutants NAME``: seeds are tried until one catches it; exit code 0 when one did.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from twisted.internet.defer import Deferred, succeed

from aircharge.daemon import AirchargeService
from aircharge.errors import Reason
from aircharge.ledger import cancelling, closing, limits
from aircharge.ledger.book import RULES
from aircharge.ledger.page import Page
from aircharge.ledger.saving import Saver
from aircharge.ledger.sqlite import SqliteDialect
from aircharge.ports import OperatorRequest
from aircharge.pos import till
from aircharge.protocols.operator_link import OperatorLink
from aircharge.sms.door import SmsDoor
from aircharge.switch import recharge
from aircharge.switch.lease import LeaseKeeper
from aircharge.values import State, Verdict
from aircharge.world.loop import quiet
from aircharge.world.plan import make_plan
from aircharge.world.prove import base_of_worlds, run_plan
from tests.system import mutants as classic

__all__ = ["MUTANTS", "Mutant", "hunt"]


@dataclass(frozen=True)
class Mutant:
    """A bug. ``seeds_max``: in how many worlds it must be caught; ``mode``: the doubt mode it shows in, "" = any;
    ``evidence``: words of the audit's that name it, one of them."""

    plant: Callable[[], None]
    seeds_max: int
    evidence: tuple[str, ...]
    mode: str = ""


def a_minutes_memory() -> None:
    """As at 515f26d: the same words are known for 60 seconds, and then only where the first is live."""
    said = SmsDoor._said

    def saying(self: SmsDoor, *what: Any) -> Any:
        return replace(said(self, *what), window_ms=60_000)

    SmsDoor._said = saying  # type: ignore[method-assign]


def send_first() -> None:
    """The operator is asked before the hold's commit."""
    save, ask, build = Saver.save, OperatorLink.recharge, AirchargeService._build
    asked: dict[str, Any] = {}
    service: list[Any] = []

    def building(self: Any) -> None:
        build(self)
        service[:] = [self]
        asked.clear()

    def saving(self: Saver, txn: Any, changes: Any, now_ms: int) -> None:
        save(self, txn, changes, now_ms)
        link = service[0].links[0]
        for row in changes.new_txns:
            if row.state == State.HELD and link.ready():
                request = OperatorRequest(row.op_ref, row.msisdn, row.amount, row.created_ms)
                asked[row.op_ref] = Deferred.fromCoroutine(_awaited(ask(link, request)))
                asked[row.op_ref].addErrback(lambda failure: failure)

    def asking(self: OperatorLink, request: OperatorRequest) -> Any:
        return asked.pop(request.op_ref, None) or ask(self, request)

    AirchargeService._build = building  # type: ignore[method-assign]
    Saver.save = saving  # type: ignore[method-assign]
    OperatorLink.recharge = asking  # type: ignore[method-assign, assignment]


async def _awaited(answer: Any) -> Any:
    return await answer


def replay_before_mac() -> None:
    """Whether a packet has come before is looked at before its checksum: a forgery burns the original."""
    opens = SmsDoor._open
    seen: set[tuple[str, bytes]] = set()

    async def opening(self: SmsDoor, phone: str, packet: bytes) -> Any:
        mark = (phone, packet[:24])
        if mark in seen:
            return None
        seen.add(mark)
        return await opens(self, phone, packet)

    SmsDoor._open = opening  # type: ignore[method-assign]


def lock_in_memory() -> None:
    """Wrong PINs are counted in the process: a restart forgets them."""
    build, check, wrong = AirchargeService._build, Page.check_pin, Page._wrong_pin
    counts: dict[int, tuple[int, int]] = {}

    def building(self: Any) -> None:
        counts.clear()
        build(self)

    def checking(self: Page, outlet: Any, pin: Any, **how: Any) -> Any:
        row = self.rows.credentials.get(outlet.id)
        if row is not None and outlet.id in counts:
            row.fails, row.locked_until_ms = counts[outlet.id]
        return check(self, outlet, pin, **how)

    def failing(self: Page, outlet: Any, row: Any, *, counts: bool) -> Any:
        told = wrong(self, outlet, row, counts=counts)
        self.changes.credentials.pop(outlet.id, None)
        remembered[outlet.id] = (row.fails, row.locked_until_ms)
        return told

    remembered = counts
    AirchargeService._build = building  # type: ignore[method-assign]
    Page.check_pin = checking  # type: ignore[method-assign]
    Page._wrong_pin = failing  # type: ignore[method-assign]


def outbox_after_commit() -> None:
    """Notices are written after the commit that makes them true: with the next one."""
    save, build = Saver.save, AirchargeService._build
    late: list[Any] = []

    def building(self: Any) -> None:
        late.clear()
        build(self)

    def saving(self: Saver, txn: Any, changes: Any, now_ms: int) -> None:
        changes.notices, late[:] = list(late), changes.notices
        save(self, txn, changes, now_ms)

    AirchargeService._build = building  # type: ignore[method-assign]
    Saver.save = saving  # type: ignore[method-assign]


def settle_without_guard() -> None:
    """A yes settles, whatever the order's state is."""
    for state in (State.SETTLED, State.VOIDED):
        closing.ANSWERS[state, Verdict.YES] = closing.Step.SETTLE


def adopt_without_fencing() -> None:
    """Whoever was taken for dead goes on writing when he wakes."""
    SqliteDialect.enter = staticmethod(lambda txn, tenure, *, alone: None)  # type: ignore[method-assign]
    LeaseKeeper.is_fresh = lambda self: True  # type: ignore[method-assign]
    LeaseKeeper._lose = lambda self, error: None  # type: ignore[method-assign]


def limit_released_twice() -> None:
    """A void gives the limit back two times."""
    release = limits.release

    def releasing(page: Any, row: Any, outlet: Any) -> None:
        release(page, row, outlet)
        release(page, row, outlet)

    limits.release = releasing


def reversal_on_timeout() -> None:
    """A reversal that is not answered is taken for done: the float is given back."""
    ask = recharge.ask

    async def asking(board: Any, plan: Any, held: Any) -> Any:
        command = await ask(board, plan, held)
        if held.original_ref and command.verdict is Verdict.UNKNOWN:
            return replace(command, verdict=Verdict.YES, reason=Reason.OK)
        return command

    recharge.ask = asking


def accept_from_cache() -> None:
    """A message is acknowledged when it has been read, not when it is durable."""
    answer = SmsDoor.answer

    def answering(self: SmsDoor, message: Any, peer: Any) -> Any:
        Deferred.fromCoroutine(answer(self, message, peer)).addErrback(lambda _: None)
        return succeed(0)

    SmsDoor.answer = answering  # type: ignore[method-assign, assignment]


def early_reversal_forgotten() -> None:
    """A reversal that overtakes its sale is answered yes and forgotten: the sale that comes then is sold."""
    remember = cancelling._remember

    def remembering(page: Page, *rest: Any) -> Any:
        row = remember(page, *rest)
        page.changes.new_txns.remove(row)
        return row

    cancelling._remember = remembering


def wish_in_memory() -> None:
    """A terminal's reversal is answered yes before it is written down: nobody fulfils it."""
    decide = cancelling.cancel_sale

    def deciding(page: Page, command: Any) -> Any:
        rows = len(page.changes.rare)
        receipt = decide(page, command)
        del page.changes.rare[rows:]
        return receipt

    rule = replace(RULES[cancelling.CancelSale], decide=deciding)
    RULES[cancelling.CancelSale] = rule


def reversal_of_what_was_heard() -> None:
    """An automatic reversal is granted whatever the terminal has done since (T1 of 2026-11-30)."""
    till.went_on = lambda *asked: cancelling.WentOn.NOT  # type: ignore[assignment]


_MONEY = ("the operator has credited", "executed", "fen for", "requests")
MUTANTS: dict[str, Mutant] = {
    "send_first": Mutant(send_first, 40, _MONEY),
    "void_on_timeout": Mutant(classic.void_on_timeout, 5, _MONEY),
    "void_on_not_found": Mutant(classic.query_notfound_void, 20, _MONEY, "query"),
    "new_reference_per_retry": Mutant(classic.new_ref_per_retry, 5, _MONEY, "resend"),
    "a_minutes_memory": Mutant(a_minutes_memory, 25, _MONEY),
    "no_replay_guard": Mutant(classic.no_replay_guard, 5, _MONEY),
    "replay_before_mac": Mutant(replay_before_mac, 10, ("is in no book",)),
    "lock_in_memory": Mutant(lock_in_memory, 30, ("let through a lock",)),
    "outbox_after_commit": Mutant(outbox_after_commit, 20, ("is told nothing",)),
    "settle_without_guard": Mutant(settle_without_guard, 20, (*_MONEY, "journal", "posted", "last guard")),
    "adopt_without_fencing": Mutant(adopt_without_fencing, 20, ("under a lease",)),
    "limit_released_twice": Mutant(limit_released_twice, 30, ("recharges of W3 in a day", "counter")),
    "reversal_on_timeout": Mutant(reversal_on_timeout, 20, _MONEY),
    "accept_from_cache": Mutant(accept_from_cache, 30, ("is in no book",)),
    "early_reversal_forgotten": Mutant(early_reversal_forgotten, 60, ("taken back and stands",)),
    "reversal_of_what_was_heard": Mutant(reversal_of_what_was_heard, 80, ("approved and is taken back",)),
    "wish_in_memory": Mutant(wish_in_memory, 20, ("taken back and stands",)),
}


def hunt(name: str, first: int = 1) -> tuple[int, int, list[str]]:
    """Plant it in this process and run worlds; (seed that caught it or 0, worlds tried, what the audit said)."""
    mutant = MUTANTS[name]
    quiet()
    seeds = (
        seed for seed in itertools.count(first) if make_plan(seed).mode == mutant.mode or not mutant.mode
    )
    tried = list(itertools.islice(seeds, mutant.seeds_max))
    with base_of_worlds() as base:
        mutant.plant()
        for number, seed in enumerate(tried, 1):
            problems = run_plan(base, make_plan(seed)).problems
            named = [problem for problem in problems if any(words in problem for words in mutant.evidence)]
            if named:
                return seed, number, named
    return 0, len(tried), []


def main() -> int:
    names = sys.argv[1:] or list(MUTANTS)
    code = 0
    for name in names:
        seed, tried, problems = hunt(name)
        sys.stdout.write(f"{name}: {f'caught by seed {seed}' if seed else 'NOT CAUGHT'} in {tried} worlds\n")
        for problem in problems[:2]:
            sys.stdout.write(f"  {problem[:200]}\n")
        code = code or not seed
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
