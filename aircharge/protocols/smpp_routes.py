"""Which SMS centre a message of ours goes to: the one it belongs to, else by the number's first digits.

What is told to whoever asked belongs to the SMS centre that brought the question. That is known of each message by
itself: what somebody else brings under the same number, over another SMS centre, steers nothing but its own answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from aircharge.errors import Elsewhere, Refusal
from aircharge.protocols.smpp_line import SmppLine
from aircharge.values import address_digits

__all__ = ["Routes"]

_HANDOVER_S: Final = 10.0
"""So long a daemon of several leaves a message to one that may have its SMS centre's session: a few looks."""


class Routes:
    """``now_s``: monotonic seconds. ``has_others``: other daemons may have sessions that we have not."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self.has_others = False

    def ways(
        self, destination: str, lines: Sequence[SmppLine], centre: str = "", *, waits: bool = True
    ) -> list[list[SmppLine]]:
        """Lines that may carry a message to this number, the best first, those that are alike together.

        ``centre``: the peer it belongs to. While that one is away for no longer than its ``fallback_s`` the message
        waits for it (Elsewhere), unless it has waited before (``waits`` false).
        """
        home = [line for line in lines if line.peer.name == centre] if centre else []
        if centre and waits and not any(map(_takes, home)) and (wait_s := self._wait_s(home)) > 0:
            raise Elsewhere(centre, wait_s)
        phone = _digits(destination)
        fits = {line.peer.name: _fit(line, phone) for line in lines}
        grades = sorted(set(fits.values()), reverse=True)
        by_fit = [[line for line in lines if fits[line.peer.name] == grade] for grade in grades if grade]
        general = [line for line in lines if not line.peer.routes]
        others = [line for line in lines if line.peer.routes and not fits[line.peer.name]]
        return [group for group in (home, *by_fit, general, others) if group]

    def is_expected(self, line: SmppLine) -> bool:
        """Whether a line that is away may soon take messages again."""
        if _takes(line) or (line.bound and not line.took):
            return False
        return self._now_s() - line.away_s < line.peer.fallback_s

    def _wait_s(self, home: Sequence[SmppLine]) -> float:
        """How long its own SMS centre is still waited for: one that we do not know is another daemon's, if any."""
        handover_s = _HANDOVER_S if self.has_others else 0.0
        if not home:
            return handover_s
        line = home[0]
        if line.bound and not line.took:  # it only ever brings messages
            return handover_s
        return max(line.away_s + line.peer.fallback_s - self._now_s(), handover_s)


def _takes(line: SmppLine) -> bool:
    return any(one.session.is_allowed(line.mt_command) for one in line.bound)


def _fit(line: SmppLine, phone: str) -> int:
    """How many of the number's first digits this peer's routes name."""
    return max((len(one) for one in line.peer.routes if phone.startswith(one)), default=0)


def _digits(address: str) -> str:
    try:
        return address_digits(address)
    except Refusal:
        return address
