"""Fixed-line terminals' own message at the door: a request for the counter, what came of it as orders to a terminal.

Such a terminal has no texts: what it shows and prints comes with the answer, and so does what it shall do next (sign
in, fetch parameters, upload its batch). Every request but echo and sign-in bears a MAC of its own, and what moves money
tells its batch (docs/protocols/pos-fsk.md, section 6.7). Source of the message: section 6 there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from twisted.logger import Logger

from aircharge.errors import WireError
from aircharge.ledger.terminals import Totals
from aircharge.pos import codes
from aircharge.pos.counter import Counter, Served, Wanted
from aircharge.pos.keys import SignedIn
from aircharge.pos.settings import PosSettings
from aircharge.pos.slips import REFUSALS, local_time, slip
from aircharge.pos.till import NOT_TOLD
from aircharge.values import Pin, yuan_text
from aircharge.wire.fsk_message import Mac
from aircharge.wire.fsk_octets import Operation, wrong
from aircharge.wire.fsk_outlet import Answered, Asked, Reply, WorkKey, WorkKeys, parameter_rows
from aircharge.wire.fsk_profiles import PROFILES, STRICT_RULES, Transaction
from aircharge.wire.fsk_text import Lines, Record, Shown, Slip
from aircharge.wire.fsk_wishes import Settlement, Upload
from aircharge.wire.iso8583.crypto import MACS, open_pin_block
from aircharge.wire.iso8583.terminal import Act, Demand
from aircharge.wire.pos_link import Message as Frame

__all__ = ["FskDoor", "check_settings"]

log = Logger()

_ACTS: Final = {
    Transaction.ECHO: Act.ECHO,
    Transaction.REVERSAL: Act.CANCEL,
    Transaction.SIGN_IN: Act.SIGN_IN,
    Transaction.REPRINT: Act.COPY,
    Transaction.SETTLEMENT: Act.SETTLE,
    Transaction.UPLOAD: Act.UPLOAD,
    Transaction.SIGN_OUT: Act.SIGN_OUT,
    Transaction.PARAMETERS: Act.PARAMETERS,
    Transaction.NUMBER_CHECK: Act.CHECK,
    Transaction.RECHARGE: Act.SALE,
    Transaction.VOID: Act.VOID,
    Transaction.BALANCE: Act.BALANCE,
    Transaction.LAST: Act.LAST,
}
_NEXT: Final = {Demand.SIGN_IN: Transaction.SIGN_IN, Demand.PARAMETERS: Transaction.PARAMETERS}
_PIN_KEY, _MAC_KEY = 41, 42
_REPEATS_MAX: Final = 99
_PRINTED: Final = (Act.SALE, Act.VOID, Act.COPY, Act.SETTLE)
_DONE: Final = {
    Act.SIGN_IN: "签到成功",
    Act.SIGN_OUT: "签退成功",
    Act.CANCEL: "冲正成功",
    Act.UPLOAD_END: "批上送完成",
}


def check_settings(settings: PosSettings) -> None:
    """Raises ValueError for what this message has no room for."""
    if settings.profile == "cup-aes":
        raise ValueError(
            "a PIN block of 16 octets (profile cup-aes) does not go into a fixed-line terminal's message"
        )
    try:
        _parameters(settings.parameter_lines)
    except WireError as error:
        raise ValueError(f"parameters for fixed-line terminals: {error.why}") from None


class FskDoor:
    """Answers messages; ``answer`` returns None for silence."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._profile = replace(PROFILES[counter.settings.fsk_profile], rules=STRICT_RULES)

    async def answer(self, frame: Frame) -> bytes | None:
        """The content in answer to a frame's; None: say nothing."""
        try:
            asked = Asked.decode(frame.content, self._profile)
            wanted = self._wanted(asked, frame)
        except WireError as error:
            return self._unreadable(frame.content, error)
        served = await self._counter.serve(wanted)
        if served.said is None:
            return None
        try:
            return self._reply(asked, wanted, served)
        except WireError as error:  # ours does not fit: a fault of ours, and no reason to say anything false
            log.error("an answer to a terminal cannot be written: {why}", why=str(error))
            self._counter.count(wanted.act.value, "not written")
            return None

    # -- requests ---------------------------------------------------------------------------------------------

    def _wanted(self, asked: Asked, frame: Frame) -> Wanted:
        """What is asked for. Raises WireError for what the codec lets through and a centre cannot serve."""
        wish = asked.wish
        act = _ACTS[asked.transaction]
        if isinstance(wish, Upload) and not wish.details:
            act = Act.UPLOAD_END
        batch = getattr(wish, "batch", None)
        if batch == 0:
            raise wrong("without its batch nothing says whether it is the same request again", "batch")
        more = _READ.get(act, lambda wish: {})(wish)
        return Wanted(
            act,
            batch or 0,
            more.pop("trace", asked.head.trace),
            partial(self._is_proved, asked),
            module=asked.head.security_module,
            caller=frame.caller.ani if frame.caller else None,
            pin=partial(_pin_of, getattr(wish, "pin_block", b"")),
            mac=more.pop("mac", _own_mac(asked) if act is Act.SALE else b""),
            **more,
        )

    def _mac(self, key: bytes) -> Mac:
        return partial(MACS[self._counter.settings.mac], key)

    def _is_proved(self, asked: Asked, key: bytes) -> bool:
        return asked.is_genuine(self._mac(key), self._profile)

    # -- answers ----------------------------------------------------------------------------------------------

    def _reply(self, asked: Asked, wanted: Wanted, served: Served) -> bytes:
        """Under the MAC key of the session, once the terminal has proved to be itself. Raises WireError."""
        said = served.said
        assert said is not None
        act, facts = wanted.act, said.facts
        made: SignedIn | None = facts.get("made")
        told = (f"BATCH={made.session.batch:06d}",) if made else facts.get("lines", ())
        then = _NEXT.get(served.demand)
        if act is Act.SETTLE and said.is_approved and not facts["equal"]:
            then = Transaction.UPLOAD
        lines = self._lines(act, asked, said.code, facts)
        reply = Reply(
            Shown(said.code, Lines(*self._profile.screen).fold(*lines)),
            self._slip(asked, served, lines) if said.is_approved and act in _PRINTED else None,
            _keys(made) if made else None,
            hangs_up=then is None and act is not Act.UPLOAD,
            more=(_parameters(told),) if told else (),
        )
        answered = Answered.to(asked, reply, self._now(), wanted.caller or "", then)
        has_proved = served.terminal is not None and act not in (Act.SIGN_IN, Act.ECHO)
        key = served.terminal.mak if served.terminal and has_proved else b""
        return answered.encode(self._mac(key) if key else None, self._profile)

    def _lines(self, act: Act, asked: Asked, code: str, facts: dict[str, Any]) -> list[str]:
        """What is shown, and printed where there is a slip."""
        if code != codes.APPROVED:
            return _refusal(code)
        if isinstance(asked.wish, Settlement):
            sums = asked.wish
            return [
                "对账平" if facts["equal"] else "对账不平",
                f"批次 {sums.batch:06d}",
                f"充值 {sums.sales}笔 {yuan_text(sums.sales_fen)}元",
                f"返销 {sums.voids}笔 {yuan_text(sums.voids_fen)}元",
            ]
        text = slip(act, facts, self._counter.board.utc_offset_min)
        return text.split("\n") if text else [_DONE.get(act, "交易成功")]

    def _slip(self, asked: Asked, served: Served, lines: list[str]) -> Slip:
        title, *body = lines
        terminal = served.terminal.code if served.terminal else ""
        body.insert(0, f"终端 {terminal} 凭证 {asked.head.trace:06d}")
        rows = Lines(*self._profile.paper)
        records = [Record(line) for line in rows.fold(*body)][: rows.rows - 2]
        return Slip((Record(rows.fold(title)[0], "%B1"), *records, Record("", "%E1")))

    def _now(self) -> datetime:
        board = self._counter.board
        return local_time(board.clock.now_ms(), board.utc_offset_min).replace(tzinfo=None)

    def _unreadable(self, content: bytes, error: WireError) -> bytes | None:
        """30, or 12 for a transaction that we do not know, where it is a message at all; else nothing."""
        code = codes.UNKNOWN_FUNCTION if error.field == "transaction" else codes.FORMAT
        reply = Reply(Shown(code, Lines(*self._profile.screen).fold(*_refusal(code))))
        try:
            said = Answered.to_unread(content, reply, self._now(), self._profile).encode(None, self._profile)
        except WireError:
            self._counter.count("none", "unreadable")
            log.debug("a message that cannot be read: {why}", why=error.why)
            return None
        self._counter.count("unknown", code)
        return said


def _own_mac(asked: Asked) -> bytes:
    """The MAC that tells this message from others; none of one that says it is sent again: that changes its MAC."""
    return b"" if asked.head.is_again else asked.mac


def _refusal(code: str) -> list[str]:
    """What is shown for a code that is no approval."""
    return [f"交易失败 {code}", REFUSALS[code]]


def _pin_of(block: bytes, key: bytes) -> Pin | None:
    """The PIN block, bound to no number. Raises WireError."""
    return Pin(open_pin_block(key, block, "")) if block else None


def _keys(made: SignedIn) -> WorkKeys:
    """Both keys under the master key, each with its check value."""
    keys = made.keys
    return WorkKeys(
        (WorkKey(_PIN_KEY, keys.pik + keys.pik_check), WorkKey(_MAC_KEY, keys.mak + keys.mak_check))
    )


def _parameters(lines: tuple[str, ...]) -> Operation:
    """Raises WireError for more than the operation takes."""
    return parameter_rows(*(line.encode("gbk", "replace") for line in lines))


def _recharge(wish: Any) -> dict[str, Any]:
    if not 1 <= wish.repeat <= _REPEATS_MAX:
        raise wrong("1 to 99", "repeat")
    return {"target": wish.number, "amount_fen": wish.amount_fen, "repeat": wish.repeat}


def _cancel(wish: Any) -> dict[str, Any]:
    if not wish.amount_fen:
        raise wrong("the amount is not told", "amount_fen")
    return {"trace": wish.original.trace, "amount_fen": wish.amount_fen, "mac": wish.original.mac}


_READ: Final[dict[Act, Callable[[Any], dict[str, Any]]]] = {
    Act.SALE: _recharge,
    Act.VOID: lambda wish: {
        "original": (wish.batch, wish.trace),
        "amount_fen": wish.amount_fen or NOT_TOLD,
        "consent": wish.consent,
    },
    Act.COPY: lambda wish: {"original": (wish.batch, wish.trace)},
    Act.CANCEL: _cancel,
    Act.CHECK: lambda wish: {"target": wish.number},
    Act.SETTLE: lambda wish: {"totals": Totals(wish.sales, wish.sales_fen, wish.voids, wish.voids_fen)},
    Act.UPLOAD: lambda wish: {"lines": wish.details},
}
"""What an act has beside batch, PIN and caller; a reversal's trace is that of the sale. Raises WireError."""
