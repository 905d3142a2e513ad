"""What the book can be asked to do, and what it answers: plain values, one class a command.

A batch of these goes in, one result each comes out (``aircharge.ledger.book``). Amounts in fen, times in ms UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aircharge.errors import Reason
from aircharge.values import Asker, Channel, Operation, Order, Said, State, Verdict

__all__ = [
    "CloseRecharge",
    "Command",
    "Fund",
    "Inquire",
    "InquiryReceipt",
    "NoticeRow",
    "NoticesDone",
    "Offence",
    "OpenRecharge",
    "Postpone",
    "Result",
]


@dataclass(frozen=True, slots=True)
class OpenRecharge:
    """Check everything, hold the float, record intent and operator reference: one durable commit.

    ``refuse`` is a reason the switch already found (number, amount, operator down); the book records it under
    the key after the checks that come before it in ``Reason``'s order of precedence.
    Result: Receipt with state HELD and ``fresh`` (carry it to the operator), REFUSED, or the stored one (not fresh).
    """

    order: Order
    operator_id: int  # the operator's stock account, 1..99; 0 = none serves this number
    refuse: Reason = Reason.OK
    unsold: bool = False  # no product of the configuration; products in the ledger overrule it
    pin_needed: bool = False  # the channel always asks for a PIN (STK)
    confirmed: bool = False  # the asker has said that this number and amount are meant
    terminal: str = ""  # the POS terminal it came from
    batch_id: int = 0  # a line of this file: paid from its reserve …
    reserved_fen: int = 0  # … where so much was kept for it


@dataclass(frozen=True, slots=True)
class CloseRecharge:
    """An operator's answer, or its absence, met by the order's state.

    Result: the order's Receipt; ``fresh`` only when this command changed its state.
    """

    order_id: int
    verdict: Verdict
    code: str = ""  # the operator's code as it came
    serial: str = ""  # the operator's own number
    next_ms: int = 0  # verdict UNKNOWN: when the doubt is looked at again (0 = by people or by file only)
    manual: bool = False  # verdict UNKNOWN: past its limit, now for people
    reason: Reason = Reason.OPERATOR_NO  # verdict NO: what outlet is told; NOT_SENT: usually OPERATOR_DOWN
    actor: str = ""  # two named people's ruling, "maker+checker"; empty for the machine
    undo: int = 0  # UNDO_DONE …: not the recharge's own answer but that to its protective reversal
    odd: str = ""  # verdict UNKNOWN: why people should see the answer at once; "" = nothing is odd about it


@dataclass(frozen=True, slots=True)
class Postpone:
    """A doubt was asked about again without a definite answer: count the attempt, set the next time."""

    order_id: int
    next_ms: int
    code: str = ""  # what the operator answered, where it says nothing definite
    odd: str = ""  # as of ``CloseRecharge``


@dataclass(frozen=True, slots=True)
class Inquire:
    """A question of an outlet. Result: InquiryReceipt. Writes the PIN count, the serial and the reply."""

    operation: Operation  # BALANCE, LAST, STATUS, RECAP or HISTORY
    key: str  # marks this inquiry for the reply (a retransmission repeats it)
    asker: Asker
    received_ms: int
    channel: Channel
    sent_ms: int | None = None
    pin_needed: bool = False
    about: str = ""  # which order, which day
    found: dict[str, Any] = field(default_factory=dict)  # what was looked up (``lookups``), told if it may be


@dataclass(frozen=True, slots=True)
class InquiryReceipt:
    reason: Reason
    outlet_id: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Offence:
    """A message that said nothing (or came from nobody). Result: how many there were today, this one included.

    Notice by count: 1 and 2 the help text, 3 a last notice, from 4 on silence until midnight Asia/Shanghai.
    """

    asker: Asker
    reason: Reason  # FORMAT, UNKNOWN_SENDER, CARD …
    received_ms: int
    verb: str = ""  # FORMAT: a command is plainly meant, and this is the one
    said: Said | None = None  # an answer to no question: it answers no later one either
    sent_ms: int | None = None


@dataclass(frozen=True, slots=True)
class NoticesDone:
    """What became of notices: delivered to the SMS centre, to be retried at ``next_ms``, or given up."""

    sent: tuple[int, ...] = ()
    retry: tuple[tuple[int, int], ...] = ()  # (notice id, next_ms)
    expired: tuple[int, ...] = ()
    left: tuple[tuple[int, int], ...] = ()  # … to whoever has the SMS centre, until then


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """A row of the outbox: one SMS to come, as facts; ``aircharge.sms.phrases`` words it."""

    notice_id: int
    order_id: int  # 0 when it belongs to no order
    topic: str  # "outlet.settled", "customer.settled", "outlet.refused" … (docs/channels/sms.md)
    recipient: str  # national digits
    sender: str  # service number
    language: str  # "zh" or "en"
    facts: dict[str, Any]
    created_ms: int
    expires_ms: int
    attempts: int = 0
    centre: str = ""  # the SMS centre it belongs to: the question came from there; empty: any
    is_left: bool = False  # nobody with that SMS centre took it in time: any may


@dataclass(frozen=True, slots=True)
class Fund:
    """A second person confirms a request for float (``funding.propose_txn``): bank clearing pays into the float.

    Result: the Receipt (SETTLED, fresh), or a text that says why not: no such request waits, one person alone, or
    the bank slip was used before.
    """

    request_id: int
    checker: str
    service: str = "0353910"  # the number the outlet's notice comes from


Command = Any
"""One of the classes named in ``aircharge.ledger.book.RULES``."""
Result = Any
"""What that class's text promises; mostly a Receipt."""

OPEN_STATES = (State.HELD, State.SENT, State.IN_DOUBT)
"""States the machine itself still works on; MANUAL waits for people."""
