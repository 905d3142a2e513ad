"""What two people may say of the ledger as a whole: that its keys are these, that a restored one was reconciled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from aircharge.errors import AirchargeError
from aircharge.ledger.clocks import accept_clock_txn, ledger_now_ms
from aircharge.ledger.standing import accept_keys_txn, reconciled_txn
from aircharge.outlets.desk import Desk

__all__ = ["OF_THE_LEDGER"]

Payload = Mapping[str, Any]
_SAME_DAY_MS: Final = 86_400_000


class StandingError(AirchargeError):
    """There is nothing to be said, or it is not said where it is written."""


def _accept_keys(desk: Desk, payload: Payload, tools: Any) -> str:
    values = {name: bytes.fromhex(value) for name, value in payload["checks"].items()}
    if not str(payload["why"]).strip():
        raise StandingError("why are the keys others?")
    accept_keys_txn(desk.txn, values, desk.now_ms)
    desk.note("key.accept", "keys", names=sorted(values), why=payload["why"])
    return f"the ledger's keys are {', '.join(sorted(values))} from now on"


def _accept_clock(desk: Desk, payload: Payload, tools: Any) -> str:
    if not str(payload["why"]).strip():
        raise StandingError("why is the clock right?")
    at_ms = ledger_now_ms(desk.txn, desk.now_ms)
    if abs(at_ms - int(payload["at_ms"])) > _SAME_DAY_MS:
        raise StandingError("the clock says another day than when this was asked for: ask again")
    accept_clock_txn(desk.txn, at_ms)
    desk.note("clock.accept", "clock", said=at_ms, why=payload["why"])
    return "the clock is right: the doors may open"


def _reconciled(desk: Desk, payload: Payload, tools: Any) -> str:
    if not str(payload["evidence"]).strip():
        raise StandingError("where is the reconciliation written?")
    if not reconciled_txn(desk.txn, desk.now_ms):
        raise StandingError("no restored ledger waits to be reconciled")
    desk.note("reconciled", "ledger", evidence=payload["evidence"])
    return "the ledger is reconciled: the doors may open"


OF_THE_LEDGER: Final[dict[str, Callable[[Desk, Payload, Any], str]]] = {
    "key.accept": _accept_keys,  # checks: {name: hex}, why
    "clock.accept": _accept_clock,  # at_ms: what the asker's clock said; why
    "reconciled": _reconciled,  # evidence
}
"""What each does once it is confirmed, and what its payload names."""
