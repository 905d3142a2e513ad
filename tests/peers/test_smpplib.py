"""smpplib, a blocking client that we did not write, against our server."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.peers import need
from tests.peers.smpp_process import daemon

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]


def client(port: int, **more: Any) -> Any:
    smpplib_client = pytest.importorskip("smpplib.client")
    return smpplib_client.Client("127.0.0.1", port, timeout=60, allow_unknown_opt_params=True, **more)


def keep(pdus: list[Any]) -> Callable[..., None]:
    """smpplib calls with the keyword ``pdu``."""

    def kept(pdu: Any) -> None:
        pdus.append(pdu)

    return kept


def talk(port: int, told: Any, **more: Any) -> None:
    esme = client(port, **more)
    esme.connect()
    esme.bind_transceiver(system_id="kannel", password="secret")
    received: list[Any] = []
    answered: list[Any] = []
    esme.set_message_received_handler(keep(received))
    esme.set_message_sent_handler(keep(answered))
    esme.send_message(
        source_addr="8613900000001", destination_addr="0353911", short_message=b"echo 13812345678 50"
    )
    for _ in range(2):
        esme.read_once()
    assert told.wait("message")["text"] == "echo 13812345678 50"
    assert [pdu.status for pdu in answered] == [0]
    assert [pdu.short_message for pdu in received] == [b"13812345678 50"]
    assert told.wait("sent")["ids"] == [""]
    esme.unbind()
    esme.disconnect()


def test_bind_submit_and_receive() -> None:
    with daemon() as (port, told):
        talk(port, told)


def test_tls(tmp_path: Path) -> None:
    need("openssl")
    pem = tmp_path / "both.pem"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
    ]
    subprocess.run(
        [*make, "-keyout", str(pem), "-out", str(tmp_path / "c.pem")],
        check=True,
        capture_output=True,
        timeout=100,
    )
    pem.write_bytes(pem.read_bytes() + (tmp_path / "c.pem").read_bytes())
    context = ssl.create_default_context(cafile=str(tmp_path / "c.pem"))
    context.check_hostname = False
    with daemon("tls", str(pem)) as (port, told):
        talk(port, told, ssl_context=context)


def test_wrong_password() -> None:
    exceptions = pytest.importorskip("smpplib.exceptions")
    with daemon() as (port, _):
        esme = client(port)
        esme.connect()
        with pytest.raises(exceptions.PDUError) as refusal:
            esme.bind_transceiver(system_id="kannel", password="wrong")
        assert refusal.value.args[1] == 0x0D


def test_idle_trickling_and_bombing_connections_leave_others_served() -> None:
    """2,000 connections: idle, with a PDU begun, or with an announced length of 4 GiB."""
    with daemon() as (port, told):
        idle = []
        try:
            for number in range(2000):
                idle.append(socket.create_connection(("127.0.0.1", port), timeout=60))
                if number % 3 == 1:
                    idle[-1].sendall(b"\0\0")
                elif number % 3 == 2:
                    idle[-1].sendall(b"\xff\xff\xff\xff")
            talk(port, told)
        finally:
            for connection in idle:
                connection.close()
