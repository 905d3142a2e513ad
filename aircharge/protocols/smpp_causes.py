"""Troubles with SMPP peers: each cause is logged once and counted, not once per PDU."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

__all__ = ["Troubles"]

_CAUSES_MAX: Final = 200  # a peer writes what it likes: causes are forgotten, oldest first
_RECIPIENTS_MIN: Final = 3
_AGAIN_S: Final = 3600.0


class Troubles:
    """Counts what goes wrong, by kind; logs each (peer, kind, words) when first seen and once an hour after that.

    ``now_s`` is monotonic time. Kinds: "bind refused", "unreachable", "malformed", "refused", "unsendable".
    """

    log = Logger()

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._seen: OrderedDict[tuple[str, str, str], tuple[float, int]] = OrderedDict()
        self.counts: dict[tuple[str, str], int] = {}  # (peer, kind): how often since the start
        self._refusing: dict[str, str] = {}
        self._refused: dict[str, set[str]] = {}  # recipients refused for good since the peer took one

    def tell(self, peer: str, kind: str, words: str) -> None:
        """Something went wrong with ``peer``."""
        counted = (peer, kind)
        if counted not in self.counts and len(self.counts) >= _CAUSES_MAX:
            counted = ("others", kind)  # whoever dials has an address of its own
        self.counts[counted] = self.counts.get(counted, 0) + 1
        key = (peer, kind, words)
        told_s, unsaid = self._seen.pop(key, (float("-inf"), 0))
        now_s = self._now_s()
        if now_s - told_s >= _AGAIN_S:
            again = f" ({unsaid} times more since this was last said)" if unsaid else ""
            self.log.warn(
                "SMPP {peer}: {kind}: {words}{again}", peer=peer, kind=kind, words=words, again=again
            )
            told_s, unsaid = now_s, 0
        else:
            unsaid += 1
        self._seen[key] = (told_s, unsaid)
        if len(self._seen) > _CAUSES_MAX:
            self._seen.popitem(last=False)

    def given_up(self, peer: str, words: str, recipient: str = "") -> None:
        """A message of ours ended undelivered; ``peer`` counts as refusing until it takes one.

        One number that does not exist is no fault of the peer's: with ``recipient`` only after the messages to three
        different ones were refused, and none was taken between.
        """
        refused = self._refused.setdefault(peer, set())
        if recipient and len(refused) < _RECIPIENTS_MIN:
            refused.add(recipient)
            if len(refused) < _RECIPIENTS_MIN:
                return
        if peer not in self._refusing:
            self.log.critical(
                "ALARM: SMPP {peer} does not take our messages: {words}", peer=peer, words=words
            )
        self._refusing[peer] = words

    def taken(self, peer: str) -> None:
        """A message of ours was taken."""
        self._refused.pop(peer, None)
        if self._refusing and self._refusing.pop(peer, None) is not None:
            self.log.info("SMPP {peer} takes our messages again", peer=peer)

    @property
    def refusing(self) -> dict[str, str]:
        """Peers whose last answer to a message of ours was a final no, and why."""
        return dict(self._refusing)

    def total(self, kind: str) -> int:
        """How often since the start, all peers."""
        return sum(count for (_, of), count in self.counts.items() if of == kind)
