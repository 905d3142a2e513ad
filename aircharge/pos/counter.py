"""What every terminal goes through, whatever it speaks: the checks in one order, then the act.

Checks, each with a code of its own (``codes``): terminal known; merchant right, not blocked, calling from its outlet;
signed in; MAC; batch; PIN block. A door (``iso_door``, ``fsk_door``) reads octets into ``Wanted``, writes ``Served``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

from twisted.logger import Logger

from aircharge.errors import LedgerError, Refusal, WireError
from aircharge.ledger.terminals import SignOut, TookParameters, Totals, UseSession, next_batch
from aircharge.outlets.cards import KeyRingError
from aircharge.ports import Randomness
from aircharge.pos import codes
from aircharge.pos.keys import master_version, sign_in
from aircharge.pos.settings import PosSettings
from aircharge.pos.shelf import Terminal, TerminalShelf
from aircharge.pos.till import Said, Sale, Till
from aircharge.switch.board import Board
from aircharge.values import Operation, Pin
from aircharge.wire.iso8583.terminal import Act, Demand

__all__ = ["Counter", "Served", "Wanted"]

log = Logger()

_UNSIGNED: Final = (Act.SIGN_IN, Act.ECHO)
_IN_BATCH: Final = (Act.SALE, Act.VOID, Act.CANCEL)
_UPLOADS_MAX: Final = 1000
_LINES_MAX: Final = 200_000  # of all uploads
_SOON: Final = 0.1  # of a session left: time to sign in again


def _no_pin(key: bytes) -> Pin | None:
    return None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request, whatever it was written in. ``code`` or ``module`` says whose it is."""

    act: Act
    batch: int
    trace: int
    proves: Callable[[bytes], bool]
    """Whether it bears the MAC of this key."""
    code: str = ""  # DE 41
    module: str = ""  # security module's number
    merchant: str | None = None  # DE 42; None: not told
    caller: str | None = None  # who dialled, "" when withheld; None: nobody did
    target: str = ""
    amount_fen: int = 0
    repeat: int = 1
    pin: Callable[[bytes], Pin | None] = _no_pin
    """The PIN under this key. Raises WireError for a block that does not open."""
    mac: bytes = (
        b""  # of the message; of an automatic reversal: of the sale's message, b"" where it is not told
    )
    original: tuple[int, int] = (0, 0)  # batch and trace of the sale that is meant
    consent: str = ""
    cause: str = "98"  # DE 39 of an automatic reversal: no answer
    key_version: int = 0  # master key it has; 0: not told
    key_octets: int = 0  # of the PIN key it takes; 0: not told
    totals: Totals = field(default_factory=Totals)
    lines: tuple[tuple[int, int], ...] = ()  # uploaded: trace and fen, voids below zero
    lines_in_all: int | None = None  # that it says it uploaded; None: as many as its settlement told


@dataclass(slots=True)
class Upload:
    """Lines of a batch as they come: fen by trace. ``told``: how many its settlement counted, None: not known."""

    batch: int
    lines: dict[int, int] = field(default_factory=dict)
    told: int | None = None


@dataclass(slots=True)
class Served:
    """What came of it. ``said`` None: say nothing; ``terminal`` None: nobody has proved to be it, so no MAC."""

    said: Said | None
    terminal: Terminal | None = None
    demand: Demand = Demand.NONE


class Counter:
    """All doors' checks and acts."""

    def __init__(
        self, till: Till, shelf: TerminalShelf, board: Board, settings: PosSettings, chance: Randomness
    ) -> None:
        self.board = board
        self.settings = settings
        self._till = till
        self._shelf = shelf
        self._chance = chance
        self._uploads: OrderedDict[int, Upload] = OrderedDict()  # by terminal: each has one
        self._told_next: OrderedDict[int, int] = OrderedDict()  # by terminal: the batch it was told to begin
        self._acts: dict[Act, Callable[[Wanted, Terminal], Awaitable[Said | None]]] = {
            Act.SALE: self._sale,
            Act.VOID: self._void,
            Act.BALANCE: self._balance,
            Act.LAST: self._last,
            Act.CHECK: self._check,
            Act.COPY: self._copy,
            Act.CANCEL: self._cancel,
            Act.SIGN_IN: self._sign_in,
            Act.PARAMETERS: self._parameters,
            Act.SIGN_OUT: self._sign_out,
            Act.ECHO: self._echo,
            Act.SETTLE: self._settle,
            Act.UPLOAD: self._upload,
            Act.UPLOAD_END: self._upload_end,
        }

    async def serve(self, wanted: Wanted) -> Served:
        """The first objection, else what the act comes to. Counted by act and code."""
        try:
            served = await self._checked(wanted)
        except (LedgerError, KeyRingError) as error:
            log.error("a terminal's request is not answered: {why}", why=str(error))
            served = Served(None)
        self.count(wanted.act.value, "silence" if served.said is None else served.said.code)
        return served

    def count(self, act: str, said: str) -> None:
        """Shown by /metrics."""
        text = "answers to payment terminals"
        self.board.meters.registry.counter("pos_answers_total", text, act=act, said=said).add()

    # -- checks -----------------------------------------------------------------------------------------------

    async def _checked(self, wanted: Wanted) -> Served:
        terminal, objection = await self._who(wanted)
        if terminal is not None and objection and wanted.act is Act.CANCEL:
            terminal, objection = await self._owing(wanted, terminal, objection)
        if terminal is None or objection:
            return Served(Said(objection))
        if wanted.act not in _UNSIGNED:
            terminal, objection = await self._proved(wanted, terminal)
            if terminal is None:
                is_lost = objection in (codes.MAC_WRONG, codes.SIGN_IN)
                return Served(Said(objection), None, Demand.SIGN_IN if is_lost else Demand.NONE)
            terminal, objection = await self._in_batch(wanted, terminal)
            if terminal is None or objection:
                return Served(Said(objection), terminal, self._demand(wanted, terminal))
        said = await self._acts[wanted.act](wanted, terminal)
        has_proved = wanted.act not in _UNSIGNED  # a MAC for whoever asks would be one to forge requests with
        return Served(said, terminal if has_proved else None, self._demand(wanted, terminal))

    async def _who(self, wanted: Wanted) -> tuple[Terminal | None, str]:
        """The terminal it says it is, and what speaks against it."""
        terminal = self._shelf.kept(wanted.code, wanted.module)
        if terminal is None or wanted.act is Act.SIGN_IN or self._standing(wanted, terminal):
            terminal = await self._shelf.fetch(wanted.code, wanted.module)
        if terminal is None:
            return None, codes.TERMINAL_UNKNOWN
        return terminal, self._standing(wanted, terminal)

    def _standing(self, wanted: Wanted, terminal: Terminal) -> str:
        row = terminal.row
        if wanted.merchant not in (None, row.merchant):
            return codes.MERCHANT_WRONG
        if not row.is_active:
            return codes.BLOCKED
        if wanted.caller is not None and self.settings.check_caller:
            called = [phone.lstrip("0") for phone in row.phones]
            return "" if wanted.caller in called else codes.CALLER_WRONG
        return ""

    async def _owing(self, wanted: Wanted, terminal: Terminal, objection: str) -> tuple[Terminal | None, str]:
        """Hear a terminal that may not trade but owes a reversal, under a good MAC: the cash may have gone back."""
        found, _ = await self._proved(wanted, terminal)
        return (found, "") if found is not None else (terminal, objection)

    async def _proved(self, wanted: Wanted, terminal: Terminal) -> tuple[Terminal | None, str]:
        """Signed in, and the MAC is this session's; who bears none has not signed in, or is not who he says.

        What stands on the shelf may be outdated: it is read once more before anybody is refused.
        """
        found: Terminal | None = terminal
        for is_fresh in (False, True):
            if is_fresh:
                found = await self._shelf.fetch(wanted.code, wanted.module)
            if found is None:
                return None, codes.TERMINAL_UNKNOWN
            now_ms = self.board.clock.now_ms()
            is_in, offered = found.is_signed_in(now_ms), found.offered(now_ms)
            if is_in and wanted.proves(found.mak):
                return found, ""
            for offer in offered:
                if wanted.proves(offer.mak):
                    return await self._with_new_keys(wanted, found, offer.session)
        return None, codes.MAC_WRONG if is_in or offered else codes.SIGN_IN

    async def _with_new_keys(
        self, wanted: Wanted, terminal: Terminal, session: int
    ) -> tuple[Terminal | None, str]:
        """The first good MAC under keys that were offered: the terminal has them, and the ones before are gone."""
        row = terminal.row
        is_used = await self.board.ledger.do(UseSession(row.id, row.code, session))
        found = await self._shelf.fetch(wanted.code, wanted.module)
        is_in = is_used and found is not None and found.is_signed_in(self.board.clock.now_ms())
        if is_in and found is not None and wanted.proves(found.mak):
            return found, ""
        return None, codes.SIGN_IN  # somebody has ended it meanwhile

    async def _in_batch(self, wanted: Wanted, terminal: Terminal) -> tuple[Terminal | None, str]:
        """Sales and voids belong to the open batch; a reversal to that, or to the sale it names."""
        if wanted.act not in _IN_BATCH or wanted.batch == terminal.row.batch:
            return terminal, ""
        found = await self._shelf.fetch(wanted.code, wanted.module)
        if found is None:
            return None, codes.TERMINAL_UNKNOWN
        if wanted.batch == found.row.batch:
            return found, ""
        if wanted.act is Act.CANCEL and await self._till.knows(found, wanted.batch, wanted.trace):
            return found, ""
        was_told = self._told_next.get(found.row.id) == wanted.batch == next_batch(found.row.batch)
        if was_told and await self._till.begin_next_batch(found):
            self._told_next.pop(found.row.id, None)
            self._shelf.forget(found)
            return await self._shelf.fetch(wanted.code, wanted.module), ""
        return found, codes.BATCH_WRONG

    def _demand(self, wanted: Wanted, terminal: Terminal | None) -> Demand:
        """What the terminal is to do next."""
        if terminal is None or not terminal.mak:
            return Demand.NONE
        left_ms = terminal.row.until_ms - self.board.clock.now_ms()
        if left_ms < self.settings.session_s * 1000 * _SOON and wanted.act is not Act.SIGN_IN:
            return Demand.SIGN_IN
        has_old = terminal.row.parameters < self.settings.parameters_version
        return Demand.PARAMETERS if has_old and self.settings.parameters else Demand.NONE

    # -- acts -------------------------------------------------------------------------------------------------

    @staticmethod
    def _sale_of(wanted: Wanted, terminal: Terminal) -> Sale | None:
        """None: the PIN block does not open."""
        try:
            pin = wanted.pin(terminal.pik)
        except WireError:
            return None
        return Sale(
            wanted.batch, wanted.trace, wanted.target, wanted.amount_fen, pin, wanted.repeat, wanted.mac
        )

    async def _sale(self, wanted: Wanted, terminal: Terminal) -> Said | None:
        sale = self._sale_of(wanted, terminal)
        return Said(codes.PIN_BLOCK_WRONG) if sale is None else await self._till.sell(terminal, sale)

    async def _void(self, wanted: Wanted, terminal: Terminal) -> Said | None:
        sale = self._sale_of(wanted, terminal)
        if sale is None:
            return Said(codes.PIN_BLOCK_WRONG)
        return await self._till.void(terminal, sale, *wanted.original, wanted.consent)

    async def _cancel(self, wanted: Wanted, terminal: Terminal) -> Said | None:
        return await self._till.cancel(
            terminal,
            wanted.batch,
            wanted.trace,
            wanted.amount_fen,
            wanted.cause,
            wanted.target,
            wanted.mac,
        )

    async def _balance(self, wanted: Wanted, terminal: Terminal) -> Said | None:
        return await self._question(wanted, terminal, Operation.BALANCE)

    async def _last(self, wanted: Wanted, terminal: Terminal) -> Said | None:
        said = await self._question(wanted, terminal, Operation.LAST)
        is_nothing = said is not None and said.is_approved and not said.facts["order_id"]
        return Said(codes.NOT_FOUND) if is_nothing else said

    async def _question(self, wanted: Wanted, terminal: Terminal, operation: Operation) -> Said | None:
        try:
            pin = wanted.pin(terminal.pik)
        except WireError:
            return Said(codes.PIN_BLOCK_WRONG)
        return await self._till.ask(terminal, operation, pin, wanted.trace)

    async def _check(self, wanted: Wanted, terminal: Terminal) -> Said | None:
        return self._till.check_number(wanted.target)

    async def _copy(self, wanted: Wanted, terminal: Terminal) -> Said | None:
        return await self._till.copy(terminal, *wanted.original)

    async def _echo(self, wanted: Wanted, terminal: Terminal) -> Said | None:
        return Said(codes.APPROVED)

    # -- sessions ---------------------------------------------------------------------------------------------

    async def _sign_in(self, wanted: Wanted, terminal: Terminal) -> Said | None:
        """Facts: ``made`` (SignedIn).

        A terminal whose trace numbers start over within its open batch is told the next one. That batch begins with its
        first message under a MAC: a sign-in proves nothing.
        """
        if wanted.key_octets not in (0, self.settings.key_octets):
            return Said(codes.UNKNOWN_FUNCTION)  # nobody is talked into shorter keys
        version = master_version(terminal, wanted.key_version)
        if not version:
            return Said(codes.KEY_WRONG if wanted.key_version else codes.BLOCKED)
        try:
            made = await sign_in(self.board, self._shelf, self.settings, self._chance, terminal, version)
        except Refusal:
            return None
        if await self._till.traces_start_over(terminal, wanted.trace):
            made = replace(made, session=replace(made.session, batch=next_batch(made.session.batch)))
            self._told_next[terminal.row.id] = made.session.batch
            while len(self._told_next) > self.settings.terminals_max:
                self._told_next.popitem(last=False)
        return Said(codes.APPROVED, {"made": made})

    async def _sign_out(self, wanted: Wanted, terminal: Terminal) -> Said | None:
        await self.board.ledger.do(SignOut(terminal.row.id, terminal.code))
        self._shelf.forget(terminal)
        return Said(codes.APPROVED)

    async def _parameters(self, wanted: Wanted, terminal: Terminal) -> Said | None:
        """Facts: ``lines``."""
        await self.board.ledger.do(TookParameters(terminal.row.id, self.settings.parameters_version))
        self._shelf.forget(terminal)
        return Said(codes.APPROVED, {"lines": self.settings.parameter_lines})

    # -- batches ----------------------------------------------------------------------------------------------

    async def _settle(self, wanted: Wanted, terminal: Terminal) -> Said | None:
        said = await self._till.settle(terminal, wanted.batch, wanted.totals)
        if said is not None and said.is_approved:
            upload = self._upload_of(terminal, wanted.batch)
            upload.lines.clear()
            upload.told = wanted.totals.sale_n + wanted.totals.void_n
            if said.facts["equal"]:
                del self._uploads[terminal.row.id]
            self._shelf.forget(terminal)
        return said

    def _upload_of(self, terminal: Terminal, batch: int) -> Upload:
        """What has come of this batch, the newest behind; of too many the oldest is forgotten."""
        upload = self._uploads.pop(terminal.row.id, None)
        if upload is None or upload.batch != batch:
            upload = Upload(batch)
        self._uploads[terminal.row.id] = upload
        while len(self._uploads) > _UPLOADS_MAX or (len(self._uploads) > 1 and self._lines() > _LINES_MAX):
            self._uploads.popitem(last=False)
        return upload

    def _lines(self) -> int:
        return sum(len(upload.lines) for upload in self._uploads.values())

    async def _upload(self, wanted: Wanted, terminal: Terminal) -> Said | None:
        """Lines are kept until the end is told; a daemon that stops forgets them, and they are asked for again."""
        upload = self._upload_of(terminal, wanted.batch)
        upload.lines |= dict(wanted.lines)
        if len(upload.lines) > self.settings.upload_max:
            upload.lines.clear()
            return Said(codes.FORMAT)
        return Said(codes.APPROVED)

    async def _upload_end(self, wanted: Wanted, terminal: Terminal) -> Said | None:
        upload = self._uploads.get(terminal.row.id)
        if upload is None or upload.batch != wanted.batch:
            upload = Upload(wanted.batch)
        in_all = upload.told if wanted.lines_in_all is None else wanted.lines_in_all
        if in_all != len(upload.lines):
            upload.lines.clear()
            return Said(codes.BATCH_WRONG)
        said = await self._till.compare(terminal, wanted.batch, upload.lines)
        if said is not None:
            self._uploads.pop(terminal.row.id, None)
            self._shelf.forget(terminal)
        return said
