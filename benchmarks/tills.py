"""Load for ``benchmarks.pos``: terminals behind access servers, a crowd of idle and of trickling ones. Prints JSON.

``python -m benchmarks.tills PLAN``: a JSON file with port, terminals (code, key), sales, connections, idle, trickling.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import clientFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall, deferLater

from aircharge.simulators.pos_call import CallFactory, PosCall
from aircharge.simulators.pos_terminal import Memory, PosTerminal, TerminalSettings
from benchmarks.pos_setup import MERCHANT

HOST = "127.0.0.1"


class Crowd:
    """Connections that say nothing, or an octet now and then, and how often they were cut off."""

    def __init__(self, reactor: Any, port: int) -> None:
        self.reactor, self.port = reactor, port
        self.lines: list[Any] = []
        self.lost = 0

    async def join(self, count: int) -> None:
        factory = Factory.forProtocol(_Still)
        factory.crowd = self  # type: ignore[attr-defined]
        for first in range(0, count, 200):
            wanted = [self._connect(factory) for _ in range(min(200, count - first))]
            self.lines += [line for _, line in await DeferredList(wanted)]

    def _connect(self, factory: Any) -> Deferred[Any]:
        return clientFromString(self.reactor, f"tcp:{HOST}:{self.port}").connect(factory)

    def trickle(self) -> None:
        for line in self.lines:
            if line.transport is not None:
                line.transport.write(b"\x01")


class _Still(Protocol):
    def connectionLost(self, reason: Any = None) -> None:
        self.factory.crowd.lost += 1  # type: ignore[union-attr]


async def _sell(
    terminal: PosTerminal, targets: list[str], took_ms: list[float], codes: dict[str, int]
) -> None:
    while targets:
        target = targets.pop()
        began = time.perf_counter()
        outcome = await terminal.sale(target, 1000)
        took_ms.append((time.perf_counter() - began) * 1000)
        codes[outcome.code] = codes.get(outcome.code, 0) + 1


async def work(reactor: Any, plan: dict[str, Any]) -> dict[str, Any]:
    """All of it; what came of it."""
    idle, trickling = Crowd(reactor, plan["port"]), Crowd(reactor, plan["port"])
    await idle.join(plan["idle"])
    await trickling.join(plan["trickling"])
    if plan["idle"]:
        Path(plan["ready"]).touch()  # the memory is looked at now
        await deferLater(reactor, 3.0, lambda: None)
    drip = LoopingCall(trickling.trickle)
    drip.start(3.0)
    factory = CallFactory(reactor)
    endpoint = clientFromString(reactor, f"tcp:{HOST}:{plan['port']}")
    calls: list[PosCall] = [await endpoint.connect(factory) for _ in range(plan["connections"])]
    terminals = [_terminal(row, calls, number) for number, row in enumerate(plan["terminals"], 1)]
    for terminal in terminals:
        assert (await terminal.sign_in()).is_approved
    targets, took_ms, codes = list(plan["targets"]), [], {}
    began = time.perf_counter()
    await DeferredList([Deferred.fromCoroutine(_sell(t, targets, took_ms, codes)) for t in terminals])
    seconds = time.perf_counter() - began
    drip.stop()
    took_ms.sort()
    return {
        "per_s": round(len(took_ms) / seconds),
        "p50_ms": round(took_ms[len(took_ms) // 2], 1),
        "p99_ms": round(took_ms[int(len(took_ms) * 0.99)], 1),
        "codes": codes,
        "idle_lost": idle.lost,
        "trickling_lost": trickling.lost,
    }


def _terminal(row: dict[str, Any], calls: list[PosCall], number: int) -> PosTerminal:
    call, source = calls[number % len(calls)], number.to_bytes(2, "big")
    settings = TerminalSettings(row["code"], MERCHANT, bytes.fromhex(row["key"]))
    return PosTerminal(settings, lambda octets: call.exchange(octets, source), Memory(trace=row["trace"]))


def main() -> int:
    from twisted.internet import reactor as installed

    reactor: Any = installed
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    plan = json.loads(Path(sys.argv[1]).read_text())
    outcome: list[Any] = []

    def ended(result: Any) -> None:
        outcome.append(result)
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(work(reactor, plan)).addBoth(ended))
    reactor.run()
    if not isinstance(outcome[0], dict):
        outcome[0].printTraceback(sys.stderr)
        return 1
    print(json.dumps(outcome[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
