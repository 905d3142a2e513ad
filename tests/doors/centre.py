"""The SMS centre before the doors: the rig's own, with every form a message may come in and handsets that can read.

It delivers again what was not answered, after milliseconds or seconds, and sometimes what was; sequence numbers are new
each time. What the daemon sends to a handset is read by a decoder of its own.
"""

from __future__ import annotations

import itertools
import random
import struct
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.system.rig_centre import (
    DELIVER_SM,
    ENQUIRE_LINK,
    RESPONSE,
    SUBMIT_SM,
    TEMPORARY,
    UNBIND,
    Centre,
    Habits,
)

__all__ = ["DoorCentre", "Letter", "parts_of", "sent_time"]

RESPONSE_S = 6.0  # what is not answered for so long is delivered again
PAYLOAD, SENT_TIME = 0x0424, 0x1401
ORDINARY, UDH = 0x00, 0x40


@dataclass
class Letter:
    """A message of a handset, as often as it is delivered."""

    phone: str
    to: str
    data: bytes
    coding: int = 0
    esm_class: int = ORDINARY
    options: bytes = b""  # optional parameters as they stand behind the message
    in_payload: bool = False
    is_secured: bool = False
    tries: int = 0
    tries_max: int = 12
    ready_at: float = 0.0
    sent_at: float = 0.0
    answers: list[int] = field(default_factory=list)

    def body(self) -> bytes:
        """Body of a deliver_sm (SMPP 3.4 section 4.6.1)."""
        data, coding, esm_class = self.data, self.coding, self.esm_class
        if self.is_secured:
            data, coding, esm_class = b"\x02\x70\x00" + data, 0xF6, UDH
        inside = b"" if self.in_payload else data
        body = b"\0\1\1" + _text(self.phone) + b"\0\1" + _text(self.to)
        body += bytes((esm_class, 0, 0, 0, 0, 0, 0, coding, 0, len(inside))) + inside
        if self.in_payload:
            body += struct.pack(">HH", PAYLOAD, len(data)) + data
        return body + self.options


def sent_time(at_s: int) -> bytes:
    """The SMS centre's own time, as an optional parameter."""
    return struct.pack(">HHI", SENT_TIME, 4, at_s)


def parts_of(data: bytes, reference: int, cuts: list[int]) -> list[bytes]:
    """A message in parts under an 8-bit reference (3GPP 23.040 section 9.2.3.24.1), cut at these octets."""
    edges = [0, *cuts, len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    return [bytes((5, 0, 3, reference, len(pieces), n)) + piece for n, piece in enumerate(pieces, 1)]


class DoorCentre(Centre):
    """``inbox``: what each handset has read. ``refuses``: so many more messages of the daemon's are throttled."""

    def __init__(self, port: int, password: str, rng: random.Random) -> None:
        super().__init__(port, password, rng, Habits(forgotten=0.15, again=0.12, mt_ignored=0.0))
        self.inbox: dict[str, list[str]] = defaultdict(list)
        self.heard_status: Counter[int] = Counter()
        self.drops_response = 0.0
        self.is_calm = False
        self._halves: dict[tuple[str, str, int], dict[int, bytes]] = {}

    def send(self, *letters: Letter) -> None:
        self.queue.extend(letters)  # type: ignore[arg-type]

    @property
    def is_idle(self) -> bool:
        return not self.queue and not self._waiting

    def turn(self, wait_s: float) -> None:
        now = time.monotonic()
        waiting: dict[int, Any] = self._waiting
        for sequence, letter in list(waiting.items()):
            if now - letter.sent_at > RESPONSE_S:
                del waiting[sequence]
                self._again(letter, "delivered again: no answer in time")
        super().turn(wait_s)

    def _send_due(self) -> None:
        now = time.monotonic()
        for _ in range(len(self.queue)):
            if not self.is_bound or len(self._waiting) >= self.window:
                return
            letter: Any = self.queue.popleft()
            if letter.ready_at > now:
                self.queue.append(letter)
                continue
            letter.tries += 1
            letter.sent_at = now
            self._waiting[self._write(DELIVER_SM, letter.body())] = letter

    def _again(self, mo: Any, why: str) -> None:
        if mo.tries >= mo.tries_max:
            self.counts["given up"] += 1
            return
        self.counts[why] += 1
        longest = 0.3 if self.is_calm else self._rng.choice((0.1, 0.5, 2.0, 8.0))
        mo.ready_at = time.monotonic() + self._rng.uniform(0.02, longest)
        self.queue.append(mo)

    def _take(self, command: int, status: int, sequence: int, body: bytes) -> None:
        if command == DELIVER_SM | RESPONSE:
            letter: Any = self._waiting.pop(sequence, None)
            if letter is not None and self._rng.random() < self.drops_response:
                self._again(letter, "delivered again: answer lost")
            elif letter is not None:
                self._answered(letter, status)
        elif command in (SUBMIT_SM, ENQUIRE_LINK, UNBIND):
            super()._take(command, status, sequence, body)
        elif command == 0x80000009:
            if status:
                self.counts[f"bind refused {status:#x}"] += 1
                self.lost()
            else:
                self.is_bound = True

    def _answered(self, mo: Any, status: int) -> None:
        self.heard_status[status] += 1
        if status in TEMPORARY:
            self._again(mo, f"told to wait ({status:#x})")
            return
        mo.answers.append(status)
        if status == 0 and not self.is_calm and self._rng.random() < self.habits.again:
            self._again(mo, "delivered again though answered")

    def _notice(self, sequence: int, body: bytes) -> None:
        if not self.is_calm and self._rng.random() < self.habits.mt_refused:
            self.counts["SMS throttled"] += 1
            self._write(SUBMIT_SM | RESPONSE, b"", 0x58, sequence)
            return
        recipient, text = self._read_notice(body)
        if text:
            self.inbox[recipient].append(text)
        self.counts["SMS taken"] += 1
        self._write(SUBMIT_SM | RESPONSE, _text(f"{self.counts['SMS taken']:X}"), 0, sequence)

    def _read_notice(self, body: bytes) -> tuple[str, str]:
        """destination_addr and text of a submit_sm (section 4.4.1); "" while parts are missing, or a packet."""
        at = body.index(0) + 3
        end = body.index(0, at)
        source = body[at:end].decode("ascii")
        at = end + 3
        end = body.index(0, at)
        recipient = body[at:end].decode("ascii")
        esm_class = body[end + 1]
        at = end + 4
        for _ in range(2):  # schedule_delivery_time, validity_period
            at = body.index(0, at) + 1
        coding, length = body[at + 2], body[at + 4]
        data, options = body[at + 5 : at + 5 + length], body[at + 5 + length :]
        while len(options) >= 4:
            tag, size = struct.unpack_from(">HH", options)
            data = options[4 : 4 + size] if tag == PAYLOAD else data
            options = options[4 + size :]
        if coding == 0xF6:
            return recipient, ""
        if esm_class & UDH:
            header, data = data[1 : 1 + data[0]], data[1 + data[0] :]
            if header[:2] == b"\0\3":
                kept = self._halves.setdefault((source, recipient, header[2]), {})
                kept[header[4]] = data
                if len(kept) < header[3]:
                    return recipient, ""
                del self._halves[source, recipient, header[2]]
                data = b"".join(kept[n] for n in sorted(kept))
        return recipient, data.decode("utf-16-be" if coding == 8 else "latin-1")


def _text(value: str) -> bytes:
    return value.encode("ascii") + b"\0"
