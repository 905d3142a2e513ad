"""Tills of the world: terminals behind an access server, fixed-line ones behind a gateway.

Each does one thing after the other, some of it wrong.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater

from aircharge.simulators.pos_call import CallFactory, PosCall
from aircharge.simulators.pos_fsk_terminal import FskTerminal
from aircharge.simulators.pos_terminal import Memory, Outcome, PosTerminal, TerminalSettings
from aircharge.world.plan import PIN, POS_PORTS, Counter
from aircharge.world.timeline import Host

__all__ = ["Rung", "Till", "Tills"]

_WAIT_S: Final = 12.0
_AGAIN_S: Final = 1.5
_SIGN_IN: Final = ("77", "A0", "95")
_TRIES: Final = 40
_SPOKEN: Final[dict[str, tuple[str, type[PosTerminal] | type[FskTerminal]]]] = {
    "iso8583": ("tpdu", PosTerminal),
    "fsk": ("fsk-gateway", FskTerminal),
}
"""Framing and terminal by language."""


@dataclass(slots=True, eq=False)
class Rung:
    """A sale as its clerk saw it. ``code``: DE 39, "" = no answer; ``taken_back``: the reversal was answered 00."""

    terminal: str
    trace: int
    target: str
    amount_fen: int
    fault: str = ""
    code: str = ""
    taken_back: bool = False
    voided: bool = False
    batch: int = 0
    reversal: dict[str, Any] = field(default_factory=dict)  # as its terminal would ask for it


@dataclass(eq=False)
class Till:
    """One terminal and what it still has to do."""

    counter: Counter
    source: bytes
    terminal: PosTerminal | FskTerminal
    rung: list[Rung] = field(default_factory=list)
    to_do: deque[tuple[str, dict[str, Any]]] = field(default_factory=deque)
    is_at_work: bool = False
    was_replaced: bool = False
    settled: str = ""  # what came of the settlement at the end
    sent: list[bytes] = field(default_factory=list)


class Tills:
    """Access server and gateway: one connection each for all terminals, dialled again whenever one of them speaks."""

    def __init__(
        self, host: Host, met: Callable[[str], None], masters: dict[str, bytes], counters: tuple[Counter, ...]
    ) -> None:
        self._host = host
        self._met = met
        self._factories = {language: CallFactory(host, framing) for language, (framing, _) in _SPOKEN.items()}
        self._calls: dict[str, PosCall] = {}
        self.tills: dict[str, Till] = {}
        for number, counter in enumerate(counters, 1):
            master = masters[counter.terminal]
            settings = TerminalSettings(counter.terminal, counter.merchant, master, module=counter.module)
            source = number.to_bytes(2, "big")
            made = _SPOKEN[counter.language][1]
            terminal = made(settings, self._exchange_of(source, counter))
            self.tills[counter.terminal] = Till(counter, source, terminal)

    @property
    def is_busy(self) -> bool:
        """Whether a clerk still has something to do, or a reversal is owed."""
        return any(till.to_do or till.is_at_work or till.terminal.memory.owed for till in self.tills.values())

    def do(self, terminal: str, verb: str, **about: Any) -> None:
        """Something more for a clerk; begun when all before it is done."""
        till = self.tills[terminal]
        till.to_do.append((verb, about))
        if not till.is_at_work:
            till.is_at_work = True
            self._host.callLater(0.0, self._begin, till)

    def _begin(self, till: Till) -> None:
        Deferred.fromCoroutine(self._work(till))

    async def _work(self, till: Till) -> None:
        try:
            while till.to_do:
                verb, about = till.to_do.popleft()
                await getattr(self, f"_do_{verb}")(till, **about)
        finally:
            till.is_at_work = False

    # -- the line ---------------------------------------------------------------------------------------------

    def _exchange_of(self, source: bytes, counter: Counter) -> Callable[[bytes], Any]:
        async def exchange(octets: bytes) -> bytes | None:
            call = await self._line(counter.language)
            if call is None:
                return None
            self.tills[counter.terminal].sent.append(octets)
            answer = await call.exchange(octets, source, _WAIT_S)
            if answer is None:
                self._hang_up(call, counter.language)
            return answer

        return exchange

    def _hang_up(self, call: PosCall, language: str) -> None:
        """What does not answer is dialled anew."""
        if self._calls.get(language) is call:
            del self._calls[language]
        line: Any = call.transport
        if line is not None:
            line.loseConnection()

    async def _line(self, language: str) -> PosCall | None:
        call = self._calls.get(language)
        if call is not None and call.transport is not None and not call.link.has_ended:
            return call
        endpoint = clientFromString(self._host, f"tcp:127.0.0.1:{POS_PORTS[language]}")
        try:
            made: PosCall = await endpoint.connect(self._factories[language])
        except ConnectError:
            await self._pause()
            return None
        self._calls[language] = made
        return made

    async def _pause(self) -> None:
        clock: Any = self._host
        await deferLater(clock, _AGAIN_S, lambda: None)

    # -- what clerks do ---------------------------------------------------------------------------------------

    async def _signed_in(self, till: Till) -> None:
        for _ in range(_TRIES):
            if (await till.terminal.sign_in()).is_approved:
                return
            await self._pause()

    async def _clear(self, till: Till) -> None:
        """The reversal that is owed, until it is answered."""
        memory = till.terminal.memory
        for _ in range(_TRIES):
            if memory.owed is None:
                return
            trace = till.terminal.owed_trace
            outcome = await till.terminal.clear()
            if outcome is not None and outcome.is_approved:
                for rung in till.rung:
                    if rung.trace == trace:
                        rung.taken_back = True
                return
            if outcome is not None and outcome.code in _SIGN_IN:
                await self._signed_in(till)
            await self._pause()

    async def _do_sale(self, till: Till, target: str, amount_fen: int, fault: str = "") -> None:
        if not till.terminal.memory.mak:
            await self._signed_in(till)
        await self._clear(till)
        if fault:
            self._met(f"terminal {fault}")
        outcome = await self._rung(till, target, amount_fen, fault)
        if (
            outcome.code in _SIGN_IN
        ):  # nothing has happened: the keys or the batch were not those of the centre
            await self._signed_in(till)
            await self._rung(till, target, amount_fen, "")
        await self._clear(till)

    async def _rung(self, till: Till, target: str, amount_fen: int, fault: str) -> Outcome:
        terminal = till.terminal
        rung = Rung(till.counter.terminal, 0, target, amount_fen, fault)
        till.rung.append(rung)
        terminal.paid_trace, rung.batch = 0, terminal.memory.batch
        outcome = await terminal.sale(target, amount_fen, fault=fault)
        rung.trace, rung.code = terminal.paid_trace, outcome.code
        rung.reversal = terminal.paid
        rung.taken_back = fault == "overtaken" and terminal.memory.owed is None
        return outcome

    async def _do_void(self, till: Till) -> None:
        """The last approved sale, on second thoughts."""
        await self._clear(till)
        sold = [rung for rung in till.rung if rung.code == "00" and not rung.voided and not rung.taken_back]
        if not sold:
            return
        outcome = await till.terminal.void(sold[-1].trace, PIN)
        sold[-1].voided = outcome.code in ("00", "")  # unanswered: who knows
        await self._clear(till)

    async def _do_misuse(self, till: Till) -> None:
        """A dishonest clerk takes back an old sale as if its answer had been lost; the terminal has sold since."""
        await self._clear(till)
        heard = [rung for rung in till.rung if rung.code == "00" and rung.batch == till.terminal.memory.batch]
        old = [rung for rung in heard[:-1] if not (rung.voided or rung.taken_back)]
        if old and till.terminal.memory.mak:
            self._met("terminal takes back what it heard")
            await till.terminal.take_back_heard(old[0].reversal)

    async def _do_replaced(self, till: Till) -> None:
        """Another device in the terminal's place: it knows neither keys nor batch, and counts from 1."""
        await self._clear(till)
        if till.terminal.memory.owed is None and till.rung:
            self._met("terminal replaced")
            till.terminal.memory, till.was_replaced = Memory(), True

    async def _do_replay(self, till: Till) -> None:
        """An attacker on the line sends an old message again, from a place of his own."""
        if not till.sent:
            return
        self._met("terminal replay")
        call = await self._line(till.counter.language)
        if call is not None:
            await call.exchange(till.sent[-1], b"\x7f\xff", _WAIT_S)

    async def _do_settle(self, till: Till) -> None:
        """The end of the day: what is owed, a sign-in where it is asked for, and the totals."""
        await self._clear(till)
        for _ in range(_TRIES):
            outcome = await till.terminal.settle()
            if outcome.is_approved:
                till.settled = outcome.code
                return
            if outcome.code in _SIGN_IN:
                await self._signed_in(till)
            await self._pause()
