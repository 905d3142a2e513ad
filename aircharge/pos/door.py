"""The POS door as the daemon hangs it: places, applications, what is shown of them, and how it closes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger

from aircharge.outlets.cards import KeyRing
from aircharge.ports import Randomness
from aircharge.pos.counter import Counter
from aircharge.pos.fsk_door import FskDoor, check_settings
from aircharge.pos.iso_door import IsoDoor
from aircharge.pos.settings import PosSettings
from aircharge.pos.shelf import TerminalShelf
from aircharge.pos.till import Till
from aircharge.protocols.guarded import watch_gate
from aircharge.protocols.pos_dial import PosDialler
from aircharge.protocols.pos_line import Answer, PosServer
from aircharge.protocols.pos_place import PosPlace
from aircharge.protocols.shell import Ticker
from aircharge.switch.board import Board
from aircharge.switch.cancelling import Cancels

__all__ = ["PosDoor", "PosSection"]

log = Logger()


@dataclass(frozen=True, slots=True)
class PosSection:
    """``[pos]``: how terminals are answered, and where they come in."""

    door: PosSettings = field(default_factory=PosSettings)
    place: tuple[PosPlace, ...] = ()

    def __post_init__(self) -> None:
        names = [place.name for place in self.place]
        if len(set(names)) != len(names):
            raise ValueError("two places of one name")
        if any(place.application == "fsk" for place in self.place):
            check_settings(self.door)


class PosDoor:
    """All places of terminals. ``cancels`` fulfils automatic reversals even where no place is open any more."""

    def __init__(
        self,
        board: Board,
        ring: KeyRing,
        section: PosSection,
        spawn: Callable[[Coroutine[Any, Any, Any]], object],
        chance: Randomness,
        reactor: Any,
    ) -> None:
        settings = section.door
        shelf = TerminalShelf(board.ledger, ring, board.clock, settings.terminals_max)
        till = Till(board, settings, spawn, reactor)
        self.cancels = Cancels(board, reactor, spawn)
        self.servers: list[PosServer] = []
        self._reactor = reactor
        self._ports: list[Any] = []
        self._diallers: list[PosDialler] = []
        counter = Counter(till, shelf, board, settings, chance)
        answers: dict[str, Answer] = {"iso8583": IsoDoor(counter).answer, "fsk": FskDoor(counter).answer}
        is_open = any(not place.is_guarded for place in section.place)
        if is_open and settings.mac.startswith("cup-ecb"):
            log.warn(
                "pos.door.mac = {mac} does not protect amounts on an open line: docs/channels/pos.md",
                mac=settings.mac,
            )
        ticker = Ticker(reactor)
        for place in section.place:
            server = PosServer(place, ticker, answers[place.application], spawn, chance)
            self.servers.append(server)
            self._watch(board, server)
            if place.connect:
                dialler = PosDialler(server, reactor, chance)
                self._diallers.append(dialler)
                self._watch_dialled(board, dialler)

    @staticmethod
    def _watch(board: Board, server: PosServer) -> None:
        """What is read whenever somebody asks /metrics."""
        gauge, place = board.meters.registry.gauge, server.place.name
        lines, refused = partial(getattr, server, "connections"), partial(getattr, server, "refused")
        gauge("pos_connections", "connections of terminals", lines, place=place)
        gauge("pos_connections_refused", "connections of terminals refused", refused, place=place)
        watch_gate(board.meters.registry, server.gate)
        for reason in DROPPED:
            gauge(
                "pos_dropped",
                "frames and answers dropped",
                partial(_counted, server, reason),
                place=place,
                reason=reason,
            )

    @staticmethod
    def _watch_dialled(board: Board, dialler: PosDialler) -> None:
        gauge, place = board.meters.registry.gauge, dialler.server.place.name
        down, failures = partial(getattr, dialler, "down"), partial(getattr, dialler, "failures")
        gauge("pos_lines_down", "lines we dial that do not stand", down, place=place)
        gauge("pos_dials_failed", "lines dialled in vain", failures, place=place)

    async def open(self) -> None:
        """Listen and dial; lines that we dial come up by themselves. Raises CannotListenError."""
        for server in self.servers:
            if server.place.endpoint:
                endpoint = serverFromString(self._reactor, server.place.endpoint)
                self._ports.append(await endpoint.listen(server))
        for dialler in self._diallers:
            dialler.start()

    def close(self) -> None:
        """Take no new request; what is being answered still is."""
        for server in self.servers:
            server.close()

    async def hang_up(self) -> None:
        """Stop listening and dialling, and end all connections."""
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        for dialler in self._diallers:
            dialler.stop()
        for server in self.servers:
            server.hang_up()

    def status(self) -> dict[str, int]:
        """Connections by place."""
        return {server.place.name: server.connections for server in self.servers}


DROPPED: Sequence[str] = (
    "malformed",
    "lost",
    "not sent",
    "nobody there",
    "silence",
    "failed",
    "too many open",
    "closing",
    "ended: framing lost",
    "ended: frame unfinished",
    "ended: silence",
    "ended: not set up",
    "ended: no receipt",
    "ended: terminal silent",
    "ended: audio faster than it sounds",
)
"""Reasons that a line counts (``protocols.pos_line``) and /metrics shows."""


def _counted(server: PosServer, reason: str) -> float:
    return server.counted[reason]
