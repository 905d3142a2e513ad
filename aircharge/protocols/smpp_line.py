"""One SMPP peer at run time: its profile, its secret, its bound connections and what they share."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from aircharge.protocols.gate import Haunts
from aircharge.protocols.smpp_peer import SmppPeer
from aircharge.wire.gsm import DefaultAlphabet

if TYPE_CHECKING:
    from aircharge.protocols.smpp_connection import SmppConnection

__all__ = ["SmppLine", "TokenBucket", "authenticated"]


class TokenBucket:
    """So many messages a second, one second's worth at once; 0 = no limit. Fed ``now`` in seconds."""

    __slots__ = ("_rate", "_tokens", "_when")

    def __init__(self, rate_per_s: float, now: float) -> None:
        self._rate = rate_per_s
        self._tokens = max(rate_per_s, 1.0)
        self._when = now

    def take(self, now: float) -> float:
        """Take one; the seconds to wait before using it. Waiting takers queue up behind each other."""
        if self._rate <= 0:
            return 0.0
        self._tokens = min(max(self._rate, 1.0), self._tokens + (now - self._when) * self._rate)
        self._when = now
        self._tokens -= 1.0
        return 0.0 if self._tokens >= 0 else -self._tokens / self._rate

    def give_back(self) -> None:
        """Return one that was not used."""
        self._tokens += 1.0


class SmppLine:
    """What all connections of one peer share."""

    def __init__(self, peer: SmppPeer, password: str, now: float) -> None:
        self.peer = peer
        self.settings = peer.session_settings
        self.mo_commands = peer.mo_commands
        self.mt_command = peer.mt_command
        self.default_alphabet = cast(DefaultAlphabet, peer.default_alphabet)
        self.codecs = peer.codecs
        self.bound: list[SmppConnection] = []
        self.bucket = TokenBucket(peer.throughput_per_s, now)
        self._password = password.encode("latin-1")
        self._haunts = Haunts(peer.allow)
        self.away_s = (
            now  # since when it takes no messages of ours: our start, or the end of its last such session
        )
        self.took = False  # whether it ever had a session that takes them
        self._reference = 0

    @property
    def password(self) -> str:
        return self._password.decode("latin-1")

    def knows(self, system_id: str, password: str) -> bool:
        """Whether both are this peer's; takes the same time for any wrong pair of the same lengths."""
        is_name = hmac.compare_digest(system_id.encode("latin-1"), self.peer.system_id.encode("latin-1"))
        is_password = hmac.compare_digest(password.encode("latin-1"), self._password)
        return is_name & is_password

    def admits(self, host: str) -> bool:
        return self._haunts.admits(host)

    def opened(self, connection: SmppConnection) -> None:
        """A session of the peer is bound."""
        self.bound.append(connection)
        self._haunts.seen(connection.host, len(self.bound))

    def is_missed(self, host: str) -> bool:
        """Whether a session of the peer is missing that may well come from there."""
        return self._haunts.is_missed(host, len(self.bound))

    @property
    def has_room(self) -> bool:
        return len(self.bound) < self.peer.sessions_max

    def next_reference(self) -> int:
        """Reference number of the next concatenated message, 16 bits."""
        self._reference = (self._reference + 1) & 0xFFFF
        return self._reference


def authenticated(lines: Iterable[SmppLine], system_id: str, password: str, host: str) -> SmppLine | None:
    """The line these credentials belong to, from a place it may come from, with room for a session.

    Every line is compared, so that the time tells an outsider nothing about which name exists.
    """
    found = [line for line in lines if line.knows(system_id, password)]
    fit = [line for line in found if line.admits(host) and line.has_room]
    return fit[0] if fit else None
