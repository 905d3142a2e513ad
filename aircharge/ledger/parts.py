"""Which messages of several parts wait for the others: so that their senders are told after a crash too.

What stands in the parts is not kept: there may be a PIN in it, and after a crash the SMS centre delivers again only
what was not acknowledged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aircharge.ledger.page import Page
from aircharge.ledger.rows import Needs
from aircharge.ledger.rule import Rule

__all__ = ["RULES", "NoteParts", "WaitingParts"]


@dataclass(frozen=True, slots=True)
class WaitingParts:
    """A message of ``total`` parts under ``ref`` (16 bits: ``wide``); addresses in national digits."""

    source: str
    destination: str
    ref: int
    wide: bool
    total: int
    centre: str = ""

    @property
    def place(self) -> tuple[str, str, int, int, int]:
        """The row's key."""
        return (self.source[:21], self.destination[:21], self.ref, int(self.wide), self.total)


@dataclass(frozen=True, slots=True)
class NoteParts:
    """Messages that wait for parts from now on, and such that wait no more. Result: None."""

    began: tuple[WaitingParts, ...] = ()
    ended: tuple[WaitingParts, ...] = ()


def note_parts(page: Page, command: NoteParts) -> None:
    """What is said last of a message counts."""
    changes = page.changes
    for message in command.began:
        changes.parts_ended.discard(message.place)
        changes.parts_began[message.place] = (message.centre, page.rows.node)
    for message in command.ended:
        changes.parts_began.pop(message.place, None)
        changes.parts_ended.add(message.place)


def _needs(needs: Needs, command: NoteParts) -> None:
    """No row is looked at."""


RULES: Final = {NoteParts: Rule(_needs, note_parts)}
