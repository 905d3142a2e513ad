"""Terminals behind serial servers and modem banks that wait to be connected to: we dial their lines and keep them.

A line that cannot be reached is no fault of ours: it is counted, said once in the log, and dialled again, later each
time. A line that was hung up after a call is dialled again at once (a second, with jitter): the next call may come.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

from twisted.application.internet import ClientService
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from aircharge.errors import ConfigError
from aircharge.ports import Randomness
from aircharge.protocols.backoff import BackOff
from aircharge.protocols.pos_line import PosLine, PosServer

__all__ = ["PosDialler"]

log = Logger()

_FIRST_S: Final = 1.0
_STOOD_S: Final = 10.0
"""A line that stood for so long was a line; one that was hung up sooner, and said nothing, was none."""
_PROBES: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
"""A server that lost its power says nothing: after two minutes the line is dialled again (RFC 9293, section 3.8.4)."""


class PosDialler:
    """The lines of a place that has ``connect``. ``failures``: attempts in vain, of all of them.

    Raises ConfigError when one of ``connect`` says no line.
    """

    def __init__(self, server: PosServer, reactor: Any, chance: Randomness) -> None:
        self.server = server
        self.failures = 0
        self._chance = chance
        self._lines = [_DialledLine(self, text, reactor) for text in server.place.connect]

    @property
    def down(self) -> int:
        """Lines that do not stand now."""
        return len(self._lines) - self.server.connections

    def fraction(self) -> float:
        """Of [0, 1), at random."""
        return int.from_bytes(self._chance.token(4), "big") / 2**32

    def start(self) -> None:
        """Dial; lines come up by themselves."""
        for line in self._lines:
            line.startService()

    def stop(self) -> None:
        """Dial no more. Connections that stand are the server's to hang up."""
        for line in self._lines:
            line.stopService()


class _DialledLine(ClientService):
    """One of them, dialled for as long as the service runs."""

    _log = Logger(observer=cast(Any, lambda event: None))  # it would tell of every attempt

    def __init__(self, dialler: PosDialler, text: str, reactor: Any) -> None:
        self._dialler = dialler
        self._text = text
        self._is_told = False
        place = dialler.server.place
        self._back_off = BackOff(dialler.fraction, _FIRST_S, place.redial_max_s)
        try:
            there = clientFromString(reactor, text)
        except (ValueError, TypeError, OSError) as error:  # OSError: of files that TLS needs
            why = str(error) or type(error).__name__
            raise ConfigError("pos.place", f"{place.name}.connect", f"{text}: {why}") from error
        endpoint = cast(Any, _Watched(there, self.failed))
        factory = cast(Any, _Dialled(dialler.server, self))
        super().__init__(endpoint, factory, retryPolicy=self._back_off.delay_s, clock=reactor)

    def failed(self, why: str) -> None:
        """An attempt was in vain."""
        if not self.running:
            return
        self._dialler.failures += 1
        if not self._is_told:
            self._is_told = True
            name = self._dialler.server.place.name
            log.warn(
                "terminals at {place}: line {line} does not stand: {why}",
                place=name,
                line=self._text,
                why=why,
            )

    def ended(self, line: PosLine) -> None:
        """A connection is over."""
        if not line.has_spoken and line.now() < line.since + _STOOD_S:
            self.failed("hung up at once")
            return
        self._back_off.succeeded()
        self._is_told = False


@implementer(IStreamClientEndpoint)
class _Watched:
    """An endpoint whose failures are told."""

    def __init__(self, endpoint: Any, failed: Callable[[str], None]) -> None:
        self._endpoint = endpoint
        self._failed = failed

    def connect(self, factory: Any) -> Any:
        return self._endpoint.connect(factory).addCallbacks(_probed, self._unreached)

    def _unreached(self, failure: Failure) -> Failure:
        self._failed(failure.getErrorMessage())
        return failure


def _probed(protocol: Any) -> Any:
    """Have the system ask whether the far end is still there; over TLS the connection lies one transport deeper."""
    transport = protocol.transport
    while transport is not None:
        handle = getattr(transport, "getHandle", lambda: None)()
        if isinstance(handle, socket.socket):
            for name, value in _PROBES:
                if hasattr(socket, name):  # not every system has them
                    handle.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
            break
        transport = getattr(transport, "transport", None)
    return protocol


class _Dialled(Factory):
    """Makes the connections of one dialled line."""

    noisy = False

    def __init__(self, server: PosServer, line: _DialledLine) -> None:
        self._server = server
        self._line = line

    def buildProtocol(self, addr: IAddress | None) -> PosLine:
        made = self._server.line()
        made.factory = self
        made.left = partial(self._line.ended, made)
        return made
