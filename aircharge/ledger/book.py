"""The book: a batch of commands and the rows they touch go in; one result each and the changed rows come out.

Pure and deterministic: no clock, no chance, no database. Later commands of a batch see the effects of earlier ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aircharge.ledger.asking import fund, inquire, notices_done, offence
from aircharge.ledger.closing import close_recharge, postpone
from aircharge.ledger.commands import (
    CloseRecharge,
    Command,
    Fund,
    Inquire,
    Offence,
    OpenRecharge,
    Postpone,
    Result,
)
from aircharge.ledger.opening import keys_of, open_recharge
from aircharge.ledger.page import BookSettings, BrokenLedger, Page, PinMac
from aircharge.ledger.rows import Changes, Needs, Rows
from aircharge.values import Asker

__all__ = ["Book", "BookSettings", "Decision"]


@dataclass(frozen=True, slots=True)
class Decision:
    """One result per command, in order, and everything to be written."""

    results: list[Result]
    changes: Changes


class Book:
    """The rules of money."""

    def __init__(self, settings: BookSettings, pin_mac: PinMac) -> None:
        self.settings = settings
        self._pin_mac = pin_mac

    def needs(self, commands: Sequence[Command]) -> Needs:
        """Which rows a batch touches."""
        needs = Needs()
        for command in commands:
            if isinstance(command, OpenRecharge):
                order = command.order
                _asker_needs(needs, order.asker)
                needs.keys.update((key.scope, key.mark) for key in keys_of(order))
                needs.intents.add((order.asker.phone, str(order.target)))
                needs.keys.add((order.key.scope, order.key.mark))
            elif isinstance(command, CloseRecharge | Postpone):
                needs.orders.add(command.order_id)
            elif isinstance(command, Inquire):
                _asker_needs(needs, command.asker)
                needs.usage.add(command.asker.phone)
            elif isinstance(command, Offence):
                _asker_needs(needs, command.asker)
                needs.offenders.add(command.asker.phone)
            elif isinstance(command, Fund):
                needs.requests.add(command.request_id)
        return needs

    def apply(self, commands: Sequence[Command], rows: Rows, now_ms: int, ids: Callable[[], int]) -> Decision:
        """Decide a batch. ``rows`` is changed and must not be used again."""
        page = Page(self.settings, self._pin_mac, rows, now_ms, ids)
        results = [_decide(page, command) for command in commands]
        _check(page)
        return Decision(results, page.changes)


def _asker_needs(needs: Needs, asker: Asker) -> None:
    needs.phones.add(asker.phone)
    if asker.card is not None:
        needs.cards.add(asker.card.card_id)
        needs.serials.add((asker.card.card_id, asker.card.serial))


def _decide(page: Page, command: Command) -> Result:
    if isinstance(command, OpenRecharge):
        return open_recharge(page, command)
    if isinstance(command, CloseRecharge):
        return close_recharge(page, command)
    if isinstance(command, Postpone):
        return postpone(page, command)
    if isinstance(command, Inquire):
        return inquire(page, command)
    if isinstance(command, Offence):
        return offence(page, command)
    if isinstance(command, Fund):
        return fund(page, command)
    notices_done(page, command)
    return None


def _check(page: Page) -> None:
    """The invariants of every float this batch touches. A breach is a bug of ours: nothing is written."""
    for row in page.changes.balances.values():
        if row.held < 0 or row.available < 0:
            raise BrokenLedger(f"invariant broken: account {row.account_id} would be below its floor")
