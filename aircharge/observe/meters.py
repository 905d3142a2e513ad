"""What the switch measures of every recharge: outcomes by state and reason, and how long each stage took."""

from __future__ import annotations

from aircharge.errors import Reason
from aircharge.observe.metrics import Counter, Registry
from aircharge.values import State

__all__ = ["Meters"]


class Meters:
    """Made once; incrementing one costs a dictionary look-up."""

    def __init__(self, registry: Registry | None = None) -> None:
        self.registry = registry or Registry()
        stage = "seconds a stage of a recharge took"
        self.hold_s = self.registry.histogram("stage_seconds", stage, stage="hold")
        self.operator_s = self.registry.histogram("stage_seconds", stage, stage="operator")
        self.close_s = self.registry.histogram("stage_seconds", stage, stage="close")
        self.repeated = self.registry.counter("repeated_total", "messages answered with a stored answer")
        self.doubts_asked = self.registry.counter("doubts_asked_total", "resends and queries of doubts")
        self.late_answers = self.registry.counter("late_answers_total", "operator answers after their time")
        self._orders: dict[tuple[State, Reason], Counter] = {}

    def order(self, state: State, reason: Reason) -> None:
        """An order has come to this state for this reason."""
        counter = self._orders.get((state, reason))
        if counter is None:
            labels = {"state": state.name.lower(), "reason": reason.name.lower()}
            counter = self._orders[state, reason] = self.registry.counter(
                "orders_total", "orders by outcome", **labels
            )
        counter.add()

    def receipt(self, peer: str, said: str) -> None:
        """A peer's delivery receipt."""
        text = "delivery receipts by what they say"
        self.registry.counter("receipts_total", text, peer=peer, state=said).add()
