"""Which SMS centre a message of ours goes to: where the question came from, else by the number's first digits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from aircharge.errors import Refusal
from aircharge.protocols.smpp_line import SmppLine
from aircharge.values import address_digits

__all__ = ["Routes"]

_PHONES_MAX: Final = 100_000


class Routes:
    """Remembers, in this process, which peer brought each phone's last message. ``now_s``: monotonic seconds."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._brought: OrderedDict[str, SmppLine] = OrderedDict()

    def came(self, source: str, line: SmppLine) -> None:
        """A message of this phone came over this line: what is told to it goes back there."""
        phone = _digits(source)
        self._brought.pop(phone, None)
        self._brought[phone] = line
        if len(self._brought) > _PHONES_MAX:
            self._brought.popitem(last=False)

    def lines(self, destination: str, lines: Sequence[SmppLine]) -> Sequence[SmppLine]:
        """The lines that may carry a message to this number, of those given."""
        if len(lines) < 2:
            return lines
        phone = _digits(destination)
        home = self._brought.get(phone)
        if home is not None and home in lines and self._is_there(home):
            return (home,)
        able = [line for line in lines if self._is_there(line)]
        fits = {line.peer.name: _fit(line, phone) for line in able}
        best = max(fits.values(), default=0)
        if best:
            return [line for line in able if fits[line.peer.name] == best]
        return [line for line in able if not line.peer.routes] or able or lines

    def _is_there(self, line: SmppLine) -> bool:
        """Whether the line takes messages of ours, or did so until a moment ago."""
        if any(one.session.is_allowed(line.mt_command) for one in line.bound):
            return True
        return line.left_s is not None and self._now_s() - line.left_s < line.peer.fallback_s


def _fit(line: SmppLine, phone: str) -> int:
    """How many of the number's first digits this peer's routes name."""
    return max((len(one) for one in line.peer.routes if phone.startswith(one)), default=0)


def _digits(address: str) -> str:
    try:
        return address_digits(address)
    except Refusal:
        return address
