"""What an outlet may do by SMS beside recharging, from text and from the card's menu alike, as one value.

Both tongues become a ``Wish``; the switch has a verb for each. The reply is a notice of the commit that decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aircharge.sms.grammar import Deposit, Earned, NewPin, Reverse, Send, TakeBack
from aircharge.values import Operation, Pin
from aircharge.wire.stk import StkMessage, StkOperation

__all__ = ["Wish", "wish_of_stk", "wish_of_text"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted; who wants it, and under which key, the door knows."""

    operation: Operation
    pin: Pin | None
    amount_fen: int = 0
    target: str = ""  # a customer's number
    party: str = ""  # another outlet's code
    about: str = ""  # the last digits of an order's number
    repeat: int = 1
    consent: str = ""
    new: Pin | None = None
    again: Pin | None = None

    @property
    def words(self) -> str:
        """What tells two wishes apart, without the number after ``*`` and without any PIN in it."""
        words = (int(self.operation), self.target or self.party or self.about, self.amount_fen, self.consent)
        return "|".join(map(str, words))


_TEXT: Final[dict[type[Any], Callable[[Any], Wish]]] = {
    Reverse: lambda ask: Wish(
        Operation.REVERSAL,
        ask.pin,
        ask.amount_fen,
        target=str(ask.target),
        consent=ask.consent,
        repeat=ask.repeat,
    ),
    TakeBack: lambda ask: Wish(
        Operation.REVERSAL, ask.pin, about=ask.about, consent=ask.consent, repeat=ask.repeat
    ),
    Send: lambda ask: Wish(Operation.TRANSFER, ask.pin, ask.amount_fen, party=ask.party, repeat=ask.repeat),
    Deposit: lambda ask: Wish(Operation.TICKET, ask.pin, ask.amount_fen, repeat=ask.repeat),
    NewPin: lambda ask: Wish(Operation.PIN_CHANGE, ask.old, new=ask.new, again=ask.again, repeat=ask.repeat),
    Earned: lambda ask: Wish(Operation.COMMISSION, ask.pin, ask.amount_fen, repeat=ask.repeat),
}

_STK: Final[dict[StkOperation, Callable[[StkMessage], Wish]]] = {
    StkOperation.REVERSAL: lambda said: Wish(
        Operation.REVERSAL, said.pin, said.amount_fen, target=said.target, consent=said.consent
    ),
    StkOperation.TAKE_BACK: lambda said: Wish(
        Operation.REVERSAL, said.pin, about=f"{said.reference:08d}", consent=said.consent
    ),
    StkOperation.TRANSFER: lambda said: Wish(
        Operation.TRANSFER, said.pin, said.amount_fen, party=said.party, repeat=said.repeat
    ),
    StkOperation.TICKET: lambda said: Wish(Operation.TICKET, said.pin, said.amount_fen),
    StkOperation.PIN_CHANGE: lambda said: Wish(
        Operation.PIN_CHANGE, said.pin, new=said.new_pin, again=said.new_pin
    ),
    StkOperation.COMMISSION: lambda said: Wish(Operation.COMMISSION, said.pin, said.amount_fen),
}


def wish_of_text(ask: object) -> Wish | None:
    """None: no such act (a recharge, a question, nothing that could be understood)."""
    make = _TEXT.get(type(ask))
    return make(ask) if make is not None else None


def wish_of_stk(said: StkMessage) -> Wish | None:
    """None: a recharge or a question."""
    make = _STK.get(said.operation)
    return make(said) if make is not None else None
