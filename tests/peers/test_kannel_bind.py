"""Kannel's bearerbox binds to our server as transceiver; messages pass both ways."""

from __future__ import annotations

import http.server
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from aircharge.instance import free_port
from tests.peers import need
from tests.peers.smpp_process import Told, daemon, running, until_listening

pytestmark = pytest.mark.peer

CONFIGURATION = """group = core
admin-port = {admin}
admin-interface = 127.0.0.1
admin-password = adm
status-password = adm
box-deny-ip = "*.*.*.*"
box-allow-ip = "127.0.0.1"
smsbox-port = {box}
smsbox-interface = 127.0.0.1
dlr-storage = internal

group = smsc
smsc = smpp
smsc-id = air
host = 127.0.0.1
port = {smpp}
transceiver-mode = true
smsc-username = kannel
smsc-password = secret
system-type = "CHARGE"
interface-version = 34
enquire-link-interval = 5
max-pending-submits = 20
throughput = 50
reconnect-delay = 2

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {send}
sendsms-interface = 127.0.0.1

group = sendsms-user
username = u
password = p
concatenation = true
max-messages = 5

group = sms-service
keyword = default
get-url = "http://127.0.0.1:{web}/mo?from=%p&to=%P&text=%a"
max-messages = 0
"""


class Web(http.server.BaseHTTPRequestHandler):
    """Where Kannel's smsbox brings messages that reached it."""

    seen: list[dict[str, str]]

    def do_GET(self) -> None:
        self.seen.append(self.read(urllib.parse.urlparse(self.path).query))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def read(self, query: str) -> dict[str, str]:
        return {key: values[0] for key, values in urllib.parse.parse_qs(query).items()}

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def web(handler: type[Web] = Web) -> Iterator[tuple[int, list[dict[str, str]]]]:
    seen: list[dict[str, str]] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Seen", (handler,), {"seen": seen}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], seen
    finally:
        server.shutdown()
        server.server_close()


def send_over_kannel(port: int, text: str, to: str, *, source: str = "8613900000001") -> None:
    fields = {"username": "u", "password": "p", "from": source, "to": to, "text": text}
    if not text.isascii():
        fields |= {"coding": "2", "charset": "UTF-8"}
    url = f"http://127.0.0.1:{port}/cgi-bin/sendsms?{urllib.parse.urlencode(fields)}"
    ends = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=50) as answer:
                assert answer.status == 202
                return
        except (urllib.error.URLError, OSError):  # not up yet
            if time.monotonic() > ends:
                raise
            time.sleep(0.3)


def drain(process: object) -> None:
    Told(process)  # type: ignore[arg-type]  # reads on, so that the pipe never fills


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_both_ways(tmp_path: Path) -> None:
    need("bearerbox", "smsbox")
    assert sys.platform == "linux"
    with ExitStack() as stack:
        port, told = stack.enter_context(daemon())
        web_port, seen = stack.enter_context(web())
        ports = {"admin": free_port(), "box": free_port(), "send": free_port()}
        conf = tmp_path / "kannel.conf"
        conf.write_text(CONFIGURATION.format(smpp=port, web=web_port, **ports))
        drain(stack.enter_context(running("bearerbox", "-v", "2", str(conf))))
        until_listening(ports["box"])  # smsbox gives up when bearerbox does not listen yet
        drain(stack.enter_context(running("smsbox", "-v", "2", str(conf))))
        send_over_kannel(ports["send"], "echo 13812345678 50 {€}", "0353911")
        assert told.wait("message")["text"] == "echo 13812345678 50 {€}"
        assert told.wait("sent")["ids"] == [""]
        long = "充值" * 100
        send_over_kannel(ports["send"], "echo " + long, "0353911")
        assert told.wait("message")["text"] == "echo " + long  # Kannel sent parts
        assert len(told.wait("sent")["ids"]) == 3
        ends = time.monotonic() + 60
        while len(seen) < 2 and time.monotonic() < ends:
            time.sleep(0.1)
    assert "13812345678 50 {€}" in [one["text"] for one in seen[:2]]
    assert all(one["to"].endswith("8613900000001") and one["from"].endswith("0353911") for one in seen)
