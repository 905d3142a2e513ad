"""States of an SMPP session and what each end may ask in them: SMPP 3.4 §2.2 and §2.3, 5.0 §2.3 and §2.4.

Everything here is data. ``session.py`` walks it, the tests hold it against the standard's own table.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from aircharge.wire.smpp.constants import Command

__all__ = [
    "BINDS",
    "BOUND_BY",
    "LEGAL",
    "MESSAGES",
    "TRANSITIONS",
    "VERSION_5",
    "Move",
    "Side",
    "State",
    "legal_requests",
]


class Side(Enum):
    """Which end of the session: the message centre, or the external short message entity that binds to it."""

    MC = "mc"
    ESME = "esme"

    @property
    def other(self) -> Side:
        return Side.ESME if self is Side.MC else Side.MC


class State(Enum):
    """Session states. BOUND_TX and BOUND_RX are seen from the ESME: TX means that the ESME sends messages."""

    OPEN = "open"
    OUTBOUND = "outbound"
    BOUND_TX = "bound_tx"
    BOUND_RX = "bound_rx"
    BOUND_TRX = "bound_trx"
    UNBOUND = "unbound"
    CLOSED = "closed"

    __hash__ = object.__hash__  # members are singletons, and Enum's own hash is slow

    @property
    def is_bound(self) -> bool:
        return self in _BOUND


_BOUND: Final = frozenset((State.BOUND_TX, State.BOUND_RX, State.BOUND_TRX))


class Move(Enum):
    """What may change the state."""

    OUTBIND = "outbind"
    BIND_TX = "bind_transmitter_resp"
    BIND_RX = "bind_receiver_resp"
    BIND_TRX = "bind_transceiver_resp"
    UNBIND = "unbind_resp"
    CLOSE = "close"


BOUND_BY: Final = {
    Command.BIND_TRANSMITTER: Move.BIND_TX,
    Command.BIND_RECEIVER: Move.BIND_RX,
    Command.BIND_TRANSCEIVER: Move.BIND_TRX,
}
BINDS: Final = frozenset(BOUND_BY)

TRANSITIONS: Final[dict[tuple[State, Move], State]] = {
    (State.OPEN, Move.OUTBIND): State.OUTBOUND,
    (State.OPEN, Move.BIND_TX): State.BOUND_TX,
    (State.OPEN, Move.BIND_RX): State.BOUND_RX,
    (State.OPEN, Move.BIND_TRX): State.BOUND_TRX,
    (State.OUTBOUND, Move.BIND_RX): State.BOUND_RX,
    (State.OUTBOUND, Move.BIND_TRX): State.BOUND_TRX,
    (State.BOUND_TX, Move.UNBIND): State.UNBOUND,
    (State.BOUND_RX, Move.UNBIND): State.UNBOUND,
    (State.BOUND_TRX, Move.UNBIND): State.UNBOUND,
    **{(state, Move.CLOSE): State.CLOSED for state in State},
}

_TX, _RX, _TRX = State.BOUND_TX, State.BOUND_RX, State.BOUND_TRX

# Request -> (states in which the ESME may issue it, states in which the MC may): 3.4 §2.3, table 2-1.
LEGAL: Final[dict[Command, tuple[tuple[State, ...], tuple[State, ...]]]] = {
    Command.BIND_TRANSMITTER: ((State.OPEN,), ()),
    Command.BIND_RECEIVER: ((State.OPEN, State.OUTBOUND), ()),
    Command.BIND_TRANSCEIVER: ((State.OPEN, State.OUTBOUND), ()),
    Command.OUTBIND: ((), (State.OPEN,)),
    Command.UNBIND: ((_TX, _RX, _TRX), (_TX, _RX, _TRX)),
    Command.SUBMIT_SM: ((_TX, _TRX), ()),
    Command.SUBMIT_MULTI: ((_TX, _TRX), ()),
    Command.DATA_SM: ((_TX, _TRX), (_RX, _TRX)),
    Command.DELIVER_SM: ((), (_RX, _TRX)),
    Command.QUERY_SM: ((_TX, _TRX), ()),
    Command.CANCEL_SM: ((_TX, _TRX), ()),
    Command.REPLACE_SM: ((_TX, _TRX), ()),
    Command.ENQUIRE_LINK: ((_TX, _RX, _TRX), (_TX, _RX, _TRX)),
    Command.ALERT_NOTIFICATION: ((), (_RX, _TRX)),
    # 5.0 §2.4
    Command.BROADCAST_SM: ((_TX, _TRX), ()),
    Command.QUERY_BROADCAST_SM: ((_TX, _TRX), ()),
    Command.CANCEL_BROADCAST_SM: ((_TX, _TRX), ()),
}

MESSAGES: Final = frozenset((Command.SUBMIT_SM, Command.DELIVER_SM, Command.DATA_SM))
"""Requests that carry one short message: the ones a gateway profile may let the other end use too."""

VERSION_5: Final = frozenset((Command.BROADCAST_SM, Command.QUERY_BROADCAST_SM, Command.CANCEL_BROADCAST_SM))
"""Requests that exist only where both ends speak 5.0."""

_SENDING: Final = {Side.ESME: frozenset((_TX, _TRX)), Side.MC: frozenset((_RX, _TRX))}


def legal_requests(side: Side, state: State, extra: frozenset[Command] = frozenset()) -> frozenset[Command]:
    """Requests that ``side`` may issue in ``state``.

    ``extra`` names messages that this side may also use where it may send messages at all: an SMS centre that
    binds to us (ESME by its bind) and yet sends deliver_sm keeps its habits that way.
    """
    column = 0 if side is Side.ESME else 1
    legal = frozenset(command for command, row in LEGAL.items() if state in row[column])
    return legal | (extra & MESSAGES) if state in _SENDING[side] else legal
