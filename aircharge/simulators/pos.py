"""A terminal at the command line: ``python -m aircharge.simulators.pos --connect tcp:127.0.0.1:8583 … WORDS``.

Words are statements, separated by ``,``; ``-`` reads them from standard input, one a line, all before the first is
done: ``sign-in``, ``sale NUMBER YUAN[*N] [PIN] [FAULT]`` (``*2``: meant once more), ``void TRACE [PIN] [FAULT]``,
``balance [PIN]``, ``last``, ``check NUMBER``, ``reprint TRACE``, ``clear`` (the reversal that is owed), ``settle``,
``download``, ``echo``, ``sign-out``, ``forget`` (drop the last sale from the journal: a settlement that differs),
``cut`` (the line ends as soon as the next message is written), ``wait SECONDS``. Where the centre asks for a sign-in,
the terminal signs in by itself.
``--language fsk``: a fixed-line terminal with a message of its own.
Faults: ``aircharge.simulators.pos_terminal.FAULTS``. Exit code 0 when every statement was answered 00.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater

from aircharge.errors import Refusal
from aircharge.observe.logs import mask_text
from aircharge.simulators.pos_call import CallFactory, PosCall
from aircharge.simulators.pos_fsk_terminal import FskTerminal
from aircharge.simulators.pos_terminal import FAULTS, Memory, Outcome, PosTerminal, TerminalSettings
from aircharge.steady import steady
from aircharge.values import Msisdn, mask_msisdn
from aircharge.wire.fsk_profiles import PROFILES as FSK
from aircharge.wire.iso8583.crypto import MACS
from aircharge.wire.iso8583.profile import PROFILES
from aircharge.wire.iso8583.terminal import Demand
from aircharge.wire.lri import Caller

__all__ = ["main", "perform"]

FRAMINGS: Final = ("tpdu", "hdlc", "stx", "fsk", "fsk-audio", "fsk-gateway")
_ARGUMENTS: Final = {
    "sign-in": (0, 0),
    "sale": (2, 4),
    "void": (1, 3),
    "balance": (0, 1),
    "last": (0, 0),
    "check": (1, 1),
    "reprint": (1, 1),
    "clear": (0, 0),
    "settle": (0, 0),
    "download": (0, 0),
    "echo": (0, 0),
    "sign-out": (0, 0),
    "forget": (0, 0),
    "cut": (0, 0),
    "wait": (1, 1),
}
"""Statements: how many words follow, at least and at most."""
_PIN_AT: Final = {"sale": 3, "void": 2, "balance": 1}
_SIGN_IN: Final = (Demand.SIGN_IN, Demand.KEYS, "77", "95", "99", "A0")
"""What makes the terminal sign in: the header's digit, or DE 39 (docs/protocols/pos-8583.md, section 8)."""


class BadStatement(Exception):
    """What was typed says nothing."""


class Line:
    """The way to the door: dialled when something is to be said."""

    def __init__(self, reactor: Any, options: argparse.Namespace) -> None:
        self.reactor = reactor
        self.is_cut_next = False
        self._options = options
        modem = {"split": options.split, "audio": options.audio, "tones": options.tones}
        self._factory = CallFactory(reactor, options.framing, options.baud, **modem)
        self._endpoint = clientFromString(reactor, options.connect)
        self._source = options.source.to_bytes(2, "big")
        self._caller = Caller(options.caller.lstrip("0"), "95516") if options.caller else None
        self._call: PosCall | None = None

    async def dial(self) -> PosCall:
        """The open line, or a new one. Raises ConnectError."""
        if self._call is None or self._call.transport is None:
            self._call = await self._endpoint.connect(self._factory)
        return self._call

    async def exchange(self, octets: bytes) -> bytes | None:
        try:
            call = await self.dial()
        except ConnectError:
            return None
        if self.is_cut_next:
            self.is_cut_next = False
            self.reactor.callLater(0, self._hang_up, call)
        answer = await call.exchange(octets, self._source, self._options.wait, self._caller)
        if answer is None and self._is_dialled and call.transport is not None:
            self._hang_up(call)
            await deferLater(self.reactor, 0.1, lambda: None)
        return answer

    @property
    def _is_dialled(self) -> bool:
        return self._options.framing not in ("tpdu", "fsk-gateway")

    def hang_up(self) -> None:
        """The terminal puts the receiver down; the next message dials anew."""
        if self._call is not None and self._is_dialled:
            self.reactor.callLater(_RECEIPT_S, self._hang_up, self._call)
            self._call = None

    @staticmethod
    def _hang_up(call: PosCall) -> None:
        line: Any = call.transport
        if line is not None:
            line.loseConnection()


Terminal = PosTerminal | FskTerminal
_RECEIPT_S: Final = 1.0
"""The answer's receipt is still to be said, at 1200 baud."""
LANGUAGES: Final[dict[str, Any]] = {"iso8583": PosTerminal, "fsk": FskTerminal}


async def perform(line: Line, terminal: Terminal, words: Sequence[str]) -> Outcome:
    """One statement. Raises BadStatement."""
    verb, said, fault = read_statement(words)
    if verb in _PAID:
        return await getattr(terminal, verb)(*said, fault=fault)  # type: ignore[no-any-return]
    if verb == "wait":
        await deferLater(line.reactor, said[0], lambda: None)
        return Outcome("00")
    if verb == "cut":
        line.is_cut_next = True
        return Outcome("00")
    if verb == "forget":
        terminal.memory.journal[-1:] = []
        return Outcome("00")
    if verb == "clear":
        return await terminal.clear() or Outcome("00", "nothing is owed")
    return await getattr(terminal, verb.replace("-", "_"))(*said)  # type: ignore[no-any-return]


def read_statement(words: Sequence[str]) -> tuple[str, tuple[Any, ...], str]:
    """Statement, what it is about, and the fault it is to be done with. Raises BadStatement, which shows no PIN."""
    verb, *rest = words
    if verb not in _ARGUMENTS:
        raise BadStatement(f"{verb}: statements are {', '.join(_ARGUMENTS)}")
    least, most = _ARGUMENTS[verb]
    is_paid, before_pin = verb in _PAID, _PIN_AT.get(verb, 0) - 1
    fault = rest.pop() if is_paid and rest and rest[-1] in FAULTS else ""
    pin = rest.pop() if 0 <= before_pin < len(rest) <= before_pin + 1 else ""
    if not least <= len(rest) <= most - bool(pin) - is_paid:
        raise BadStatement(f"{verb}: too few or too many words, or no fault ({', '.join(FAULTS)}) at the end")
    if pin and not (pin.isascii() and pin.isdecimal() and 4 <= len(pin) <= 12):
        raise BadStatement(f"{verb}: the last word is neither a PIN of 4 to 12 digits nor a fault")
    about = tuple(read(word) for read, word in zip(_WORDS.get(verb, ()), rest, strict=True))
    if verb == "sale":
        target, (amount_fen, repeat) = about
        return verb, (target, amount_fen, pin, repeat), fault
    return verb, (*about, pin) if before_pin >= 0 else about, fault


def _customer(text: str) -> str:
    try:
        return Msisdn.parse(text)
    except Refusal:
        raise BadStatement(f"{mask_msisdn(text)}: not a mobile number") from None


def _any_number(text: str) -> str:
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        raise BadStatement(f"{mask_msisdn(text)}: not a number")
    return text


def _yuan(text: str) -> tuple[int, int]:
    """Fen, and for which time the customer means it."""
    yuan, star, repeat = text.partition("*")
    if not (yuan.isascii() and yuan.isdecimal() and int(yuan) < 10**8):
        raise BadStatement(f"{text}: whole yuan")
    if star and not (repeat.isascii() and repeat.isdecimal() and 1 <= int(repeat) <= 99):
        raise BadStatement(f"{text}: behind * the count, 1 to 99")
    return int(yuan) * 100, int(repeat or 1)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 6):
        raise BadStatement(f"{text}: a trace number")
    return int(text)


def _seconds(text: str) -> float:
    if not text.replace(".", "", 1).isdecimal():
        raise BadStatement(f"{text}: seconds")
    return float(text)


_PAID: Final = ("sale", "void")
_WORDS: Final[dict[str, tuple[Callable[[str], Any], ...]]] = {
    "sale": (_customer, _yuan),
    "void": (_number,),
    "check": (_any_number,),
    "reprint": (_number,),
    "wait": (_seconds,),
}
"""What a statement is about, in its order; then the PIN (``_PIN_AT``) and the fault."""


def _shown(words: Sequence[str], outcome: Outcome, terminal: Terminal, *, as_json: bool) -> str:
    said = [mask_msisdn(word) if word.isdecimal() and len(word) == 11 else word for word in words]
    if words[0] in _PIN_AT:
        said = [word if at < _PIN_AT[words[0]] or word in FAULTS else "***" for at, word in enumerate(said)]
    if as_json:
        fields = {n: v for n, v in outcome.fields.items() if isinstance(v, str)}
        return json.dumps(
            {"say": said, "code": outcome.code, "fields": fields, "trace": terminal.memory.trace}
        )
    lines = mask_text(outcome.slip.replace("\n", " | "))
    if words[0] in _PAID and outcome.is_approved and terminal.paid_trace:
        lines += f" (trace {terminal.paid_trace})"  # what void and reprint ask for
    if not outcome.code and terminal.owed_trace:
        lines += f" (trace {terminal.owed_trace} is to be taken back first)"
    return f"{' '.join(said)}: {outcome.code or 'no answer'} {lines.strip()}".rstrip()


def _statements(words: Sequence[str]) -> list[list[str]]:
    if list(words) == ["-"]:
        return [line.split() for line in sys.stdin if line.strip()]
    statements: list[list[str]] = [[]]
    for word in words:
        bare = word.rstrip(",")
        if bare:
            statements[-1].append(bare)
        if word.endswith(","):
            statements.append([])
    return [statement for statement in statements if statement]


async def _run(reactor: Any, options: argparse.Namespace) -> int:
    pin = _read(options.pin_file) if options.pin_file else ""
    line = Line(reactor, options)
    statements = [_with_pin(words, pin) for words in _statements(options.words)]
    if not statements:
        raise BadStatement(f"nothing to do: statements are {', '.join(_ARGUMENTS)}")
    for statement in statements:
        read_statement(statement)  # all of them, before anything is said
    await line.dial()
    state = Path(options.state) if options.state else None
    keep = partial(_keep, state)
    terminal = LANGUAGES[options.language](
        _settings(options), line.exchange, _kept(state), keep, line.hang_up
    )
    failed = 0
    for statement in statements:
        outcome = await perform(line, terminal, statement)
        failed += not outcome.is_approved
        _tell(statement, outcome, terminal, as_json=options.json)
        is_asked = terminal.wants in _SIGN_IN or outcome.code in _SIGN_IN
        if is_asked and statement[0] not in ("sign-in", "sign-out"):
            _tell(["sign-in"], await terminal.sign_in(), terminal, as_json=options.json)
        _keep(state, terminal.memory)
    return 1 if failed else 0


def _with_pin(words: list[str], pin: str) -> list[str]:
    """The statement with the PIN of the file, where one belongs and none was typed."""
    at = _PIN_AT.get(words[0], 0)
    if not (pin and at) or len(words) < at or (len(words) > at and words[at] not in FAULTS):
        return words
    return [*words[:at], pin, *words[at:]]


def _tell(words: Sequence[str], outcome: Outcome, terminal: Terminal, *, as_json: bool) -> None:
    sys.stdout.write(_shown(words, outcome, terminal, as_json=as_json) + "\n")
    sys.stdout.flush()


def _settings(options: argparse.Namespace) -> TerminalSettings:
    try:
        master = bytes.fromhex(_read(options.master_key_file))
    except ValueError:
        raise BadStatement(f"{options.master_key_file}: a key in hexadecimal digits is wanted") from None
    return TerminalSettings(
        options.terminal,
        options.merchant,
        master,
        options.key_version,
        options.profile,
        options.mac,
        not options.single_length,
        module=options.module,
        fsk_profile=options.fsk_profile,
    )


def _read(path: str) -> str:
    return Path(path).read_text().strip()


def _kept(state: Path | None) -> Memory:
    try:
        return Memory.from_json(json.loads(state.read_text())) if state and state.exists() else Memory()
    except (ValueError, KeyError, TypeError):
        raise BadStatement(f"{state}: this is not what a terminal remembers") from None


def _keep(state: Path | None, memory: Memory) -> None:
    if state is None:
        return
    made = state.with_suffix(".new")
    made.touch(mode=0o600)
    made.write_text(json.dumps(memory.to_json()))
    os.replace(made, state)


def _source(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError("0 to 65535")
    return int(text)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="aircharge simulate pos", description="a payment terminal")
    parser.add_argument("--connect", default="tcp:127.0.0.1:8583", help="endpoint of the door")
    parser.add_argument("--framing", default="tpdu", choices=FRAMINGS)
    parser.add_argument(
        "--language", default="iso8583", choices=sorted(LANGUAGES), help="what the messages are"
    )
    parser.add_argument("--audio", default="ulaw", choices=("ulaw", "alaw", "linear"), help="of fsk-audio")
    parser.add_argument("--tones", default="bell202", choices=("bell202", "v23"), help="of fsk-audio")
    parser.add_argument("--baud", type=int, default=1200)
    parser.add_argument("--terminal", default="10000001")
    parser.add_argument("--merchant", default="898110200000001")
    parser.add_argument(
        "--module", default="1000000000000001", help="security module of a fixed-line terminal"
    )
    parser.add_argument("--fsk-profile", default="2001", choices=sorted(FSK), help="of a fixed-line terminal")
    parser.add_argument("--master-key-file", required=True, help="the terminal's master key, hexadecimal")
    parser.add_argument("--pin-file", default="", help="the PIN of sales, voids and balances")
    parser.add_argument("--key-version", type=int, default=0)
    parser.add_argument("--profile", default="cup", choices=sorted(PROFILES))
    parser.add_argument("--mac", default="cup-ecb", choices=sorted(MACS))
    parser.add_argument("--single-length", action="store_true", help="ask for DES keys")
    parser.add_argument("--state", default="", help="file that keeps batch, trace, keys and journal")
    parser.add_argument("--source", type=_source, default=1, help="TPDU source, 0 to 65535")
    parser.add_argument("--caller", default="", help="the number it dials from (caller block)")
    parser.add_argument("--wait", type=float, default=40.0, help="seconds for an answer")
    parser.add_argument("--split", action="store_true", help="send every octet by itself")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("words", nargs="+")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 all answered 00, 1 not, 2 nothing could be done."""
    options = _options(sys.argv[1:] if arguments is None else arguments)
    from twisted.internet import reactor as installed

    reactor: Any = steady(installed)
    result: list[int] = []

    def ended(outcome: Any) -> None:
        if isinstance(outcome, int):
            result.append(outcome)
        else:
            sys.stderr.write(outcome.getErrorMessage() + "\n")
            result.append(2)
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(_run(reactor, options)).addBoth(ended))
    reactor.run()
    return result[0] if result else 2


if __name__ == "__main__":
    sys.exit(main())
