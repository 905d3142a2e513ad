"""Terminals before the doors: each on a line of its own, dialled anew whenever it dies; some of what they do is wrong.

A till does one thing after the other as a task of the house's; several tills are busy at the same time.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Coroutine, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from aircharge.simulators.pos_terminal import PosTerminal, TerminalSettings
from aircharge.world.till import Rung
from tests.doors.house import MERCHANT, TERMINALS, House

__all__ = ["Till", "drive", "tills_of"]

ANSWER_S = 6.0
TRIES = 25
SIGN_IN = ("77", "A0", "95")
APPROVED = "00"


class _Pause:
    def __await__(self) -> Generator[None, None, None]:
        yield


def drive(work: Coroutine[Any, Any, None]) -> Iterator[None]:
    """A coroutine as a task: it goes on whenever the house turns."""
    while True:
        try:
            work.send(None)
        except StopIteration:
            return
        yield


@dataclass(eq=False)
class Till:
    """A terminal, its clerk's memory, and its line. ``spoils``: what becomes of the next exchange's line."""

    house: House
    code: str
    outlet: str
    source: bytes
    terminal: PosTerminal = field(init=False)
    rung: list[Rung] = field(default_factory=list)
    outlets: list[str] = field(default_factory=list)  # of each rung
    sent: list[bytes] = field(default_factory=list)
    spoils: str = ""
    is_blocked: bool = False
    is_busy: bool = False
    line: socket.socket | None = None

    def __post_init__(self) -> None:
        settings = TerminalSettings(self.code, MERCHANT, self.house.masters[self.code])
        self.terminal = PosTerminal(settings, self.exchange)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """One thing at a time: what comes while it is busy is not done."""
        if self.is_busy:
            work.close()
            return
        self.is_busy = True
        self.house.tasks.append(drive(self._whole(work)))

    async def _whole(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            self.is_busy = False

    # -- the line -----------------------------------------------------------------------------------------

    async def exchange(self, octets: bytes) -> bytes | None:
        """The answer's octets; None when none came."""
        self.sent.append(octets)
        frame = b"\x60\x00\x03" + self.source + octets
        frame = len(frame).to_bytes(2, "big") + frame
        spoils, self.spoils = self.spoils, ""
        try:
            line = self._dialled()
            if spoils == "half":
                line.sendall(frame[: len(frame) // 2])
                return self.hang_up()
            line.sendall(frame)
            if spoils == "cut":
                return self.hang_up()
            answer = await self._answer(line)
        except OSError:
            self.hang_up()
            await self.pause(0.3)
            return None
        return answer if answer is not None else self.hang_up()

    async def _answer(self, line: socket.socket) -> bytes | None:
        end, buffer = time.monotonic() + ANSWER_S, b""
        while time.monotonic() < end:
            try:
                data = line.recv(65536)
            except BlockingIOError:
                await _Pause()
                continue
            if not data:
                return None
            buffer += data
            if len(buffer) >= 2 and len(buffer) >= 2 + int.from_bytes(buffer[:2], "big"):
                return buffer[7 : 2 + int.from_bytes(buffer[:2], "big")]
        return None

    def _dialled(self) -> socket.socket:
        if self.line is None:
            self.line = self.house.dial(self.house.pos_port)
            self.line.setblocking(False)
        return self.line

    def hang_up(self) -> None:
        if self.line is not None:
            self.line.close()
            self.line = None

    async def pause(self, wait_s: float) -> None:
        end = time.monotonic() + wait_s
        while time.monotonic() < end:
            await _Pause()

    # -- what its clerk does ------------------------------------------------------------------------------

    async def signed_in(self) -> bool:
        for _ in range(TRIES):
            outcome = await self.terminal.sign_in()
            if outcome.is_approved:
                return True
            if outcome.code:  # refused: blocked, not bound …
                return False
            await self.pause(0.3)
        return False

    async def clear(self, tries: int = TRIES) -> bool:
        """The reversal that is owed, until it is answered; whether nothing is owed."""
        terminal = self.terminal
        for _ in range(tries):
            if terminal.memory.owed is None:
                return True
            trace = terminal.owed_trace
            batch = terminal.memory.batch
            outcome = await terminal.clear()
            if outcome is not None and outcome.is_approved:
                for rung in self.rung:
                    if (rung.trace, rung.batch) == (trace, batch):
                        rung.taken_back = True
                return True
            if outcome is not None and outcome.code in SIGN_IN and not await self.signed_in():
                return False
            await self.pause(0.3)
        return terminal.memory.owed is None

    async def pay_back(self) -> None:
        """What it owes, under new keys; twice at most: a sale that is in doubt must be decided first."""
        if self.terminal.memory.owed is not None and await self.signed_in():
            await self.clear(2)

    async def sale(self, target: str, amount_fen: int, pin: str, fault: str) -> None:
        terminal = self.terminal
        if not terminal.memory.mak and not await self.signed_in():
            return
        if not await self.clear():
            return
        code = await self._ring(target, amount_fen, pin, fault)
        if code in SIGN_IN and await self.signed_in():
            await self._ring(target, amount_fen, pin, "")
        await self.clear(3)

    async def _ring(self, target: str, amount_fen: int, pin: str, fault: str) -> str:
        terminal = self.terminal
        rung = Rung(self.code, 0, target, amount_fen, fault)
        self.rung.append(rung)
        self.outlets.append(self.outlet)
        terminal.paid_trace, rung.batch = 0, terminal.memory.batch
        outcome = await terminal.sale(target, amount_fen, pin, fault=fault)
        rung.trace, rung.code, rung.reversal = terminal.paid_trace, outcome.code, terminal.paid
        if fault == "overtaken" and terminal.memory.owed is None:
            rung.taken_back = True
        return rung.code

    async def void(self, pin: str) -> None:
        if not terminal_ready(self) or not await self.clear():
            return
        sold = [rung for rung in self._heard() if not (rung.voided or rung.taken_back)]
        if not sold:
            return
        outcome = await self.terminal.void(sold[-1].trace, pin)
        sold[-1].voided = outcome.code in (APPROVED, "")
        await self.clear(3)

    async def misuse(self) -> None:
        """A dishonest clerk takes back an old sale as if its answer had been lost; the terminal has sold since."""
        if not terminal_ready(self) or not await self.clear():
            return
        old = [rung for rung in self._heard()[:-1] if not (rung.voided or rung.taken_back)]
        if old:
            await self.terminal.take_back_heard(old[0].reversal)

    def _heard(self) -> list[Rung]:
        batch = self.terminal.memory.batch
        return [rung for rung in self.rung if rung.code == APPROVED and rung.batch == batch]

    async def settle(self) -> None:
        if terminal_ready(self) and await self.clear():
            outcome = await self.terminal.settle()
            if outcome.code in SIGN_IN:
                await self.signed_in()

    async def ask(self, what: str, *about: Any) -> None:
        """A question: balance, last, check, reprint, download, echo, sign_out, sign_in."""
        if what in ("echo", "sign_in") or terminal_ready(self):
            await getattr(self.terminal, what)(*about)


def terminal_ready(till: Till) -> bool:
    return bool(till.terminal.memory.mak)


def tills_of(house: House) -> dict[str, Till]:
    return {
        code: Till(house, code, outlet, number.to_bytes(2, "big"))
        for number, (code, outlet) in enumerate(TERMINALS.items(), 1)
    }
