"""Open-loop load in streams, in a process of its own: what is due is sent, whatever has come back.

``python -m benchmarks.flood PLAN.json``; the results go to standard output as JSON. A stream is so many messages a
second of one kind from some of the outlets. A message that is told "later" (0x58, 0x64) may be sent again, the same,
as an SMS centre does. An order counts as done when its customer's SMS has come.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import LoopingCall

from aircharge.instance import DEMO_PIN
from aircharge.values import Pin
from aircharge.wire.ota import Check, Command, Counting, KeySet, Spi, seal_command
from aircharge.wire.stk import StkMessage, StkOperation, encode
from benchmarks.load import BIND_TRX, DELIVER_SM, ENQUIRE, HEADER, RESPONSE, SUBMIT_SM, deliver_body, quantile

ORDERS: Final = ("card", "text")  # done when their customer has the SMS; the rest when it is answered
LATER: Final = (0x58, 0x64)
RECHARGES, QUERIES = "0353911", "0353910"


@dataclass
class Outlet:
    """A phone with its card."""

    phone: str
    keys: KeySet
    counter: int = 0

    def packet(self, target: str) -> bytes:
        self.counter += 1
        asked = StkMessage(
            StkOperation.RECHARGE, secrets.randbits(64), Pin(DEMO_PIN), int(time.time()), target, 1000
        )
        spi = Spi.of(Check.CC, True, Counting.UNCHECKED)
        command = Command(spi, 0x12, 0x12, b"\xb0\xfa\x01", self.counter, encode(asked))
        return deliver_body(self.phone, RECHARGES, seal_command(command, self.keys))


def plain_body(source: str, destination: str, text: str) -> bytes:
    """Body of a deliver_sm with a text in the default alphabet; seconds in a TLV make each its own message."""
    head = b"\0\x01\x01" + source.encode() + b"\0\x01\x01" + destination.encode() + b"\0"
    said = text.encode()
    return head + bytes((0, 0, 0)) + b"\0\0" + bytes((0, 0, 0, 0, len(said))) + said


MESSAGES: Final[dict[str, Callable[[Outlet, str], bytes]]] = {
    "card": lambda outlet, target: outlet.packet(target),
    "text": lambda outlet, target: plain_body(outlet.phone, RECHARGES, f"{target} 10"),
    "balance": lambda outlet, target: plain_body(outlet.phone, QUERIES, "00"),
    "recap": lambda outlet, target: plain_body(outlet.phone, QUERIES, "13"),
    "reversal": lambda outlet, target: plain_body(outlet.phone, RECHARGES, f"14 {target} 10 {DEMO_PIN}"),
}
"""Bodies by kind. A reversal names a recharge there never was: it is looked up and refused, and that is written."""


@dataclass
class Stream:
    name: str
    kind: str
    rate: float
    outlets: list[int]
    tries_max: int = 1
    again_s: float = 0.5
    bodies: list[bytes] = field(default_factory=list)
    targets: list[bytes] = field(default_factory=list)
    sent: int = 0
    status: Counter[int] = field(default_factory=Counter)  # by the last answer to a message
    answers_s: list[float] = field(default_factory=list)  # first sending to the answer that is not "later"
    done_s: list[float] = field(default_factory=list)  # first sending to the customer's SMS
    done_at_s: list[float] = field(default_factory=list)  # since the beginning; of questions their response

    def make(self, outlets: list[Outlet], seconds: float, first_target: int) -> None:
        make = MESSAGES[self.kind]
        for n in range(int(self.rate * seconds)):
            target = str(first_target + n)
            self.bodies.append(make(outlets[self.outlets[n % len(self.outlets)]], target))
            self.targets.append(target.encode())


class Flood(Protocol):
    """One bound transceiver session with all the streams."""

    def __init__(self, plan: dict[str, Any], streams: list[Stream]) -> None:
        self._plan = plan
        self._streams = streams
        self._buffer = b""
        self._out: list[bytes] = []
        self._orders: dict[bytes, tuple[Stream, float]] = {}
        self._asked: dict[int, tuple[Stream, int, float, int]] = {}  # stream, message, first sent, tries
        self._sequence = 1
        self._began_s = self._late_s = 0.0
        self._ticks = LoopingCall(self._tick)

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._say(BIND_TRX, 1, f"smsc\0{self._plan['password']}\0\0".encode() + b"\x34\0\0\0")
        self._flush()

    def dataReceived(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        offset, size = 0, len(buffer)
        while size - offset >= 16:
            length, command, status, sequence = HEADER.unpack_from(buffer, offset)
            if size - offset < length:
                break
            self._received(command, status, sequence, buffer, offset)
            offset += length
        self._buffer = buffer[offset:]
        self._flush()

    def _received(self, command: int, status: int, sequence: int, buffer: bytes, offset: int) -> None:
        if command == DELIVER_SM | RESPONSE:
            self._answered(sequence, status)
        elif command in (SUBMIT_SM, DELIVER_SM):
            self._say(command | RESPONSE, sequence, b"%d\0" % sequence)
            self._told(buffer, offset + 16)
        elif command == BIND_TRX | RESPONSE:
            assert status == 0, f"bind refused: {status:#x}"
            self._began_s = time.perf_counter()
            self._ticks.start(0.002)
        elif command == ENQUIRE:
            self._say(command | RESPONSE, sequence, b"")

    def _told(self, buffer: bytes, at: int) -> None:
        at = buffer.index(0, at) + 3  # service_type, source TON and NPI
        at = buffer.index(0, at) + 3  # source_addr, destination TON and NPI
        order = self._orders.pop(buffer[at : buffer.index(0, at)][-11:], None)
        if order is not None:
            now = time.perf_counter()
            stream, first_s = order
            stream.done_s.append(now - first_s)
            stream.done_at_s.append(now - self._began_s)

    def _answered(self, sequence: int, status: int) -> None:
        stream, index, first_s, tries = self._asked.pop(sequence)
        if status in LATER and tries < stream.tries_max:
            reactor.callLater(stream.again_s, self._send, stream, index, first_s, tries + 1)
            return
        stream.status[status] += 1
        now = time.perf_counter()
        stream.answers_s.append(now - first_s)
        if status == 0 and stream.kind not in ORDERS:
            stream.done_at_s.append(now - self._began_s)

    def _tick(self) -> None:
        passed_s = time.perf_counter() - self._began_s
        for stream in self._streams:
            due = min(int(passed_s * stream.rate), len(stream.bodies))
            for index in range(stream.sent, due):
                self._send(stream, index, time.perf_counter(), 1)
            if due > stream.sent:
                self._late_s = max(self._late_s, passed_s - stream.sent / stream.rate)
            stream.sent = due
        self._flush()
        if passed_s >= self._plan["seconds"]:
            self._ticks.stop()
            reactor.callLater(self._plan["settle_s"], self._finish)

    def _send(self, stream: Stream, index: int, first_s: float, tries: int) -> None:
        self._sequence += 1
        self._asked[self._sequence] = (stream, index, first_s, tries)
        if tries == 1 and stream.kind in ORDERS:
            self._orders[stream.targets[index]] = (stream, first_s)
        self._say(DELIVER_SM, self._sequence, stream.bodies[index])
        if tries > 1:
            self._flush()

    def _say(self, command: int, sequence: int, body: bytes) -> None:
        self._out.append(HEADER.pack(16 + len(body), command, 0, sequence) + body)

    def _flush(self) -> None:
        if self._out:
            self.transport.write(b"".join(self._out))
            self._out.clear()

    def _finish(self) -> None:
        reactor.stop()

    def results(self) -> dict[str, Any]:
        """By stream: counts, goodput over all but the first second, latencies in ms."""
        seconds = self._plan["seconds"]
        return {
            "late_ms": round(self._late_s * 1000, 1),
            "unanswered": len(self._asked),
            "streams": {stream.name: _result(stream, seconds) for stream in self._streams},
        }


def _result(stream: Stream, seconds: float) -> dict[str, Any]:
    within = sum(1.0 <= at < seconds for at in stream.done_at_s)
    done, answers = sorted(stream.done_s), sorted(stream.answers_s)
    return {
        "sent": stream.sent,
        "status": {f"{status:#x}": count for status, count in sorted(stream.status.items())},
        "done": len(done),
        "goodput": round(within / (seconds - 1.0), 1),
        "p50_ms": round(quantile(done, 0.5) * 1000, 1),
        "p99_ms": round(quantile(done, 0.99) * 1000, 1),
        "answer_p99_ms": round(quantile(answers, 0.99) * 1000, 1),
    }


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    cards = json.loads(Path(plan["cards"]).read_text())
    outlets = [
        Outlet(card["msisdn"], KeySet(bytes.fromhex(card["kic"]), bytes.fromhex(card["kid"]), 1), counter)
        for card, counter in zip(cards, plan["counters"], strict=True)
    ]
    streams = [Stream(**stream) for stream in plan["streams"]]
    for number, stream in enumerate(streams):
        stream.make(
            outlets, plan["seconds"], 13_000_000_000 + plan["round"] * 10_000_000 + number * 1_000_000
        )
    flood = Flood(plan, streams)
    connectProtocol(TCP4ClientEndpoint(reactor, plan["host"], plan["port"]), flood)
    reactor.run()
    counters = [outlet.counter for outlet in outlets]
    print(json.dumps({**flood.results(), "counters": counters}))


if __name__ == "__main__":
    main()
