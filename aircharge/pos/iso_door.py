"""ISO 8583 at the door: a terminal's octets become an act of the till, what came of it becomes octets.

Checks in this order, each with a code of its own (``codes``): it can be read; it asks for something; terminal known,
merchant right, not blocked, calling from its outlet; signed in; MAC; batch; PIN block. Whatever is not answered is
counted by its reason. Source: docs/protocols/pos-8583.md.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from twisted.logger import Logger

from aircharge.errors import LedgerError, Refusal, WireError
from aircharge.ledger.terminals import SignOut, TookParameters, Totals, UseKey
from aircharge.outlets.cards import KeyRingError
from aircharge.ports import Randomness
from aircharge.pos import codes
from aircharge.pos.keys import master_version, sign_in
from aircharge.pos.settings import PosSettings
from aircharge.pos.shelf import Terminal, TerminalShelf
from aircharge.pos.slips import local_time, slip
from aircharge.pos.till import Said, Sale, Till
from aircharge.switch.board import Board
from aircharge.values import Operation, Pin
from aircharge.wire.iso8583.crypto import open_pin_block
from aircharge.wire.iso8583.message import MAC, BadMessage, Message
from aircharge.wire.iso8583.profile import PROFILES
from aircharge.wire.iso8583.terminal import (
    CURRENCY,
    Act,
    Demand,
    Header,
    Sums,
    act_of,
    has_good_mac,
    missing,
    network,
    open_message,
    original,
    read_lines,
    repeat_of,
    seal_message,
)
from aircharge.wire.pos_link import Message as Frame

__all__ = ["IsoDoor"]

log = Logger()

_ECHOED: Final = (2, 3, 4, 11, 41, 42, 49, 60)
_UPLOADS_MAX: Final = 1000
_UNSIGNED: Final = (Act.SIGN_IN, Act.ECHO)
_IN_BATCH: Final = (Act.SALE, Act.VOID, Act.CANCEL)
_SOON: Final = 0.1  # of a session left: time to sign in again


@dataclass(slots=True)
class Request:
    """One message on its way through the checks."""

    header: Header
    message: Message
    octets: bytes
    act: Act
    caller: str | None = None  # who dialled, "" when withheld; None: nobody did
    terminal: Terminal | None = None
    answer: dict[int, str | bytes] = field(default_factory=dict)
    demand: Demand = Demand.NONE

    @property
    def batch(self) -> int:
        return network(self.message)[1]

    @property
    def trace(self) -> int:
        return int(self.message.text(11))

    @property
    def known(self) -> Terminal:
        assert self.terminal is not None
        return self.terminal


class IsoDoor:
    """Answers messages; ``answer`` returns None for silence."""

    def __init__(
        self,
        till: Till,
        shelf: TerminalShelf,
        board: Board,
        settings: PosSettings,
        chance: Randomness,
    ) -> None:
        self._till = till
        self._shelf = shelf
        self._board = board
        self._settings = settings
        self._chance = chance
        self._profile = PROFILES[settings.profile]
        self._uploads: OrderedDict[tuple[int, int], dict[int, int]] = OrderedDict()
        self._acts: dict[Act, Callable[[Request], Awaitable[Said | None]]] = {
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

    async def answer(self, frame: Frame) -> bytes | None:
        """The application's octets in answer to a frame's; None: say nothing."""
        try:
            header, message = open_message(frame.content, self._profile)
        except BadMessage as error:
            return self._unreadable(frame.content, error)
        except WireError as error:
            self._count("none", f"header: {error.why}")
            return None
        try:
            act = act_of(message)
            if act is None:
                return self._plain(header, message, codes.UNKNOWN_FUNCTION)
            caller = frame.caller.ani if frame.caller else None
            request = Request(header, message, frame.content, act, caller)
            if set(missing(message, act)) - {MAC} or self._is_foreign(message):
                return self._plain(header, message, codes.FORMAT, act)
            said = await self._checked(request)
        except BadMessage as error:
            return self._unreadable(frame.content, error)
        except (LedgerError, KeyRingError) as error:
            log.error("a terminal's request is not answered: {why}", why=str(error))
            self._count("unknown", "silence")
            return None
        try:
            return self._reply(request, said)
        except BadMessage as error:  # ours does not fit: a fault of ours, and no reason to say anything false
            log.error("an answer to a terminal cannot be written: {why}", why=str(error))
            self._count(request.act.value, "silence")
            return None

    @staticmethod
    def _is_foreign(message: Message) -> bool:
        return message.text(49, CURRENCY) != CURRENCY

    # -- checks -----------------------------------------------------------------------------------------------

    async def _checked(self, request: Request) -> Said | None:
        """The first objection, else what the act comes to."""
        objection = await self._who(request)
        if objection:
            request.terminal = None  # nobody has proved to be it: the answer bears no MAC
            return Said(objection)
        if request.act not in _UNSIGNED:
            objection = await self._proved(request) or await self._in_batch(request)
            if objection:
                return Said(objection)
        return await self._acts[request.act](request)

    async def _who(self, request: Request) -> str:
        code = request.message.text(41)
        terminal = self._shelf.kept(code)
        if terminal is None or request.act is Act.SIGN_IN:
            terminal = await self._shelf.fetch(code)
        if terminal is None:
            return codes.TERMINAL_UNKNOWN
        request.terminal = terminal
        if self._standing(request) and not await self._fetched_anew(request):
            return codes.TERMINAL_UNKNOWN
        return self._standing(request)

    def _standing(self, request: Request) -> str:
        row = request.known.row
        if request.message.text(42) != row.merchant:
            return codes.MERCHANT_WRONG
        if not row.is_active:
            return codes.BLOCKED
        if request.caller is not None and self._settings.check_caller:
            called = [phone.lstrip("0") for phone in row.phones]
            return "" if request.caller in called else codes.CALLER_WRONG
        return ""

    async def _fetched_anew(self, request: Request) -> bool:
        """What stands on the shelf may be outdated; False when the terminal is gone."""
        terminal = await self._shelf.fetch(request.known.code)
        request.terminal = terminal or request.terminal
        return terminal is not None

    async def _proved(self, request: Request) -> str:
        """Signed in, and the MAC is this session's; who bears none has not signed in, or is not who he says."""
        has_mac = MAC in request.message.fields
        for is_fresh in (False, True):
            if is_fresh and not await self._fetched_anew(request):
                return codes.TERMINAL_UNKNOWN
            terminal = request.known
            is_in = terminal.is_signed_in(self._board.clock.now_ms())
            if (
                is_in
                and has_mac
                and has_good_mac(request.octets, self._profile, self._settings.mac, terminal.mak)
            ):
                await self._has_its_key(terminal)
                return ""
        request.demand = Demand.SIGN_IN
        request.terminal = None  # nobody has proved to be this terminal: the answer bears no MAC
        return codes.MAC_WRONG if is_in else codes.SIGN_IN

    async def _has_its_key(self, terminal: Terminal) -> None:
        """The first good MAC of a session shows that the terminal has the master key it was begun under."""
        row = terminal.row
        if row.session_key and row.session_key != row.key_version:
            await self._board.ledger.do(UseKey(row.id, row.code, row.session_key))
            self._shelf.forget(terminal)

    async def _in_batch(self, request: Request) -> str:
        """Sales and voids belong to the open batch; a reversal to that, or to the sale it names."""
        if request.act not in _IN_BATCH or request.batch == request.known.row.batch:
            return ""
        if not await self._fetched_anew(request):
            return codes.TERMINAL_UNKNOWN
        if request.batch == request.known.row.batch:
            return ""
        if request.act is Act.CANCEL and await self._till.knows(request.known, request.batch, request.trace):
            return ""
        return codes.BATCH_WRONG

    def _pin(self, request: Request) -> Pin | None:
        """DE 52 under the session's PIN key. Raises WireError."""
        block = request.message.octets(52)
        if not block:
            return None
        pan = request.message.text(2) if request.message.text(53)[:1] == "2" else ""
        return Pin(open_pin_block(request.known.pik, block, pan))

    # -- acts -------------------------------------------------------------------------------------------------

    def _sale_of(self, request: Request) -> Sale | None:
        """None: the PIN block does not open."""
        message = request.message
        try:
            pin = self._pin(request)
        except WireError:
            return None
        return Sale(
            request.batch,
            request.trace,
            message.text(2),
            int(message.text(4)),
            pin,
            repeat_of(message),
        )

    async def _sale(self, request: Request) -> Said | None:
        sale = self._sale_of(request)
        if sale is None:
            return Said(codes.PIN_BLOCK_WRONG)
        return await self._till.sell(request.known, sale)

    async def _void(self, request: Request) -> Said | None:
        sale = self._sale_of(request)
        if sale is None:
            return Said(codes.PIN_BLOCK_WRONG)
        return await self._till.void(request.known, sale, *original(request.message))

    async def _cancel(self, request: Request) -> Said | None:
        message = request.message
        return await self._till.cancel(
            request.known, request.batch, request.trace, int(message.text(4)), message.text(39)
        )

    async def _balance(self, request: Request) -> Said | None:
        said = await self._question(request, Operation.BALANCE)
        if said is not None and said.is_approved:
            fen = said.facts["available_fen"]
            request.answer[54] = f"0202{CURRENCY}{'C' if fen >= 0 else 'D'}{abs(fen):012d}"
        return said

    async def _last(self, request: Request) -> Said | None:
        said = await self._question(request, Operation.LAST)
        if said is None or not said.is_approved:
            return said
        if not said.facts["order_id"]:
            return Said(codes.NOT_FOUND)
        request.answer[2] = said.facts["target"]
        request.answer[4] = f"{said.facts['amount_fen']:012d}"
        request.answer[44] = said.facts["state"]
        return said

    async def _question(self, request: Request, operation: Operation) -> Said | None:
        try:
            pin = self._pin(request)
        except WireError:
            return Said(codes.PIN_BLOCK_WRONG)
        return await self._till.ask(request.known, operation, pin, request.trace)

    async def _check(self, request: Request) -> Said | None:
        said = self._till.check_number(request.message.text(2))
        if said.is_approved:
            request.answer[44] = str(said.facts["operator"])[:12]
        return said

    async def _copy(self, request: Request) -> Said | None:
        said = await self._till.copy(request.known, *original(request.message))
        if said.is_approved:
            request.answer[2] = said.facts["target"]
            request.answer[4] = f"{said.facts['amount_fen']:012d}"
        return said

    async def _echo(self, request: Request) -> Said | None:
        return Said(codes.APPROVED)

    # -- sessions ---------------------------------------------------------------------------------------------

    async def _sign_in(self, request: Request) -> Said | None:
        kind, _, code = network(request.message)
        if (code == "001") != (self._settings.key_octets == 8):
            return Said(codes.UNKNOWN_FUNCTION)  # nobody is talked into shorter keys
        asked = _asked_version(request.message)
        version = master_version(request.known, asked)
        if not version:
            return Said(codes.KEY_WRONG if asked else codes.BLOCKED)
        try:
            made = await sign_in(
                self._board, self._shelf, self._settings, self._chance, request.known, version
            )
        except Refusal:
            return None
        request.answer |= {60: f"{kind}{made.session.batch:06d}{code}", 62: made.keys.encode()}
        return Said(codes.APPROVED)

    async def _sign_out(self, request: Request) -> Said | None:
        row = request.known.row
        await self._board.ledger.do(SignOut(row.id, row.code))
        self._shelf.forget(request.known)
        return Said(codes.APPROVED)

    async def _parameters(self, request: Request) -> Said | None:
        settings = self._settings
        text = "\n".join((f"VERSION={settings.parameters_version}", *settings.parameters))
        request.answer[62] = text.encode("gbk", "replace")[:512]
        await self._board.ledger.do(TookParameters(request.known.row.id, settings.parameters_version))
        self._shelf.forget(request.known)
        return Said(codes.APPROVED)

    # -- batches ----------------------------------------------------------------------------------------------

    async def _settle(self, request: Request) -> Said | None:
        sums = Sums.decode(request.message)
        theirs = Totals(sums.sale_n, sums.sale_fen, sums.void_n, sums.void_fen)
        said = await self._till.settle(request.known, request.batch, theirs)
        if said is not None and said.is_approved:
            equal = bool(said.facts["equal"])
            request.answer[48] = request.message.text(48)[:30] + ("1" if equal else "2")
            self._uploads.pop((request.known.row.id, request.batch), None)
            self._shelf.forget(request.known)
        return said

    async def _upload(self, request: Request) -> Said | None:
        """Lines are kept until the end is told; a daemon that stops forgets them, and they are asked for again."""
        place = (request.known.row.id, request.batch)
        kept = self._uploads.setdefault(place, {})
        self._uploads.move_to_end(place)
        for line in read_lines(request.message):
            kept[line.trace] = -line.amount_fen if line.is_void else line.amount_fen
        while len(self._uploads) > _UPLOADS_MAX:
            self._uploads.popitem(last=False)
        if len(kept) > self._settings.upload_max:
            del self._uploads[place]
            return Said(codes.FORMAT)
        return Said(codes.APPROVED)

    async def _upload_end(self, request: Request) -> Said | None:
        place = (request.known.row.id, request.batch)
        kept = self._uploads.get(place, {})
        if int(request.message.text(48) or "0") != len(kept):
            self._uploads.pop(place, None)
            return Said(codes.BATCH_WRONG)
        said = await self._till.compare(request.known, request.batch, kept)
        if said is not None:
            self._uploads.pop(place, None)
            self._shelf.forget(request.known)
        return said

    # -- answers ----------------------------------------------------------------------------------------------

    def _reply(self, request: Request, said: Said | None) -> bytes | None:
        """The answer, under the session's MAC key where the terminal has proved to be itself."""
        if said is None:
            self._count(request.act.value, "silence")
            return None
        message, now = request.message, local_time(self._board.clock.now_ms(), self._board.utc_offset_min)
        answer = Message(message.answer_mti, {n: message.fields[n] for n in _ECHOED if n in message.fields})
        answer.fields |= {12: f"{now:%H%M%S}", 13: f"{now:%m%d}", 39: said.code}
        if order_id := said.facts.get("order_id"):
            answer.fields[37] = f"{order_id % 10**12:012d}"
        if said.is_approved:
            answer.fields |= request.answer
            if text := slip(request.act, said.facts, self._board.utc_offset_min):
                answer.fields[63] = text
        terminal = request.terminal
        is_signed = terminal is not None and MAC in message.fields
        mac, key = (self._settings.mac, terminal.mak) if terminal and is_signed else ("", b"")
        self._count(request.act.value, said.code)
        header = request.header.demanding(self._demand(request))
        return seal_message(header, answer, self._profile, mac if key else "", key)

    def _demand(self, request: Request) -> Demand:
        """What the terminal is to do next."""
        terminal, settings = request.terminal, self._settings
        if request.demand is not Demand.NONE or terminal is None or not terminal.mak:
            return request.demand
        left_ms = terminal.row.until_ms - self._board.clock.now_ms()
        if left_ms < settings.session_s * 1000 * _SOON and request.act is not Act.SIGN_IN:
            return Demand.SIGN_IN
        has_old = terminal.row.parameters < settings.parameters_version
        return Demand.PARAMETERS if has_old and settings.parameters else Demand.NONE

    def _unreadable(self, octets: bytes, error: BadMessage) -> bytes | None:
        """DE 39 = 30 where a terminal and its trace number could be read; else nothing."""
        so_far = error.so_far
        if not {11, 41} <= so_far.fields.keys() or len(so_far.mti) != 4 or so_far.mti[2] not in "02468":
            self._count("none", "unreadable")
            log.debug("a message that cannot be read: {why}", why=error.why)
            return None
        return self._plain(Header.decode(octets), so_far, codes.FORMAT)

    def _plain(self, header: Header, message: Message, code: str, act: Act | None = None) -> bytes | None:
        """A refusal without a MAC."""
        if message.mti[2] not in "02468":
            self._count("unknown", "no request")
            return None
        echoed: dict[int, str | bytes] = {n: message.fields[n] for n in _ECHOED if n in message.fields}
        self._count(act.value if act else "unknown", code)
        answer = Message(message.answer_mti, {**echoed, 39: code})
        return seal_message(header.demanding(Demand.NONE), answer, self._profile)

    def _count(self, act: str, said: str) -> None:
        text = "answers to payment terminals"
        self._board.meters.registry.counter("pos_answers_total", text, act=act, said=said).add()


def _asked_version(message: Message) -> int:
    """DE 57 ``KEY=2``: which master key the terminal has. 0: it does not say. Raises BadMessage."""
    for part in message.text(57).split(";"):
        name, _, value = part.strip().partition("=")
        if name == "KEY":
            if not (value.isascii() and value.isdecimal() and 1 <= int(value[:4]) <= 255):
                raise BadMessage("KEY is 1 to 255", 57, 0, message)
            return int(value)
    return 0
