"""Deposit tickets and credit lines: a ticket is asked for, the bank's line pays it, what has had its time ends."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from aircharge.errors import Reason, Refusal
from aircharge.ledger.pending import (
    ended_credit_lines,
    expired_tickets,
    free_sums,
    ticket_outlet,
    tickets_waiting,
)
from aircharge.ledger.tickets import AskTicket, PayTicket
from aircharge.switch.admission import HOUSE
from aircharge.switch.board import Board
from aircharge.switch.workload import CHANNELS
from aircharge.values import Receipt

__all__ = ["Expiry", "ask_ticket", "pay_ticket"]

log = Logger()
_SUMS: Final = 8  # exact sums a ticket may take, should others be quicker
_LOOKS: Final = 3  # how often a bank line's ticket is looked up anew


async def ask_ticket(board: Board, command: AskTicket) -> Receipt:
    """A ticket over ``command.amount_fen``; its ``sums`` are found here. Raises Refusal(BUSY)."""
    if board.closing:
        raise Refusal(Reason.BUSY, "closing")
    start = zlib.crc32(f"{command.key.scope}|{command.key.mark}".encode())
    async with board.admission.turn(HOUSE, command.asker.phone, CHANNELS[command.channel]):
        phone = command.asker.phone
        sums, waiting_n = await board.ledger.read(
            lambda txn: (
                free_sums(txn, phone, command.amount_fen, start, _SUMS),
                tickets_waiting(txn, phone),
            )
        )
        receipt = await board.ledger.do(dataclasses.replace(command, sums=sums, waiting_n=waiting_n))
    assert isinstance(receipt, Receipt)
    return receipt


async def pay_ticket(board: Board, command: PayTicket) -> Receipt | str:
    """Book a line of the bank; its outlet is found here. A text says why it cannot be."""
    for _ in range(_LOOKS):
        code = await board.ledger.read(lambda txn: ticket_outlet(txn, command.exact_fen))
        result = await board.ledger.do(dataclasses.replace(command, code=code))
        if isinstance(result, Receipt):
            return result
    return str(result)


class Expiry:
    """Ends tickets nobody has paid and credit lines whose day is over. Several daemons may do it at once."""

    def __init__(
        self, board: Board, reactor: IReactorTime, grace_ms: int, *, interval_s: float = 30.0
    ) -> None:
        self._board = board
        self._grace_ms = grace_ms
        self._interval_s = interval_s
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._round_guarded()))
        self._loop.clock = reactor

    def start(self) -> None:
        self._loop.start(self._interval_s, now=True).addErrback(
            lambda failure: log.failure("tickets and credit lines no longer expire", failure=failure)
        )

    def stop(self) -> None:
        if self._loop.running:
            self._loop.stop()

    async def _round_guarded(self) -> None:
        try:
            await self.round()
        except Exception:  # whatever one round meets, the next one comes
            log.failure("tickets and credit lines could not be looked at; the next round tries again")

    async def round(self) -> int:
        """One look; returns how many commands it came to."""
        ledger, now_ms = self._board.ledger, self._board.clock.now_ms()
        due: list[Any] = []
        due += await ledger.read(lambda txn: expired_tickets(txn, now_ms - self._grace_ms))
        due += await ledger.read(lambda txn: ended_credit_lines(txn, now_ms))
        for command in due:
            await ledger.do(command)
        return len(due)
