"""A fixed-line payment terminal: the same counter work as ``pos_terminal``, in the message of such terminals.

It has no texts of its own: it shows, prints and does next what the answer orders, and hangs up when told. Like its
sister it knows no line (``exchange``) and keeps what it must not forget in ``Memory``. docs/protocols/pos-fsk.md, 6.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from aircharge.errors import WireError
from aircharge.simulators.pos_terminal import Memory, Outcome, Sold, TerminalSettings
from aircharge.wire.fsk_message import Mac
from aircharge.wire.fsk_octets import OctetReader
from aircharge.wire.fsk_operands import MAC_OCTETS, FskOperation
from aircharge.wire.fsk_outlet import Answered, Asked, Head, Reply
from aircharge.wire.fsk_profiles import PROFILES, STRICT_RULES, Layout, Transaction
from aircharge.wire.fsk_wishes import (
    Balance,
    Echo,
    Last,
    NumberCheck,
    Original,
    Parameters,
    Recharge,
    Reprint,
    Reversal,
    Settlement,
    SignIn,
    SignOut,
    Upload,
    Void,
    Wish,
)
from aircharge.wire.iso8583.crypto import MACS, check_value, decrypt, encrypt, pin_block
from aircharge.wire.iso8583.terminal import Demand

__all__ = ["FskTerminal"]

Exchange = Callable[[bytes], Awaitable[bytes | None]]

_APPROVED: Final = "00"
_SIGN_IN_FIRST: Final = "77"  # it says so itself
_TRACES: Final = 999_999
_DETAILS: Final = 40
_CHECK_OCTETS: Final = 4
_WANTS: Final[dict[Transaction | None, Demand]] = {
    Transaction.SIGN_IN: Demand.SIGN_IN,
    Transaction.PARAMETERS: Demand.PARAMETERS,
}


class FskTerminal:
    """One terminal; one exchange at a time."""

    def __init__(
        self,
        settings: TerminalSettings,
        exchange: Exchange,
        memory: Memory | None = None,
        keep: Callable[[Memory], None] = lambda memory: None,
        hang_up: Callable[[], None] = lambda: None,
    ) -> None:
        """``keep`` writes the memory down before any octet leaves; ``hang_up`` ends the call."""
        self.settings = settings
        self.memory = memory or Memory()
        self.wants = Demand.NONE  # what the centre ordered to do next
        self.paid_trace = 0  # of the last recharge or void
        self.paid: dict[str, Any] = {}  # its reversal, whether it is owed or not
        self._exchange = exchange
        self._keep = keep
        self._hang_up = hang_up
        self._profile = replace(PROFILES[settings.fsk_profile], rules=STRICT_RULES)

    @property
    def owed_trace(self) -> int:
        """The sale whose reversal is owed; 0: none."""
        return int(self.memory.owed["trace"]) if self.memory.owed else 0

    # -- what a clerk can do ----------------------------------------------------------------------------------

    async def sign_in(self) -> Outcome:
        """New working keys; refused by the terminal itself when their check values are wrong ("key")."""
        try:
            answer = await self._ask(SignIn())
            if answer is not None and answer.reply.keys is not None:
                pik, mak = self._unwrapped(answer.reply)
                self.memory.pik, self.memory.mak = pik.hex(), mak.hex()
                self._take_batch(answer.reply)
        except WireError:
            return Outcome("key")
        return _outcome(answer)

    async def sale(
        self, target: str, amount_fen: int, pin: str = "", repeat: int = 1, fault: str = ""
    ) -> Outcome:
        """A recharge. Without an answer it is taken back before the next one."""
        if not self.memory.mak:
            return Outcome(_SIGN_IN_FIRST)
        block = self._pin(pin, fault)
        wish = Recharge(target, amount_fen, block, repeat, self.memory.batch)
        other = replace(wish, amount_fen=9900) if fault == "other-content" else None
        answer = await self._pay(wish, amount_fen, fault, other)
        if answer is not None and answer.reply.shown.code == _APPROVED:
            self.memory.journal.append(Sold(answer.head.trace, amount_fen, target))
        return _outcome(answer)

    async def void(self, trace: int, pin: str = "", fault: str = "") -> Outcome:
        """Takes back a sale of this batch, today."""
        if not self.memory.mak:
            return Outcome(_SIGN_IN_FIRST)
        sold = next((line for line in self.memory.journal if line.trace == trace and not line.is_void), None)
        amount_fen = sold.amount_fen if sold else 0
        wish = Void(trace, amount_fen, self._pin(pin, fault), "", self.memory.batch)
        answer = await self._pay(wish, amount_fen or 1, fault)
        if answer is not None and answer.reply.shown.code == _APPROVED and sold is not None:
            sold.voided = True
            self.memory.journal.append(Sold(answer.head.trace, amount_fen, sold.target, is_void=True))
        return _outcome(answer)

    async def clear(self) -> Outcome | None:
        """Ask for the reversal that is owed until it is answered under a MAC; None: nothing is owed."""
        owed = self.memory.owed
        if owed is None:
            return None
        original = Original(owed["trace"], bytes.fromhex(owed["mac"]))
        answer = await self._ask(Reversal(original, owed["amount_fen"], owed["batch"]))
        if answer is not None and _has_mac(answer):
            self.memory.owed = None
            self.memory.journal = [line for line in self.memory.journal if line.trace != owed["trace"]]
        return _outcome(answer)

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
        return _outcome(await self._ask(Balance(self._pin(pin))))

    async def last(self) -> Outcome:
        return _outcome(await self._ask(Last()))

    async def check(self, target: str) -> Outcome:
        """Who serves that number?"""
        return _outcome(await self._ask(NumberCheck(target)))

    async def reprint(self, trace: int) -> Outcome:
        return _outcome(await self._ask(Reprint(trace, self.memory.batch)))

    async def settle(self) -> Outcome:
        """What is owed; totals; where the centre orders it every line; then the next batch."""
        if not await self._cleared():
            return Outcome("")
        memory, journal = self.memory, self.memory.journal
        sales = [line.amount_fen for line in journal if not line.is_void]
        voids = [line.amount_fen for line in journal if line.is_void]
        answer = await self._ask(Settlement(memory.batch, len(sales), sum(sales), len(voids), sum(voids)))
        if answer is not None and answer.transaction is Transaction.UPLOAD:
            answer = await self._upload()
        if answer is not None and answer.reply.shown.code == _APPROVED:
            memory.batch, memory.journal = memory.batch % _TRACES + 1, []
        return _outcome(answer)

    async def _upload(self) -> Answered | None:
        """Every line, then none: that is all."""
        lines = [
            (line.trace, -line.amount_fen if line.is_void else line.amount_fen)
            for line in self.memory.journal
        ]
        for at in range(0, len(lines), _DETAILS):
            answer = await self._ask(Upload(self.memory.batch, tuple(lines[at : at + _DETAILS])))
            if answer is None or answer.reply.shown.code != _APPROVED:
                return answer
        return await self._ask(Upload(self.memory.batch))

    async def download(self) -> Outcome:
        answer = await self._ask(Parameters())
        if answer is not None and answer.reply.shown.code == _APPROVED:
            rows = (row.decode("gbk", "replace") for row in _parameters(answer.reply))
            self.memory.parameters = "\n".join(rows)
        return _outcome(answer)

    async def echo(self) -> Outcome:
        return _outcome(await self._ask(Echo()))

    async def sign_out(self) -> Outcome:
        outcome = _outcome(await self._ask(SignOut()))
        if outcome.is_approved:
            self.memory.pik = self.memory.mak = ""
        return outcome

    # -- messages ---------------------------------------------------------------------------------------------

    def _pin(self, pin: str, fault: str = "") -> bytes:
        """The PIN under the session's key, bound to no number; none without a session."""
        if not (pin and self.memory.pik):
            return b""
        key = bytes.fromhex(self.memory.pik)
        if fault == "wrong-pin-key":
            key = bytes(octet ^ 0xF0 for octet in key)
        return encrypt(key, pin_block(pin))

    def _mac(self, key: str) -> Mac:
        return partial(MACS[self.settings.mac], bytes.fromhex(key))

    def _unwrapped(self, reply: Reply) -> Iterable[bytes]:
        """PIN and MAC key in clear. Raises WireError for a check value that does not hold."""
        assert reply.keys is not None
        for key in reply.keys.keys[:2]:
            clear = decrypt(self.settings.master, key.value[:-_CHECK_OCTETS])
            if not hmac.compare_digest(check_value(clear), key.value[-_CHECK_OCTETS:]):
                raise WireError("FSK", "39", "a check value is wrong", field="work keys")
            yield clear

    def _take_batch(self, reply: Reply) -> None:
        for row in _parameters(reply):
            name, _, value = row.decode("ascii", "replace").partition("=")
            if name == "BATCH" and value.isdecimal() and int(value) != self.memory.batch:
                self.memory.batch, self.memory.journal = int(value), []

    async def _pay(
        self, wish: Wish, amount_fen: int, fault: str, other: Wish | None = None
    ) -> Answered | None:
        """A request that moves money: what is owed is cleared first, and what is not answered is owed."""
        memory = self.memory
        if not await self._cleared():
            return None
        asked = self._request(wish)
        self.paid_trace = asked.head.trace
        mac = asked.encode(self._mac(memory.mak), self._profile)[-MAC_OCTETS:].hex()
        owed = {"trace": asked.head.trace, "mac": mac, "amount_fen": amount_fen, "batch": memory.batch}
        memory.owed = self.paid = owed
        if fault == "overtaken":
            await self.clear()
        answer = await self._send(asked, fault, other)
        if fault == "overtaken":
            return None  # it has gone on
        if answer is not None and _has_mac(answer):  # what bears no MAC proves nothing: it is taken back
            memory.owed = None
        return answer

    async def _ask(self, wish: Wish) -> Answered | None:
        return await self._send(self._request(wish))

    def _request(self, wish: Wish) -> Asked:
        self.memory.trace = self.memory.trace % _TRACES + 1
        moment = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
        head = Head(self.settings.module, self.memory.trace, terminal_type="AIRCHARGE", moment=moment)
        return Asked(head, wish)

    async def _send(self, asked: Asked, fault: str = "", other: Wish | None = None) -> Answered | None:
        """One exchange; None: no answer, or none that is ours and sound."""
        is_signed = self._profile.rules[asked.transaction].request and bool(self.memory.mak)
        mac = self._mac(self.memory.mak) if is_signed else None
        content = _spoiled(asked.encode(mac, self._profile), fault, self._profile.request)
        self._keep(self.memory)
        if fault == "never-sent":
            return None
        answer = await self._exchange(content)
        if fault == "repeat":
            again = replace(asked, head=replace(asked.head, is_again=True))
            answer = await self._exchange(again.encode(mac, self._profile))
        if other is not None:
            answer = await self._exchange(replace(asked, wish=other).encode(mac, self._profile))
        if answer is None or fault == "lose-answer":
            return None
        return self._sound(asked, answer)

    def _sound(self, asked: Asked, content: bytes) -> Answered | None:
        """The answer, when it is to this request and nobody has touched it. An approval without a MAC is none."""
        try:
            answer = Answered.decode(content, self._profile)
        except WireError:
            return None
        mak = self.memory.mak
        is_ours = (answer.head.security_module, answer.head.trace) == (
            asked.head.security_module,
            asked.head.trace,
        )
        is_refusal = answer.reply.shown.code != _APPROVED and not _has_mac(answer)
        plain = replace(answer, transaction=asked.transaction)  # not that of what is to follow
        if not is_ours or not (
            is_refusal or plain.is_genuine(self._mac(mak) if mak else None, self._profile)
        ):
            return None
        then = answer.transaction if answer.transaction is not asked.transaction else None
        self.wants = _WANTS.get(then, Demand.NONE)
        if answer.reply.hangs_up:
            self._hang_up()
        return answer


def _has_mac(answer: Answered) -> bool:
    return any(answer.mac)


def _outcome(answer: Answered | None) -> Outcome:
    """What is on the screen, or the slip where one is printed."""
    if answer is None:
        return Outcome("")
    reply = answer.reply
    lines = [record.line for record in reply.slip.records if record.line] if reply.slip else reply.shown.lines
    return Outcome(reply.shown.code, "\n".join(lines))


def _parameters(reply: Reply) -> list[bytes]:
    """Operation 16: ``(number 1 | length 1 | line)*``. Raises WireError."""
    rows = []
    for operation in reply.more:
        if operation.number == FskOperation.PARAMETERS:
            reader = OctetReader(operation.datum)
            while reader.left:
                reader.take(1, "parameters")
                rows.append(reader.part("parameters", 1))
    return rows


def _spoiled(content: bytes, fault: str, layout: Layout) -> bytes:
    if fault == "wrong-mac":
        return content[:-1] + bytes([content[-1] ^ 1])
    if fault == "no-bitmap":  # no op codes
        at = sum(size for _, size, _ in layout.fields)
        return content[:at] + b"\0" + content[at + 1 :]
    return content + b"\0" if fault == "trailing" else content
