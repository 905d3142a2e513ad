"""What the book knows of each kind of command: which rows it needs, and how it is decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aircharge.ledger.rows import REPLAYED, Needs

if TYPE_CHECKING:
    from aircharge.ledger.page import Page

__all__ = ["Rule", "asker_needs"]

Gather = Callable[[Needs, Any], None]
Decide = Callable[["Page", Any], Any]


@dataclass(frozen=True, slots=True)
class Rule:
    """``needs(needs, command)`` says what to load; ``decide(page, command)`` returns the command's result."""

    needs: Gather
    decide: Decide


def asker_needs(needs: Needs, asker: Any) -> None:
    """Whoever asks: phone, outlet, credential; card and serial where a card sealed the message."""
    needs.phones.add(asker.phone)
    needs.heard.add((asker.phone, REPLAYED))
    if asker.card is not None:
        needs.cards.add(asker.card.card_id)
        needs.serials.add((asker.card.card_id, asker.card.serial))
