"""Who may connect, and for how long before it has proved who it is.

A connection is a *stranger* until its session proves it (``Guest.proved``). Strangers have a number of their own, a
share for each place (an IPv4 address, or the /64 of an IPv6 address) and a short life, so that they never take a
peer's room: where they are too many, the one that waited longest in the most crowded place gives way to the newcomer.
Whoever proves a wrong name or password (``Guest.wrong``) makes its place wait, each time longer.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from twisted.logger import Logger

__all__ = ["Gate", "GateSettings", "Guest", "Haunts", "is_within", "networks", "place_of"]

log = Logger()

_PLACES_MAX: Final = 4096  # places whose wrong binds are remembered, and of what was proved there
_HAUNTS_MAX: Final = 64
_WRONG_FREE: Final = 3  # slips of a configuration are not slowed
_WRONG_FIRST_S: Final = 0.5
_WRONG_MOST_S: Final = 8.0
_WRONG_MEMORY_S: Final = 600.0  # a place that was quiet for so long starts anew
_ALARM_S: Final = 3600.0  # one alarm a place and hour
_ALARMS_MAX: Final = 50  # … and so many of all places


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Who may connect and how often. ``connections``: those that have proved who they are."""

    allow: tuple[str, ...] = ()  # networks in CIDR form; none = everybody
    connections_max: int = 5000
    connections_per_ip_max: int = 64
    strangers_max: int = 256  # connections that have not proved who they are
    strangers_per_address_max: int = 64
    first_octet_s: float = 5.0  # a stranger that has said nothing by then is cut off; 0 = never


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """CIDR texts, parsed; an IPv4 one also where IPv6 wraps it ("::ffff:10.0.0.0/104"). Raises ValueError."""
    return tuple(_unwrapped(ipaddress.ip_network(text)) for text in texts)


def _unwrapped(network: Network) -> Network:
    first = getattr(network.network_address, "ipv4_mapped", None)
    if first is None or network.prefixlen < 96:
        return network
    return ipaddress.IPv4Network((first, network.prefixlen - 96))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, an IPv4 one also where IPv6 wraps it; None of a Unix socket, say."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_within(host: str, allowed: tuple[Network, ...]) -> bool:
    """Whether an address lies in one of the networks; no networks at all admit everybody."""
    if not allowed:
        return True
    address = _address(host)
    return address is not None and any(address in network for network in allowed)


def place_of(host: str) -> str:
    """What counts as one place: an IPv4 address, the /64 of an IPv6 address, else the text itself."""
    address = _address(host)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host if address is None else str(address)


class Guest:
    """One connection that the gate let in. ``end(why)`` cuts it off; whoever makes the connection sets it."""

    __slots__ = ("_gate", "end", "first_octet_s", "is_held", "is_known", "is_spent", "place", "since")

    def __init__(self, gate: Gate, place: str, since: float, first_octet_s: float) -> None:
        self._gate: Gate | None = gate
        self.place = place
        self.since = since
        self.first_octet_s = first_octet_s
        self.is_known = False
        self.is_held = False  # it has spoken and waits for our answer: it does not give way
        self.is_spent = False  # it was wrong: it gives way first
        self.end: Callable[[str], object] = lambda _: None

    def proved(self) -> None:
        """It is a peer: no stranger any more."""
        if self._gate is not None and not self.is_known:
            self._gate.known(self)

    def wrong(self, words: str) -> float:
        """It proved nothing; ``words`` say what it tried. Seconds after which it may be told so."""
        self.is_held, self.is_spent = False, True
        return 0.0 if self._gate is None else self._gate.wrong(self.place, words)

    def pause_s(self) -> float:
        """Seconds that its place waits before a proof is looked at."""
        return 0.0 if self._gate is None else self._gate.pause_s(self.place)

    def is_overdue(self, now: float) -> bool:
        """Whether its first octet should have come."""
        return not self.is_known and 0 < self.first_octet_s <= now - self.since

    def said_nothing(self) -> None:
        """It is cut off for that."""
        if self._gate is not None:
            self._gate.counted["silent"] += 1
        self.left()

    def hold(self) -> bool:
        """Whether it may stay while it waits for its turn; False: too many wait, it is to be cut off unheard."""
        if self.is_held or self._gate is None:
            return True
        self.is_held = self._gate.may_hold(self.place)
        return self.is_held

    def left(self) -> None:
        """The connection is over; said more than once it counts once."""
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.leave(self)


class _Wrongs:
    __slots__ = ("count", "last_s", "told_s", "unsaid")

    def __init__(self) -> None:
        self.count = 0
        self.last_s = 0.0
        self.told_s = float("-inf")
        self.unsaid = 0


class Gate:
    """Counts connections and refuses those over a bound or from a strange place.

    ``now_s``: monotonic time. ``counted``: refusals and ends by reason: "strange place", "too many", "gave way",
    "silent", "wrong".
    """

    def __init__(self, settings: GateSettings, now_s: Callable[[], float], name: str = "a door") -> None:
        self.settings = settings
        self.name = name
        self.counted: Counter[str] = Counter()
        self._now_s = now_s
        self._networks = networks(settings.allow)
        self._strangers: dict[str, dict[Guest, None]] = {}
        self._known: Counter[str] = Counter()
        self._wrongs: OrderedDict[str, _Wrongs] = OrderedDict()
        self._alarms: list[float] = []

    @property
    def strangers(self) -> int:
        return sum(map(len, self._strangers.values()))

    @property
    def connections(self) -> int:
        """All of them, strangers too."""
        return self._known.total() + self.strangers

    @property
    def refused(self) -> int:
        """Connections that were refused at once."""
        return self.counted["strange place"] + self.counted["too many"]

    @property
    def is_full(self) -> bool:
        """Whether no more may prove themselves."""
        return self._known.total() >= self.settings.connections_max

    # -- coming and going -----------------------------------------------------------------------------------

    def admit(self, host: str) -> Guest | None:
        """Take one more connection from there; None: refused. Say ``left`` when it is over."""
        settings, place = self.settings, place_of(host)
        if not is_within(host, self._networks):
            self.counted["strange place"] += 1
            return None
        is_full_here = self._known[place] >= settings.connections_per_ip_max
        if self.is_full or is_full_here or not self._make_room(place):
            self.counted["too many"] += 1
            return None
        guest = Guest(self, place, self._now_s(), settings.first_octet_s)
        self._strangers.setdefault(place, {})[guest] = None
        return guest

    def _make_room(self, place: str) -> bool:
        """Have a stranger give way where there are too many; False where nobody can."""
        settings = self.settings
        here = self._strangers.get(place, {})
        if len(here) >= settings.strangers_per_address_max:
            return self._give_way(here)
        if self.strangers < settings.strangers_max:
            return True
        groups = sorted(self._strangers.values(), key=lambda group: (-len(group), next(iter(group)).since))
        return any(self._give_way(group) for group in groups)

    def _give_way(self, group: dict[Guest, None]) -> bool:
        able = [guest for guest in group if not guest.is_held]
        if not able:
            return False
        guest = next((one for one in able if one.is_spent), able[0])
        self.counted["gave way"] += 1
        guest.left()
        guest.end("too many strangers")
        return True

    def may_hold(self, place: str) -> bool:
        """Whether one more may wait: half of the room always stays for newcomers."""
        settings = self.settings
        here = sum(guest.is_held for guest in self._strangers.get(place, ()))
        everywhere = sum(guest.is_held for group in self._strangers.values() for guest in group)
        if here * 2 < settings.strangers_per_address_max and everywhere * 2 < settings.strangers_max:
            return True
        self.counted["gave way"] += 1
        return False

    def known(self, guest: Guest) -> None:
        """A stranger has proved itself."""
        self._forget(guest)
        guest.is_known, guest.is_held, guest.is_spent = True, False, False
        self._known[guest.place] += 1

    def leave(self, guest: Guest) -> None:
        """One connection is over."""
        if not guest.is_known:
            self._forget(guest)
            return
        self._known[guest.place] -= 1
        if not self._known[guest.place]:
            del self._known[guest.place]

    def _forget(self, guest: Guest) -> None:
        here = self._strangers[guest.place]
        del here[guest]
        if not here:
            del self._strangers[guest.place]

    # -- wrong names and passwords --------------------------------------------------------------------------

    def pause_s(self, place: str) -> float:
        """Seconds that a place waits, by the wrong binds that came from there lately."""
        found = self._wrongs.get(place)
        if found is None or found.count <= _WRONG_FREE or self._is_over(found):
            return 0.0
        return float(min(_WRONG_MOST_S, _WRONG_FIRST_S * 2 ** min(found.count - _WRONG_FREE - 1, 16)))

    def wrong(self, place: str, words: str) -> float:
        """A wrong bind came from there: counted, and an alarm once an hour. Seconds that its place waits now."""
        now = self._now_s()
        found = self._wrongs.pop(place, None)
        if found is None:
            found = _Wrongs()
        elif self._is_over(found):
            found.count = 0
        self._wrongs[place] = found
        if len(self._wrongs) > _PLACES_MAX:
            self._wrongs.popitem(last=False)
        found.count += 1
        found.last_s = now
        found.unsaid += 1
        self.counted["wrong"] += 1
        if found.count > _WRONG_FREE and now - found.told_s >= _ALARM_S and self._may_tell(now):
            log.critical(
                "ALARM: {door}: {count} wrong binds from {place}, the last: {words}; it is slowed down",
                door=self.name,
                count=found.unsaid,
                place=place,
                words=words,
            )
            found.told_s, found.unsaid = now, 0
        return self.pause_s(place)

    def _is_over(self, found: _Wrongs) -> bool:
        return self._now_s() - found.last_s >= _WRONG_MEMORY_S

    def _may_tell(self, now: float) -> bool:
        self._alarms = [at for at in self._alarms if now - at < _ALARM_S]
        if len(self._alarms) >= _ALARMS_MAX:
            return False
        self._alarms.append(now)
        return True


class Haunts:
    """The places where a peer was bound since the start, and its sessions then, at the most.

    A peer that is missed at its place is heard at once, whoever else sends wrong binds from there.
    """

    def __init__(self, allow: Iterable[str]) -> None:
        self._networks = networks(allow)
        self._usual: OrderedDict[str, int] = OrderedDict()

    def admits(self, host: str) -> bool:
        """Whether the configuration lets the peer come from there."""
        return is_within(host, self._networks)

    def seen(self, host: str, sessions: int) -> None:
        """The peer was bound there; it has so many sessions now."""
        place = place_of(host)
        self._usual[place] = max(self._usual.pop(place, 0), sessions)
        if len(self._usual) > _HAUNTS_MAX:
            self._usual.popitem(last=False)

    def is_missed(self, host: str, sessions: int) -> bool:
        """Whether it has fewer sessions than it had, and may well come from there; of a peer that was not seen yet:
        whether its configuration names that place."""
        named = 1 if self._networks and self.admits(host) else 0
        return sessions < self._usual.get(place_of(host), named)
