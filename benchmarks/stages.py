"""CPU per recharge by stage, each stage alone in one process: microseconds of one core, batches of 64.

The sum is what the parts cost by themselves; ``benchmarks.recharge`` gives the whole daemon's CPU, with system calls,
threads, reactor, log lines and metrics.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from aircharge.instance import DEMO_PIN, Instance, Ports, Shop
from aircharge.ledger.commands import CloseRecharge, NoticesDone, OpenRecharge
from aircharge.machine import SystemClock, open_store
from aircharge.protocols.smpp import SmppGateway, SmppPeer, SmppServer
from aircharge.sms.cardshelf import Card
from aircharge.values import Asker, CardUse, Channel, Key, Msisdn, Order, Pin, Verdict
from aircharge.wire.operator import messages as m
from aircharge.wire.operator.codec import decode as operator_decode
from aircharge.wire.operator.codec import encode as operator_encode
from aircharge.wire.ota import CardProfile, open_command
from aircharge.wire.smpp.constants import Command
from aircharge.wire.smpp.pdu import Pdu, encode
from aircharge.wire.stk import decode as stk_decode
from benchmarks.recharge import Traffic

BATCH, ROUNDS = 64, 40


class Stages:
    """CPU by name, summed."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}

    def run(self, name: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        self.cpu_s[name] = self.cpu_s.get(name, 0.0) + time.process_time() - began
        return result


class Bench:
    """Everything the stages need, real but for the transport."""

    def __init__(self, folder: Path) -> None:
        shops = [
            Shop(f"B{n:05d}", f"139{n:08d}", f"8986{n:016d}", float_fen=10_000_000_00) for n in range(50)
        ]
        instance = Instance(folder, Ports())
        config = instance.create(shops)
        self.clock = SystemClock()
        self.store = open_store(config, self.clock, 1)
        self.phrases = config.phrases()
        self.traffic = Traffic(instance)
        self.cards = {
            phone: Card(n + 1, 1, CardProfile(), keys) for n, (phone, keys) in enumerate(self.traffic.cards)
        }
        self.received: list[Any] = []
        self._bind()

    def _bind(self) -> None:
        async def answer(message: Any, peer: Any) -> int:
            self.received.append(message)
            return 0

        peer = SmppPeer(
            name="smsc", system_id="smsc", window_in_max=10_000, window_max=10_000, mt_pdu="submit_sm"
        )
        self.gateway = SmppGateway(Clock(), self.clock.now_ms, answer)
        self.connection: Any = SmppServer(self.gateway, [peer], {"smsc": "secret"}).buildProtocol(None)
        self.wire = StringTransport()
        self.connection.makeConnection(self.wire)
        bind = {"system_id": "smsc", "password": "secret", "interface_version": 0x34}
        self.connection.dataReceived(encode(Pdu(Command.BIND_TRANSCEIVER, 1, 0, bind)))
        self.wire.clear()
        self.sequence = 2

    def arrivals(self) -> bytes:
        bodies, _ = self.traffic.take(BATCH)
        frames = []
        for body in bodies:
            head = (16 + len(body), int(Command.DELIVER_SM), 0, self.sequence)
            frames.append(b"".join(number.to_bytes(4, "big") for number in head) + body)
            self.sequence += 1
        return b"".join(frames)

    def take_in(self, data: bytes) -> list[Any]:
        self.received.clear()
        self.connection.dataReceived(data)
        self.wire.clear()
        return list(self.received)

    def opened(self, messages: list[Any]) -> list[Any]:
        found = []
        for message in messages:
            card = self.cards[message.source]
            packet = open_command(message.data, card.keys, card.profile)
            found.append((message.source, card, packet, stk_decode(packet.data)))
        return found

    def orders(self, opened: list[Any]) -> list[OpenRecharge]:
        now_ms = self.clock.now_ms()
        return [
            OpenRecharge(
                Order(
                    Channel.STK,
                    Key(f"stk:{card.card_id}", f"{content.serial:016x}"),
                    Asker(
                        phone,
                        "0353911",
                        CardUse(card.card_id, 1, content.serial, packet.counter),
                        Pin(DEMO_PIN),
                    ),
                    Msisdn(content.target),
                    content.amount_fen,
                    now_ms,
                    now_ms,
                ),
                1,
                pin_needed=True,
            )
            for phone, card, packet, content in opened
        ]

    def send(self, texts: list[tuple[str, str]]) -> None:
        for recipient, text in texts:
            self.gateway.send_text("0353911", recipient, text, 7)
        data, at, answers = self.wire.value(), 0, []
        self.wire.clear()
        while at < len(data):
            size = int.from_bytes(data[at : at + 4], "big")
            answers.append(b"\0\0\0\x12\x80\0\0\x04\0\0\0\0" + data[at + 12 : at + 16] + b"1\0")
            at += size
        self.connection.dataReceived(b"".join(answers))


def operator_line(receipts: list[Any]) -> None:
    """Our side's codec: an invoke out, a result in."""
    for number, receipt in enumerate(receipts, 1):
        asked = m.RechargeArgument(
            receipt.op_ref, "A00123", receipt.target, receipt.amount_fen, 156, receipt.created_ms
        )
        operator_encode(m.Invoke(number, asked))
        operator_decode(RESULT)


RESULT = operator_encode(
    m.ReturnResult(1, m.RechargeResult("AC" + "1" * 20, "0000", "S1", 1_795_408_147_291, 5000))
)


def measure(bench: Bench, stages: Stages) -> None:
    data = bench.arrivals()
    messages = stages.run("SMPP in: PDU, session, response", lambda: bench.take_in(data))
    opened = stages.run("open the packet, read the STK message", lambda: bench.opened(messages))
    orders = bench.orders(opened)
    held = stages.run("ledger: hold (with fsync)", lambda: bench.store.run_batch(orders)).results
    stages.run("operator line: codec out and in", lambda: operator_line(held))
    closes = [CloseRecharge(receipt.order_id, Verdict.YES, "0000", "S1") for receipt in held]
    closed = stages.run("ledger: settle (with fsync)", lambda: bench.store.run_batch(closes))
    texts = stages.run(
        "wording of both SMS", lambda: [(row.recipient, bench.phrases.word(row)) for row in closed.notices]
    )
    stages.run("SMPP out: both SMS and their responses", lambda: bench.send(texts))
    done = NoticesDone(tuple(row.notice_id for row in closed.notices))
    stages.run("ledger: told (with fsync)", lambda: bench.store.run_batch([done]))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="aircharge-stages-") as folder:
        bench = Bench(Path(folder))
        measure(bench, Stages())  # warm
        stages = Stages()
        for _ in range(ROUNDS):
            measure(bench, stages)
    total = 0.0
    for name, cpu_s in stages.cpu_s.items():
        each_us = cpu_s / (ROUNDS * BATCH) * 1e6
        total += each_us
        print(f"{name:42s} {each_us:7.1f} us")
    print(f"{'sum of the stages':42s} {total:7.1f} us")


if __name__ == "__main__":
    main()
