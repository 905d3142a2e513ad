"""Messages whose parts did not all come, or that could not be read: their senders are told, after a crash too."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from twisted.logger import Logger

from aircharge.errors import LedgerError, Reason, Refusal
from aircharge.ledger.parts import NoteParts, WaitingParts
from aircharge.ledger.parts_reading import waiting_parts
from aircharge.protocols.smpp_inbound import PartsOf
from aircharge.switch.board import Board
from aircharge.switch.inquiry import object_to
from aircharge.values import Asker, address_digits

__all__ = ["UnjoinedParts"]

log = Logger()

_NOBODYS_MS: Final = 1_200_000
"""What another daemon has left for twice the life of a part is told by whoever starts."""


class UnjoinedParts:
    """``smpp_inbound.Unjoined`` on the ledger. ``spawn`` runs a coroutine to its end by itself."""

    def __init__(self, board: Board, node: int, spawn: Callable[[Coroutine[Any, Any, Any]], object]) -> None:
        self._board = board
        self._node = node
        self._spawn = spawn

    async def began(self, message: PartsOf) -> None:
        await self._board.ledger.do(NoteParts(began=(_row(message),)))

    def ended(self, message: PartsOf) -> None:
        self._spawn(self._end(_row(message)))

    def lost(self, message: PartsOf) -> None:
        self._spawn(self._tell_lost(_row(message)))

    def unreadable(self, source: str, destination: str, centre: str) -> None:
        self._spawn(self._tell(source, destination, centre, "unreadable"))

    async def recover(self) -> int:
        """Tell the senders of what waited when an earlier process ended; how many there were."""
        before_ms = self._board.clock.now_ms() - _NOBODYS_MS
        found = await self._board.ledger.read(lambda txn: waiting_parts(txn, self._node, before_ms))
        for message in found:
            await self._tell_lost(message)
        return len(found)

    async def _tell_lost(self, message: WaitingParts) -> None:
        if await self._tell(message.source, message.destination, message.centre, "parts"):
            await self._end(message)

    async def _tell(self, source: str, destination: str, centre: str, verb: str) -> bool:
        """Whether there is nothing more to tell: told, or nobody to be told."""
        try:
            asker = Asker(address_digits(source), address_digits(destination), centre=centre)
        except Refusal:
            return True
        try:
            await object_to(self._board, asker, Reason.FORMAT, verb)
        except (Refusal, LedgerError) as error:
            log.warn("a sender is not told that a message came to nothing: {error}", error=error)
            return False
        return True

    async def _end(self, message: WaitingParts) -> None:
        try:
            await self._board.ledger.do(NoteParts(ended=(message,)))
        except (Refusal, LedgerError) as error:
            log.warn("a message is whole, and still known to wait for parts: {error}", error=error)


def _row(message: PartsOf) -> WaitingParts:
    return WaitingParts(
        message.source, message.destination, message.ref, message.wide, message.total, message.centre
    )
