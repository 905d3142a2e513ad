"""SMPP 3.4 and 5.0 on Twisted: the server (peers dial us) and the client (we dial), either role over either.

A peer whose profile says role "mc" binds to us, one with role "esme" is bound by us. Listening and dialling
places are endpoint strings, so TLS is a matter of configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.application.internet import ClientService, backoffPolicy
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from aircharge.errors import ConfigError
from aircharge.protocols.shell import Gate, GateSettings
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
        self.gate = Gate(gate or GateSettings())
        self._gateway = gateway
        self._lines: list[SmppLine] = [gateway.line(peer, _password(peer, passwords)) for peer in peers]

    def buildProtocol(self, addr: IAddress | None) -> SmppConnection | None:
        host = str(getattr(addr, "host", ""))
        if not self.gate.admit(host):
            return None  # Twisted closes the connection
        connection = self._gateway.connection(self._lines, is_dialled=False)
        connection.factory = self
        connection.left = lambda _: self.gate.leave(host)
        return connection


class SmppClient(ClientService):
    """We dial one peer and stay: after a loss or a refusal again, each time later, with jitter.

    ``chance`` gives a float of [0, 1); delays run from ``delay_first_s`` to ``delay_max_s``.
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
        line = gateway.line(peer, password)
        policy = backoffPolicy(delay_first_s, delay_max_s, 1.6, jitter=lambda: chance() * delay_first_s)
        super().__init__(
            endpoint,
            _Dialled(gateway, line),
            retryPolicy=policy,
            clock=gateway.clock,
            prepareConnection=_bound,
        )


class _Dialled(Factory):
    noisy = False

    def __init__(self, gateway: SmppGateway, line: SmppLine) -> None:
        self._gateway = gateway
        self._line = line

    def buildProtocol(self, addr: IAddress | None) -> SmppConnection:
        connection = self._gateway.connection((self._line,), is_dialled=True)
        connection.factory = self
        return connection


def _bound(connection: Any) -> Deferred[SmppConnection]:
    """ClientService counts a connection as made once it is bound, so a refused bind backs off too."""
    bound: Deferred[SmppConnection] = connection.when_bound()
    return bound


def _password(peer: SmppPeer, passwords: Mapping[str, str]) -> str:
    try:
        return passwords[peer.name]
    except KeyError:
        raise ConfigError("smpp", f"{peer.name}.password", "missing") from None
