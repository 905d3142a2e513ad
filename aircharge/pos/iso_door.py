"""ISO 8583 at the door: a terminal's octets become a request at the counter, what came of it becomes octets.

What cannot be read, or asks for nothing we know, is answered here (``codes``) or counted by its reason; everything
else goes through ``counter``. Source: docs/protocols/pos-8583.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.logger import Logger

from aircharge.errors import WireError
from aircharge.ledger.terminals import Totals
from aircharge.pos import codes
from aircharge.pos.counter import Counter, Served, Wanted
from aircharge.pos.keys import SignedIn
from aircharge.pos.slips import local_time, slip
from aircharge.values import Pin
from aircharge.wire.iso8583.crypto import open_pin_block
from aircharge.wire.iso8583.message import MAC, MAC_128, BadMessage, Message, Value
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
_KEY_OCTETS: Final = {"001": 8, "003": 16}
"""What a terminal asks for by its network management code (DE 60.3)."""


class IsoDoor:
    """Answers messages; ``answer`` returns None for silence."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._settings = counter.settings
        self._profile = PROFILES[counter.settings.profile]

    async def answer(self, frame: Frame) -> bytes | None:
        """The application's octets in answer to a frame's; None: say nothing."""
        try:
            header, message = open_message(frame.content, self._profile)
        except BadMessage as error:
            return self._unreadable(frame.content, error)
        except WireError as error:
            self._counter.count("none", f"header: {error.why}")
            return None
        try:
            act = act_of(message)
            if act is None:
                return self._plain(header, message, codes.UNKNOWN_FUNCTION)
            if set(missing(message, act)) - {MAC} or message.text(49, CURRENCY) != CURRENCY:
                return self._plain(header, message, codes.FORMAT, act)
            wanted = self._wanted(frame, message, act)
        except BadMessage as error:
            return self._unreadable(frame.content, error)
        served = await self._counter.serve(wanted)
        if served.said is None:
            return None
        try:
            return self._reply(header, message, act, served)
        except BadMessage as error:  # ours does not fit: a fault of ours, and no reason to say anything false
            log.error("an answer to a terminal cannot be written: {why}", why=str(error))
            self._counter.count(act.value, "not written")
            return None

    # -- requests ---------------------------------------------------------------------------------------------

    def _wanted(self, frame: Frame, message: Message, act: Act) -> Wanted:
        """What the message asks for. Raises BadMessage."""
        more = _READ[act](message) if act in _READ else {}
        return Wanted(
            act,
            network(message)[1],
            int(message.text(11)),
            partial(self._is_proved, frame.content, max(message.fields) in (MAC, MAC_128)),
            code=message.text(41),
            merchant=message.text(42),
            caller=frame.caller.ani if frame.caller else None,
            target=message.text(2),
            amount_fen=int(message.text(4) or "0"),
            pin=partial(_pin_of, message),
            mac=_mac_of(message) if act is Act.SALE else b"",
            **more,
        )

    def _is_proved(self, octets: bytes, has_mac: bool, key: bytes) -> bool:
        return has_mac and has_good_mac(octets, self._profile, self._settings.mac, key)

    # -- answers ----------------------------------------------------------------------------------------------

    def _reply(self, header: Header, message: Message, act: Act, served: Served) -> bytes:
        """The answer, under the session's MAC key where the terminal has proved to be itself."""
        said, terminal, board = served.said, served.terminal, self._counter.board
        assert said is not None
        now = local_time(board.clock.now_ms(), board.utc_offset_min)
        answer = Message(message.answer_mti, {n: message.fields[n] for n in _ECHOED if n in message.fields})
        answer.fields |= {12: f"{now:%H%M%S}", 13: f"{now:%m%d}", 39: said.code}
        if order_id := said.facts.get("order_id"):
            answer.fields[37] = f"{order_id % 10**12:012d}"
        if said.is_approved:
            answer.fields |= _told(act, message, said.facts)
            if text := slip(act, said.facts, board.utc_offset_min):
                answer.fields[63] = text
        mac, key = (self._settings.mac, terminal.mak) if terminal else ("", b"")
        return seal_message(header.demanding(served.demand), answer, self._profile, mac if key else "", key)

    def _unreadable(self, octets: bytes, error: BadMessage) -> bytes | None:
        """DE 39 = 30 where a terminal and its trace number could be read; else nothing."""
        so_far = error.so_far
        if not {11, 41} <= so_far.fields.keys() or len(so_far.mti) != 4 or so_far.mti[2] not in "02468":
            self._counter.count("none", "unreadable")
            log.debug("a message that cannot be read: {why}", why=error.why)
            return None
        return self._plain(Header.decode(octets), so_far, codes.FORMAT)

    def _plain(self, header: Header, message: Message, code: str, act: Act | None = None) -> bytes | None:
        """A refusal without a MAC."""
        if message.mti[2] not in "02468":
            self._counter.count("unknown", "no request")
            return None
        echoed: dict[int, Value] = {n: message.fields[n] for n in _ECHOED if n in message.fields}
        self._counter.count(act.value if act else "unknown", code)
        answer = Message(message.answer_mti, {**echoed, 39: code})
        return seal_message(header.demanding(Demand.NONE), answer, self._profile)


def _mac_of(message: Message) -> bytes:
    return message.octets(max(message.fields)) if max(message.fields) in (MAC, MAC_128) else b""


def _pin_of(message: Message, key: bytes) -> Pin | None:
    """DE 52 under the session's PIN key. Raises WireError."""
    block = message.octets(52)
    if not block:
        return None
    pan = message.text(2) if message.text(53)[:1] == "2" else ""
    return Pin(open_pin_block(key, block, pan))


def _asked_version(message: Message) -> int:
    """DE 57 ``KEY=2``: which master key the terminal has. 0: it does not say. Raises BadMessage."""
    for part in message.text(57).split(";"):
        name, _, value = part.strip().partition("=")
        if name == "KEY":
            if not (value.isascii() and value.isdecimal() and 1 <= int(value) <= 255):
                raise BadMessage("KEY is 1 to 255", 57, 0, message)
            return int(value)
    return 0


def _sign_in(message: Message) -> dict[str, Any]:
    return {"key_version": _asked_version(message), "key_octets": _KEY_OCTETS[network(message)[2]]}


def _totals(message: Message) -> dict[str, Any]:
    sums = Sums.decode(message)
    return {"totals": Totals(sums.sale_n, sums.sale_fen, sums.void_n, sums.void_fen)}


def _lines(message: Message) -> dict[str, Any]:
    lines = read_lines(message)
    return {
        "lines": tuple((line.trace, -line.amount_fen if line.is_void else line.amount_fen) for line in lines)
    }


def _lines_in_all(message: Message) -> dict[str, Any]:
    return {"lines_in_all": int(message.text(48) or "0")}


_READ: Final[dict[Act, Callable[[Message], dict[str, Any]]]] = {
    Act.SIGN_IN: _sign_in,
    Act.SALE: lambda message: {"repeat": repeat_of(message)},
    Act.VOID: lambda message: {"original": original(message)},
    Act.COPY: lambda message: {"original": original(message)},
    Act.CANCEL: lambda message: {"cause": message.text(39)},
    Act.SETTLE: _totals,
    Act.UPLOAD: _lines,
    Act.UPLOAD_END: _lines_in_all,
}
"""What an act has beside the elements that every message may bear. Raises BadMessage."""


def _told(act: Act, message: Message, facts: dict[str, Any]) -> dict[int, Value]:
    """The elements that only an approved answer of this act bears."""
    if act is Act.BALANCE:
        fen = facts["available_fen"]
        return {54: f"0202{CURRENCY}{'C' if fen >= 0 else 'D'}{abs(fen):012d}"}
    if act is Act.CHECK:
        return {44: str(facts["operator"])[:12]}
    if act is Act.SETTLE:
        return {48: message.text(48)[:30] + ("1" if facts["equal"] else "2")}
    if act is Act.PARAMETERS:
        return {62: "\n".join(facts["lines"]).encode("gbk", "replace")[:512]}
    if act is Act.SIGN_IN:
        made: SignedIn = facts["made"]
        kind, _, code = network(message)
        return {60: f"{kind}{made.session.batch:06d}{code}", 62: made.keys.encode()}
    if act not in (Act.LAST, Act.COPY):
        return {}
    told: dict[int, Value] = {2: facts["target"], 4: f"{facts['amount_fen']:012d}"}
    return {**told, 44: facts["state"]} if act is Act.LAST else told
