"""SMPP 3.4 and 5.0 on Twisted: the server (peers dial us) and the client (we dial), either role over either.

A peer whose profile says role "mc" binds to us, one with role "esme" is bound by us. Listening and dialling
places are endpoint strings, so TLS is a matter of configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from aircharge.errors import ConfigError
from aircharge.protocols.backoff import BackOff
from aircharge.protocols.gate import Gate, GateSettings
from aircharge.protocols.smpp_causes import Troubles
from aircharge.protocols.smpp_connection import SmppConnection
from aircharge.protocols.smpp_gateway import Answer, SmppGateway, SmppRefused, Throttled
from aircharge.protocols.smpp_line import SmppLine
from aircharge.protocols.smpp_peer import PeerInfo, SmppPeer

__all__ = [
    "Answer",
    "PeerInfo",
    "SmppClient",
    "SmppGateway",
    "SmppPeer",
    "SmppRefused",
    "SmppServer",
    "Throttled",
]

_log = Logger()


class SmppServer(Factory):
    """Peers dial us: those of role "mc" bind, those of role "esme" send outbind and we bind.

    ``passwords`` holds each peer's secret under the peer's name. Raises ConfigError when one is missing.
    """

    noisy = False

    def __init__(
        self,
        gateway: SmppGateway,
        peers: Sequence[SmppPeer],
        passwords: Mapping[str, str],
        gate: GateSettings | None = None,
    ) -> None:
        if not peers:
            raise ConfigError("smpp", "peers", "a server needs at least one")
        settings = gate or GateSettings()
        if not settings.allow and all(peer.allow for peer in peers):  # nobody else could bind here
            allow = tuple(dict.fromkeys(network for peer in peers for network in peer.allow))
            settings = replace(settings, allow=allow)
        names = ", ".join(peer.name for peer in peers)
        self.gate = Gate(settings, gateway.clock.seconds, f"SMPP ({names})")
        self._gateway = gateway
        self._lines: list[SmppLine] = [gateway.line(peer, _password(peer, passwords)) for peer in peers]

    def buildProtocol(self, addr: IAddress | None) -> SmppConnection | None:
        host = str(getattr(addr, "host", ""))
        guest = self.gate.admit(host)
        if guest is None:
            return None  # Twisted closes the connection
        connection = self._gateway.connection(self._lines, is_dialled=False)
        connection.factory = self
        connection.let_in(guest)
        return connection


class SmppClient(ClientService):
    """We dial one peer and stay: after a loss or a refusal again, each time later, with jitter.

    ``chance`` gives a float of [0, 1); delays grow to ``delay_max_s`` until a bind succeeds.
    """

    def __init__(
        self,
        gateway: SmppGateway,
        peer: SmppPeer,
        password: str,
        endpoint: IStreamClientEndpoint,
        chance: Callable[[], float],
        delay_first_s: float = 1.0,
        delay_max_s: float = 60.0,
    ) -> None:
        back_off = BackOff(chance, delay_first_s, delay_max_s)
        self._watched = _Watched(endpoint, peer, back_off, gateway.troubles)
        factory = _Dialled(gateway, gateway.line(peer, password), back_off)
        super().__init__(
            cast(Any, self._watched),
            cast(Any, factory),
            retryPolicy=self._watched.delay_s,
            clock=cast(Any, gateway.clock),
        )


class _Watched:
    """An endpoint that tells why it could not be reached, and when the next attempt is."""

    def __init__(
        self, endpoint: IStreamClientEndpoint, peer: SmppPeer, back_off: BackOff, troubles: Troubles
    ) -> None:
        self._endpoint = endpoint
        self._peer = peer
        self._back_off = back_off
        self._troubles = troubles

    def connect(self, factory: Factory) -> Deferred[Any]:
        attempt: Deferred[Any] = cast(Any, self._endpoint).connect(factory)
        return attempt.addErrback(self._unreachable)

    def _unreachable(self, failure: Failure) -> Failure:
        why = f"{where(self._endpoint)}: {failure.getErrorMessage()}"
        self._troubles.tell(self._peer.name, "unreachable", why)
        return failure

    def delay_s(self, attempt: int) -> float:
        delay_s = self._back_off.delay_s(attempt)
        _log.info(
            "SMPP {peer} at {where}: next try in {delay:.1f} s",
            peer=self._peer.name,
            where=where(self._endpoint),
            delay=delay_s,
        )
        return delay_s


def where(endpoint: object) -> str:
    """Host and port of an endpoint for the log, whatever is wrapped around it."""
    inner = getattr(endpoint, "_wrappedEndpoint", endpoint)
    host, port = getattr(inner, "_host", getattr(inner, "_hostText", "")), getattr(inner, "_port", "")
    return f"{host}:{port}" if host else type(inner).__name__


class _Dialled(Factory):
    noisy = False

    def __init__(self, gateway: SmppGateway, line: SmppLine, back_off: BackOff) -> None:
        self._gateway = gateway
        self._line = line
        self._back_off = back_off

    def buildProtocol(self, addr: IAddress | None) -> SmppConnection:
        connection = self._gateway.connection((self._line,), is_dialled=True)
        connection.factory = self
        connection.when_bound().addCallback(self._bound)
        return connection

    def _bound(self, connection: SmppConnection) -> SmppConnection:
        self._back_off.succeeded()
        return connection


def _password(peer: SmppPeer, passwords: Mapping[str, str]) -> str:
    try:
        return passwords[peer.name]
    except KeyError:
        raise ConfigError("smpp", f"{peer.name}.password", "missing") from None
