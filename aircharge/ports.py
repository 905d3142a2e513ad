"""What is plugged in, as ``typing.Protocol``: clock, chance, operator, notice sink.

Nothing above the ground floor calls ``time`` or ``random``: the whole daemon can run in a simulated world.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Protocol, TypeVar

__all__ = ["Clock", "Notice", "Operator", "OperatorAnswer", "OperatorRequest", "Randomness", "Sink", "Worker"]

T = TypeVar("T")


class Clock(Protocol):
    """Wall clock for records, monotonic clock for waiting."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC. May jump."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never run backwards."""
        ...


class Randomness(Protocol):
    """Where unpredictable bytes come from."""

    def token(self, length: int) -> bytes: ...


class Worker(Protocol):
    """Where work that blocks is done, one piece at a time, in order."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def run(self, work: Callable[[], T]) -> Awaitable[T]:
        """Resolves to what ``work()`` returned or raised."""
        ...


@dataclass(frozen=True, slots=True)
class OperatorRequest:
    """One recharge, reversal or query as the operator sees it."""

    op_ref: str  # our reference, one per order for life; printable ASCII, at most 32 characters
    msisdn: str  # national digits
    amount_fen: int
    at_ms: int  # when the order was made
    original_ref: str = ""  # a reversal names the recharge it takes back


@dataclass(frozen=True, slots=True)
class OperatorAnswer:
    """What the operator said; what it means for money is configuration (``codes``)."""

    op_ref: str
    code: str  # the operator's result code, "0000"
    op_serial: str = ""  # the operator's own number for the transaction
    at_ms: int = 0  # the operator's time
    amount_fen: int = 0  # what it says it was about, 0 = not told


class Operator(Protocol):
    """A line to one operator's recharge platform.

    Each verb resolves to an OperatorAnswer, or raises NotSent (no byte was written) or InDoubt.
    """

    def ready(self) -> bool:
        """Whether a request made now would be written now: bound, heart beating, window open or queue short."""
        ...

    def recharge(self, request: OperatorRequest) -> Awaitable[OperatorAnswer]: ...

    def query(self, request: OperatorRequest) -> Awaitable[OperatorAnswer]: ...

    def reverse(self, request: OperatorRequest) -> Awaitable[OperatorAnswer]: ...

    def stock(self) -> Awaitable[int]:
        """Our prepaid stock at the operator, in fen."""
        ...

    def on_late_answer(self, listener: Callable[[OperatorAnswer], None]) -> None:
        """Who hears answers to requests that were given up as in doubt."""
        ...


@dataclass(frozen=True, slots=True)
class Notice:
    """One SMS to be sent: already worded."""

    notice_id: int
    recipient: str  # national digits
    sender: str  # the service number it comes from
    text: str
    centre: str = ""  # the SMS centre it belongs to, by its peer's name; empty: any
    waits: bool = True  # while that one is away: fails with Elsewhere, else any may carry it


class Sink(Protocol):
    """Where notices go. Resolves when the SMS centre took it; raises LinkError when it did not."""

    def ready(self) -> bool: ...

    def centres(self) -> Collection[str]:
        """The SMS centres that would take a message now."""
        ...

    def send(self, notice: Notice) -> Awaitable[None]: ...
