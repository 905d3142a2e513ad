"""A payment terminal: it signs in, sells, takes back what is not answered, settles its batch. True ISO 8583.

``PosTerminal`` knows no line: it hands octets to ``exchange`` and gets the answer's octets, or None when none came.
What it must not forget (batch, trace, keys, journal, a reversal that is owed) is in ``Memory``, which a file may keep.
Faults are asked for by name, per call (``FAULTS``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from aircharge.errors import WireError
from aircharge.wire.iso8583.crypto import check_value, decrypt, encrypt, pin_block
from aircharge.wire.iso8583.message import Message, Value
from aircharge.wire.iso8583.profile import PROFILES
from aircharge.wire.iso8583.requests import Desk, with_pin
from aircharge.wire.iso8583.terminal import (
    Act,
    Demand,
    Header,
    Line,
    Sums,
    WorkingKeys,
    has_good_mac,
    open_message,
    seal_message,
    write_lines,
)

__all__ = ["FAULTS", "Memory", "Outcome", "PosTerminal", "Sold", "TerminalSettings"]

Exchange = Callable[[bytes], Awaitable[bytes | None]]

FAULTS: Final = (
    "lose-answer",  # the answer comes and is not seen
    "repeat",  # the same octets twice; the second answer counts
    "wrong-mac",  # the last octet of the MAC is another
    "trailing",  # an octet too many
    "no-bitmap",  # the bitmap says nothing
    "other-content",  # once as meant, then the same trace with another amount
    "overtaken",  # its own reversal arrives before it
    "wrong-pin-key",  # the PIN block is made with another key
    "never-sent",  # the request is lost before it leaves; the terminal does not know
)
_LINES: Final = 15
_BITMAP_AT: Final = 8
_APPROVED: Final = "00"
_TRACES: Final = 999_999
_NO_DATE: Final = "0000"


@dataclass(frozen=True, slots=True)
class TerminalSettings:
    """What a terminal is set up with; ``profile`` and ``mac`` as the centre's."""

    code: str = "10000001"
    merchant: str = "898110200000001"
    master: bytes = field(default=bytes(16), repr=False)
    key_version: int = 0  # said in DE 57 when not 0
    profile: str = "cup"
    mac: str = "cup-ecb"
    double_length: bool = True  # asks for keys of 16 octets
    operator: str = "001"
    module: str = "1000000000000001"  # a fixed-line terminal's security module
    fsk_profile: str = "2001"


@dataclass(slots=True)
class Sold:
    """A line of the terminal's journal."""

    trace: int
    amount_fen: int
    target: str = ""
    is_void: bool = False
    voided: bool = False


@dataclass(slots=True)
class Memory:
    """What survives a switch-off."""

    batch: int = 1
    trace: int = 0
    pik: str = field(default="", repr=False)  # hexadecimal
    mak: str = field(default="", repr=False)
    journal: list[Sold] = field(default_factory=list)
    owed: dict[str, Any] | None = None  # the reversal that must be answered before the next sale
    parameters: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Memory:
        return cls(**{**kept, "journal": [Sold(**line) for line in kept["journal"]]})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the clerk sees: DE 39 ("" = no answer), the slip, and what else was said."""

    code: str
    slip: str = ""
    fields: dict[int, Any] = field(default_factory=dict)

    @property
    def is_approved(self) -> bool:
        return self.code == _APPROVED


class PosTerminal:
    """One terminal; one exchange at a time."""

    def __init__(
        self,
        settings: TerminalSettings,
        exchange: Exchange,
        memory: Memory | None = None,
        keep: Callable[[Memory], None] = lambda memory: None,
        hang_up: Callable[[], None] = lambda: None,
    ) -> None:
        """``keep`` writes the memory down; it is called before any octet leaves, so that what is owed survives.

        ``hang_up`` is never called: ISO 8583 has no word for it, the line stays as long as its owner likes.
        """
        self.settings = settings
        self.memory = memory or Memory()
        self.wants = Demand.NONE  # what the centre asked for last
        self.paid_trace = 0  # of the last recharge or void
        self.paid: dict[str, Any] = {}  # its reversal, whether it is owed or not
        self._exchange = exchange
        self._keep = keep
        self._profile = PROFILES[settings.profile]

    @property
    def owed_trace(self) -> int:
        """The sale whose reversal is owed; 0: none."""
        return int(self.memory.owed["11"]) if self.memory.owed else 0

    # -- what a clerk can do ----------------------------------------------------------------------------------

    async def sign_in(self) -> Outcome:
        """New working keys; refused by the terminal itself when their check values are wrong ("key")."""
        settings = self.settings
        more: dict[int, Value] = {63: settings.operator}
        if settings.key_version:
            more[57] = f"KEY={settings.key_version}"
        network = "003" if settings.double_length else "001"
        answer = await self._ask(Act.SIGN_IN, more, network, signed=False)
        if answer is None or answer.text(39) != _APPROVED:
            return self._outcome(answer)
        try:
            sent = WorkingKeys.decode(answer.octets(62))
        except WireError:
            return Outcome("key")
        pik, mak = decrypt(settings.master, sent.pik), decrypt(settings.master, sent.mak)
        if (check_value(pik), check_value(mak)) != (sent.pik_check, sent.mak_check):
            return Outcome("key")
        memory = self.memory
        memory.pik, memory.mak = pik.hex(), mak.hex()
        batch = int(answer.text(60)[2:8])
        if batch != memory.batch:
            memory.batch, memory.journal = batch, []
        return self._outcome(answer)

    async def sale(
        self, target: str, amount_fen: int, pin: str = "", repeat: int = 1, fault: str = ""
    ) -> Outcome:
        """A recharge. Without an answer it is taken back before the next one."""
        answer = await self._pay(lambda desk, trace: desk.sale(trace, target, amount_fen, repeat), pin, fault)
        if answer is not None and answer.text(39) == _APPROVED:
            self.memory.journal.append(Sold(int(answer.text(11)), amount_fen, target))
        return self._outcome(answer)

    async def void(self, trace: int, pin: str = "", fault: str = "") -> Outcome:
        """Takes back a sale of this batch, today."""
        sold = next((line for line in self.memory.journal if line.trace == trace and not line.is_void), None)
        amount_fen = sold.amount_fen if sold else 0

        def build(desk: Desk, own: int) -> Message:
            return desk.void(own, amount_fen, desk.original(trace, _NO_DATE))

        answer = await self._pay(build, pin, fault)
        if answer is not None and answer.text(39) == _APPROVED and sold is not None:
            sold.voided = True
            self.memory.journal.append(Sold(int(answer.text(11)), amount_fen, sold.target, is_void=True))
        return self._outcome(answer)

    async def clear(self) -> Outcome | None:
        """Ask for the reversal that is owed until it is answered under a MAC; None: nothing is owed."""
        owed = self.memory.owed
        if owed is None:
            return None
        answer = await self._send(Message("0400", {int(n): value for n, value in owed.items()}), signed=True)
        if answer is not None and 64 in answer.fields:
            self.memory.owed = None
            trace = int(owed["11"])
            self.memory.journal = [line for line in self.memory.journal if line.trace != trace]
        return self._outcome(answer)

    async def take_back_heard(self, reversal: dict[str, Any]) -> Outcome | None:
        """A dishonest clerk's: the reversal (``paid``) of a sale whose answer was heard. None: another one is owed."""
        memory = self.memory
        if memory.owed is not None:
            return None
        journal, memory.owed = list(memory.journal), dict(reversal)
        outcome = await self.clear()
        memory.owed = None
        if outcome is None or not outcome.is_approved:
            memory.journal = journal
        return outcome

    async def _cleared(self) -> bool:
        """Whether nothing is owed, or not any more; else the line is dead: nothing new before that."""
        if self.memory.owed is not None:
            await self.clear()
        return self.memory.owed is None

    async def balance(self, pin: str = "") -> Outcome:
        return self._outcome(await self._ask(Act.BALANCE, pin=pin))

    async def last(self) -> Outcome:
        return self._outcome(await self._ask(Act.LAST))

    async def check(self, target: str) -> Outcome:
        """Who serves that number?"""
        return self._outcome(await self._ask(Act.CHECK, {2: target}))

    async def reprint(self, trace: int) -> Outcome:
        return self._outcome(await self._ask(Act.COPY, {61: self._desk.original(trace, _NO_DATE)}))

    async def settle(self) -> Outcome:
        """What is owed; totals; on a difference every line; then the next batch."""
        if not await self._cleared():
            return Outcome("")
        journal = self.memory.journal
        sales = [line.amount_fen for line in journal if not line.is_void]
        voids = [line.amount_fen for line in journal if line.is_void]
        sums = Sums(sum(sales), len(sales), sum(voids), len(voids))
        answer = await self._ask(Act.SETTLE, {48: sums.encode()})
        if answer is None or answer.text(39) != _APPROVED:
            return self._outcome(answer)
        said = "equal"
        if Sums.decode(answer).said != "1":
            said = f"it differs: {len(journal)} lines uploaded"
            answer = await self._upload()
            if answer is None or answer.text(39) != _APPROVED:
                return self._outcome(answer)
        self.memory.batch, self.memory.journal = self.memory.batch % _TRACES + 1, []
        return replace(self._outcome(answer), slip=said)

    async def _upload(self) -> Message | None:
        journal = self.memory.journal
        for at in range(0, len(journal), _LINES):
            lines = [Line(line.trace, line.amount_fen, line.is_void) for line in journal[at : at + _LINES]]
            answer = await self._ask(Act.UPLOAD, {48: write_lines(lines)})
            if answer is None or answer.text(39) != _APPROVED:
                return answer
        return await self._ask(Act.UPLOAD_END, {48: f"{len(journal):04d}"})

    async def download(self) -> Outcome:
        answer = await self._ask(Act.PARAMETERS)
        if answer is not None and answer.text(39) == _APPROVED:
            self.memory.parameters = answer.octets(62).decode("gbk", "replace")
            return replace(self._outcome(answer), slip=self.memory.parameters)
        return self._outcome(answer)

    async def echo(self) -> Outcome:
        return self._outcome(await self._ask(Act.ECHO, signed=False))

    async def sign_out(self) -> Outcome:
        outcome = self._outcome(await self._ask(Act.SIGN_OUT))
        if outcome.is_approved:
            self.memory.pik = self.memory.mak = ""
        return outcome

    # -- messages ---------------------------------------------------------------------------------------------

    @property
    def _desk(self) -> Desk:
        return Desk(self.settings.code, self.settings.merchant, self.memory.batch)

    def _next_trace(self) -> int:
        self.memory.trace = self.memory.trace % _TRACES + 1
        return self.memory.trace

    def _with_pin(self, message: Message, pin: str, fault: str = "") -> Message:
        """The PIN under the session's key, bound to the number where there is one."""
        if not (pin and self.memory.pik):
            return message
        pan, key = message.text(2), bytes.fromhex(self.memory.pik)
        if fault == "wrong-pin-key":
            key = bytes(octet ^ 0xF0 for octet in key)
        block = encrypt(key, pin_block(pin, pan))
        return with_pin(message, block, bound=bool(pan))

    async def _ask(
        self,
        act: Act,
        more: dict[int, Value] | None = None,
        network: str = "",
        *,
        pin: str = "",
        signed: bool = True,
    ) -> Message | None:
        message = self._desk.request(act, self._next_trace(), more, network=network)
        return await self._send(self._with_pin(message, pin), signed=signed)

    async def _pay(self, build: Callable[[Desk, int], Message], pin: str, fault: str) -> Message | None:
        """A request that moves money: what is owed is cleared first, and what is not answered is owed."""
        if not self.memory.mak:
            return Message("0210", {39: "77"})  # it says so itself: sign in first
        if not await self._cleared():
            return None
        message = self._with_pin(build(self._desk, self._next_trace()), pin, fault)
        self.paid_trace = self.memory.trace
        self.memory.owed = {str(n): value for n, value in Desk.reversal(message).fields.items()}
        self.paid = self.memory.owed
        if fault == "overtaken":
            await self.clear()
        answer = await self._send(message, signed=True, fault=fault)
        if fault == "overtaken":
            return None  # it has gone on
        if answer is not None and 64 in answer.fields:  # what bears no MAC proves nothing: it is taken back
            self.memory.owed = None
        return answer

    async def _send(self, message: Message, *, signed: bool, fault: str = "") -> Message | None:
        """One exchange; None: no answer, or none that is ours and sound."""
        mak = bytes.fromhex(self.memory.mak) if signed else b""
        octets = seal_message(Header(), message, self._profile, self.settings.mac if mak else "", mak)
        octets = _spoiled(octets, fault)
        self._keep(self.memory)
        if fault == "never-sent":
            return None
        answer = await self._exchange(octets)
        if fault == "repeat":
            answer = await self._exchange(octets)
        if fault == "other-content":
            other = Message(message.mti, {**message.fields, 4: "000000009900"})
            mac = self.settings.mac if mak else ""
            answer = await self._exchange(seal_message(Header(), other, self._profile, mac, mak))
        if answer is None or fault == "lose-answer":
            return None
        return self._sound(message, answer, mak)

    def _sound(self, message: Message, octets: bytes, mak: bytes) -> Message | None:
        """The answer, when it is to this request and nobody has touched it. An approval without a MAC is none."""
        try:
            header, answer = open_message(octets, self._profile)
        except WireError:
            return None
        is_ours = answer.mti == message.answer_mti and all(
            answer.fields.get(n, message.fields[n]) == message.fields[n] for n in (11, 41)
        )
        has_mac = 64 in answer.fields
        if has_mac and not (mak and has_good_mac(octets, self._profile, self.settings.mac, mak)):
            return None
        if not is_ours or (mak and not has_mac and answer.text(39) == _APPROVED):
            return None
        self.wants = Demand(header.demand) if header.demand in "0134" else Demand.NONE
        return answer

    @staticmethod
    def _outcome(answer: Message | None) -> Outcome:
        return (
            Outcome("") if answer is None else Outcome(answer.text(39), answer.text(63), dict(answer.fields))
        )


def _spoiled(octets: bytes, fault: str) -> bytes:
    if fault == "wrong-mac":
        return octets[:-1] + bytes([octets[-1] ^ 1])
    if fault == "trailing":
        return octets + b"\0"
    if fault == "no-bitmap":
        return octets[:_BITMAP_AT] + bytes(8) + octets[_BITMAP_AT + 8 :]
    return octets
