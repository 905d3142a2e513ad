"""Open files: how many the doors may need, and whose they are when the system gives fewer.

Every connection is a descriptor, and a process without one left can neither accept an SMS centre nor open its ledger.
So the start compares RLIMIT_NOFILE with the sum of what the doors allow: what the house itself, operators and SMS
centres may need is set aside, and terminals share the rest.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass, replace
from typing import Any, Final

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from aircharge.config import Config
from aircharge.errors import ConfigError
from aircharge.pos.door import PosSection
from aircharge.protocols.pos_place import PosPlace

__all__ = ["DescriptorWatch", "Needs", "descriptors_open", "needs_of", "raise_limit", "share_out"]

log = Logger()

_OWN: Final = 96  # code, logs, sockets of the reactor, files that are open for a moment
_A_DATABASE: Final = 4  # a connection to the ledger: SQLite opens up to four files
_PAGES: Final = 66  # metrics: its port, its gate's 64, one that is being refused
_PLACE_LEAST: Final = 16  # a place of terminals with fewer is no place
_SHORT: Final = 24  # so few left is an alarm
_LOOK_S: Final = 10.0
_SAY_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Needs:
    """Descriptors at the most: of the house, operators and SMS centres; of the terminals."""

    house: int
    terminals: int

    @property
    def total(self) -> int:
        return self.house + self.terminals


def needs_of(config: Config) -> Needs:
    """What a configuration allows its doors to hold open at once."""
    house = _OWN + _A_DATABASE * (config.ledger.writer.readers_max + 4)
    house += _PAGES if config.daemon.metrics_listen else 0
    for section in config.operator:
        link = section.link
        house += len(link.connect)
        house += len(link.listen) + (link.links_max + link.strangers_max if link.listen else 0)
    sessions = {section.profile.name: section.profile.sessions_max for section in config.smpp.peer}
    for place in config.smpp.place:
        bound = min(config.smpp.connections_max, 2 * sum(sessions.get(name, 0) for name in place.peers))
        house += len(place.peers) if place.direction == "dial" else 1 + bound + config.smpp.strangers_max
    return Needs(house, sum(map(_of_terminals, config.pos.place)))


def _of_terminals(place: PosPlace) -> int:
    return len(place.connect) or 1 + place.connections_max + place.strangers_max


def raise_limit(wanted: int) -> int:
    """Raise this process's own limit to ``wanted`` where the system lets it; the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    if soft != endless and soft < wanted:
        soft = wanted if hard == endless else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == endless else soft


def share_out(config: Config, limit: int) -> PosSection:
    """The places of terminals with what ``limit`` leaves them; as they are where it suffices.

    Raises ConfigError where it does not even suffice for operators, SMS centres and the house itself.
    """
    needs = needs_of(config)
    if needs.total <= limit:
        return config.pos
    listening = [place for place in config.pos.place if not place.connect]
    left = limit - needs.house - sum(len(place.connect) for place in config.pos.place)
    if left < _PLACE_LEAST * len(listening):
        least = needs.total - sum(map(_of_terminals, listening)) + _PLACE_LEAST * len(listening)
        raise ConfigError(
            config.path,
            "connections_max",
            f"this process may open {limit} files (RLIMIT_NOFILE), and the doors need {least} at the least,"
            f" {needs.total} for all of their connections_max: raise it (systemd: LimitNOFILE=, shell: ulimit -n)",
        )
    return replace(config.pos, place=tuple(_held(place, left, listening) for place in config.pos.place))


def _held(place: PosPlace, left: int, listening: list[PosPlace]) -> PosPlace:
    """One place with its part of ``left``, in proportion to what it may have, a quarter of it for strangers."""
    if place.connect:
        return place
    spare = left - _PLACE_LEAST * len(listening)
    room = _PLACE_LEAST + spare * _of_terminals(place) // sum(map(_of_terminals, listening)) - 1
    strangers = min(place.strangers_max, max(room // 4, 4))
    connections = min(place.connections_max, room - strangers)
    log.warn(
        "terminals at {place} are held to {connections} connections (connections_max: {wanted}) and {strangers}"
        " strangers: RLIMIT_NOFILE is too low for all doors (LimitNOFILE=, ulimit -n)",
        place=place.name,
        connections=connections,
        wanted=place.connections_max,
        strangers=strangers,
    )
    return replace(
        place,
        connections_max=connections,
        connections_per_address_max=min(place.connections_per_address_max, connections),
        strangers_max=strangers,
        strangers_per_address_max=min(place.strangers_per_address_max, max(strangers // 2, 2)),
    )


def descriptors_open() -> int | None:
    """Descriptors of this process; 0 where there is no /proc, None when none is left even to look there."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # one of them is the look itself
    except FileNotFoundError:
        return 0
    except OSError:
        return None


class DescriptorWatch:
    """Says in the log, once an hour, that descriptors run out; /ready and /metrics show it at once."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._told_s = float("-inf")
        self._round = LoopingCall(self.look)
        self._round.clock = reactor

    def start(self) -> None:
        self._round.start(_LOOK_S, now=False)

    def stop(self) -> None:
        if self._round.running:
            self._round.stop()

    def trouble(self) -> str:
        """A sentence when few are left, else ""."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit == resource.RLIM_INFINITY:
            return ""
        now = descriptors_open()
        if now is None:
            return f"all of {limit} file descriptors are open"
        return f"{now} of {limit} file descriptors are open" if limit - now < _SHORT else ""

    def look(self) -> None:
        """One round."""
        trouble, now = self.trouble(), self._reactor.seconds()
        if trouble and now - self._told_s >= _SAY_S:
            self._told_s = now
            log.critical("ALARM: {trouble} (RLIMIT_NOFILE): connections are refused", trouble=trouble)
