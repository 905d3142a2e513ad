"""A command that ended in an exception of ours: it alone is refused, its outlet and people are told. Pure.

Such an exception is a bug, met before anything was written. The batch is tried again one by one (``store``); whoever
fails alone is refused (``CommandFailed``), and this is what is written down of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from aircharge.errors import Reason
from aircharge.ledger.page import Page
from aircharge.ledger.rows import Needs
from aircharge.ledger.rule import Rule, asker_needs
from aircharge.values import Asker, terminal_of

__all__ = ["RULES", "NoteFailure", "failure_of"]


@dataclass(frozen=True, slots=True)
class NoteFailure:
    """A command failed with this kind of exception. ``about``: its name and key. Result: None.

    ``asker``: who hears that nothing was executed, None: nobody (a terminal hears it from its door).
    """

    about: str
    why: str
    asker: Asker | None = None


def failure_of(command: Any, error: Exception) -> NoteFailure:
    """What is written down of a command's failure: never its content, nor the exception's words."""
    order = getattr(command, "order", command)
    key = getattr(order, "key", None)
    asker = getattr(order, "asker", None)
    about = type(command).__name__ + (f" {key.scope} {key.mark}" if key is not None else "")
    heard = None
    if isinstance(asker, Asker) and not terminal_of(asker.phone):
        heard = Asker(asker.phone, asker.service, centre=asker.centre)  # without its PIN and card
    return NoteFailure(about[:128], type(error).__name__, heard)


def note_failure(page: Page, command: NoteFailure) -> None:
    page.audit("alarm.command-failed", command.about, why=command.why)
    if command.asker is None:
        return
    outlet, _ = page.outlet_of(command.asker.phone)
    if outlet is not None:
        facts = {"order_id": 0, "target": "", "amount_fen": 0, "at_ms": page.now_ms, "outlet": outlet.code}
        facts |= {"reason": Reason.INTERNAL.name, **page.float_facts(outlet)}
        page.notice(0, "outlet.refused", command.asker.phone, command.asker.service, outlet.language, facts)


def _needs(needs: Needs, command: NoteFailure) -> None:
    if command.asker is not None:
        asker_needs(needs, command.asker)


RULES: Final = {NoteFailure: Rule(_needs, note_failure)}
