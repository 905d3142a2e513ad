"""Requests of airtime outlets at FSK terminals and the answers to them, either end, with their MACs.

Source: docs/protocols/pos-fsk.md sections 6.3 to 6.6. ``Asked`` and ``Answered`` write and read whole contents; what
a MAC needs of keys is passed in. ``is_genuine`` knows what must bear a MAC (``Profile.rules``).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from aircharge.wire.fsk_message import FskMessage, Mac, mac_input, sealed
from aircharge.wire.fsk_octets import OctetReader, Operation, wrong
from aircharge.wire.fsk_operands import MAC_OCTETS, FskOperation
from aircharge.wire.fsk_parts import operations_of, transaction_of, wish_of
from aircharge.wire.fsk_profiles import PROFILE_2001, Layout, MacPlace, MessageType, Profile, Transaction
from aircharge.wire.fsk_text import Lines, Shown, Slip
from aircharge.wire.fsk_wishes import Wish

__all__ = ["Answered", "Asked", "Head", "Reply", "WorkKey", "WorkKeys", "parameter_rows"]

_NO_MAC: Final = bytes(MAC_OCTETS)
_KEY_OCTETS: Final = frozenset((8, 12, 16, 20, 24, 28))
"""A key of 8, 16 or 24 octets under the master key, perhaps with four octets of check value."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a terminal says of itself in every request; a profile takes of it what it has fields for."""

    security_module: str
    trace: int
    is_again: bool = False
    gateway_code: bytes = bytes(4)
    called: str = ""
    caller_flag: str = ""
    terminal_type: str = ""
    message_version: str = "2001"
    script_version: str = "20070101"
    program_version: str = "20070101"
    moment: datetime | None = None
    """The terminal's own clock, only in the older variant."""
    end: int = 0

    def fields(self, first: int, code: int, layout: Layout) -> dict[str, int | str | bytes]:
        """By the names of the layout; ``first`` is the type when it is not a repeat."""
        digits = {name: 2 * size for name, size, _ in layout.fields}
        moment = self.moment or datetime.min
        if "date" in digits and self.moment is None:
            raise wrong("is missing", "date")
        return {
            "type": MessageType.AGAIN if self.is_again else first,
            "end": self.end,
            "gateway_code": self.gateway_code,
            "called": self.called,
            "caller_flag": self.caller_flag,
            "terminal_type": self.terminal_type,
            "message_version": self.message_version,
            "script_version": self.script_version,
            "program_version": self.program_version,
            "security_module": self.security_module,
            "date": f"{moment.year:04d}{moment:%m%d}",
            "time": f"{moment:%H%M%S}",
            "trace": f"{self.trace:0{digits['trace']}d}",
            "transaction": f"{code:0{digits['transaction']}d}",
        }

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Head:
        """Raises WireError for a date that is none."""
        plain = {name: fields[name] for name in _PLAIN if name in fields}
        is_again = fields["type"] == MessageType.AGAIN
        return cls(**plain, trace=int(fields["trace"]), is_again=is_again, moment=_moment(fields))


_PLAIN: Final = (
    "security_module",
    "gateway_code",
    "called",
    "caller_flag",
    "terminal_type",
    "message_version",
    "script_version",
    "program_version",
    "end",
)


def _moment(fields: dict[str, Any]) -> datetime | None:
    if "date" not in fields:
        return None
    try:
        return datetime.strptime(fields["date"] + fields["time"], "%Y%m%d%H%M%S")
    except ValueError:
        raise wrong("no such moment", "date") from None


def _transaction(fields: dict[str, Any], profile: Profile) -> Transaction:
    transaction = profile.codes.get(int(fields["transaction"]))
    if transaction is None:
        raise wrong("no transaction of this profile", "transaction")
    return transaction


def _code_of(transaction: Transaction, profile: Profile) -> int:
    for code, known in profile.codes.items():
        if known is transaction:
            return code
    raise wrong(f"{transaction.name} has no code in this profile", "transaction")


def _is_proved(content: bytes, said: bytes, mac: Mac | None, is_needed: bool) -> bool:
    """Whether the MAC is right, or none is needed. Without a key (``mac`` None) nothing is proved."""
    if not is_needed:
        return True
    return mac is not None and len(said) == MAC_OCTETS and hmac.compare_digest(said, mac(mac_input(content)))


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. ``content`` and ``mac`` are what was read, for ``is_genuine`` and for reversals that name it.

    ``code``: the transaction's number as it is written, 0: the profile's first one.
    """

    head: Head
    wish: Wish
    mac: bytes = b""
    content: bytes = field(default=b"", repr=False)
    code: int = field(default=0, compare=False)

    @property
    def transaction(self) -> Transaction:
        return transaction_of(self.wish)

    def encode(self, mac: Mac | None = None, profile: Profile = PROFILE_2001) -> bytes:
        """The content, with a MAC where one is passed in. Raises WireError for what does not fit."""
        layout = profile.request
        operations = operations_of(self.wish)
        if mac is not None and layout.mac is MacPlace.OPERATION:
            operations += (Operation.bare(FskOperation.MAC, _NO_MAC),)
        tail = b"" if layout.mac is MacPlace.OPERATION else _NO_MAC
        code = self.code or _code_of(self.transaction, profile)
        fields = self.head.fields(MessageType.REQUEST, code, layout)
        content = FskMessage(fields, operations, b"", tail).encode(layout)
        return content if mac is None else sealed(content, mac)

    @classmethod
    def decode(cls, content: bytes, profile: Profile = PROFILE_2001) -> Asked:
        """Raises WireError for whatever is not a request of an outlet. Says nothing about its MAC."""
        message = FskMessage.decode(content, profile.request)
        wish = wish_of(_transaction(message.fields, profile), message.operations)
        code = int(message.fields["transaction"])
        return cls(Head.of(message.fields), wish, message.mac, content, code)

    def is_genuine(self, mac: Mac | None, profile: Profile = PROFILE_2001) -> bool:
        """Whether the MAC is right; True where none is needed (then look at trace and MAC that a reversal names)."""
        return _is_proved(self.content, self.mac, mac, profile.rules[self.transaction].request)


class WorkKey(NamedTuple):
    """``record``: 41 PIN, 42 MAC, 43 track. ``value``: under the master key, perhaps four octets of check value."""

    record: int
    value: bytes


@dataclass(frozen=True, slots=True)
class WorkKeys:
    """Operation 39: ``index 1 | (record 1 | length 1 | key)*``."""

    keys: tuple[WorkKey, ...]
    index: int = 0

    def encode(self) -> bytes:
        """The datum. Raises WireError for a key of another length."""
        if not self.keys or any(len(key.value) not in _KEY_OCTETS for key in self.keys):
            raise wrong("no key, or one of another length", "work keys")
        rows = (bytes([key.record, len(key.value)]) + key.value for key in self.keys)
        return bytes([self.index]) + b"".join(rows)

    @classmethod
    def decode(cls, datum: bytes) -> WorkKeys:
        """Raises WireError, offsets within the datum."""
        reader = OctetReader(datum)
        index = reader.take(1, "work keys")[0]
        keys = []
        while reader.left:
            record, at = reader.take(1, "work keys")[0], reader.position
            keys.append(WorkKey(record, reader.part("work keys", 1)))
            if len(keys[-1].value) not in _KEY_OCTETS:
                raise wrong(f"a key of {len(keys[-1].value)} octets", "work keys", at)
        if not keys:
            raise wrong("no key", "work keys", 1)
        return cls(tuple(keys), index)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the terminal shall do: keep keys, check the MAC, do ``more``, print, show, hang up (in this order)."""

    shown: Shown
    slip: Slip | None = None
    keys: WorkKeys | None = field(default=None, repr=False)
    hangs_up: bool = True
    more: tuple[Operation, ...] = ()
    """Operations of other kinds, as they are."""

    def operations(self, has_mac: bool, profile: Profile) -> tuple[Operation, ...]:
        """Raises WireError for what does not fit."""
        screen, paper = Lines(*profile.screen), Lines(*profile.paper)
        bare = Operation.bare
        return (
            *([bare(FskOperation.UPDATE_KEYS, self.keys.encode())] if self.keys else []),
            *([bare(FskOperation.VERIFY_MAC)] if has_mac else []),
            *self.more,
            *([bare(FskOperation.PRINT, self.slip.encode(paper))] if self.slip else []),
            bare(FskOperation.SHOW, self.shown.encode(screen)),
            *([bare(FskOperation.HANG_UP)] if self.hangs_up else []),
        )

    @classmethod
    def of(cls, message: FskMessage, profile: Profile) -> Reply:
        """Raises WireError for an answer that shows no result, or two."""
        screen, paper = Lines(*profile.screen), Lines(*profile.paper)
        shown, slips, keys, ends, _ = (message.data(number) for number in _OF_A_REPLY)
        if len(shown) != 1 or len(slips) > 1 or len(keys) > 1:
            raise wrong("one result, at most one slip and one set of keys", "operations")
        return cls(
            Shown.decode(shown[0], screen),
            Slip.decode(slips[0], paper) if slips else None,
            WorkKeys.decode(keys[0]) if keys else None,
            bool(ends),
            tuple(operation for operation in message.operations if operation.number not in _OF_A_REPLY),
        )


_OF_A_REPLY: Final = (
    FskOperation.SHOW,
    FskOperation.PRINT,
    FskOperation.UPDATE_KEYS,
    FskOperation.HANG_UP,
    FskOperation.VERIFY_MAC,
)


def parameter_rows(*lines: bytes) -> Operation:
    """Operation 16: ``(number 1 | length 1 | line)*``, numbered from 1. Raises WireError for more than 255 octets."""
    rows = b"".join(
        bytes([number, len(line)]) + line for number, line in enumerate(lines, 1) if len(line) < 256
    )
    if len(rows) > 255 or len(rows) != sum(map(len, lines)) + 2 * len(lines):
        raise wrong("parameters of more than 255 octets", "parameters")
    return Operation.bare(FskOperation.PARAMETERS, rows)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer. ``head.moment``: local time at the centre; ``mac`` and ``content`` are what was read.

    ``transaction``: what the terminal shall do next, else what it asked for; None: what ``code`` says is not known.
    """

    head: Head
    transaction: Transaction | None
    reply: Reply
    phone: str = ""
    mac: bytes = b""
    content: bytes = field(default=b"", repr=False)
    code: int = field(default=0, compare=False)

    @classmethod
    def to(
        cls, asked: Asked, reply: Reply, moment: datetime, phone: str = "", then: Transaction | None = None
    ) -> Answered:
        """The answer to ``asked``: its security module and trace, a repeat to a repeat. ``then``: what is to follow."""
        head = replace(asked.head, moment=moment)
        return cls(head, then or asked.transaction, reply, phone, code=0 if then else asked.code)

    @classmethod
    def to_unread(cls, content: bytes, reply: Reply, moment: datetime, profile: Profile) -> Answered:
        """The answer to what is no request of an outlet. Raises WireError when it is not even a message."""
        fields = FskMessage.decode(content, profile.request).fields
        head = replace(Head.of(fields), moment=moment)
        return cls(head, None, reply, code=int(fields["transaction"]))

    def encode(self, mac: Mac | None = None, profile: Profile = PROFILE_2001) -> bytes:
        """The content, with a MAC where one is passed in. Raises WireError for what does not fit."""
        layout = profile.answer
        code = self.code or (_code_of(self.transaction, profile) if self.transaction else 0)
        fields = self.head.fields(MessageType.ANSWER, code, layout)
        message = FskMessage(
            fields | {"phone": self.phone}, self.reply.operations(mac is not None, profile), b"", _NO_MAC
        )
        content = message.encode(layout)
        return content if mac is None else sealed(content, mac)

    @classmethod
    def decode(cls, content: bytes, profile: Profile = PROFILE_2001) -> Answered:
        """Raises WireError for whatever is not an answer to an outlet. Says nothing about its MAC."""
        message = FskMessage.decode(content, profile.answer)
        transaction = _transaction(message.fields, profile)
        phone = str(message.fields.get("phone", ""))
        reply = Reply.of(message, profile)
        code = int(message.fields["transaction"])
        return cls(Head.of(message.fields), transaction, reply, phone, message.mac, content, code)

    def is_genuine(self, mac: Mac | None, profile: Profile = PROFILE_2001) -> bool:
        """Whether the MAC is right; True where none is needed. Of a sign-in ``mac`` is of the key it brings."""
        is_needed = self.transaction is None or profile.rules[self.transaction].answer
        return _is_proved(self.content, self.mac, mac, is_needed)
