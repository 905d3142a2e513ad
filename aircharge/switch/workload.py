"""What new work there is, by class in the order of shedding, and from which load each class is refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from aircharge.switch.fairness import Levels
from aircharge.values import Channel, Operation

__all__ = ["CHANNELS", "AdmissionSettings", "Work", "asks"]


class Work(IntEnum):
    """New work by class, the first to go first."""

    REPORT = 0  # reports and statements; messages that say nothing
    FILE = 1  # lines of a file: they are not refused, they wait in the ledger
    QUESTION = 2  # balance, last order, status
    NOTICE = 3  # such as can wait: delayed, never dropped
    WEB = 4
    TEXT = 5  # plain SMS
    CALL = 6  # IVR, USSD
    CARD = 7  # STK, POS


CHANNELS: Final[dict[Channel, Work]] = {
    Channel.SMS: Work.TEXT,
    Channel.STK: Work.CARD,
    Channel.USSD: Work.CALL,
    Channel.IVR: Work.CALL,
    Channel.WEB: Work.WEB,
    Channel.POS: Work.CARD,
    Channel.API: Work.WEB,
    Channel.CLI: Work.FILE,
}
"""New orders by the door they come through."""

_QUESTIONS: Final = {
    Operation.BALANCE: Work.QUESTION,
    Operation.LAST: Work.QUESTION,
    Operation.STATUS: Work.QUESTION,
    Operation.RECAP: Work.REPORT,
    Operation.HISTORY: Work.REPORT,
}


def asks(operation: Operation) -> Work:
    """The class of a question."""
    return _QUESTIONS.get(operation, Work.REPORT)


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    """How much comes in at once, and what goes first when it is too much (docs/overload.md)."""

    hands_max: int = 128  # orders and questions in our own hands: being written down, or their outcome
    waiting_max: int = 64  # that wait for their turn, for each operator and for the house
    outlet_waiting_max: int = 8  # of one number; never more than stays free for others
    wait_max_s: float = 2.0  # what waited so long is refused
    spare: int = 50  # recharges of an operator beyond its windows, while it answers quickly
    ledger_waiting_high: int = 1_000  # commands before the ledger's writer that count as full load …
    hold_slow_s: float = 2.0  # … and so does a hold that takes so long
    report_at: float = 0.25  # load, 0..1, from which each class is refused; reports and statements
    file_at: float = 0.3  # lines of files
    question_at: float = 0.4
    notice_at: float = 0.5  # notices that can wait
    web_at: float = 0.6
    text_at: float = 0.7  # plain SMS
    call_at: float = 0.85  # USSD, IVR
    card_at: float = 1.0  # STK, POS
    calm: float = 0.15  # after load of the ledger a class comes back when it is so far below

    def __post_init__(self) -> None:
        self.levels()
        if min(self.hands_max, self.outlet_waiting_max) < 1 or min(self.waiting_max, self.spare) < 0:
            raise ValueError("hands_max and outlet_waiting_max are at least 1, waiting_max and spare 0")
        if min(self.wait_max_s, self.hold_slow_s, float(self.ledger_waiting_high)) <= 0:
            raise ValueError("wait_max_s, hold_slow_s and ledger_waiting_high must be above 0")

    @property
    def shares(self) -> list[float]:
        """The load from which each class is refused, by class."""
        return [getattr(self, f"{work.name.lower()}_at") for work in Work]

    def levels(self) -> Levels:
        """Raises ValueError when a later class would go before an earlier one."""
        return Levels(self.shares, self.calm)
