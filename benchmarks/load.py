"""The load on the daemon: an SMS centre reduced to what a benchmark needs, in a process of its own.

It speaks true SMPP 3.4 but decodes only what it must (headers by ``struct``, the destination of what it is sent), so
that the other core has room for it and the operator. Messages are sealed before the clock starts.

A recharge counts from the deliver_sm that carries it to the customer's SMS; the outlet's SMS is of the same commit.
"""

from __future__ import annotations

import json
import struct
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import LoopingCall

HEADER = struct.Struct(">IIII")
DELIVER_SM, SUBMIT_SM, BIND_TRX, ENQUIRE, UNBIND = 0x05, 0x04, 0x09, 0x15, 0x06
RESPONSE = 0x80000000


@dataclass
class Plan:
    """What to send: whole deliver_sm bodies, and the number each one recharges."""

    host: str
    port: int
    system_id: str
    password: str
    bodies: list[bytes]
    targets: list[bytes]
    window: int = 0  # closed loop: so many under way
    rate: float = 0.0  # open loop: so many a second
    timeout_s: float = 120.0


@dataclass
class Outcome:
    """What was seen."""

    latencies_s: list[float] = field(default_factory=list)
    began_s: float = 0.0
    ended_s: float = 0.0
    outlet_sms: int = 0
    refused: dict[int, int] = field(default_factory=dict)


class Centre(Protocol):
    """One bound transceiver session that drives the load."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._buffer = b""
        self._out: list[bytes] = []
        self._next = 0
        self._sent_s: dict[bytes, float] = {}
        self._targets = set(plan.targets)
        self.outcome = Outcome()
        self._ticks: LoopingCall | None = None

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        body = f"{self._plan.system_id}\0{self._plan.password}\0\0".encode() + b"\x34\0\0\0"
        self._say(BIND_TRX, 1, body)
        self._flush()
        reactor.callLater(self._plan.timeout_s, self._finish)

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
        if command in (SUBMIT_SM, DELIVER_SM):
            self._say(command | RESPONSE, sequence, b"%d\0" % sequence if command == SUBMIT_SM else b"\0")
            self._message(buffer, offset + 16)
        elif command == DELIVER_SM | RESPONSE:
            if status:
                self.outcome.refused[status] = self.outcome.refused.get(status, 0) + 1
                reactor.callLater(0.05, self._resend, sequence)
        elif command == BIND_TRX | RESPONSE:
            assert status == 0, f"bind refused: {status:#x}"
            self._begin()
        elif command in (ENQUIRE, UNBIND):
            self._say(command | RESPONSE, sequence, b"")

    def _message(self, buffer: bytes, at: int) -> None:
        at = buffer.index(0, at) + 3  # service_type, source TON and NPI
        at = buffer.index(0, at) + 3  # source_addr, destination TON and NPI
        destination = buffer[at : buffer.index(0, at)][-11:]
        began = self._sent_s.pop(destination, None)
        if began is None:
            self.outcome.outlet_sms += destination not in self._targets
            return
        now = time.perf_counter()
        self.outcome.latencies_s.append(now - began)
        if len(self.outcome.latencies_s) == len(self._plan.bodies):
            self.outcome.ended_s = now
            reactor.callLater(0.5, self._finish)  # the last outlet's SMS may be just behind
        elif self._plan.window:
            self._send_next()

    def _begin(self) -> None:
        self.outcome.began_s = time.perf_counter()
        if self._plan.window:
            for _ in range(min(self._plan.window, len(self._plan.bodies))):
                self._send_next()
        else:
            self._ticks = LoopingCall(self._tick)
            self._ticks.start(0.002)

    def _tick(self) -> None:
        """Open loop: what is due by now goes out, whatever has come back."""
        due = int((time.perf_counter() - self.outcome.began_s) * self._plan.rate)
        while self._next < min(due, len(self._plan.bodies)):
            self._send_next()
        self._flush()
        if self._next >= len(self._plan.bodies):
            self._ticks.stop()

    def _send_next(self) -> None:
        index = self._next
        if index >= len(self._plan.bodies):
            return
        self._next += 1
        self._sent_s[self._plan.targets[index]] = time.perf_counter()
        self._say(DELIVER_SM, index + 2, self._plan.bodies[index])

    def _resend(self, sequence: int) -> None:
        self._say(DELIVER_SM, sequence, self._plan.bodies[sequence - 2])
        self._flush()

    def _say(self, command: int, sequence: int, body: bytes) -> None:
        self._out.append(HEADER.pack(16 + len(body), command, 0, sequence) + body)

    def _flush(self) -> None:
        if self._out:
            self.transport.write(b"".join(self._out))
            self._out.clear()

    def _finish(self) -> None:
        if not self.outcome.ended_s:
            self.outcome.ended_s = time.perf_counter()
        if reactor.running:
            reactor.stop()


def deliver_body(source: str, destination: str, packet: bytes) -> bytes:
    """Body of a deliver_sm with a secured packet as the SIM sends it: UDHI, 8-bit class 2 (3GPP TS 23.040, 23.038)."""
    message = b"\x02\x70\x00" + packet
    head = b"\0\x01\x01" + source.encode() + b"\0\x01\x01" + destination.encode() + b"\0"
    return head + bytes((0x40, 0, 0)) + b"\0\0" + bytes((0, 0, 0xF6, 0, len(message))) + message


def quantile(values: list[float], share: float) -> float:
    return values[min(int(len(values) * share), len(values) - 1)] if values else 0.0


def drive(plan: Plan) -> dict[str, Any]:
    """Run a plan to its end; seconds and milliseconds. Needs a process of its own (it runs the reactor)."""
    centre = Centre(plan)
    connectProtocol(TCP4ClientEndpoint(reactor, plan.host, plan.port), centre)
    reactor.run()
    outcome = centre.outcome
    taken = outcome.ended_s - outcome.began_s
    ordered = sorted(outcome.latencies_s)
    return {
        "asked": len(plan.bodies),
        "done": len(ordered),
        "outlet_sms": outcome.outlet_sms,
        "refused": {f"{status:#x}": count for status, count in outcome.refused.items()},
        "seconds": round(taken, 3),
        "per_second": round(len(ordered) / taken, 1) if taken else 0.0,
        **{
            name: round(quantile(ordered, share) * 1000, 2)
            for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999))
        },
    }


def main() -> None:
    """``python -m benchmarks.load PLAN.json``: bodies in hex, one JSON object of results on standard output."""
    document = json.loads(Path(sys.argv[1]).read_text())
    document["bodies"] = [bytes.fromhex(body) for body in document["bodies"]]
    document["targets"] = [target.encode() for target in document["targets"]]
    print(json.dumps(drive(Plan(**document))))


if __name__ == "__main__":
    main()
