"""Cost of the SMPP session and shell: messages through our server and back, beside raw Twisted ping-pong.

``python -m benchmarks.smpp_session [messages]``. CPU microseconds a message, one core.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from aircharge.protocols.smpp import SmppGateway, SmppPeer, SmppServer
from aircharge.wire.smpp.constants import Command
from aircharge.wire.smpp.message import from_pdu
from aircharge.wire.smpp.pdu import Pdu, decode, encode

PEER = SmppPeer(name="smsc", system_id="smsc", window_in_max=10_000, window_max=10_000)
BATCH = 10  # PDUs that arrive in one read


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]


def timed(what: str, count: int, run: Any) -> float:
    best = 1e9
    for _ in range(3):
        start = time.process_time()
        run()
        best = min(best, (time.process_time() - start) / count * 1e6)
    print(f"{what:58s} {best:8.1f} us  {1e6 / best:10,.0f} /s")
    return best


def bound() -> tuple[SmppGateway, Any, StringTransport]:
    async def answer(*_: Any) -> int:
        return 0

    gateway = SmppGateway(Clock(), lambda: 1_790_000_000_000, answer)
    server = SmppServer(gateway, [PEER], {"smsc": "secret"})
    connection: Any = server.buildProtocol(None)
    wire = StringTransport()
    connection.makeConnection(wire)
    bind = {"system_id": "smsc", "password": "secret", "interface_version": 0x34}
    connection.dataReceived(encode(Pdu(Command.BIND_TRANSCEIVER, 1, 0, bind)))
    wire.clear()
    return gateway, connection, wire


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    fields = {
        "source_addr": "8613900000001",
        "destination_addr": "0353911",
        "short_message": b"13812345678 50",
    }
    frames = [encode(Pdu(Command.DELIVER_SM, number, 0, fields)) for number in range(2, count + 2)]
    batches = [b"".join(frames[start : start + BATCH]) for start in range(0, count, BATCH)]

    def codec() -> None:
        for frame in frames:
            pdu = decode(frame)
            from_pdu(pdu)
            encode(pdu.response(0))

    def incoming() -> None:
        for batch in batches:
            connection.dataReceived(batch)
        assert len(wire.value()) == 17 * count, "every message has its response"
        wire.clear()

    def outgoing() -> None:
        for _ in range(count // BATCH):
            for _ in range(BATCH):
                gateway.send_text("0353911", "13812345678", "ok 50.00")
            data, position = wire.value(), 0
            wire.clear()
            answers = []
            while position < len(data):
                size = int.from_bytes(data[position : position + 4], "big")
                sequence = data[position + 12 : position + 16]
                answers.append(b"\0\0\0\x11\x80\0\0\x05\0\0\0\0" + sequence + b"\0")
                position += size
            connection.dataReceived(b"".join(answers))

    def ping_pong() -> None:
        for batch in batches:
            echo.dataReceived(batch)
        raw.clear()

    raw = StringTransport()
    echo = Echo()
    echo.makeConnection(raw)
    gateway, connection, wire = bound()
    timed("raw Twisted echo through StringTransport, a message", count, ping_pong)
    plain = timed("codec alone: decode, from_pdu, encode the response", count, codec)
    whole = timed("MO: bytes in, answer(), deliver_sm_resp out", count, incoming)
    print(f"{'  so session, shell and Deferred':58s} {whole - plain:8.1f} us")
    timed("MT: send_text, deliver_sm out, response in (with codec)", count, outgoing)


if __name__ == "__main__":
    main()
