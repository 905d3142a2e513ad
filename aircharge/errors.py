"""Three families of errors and the reasons of refusal.

Raise inside a room, return a value at the door. Anything raised that is not an ``AirchargeError`` is a bug.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

__all__ = [
    "AirchargeError",
    "ConfigError",
    "InDoubt",
    "LedgerError",
    "LinkError",
    "NotSent",
    "Reason",
    "Refusal",
    "Unsendable",
    "WireError",
]


class Reason(Enum):
    """Why an order was refused or stands open; declared in order of precedence.

    ``code`` is the two-character result code of the trade (near ISO 8583 DE 39 where one exists).
    """

    OK = (0, "00")
    CLASH = (1, "26")  # same key, other content
    REPLAY = (2, "94")  # a serial seen before, too late to be the SMS centre's retransmission
    UNKNOWN_SENDER = (3, "03")  # number bound to no outlet
    CARD = (4, "57")  # card blocked, rotated away, or not this phone's
    OUTLET = (5, "03")  # outlet suspended, closing or closed
    RIGHTS = (6, "57")  # this phone may not do that
    STALE = (7, "68")  # the message is older than the customer's patience
    PIN_LOCKED = (8, "75")
    PIN_WRONG = (9, "55")
    PIN_NEEDED = (10, "55")
    PIN_CHANGE = (23, "55")  # the initial PIN opens nothing but its own change
    PIN_WEAK = (24, "55")  # the new PIN is trivial, or one of the last three
    NUMBER = (11, "14")  # not a number any of our operators serves
    AMOUNT = (12, "13")  # not one of the operator's products
    FORMAT = (13, "30")  # text that says nothing
    DUPLICATE = (14, "26")  # intent guard: same outlet, number and amount a moment ago
    NOT_FOUND = (15, "25")  # the order asked about does not exist
    NOT_REVERSIBLE = (25, "40")  # not settled, not of today, or reversed already
    CONSENT = (26, "40")  # the customer's consent code is missing or wrong
    LISTED = (27, "57")  # number, outlet or terminal is on a black list
    NO_RULE = (28, "57")  # no transfer between these two
    RULE = (29, "57")  # a rule of the agent forbids it
    CONFIRM = (30, "26")  # wrong-number guard: asked back, nothing is charged until the answer
    LIMIT_VALUE = (31, "61")
    LIMIT_COUNT = (32, "65")
    CANCELLED = (34, "12")  # its terminal has taken it back before it came
    OPERATOR_DOWN = (16, "91")  # no link to the operator: refused before the hold
    BUSY = (17, "91")  # our queue or the operator's window is full: refused before the hold
    FLOAT = (18, "51")  # float too short
    OPERATOR_NO = (19, "05")  # the operator declined
    NUMBER_NO = (20, "14")  # the operator says: no such number
    REVIEW = (33, "09")  # held until a clerk lets it go on
    DOUBT = (21, "09")  # asked, unanswered
    INTERNAL = (22, "96")

    def __init__(self, number: int, code: str) -> None:
        self.number = number
        self.code = code

    @classmethod
    def by_number(cls, number: int) -> Reason:
        return _BY_NUMBER[number]


_BY_NUMBER = {reason.number: reason for reason in Reason}


class AirchargeError(Exception):
    """Base of every error we raise on purpose."""


class WireError(AirchargeError):
    """The peer broke the standard.

    ``hint`` is the code to answer with (an SMPP ``command_status``, a ROSE problem, a DE 39 number …).
    """

    def __init__(
        self, standard: str, section: str, why: str, *, offset: int = 0, field: str = "", hint: int = 0
    ) -> None:
        super().__init__(f"{standard} {section}: {why} (field {field or '-'}, offset {offset})")
        self.standard = standard
        self.section = section
        self.why = why
        self.offset = offset
        self.field = field
        self.hint = hint


class Refusal(AirchargeError):
    """An expected "no"."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.name} {detail}".rstrip())
        self.reason = reason
        self.detail = detail


class LinkError(AirchargeError):
    """A line to a peer failed us."""


class NotSent(LinkError):
    """Nothing left the house: the order may be voided at once."""


class Elsewhere(NotSent):
    """The message belongs to an SMS centre that is not here; in ``wait_s`` seconds any other may carry it."""

    def __init__(self, centre: str, wait_s: float) -> None:
        super().__init__(f"SMS centre {centre} is away")
        self.wait_s = wait_s


class Unsendable(LinkError):
    """A message that no attempt will ever carry: it cannot be encoded, or it was refused for good."""


class InDoubt(LinkError):
    """Sent, or possibly sent, and unanswered: the hold stands.

    ``odd``: there was an answer, and people should see it at once (``commands.Odd``); ``code``: the one it bore.
    """

    def __init__(self, why: str = "", *, odd: str = "", code: str = "") -> None:
        super().__init__(why)
        self.odd, self.code = odd, code


class LedgerError(AirchargeError):
    """The ledger cannot say whether the commit took place, or refuses to go on: re-read by key."""


class CommandFailed(LedgerError):
    """This command ended in an exception of ours before anything of it was written; asked again it would fail again."""


class ConfigError(AirchargeError):
    """A configuration file is wrong: which file, which key, and why; ``others``: what else is wrong with it."""

    def __init__(self, path: str, key: str, why: str, others: Sequence[ConfigError] = ()) -> None:
        super().__init__("\n".join([f"{path}: {key}: {why}", *map(str, others)]))
        self.path = path
        self.key = key
        self.why = why
        self.others = tuple(others)

    @classmethod
    def of(cls, problems: Sequence[ConfigError]) -> ConfigError:
        """All problems as one error that says each; at least one."""
        first, *others = problems
        return cls(first.path, first.key, first.why, others)
