"""Under which lease a daemon writes, and what it meets when the lease is no longer its own. See ``ledger.leases``."""

from __future__ import annotations

from dataclasses import dataclass

from aircharge.errors import LedgerError
from aircharge.ledger.page import BrokenLedger

__all__ = ["Fenced", "LeaseOver", "Tenure"]


@dataclass(frozen=True, slots=True)
class Tenure:
    """One daemon's right to write: every batch proves in its own transaction that this epoch is still its node's."""

    node: int
    epoch: int


class Fenced(BrokenLedger):
    """Another daemon has taken this one's lease: nothing was written, nothing more will be."""

    def __init__(self, tenure: Tenure) -> None:
        super().__init__(f"the lease of node {tenure.node} (epoch {tenure.epoch}) was taken over")


class LeaseOver(LedgerError):
    """The lease has run out, and nobody has taken it yet: nothing was written. It may be renewed."""

    def __init__(self, tenure: Tenure, ago_ms: int) -> None:
        super().__init__(f"the lease of node {tenure.node} ran out {ago_ms} ms ago: nothing was written")
