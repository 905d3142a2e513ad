"""A process of its own with an OperatorLink: runs the steps given as JSON on standard input, prints outcomes.

``{"settings": {...}, "secret": "...", "steps": [["recharge", ref, number, fen], ["query", ref], …]}``; with
``"listen"`` in the settings its first line tells the port. Steps that wait for a condition: ``["lines", count]``,
``["until", outcome, verb, ref]`` (asked again and again), ``["late", count]``. ``["given_up", seconds, verb, ref]`` is
cancelled by us after that time.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred

from aircharge.errors import LinkError
from aircharge.ports import OperatorRequest
from aircharge.protocols.operator_link import OperatorLink, OperatorLinkSettings

reactor: Any = installed


class _Clock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()


class _Chance:
    def token(self, length: int) -> bytes:
        return os.urandom(length)


def _sleep(seconds: float) -> Deferred[None]:
    deferred: Deferred[None] = Deferred()
    reactor.callLater(seconds, deferred.callback, None)
    return deferred


async def _step(link: OperatorLink, step: list[Any], late: list[Any], pending: list[Any]) -> Any:
    verb, *rest = step
    if verb == "wait":
        return await _sleep(rest[0])
    if verb == "up":
        until = time.monotonic() + rest[0]
        while not link.ready() and time.monotonic() < until:
            await _sleep(0.02)
        return link.lines_bound
    if verb == "lines":
        while link.lines_bound < rest[0]:
            await _sleep(0.02)
        return link.lines_bound
    if verb == "given_up":
        asked = Deferred.fromCoroutine(_asked(link, rest[1], rest[2:]))
        reactor.callLater(rest[0], asked.cancel)
        return await asked
    if verb == "until":
        while (outcome := await _asked(link, rest[1], rest[2:])) != rest[0]:
            await _sleep(0.1)
        return outcome
    if verb == "late" and rest:
        while len(late) < rest[0]:
            await _sleep(0.02)
    if verb == "ready":
        return link.ready()
    if verb == "late":
        return late
    if verb == "gather":
        return [await one for one in pending]
    if verb == "stock":
        return await link.stock()
    if verb == "many":
        pending.extend(
            Deferred.fromCoroutine(_asked(link, "recharge", [f"{rest[0]}{number}", "13800138000", 1000]))
            for number in range(rest[1])
        )
        return None
    return await _asked(link, verb, rest)


async def _asked(link: OperatorLink, verb: str, rest: list[Any]) -> Any:
    ref, number, fen, original = (*rest, *(None, "13800138000", 1000, "")[len(rest) :])
    try:
        answer = await getattr(link, verb)(
            OperatorRequest(ref, number, fen, time.time_ns() // 1_000_000, original)
        )
    except LinkError as error:
        return type(error).__name__
    return answer.code


async def _run() -> None:
    order = json.loads(sys.stdin.readline())
    settings = {
        name: tuple(value) if isinstance(value, list) else value for name, value in order["settings"].items()
    }
    link = OperatorLink(
        OperatorLinkSettings(**settings), order["secret"].encode(), reactor, _Clock(), _Chance()
    )
    await link.start()
    print(json.dumps([address.port for address in link.listening]), flush=True)
    late: list[Any] = []
    link.on_late_answer(lambda answer: late.append([answer.op_ref, answer.code]))
    pending: list[Any] = []
    print(json.dumps([await _step(link, step, late, pending) for step in order["steps"]]), flush=True)
    await link.stop()


if __name__ == "__main__":
    reactor.callLater(280, os._exit, 3)
    reactor.callWhenRunning(
        lambda: (
            Deferred.fromCoroutine(_run())
            .addErrback(lambda failure: failure.printTraceback())
            .addBoth(lambda _: reactor.stop())
        )
    )
    reactor.run()
