"""The simulators' control line: one JSON object a line, over TCP on loopback.

Request ``{"do": "<verb>", ...arguments}``; answer ``{"ok": true, ...}`` or ``{"ok": false, "error": "..."}``.
Lines are at most 64 KiB.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver

__all__ = ["ControlFactory", "Verb", "ask"]

Verb = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class _ControlLine(LineOnlyReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 65536
    log = Logger()

    def __init__(self, verbs: Mapping[str, Verb]) -> None:
        self._verbs = verbs

    def lineReceived(self, line: bytes) -> None:
        Deferred.fromCoroutine(self._answer(line))

    async def _answer(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            verb = self._verbs[request.pop("do")]
        except (ValueError, KeyError, TypeError, AttributeError):
            self._say({"ok": False, "error": f"verbs: {', '.join(sorted(self._verbs))}"})
            return
        try:
            self._say({"ok": True, **await verb(request)})
        except Exception as error:  # a shell boundary: the asker is told, the log keeps the trace
            self.log.failure("control verb failed")
            self._say({"ok": False, "error": f"{type(error).__name__}: {error}"})

    def _say(self, answer: dict[str, Any]) -> None:
        if self.transport is not None:
            self.sendLine(json.dumps(answer, ensure_ascii=False).encode())  # type: ignore[no-untyped-call]


class ControlFactory(Factory):
    """Listens for control lines and hands each to its verb."""

    noisy = False

    def __init__(self, verbs: Mapping[str, Verb]) -> None:
        self._verbs = verbs

    def buildProtocol(self, addr: object) -> Protocol:
        return _ControlLine(self._verbs)


def ask(host: str, port: int, verb: str, timeout_s: float = 30.0, **arguments: Any) -> dict[str, Any]:
    """Ask a running simulator, blocking. Raises OSError, or RuntimeError with the simulator's own words."""
    with socket.create_connection((host, port), timeout=timeout_s) as line:
        line.sendall(json.dumps({"do": verb, **arguments}).encode() + b"\n")
        with line.makefile("rb") as reader:
            answer: dict[str, Any] = json.loads(
                reader.readline(65536) or b'{"ok": false, "error": "hung up"}'
            )
    if not answer.pop("ok", False):
        raise RuntimeError(str(answer.get("error")))
    return answer
