"""States of one connection of the operator line, as tables (docs/protocols/operator-link.md, "Session")."""

from __future__ import annotations

import hashlib
import hmac
from enum import Enum
from typing import Final

__all__ = ["TABLES", "Input", "Role", "State", "proof"]


class Role(Enum):
    """Who we are, whoever dialled."""

    AGENT = "agent"  # sells recharges: binds and asks
    OPERATOR = "operator"  # executes recharges: is bound to and answers


class State(Enum):
    OPEN = "open"  # connected, nothing agreed
    CHALLENGED = "challenged"  # the agent's bind is out (agent) or answered (operator)
    PROVING = "proving"  # agent only: its proof is out
    BOUND = "bound"
    UNBINDING = "unbinding"  # we asked to part and ask nothing else
    DRAINING = "draining"  # the other side asked; we answer when everything is answered
    CLOSED = "closed"


class Input(Enum):
    BIND = "bind"  # sent by the agent, received by the operator
    CHALLENGE = "challenge"  # the result of bind
    PROOF = "proof"  # the operator received the agent's proof and believes it
    ACCEPTED = "accepted"  # the agent received the operator's proof and believes it
    HEARTBEAT = "heartbeat"  # received
    WORK = "work"  # received: a business invoke
    ASK = "ask"  # a business invoke of ours goes out
    UNBIND_SENT = "unbind sent"
    UNBIND_RECEIVED = "unbind received"
    CLOSE = "close"  # connection lost, fault, time-out, refusal, or parted


_BOTH: Final = {
    (State.BOUND, Input.HEARTBEAT): State.BOUND,
    (State.UNBINDING, Input.HEARTBEAT): State.UNBINDING,
    (State.DRAINING, Input.HEARTBEAT): State.DRAINING,
    (State.BOUND, Input.UNBIND_SENT): State.UNBINDING,
    (State.BOUND, Input.UNBIND_RECEIVED): State.DRAINING,
    (State.UNBINDING, Input.UNBIND_RECEIVED): State.UNBINDING,
    **{(state, Input.CLOSE): State.CLOSED for state in State},
}

TABLES: Final = {
    Role.AGENT: {
        (State.OPEN, Input.BIND): State.CHALLENGED,
        (State.CHALLENGED, Input.CHALLENGE): State.PROVING,
        (State.PROVING, Input.ACCEPTED): State.BOUND,
        (State.BOUND, Input.ASK): State.BOUND,
        **_BOTH,
    },
    Role.OPERATOR: {
        (State.OPEN, Input.BIND): State.CHALLENGED,
        (State.CHALLENGED, Input.PROOF): State.BOUND,
        (State.BOUND, Input.WORK): State.BOUND,
        (State.UNBINDING, Input.WORK): State.UNBINDING,  # it crossed our unbind
        **_BOTH,
    },
}


def proof(secret: bytes, role: Role, version: int, *parts: bytes) -> bytes:
    """HMAC-SHA-256 (RFC 2104) that shows knowledge of the secret; each side has its own label, so none can be
    reflected. ``parts``: agentId, linkId, agentNonce, operatorNonce, each below 256 octets.
    """
    text = b"aircharge operator link " + role.value.encode() + b"\x00" + bytes((version,))
    return hmac.new(
        secret, text + b"".join(bytes((len(part),)) + part for part in parts), hashlib.sha256
    ).digest()
