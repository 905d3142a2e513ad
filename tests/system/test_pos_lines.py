"""Ways of terminals to the real daemon that others made: a serial server that is dialled, TLS by OpenSSL."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import ssl
import time
import urllib.request
from collections.abc import Awaitable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from aircharge.instance import HOST, free_port
from aircharge.simulators.pos_terminal import Outcome, PosTerminal, TerminalSettings
from aircharge.wire.pos_link import Message, Received, Tpdu
from aircharge.wire.tpdu import TpduLink, TpduSettings
from tests.peers import need
from tests.peers.serial_server import SerialServer
from tests.system.audit import audit
from tests.system.pos_counter import Counter, Place
from tests.system.test_tls import make_certificate

pytestmark = [pytest.mark.slow, pytest.mark.peer, pytest.mark.timeout(300)]

DIAL = 'connect = ["tcp:127.0.0.1:{}", "tcp:127.0.0.1:{}"]\nredial_max_s = 2.0'
TLS = 'endpoint = "ssl:{port}:interface=127.0.0.1:privateKey=keys/tls.pem:certKey=tls-certificate.pem"\nsetup_s = 2'


DIAL_TLS = (
    'connect = ["tls:localhost:{port}:trustRoots=trusted:certificate=tls-certificate.pem:privateKey=keys/tls.pem"]'
    "\nsetup_s = 2\nredial_max_s = 2.0"
)


class Secure:
    """A terminal on Python's own TLS; nothing of it is Twisted's."""

    def __init__(self, counter: Counter, name: str = "tls") -> None:
        certificate = str(counter.instance.folder / "tls-certificate.pem")
        address = (HOST, counter.places[name].port)
        if counter.places[name].where.startswith("endpoint"):
            plain = socket.create_connection(address, timeout=60)
            trusting = ssl.create_default_context(cafile=certificate)
            self.socket = trusting.wrap_socket(plain, server_hostname="localhost")
        else:
            asking = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate)
            asking.verify_mode = ssl.CERT_REQUIRED
            asking.load_cert_chain(certificate, str(counter.instance.folder / "keys" / "tls.pem"))
            with socket.create_server(address) as listening:
                listening.settimeout(60)
                self.socket = asking.wrap_socket(listening.accept()[0], server_side=True)
            self.socket.settimeout(60)
        settings = TerminalSettings(counter.code(name), master=bytes.fromhex(counter.keys[name]))
        self.terminal = PosTerminal(settings, self._exchange)
        self._link = TpduLink(TpduSettings(), 0)

    async def _exchange(self, octets: bytes) -> bytes | None:
        self.socket.sendall(self._link.send(Message(octets, Tpdu(b"\x00\x03", b"\x00\x07")), 0))
        while data := self.socket.recv(4096):
            for event in self._link.receive(data, 0):
                if isinstance(event, Received):
                    return event.message.content
        return None


def now(saying: Awaitable[Outcome]) -> Outcome:
    """Of what waits for nobody but a blocking socket."""
    got: list[Outcome] = []
    Deferred.fromCoroutine(saying).addCallback(got.append)  # type: ignore[arg-type]
    return got[0]


def metric(counter: Counter, name: str, place: str, more: str = "") -> float:
    address = f"http://{HOST}:{counter.instance.ports.metrics}/metrics"
    with urllib.request.urlopen(address) as answer:  # loopback
        text = answer.read().decode()
    found = re.search(rf'^aircharge_{name}{{place="{place}"{more}}} (\S+)', text, re.M)
    assert found, text
    return float(found[1])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Counter, SerialServer]]:
    need("openssl", "ser2net", "socat")
    folder = tmp_path_factory.mktemp("lines")
    lines, phones = [free_port(), free_port()], [free_port(), free_port()]
    counter = Counter(
        folder,
        {
            "first": Place("stx", where=DIAL.format(*lines), port=phones[0]),
            "second": Place("stx", where="", port=phones[1]),
            "tls": Place(where=TLS),
            "dialled": Place(where=DIAL_TLS),
        },
    )
    (folder / "trusted").mkdir()
    shutil.copy(make_certificate(folder), folder / "trusted")
    with contextlib.closing(SerialServer(folder, lines, phones)) as server, counter.instance as instance:
        instance.start()
        yield counter, server
        standing = Secure(counter)
        instance.stop_one("daemon")
        assert standing.socket.recv(1) == b""  # closed in order: a torn TLS connection is an SSLEOFError
        instance.stop()
        assert audit(instance.ledger_file, instance.operator_file).problems == []


Both = tuple[Counter, SerialServer]


def wait_for_lines(counter: Counter, down: int) -> None:
    counter.instance.wait_until(
        f"{down} lines to be down", lambda: metric(counter, "pos_lines_down", "first") == down
    )


def day(counter: Counter, name: str) -> list[str]:
    n = counter.number(name)
    lost = f"1380000{n}200"
    said = counter.say(
        name, "sign-in", f"sale 1380000{n}100 50", f"sale {lost} 30 lose-answer", "clear", "settle"
    )
    counter.instance.wait_until(
        "the lost sale to be taken back",
        lambda: counter.value(f"SELECT state FROM txn WHERE kind = 1 AND msisdn = '{lost}'") == 7,
    )
    return [row["code"] for row in said]


def test_a_day_behind_a_serial_server(shop: Both) -> None:
    """It is not there when the daemon starts, and goes away in between: terminals are served once it is back."""
    counter, server = shop
    wait_for_lines(counter, 2)
    counter.instance.wait_until(
        "a line to be dialled twice", lambda: metric(counter, "pos_dials_failed", "first") > 2
    )
    told = re.findall(r"terminals at first: line \S+ does not stand", counter.instance.daemon_log.read_text())
    assert len(told) == 2  # not each attempt
    server.start()
    wait_for_lines(counter, 0)
    assert day(counter, "first") == ["00", "00", "", "00", "00"]
    server.stop()
    wait_for_lines(counter, 2)
    server.start()
    wait_for_lines(counter, 0)
    assert [row["code"] for row in counter.say("second", "sign-in", "sale 13800009999 50")] == ["00", "00"]


def test_a_terminal_over_tls(shop: Both) -> None:
    counter, _ = shop
    secure = Secure(counter)
    assert now(secure.terminal.sign_in()).code == "00"
    assert now(secure.terminal.echo()).code == "00"
    secure.socket.close()


def test_a_line_that_is_dialled_over_tls(shop: Both) -> None:
    """Each side asks for the other's certificate; the handshake is all that the line owes, then it may be silent."""
    counter, _ = shop
    server = Secure(counter, "dialled")
    assert now(server.terminal.sign_in()).code == "00"
    time.sleep(3)  # setup_s is over
    assert now(server.terminal.echo()).code == "00"
    server.socket.close()


def test_what_is_no_tls_ends_and_the_others_are_served(shop: Both) -> None:
    counter, _ = shop
    served = Secure(counter)
    address = (HOST, counter.places["tls"].port)
    with socket.create_connection(address, timeout=60) as plain:
        plain.sendall(TpduLink(TpduSettings(), 0).send(Message(b"x" * 50, Tpdu(b"\x00\x03", b"\x00\x07")), 0))
        assert ended(plain)
    hello = client_hello()
    torn: list[Any] = [socket.create_connection(address, timeout=60) for _ in range(20)]
    for number, half in enumerate(torn):
        half.sendall(hello[: number * 5])
    assert now(served.terminal.sign_in()).code == "00"
    torn.pop().close()
    assert all(ended(half) for half in torn)
    assert now(served.terminal.echo()).code == "00"
    served.socket.close()
    assert metric(counter, "pos_dropped", "tls", ',reason="ended: not set up"') >= len(torn)


def client_hello() -> bytes:
    """The first flight of a handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname = False
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


def ended(connection: socket.socket) -> bool:
    """Whether the other side closes it; an alert may come first."""
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(4096):
            pass
    connection.close()
    return True
