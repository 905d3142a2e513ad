"""The bare ping-pong: what Twisted itself carries over loopback, as server and as client."""

from __future__ import annotations

import sys
import time

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol

MESSAGE = b"x" * 100


class Echo(Protocol):
    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

        self._rest = b""

    def dataReceived(self, data: bytes) -> None:
        data = self._rest + data
        whole = len(data) // len(MESSAGE) * len(MESSAGE)
        for start in range(0, whole, len(MESSAGE)):  # message by message, as a protocol has to
            self.transport.write(data[start : start + len(MESSAGE)])
        self._rest = data[whole:]


class Pinger(Protocol):
    """Keeps ``window`` messages under way; each that comes back sends the next."""

    def __init__(self, window: int, seconds: float) -> None:
        self._window = window
        self._end = time.perf_counter() + seconds
        self._received = 0

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._began = time.perf_counter()
        for _ in range(self._window):
            self.transport.write(MESSAGE)

    def dataReceived(self, data: bytes) -> None:
        self._received += len(data)
        self.transport.write(data)
        if time.perf_counter() > self._end:
            print(self._received / len(MESSAGE) / (time.perf_counter() - self._began))
            reactor.stop()


def main() -> None:
    if len(sys.argv) == 1:
        listening = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Echo))
        listening.addCallback(lambda port: print(port.getHost().port, flush=True))
    else:
        port, window, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
        connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Pinger(window, seconds))
    reactor.run()


if __name__ == "__main__":
    main()
