"""The rig's own SMS centre: lean, single-threaded, its SMPP written by hand so that it shares no bug with the product.

It delivers again what was not answered (most of it), sometimes what was; sends tampered twins; and writes down
every answer it got and every SMS it was given.
"""

from __future__ import annotations

import random
import select
import socket
import struct
import time
from collections import Counter, deque
from dataclasses import dataclass, field

__all__ = ["Centre", "Mo", "Request"]

BIND_TRANSCEIVER, SUBMIT_SM, DELIVER_SM, UNBIND, ENQUIRE_LINK = 0x09, 0x04, 0x05, 0x06, 0x15
RESPONSE = 0x80000000
TEMPORARY = (0x58, 0x14, 0x64, 0x08)
SENT_TIME, USER_REFERENCE = 0x1401, 0x0204


@dataclass
class Request:
    """What an outlet wanted, whatever became of its messages: at most one credit over all ``targets``."""

    kind: str  # stk | reference | fingerprint | balance | nonsense
    phone: str
    targets: list[str] = field(default_factory=list)
    answered_ok: int = 0


@dataclass
class Mo:
    """One message on its way to the daemon."""

    request: Request
    destination: str
    data: bytes
    is_secured: bool = False
    sent_s: int = 0  # 0: without
    reference: int = 0  # 0: without
    tries: int = 0
    ready_at: float = 0.0


@dataclass(frozen=True)
class Habits:
    """How it misbehaves; chances of 0 to 1."""

    forgotten: float = 0.35  # of the unanswered: never delivered again
    again: float = 0.15  # delivered once more although answered
    mt_refused: float = 0.03  # an SMS of ours is throttled
    mt_ignored: float = 0.01  # an SMS of ours is never answered


class Centre:
    """One bound session at a time; ``turn`` does whatever can be done now."""

    def __init__(self, port: int, password: str, rng: random.Random, habits: Habits | None = None) -> None:
        self._address = ("127.0.0.1", port)
        self._password = password
        self._rng = rng
        self.habits = habits or Habits()
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._out = b""
        self._sequence = 0
        self._waiting: dict[int, Mo] = {}
        self._bind_sequence = 0
        self.is_bound = False
        self.window = 32
        self.queue: deque[Mo] = deque()
        self.received: Counter[str] = Counter()  # SMS by recipient
        self.counts: Counter[str] = Counter()

    # -- what the rig asks --------------------------------------------------------------------------------

    @property
    def open(self) -> int:
        """Messages that wait for an answer or for their turn."""
        return len(self.queue) + len(self._waiting)

    def turn(self, wait_s: float) -> None:
        """Connect if need be, read and write what there is, at most ``wait_s`` idle."""
        if self._socket is None and not self._connect():
            time.sleep(wait_s)
            return
        self._send_due()
        assert self._socket is not None
        writable = [self._socket] if self._out else []
        readable, writable, _ = select.select([self._socket], writable, [], wait_s)
        try:
            if writable:
                self._out = self._out[self._socket.send(self._out) :]
            if readable:
                self._read(self._socket.recv(65536))
        except BlockingIOError:
            pass
        except OSError:
            self.lost()

    def lost(self) -> None:
        """The line is down: what was not answered is delivered again, or forgotten."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._buffer, self._out, self.is_bound = None, b"", b"", False
        for mo in self._waiting.values():
            if self._rng.random() < self.habits.forgotten:
                self.counts["forgotten"] += 1
            else:
                self._again(mo, "redelivered unanswered")
        self._waiting.clear()

    # -- the session --------------------------------------------------------------------------------------

    def _connect(self) -> bool:
        line = socket.socket()
        try:
            line.connect(self._address)
        except OSError:
            line.close()
            return False
        line.setblocking(False)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = line
        body = _text("smsc") + _text(self._password) + _text("") + bytes((0x34, 0, 0)) + _text("")
        self._bind_sequence = self._write(BIND_TRANSCEIVER, body)
        return True

    def _write(self, command: int, body: bytes, status: int = 0, sequence: int = 0) -> int:
        if not sequence:
            self._sequence = sequence = self._sequence + 1
        self._out += struct.pack(">4I", 16 + len(body), command, status, sequence) + body
        return sequence

    def _send_due(self) -> None:
        now = time.monotonic()
        for _ in range(len(self.queue)):
            if not self.is_bound or len(self._waiting) >= self.window:
                return
            mo = self.queue.popleft()
            if mo.ready_at > now:
                self.queue.append(mo)
                continue
            mo.tries += 1
            self._waiting[self._write(DELIVER_SM, _deliver(mo))] = mo

    def _again(self, mo: Mo, why: str) -> None:
        self.counts[why] += 1
        mo.ready_at = time.monotonic() + self._rng.uniform(0.02, 0.5)
        self.queue.append(mo)

    def _read(self, data: bytes) -> None:
        if not data:
            self.lost()
            return
        self._buffer += data
        while len(self._buffer) >= 16:
            length, command, status, sequence = struct.unpack_from(">4I", self._buffer)
            if len(self._buffer) < length:
                return
            body, self._buffer = self._buffer[16:length], self._buffer[length:]
            self._take(command, status, sequence, body)

    def _take(self, command: int, status: int, sequence: int, body: bytes) -> None:
        if command == BIND_TRANSCEIVER | RESPONSE:
            if status or sequence != self._bind_sequence:
                raise AssertionError(f"the daemon refused the bind: status {status:#x}")
            self.is_bound = True
        elif command == DELIVER_SM | RESPONSE:
            self._answered(self._waiting.pop(sequence), status)
        elif command == SUBMIT_SM:
            self._notice(sequence, body)
        elif command in (ENQUIRE_LINK, UNBIND):
            self._write(command | RESPONSE, b"", 0, sequence)
            self.is_bound = self.is_bound and command != UNBIND

    def _answered(self, mo: Mo, status: int) -> None:
        if status in TEMPORARY:
            self._again(mo, f"told to wait ({status:#x})")
        elif status:
            self.counts[f"answered {status:#x}"] += 1
        else:
            mo.request.answered_ok += 1
            self.counts["answered"] += 1
            if self._rng.random() < self.habits.again:
                self._again(mo, "redelivered answered")

    def _notice(self, sequence: int, body: bytes) -> None:
        if self._rng.random() < self.habits.mt_ignored:
            self.counts["SMS never answered"] += 1
            return
        if self._rng.random() < self.habits.mt_refused:
            self.counts["SMS throttled"] += 1
            self._write(SUBMIT_SM | RESPONSE, b"", 0x58, sequence)
            return
        self.received[_recipient(body)] += 1
        self.counts["SMS taken"] += 1
        self._write(SUBMIT_SM | RESPONSE, _text(f"{self.counts['SMS taken']:X}"), 0, sequence)


def _text(value: str) -> bytes:
    return value.encode("ascii") + b"\0"


def _deliver(mo: Mo) -> bytes:
    """Body of a deliver_sm (SMPP 3.4 section 4.6.1)."""
    data = b"\x02\x70\x00" + mo.data if mo.is_secured else mo.data
    coding, esm_class = (0xF6, 0x40) if mo.is_secured else (0, 0)
    body = b"\0" + bytes((1, 1)) + _text(mo.request.phone) + bytes((0, 1)) + _text(mo.destination)
    body += bytes((esm_class, 0, 0, 0, 0, 0, 0, coding, 0, len(data))) + data
    if mo.sent_s:
        body += struct.pack(">HHI", SENT_TIME, 4, mo.sent_s)
    if mo.reference:
        body += struct.pack(">HHH", USER_REFERENCE, 2, mo.reference)
    return body


def _recipient(body: bytes) -> str:
    """destination_addr of a submit_sm (section 4.4.1)."""
    at = body.index(0) + 3  # service_type, source_addr_ton, source_addr_npi
    at = body.index(0, at) + 3  # source_addr, dest_addr_ton, dest_addr_npi
    return body[at : body.index(0, at)].decode("ascii")
